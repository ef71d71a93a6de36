//! Functions of Redis 8 about configuration, users, slots and defragmentation: served here, absent on the reference. What
//! they promise is said in the public reference of the module API.
mod common;
use common::{check_all, info, own_modules, show, until, words, Client, Reply, Server};

fn path() -> String {
    own_modules().join("newer.so").display().to_string()
}

fn start(more: &[&str]) -> Server {
    let path = path();
    let mut args = more.to_vec();
    args.extend(["--loadmodule", &path]);
    Server::start(&args)
}

#[test]
fn they_are_there_and_not_on_the_reference() {
    let s = start(&[]);
    check_all(&mut s.client(), &[("newer.served", "1"), ("newer.valkey", "0")]);
    let s = Server::reference(&["--loadmodule", &path()]);
    check_all(&mut s.client(), &[("newer.served", "0")]);
    // Nor for a module that believes to be in Redis 8.6, which has no `GetContextUser`.
    let s = start(&["--module-persona", "newer", "8.6.0"]);
    check_all(&mut s.client(), &[("newer.served", "0")]);
    let s = start(&["--module-persona", "newer", "8.8.0"]);
    check_all(&mut s.client(), &[("newer.served", "1")]);
}

#[test]
fn types_and_values() {
    let s = start(&["--maxmemory-clients", "7%", "--unixsocketperm", "700"]);
    let c = &mut s.client();
    check_all(
        c,
        &[
            ("newer.type appendonly", "bool"),
            ("newer.type MaxMemory", "numeric"),
            ("newer.type logfile", "string"),
            ("newer.type save", "string"),
            ("newer.type notify-keyspace-events", "string"),
            ("newer.type maxmemory-policy", "enum"),
            ("newer.type hash-max-ziplist-entries", "numeric"),
            ("newer.type newer.number", "numeric"),
            ("newer.type newer.text", "string"),
            ("newer.type newer.mode", "enum"),
            ("newer.type NEWER.flag", "bool"),
            ("newer.type no-such-name", "nil"),
            ("newer.type newer.no-such-name", "nil"),
            ("newer.get appendonly", "[no 0 nil nil]"),
            ("newer.get maxmemory-policy", "[noeviction nil noeviction nil]"),
            ("newer.get maxmemory-samples", "[5 nil nil 5]"),
            // A percentage is negative, a file mode no octal number.
            ("newer.get maxmemory-clients", "[7% nil nil -7]"),
            ("newer.get unixsocketperm", "[700 nil nil 448]"),
            ("newer.get oom-score-adj-values", "[0 200 800 nil nil nil]"),
            ("newer.get newer.number", "[0 nil nil 0]"),
            ("newer.get newer.flag", "[no 0 nil nil]"),
            ("newer.get newer.mode", "[read nil read nil]"),
            ("newer.get newer.text", "[ nil nil nil]"),
            ("newer.get no-such-name", "[nil nil nil nil]"),
            ("newer.left", "OK"),
        ],
    );
}

#[test]
fn values_are_set_or_refused() {
    let s = start(&["--hide-user-data-from-log", "no"]);
    let c = &mut s.client();
    check_all(
        c,
        &[
            ("newer.set bool appendonly 2", "ERR argument must be 'yes' or 'no'"),
            ("newer.set bool protected-mode 0", "OK"),
            ("config get protected-mode", "[protected-mode no]"),
            ("newer.set numeric maxmemory-samples 8", "OK"),
            (
                "newer.set numeric maxmemory-samples 65",
                "ERR argument must be between 1 and 64 inclusive",
            ),
            ("config get maxmemory-samples", "[maxmemory-samples 8]"),
            ("newer.set numeric maxmemory-clients -50", "OK"),
            ("config get maxmemory-clients", "[maxmemory-clients 50%]"),
            (
                "newer.set numeric maxmemory-clients -101",
                "ERR percentage argument must be less or equal to 100",
            ),
            // Unsigned, and so cast.
            ("newer.set numeric maxmemory -1", "OK"),
            ("config get maxmemory", "[maxmemory 18446744073709551615]"),
            ("newer.get maxmemory", "[18446744073709551615 nil nil -1]"),
            ("newer.set numeric maxmemory 0", "OK"),
            ("newer.set enum maxmemory-policy allkeys-lru", "OK"),
            ("config get maxmemory-policy", "[maxmemory-policy allkeys-lru]"),
            ("newer.set any maxmemory 2mb", "OK"),
            ("newer.get maxmemory", "[2097152 nil nil 2097152]"),
            ("newer.set any maxmemory 0", "OK"),
            ("newer.set any masteruser somebody", "OK"),
            ("config get masteruser", "[masteruser somebody]"),
            // Of another type nothing is said.
            ("newer.set bool maxmemory 1", "ERR without a word"),
            ("newer.set numeric masteruser 1", "ERR without a word"),
            ("newer.set enum newer.number 1", "ERR without a word"),
            ("newer.set any no-such-name 1", "ERR Config name not found"),
            ("newer.set any newer.no-such-name 1", "ERR Config name not found"),
            ("newer.set any databases 3", "ERR Config is immutable"),
            ("newer.set numeric newer.fixed 3", "ERR Config is immutable"),
            ("newer.set any dir /", "ERR Config is protected"),
        ],
    );
    let reply = show(&c.cmd(&words("newer.set enum maxmemory-policy nonsense")));
    assert!(reply.starts_with("ERR argument(s) must be one of the following: "), "{reply}");
    // What cannot take effect is put back.
    let port = show(&c.cmd(&words("config get port")));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().map(|a| (a.port().to_string(), taken)).expect("a port");
    let reply = show(&c.cmd(&["newer.set", "numeric", "port", &taken.0]));
    assert!(reply.starts_with("ERR Unable to listen on this port"), "{reply}");
    assert_eq!(show(&c.cmd(&words("config get port"))), port);
}

