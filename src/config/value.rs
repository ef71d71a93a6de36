//! Values: from arguments to a typed value, and back to text.

use std::sync::Arc;

use super::enums::module_load;
use super::notify;
use super::rows::{Choices, Kind, Row, Special, Unit, MULTI_ARG};
use super::text::{c_str, format_percentile, parse_c_integer, parse_memory};
use super::valid;
use crate::keyspace::number::parse_i64;
use crate::module::{persona, sha256};

/// One `save` point: a snapshot after `seconds` if at least `changes` were made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SavePoint {
    /// Age of the last snapshot.
    pub seconds: i64,
    /// Writes since then.
    pub changes: i32,
}

/// Output buffer limits of one client class; zero means none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BufferLimit {
    /// Close the client at once above this many bytes.
    pub hard_bytes: u64,
    /// Close it when above this many bytes for `soft_seconds`.
    pub soft_bytes: u64,
    /// See `soft_bytes`.
    pub soft_seconds: i64,
}

/// Limits by class: normal, replica, pubsub.
pub type BufferLimits = [BufferLimit; 3];

/// Names of the classes of [`BufferLimits`], as `CONFIG GET` shows them.
pub const BUFFER_CLASSES: [&str; 3] = ["normal", "slave", "pubsub"];

/// The default of `client-output-buffer-limit`.
pub(super) const DEFAULT_LIMITS: BufferLimits = [
    BufferLimit { hard_bytes: 0, soft_bytes: 0, soft_seconds: 0 },
    BufferLimit { hard_bytes: 256 << 20, soft_bytes: 64 << 20, soft_seconds: 60 },
    BufferLimit { hard_bytes: 32 << 20, soft_bytes: 8 << 20, soft_seconds: 60 },
];

/// The default of `oom-score-adj-values`.
pub(super) const DEFAULT_OOM: [i32; 3] = [0, 200, 800];
/// The default of `bind`.
pub(super) const DEFAULT_BIND: [&str; 2] = ["*", "-::*"];
const DEFAULT_SAVE: [SavePoint; 3] = [
    SavePoint { seconds: 3600, changes: 1 },
    SavePoint { seconds: 300, changes: 100 },
    SavePoint { seconds: 60, changes: 10000 },
];
const MAX_BIND: usize = 16;

/// Where the primary is: the value of `replicaof`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Primary {
    /// Name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// A value of any directive.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Value {
    /// Switches, numbers, choices and event classes.
    Number(i64),
    Text(Option<Arc<[u8]>>),
    Dir(Vec<u8>),
    Save(Arc<[SavePoint]>),
    Limits(Arc<BufferLimits>),
    Oom([i32; 3]),
    Bind(Arc<[String]>),
    Primary(Option<Arc<Primary>>),
    Percentiles(Arc<[f64]>),
    Personas(Arc<[persona::Entry]>),
    Hashes(Arc<[[u8; 32]]>),
}

/// The value a directive has when nobody sets it.
pub(super) fn default_of(row: &Row) -> Value {
    match row.kind {
        Kind::Switch { default } => Value::Number(i64::from(default)),
        Kind::Number { default, .. } if row.name == "server-threads" && default == 0 => {
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            Value::Number(cores.clamp(1, 128) as i64)
        }
        Kind::Number { default, .. } | Kind::Choice { default, .. } => Value::Number(default),
        Kind::Text { default, .. } => Value::Text(default.map(|text| text.as_bytes().into())),
        Kind::Special(special) => match special {
            Special::Dir => Value::Dir(Vec::new()),
            Special::Save => Value::Save(Arc::new(DEFAULT_SAVE)),
            Special::ClientOutputBufferLimit => Value::Limits(Arc::new(DEFAULT_LIMITS)),
            Special::OomScoreAdjValues => Value::Oom(DEFAULT_OOM),
            Special::NotifyKeyspaceEvents => Value::Number(0),
            Special::Bind => Value::Bind(DEFAULT_BIND.map(str::to_owned).into()),
            Special::ReplicaOf => Value::Primary(None),
            Special::LatencyPercentiles => Value::Percentiles(Arc::new([50.0, 99.0, 99.9])),
            Special::ModulePersona => Value::Personas(Arc::new([])),
            Special::ModuleAllowSha256 => Value::Hashes(Arc::new([])),
        },
    }
}

