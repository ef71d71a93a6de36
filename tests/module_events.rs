//! Notifications, server events, command filters, configs and shared APIs, against what Redis 7.4.1 answered to the same
//! commands.
mod common;
use common::{own_modules, show_with, words, Client, Server};

fn path(module: &str) -> String {
    own_modules().join(module).display().to_string()
}

fn start(module: &str) -> Server {
    Server::start(&["--loadmodule", &path(module)])
}

/// Runs a command given as one line and checks its reply; what a log tells has spaces in it.
fn check(c: &mut Client, line: &str, expected: &str) {
    assert_eq!(show_with(&c.cmd(&words(line)), "; "), expected, "{line}");
}

/// Runs a script on one connection. `@` stands for the folder of the test modules.
fn run(s: &Server, script: &[(&str, &str)]) {
    let dir = own_modules().display().to_string();
    let c = &mut s.client();
    for (line, expected) in script {
        check(c, &line.replace('@', &dir), expected);
    }
}

#[test]
fn events_come_in_order_with_the_state_that_they_tell_of() {
    let script = [
        ("ev.clear", "OK"),
        ("set a 1", "OK"),
        ("incr a", "2"),
        ("rename a b", "OK"),
        ("hset h f 1", "1"),
        ("hdel h f", "1"),
        ("expire b 100", "1"),
        ("del b", "1"),
        ("ev.notify 8192 custom k", "OK"),
        ("ev.incr n", "1"),
        ("ev.job n", "OK"),
        ("get n", "1"),
        ("ev.log", "[key string set a db=0 exists=1 value=1; key string incrby a db=0 exists=1 value=2; key generic rename_from a db=0 exists=0; key generic rename_to b db=0 exists=1 value=2; key hash hset h db=0 exists=1; key hash hdel h db=0 exists=0; key generic del h db=0 exists=0; key generic expire b db=0 exists=1 value=2; key generic del b db=0 exists=0; key module own:custom k db=0 exists=0; key string incrby n db=0 exists=1 value=1; job n]"),
        ("ev.addresses", "1"),
        ("ev.clear", "OK"),
        ("ev.server 1", "OK"),
        ("set a 1", "OK"),
        ("set a 2", "OK"),
        ("swapdb 0 2", "OK"),
        ("swapdb 0 2", "OK"),
        ("config set maxmemory-samples 6", "OK"),
        ("del a", "1"),
        ("flushdb", "OK"),
        ("ev.log", "[key string set a db=0 exists=1 value=1; server Key 3 a type=1; key string set a db=0 exists=1 value=2; server SwapDB 0 0 2; server SwapDB 0 0 2; server Config 0 maxmemory-samples; server Key 0 a type=1; key generic del a db=0 exists=0; server FlushDB 0 db=0 sync=0 size=2; server FlushDB 1 db=0 sync=0 size=0]"),
        ("ev.supported 2 1", "1"),
        ("ev.supported 12 0", "0"),
        ("ev.supported 13 1", "1"),
        ("ev.flags", "[0; 32767]"),
    ];
    run(&start("events.so"), &script);
}

#[test]
fn configs_of_every_kind() {
    let script = [
        ("cfg.values", "[default text; stone; ; 10; 1048576; 1; 2; 3; 0]"),
        ("config get configs.hidden", "[configs.hidden; no]"),
        ("config set configs.text hello", "OK"),
        ("config set configs.text bad", "ERR CONFIG SET failed (possibly related to argument 'configs.text') - text must not be bad"),
        ("config set configs.fixed x", "ERR CONFIG SET failed (possibly related to argument 'configs.fixed') - can't set immutable config"),
        ("config set configs.secret hush", "OK"),
        ("config get configs.secret", "[configs.secret; hush]"),
        ("config set configs.number 7", "OK"),
        ("config set configs.number 2001", "ERR CONFIG SET failed (possibly related to argument 'configs.number') - argument must be between -5 and 2000 inclusive"),
        ("config set configs.number x", "ERR CONFIG SET failed (possibly related to argument 'configs.number') - argument couldn't be parsed into an integer"),
        ("config set configs.number 13", "ERR CONFIG SET failed (possibly related to argument 'number') - 13 is not applied"),
        ("config get configs.number", "[configs.number; 7]"),
        ("config set configs.memory 2mb", "OK"),
        ("config get configs.memory", "[configs.memory; 2097152]"),
        ("config set configs.memory 2gb", "ERR CONFIG SET failed (possibly related to argument 'configs.memory') - argument must be between 0 and 1073741824 inclusive"),
        ("config set configs.on no", "OK"),
        ("config set configs.on maybe", "ERR CONFIG SET failed (possibly related to argument 'configs.on') - argument must be 'yes' or 'no'"),
        ("config set configs.color blue", "OK"),
        ("config set configs.color pink", "ERR CONFIG SET failed (possibly related to argument 'configs.color') - argument(s) must be one of the following: red, green, blue"),
        ("config get configs.color", "[configs.color; blue]"),
        ("config set configs.features admin", "OK"),
        ("config get configs.features", "[configs.features; admin]"),
        ("config set configs.features none", "OK"),
        ("config get configs.features", "[configs.features; none]"),
        ("config set configs.features bogus", "ERR CONFIG SET failed (possibly related to argument 'configs.features') - argument(s) must be one of the following: none, read, write, admin"),
        ("config set configs.number 1 configs.text multi configs.color red", "OK"),
        ("config set configs.number 2 configs.text bad", "ERR CONFIG SET failed (possibly related to argument 'configs.text') - text must not be bad"),
        ("config get configs.number", "[configs.number; 1]"),
        ("config set CONFIGS.NUMBER 3", "OK"),
        ("cfg.values", "[multi; stone; hush; 3; 2097152; 0; 1; 0; 0]"),
        ("cfg.applied", "[7; 2]"),
        ("cfg.late", "ERR status 1 errno 16"),
        ("config resetstat", "OK"),
        ("module unload configs", "OK"),
    ];
    run(&start("configs.so"), &script);
}

