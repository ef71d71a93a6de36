//! `CLIENT TRACKING` under many threads: no client keeps a value that has changed.
mod common;
use common::{info, Client, Reply, Server};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

const KEYS: usize = 24;

fn key(n: usize) -> String {
    format!("key:{n}")
}

/// A small generator, so that a run can be told by its seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }
}

/// A client that caches what it reads.
struct Cache {
    client: Client,
    values: HashMap<String, Reply>,
    told: usize,
}

impl Cache {
    fn new(server: &Server, mode: &[&str]) -> Cache {
        let mut client = server.client();
        client.cmd(&["HELLO", "3"]);
        client.cmd(&[&["CLIENT", "TRACKING", "on"], mode].concat()).ok();
        Cache { client, values: HashMap::new(), told: 0 }
    }

    /// Sends a command and reads its reply; what comes before it is taken in.
    fn ask(&mut self, args: &[&str]) -> Reply {
        self.client.send(args);
        self.reply()
    }

    /// The next reply.
    fn reply(&mut self) -> Reply {
        loop {
            let reply = self.client.read();
            match &reply {
                Reply::Array(parts) if parts.first() == Some(&Reply::Bulk("invalidate".into())) => {
                    self.told += 1;
                    match &parts[1] {
                        Reply::Nil => self.values.clear(),
                        keys => keys.items().iter().for_each(|k| {
                            self.values.remove(k.text());
                        }),
                    }
                }
                _ => return reply,
            }
        }
    }

    fn get(&mut self, key: &str) {
        if !self.values.contains_key(key) {
            let value = self.ask(&["GET", key]);
            self.values.insert(key.to_string(), value);
        }
    }

    /// Reads several keys, by one command or by a pipeline, each of them anew.
    fn get_many(&mut self, keys: &[String], pipelined: bool) {
        let words: Vec<&str> = keys.iter().map(String::as_str).collect();
        if pipelined {
            // A message between two replies may be about the key of the one that is yet to come.
            let bytes: Vec<u8> = words.iter().flat_map(|k| common::encode(&["GET", k])).collect();
            self.client.raw(&bytes);
            for k in keys {
                let value = self.reply();
                self.values.insert(k.clone(), value);
            }
        } else {
            let reply = self.ask(&[&["MGET"], &words[..]].concat());
            for (k, v) in keys.iter().zip(reply.items()) {
                self.values.insert(k.clone(), v.clone());
            }
        }
    }
}

fn write(c: &mut Client, dice: &mut Dice, n: usize) {
    let (k, other) = (key(dice.below(KEYS)), key(dice.below(KEYS)));
    let value = n.to_string();
    match dice.below(12) {
        0 => drop(c.cmd(&["DEL", &k])),
        1 => drop(c.cmd(&["MSET", &k, &value, &other, &value])),
        2 => drop(c.cmd(&["EVAL", "redis.call('set', KEYS[1], ARGV[1])", "1", &k, &value])),
        3 => drop(c.cmd(&["RENAME", &k, &other])),
        4 => drop(c.cmd(&["SET", &k, &value, "PX", "3"])),
        5 => {
            c.cmd(&["MULTI"]).ok();
            c.cmd(&["SET", &k, &value]);
            c.cmd(&["APPEND", &other, "x"]);
            c.cmd(&["EXEC"]);
        }
        6 if n % 40 == 0 => drop(c.cmd(&["FLUSHDB"])),
        _ => drop(c.cmd(&["SET", &k, &value])),
    }
}

