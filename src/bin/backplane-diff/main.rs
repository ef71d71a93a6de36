//! `backplane-diff`: sends the commands of a script to two servers and compares the replies byte by byte,
//! after the normalisations that the script itself declares (see [`script`]).
#![deny(unsafe_op_in_unsafe_fn, clippy::undocumented_unsafe_blocks)]

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

mod aof;
mod client;
mod commands;
mod compare;
mod generate;
mod runner;
mod script;

use backplane::client::process::{self, Server};
use client::Side;
use runner::{Options, Runner, Tally};
use script::Script;

const USAGE: &str = "\
backplane-diff [OPTION...] SCRIPT...
  --server-a CMD       command of the reference (default: target/reference/bin/redis-server)
  --server-b CMD       command of the server under test (default: the backplane beside this program)
  --addr-a HOST:PORT   use a running server instead (it is emptied before each script)
  --addr-b HOST:PORT
  --modules DIR        folder of the modules that scripts name (default: target/reference/lib)
  --loadmodule PATH    load this module too, into both; may be repeated
  --port N             listen on N and N+1 instead of free ports
  --repeat N           run everything so many times
  --timeout MS         limit for one reply (default 10000)
  --max-lines N        lines of each reply in a report (default 20; 0: where it differs, and no more)
  --verbose            print every command and its reply
  --aof                run with an append-only file, and compare what each command leaves there
  --generate N         no scripts: N random commands, each sequence of them on empty servers
  --concurrent N       the same from several connections at once, then what is atomic on keys that they share
  --seed S             seed of the first sequence (default 1)
  --resp 2|3           only this protocol
  --families A,B       only these families of commands
  --commands           no scripts: what both servers tell about their commands
  --failures N         stop after so many different failures (default 1)
The servers are started afresh for each script, with nothing saved and the debug commands on.

A script has one command a line, quoted as in redis-cli. Lines beginning with # are comments. @ speaks to the tester:
  head          @modules NAME...  @args ARG...
  before a command, how its reply is compared
                @ignore @kind @type-only @digits @stats @bag @float EPS @near N @like GLOB
                @unordered @unordered-deep @unordered-at N @pairs @pairs-at N
                @mask NAME,NAME @mask-at N @fields NAME,NAME @values NAME,NAME
  before a command, what is done with it
                @on CONN  @let NAME [INDEX...]  @for LO HI ({i} counts)
                ${NAME} is what this server replied, ${!NAME} what the other one did
  steps         @conn CONN  @close  @resp2  @resp3  @send COMMAND  @read [N] [MS]  @read-until GLOB
                @events  @quiet MS  @raw [N] \"BYTES\"  @sleep MS  @reload  @restart  @pipeline ... @end
                @until COMMAND == REPLY  @until COMMAND ~= GLOB";

/// Where a side's server comes from.
enum Origin {
    Started(Vec<String>),
    Running(SocketAddr),
}

struct Setup {
    origins: [Origin; 2],
    modules: Option<PathBuf>,
    load: Vec<PathBuf>,
    port: u16,
    repeat: usize,
    aof: bool,
    options: Options,
    scripts: Vec<String>,
    generate: Generate,
    commands: bool,
}

/// What `--generate` was told.
struct Generate {
    commands: usize,
    seed: u64,
    resp: Option<u8>,
    families: Vec<String>,
    failures: usize,
    concurrent: bool,
}

