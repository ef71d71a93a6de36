//! Backplane: a Redis-compatible, multithreaded, in-memory server that hosts unmodified Redis modules.
//!
//! The tree reads like the way of a command:
//! 1. [`connection`]: sockets and their read, execute, write loop
//! 2. [`parse`]: RESP2, RESP3 and inline requests
//! 3. [`dispatch`]: look-up, arity, authentication; native path or module path
//! 4. [`lock`]: the module lock, shard latches and held keys
//! 5. [`execute`]: command bodies, one family a file, written against `Tx`
//! 6. [`reply`]: the RESP writer
//! 7. [`propagate`]: the ordered effect log
//!
//! Beside them: [`keyspace`] (shards, entries, value types), [`snapshot`] (RDB), [`persist`] (the append-only file), [`module`] (the
//! module ABI), [`script`] (Lua), [`config`], [`acl`] (users and permissions) and [`observe`] (statistics, logging).
//! Where none of it is needed, unsafe code is forbidden below.
//! The tools ([`doctor`], [`matrix`], `backplane-diff`, `backplane-bench`) share [`client`].
#![deny(unsafe_op_in_unsafe_fn, clippy::undocumented_unsafe_blocks)]

// Links the C side of the module API.
use backplane_ffi as _;

pub mod acl;
pub mod client;
pub mod cluster;
#[forbid(unsafe_code)]
pub mod config;
pub mod connection;
pub mod dispatch;
#[forbid(unsafe_code)]
pub mod doctor;
pub mod execute;
pub mod keyspace;
pub mod lock;
#[forbid(unsafe_code)]
pub mod matrix;
pub mod module;
pub mod observe;
#[forbid(unsafe_code)]
pub mod parse;
pub mod persist;
pub mod propagate;
#[forbid(unsafe_code)]
pub mod reply;
pub mod script;
pub mod server;
pub mod snapshot;
pub mod start;
