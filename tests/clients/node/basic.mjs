// What programs do with ioredis, against the server on the port that is the only argument. The package is the real one: the
// test that runs this (tests/clients.rs) leaves it out where there is none.
import assert from "node:assert/strict";
import { createRequire } from "node:module";

const require = createRequire(process.env.CLIENTS_NODE_DIR + "/");
const Redis = require("ioredis");
const port = Number(process.argv[2]);
const connect = (more = {}) => new Redis({ host: "127.0.0.1", port, ...more });
const blocked = async (r) => {
  while (!/blocked_clients:[1-9]/.test(await r.info("clients"))) await new Promise((f) => setTimeout(f, 10));
};

const r = connect({ connectionName: "basic", db: 2 });
await r.flushall();

// Handshake.
assert.equal(await r.ping(), "PONG");
const me = await r.client("INFO");
assert.match(me, /name=basic /);
assert.match(me, /db=2 /);
assert.match(await r.info("server"), /redis_version:7\.4/);

// Values.
await r.set("text", "grüße", "PX", 100000);
assert.equal(await r.get("text"), "grüße");
assert.equal(await r.set("text", "other", "NX"), null);
await r.hset("hash", { a: 1, b: "two" });
assert.deepEqual(await r.hgetall("hash"), { a: "1", b: "two" });
await r.zadd("zset", 1, "one", 2.5, "two");
assert.deepEqual(await r.zrange("zset", 0, -1, "WITHSCORES"), ["one", "1", "two", "2.5"]);
const binary = Buffer.from([0, 13, 10, 255, 0]);
await r.set("binary", binary);
assert.deepEqual(await r.getBuffer("binary"), binary);
await assert.rejects(r.lpush("text", 1), /WRONGTYPE/);
const big = "x".repeat(4 << 20);
await r.set("big", big);
assert.equal(await r.get("big"), big);
for (let i = 0; i < 300; i++) r.set(`scan:${i}`, i);
let found = 0;
for await (const keys of r.scanStream({ match: "scan:*", count: 50 })) found += keys.length;
assert.equal(found, 300);

// Pipelines and transactions.
const p = r.pipeline();
for (let i = 0; i < 1000; i++) p.incr("counter");
const replies = await p.exec();
assert.equal(replies.at(-1)[1], 1000);
assert.deepEqual(await r.multi().set("m", 1).incr("m").get("m").exec(), [[null, "OK"], [null, 2], [null, "2"]]);
const other = connect({ db: 2 });
await r.watch("m");
await other.set("m", 100);
assert.equal(await r.multi().incr("m").exec(), null);

// Messages.
const sub = connect({ db: 2 });
assert.equal(await sub.subscribe("news"), 1);
assert.equal(await sub.psubscribe("n*"), 2);
const got = new Promise((f) => {
  const seen = [];
  const note = (...m) => seen.push(m) === 2 && f(seen);
  sub.on("message", (...m) => note("message", ...m));
  sub.on("pmessage", (...m) => note("pmessage", ...m));
});
assert.equal(await r.publish("news", "hello"), 2);
assert.deepEqual(await got, [["message", "news", "hello"], ["pmessage", "n*", "news", "hello"]]);
assert.equal(await sub.unsubscribe("news"), 1);
assert.equal(await sub.punsubscribe(), 0);
await sub.ping();

// Scripts.
r.defineCommand("add", { numberOfKeys: 1, lua: "return redis.call('INCRBY', KEYS[1], ARGV[1])" });
assert.equal(await r.add("scripted", 5), 5);
await r.script("FLUSH");
assert.equal(await r.add("scripted", 5), 10);
await assert.rejects(r.eval("return redis.error_reply('MY own')", 0), /MY own/);

// Blocking.
assert.equal(await other.blpop("nothing", 0.1), null);
const popped = other.blpop("q1", "q2", 30);
await blocked(r);
await r.rpush("q2", "element");
assert.deepEqual(await popped, ["q2", "element"]);

// Streams.
const ids = [];
for (let i = 0; i < 5; i++) ids.push(await r.xadd("stream", "*", "n", i));
assert.deepEqual((await r.xrange("stream", "-", "+")).map((e) => e[0]), ids);
await r.xgroup("CREATE", "stream", "group", "0");
const first = await r.xreadgroup("GROUP", "group", "alice", "COUNT", 2, "STREAMS", "stream", ">");
assert.deepEqual(first[0][1].map((e) => e[0]), ids.slice(0, 2));
assert.equal(await r.xack("stream", "group", ids[0]), 1);
const late = other.xread("BLOCK", 30000, "STREAMS", "stream", "$");
await blocked(r);
const last = await r.xadd("stream", "*", "late", 1);
assert.deepEqual(await late, [["stream", [[last, ["late", "1"]]]]]);

// Monitoring.
const monitor = await connect().monitor();
const line = new Promise((f) => monitor.on("monitor", (_, args) => args[0].toLowerCase() === "echo" && f(args)));
await r.echo("shown");
assert.deepEqual((await line).slice(1), ["shown"]);

for (const c of [r, other, sub, monitor]) c.disconnect();
console.log("ok");
