//! What happens to single values.
use crate::client::resp::{compact, encode, Reply};
use crate::client::Wire;
use crate::matrix::lab::{agree, same, settle, settle_all, Host, Lab, Side, Stop, Verdict, WAIT};
use crate::matrix::workload::{line, Workload};

/// The workload of a module with values of its own types.
fn typed<'a>(lab: &Lab) -> Result<&'a Workload, Stop> {
    let Some(workload) = lab.workload() else {
        return Err(Stop::NotApplicable(
            "Nobody has described what values this module has.".into(),
        ));
    };
    match workload.own.is_empty() {
        true => Err(Stop::NotApplicable("It has no keys with values of its own types.".into())),
        false => Ok(workload),
    }
}

/// The keys with values of the module's types.
fn keys(host: &mut Host, workload: &Workload) -> Result<Vec<String>, Stop> {
    let Reply::Many(_, items) = host.must("KEYS *")? else { return Ok(Vec::new()) };
    let text = |r: &Reply| String::from_utf8_lossy(r.text().unwrap_or_default()).into_owned();
    let own = |key: &String| workload.own.iter().any(|prefix| key.starts_with(prefix));
    let mut keys: Vec<String> = items.iter().map(text).filter(own).collect();
    keys.sort();
    match keys.is_empty() {
        true => Err(Stop::Fails("Its writes left no keys of its own.".into())),
        false => Ok(keys),
    }
}

/// `DUMP` here, `RESTORE` there.
pub fn dump(lab: &Lab) -> Verdict {
    let w = typed(lab)?;
    let mut ours = lab.start(Side::Ours, &[])?;
    ours.fill(Some(w))?;
    let keys = keys(&mut ours, w)?;
    for key in &keys {
        let payload = payload(&mut ours, key)?;
        restore(&mut ours, key, &payload)?;
    }
    let mut hosts = [lab.start(Side::Reference, &[])?, ours];
    hosts[0].fill(Some(w))?;
    let mut equal = 0;
    for key in &keys {
        let payloads = [payload(&mut hosts[0], key)?, payload(&mut hosts[1], key)?];
        equal += usize::from(payloads[0] == payloads[1]);
        for payload in &payloads {
            // A value need not be the same as before (a time series loses its rules), but the same on both.
            let digests = hosts.each_mut().map(|host| restore(host, key, payload));
            let [reference, ours] = digests;
            same(&format!("digest of {key} after RESTORE"), &reference?, &ours?)?;
        }
        // From here on the reads see what came out of the other server.
        let [there, here] = &payloads;
        for (host, payload) in hosts.iter_mut().zip([here, there]) {
            let words: [&[u8]; 5] = [b"RESTORE", key.as_bytes(), b"0", payload, b"REPLACE"];
            let reply = host.words(&words);
            if compact(&reply) != "OK" {
                return Err(Stop::Fails(format!("RESTORE of {key}: {}", compact(&reply))));
            }
        }
    }
    settle_all(&mut hosts, Some(w))?;
    for line in w.more {
        agree(&mut hosts, line)?;
    }
    settle_all(&mut hosts, Some(w))?;
    let count = keys.len();
    Ok(format!("{count} payloads are restored by the other server ({equal} are equal byte by byte), and the reads agree."))
}

fn payload(host: &mut Host, key: &str) -> Result<Vec<u8>, Stop> {
    let reply = host.words(&["DUMP", key]);
    let bytes = reply.text().filter(|_| matches!(reply, Reply::Blob(..)));
    bytes.map(<[u8]>::to_vec).ok_or_else(|| Stop::Fails(format!("DUMP {key}: {}", compact(&reply))))
}

