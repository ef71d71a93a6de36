//! The table `redis` of scripts.
use super::convert::{mark_counted, push_error, push_reply, raise};
use super::lua::{Lua, Raised, Results, Type};
use super::run::{current, repl, string_arguments};
use super::{digest, hex};
use crate::observe::log::{enabled, log_bytes, Level};

const NO_ARGUMENTS: &[u8] = b"Please specify at least one argument for this redis lib call";
const BAD_ARGUMENTS: &[u8] = b"Lua redis lib command arguments must be strings or integers";

/// `redis.call` raises errors, `redis.pcall` returns them.
fn call(lua: Lua, raises: bool) -> Results {
    let failed = |n: Results| if raises { Err(Raised) } else { n };
    let Some(run) = current() else {
        push_error(lua, b"redis.call/pcall can only be called inside a script invocation");
        return failed(Ok(1));
    };
    if lua.top() == 0 {
        push_error(lua, NO_ARGUMENTS);
        return failed(Ok(1));
    }
    let Some(args) = string_arguments(lua) else {
        push_error(lua, BAD_ARGUMENTS);
        return failed(Ok(1));
    };
    match run.command(&args) {
        Err(text) => {
            push_error(lua, text.0.as_bytes());
            mark_counted(lua);
            failed(Ok(1))
        }
        Ok(protocol) => {
            // The arguments have done their duty: there may be so many that the reply has no room above them.
            lua.set_top(0);
            if push_reply(lua, protocol, 0).is_none() {
                // No reply, or one that Lua's stack has no room for.
                lua.set_top(0);
                lua.push_nil();
            }
            if protocol.first() == Some(&b'-') {
                return failed(Ok(1));
            }
            Ok(1)
        }
    }
}

/// `redis.sha1hex (x)`
fn sha1hex(lua: Lua) -> Results {
    if lua.top() != 1 {
        return Err(raise(lua, b"wrong number of arguments"));
    }
    let text = hex(&digest(lua.bytes(1)));
    lua.push_bytes(text.as_bytes());
    Ok(1)
}

fn one_string(lua: Lua) -> bool {
    let fits = lua.top() == 1 && lua.kind(1) == Type::String;
    if !fits {
        push_error(lua, b"wrong number or type of arguments");
    }
    fits
}

/// `redis.error_reply (x)`
fn error_reply(lua: Lua) -> Results {
    if one_string(lua) {
        let text = lua.c_bytes(1);
        let dash: &[u8] = if text.first() == Some(&b'-') { b"" } else { b"-" };
        push_error(lua, &[dash, text].concat());
    }
    Ok(1)
}

/// `redis.status_reply (x)`
fn status_reply(lua: Lua) -> Results {
    if one_string(lua) {
        lua.push_table(0, 1);
        lua.push_copy(1);
        lua.set_field(-2, b"ok");
    }
    Ok(1)
}

/// `redis.set_repl (x)`
fn set_repl(lua: Lua) -> Results {
    if lua.top() != 1 {
        return Err(raise(lua, b"redis.set_repl() requires one argument."));
    }
    let bits = lua.to_number(1) as i32;
    if bits & !repl::ALL != 0 {
        let text = b"Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.";
        return Err(raise(lua, text));
    }
    if let Some(run) = current() {
        run.set_repl(bits);
    }
    Ok(0)
}

/// `redis.acl_check_cmd (command [, arg ...])`
fn acl_check_cmd(lua: Lua) -> Results {
    if lua.top() == 0 {
        return Err(raise(lua, NO_ARGUMENTS));
    }
    let Some(args) = string_arguments(lua) else {
        return Err(raise(lua, BAD_ARGUMENTS));
    };
    match current().and_then(|run| run.may(&args)) {
        Some(may) => {
            lua.push_bool(may);
            Ok(1)
        }
        None => Err(raise(lua, b"Invalid command passed to redis.acl_check_cmd()")),
    }
}

/// `redis.log (level, message, ...)`
fn log(lua: Lua) -> Results {
    let n = lua.top();
    if n < 2 {
        return Err(raise(lua, b"redis.log() requires two arguments or more."));
    }
    if !lua.is_number(1) {
        return Err(raise(lua, b"First argument must be a number (log level)."));
    }
    let level = lua.to_number(1) as i64;
    if !(0..=3).contains(&level) {
        return Err(raise(lua, b"Invalid log level."));
    }
    let level = Level::from_number(level);
    if enabled(level) {
        let words: Vec<&[u8]> = (2..=n).filter(|i| lua.is_text(*i)).map(|i| lua.bytes(i)).collect();
        log_bytes(level, &words.join(&b' '));
    }
    Ok(0)
}

/// `redis.setresp (x)`
fn setresp(lua: Lua) -> Results {
    if lua.top() != 1 {
        return Err(raise(lua, b"redis.setresp() requires one argument."));
    }
    let version = lua.to_number(1) as i64;
    if version != 2 && version != 3 {
        return Err(raise(lua, b"RESP version must be 2 or 3."));
    }
    if let Some(run) = current() {
        run.set_resp3(version == 3);
    }
    Ok(0)
}

/// The version of Redis that scripts see.
const VERSION: &str = "7.4.1";
const VERSION_NUM: u32 = 0x0007_0401;

fn set_number(lua: Lua, name: &str, n: f64) {
    lua.push_number(n);
    lua.set_field(-2, name.as_bytes());
}

/// Adds what the library's loading phase has, too, to the table on top: the log and the version.
pub fn add_basics(lua: Lua) {
    lua.push_function(log);
    lua.set_field(-2, b"log");
    for (n, name) in ["LOG_DEBUG", "LOG_VERBOSE", "LOG_NOTICE", "LOG_WARNING"].iter().enumerate() {
        set_number(lua, name, n as f64);
    }
    set_number(lua, "REDIS_VERSION_NUM", f64::from(VERSION_NUM));
    lua.push_bytes(VERSION.as_bytes());
    lua.set_field(-2, b"REDIS_VERSION");
}

/// Adds the table to the globals' table on top; `eval`: with what only `EVAL` has.
pub fn open(lua: Lua, eval: bool) {
    lua.push_table(0, 32);
    add_basics(lua);
    macro_rules! add {
        ($($name:literal $body:expr;)*) => {
            $(lua.push_function($body); lua.set_field(-2, $name);)*
        };
    }
    add! {
        b"call" |l: Lua| call(l, true);
        b"pcall" |l: Lua| call(l, false);
        b"setresp" setresp;
        b"sha1hex" sha1hex;
        b"error_reply" error_reply;
        b"status_reply" status_reply;
        b"set_repl" set_repl;
        b"acl_check_cmd" acl_check_cmd;
    }
    for (name, bits) in [
        ("REPL_NONE", 0),
        ("REPL_AOF", repl::AOF),
        ("REPL_SLAVE", repl::REPLICA),
        ("REPL_REPLICA", repl::REPLICA),
        ("REPL_ALL", repl::ALL),
    ] {
        set_number(lua, name, f64::from(bits));
    }
    if eval {
        add! {
            b"breakpoint" |l: Lua| { l.push_bool(false); Ok(1) };
            b"debug" |_: Lua| Ok(0);
            b"replicate_commands" |l: Lua| { l.push_bool(true); Ok(1) };
        }
    }
    lua.set_field(-2, b"redis");
}

/// [`open`], as a plain function for tests.
#[cfg(test)]
pub fn open_for_tests(lua: Lua) {
    open(lua, true);
}
