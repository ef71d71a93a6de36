//! `docs/API.md`, the table of the served functions, is made by this test: it fails when the document is stale, or when a
//! function has no test module that calls it. `UPDATE_API_TABLE=1 cargo test --test api_table` writes it anew.
//!
//! Lock classes come from the tables of `src/module/api`, callers from the sources of `modules-test`, the rest from
//! `docs/api-facts.csv`.
use backplane::module::api::{all, LockClass};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

/// Functions of later servers that are absent, with the reason.
const ABSENT: &[(&[&str], &str)] = &[
    (
        &[
            "NotifyKeyspaceEventWithSubkeys",
            "SubscribeToKeyspaceEventsWithSubkeys",
            "UnsubscribeFromKeyspaceEventsWithSubkeys",
        ],
        "the server's own commands would have to name the fields that they change in each event, and there would have to \
         be the channels for them",
    ),
    (
        &["CreateKeyMetaClass", "ReleaseKeyMetaClass", "SetKeyMeta", "GetKeyMeta"],
        "what modules attach to keys would have to live through RENAME, COPY, MOVE, RDB and AOF; Redis 7.4's formats have no \
         place for it",
    ),
    (&["AddPostNotificationJobForKey", "GetClusterNodeSlotRanges"], "not released yet (as of August 2026)"),
    (
        &["GetInternalSecret", "ClusterPropagateForSlotMigration"],
        "they are of use between the nodes of a cluster only, and modules take them for its sign",
    ),
    (
        &[
            "GetSwapKeyMetadata", "IsKeyInRam", "SetDataTypeExtensions", "SetSwapKeyMetadata", "ShardingGetKeySlot",
            "ShardingGetSlotRange", "SwapPrefetchKey",
        ],
        "Redis Enterprise only; modules that find one believe to be there",
    ),
];

struct Fact {
    family: String,
    since: String,
    valkey: bool,
    used_by: String,
}

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn facts() -> BTreeMap<String, Fact> {
    let text = read("docs/api-facts.csv");
    let row = |line: &str| {
        let mut f = line.split(',').map(str::to_string);
        let mut next = || f.next().expect("a field");
        let name = next();
        let (family, since) = (next(), next());
        let (valkey, used_by) = (!next().is_empty(), next());
        (name, Fact { family, since, valkey, used_by })
    };
    text.lines().skip(1).map(row).collect()
}

/// Which test modules name a function, by function. What all of them share counts for `basic`.
fn callers() -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("modules-test");
    for file in std::fs::read_dir(dir).expect("modules-test").flatten() {
        let path = file.path();
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let module = match path.extension().and_then(|e| e.to_str()) {
            Some("c") => stem,
            Some("h") => "basic".into(),
            _ => continue,
        };
        let text = std::fs::read_to_string(&path).expect("a source");
        for part in text.split("RedisModule_").skip(1) {
            let end = part.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(part.len());
            let mut names = vec![part[..end].to_string()];
            // What the header makes calls of.
            match names[0].as_str() {
                "Assert" => names.push("_Assert".into()),
                "Init" => names.extend(["IsModuleNameBusy".into(), "SetModuleAttribs".into()]),
                _ => {}
            }
            for name in names {
                found.entry(name).or_default().insert(module.clone());
            }
        }
    }
    found
}

/// The tests that run a test module on our server and on the reference, and compare.
fn tests_of(module: &str) -> &'static str {
    match module {
        "basic" | "configs" | "datatype" | "dictapi" | "events" | "filter" | "info" | "keys"
        | "scan" | "strings" | "users" => "module_scripts",
        "aclapi" | "apicheck" | "blockapi" | "typeapi" => "module_api",
        "forkapi" | "timer_thread" => "module_blocked",
        "shared_export" | "shared_import" => "module_events",
        "persona" | "persona_valkey" => "module_persona",
        "misuse" => "module_strict",
        "fail_onload" => "module_load",
        "later" => "module_later",
        "newer" => "module_newer",
        _ => "",
    }
}

fn class(class: LockClass) -> &'static str {
    match class {
        LockClass::Free => "any",
        LockClass::Locked => "lock",
        LockClass::Reply => "reply",
        LockClass::Main => "main",
    }
}

