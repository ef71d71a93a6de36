//! Listening sockets: one thread accepts and deals connections out to the serving threads in turn.
use super::serving::{Accepted, Arrival, ServingThread};
use crate::config::Config;
use crate::server::Server;
use parking_lot::Mutex;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::Receiver;
use std::sync::Arc;

/// The sockets that the server listens on.
pub struct Listeners {
    tcp: Vec<TcpListener>,
    unix: Option<UnixListener>,
}

fn listen(addr: SocketAddr, backlog: i32) -> io::Result<TcpListener> {
    let domain = if addr.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let one: libc::c_int = 1;
    let size = std::mem::size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: layout: plain socket calls; the descriptor belongs to the listener from here on.
    let listener = unsafe {
        let fd = libc::socket(domain, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        let l = TcpListener::from_raw_fd(fd);
        let p = (&raw const one).cast();
        libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, p, size);
        if addr.is_ipv6() {
            libc::setsockopt(fd, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, p, size);
        }
        l
    };
    let fd = listener.as_raw_fd();
    // SAFETY: layout: the addresses are built to the kernel's layout, with their sizes.
    let bound = unsafe {
        match addr {
            SocketAddr::V4(a) => {
                let mut s: libc::sockaddr_in = std::mem::zeroed();
                s.sin_family = libc::AF_INET as u16;
                s.sin_port = a.port().to_be();
                s.sin_addr.s_addr = u32::from_ne_bytes(a.ip().octets());
                libc::bind(fd, (&raw const s).cast(), std::mem::size_of_val(&s) as u32)
            }
            SocketAddr::V6(a) => {
                let mut s: libc::sockaddr_in6 = std::mem::zeroed();
                s.sin6_family = libc::AF_INET6 as u16;
                s.sin6_port = a.port().to_be();
                s.sin6_addr.s6_addr = a.ip().octets();
                libc::bind(fd, (&raw const s).cast(), std::mem::size_of_val(&s) as u32)
            }
        }
    };
    // SAFETY: layout: a bound socket.
    if bound < 0 || unsafe { libc::listen(fd, backlog) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(listener)
}

/// Opens the TCP sockets that the configuration names. `None` when that fails, which has been logged as Redis does.
fn open_tcp(config: &Config) -> Option<Vec<TcpListener>> {
    let mut tcp = Vec::new();
    let port = config.port();
    if port == 0 {
        return Some(tcp);
    }
    for name in config.bind().iter() {
        let optional = name.starts_with('-');
        let host = name.trim_start_matches('-');
        let host = match host {
            "*" => "0.0.0.0",
            "::*" => "::",
            h => h,
        };
        let result = (host, port as u16)
            .to_socket_addrs()
            .and_then(|mut a| a.next().ok_or_else(|| io::ErrorKind::NotFound.into()))
            .and_then(|a| listen(a, config.tcp_backlog() as i32));
        match result {
            Ok(l) => {
                let _ = l.set_nonblocking(true);
                tcp.push(l);
            }
            Err(_) if optional => {}
            Err(e) => {
                crate::log_warning!(
                    "Warning: Could not create server TCP listening socket {host}:{port}: {}",
                    os_text(&e)
                );
                return None;
            }
        }
    }
    Some(tcp)
}

/// What was opened: to tell whether a directive that is set again changes anything.
type Opened = (u64, Arc<[String]>);

/// The way to the accepting thread: what is open, where its answer comes from, and the socket that wakes it.
struct Control {
    opened: Opened,
    answers: Receiver<bool>,
    wake: UnixStream,
}

/// What [`Control`] asks for.
const REOPEN: u8 = 0;
const CLOSE: u8 = 1;

impl Control {
    fn ask(&mut self, what: u8) -> bool {
        self.wake.write_all(&[what]).is_ok() && self.answers.recv().unwrap_or(false)
    }
}

static CONTROL: Mutex<Option<Control>> = Mutex::new(None);

fn configured(config: &Config) -> Opened {
    (config.port(), config.bind())
}

/// Opens new TCP sockets for a running server when `port` or `bind` changed, and closes the old ones. False when they
/// cannot be opened: then there are none until the next call.
pub fn reopen(config: &Config) -> bool {
    let mut control = CONTROL.lock();
    let Some(control) = &mut *control else { return true };
    let new = configured(config);
    if control.opened == new {
        return true;
    }
    let done = control.ask(REOPEN);
    control.opened = if done { new } else { (0, Arc::default()) };
    done
}

/// Closes all sockets that listen, for good: who sees its connection end with the server cannot connect any more.
pub fn close() {
    if let Some(control) = &mut *CONTROL.lock() {
        control.ask(CLOSE);
    }
}

impl Listeners {
    /// Opens what the configuration names. `None` when that fails, which has been logged as Redis does.
    pub fn open(server: &Server) -> Option<Listeners> {
        let config = &server.config;
        let Some(tcp) = open_tcp(config) else {
            crate::log_warning!("Failed listening on port {} (tcp), aborting.", config.port());
            return None;
        };
        let mut unix = None;
        let path = config.unixsocket();
        if let Some(path) = path.filter(|p| !p.is_empty()) {
            let path = String::from_utf8_lossy(&path).into_owned();
            let _ = std::fs::remove_file(&path);
            match UnixListener::bind(&path) {
                Ok(l) => {
                    let perm = config.unixsocketperm() as u32;
                    if perm != 0 {
                        let mode = std::fs::Permissions::from_mode(perm);
                        let _ = std::fs::set_permissions(&path, mode);
                    }
                    unix = Some(l);
                }
                Err(e) => {
                    crate::log_warning!("Failed opening Unix socket: bind: {}", os_text(&e));
                    return None;
                }
            }
        }
        if tcp.is_empty() && unix.is_none() {
            crate::log_warning!("Configured to not listen anywhere, exiting.");
            return None;
        }
        Some(Listeners { tcp, unix })
    }

    /// Accepts connections for ever.
    pub fn run(mut self, server: &'static Server, threads: &[Arc<ServingThread>]) {
        if let Some(l) = &self.unix {
            let _ = l.set_nonblocking(true);
        }
        let (tell, answers) = std::sync::mpsc::channel();
        let (mut woken, wake) = UnixStream::pair().expect("the system gives us a pair of sockets");
        let opened = configured(&server.config);
        *CONTROL.lock() = Some(Control { opened, answers, wake });
        let mut next = 0;
        loop {
            let mut fds: Vec<libc::pollfd> = std::iter::once(woken.as_raw_fd())
                .chain(self.tcp.iter().map(AsRawFd::as_raw_fd))
                .chain(self.unix.iter().map(AsRawFd::as_raw_fd))
                .map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 })
                .collect();
            // SAFETY: layout: the array describes open descriptors.
            unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, -1) };
            if fds[0].revents != 0 {
                let mut asked = [REOPEN];
                let _ = woken.read(&mut asked);
                // The old sockets go first: the new ones may have the same port.
                self.tcp.clear();
                if asked == [CLOSE] {
                    self.unix = None;
                    let _ = tell.send(true);
                    continue;
                }
                let tcp = open_tcp(&server.config);
                let _ = tell.send(tcp.is_some());
                self.tcp = tcp.unwrap_or_default();
                continue;
            }
            for l in &self.tcp {
                while let Ok((s, _)) = l.accept() {
                    let _ = s.set_nodelay(true);
                    let _ = s.set_nonblocking(true);
                    keep_alive(server, s.as_raw_fd());
                    deal(server, threads, &mut next, Accepted::Tcp(s));
                }
            }
            if let Some(l) = &self.unix {
                while let Ok((s, _)) = l.accept() {
                    let _ = s.set_nonblocking(true);
                    deal(server, threads, &mut next, Accepted::Unix(s));
                }
            }
        }
    }
}

