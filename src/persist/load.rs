//! Loading: the files of the manifest in order, a file of the time before there were manifests, and what is done about a
//! file that ends in the middle of something.
use super::manifest::{is_file, Info, Manifest};
use super::{delete_history, folder, in_folder, make_folder, manifest_name, os_text, path_of};
use super::{persist_manifest, shown, stem};
use crate::connection::client::Session;
use crate::dispatch::replay;
use crate::dispatch::table::Command;
use crate::execute::{text, Tx};
use crate::module::abi;
use crate::observe::clock::{mono_ns, now_ms};
use crate::reply::Reply;
use crate::server::Server;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;

/// A line of numbers or an annotation may be this long.
const MAX_LINE: u64 = 1024;
/// Commands between two looks at progress and releases of held keys.
const UNIT: u64 = 128;
/// Memory for a long argument is reserved in steps of this size, as the file's word for its length is not believed.
const STEP: usize = 16 << 20;

/// What became of a load.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Loaded {
    /// All is there.
    Done,
    /// There is no such file.
    Missing,
    /// The files have nothing in them.
    Empty,
    /// The last file's end was cut off.
    Truncated,
    /// It failed; the log says why.
    Failed,
}

/// Reads the manifest from the disk, if there is one. The error has been logged.
pub(crate) fn read_manifest(server: &Server) -> Result<(), ()> {
    let name = manifest_name(server);
    let path = in_folder(server, &name);
    if !folder(server).is_dir() || !path.exists() {
        crate::log_debug!("The AOF manifest file {} doesn't exist", shown(&name));
        *server.aof.manifest.lock() = Manifest::default();
        return Ok(());
    }
    *server.aof.manifest.lock() = manifest_of(&path, |line| crate::log_warning!("{line}"))?;
    Ok(())
}

/// Reads a manifest file. What is wrong goes to `log`, as Redis says it.
pub(crate) fn manifest_of(path: &Path, log: impl Fn(&str)) -> Result<Manifest, ()> {
    let text = std::fs::read(path).map_err(|e| {
        log(&format!(
            "Fatal error: can't open the AOF manifest file {} for reading: {}",
            path.display(),
            os_text(&e)
        ));
    })?;
    Manifest::parse(&text).map_err(|e| {
        log("\n*** FATAL AOF MANIFEST FILE ERROR ***\n");
        if let Some((number, line)) = &e.line {
            log(&format!("Reading the manifest file, at line {number}\n"));
            log(&format!(">>> '{}'\n", shown(line)));
        }
        log(&format!("{}\n", e.cause));
    })
}

/// Moves a file of the time before manifests into the folder, if that is what is there. The error has been logged.
fn upgrade(server: &Server) -> Result<(), ()> {
    let name = stem(server);
    let old = path_of(&name);
    if !is_file(&old) {
        return Ok(());
    }
    let mut manifest = server.aof.manifest.lock();
    let dir = folder(server);
    let begun = manifest.incr.is_empty() && manifest.base.as_ref().is_some_and(|b| b.name == name);
    let interrupted = begun && !is_file(&in_folder(server, &name));
    if dir.is_dir() && !manifest.is_empty() && !interrupted {
        return Ok(());
    }
    make_folder(server)?;
    manifest.base = Some(Info { name: name.clone(), seq: 1 });
    manifest.base_seq = 1;
    persist_manifest(server, &manifest)?;
    std::fs::rename(&old, in_folder(server, &name)).map_err(|e| {
        crate::log_warning!(
            "Error trying to move the old AOF file {} into dir {}: {}",
            shown(&name),
            dir.display(),
            os_text(&e)
        );
    })?;
    crate::log_notice!(
        "Successfully migrated an old-style AOF file ({}) into the AOF directory ({}).",
        shown(&name),
        dir.display()
    );
    Ok(())
}

