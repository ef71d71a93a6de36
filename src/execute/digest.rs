//! Digests of values and data sets, equal to those of Redis: `DEBUG DIGEST` and `DEBUG DIGEST-VALUE`.
use super::Tx;
use crate::keyspace::entry::Entry;
use crate::keyspace::number::{format_f64, format_i64};
use crate::keyspace::value::{Kind, StrRef, ValueRef};
use crate::lock::held::Access;
use crate::module::api::digest::{add, mix, of_value};
use std::fmt::Write as _;

/// A SHA-1 sum, or a sum of such.
pub type Sum = [u8; 20];

/// Number of a type in the digest.
fn type_number(kind: Kind) -> u32 {
    match kind {
        Kind::String => 0,
        Kind::List => 1,
        Kind::Set => 2,
        Kind::Zset => 3,
        Kind::Hash => 4,
        Kind::Module => 5,
        Kind::Stream => 6,
    }
}

/// Adds a key's value to `sum`. The calling thread has the module lock.
fn add_value(sum: &mut Sum, e: Entry, db: usize) {
    mix(sum, &type_number(e.kind()).to_be_bytes());
    match e.value() {
        ValueRef::String(StrRef::Int(i)) => mix(sum, format_i64(i).as_bytes()),
        ValueRef::String(StrRef::Bytes(b)) => mix(sum, b),
        ValueRef::List(list) => list.iter().for_each(|item| mix(sum, &item.to_vec())),
        ValueRef::Set(set) => set.iter().for_each(|item| add(sum, &item.to_vec())),
        ValueRef::Zset(zset) => {
            for (member, score) in zset.iter() {
                let mut one = Sum::default();
                mix(&mut one, &member.to_vec());
                mix(&mut one, format_f64(score).as_bytes());
                add(sum, &one);
            }
        }
        ValueRef::Hash(hash) => {
            for f in hash.iter() {
                let mut one = Sum::default();
                mix(&mut one, &f.field.to_vec());
                mix(&mut one, &f.value.to_vec());
                if f.expire.is_some() {
                    add(&mut one, b"!!hexpire!!");
                }
                add(sum, &one);
            }
        }
        ValueRef::Stream(stream) => {
            for item in stream.iter() {
                mix(sum, format!("{}.{}", item.id.ms, item.id.seq).as_bytes());
                for (name, value) in item.fields() {
                    mix(sum, &name.to_vec());
                    mix(sum, &value.to_vec());
                }
            }
        }
        ValueRef::Module(value) => {
            if let Some(own) = of_value(value, e.key(), db) {
                add(sum, &own);
            }
        }
    }
    if e.expire().is_some() {
        add(sum, b"!!expire!!");
    }
}

/// The digest of one key's value. The calling thread has the module lock.
pub fn of_key(tx: &Tx<'_>, key: &[u8]) -> Sum {
    let mut sum = Sum::default();
    if let Some(e) = tx.peek_entry(key) {
        add_value(&mut sum, e, tx.db());
    }
    sum
}

/// The digest of all databases. The calling thread has the module lock.
pub fn of_all(tx: &Tx<'_>) -> Sum {
    let mut all = Sum::default();
    for (db, database) in tx.server.keyspace.dbs().iter().enumerate() {
        if database.is_empty() {
            continue;
        }
        mix(&mut all, &(db as u32).to_be_bytes());
        tx.for_each_entry(db, Access::Read, |e| {
            let mut one = Sum::default();
            mix(&mut one, e.key());
            add_value(&mut one, e, db);
            add(&mut all, &one);
            true
        });
    }
    all
}

/// Hex digits.
pub fn hex(sum: &Sum) -> String {
    sum.iter().fold(String::new(), |mut s, b| {
        let _ = write!(s, "{b:02x}");
        s
    })
}
