//! Buffers that the kernel fills: it takes one when bytes have come, so that a silent connection holds none.
use io_uring::types::BufRingEntry;
use io_uring::Submitter;
use std::io::{Error, Result};
use std::sync::atomic::{AtomicU16, Ordering::Release};

/// Buffers of a thread at most; a power of two.
const COUNT: u16 = 256;
/// So many are used at first. The kernel takes them in turn, so all that it has are touched soon: more of them come when
/// many connections speak at once.
const FIRST: u16 = 16;
/// The size of each.
pub const SIZE: usize = 8 * 1024;
/// The group's name; a ring has only this one.
pub const GROUP: u16 = 0;

/// The buffers of a ring. Lives as long as the ring, which may write to them at any time.
pub struct Buffers {
    entries: *mut BufRingEntry,
    memory: *mut u8,
    /// How many were ever given to the kernel; it looks at the lower 16 bits.
    tail: u16,
    /// Buffers that are used at all.
    used: u16,
    /// Those of them that are not with the kernel.
    out: usize,
}

/// Bytes that have come, in one of the buffers.
#[derive(Clone, Copy, Debug)]
pub struct Piece {
    buffer: u16,
    from: u16,
    to: u16,
}

impl Piece {
    /// So many bytes of the buffer with this number.
    pub fn new(buffer: u16, len: usize) -> Piece {
        Piece { buffer, from: 0, to: len.min(SIZE) as u16 }
    }

    /// Bytes that are left.
    pub fn len(&self) -> usize {
        usize::from(self.to - self.from)
    }

    /// Takes the first `n` bytes off.
    pub fn advance(&mut self, n: usize) {
        self.from += n.min(self.len()) as u16;
    }
}

/// Fresh memory for as long as the process runs, in whole pages. The allocator's statistics, which `maxmemory` goes by, do
/// not have it.
pub fn pages(bytes: usize) -> Result<&'static mut [u8]> {
    let at = map(bytes)?;
    // SAFETY: layout: the mapping has so many bytes, which are zero, and nobody else's.
    Ok(unsafe { std::slice::from_raw_parts_mut(at, bytes) })
}

fn map(bytes: usize) -> Result<*mut u8> {
    // SAFETY: layout: an anonymous mapping of our own.
    let at = unsafe {
        let (prot, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        libc::mmap(std::ptr::null_mut(), bytes, prot, flags, -1, 0)
    };
    if at == libc::MAP_FAILED {
        return Err(Error::last_os_error());
    }
    Ok(at.cast())
}

impl Buffers {
    /// Makes the buffers known to a ring. They are never unmapped: a ring lives as long as its thread, and a serving
    /// thread as long as the server.
    pub fn register(submitter: &Submitter<'_>) -> Result<Buffers> {
        let entries = map(usize::from(COUNT) * size_of::<BufRingEntry>())?;
        let memory = map(usize::from(COUNT) * SIZE)?;
        // SAFETY: layout: the entries are there, page-aligned, and stay.
        unsafe { submitter.register_buf_ring_with_flags(entries as u64, COUNT, GROUP, 0)? };
        let mut buffers = Buffers { entries: entries.cast(), memory, tail: 0, used: 0, out: 0 };
        buffers.use_up_to(FIRST);
        Ok(buffers)
    }

    /// Uses more buffers, if there are any.
    pub fn grow(&mut self) {
        self.use_up_to((2 * self.used).min(COUNT));
    }

    fn use_up_to(&mut self, count: u16) {
        for buffer in self.used..count {
            self.out += 1;
            self.give_back(Piece::new(buffer, 0));
        }
        self.used = count;
    }

    /// The bytes of a piece.
    pub fn bytes(&self, piece: &Piece) -> &[u8] {
        let at = usize::from(piece.buffer) * SIZE + usize::from(piece.from);
        // SAFETY: layout: a piece names a buffer that is not with the kernel, and bytes that it has written there.
        unsafe { std::slice::from_raw_parts(self.memory.add(at), piece.len()) }
    }

    /// The kernel has taken a buffer and filled it.
    pub fn taken(&mut self) {
        self.out += 1;
    }

    /// Gives the buffer of a piece back to the kernel.
    pub fn give_back(&mut self, piece: Piece) {
        // SAFETY: layout: the entry lies in the array; the kernel does not look at it before the tail has passed it.
        unsafe {
            let entry = &mut *self.entries.add(usize::from(self.tail & (COUNT - 1)));
            entry.set_addr(self.memory.add(usize::from(piece.buffer) * SIZE) as u64);
            entry.set_len(SIZE as u32);
            entry.set_bid(piece.buffer);
            self.tail = self.tail.wrapping_add(1);
            let tail = BufRingEntry::tail(self.entries).cast_mut();
            AtomicU16::from_ptr(tail).store(self.tail, Release);
        }
        self.out -= 1;
    }

    /// Whether so few are left that what cannot be used at once should be copied.
    pub fn scarce(&self) -> bool {
        self.out > usize::from(self.used) / 2
    }
}