fn document() -> String {
    let (facts, callers) = (facts(), callers());
    let mut families: BTreeMap<&str, BTreeMap<&str, String>> = BTreeMap::new();
    let (mut count, mut others) = (0, Vec::new());
    for e in all() {
        let fact =
            facts.get(e.name).unwrap_or_else(|| panic!("{} is not in api-facts.csv", e.name));
        let tests =
            callers.get(e.name).unwrap_or_else(|| panic!("no test module calls {}", e.name));
        let files: BTreeSet<&str> =
            tests.iter().map(|m| tests_of(m)).filter(|t| !t.is_empty()).collect();
        assert!(!files.is_empty(), "no test runs a module that calls {}", e.name);
        let files = files.into_iter().collect::<Vec<_>>().join(" ");
        let tests = tests.iter().cloned().collect::<Vec<_>>().join(" ");
        let valkey = if fact.valkey { "yes" } else { "" };
        let line = format!(
            "| {} | {} | {valkey} | {} | {tests} | {files} | {} |\n",
            e.name,
            fact.since,
            class(e.class),
            fact.used_by
        );
        families.entry(&fact.family).or_default().insert(e.name, line);
        match fact.since.starts_with(|c: char| c.is_ascii_digit()) {
            true => count += 1,
            false => others.push((fact.since.clone(), e.name)),
        }
    }
    let absent: Vec<&String> = facts.keys().filter(|n| !all().any(|e| e.name == **n)).collect();
    let mut text = format!(
        "# The module API\n\n\
         {count} functions are served, of the {} of Redis 7.4, each as `RedisModule_` and as `ValkeyModule_`.\n\
         This page is made by `tests/api_table.rs`; change that, not this.\n\n\
         Lock classes: **any** thread at any time; with the module **lock** (in a callback, or between\n\
         `ThreadSafeContextLock` and `Unlock`); **reply**: as *lock*, or on the context of a blocked client from the thread\n\
         that replies to it; **main**: on the module thread. `module-strict yes` has breaches logged, with the function, the\n\
         module and the thread. The columns: since which Redis; whether Valkey has it; lock class; test modules that\n\
         call it (`modules-test`); the tests that run them, most on both servers (`tests`); real modules that use it\n\
         (`docs/api-facts.csv`).\n",
        facts.values().filter(|f| f.since.starts_with(|c: char| c.is_ascii_digit())).count()
    );
    let mut later: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (since, name) in &others {
        later.entry(since).or_default().insert(name);
    }
    let list = |names: Vec<&str>| names.join(", ");
    let _ = writeln!(text, "\nBeside these, {} of later servers:\n", others.len());
    for (since, names) in later {
        let _ = writeln!(text, "- {since}: {}", list(names.into_iter().collect()));
    }
    text.push_str(
        "\nParameters of modules may be registered with `REDISMODULE_CONFIG_UNPREFIXED` (Redis 8.0): under a name without the\n\
         module's, and a second name behind a `|`. In the configuration file the server takes such a name if it loads modules.\n\
         Of the same version: the flag words `internal` and `touches-arbitrary-keys` of `CreateCommand`, `HASH_EXPIRE_TIME` of\n\
         `HashGet`, the mode `OPEN_KEY_ACCESS_EXPIRED` of `OpenKey`, `CTX_FLAGS_DEBUG_ENABLED` of `GetContextFlags`, and that\n\
         `LoadConfigs` leaves alone what a module set after `LoadDefaultConfigs`.\n",
    );
    text.push_str(
        "\n`RedisModule_ACLCheckKeyPrefixPermissions` is not served under Valkey's prefix, where that name stands for a\n\
         function with other arguments. Later ones that are absent (null, so that a module can tell):\n\n",
    );
    for (names, why) in ABSENT {
        let found = names.iter().find(|n| all().any(|e| e.name == **n));
        assert!(found.is_none(), "{found:?} is served and said to be absent");
        let _ = writeln!(text, "- {}: {why}", list(names.to_vec()));
    }
    if !absent.is_empty() {
        let _ = writeln!(text, "\nAbsent: {absent:?}");
    }
    for (family, lines) in families {
        let _ = write!(
            text,
            "\n## {family}\n\n| function | since | Valkey | lock | test modules | tests | used by |\n\
             | --- | --- | --- | --- | --- | --- | --- |\n"
        );
        lines.values().for_each(|l| text.push_str(l));
    }
    text
}

#[test]
fn the_document_is_up_to_date() {
    let made = document();
    if std::env::var_os("UPDATE_API_TABLE").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/API.md");
        std::fs::write(path, &made).expect("docs/API.md can be written");
        return;
    }
    let is = read("docs/API.md");
    let differs = made.lines().zip(is.lines()).find(|(a, b)| a != b);
    assert!(
        made == is,
        "docs/API.md is stale (UPDATE_API_TABLE=1 cargo test --test api_table); first difference: {differs:?}"
    );
}
