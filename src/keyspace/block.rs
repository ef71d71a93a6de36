//! One word for a collection: a pointer to bytes or to a box, with a mark in the pointer's lowest bits.
//!
//! A list, set, hash or sorted set is one [`Word`], kept inside its key's entry. While the collection is small the word is its
//! [`Block`], whose bytes tell their own length; a large one is in a box.
use std::alloc::{alloc, dealloc, handle_alloc_error, realloc, Layout};
use std::ptr::NonNull;

/// Bits of a pointer that are free for a mark: every allocation here is aligned to eight bytes.
const MARK: usize = 7;

/// What is allocated for a block: the allocator's own size class, so that nothing is lost, and a change within it costs
/// nothing. From one power of two to the next there are four of them, up to 128 bytes all multiples of 16.
#[inline]
fn allocated(len: usize) -> usize {
    match len {
        0..=8 => 8,
        9..=128 => len.next_multiple_of(16),
        _ => len.next_multiple_of(1 << ((len - 1).ilog2() - 2)),
    }
}

/// Up to so many bytes the allocator never lets a block grow where it is: its own move costs more than ours.
const SMALL: usize = 14 * 1024;

fn layout(len: usize) -> Layout {
    Layout::from_size_align(allocated(len), MARK + 1).expect("a block that fits memory")
}

/// Room for `len` bytes.
#[inline]
fn new_block(len: usize) -> NonNull<u8> {
    let layout = layout(len);
    // SAFETY: layout: the size is never zero.
    let Some(p) = NonNull::new(unsafe { alloc(layout) }) else { handle_alloc_error(layout) };
    p
}

#[inline]
fn unmarked(p: NonNull<u8>) -> NonNull<u8> {
    let p = p.as_ptr().map_addr(|address| address & !MARK);
    NonNull::new(p).expect("an address beyond the mark")
}

/// Bytes on the heap whose length the owner knows. The word may carry a mark, which is the business of the [`Word`] that
/// it is a part of and stays the same whatever happens here.
#[repr(transparent)]
pub(super) struct Block(NonNull<u8>);

// SAFETY: layout: a block is plain bytes that its owner alone reaches.
unsafe impl Send for Block {}
// SAFETY: layout: nothing changes through a shared reference.
unsafe impl Sync for Block {}

