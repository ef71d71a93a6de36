//! What happens to single values.
use crate::client::resp::{compact, encode, Reply};
use crate::matrix::lab::{agree, same, settle_all, Host, Lab, Side, Stop, Verdict, WAIT};
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
    restore(&mut ours, None, &keys)?;
    let mut reference = lab.start(Side::Reference, &[])?;
    reference.fill(Some(w))?;
    let mut unequal = Vec::new();
    for key in &keys {
        let [a, b] = [&mut reference, &mut ours].map(|host| host.words(&["DUMP", key]));
        if a != b {
            unequal.push(key.as_str());
        }
    }
    restore(&mut ours, Some(&mut reference), &keys)?;
    restore(&mut reference, Some(&mut ours), &keys)?;
    if !unequal.is_empty() {
        return Err(Stop::Differs(format!(
            "Each restores the other's payloads, but the bytes differ for {}",
            unequal.join(", ")
        )));
    }
    Ok(format!("{} payloads are the reference's, and are restored on either side.", keys.len()))
}

/// Restores what `from` dumps on `to` (or on itself) under another name.
fn restore(from: &mut Host, mut to: Option<&mut Host>, keys: &[String]) -> Result<(), Stop> {
    for key in keys {
        let payload = from.words(&["DUMP", key]);
        let Some(bytes) = payload.text().map(<[u8]>::to_vec) else {
            return Err(Stop::Fails(format!("DUMP {key}: {}", compact(&payload))));
        };
        let name = format!("restored:{key}");
        let digest = from.must(&format!("DEBUG DIGEST-VALUE {key}"))?;
        let to: &mut Host = match &mut to {
            Some(to) => to,
            None => from,
        };
        let words: [&[u8]; 5] = [b"RESTORE", name.as_bytes(), b"0", &bytes, b"REPLACE"];
        let reply = to.words(&words);
        if compact(&reply) != "OK" {
            return Err(Stop::Fails(format!("RESTORE of {key}: {}", compact(&reply))));
        }
        let again = to.must(&format!("DEBUG DIGEST-VALUE {name}"))?;
        let payload_again = to.words(&["DUMP", &name]);
        if again != digest || payload_again != payload {
            return Err(Stop::Fails(format!("{key} is another value after DUMP and RESTORE")));
        }
    }
    Ok(())
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
            let [a, b] = [key.clone(), format!("copy:{key}")].map(|k| ours.words(&["DUMP", &k]));
            if a != b {
                return Err(Stop::Fails(format!("the copy of {key} is another value")));
            }
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

/// Bytes above what is in use that `eviction` allows.
const ROOM: u64 = 2 << 20;
/// Keys that must be enough to exceed that.
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
        agree(&mut hosts, line)?;
    }
    Ok(format!(
        "{evicted} keys were evicted by {written} writes; {} commands without memory reply as on the reference.",
        lines.len()
    ))
}

/// Writes until something is evicted. A write may be refused for a moment, as the policy says.
fn evict(host: &mut Host, w: &Workload) -> Result<(u64, u64), Stop> {
    host.fill(Some(w))?;
    let used: u64 = host.info("memory", "used_memory").parse().unwrap_or(0);
    host.must("CONFIG SET maxmemory-policy allkeys-random")?;
    host.must(&format!("CONFIG SET maxmemory {}", used + ROOM))?;
    let mut wire = host.wire()?;
    let mut n = 0;
    while n < MOST {
        let mut bytes = Vec::new();
        for i in n..n + 200 {
            // A long key fills memory whatever the module stores.
            let text = line(w.write, i, i).replace("load:", "load:with:a:rather:long:name:");
            bytes.extend(encode(&crate::client::words::split(&text)?));
        }
        wire.write(&bytes);
        for _ in 0..200 {
            match wire.read(WAIT) {
                reply @ (Reply::Closed | Reply::Timeout) => {
                    let gone = host.last_words();
                    return Err(Stop::Fails(format!("under maxmemory: {}{gone}", compact(&reply))));
                }
                _ => n += 1,
            }
        }
        let evicted: u64 = host.info("stats", "evicted_keys").parse().unwrap_or(0);
        if evicted >= 100 {
            return Ok((n, evicted));
        }
    }
    Err(Stop::Fails(format!("{n} writes beyond maxmemory evicted nothing")))
}