fn main() -> ExitCode {
    let setup = match setup(std::env::args().skip(1)) {
        Ok(setup) => setup,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::from(2);
        }
    };
    if setup.commands {
        return commands(&setup);
    }
    if setup.generate.commands > 0 {
        return generate(&setup);
    }
    let mut total = Tally::default();
    for _ in 0..setup.repeat {
        for name in &setup.scripts {
            match run(&setup, name) {
                Ok(tally) => {
                    println!(
                        "{name}: {} commands, {} differences",
                        tally.commands, tally.differences
                    );
                    total.commands += tally.commands;
                    total.differences += tally.differences;
                }
                Err((why, missed)) => {
                    println!("{name}: {why}");
                    println!("{name}: {missed} commands, {missed} differences");
                    total.commands += missed;
                    total.differences += missed;
                }
            }
        }
    }
    println!("{} commands, {} differences", total.commands, total.differences);
    let failed = total.differences.min(total.commands);
    println!("{} passed, {} failed", total.commands - failed, total.differences);
    if total.differences == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn setup(mut args: impl Iterator<Item = String>) -> Result<Setup, String> {
    let (mut a, mut b, mut modules, mut aof) = (None, None, None, false);
    let (mut load, mut port, mut repeat, mut scripts) = (Vec::new(), 0, 1, Vec::new());
    let mut options = Options { wait: Duration::from_secs(10), verbose: false, max_lines: 20 };
    let mut commands = false;
    let mut generate = Generate {
        commands: 0,
        seed: 1,
        resp: None,
        families: Vec::new(),
        failures: 1,
        concurrent: false,
    };
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} lacks its value\n{USAGE}"));
        match arg.as_str() {
            "--server-a" => a = Some(Origin::Started(command(&value()?)?)),
            "--server-b" => b = Some(Origin::Started(command(&value()?)?)),
            "--addr-a" => a = Some(Origin::Running(resolve(&value()?)?)),
            "--addr-b" => b = Some(Origin::Running(resolve(&value()?)?)),
            "--modules" => modules = Some(PathBuf::from(value()?)),
            "--loadmodule" => load.push(PathBuf::from(value()?)),
            "--port" => port = number(&value()?)?,
            "--repeat" => repeat = number(&value()?)?,
            "--timeout" => options.wait = Duration::from_millis(number(&value()?)?),
            "--max-lines" => options.max_lines = number(&value()?)?,
            "--verbose" => options.verbose = true,
            "--aof" => aof = true,
            "--generate" => generate.commands = number(&value()?)?,
            "--commands" => commands = true,
            "--concurrent" => {
                generate.commands = number(&value()?)?;
                generate.concurrent = true;
            }
            "--seed" => generate.seed = number(&value()?)?,
            "--resp" => generate.resp = Some(number(&value()?)?),
            "--families" => generate.families = value()?.split(',').map(str::to_string).collect(),
            "--failures" => generate.failures = number(&value()?)?,
            "--help" | "-h" => return Err(USAGE.into()),
            _ if arg.starts_with("--") => return Err(format!("unknown option {arg}\n{USAGE}")),
            _ => scripts.push(arg),
        }
    }
    if scripts.is_empty() && generate.commands == 0 && !commands {
        return Err(USAGE.into());
    }
    let reference = process::reference_dir();
    let default_a = || {
        let path = reference.as_ref().ok_or("no reference server: run tools/get-modules")?;
        Ok::<_, String>(Origin::Started(vec![path.join("bin/redis-server").display().to_string()]))
    };
    let default_b = || {
        let path = process::built_server().ok_or("no backplane beside this program: build it")?;
        Ok::<_, String>(Origin::Started(vec![path.display().to_string()]))
    };
    let origins = [a.map_or_else(default_a, Ok)?, b.map_or_else(default_b, Ok)?];
    let modules = modules.or_else(|| Some(reference.as_ref()?.join("lib")));
    Ok(Setup { origins, modules, load, port, repeat, aof, options, scripts, generate, commands })
}

/// The addresses of both servers, which are started with `args` unless they run already.
fn start(setup: &Setup, args: &[String]) -> Result<([SocketAddr; 2], [Option<Server>; 2]), String> {
    let one = |i: u16| match &setup.origins[usize::from(i)] {
        Origin::Running(addr) => Ok((*addr, None)),
        Origin::Started(command) => {
            let port = if setup.port == 0 { 0 } else { setup.port + i };
            let server = Server::start(command, args, port)?;
            Ok::<_, String>((server.addr, Some(server)))
        }
    };
    let (a, b) = (one(0)?, one(1)?);
    Ok(([a.0, b.0], [a.1, b.1]))
}

