//! Forked children.
use crate::module::abi::{self, ERR, OK};
use crate::module::fork;
use crate::server::Server;
use std::ffi::{c_int, c_void};

crate::api! {
    /// Forks: 0 in the child, its id in the parent, -1 with `errno` (`EEXIST` when there is a child already). The callback
    /// runs on the module thread when the child has ended.
    [Locked] fn Fork(callback: abi::ForkDoneFn, data: *mut c_void) -> c_int {
        fork::fork(Server::get(), callback, data)
    }

    /// In the child: says how far it is, 0 to 1.
    [Free] fn SendChildHeartbeat(progress: f64) {
        fork::heartbeat(progress);
    }

    /// In the child: ends it.
    [Free] fn ExitFromChild(code: c_int) -> c_int {
        fork::exit(code)
    }

    /// Ends the child and waits for it; the callback is not called.
    [Locked] fn KillForkChild(pid: c_int) -> c_int {
        if fork::kill(pid) { OK } else { ERR }
    }
}
