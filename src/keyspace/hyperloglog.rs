//! HyperLogLog values: strings in the format that Redis stores and replicates.
//!
//! A header of 16 bytes (`HYLL`, the form, three zeros, the cached count in little endian, whose top bit says that it is
//! out of date) is followed by 16384 registers. Dense: 6 bits each, from the lowest bit on. Sparse: runs of equal
//! registers, `00nnnnnn` for up to 64 zeros, `01nnnnnn nnnnnnnn` for up to 16384 zeros, `1vvvvvnn` for up to four
//! registers of a value up to 32. The estimate is that of O. Ertl, "New cardinality estimation algorithms for HyperLogLog
//! sketches".

/// Bits of a hash that choose the register.
const INDEX_BITS: u32 = 14;
/// Number of registers.
pub const REGISTERS: usize = 1 << INDEX_BITS;
/// Bits of a hash that are left for counting zeros.
const COUNTED_BITS: u32 = 64 - INDEX_BITS;
const HEADER: usize = 16;
const DENSE_LEN: usize = HEADER + REGISTERS * 6 / 8;
const MAX_SPARSE_VALUE: u8 = 32;
const MAX_SPARSE_RUN: usize = 4;
const MAX_SHORT_ZEROS: usize = 64;
/// Runs that are looked at for merging after a change.
const MERGE_SCAN: usize = 5;

/// The registers do not add up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Corrupt;

/// An empty value, in sparse form.
pub fn empty() -> Vec<u8> {
    let mut hll = b"HYLL\x01".to_vec();
    hll.resize(HEADER, 0);
    push_zeros(&mut hll, REGISTERS);
    hll
}

/// Whether a string looks like such a value.
pub fn is_valid(hll: &[u8]) -> bool {
    hll.len() >= HEADER
        && hll.starts_with(b"HYLL")
        && match hll[4] {
            0 => hll.len() == DENSE_LEN,
            form => form == 1,
        }
}

/// Whether a valid value is in dense form.
pub fn is_dense(hll: &[u8]) -> bool {
    hll[4] == 0
}

/// The cached count, unless it is out of date.
pub fn cached(hll: &[u8]) -> Option<u64> {
    let card = u64::from_le_bytes(hll[8..HEADER].try_into().ok()?);
    (card >> 63 == 0).then_some(card)
}

/// Stores a count.
pub fn set_cached(hll: &mut [u8], count: u64) {
    hll[8..HEADER].copy_from_slice(&count.to_le_bytes());
}

/// Marks the cached count as out of date.
pub fn invalidate(hll: &mut [u8]) {
    hll[HEADER - 1] |= 0x80;
}

/// MurmurHash2, 64 bits (A. Appleby), with the seed that stored values depend on.
fn hash(data: &[u8]) -> u64 {
    const M: u64 = 0xc6a4_a793_5bd1_e995;
    const SEED: u64 = 0xadc8_3b19;
    let mut h = SEED ^ (data.len() as u64).wrapping_mul(M);
    let mut words = data.chunks_exact(8);
    for word in &mut words {
        let mut k = word.iter().rev().fold(0u64, |k, &b| k << 8 | u64::from(b)).wrapping_mul(M);
        k = (k ^ k >> 47).wrapping_mul(M);
        h = (h ^ k).wrapping_mul(M);
    }
    let tail = words.remainder();
    if !tail.is_empty() {
        let k = tail.iter().rev().fold(0u64, |k, &b| k << 8 | u64::from(b));
        h = (h ^ k).wrapping_mul(M);
    }
    h = (h ^ h >> 47).wrapping_mul(M);
    h ^ h >> 47
}

/// The register of an element, and the length of the run of zeros that ends with a one.
fn place(element: &[u8]) -> (usize, u8) {
    let h = hash(element);
    let rest = h >> INDEX_BITS | 1 << COUNTED_BITS;
    (h as usize & (REGISTERS - 1), rest.trailing_zeros() as u8 + 1)
}

/// Adds an element; true if that changed a register. `max_sparse` is `hll-sparse-max-bytes`.
pub fn add(hll: &mut Vec<u8>, element: &[u8], max_sparse: usize) -> Result<bool, Corrupt> {
    let (index, value) = place(element);
    raise(hll, index, value, max_sparse)
}

/// Raises a register to a value; true if it was lower.
pub fn raise(
    hll: &mut Vec<u8>,
    index: usize,
    value: u8,
    max_sparse: usize,
) -> Result<bool, Corrupt> {
    if is_dense(hll) {
        return Ok(raise_dense(hll, index, value));
    }
    if value > MAX_SPARSE_VALUE {
        to_dense(hll)?;
        return Ok(raise_dense(hll, index, value));
    }
    raise_sparse(hll, index, value, max_sparse)
}

