//! Two servers on one folder, which overwrite each other's files, are told.
//!
//! Every server keeps a shared lock on its working folder (`flock` on the folder itself, so no file of ours appears in it)
//! and looks first whether it would get it alone. It is a warning and no more: servers with different names for their
//! files may share a folder, as on Redis.
use parking_lot::Mutex;
use std::fs::File;
use std::os::fd::AsRawFd;

/// The folder that is locked. It is unlocked when the process ends, however it ends.
static LOCKED: Mutex<Option<File>> = Mutex::new(None);

fn flock(file: &File, how: i32) -> bool {
    // SAFETY: layout: a system call on an open descriptor.
    unsafe { libc::flock(file.as_raw_fd(), how) == 0 }
}

/// Locks the working folder in the place of the one before, and warns if another server has it too. File systems without
/// such locks say nothing.
pub fn claim() {
    let mut locked = LOCKED.lock();
    // A server that comes back to its own folder must not meet itself.
    *locked = None;
    let Ok(folder) = File::open(".") else { return };
    let alone = flock(&folder, libc::LOCK_EX | libc::LOCK_NB);
    let taken = !alone && std::io::Error::last_os_error().kind() == std::io::ErrorKind::WouldBlock;
    if taken {
        let path = std::env::current_dir().unwrap_or_default();
        crate::log_warning!(
            "WARNING: another server uses the folder {} too. Unless their dbfilename and appenddirname differ, each will \
             overwrite the other's data.",
            path.display()
        );
    }
    flock(&folder, libc::LOCK_SH | libc::LOCK_NB);
    *locked = Some(folder);
}
