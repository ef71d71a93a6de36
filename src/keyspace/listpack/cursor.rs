//! Places in a listpack, and going from one to the next.
use super::item::{back_len_size, decode, LpItem};
use super::Listpack;
use std::num::NonZeroU32;

/// The place of an element. Valid until the listpack changes before or at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LpPos(NonZeroU32);

impl LpPos {
    #[inline]
    pub(super) fn at(offset: usize) -> LpPos {
        // Entries begin after the header, so offsets are never zero.
        LpPos(NonZeroU32::new(offset as u32).expect("an offset behind the header"))
    }

    #[inline]
    pub(super) fn offset(self) -> usize {
        self.0.get() as usize
    }
}

/// Reads elements one behind the other; it looks at the listpack's length but once.
#[derive(Clone, Copy)]
pub struct Cursor<'a> {
    pub(super) buf: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Cursor<'a> {
    /// The place of the element that comes next; none at the end.
    #[inline]
    pub fn place(&self) -> Option<LpPos> {
        (self.at < self.buf.len()).then(|| LpPos::at(self.at))
    }

    /// The next element, if it is an integer or the text of one.
    #[inline]
    pub fn int(&mut self) -> Option<i64> {
        let small = *self.buf.get(self.at)?;
        if small < 0x80 {
            self.at += 2;
            return Some(i64::from(small));
        }
        self.item()?.as_i64()
    }

    /// The next element.
    #[inline]
    pub fn item(&mut self) -> Option<LpItem<'a>> {
        let (item, len) = decode(self.buf, self.at)?;
        self.at += len + back_len_size(len);
        Some(item)
    }

    /// Passes over an element.
    #[inline]
    pub fn skip(&mut self) -> Option<()> {
        match *self.buf.get(self.at)? {
            0..=0x7f => self.at += 2,
            tag @ 0x80..=0xbf => self.at += 2 + usize::from(tag & 0x3f),
            0xc0..=0xdf => self.at += 3,
            _ => {
                self.item()?;
            }
        }
        Some(())
    }
}

/// Iterator over the elements.
#[derive(Clone)]
pub struct LpIter<'a> {
    pub(super) positions: LpPositions<'a>,
}

impl<'a> Iterator for LpIter<'a> {
    type Item = LpItem<'a>;
    fn next(&mut self) -> Option<LpItem<'a>> {
        self.positions.next().map(|(_, item)| item)
    }
}

/// Iterator over the elements and their places.
#[derive(Clone)]
pub struct LpPositions<'a> {
    pub(super) lp: &'a Listpack,
    pub(super) at: usize,
}

impl<'a> Iterator for LpPositions<'a> {
    type Item = (LpPos, LpItem<'a>);
    fn next(&mut self) -> Option<(LpPos, LpItem<'a>)> {
        let pos = self.lp.position(self.at)?;
        let (item, len) = self.lp.entry(self.at);
        self.at += len + back_len_size(len);
        Some((pos, item))
    }
}
