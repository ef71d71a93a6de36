//! What is done with the modules that the matrix knows: command lines, as data.
//!
//! Every line must leave the same on each server that runs it, and every read must have one right answer. In the
//! lines for a load, `{n}` is the number of a key and `{r}` a random number.

/// What is done with one module.
#[derive(Debug)]
pub struct Workload {
    /// Its file, without folder and `.so`.
    pub file: &'static str,
    /// What it is given where the user gives nothing; `{dir}` is the folder of the file.
    pub args: &'static [&'static str],
    /// The differential scripts that are about it, in `tests/diff`.
    pub scripts: &'static [&'static str],
    /// Its vendor's suite, as the runner calls it.
    pub suite: Option<&'static str>,
    /// Makes values of each of its kinds.
    pub fill: &'static [&'static str],
    /// Changes some of them.
    pub more: &'static [&'static str],
    /// Reads all that `fill` and `more` can leave.
    pub reads: &'static [&'static str],
    /// The same with a module beside it: file, what is filled, what is read.
    pub beside: Option<(&'static str, &'static [&'static str], &'static [&'static str])>,
    /// Begins the names of the keys whose values are of the module's own types.
    pub own: &'static [&'static str],
    /// Makes key `load:{n}`.
    pub write: &'static str,
    /// Finds what `write` made; nil or an empty array if it is lost.
    pub probe: &'static str,
    /// What several clients do at once, without an error whatever the order.
    pub mixed: &'static [&'static str],
}

/// Values of the server's own types, beside which a module must leave no trace.
pub const NATIVE_FILL: &[&str] = &[
    "SET native:string value",
    "RPUSH native:list a b c",
    "HSET native:hash f v n 1",
    "SADD native:set a b c",
    "ZADD native:zset 1 a 2.5 b",
    "XADD native:stream 1-1 f v",
    "SET native:expires value PX 100000000",
];

/// What is read of them.
pub const NATIVE_READS: &[&str] = &[
    "GET native:string",
    "LRANGE native:list 0 -1",
    "HMGET native:hash f n",
    "SCARD native:set",
    "ZRANGE native:zset 0 -1 WITHSCORES",
    "XRANGE native:stream - +",
    "GET native:expires",
];

/// What clients do beside a module's own commands.
pub const NATIVE_MIXED: &[&str] = &[
    "SET mixed:{n} {r}",
    "GET mixed:{n}",
    "INCR mixed:counter",
    "HSET mixed:hash:{n} f {r}",
    "ZADD mixed:zset {r} m{n}",
    "EXPIRE mixed:{n} 1",
    "DEL load:{n}",
    "EVAL \"return redis.call('incr', KEYS[1])\" 1 mixed:counter",
];

