//! Ways in which clients use a module's commands.
use crate::client::resp::{compact, Reply};
use crate::client::words::split;
use crate::matrix::lab::{agree, same, settle, settle_all, Host, Lab, Side, Stop, Verdict, WAIT};
use crate::matrix::workload::NATIVE_FILL;

const UNKNOWN: &str = "Nobody has described what this module's commands do.";

/// The workload of a module with commands.
fn described<'a>(lab: &Lab) -> Result<&'a crate::matrix::workload::Workload, Stop> {
    let workload = lab.workload().ok_or_else(|| Stop::NotApplicable(UNKNOWN.into()))?;
    match workload.fill.is_empty() {
        true => Err(Stop::NotApplicable("It has no commands of its own.".into())),
        false => Ok(workload),
    }
}

/// `MULTI`, `EXEC`, `DISCARD`, `WATCH`.
pub fn multi(lab: &Lab) -> Verdict {
    let w = described(lab)?;
    let mut ours = lab.start(Side::Ours, &[])?;
    let queue = |host: &mut Host, lines: &[&str]| -> Result<(), Stop> {
        host.must("MULTI")?;
        for line in lines {
            let reply = host.ask(line);
            if compact(&reply) != "QUEUED" {
                return Err(Stop::Fails(format!("{line} in MULTI: {}", compact(&reply))));
            }
        }
        Ok(())
    };
    let filled = [NATIVE_FILL, w.fill].concat();
    queue(&mut ours, &filled)?;
    let reply = ours.must("EXEC")?;
    let mut hosts = [lab.start(Side::Reference, &[])?, ours];
    queue(&mut hosts[0], &filled)?;
    let reference = hosts[0].ask("EXEC");
    same("EXEC", &reference, &reply)?;
    settle_all(&mut hosts, Some(w))?;
    for host in &mut hosts {
        queue(host, w.more)?;
        host.must("DISCARD")?;
    }
    settle_all(&mut hosts, Some(w))?;
    for line in ["MULTI", "SET native:string changed", "NOSUCHCOMMAND", "EXEC"] {
        agree(&mut hosts, line)?;
    }
    // A key that a module's command writes is watched.
    let written = split(w.more[0])?;
    let key = written.iter().map(|w| String::from_utf8_lossy(w)).find(|w| w.contains(':'));
    if let Some(key) = key {
        agree(&mut hosts, &format!("WATCH {key}"))?;
        let [reference, ours] = hosts
            .each_mut()
            .map(|host| -> Result<Reply, Stop> { Ok(host.wire()?.ask(&written, WAIT)) });
        same(w.more[0], &reference?, &ours?)?;
        for line in ["MULTI", "PING", "EXEC"] {
            agree(&mut hosts, line)?;
        }
    }
    for line in w.more.iter().skip(1) {
        agree(&mut hosts, line)?;
    }
    for line in w.reads {
        settle(&mut hosts, line)?;
    }
    let reads: Vec<&str> = w.reads.to_vec();
    for host in &mut hosts {
        queue(host, &reads)?;
    }
    agree(&mut hosts, "EXEC")?;
    Ok(format!(
        "{} writes and {} reads in transactions, the same replies.",
        filled.len(),
        reads.len()
    ))
}

/// From scripts.
pub fn lua(lab: &Lab) -> Verdict {
    let w = described(lab)?;
    let mut ours = lab.start(Side::Ours, &[])?;
    let call = |host: &mut Host, how: &str, line: &str| -> Result<Reply, Stop> {
        let mut words = vec![b"EVAL".to_vec(), how.as_bytes().to_vec(), b"0".to_vec()];
        words.extend(split(line)?);
        Ok(host.words(&words))
    };
    let plain = "return redis.call(unpack(ARGV))";
    let caught = "return redis.pcall(unpack(ARGV))";
    let lines: Vec<&str> = [w.fill, w.more, w.reads].concat();
    let mut hosts = match lab.start(Side::Reference, &[]) {
        Ok(reference) => [reference, ours],
        Err(stop) => {
            // Alone it can only be seen that the server lives on.
            for line in &lines {
                call(&mut ours, plain, line)?;
            }
            ours.must("PING")?;
            return Err(stop);
        }
    };
    let mut refused = 0;
    for line in &lines {
        for how in [plain, caught] {
            let [reference, ours] = hosts.each_mut().map(|host| call(host, how, line));
            let (reference, ours) = (reference?, ours?);
            if reference != ours && w.reads.contains(line) {
                // What is filled in the background may show later.
                settle(&mut hosts, line)?;
                let [reference, ours] = hosts.each_mut().map(|host| call(host, how, line));
                same(line, &reference?, &ours?)?;
            } else {
                same(&format!("in a script: {line}"), &reference, &ours)?;
            }
            refused += usize::from(matches!(ours, Reply::Line(b'-', _)));
        }
        let name = line.split(' ').next().unwrap_or_default();
        let [reference, ours] = hosts.each_mut().map(|host| call(host, caught, name));
        same(&format!("in a script: {name}"), &reference?, &ours?)?;
    }
    Ok(format!(
        "{} calls from scripts, {refused} refused, each with the reference's reply.",
        lines.len() * 3
    ))
}

/// `HELLO 3`.
pub fn resp3(lab: &Lab) -> Verdict {
    let w = described(lab)?;
    let mut ours = lab.start(Side::Ours, &[])?;
    ours.must("HELLO 3")?;
    ours.all(w.fill)?;
    let mut reference = lab.start(Side::Reference, &[])?;
    reference.must("HELLO 3")?;
    reference.all(w.fill)?;
    let mut hosts = [reference, ours];
    for line in w.reads {
        settle(&mut hosts, line)?;
    }
    for line in w.more {
        agree(&mut hosts, line)?;
    }
    for line in w.reads {
        settle(&mut hosts, line)?;
    }
    // The reply to a script goes through another encoder, and through tables without an order.
    for line in w.reads {
        let words = [
            b"EVAL".to_vec(),
            b"redis.setresp(3) return redis.call(unpack(ARGV))".to_vec(),
            b"0".to_vec(),
        ];
        let words = [words.to_vec(), split(line)?].concat();
        let [reference, ours] = hosts.each_mut().map(|host| any_order(host.words(&words)));
        same(&format!("in a script with RESP3: {line}"), &reference, &ours)?;
    }
    Ok(format!("{} reads have the reference's RESP3 types.", w.reads.len()))
}

/// A reply whose maps and sets are in one order.
fn any_order(reply: Reply) -> Reply {
    let Reply::Many(kind, items) = reply else { return reply };
    let items: Vec<Reply> = items.into_iter().map(any_order).collect();
    let width = match kind {
        b'%' => 2,
        b'~' => 1,
        _ => return Reply::Many(kind, items),
    };
    let mut parts: Vec<Vec<Reply>> = items.chunks(width).map(<[Reply]>::to_vec).collect();
    parts.sort_by_key(|part| part.first().map(compact));
    Reply::Many(kind, parts.concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::resp::parse;

    #[test]
    fn maps_have_no_order() {
        let read = |bytes: &[u8]| parse(bytes).unwrap().unwrap().0;
        let (a, b) = (
            read(b"*1\r\n%2\r\n+b\r\n:1\r\n+a\r\n:2\r\n"),
            read(b"*1\r\n%2\r\n+a\r\n:2\r\n+b\r\n:1\r\n"),
        );
        assert_eq!(any_order(a.clone()), any_order(b));
        assert_ne!(any_order(a), any_order(read(b"*1\r\n%2\r\n+b\r\n:2\r\n+a\r\n:1\r\n")));
    }
}
