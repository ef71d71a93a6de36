//! What stands for a slot of a template: keys, values, members, numbers, times.
use super::random::Random;
use std::time::{SystemTime, UNIX_EPOCH};

/// The keys of each sort; other sorts get in by chance, so that types are mixed up now and then.
const KEYS: &[(&str, &[&str])] = &[
    ("str", &["s0", "s1", "s2"]),
    ("num", &["n0", "n1"]),
    ("bits", &["b0", "b1", "b2"]),
    ("list", &["l0", "l1", "l2"]),
    ("set", &["e0", "e1", "e2"]),
    ("hash", &["h0", "h1", "h2"]),
    ("zset", &["z0", "z1", "z2"]),
    ("stream", &["x0", "x1"]),
    ("geo", &["g0", "g1"]),
    ("hll", &["p0", "p1", "p2"]),
];

/// Numbers and words that are often read wrongly.
const ODD: &[&str] = &[
    "",
    "-1",
    "0",
    "abc",
    "1.5",
    "nan",
    "-nan",
    "inf",
    "+inf",
    "-inf",
    "1e3",
    "0x10",
    " 1",
    "1 ",
    "+1",
    "-0",
    "01",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "18446744073709551615",
    "99999999999999999999999",
    "(1",
    "[a",
    "*",
    "$",
    "-",
    "+",
    "1-1",
    "\u{0}",
    "\r\n",
    "\u{e4}",
];

/// Directives that may have any value for a moment, and their defaults.
const SETTINGS: &[(&str, &str)] = &[
    ("slowlog-log-slower-than", "10000"),
    ("slowlog-max-len", "128"),
    ("latency-monitor-threshold", "0"),
    ("latency-tracking", "yes"),
    ("latency-tracking-info-percentiles", "50 99 99.9"),
    ("tracking-table-max-keys", "1000000"),
    ("lfu-log-factor", "10"),
    ("lfu-decay-time", "1"),
    ("maxmemory-samples", "5"),
    ("maxmemory-eviction-tenacity", "10"),
    ("active-expire-effort", "1"),
    ("active-defrag-threshold-lower", "10"),
    ("active-defrag-cycle-min", "1"),
    ("activerehashing", "yes"),
    ("repl-timeout", "60"),
    ("repl-ping-replica-period", "10"),
    ("repl-diskless-sync-delay", "5"),
    ("replica-priority", "100"),
    ("replica-lazy-flush", "no"),
    ("min-replicas-max-lag", "10"),
    ("cluster-node-timeout", "15000"),
    ("cluster-announce-ip", ""),
    ("cluster-enabled", "no"),
    ("tcp-keepalive", "300"),
    ("databases", "16"),
    ("io-threads", "1"),
    ("appendfilename", "appendonly.aof"),
    ("appendfsync", "everysec"),
    ("no-appendfsync-on-rewrite", "no"),
    ("auto-aof-rewrite-percentage", "100"),
    ("auto-aof-rewrite-min-size", "67108864"),
    ("aof-timestamp-enabled", "no"),
    ("stop-writes-on-bgsave-error", "yes"),
    ("rdbcompression", "yes"),
    ("rdb-save-incremental-fsync", "yes"),
    ("lazyfree-lazy-eviction", "no"),
    ("lazyfree-lazy-user-flush", "no"),
    ("dynamic-hz", "yes"),
    ("loglevel", "notice"),
    ("crash-log-enabled", "yes"),
    ("acllog-max-len", "128"),
    ("acl-pubsub-default", "resetchannels"),
    ("shutdown-timeout", "10"),
    (
        "client-output-buffer-limit",
        "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60",
    ),
];

/// Values for them.
const SETTING_VALUES: &[&str] = &[
    "0",
    "1",
    "7",
    "100",
    "1000",
    "-2",
    "101",
    "65537",
    "yes",
    "no",
    "YES",
    "1mb",
    "2GB",
    "1k",
    "1 k",
    "10%",
    "3.5",
    "always",
    "verbose",
    "debug",
    "allchannels",
    "normal 1mb 2mb 3",
    "pubsub 0 0",
    "replica 1 2 3 normal 0 0 0",
    "none 0 0 0",
    "50",
    "50 99.95",
    "-1 50",
    "",
];

