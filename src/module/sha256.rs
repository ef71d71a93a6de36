//! What a module's file contains, as a SHA-256: for `module-allow-sha256`, the log and reports.
use sha2::{Digest as _, Sha256};

/// A hash.
pub type Hash = [u8; 32];

/// The hash of bytes.
pub fn of(bytes: &[u8]) -> Hash {
    Sha256::digest(bytes).into()
}

/// 64 digits.
pub fn hex(hash: &Hash) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads 64 digits, in any case.
pub fn parse(text: &[u8]) -> Option<Hash> {
    let digit = |c: u8| char::from(c).to_digit(16).map(|d| d as u8);
    let mut hash = Hash::default();
    if text.len() != 2 * hash.len() {
        return None;
    }
    for (byte, pair) in hash.iter_mut().zip(text.chunks(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_and_their_texts() {
        // The standard's example.
        let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex(&of(b"abc")), text);
        assert_eq!(parse(text.to_uppercase().as_bytes()), Some(of(b"abc")));
        assert_eq!(parse(&text.as_bytes()[1..]), None);
        assert_eq!(parse(text.replace('b', "g").as_bytes()), None);
    }
}
