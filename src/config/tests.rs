//! `CONFIG GET` and `CONFIG SET` as a client sees them.

use std::cell::RefCell;

use super::*;

fn set(config: &Config, pairs: &[(&str, &str)]) -> Result<SetOutcome, String> {
    let pairs: Vec<(&[u8], &[u8])> =
        pairs.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect();
    config.set(&pairs, SetContext::default()).map_err(|e| e.to_string())
}

fn check(name: &str, value: &str, expected: &str) {
    let config = Config::new();
    match set(&config, &[(name, value)]) {
        Ok(_) => assert_eq!(config.get_str(name).unwrap(), expected, "{name} {value}"),
        Err(error) => assert_eq!(error, expected, "{name} {value}"),
    }
}

fn check_reason(name: &str, value: &str, reason: &str) {
    check(
        name,
        value,
        &format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}"),
    );
}

#[test]
fn values_come_back_as_the_reference_prints_them() {
    check("maxmemory", "1gb", "1073741824");
    check("maxmemory", "18446744073709551615", "18446744073709551615");
    check("maxmemory", "", "0");
    check("repl-backlog-size", "1", "16384");
    check("maxmemory-clients", "5%", "5%");
    check("maxmemory-clients", "1mb", "1048576");
    check("appendonly", "YES", "yes");
    check("hz", "0", "1");
    check("hz", "501", "500");
    check("slave-priority", "7", "7");
    check("maxmemory-policy", "AllKeys-LRU", "allkeys-lru");
    check("shutdown-on-sigint", "now save", "save now");
    check("shutdown-on-sigint", "default", "default");
    check("oom-score-adj", "relative", "yes");
    check("oom-score-adj-values", "-1 2 3", "-1 2 3");
    check("notify-keyspace-events", "KEA", "AKE");
    check("save", "", "");
    check("save", "900 1 300 10", "900 1 300 10");
    check("bind", "127.0.0.1 -::1", "127.0.0.1 -::1");
    check("bind", "", "");
    check("latency-tracking-info-percentiles", "50 99.95 0", "50 99.95 0");
    check("latency-tracking-info-percentiles", "", "");
    check(
        "client-output-buffer-limit",
        "slave 1kb 2 3 normal 1 2 3",
        "normal 1 2 3 slave 1024 2 3 pubsub 33554432 8388608 60",
    );
    check("tls-cert-file", "", "");
    check("masterauth", "a b", "a b");
}

#[test]
fn refusals_have_the_references_words() {
    check_reason("appendonly", "maybe", "argument must be 'yes' or 'no'");
    check("foo", "bar", "ERR Unknown option or number of arguments for CONFIG SET - 'foo'");
    check_reason("port", "99999999", "argument must be between 0 and 65535 inclusive");
    check_reason("maxclients", "0", "argument must be between 1 and 4294967295 inclusive");
    check_reason(
        "slowlog-log-slower-than",
        "-2",
        "argument must be between -1 and 9223372036854775807 inclusive",
    );
    check_reason("maxmemory-clients", "101%", "percentage argument must be less or equal to 100");
    check_reason("maxmemory-clients", "x", "argument must be a memory or percent value");
    check_reason("maxmemory", "x", "argument must be a memory value");
    check_reason("timeout", "x", "argument couldn't be parsed into an integer");
    check_reason("dbfilename", "x", "can't set protected config");
    check_reason("dir", "/", "can't set protected config");
    check_reason("daemonize", "yes", "can't set immutable config");
    check_reason("save", "a b", "Invalid save parameters");
    check_reason("save", "900  1", "Invalid save parameters");
    check_reason("save", "900", "Invalid save parameters");
    check_reason(
        "shutdown-on-sigint",
        "save nosave",
        "shutdown options SAVE and NOSAVE can't be used simultaneously",
    );
    check_reason(
        "loglevel",
        "foo",
        "argument(s) must be one of the following: debug, verbose, notice, warning, nothing",
    );
    check_reason(
        "shutdown-on-sigterm",
        "",
        "argument(s) must be one of the following: default, save, nosave, now, force",
    );
    check_reason(
        "notify-keyspace-events",
        "foo",
        "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.",
    );
    check_reason("oom-score-adj-values", "1 2", "wrong number of arguments");
    check_reason(
        "oom-score-adj-values",
        "1 2 3000",
        "Invalid oom-score-adj-values, elements must be between -2000 and 2000.",
    );
    check_reason(
        "latency-tracking-info-percentiles",
        "50 x",
        "Invalid latency-tracking-info-percentiles parameters",
    );
    check_reason(
        "latency-tracking-info-percentiles",
        "101",
        "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]",
    );
    check_reason(
        "client-output-buffer-limit",
        "normal 1 2",
        "Wrong number of arguments in buffer limit configuration.",
    );
    check_reason(
        "client-output-buffer-limit",
        "master 1 2 3",
        "Invalid client class specified in buffer limit configuration.",
    );
    check_reason(
        "client-output-buffer-limit",
        "normal 1k 2 x",
        "Error in hard, soft or soft_seconds setting in buffer limit configuration.",
    );
    check_reason(
        "bind",
        "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17",
        "Too many bind addresses specified.",
    );
    check_reason(
        "proc-title-template",
        "{foo}",
        "template format is invalid or contains unknown variables",
    );
    check_reason(
        "cluster-announce-hostname",
        "a_b",
        "Hostnames may only contain alphanumeric characters, hyphens or dots",
    );
    check_reason("replicaof", "a 1", "can't set immutable config");
}