/// Loads the files at the start of the server and opens the last one for more. Returns whether the server can go on. The
/// calling thread has the module lock.
pub fn load_at_start(server: &'static Server) -> bool {
    let begin = mono_ns();
    let loaded = match upgrade(server) {
        Ok(()) => load_files(server),
        Err(()) => return false,
    };
    match loaded {
        Loaded::Failed => return false,
        Loaded::Missing => {}
        _ => crate::log_notice!("DB loaded from append only file: {:.3} seconds", seconds(begin)),
    }
    let ok = super::rewrite::open_at_start(server).is_ok();
    delete_history(server);
    ok
}

/// `DEBUG LOADAOF`: what the files say in place of all that is there. The calling thread has the module lock.
pub fn reload(server: &'static Server) -> bool {
    if server.persistence.starting.load(Relaxed) {
        return false;
    }
    let aof = &server.aof;
    aof.write_out(server, true);
    let was_active = server.log.has_file();
    server.loading.store(true, Relaxed);
    // Whoever began a command before that ends it first.
    for t in server.serving.get().into_iter().flatten() {
        t.wait_until_left();
    }
    aof.write_out(server, true);
    server.log.set_active(false);
    crate::execute::flush::empty_all(server);
    let loaded = read_manifest(server).map_or(Loaded::Failed, |()| {
        delete_history(server);
        load_files(server)
    });
    server.loading.store(false, Relaxed);
    server.log.set_active(was_active);
    let dirty = server.dirty.get();
    server.persistence.dirty_at_save.store(dirty, Relaxed);
    matches!(loaded, Loaded::Done | Loaded::Empty)
}

fn seconds(begin: u64) -> f64 {
    (mono_ns() - begin) as f64 / 1e9
}

fn fire(sub: u64) {
    crate::module::event::server_event(abi::EVENT_LOADING, sub, std::ptr::null_mut(), None);
}

/// Loads what the manifest names. The calling thread has the module lock.
fn load_files(server: &'static Server) -> Loaded {
    let manifest = server.aof.manifest.lock().clone();
    if manifest.is_empty() {
        return Loaded::Missing;
    }
    let files: Vec<(&Info, bool)> = manifest
        .base
        .iter()
        .map(|i| (i, true))
        .chain(manifest.incr.iter().map(|i| (i, false)))
        .collect();
    // Files behind the last one that has anything do not count: a rewrite makes the next file before the log goes on in
    // it, so a crash, or a rewrite that cannot begin, leaves an empty one behind that which is torn.
    let (mut total, mut last_used) = (0, 0);
    for (i, (info, _)) in files.iter().enumerate() {
        match std::fs::metadata(in_folder(server, &info.name)) {
            Ok(m) => {
                total += m.len();
                last_used = if m.len() > 0 { i } else { last_used };
            }
            Err(e) => {
                crate::log_warning!(
                    "Unable to obtain the AOF file {} length. stat: {}",
                    shown(&info.name),
                    os_text(&e)
                );
                return Loaded::Failed;
            }
        }
    }
    if total == 0 {
        return Loaded::Empty;
    }
    let p = &server.persistence;
    p.loading_start.store(now_ms() / 1000, Relaxed);
    p.loading_total_bytes.store(total, Relaxed);
    p.loading_loaded_bytes.store(0, Relaxed);
    p.last_load_keys_loaded.store(0, Relaxed);
    p.last_load_keys_expired.store(0, Relaxed);
    let was_loading = server.loading.swap(true, Relaxed);
    fire(abi::SUBEVENT_LOADING_AOF_START);
    let (mut loaded, mut base_size, mut before) = (Loaded::Done, 0, 0);
    for (i, (info, is_base)) in files.iter().enumerate() {
        let (begin, last) = (mono_ns(), i >= last_used);
        loaded = load_file(server, &info.name, before);
        let kind = if *is_base { "base" } else { "incr" };
        if loaded == Loaded::Done || loaded == Loaded::Truncated && last {
            crate::log_notice!(
                "DB loaded from {kind} file {}: {:.3} seconds",
                shown(&info.name),
                seconds(begin)
            );
        }
        if loaded == Loaded::Truncated && !last {
            crate::log_warning!("Fatal error: the truncated file is not the last file");
            loaded = Loaded::Failed;
        }
        if loaded == Loaded::Empty && !is_base {
            loaded = Loaded::Done;
        }
        if matches!(loaded, Loaded::Failed | Loaded::Missing) {
            loaded = Loaded::Failed;
            break;
        }
        let size = std::fs::metadata(in_folder(server, &info.name)).map_or(0, |m| m.len());
        before += size;
        if *is_base {
            base_size = size;
        }
    }
    server.release_keys();
    server.loading.store(was_loading, Relaxed);
    fire(match loaded {
        Loaded::Failed => abi::SUBEVENT_LOADING_FAILED,
        _ => abi::SUBEVENT_LOADING_ENDED,
    });
    if loaded != Loaded::Failed {
        server.aof.current_size.store(before, Relaxed);
        server.aof.base_size.store(base_size, Relaxed);
    }
    loaded
}

