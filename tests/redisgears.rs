//! redisgears.so with its JavaScript engine: libraries, functions and triggers answer as they do on the reference.
mod common;
use common::{real_modules, Client, Reply, Server};
use std::time::{Duration, Instant};

const LIBRARY: &str = r#"#!js api_version=1.0 name=lib
redis.registerFunction('hello', (client, who) => 'hello ' + who);
redis.registerFunction('sum', (client, ...xs) => xs.map(Number).reduce((a, b) => a + b, 0));
redis.registerFunction('put', (client, key, value) => { client.call('set', key, value); return client.call('get', key); });
redis.registerFunction('shape', () => [1, 'two', null, [true, 2.5]]);
redis.registerFunction('fail', () => { throw 'on purpose'; });
redis.registerFunction('wrong', (client) => client.call('lpush', 'str', 'x'));
redis.registerFunction('nosuch', (client) => client.call('nosuch'));
redis.registerFunction('readonly', (client) => client.call('get', 'k'), { flags: [redis.functionFlags.NO_WRITES] });
redis.registerAsyncFunction('later', async (client, key) => client.block((c) => c.call('incr', key)));
redis.registerAsyncFunction('many', async (client, key) => {
    for (let i = 0; i < 100; i++) client.block((c) => c.call('incr', key));
    return 'done';
});
redis.registerKeySpaceTrigger('trigger', 't:', (client, data) => { client.call('rpush', 'seen', data.event + ' ' + data.key); });
redis.registerStreamTrigger('stream', 's:', (client, data) => { client.call('rpush', 'streamed', JSON.stringify(data.record)); },
    { isStreamTrimmed: true, window: 1 });
"#;

/// Commands whose replies are compared; `~` stands for a blank.
const SCRIPT: &[&str] = &[
    "TFUNCTION LOAD nonsense",
    "TFUNCTION LOAD #!js~api_version=1.0~name=bad\nfoo(",
    "TFUNCTION LOAD #!lua~api_version=1.0~name=bad\nx",
    "TFCALL lib.hello 0 you",
    "TFCALL lib.sum 0 1 2 3",
    "TFCALL lib.put 1 k v",
    "GET k",
    "TFCALL lib.shape 0",
    "TFCALL lib.fail 0",
    "SET str x",
    "TFCALL lib.wrong 0",
    "TFCALL lib.nosuch 0",
    "TFCALL lib.readonly 0",
    "TFCALL lib.none 0",
    "TFCALL none.none 0",
    "TFCALL",
    "TFCALL lib.later 0 n",
    "TFCALLASYNC lib.later 0 n",
    "TFCALLASYNC lib.hello 0 async",
    "TFCALLASYNC lib.many 0 m",
    "GET m",
    "MULTI",
    "TFCALL lib.put 1 k2 v2",
    "TFCALLASYNC lib.later 0 n",
    "EXEC",
    "EVAL return~redis.call('TFCALL','lib.hello','0','lua') 0",
    "SET t:1 x",
    "DEL t:1",
    "HSET t:2 f v",
    "XADD s:1 1-1 f v",
    "XADD s:1 2-1 g w",
];

fn run(c: &mut Client, line: &str) -> Reply {
    let words: Vec<String> = line.split(' ').map(|w| w.replace('~', " ")).collect();
    c.cmd(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Asks again until it is so: triggers run a moment later.
fn until(c: &mut Client, line: &str, is_so: impl Fn(&Reply) -> bool) -> Reply {
    let begin = Instant::now();
    loop {
        let reply = run(c, line);
        if is_so(&reply) {
            return reply;
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "{line}: {reply:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn transcript(server: &mut Server) -> Vec<(String, Reply)> {
    let c = &mut server.client();
    c.cmd(&["TFUNCTION", "LOAD", LIBRARY]).ok();
    let mut all = vec![("again".into(), c.cmd(&["TFUNCTION", "LOAD", LIBRARY]))];
    c.cmd(&["TFUNCTION", "LOAD", "REPLACE", LIBRARY]).ok();
    for line in SCRIPT {
        all.push((line.to_string(), run(c, line)));
    }
    let has = |n: usize| move |r: &Reply| r.items().len() == n;
    all.push(("seen".into(), until(c, "LRANGE seen 0 -1", has(3))));
    all.push(("streamed".into(), until(c, "LRANGE streamed 0 -1", has(2))));
    all.push(("trimmed".into(), until(c, "XLEN s:1", |r| *r == Reply::Int(0))));
    for line in [
        "CONFIG SET redisgears_2.lock-redis-timeout 1000",
        "CONFIG GET redisgears_2.lock-redis-timeout",
        "DEBUG RELOAD",
        "TFCALL lib.hello 0 reloaded",
        "TFUNCTION DELETE lib",
        "TFUNCTION DELETE lib",
        "TFCALL lib.hello 0 gone",
        "TFUNCTION LIST",
    ] {
        all.push((line.to_string(), run(c, line)));
    }
    server.assert_alive();
    all
}

#[test]
fn functions_and_triggers_are_those_of_the_reference() {
    let lib = real_modules();
    let path = |file: &str| lib.join(file).display().to_string();
    let (module, engine) = (path("redisgears.so"), path("libredisgears_v8_plugin.so"));
    let args = ["--loadmodule", &module, "v8-plugin-path", &engine];
    let expected = transcript(&mut Server::reference(&args));
    let ours = transcript(&mut Server::start(&args));
    ours.iter().zip(&expected).for_each(|(a, b)| assert_eq!(a, b));
    assert_eq!(ours.len(), expected.len());
}
