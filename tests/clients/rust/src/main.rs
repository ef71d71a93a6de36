//! What programs do with the redis crate, against the server on the port that is the only argument.
use redis::streams::{StreamReadOptions, StreamReadReply};
use redis::{Commands, ConnectionLike, ErrorKind, ProtocolVersion, PushKind, RedisResult, Value};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

fn client(port: &str, protocol: &str) -> redis::Client {
    redis::Client::open(format!("redis://127.0.0.1:{port}/4?protocol={protocol}")).expect("an address")
}

fn blocked(c: &mut redis::Connection) {
    loop {
        let info: String = redis::cmd("INFO").arg("clients").query(c).unwrap();
        if !info.contains("blocked_clients:0") {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn values(c: &mut redis::Connection) -> RedisResult<()> {
    c.set::<_, _, ()>("text", "grüße")?;
    assert_eq!(c.get::<_, String>("text")?, "grüße");
    assert_eq!(c.get::<_, Option<i64>>("nothing")?, None);
    assert!(c.set_nx::<_, _, bool>("once", 1)? && !c.set_nx::<_, _, bool>("once", 2)?);
    c.hset_multiple::<_, _, _, ()>("hash", &[("a", "1"), ("b", "two")])?;
    let hash: HashMap<String, String> = c.hgetall("hash")?;
    assert_eq!(hash["b"], "two");
    c.zadd_multiple::<_, _, _, ()>("zset", &[(1.0, "one"), (2.5, "two")])?;
    let zset: Vec<(String, f64)> = c.zrange_withscores("zset", 0, -1)?;
    assert_eq!(zset, [("one".to_string(), 1.0), ("two".to_string(), 2.5)]);
    let binary = vec![0u8, 13, 10, 255];
    c.set::<_, _, ()>("binary", &binary)?;
    assert_eq!(c.get::<_, Vec<u8>>("binary")?, binary);
    let wrong: RedisResult<i64> = c.lpush("text", 1);
    assert_eq!(wrong.unwrap_err().code(), Some("WRONGTYPE"));
    for i in 0..300 {
        c.set::<_, _, ()>(format!("scan:{i}"), i)?;
    }
    assert_eq!(c.scan_match::<_, String>("scan:*")?.count(), 300);
    Ok(())
}

fn pipelines(c: &mut redis::Connection, other: &mut redis::Connection) -> RedisResult<()> {
    let mut p = redis::pipe();
    (0..1000).for_each(|_| {
        p.incr("counter", 1);
    });
    let all: Vec<i64> = p.query(c)?;
    assert_eq!(all.last(), Some(&1000));
    let (two, text): (i64, String) =
        redis::pipe().atomic().set("m", 1).ignore().incr("m", 1).get("m").query(c)?;
    assert_eq!((two, text.as_str()), (2, "2"));
    // The first try fails because somebody else is faster.
    let mut tries = 0;
    let (new,): (i64,) = redis::transaction(c, &["m"], |c, pipe| {
        tries += 1;
        let old: i64 = c.get("m")?;
        if tries == 1 {
            other.set::<_, _, ()>("m", 100)?;
        }
        pipe.set("m", old + 1).ignore().get("m").query(c)
    })?;
    assert_eq!((new, tries), (101, 2));
    Ok(())
}

fn messages(c: &mut redis::Connection, other: &mut redis::Connection) -> RedisResult<()> {
    let mut p = c.as_pubsub();
    p.subscribe("news")?;
    p.psubscribe("n*")?;
    assert_eq!(other.publish::<_, _, i64>("news", "hello")?, 2);
    let (first, second) = (p.get_message()?, p.get_message()?);
    assert_eq!(first.get_payload::<String>()?, "hello");
    assert!(!first.from_pattern() && second.from_pattern());
    p.unsubscribe("news")?;
    p.punsubscribe("n*")
}

fn scripts(c: &mut redis::Connection) -> RedisResult<()> {
    let script = redis::Script::new("return redis.call('INCRBY', KEYS[1], ARGV[1])");
    assert_eq!(script.key("scripted").arg(5).invoke::<i64>(c)?, 5);
    redis::cmd("SCRIPT").arg("FLUSH").query::<()>(c)?;
    assert_eq!(script.key("scripted").arg(5).invoke::<i64>(c)?, 10);
    let failed: RedisResult<()> = redis::Script::new("return redis.error_reply('MY own')").invoke(c);
    assert_eq!(failed.unwrap_err().code(), Some("MY"));
    Ok(())
}

fn blocking(c: &mut redis::Connection, client: &redis::Client) -> RedisResult<()> {
    assert_eq!(c.blpop::<_, Option<(String, String)>>("nothing", 0.1)?, None);
    let waiting = client.clone();
    let t = std::thread::spawn(move || {
        waiting.get_connection().unwrap().blpop::<_, (String, String)>(&["q1", "q2"], 30.0)
    });
    blocked(c);
    c.rpush::<_, _, ()>("q2", "element")?;
    assert_eq!(t.join().unwrap()?, ("q2".to_string(), "element".to_string()));
    Ok(())
}

fn streams(c: &mut redis::Connection) -> RedisResult<()> {
    let mut ids = Vec::new();
    for i in 0..5 {
        ids.push(c.xadd::<_, _, _, _, String>("stream", "*", &[("n", i)])?);
    }
    c.xgroup_create::<_, _, _, ()>("stream", "group", "0")?;
    let options = StreamReadOptions::default().group("group", "alice").count(2);
    let read: StreamReadReply = c.xread_options(&["stream"], &[">"], &options)?;
    let got: Vec<&String> = read.keys[0].ids.iter().map(|e| &e.id).collect();
    assert_eq!(got, [&ids[0], &ids[1]]);
    assert_eq!(c.xack::<_, _, _, i64>("stream", "group", &[&ids[0]])?, 1);
    let all: BTreeMap<String, Vec<(String, String)>> =
        c.xrange_all::<_, redis::streams::StreamRangeReply>("stream")?.ids.into_iter().map(|e| (e.id, vec![])).collect();
    assert_eq!(all.into_keys().collect::<Vec<_>>(), ids);
    Ok(())
}

/// Invalidations arrive as pushes.
fn tracking(port: &str, other: &mut redis::Connection) -> RedisResult<()> {
    let mut c = client(port, "resp3").get_connection()?;
    let (sender, pushed) = std::sync::mpsc::channel();
    c.set_push_sender(sender);
    redis::cmd("CLIENT").arg("TRACKING").arg("ON").query::<()>(&mut c)?;
    other.set::<_, _, ()>("tracked", 1)?;
    assert_eq!(c.get::<_, i64>("tracked")?, 1);
    other.set::<_, _, ()>("tracked", 2)?;
    assert!(c.check_connection());
    let push = pushed.iter().find(|p| p.kind == PushKind::Invalidate).expect("an invalidation");
    assert_eq!(push.data, [Value::Array(vec![Value::BulkString(b"tracked".to_vec())])]);
    Ok(())
}

fn main() -> RedisResult<()> {
    let port = std::env::args().nth(1).expect("a port");
    for protocol in ["resp2", "resp3"] {
        let client = client(&port, protocol);
        let expected = if protocol == "resp3" { ProtocolVersion::RESP3 } else { ProtocolVersion::RESP2 };
        assert_eq!(client.get_connection_info().redis.protocol, expected);
        let (mut c, mut other) = (client.get_connection()?, client.get_connection()?);
        assert_eq!(c.get_db(), 4);
        redis::cmd("FLUSHALL").query::<()>(&mut c)?;
        let unknown: RedisResult<()> = redis::cmd("NOSUCH").query(&mut c);
        assert_eq!(unknown.unwrap_err().kind(), ErrorKind::ResponseError);
        values(&mut c)?;
        pipelines(&mut c, &mut other)?;
        messages(&mut c, &mut other)?;
        scripts(&mut c)?;
        blocking(&mut c, &client)?;
        streams(&mut c)?;
    }
    if std::env::args().nth(2).as_deref() != Some("--no-tracking") {
        tracking(&port, &mut client(&port, "resp2").get_connection()?)?;
    }
    println!("ok");
    Ok(())
}