/// Why the reading of a file stopped.
enum Stop {
    /// It ends here, in the middle of something.
    Short,
    /// What stands there is no command.
    Format,
    /// It cannot be read.
    Io(io::Error),
}

/// A file that is read, and where.
struct Source {
    file: BufReader<File>,
    at: u64,
    size: u64,
}

impl Source {
    /// A line with its end, or what there is of it: its end may be missing because the line is too long, or because the
    /// file ends.
    fn line(&mut self, into: &mut Vec<u8>) -> Result<(), Stop> {
        into.clear();
        let n = self.file.by_ref().take(MAX_LINE - 1).read_until(b'\n', into).map_err(Stop::Io)?;
        self.at += n as u64;
        Ok(())
    }

    fn exact(&mut self, len: usize) -> Result<Vec<u8>, Stop> {
        if len as u64 > self.size.saturating_sub(self.at) {
            return Err(Stop::Short);
        }
        let mut out = Vec::new();
        while out.len() < len {
            let have = out.len();
            out.resize(have + (len - have).min(STEP), 0);
            self.file.read_exact(&mut out[have..]).map_err(|e| match e.kind() {
                io::ErrorKind::UnexpectedEof => Stop::Short,
                _ => Stop::Io(e),
            })?;
        }
        self.at += len as u64;
        Ok(out)
    }

    /// The next command; `None` at the end of the file. Annotations are passed over.
    fn command(&mut self, line: &mut Vec<u8>) -> Result<Option<Vec<Vec<u8>>>, Stop> {
        loop {
            self.line(line)?;
            match line.first() {
                None => return Ok(None),
                Some(b'#') => continue,
                Some(b'*') => break,
                Some(_) => return Err(Stop::Format),
            }
        }
        if line.len() == 1 {
            return Err(Stop::Short);
        }
        let count = number(&line[1..]);
        if count < 1 {
            return Err(Stop::Format);
        }
        let mut args = Vec::new();
        for _ in 0..count {
            self.line(line)?;
            match line.first() {
                None => return Err(Stop::Short),
                Some(b'$') => {}
                Some(_) => return Err(Stop::Format),
            }
            let len = usize::try_from(number(&line[1..])).map_err(|_| Stop::Format)?;
            args.push(self.exact(len)?);
            self.exact(2)?;
        }
        Ok(Some(args))
    }
}

/// The number at the beginning of a text, as C's `atoi` reads it; 0 if there is none.
fn number(text: &[u8]) -> i64 {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let mut n: i64 = 0;
    for d in digits.iter().take_while(|c| c.is_ascii_digit()) {
        n = n.saturating_mul(10).saturating_add(i64::from(d - b'0'));
    }
    if negative {
        -n
    } else {
        n
    }
}

