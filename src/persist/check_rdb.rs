//! `backplane check-rdb FILE` (`redis-check-rdb`): reads a snapshot as the server would, without one, and says on standard
//! output what it finds.
use crate::config::Config;
use crate::keyspace::value::Value;
use crate::observe::clock::now_ms;
use crate::snapshot::{module_io, opcode, types, Decoder, Limits, RdbError, Reader, VERSION};
use std::fs::File;

/// The names of the types of values, by number.
const TYPE_NAMES: [&str; 26] = [
    "string",
    "list-linked",
    "set-hashtable",
    "zset-v1",
    "hash-hashtable",
    "zset-v2",
    "module-pre-release",
    "module-value",
    "",
    "hash-zipmap",
    "list-ziplist",
    "set-intset",
    "zset-ziplist",
    "hash-ziplist",
    "quicklist",
    "stream",
    "hash-listpack",
    "zset-listpack",
    "quicklist-v2",
    "stream-v2",
    "set-listpack",
    "stream-v3",
    "hash-hashtable-md-pre-release",
    "hash-listpack-md-pre-release",
    "hash-hashtable-md",
    "hash-listpack-md",
];

/// What was found so far.
#[derive(Default)]
struct State {
    doing: &'static str,
    key: Option<Vec<u8>>,
    key_type: Option<u8>,
    keys: u64,
    expires: u64,
    already_expired: u64,
    subexpires: u64,
}

impl State {
    fn figures(&self) {
        println!("[info] {} keys read", self.keys);
        println!("[info] {} expires", self.expires);
        println!("[info] {} already expired", self.already_expired);
        println!("[info] {} subexpires", self.subexpires);
    }

    fn error(&self, at: u64, message: &str) {
        println!("--- RDB ERROR DETECTED ---");
        println!("[offset {at}] {message}");
        println!("[additional info] While doing: {}", self.doing);
        if let Some(key) = &self.key {
            println!("[additional info] Reading key '{}'", String::from_utf8_lossy(key));
        }
        if let Some(ty) = self.key_type {
            let name = TYPE_NAMES.get(usize::from(ty)).unwrap_or(&"unknown");
            println!("[additional info] Reading type {ty} ({name})");
        }
        self.figures();
    }
}

fn info(r: &Reader<'_>, message: impl std::fmt::Display) {
    println!("[offset {}] {message}", r.position());
}

/// Checks a file. Returns where the snapshot in it ends; `None` if it is not sound, or not there.
pub fn check(name: &str, file: std::io::Result<File>) -> Option<u64> {
    println!("[offset 0] Checking RDB file {name}");
    let mut r = Reader::of_file(file.ok()?, true).ok()?;
    let mut state = State { doing: "start", ..State::default() };
    match read(&mut r, &mut state) {
        Ok(()) => {
            info(&r, "\\o/ RDB looks OK! \\o/");
            state.figures();
            Some(r.position())
        }
        Err(e) => {
            let cause = match &e {
                RdbError::Corrupt { cause, .. } => cause.as_ref(),
                RdbError::EmptyKey | RdbError::Io(_) => "Unexpected EOF reading RDB file",
            };
            state.error(r.position(), cause);
            None
        }
    }
}

