//! `backplane-bench`: the reference server and Backplane side by side in one run, in alternation.
//!
//! The generator shares the machine with the server that it measures, so besides operations per second the table gives
//! the server's own CPU seconds per million operations (all its threads), which says more where cores are few.
#![deny(unsafe_op_in_unsafe_fn, clippy::undocumented_unsafe_blocks)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

mod load;
mod memory;
mod report;
mod ring;
mod rows;

use backplane::client::process::{self, Server};
use load::{closed, open, Batches, Limit, Outcome};
use report::Report;
use rows::{Random, Row, Words, ROWS};

const USAGE: &str = "\
backplane-bench [OPTION...]
  --server-a CMD          the reference (default: target/reference/bin/redis-server)
  --server-b CMD          the server compared with it (default: the backplane beside this program)
  --server-threads N,N    run the second one once with each number of serving threads
  --rows NAME,NAME        rows, 'native', 'modules', 'memory', or 'all' (the default: all but 'memory')
  --pipeline N,N          commands in flight on a connection (default 1,16)
  --conns N               connections (default 50)
  --keys N                size of the key space (default 100000)
  --docs N                documents of the stall row (default 200000)
  --memory-keys N         strings of the memory row, five times its collections (default 1000000)
  --idle N                idle connections of the memory row (default 10000, if descriptors allow)
  --seconds S             length of one measurement (default 2; stall: four times that)
  --ops N                 at most so many commands in one measurement (default 10000000)
  --repeat N              repetitions, the servers taking turns (default 3)
  --modules DIR           folder of the compiled modules (default: target/reference/lib)
  --own-modules DIR       folder of our own test modules (default: own-modules in the build folder)
  --port N                listen on N, N+1, ... instead of free ports
  --json FILE             write the figures there too
A cell is the median; its ratio is to the first server; ± is half the range of the repetitions.";

/// Connections and rate of the stall row.
const STALL_CONNS: usize = 8;
const STALL_RATE: u32 = 2000;
/// Commands built beforehand for one measurement, and the memory they may take.
const POOL_COMMANDS: usize = 65_536;
const POOL_BYTES: usize = 32 << 20;

/// So many entries, and what fills entry `i`.
type Fill = (u64, fn(&mut Random, u64) -> Words);

struct Subject {
    command: Vec<String>,
    args: Vec<String>,
}

