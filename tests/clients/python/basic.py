"""What programs do with redis-py, against the server on the port that is the first argument.

Every step asserts what it sees; the last line printed is "ok". The package is the real one from the registry: the test
that runs this (tests/clients.rs) leaves it out where there is none.
"""
import sys
import threading
import time

import redis

PORT = int(sys.argv[1])


def connect(**more):
    return redis.Redis(host="127.0.0.1", port=PORT, decode_responses=True, **more)


def handshake():
    for protocol in (2, 3):
        r = connect(protocol=protocol, client_name=f"basic-{protocol}", db=3)
        assert r.ping()
        me = r.client_info()
        assert me["name"] == f"basic-{protocol}", me
        assert me["resp"] == str(protocol), me
        assert me["db"] == 3, me
        assert me["lib-name"] == "redis-py", me
        assert r.client_getname() == f"basic-{protocol}"
        assert r.info("server")["redis_version"].startswith("7.4"), "the version that clients look at"
        r.close()


def values(r):
    r.set("text", "grüße")
    assert r.get("text") == "grüße"
    assert r.set("once", 1, nx=True, px=100_000) and not r.set("once", 2, nx=True)
    assert 0 < r.pttl("once") <= 100_000
    assert r.incrbyfloat("float", "1.5") == 1.5
    r.hset("hash", mapping={"a": 1, "b": "two"})
    assert r.hgetall("hash") == {"a": "1", "b": "two"}
    r.rpush("list", *range(1000))
    assert r.lrange("list", -2, -1) == ["998", "999"]
    r.sadd("set", "x", "y")
    assert r.smembers("set") == {"x", "y"}
    r.zadd("zset", {"one": 1, "two": 2.5})
    assert r.zrange("zset", 0, -1, withscores=True) in ([("one", 1.0), ("two", 2.5)], [["one", 1.0], ["two", 2.5]])
    assert r.geoadd("geo", (13.361389, 38.115556, "Palermo")) == 1
    assert r.pfadd("hll", "a", "b") == 1 and r.pfcount("hll") == 2
    assert r.setbit("bits", 7, 1) == 0 and r.bitcount("bits") == 1
    big = "x" * (8 << 20)
    r.set("big", big)
    assert r.get("big") == big
    for i in range(500):
        r.set(f"scan:{i}", i)
    assert sorted(r.scan_iter("scan:*", count=37)) == sorted(f"scan:{i}" for i in range(500))
    try:
        r.lpush("text", 1)
        raise AssertionError("a list command on a string")
    except redis.ResponseError as e:
        assert str(e).startswith("WRONGTYPE"), e
    try:
        r.execute_command("NOSUCH", "thing")
        raise AssertionError("an unknown command")
    except redis.ResponseError as e:
        assert "unknown command" in str(e), e


def pipelines(r):
    with r.pipeline(transaction=False) as p:
        for i in range(2000):
            p.set(f"p:{i}", i)
        for i in range(2000):
            p.get(f"p:{i}")
        replies = p.execute()
    assert replies == [True] * 2000 + [str(i) for i in range(2000)]
    with r.pipeline() as p:
        p.incr("counter").lpush("counter", 1).incr("counter")
        replies = p.execute(raise_on_error=False)
    assert replies[0] == 1 and isinstance(replies[1], redis.ResponseError) and replies[2] == 2
    other = connect()
    with r.pipeline() as p:
        p.watch("counter")
        seen = int(p.get("counter"))
        other.set("counter", 100)
        p.multi()
        p.set("counter", seen + 1)
        try:
            p.execute()
            raise AssertionError("a watched key changed")
        except redis.WatchError:
            pass
    assert r.transaction(lambda p: (p.multi(), p.incr("counter")), "counter") == [101]


def messages(r):
    p = r.pubsub()
    p.subscribe("news")
    p.psubscribe("n*")
    kinds = [p.get_message(timeout=5)["type"] for _ in range(2)]
    assert kinds == ["subscribe", "psubscribe"], kinds
    assert connect().publish("news", "hello") == 2
    got = [p.get_message(timeout=5) for _ in range(2)]
    assert [(m["type"], m["channel"], m["data"]) for m in got] == [
        ("message", "news", "hello"),
        ("pmessage", "news", "hello"),
    ], got
    assert r.pubsub_numsub("news") == [("news", 1)] and r.pubsub_numpat() == 1
    p.unsubscribe()
    p.punsubscribe()
    kinds = [p.get_message(timeout=5)["type"] for _ in range(2)]
    assert kinds == ["unsubscribe", "punsubscribe"], kinds
    p.close()
    r.config_set("notify-keyspace-events", "KEA")
    p = r.pubsub()
    p.psubscribe("__keyevent@*__:*")
    p.get_message(timeout=5)
    r.set("told", 1)
    assert p.get_message(timeout=5)["data"] == "told"
    p.close()
    r.config_set("notify-keyspace-events", "")


