//! The rows of the benchmark: what is loaded before, and which command is measured.

/// A small deterministic generator (xorshift), so that both servers get the same keys.
pub struct Random(u64);

impl Random {
    /// A generator of its own sequence for each seed.
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((u128::from(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)) * u128::from(n)) >> 64) as u64
    }

    /// `length` letters and digits.
    pub fn text(&mut self, length: usize) -> String {
        const LETTERS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
        (0..length).map(|_| LETTERS[self.below(36) as usize] as char).collect()
    }
}

/// One command.
pub type Words = Vec<String>;

/// A row. `n` is the size of the key space, `i` runs from 0 to below it while the server is filled.
pub struct Row {
    /// As in `--rows`.
    pub name: &'static str,
    /// Modules that the servers load.
    pub modules: &'static [&'static str],
    /// Commands sent once, before the filling.
    pub setup: fn() -> Vec<Words>,
    /// Fills entry `i`.
    pub fill: Option<fn(&mut Random, u64) -> Words>,
    /// Entries filled, where it is not `--keys`.
    pub entries: Option<u64>,
    /// The command measured.
    pub command: fn(&mut Random, u64) -> Words,
}

fn words(parts: &[&str]) -> Words {
    parts.iter().map(|part| part.to_string()).collect()
}

fn no_setup() -> Vec<Words> {
    Vec::new()
}

fn key(prefix: &str, i: u64) -> String {
    format!("{prefix}:{i:012}")
}

fn set(random: &mut Random, i: u64) -> Words {
    words(&["SET", &key("key", i), &random.text(64)])
}

fn hash(random: &mut Random, name: String) -> Words {
    let (n, tag) = (random.below(1_000_000).to_string(), format!("t{}", random.below(100)));
    let title = format!("w{:04} w{:04}", random.below(10_000), random.below(10_000));
    words(&["HSET", &name, "title", &title, "n", &n, "tag", &tag])
}