impl Block {
    /// A block with these bytes, at least one.
    pub(super) fn new(bytes: &[u8]) -> Block {
        debug_assert!(!bytes.is_empty());
        let p = new_block(bytes.len());
        // SAFETY: layout: just allocated for so many bytes.
        unsafe { p.copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len()) };
        Block(p)
    }

    /// What a block of `len` bytes takes.
    pub(super) fn allocated(len: usize) -> usize {
        allocated(len)
    }

    /// How many of the bytes that a block of `len` takes are not used.
    #[inline]
    pub(super) fn spare(len: usize) -> usize {
        allocated(len) - len
    }

    /// The first `N` bytes.
    ///
    /// # Safety
    /// The block has so many.
    #[inline]
    pub(super) unsafe fn head<const N: usize>(&self) -> [u8; N] {
        // SAFETY: layout: this function's contract.
        unsafe { unmarked(self.0).cast().read() }
    }

    /// The bytes.
    ///
    /// # Safety
    /// The block has `len` bytes, all of them written.
    #[inline]
    pub(super) unsafe fn bytes(&self, len: usize) -> &[u8] {
        // SAFETY: layout: this function's contract.
        unsafe { std::slice::from_raw_parts(unmarked(self.0).as_ptr(), len) }
    }

    /// The bytes, to be changed.
    ///
    /// # Safety
    /// As [`Block::bytes`].
    #[inline]
    pub(super) unsafe fn bytes_mut(&mut self, len: usize) -> &mut [u8] {
        // SAFETY: layout: this function's contract.
        unsafe { std::slice::from_raw_parts_mut(unmarked(self.0).as_ptr(), len) }
    }

    /// `len` bytes from `at` on.
    ///
    /// # Safety
    /// They are within what is allocated, and written.
    #[inline]
    pub(super) unsafe fn bytes_at(&self, at: usize, len: usize) -> &[u8] {
        // SAFETY: layout: this function's contract.
        unsafe { std::slice::from_raw_parts(unmarked(self.0).as_ptr().add(at), len) }
    }

    /// `len` bytes from `at` on, to be changed.
    ///
    /// # Safety
    /// As [`Block::bytes_at`].
    #[inline]
    pub(super) unsafe fn bytes_at_mut(&mut self, at: usize, len: usize) -> &mut [u8] {
        // SAFETY: layout: this function's contract.
        unsafe { std::slice::from_raw_parts_mut(unmarked(self.0).as_ptr().add(at), len) }
    }

    /// Changes the length; new bytes are zero.
    ///
    /// # Safety
    /// The block has `from` bytes; `to` is not zero.
    pub(super) unsafe fn resize(&mut self, from: usize, to: usize) {
        if from == to {
            return;
        }
        if allocated(from) != allocated(to) {
            self.reallocate(from, to);
        }
        if to > from {
            // SAFETY: layout: there are `to` bytes now.
            unsafe { unmarked(self.0).add(from).write_bytes(0, to - from) };
        }
    }

    /// Appends bytes.
    ///
    /// # Safety
    /// The block has `from` bytes.
    #[inline]
    pub(super) unsafe fn extend(&mut self, from: usize, bytes: &[u8]) {
        // SAFETY: layout: this function's contract.
        unsafe { self.splice(from, from, 0, [bytes]) };
    }

    /// Puts `parts` in the place of `old` bytes at `at`.
    ///
    /// # Safety
    /// The block has `from` bytes, `at + old` of them at least, and something is left.
    #[inline]
    pub(super) unsafe fn splice<const N: usize>(
        &mut self,
        from: usize,
        at: usize,
        old: usize,
        parts: [&[u8]; N],
    ) {
        let new: usize = parts.iter().map(|part| part.len()).sum();
        let (to, tail) = (from - old + new, from - at - old);
        let shift = |p: *mut u8| {
            // SAFETY: layout: `p` has room for the longer of `from` and `to` bytes.
            unsafe { std::ptr::copy(p.add(at + old), p.add(at + new), tail) };
        };
        let (size, next_size) = (allocated(from), allocated(to));
        let before = unmarked(self.0).as_ptr();
        if size == next_size {
            shift(before);
        } else if size.max(next_size) <= SMALL {
            // Each byte is copied once, to where it will be.
            let moved = new_block(to);
            // SAFETY: layout: `before` has `from` bytes and `moved` room for `to`; it was allocated with this layout.
            unsafe {
                let after = moved.as_ptr();
                std::ptr::copy_nonoverlapping(before, after, at);
                std::ptr::copy_nonoverlapping(before.add(at + old), after.add(at + new), tail);
                dealloc(before, layout(from));
            }
            self.point_to(moved);
        } else if to > from {
            self.reallocate(from, to);
            shift(unmarked(self.0).as_ptr());
        } else {
            shift(before);
            self.reallocate(from, to);
        }
        let mut place = unmarked(self.0).as_ptr().wrapping_add(at);
        for part in parts {
            // SAFETY: layout: the gap that the tail left has room for all parts; nobody else has a reference to it.
            unsafe { std::ptr::copy_nonoverlapping(part.as_ptr(), place, part.len()) };
            place = place.wrapping_add(part.len());
        }
    }

    /// As [`Block::splice`], for a *late* block: but for the first `head` bytes all stand at the end of what is allocated,
    /// and offsets count as if the gap were not there. So bytes are added and removed near the beginning without moving
    /// those behind. A block that is not late (`late`) becomes so. The gap is zero or was written before.
    ///
    /// # Safety
    /// As [`Block::splice`]; `at` is not less than `head`; `late` tells the truth.
    pub(super) unsafe fn splice_late<const N: usize>(
        &mut self,
        (from, late): (usize, bool),
        head: usize,
        at: usize,
        old: usize,
        parts: [&[u8]; N],
    ) {
        let new: usize = parts.iter().map(|part| part.len()).sum();
        let to = from - old + new;
        let (front, tail) = (at - head, from - at - old);
        let gap = if late { Self::spare(from) } else { 0 };
        let next_gap = Self::spare(to);
        let before = unmarked(self.0).as_ptr();
        if allocated(from) == allocated(to) {
            // SAFETY: layout: all of it is within what is allocated. A tail moves to the right only, so it goes first.
            unsafe {
                if !late {
                    std::ptr::copy(before.add(at + old), before.add(next_gap + at + new), tail);
                }
                std::ptr::copy(before.add(gap + head), before.add(next_gap + head), front);
                if !late {
                    before.add(head).write_bytes(0, next_gap);
                }
            }
        } else {
            let moved = new_block(to);
            // SAFETY: layout: both have these bytes; the old one was allocated with this layout.
            unsafe {
                let after = moved.as_ptr();
                std::ptr::copy_nonoverlapping(before, after, head);
                after.add(head).write_bytes(0, next_gap);
                let (source, place) = (before.add(gap), after.add(next_gap));
                std::ptr::copy_nonoverlapping(source.add(head), place.add(head), front);
                std::ptr::copy_nonoverlapping(source.add(at + old), place.add(at + new), tail);
                dealloc(before, layout(from));
            }
            self.point_to(moved);
        }
        let mut place = unmarked(self.0).as_ptr().wrapping_add(next_gap + at);
        for part in parts {
            // SAFETY: layout: as in `splice`.
            unsafe { std::ptr::copy_nonoverlapping(part.as_ptr(), place, part.len()) };
            place = place.wrapping_add(part.len());
        }
    }

    /// Closes the gap of a late block of `len` bytes.
    ///
    /// # Safety
    /// It is one.
    pub(super) unsafe fn close_gap(&mut self, len: usize, head: usize) {
        let start = unmarked(self.0).as_ptr();
        // SAFETY: layout: the bytes stand there, as the caller says.
        unsafe {
            std::ptr::copy(start.add(Self::spare(len) + head), start.add(head), len - head);
        }
    }

    /// Another address, with the same mark.
    fn point_to(&mut self, p: NonNull<u8>) {
        let mark = self.0.addr().get() & MARK;
        self.0 = p.map_addr(|address| address | mark);
    }

    fn reallocate(&mut self, from: usize, to: usize) {
        let before = unmarked(self.0).as_ptr();
        if allocated(from).max(allocated(to)) <= SMALL {
            let moved = new_block(to);
            // SAFETY: layout: both have so many bytes; the old one was allocated with this layout, as the caller says.
            unsafe {
                std::ptr::copy_nonoverlapping(before, moved.as_ptr(), from.min(to));
                dealloc(before, layout(from));
            }
            return self.point_to(moved);
        }
        // SAFETY: layout: allocated with the layout of `from` bytes, as the caller of `resize` says.
        let moved = unsafe { realloc(before, layout(from), allocated(to)) };
        let Some(moved) = NonNull::new(moved) else { handle_alloc_error(layout(to)) };
        self.point_to(moved);
    }

    /// Frees it.
    ///
    /// # Safety
    /// The block has `len` bytes, and nobody uses it afterwards.
    pub(super) unsafe fn free(&mut self, len: usize) {
        // SAFETY: layout: allocated with this layout; the caller gives it up.
        unsafe { dealloc(unmarked(self.0).as_ptr(), layout(len)) };
    }
}