/// A command of the file failed: the file is not what this server would have written.
fn critical(error: &[u8], command: &str) {
    crate::log_warning!(
        "== CRITICAL == This server is sending an error to its AOF-loading-client: '{}' after processing the command \
         '{command}'",
        text(error)
    );
}

/// The client that runs the commands of a file.
struct Replay {
    server: &'static Server,
    session: Session,
    out: Reply,
    /// Commands since `MULTI`.
    queue: Option<Vec<Vec<Vec<u8>>>>,
    done: u64,
    progress_due: u64,
}

impl Replay {
    fn new(server: &'static Server) -> Replay {
        let mut session = Session::internal();
        session.deny_blocking = true;
        let out = Reply { muted: false, ..Reply::default() };
        Replay { server, session, out, queue: None, done: 0, progress_due: mono_ns() }
    }

    /// Runs or queues a command. `None` if there is no such command.
    fn take(&mut self, args: Vec<Vec<u8>>) -> Option<()> {
        let table = self.server.table.load();
        let words: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        let command = table.resolve(&words).filter(|c| !c.is_container())?.clone();
        match (command.name.as_str(), &mut self.queue) {
            ("multi", None) => self.queue = Some(Vec::new()),
            ("exec", Some(_)) => {
                for args in self.queue.take().unwrap_or_default() {
                    let words: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
                    if let Some(command) = table.resolve(&words).cloned() {
                        self.run(&command, &words);
                    }
                }
                self.end_of_unit();
            }
            ("discard", Some(_)) => self.queue = None,
            ("exec", None) => critical(b"EXEC without MULTI", "exec"),
            ("discard", None) => critical(b"DISCARD without MULTI", "discard"),
            (_, Some(queue)) => queue.push(args),
            (_, None) => {
                self.run(&command, &words);
                self.end_of_unit();
            }
        }
        Some(())
    }

    fn run(&mut self, command: &Arc<Command>, args: &[&[u8]]) {
        self.out.buf.clear();
        self.out.errors = 0;
        let mut tx = Tx::module(self.server, &mut self.session, now_ms());
        replay(&mut tx, command, args, &mut self.out);
        let dirty = tx.dirty;
        self.server.dirty.add(dirty);
        self.session.blocked_on = None;
        self.session.waiting = None;
        if self.out.buf.first() == Some(&b'-') {
            let end = self.out.buf.iter().position(|&c| c == b'\r').unwrap_or(self.out.buf.len());
            let error = &self.out.buf[..end];
            critical(error.strip_prefix(b"-ERR ").unwrap_or(error), &command.full_name);
        }
        self.out.codes.clear();
    }

    fn end_of_unit(&mut self) {
        crate::module::event::run_post_jobs(self.server);
        self.done += 1;
        if self.done % UNIT == 0 {
            self.server.release_keys();
        }
    }

    /// Tells how far the load is: to `INFO`, and `hz` times a second to modules.
    fn progress(&mut self, at: u64) {
        if self.done % UNIT != 0 {
            return;
        }
        let p = &self.server.persistence;
        p.loading_loaded_bytes.store(at, Relaxed);
        let now = mono_ns();
        if now < self.progress_due {
            return;
        }
        let hz = self.server.config.hz().max(1);
        self.progress_due = now + 1_000_000_000 / hz;
        let total = u128::from(p.loading_total_bytes.load(Relaxed)).max(1);
        let progress = (u128::from(at) * 1024 / total) as i32;
        let mut info = abi::LoadingProgress { version: 1, hz: hz as i32, progress };
        crate::module::event::server_event(
            abi::EVENT_LOADING_PROGRESS,
            abi::SUBEVENT_LOADING_PROGRESS_AOF,
            (&raw mut info).cast(),
            None,
        );
    }
}