fn read(r: &mut Reader<'_>, state: &mut State) -> crate::snapshot::Result<()> {
    let magic: [u8; 9] = r.array()?;
    if &magic[..5] != b"REDIS" {
        return Err(r.corrupt("Wrong signature trying to load DB from file"));
    }
    let digits = std::str::from_utf8(&magic[5..]).unwrap_or_default();
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let version: u32 = digits[..end].parse().unwrap_or(0);
    if !(1..=VERSION).contains(&version) {
        return Err(r.corrupt(format!("Can't handle RDB format version {version}")));
    }
    let limits = Limits::of(&Config::new());
    let now = now_ms();
    let mut expire = None;
    loop {
        state.doing = "read-type";
        let ty = r.byte()?;
        match ty {
            opcode::EOF => break,
            opcode::EXPIRETIME => {
                state.doing = "read-expire";
                expire = Some(i64::from(i32::from_le_bytes(r.array()?)) * 1000);
            }
            opcode::EXPIRETIME_MS => {
                state.doing = "read-expire";
                expire = Some(r.millis()?);
            }
            opcode::FREQ => {
                r.byte()?;
            }
            opcode::IDLE => {
                r.number()?;
            }
            opcode::SELECTDB => {
                state.doing = "read-len";
                let db = r.number()?;
                info(r, format_args!("Selecting DB ID {db}"));
            }
            opcode::RESIZEDB => {
                state.doing = "read-len";
                r.number()?;
                r.number()?;
            }
            opcode::SLOT_INFO => {
                for _ in 0..3 {
                    r.number()?;
                }
            }
            opcode::AUX => {
                state.doing = "read-aux";
                let (name, value) = (r.string()?, r.string()?);
                let text = |t: &[u8]| String::from_utf8_lossy(t).into_owned();
                info(r, format_args!("AUX FIELD {} = '{}'", text(&name), text(&value)));
            }
            opcode::MODULE_AUX => {
                state.doing = "read-module-aux";
                let (id, kind, _when) = (r.number()?, r.number()?, r.number()?);
                if kind != module_io::UINT {
                    return Err(r.corrupt("bad when_opcode"));
                }
                info(
                    r,
                    format_args!("MODULE AUX for: {}", crate::module::datatype::name_of_id(id)),
                );
                module_io::skip_data(r)?;
            }
            opcode::FUNCTION_PRE_GA => {
                let text = format!("Pre-release function format not supported {version}");
                return Err(r.corrupt(text));
            }
            opcode::FUNCTION2 => {
                state.doing = "read-functions";
                r.string()?;
            }
            _ if usize::from(ty) >= TYPE_NAMES.len() || ty == 8 => {
                return Err(r.corrupt(format!("Invalid object type: {ty}")));
            }
            _ => key(r, state, ty, limits, expire.take(), now)?,
        }
    }
    if version >= 5 {
        state.doing = "check-sum";
        let computed = r.checksum();
        let stated = u64::from_le_bytes(r.array()?);
        if stated == 0 {
            info(r, "RDB file was saved with checksum disabled: no check performed.");
        } else if computed.is_some_and(|crc| crc != stated) {
            return Err(r.corrupt("RDB CRC error"));
        } else {
            info(r, "Checksum OK");
        }
    }
    Ok(())
}

fn key(
    r: &mut Reader<'_>,
    state: &mut State,
    ty: u8,
    limits: Limits,
    expire: Option<i64>,
    now: i64,
) -> crate::snapshot::Result<()> {
    state.key_type = Some(ty);
    state.doing = "read-key";
    let key = r.string()?;
    state.key = Some(key);
    state.keys += 1;
    state.doing = "read-object-value";
    if ty == types::MODULE_2 {
        // Values of modules say themselves where they end.
        r.number()?;
        module_io::skip_data(r)?;
    } else {
        let decoder = Decoder { limits, key: None, find_type: &|_| None, park: false };
        if let Value::Hash(hash) = decoder.value(r, ty)? {
            state.subexpires += u64::from(hash.min_expire().is_some());
        }
    }
    if let Some(at) = expire {
        state.expires += 1;
        state.already_expired += u64::from(at < now);
    }
    (state.key, state.key_type) = (None, None);
    Ok(())
}

/// The tool. `args` begins with the name to show in the usage. Returns the exit code.
pub fn main(args: &[String]) -> i32 {
    let [program, file] = args else {
        eprintln!("Usage: {} <rdb-file-name>", args.first().map_or("", |a| a));
        return 1;
    };
    let _ = program;
    if file == "-v" || file == "--version" {
        println!("redis-check-rdb {}", super::version_text());
        return 0;
    }
    i32::from(check(file, File::open(file)).is_none())
}
