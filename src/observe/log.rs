//! The server log, line by line as Redis writes it: `PID:ROLE DD Mon YYYY HH:MM:SS.mmm LEVEL message`.
//!
//! There is no lock and no buffer: a line is formatted by its thread and appended with one `write`, so a child made by
//! `fork` can log whatever the parent's threads were doing. For the same reason a child does not ask the C library for the
//! local time (its time zone lock might be held by a thread that no longer exists) but uses the parent's last offset.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI32, AtomicI64, AtomicU32, AtomicU8, Ordering::Relaxed};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwapOption;

/// How much a line matters. The numbers are those of the `loglevel` directive.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Level {
    /// `.`
    Debug = 0,
    /// `-`
    Verbose = 1,
    /// `*`
    Notice = 2,
    /// `#`
    Warning = 3,
}

impl Level {
    /// The level of a number (the module API's, the directive's); beyond the last it is `Warning`.
    pub fn from_number(number: i64) -> Self {
        match number {
            ..=0 => Self::Debug,
            1 => Self::Verbose,
            2 => Self::Notice,
            _ => Self::Warning,
        }
    }

    fn mark(self) -> char {
        ['.', '-', '*', '#'][self as usize]
    }
}

/// What the process is, for the letter after the process id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Role {
    /// `M`: the default.
    Primary = b'M',
    /// `S`
    Replica = b'S',
    /// `X`
    Sentinel = b'X',
}

/// An open log file and the path it was opened by.
struct Sink {
    path: PathBuf,
    /// `None` if it could not be opened: the next line tries again.
    file: Option<File>,
}

/// A log. The server has one, which the functions of this module use.
struct Log {
    /// Lines below this level are dropped.
    verbosity: AtomicI64,
    role: AtomicU8,
    /// The process that is not `C`; zero until the server said that it is up.
    main_process: AtomicU32,
    /// `None` for standard output.
    sink: ArcSwapOption<Sink>,
    /// The descriptor behind `sink`, for signal handlers.
    descriptor: AtomicI32,
}

static LOG: Log = Log::new();
/// Seconds east of Greenwich, and the quarter of an hour for which they were found.
static UTC_OFFSET: AtomicI64 = AtomicI64::new(0);
static UTC_OFFSET_FOR: AtomicI64 = AtomicI64::new(i64::MIN);

/// Chooses the file (empty: standard output). As in Redis a relative path is looked up anew when the working directory
/// changes, and a file that was moved or deleted is made again.
pub fn set_logfile(path: &[u8]) {
    LOG.set_logfile(path);
}

/// Sets the `loglevel` directive's number: 4 silences everything.
pub fn set_verbosity(loglevel: i64) {
    LOG.verbosity.store(loglevel, Relaxed);
}

/// Sets the letter of this process.
pub fn set_role(role: Role) {
    LOG.role.store(role as u8, Relaxed);
}

/// Says that this process is the server: until then, and in its children, lines carry a `C`. To be called again after
/// daemonizing.
pub fn set_main_process() {
    LOG.main_process.store(std::process::id(), Relaxed);
    IN_CHILD.store(false, Relaxed);
    static ONCE: std::sync::Once = std::sync::Once::new();
    extern "C" fn child() {
        IN_CHILD.store(true, Relaxed);
    }
    // SAFETY: layout: a function for the life of the process that stores one flag. A flag, because modules ask with
    // every command, and asking the kernel for the process id is a system call.
    ONCE.call_once(|| unsafe {
        libc::pthread_atfork(None, None, Some(child));
    });
}

static IN_CHILD: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

/// Whether this process is a child of the server.
pub fn in_child() -> bool {
    IN_CHILD.load(Relaxed)
}

/// Whether a line of this level would be written.
#[inline]
pub fn enabled(level: Level) -> bool {
    LOG.enabled(level)
}

/// Writes one line.
pub fn log(level: Level, message: &str) {
    LOG.line(level, message.as_bytes());
}

/// [`log()`] for bytes that need not be UTF-8 (names of keys and files, messages of modules).
pub fn log_bytes(level: Level, message: &[u8]) {
    LOG.line(level, message);
}

/// Writes text as it is: no time, no newline (the ASCII logo, parts of a crash report).
pub fn log_raw(level: Level, text: &str) {
    LOG.raw(level, text.as_bytes());
}

/// Writes `PID:signal-handler (unix time) message`. Safe in a signal handler: no allocation, no lock.
pub fn log_from_signal_handler(level: Level, message: &[u8]) {
    LOG.line_in_signal_handler(level, message);
}

impl Log {
    const fn new() -> Self {
        Self {
            verbosity: AtomicI64::new(Level::Notice as i64),
            role: AtomicU8::new(Role::Primary as u8),
            main_process: AtomicU32::new(0),
            sink: ArcSwapOption::const_empty(),
            descriptor: AtomicI32::new(libc::STDOUT_FILENO),
        }
    }

    fn enabled(&self, level: Level) -> bool {
        level as i64 >= self.verbosity.load(Relaxed)
    }

