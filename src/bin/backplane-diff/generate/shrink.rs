//! From a long sequence that fails to a short one that fails in the same way, printed as a script.
use super::census;
use super::pair::{Cmd, Difference, Group, Kind, Pair, Scene};
use crate::compare::Rule;
use backplane::client::resp::{compact, quoted};

/// Replays of one failure at most.
const REPLAYS: usize = 400;

/// Plays a sequence on empty servers; the first difference of the wanted kind, if any.
pub fn replay(
    pair: &mut Pair,
    scene: Scene,
    groups: &[Group],
    kind: &Kind,
) -> Result<(), Box<Difference>> {
    if pair.prepare(scene).is_err() {
        // A server that hangs or died is started anew, and the sequence gets its second chance.
        pair.forget();
        if let Err(why) = pair.prepare(scene) {
            panic!("the servers cannot be prepared: {why}");
        }
    }
    let result = pair.run(groups, 0);
    let done = groups.len();
    let result = match (kind, result) {
        (_, Err(found)) => Err(found),
        (Kind::Reply, Ok(())) => Ok(()),
        (Kind::Events, Ok(())) => pair.compare_events(groups, done),
        (Kind::Changes, Ok(())) => pair.compare_changes(done),
        (Kind::Census, Ok(())) => census::compare(pair, scene, done, true),
    };
    if let Err(found) = &result {
        if found.why.contains("no reply in time") {
            pair.forget();
        }
    }
    result
}

/// The smallest failing sequence that is found in a bounded number of replays, and its difference; `None` where the
/// failure does not come back.
pub fn shrink(
    pair: &mut Pair,
    scene: Scene,
    groups: &[Group],
    first: &Difference,
) -> Option<(Vec<Group>, Box<Difference>)> {
    let mut left = REPLAYS;
    let mut fails = |pair: &mut Pair, groups: &[Group]| -> Option<Box<Difference>> {
        left = left.checked_sub(1)?;
        let found = replay(pair, scene, groups, &first.kind).err()?;
        (found.kind == first.kind && found.cmd.name() == first.cmd.name()).then_some(found)
    };
    let mut kept = groups.to_vec();
    let mut found = fails(pair, &kept)?;
    kept.truncate(if found.kind == Kind::Reply { found.at + 1 } else { kept.len() });
    let mut size = kept.len().div_ceil(2);
    while size >= 1 {
        let (mut at, mut shorter) = (0, false);
        while at < kept.len() && kept.len() > 1 {
            let end = (at + size).min(kept.len());
            let mut fewer = kept.clone();
            fewer.drain(at..end);
            match fails(pair, &fewer) {
                Some(difference) => {
                    fewer.truncate(match difference.kind {
                        Kind::Reply => difference.at + 1,
                        _ => fewer.len(),
                    });
                    (kept, found, shorter) = (fewer, difference, true);
                }
                None => at = end,
            }
        }
        if size == 1 && !shorter {
            break;
        }
        size = if size == 1 { 1 } else { size.div_ceil(2).min(size - 1) };
    }
    // Fewer words in each command.
    for group in 0..kept.len() {
        for cmd in 0..kept[group].len() {
            let mut word = 1;
            while word < kept[group][cmd].args.len() && kept[group][cmd].args.len() > 3 {
                let mut fewer = kept.clone();
                fewer[group][cmd].args.remove(word);
                match fails(pair, &fewer) {
                    Some(difference) if difference.sort() == found.sort() => {
                        (kept, found) = (fewer, difference);
                    }
                    _ => word += 1,
                }
            }
        }
    }
    Some((kept, found))
}

fn words(args: &[Vec<u8>]) -> String {
    let plain = |arg: &Vec<u8>| {
        !arg.is_empty() && arg.iter().all(|b| b.is_ascii_graphic() && !b"\"'\\".contains(b))
    };
    let one = |arg: &Vec<u8>| match plain(arg) {
        true => String::from_utf8_lossy(arg).into_owned(),
        false => quoted(arg),
    };
    args.iter().map(one).collect::<Vec<_>>().join(" ")
}

/// A normalisation as it stands in a script.
fn directive(rule: &Rule) -> String {
    match rule {
        Rule::Ignore => "@ignore".into(),
        Rule::Kind => "@kind".into(),
        Rule::TypeOnly => "@type-only".into(),
        Rule::Unordered => "@unordered".into(),
        Rule::UnorderedDeep => "@unordered-deep".into(),
        Rule::UnorderedAt(n) => format!("@unordered-at {n}"),
        Rule::Pairs => "@pairs".into(),
        Rule::PairsAt(n) => format!("@pairs-at {n}"),
        Rule::Mask(names) => format!("@mask {}", names.join(",")),
        Rule::MaskAt(n) => format!("@mask-at {n}"),
        Rule::Fields(names) => format!("@fields {}", names.join(",")),
        Rule::Values(names) => format!("@values {}", names.join(",")),
        Rule::Bag => "@bag".into(),
        Rule::Digits => "@digits".into(),
        Rule::Stats => "@stats".into(),
        Rule::Float(by) => format!("@float {by}"),
        Rule::Near(by) => format!("@near {by}"),
        Rule::Like(glob) => format!("@like {}", quoted(glob.as_bytes())),
    }
}

fn line(cmd: &Cmd) -> String {
    let mut parts: Vec<String> = cmd.rules.iter().map(directive).collect();
    if !cmd.exec.is_empty() {
        parts.push("@unordered-deep".into());
    }
    parts.push(words(&cmd.args));
    parts.join(" ")
}

/// The script of a failing sequence, in the language of `backplane-diff`.
pub fn script(scene: Scene, groups: &[Group], found: &Difference) -> String {
    let mut out = String::new();
    let mut say = |text: &str| {
        out.push_str(text);
        out.push('\n');
    };
    say("DEBUG SET-ACTIVE-EXPIRE 0");
    if scene.events && found.kind == Kind::Events {
        say("CONFIG SET notify-keyspace-events KEAnm");
        say("@conn events\nPSUBSCRIBE __key*\n@conn main");
    }
    if scene.resp == 3 {
        say("@resp3");
    }
    groups.iter().flatten().for_each(|cmd| say(&line(cmd)));
    match found.kind {
        Kind::Reply => {}
        Kind::Events => say("@conn events\n@events"),
        Kind::Changes => say("@values rdb_changes_since_last_save INFO persistence"),
        Kind::Census => say(&line(&found.cmd)),
    }
    let short = |text: String| match text.char_indices().nth(800) {
        Some((cut, _)) => format!("{}...", &text[..cut]),
        None => text,
    };
    say(&format!("# {}: {}", found.cmd.name(), short(found.why.clone())));
    for (name, reply) in ["A", "B"].iter().zip(&found.replies) {
        say(&format!("# {name} {}", short(compact(reply))));
    }
    out
}
