//! `DUMP` payloads: type and value as in a file, then the version and a checksum.
use super::{crc64, encode, Decoder, Reader, Writer, VERSION};
use crate::keyspace::value::{Value, ValueRef};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Two bytes of version, eight of checksum.
const FOOTER: usize = 10;

/// Why a payload was refused.
#[derive(Debug)]
pub enum RestoreError {
    /// "DUMP payload version or checksum are wrong"
    Footer,
    /// "Bad data format"
    Format(super::RdbError),
}

/// Serialises a value. `None` if its module cannot.
pub fn dump(value: ValueRef<'_>, key: (&[u8], usize), compress: bool) -> Option<Vec<u8>> {
    let mut out = Writer::to_memory(compress);
    out.byte(encode::type_of(&value));
    encode::value(&mut out, value, Some(key));
    if let Some(e) = out.take_error() {
        crate::log_warning!("DUMP failed: {e}");
        return None;
    }
    Some(seal(out.into_bytes()))
}

/// Adds the footer to a payload.
pub fn seal(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.extend_from_slice(&(VERSION as u16).to_le_bytes());
    let crc = crc64::update(0, &bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

/// `DEBUG SET-SKIP-CHECKSUM-VALIDATION`
pub static SKIP_CHECKSUM: AtomicBool = AtomicBool::new(false);

/// A payload without its footer; `None` if the footer is wrong.
pub fn unseal(payload: &[u8]) -> Option<&[u8]> {
    let (body, footer) = payload.split_at(payload.len().checked_sub(FOOTER)?);
    let version = u32::from(u16::from_le_bytes([footer[0], footer[1]]));
    let crc = crc64::update(0, &payload[..payload.len() - 8]);
    let sound = SKIP_CHECKSUM.load(Relaxed) || crc.to_le_bytes() == footer[2..];
    (version <= VERSION && sound).then_some(body)
}

/// Reads a payload back.
pub fn restore(payload: &[u8], decoder: &Decoder<'_>) -> Result<Value, RestoreError> {
    let body = unseal(payload).ok_or(RestoreError::Footer)?;
    // What follows the value is not looked at, as on Redis.
    let mut r = Reader::of_memory(body);
    let ty = r.byte().map_err(RestoreError::Format)?;
    decoder.value(&mut r, ty).map_err(RestoreError::Format)
}
