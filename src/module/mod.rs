//! The module ABI: what a compiled module sees of the server, and what the server keeps of a module.
//!
//! Rust to C goes through [`callback`] alone; C to Rust through the functions of [`api`], one family a file.
pub mod abi;
pub mod admission;
pub mod api;
pub mod attend;
pub mod auth;
pub mod blocked;
pub mod border;
pub mod busy;
pub mod callback;
pub mod command;
pub mod context;
pub mod cron;
pub mod datatype;
pub mod defrag;
pub mod event;
pub mod event_loop;
pub mod fork;
pub mod key;
pub mod loader;
pub mod persona;
pub mod registry;
pub mod sha256;
pub mod strict;
pub mod string;
pub mod thread;
pub mod timer;
pub mod watchdog;