def scripts(r):
    add = r.register_script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
    assert add(keys=["scripted"], args=[5]) == 5
    r.script_flush()
    assert add(keys=["scripted"], args=[5]) == 10, "loaded again behind NOSCRIPT"
    with r.pipeline() as p:
        add(keys=["scripted"], args=[1], client=p)
        add(keys=["scripted"], args=[2], client=p)
        assert p.execute() == [11, 13]
    try:
        r.eval("return redis.error_reply('MY own')", 0)
        raise AssertionError("a script's error")
    except redis.ResponseError as e:
        assert str(e).startswith("MY own"), e
    r.function_load("#!lua name=mylib\nredis.register_function('double', function(k, a) return a[1] * 2 end)", replace=True)
    assert r.fcall("double", 0, 21) == 42
    assert r.function_list("mylib")
    r.function_delete("mylib")


def blocking(r):
    began = time.monotonic()
    assert r.blpop("nothing", timeout=1) is None
    assert time.monotonic() - began >= 0.9
    got = []
    t = threading.Thread(target=lambda: got.append(connect().blpop(["q1", "q2"], timeout=30)))
    t.start()
    while r.info("clients")["blocked_clients"] == 0:
        time.sleep(0.01)
    r.rpush("q2", "element")
    t.join(30)
    assert got in ([("q2", "element")], [["q2", "element"]]), got
    t = threading.Thread(target=lambda: got.append(connect().bzpopmin("z", timeout=30)))
    t.start()
    while r.info("clients")["blocked_clients"] == 0:
        time.sleep(0.01)
    r.zadd("z", {"m": 7})
    t.join(30)
    assert list(got[1]) == ["z", "m", 7.0], got
    r.rpush("from", 1, 2)
    assert r.blmove("from", "to", timeout=1, src="LEFT", dest="RIGHT") == "1"


def streams(r):
    ids = [r.xadd("stream", {"n": i}) for i in range(5)]
    assert r.xlen("stream") == 5
    assert [i for i, _ in r.xrange("stream")] == ids
    r.xgroup_create("stream", "group", id="0")

    def entries(reply):
        # RESP2 gives a list of pairs, RESP3 a map.
        pairs = reply.items() if isinstance(reply, dict) else reply
        all_entries = []
        for _, found in pairs:
            found = found[0] if found and isinstance(found[0], list) and found[0] and isinstance(found[0][0], (list, tuple)) else found
            all_entries += found
        return all_entries

    first = entries(r.xreadgroup("group", "alice", {"stream": ">"}, count=2))
    assert [i for i, _ in first] == ids[:2], first
    assert r.xpending("stream", "group")["pending"] == 2
    assert r.xack("stream", "group", ids[0]) == 1
    claimed = r.xautoclaim("stream", "group", "bob", min_idle_time=0)
    assert [i for i, _ in claimed[1]] == [ids[1]], claimed
    assert r.xinfo_stream("stream")["length"] == 5
    assert r.xinfo_groups("stream")[0]["name"] == "group"
    got = []
    t = threading.Thread(target=lambda: got.append(connect().xread({"stream": "$"}, block=30_000)))
    t.start()
    while r.info("clients")["blocked_clients"] == 0:
        time.sleep(0.01)
    last = r.xadd("stream", {"late": 1})
    t.join(30)
    assert entries(got[0]) == [(last, {"late": "1"})], got


def tracking():
    r = connect(protocol=3)
    c = redis.Connection(host="127.0.0.1", port=PORT, protocol=3, decode_responses=True)
    pushed = []
    c.connect()
    c._parser.set_push_handler(pushed.append) if hasattr(c._parser, "set_push_handler") else c._parser.set_pubsub_push_handler(pushed.append)
    c.send_command("CLIENT", "TRACKING", "ON")
    assert c.read_response() == "OK", "the server tracks"
    r.set("tracked", 1)
    c.send_command("GET", "tracked")
    assert c.read_response() == "1"
    r.set("tracked", 2)
    c.send_command("PING")
    answer = c.read_response(push_request=True)
    while answer != "PONG":
        if isinstance(answer, list):
            pushed.append(answer)
        answer = c.read_response(push_request=True)
    assert ["invalidate", ["tracked"]] in pushed, pushed
    c.disconnect()


connect().flushall()
handshake()
for protocol in (2, 3):
    client = connect(protocol=protocol)
    client.flushall()
    for step in (values, pipelines, messages, scripts, blocking, streams):
        step(client)
if sys.argv[2:] != ["--no-tracking"]:
    tracking()
print("ok")
