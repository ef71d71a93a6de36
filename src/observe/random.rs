//! Randomness: from the kernel for ids and seeds, a fast generator for choices.
use std::cell::Cell;

/// Fills a buffer with random bytes from the kernel.
pub fn fill(buf: &mut [u8]) {
    let mut done = 0;
    while done < buf.len() {
        // SAFETY: layout: pointer and length describe the rest of `buf`.
        let n = unsafe { libc::getrandom(buf[done..].as_mut_ptr().cast(), buf.len() - done, 0) };
        if n > 0 {
            done += n as usize;
        }
    }
}

/// A random seed.
pub fn seed() -> u64 {
    let mut b = [0; 8];
    fill(&mut b);
    u64::from_le_bytes(b)
}

/// `len` random lower-case hex digits.
pub fn hex(len: usize) -> String {
    let mut b = vec![0; len];
    fill(&mut b);
    b.iter().map(|x| char::from_digit(u32::from(x & 15), 16).expect("a hex digit")).collect()
}

thread_local! {
    static STATE: Cell<u64> = Cell::new(seed() | 1);
}

/// A fast pseudo-random number (xorshift64*), of its own sequence in each thread.
pub fn next() -> u64 {
    STATE.with(|s| {
        let mut x = s.get();
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        s.set(x);
        x.wrapping_mul(0x2545_f491_4f6c_dd1d)
    })
}
