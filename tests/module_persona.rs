//! `module-persona`: one module meets another server than clients do.
mod common;
use common::{own_modules, real_modules, Client, Reply, Server};

fn own(name: &str) -> String {
    own_modules().join(format!("{name}.so")).display().to_string()
}

fn texts(reply: &Reply) -> Vec<String> {
    reply.items().iter().map(|r| r.text().to_string()).collect()
}

fn versions(c: &mut Client, module: &str) -> Vec<i64> {
    c.cmd(&[&format!("{module}.version")]).items().iter().map(Reply::int).collect()
}

/// The lines of `INFO server` through `Call`.
fn server_lines(c: &mut Client, module: &str) -> Vec<String> {
    let text = c.cmd(&[&format!("{module}.info"), "server"]).text().to_string();
    text.split("\r\n").map(String::from).collect()
}

fn hello(c: &mut Client, module: &str) -> Vec<String> {
    c.cmd(&[&format!("{module}.hello")]).items()[..4].iter().map(|r| r.text().into()).collect()
}

#[test]
fn without_a_directive_a_module_meets_what_clients_meet() {
    let path = own("persona");
    let args = ["--loadmodule", &path];
    for s in [Server::start(&args), Server::reference(&args)] {
        let c = &mut s.client();
        assert_eq!(
            texts(&c.cmd(&["persona.found"]))[..2],
            ["RedisModule_CreateCommand", "RedisModule_RegisterAuthCallback"]
        );
        assert_eq!(versions(c, "persona"), [0x70401, 5, 0x70401, 5, 0x70401, 5]);
        assert_eq!(server_lines(c, "persona")[..2], ["# Server", "redis_version:7.4.1"]);
        assert_eq!(c.cmd(&["persona.field", "server", "redis_version"]).text(), "7.4.1");
        assert_eq!(hello(c, "persona"), ["server", "redis", "version", "7.4.1"]);
    }
}

#[test]
fn a_persona_by_the_modules_name() {
    let s = Server::start(&[
        "--module-persona",
        "persona",
        "8.4.3",
        "--loadmodule",
        &own("persona"),
        "--loadmodule",
        &own("persona_valkey"),
    ]);
    let c = &mut s.client();
    assert_eq!(versions(c, "persona"), [0x80403, 5, 0x80403, 5, 0x80403, 5]);
    assert_eq!(server_lines(c, "persona")[..2], ["# Server", "redis_version:8.4.3"]);
    assert_eq!(c.cmd(&["persona.field", "server", "redis_version"]).text(), "8.4.3");
    assert_eq!(hello(c, "persona"), ["server", "redis", "version", "8.4.3"]);
    // Clients see one version.
    let info = c.cmd(&["INFO", "server"]).text().to_string();
    assert!(info.starts_with("# Server\r\nredis_version:7.4.1\r\nredis_git_sha1:"), "{info}");
    assert_eq!(c.cmd(&["HELLO"]).items()[3].text(), "7.4.1");
    assert!(s.log().contains("it meets redis-8.4.3\n"), "{}", s.log());

    // What only Valkey loads meets Valkey.
    assert_eq!(versions(c, "persona_valkey"), [0x80001, 5, 0x80001, 5, 0x80001, 5]);
    let lines = server_lines(c, "persona_valkey");
    assert_eq!(
        lines[..4],
        ["# Server", "redis_version:7.2.4", "server_name:valkey", "valkey_version:8.0.1"]
    );
    assert_eq!(c.cmd(&["persona_valkey.field", "server", "redis_version"]).text(), "7.2.4");
    assert_eq!(c.cmd(&["persona_valkey.node", &"0".repeat(40)]), Reply::Int(0));
    assert_eq!(hello(c, "persona_valkey"), ["server", "valkey", "version", "8.0.1"]);
}