/// Turns arguments into a value, or says why not in the reference's words. `current` is the value that a partial setting
/// (some classes of `client-output-buffer-limit`) completes.
pub(super) fn parse(row: &Row, args: &[Vec<u8>], current: &Value) -> Result<Value, String> {
    let first = args.first().map_or(&[][..], |arg| arg.as_slice());
    match row.kind {
        Kind::Switch { .. } => match first {
            yes if yes.eq_ignore_ascii_case(b"yes") => Ok(Value::Number(1)),
            no if no.eq_ignore_ascii_case(b"no") => Ok(Value::Number(0)),
            _ => Err("argument must be 'yes' or 'no'".to_owned()),
        },
        Kind::Number { unit, min, max, .. } => {
            let number = parse_number(first, unit, min, max)?;
            // Any frequency is accepted and brought into range.
            Ok(Value::Number(if row.name == "hz" { number.clamp(1, 500) } else { number }))
        }
        Kind::Text { default, binary, check } => {
            if let Some(check) = check {
                check(first)?;
            }
            let text = if binary { first } else { c_str(first) };
            let unset = text.is_empty() && default.is_none();
            Ok(Value::Text((!unset).then(|| text.into())))
        }
        Kind::Choice { choices, .. } => {
            let number = parse_choice(args, choices, row.has(MULTI_ARG))?;
            if row.has(MULTI_ARG) {
                valid::shutdown_flags(number)?;
            }
            if row.name == "module-load"
                && *current == Value::Number(module_load::SEALED)
                && number != module_load::SEALED
            {
                return Err("sealed is sealed: only a restart opens it again".into());
            }
            Ok(Value::Number(number))
        }
        Kind::Special(special) => parse_special(special, args, current),
    }
}

fn parse_number(text: &[u8], unit: Unit, min: i64, max: u64) -> Result<i64, String> {
    let percent = || match text {
        [digits @ .., b'%'] => parse_i64(digits).filter(|n| *n >= 0).map(|n| -n),
        _ => None,
    };
    let parsed: Result<i128, &str> = match unit {
        Unit::Integer => {
            parse_i64(text).map(i128::from).ok_or("argument couldn't be parsed into an integer")
        }
        Unit::Memory => parse_memory(text).map(i128::from).ok_or("argument must be a memory value"),
        Unit::MemoryOrPercent => parse_memory(text)
            .map(|bytes| bytes as i64)
            .or_else(percent)
            .map(i128::from)
            .ok_or("argument must be a memory or percent value"),
        Unit::Octal => parse_c_integer(text, 8, true)
            .map(i128::from)
            .ok_or("argument couldn't be parsed as an octal number"),
    };
    let number = parsed?;
    check_range(number, unit, min, max)?;
    Ok(number as i64)
}

/// Whether a number lies between the limits of its row.
pub fn check_range(number: i128, unit: Unit, min: i64, max: u64) -> Result<(), String> {
    if unit == Unit::MemoryOrPercent && number < 0 {
        if number < i128::from(min) {
            return Err(format!("percentage argument must be less or equal to {}", -min));
        }
    } else if number < i128::from(min) || number > i128::from(max) {
        return Err(if unit == Unit::Octal {
            format!("argument must be between {min:o} and {max:o} inclusive")
        } else {
            format!("argument must be between {min} and {max} inclusive")
        });
    }
    Ok(())
}

fn parse_choice(args: &[Vec<u8>], choices: Choices, many: bool) -> Result<i64, String> {
    let named = |arg: &Vec<u8>| {
        choices.iter().find(|c| c.0.as_bytes().eq_ignore_ascii_case(arg)).map(|c| c.1)
    };
    let wrong_count = args.is_empty() || (!many && args.len() != 1);
    let number = if wrong_count {
        None
    } else {
        args.iter().try_fold(0, |bits, arg| Some(bits | named(arg)?))
    };
    number.ok_or_else(|| {
        let names: Vec<&str> = choices.iter().map(|c| c.0).collect();
        format!("argument(s) must be one of the following: {}", names.join(", "))
    })
}

