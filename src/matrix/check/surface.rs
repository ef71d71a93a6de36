//! What a server tells about a module, and whom it lets in.
use std::collections::BTreeSet;
use std::time::Duration;

use crate::client::resp::{compact, Reply};
use crate::matrix::lab::{agree, same, sorted, Host, Lab, Side, Stop, Verdict, WAIT};
use crate::matrix::workload::NATIVE_FILL;

/// The names of the module's commands.
fn names(lab: &Lab, host: &mut Host) -> Result<Vec<String>, Stop> {
    let name = lab.subject().known_facts().map(|f| f.name.clone()).unwrap_or_default();
    let reply = sorted(host.must(&format!("COMMAND LIST FILTERBY MODULE {name}"))?);
    let Reply::Many(_, items) = reply else { return Ok(Vec::new()) };
    let text = |r: &Reply| String::from_utf8_lossy(r.text().unwrap_or_default()).into_owned();
    Ok(items.iter().map(text).collect())
}

/// The names on both, which must be the same.
fn names_of_both(lab: &Lab, hosts: &mut [Host; 2]) -> Result<Vec<String>, Stop> {
    let reference = names(lab, &mut hosts[0])?;
    let ours = names(lab, &mut hosts[1])?;
    if reference != ours {
        let differ: Vec<&String> = reference
            .iter()
            .chain(&ours)
            .filter(|n| !(reference.contains(n) && ours.contains(n)))
            .collect();
        return Err(Stop::Differs(format!("Only one of both has these commands: {differ:?}")));
    }
    Ok(ours)
}

/// `COMMAND INFO`, and calls with a wrong number of arguments.
pub fn commands(lab: &Lab) -> Verdict {
    let mut ours = lab.start(Side::Ours, &[])?;
    for name in names(lab, &mut ours)? {
        // Here the server itself counts the arguments; other commands may do what they like without any.
        let arity = arity(&ours.ask(&format!("COMMAND INFO {name}")));
        for extra in wrong_calls(arity).filter(|_| arity.is_some_and(|n| n.abs() > 1)) {
            let reply = ours.ask(&call(&name, extra));
            // A subcommand can be called with too few words only by leaving out its own name.
            let told = ["wrong number of arguments", "unknown subcommand"];
            if !told.iter().any(|text| compact(&reply).contains(text)) && !name.contains('|') {
                let reply = compact(&reply);
                return Err(Stop::Fails(format!("{name} with {extra} arguments: {reply}")));
            }
        }
    }
    let mut hosts = [lab.start(Side::Reference, &[])?, ours];
    let all = names_of_both(lab, &mut hosts)?;
    let (mut calls, mut left_out) = (0, Vec::new());
    for name in &all {
        // The call before may have ended the client.
        hosts.iter_mut().try_for_each(Host::reconnect)?;
        let line = format!("COMMAND INFO {name}");
        let [reference, ours] = hosts.each_mut().map(|host| unordered(host.ask(&line)));
        same(&line, &reference, &ours)?;
        agree(&mut hosts, &format!("COMMAND GETKEYS {name}"))?;
        for extra in wrong_calls(arity(&ours)) {
            let line = call(name, extra);
            let reference = bare(&mut hosts[0], &line, SILENCE)?;
            if reference == Reply::Closed && !hosts[0].survives() {
                left_out.push(name.as_str());
                hosts[0] = lab.start(Side::Reference, &[])?;
                continue;
            }
            let wait = if reference == Reply::Timeout { SILENCE } else { WAIT };
            let ours = bare(&mut hosts[1], &line, wait)?;
            if ours == Reply::Closed && !hosts[1].survives() {
                return Err(Stop::Fails(format!(
                    "{line} ends the server{}",
                    hosts[1].last_words()
                )));
            }
            match kind(&reference) == kind(&ours) && kind(&ours) != b'-' {
                // Whatever such a command counts need not be the same.
                true => {}
                false => same(&line, &reference, &ours)?,
            }
            calls += 1;
        }
    }
    if all.is_empty() {
        return Ok("It has no commands, here as there.".into());
    }
    let left_out = match left_out.is_empty() {
        true => String::new(),
        false => format!(" Left out, because it ends the reference: {}.", left_out.join(", ")),
    };
    Ok(format!(
        "{} commands have the reference's table entries; {calls} wrong calls, the same replies.{left_out}",
        all.len()
    ))
}

/// After so long a command is taken for one that does not reply.
const SILENCE: Duration = Duration::from_secs(5);