#[test]
fn parameters_of_modules_are_set_or_refused() {
    let s = start(&[]);
    let c = &mut s.client();
    check_all(
        c,
        &[
            ("newer.set numeric newer.number 3", "OK"),
            ("config get newer.number", "[newer.number 3]"),
            (
                "newer.set numeric newer.number 11",
                "ERR argument must be between -10 and 10 inclusive",
            ),
            ("newer.set any newer.number x", "ERR argument couldn't be parsed into an integer"),
            ("newer.set numeric newer.number 7", "ERR 7 is not applied"),
            ("config get newer.number", "[newer.number 3]"),
            // As a text it would be no number of bytes.
            ("newer.set numeric newer.bytes -1", "OK"),
            ("newer.get newer.bytes", "[-1 nil nil -1]"),
            ("newer.set any newer.bytes -1", "ERR argument must be a memory value"),
            ("newer.set any newer.bytes 2k", "OK"),
            ("newer.get newer.bytes", "[2000 nil nil 2000]"),
            ("newer.set bool newer.flag 1", "OK"),
            ("config get newer.flag", "[newer.flag yes]"),
            ("newer.set bool newer.flag 5", "ERR argument must be 'yes' or 'no'"),
            ("newer.set bool newer.flag 0", "OK"),
            ("newer.set any newer.text silent", "ERR without a word"),
        ],
    );
    for (how, value, found) in
        [("enum", "read write", "read write"), ("any", "write", "write"), ("enum", "none", "none")]
    {
        assert_eq!(show(&c.cmd(&["newer.set", how, "newer.mode", value])), "OK");
        assert_eq!(
            show(&c.cmd(&["newer.get", "newer.mode"])),
            format!("[{found} nil {found} nil]")
        );
    }
    let reply = show(&c.cmd(&["newer.set", "enum", "newer.mode", "read nonsense"]));
    assert_eq!(reply, "ERR argument(s) must be one of the following: none, read, write");
    // A setter that sets others, below CONFIG SET and below the function.
    for set in ["config set newer.text outer", "newer.set any newer.text outer"] {
        check_all(
            c,
            &[
                (set, "OK"),
                ("config get newer.text", "[newer.text outer]"),
                ("config get newer.flag", "[newer.flag yes]"),
                ("config get maxmemory-samples", "[maxmemory-samples 9]"),
                ("config set newer.text x newer.flag no maxmemory-samples 5", "OK"),
            ],
        );
    }
}

#[test]
fn parameters_without_a_prefix() {
    let path = path();
    // Of what nobody says anything the module's own value stays, else the default.
    for (args, number) in [(&["300"][..], "300"), (&[], "42")] {
        let args: Vec<&str> = [&["--loadmodule", &path][..], args].concat();
        let s = Server::start(&args);
        check_all(
            &mut s.client(),
            &[("config get bare-number", &format!("[bare-number {number}]"))],
        );
    }
    let s = Server::start(&[]);
    let c = &mut s.client();
    let load = |c: &mut Client, config: &[&str]| {
        let mut args = vec!["module", "loadex", &path];
        config.chunks(2).for_each(|pair| args.extend(["config", pair[0], pair[1]]));
        args.extend(["args", "300"]);
        show(&c.cmd(&args))
    };
    // Both names at once are one too many.
    let refused = "ERR Error loading the extension. Please check the server logs.";
    assert_eq!(load(c, &["bare-number", "1", "other.number", "2"]), refused);
    assert_eq!(load(c, &["bare-nothing", "1"]), refused);
    assert_eq!(load(c, &["other.number", "7", "bare-flag", "no"]), "OK");
    check_all(c, &[("config get bare-*", "[bare-number 7 bare-flag no]")]);
}