    fn set_logfile(&self, path: &[u8]) {
        if path.is_empty() {
            self.descriptor.store(libc::STDOUT_FILENO, Relaxed);
            self.sink.store(None);
        } else {
            self.open(Path::new(std::ffi::OsStr::from_bytes(path)));
        }
    }

    fn line(&self, level: Level, message: &[u8]) {
        if !self.enabled(level) {
            return;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let pid = std::process::id();
        let main = self.main_process.load(Relaxed);
        let role = if pid == main { self.role.load(Relaxed) as char } else { 'C' };
        let is_child = main != 0 && pid != main;
        let mut line = Vec::with_capacity(message.len() + 48);
        let time = format_time(now, utc_offset(now.as_secs() as i64, is_child));
        let _ = write!(line, "{pid}:{role} {time} {} ", level.mark());
        line.extend_from_slice(message);
        line.push(b'\n');
        self.append(&line);
    }

    fn raw(&self, level: Level, text: &[u8]) {
        if self.enabled(level) {
            self.append(text);
        }
    }

    fn line_in_signal_handler(&self, level: Level, message: &[u8]) {
        if !self.enabled(level) {
            return;
        }
        // SAFETY: layout: `time` with a null pointer only returns the time; it is on POSIX's list for signal handlers.
        let now = unsafe { libc::time(std::ptr::null_mut()) };
        let fd = self.descriptor.load(Relaxed);
        let mut digits = [0; 20];
        write_all(fd, decimal(u64::from(std::process::id()), &mut digits));
        write_all(fd, b":signal-handler (");
        write_all(fd, decimal(now as u64, &mut digits));
        for part in [b") ".as_slice(), message, b"\n"] {
            write_all(fd, part);
        }
    }

    /// Opens the log file and makes it the sink, even if that failed.
    fn open(&self, path: &Path) -> Arc<Sink> {
        let file = OpenOptions::new().append(true).create(true).open(path).ok();
        if let Some(file) = &file {
            self.descriptor.store(file.as_raw_fd(), Relaxed);
        }
        let sink = Arc::new(Sink { path: path.to_owned(), file });
        self.sink.store(Some(sink.clone()));
        sink
    }

    fn append(&self, bytes: &[u8]) {
        let Some(mut sink) = self.sink.load_full() else {
            return write_all(libc::STDOUT_FILENO, bytes);
        };
        if !sink.is_current() {
            sink = self.open(&sink.path);
        }
        if let Some(file) = &sink.file {
            write_all(file.as_raw_fd(), bytes);
        }
    }
}

impl Sink {
    /// Whether the path still leads to the open file.
    fn is_current(&self) -> bool {
        let opened = self.file.as_ref().and_then(|file| file.metadata().ok());
        match (opened, std::fs::metadata(&self.path)) {
            (Some(opened), Ok(named)) => opened.dev() == named.dev() && opened.ino() == named.ino(),
            _ => false,
        }
    }
}

fn decimal(mut number: u64, buffer: &mut [u8; 20]) -> &[u8] {
    let mut start = buffer.len();
    loop {
        start -= 1;
        buffer[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &buffer[start..];
        }
    }
}

/// Not through `std`'s standard output, which has a lock. What cannot be written is lost: there is nowhere to say so.
fn write_all(fd: i32, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        // SAFETY: layout: the pointer and the length are of one live slice.
        let written = unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
        match usize::try_from(written) {
            Ok(written) => bytes = &bytes[written..],
            Err(_) if std::io::Error::last_os_error().kind() == std::io::ErrorKind::Interrupted => {
            }
            Err(_) => return,
        }
    }
}

fn utc_offset(seconds: i64, is_child: bool) -> i64 {
    // Zones change their offset at quarters of an hour.
    let quarter = seconds.div_euclid(900);
    if !is_child && UTC_OFFSET_FOR.load(Relaxed) != quarter {
        // SAFETY: layout: all-zero bytes are a valid `tm` (numbers and a null pointer).
        let mut local: libc::tm = unsafe { std::mem::zeroed() };
        // SAFETY: layout: both pointers are to live variables of the types that the function wants.
        if !unsafe { libc::localtime_r(&seconds, &mut local) }.is_null() {
            UTC_OFFSET.store(local.tm_gmtoff, Relaxed);
            UTC_OFFSET_FOR.store(quarter, Relaxed);
        }
    }
    UTC_OFFSET.load(Relaxed)
}

/// `DD Mon YYYY HH:MM:SS.mmm`
fn format_time(since_epoch: Duration, utc_offset: i64) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let local = since_epoch.as_secs() as i64 + utc_offset;
    let (year, month, day) = civil_date(local.div_euclid(86400));
    let second = local.rem_euclid(86400);
    format!(
        "{day:02} {} {year} {:02}:{:02}:{:02}.{:03}",
        MONTHS[month - 1],
        second / 3600,
        second / 60 % 60,
        second % 60,
        since_epoch.subsec_millis()
    )
}