/// A call that may leave the client without a reply, or without a connection.
fn bare(host: &mut Host, line: &str, wait: Duration) -> Result<Reply, Stop> {
    let reply = host.words_within(&crate::client::words::split(line)?, wait);
    if matches!(reply, Reply::Timeout) || (reply == Reply::Closed && host.survives()) {
        host.reconnect()?;
    }
    Ok(reply)
}

/// The first byte of a reply; another one for each way of not replying.
fn kind(reply: &Reply) -> u8 {
    match reply {
        Reply::Line(kind, _) | Reply::Blob(kind, _) | Reply::Null(kind) | Reply::Many(kind, _) => {
            *kind
        }
        Reply::Closed => 0,
        Reply::Timeout => 1,
    }
}

/// The line that calls a command, perhaps a subcommand, with so many arguments.
fn call(name: &str, arguments: usize) -> String {
    name.replace('|', " ") + &" x".repeat(arguments)
}

/// Sets in the entry of a command (flags, categories, subcommands) without their order.
fn unordered(reply: Reply) -> Reply {
    match reply {
        Reply::Many(kind, items) => {
            let items: Vec<Reply> = items.into_iter().map(unordered).collect();
            let subcommand = |r: &Reply| {
                let name = r.at(&[0]).and_then(Reply::text).unwrap_or_default();
                name.contains(&b'|')
            };
            let words = items.iter().all(|r| matches!(r, Reply::Line(b'+', _)) || subcommand(r));
            let whole = Reply::Many(kind, items);
            if words || kind == b'~' {
                sorted(whole)
            } else {
                whole
            }
        }
        other => other,
    }
}

