//! Intset: a sorted array of integers in Redis' own byte format, for sets that hold only integers.
//!
//! ```text
//! width of an element (u32 LE: 2, 4 or 8) | elements (u32 LE) | element (LE, ascending) ...
//! ```
//! All elements have the width that the widest ever added one needed. In memory it is one block of exactly these bytes.

use super::block::Block;

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
#[repr(transparent)]
pub struct Intset {
    block: Block,
}

impl Drop for Intset {
    fn drop(&mut self) {
        let len = self.byte_len();
        // SAFETY: layout: an intset's block has the length that its header tells.
        unsafe { self.block.free(len) };
    }
}

impl Clone for Intset {
    fn clone(&self) -> Intset {
        Intset { block: Block::new(self.as_bytes()) }
    }
}

impl PartialEq for Intset {
    fn eq(&self, other: &Intset) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Intset {}

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
        Intset { block: Block::new(&[2, 0, 0, 0, 0, 0, 0, 0]) }
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
        let set = Intset { block: Block::new(&buf) };
        let ascending = set.iter().zip(set.iter().skip(1)).all(|(a, b)| a < b);
        if ascending {
            Ok(set)
        } else {
            Err(CorruptIntset)
        }
    }

    /// The serialised form.
    pub fn as_bytes(&self) -> &[u8] {
        // SAFETY: layout: the block has the length that the header tells.
        unsafe { self.block.bytes(self.byte_len()) }
    }

    fn byte_len(&self) -> usize {
        HEADER + self.len() * self.width()
    }

    /// Width of an element, and number of elements.
    #[inline]
    fn header(&self) -> (u32, u32) {
        // SAFETY: layout: there is always a header.
        let [width, count]: [[u8; 4]; 2] =
            unsafe { std::mem::transmute(self.block.head::<HEADER>()) };
        (u32::from_le_bytes(width), u32::from_le_bytes(count))
    }

    /// Changes the number of elements; gives the bytes, those of new elements being zero.
    fn set_count(&mut self, count: usize) -> &mut [u8] {
        let (before, after) = (self.byte_len(), HEADER + count * self.width());
        // SAFETY: layout: the block has the length that the header tells.
        let buf = unsafe {
            self.block.resize(before, after);
            self.block.bytes_mut(after)
        };
        buf[4..HEADER].copy_from_slice(&(count as u32).to_le_bytes());
        buf
    }

    /// Memory held on the heap.
    pub fn mem_bytes(&self) -> usize {
        Block::allocated(self.byte_len())
    }

    fn width(&self) -> usize {
        self.header().0 as usize
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.header().1 as usize
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
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
        let bytes = &self.as_bytes()[HEADER + index * width..][..width];
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
        let before = self.byte_len();
        let count = self.len() + 1;
        let buf = self.set_count(count);
        buf.copy_within(at..before, at + width);
        buf[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
        true
    }

    /// Removes `value`; false if it was not there.
    pub fn remove(&mut self, value: i64) -> bool {
        let Ok(index) = self.search(value) else { return false };
        let (width, count, end) = (self.width(), self.len(), self.byte_len());
        let at = HEADER + index * width;
        // SAFETY: layout: the block has the length that the header tells.
        unsafe { self.block.bytes_mut(end) }.copy_within(at + width.., at);
        self.set_count(count - 1);
        true
    }

    fn widen(&mut self, width: usize) {
        let mut wider = Vec::with_capacity(HEADER + self.len() * width);
        wider.extend_from_slice(&(width as u32).to_le_bytes());
        wider.extend_from_slice(&(self.len() as u32).to_le_bytes());
        for value in self.iter() {
            wider.extend_from_slice(&value.to_le_bytes()[..width]);
        }
        let before = self.byte_len();
        // SAFETY: layout: the block has the length that the header tells, the old one until it is overwritten. (The block
        // itself stays: its word may carry a mark.)
        unsafe {
            self.block.resize(before, wider.len());
            self.block.bytes_mut(wider.len()).copy_from_slice(&wider);
        }
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
