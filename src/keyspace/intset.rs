//! Intset: a sorted array of integers in Redis' own byte format, for sets that hold only integers.
//!
//! ```text
//! width of an element (u32 LE: 2, 4 or 8) | elements (u32 LE) | element (LE, ascending) ...
//! ```
//! All elements have the width that the widest ever added one needed.

const HEADER: usize = 8;

/// Bytes that are not an intset (`RESTORE`: "Bad data format").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CorruptIntset;

impl std::fmt::Display for CorruptIntset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("corrupt intset")
    }
}

impl std::error::Error for CorruptIntset {}

/// See the module's description.
#[derive(Clone, PartialEq, Eq)]
pub struct Intset {
    buf: Vec<u8>,
}

fn width_of(value: i64) -> usize {
    if i16::try_from(value).is_ok() {
        2
    } else if i32::try_from(value).is_ok() {
        4
    } else {
        8
    }
}

impl Default for Intset {
    fn default() -> Self {
        Intset::new()
    }
}

impl Intset {
    /// An empty set.
    pub fn new() -> Intset {
        Intset { buf: vec![2, 0, 0, 0, 0, 0, 0, 0] }
    }

    /// Takes over bytes in intset format after checking them. An empty set counts as corrupt, as in Redis.
    pub fn from_bytes(buf: Vec<u8>) -> Result<Intset, CorruptIntset> {
        let header = buf.get(..HEADER).ok_or(CorruptIntset)?;
        let width = u32::from_le_bytes(header[..4].try_into().expect("four bytes"));
        let count = u32::from_le_bytes(header[4..].try_into().expect("four bytes"));
        let size = u64::from(count) * u64::from(width) + HEADER as u64;
        if !matches!(width, 2 | 4 | 8) || count == 0 || size != buf.len() as u64 {
            return Err(CorruptIntset);
        }
        let set = Intset { buf };
        let ascending = set.iter().zip(set.iter().skip(1)).all(|(a, b)| a < b);
        if ascending {
            Ok(set)
        } else {
            Err(CorruptIntset)
        }
    }

    /// The serialised form.
    pub fn as_bytes(&self) -> &[u8] {
        &self.buf
    }

    /// Memory held on the heap.
    pub fn mem_bytes(&self) -> usize {
        self.buf.capacity()
    }

    fn width(&self) -> usize {
        usize::from(self.buf[0])
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        (self.buf.len() - HEADER) / self.width()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.buf.len() == HEADER
    }

    /// The element of rank `index`, in ascending order.
    pub fn get(&self, index: usize) -> Option<i64> {
        (index < self.len()).then(|| self.at(index))
    }

    /// The smallest element.
    pub fn min(&self) -> Option<i64> {
        self.get(0)
    }

    /// The greatest element.
    pub fn max(&self) -> Option<i64> {
        self.get(self.len().checked_sub(1)?)
    }

    fn at(&self, index: usize) -> i64 {
        let width = self.width();
        let bytes = &self.buf[HEADER + index * width..][..width];
        match *bytes {
            [a, b] => i64::from(i16::from_le_bytes([a, b])),
            [a, b, c, d] => i64::from(i32::from_le_bytes([a, b, c, d])),
            _ => i64::from_le_bytes(bytes.try_into().expect("eight bytes")),
        }
    }

