//! Which pointer a call to nil went through: found in the few instructions before the call, as compilers write them for
//! x86-64. Memory is read through the kernel, which refuses what cannot be read instead of faulting.

/// How far before the call the pointer may have been loaded.
const REACH: usize = 48;

/// Reads memory of this process.
fn read(at: usize, into: &mut [u8]) -> bool {
    let local = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    let remote = libc::iovec { iov_base: at as *mut libc::c_void, iov_len: into.len() };
    // SAFETY: layout: one buffer of ours; the kernel checks the other address.
    let n = unsafe { libc::process_vm_readv(libc::getpid(), &local, 1, &remote, 1, 0) };
    n == into.len() as isize
}

/// Reads a word of this process, if there is one.
pub fn read_word(at: usize) -> Option<usize> {
    let mut bytes = [0; 8];
    read(at, &mut bytes).then(|| usize::from_le_bytes(bytes))
}

/// Whether the code that ends at `back`, where the call would have returned to, loads the word at `pointer`: relative to
/// the instruction, or through an address that is so loaded (a global offset table).
pub fn loads(back: usize, pointer: usize) -> bool {
    let mut code = [0; REACH];
    if back < REACH || !read(back - REACH, &mut code) {
        return false;
    }
    // Later loads are nearer to the call.
    (0..=REACH - 6).rev().any(|i| {
        let Some((end, displacement)) = relative_load(&code[i..]) else { return false };
        let next = back - REACH + i + end;
        let target = next.wrapping_add_signed(displacement as isize);
        target == pointer || read_word(target) == Some(pointer)
    })
}

/// `call *disp(%rip)` or `mov disp(%rip),%reg`: its length and displacement.
fn relative_load(code: &[u8]) -> Option<(usize, i32)> {
    let displacement = |at: usize| Some(i32::from_le_bytes(code.get(at..at + 4)?.try_into().ok()?));
    match code {
        [0xff, 0x15, ..] => Some((6, displacement(2)?)),
        // 48 or 4c: a register of 64 bits; the addressing mode is that of the instruction pointer.
        [0x48 | 0x4c, 0x8b, mode, ..] if mode & 0xc7 == 0x05 => Some((7, displacement(3)?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Code before a call, the pointer that it might load, and a table with the pointer's address.
    #[repr(C)]
    struct Module {
        code: [u8; 64],
        pointer: usize,
        table: usize,
    }

    fn check(instruction: &[u8], through_table: bool, later: usize) -> bool {
        let mut m = Box::new(Module { code: [0x90; 64], pointer: 0, table: 0 });
        let pointer = &raw const m.pointer as usize;
        m.table = pointer;
        let to = if through_table { &raw const m.table as usize } else { pointer };
        let end = m.code.len() - later;
        let displacement = (to - (m.code.as_ptr() as usize + end)) as i32;
        let begin = end - instruction.len() - 4;
        m.code[begin..end - 4].copy_from_slice(instruction);
        m.code[end - 4..end].copy_from_slice(&displacement.to_le_bytes());
        loads(m.code.as_ptr() as usize + m.code.len(), pointer)
    }

    #[test]
    fn loads_are_found() {
        for through_table in [false, true] {
            assert!(check(&[0xff, 0x15], through_table, 0));
            assert!(check(&[0x48, 0x8b, 0x05], through_table, 9));
            assert!(check(&[0x4c, 0x8b, 0x1d], through_table, 20));
            assert!(!check(&[0x48, 0x8b, 0x45], through_table, 9));
            assert!(!check(&[0x48, 0x8b, 0x05], through_table, 50));
        }
    }

    #[test]
    fn unreadable_memory_is_no_word() {
        assert_eq!(read_word(8), None);
        let word = Box::new(77usize);
        assert_eq!(read_word(std::ptr::from_ref(&*word) as usize), Some(77));
        assert!(!loads(8, 0));
    }
}