#[test]
fn a_persona_by_the_files_name_hides_functions() {
    let found = |persona: &str| {
        let valkey = persona.starts_with("valkey");
        let s = Server::start(&[
            "--module-persona",
            "persona.so",
            persona,
            "--loadmodule",
            &own("persona"),
        ]);
        let c = &mut s.client();
        let node = c.cmd(&["persona.node", "x"]);
        assert_eq!(node == Reply::Int(0), valkey && !persona.contains("-7"), "{persona}: {node:?}");
        texts(&c.cmd(&["persona.found"]))
    };
    let all = [
        "RedisModule_CreateCommand",
        "RedisModule_RegisterAuthCallback",
        "RedisModule_AddACLCategory",
        "ValkeyModule_AddACLCategory",
        "ValkeyModule_DefragValkeyModuleString",
    ];
    assert_eq!(found("8.4.0"), all);
    assert_eq!(found("valkey-8.0.1"), all);
    assert_eq!(found("7.2.0"), [all[0], all[1], all[4]]);
    assert_eq!(found("valkey-7.2.7"), [all[0], all[1], all[4]]);
    assert_eq!(found("7.0.0"), [all[0], all[4]]);
}

#[test]
fn real_modules_believe_their_persona() {
    let lib = real_modules();
    let path = |file: &str| lib.join(file).display().to_string();
    // RediSearch asks for 7.1.0 at least, and says so with what it found.
    let (code, log) = Server::run_to_end(&[
        "--module-persona",
        "search",
        "7.0.15",
        "--loadmodule",
        &path("redisearch.so"),
    ]);
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("7.0.15") && log.contains("Can't load module from"), "{log}");

    let mut s = Server::start(&[
        "--module-persona",
        "search 8.2.1 timeseries 8.0.0 ReJSON valkey-8.0.1 bf 7.4.2",
        "--loadmodule",
        &path("redisearch.so"),
        "--loadmodule",
        &path("rejson.so"),
        "--loadmodule",
        &path("redistimeseries.so"),
        "--loadmodule",
        &path("redisbloom.so"),
    ]);
    let c = &mut s.client();
    let log = s.log();
    for line in [
        "Redis version found by RedisSearch : 8.2.1",
        "it meets valkey-8.0.1",
        "Redis version found by RedisTimeSeries : 8.0.0",
    ] {
        assert!(log.contains(line), "{line}\n{log}");
    }
    c.cmd(&["FT.CREATE", "i", "ON", "JSON", "SCHEMA", "$.t", "AS", "t", "TEXT"]).ok();
    c.cmd(&["JSON.SET", "doc", "$", r#"{"t":"hello world"}"#]).ok();
    assert_eq!(c.cmd(&["FT.SEARCH", "i", "hello", "NOCONTENT"]).items()[0], Reply::Int(1));
    assert_eq!(c.cmd(&["TS.ADD", "ts", "1", "2"]), Reply::Int(1));
    assert_eq!(c.cmd(&["BF.ADD", "bf", "x"]), Reply::Int(1));
    assert_eq!(
        c.cmd(&["CONFIG", "GET", "module-persona"]).items()[1].text(),
        "search redis-8.2.1 timeseries redis-8.0.0 ReJSON valkey-8.0.1 bf redis-7.4.2"
    );
    s.assert_alive();
}

#[test]
fn the_directive_is_set_and_read_back() {
    let s = Server::start(&[]);
    let c = &mut s.client();
    c.cmd(&["CONFIG", "SET", "module-persona", "persona 7.0.0"]).ok();
    c.cmd(&["MODULE", "LOAD", &own("persona")]).ok();
    // It holds from the load on: the file's name is the module's, so old functions alone were found.
    assert_eq!(texts(&c.cmd(&["persona.found"])).len(), 2);
    assert_eq!(versions(c, "persona")[..2], [0x70000, 4]);
    let refused = c.cmd(&["CONFIG", "SET", "module-persona", "persona keydb-6.3.4"]);
    assert!(refused.text().contains("a version is written as"), "{refused:?}");
    let refused = c.cmd(&["CONFIG", "SET", "module-persona", "persona"]);
    assert!(refused.text().contains("a module's name and a version are needed"), "{refused:?}");
    assert_eq!(
        c.cmd(&["CONFIG", "GET", "module-persona"]).items()[1].text(),
        "persona redis-7.0.0"
    );
}
