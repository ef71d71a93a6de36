//! Thin heap cells for the table forms of hashes and sets: one pointer, one allocation, lengths inside.
//!
//! Handles are plain copies of the pointer. The collection that made a cell owns it and frees it once; nothing
//! here counts references.
use std::alloc::{alloc, dealloc, handle_alloc_error, realloc, Layout};
use std::ptr::NonNull;

use super::table::{hash_bytes, TableItem};

/// A set's member: its length (u32), then its bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Member(NonNull<u32>);

/// A hash's field and value: two lengths (u32 each, `HAS_EXPIRE` in the first), the expiry time if there is one,
/// the field's bytes, the value's bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Pair(NonNull<[u32; 2]>);

const HAS_EXPIRE: u32 = 1 << 31;
const MEMBER_HEADER: usize = 4;
const PAIR_HEADER: usize = 8;
const EXPIRE_SIZE: usize = 8;

// SAFETY: layout: a cell is plain bytes owned by its collection; a handle has no state of its own.
unsafe impl Send for Member {}
// SAFETY: layout: cells change only through an exclusively borrowed collection.
unsafe impl Sync for Member {}
// SAFETY: layout: as for `Member`.
unsafe impl Send for Pair {}
// SAFETY: layout: as for `Member`.
unsafe impl Sync for Pair {}

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).expect("a cell that fits memory")
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).ok().filter(|len| len & HAS_EXPIRE == 0).expect("less than 2 GiB")
}

impl Member {
    /// A new cell with these bytes (less than 2 GiB).
    pub(super) fn new(bytes: &[u8]) -> Member {
        let len = length(bytes);
        let layout = layout(MEMBER_HEADER + bytes.len(), 4);
        // SAFETY: layout: the size is not zero.
        let Some(cell) = NonNull::new(unsafe { alloc(layout) }) else { handle_alloc_error(layout) };
        // SAFETY: layout: the cell has room for the header and the bytes, and is aligned for the header.
        unsafe {
            cell.cast::<u32>().write(len);
            cell.add(MEMBER_HEADER)
                .copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len());
        }
        Member(cell.cast())
    }

    /// The member's bytes.
    ///
    /// # Safety
    /// The cell stays alive during `'a`.
    pub(super) unsafe fn bytes<'a>(self) -> &'a [u8] {
        // SAFETY: layout: as `new` wrote it; the caller vouches for the lifetime.
        unsafe {
            let len = self.0.read() as usize;
            std::slice::from_raw_parts(self.0.as_ptr().cast::<u8>().add(MEMBER_HEADER), len)
        }
    }

    /// Size of the allocation for a member of `len` bytes.
    pub(super) fn size(len: usize) -> usize {
        MEMBER_HEADER + len
    }

    /// Frees the cell.
    ///
    /// # Safety
    /// The cell is alive, and nobody uses it afterwards.
    pub(super) unsafe fn free(self) {
        // SAFETY: layout: the size that `new` allocated; the caller gives the cell up.
        unsafe {
            let size = MEMBER_HEADER + self.0.read() as usize;
            dealloc(self.0.as_ptr().cast(), layout(size, 4));
        }
    }
}

impl TableItem for Member {
    fn table_hash(&self) -> u64 {
        // SAFETY: layout: a member in a table is alive.
        hash_bytes(unsafe { self.bytes() })
    }
}

impl Pair {
    /// A new cell (field and value less than 2 GiB each).
    pub(super) fn new(field: &[u8], value: &[u8], expire: Option<i64>) -> Pair {
        let flag = if expire.is_some() { HAS_EXPIRE } else { 0 };
        let header = [length(field) | flag, length(value)];
        let layout = layout(Self::size_of(header), 8);
        // SAFETY: layout: the size is not zero.
        let Some(cell) = NonNull::new(unsafe { alloc(layout) }) else { handle_alloc_error(layout) };
        let pair = Pair(cell.cast());
        // SAFETY: layout: the cell has the size for this header, so there is room for all parts.
        unsafe {
            pair.0.write(header);
            if let Some(at) = expire {
                cell.add(PAIR_HEADER).cast::<i64>().write(at);
            }
            let to = cell.add(Self::field_offset(header));
            to.copy_from_nonoverlapping(NonNull::from(field).cast(), field.len());
            let to = to.add(field.len());
            to.copy_from_nonoverlapping(NonNull::from(value).cast(), value.len());
        }
        pair
    }

    fn field_offset(header: [u32; 2]) -> usize {
        PAIR_HEADER + if header[0] & HAS_EXPIRE != 0 { EXPIRE_SIZE } else { 0 }
    }

    fn size_of(header: [u32; 2]) -> usize {
        Self::field_offset(header) + (header[0] & !HAS_EXPIRE) as usize + header[1] as usize
    }