struct Setup {
    subjects: Vec<Subject>,
    rows: Vec<&'static Row>,
    stall: bool,
    memory: bool,
    memory_keys: u64,
    idle: usize,
    pipelines: Vec<usize>,
    conns: usize,
    keys: u64,
    docs: u64,
    time: Duration,
    ops: u64,
    repeat: usize,
    modules: Option<PathBuf>,
    own_modules: Option<PathBuf>,
    port: u16,
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    let mut report = Report::default();
    let setup = match setup(std::env::args().skip(1), &mut report) {
        Ok(setup) => setup,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::from(2);
        }
    };
    for row in &setup.rows {
        measure_row(&setup, row, &mut report);
    }
    if setup.stall {
        measure_stall(&setup, &mut report);
    }
    if setup.memory {
        memory::measure(&setup, &mut report);
    }
    print!("{}", report.table());
    if let Some(path) = &setup.json {
        if let Err(e) = std::fs::write(path, report.json()) {
            eprintln!("{}: {e}", path.display());
            return ExitCode::FAILURE;
        }
    }
    if report.complete() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn setup(mut args: impl Iterator<Item = String>, report: &mut Report) -> Result<Setup, String> {
    let (mut a, mut b, mut threads, mut rows) = (None, None, Vec::<u32>::new(), "all".to_string());
    let mut setup = Setup {
        subjects: Vec::new(),
        rows: Vec::new(),
        stall: false,
        memory: false,
        memory_keys: 1_000_000,
        idle: 10_000,
        pipelines: vec![1, 16],
        conns: 50,
        keys: 100_000,
        docs: 200_000,
        time: Duration::from_secs(2),
        ops: 10_000_000,
        repeat: 3,
        modules: process::reference_dir().map(|dir| dir.join("lib")),
        own_modules: process::built_server()
            .and_then(|server| Some(server.parent()?.parent()?.join("own-modules"))),
        port: 0,
        json: None,
    };
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} lacks its value\n{USAGE}"));
        match arg.as_str() {
            "--server-a" => a = Some(value()?),
            "--server-b" => b = Some(value()?),
            "--server-threads" => threads = numbers(&value()?)?,
            "--rows" => rows = value()?,
            "--pipeline" => setup.pipelines = numbers(&value()?)?,
            "--conns" => setup.conns = number(&value()?)?,
            "--keys" => setup.keys = number(&value()?)?,
            "--docs" => setup.docs = number(&value()?)?,
            "--memory-keys" => setup.memory_keys = number(&value()?)?,
            "--idle" => setup.idle = number(&value()?)?,
            "--seconds" => setup.time = Duration::from_secs_f64(number(&value()?)?),
            "--ops" => setup.ops = number(&value()?)?,
            "--repeat" => setup.repeat = number(&value()?)?,
            "--modules" => setup.modules = Some(PathBuf::from(value()?)),
            "--own-modules" => setup.own_modules = Some(PathBuf::from(value()?)),
            "--port" => setup.port = number(&value()?)?,
            "--json" => setup.json = Some(PathBuf::from(value()?)),
            "--help" | "-h" => return Err(USAGE.into()),
            _ => return Err(format!("unknown option {arg}\n{USAGE}")),
        }
    }
    if setup.pipelines.contains(&0) || setup.conns == 0 || setup.keys == 0 || setup.docs == 0 {
        return Err("pipelines, connections, keys and documents must be more than 0".into());
    }
    choose_rows(&rows, &mut setup)?;
    let reference = || {
        let dir = process::reference_dir().ok_or("no reference server: run tools/get-modules")?;
        Ok::<_, String>(dir.join("bin/redis-server").display().to_string())
    };
    let built = || {
        let path = process::built_server().ok_or("no backplane beside this program: build it")?;
        Ok::<_, String>(path.display().to_string())
    };
    let split = |text: String| text.split_whitespace().map(str::to_string).collect::<Vec<_>>();
    let (a, b) = (split(a.map_or_else(reference, Ok)?), split(b.map_or_else(built, Ok)?));
    if a.is_empty() || b.is_empty() {
        return Err("an empty server command".into());
    }
    let (first, mut second) = (program(&a), program(&b));
    if first == second {
        second += ", again";
    }
    report.servers.push(first);
    setup.subjects.push(Subject { command: a, args: Vec::new() });
    if threads.is_empty() {
        report.servers.push(second.clone());
        setup.subjects.push(Subject { command: b.clone(), args: Vec::new() });
    }
    for n in threads {
        report.servers.push(format!("{second}, {n} thread{}", if n == 1 { "" } else { "s" }));
        let args = vec!["--server-threads".into(), n.to_string()];
        setup.subjects.push(Subject { command: b.clone(), args });
    }
    Ok(setup)
}

/// The name of a command's program.
fn program(command: &[String]) -> String {
    let path = std::path::Path::new(&command[0]);
    path.file_name().map_or_else(|| command[0].clone(), |name| name.to_string_lossy().into_owned())
}

fn choose_rows(names: &str, setup: &mut Setup) -> Result<(), String> {
    for name in names.split(',') {
        let wanted = |row: &&Row| match name {
            "all" => true,
            "native" => row.modules.is_empty(),
            "modules" => !row.modules.is_empty(),
            _ => row.name == name,
        };
        let before = setup.rows.len();
        setup.rows.extend(ROWS.iter().filter(wanted));
        let stall = ["all", "modules", "stall"].contains(&name);
        setup.stall |= stall;
        setup.memory |= name == "memory";
        if setup.rows.len() == before && !stall && !setup.memory {
            let known: Vec<_> = ROWS.iter().map(|row| row.name).collect();
            return Err(format!("no row {name}; there are {}, stall, memory", known.join(", ")));
        }
    }
    Ok(())
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("not a number: {text}"))
}

fn numbers<T: std::str::FromStr>(text: &str) -> Result<Vec<T>, String> {
    text.split(',').map(number).collect()
}

fn encode(words: &Words, out: &mut Vec<u8>) {
    out.extend(format!("*{}\r\n", words.len()).bytes());
    for word in words {
        out.extend(format!("${}\r\n{word}\r\n", word.len()).bytes());
    }
}

/// Batches of commands, until `commands` are built or they take too much memory.
fn build(commands: usize, pipeline: usize, mut next: impl FnMut() -> Words) -> Batches {
    let (mut batches, mut bytes) = (Vec::new(), 0);
    while batches.len() * pipeline < commands && bytes < POOL_BYTES {
        let mut batch = Vec::new();
        (0..pipeline).for_each(|_| encode(&next(), &mut batch));
        bytes += batch.len();
        batches.push(batch);
    }
    Batches { batches: batches.into(), pipeline }
}