fn parse_special(special: Special, args: &[Vec<u8>], current: &Value) -> Result<Value, String> {
    const WRONG_NUMBER: &str = "wrong number of arguments";
    // One empty argument stands for an empty list.
    let list = if matches!(args, [only] if only.is_empty()) { &[][..] } else { args };
    match special {
        Special::Dir => match args {
            [dir] => Ok(Value::Dir(c_str(dir).to_vec())),
            _ => Err(WRONG_NUMBER.to_owned()),
        },
        Special::Save => parse_save(list).map(Value::Save).ok_or("Invalid save parameters".into()),
        Special::ClientOutputBufferLimit => {
            let Value::Limits(current) = current else { return Err(WRONG_NUMBER.to_owned()) };
            Ok(Value::Limits(Arc::new(parse_limits(args, **current)?)))
        }
        Special::OomScoreAdjValues => parse_oom(args).map(Value::Oom),
        Special::NotifyKeyspaceEvents => match args {
            [letters] => notify::parse_events(c_str(letters))
                .map(|flags| Value::Number(i64::from(flags)))
                .ok_or("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.".into()),
            _ => Err(WRONG_NUMBER.to_owned()),
        },
        Special::Bind => {
            if args.len() > MAX_BIND {
                return Err("Too many bind addresses specified.".to_owned());
            }
            Ok(Value::Bind(list.iter().map(|a| lossy(c_str(a))).collect()))
        }
        Special::ReplicaOf => match args {
            [no, one] if no.eq_ignore_ascii_case(b"no") && one.eq_ignore_ascii_case(b"one") => {
                Ok(Value::Primary(None))
            }
            [host, port] => {
                let port = parse_c_integer(port, 10, false)
                    .and_then(|port| u16::try_from(port).ok())
                    .ok_or("Invalid master port")?;
                Ok(Value::Primary(Some(Arc::new(Primary { host: lossy(host), port }))))
            }
            _ => Err(WRONG_NUMBER.to_owned()),
        },
        Special::LatencyPercentiles => list
            .iter()
            .map(|arg| parse_percentile(arg))
            .collect::<Result<_, _>>()
            .map(Value::Percentiles),
        Special::ModulePersona => parse_personas(list).map(Value::Personas),
        Special::ModuleAllowSha256 => list
            .iter()
            .map(|arg| sha256::parse(arg).ok_or("a SHA-256 has 64 hexadecimal digits".to_owned()))
            .collect::<Result<_, _>>()
            .map(Value::Hashes),
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn parse_save(args: &[Vec<u8>]) -> Option<Arc<[SavePoint]>> {
    if args.len() % 2 != 0 {
        return None;
    }
    args.chunks(2)
        .map(|pair| {
            let seconds = parse_c_integer(&pair[0], 10, false).filter(|n| *n >= 1)?;
            let changes = parse_c_integer(&pair[1], 10, false).filter(|n| *n >= 0)?;
            Some(SavePoint { seconds, changes: changes as i32 })
        })
        .collect()
}

fn parse_limits(args: &[Vec<u8>], mut limits: BufferLimits) -> Result<BufferLimits, String> {
    if args.len() % 4 != 0 {
        return Err("Wrong number of arguments in buffer limit configuration.".to_owned());
    }
    for group in args.chunks(4) {
        let class = match group[0].to_ascii_lowercase().as_slice() {
            b"normal" => 0,
            b"slave" | b"replica" => 1,
            b"pubsub" => 2,
            _ => return Err("Invalid client class specified in buffer limit configuration.".into()),
        };
        let numbers = (
            parse_memory(&group[1]),
            parse_memory(&group[2]),
            parse_c_integer(&group[3], 10, false).map(|n| n as i32).filter(|n| *n >= 0),
        );
        let (Some(hard_bytes), Some(soft_bytes), Some(seconds)) = numbers else {
            return Err(
                "Error in hard, soft or soft_seconds setting in buffer limit configuration."
                    .to_owned(),
            );
        };
        limits[class] = BufferLimit { hard_bytes, soft_bytes, soft_seconds: i64::from(seconds) };
    }
    Ok(limits)
}

/// What two lines of a file make together, for directives whose lines add up. An empty line forgets the ones before.
pub(super) fn added(before: &Value, line: &Value, args: &[Vec<u8>]) -> Option<Value> {
    match (before, line) {
        _ if matches!(args, [only] if only.is_empty()) => None,
        (Value::Personas(old), Value::Personas(new)) => {
            let kept = old.iter().filter(|(name, _)| persona::of_name(new, name).is_none());
            Some(Value::Personas(kept.chain(new.iter()).cloned().collect()))
        }
        (Value::Hashes(old), Value::Hashes(new)) => {
            let kept = old.iter().filter(|hash| !new.contains(hash));
            Some(Value::Hashes(kept.chain(new.iter()).copied().collect()))
        }
        _ => None,
    }
}

fn parse_personas(args: &[Vec<u8>]) -> Result<Arc<[persona::Entry]>, String> {
    if args.len() % 2 != 0 {
        return Err("a module's name and a version are needed, as in 'search 8.4.0'".into());
    }
    let mut entries: Vec<persona::Entry> = Vec::new();
    for pair in args.chunks(2) {
        let (name, version) = (lossy(&pair[0]), lossy(&pair[1]));
        let persona = persona::Persona::parse(&version).ok_or(
            "a version is written as '8.4.0', 'redis-8.4.0' or 'valkey-8.0.1', each number up to 255",
        )?;
        entries.retain(|(known, _)| !known.eq_ignore_ascii_case(&name));
        entries.push((name, persona));
    }
    Ok(entries.into())
}

fn parse_oom(args: &[Vec<u8>]) -> Result<[i32; 3], String> {
    let Ok(args): Result<&[Vec<u8>; 3], _> = args.try_into() else {
        return Err("wrong number of arguments".to_owned());
    };
    let mut values = [0; 3];
    for (value, arg) in values.iter_mut().zip(args) {
        *value = parse_c_integer(arg, 10, false)
            .filter(|n| (-2000..=2000).contains(n))
            .ok_or("Invalid oom-score-adj-values, elements must be between -2000 and 2000.")?
            as i32;
    }
    Ok(values)
}

fn parse_percentile(arg: &[u8]) -> Result<f64, String> {
    match crate::keyspace::number::parse_f64(arg) {
        Some(n) if (0.0..=100.0).contains(&n) => Ok(n),
        Some(_) => {
            Err("latency-tracking-info-percentiles parameters should sit between [0.0,100.0]"
                .into())
        }
        None => Err("Invalid latency-tracking-info-percentiles parameters".into()),
    }
}

/// The text of a value in `CONFIG GET`.
pub(super) fn format(row: &Row, value: &Value) -> Vec<u8> {
    match value {
        Value::Number(number) => format_number(row, *number).into_bytes(),
        Value::Text(text) => text.as_deref().unwrap_or_default().to_vec(),
        Value::Dir(dir) => dir.clone(),
        Value::Save(points) => join(points.iter().map(|p| format!("{} {}", p.seconds, p.changes))),
        Value::Limits(limits) => {
            join(BUFFER_CLASSES.iter().zip(limits.iter()).map(|(class, l)| {
                format!("{class} {} {} {}", l.hard_bytes, l.soft_bytes, l.soft_seconds)
            }))
        }
        Value::Oom(values) => join(values.iter().map(i32::to_string)),
        Value::Bind(addresses) => join(addresses.iter().cloned()),
        Value::Primary(None) => Vec::new(),
        Value::Primary(Some(primary)) => format!("{} {}", primary.host, primary.port).into_bytes(),
        Value::Personas(list) => join(list.iter().map(|(name, p)| format!("{name} {p}"))),
        Value::Hashes(list) => join(list.iter().map(sha256::hex)),
        Value::Percentiles(list) => join(list.iter().map(|p| format_percentile(*p))),
    }
}

fn join(parts: impl Iterator<Item = String>) -> Vec<u8> {
    parts.collect::<Vec<_>>().join(" ").into_bytes()
}

fn format_number(row: &Row, number: i64) -> String {
    match row.kind {
        Kind::Switch { .. } => if number != 0 { "yes" } else { "no" }.to_owned(),
        Kind::Number { unit: Unit::MemoryOrPercent, .. } if number < 0 => format!("{}%", -number),
        Kind::Number { unit: Unit::Memory | Unit::MemoryOrPercent, .. } => {
            (number as u64).to_string()
        }
        Kind::Number { unit: Unit::Octal, .. } => format!("{number:o}"),
        Kind::Choice { choices, .. } => choice_name(choices, number, row.has(MULTI_ARG)),
        Kind::Special(Special::NotifyKeyspaceEvents) => notify::format_events(number as u32),
        _ => number.to_string(),
    }
}

/// The name of an enumerated value, or its names if it is a set of bits; "unknown" if there is none.
pub fn choice_name(choices: Choices, number: i64, many: bool) -> String {
    if let Some(choice) = choices.iter().find(|c| c.1 == number) {
        return choice.0.to_owned();
    }
    let mut rest = number;
    let mut names = Vec::new();
    for (name, bits) in choices.iter().filter(|c| many && c.1 != 0) {
        if rest & bits == *bits {
            names.push(*name);
            rest &= !bits;
        }
    }
    if names.is_empty() || rest != 0 {
        return "unknown".to_owned();
    }
    names.join(" ")
}