#[test]
fn all_or_nothing() {
    let config = Config::new();
    let error = set(&config, &[("timeout", "7"), ("port", "x")]).unwrap_err();
    assert!(error.contains("'port'"), "{error}");
    assert_eq!(config.timeout(), 0);

    let error = set(&config, &[("port", "1"), ("PORT", "2")]).unwrap_err();
    assert_eq!(
        error,
        "ERR CONFIG SET failed (possibly related to argument 'PORT') - duplicate parameter"
    );

    let outcome = set(&config, &[("TIMEOUT", "7"), ("hz", "10"), ("slave-priority", "1")]).unwrap();
    assert_eq!(outcome.names, ["timeout", "hz", "slave-priority"]);
    assert_eq!(outcome.changed, ["timeout", "replica-priority"]);
    assert_eq!((config.timeout(), config.replica_priority()), (7, 1));
}

#[test]
fn get_takes_names_patterns_and_aliases() {
    let config = Config::new();
    let get = |patterns: &[&str]| -> Vec<String> {
        let patterns: Vec<&[u8]> = patterns.iter().map(|p| p.as_bytes()).collect();
        let found = config.get(&patterns, None);
        found.into_iter().map(|(n, v)| String::from_utf8([n, v].join(&b'=')).unwrap()).collect()
    };
    assert_eq!(get(&["PORT", "port", "p[o]rt"]), ["PORT=6379"]);
    assert_eq!(get(&["*-PRIORITY"]), ["replica-priority=100", "slave-priority=100"]);
    assert_eq!(get(&["nonsense"]), [""; 0]);
    assert_eq!(get(&["use-exit-on-pani?"]), [""; 0]);
    assert_eq!(get(&["use-exit-on-panic"]), ["use-exit-on-panic=no"]);
    assert_eq!(get(&["bind"]), ["bind=* -::*"]);
    assert_eq!(get(&["save"]), ["save=3600 1 300 100 60 10000"]);
    assert_eq!(get(&["dir"]), [format!("dir={}", std::env::current_dir().unwrap().display())]);
}

/// Hooks that refuse one directive and remember what they were told.
struct Refuse(&'static str, RefCell<Vec<Vec<&'static str>>>);

