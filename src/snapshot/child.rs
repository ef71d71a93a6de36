//! `BGSAVE` by a forked child, as Redis does it: with `module-exclusive yes` only.
//!
//! The methods of a module's types then run where they run on Redis: in a process that has none of the module's threads,
//! and in which nothing that they change reaches the server. A module that gets that wrong is to be found out by its
//! author, which is what the directive is for. Otherwise snapshots are taken without a fork ([`super::cut`]).
use super::control::{self, background_save_begins, background_save_ended, put_in_place};
use super::cut::Failure;
use crate::module::abi;
use crate::module::fork::{self, End};
use crate::server::Server;
use parking_lot::Mutex;
use std::path::PathBuf;

/// The child that saves, and what is noted of it.
struct Child {
    pid: i32,
    /// When it began, Unix seconds.
    began: i64,
    /// The server's counter of changes at the fork.
    dirty: u64,
    /// What it saves is not wanted any more.
    called_off: bool,
}

static CHILD: Mutex<Option<Child>> = Mutex::new(None);

/// The name of a child's file until it is complete: as on Redis.
fn name_for(pid: i32) -> PathBuf {
    PathBuf::from(format!("temp-{pid}.rdb"))
}

/// Begins a save. False if a child runs already. The calling thread has the module lock, and is between two commands.
pub(super) fn save(server: &'static Server) -> bool {
    if fork::child().is_some() {
        return false;
    }
    let dirty = server.dirty.get();
    let began = background_save_begins(server);
    match fork::fork_own(server, ended) {
        Ok(0) => {
            let temporary = name_for(std::process::id() as i32);
            let result = control::save_as(server, &temporary, abi::SUBEVENT_PERSISTENCE_RDB_START);
            fork::exit(i32::from(result.is_err()))
        }
        Ok(pid) => {
            crate::log_notice!("Background saving started by pid {pid}");
            *CHILD.lock() = Some(Child { pid, began, dirty, called_off: false });
        }
        Err(e) => {
            let text = control::os_text(&e);
            crate::log_warning!("Can't save in background: fork: {text}");
            background_save_ended(server, Err(Failure::Error(text)), dirty, began);
        }
    }
    true
}

/// Calls the child off, if one saves; waits for its end. The calling thread has the module lock.
pub(super) fn abort(server: &'static Server, wait: bool) {
    let saves = CHILD.lock().as_mut().map(|child| child.called_off = true).is_some();
    if saves {
        fork::kill_own(server, wait);
    }
}

/// The child has ended.
fn ended(server: &'static Server, end: End) {
    let Some(child) = CHILD.lock().take() else { return };
    let temporary = name_for(child.pid);
    let result = match end {
        _ if child.called_off || end.was_asked_for() => Err(Failure::Aborted),
        End { code: 0, .. } => {
            put_in_place(&temporary, &control::file_name(server)).map_err(Failure::Error)
        }
        End { signal: 0, code } => Err(Failure::Error(format!("the child ended with {code}"))),
        End { signal, .. } => {
            crate::log_warning!("Background saving terminated by signal {signal}");
            Err(Failure::Error(format!("the child was ended by signal {signal}")))
        }
    };
    if result.is_err() {
        let _ = std::fs::remove_file(&temporary);
    } else {
        crate::log_notice!("DB saved on disk");
    }
    background_save_ended(server, result, child.dirty, child.began);
}
