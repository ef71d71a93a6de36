//! Files that one server writes and another reads.
use crate::matrix::lab::{Host, Lab, Side, Stop, Verdict};

/// Starts a server of a side on what `from` left under `name`.
fn heir(lab: &Lab, side: Side, from: &Host, name: &str, args: &[&str]) -> Result<Host, Stop> {
    let dir = from.hand_over(name)?;
    lab.start_in(side, dir, &[lab.subject()], args)
}

/// `SAVE` on one, start of the other on its file, both ways round.
pub fn rdb(lab: &Lab) -> Verdict {
    let w = lab.workload();
    let filled = |side| -> Result<Host, Stop> {
        let mut host = lab.start(side, &[])?;
        host.fill(w)?;
        host.all(w.map_or(&[], |w| w.more))?;
        Ok(host)
    };
    let mut ours = filled(Side::Ours)?;
    // What is seen after a load is compared with what was seen before the file was written.
    let before = ours.picture(w)?;
    ours.must("SAVE")?;
    heir(lab, Side::Ours, &ours, "dump.rdb", &[])?.shows(&before, "from our file")?;
    let mut there = heir(lab, Side::Reference, &ours, "dump.rdb", &[])?;
    drop(ours);
    there.shows(&before, "from our file")?;
    there.must("SAVE")?;
    let mut back = heir(lab, Side::Ours, &there, "dump.rdb", &[])?;
    drop(there);
    back.shows(&before, "from the file that the reference wrote of ours")?;
    drop(back);
    let mut reference = filled(Side::Reference)?;
    let before = reference.picture(w)?;
    reference.must("SAVE")?;
    let mut here = heir(lab, Side::Ours, &reference, "dump.rdb", &[])?;
    drop(reference);
    here.shows(&before, "from the reference's file")?;
    here.must("SAVE")?;
    heir(lab, Side::Reference, &here, "dump.rdb", &[])?
        .shows(&before, "from the file that we wrote of the reference's")?;
    Ok(format!(
        "{} replies are the same after each of 5 loads, to and fro.{}",
        before.len(),
        unknown(lab)
    ))
}

fn unknown(lab: &Lab) -> &'static str {
    match lab.workload() {
        Some(_) => "",
        None => " (The server's own types only: nobody has described this module's.)",
    }
}

/// Fills, rewrites, writes on, and starts again on the log.
fn logged(lab: &Lab, side: Side, args: &[&str]) -> Result<Host, Stop> {
    let w = lab.workload();
    let mut host = lab.start(side, args)?;
    host.fill(w)?;
    host.must("BGREWRITEAOF")?;
    host.until("persistence", "aof_rewrite_scheduled", "0")?;
    host.until("persistence", "aof_rewrite_in_progress", "0")?;
    let status = host.info("persistence", "aof_last_bgrewrite_status");
    if status != "ok" {
        return Err(Stop::Fails(format!("BGREWRITEAOF ends with {status}")));
    }
    host.all(w.map_or(&[], |w| w.more))?;
    host.must("SET native:after rewrite")?;
    Ok(host)
}

/// `BGREWRITEAOF`, more writes, another start.
pub fn aof(lab: &Lab) -> Verdict {
    let w = lab.workload();
    let mut replies = 0;
    let mut alone = None;
    let mut remark = "";
    for preamble in ["yes", "no"] {
        let args =
            ["--appendonly", "yes", "--appendfsync", "always", "--aof-use-rdb-preamble", preamble];
        let mut ours = match (logged(lab, Side::Ours, &args), preamble) {
            (Ok(ours), _) => ours,
            // Some modules refuse to do without a preamble, on the reference as well.
            (Err(Stop::Fails(why)), "no") => match logged(lab, Side::Reference, &args) {
                Ok(_) => return Err(Stop::Fails(format!("without an RDB preamble: {why}"))),
                Err(_) => {
                    remark = " Without an RDB preamble it works neither here nor on the reference.";
                    continue;
                }
            },
            (Err(other), _) => return Err(other),
        };
        let before = ours.picture(w)?;
        ours.kill_and_revive()?;
        if preamble == "yes" {
            ours.shows(&before, "from our log")?;
        }
        let mut reference = match logged(lab, Side::Reference, &args) {
            Ok(reference) => reference,
            Err(stop @ Stop::NoReference(_)) => {
                alone = Some(stop);
                continue;
            }
            // A module that ends the reference's rewrite may get through one here.
            Err(Stop::Fails(_)) if preamble == "no" => {
                ours.shows(&before, "from our log without an RDB preamble")?;
                remark =
                    " Without an RDB preamble it works here; on the reference the rewrite fails.";
                continue;
            }
            Err(other) => return Err(other),
        };
        // Without a preamble not every module can say all that it has: what the reference finds again counts.
        reference.kill_and_revive()?;
        let after = settled(&mut reference, w)?;
        ours.shows(&after, &format!("from our log (preamble {preamble})"))?;
        let after = settled(&mut ours, w)?;
        heir(lab, Side::Reference, &ours, "appendonlydir", &args)?
            .shows(&after, &format!("from our log (preamble {preamble})"))?;
        heir(lab, Side::Ours, &reference, "appendonlydir", &args)?
            .shows(&after, &format!("from the reference's log (preamble {preamble})"))?;
        replies += after.len();
    }
    match alone {
        Some(stop) => Err(stop),
        None => Ok(format!(
            "{replies} replies are the same from logs of either server on either.{remark}{}",
            unknown(lab)
        )),
    }
}

/// The picture when it has stopped changing.
fn settled(
    host: &mut Host,
    w: Option<&crate::matrix::workload::Workload>,
) -> Result<crate::matrix::lab::Picture, Stop> {
    let mut last = host.picture(w)?;
    for _ in 0..100 {
        std::thread::sleep(std::time::Duration::from_millis(200));
        let next = host.picture(w)?;
        if next == last {
            return Ok(next);
        }
        last = next;
    }
    Err(Stop::Fails("what it replies does not come to rest".into()))
}