    /// The rank of `value`, or the rank that it would get.
    fn search(&self, value: i64) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.len());
        // Ascending insertions are common: look at the end first.
        if high > 0 && self.at(high - 1) < value {
            return Err(high);
        }
        while low < high {
            let middle = (low + high) / 2;
            match self.at(middle).cmp(&value) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Ok(middle),
            }
        }
        Err(low)
    }

    /// Whether `value` is an element.
    pub fn contains(&self, value: i64) -> bool {
        width_of(value) <= self.width() && self.search(value).is_ok()
    }

    /// Adds `value`; false if it was there.
    pub fn add(&mut self, value: i64) -> bool {
        let Err(index) = self.search(value) else { return false };
        if width_of(value) > self.width() {
            self.widen(width_of(value));
        }
        let width = self.width();
        let at = HEADER + index * width;
        let before = self.buf.len();
        if before + width > self.buf.capacity() {
            self.buf.reserve_exact((width + before / 8).next_multiple_of(8));
        }
        self.buf.resize(before + width, 0);
        self.buf.copy_within(at..before, at + width);
        self.buf[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
        self.count();
        true
    }

    /// Removes `value`; false if it was not there.
    pub fn remove(&mut self, value: i64) -> bool {
        let Ok(index) = self.search(value) else { return false };
        let at = HEADER + index * self.width();
        self.buf.drain(at..at + self.width());
        self.count();
        true
    }

    fn widen(&mut self, width: usize) {
        let mut wider = Vec::with_capacity(HEADER + (self.len() + 1) * width);
        wider.extend_from_slice(&[width as u8, 0, 0, 0, 0, 0, 0, 0]);
        for value in self.iter() {
            wider.extend_from_slice(&value.to_le_bytes()[..width]);
        }
        self.buf = wider;
        self.count();
    }

    fn count(&mut self) {
        let count = self.len() as u32;
        self.buf[4..HEADER].copy_from_slice(&count.to_le_bytes());
    }

    /// The elements in ascending order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = i64> + ExactSizeIterator + '_ {
        (0..self.len()).map(|index| self.at(index))
    }

    /// A random element, all equally likely.
    pub fn random(&self, rng: &mut impl FnMut() -> u64) -> Option<i64> {
        let len = self.len() as u64;
        (len > 0).then(|| self.at((rng() % len) as usize))
    }
}

impl std::fmt::Debug for Intset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn next(state: &mut u64) -> u64 {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state
    }

    #[test]
    fn behaves_as_a_sorted_set() {
        let mut state = 7;
        for round in 0..40 {
            let mut set = Intset::new();
            let mut model = BTreeSet::new();
            for _ in 0..300 {
                let shift = [58, 50, 40, 20, 0][round % 5];
                let value = next(&mut state) as i64 >> shift;
                if next(&mut state) % 3 == 0 {
                    assert_eq!(set.remove(value), model.remove(&value));
                } else {
                    assert_eq!(set.add(value), model.insert(value));
                }
                assert_eq!(set.contains(value), model.contains(&value));
                assert_eq!(set.len(), model.len());
                assert_eq!((set.min(), set.max()), (model.first().copied(), model.last().copied()));
            }
            assert!(set.iter().eq(model.iter().copied()));
            assert_eq!(Intset::from_bytes(set.as_bytes().to_vec()), Ok(set.clone()));
            let random = set.random(&mut || next(&mut state)).unwrap();
            assert!(model.contains(&random));
        }
    }

    #[test]
    fn bytes_are_those_of_redis() {
        let mut set = Intset::new();
        assert!(set.add(-1) && set.add(300) && set.add(2));
        assert_eq!(set.as_bytes(), b"\x02\0\0\0\x03\0\0\0\xff\xff\x02\0\x2c\x01");
        assert!(set.add(-40_000));
        assert_eq!(
            set.as_bytes(),
            b"\x04\0\0\0\x04\0\0\0\xc0\x63\xff\xff\xff\xff\xff\xff\x02\0\0\0\x2c\x01\0\0"
        );
        assert!(set.add(i64::MAX) && set.remove(i64::MAX));
        assert_eq!(set.as_bytes()[0], 8);
    }

    #[test]
    fn corrupt_bytes_are_refused() {
        for bytes in [
            &b""[..],
            b"\x02\0\0\0\0\0\0\0",
            b"\x03\0\0\0\x01\0\0\0aaa",
            b"\x02\0\0\0\x02\0\0\0aa",
            b"\x02\0\0\0\x02\0\0\0\x01\0\x01\0",
            b"\x02\0\0\0\x02\0\0\0\x01\0\xff\xff",
        ] {
            assert_eq!(Intset::from_bytes(bytes.to_vec()), Err(CorruptIntset));
        }
    }
}
