//! CRC-64 as RDB files and `DUMP` payloads have it: polynomial ad93d23594c935a9, reflected, no initial or final mask.

const TABLES: [[u64; 256]; 8] = tables();

const fn tables() -> [[u64; 256]; 8] {
    // The polynomial with its bits in reverse order, for the reflected form.
    const POLYNOMIAL: u64 = 0xad93_d235_94c9_35a9_u64.reverse_bits();
    let mut t = [[0u64; 256]; 8];
    let mut i = 0;
    while i < 256 {
        let mut c = i as u64;
        let mut bit = 0;
        while bit < 8 {
            c = if c & 1 == 1 { (c >> 1) ^ POLYNOMIAL } else { c >> 1 };
            bit += 1;
        }
        t[0][i] = c;
        i += 1;
    }
    let mut n = 1;
    while n < 8 {
        let mut i = 0;
        while i < 256 {
            let c = t[n - 1][i];
            t[n][i] = (c >> 8) ^ t[0][(c & 0xff) as usize];
            i += 1;
        }
        n += 1;
    }
    t
}

/// The checksum of what `crc` is the checksum of, followed by `bytes`. Begins with 0.
pub fn update(mut crc: u64, bytes: &[u8]) -> u64 {
    // Eight bytes a step: one look-up per byte, none of which waits for another.
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        let word = crc ^ chunk.iter().rev().fold(0u64, |w, &b| w << 8 | u64::from(b));
        crc = 0;
        let mut i = 0;
        while i < 8 {
            crc ^= TABLES[7 - i][(word >> (8 * i) & 0xff) as usize];
            i += 1;
        }
    }
    for &b in chunks.remainder() {
        crc = (crc >> 8) ^ TABLES[0][((crc ^ u64::from(b)) & 0xff) as usize];
    }
    crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_value_and_split() {
        assert_eq!(update(0, b"123456789"), 0xe9c6_d914_c4b8_d9ca);
        let data: Vec<u8> = (0..1000u32).map(|i| (i * 7 + i / 13) as u8).collect();
        let whole = update(0, &data);
        let reference = crc::Crc::<u64>::new(&crc::CRC_64_REDIS).checksum(&data);
        assert_eq!(whole, reference);
        for cut in [0, 1, 7, 8, 9, 500, 999] {
            assert_eq!(update(update(0, &data[..cut]), &data[cut..]), whole);
        }
    }
}