/// A pointer with a mark that says what it points to. Its owner frees it.
#[repr(transparent)]
pub(super) struct Word(NonNull<u8>);

// SAFETY: layout: what a word points to is `Send` wherever a collection makes one.
unsafe impl Send for Word {}
// SAFETY: layout: as above.
unsafe impl Sync for Word {}

impl Word {
    /// A word for a `T` that is itself one word, a [`Block`] in the end.
    pub(super) fn of_block<T>(value: T, mark: usize) -> Word {
        const { assert!(size_of::<T>() == size_of::<Block>()) };
        debug_assert!(mark <= MARK);
        let value = std::mem::ManuallyDrop::new(value);
        // SAFETY: layout: `T` is a block, that is a pointer that is not null.
        let p: NonNull<u8> = unsafe { std::mem::transmute_copy(&value) };
        Word(p.map_addr(|address| address | mark))
    }

    /// A word for a box.
    pub(super) fn of_box<T>(value: Box<T>, mark: usize) -> Word {
        const { assert!(align_of::<T>() > MARK) };
        debug_assert!(mark <= MARK);
        let p = NonNull::from(Box::leak(value)).cast::<u8>();
        Word(p.map_addr(|address| address | mark))
    }

    /// The mark.
    #[inline]
    pub(super) fn mark(&self) -> usize {
        self.0.addr().get() & MARK
    }

    /// What it was made of.
    ///
    /// # Safety
    /// It was made by [`Word::of_block`] of a `T`.
    #[inline]
    pub(super) unsafe fn block<T>(&self) -> &T {
        // SAFETY: layout: a `T` is a word too and bears with the mark.
        unsafe { &*std::ptr::from_ref(self).cast() }
    }

    /// What it was made of, to be changed.
    ///
    /// # Safety
    /// As [`Word::block`]; the `T` is not taken away or replaced as a whole.
    #[inline]
    pub(super) unsafe fn block_mut<T>(&mut self) -> &mut T {
        // SAFETY: layout: as above.
        unsafe { &mut *std::ptr::from_mut(self).cast() }
    }

