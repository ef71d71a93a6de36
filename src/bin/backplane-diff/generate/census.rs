//! The whole keyspace of both servers, read type by type and compared.
use super::pair::{Cmd, Difference, Kind, Pair, Scene};
use crate::compare::Rule;
use backplane::client::resp::Reply;

/// Databases that commands reach.
const DATABASES: usize = 4;
/// What relative times may differ by: the two servers do not run a command in the same millisecond.
pub const DRIFT_MS: f64 = 20_000.0;

/// Reads every key of every database; with `dumps`, also what `RESTORE` makes of the other side's `DUMP`.
pub fn compare(
    pair: &mut Pair,
    scene: Scene,
    done: usize,
    dumps: bool,
) -> Result<(), Box<Difference>> {
    let size = if scene.past { vec![Rule::Kind] } else { Vec::new() };
    // Whatever the sequence left open (a transaction, a protocol) ends here.
    send(
        pair,
        done,
        &[Cmd::with(&["RESET"], Vec::new()), Cmd::with(&["HELLO", "3"], vec![Rule::Kind])],
    )?;
    for db in 0..DATABASES {
        let select = Cmd::new(&["SELECT".to_string(), db.to_string()]);
        let keys = Cmd::with(&["KEYS", "*"], vec![Rule::Unordered]);
        let found = send(pair, done, &[select, keys, Cmd::with(&["DBSIZE"], size.clone())]);
        let found = found?.remove(1);
        let [Reply::Many(_, found), _] = found else { continue };
        let mut names: Vec<Vec<u8>> =
            found.iter().filter_map(Reply::text).map(<[u8]>::to_vec).collect();
        names.sort();
        let types: Vec<Cmd> = names.iter().map(|key| Cmd::new(&[b"TYPE", &key[..]])).collect();
        let types = send(pair, done, &types)?;
        for (key, types) in names.iter().zip(&types) {
            let Some(sort) = types[0].text() else { continue };
            read(pair, done, key, sort)?;
            if dumps {
                cross(pair, done, key, sort)?;
            }
        }
    }
    Ok(())
}

fn send(pair: &mut Pair, done: usize, cmds: &[Cmd]) -> Result<Vec<[Reply; 2]>, Box<Difference>> {
    let list: Vec<&Cmd> = cmds.iter().collect();
    let all = pair.replies(&list);
    for (cmd, replies) in cmds.iter().zip(&all) {
        if let Err(why) = cmd.compare(&replies[0], &replies[1]) {
            let (cmd, replies) = (cmd.clone(), replies.clone());
            return Err(Box::new(Difference { kind: Kind::Census, at: done, cmd, why, replies }));
        }
    }
    Ok(all)
}

/// Compares one key.
fn read(pair: &mut Pair, done: usize, key: &[u8], sort: &[u8]) -> Result<(), Box<Difference>> {
    let mut cmds = vec![
        Cmd::new::<&[u8]>(&[b"OBJECT", b"ENCODING", key]),
        Cmd::with(&[b"PEXPIRETIME", key], vec![Rule::Near(DRIFT_MS)]),
    ];
    let unordered = || vec![Rule::Unordered];
    match sort {
        b"string" => cmds.push(Cmd::new(&[b"GET", key])),
        b"list" => cmds.push(Cmd::new(&[b"LRANGE", key, b"0", b"-1"])),
        b"set" => {
            cmds.push(Cmd::with(&[b"SMEMBERS", key], unordered()));
            cmds.push(Cmd::new(&[b"SCARD", key]));
        }
        b"zset" => {
            cmds.push(Cmd::new(&[b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"]));
            cmds.push(Cmd::new(&[b"ZCARD", key]));
        }
        b"hash" => {
            cmds.push(Cmd::with(&[b"HGETALL", key], unordered()));
            cmds.push(Cmd::new(&[b"HLEN", key]));
        }
        b"stream" => {
            cmds.push(Cmd::new(&[b"XRANGE", key, b"-", b"+"]));
            // Times of deliveries stand in it without names: a tiny relative difference of large numbers is drift.
            let rules = vec![Rule::Float(DRIFT_MS / 1.7e12)];
            cmds.push(Cmd::with::<&[u8]>(
                &[b"XINFO", b"STREAM", key, b"FULL", b"COUNT", b"0"],
                rules,
            ));
        }
        _ => {}
    }
    let replies = send(pair, done, &cmds)?;
    if sort != b"hash" {
        return Ok(());
    }
    let Some([Reply::Many(_, items), _]) = replies.get(2) else { return Ok(()) };
    let fields: Vec<&[u8]> = items.iter().step_by(2).filter_map(Reply::text).collect();
    if fields.is_empty() {
        return Ok(());
    }
    let count = fields.len().to_string().into_bytes();
    let mut args: Vec<&[u8]> = vec![b"HPEXPIRETIME", key, b"FIELDS", &count];
    args.extend(&fields);
    send(pair, done, &[Cmd::with(&args, vec![Rule::Near(DRIFT_MS)])])?;
    Ok(())
}

/// Restores each side's dump of a key on the other side and compares what becomes of it.
fn cross(pair: &mut Pair, done: usize, key: &[u8], sort: &[u8]) -> Result<(), Box<Difference>> {
    let dump = Cmd::with(&[b"DUMP", key], vec![Rule::Kind]);
    let dumps = send(pair, done, &[dump])?;
    let [Some(a), Some(b)] = [dumps[0][0].text(), dumps[0][1].text()] else { return Ok(()) };
    for (name, payload) in [("__a", a), ("__b", b)] {
        let name = name.as_bytes();
        send(pair, done, &[Cmd::new(&[b"RESTORE", name, b"0", payload])])?;
        read(pair, done, name, sort)?;
    }
    send(pair, done, &[Cmd::new(&["DEL", "__a", "__b"])])?;
    Ok(())
}
