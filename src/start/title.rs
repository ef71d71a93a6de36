//! The process's title: what `ps` shows, as `set-proc-title` and `proc-title-template` say.
//!
//! Linux shows the memory in which the arguments of the process lay at its start, and the environment behind it. So the
//! title is written there; the environment moves first. Whoever needs the arguments later asks [`name`].
use crate::config::Config;
use std::ffi::{c_char, c_int, CStr};
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering::Relaxed};
use std::sync::OnceLock;

static ARGV: AtomicPtr<*mut c_char> = AtomicPtr::new(std::ptr::null_mut());
static ENVIRONMENT: AtomicPtr<*mut c_char> = AtomicPtr::new(std::ptr::null_mut());
/// Address and length of the memory for the title; no length when there is none.
static PLACE: (AtomicUsize, AtomicUsize) = (AtomicUsize::new(0), AtomicUsize::new(0));
static NAME: OnceLock<String> = OnceLock::new();

/// The C library calls this before `main`.
extern "C" fn note(_: c_int, argv: *mut *mut c_char, environment: *mut *mut c_char) {
    ARGV.store(argv, Relaxed);
    ENVIRONMENT.store(environment, Relaxed);
}

#[used]
#[cfg_attr(target_os = "linux", unsafe(link_section = ".init_array"))]
static NOTE: extern "C" fn(c_int, *mut *mut c_char, *mut *mut c_char) = note;

/// The name by which the server was called.
pub fn name() -> &'static str {
    NAME.get().map_or("", String::as_str)
}

/// Finds the memory for the title, and moves the environment out of it. Called before there is a second thread.
pub fn prepare() {
    let (argv, environment) = (ARGV.load(Relaxed), ENVIRONMENT.load(Relaxed));
    if argv.is_null() || environment.is_null() {
        return;
    }
    // SAFETY: layout: both are arrays of C strings that end in null, as the C library passed them; this is the only
    // thread, so nobody else looks at the environment.
    unsafe {
        let Some(first) = (*argv).as_ref() else { return };
        let _ = NAME.set(CStr::from_ptr(first).to_string_lossy().into_owned());
        let start = *argv as usize;
        let mut end = start;
        for list in [argv, environment] {
            let mut at = list;
            while !(*at).is_null() {
                let text = *at as usize;
                if text == end {
                    end += CStr::from_ptr(*at).to_bytes_with_nul().len();
                }
                at = at.add(1);
            }
        }
        let mut at = environment;
        while !(*at).is_null() {
            let copy = libc::strdup(*at);
            if copy.is_null() {
                return;
            }
            *at = copy;
            at = at.add(1);
        }
        PLACE.0.store(start, Relaxed);
        PLACE.1.store(end - start, Relaxed);
    }
}

/// Fills a template in; one that `CONFIG SET` let through has no other words in braces.
fn expand(template: &str, config: &Config) -> String {
    let text = |t: Option<std::sync::Arc<[u8]>>| {
        t.map(|t| String::from_utf8_lossy(&t).into_owned()).unwrap_or_default()
    };
    let port = if config.port() != 0 { config.port() } else { config.tls_port() };
    let socket = text(config.unixsocket());
    let host = match config.bind().first() {
        Some(first) if first != "*" => first.trim_start_matches('-').to_string(),
        _ => "*".to_string(),
    };
    let listen = if port != 0 { format!("{host}:{port}") } else { socket.clone() };
    let file = &crate::server::Server::get().startup.config_file;
    let file = file.as_ref().map(|p| p.display().to_string()).unwrap_or_default();
    let mode = if config.cluster_enabled() { "[cluster]" } else { "" };
    let values = [
        ("{title}", name()),
        ("{listen-addr}", &listen),
        ("{server-mode}", mode),
        ("{port}", &config.port().to_string()),
        ("{tls-port}", &config.tls_port().to_string()),
        ("{unixsocket}", &socket),
        ("{config-file}", &file),
    ];
    let filled = values.iter().fold(template.to_string(), |t, (name, v)| t.replace(name, v));
    filled.trim().to_string()
}

/// Sets the title.
pub fn set(config: &Config) {
    let (start, room) = (PLACE.0.load(Relaxed), PLACE.1.load(Relaxed));
    if !config.set_proc_title() || room < 2 {
        return;
    }
    let template = config.proc_title_template().unwrap_or_default();
    let title = expand(&String::from_utf8_lossy(&template), config);
    let shown = &title.as_bytes()[..title.len().min(room - 1)];
    // SAFETY: layout: the memory of the arguments and of the old environment, which is writable, stays for the life of
    // the process, and is nobody else's since `prepare`.
    unsafe {
        let place = std::slice::from_raw_parts_mut(start as *mut u8, room);
        place.fill(0);
        place[..shown.len()].copy_from_slice(shown);
    }
}