/// Loads one file. `before`: bytes of the files before it.
fn load_file(server: &'static Server, name: &[u8], before: u64) -> Loaded {
    let path = in_folder(server, name);
    let mut file = match File::open(&path) {
        Ok(f) => f,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            crate::log_warning!(
                "The append log file {} doesn't exist: {}",
                shown(name),
                os_text(&e)
            );
            return Loaded::Missing;
        }
        Err(e) => {
            crate::log_warning!(
                "Fatal error: can't open the append log file {} for reading: {}",
                shown(name),
                os_text(&e)
            );
            return Loaded::Failed;
        }
    };
    let size = file.metadata().map_or(0, |m| m.len());
    if size == 0 {
        return Loaded::Empty;
    }
    let start = match preamble(server, name, &mut file) {
        Ok(start) => start,
        Err(()) => return Loaded::Failed,
    };
    if let Err(e) = file.seek(SeekFrom::Start(start)) {
        return unreadable(name, &e);
    }
    let mut source = Source { file: BufReader::with_capacity(256 << 10, file), at: start, size };
    let mut replay = Replay::new(server);
    let truncates = server.config.aof_load_truncated();
    // Offsets behind the last whole command, and behind the one before `MULTI`.
    let (mut valid, mut valid_before_multi) = (start, start);
    let mut line = Vec::new();
    let delay = server.config.key_load_delay();
    let stop = loop {
        replay.progress(before + source.at);
        let args = match source.command(&mut line) {
            Ok(Some(args)) => args,
            Ok(None) if replay.queue.is_some() => {
                crate::log_warning!(
                    "Revert incomplete MULTI/EXEC transaction in AOF file {}",
                    shown(name)
                );
                valid = valid_before_multi;
                break Stop::Short;
            }
            Ok(None) => return Loaded::Done,
            Err(stop) => break stop,
        };
        if args[0].eq_ignore_ascii_case(b"multi") {
            valid_before_multi = valid;
        }
        let command = args[0].clone();
        if replay.take(args).is_none() {
            crate::log_warning!(
                "Unknown command '{}' reading the append only file {}",
                text(&command),
                shown(name)
            );
            return Loaded::Failed;
        }
        valid = source.at;
        if delay > 0 {
            std::thread::sleep(std::time::Duration::from_micros(delay as u64));
        }
    };
    if replay.queue.is_some() && matches!(stop, Stop::Short) {
        valid = valid_before_multi;
    }
    match stop {
        Stop::Io(e) => unreadable(name, &e),
        Stop::Format => {
            crate::log_warning!(
                "Bad file format reading the append only file {}: make a backup of your AOF file, then use \
                 ./redis-check-aof --fix <filename.manifest>",
                shown(name)
            );
            Loaded::Failed
        }
        Stop::Short if truncates && truncate(name, &path, valid) => Loaded::Truncated,
        Stop::Short => {
            crate::log_warning!(
                "Unexpected end of file reading the append only file {}. You can: 1) Make a backup of your AOF file, then \
                 use ./redis-check-aof --fix <filename.manifest>. 2) Alternatively you can set the 'aof-load-truncated' \
                 configuration option to yes and restart the server.",
                shown(name)
            );
            Loaded::Failed
        }
    }
}

fn unreadable(name: &[u8], e: &io::Error) -> Loaded {
    crate::log_warning!(
        "Unrecoverable error reading the append only file {}: {}",
        shown(name),
        os_text(e)
    );
    Loaded::Failed
}

