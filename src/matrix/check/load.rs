//! Loading and unloading.
use crate::client::process::fresh_dir;
use crate::client::resp::compact;
use crate::matrix::lab::{agree, same, settle, settle_all, Host, Lab, Side, Stop, Verdict};
use crate::matrix::subject::{find, Subject};

/// `--loadmodule`.
pub fn at_start(lab: &Lab) -> Verdict {
    let mut ours = lab.start(Side::Ours, &[])?;
    let facts = find(&ours.ask("MODULE LIST"), &lab.subject().path)
        .ok_or_else(|| "MODULE LIST does not show it.".to_string())?;
    ours.fill(lab.workload())?;
    let mut hosts = [lab.start(Side::Reference, &[])?, ours];
    hosts[0].fill(lab.workload())?;
    agree(&mut hosts, "MODULE LIST")?;
    settle_all(&mut hosts, lab.workload())?;
    let reads = lab.workload().map_or(0, |w| w.reads.len());
    Ok(format!("{} version {} is loaded; {reads} of its reads agree.", facts.name, facts.version))
}

/// `MODULE LOAD`.
pub fn at_run_time(lab: &Lab) -> Verdict {
    let start = |side| lab.start_in(side, fresh_dir()?, &[], &[]);
    let words = [vec!["MODULE".to_string(), "LOAD".to_string()], lab.subject().words()].concat();
    let load = |host: &mut Host| match host.words(&words) {
        reply if compact(&reply) == "OK" => Ok(()),
        reply => Err(Stop::Fails(format!("MODULE LOAD replies {}", compact(&reply)))),
    };
    let mut ours = start(Side::Ours)?;
    ours.must("SET before 1")?;
    load(&mut ours)?;
    find(&ours.ask("MODULE LIST"), &lab.subject().path)
        .ok_or_else(|| "MODULE LIST does not show it.".to_string())?;
    ours.fill(lab.workload())?;
    let mut reference = start(Side::Reference)?;
    reference.must("SET before 1")?;
    load(&mut reference)
        .map_err(|_| Stop::NoReference("The reference does not load it at run time.".into()))?;
    reference.fill(lab.workload())?;
    let mut hosts = [reference, ours];
    let twice: Vec<String> = words.iter().map(|w| crate::matrix::lab::shell(w)).collect();
    agree(&mut hosts, &twice.join(" "))?;
    agree(&mut hosts, "MODULE LIST")?;
    settle_all(&mut hosts, lab.workload())?;
    Ok("MODULE LOAD works on a server with data; a second one is refused as by the reference."
        .into())
}

/// With all others, before and after them.
pub fn together(lab: &Lab) -> Verdict {
    let own = lab.subject();
    let worth = |s: &&Subject| s.path != own.path && s.facts_for(lab).is_some();
    let others: Vec<&Subject> = lab.subjects.iter().filter(worth).collect();
    if others.is_empty() {
        return Err(Stop::NotApplicable("It is the only module of the list that loads.".into()));
    }
    let first = [vec![own], others.clone()].concat();
    let last = [others.clone(), vec![own]].concat();
    let mut compared = true;
    for order in [first, last] {
        let beside = lab
            .workload()
            .and_then(|w| w.beside)
            .filter(|(file, ..)| others.iter().any(|s| s.path.ends_with(format!("{file}.so"))));
        let start = |side| -> Result<Host, Stop> {
            let mut host = lab.start_in(side, fresh_dir()?, &order, &[])?;
            host.fill(lab.workload())?;
            host.all(beside.map_or(&[], |(_, fill, _)| fill))?;
            Ok(host)
        };
        let ours = match start(Side::Ours) {
            Err(Stop::Fails(why)) => match start(Side::Reference) {
                Err(Stop::NoReference(_)) if lab.setup.reference_server.is_some() => {
                    return Err(Stop::NotApplicable(format!(
                        "These modules cannot be loaded together on the reference either. {why}"
                    )));
                }
                _ => return Err(Stop::Fails(why)),
            },
            other => other?,
        };
        let mut hosts = match start(Side::Reference) {
            Ok(reference) => [reference, ours],
            Err(Stop::NoReference(_)) => {
                compared = false;
                continue;
            }
            Err(other) => return Err(other),
        };
        settle_all(&mut hosts, lab.workload())?;
        for line in beside.map_or(&[][..], |(_, _, reads)| reads) {
            settle(&mut hosts, line)?;
        }
    }
    let names: Vec<&str> = others.iter().map(|s| s.id.as_str()).collect();
    let text = format!("It works loaded before and after {}.", names.join(", "));
    match compared {
        true => Ok(text),
        false => Err(Stop::NoReference(text)),
    }
}

/// `MODULE UNLOAD`.
pub fn unload(lab: &Lab) -> Verdict {
    let name = lab.subject().known_facts().map(|f| f.name.clone()).unwrap_or_default();
    let mut ours = lab.start(Side::Ours, &[])?;
    let reply = ours.words(&["MODULE", "UNLOAD", &name]);
    let gone = compact(&reply) == "OK";
    if gone && find(&ours.ask("MODULE LIST"), &lab.subject().path).is_some() {
        return Err(Stop::Fails("MODULE LIST still shows it after MODULE UNLOAD.".into()));
    }
    let mut hosts = [lab.start(Side::Reference, &[])?, lab.start(Side::Ours, &[])?];
    agree(&mut hosts, &format!("MODULE UNLOAD {name}"))?;
    agree(&mut hosts, "MODULE LIST")?;
    agree(&mut hosts, &format!("MODULE UNLOAD {name}"))?;
    let words = [vec!["MODULE".to_string(), "LOAD".to_string()], lab.subject().words()].concat();
    let [reference, again] = hosts.each_mut().map(|host| host.words(&words));
    same("MODULE LOAD afterwards", &reference, &again)?;
    hosts[1].must("PING")?;
    Ok(match gone {
        true => {
            format!("It is unloaded; to MODULE LOAD afterwards the reply is {}.", compact(&again))
        }
        false => format!("Refused as by the reference: {}", compact(&reply)),
    })
}