/// The arity in the reply to `COMMAND INFO`.
fn arity(reply: &Reply) -> Option<i64> {
    let text = reply.at(&[0, 1])?.text()?;
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// With how many arguments a command of that arity is called wrongly; without any where it counts them itself.
fn wrong_calls(arity: Option<i64>) -> impl Iterator<Item = usize> {
    let counts = match arity {
        None => [None, None],
        Some(n) if n >= 2 => [Some(0), Some(n as usize)],
        Some(1) => [Some(1), None],
        Some(_) => [Some(0), None],
    };
    counts.into_iter().flatten()
}

/// Users who may not.
pub fn acl(lab: &Lab) -> Verdict {
    let lines: Vec<&str> = match lab.workload() {
        Some(w) => NATIVE_FILL.iter().chain(w.fill).chain(w.more).chain(w.reads).copied().collect(),
        None => NATIVE_FILL.to_vec(),
    };
    // By itself first: an allowed user can, and a denied one cannot.
    let mut ours = lab.start(Side::Ours, &[])?;
    let all = names(lab, &mut ours)?;
    ours.must("ACL SETUSER may on nopass ~* &* +@all")?;
    let mut may = Guest::enter(&ours, "may")?;
    for line in &lines {
        let reply = may.ask(line)?;
        if compact(&reply).contains("NOPERM") {
            return Err(Stop::Fails(format!(
                "{line}: a user with all rights gets {}",
                compact(&reply)
            )));
        }
    }
    let mut hosts = lab.pair(&[])?;
    names_of_both(lab, &mut hosts)?;
    let denied: String = all.iter().map(|name| format!(" -{name}")).collect();
    let first = lab.workload().and_then(|w| w.own.first()).copied().unwrap_or("native:");
    let users = [
        ("commands", format!("~* &* +@all{denied}")),
        ("nothing", "~* &* -@all".to_string()),
        ("readers", "~* &* -@all +@read".to_string()),
        ("writers", "~* &* +@all -@write".to_string()),
        ("dangers", "~* &* +@all -@dangerous -@slow".to_string()),
        ("foreign", "~elsewhere:* &* +@all".to_string()),
        ("lookers", format!("%R~{first}* &* +@all")),
        ("keys", format!("~{first}* &* +@all")),
    ];
    let mut compared = 0;
    let mut refused = 0;
    for (user, rules) in &users {
        agree(&mut hosts, &format!("ACL SETUSER {user} on nopass {rules}"))?;
        let mut guests = [Guest::enter(&hosts[0], user)?, Guest::enter(&hosts[1], user)?];
        let calls: Vec<String> = all.iter().map(|name| call(name, 3)).collect();
        let calls = if *user == "commands" || *user == "nothing" { calls } else { Vec::new() };
        for line in calls.iter().map(String::as_str).chain(lines.iter().copied()) {
            lab.note(format!("{user}> {line}"));
            let replies = [guests[0].ask(line)?, guests[1].ask(line)?];
            lab.note(compact(&replies[1]));
            let what = format!("as a user with {rules}: {line}");
            // Only who is let in is compared: what a search finds is settled later than its write.
            let noperm = replies.each_ref().map(|r| compact(r).contains("NOPERM"));
            if noperm[0] || noperm[1] {
                same(&what, &replies[0], &replies[1])?;
                refused += 1;
            }
            compared += 1;
        }
    }
    for name in ["read", "write", "dangerous", "fast", "slow", "admin", "keyspace"] {
        let line = format!("ACL CAT {name}");
        let [reference, ours] = hosts.each_mut().map(|host| of_module(host.ask(&line), &all));
        same(&line, &reference, &ours)?;
    }
    Ok(format!(
        "{compared} calls of {} users, {refused} of them refused, each as by the reference.",
        users.len()
    ))
}

/// Those of a list of commands that are the module's.
fn of_module(reply: Reply, names: &[String]) -> Reply {
    let own = |r: &Reply| {
        let text = String::from_utf8_lossy(r.text().unwrap_or_default()).to_lowercase();
        names.iter().any(|n| n.to_lowercase() == text)
    };
    match sorted(reply) {
        Reply::Many(kind, items) => Reply::Many(kind, items.into_iter().filter(own).collect()),
        other => other,
    }
}

/// A connection of another user.
struct Guest(crate::client::Wire);

impl Guest {
    fn enter(host: &Host, user: &str) -> Result<Guest, Stop> {
        let mut wire = host.wire()?;
        let reply = wire.ask(&["AUTH", user, "any"], WAIT);
        match compact(&reply).as_str() {
            "OK" => Ok(Guest(wire)),
            other => Err(Stop::Fails(format!("AUTH {user}: {other}"))),
        }
    }

    fn ask(&mut self, line: &str) -> Result<Reply, Stop> {
        let words = crate::client::words::split(line)?;
        Ok(self.0.ask(&words, WAIT))
    }
}

/// Its sections of `INFO`.
pub fn info(lab: &Lab) -> Verdict {
    let name = lab.subject().known_facts().map(|f| f.name.clone()).unwrap_or_default();
    let mut ours = lab.start(Side::Ours, &[])?;
    ours.fill(lab.workload())?;
    let text = compact(&ours.must("INFO modules")?);
    if !text.contains(&format!("module:name={name},")) {
        return Err(Stop::Fails(format!("INFO modules does not name {name}")));
    }
    let mut hosts = [lab.start(Side::Reference, &[])?, ours];
    hosts[0].fill(lab.workload())?;
    let mut count = 0;
    for section in ["modules", "everything"] {
        let [reference, ours] = hosts.each_mut().map(|host| {
            let reply = host.words(&["INFO", section]);
            fields(&String::from_utf8_lossy(reply.text().unwrap_or_default()), &name)
        });
        let only = |a: &BTreeSet<String>, b: &BTreeSet<String>| {
            a.difference(b).cloned().collect::<Vec<_>>().join(", ")
        };
        if reference != ours {
            return Err(Stop::Differs(format!(
                "INFO {section}: only here: {}; only on the reference: {}",
                only(&ours, &reference),
                only(&reference, &ours)
            )));
        }
        count = ours.len();
    }
    Ok(format!("{count} lines about it (sections, fields) as on the reference; values may differ."))
}

/// The heads of sections and the names of fields that belong to a module, and its own line.
fn fields(text: &str, module: &str) -> BTreeSet<String> {
    let mut inside = false;
    let mut found = BTreeSet::new();
    for line in text.lines() {
        if let Some(head) = line.strip_prefix("# ") {
            inside = head.starts_with(module);
        }
        if line.starts_with(&format!("module:name={module},")) {
            found.insert(line.to_string());
        } else if inside && !line.is_empty() {
            found.insert(line.split(':').next().unwrap_or(line).to_string());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_a_module() {
        let text = "# Server\r\na:1\r\n\r\n# search_index\r\nn:1\r\nm:2\r\n\r\n# Other\r\nx:1\r\nmodule:name=search,v=1\r\n";
        let found: Vec<String> = fields(text, "search").into_iter().collect();
        assert_eq!(found, ["# search_index", "m", "module:name=search,v=1", "n"]);
    }

    #[test]
    fn what_is_a_wrong_call() {
        let calls = |arity| wrong_calls(arity).collect::<Vec<_>>();
        assert_eq!(calls(Some(3)), [0, 3]);
        assert_eq!(calls(Some(1)), [1]);
        assert_eq!(calls(Some(-2)), [0]);
        assert!(calls(None).is_empty());
    }
}