fn dense_register(hll: &[u8], index: usize) -> u8 {
    let (byte, bit) = (HEADER + index * 6 / 8, index * 6 % 8);
    let next = hll.get(byte + 1).copied().unwrap_or(0);
    ((u16::from(hll[byte]) | u16::from(next) << 8) >> bit) as u8 & 63
}

fn raise_dense(hll: &mut [u8], index: usize, value: u8) -> bool {
    if value <= dense_register(hll, index) {
        return false;
    }
    let (byte, bit) = (HEADER + index * 6 / 8, index * 6 % 8);
    let (mask, value) = (63u16 << bit, u16::from(value) << bit);
    hll[byte] = hll[byte] & !mask as u8 | value as u8;
    if bit > 2 {
        hll[byte + 1] = hll[byte + 1] & !(mask >> 8) as u8 | (value >> 8) as u8;
    }
    true
}

/// A run of the sparse form.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Run {
    /// Value of its registers; zero for runs of zeros.
    value: u8,
    /// Number of its registers.
    len: usize,
    /// Bytes that it takes.
    bytes: usize,
}

fn run_at(hll: &[u8], at: usize) -> Option<Run> {
    let first = *hll.get(at)?;
    Some(match first >> 6 {
        0 => Run { value: 0, len: usize::from(first & 63) + 1, bytes: 1 },
        1 => {
            // Redis finds the zero there that ends every string, if somebody cut the value off.
            let low = usize::from(hll.get(at + 1).copied().unwrap_or(0));
            Run { value: 0, len: (usize::from(first & 63) << 8 | low) + 1, bytes: 2 }
        }
        _ => Run { value: (first >> 2 & 31) + 1, len: usize::from(first & 3) + 1, bytes: 1 },
    })
}

fn push_zeros(out: &mut Vec<u8>, len: usize) {
    match len {
        0 => {}
        1..=MAX_SHORT_ZEROS => out.push(len as u8 - 1),
        _ => out.extend([0x40 | ((len - 1) >> 8) as u8, (len - 1) as u8]),
    }
}

fn value_run(value: u8, len: usize) -> u8 {
    0x80 | (value - 1) << 2 | (len as u8 - 1)
}

fn push_run(out: &mut Vec<u8>, value: u8, len: usize) {
    match (value, len) {
        (_, 0) => {}
        (0, _) => push_zeros(out, len),
        _ => out.push(value_run(value, len)),
    }
}

fn raise_sparse(
    hll: &mut Vec<u8>,
    index: usize,
    value: u8,
    max_sparse: usize,
) -> Result<bool, Corrupt> {
    let (mut at, mut first, mut before) = (HEADER, 0, None);
    let run = loop {
        let run = run_at(hll, at).ok_or(Corrupt)?;
        if index < first + run.len {
            break run;
        }
        before = Some(at);
        at += run.bytes;
        first += run.len;
    };
    if run.value >= value {
        return Ok(false);
    }
    let mut new = Vec::with_capacity(5);
    push_run(&mut new, run.value, index - first);
    push_run(&mut new, value, 1);
    push_run(&mut new, run.value, first + run.len - 1 - index);
    if new.len() > run.bytes && hll.len() + new.len() - run.bytes > max_sparse {
        to_dense(hll)?;
        return Ok(raise_dense(hll, index, value));
    }
    let (end, whole) = (hll.len(), at + run.bytes);
    hll.splice(at..whole.min(end), new);
    if whole > end {
        hll.pop();
    }
    merge(hll, before.unwrap_or(HEADER));
    invalidate(hll);
    Ok(true)
}

/// Merges neighbouring runs of equal values, in a few runs from `at` on.
fn merge(hll: &mut Vec<u8>, mut at: usize) {
    for _ in 0..MERGE_SCAN {
        let Some(run) = run_at(hll, at) else { return };
        if run.value > 0 {
            if let Some(next) = run_at(hll, at + 1).filter(|n| n.value == run.value) {
                if run.len + next.len <= MAX_SPARSE_RUN {
                    hll[at + 1] = value_run(run.value, run.len + next.len);
                    hll.remove(at);
                    continue;
                }
            }
        }
        at += run.bytes;
    }
}

/// Calls `f` with each run of registers: the first one's number, the value, how many. `lenient`: values behind the last
/// register are not looked at.
fn runs(hll: &[u8], lenient: bool, mut f: impl FnMut(usize, u8, usize)) -> Result<(), Corrupt> {
    if is_dense(hll) {
        (0..REGISTERS).for_each(|i| f(i, dense_register(hll, i), 1));
        return Ok(());
    }
    let (mut at, mut first) = (HEADER, 0);
    while at < hll.len() {
        let run = run_at(hll, at).ok_or(Corrupt)?;
        if first + run.len > REGISTERS {
            // A value behind the last register is where Redis stops reading; it complains if zeros pass it.
            if run.value > 0 && lenient {
                break;
            }
            return Err(Corrupt);
        }
        f(first, run.value, run.len);
        first += run.len;
        at += run.bytes;
    }
    if first == REGISTERS {
        Ok(())
    } else {
        Err(Corrupt)
    }
}

