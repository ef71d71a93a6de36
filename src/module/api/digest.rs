//! `Digest*`: what the `digest` callback of a data type reports to `DEBUG DIGEST`.
use crate::keyspace::number::format_i64;
use crate::keyspace::value::ModuleValue;
use crate::module::string::RStr;
use sha1::{Digest as _, Sha1};
use std::ffi::{c_char, c_int, c_longlong};

/// `RedisModuleDigest`
pub struct Digest {
    /// The elements of the current sequence: each mixed in, so that their order counts.
    sequence: [u8; 20],
    /// The sequences: each added, so that their order does not count.
    whole: [u8; 20],
    /// The key's name.
    key: *mut RStr,
    db: c_int,
}

/// `digest` xor the SHA-1 of `data`.
pub fn add(digest: &mut [u8; 20], data: &[u8]) {
    for (d, h) in digest.iter_mut().zip(Sha1::digest(data)) {
        *d ^= h;
    }
}

/// [`add`], then the SHA-1 of the sum.
pub fn mix(digest: &mut [u8; 20], data: &[u8]) {
    add(digest, data);
    *digest = Sha1::digest(*digest).into();
}

impl Digest {
    fn new(key: &[u8], db: usize) -> Digest {
        Digest { sequence: [0; 20], whole: [0; 20], key: RStr::new(key), db: db as c_int }
    }

    fn end_sequence(&mut self) {
        add(&mut self.whole, &self.sequence);
        self.sequence = [0; 20];
    }
}

impl Drop for Digest {
    fn drop(&mut self) {
        // SAFETY: ABI: our own reference.
        unsafe { RStr::release(self.key) };
    }
}

/// The digest of a module's value, to be added to its key's; `None` if its type has none. The caller has the module
/// lock.
pub fn of_value(value: &ModuleValue, key: &[u8], db: usize) -> Option<[u8; 20]> {
    let callback = value.ty.methods.digest?;
    let mut digest = Digest::new(key, db);
    // SAFETY: ABI: registered for this signature; lock: held.
    unsafe { callback((&raw mut digest).cast(), value.ptr()) };
    Some(digest.whole)
}

crate::api! {
    /// Adds an element to the current sequence.
    [Locked] fn DigestAddStringBuffer(digest: *mut Digest, text: *const c_char, len: usize) {
        // SAFETY: ABI: a live digest and a buffer of this length.
        unsafe { mix(&mut (*digest).sequence, std::slice::from_raw_parts(text.cast(), len)) };
    }

    /// Adds a number, as its decimal text, to the current sequence.
    [Locked] fn DigestAddLongLong(digest: *mut Digest, number: c_longlong) {
        // SAFETY: ABI: a live digest.
        unsafe { mix(&mut (*digest).sequence, &format_i64(number)) };
    }

    /// Ends a sequence of elements whose order counts.
    [Locked] fn DigestEndSequence(digest: *mut Digest) {
        // SAFETY: ABI: a live digest.
        unsafe { (*digest).end_sequence() };
    }

    /// The name of the key, owned by the digest.
    [Locked] fn GetKeyNameFromDigest(digest: *mut Digest) -> *const RStr {
        // SAFETY: ABI: a live digest.
        unsafe { (*digest).key }
    }

    /// The database of the key.
    [Locked] fn GetDbIdFromDigest(digest: *mut Digest) -> c_int {
        // SAFETY: ABI: a live digest.
        unsafe { (*digest).db }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_counts_inside_a_sequence_only() {
        let digest_of = |sequences: &[&[&[u8]]]| {
            let mut d = Digest::new(b"k", 3);
            for sequence in sequences {
                sequence.iter().for_each(|e| mix(&mut d.sequence, e));
                d.end_sequence();
            }
            d.whole
        };
        let ab = digest_of(&[&[b"a", b"1"], &[b"b", b"2"]]);
        assert_eq!(ab, digest_of(&[&[b"b", b"2"], &[b"a", b"1"]]));
        assert_ne!(ab, digest_of(&[&[b"1", b"a"], &[b"b", b"2"]]));
    }

    #[test]
    fn mixing_is_sha1_of_the_sum() {
        let mut d = [0; 20];
        mix(&mut d, b"abc");
        let once: [u8; 20] = Sha1::digest(b"abc").into();
        let twice: [u8; 20] = Sha1::digest(once).into();
        assert_eq!(d, twice);
    }
}