impl ConfigHooks for Refuse {
    fn apply(&self, changed: &[&'static str]) -> Result<(), ApplyError> {
        self.1.borrow_mut().push(changed.to_vec());
        if changed.contains(&self.0) {
            let reason = Some("Unable to listen on this port. Check server logs.".to_owned());
            return Err(ApplyError { name: self.0.to_owned(), reason });
        }
        Ok(())
    }
}

#[test]
fn a_refused_effect_puts_everything_back() {
    let config = Config::new();
    let hooks = Refuse("port", RefCell::default());
    let context = SetContext { hooks: Some(&hooks), ..SetContext::default() };
    let error = config.set(&[(b"requirepass", b"x"), (b"port", b"1")], context).unwrap_err();
    assert_eq!(
        error.to_string(),
        "ERR CONFIG SET failed (possibly related to argument 'port') - Unable to listen on this port. Check server logs."
    );
    assert_eq!((config.port(), config.requirepass()), (6379, None));
    assert_eq!(hooks.1.take(), [["requirepass", "port"], ["requirepass", "port"]]);

    config.set(&[(b"requirepass", b"x"), (b"timeout", b"0")], context).unwrap();
    assert_eq!(hooks.1.take(), [["requirepass"]]);
    assert_eq!(config.requirepass().as_deref(), Some(&b"x"[..]));
}

#[test]
fn loading_and_protected_directives() {
    let config = Config::new();
    let loading = SetContext { loading: true, ..SetContext::default() };
    assert_eq!(config.set(&[(b"appendonly", b"yes")], loading), Err(ConfigError::Loading));

    config.assign("enable-protected-configs", &[b"local"]).unwrap();
    assert!(config.set(&[(b"dbfilename", b"x.rdb")], SetContext::default()).is_err());
    let local = SetContext { local_client: true, ..SetContext::default() };
    config.set(&[(b"dbfilename", b"x.rdb")], local).unwrap();
    assert_eq!(config.dbfilename().as_deref(), Some(&b"x.rdb"[..]));
    let error = config.set(&[(b"dir", b"/nonexistent")], local).unwrap_err();
    assert_eq!(
        error.to_string(),
        "ERR CONFIG SET failed (possibly related to argument 'dir') - No such file or directory"
    );
}

/// One module directive, `m.list`, that takes several arguments and refuses "bad".
#[derive(Default)]
struct OneModule(RefCell<Vec<u8>>);

impl ExtraConfigs for OneModule {
    fn find(&self, name: &[u8]) -> Option<ExtraRow> {
        self.all().into_iter().find(|row| row.name.as_bytes().eq_ignore_ascii_case(name))
    }
    fn all(&self) -> Vec<ExtraRow> {
        vec![ExtraRow { name: "m.list".to_owned(), first: None, flags: rows::MULTI_ARG }]
    }
    fn get(&self, _name: &str) -> Option<Vec<u8>> {
        Some(self.0.borrow().clone())
    }
    fn set(&self, _name: &str, args: &[Vec<u8>]) -> Result<bool, String> {
        if args.contains(&b"bad".to_vec()) {
            return Err("no such flag".to_owned());
        }
        *self.0.borrow_mut() = args.join(&b' ');
        Ok(true)
    }
    fn apply(&self, changed: &[String]) -> Result<(), ApplyError> {
        if *self.0.borrow() == b"explode" {
            return Err(ApplyError { name: changed[0].clone(), reason: None });
        }
        Ok(())
    }
    fn rewrite(&self, _name: &str) -> Option<(Vec<u8>, bool)> {
        Some((self.0.borrow().clone(), false))
    }
}

#[test]
fn module_directives_join_in() {
    let config = Config::new();
    let module = OneModule::default();
    let context = SetContext { extra: Some(&module), ..SetContext::default() };
    config.set(&[(b"M.list", b"a b")], context).unwrap();
    assert_eq!(config.get(&[b"m.*"], Some(&module)), [(b"m.list".to_vec(), b"a b".to_vec())]);
    assert_eq!(config.get(&[b"M.LIST"], Some(&module)), [(b"M.LIST".to_vec(), b"a b".to_vec())]);

    let error = config.set(&[(b"m.list", b"c"), (b"timeout", b"x")], context).unwrap_err();
    assert!(error.to_string().contains("'timeout'"));
    assert_eq!(*module.0.borrow(), b"a b");

    let error = config.set(&[(b"timeout", b"9"), (b"m.list", b"explode")], context).unwrap_err();
    assert_eq!(error.to_string(), "ERR CONFIG SET failed (possibly related to argument 'm.list')");
    assert_eq!((config.timeout(), module.0.borrow().as_slice()), (0, &b"a b"[..]));

    assert!(config
        .set(&[(b"m.list", b"bad")], context)
        .unwrap_err()
        .to_string()
        .contains("no such flag"));
    assert_eq!(
        config.set(&[(b"m.other", b"1")], context),
        Err(ConfigError::Unknown(b"m.other".to_vec()))
    );
}

#[test]
fn typed_access() {
    let config = Config::new();
    assert_eq!(config.hash_max_listpack_entries(), 512);
    assert_eq!(config.list_max_listpack_size(), -2);
    assert_eq!(config.maxmemory_policy(), enums::maxmemory_policy::NOEVICTION);
    assert!(config.rdbcompression() && !config.appendonly());
    assert!((1..=128).contains(&config.server_threads()));
    assert_eq!(config.client_output_buffer_limit()[2].soft_seconds, 60);
    assert_eq!(config.pidfile(), None);
    assert_eq!(config.logfile().as_deref(), Some(&b""[..]));
    config.set_replicaof(Some(Primary { host: "h".into(), port: 7 }));
    assert_eq!(config.get_str("slaveof").unwrap(), "h 7");
    assert!(Config::is_sensitive(b"REQUIREPASS") && !Config::is_sensitive(b"port"));
}