/// The state from which commands are made.
pub struct Words {
    /// The random numbers.
    pub random: Random,
    /// Ends every key, so that connections can have keys of their own.
    pub suffix: String,
    /// The first key of the group in the making.
    pub same: Option<Vec<u8>>,
    /// Keys may expire without being deleted at once.
    pub past: bool,
    /// Unix time in seconds when the run began.
    pub start: i64,
}

impl AsMut<Random> for Words {
    fn as_mut(&mut self) -> &mut Random {
        &mut self.random
    }
}

impl Words {
    /// Words that depend on the seed (and, where they are times, on the clock).
    pub fn new(seed: u64, suffix: &str) -> Words {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_secs() as i64);
        Words {
            random: Random::new(seed),
            suffix: suffix.into(),
            same: None,
            past: false,
            start: now,
        }
    }

    /// A word that fits hardly anywhere.
    pub fn odd(&mut self) -> Vec<u8> {
        self.random.pick(ODD).as_bytes().to_vec()
    }

    fn key(&mut self, sort: &str) -> Vec<u8> {
        let known = KEYS.iter().find(|(name, _)| *name == sort);
        let name = match (known, self.random.below(24)) {
            (_, 0) => "none",
            (Some((_, keys)), 2..) => self.random.pick(keys),
            _ => {
                let (_, keys) = self.random.pick(KEYS);
                self.random.pick(keys)
            }
        };
        let key = format!("{name}{}", self.suffix).into_bytes();
        self.same.get_or_insert_with(|| key.clone());
        key
    }

    fn integer(&mut self) -> i64 {
        match self.random.below(20) {
            0 => self.random.bits() as i64,
            1 => i64::MAX - self.random.range(0, 2),
            2 => i64::MIN + self.random.range(0, 2),
            3 => self.random.range(-70_000, 70_000),
            4..=7 => self.random.range(-130, 130),
            _ => self.random.range(-5, 12),
        }
    }

    fn float(&mut self) -> String {
        match self.random.below(16) {
            0 => {
                // Nothing denormal: the reference leaves C's error number behind, and a later SORT fails by it.
                self.random.pick(&["inf", "-inf", "+inf", "1e300", "-1e-300"]).to_string()
            }
            1 => format!("{}", f64::from_bits(self.random.bits() >> 2 | 1 << 60)),
            2 => format!("{:e}", self.random.range(-99_999, 99_999) as f64 / 7.0),
            3 => self.random.pick(&["3.0", "-0", "0.1", ".5", "1e5", "17179869184"]).to_string(),
            4..=7 => format!("{}", self.random.range(-400, 400) as f64 / 8.0),
            _ => self.random.range(-9, 20).to_string(),
        }
    }

    fn value(&mut self) -> Vec<u8> {
        match self.random.below(32) {
            0 => Vec::new(),
            1 => vec![b'x'; self.random.range(40, 70) as usize],
            2 => vec![b'y'; self.random.range(100, 300) as usize],
            3 if self.random.chance(20) => vec![b'z'; self.random.range(3000, 9000) as usize],
            3 | 4 => (0..self.random.below(9)).map(|_| self.random.bits() as u8).collect(),
            5..=8 => self.float().into_bytes(),
            9..=16 => self.integer().to_string().into_bytes(),
            17 => {
                let size = self.random.range(1, 90) as usize;
                (0..size).map(|_| b'a' + self.random.below(4) as u8).collect()
            }
            _ => self.random.pick(&["a", "b", "foo", "bar", "hello world"]).as_bytes().to_vec(),
        }
    }

    /// A member or a field: from a small store, so that it is often met again.
    fn member(&mut self) -> Vec<u8> {
        match self.random.below(30) {
            0 => self.value(),
            1 => vec![b'm'; self.random.range(60, 70) as usize],
            2..=9 => self.random.range(0, 40).to_string().into_bytes(),
            10 => self.integer().to_string().into_bytes(),
            _ => format!("{}{}", self.random.pick(&["a", "b", "m"]), self.random.below(12))
                .into_bytes(),
        }
    }

    /// A time that no test run reaches, or one that is long over.
    fn moment(&mut self) -> i64 {
        match self.random.below(12) {
            0 => self.random.range(1, 1_000_000),
            1 => self.start - self.random.range(10, 1_000_000),
            _ => self.start + self.random.range(100_000, 900_000_000),
        }
    }

    fn span(&mut self) -> i64 {
        match self.random.below(14) {
            0 => -self.random.range(0, 100),
            _ => self.random.range(100_000, 900_000_000),
        }
    }

    fn stream_id(&mut self) -> String {
        match self.random.below(16) {
            0 => "0".into(),
            1 => "0-0".into(),
            2 => "18446744073709551615-18446744073709551615".into(),
            3 => self.random.range(0, 60).to_string(),
            _ => format!("{}-{}", self.random.range(0, 60), self.random.range(0, 3)),
        }
    }

    fn score_bound(&mut self) -> String {
        match self.random.below(10) {
            0 => "-inf".into(),
            1 => "+inf".into(),
            2 | 3 => format!("({}", self.float()),
            _ => self.float(),
        }
    }

    fn lex_bound(&mut self) -> Vec<u8> {
        match self.random.below(8) {
            0 => b"-".to_vec(),
            1 => b"+".to_vec(),
            n => [if n < 5 { &b"["[..] } else { b"(" }, &self.member()].concat(),
        }
    }

    /// The words of the slot `name`.
    pub fn fill(&mut self, name: &str, out: &mut Vec<Vec<u8>>) {
        let random = &mut self.random;
        let text: String = match name {
            "same" => {
                out.push(self.same.clone().unwrap_or_default());
                return;
            }
            "v" => return out.push(self.value()),
            "m" => return out.push(self.member()),
            "odd" => return out.push(self.odd()),
            "lex" => return out.push(self.lex_bound()),
            "int" => self.integer().to_string(),
            "float" => self.float(),
            "score" => match random.below(3) {
                0 => self.float(),
                _ => random.range(-5, 12).to_string(),
            },
            "bound" => self.score_bound(),
            // A number of things.
            "n" => match random.below(8) {
                0 => random.range(-2, 1).to_string(),
                _ => random.range(1, 6).to_string(),
            },
            "count" => random.range(1, 30).to_string(),
            "few" => match random.below(12) {
                0 => random.range(-3, 0).to_string(),
                _ => random.range(0, 8).to_string(),
            },
            // A place in a list or a string.
            "idx" => random.range(-9, 12).to_string(),
            "off" => match random.below(14) {
                0 => random.range(0, 20_000).to_string(),
                1 => "-1".into(),
                2 => "4294967296".into(),
                3 => "9223372036854775807".into(),
                _ => random.range(0, 40).to_string(),
            },
            "bit" => random.below(2).to_string(),
            "bitoff" => match random.below(14) {
                0 => random.range(0, 9000).to_string(),
                1 => "4294967296".into(),
                2 => "-1".into(),
                _ => random.range(0, 130).to_string(),
            },
            "bfoff" => match random.below(4) {
                0 => format!("#{}", random.below(20)),
                _ => random.range(0, 130).to_string(),
            },
            "bftype" => match random.below(12) {
                0 => random.pick(&["u64", "i65", "u0", "i0", "x8", "u", "i08"]).to_string(),
                _ => format!("{}{}", random.pick(&["i", "u"]), random.range(1, 63)),
            },
            "sec" => self.span().to_string(),
            // Over, or far off: never within the time that a sequence takes.
            "ms" => match (self.span() * 1000, self.random.range(0, 999)) {
                (ago @ ..=0, more) => (ago - more).to_string(),
                (ahead, more) => (ahead + more).to_string(),
            },
            // Where a key would stay behind expired, only if the sequence allows for it.
            "at" if !self.past => {
                (self.start + self.random.range(100_000, 900_000_000)).to_string()
            }
            "atms" if !self.past => {
                (self.start * 1000 + self.random.range(100_000_000, 900_000_000_000)).to_string()
            }
            "at" | "anyat" => self.moment().to_string(),
            "atms" | "anyatms" => (self.moment() * 1000 + self.random.range(0, 999)).to_string(),
            "id" => self.stream_id(),
            "newid" => match random.below(30) {
                0 => self.stream_id(),
                1..=4 => format!("{}-*", random.range(0, 90)),
                5..=9 => format!("{}", random.range(0, 200)),
                _ => format!("{}-{}", random.range(0, 200), random.range(0, 9)),
            },
            "first" => match random.below(4) {
                0 => "-".into(),
                1 => format!("({}", self.stream_id()),
                _ => self.stream_id(),
            },
            "last" => match random.below(4) {
                0 | 1 => "+".into(),
                2 => format!("({}", self.stream_id()),
                _ => self.stream_id(),
            },
            "group" => random.pick(&["ga", "gb", "gc"]).to_string(),
            "consumer" => random.pick(&["ca", "cb", "cc"]).to_string(),
            "lon" => format!("{}", random.range(-1_900_000, 1_900_000) as f64 / 10_000.0),
            "lat" => format!("{}", random.range(-880_000, 880_000) as f64 / 10_000.0),
            "nearlon" => format!("{}", 13.0 + random.range(-9000, 9000) as f64 / 10_000.0),
            "nearlat" => format!("{}", 38.0 + random.range(-9000, 9000) as f64 / 10_000.0),
            "gridlon" => format!("{}", 13.0 + random.range(0, 3) as f64 / 10.0),
            "gridlat" => format!("{}", 38.0 + random.range(0, 3) as f64 / 10.0),
            "unit" => random.pick(&["m", "km", "ft", "mi", "M", "KM", "xx"]).to_string(),
            "distance" => match random.below(6) {
                0 => self.float(),
                _ => random.range(1, 300).to_string(),
            },
            "weight" => self.float(),
            "pattern" => random
                .pick(&["*", "a*", "?", "??", "[a-m]*", "[^a]*", "*1", "m\\*", "", "s0*", "*[12]*"])
                .to_string(),
            "sortby" => random
                .pick(&["nosort", "w_*", "h0->*", "s*", "n*", "h0->a1", "*->a1", "none"])
                .to_string(),
            "sortget" => {
                random.pick(&["#", "s*", "w_*", "*", "h0->*", "*->a1", "none*"]).to_string()
            }
            "db" => random.pick(&["0", "0", "1", "2", "3", "15", "16", "-1"]).to_string(),
            "chan" => random.pick(&["c0", "c1", "c2"]).to_string(),
            "cpat" => random.pick(&["c*", "c?", "*1", "[a-c]0"]).to_string(),
            "type" => random
                .pick(&["string", "list", "set", "zset", "hash", "stream", "none", "STRING", "xx"])
                .to_string(),
            "threshold" => {
                let all = super::pair::DIRECTIVES.iter().map(|(name, _)| *name);
                let sets = ["set-max-intset-entries", "set-max-listpack-entries"];
                let all = all.filter(|name| name.contains("-max-") && !sets.contains(name));
                let all: Vec<_> = all.collect();
                random.pick(&all).to_string()
            }
            "directive" => {
                let (name, _) = *random.pick(SETTINGS);
                self.same.get_or_insert_with(|| name.into());
                name.into()
            }
            "setting" => random.pick(SETTING_VALUES).to_string(),
            "default" => {
                let same = self.same.as_deref();
                let found = SETTINGS.iter().find(|(name, _)| same == Some(name.as_bytes()));
                found.map_or("", |(_, value)| value).to_string()
            }
            "aclrule" => random.pick(super::scripts::ACL_RULES).to_string(),
            "empty" => String::new(),
            "libraries" => return out.push(super::scripts::libraries(random)),
            "restore" => super::scripts::RESTORE.into(),
            "script" => random.pick(super::scripts::SCRIPTS).to_string(),
            "sha" => super::scripts::sha(random),
            "library" => random.pick(super::scripts::LIBRARIES).to_string(),
            "weightkey" => format!("w_{}", random.range(0, 12)),
            "key" => return self.push_key("", out),
            sort => return self.push_key(sort, out),
        };
        out.push(text.into_bytes());
    }

    fn push_key(&mut self, sort: &str, out: &mut Vec<Vec<u8>>) {
        assert!(sort.is_empty() || KEYS.iter().any(|(name, _)| *name == sort), "no slot {sort}");
        let key = self.key(sort);
        out.push(key);
    }
}
