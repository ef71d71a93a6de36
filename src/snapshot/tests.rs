//! The codec on its own: round trips, payloads of real servers, and mutated payloads.
use super::*;
use crate::keyspace::hash::{Hash, HashLimits};
use crate::keyspace::list::{Fill, List};
use crate::keyspace::set::{Set, SetLimits};
use crate::keyspace::stream::{NodeLimits, Stream, StreamId};
use crate::keyspace::value::{StringValue, Value, ValueRef};
use crate::keyspace::zset::{SortedSet, ZsetLimits};

fn limits() -> Limits {
    Limits {
        hash: HashLimits { max_listpack_entries: 16, max_listpack_value: 20 },
        set: SetLimits { max_intset_entries: 16, max_listpack_entries: 8, max_listpack_value: 20 },
        zset: ZsetLimits { max_listpack_entries: 16, max_listpack_value: 20 },
        fill: Fill(-2),
    }
}

fn borrowed(value: &Value) -> ValueRef<'_> {
    match value {
        Value::String(StringValue::Int(i)) => {
            ValueRef::String(crate::keyspace::value::StrRef::Int(*i))
        }
        Value::String(StringValue::Bytes(b)) => {
            ValueRef::String(crate::keyspace::value::StrRef::Bytes(b))
        }
        Value::List(v) => ValueRef::List(v),
        Value::Set(v) => ValueRef::Set(v),
        Value::Hash(v) => ValueRef::Hash(v),
        Value::Zset(v) => ValueRef::Zset(v),
        Value::Stream(v) => ValueRef::Stream(v),
        Value::Module(v) => ValueRef::Module(v),
    }
}

fn dumped(value: &Value) -> Vec<u8> {
    dump(borrowed(value), (b"key", 0), true).expect("no module")
}

fn restored(payload: &[u8]) -> std::result::Result<Value, RestoreError> {
    let decoder = Decoder { limits: limits(), key: None, find_type: &|_| None, park: false };
    restore(payload, &decoder)
}

/// Values of every type in every encoding.
fn values() -> Vec<Value> {
    let mut all: Vec<Value> = ["", "0", "-129", "70000", "99999999999", "text", "1.50"]
        .iter()
        .map(|t| Value::string(t.as_bytes()))
        .collect();
    all.push(Value::string(&[b'z'; 500]));
    for (n, len) in [(3, 1), (200, 3), (4, 9000)] {
        let mut list = List::new();
        for i in 0..n {
            list.push_back(&[format!("{i}{}", "e".repeat(len))], Fill(-2));
            list.push_back(&[i.to_string()], Fill(-2));
        }
        all.push(Value::List(Box::new(list)));
    }
    for members in [vec!["1", "2", "70000"], vec!["a", "b", "3"], vec!["q"; 1]] {
        let mut set = Set::new();
        for m in members {
            set.add(m.as_bytes(), &limits().set);
        }
        all.push(Value::Set(Box::new(set)));
    }
    let mut set = Set::new();
    (0..50).for_each(|i| {
        set.add(format!("m{i}").as_bytes(), &limits().set);
    });
    all.push(Value::Set(Box::new(set)));
    for (n, expire) in [(3, false), (3, true), (40, false), (40, true)] {
        let (mut hash, mut zset) = (Hash::new(), SortedSet::new());
        for i in 0..n {
            let field = format!("f{i}");
            hash.set(field.as_bytes(), i.to_string().as_bytes(), &limits().hash);
            if expire && i % 2 == 1 {
                hash.set_expire(field.as_bytes(), Some(2_000_000_000_000 + i));
            }
            zset.insert(field.as_bytes(), i as f64 * 1.25 - 3.0, &limits().zset);
        }
        all.push(Value::Hash(Box::new(hash)));
        all.push(Value::Zset(Box::new(zset)));
    }
    let mut stream = Stream::new();
    for i in 1..150u64 {
        let fields = ["f", &i.to_string(), "g", "text"].map(str::to_string);
        stream.append(StreamId::new(i, i % 3), &fields, NodeLimits::default()).unwrap();
    }
    stream.delete(StreamId::new(5, 2));
    stream.create_group(b"g1", StreamId::new(9, 0), Some(8));
    stream.create_group(b"g2", StreamId::MIN, None);
    let group = stream.group_mut(b"g1").unwrap();
    group.create_consumer(b"alice", 100);
    group.create_consumer(b"bob", 200);
    group.assign(StreamId::new(7, 1), b"alice", 1000, 2);
    group.assign(StreamId::new(8, 2), b"bob", 1001, 1);
    all.push(Value::Stream(Box::new(stream)));
    all.push(Value::Stream(Box::default()));
    all
}