    /// What is in the box.
    ///
    /// # Safety
    /// It was made by [`Word::of_box`] of a `T`.
    #[inline]
    pub(super) unsafe fn boxed<T>(&self) -> &T {
        // SAFETY: layout: this function's contract.
        unsafe { unmarked(self.0).cast().as_ref() }
    }

    /// What is in the box, to be changed.
    ///
    /// # Safety
    /// As [`Word::boxed`].
    #[inline]
    pub(super) unsafe fn boxed_mut<T>(&mut self) -> &mut T {
        // SAFETY: layout: this function's contract.
        unsafe { unmarked(self.0).cast().as_mut() }
    }

    /// Takes what it was made of away, without the mark.
    ///
    /// # Safety
    /// As [`Word::block`]; the word is forgotten afterwards.
    pub(super) unsafe fn take_block<T>(&mut self) -> T {
        // SAFETY: layout: a `T` is a word without a mark.
        unsafe { std::mem::transmute_copy(&unmarked(self.0)) }
    }

    /// Drops what it was made of, a block.
    ///
    /// # Safety
    /// As [`Word::block`]; the word is not used afterwards.
    pub(super) unsafe fn drop_block<T>(&mut self) {
        // SAFETY: layout: this function's contract.
        unsafe { std::ptr::drop_in_place(self.block_mut::<T>()) };
    }

    /// Drops the box.
    ///
    /// # Safety
    /// As [`Word::boxed`]; the word is not used afterwards.
    pub(super) unsafe fn drop_box<T>(&mut self) {
        // SAFETY: layout: this function's contract.
        drop(unsafe { Box::from_raw(unmarked(self.0).cast::<T>().as_ptr()) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_take_whole_size_classes() {
        for (len, size) in
            [(1, 8), (9, 16), (96, 96), (97, 112), (129, 160), (256, 256), (257, 320), (8000, 8192)]
        {
            assert_eq!(allocated(len), size);
        }
        #[cfg(feature = "jemalloc")]
        for len in 1..70_000 {
            // SAFETY: layout: the size is not zero.
            assert_eq!(allocated(len), unsafe { tikv_jemalloc_sys::nallocx(len, 0) });
        }
    }

    #[test]
    fn parts_are_put_anywhere_in_blocks_of_all_sizes() {
        let mut model = b"begin".to_vec();
        let mut word = Word::of_block(Block::new(&model), 2);
        let mut state = 1usize;
        let mut below = |n: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
            (state >> 33) % n
        };
        for round in 0..2000 {
            // Up, beyond what is moved by hand, and down again.
            let grows = (round / 200) % 2 == 0;
            let at = below(model.len());
            let old = below(1 + (model.len() - at).min(if grows { 20 } else { 400 }));
            let text = vec![round as u8; below(if grows { 400 } else { 20 })];
            let parts = [&text[..], b"", &[(round + 1) as u8]];
            // SAFETY: layout: `model` has as many bytes as the block.
            unsafe { word.block_mut::<Block>().splice(model.len(), at, old, parts) };
            model.splice(at..at + old, parts.concat());
            // SAFETY: layout: as above.
            assert_eq!(unsafe { word.block::<Block>().bytes(model.len()) }, model);
            assert_eq!(word.mark(), 2);
            if round % 400 == 199 {
                assert!(model.len() > SMALL, "{} bytes", model.len());
            }
        }
        // SAFETY: layout: the block is ours, and not used any more.
        unsafe { word.block_mut::<Block>().free(model.len()) };
    }

    #[test]
    fn marks_stay_while_blocks_move() {
        let mut word = Word::of_block(Block::new(b"abc"), 5);
        let mut len = 3;
        for to in [4, 100, 5000, 2, 70_000, 1] {
            // SAFETY: layout: a block of `len` bytes.
            unsafe {
                let block = word.block_mut::<Block>();
                block.resize(len, to);
                assert_eq!(block.bytes(to)[0], b'a');
                assert!(block.bytes(to).iter().skip(len).all(|byte| *byte == 0));
            }
            len = to;
            assert_eq!(word.mark(), 5);
        }
        // SAFETY: layout: not used any more.
        unsafe { word.block_mut::<Block>().free(len) };
        let mut word = Word::of_box(Box::new(17u64), 3);
        // SAFETY: layout: a box of a u64.
        unsafe {
            *word.boxed_mut::<u64>() += 1;
            assert_eq!((*word.boxed::<u64>(), word.mark()), (18, 3));
            word.drop_box::<u64>();
        }
    }
}