/// Starts a server with the modules of a row, sends the setup, fills it.
fn prepare(
    setup: &Setup,
    index: usize,
    modules: &[&str],
    commands: &[Words],
    fills: &[Fill],
) -> Result<Server, String> {
    let subject = &setup.subjects[index];
    let mut args: Vec<String> =
        ["--save", "", "--maxclients", "11000"].iter().map(|arg| arg.to_string()).collect();
    args.extend(subject.args.iter().cloned());
    for name in modules {
        let dir = match rows::OWN_MODULES.contains(name) {
            true => setup.own_modules.as_ref().ok_or("no folder of our own modules")?,
            false => setup.modules.as_ref().ok_or("no folder of modules: run tools/get-modules")?,
        };
        let path = dir.join(format!("{name}.so"));
        let path = path.canonicalize().map_err(|e| format!("{}: {e}", path.display()))?;
        args.extend(["--loadmodule".to_string(), path.display().to_string()]);
    }
    let port = if setup.port == 0 { 0 } else { setup.port + index as u16 };
    let server = Server::start(&subject.command, &args, port)?;
    for words in commands {
        send(&server, &build(1, 1, || words.clone()))?;
    }
    fill(&server, fills)?;
    Ok(server)
}

/// Sends batches once, in order, over one connection.
fn send(server: &Server, load: &Batches) -> Result<(), String> {
    let outcome = closed(server.addr, 1, load, Limit::Once).map_err(|e| e.to_string())?;
    match outcome.errors {
        0 => Ok(()),
        n => Err(format!("{n} errors while filling: {}", outcome.first_error)),
    }
}

fn fill(server: &Server, fills: &[Fill]) -> Result<(), String> {
    for (count, fill) in fills {
        let mut random = Random::new(1);
        let mut done = 0;
        while done < *count {
            let size = (count - done).min(64) as usize;
            let many = ((count - done) as usize / size).min(64);
            let mut i = done;
            let load = build(many * size, size, || {
                i += 1;
                fill(&mut random, i - 1)
            });
            send(server, &load)?;
            done = i;
        }
    }
    Ok(())
}

/// One server for each subject; what does not start is noted and left out.
fn prepare_all(
    setup: &Setup,
    name: &str,
    report: &mut Report,
    one: impl Fn(usize) -> Result<Server, String>,
) -> Vec<(usize, Server)> {
    let mut servers = Vec::new();
    for i in 0..setup.subjects.len() {
        match one(i) {
            Ok(server) => servers.push((i, server)),
            Err(why) => report.note(format!("{}: {name}: {why}", report.servers[i])),
        }
    }
    servers
}

fn measure_row(setup: &Setup, row: &Row, report: &mut Report) {
    let entries = row.entries.unwrap_or(setup.keys);
    let fills: Vec<_> = row.fill.iter().map(|fill| (entries, *fill)).collect();
    let commands = (row.setup)();
    let mut servers =
        prepare_all(setup, row.name, report, |i| prepare(setup, i, row.modules, &commands, &fills));
    for &pipeline in &setup.pipelines {
        let mut random = Random::new(2);
        let load = build(POOL_COMMANDS, pipeline, || (row.command)(&mut random, entries));
        let name = format!("{} P{pipeline}", row.name);
        for turn in 0..setup.repeat {
            in_turn(&mut servers, turn, &name, report, |server, report, i| {
                let batches = (setup.ops / pipeline as u64).max(1);
                let limit = Limit::Time(setup.time, batches);
                let (before, user) = (cpu_seconds(server.pid()), user_seconds(server.pid()));
                let own = cpu_seconds(std::process::id());
                let outcome = closed(server.addr, setup.conns, &load, limit)?;
                let own = cpu_seconds(std::process::id()) - own;
                let cpu = cpu_seconds(server.pid()) - before;
                let user = user_seconds(server.pid()) - user;
                let ops = outcome.ops as f64;
                report.add(&format!("{name}, kops/s"), 1, i, ops / outcome.seconds / 1e3);
                report.add(&format!("{name}, CPU s per M ops"), 2, i, cpu / ops * 1e6);
                report.add(&format!("{name}, outside the kernel"), 2, i, user / ops * 1e6);
                report.add(&format!("{name}, the generator's CPU"), 2, i, own / ops * 1e6);
                report.add(&format!("{name}, batch p99 ms"), 2, i, outcome.quantile(0.99) / 1e3);
                note_errors(&name, i, &outcome, report);
                Ok(())
            });
        }
    }
}