/// Restores a payload under another name: the digest of what there is then.
fn restore(host: &mut Host, key: &str, payload: &[u8]) -> Result<Reply, Stop> {
    let name = format!("restored:{key}");
    let words: [&[u8]; 5] = [b"RESTORE", name.as_bytes(), b"0", payload, b"REPLACE"];
    let reply = host.words(&words);
    if compact(&reply) != "OK" {
        return Err(Stop::Fails(format!("RESTORE of {key}: {}", compact(&reply))));
    }
    let digest = host.must(&format!("DEBUG DIGEST-VALUE {name}"))?;
    host.must(&format!("DEL {name}"))?;
    Ok(digest)
}

/// `COPY`.
pub fn copy(lab: &Lab) -> Verdict {
    let w = typed(lab)?;
    let mut ours = lab.start(Side::Ours, &[])?;
    ours.fill(Some(w))?;
    let keys = keys(&mut ours, w)?;
    let mut copied = 0;
    for key in &keys {
        if compact(&ours.ask(&format!("COPY {key} copy:{key}"))) == "1" {
            copied += 1;
        }
    }
    let mut hosts = lab.pair(&[])?;
    hosts.iter_mut().try_for_each(|host| host.fill(Some(w)))?;
    for key in &keys {
        agree(&mut hosts, &format!("COPY {key} copy:{key}"))?;
        agree(&mut hosts, &format!("COPY {key} copy:{key}"))?;
        agree(&mut hosts, &format!("COPY {key} {key} DB 3"))?;
    }
    // Changes of the originals do not reach the copies.
    for line in w.more {
        agree(&mut hosts, line)?;
    }
    for key in &keys {
        for line in ["DEBUG DIGEST-VALUE", "TYPE", "DUMP"] {
            agree(&mut hosts, &format!("{line} copy:{key}"))?;
        }
    }
    settle_all(&mut hosts, Some(w))?;
    Ok(format!("{copied} of {} values can be copied; the replies are the reference's.", keys.len()))
}

/// `DEBUG DIGEST`, `DEBUG DIGEST-VALUE`, `DEBUG RELOAD`.
pub fn digest(lab: &Lab) -> Verdict {
    let w = lab.workload();
    let mut ours = lab.start(Side::Ours, &[])?;
    ours.fill(w)?;
    let before = ours.picture(w)?;
    ours.must("DEBUG RELOAD")?;
    ours.shows(&before, "after DEBUG RELOAD")?;
    let mut reference = lab.start(Side::Reference, &[])?;
    reference.fill(w)?;
    let picture = reference.picture(w)?;
    let mut hosts = [reference, ours];
    for (line, want) in picture.iter().filter(|(line, _)| line.starts_with("DEBUG DIGEST")) {
        let ours = hosts[1].ask(line);
        same(line, want, &ours)?;
    }
    for line in w.map_or(&[][..], |w| w.more) {
        agree(&mut hosts, line)?;
    }
    hosts[0].must("DEBUG RELOAD")?;
    agree(&mut hosts, "DEBUG DIGEST")?;
    let count = picture.iter().filter(|(line, _)| line.starts_with("DEBUG DIGEST-")).count();
    Ok(format!("The digests of the keyspace and of {count} values are the reference's."))
}

/// `PEXPIRE` on everything.
pub fn expiry(lab: &Lab) -> Verdict {
    let w = lab.workload();
    let expire = |host: &mut Host| -> Result<usize, Stop> {
        host.fill(w)?;
        let Reply::Many(_, keys) = host.must("KEYS *")? else { return Ok(0) };
        for key in &keys {
            let key = key.text().unwrap_or_default();
            host.words(&[b"PEXPIRE".as_slice(), key, b"1"]);
        }
        Ok(keys.len())
    };
    let mut ours = lab.start(Side::Ours, &[])?;
    let count = expire(&mut ours)?;
    // Nobody looks at the keys: the cycle must find them.
    let keys = |host: &mut Host| host.until("stats", "expired_keys", &count.to_string());
    keys(&mut ours)?;
    let left = compact(&ours.must("DBSIZE")?);
    if left != "0" {
        return Err(Stop::Fails(format!("{left} keys are left of {count} that expired")));
    }
    let mut reference = lab.start(Side::Reference, &[])?;
    let there = expire(&mut reference)?;
    if there != count {
        return Err(Stop::Differs(format!("{count} keys here, {there} on the reference")));
    }
    keys(&mut reference)?;
    let mut hosts = [reference, ours];
    settle_all(&mut hosts, w)?;
    Ok(format!("All {count} keys expired unseen; the reads agree afterwards."))
}