#[test]
fn configs_of_loadex_and_modules_that_do_not_take_them() {
    let script = [
        (
            "module loadex @/configs.so CONFIG configs.number 77 CONFIG CONFIGS.COLOR blue ARGS",
            "OK",
        ),
        ("config get configs.number", "[configs.number; 77]"),
        ("config get configs.color", "[configs.color; blue]"),
        ("module unload configs", "OK"),
        (
            "module loadex @/configs.so CONFIG configs.nosuch 77",
            "ERR Error loading the extension. Please check the server logs.",
        ),
        (
            "module loadex @/configs.so CONFIG configs.number 7777",
            "ERR Error loading the extension. Please check the server logs.",
        ),
        (
            "module loadex @/configs.so ARGS noload",
            "ERR Error loading the extension. Please check the server logs.",
        ),
        (
            "module loadex @/configs.so nonsense",
            "ERR Error loading the extension. Please check the server logs.",
        ),
        ("module list", "[]"),
    ];
    run(&Server::start(&[]), &script);
}

#[test]
fn shared_functions_bind_their_modules_together() {
    let script = [
        ("module load @/shared_import.so", "OK"),
        ("shimp.add 1 2", "ERR the API is missing"),
        ("module load @/shared_export.so", "OK"),
        ("shimp.add 1 2", "3"),
        ("shimp.counter", "1"),
        ("shexp.again", "refused"),
        ("module unload shexp", "ERR Error unloading module: the module exports APIs used by other modules. Please unload them first and try again"),
        ("module unload shimp", "OK"),
        ("module unload shexp", "OK"),
        ("exists k", "0"),
    ];
    run(&Server::start(&[]), &script);
}

#[test]
fn filters_see_and_rewrite_every_command() {
    let script = [
        ("flt.seen", "0"),
        ("flt.on", "OK"),
        ("echo @replace", "replaced"),
        ("flt.last", "[echo @replace; 1]"),
        ("rpush k @insert", "2"),
        ("flt.last", "[rpush k @insert; 1]"),
        ("lrange k 0 -1", "[inserted; kept]"),
        ("mget a @delete b", "[nil; nil]"),
        ("flt.last", "[mget a @delete b; 1]"),
        ("flt.alias hello", "hello"),
        ("flt.last", "[ECHO hello; 1]"),
        ("flt.call echo @replace", "replaced"),
        ("flt.seen", "12"),
        ("module unload filter", "ERR Error unloading module: operation not possible."),
        ("flt.off", "OK"),
        ("echo @replace", "@replace"),
        ("flt.off", "ERR it is off"),
        ("flt.on noself", "OK"),
        ("flt.call echo @replace", "@replace"),
        ("echo @replace", "replaced"),
        ("flt.off", "OK"),
        ("flt.alias hello", "ERR unknown command 'flt.alias', with args beginning with: 'hello' "),
        ("module unload filter", "OK"),
        ("flt.seen", "ERR unknown command 'flt.seen', with args beginning with: "),
    ];
    let s = start("filter.so");
    let c = &mut s.client();
    for (line, expected) in script {
        check(c, line, expected);
    }
}