/// Year, month (1 to 12) and day of a number of days since 1970-01-01. Years are counted from March, so that the leap day
/// is the last of its year.
fn civil_date(days: i64) -> (i64, usize, i64) {
    const DAYS_IN_400_YEARS: i64 = 146_097;
    let days = days + 719_468; // since 0000-03-01
    let era = days.div_euclid(DAYS_IN_400_YEARS);
    let day_of_era = days.rem_euclid(DAYS_IN_400_YEARS);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month as usize, day)
}

/// Logs at [`Level::Debug`] with `format!`'s arguments, which are evaluated only if the line is written.
#[macro_export]
macro_rules! log_debug {
    ($($arg:tt)*) => { $crate::log_at!($crate::observe::log::Level::Debug, $($arg)*) };
}

/// Logs at [`Level::Verbose`].
#[macro_export]
macro_rules! log_verbose {
    ($($arg:tt)*) => { $crate::log_at!($crate::observe::log::Level::Verbose, $($arg)*) };
}

/// Logs at [`Level::Notice`].
#[macro_export]
macro_rules! log_notice {
    ($($arg:tt)*) => { $crate::log_at!($crate::observe::log::Level::Notice, $($arg)*) };
}

/// Logs at [`Level::Warning`].
#[macro_export]
macro_rules! log_warning {
    ($($arg:tt)*) => { $crate::log_at!($crate::observe::log::Level::Warning, $($arg)*) };
}

/// Logs at a level given as the first argument.
#[macro_export]
macro_rules! log_at {
    ($level:expr, $($arg:tt)*) => {
        if $crate::observe::log::enabled($level) {
            $crate::observe::log::log($level, &format!($($arg)*));
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let at = |seconds, millis: u32| Duration::new(seconds, millis * 1_000_000);
        assert_eq!(format_time(at(0, 7), 0), "01 Jan 1970 00:00:00.007");
        assert_eq!(format_time(at(951_782_400, 0), 0), "29 Feb 2000 00:00:00.000");
        assert_eq!(format_time(at(951_868_799, 999), 0), "29 Feb 2000 23:59:59.999");
        assert_eq!(format_time(at(4_107_542_399, 0), 0), "28 Feb 2100 23:59:59.000");
        assert_eq!(format_time(at(4_107_542_400, 0), 0), "01 Mar 2100 00:00:00.000");
        assert_eq!(format_time(at(1_795_350_995, 614), -3600), "22 Nov 2026 11:36:35.614");
        assert_eq!(format_time(at(0, 0), 5 * 3600 + 45 * 60), "01 Jan 1970 05:45:00.000");
    }

    #[test]
    fn dates_agree_with_the_c_library() {
        for day in (0..60_000i64).step_by(13) {
            let seconds = day * 86400;
            // SAFETY: layout: all-zero bytes are a valid `tm`.
            let mut tm: libc::tm = unsafe { std::mem::zeroed() };
            // SAFETY: layout: both pointers are to live variables.
            unsafe { libc::gmtime_r(&seconds, &mut tm) };
            let expected =
                (i64::from(tm.tm_year) + 1900, tm.tm_mon as usize + 1, tm.tm_mday as i64);
            assert_eq!(civil_date(day), expected);
        }
    }

    #[test]
    fn numbers_in_signal_handlers() {
        let mut buffer = [0; 20];
        assert_eq!(decimal(0, &mut buffer), b"0");
        assert_eq!(decimal(u64::MAX, &mut buffer), b"18446744073709551615");
    }

    #[test]
    fn lines_reach_the_file() {
        let dir = std::env::temp_dir().join(format!("backplane-log-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("server.log");
        let read = || std::fs::read_to_string(&path).unwrap();
        let log = Log::new();
        log.set_logfile(path.as_os_str().as_bytes());

        log.line(Level::Verbose, b"dropped");
        log.line(Level::Notice, b"first 1");
        let text = read();
        let pid = std::process::id();
        assert!(text.starts_with(&format!("{pid}:C ")), "{text}");
        assert!(text.ends_with(" * first 1\n"), "{text}");
        let words: Vec<&str> = text.split(' ').collect();
        assert_eq!(words.len(), 8, "{text}");
        assert_eq!(words[4].len(), "00:00:00.000".len(), "{text}");

        log.main_process.store(pid, Relaxed);
        log.role.store(Role::Replica as u8, Relaxed);
        log.line(Level::Warning, b"second");
        assert!(read().lines().nth(1).unwrap().starts_with(&format!("{pid}:S ")));
        assert!(read().ends_with(" # second\n"));

        // Moved away, as log rotation does: a new file appears.
        std::fs::rename(&path, dir.join("old.log")).unwrap();
        log.raw(Level::Warning, b"raw");
        assert_eq!(read(), "raw");
        log.line_in_signal_handler(Level::Warning, b"signal");
        assert!(read().starts_with(&format!("raw{pid}:signal-handler (")));
        assert!(read().ends_with(") signal\n"));

        log.verbosity.store(4, Relaxed);
        log.line(Level::Warning, b"silenced");
        assert!(!read().contains("silenced"));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