/// Compares what the servers tell about their commands.
fn commands(setup: &Setup) -> ExitCode {
    let run = || -> Result<(usize, usize), String> {
        let args = arguments(setup, &Script::default())?;
        let (addrs, _servers) = start(setup, &args)?;
        commands::run(addrs, setup.generate.seed)
    };
    match run() {
        Ok((compared, differences)) => {
            println!("commands: {compared} compared, {differences} differences");
            if differences == 0 {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(why) => {
            eprintln!("{why}");
            ExitCode::from(2)
        }
    }
}

/// Runs the generator instead of scripts.
fn generate(setup: &Setup) -> ExitCode {
    let command = |origin: &Origin| match origin {
        Origin::Started(command) => Ok(command.clone()),
        Origin::Running(_) => Err("--generate starts its servers itself".to_string()),
    };
    let request = |args| -> Result<generate::Request, String> {
        let told = &setup.generate;
        Ok(generate::Request {
            commands: told.commands,
            seed: told.seed,
            resp: told.resp,
            families: told.families.clone(),
            failures: told.failures,
            servers: [command(&setup.origins[0])?, command(&setup.origins[1])?],
            args,
            port: setup.port,
            wait: setup.options.wait,
        })
    };
    let args = arguments(setup, &Script::default());
    let run = |request: generate::Request| match setup.generate.concurrent {
        true => generate::concurrent::run(&request),
        false => generate::run(&request),
    };
    match args.and_then(request).and_then(run) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::from(2)
        }
    }
}

fn command(text: &str) -> Result<Vec<String>, String> {
    let words: Vec<String> = text.split_whitespace().map(str::to_string).collect();
    if words.is_empty() {
        Err("an empty server command".into())
    } else {
        Ok(words)
    }
}

fn resolve(text: &str) -> Result<SocketAddr, String> {
    let mut found = text.to_socket_addrs().map_err(|e| format!("{text}: {e}"))?;
    found.next().ok_or_else(|| format!("{text}: no address"))
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("not a number: {text}"))
}

/// Runs one script on fresh servers. An error says why it could not be run and how many steps that leaves undone.
fn run(setup: &Setup, name: &str) -> Result<Tally, (String, usize)> {
    let text = std::fs::read_to_string(name).map_err(|e| (e.to_string(), 1))?;
    let script = script::parse(&text).map_err(|why| (why, 1))?;
    run_script(setup, name, &script).map_err(|why| (why, script.steps.len().max(1)))
}

fn run_script(setup: &Setup, name: &str, script: &Script) -> Result<Tally, String> {
    let args = arguments(setup, script)?;
    let (addrs, servers) = start(setup, &args)?;
    let sides = addrs.map(Side::new);
    let options = &setup.options;
    let tails = servers.iter().flatten().filter(|_| setup.aof).map(|s| aof::Tail::new(s.dir()));
    let tails = tails.collect();
    let mut runner = Runner {
        name,
        sides,
        servers,
        tails,
        owed: Default::default(),
        options,
        tally: Tally::default(),
    };
    for (side, origin) in runner.sides.iter_mut().zip(&setup.origins) {
        if matches!(origin, Origin::Running(_)) {
            let conn = side.conn("main").ok_or("a server does not answer")?;
            let flush = [b"FLUSHALL".to_vec()];
            conn.write(&backplane::client::resp::encode(&flush));
            conn.reply_to(&flush, options.wait);
        }
    }
    runner.run(script);
    runner.finish();
    Ok(runner.tally)
}

fn arguments(setup: &Setup, script: &Script) -> Result<Vec<String>, String> {
    let fixed = ["--save", "", "--enable-debug-command", "yes", "--enable-module-command", "yes"];
    let mut args: Vec<String> = fixed.map(str::to_string).to_vec();
    if setup.aof {
        // No sync: while one runs, the reference puts writes off.
        let file =
            ["--appendonly", "yes", "--appendfsync", "no", "--auto-aof-rewrite-percentage", "0"];
        args.extend(file.map(str::to_string));
    }
    args.extend(script.args.iter().cloned());
    let mut modules = setup.load.clone();
    for name in &script.modules {
        let dir = setup.modules.as_ref().ok_or("no folder of modules: run tools/get-modules")?;
        modules.push(dir.join(format!("{name}.so")));
    }
    for path in modules {
        args.extend(["--loadmodule".to_string(), absolute(&path)?]);
    }
    Ok(args)
}

/// Servers run in folders of their own, so a module's path must not depend on ours.
fn absolute(path: &Path) -> Result<String, String> {
    let full = path.canonicalize().map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(full.display().to_string())
}