#[test]
fn every_type_and_encoding_comes_back() {
    let mut types = std::collections::BTreeSet::new();
    for value in values() {
        let payload = dumped(&value);
        types.insert(payload[0]);
        let back = restored(&payload).unwrap_or_else(|e| panic!("type {}: {e:?}", payload[0]));
        assert_eq!(back.kind(), value.kind());
        if !matches!(payload[0], types::SET | types::HASH | types::HASH_METADATA) {
            assert_eq!(dumped(&back), payload, "type {}", payload[0]);
        }
        match (&back, &value) {
            (Value::Set(a), Value::Set(b)) => {
                assert!(a.len() == b.len() && b.iter().all(|m| a.contains_item(m)));
                assert_eq!(a.encoding(), b.encoding());
            }
            (Value::Hash(a), Value::Hash(b)) => {
                assert_eq!((a.len(), a.encoding()), (b.len(), b.encoding()));
                for e in b.iter() {
                    let other = a.get(&e.field.to_vec()).expect("the field");
                    assert_eq!(other.value.to_vec(), e.value.to_vec());
                    assert_eq!(other.expire, e.expire);
                }
            }
            _ => {}
        }
    }
    let expected = [0, 2, 4, 5, 11, 16, 17, 18, 20, 21, 24, 25];
    assert_eq!(types.into_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn footers_are_checked() {
    let good = dumped(&Value::string(b"hello"));
    // What Redis 7.4.1 answers to SET k hello, DUMP k, but for the checksum, which `crc64` tests.
    assert_eq!(good[..8], [0, 5, b'h', b'e', b'l', b'l', b'o', 12]);
    let refused = |p: &[u8]| matches!(restored(p), Err(RestoreError::Footer));
    assert!(refused(b"") && refused(&good[..9]));
    for i in 0..good.len() {
        let mut bad = good.clone();
        bad[i] ^= 1;
        assert!(refused(&bad), "byte {i}");
    }
    let mut newer = good.clone();
    let n = newer.len();
    newer[n - 10] = VERSION as u8 + 1;
    let crc = crc64::update(0, &newer[..n - 8]);
    newer[n - 8..].copy_from_slice(&crc.to_le_bytes());
    assert!(refused(&newer));
}

fn sign(mut body: Vec<u8>) -> Vec<u8> {
    body.extend((VERSION as u16).to_le_bytes());
    let crc = crc64::update(0, &body);
    body.extend(crc.to_le_bytes());
    body
}

#[test]
fn old_encodings() {
    // A list of elements, a set, a hash, and a sorted set with scores as text.
    for (body, kind) in [
        (&b"\x01\x02\x01a\xc0\x05"[..], "list"),
        (b"\x02\x02\x01a\x01b", "set"),
        (b"\x04\x01\x01f\x01v", "hash"),
        (b"\x03\x03\x01a\x031.5\x01b\xfe\x01c\xff", "zset"),
        (b"\x09\x0d\x01\x03foo\x03\x00bar\xff", "hash"),
    ] {
        let body = if body[0] == types::HASH_ZIPMAP {
            let mut fixed = vec![9, (body.len() - 2) as u8];
            fixed.extend(&body[2..]);
            fixed
        } else {
            body.to_vec()
        };
        let value = restored(&sign(body.clone())).unwrap_or_else(|e| panic!("{body:?}: {e:?}"));
        assert_eq!(borrowed(&value).type_name(), kind);
    }
    let zset = restored(&sign(b"\x03\x03\x01a\x031.5\x01b\xfe\x01c\xff".to_vec())).unwrap();
    let Value::Zset(zset) = zset else { panic!("no sorted set") };
    assert_eq!(zset.score(b"a"), Some(1.5));
    assert_eq!(zset.score(b"b"), Some(f64::INFINITY));
    assert_eq!(zset.score(b"c"), Some(f64::NEG_INFINITY));
}

#[test]
fn lies_about_lengths_reserve_nothing() {
    for body in [
        &b"\x00\x81\xff\xff\xff\xff\xff\xff\xff\xff"[..],
        b"\x00\x80\x7f\xff\xff\xffabc",
        b"\x00\xc3\x02\x81\x00\x00\x00\x7f\xff\xff\xff\xff\x00a",
        b"\x02\x81\x00\x00\x00\x7f\xff\xff\xff\xff\x01a",
        b"\x05\x80\x7f\xff\xff\xff\x01a",
        b"\x04\x80\x7f\xff\xff\xff\x01a\x01b",
        b"\x15\x80\x7f\xff\xff\xff",
    ] {
        assert!(matches!(restored(&sign(body.to_vec())), Err(RestoreError::Format(_))), "{body:?}");
    }
}

#[test]
fn duplicates_and_empty_collections_are_refused() {
    for body in [
        &b"\x02\x02\x01a\x01a"[..],
        b"\x02\x02\xc0\x01\xc0\x01",
        b"\x04\x02\x01a\x011\x01a\x012",
        b"\x05\x02\x01a\0\0\0\0\0\0\0\0\x01a\0\0\0\0\0\0\xf0\x3f",
        b"\x05\x01\x01a\0\0\0\0\0\0\xf8\x7f",
    ] {
        assert!(
            matches!(
                restored(&sign(body.to_vec())),
                Err(RestoreError::Format(RdbError::Corrupt { .. }))
            ),
            "{body:?}"
        );
    }
    for ty in [1, 2, 3, 4, 5, 14, 18] {
        assert!(
            matches!(restored(&sign(vec![ty, 0])), Err(RestoreError::Format(RdbError::EmptyKey))),
            "type {ty}"
        );
    }
    assert!(matches!(restored(&sign(b"\x06\x00".to_vec())), Err(RestoreError::Format(_))));
    assert!(matches!(
        restored(&sign(b"\x07\x81\0\0\0\0\0\0\0\x01\0".to_vec())),
        Err(RestoreError::Format(_))
    ));
}

/// A generator whose every run is the same.
struct Rng(u64);

impl Rng {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
}

#[test]
fn mutated_payloads_give_errors_or_sound_values() {
    let mut rng = Rng(0x9e37_79b9_7f4a_7c15);
    let originals: Vec<Vec<u8>> = values()
        .iter()
        .map(|v| {
            let mut out = Writer::to_memory(false);
            out.byte(encode::type_of(&borrowed(v)));
            encode::value(&mut out, borrowed(v), None);
            out.into_bytes()
        })
        .collect();
    let mut accepted = 0;
    for round in 0..4_000 {
        let mut body = originals[round % originals.len()].clone();
        for _ in 0..=rng.below(3) {
            match rng.below(5) {
                0 if body.len() > 1 => body.truncate(1 + rng.below(body.len() - 1)),
                1 => body.insert(rng.below(body.len() + 1), rng.below(256) as u8),
                2 => body[0] = rng.below(27) as u8,
                _ => {
                    // Near the front there are lengths and types, so half of the changes go there.
                    let end = if rng.below(2) == 0 { body.len().min(24) } else { body.len() };
                    let at = rng.below(end);
                    body[at] = match rng.below(3) {
                        0 => rng.below(256) as u8,
                        1 => body[at].wrapping_add(1),
                        _ => body[at] ^ 1 << rng.below(8),
                    };
                }
            }
        }
        if let Ok(value) = restored(&sign(body)) {
            accepted += 1;
            exercise(value);
        }
    }
    assert!(accepted > 200, "most mutations hit text: {accepted}");
}

/// What commands do with a value: nothing may panic.
fn exercise(value: Value) {
    let payload = dumped(&value);
    assert!(restored(&payload).is_ok(), "what was accepted can be saved and loaded");
    match value {
        Value::Stream(mut s) => {
            let ids: Vec<StreamId> = s.iter().map(|e| e.id).collect();
            for id in &ids {
                s.get(*id);
            }
            for id in ids {
                s.delete(id);
            }
            s.trim(crate::keyspace::stream::TrimTo::MaxLen(0), false, 0);
            let names: Vec<Vec<u8>> = s.groups().map(|(n, _)| n.to_vec()).collect();
            for n in names {
                s.advance_group(&n, StreamId::MAX);
                if let Some(g) = s.group(&n) {
                    s.group_lag(g);
                }
            }
        }
        Value::Hash(mut h) => {
            h.remove_expired(i64::MAX, 10, |_| {});
            let fields: Vec<Vec<u8>> = h.iter().map(|e| e.field.to_vec()).collect();
            for f in fields {
                h.set(&f, b"new", &limits().hash);
                assert!(h.remove(&f));
            }
        }
        Value::Set(mut s) => {
            let members: Vec<Vec<u8>> = s.iter().map(|m| m.to_vec()).collect();
            for m in members {
                assert!(s.remove(&m));
            }
        }
        Value::Zset(mut z) => {
            let n = z.len();
            for _ in 0..n {
                z.pop_min();
            }
            assert!(z.is_empty());
        }
        Value::List(mut l) => {
            let n = l.len();
            for i in 0..n {
                l.get(i);
            }
            for _ in 0..n {
                assert!(l.pop_front(Fill(-2)).is_some());
            }
        }
        Value::String(_) | Value::Module(_) => {}
    }
}