    /// Size of the allocation.
    ///
    /// # Safety
    /// The cell is alive.
    pub(super) unsafe fn size(self) -> usize {
        // SAFETY: layout: as `new` wrote it.
        Self::size_of(unsafe { self.0.read() })
    }

    /// The field's bytes.
    ///
    /// # Safety
    /// The cell stays alive and unchanged during `'a`.
    pub(super) unsafe fn field<'a>(self) -> &'a [u8] {
        // SAFETY: layout: as `new` wrote it; the caller vouches for the lifetime.
        unsafe {
            let header = self.0.read();
            let start = self.0.as_ptr().cast::<u8>().add(Self::field_offset(header));
            std::slice::from_raw_parts(start, (header[0] & !HAS_EXPIRE) as usize)
        }
    }

    /// The value's bytes.
    ///
    /// # Safety
    /// The cell stays alive and unchanged during `'a`.
    pub(super) unsafe fn value<'a>(self) -> &'a [u8] {
        // SAFETY: layout: the value follows the field; the caller vouches for the lifetime.
        unsafe {
            let start = self.field().as_ptr_range().end;
            std::slice::from_raw_parts(start, self.0.read()[1] as usize)
        }
    }

    /// The expiry time.
    ///
    /// # Safety
    /// The cell is alive.
    pub(super) unsafe fn expire(self) -> Option<i64> {
        // SAFETY: layout: the flag says that the time follows the header.
        unsafe {
            let has = self.0.read()[0] & HAS_EXPIRE != 0;
            has.then(|| self.0.cast::<u8>().add(PAIR_HEADER).cast::<i64>().read())
        }
    }

    /// Sets the value (None: leaves it) and the expiry time. The cell may move: the result replaces this handle.
    ///
    /// # Safety
    /// The cell is alive, nothing borrows from it, and nobody uses this handle afterwards.
    pub(super) unsafe fn update(self, value: Option<&[u8]>, expire: Option<i64>) -> Pair {
        // SAFETY: layout: the cell keeps its parts' places as long as the flag stays; `realloc` gets the size
        // that was allocated and keeps what comes before the value. The caller vouches for the handle.
        unsafe {
            if self.expire().is_some() != expire.is_some() {
                let new = Pair::new(self.field(), value.unwrap_or(self.value()), expire);
                self.free();
                return new;
            }
            let mut cell = self.0.cast::<u8>();
            if let Some(value) = value {
                let old = self.0.read();
                let header = [old[0], length(value)];
                let (old_size, size) = (Self::size_of(old), Self::size_of(header));
                if old_size != size {
                    let moved = realloc(cell.as_ptr(), layout(old_size, 8), size);
                    cell =
                        NonNull::new(moved).unwrap_or_else(|| handle_alloc_error(layout(size, 8)));
                }
                cell.cast::<[u32; 2]>().write(header);
                let to = cell.add(size - value.len());
                to.copy_from_nonoverlapping(NonNull::from(value).cast(), value.len());
            }
            if let Some(at) = expire {
                cell.add(PAIR_HEADER).cast::<i64>().write(at);
            }
            Pair(cell.cast())
        }
    }

    /// Frees the cell.
    ///
    /// # Safety
    /// The cell is alive, and nobody uses it afterwards.
    pub(super) unsafe fn free(self) {
        // SAFETY: layout: the size of the allocation; the caller gives the cell up.
        unsafe { dealloc(self.0.as_ptr().cast(), layout(self.size(), 8)) };
    }
}

impl TableItem for Pair {
    fn table_hash(&self) -> u64 {
        // SAFETY: layout: a pair in a table is alive.
        hash_bytes(unsafe { self.field() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_keep_their_parts() {
        for len in [0, 1, 3, 4, 100, 70_000] {
            let text = vec![b'm'; len];
            let member = Member::new(&text);
            // SAFETY: layout: the member is freed once, after its last use.
            unsafe {
                assert_eq!(member.bytes(), text);
                member.free();
            }
        }
        let mut pair = Pair::new(b"field", b"value", None);
        let long = vec![b'l'; 10_000];
        let steps: [(&[u8], Option<i64>); 6] = [
            (b"other", None),
            (b"short", Some(17)),
            (&long, Some(18)),
            (b"", Some(i64::MAX)),
            (&long, None),
            (b"end", None),
        ];
        for (value, expire) in steps {
            // SAFETY: layout: the handle is replaced by what `update` returns.
            unsafe {
                pair = pair.update(Some(value), expire);
                assert_eq!(
                    (pair.field(), pair.value(), pair.expire()),
                    (&b"field"[..], value, expire)
                );
                for expire in [Some(5), Some(6), None, expire] {
                    pair = pair.update(None, expire);
                    assert_eq!(pair.value(), value);
                    assert_eq!((pair.field(), pair.expire()), (&b"field"[..], expire));
                }
            }
        }
        // SAFETY: layout: not used any more.
        unsafe { pair.free() };
    }
}