fn json(random: &mut Random) -> String {
    let variant = |i: u64| format!(r#"{{"sku":"sku-{i:04}","size":{i},"price":{i}.95}}"#);
    let variants: Vec<String> = (0..6).map(variant).collect();
    let head = format!(
        r#"{{"id":{},"name":"a product of some kind","price":19.95,"active":true,"tags":["alpha","beta","gamma"],"address":{{"street":"12 Long Street","city":"Springfield","geo":{{"lat":42.1015,"lon":-72.5898}}}},"variants":[{}],"text":""#,
        random.below(1_000_000),
        variants.join(",")
    );
    let fill = random.text(1022usize.saturating_sub(head.len()));
    format!("{head}{fill}\"}}")
}

fn schema(index: &str, prefix: &str) -> Words {
    let head = ["FT.CREATE", index, "ON", "HASH", "PREFIX", "1", prefix, "SCHEMA"];
    let fields = ["title", "TEXT", "n", "NUMERIC", "tag", "TAG"];
    words(&[&head[..], &fields[..]].concat())
}

/// Modules of rows that are our own test modules.
pub const OWN_MODULES: &[&str] = &["empty"];

/// All rows but `stall`, which has a loop of its own.
pub const ROWS: &[Row] = &[
    Row {
        name: "get",
        modules: &[],
        setup: no_setup,
        fill: Some(set),
        entries: None,
        command: |random, n| words(&["GET", &key("key", random.below(n))]),
    },
    Row {
        name: "set",
        modules: &[],
        setup: no_setup,
        fill: Some(set),
        entries: None,
        command: |random, n| {
            let i = random.below(n);
            set(random, i)
        },
    },
    Row {
        name: "incr",
        modules: &[],
        setup: no_setup,
        fill: Some(|_, i| words(&["INCR", &key("count", i)])),
        entries: None,
        command: |random, n| words(&["INCR", &key("count", random.below(n))]),
    },
    Row {
        name: "hset",
        modules: &[],
        setup: no_setup,
        fill: Some(|random, i| words(&["HSET", &key("hash", i), "f0", &random.text(64)])),
        entries: None,
        command: |random, n| {
            let (name, field) = (key("hash", random.below(n)), format!("f{}", random.below(4)));
            words(&["HSET", &name, &field, &random.text(64)])
        },
    },
    Row {
        name: "hget",
        modules: &[],
        setup: no_setup,
        fill: Some(|random, i| words(&["HSET", &key("hash", i), "f0", &random.text(64)])),
        entries: None,
        command: |random, n| words(&["HGET", &key("hash", random.below(n)), "f0"]),
    },
    Row {
        name: "lpush",
        modules: &[],
        setup: no_setup,
        fill: Some(|random, i| words(&["LPUSH", &key("list", i), &random.text(64)])),
        entries: None,
        command: |random, n| words(&["LPUSH", &key("list", random.below(n)), &random.text(64)]),
    },
    Row {
        name: "sadd",
        modules: &[],
        setup: no_setup,
        fill: Some(|random, i| words(&["SADD", &key("set", i), &random.below(100).to_string()])),
        entries: None,
        command: |random, n| {
            let name = key("set", random.below(n));
            words(&["SADD", &name, &random.below(100).to_string()])
        },
    },
    Row {
        name: "zadd",
        modules: &[],
        setup: no_setup,
        fill: Some(zadd),
        entries: None,
        command: zadd,
    },
    Row {
        name: "mget",
        modules: &[],
        setup: no_setup,
        fill: Some(set),
        entries: None,
        command: |random, n| {
            let mut command = words(&["MGET"]);
            command.extend((0..10).map(|_| key("key", random.below(n))));
            command
        },
    },
    Row {
        name: "xadd",
        modules: &[],
        setup: no_setup,
        fill: None,
        entries: Some(1000),
        command: |random, n| {
            let name = format!("stream:{}", random.below(n));
            words(&["XADD", &name, "*", "field", &random.text(64)])
        },
    },
    Row {
        name: "empty",
        modules: &["empty"],
        setup: no_setup,
        fill: None,
        entries: None,
        command: |_, _| words(&["EMPTY"]),
    },
    Row {
        name: "empty.open",
        modules: &["empty"],
        setup: no_setup,
        fill: Some(set),
        entries: None,
        command: |random, n| words(&["EMPTY.OPEN", &key("key", random.below(n))]),
    },
    Row {
        name: "json.set",
        modules: &["rejson"],
        setup: no_setup,
        fill: Some(|random, i| words(&["JSON.SET", &key("doc", i), "$", &json(random)])),
        entries: Some(10_000),
        command: |random, n| {
            let name = key("doc", random.below(n));
            words(&["JSON.SET", &name, "$", &json(random)])
        },
    },
    Row {
        name: "json.get",
        modules: &["rejson"],
        setup: no_setup,
        fill: Some(|random, i| words(&["JSON.SET", &key("doc", i), "$", &json(random)])),
        entries: Some(10_000),
        command: |random, n| words(&["JSON.GET", &key("doc", random.below(n))]),
    },
    Row {
        name: "json.get-path",
        modules: &["rejson"],
        setup: no_setup,
        fill: Some(|random, i| words(&["JSON.SET", &key("doc", i), "$", &json(random)])),
        entries: Some(10_000),
        command: |random, n| words(&["JSON.GET", &key("doc", random.below(n)), "$.address.city"]),
    },
    Row {
        name: "ts.add",
        modules: &["redistimeseries"],
        setup: no_setup,
        fill: Some(|_, i| words(&["TS.CREATE", &format!("ts:{i}"), "DUPLICATE_POLICY", "LAST"])),
        entries: Some(1000),
        command: |random, n| {
            let (name, value) = (format!("ts:{}", random.below(n)), random.below(1000));
            words(&["TS.ADD", &name, "*", &value.to_string()])
        },
    },
    Row {
        name: "bf.add",
        modules: &["redisbloom"],
        setup: || vec![words(&["BF.RESERVE", "bloom", "0.01", "10000000"])],
        fill: None,
        entries: None,
        command: |random, _| words(&["BF.ADD", "bloom", &random.below(100_000_000).to_string()]),
    },
    Row {
        name: "ft.search",
        modules: &["redisearch"],
        setup: || vec![schema("idx", "doc:")],
        fill: Some(|random, i| hash(random, key("doc", i))),
        entries: None,
        command: |random, _| {
            let word = format!("w{:04}", random.below(10_000));
            words(&["FT.SEARCH", "idx", &word, "LIMIT", "0", "10"])
        },
    },
    Row {
        name: "hset-indexed",
        modules: &["redisearch"],
        setup: || vec![schema("idx", "doc:")],
        fill: Some(|random, i| hash(random, key("doc", i))),
        entries: None,
        command: |random, n| {
            let name = key("doc", random.below(n));
            hash(random, name)
        },
    },
    Row {
        name: "set-indexed",
        modules: &["redisearch"],
        setup: || vec![schema("idx", "other:")],
        fill: Some(set),
        entries: None,
        command: |random, n| {
            let i = random.below(n);
            set(random, i)
        },
    },
];

fn zadd(random: &mut Random, _: u64) -> Words {
    let name = format!("zset:{}", random.below(1000));
    let (score, member) = (random.below(1_000_000), format!("m:{}", random.below(1000)));
    words(&["ZADD", &name, &score.to_string(), &member])
}

/// Before the `stall` row: an index over the documents that the query will read.
pub fn stall_setup() -> Vec<Words> {
    let head = ["FT.CREATE", "big", "ON", "HASH", "PREFIX", "1", "doc:", "SCHEMA"];
    vec![words(&[&head[..], &["n", "NUMERIC", "tag", "TAG"]].concat())]
}

/// One of its documents.
pub fn stall_fill(random: &mut Random, i: u64) -> Words {
    hash(random, key("doc", i))
}

/// One of its plain keys.
pub fn stall_key(random: &mut Random, i: u64) -> Words {
    set(random, i)
}

/// The query that runs in a loop: it reads two fields of every document.
pub fn stall_query() -> Words {
    let load = ["FT.AGGREGATE", "big", "*", "LOAD", "2", "@n", "@tag", "APPLY", "sqrt(@n)*2"];
    let group = ["AS", "x", "GROUPBY", "1", "@tag", "REDUCE", "SUM", "1", "@x", "AS", "s"];
    words(&[&load[..], &group[..], &["TIMEOUT", "120000"]].concat())
}

/// The command whose latency is measured beside it.
pub fn stall_get(random: &mut Random, n: u64) -> Words {
    words(&["GET", &key("key", random.below(n))])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_have_one_size() {
        let mut random = Random::new(7);
        for _ in 0..20 {
            assert_eq!(json(&mut random).len(), 1024);
        }
    }

    #[test]
    fn numbers_stay_below_and_vary() {
        let mut random = Random::new(1);
        let drawn: Vec<u64> = (0..1000).map(|_| random.below(10)).collect();
        assert!(drawn.iter().all(|n| *n < 10));
        assert!((0..10).all(|n| drawn.contains(&n)));
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = ROWS.iter().map(|row| row.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ROWS.len());
    }
}
