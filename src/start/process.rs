//! What a start does with the process itself: background, file limit, pid file, banner.
use crate::config::Config;
use crate::observe::log::{self, Level};
use std::io::IsTerminal as _;
use std::path::PathBuf;

/// Goes on in the background: in a child with a session of its own and without a terminal. Called before there is a
/// second thread.
pub fn daemonize() {
    // SAFETY: layout: plain calls; the process has one thread, so the child is whole.
    unsafe {
        if libc::fork() != 0 {
            libc::_exit(0);
        }
        libc::setsid();
        let null = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
        if null >= 0 {
            for fd in 0..3 {
                libc::dup2(null, fd);
            }
            if null > 2 {
                libc::close(null);
            }
        }
    }
}

/// Descriptors that the server needs for itself.
const OWN_FILES: u64 = 32;

/// Raises the limit of open files to what `maxclients` needs, or lowers `maxclients` to what the system allows.
pub fn raise_file_limit(config: &Config) {
    let wanted = config.maxclients() as u64 + OWN_FILES;
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: layout: `limit` is what the call fills.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 || limit.rlim_cur >= wanted
    {
        return;
    }
    let new = libc::rlimit { rlim_cur: wanted.min(limit.rlim_max), rlim_max: limit.rlim_max };
    // SAFETY: layout: `new` is read only.
    let raised = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &new) } == 0;
    let have = if raised { new.rlim_cur } else { limit.rlim_cur };
    if have >= wanted {
        crate::log_notice!(
            "Increased maximum number of open files to {wanted} (it was originally set to {}).",
            limit.rlim_cur
        );
        return;
    }
    let clients = have.saturating_sub(OWN_FILES).max(1);
    let _ = config.assign("maxclients", &[clients.to_string().as_bytes()]);
    crate::log_warning!(
        "You requested maxclients of {} requiring at least {wanted} max file descriptors.",
        wanted - OWN_FILES
    );
    crate::log_warning!(
        "Current maximum open files is {have}. maxclients has been reduced to {clients} to compensate for low ulimit. \
         If you need higher maxclients increase 'ulimit -n'."
    );
}

fn pid_file(config: &Config) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    let path = config.pidfile().filter(|p| !p.is_empty());
    match path {
        Some(path) => Some(PathBuf::from(std::ffi::OsStr::from_bytes(&path))),
        None => config.daemonize().then(|| PathBuf::from("/var/run/redis.pid")),
    }
}

/// Writes the process's number into `pidfile`.
pub fn write_pid_file(config: &Config) {
    if let Some(path) = pid_file(config) {
        let _ = std::fs::write(path, format!("{}\n", std::process::id()));
    }
}

/// Removes the `pidfile`.
pub fn remove_pid_file(config: &Config) {
    if let Some(path) = pid_file(config) {
        crate::log_notice!("Removing the pid file.");
        let _ = std::fs::remove_file(path);
    }
}

/// Says what runs here: in one line, or on a terminal (or with `always-show-logo`) in some.
pub fn banner(config: &Config) {
    let logs_to_stdout = config.logfile().is_none_or(|p| p.is_empty());
    let on_terminal = logs_to_stdout && !config.syslog_enabled() && std::io::stdout().is_terminal();
    let (port, mode) = (config.port(), "standalone");
    crate::log_notice!("Backplane version={}", env!("CARGO_PKG_VERSION"));
    if !on_terminal && !config.always_show_logo() {
        crate::log_notice!("Running mode={mode}, port={port}.");
        return;
    }
    let text = format!(
        "\n    Backplane {} speaks Redis {}, {} bit\n\n    Running in {mode} mode\n    Port: {port}\n    PID: {}\n\n",
        env!("CARGO_PKG_VERSION"),
        crate::config::load::REDIS_VERSION,
        usize::BITS,
        std::process::id()
    );
    log::log_raw(Level::Notice, &text);
}