#[test]
fn caches_are_right_in_the_end() {
    const WRITES: usize = 3000;
    let s = Server::start(&["--server-threads", "4"]);
    let writing = AtomicBool::new(true);
    let finished = AtomicUsize::new(0);
    let mut caches: Vec<Cache> = (0..4).map(|_| Cache::new(&s, &[])).collect();
    caches.push(Cache::new(&s, &["BCAST", "PREFIX", "key:"]));
    caches.push(Cache::new(&s, &["BCAST"]));
    std::thread::scope(|scope| {
        for w in 0..3 {
            let (s, writing, finished) = (&s, &writing, &finished);
            scope.spawn(move || {
                let (mut c, mut dice) = (s.client(), Dice(w));
                (0..WRITES).for_each(|n| write(&mut c, &mut dice, n));
                if finished.fetch_add(1, Relaxed) == 2 {
                    writing.store(false, Relaxed);
                }
            });
        }
        for (i, cache) in caches.iter_mut().enumerate() {
            let writing = &writing;
            scope.spawn(move || {
                let mut dice = Dice(100 + i as u64);
                while writing.load(Relaxed) {
                    let k = key(dice.below(KEYS));
                    match dice.below(8) {
                        0 => {
                            drop(cache.ask(&["EVAL", "return redis.call('get', KEYS[1])", "1", &k]))
                        }
                        1 => cache.get_many(&[k, key(dice.below(KEYS))], false),
                        2 => cache.get_many(&[k, key(dice.below(KEYS)), key(0)], true),
                        _ => cache.get(&k),
                    }
                }
            });
        }
    });
    let mut c = s.client();
    // Keys with an expiry go by the server's own regular work.
    for _ in 0..500 {
        let line = info(&mut c, "keyspace", "db0");
        if line.contains("expires=0") {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    for cache in &mut caches {
        // What was told before is in front of the second reply at the latest.
        cache.ask(&["PING"]);
        cache.ask(&["PING"]);
        assert!(cache.told > 0, "nobody was told of anything");
        for (k, cached) in &cache.values {
            assert_eq!(*cached, c.cmd(&["GET", k]), "a client keeps an old value of {k}");
        }
    }
}

#[test]
fn blocked_clients_are_told_while_they_wait_and_behind_their_reply() {
    let s = Server::start(&[]);
    let mut w = s.client();
    let mut c = Cache::new(&s, &[]);
    w.cmd(&["RPUSH", "other", "a"]);
    assert_eq!(c.ask(&["LRANGE", "other", "0", "-1"]).items().len(), 1);
    c.ask(&["GET", "k"]);
    c.client.send(&["BLMOVE", "list", "other", "left", "left", "0"]);
    while info(&mut w, "clients", "blocked_clients") != "1" {}
    w.cmd(&["SET", "k", "1"]).ok();
    // It is blocked, and told at once.
    let told = c.client.read();
    assert_eq!(told.items()[1].items()[0].text(), "k");
    w.cmd(&["RPUSH", "list", "x"]);
    assert_eq!(c.client.read(), Reply::Bulk("x".into()));
    assert_eq!(c.client.read().items()[1].items()[0].text(), "other");
}

#[test]
fn the_table_keeps_its_limit_and_forgets_with_the_last_client() {
    let s = Server::start(&["--tracking-table-max-keys", "10"]);
    let mut plain = s.client();
    let mut c = Cache::new(&s, &[]);
    for i in 0..200 {
        c.ask(&["GET", &format!("k{i}")]);
    }
    c.ask(&["PING"]);
    let keys: usize = info(&mut plain, "stats", "tracking_total_keys").parse().unwrap();
    assert!(keys <= 10, "{keys} keys are tracked");
    assert!(c.told >= 190, "told of {} forgotten keys", c.told);
    assert_eq!(info(&mut plain, "clients", "tracking_clients"), "1");
    c.ask(&["CLIENT", "TRACKING", "off"]).ok();
    for field in ["tracking_total_keys", "tracking_total_items", "tracking_total_prefixes"] {
        assert_eq!(info(&mut plain, "stats", field), "0");
    }
    assert_eq!(info(&mut plain, "clients", "tracking_clients"), "0");
}

#[test]
fn clients_that_end_leave_nothing_behind() {
    let s = Server::start(&[]);
    let mut plain = s.client();
    for mode in [&[][..], &["BCAST", "PREFIX", "a", "PREFIX", "b"]] {
        let mut c = Cache::new(&s, mode);
        c.ask(&["GET", "x"]);
        drop(c);
        while info(&mut plain, "clients", "tracking_clients") != "0" {}
        assert_eq!(info(&mut plain, "stats", "tracking_total_keys"), "0");
        assert_eq!(info(&mut plain, "stats", "tracking_total_prefixes"), "0");
    }
    plain.cmd(&["SET", "x", "1"]).ok();
    plain.cmd(&["SET", "a1", "1"]).ok();
}

/// A client whose module command was answered rests without its serving thread having seen it: messages reach it all the
/// same, and so does its end.
#[test]
fn messages_reach_a_client_that_the_module_thread_answered() {
    const MESSAGES: usize = 3000;
    let module = common::own_modules().join("basic.so");
    let s = Server::start(&["--server-threads", "2", "--loadmodule", &module.to_string_lossy()]);
    let mut listener = s.client();
    listener.cmd(&["HELLO", "3"]);
    listener.cmd(&["SUBSCRIBE", "news"]);
    let mut speaker = s.client();
    let done = AtomicBool::new(false);
    let is_news = |reply: &Reply| match reply {
        Reply::Array(parts) => parts.first() == Some(&Reply::Bulk("message".into())),
        _ => false,
    };
    let mut heard = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..MESSAGES {
                assert_eq!(speaker.cmd(&["PUBLISH", "news", "x"]).int(), 1);
            }
            done.store(true, Relaxed);
        });
        while !done.load(Relaxed) {
            listener.send(&["basic.call", "", "ECHO", "here"]);
            while is_news(&listener.read()) {
                heard += 1;
            }
        }
    });
    // From here on it sends nothing.
    while heard < MESSAGES {
        assert!(is_news(&listener.read()));
        heard += 1;
    }
    let id = listener.cmd(&["CLIENT", "ID"]).int().to_string();
    assert_eq!(listener.cmd(&["basic.call", "", "ECHO", "bye"]).text(), "bye");
    assert_eq!(speaker.cmd(&["CLIENT", "KILL", "ID", &id]).int(), 1);
    assert_eq!(listener.try_read(), None);
}