#[test]
fn lines_that_no_module_takes_end_the_start() {
    let path = path();
    let (code, log) = Server::run_to_end(&["--loadmodule", &path, "--bare-nothing", "1"]);
    assert_eq!(code, Some(1));
    assert!(log.contains(">>> 'bare-nothing'") && log.contains("aborting"), "{log}");
}

fn sorted(reply: &Reply) -> Vec<String> {
    let mut all: Vec<String> = reply.items().iter().map(|r| r.text().to_string()).collect();
    all.sort();
    all
}

#[test]
fn names_are_those_of_config_get() {
    let s = start(&[]);
    let c = &mut s.client();
    let of_config = |c: &mut Client, pattern: &str| {
        let reply = c.cmd(&["config", "get", pattern]);
        let mut names: Vec<String> =
            reply.items().chunks(2).map(|pair| pair[0].text().to_string()).collect();
        names.sort();
        names
    };
    let all = of_config(c, "*");
    assert!(all.len() > 200 && all.contains(&"newer.text".to_string()), "{}", all.len());
    assert_eq!(sorted(&c.cmd(&["newer.names"])), all);
    assert_eq!(sorted(&c.cmd(&["newer.names", "*", "without a context"])), all);
    for pattern in ["*max*", "newer.*", "NEWER.[nt]*", "no-such-*"] {
        let found = sorted(&c.cmd(&["newer.names", pattern]));
        assert_eq!(found, of_config(c, pattern), "{pattern}");
    }
    // A hidden one by its exact name only, and spelt as it was registered.
    assert!(!all.contains(&"newer.flag".to_string()));
    for (name, found) in [("NEWER.Flag", "[newer.flag]"), ("MAXMEMORY", "[maxmemory]"), ("x", "[]")]
    {
        assert_eq!(show(&c.cmd(&["newer.names", name])), found);
    }
}

#[test]
fn prefixes_of_keys() {
    let s = start(&[]);
    let c = &mut s.client();
    // Flags: 16 reading, 32 updating, 64 inserting, 128 deleting; 13 and 22 are EACCES and EINVAL.
    let (no, bad) = ("ERR status 1 errno 13", "ERR status 1 errno 22");
    for (rules, prefix, flags, verdict) in [
        ("allkeys", "", "16", "OK"),
        ("allkeys", "any", "240", "OK"),
        ("~ab*", "ab", "16", "OK"),
        ("~ab*", "abc", "0", "OK"),
        ("~ab*", "a", "16", no),
        ("~ab", "ab", "16", no),
        ("~ab\\*", "ab*", "16", no),
        ("%R~ab*", "ab", "16", "OK"),
        ("%R~ab*", "ab", "48", no),
        ("%W~ab*", "ab", "224", "OK"),
        ("%W~ab*", "ab", "16", no),
        ("%R~ab* %W~a*", "ab", "48", no),
        ("~x (~ab*)", "ab", "16", "OK"),
        ("~[ab", "a", "16", no),
        ("resetkeys", "ab", "0", no),
        ("allkeys", "ab", "1", bad),
        ("allkeys", "ab", "256", bad),
    ] {
        let reply = show(&c.cmd(&["newer.prefix", rules, prefix, flags]));
        assert_eq!(reply, verdict, "{rules} {prefix} {flags}");
    }
}

#[test]
fn times_of_fields_and_what_has_expired() {
    let s = start(&[]);
    let c = &mut s.client();
    check_all(
        c,
        &[
            ("debug set-active-expire 0", "OK"),
            ("hset h a 1 b 2", "2"),
            ("hpexpireat h 4102444800000 fields 1 a", "[1]"),
            ("newer.fields h a b c", "[4102444800000 -1 -1]"),
            ("newer.fields none a", "[-1]"),
            ("set text x", "OK"),
            ("newer.fields text a", "[nil]"),
            ("newer.expired h", "[1 a 1 1 b 2 2]"),
            ("hpexpire h 1 fields 1 a", "[1]"),
        ],
    );
    until("the field's time has come", || show(&c.cmd(&["newer.fields", "h", "a"])) == "[-1]");
    check_all(c, &[("newer.expired h", "[1 a 1 1 b 2 2]"), ("pexpire h 1", "1")]);
    until("the key's time has come", || show(&c.cmd(&["newer.expired", "h"])) == "[0 a 1 1 b 2 2]");
    check_all(c, &[("newer.expired none", "nil")]);
}