/// Brings a valid value into dense form.
pub fn to_dense(hll: &mut Vec<u8>) -> Result<(), Corrupt> {
    if is_dense(hll) {
        return Ok(());
    }
    let mut dense = hll[..HEADER].to_vec();
    dense[4] = 0;
    dense.resize(DENSE_LEN, 0);
    runs(hll, true, |first, value, len| {
        if value > 0 {
            (first..first + len).for_each(|i| {
                raise_dense(&mut dense, i, value);
            });
        }
    })?;
    *hll = dense;
    Ok(())
}

/// Raises each register of `max` to that of a value.
pub fn merge_into(max: &mut [u8; REGISTERS], hll: &[u8]) -> Result<(), Corrupt> {
    runs(hll, true, |first, value, len| {
        max[first..first + len].iter_mut().for_each(|m| *m = value.max(*m));
    })
}

/// The registers of a value.
pub fn registers(hll: &[u8]) -> Result<[u8; REGISTERS], Corrupt> {
    let mut all = [0; REGISTERS];
    merge_into(&mut all, hll)?;
    Ok(all)
}

/// The runs of a sparse value as `PFDEBUG DECODE` prints them.
pub fn decode(hll: &[u8]) -> String {
    let mut parts = Vec::new();
    let mut at = HEADER;
    while let Some(run) = run_at(hll, at) {
        parts.push(match (run.value, run.bytes) {
            (0, 1) => format!("z:{}", run.len),
            (0, _) => format!("Z:{}", run.len),
            (value, _) => format!("v:{value},{}", run.len),
        });
        at += run.bytes;
    }
    parts.join(" ")
}

fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z == before {
            return z;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x).powi(2) * y;
        if z == before {
            return z / 3.0;
        }
    }
}

fn estimate(histogram: &[u32; 64]) -> u64 {
    let m = REGISTERS as f64;
    let last = COUNTED_BITS as usize;
    let mut z = m * tau((m - f64::from(histogram[last + 1])) / m);
    for n in histogram[1..=last].iter().rev() {
        z = (z + f64::from(*n)) * 0.5;
    }
    z += m * sigma(f64::from(histogram[0]) / m);
    (0.5 / std::f64::consts::LN_2 * m * m / z).round() as u64
}

/// The estimated number of elements of a value.
pub fn count(hll: &[u8]) -> Result<u64, Corrupt> {
    let mut histogram = [0; 64];
    runs(hll, false, |_, value, len| histogram[usize::from(value & 63)] += len as u32)?;
    Ok(estimate(&histogram))
}

/// The estimated number of elements that these registers stand for.
pub fn count_registers(registers: &[u8; REGISTERS]) -> u64 {
    let mut histogram = [0; 64];
    registers.iter().for_each(|r| histogram[usize::from(r & 63)] += 1);
    estimate(&histogram)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_agree() {
        let mut sparse = empty();
        let mut dense = empty();
        to_dense(&mut dense).unwrap();
        for i in 0..5000u32 {
            let e = i.to_string();
            let a = add(&mut sparse, e.as_bytes(), 1 << 20).unwrap();
            assert_eq!(add(&mut dense, e.as_bytes(), 0), Ok(a));
            if i % 500 == 0 {
                assert_eq!(registers(&sparse), registers(&dense));
                assert_eq!(count(&sparse), count(&dense));
            }
        }
        assert!(is_valid(&sparse) && is_valid(&dense) && !is_dense(&sparse));
        let n = count(&dense).unwrap() as f64;
        assert!((n - 5000.0).abs() < 5000.0 * 0.05, "{n}");
        assert_eq!(count_registers(&registers(&dense).unwrap()), n as u64);
    }

    #[test]
    fn grows_dense_at_the_limit() {
        let mut hll = empty();
        for i in 0..10_000u32 {
            add(&mut hll, &i.to_le_bytes(), 3000).unwrap();
            assert!(is_dense(&hll) || hll.len() <= 3000);
        }
        assert!(is_dense(&hll));
    }

    #[test]
    fn refuses_what_does_not_add_up() {
        assert!(!is_valid(b"HYLL"));
        let mut hll = empty();
        hll.pop();
        assert_eq!(count(&hll), Err(Corrupt));
        assert_eq!(to_dense(&mut hll.clone()), Err(Corrupt));
        hll.push(0xff);
        hll.push(0xff);
        // As on Redis, what lies behind the last register is not looked at.
        assert!(registers(&hll).is_ok());
    }
}
