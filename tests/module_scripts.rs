//! The scripts of modules-test, run over one connection on our server and on the reference: every reply is the same. What
//! happens by itself (timers, threads) is not in them; `module_blocked`, `module_events` and `module_api` have that.
mod common;
use common::{own_modules, Reply, Server};

/// Replies that say who the client is, where the module lies, or what a native value costs in memory, or what chance chose.
fn may_differ(line: &str) -> bool {
    let line = line.to_ascii_lowercase();
    ["hello", "basic.client", "memory usage", "spop"].iter().any(|word| line.starts_with(word))
}

/// Directives come in any order.
fn sorted(line: &str, reply: Reply) -> Reply {
    match reply {
        Reply::Array(items) if line.to_ascii_lowercase().starts_with("config get") => {
            let mut pairs: Vec<&[Reply]> = items.chunks(2).collect();
            pairs.sort_by_key(|pair| format!("{pair:?}"));
            Reply::Array(pairs.concat())
        }
        other => other,
    }
}

/// The replies to each line; there may be none, or several.
fn run(s: &Server, lines: &[&str]) -> Vec<Vec<Reply>> {
    let mut c = s.client();
    let end = Reply::Bulk("end of line".into());
    let mut in_multi = false;
    lines
        .iter()
        .map(|line| {
            let word = line.split(' ').next().unwrap_or_default().to_ascii_lowercase();
            in_multi = word == "multi" || in_multi && word != "exec" && word != "discard";
            if in_multi {
                // Nothing but one reply each, and a question of our own would be part of the transaction.
                c.raw(format!("{line}\r\n").as_bytes());
                return vec![c.read()];
            }
            c.raw(format!("{line}\r\nping \"end of line\"\r\n").as_bytes());
            let mut replies = Vec::new();
            loop {
                match c.try_read() {
                    Some(r) if r == end => return replies,
                    Some(r) => replies.push(sorted(line, r)),
                    None => panic!("the server is gone after {line}:\n{}", s.log()),
                }
            }
        })
        .collect()
}

fn same_on_both(module: &str, args: &[&str]) {
    let path = own_modules().join(format!("{module}.so")).display().to_string();
    let mut all = vec!["--loadmodule", &path];
    all.extend(args);
    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(format!("modules-test/scripts/{module}.txt"));
    let text = std::fs::read_to_string(script).expect("the module's script");
    let lines: Vec<&str> =
        text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')).collect();
    assert!(lines.len() > 2, "{module} has a script");
    let [ours, theirs] = [Server::start(&all), Server::reference(&all)].map(|s| run(&s, &lines));
    let differ: Vec<String> = lines
        .iter()
        .zip(ours.iter().zip(&theirs))
        .filter(|(line, (a, b))| a != b && !may_differ(line))
        .map(|(line, (a, b))| format!("{line}\n  ours      {a:?}\n  reference {b:?}"))
        .collect();
    assert!(differ.is_empty(), "{module}:\n{}", differ.join("\n"));
}

macro_rules! scripts {
    ($($module:ident $args:expr;)*) => {
        $(
            #[test]
            fn $module() {
                same_on_both(stringify!($module), &$args);
            }
        )*
    };
}

scripts! {
    basic [];
    configs [];
    datatype [];
    dictapi [];
    events [];
    filter [];
    info [];
    keys [];
    scan [];
    strings [];
    users [];
}