#[test]
fn contexts_know_whether_they_may_debug() {
    for (setting, reply) in [("yes", "[1 1]"), ("local", "[1 0]"), ("no", "[0 0]")] {
        let s = start(&["--enable-debug-command", setting]);
        check_all(&mut s.client(), &[("newer.debug", reply)]);
    }
}

#[test]
fn internal_commands_are_for_modules() {
    let s = start(&["--appendonly", "yes"]);
    let (c, monitor) = (&mut s.client(), &mut s.client());
    monitor.cmd(&["monitor"]).ok();
    let unknown = "ERR unknown command 'newer.inner', with args beginning with: 'a' 'b' ";
    check_all(
        c,
        &[
            ("newer.inner a b", unknown),
            ("newer.call E newer.inner a b", "2"),
            ("newer.call EC newer.inner a b", unknown),
            ("newer.call C newer.inner a b", "ERR status 1 errno 2"),
            (
                "newer.call ES newer.inner",
                "ERR command 'newer.inner' is not allowed on script mode",
            ),
            ("command info newer.inner newer.nothing", "[nil nil]"),
            ("command docs newer.inner", "[]"),
            ("command list filterby pattern newer.in*", "[]"),
            ("command getkeys newer.inner a", "ERR Invalid command specified"),
            ("multi", "OK"),
            ("newer.inner a b", unknown),
            ("exec", "EXECABORT Transaction discarded because of previous errors."),
        ],
    );
    let all = show(&c.cmd(&["command"]));
    assert!(all.contains("newer.call") && !all.contains("newer.inner"));
    let reply = show(&c.cmd(&["eval", "return redis.call('newer.inner')", "0"]));
    assert!(reply.contains("not allowed from script"), "{reply}");
    // What a module replicates comes back from the file.
    check_all(
        c,
        &[("newer.call E! newer.inner x", "1"), ("debug loadaof", "OK"), ("ping", "PONG")],
    );
    // Monitors saw the commands around them only.
    let mut seen = String::new();
    while !seen.contains("ping") {
        seen = show(&monitor.read());
        let name = seen.split('"').nth(1).unwrap_or_default();
        assert_ne!(name, "newer.inner", "{seen}");
    }
}

#[test]
fn users_and_slots() {
    let s = start(&[]);
    check_all(
        &mut s.client(),
        &[
            ("newer.users", "OK"),
            ("newer.slots", "[[0 16383]]"),
            ("newer.access 0", "1"),
            ("newer.access 16383", "1"),
            ("newer.access 16384", "0"),
            ("newer.access -1", "0"),
            ("newer.trim", "OK"),
        ],
    );
}

#[test]
fn own_memory_is_defragmented_in_steps() {
    let s = start(&["--hz", "100"]);
    let c = &mut s.client();
    check_all(c, &[("newer.fill 20000", "OK"), ("newer.thin", "OK"), ("newer.check", "10000")]);
    for line in [
        "config set active-defrag-ignore-bytes 1",
        "config set active-defrag-threshold-lower 0",
        "config set active-defrag-cycle-min 20",
        "config set activedefrag yes",
    ] {
        check_all(c, &[(line, "OK")]);
    }
    let figures = |c: &mut Client| -> Vec<i64> {
        c.cmd(&["newer.defrag"]).items().iter().map(Reply::int).collect()
    };
    until("two rounds went through, and something was moved", || {
        let f = figures(c);
        f[1] >= 2 && f[4] > 0
    });
    let f = figures(c);
    assert_eq!(f[5], 0, "complaints of the callbacks: {f:?}");
    // Two owners, and at least one step for them and one for each of the ten that want another look.
    assert!(f[3] >= 64 && f[2] >= 2 * 11, "{f:?}");
    check_all(c, &[("newer.check", "10000"), ("config set activedefrag no", "OK")]);
    // A round that is given up ends too.
    until("the round is over", || {
        let f = figures(c);
        f[0] == f[1]
    });
    assert_eq!(figures(c)[5], 0);
    assert_ne!(info(c, "stats", "active_defrag_hits"), "0");
    check_all(c, &[("newer.check", "10000")]);
}
