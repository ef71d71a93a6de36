//! STEP 5: command bodies. They are written once, against [`Tx`], and do not know which path they run on.
//!
//! One command family, one file; each file ends in the table of its rows. [`FAMILIES`] lists the tables.
use crate::dispatch::table::{flags, Command, Row};
use crate::server::Server;
use std::borrow::Cow;

pub mod acl;
pub mod bitmap;
pub mod blocking;
pub mod client;
pub mod cluster;
mod collection;
pub mod command;
mod command_docs;
pub mod command_keys;
mod command_tips;
pub mod config;
pub mod connection;
pub mod debug;
pub mod digest;
pub mod dump;
pub mod error;
pub mod expire;
pub mod flush;
mod follow_up;
pub mod function;
pub mod generic;
pub mod geo;
pub mod handle;
pub mod hash;
pub mod hash_expire;
pub mod hyperloglog;
pub mod info;
mod lapsed;
pub mod latency;
pub mod lcs;
pub mod list;
mod lolwut;
pub mod memory;
pub mod migrate;
pub mod module;
pub mod monitor;
pub mod object;
mod partial_sort;
pub mod pause;
pub mod persistence;
pub mod pubsub;
pub mod replication;
pub mod scan;
pub mod script;
pub mod server;
pub mod set;
pub mod slowlog;
pub mod sort;
pub mod stream;
pub mod stream_group;
pub mod stream_info;
pub mod stream_pending;
pub mod string;
mod sweep;
pub mod tracking;
pub mod transaction;
mod tx;
mod typed;
pub mod zset;
pub mod zset_combine;
pub mod zset_range;

pub use error::{CommandError, CommandResult};
use tx::deletion;
pub use tx::{Brief, Expiry, Mode, Tx};

/// The row tables of all families.
pub static FAMILIES: &[&[Row]] = &[
    string::ROWS,
    generic::ROWS,
    connection::ROWS,
    transaction::ROWS,
    pubsub::ROWS,
    server::ROWS,
    module::ROWS,
    hash::ROWS,
    hash_expire::ROWS,
    list::ROWS,
    set::ROWS,
    zset::ROWS,
    zset_range::ROWS,
    zset_combine::ROWS,
    stream::ROWS,
    stream_group::ROWS,
    stream_pending::ROWS,
    stream_info::ROWS,
    hyperloglog::ROWS,
    geo::ROWS,
    bitmap::ROWS,
    expire::ROWS,
    scan::ROWS,
    object::ROWS,
    memory::ROWS,
    config::ROWS,
    info::ROWS,
    client::ROWS,
    command::ROWS,
    debug::ROWS,
    latency::ROWS,
    slowlog::ROWS,
    monitor::ROWS,
    acl::ROWS,
    cluster::ROWS,
    replication::ROWS,
    persistence::ROWS,
    dump::ROWS,
    migrate::ROWS,
    flush::ROWS,
    sort::ROWS,
    script::ROWS,
    function::ROWS,
];

/// Whether a call of a `PathRule::Connection` command has to run under the module lock, because it asks modules
/// (`INFO everything`, `CONFIG SET`).
#[inline]
pub fn needs_module_lock(server: &Server, command: &Command, args: &[&[u8]]) -> bool {
    command.has(flags::ARGS_DECIDE)
        && match command.full_name.as_str() {
            "info" => info::asks_modules(server, args),
            "auth" | "hello" | "reset" => crate::module::auth::listening(server),
            "config|get" => config::asks_modules(server, args),
            "shutdown" => persistence::shutdown_needs_module_lock(args),
            "config|set" => config::concerns_modules(server, args),
            "config|rewrite" => config::modules_have_directives(),
            "command|getkeys" | "command|getkeysandflags" => command::asks_modules(server, args),
            _ => true,
        }
}

/// Text of an argument for messages, which come back to the client with the same bytes, up to a zero as on Redis.
pub fn text(arg: &[u8]) -> Cow<'_, str> {
    let end = arg.iter().position(|byte| *byte == 0).unwrap_or(arg.len());
    crate::reply::bytes::as_text(&arg[..end])
}

/// Parses an integer argument.
pub fn int(arg: &[u8]) -> Result<i64, CommandError> {
    crate::keyspace::number::parse_i64(arg).ok_or(error::NOT_INTEGER)
}

/// Parses an integer argument that must lie in a range.
pub fn int_between(arg: &[u8], min: i64, max: i64) -> Result<i64, CommandError> {
    let n = int(arg)?;
    if (min..=max).contains(&n) {
        return Ok(n);
    }
    Err(error::err(format!("ERR value is out of range, value must between {min} and {max}")))
}

/// Whether an argument is this word, in any case.
#[inline]
pub fn is(arg: &[u8], word: &str) -> bool {
    arg.eq_ignore_ascii_case(word.as_bytes())
}
