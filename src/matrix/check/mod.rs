//! The checks, as a table.
mod clients;
mod endure;
mod load;
mod outside;
mod persist;
mod surface;
mod values;

use super::again;
use super::lab::{Lab, Verdict};

/// One row of the matrix.
pub struct Check {
    /// For `--only`.
    pub name: &'static str,
    /// Head of the row.
    pub title: &'static str,
    /// What it proves where it is ok.
    pub proves: &'static str,
    /// Whether it can only be made with a module that loads here.
    pub needs_load: bool,
    /// Makes it.
    pub run: fn(&Lab) -> Verdict,
    /// The command line that makes it again.
    pub how: fn(&Lab) -> String,
}

/// Rows made by this program itself: name, title, what it proves, function.
macro_rules! rows {
    ($($name:literal, $title:literal, $needs:literal, $run:path, $proves:literal;)*) => {
        [$(Check {
            name: $name,
            title: $title,
            proves: $proves,
            needs_load: $needs,
            run: $run,
            how: |lab| again(lab, $name, matches!($name, "together")),
        }),*]
    };
}

const OUTSIDE: [Check; 3] = [
    Check {
        name: "doctor",
        title: "doctor",
        proves: "The file can be loaded here, and finds every API function that Redis 7.4 would give it.",
        needs_load: false,
        run: outside::doctor,
        how: outside::doctor_command,
    },
    Check {
        name: "diff",
        title: "differential script",
        proves: "Hundreds of commands in a row have the same replies as on the reference.",
        needs_load: true,
        run: outside::scripts,
        how: outside::scripts_command,
    },
    Check {
        name: "suite",
        title: "vendor's suite",
        proves: "Every test of the vendor's own suite that passes on the reference passes here.",
        needs_load: true,
        run: outside::suite,
        how: outside::suite_command,
    },
];

const OWN: [Check; 19] = rows! {
    "start", "load at start", false, load::at_start,
        "--loadmodule loads it, and its commands answer as on the reference.";
    "run", "load at run time", true, load::at_run_time,
        "MODULE LOAD into a server with data loads it, a second time is refused as by the reference.";
    "together", "both orders", true, load::together,
        "It works with all other modules of the list loaded before it, and after it.";
    "commands", "command table", true, surface::commands,
        "COMMAND INFO of each of its commands (arity, flags, keys, categories) is the reference's; so is the reply to a call \
         with a wrong number of arguments.";
    "acl", "ACL", true, surface::acl,
        "Denied commands, categories and keys are refused with the reference's errors; what is allowed works.";
    "info", "INFO", true, surface::info,
        "INFO has its sections with the reference's fields.";
    "multi", "MULTI", true, clients::multi,
        "Its commands work in MULTI and EXEC, DISCARD leaves nothing, WATCH sees its writes.";
    "lua", "Lua", true, clients::lua,
        "Its commands reply to scripts as on the reference, errors too.";
    "resp3", "RESP3", true, clients::resp3,
        "Replies have the reference's types after HELLO 3.";
    "dump", "DUMP, RESTORE", true, values::dump,
        "Each server restores what the other dumps of its values, with the same digests and reads afterwards.";
    "copy", "COPY", true, values::copy,
        "Its values are copied, or the copy refused, as on the reference; changes of the original do not reach the copy.";
    "digest", "DEBUG DIGEST", true, values::digest,
        "The digests of the keyspace and of each value equal the reference's, also after DEBUG RELOAD.";
    "expiry", "expiry", true, values::expiry,
        "Keys with its values expire, and what it keeps about them goes too.";
    "eviction", "eviction", true, values::eviction,
        "Under maxmemory its values are evicted, or its writes refused with the reference's error.";
    "rdb", "RDB round trip", true, persist::rdb,
        "A file of this server gives the same data on the reference, and the reference's file the same data here.";
    "aof", "AOF rewrite, reload", true, persist::aof,
        "After BGREWRITEAOF and further writes the log gives the same data again, here and on the reference; with and without \
         an RDB preamble.";
    "crash", "kill -9", true, endure::crash,
        "With appendfsync always nothing that was acknowledged is lost to SIGKILL, also in the middle of a rewrite.";
    "load", "mixed load", true, endure::mixed,
        "Several clients write, read and save for a while without an error, and the data survives a reload.";
    "unload", "unload", true, load::unload,
        "MODULE UNLOAD works, or is refused with the reference's error.";
};

/// All checks, in the order of the table.
pub const CHECKS: &[Check] = &{
    let [doctor, diff, suite] = OUTSIDE;
    let [start, run, together, commands, acl, info, multi, lua, resp3, dump, copy, digest, expiry, eviction, rdb, aof, crash, load, unload] =
        OWN;
    [
        doctor, start, run, together, commands, diff, acl, info, multi, lua, resp3, dump, copy,
        digest, expiry, eviction, rdb, aof, crash, unload, load, suite,
    ]
};
