//! A server process of our own: started on a free loopback port in a folder of its own, ended when dropped.
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long a server may take from exec to its first PONG.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How long it may take to end by itself.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// A running server.
pub struct Server {
    command: Vec<String>,
    child: Child,
    dir: PathBuf,
    /// Where it listens.
    pub addr: SocketAddr,
}

impl Server {
    /// Starts `command` with `args` and a port (a free one where `port` is 0), and waits for its first PONG.
    pub fn start(command: &[String], args: &[String], port: u16) -> Result<Server, String> {
        Server::start_in(fresh_dir()?, command, args, port)
    }

    /// As [`Server::start`], in a folder that may hold data. The folder goes when the server is dropped.
    pub fn start_in(
        dir: PathBuf,
        command: &[String],
        args: &[String],
        port: u16,
    ) -> Result<Server, String> {
        // Somebody may take a free port before the server has it.
        for _ in 0..3 {
            match Server::try_start(&dir, command, args, port) {
                Err(why) if port == 0 && why.contains("Address already in use") => {}
                Err(why) => {
                    let _ = std::fs::remove_dir_all(&dir);
                    return Err(why);
                }
                Ok((command, child, addr)) => return Ok(Server { command, child, dir, addr }),
            }
        }
        let _ = std::fs::remove_dir_all(&dir);
        Err("no port was free".into())
    }

    fn try_start(
        dir: &Path,
        command: &[String],
        args: &[String],
        port: u16,
    ) -> Result<(Vec<String>, Child, SocketAddr), String> {
        let port = if port == 0 { free_port()? } else { port };
        let mut command = command.to_vec();
        command.extend(["--port".into(), port.to_string(), "--bind".into(), "127.0.0.1".into()]);
        command.extend(["--dir".into(), dir.display().to_string()]);
        command.extend(args.iter().cloned());
        let mut child = spawn(&command, dir)?;
        let addr = SocketAddr::from(([127, 0, 0, 1], port));
        match wait_ready(&mut child, addr, dir, &command[0]) {
            Ok(()) => Ok((command, child, addr)),
            Err(why) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(why)
            }
        }
    }

    /// Stops it with `SHUTDOWN SAVE` and starts it again with the same arguments and folder.
    pub fn restart(&mut self) -> Result<(), String> {
        if let Ok(mut stream) = TcpStream::connect(self.addr) {
            let _ = stream.write_all(b"*2\r\n$8\r\nSHUTDOWN\r\n$4\r\nSAVE\r\n");
            let _ = stream.set_read_timeout(Some(STOP_LIMIT));
            let mut reply = Vec::new();
            let _ = stream.read_to_end(&mut reply);
            if !reply.is_empty() {
                return Err(format!("SHUTDOWN SAVE: {}", String::from_utf8_lossy(&reply).trim()));
            }
        }
        let limit = Instant::now() + STOP_LIMIT;
        while self.alive() {
            if Instant::now() > limit {
                return Err("did not end after SHUTDOWN SAVE".into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.revive()
    }

    /// Ends it with `SIGKILL`.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again after it ended, with the same arguments and folder.
    pub fn revive(&mut self) -> Result<(), String> {
        let limit = Instant::now() + STOP_LIMIT;
        loop {
            self.child = spawn(&self.command, &self.dir)?;
            match wait_ready(&mut self.child, self.addr, &self.dir, &self.command[0]) {
                // A forked child of the one that ended may still have the port.
                Err(why) if why.contains("Address already in use") && Instant::now() < limit => {
                    self.kill();
                    std::thread::sleep(Duration::from_millis(100));
                }
                other => return other,
            }
        }
    }

    /// Whether the process still runs.
    pub fn alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The last lines of what it printed.
    pub fn log_tail(&self, lines: usize) -> String {
        log_tail(&self.dir, lines)
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// A folder that nobody else uses.
pub fn fresh_dir() -> Result<PathBuf, String> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let n = COUNT.fetch_add(1, Ordering::Relaxed);
    let dir = std::env::temp_dir().join(format!("backplane-{}-{n}", std::process::id()));
    std::fs::create_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    Ok(dir)
}

/// The last lines of what the server in `dir` printed.
fn log_tail(dir: &Path, lines: usize) -> String {
    let text = std::fs::read(dir.join("output")).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// Waits for the first PONG.
fn wait_ready(child: &mut Child, addr: SocketAddr, dir: &Path, name: &str) -> Result<(), String> {
    let limit = Instant::now() + START_LIMIT;
    loop {
        if !matches!(child.try_wait(), Ok(None)) {
            return Err(format!("{name} ended at its start:\n{}", log_tail(dir, 12)));
        }
        if let Ok(mut stream) = TcpStream::connect(addr) {
            let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
            let mut reply = [0; 5];
            if stream.write_all(b"PING\r\n").is_ok()
                && stream.read_exact(&mut reply).is_ok()
                && &reply == b"+PONG"
            {
                return Ok(());
            }
        }
        if Instant::now() > limit {
            return Err(format!("{name} does not answer:\n{}", log_tail(dir, 12)));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn spawn(command: &[String], dir: &Path) -> Result<Child, String> {
    let path = dir.join("output");
    let output = std::fs::OpenOptions::new().create(true).append(true).open(&path);
    let output = output.map_err(|e| format!("{}: {e}", path.display()))?;
    let errors = output.try_clone().map_err(|e| e.to_string())?;
    let mut process = Command::new(&command[0]);
    process.args(&command[1..]).stdin(Stdio::null()).stdout(output).stderr(errors);
    // SAFETY: layout: between fork and exec only prctl is called, which is async-signal-safe.
    unsafe {
        // A tester that is killed leaves no servers behind.
        process.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            Ok(())
        });
    }
    process.spawn().map_err(|e| format!("{}: {e}", command[0]))
}

fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(|e| e.to_string())?;
    Ok(listener.local_addr().map_err(|e| e.to_string())?.port())
}

/// The folder of the reference server: beside the build's profile folder, or `target/reference` of the working
/// directory or of one above it.
pub fn reference_dir() -> Option<PathBuf> {
    let beside = std::env::current_exe().ok()?.parent()?.parent()?.join("reference");
    let here = std::env::current_dir().ok()?;
    let above = here.ancestors().map(|dir| dir.join("target/reference"));
    std::iter::once(beside).chain(above).find(|dir| dir.join("bin/redis-server").exists())
}

/// The `backplane` beside this executable.
pub fn built_server() -> Option<PathBuf> {
    let path = std::env::current_exe().ok()?.parent()?.join("backplane");
    path.exists().then_some(path)
}