fn measure_stall(setup: &Setup, report: &mut Report) {
    let fills: [Fill; 2] = [(setup.keys, rows::stall_key), (setup.docs, rows::stall_fill)];
    let commands = rows::stall_setup();
    let mut servers = prepare_all(setup, "stall", report, |i| {
        prepare(setup, i, &["redisearch"], &commands, &fills)
    });
    let mut random = Random::new(3);
    let gets = build(POOL_COMMANDS, 1, || rows::stall_get(&mut random, setup.keys)).batches;
    let mut query = Vec::new();
    encode(&rows::stall_query(), &mut query);
    for turn in 0..setup.repeat {
        for (name, heavy, times) in
            [("GET alone", None, 2), ("GET beside FT.AGGREGATE", Some(query.as_slice()), 4)]
        {
            in_turn(&mut servers, turn, name, report, |server, report, i| {
                let time = setup.time * times;
                let before = cpu_seconds(server.pid());
                let outcome = open(server.addr, STALL_CONNS, STALL_RATE, time, &gets, heavy)?;
                let cpu = cpu_seconds(server.pid()) - before;
                for (label, q) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)] {
                    let value = outcome.quantile(q) / 1e3;
                    report.add(&format!("{name}, {label} ms"), 3, i, value);
                }
                let lag = f64::from(outcome.lag) / 1e3;
                report.add(&format!("{name}, generator's own lag, max ms"), 3, i, lag);
                report.add(&format!("{name}, server CPU, cores"), 2, i, cpu / outcome.seconds);
                if heavy.is_some() {
                    let rate = outcome.beside as f64 / outcome.seconds;
                    report.add("FT.AGGREGATE beside the GETs, per s", 2, i, rate);
                }
                note_errors(name, i, &outcome, report);
                Ok(())
            });
        }
    }
}

/// Measures each server once, beginning with another one each turn; one that fails is left out from then on.
fn in_turn(
    servers: &mut Vec<(usize, Server)>,
    turn: usize,
    name: &str,
    report: &mut Report,
    mut measure: impl FnMut(&Server, &mut Report, usize) -> std::io::Result<()>,
) {
    let mut failed = Vec::new();
    for k in 0..servers.len() {
        let place = (k + turn) % servers.len();
        let (index, server) = &mut servers[place];
        let machine = busy_seconds() - cpu_seconds(server.pid()) - cpu_seconds(std::process::id());
        let start = std::time::Instant::now();
        if let Err(e) = measure(server, report, *index) {
            let mut why = format!("{}: {name}: {e}", report.servers[*index]);
            if !server.alive() {
                why += &format!("; it died:\n{}", server.log_tail(12));
            }
            report.note(why);
            failed.push(*index);
            continue;
        }
        let own = cpu_seconds(server.pid()) + cpu_seconds(std::process::id());
        let others = (busy_seconds() - own - machine) / start.elapsed().as_secs_f64();
        eprintln!("{name}: {} done (others used {others:.2} cores)", report.servers[*index]);
        if others > 0.25 {
            let text = "remark: other programs used more than a quarter of a core in some cells";
            report.note(text.into());
        }
    }
    servers.retain(|(index, _)| !failed.contains(index));
}

fn note_errors(name: &str, server: usize, outcome: &Outcome, report: &mut Report) {
    if outcome.errors > 0 {
        let server = report.servers[server].clone();
        let (n, text) = (outcome.errors, &outcome.first_error);
        report.note(format!("{server}: {name}: {n} error replies, the first: {text}"));
    }
}

/// User and system CPU seconds of a process, all its threads.
fn cpu_seconds(pid: u32) -> f64 {
    cpu_fields(pid, 2)
}

/// Its user CPU seconds.
fn user_seconds(pid: u32) -> f64 {
    cpu_fields(pid, 1)
}

/// The sum of the first `count` of: user time, system time.
fn cpu_fields(pid: u32, count: usize) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name in parentheses may hold spaces; field 3 comes after it, utime and stime are 14 and 15.
    let after = text.rsplit_once(") ").map_or("", |(_, after)| after);
    let ticks = after.split(' ').skip(11).take(count).filter_map(|f| f.parse::<f64>().ok());
    ticks.sum::<f64>() / ticks_per_second()
}

/// CPU seconds that the machine spent on anything since it started.
fn busy_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    let fields: Vec<f64> = line.split_whitespace().filter_map(|f| f.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal; guest time is within user time already.
    let idle: f64 = fields.iter().skip(3).take(2).sum();
    (fields.iter().take(8).sum::<f64>() - idle) / ticks_per_second()
}

/// How many files this process may open.
fn descriptors() -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: layout: the kernel writes the limits into the structure, and takes the raised one from it.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
    }
    limit.rlim_max as usize
}

fn ticks_per_second() -> f64 {
    // SAFETY: layout: the call takes no pointer and has no precondition.
    unsafe { libc::sysconf(libc::_SC_CLK_TCK) as f64 }
}