/// The operating system's words for an error, as Redis prints them.
fn os_text(e: &io::Error) -> String {
    let text = e.to_string();
    text.split(" (os error").next().unwrap_or_default().to_string()
}

fn keep_alive(server: &Server, fd: i32) {
    let idle = server.config.tcp_keepalive() as libc::c_int;
    if idle == 0 {
        return;
    }
    let set = |level, name, value: libc::c_int| {
        // SAFETY: layout: an int option of an open socket.
        unsafe {
            libc::setsockopt(
                fd,
                level,
                name,
                (&raw const value).cast(),
                std::mem::size_of::<libc::c_int>() as libc::socklen_t,
            );
        }
    };
    set(libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1);
    set(libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, idle);
    set(libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, (idle / 3).max(1));
    set(libc::IPPROTO_TCP, libc::TCP_KEEPCNT, 3);
}

/// Whether a connection has to be refused because anybody on the network could use the server.
fn is_exposed(server: &Server, socket: &Accepted) -> bool {
    let Accepted::Tcp(s) = socket else { return false };
    server.config.protected_mode()
        && server.acl.default_user().rules().nopass
        && s.peer_addr().is_ok_and(|peer| !is_local(peer.ip()))
}

/// Whether an address is this machine's own, as a peer on a socket for both families is told.
fn is_local(peer: std::net::IpAddr) -> bool {
    peer.to_canonical().is_loopback()
}

const PROTECTED: &[u8] =
    b"-DENIED Redis is running in protected mode because protected mode is enabled and no password is set for the default \
      user. In this mode connections are only accepted from the loopback interface. If you want to connect from external \
      computers, set a password for the default user, or use CONFIG SET protected-mode no from the loopback interface, \
      having made sure that the server is not reachable from the internet.\r\n";

fn deal(server: &Server, threads: &[Arc<ServingThread>], next: &mut usize, mut socket: Accepted) {
    if server.connections.load(Relaxed) >= server.config.maxclients() {
        server.stats.rejected_connections.add(1);
        let text = b"-ERR max number of clients reached\r\n";
        let _ = match &mut socket {
            Accepted::Tcp(s) => s.write(text),
            Accepted::Unix(s) => s.write(text),
        };
        return;
    }
    if is_exposed(server, &socket) {
        server.stats.rejected_connections.add(1);
        if let Accepted::Tcp(s) = &mut socket {
            let _ = s.write(PROTECTED);
        }
        return;
    }
    // Counted here: the serving thread, which knows the client by then, may be far behind a burst of new ones.
    server.connections.fetch_add(1, Relaxed);
    // On one thread the requests of several connections run in the order in which they arrived.
    let thread = if server.config.module_exclusive() { 0 } else { *next % threads.len() };
    threads[thread].give(Arrival::New(socket));
    *next += 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_local() {
        let local = |text: &str| is_local(text.parse().unwrap());
        assert!(local("127.0.0.1") && local("127.8.9.1") && local("::1"));
        assert!(local("::ffff:127.0.0.1"));
        assert!(!local("10.0.0.1") && !local("::2") && !local("::ffff:10.0.0.1"));
    }
}