/// Bytes that `eviction` fills, half of which it then takes away.
const ROOM: u64 = 2 << 20;
/// Keys that must be enough to fill that.
const MOST: u64 = 60_000;

/// `maxmemory`.
pub fn eviction(lab: &Lab) -> Verdict {
    let Some(w) = lab.workload() else {
        return Err(Stop::NotApplicable(
            "Nobody has described how this module is written to.".into(),
        ));
    };
    let mut ours = lab.start(Side::Ours, &[])?;
    let (written, evicted) = evict(&mut ours, w)?;
    ours.must("CONFIG SET maxmemory 0")?;
    for line in w.reads {
        ours.ask(line);
    }
    ours.must("PING")?;
    let mut hosts = lab.pair(&[])?;
    for host in &mut hosts {
        host.fill(Some(w))?;
        host.must("CONFIG SET maxmemory 1")?;
    }
    let write = line(w.write, 1, 1);
    let lines = [w.more, &[write.as_str()], w.reads].concat();
    for line in &lines {
        settle(&mut hosts, line)?;
    }
    Ok(format!(
        "{evicted} keys were evicted by {written} writes; {} commands without memory reply as on the reference.",
        lines.len()
    ))
}

/// Fills memory, takes a part of it away and writes on: how many writes, how many evicted keys.
fn evict(host: &mut Host, w: &Workload) -> Result<(u64, u64), Stop> {
    host.fill(Some(w))?;
    let used = |host: &mut Host| host.info("memory", "used_memory").parse::<u64>().unwrap_or(0);
    let mut wire = host.wire()?;
    let mut n = 0;
    let begin = used(host);
    while used(host) < begin + ROOM {
        if n >= MOST {
            return Err(Stop::Fails(format!("{n} writes did not fill {ROOM} bytes")));
        }
        write(host, &mut wire, w, n)?;
        n += BATCH;
    }
    host.must("CONFIG SET maxmemory-policy allkeys-random")?;
    let most = used(host) - ROOM / 2;
    host.must(&format!("CONFIG SET maxmemory {most}"))?;
    for _ in 0..5 {
        write(host, &mut wire, w, n)?;
        n += BATCH;
    }
    let evicted = host.info("stats", "evicted_keys").parse().unwrap_or(0);
    if evicted < 100 {
        return Err(Stop::Fails(format!(
            "{n} writes, {} bytes beyond maxmemory, evicted {evicted} keys",
            ROOM / 2
        )));
    }
    Ok((n, evicted))
}

/// Writes that are sent at once.
const BATCH: u64 = 200;

/// Sends a batch of writes. Some may be refused for want of memory, as the module itself judges it.
fn write(host: &mut Host, wire: &mut Wire, w: &Workload, from: u64) -> Result<(), Stop> {
    let mut bytes = Vec::new();
    for n in from..from + BATCH {
        // A long name fills memory whatever the module stores.
        let text = line(w.write, n, n).replace("load:", "load:with:a:rather:long:name:");
        bytes.extend(encode(&crate::client::words::split(&text)?));
    }
    wire.write(&bytes);
    for _ in 0..BATCH {
        match wire.read(WAIT) {
            reply @ (Reply::Closed | Reply::Timeout) => {
                let gone = host.last_words();
                return Err(Stop::Fails(format!("under maxmemory: {}{gone}", compact(&reply))));
            }
            Reply::Line(b'-', text) if !text.starts_with(b"OOM") => {
                let text = String::from_utf8_lossy(&text);
                return Err(Stop::Fails(format!("under maxmemory, {}: {text}", w.write)));
            }
            _ => {}
        }
    }
    Ok(())
}
