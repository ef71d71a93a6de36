//! Passing over values without building them: so that one thread can find where they are, and others build them.
use super::{types, Reader, Result};

/// Passes over a value of type `ty`, which is none of a module.
pub fn value(r: &mut Reader<'_>, ty: u8) -> Result<()> {
    match ty {
        types::STRING
        | types::HASH_ZIPMAP
        | types::LIST_ZIPLIST
        | types::SET_INTSET
        | types::ZSET_ZIPLIST
        | types::HASH_ZIPLIST
        | types::HASH_LISTPACK
        | types::ZSET_LISTPACK
        | types::SET_LISTPACK
        | types::HASH_LISTPACK_EX_PRE_GA => r.skip_string(),
        types::HASH_LISTPACK_EX => {
            r.millis()?;
            r.skip_string()
        }
        types::LIST | types::SET | types::LIST_QUICKLIST => each(r, 1, |r| r.skip_string()),
        types::LIST_QUICKLIST_2 => each(r, 2, |r| {
            r.number()?;
            r.skip_string()
        }),
        types::ZSET => each(r, 2, |r| {
            r.skip_string()?;
            r.text_double().map(drop)
        }),
        types::ZSET_2 => each(r, 2, |r| {
            r.skip_string()?;
            r.double().map(drop)
        }),
        types::HASH => each(r, 2, |r| {
            r.skip_string()?;
            r.skip_string()
        }),
        types::HASH_METADATA | types::HASH_METADATA_PRE_GA => {
            if ty == types::HASH_METADATA {
                r.millis()?;
            }
            each(r, 3, |r| {
                r.number()?;
                r.skip_string()?;
                r.skip_string()
            })
        }
        types::STREAM_LISTPACKS | types::STREAM_LISTPACKS_2 | types::STREAM_LISTPACKS_3 => {
            stream(r, ty)
        }
        _ => Err(r.corrupt(format!("Unknown RDB encoding type {ty}"))),
    }
}

fn each(r: &mut Reader<'_>, least: u64, f: impl Fn(&mut Reader<'_>) -> Result<()>) -> Result<()> {
    for _ in 0..r.count(least)? {
        f(r)?;
    }
    Ok(())
}

fn numbers(r: &mut Reader<'_>, n: usize) -> Result<()> {
    for _ in 0..n {
        r.number()?;
    }
    Ok(())
}

fn stream(r: &mut Reader<'_>, ty: u8) -> Result<()> {
    each(r, 2, |r| {
        r.skip_string()?;
        r.skip_string()
    })?;
    // Length and last id; the newer formats have two ids and a count more.
    numbers(r, if ty == types::STREAM_LISTPACKS { 3 } else { 8 })?;
    each(r, 1, |r| {
        r.skip_string()?;
        // The last id, and how many were read.
        numbers(r, if ty == types::STREAM_LISTPACKS { 2 } else { 3 })?;
        each(r, 16, |r| {
            r.skip(16)?;
            r.millis()?;
            r.number().map(drop)
        })?;
        each(r, 1, |r| {
            r.skip_string()?;
            r.skip(if ty == types::STREAM_LISTPACKS_3 { 16 } else { 8 })?;
            each(r, 16, |r| r.skip(16))
        })
    })
}