/// Loads the snapshot at the beginning of a file, if there is one. Returns where commands begin. The error has been logged.
fn preamble(server: &'static Server, name: &[u8], file: &mut File) -> Result<u64, ()> {
    let mut head = [0; 5];
    if file.read_exact(&mut head).is_err() || &head != b"REDIS" {
        return Ok(0);
    }
    let old_style = name == stem(server);
    if old_style {
        crate::log_notice!("Reading RDB preamble from AOF file...");
    } else {
        crate::log_notice!("Reading RDB base file on AOF loading...");
    }
    let loaded = file
        .rewind()
        .and_then(|()| file.try_clone())
        .map_err(|e| os_text(&e))
        .and_then(|f| crate::snapshot::load_base(server, f).map_err(|e| e.to_string()));
    match loaded {
        Ok(end) => {
            if old_style {
                crate::log_notice!("Reading the remaining AOF tail...");
            }
            Ok(end)
        }
        Err(e) => {
            crate::log_warning!("{e}");
            let name = shown(name);
            if old_style {
                crate::log_warning!(
                    "Error reading the RDB preamble of the AOF file {name}, AOF loading aborted"
                );
            } else {
                crate::log_warning!("Error reading the RDB base file {name}, AOF loading aborted");
            }
            Err(())
        }
    }
}

/// Cuts off what is not whole at the end of a file. False if that fails.
fn truncate(name: &[u8], path: &Path, valid: u64) -> bool {
    let name = shown(name);
    crate::log_warning!("!!! Warning: short read while loading the AOF file {name}!!!");
    crate::log_warning!("!!! Truncating the AOF {name} at offset {valid} !!!");
    let cut = File::options().write(true).open(path).and_then(|f| {
        f.set_len(valid)?;
        f.sync_all()
    });
    match cut {
        Ok(()) => {
            crate::log_warning!("AOF {name} loaded anyway because aof-load-truncated is enabled");
            true
        }
        Err(e) => {
            crate::log_warning!("Error truncating the AOF file {name}: {}", os_text(&e));
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> (Vec<Vec<Vec<u8>>>, Option<Stop>, u64) {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Relaxed);
        let path = std::env::temp_dir().join(format!("bp-aof-{}-{n}", std::process::id()));
        std::fs::write(&path, bytes).expect("a temporary file");
        let file = BufReader::new(File::open(&path).expect("just written"));
        let mut source = Source { file, at: 0, size: bytes.len() as u64 };
        let (mut all, mut line, mut valid) = (Vec::new(), Vec::new(), 0);
        let stop = loop {
            match source.command(&mut line) {
                Ok(Some(args)) => all.push(args),
                Ok(None) => break None,
                Err(stop) => break Some(stop),
            }
            valid = source.at;
        };
        let _ = std::fs::remove_file(path);
        (all, stop, valid)
    }

    #[test]
    fn commands_and_annotations() {
        let (all, stop, valid) = read(b"#TS:1\r\n*1\r\n$4\r\nPING\r\n*2\r\n$0\r\n\r\n$1\r\nx\r\n");
        assert_eq!(all, [vec![b"PING".to_vec()], vec![vec![], b"x".to_vec()]]);
        assert!(stop.is_none());
        assert_eq!(valid, 38);
    }

    #[test]
    fn every_short_end_is_found() {
        let whole = b"*1\r\n$4\r\nPING\r\n";
        let two = [whole.as_slice(), b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"].concat();
        for cut in whole.len() + 1..two.len() {
            let (all, stop, valid) = read(&two[..cut]);
            assert_eq!((all.len(), valid), (1, whole.len() as u64), "cut at {cut}");
            assert!(matches!(stop, Some(Stop::Short | Stop::Format)), "cut at {cut}");
        }
    }

    #[test]
    fn lengths_are_not_believed() {
        let (_, stop, _) = read(b"*1\r\n$999999999999\r\nPING\r\n");
        assert!(matches!(stop, Some(Stop::Short)));
        let (_, stop, _) = read(b"*99999999999999999\r\n$4\r\nPING\r\n");
        assert!(matches!(stop, Some(Stop::Short)));
        let (_, stop, _) = read(b"*0\r\n");
        assert!(matches!(stop, Some(Stop::Format)));
        let (_, stop, _) = read(b"*1\r\n$-1\r\n");
        assert!(matches!(stop, Some(Stop::Format)));
    }
}
