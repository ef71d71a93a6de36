//! The server binary: arguments and `redis.conf` to a running server; exit codes.
use std::io::Write;

#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: backplane::observe::heap::Heap = backplane::observe::heap::Heap;

/// The allocator's options, which it reads before anything runs: nothing is ever unmapped (`ModuleType::in_heap` relies on
/// it), unused memory goes back to the system after a second
/// (the cron sees to it), and large blocks, most of them tables, are not padded by a page. Small blocks come in slabs of 16
/// KB or more: a slab has 128 bytes of its own, which is a byte for each key when it is a page of blocks of 32 bytes.
#[cfg(feature = "jemalloc")]
#[repr(transparent)]
pub struct Options(*const std::ffi::c_char);

// SAFETY: layout: points to a constant.
#[cfg(feature = "jemalloc")]
unsafe impl Sync for Options {}

#[cfg(feature = "jemalloc")]
#[export_name = "_rjem_malloc_conf"]
/// See [`Options`].
pub static OPTIONS: Options = Options(
    c"retain:true,dirty_decay_ms:1000,muzzy_decay_ms:0,\
      slab_sizes:17-32:4|49-64:4|65-80:10|81-96:6|97-112:7|113-128:4"
        .as_ptr(),
);

fn main() {
    let args: Vec<std::ffi::OsString> = std::env::args_os().collect();
    if let Some(code) = tool(&args).or_else(|| backplane::persist::tool(&args)) {
        std::process::exit(code);
    }
    match backplane::config::from_command_line(&args, &backplane::start::Hooks) {
        Ok((config, startup)) => std::process::exit(backplane::start::run(config, startup)),
        Err(exit) => {
            let _ = std::io::stdout().write_all(&exit.stdout);
            let _ = std::io::stderr().write_all(&exit.stderr);
            for (level, text) in &exit.messages {
                backplane::observe::log::log(*level, text);
            }
            std::process::exit(exit.code);
        }
    }
}

/// The tools that this program is beside a server, by its first argument; the exit code if it was one.
fn tool(args: &[std::ffi::OsString]) -> Option<i32> {
    let rest = || args[2..].iter().map(|a| a.to_string_lossy().into_owned()).collect::<Vec<_>>();
    match args.get(1)?.to_str()? {
        "doctor" => Some(backplane::doctor::main(&rest())),
        "matrix" => Some(backplane::matrix::main(&rest())),
        _ => None,
    }
}