/// The modules that are known.
pub const ALL: &[Workload] = &[
    Workload {
        file: "redisearch",
        args: &[],
        scripts: &["search.txt"],
        suite: Some("redisearch"),
        fill: &[
            "FT.CREATE idx ON HASH PREFIX 1 doc: SCHEMA title TEXT SORTABLE body TEXT tags TAG \
             price NUMERIC SORTABLE place GEO vec VECTOR FLAT 6 TYPE FLOAT32 DIM 2 DISTANCE_METRIC L2",
            // Before there are documents: what the synonyms of older ones are depends on the index's own scan.
            "FT.SYNUPDATE idx group hello hi",
            "HSET doc:1 title \"hello world\" body \"the quick brown fox\" tags a,b price 10 \
             place 13.4,52.5 vec \"\\x00\\x00\\x80?\\x00\\x00\\x00@\"",
            "HSET doc:2 title \"hello again\" body \"jumps over\" tags b price 20 \
             place 2.35,48.85 vec \"\\x00\\x00\\x00@\\x00\\x00\\x80?\"",
            "HSET doc:3 title \"good bye\" body \"the lazy dog\" tags c price 30 \
             place -0.12,51.5 vec \"\\x00\\x00\\x00@\\x00\\x00\\x00@\"",
            "FT.ALIASADD alias idx",
            "FT.DICTADD dict one two",
            "FT.SUGADD sug hello 1",
            "FT.SUGADD sug help 2 PAYLOAD extra",
        ],
        more: &[
            "HSET doc:4 title \"hello new\" body fox tags a price 40",
            "HSET doc:1 price 15",
            "DEL doc:2",
            "FT.DICTDEL dict two",
            "FT.SUGADD sug hello 5 INCR",
        ],
        reads: &[
            "FT._LIST",
            "FT.SEARCH idx * SORTBY price",
            "FT.SEARCH alias hello NOCONTENT SORTBY price",
            "FT.SEARCH idx hi NOCONTENT SORTBY price",
            "FT.SEARCH idx \"fox -dog\" NOCONTENT SORTBY price",
            "FT.SEARCH idx @tags:{a} NOCONTENT SORTBY price",
            "FT.SEARCH idx \"@price:[12 100]\" NOCONTENT SORTBY price DESC",
            "FT.SEARCH idx \"@place:[13 52 500 km]\" NOCONTENT SORTBY price",
            "FT.SEARCH idx \"*=>[KNN 2 @vec $v AS d]\" PARAMS 2 v \"\\x00\\x00\\x80?\\x00\\x00\\x00@\" \
             SORTBY d RETURN 1 d DIALECT 2",
            "FT.AGGREGATE idx * GROUPBY 1 @tags REDUCE COUNT 0 AS n REDUCE SUM 1 @price AS sum SORTBY 2 @tags ASC",
            "FT.TAGVALS idx tags",
            "FT.SYNDUMP idx",
            "FT.DICTDUMP dict",
            "FT.SUGGET sug he WITHSCORES WITHPAYLOADS",
            "FT.SUGLEN sug",
        ],
        beside: Some((
            "rejson",
            &[
                "FT.CREATE jidx ON JSON PREFIX 1 jdoc: SCHEMA $.name AS name TEXT $.n AS n NUMERIC SORTABLE",
                "JSON.SET jdoc:1 $ {\"name\":\"first\",\"n\":1}",
                "JSON.SET jdoc:2 $ {\"name\":\"second\",\"n\":2}",
                "JSON.NUMINCRBY jdoc:1 $.n 10",
            ],
            &["FT.SEARCH jidx * SORTBY n", "FT.SEARCH jidx @name:second RETURN 1 $.n"],
        )),
        own: &["sug"],
        write: "HSET doc:load:{n} title \"load {n}\" price {n}",
        probe: "HGET doc:load:{n} price",
        mixed: &[
            "HSET doc:load:{n} title \"load word{n}\" body \"text {r}\" price {r} tags t{n}",
            "FT.SEARCH idx word{n} NOCONTENT",
            "FT.SEARCH idx \"@price:[0 {r}]\" LIMIT 0 3",
            "FT.AGGREGATE idx \"@price:[0 {r}]\" GROUPBY 0 REDUCE COUNT 0",
            "DEL doc:load:{n}",
            "EXPIRE doc:load:{n} 1",
            "FT.SUGADD sug word{n} 1",
            "FT.SUGGET sug wo",
        ],
    },
    Workload {
        file: "rejson",
        args: &[],
        scripts: &["json.txt"],
        suite: Some("rejson"),
        fill: &[
            "JSON.SET json:a $ {\"name\":\"one\",\"list\":[1,2,3],\"deep\":{\"x\":1.5,\"y\":null,\"z\":true}}",
            "JSON.SET json:b $ [1,\"two\",{\"three\":3}]",
            "JSON.SET json:c $ \"\\\"text\\\"\"",
            "JSON.MSET json:d $ 1 json:e $ {}",
            "JSON.ARRAPPEND json:a $.list 4 5",
            "JSON.NUMINCRBY json:a $.deep.x 1",
            "JSON.STRAPPEND json:c $ \"\\\"more\\\"\"",
            "JSON.MERGE json:e $ {\"m\":{\"n\":[]}}",
            "JSON.TOGGLE json:a $.deep.z",
        ],
        more: &[
            "JSON.SET json:a $.name \"\\\"two\\\"\"",
            "JSON.ARRPOP json:a $.list",
            "JSON.NUMMULTBY json:d $ 3",
            "JSON.DEL json:a $.deep.y",
            "JSON.DEL json:b",
        ],
        reads: &[
            "JSON.GET json:a",
            "JSON.GET json:a $..x",
            "JSON.MGET json:a json:b json:c json:d json:e $",
            "JSON.TYPE json:a $.*",
            "JSON.OBJKEYS json:a",
            "JSON.ARRINDEX json:a $.list 3",
            "JSON.ARRLEN json:a $.list",
            "JSON.RESP json:a",
            "JSON.STRLEN json:c",
        ],
        beside: None,
        own: &["json:"],
        write: "JSON.SET load:{n} $ {\"n\":{n},\"text\":\"a-text-of-some-length\"}",
        probe: "JSON.GET load:{n} $.n",
        mixed: &[
            "JSON.SET load:{n} $ {\"n\":{r},\"list\":[1,2]}",
            "JSON.MERGE load:{n} $ {\"m\":{r}}",
            "JSON.GET load:{n} $",
            "JSON.MGET load:{n} json:a $",
            "JSON.ARRAPPEND json:a $.list {r}",
            "JSON.ARRTRIM json:a $.list 0 20",
            "JSON.NUMINCRBY json:a $.deep.x 1",
            "EXPIRE load:{n} 1",
            "COPY load:{n} load:copy REPLACE",
        ],
    },
    Workload {
        file: "redistimeseries",
        args: &[],
        scripts: &["timeseries.txt"],
        suite: Some("timeseries"),
        fill: &[
            "TS.CREATE ts:a LABELS sensor 1 area x",
            "TS.CREATE ts:b ENCODING UNCOMPRESSED LABELS sensor 2 area x",
            "TS.CREATE ts:sum",
            "TS.CREATERULE ts:a ts:sum AGGREGATION sum 1000",
            "TS.MADD ts:a 1000 1 ts:a 1500 2.5 ts:b 1000 10",
            "TS.ADD ts:a 2000 3",
            "TS.ADD ts:a 3000 -4",
            "TS.ADD ts:b 2000 20",
            "TS.ADD ts:c 1000 1 RETENTION 100000 CHUNK_SIZE 256 DUPLICATE_POLICY MAX LABELS area y",
            "TS.ADD ts:c 1000 7",
            "TS.INCRBY ts:n 5 TIMESTAMP 1000",
        ],
        more: &[
            "TS.ADD ts:a 5000 9",
            "TS.DEL ts:b 1000 1500",
            "TS.ALTER ts:c LABELS area z",
            "TS.DECRBY ts:n 2 TIMESTAMP 2000",
        ],
        reads: &[
            "TS.RANGE ts:a - +",
            "TS.REVRANGE ts:b - +",
            "TS.RANGE ts:sum - +",
            "TS.GET ts:c",
            "TS.GET ts:n",
            "TS.RANGE ts:a - + AGGREGATION avg 2000",
            "TS.MRANGE - + FILTER area=x GROUPBY area REDUCE sum",
            "TS.MGET WITHLABELS FILTER sensor=1",
            "TS.QUERYINDEX area=z",
            "TS.QUERYINDEX sensor=2",
        ],
        beside: None,
        own: &["ts:"],
        write: "TS.ADD load:{n} 1000 {n} LABELS kind load",
        probe: "TS.GET load:{n}",
        mixed: &[
            "TS.ADD load:{n} * {r} ON_DUPLICATE LAST LABELS kind load part p{n}",
            "TS.MRANGE - + COUNT 3 FILTER part=p{n}",
            "TS.MGET FILTER part=p{n}",
            "TS.QUERYINDEX kind=load",
            "TS.ADD ts:n {r} {r} ON_DUPLICATE SUM",
            "TS.RANGE ts:n - + AGGREGATION sum 10000 COUNT 5",
            "EXPIRE load:{n} 1",
        ],
    },
    Workload {
        file: "redisbloom",
        args: &[],
        scripts: &["bloom.txt"],
        suite: Some("bloom"),
        fill: &[
            "BF.RESERVE bf:a 0.01 100",
            "BF.MADD bf:a one two three",
            "BF.INSERT bf:b CAPACITY 50 ERROR 0.001 ITEMS x y",
            "CF.RESERVE cf:a 100",
            "CF.ADD cf:a one",
            "CF.INSERT cf:a ITEMS one two",
            "CMS.INITBYDIM cms:a 100 5",
            "CMS.INCRBY cms:a one 1 two 22",
            "TOPK.RESERVE topk:a 3 50 5 0.9",
            "TOPK.ADD topk:a a b c a a",
            "TDIGEST.CREATE td:a",
            "TDIGEST.ADD td:a 1 2 3 4 5 6 100",
        ],
        more: &[
            "BF.ADD bf:a four",
            "CF.DEL cf:a one",
            "CMS.INCRBY cms:a three 3",
            "TOPK.INCRBY topk:a b 5",
            "TDIGEST.ADD td:a 50 60",
        ],
        reads: &[
            "BF.MEXISTS bf:a one two three four five",
            "BF.INFO bf:a",
            "BF.CARD bf:b",
            "CF.COUNT cf:a one",
            "CF.MEXISTS cf:a one two three",
            "CF.INFO cf:a",
            "CMS.QUERY cms:a one two three",
            "CMS.INFO cms:a",
            "TOPK.LIST topk:a WITHCOUNT",
            "TOPK.QUERY topk:a a b z",
            "TDIGEST.QUANTILE td:a 0 0.5 0.9 1",
            "TDIGEST.RANK td:a 4",
            "TDIGEST.MAX td:a",
        ],
        beside: None,
        own: &["bf:", "cf:", "cms:", "topk:", "td:"],
        write: "BF.ADD load:{n} item{n}",
        probe: "BF.INFO load:{n} ITEMS",
        mixed: &[
            "BF.ADD load:{n} item{r}",
            "BF.EXISTS load:{n} item{r}",
            "CF.ADDNX cfload:{n} item{r}",
            "CF.EXISTS cfload:{n} item{r}",
            "CMS.INCRBY cms:a item{n} 1",
            "CMS.QUERY cms:a item{n}",
            "TOPK.ADD topk:a item{n}",
            "TDIGEST.ADD td:a {r}",
            "TDIGEST.QUANTILE td:a 0.5 0.99",
            "EXPIRE load:{n} 1",
            "DEL cfload:{n}",
        ],
    },
    Workload {
        file: "rediscompat",
        args: &[],
        scripts: &[],
        suite: None,
        fill: &[],
        more: &[],
        reads: &[],
        beside: None,
        own: &[],
        write: "SET load:{n} {n}",
        probe: "GET load:{n}",
        mixed: &[],
    },
    Workload {
        file: "redisgears",
        args: &["v8-plugin-path", "{dir}/libredisgears_v8_plugin.so"],
        scripts: &[],
        suite: None,
        fill: &[
            "TFUNCTION LOAD \"#!js name=lib api_version=1.0\\n\
             redis.registerFunction('set', (c, k, v) => { return c.call('set', k, v); });\\n\
             redis.registerFunction('get', (c, k) => { return c.call('get', k); }, \
             {flags: [redis.functionFlags.NO_WRITES]});\\n\
             redis.registerFunction('sum', (c, a, b) => { return Number(a) + Number(b); }, \
             {flags: [redis.functionFlags.NO_WRITES]});\\n\
             redis.registerKeySpaceTrigger('seen', 'trigger:', (c, d) => { if (d.event == 'set') { c.call('incr', 'fired'); } });\"",
            "TFCALL lib.set 1 gears:k value",
            "SET trigger:1 x",
        ],
        more: &["TFCALL lib.set 1 gears:k other", "SET trigger:2 x"],
        reads: &[
            "TFCALL lib.get 1 gears:k",
            "TFCALL lib.sum 0 2 3",
            "TFCALL lib.nosuch 0",
            "GET fired",
        ],
        beside: None,
        own: &[],
        write: "TFCALL lib.set 1 load:{n} {n}",
        probe: "GET load:{n}",
        mixed: &[
            "TFCALL lib.set 1 load:{n} {r}",
            "TFCALL lib.get 1 load:{n}",
            "TFCALL lib.sum 0 {n} {r}",
            "SET trigger:{n} {r}",
        ],
    },
];

/// The workload for a file of that name.
pub fn of(stem: &str) -> Option<&'static Workload> {
    ALL.iter().find(|w| w.file == stem)
}

/// A line of a load with its numbers filled in.
pub fn line(template: &str, n: u64, r: u64) -> String {
    template.replace("{n}", &n.to_string()).replace("{r}", &r.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::words::split;

    #[test]
    fn every_line_can_be_read() {
        for w in ALL {
            let lists = [w.fill, w.more, w.reads, w.mixed, &[w.write], &[w.probe]];
            for template in lists.into_iter().flatten() {
                let words =
                    split(&line(template, 7, 9)).unwrap_or_else(|e| panic!("{template}: {e}"));
                assert!(!words.is_empty(), "{template}");
            }
        }
    }

    #[test]
    fn numbers_are_filled_in() {
        assert_eq!(
            line("SET load:{n} {\"n\":{n},\"r\":{r}}", 7, 9),
            "SET load:7 {\"n\":7,\"r\":9}"
        );
    }
}
