//! The server binary: arguments and `redis.conf` to a running server; exit codes.
use std::io::Write;

#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: backplane::observe::heap::Heap = backplane::observe::heap::Heap;

fn main() {
    let args: Vec<std::ffi::OsString> = std::env::args_os().collect();
    if let Some(code) = backplane::persist::tool(&args) {
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
