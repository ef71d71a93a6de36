//! Reading the building blocks of RDB. Nothing that a file says is believed: a length that is longer than what is left
//! is an error before any memory is reserved for it.
use super::{crc64, lzf, RdbError, Result};
use std::borrow::Cow;
use std::fs::File;
use std::io::{BufReader, Read};

/// Memory for a long string is reserved in steps of this size when the length of the source is unknown.
const STEP: usize = 16 << 20;

enum Source<'a> {
    Memory(&'a [u8]),
    File(BufReader<File>),
}

/// Where RDB bytes come from: memory or a file.
pub struct Reader<'a> {
    source: Source<'a>,
    pos: u64,
    size: u64,
    crc: Option<u64>,
}

/// A length, or the announcement of an encoded string.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Length {
    /// A length.
    Plain(u64),
    /// The six bits of an encoding.
    Encoded(u8),
}

impl<'a> Reader<'a> {
    /// Reads from memory.
    pub fn of_memory(bytes: &'a [u8]) -> Reader<'a> {
        let size = bytes.len() as u64;
        Reader { source: Source::Memory(bytes), pos: 0, size, crc: None }
    }

    /// Reads a file, and computes the checksum if asked to.
    pub fn of_file(file: File, checksum: bool) -> std::io::Result<Reader<'static>> {
        let meta = file.metadata()?;
        let size = if meta.is_file() { meta.len() } else { u64::MAX };
        let source = Source::File(BufReader::with_capacity(256 << 10, file));
        Ok(Reader { source, pos: 0, size, crc: checksum.then_some(0) })
    }

    /// Bytes read so far.
    pub fn position(&self) -> u64 {
        self.pos
    }

    /// Size of the source; `u64::MAX` if it is unknown.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The checksum of what was read so far, if it is computed.
    pub fn checksum(&self) -> Option<u64> {
        self.crc
    }

    /// Bytes that are left at most.
    pub fn left(&self) -> u64 {
        self.size - self.pos.min(self.size)
    }

    /// An error at this place.
    pub fn corrupt(&self, cause: impl Into<Cow<'static, str>>) -> RdbError {
        RdbError::Corrupt { at: self.pos, cause: cause.into() }
    }

    fn fill(&mut self, buf: &mut [u8]) -> Result<()> {
        match &mut self.source {
            Source::Memory(rest) => {
                if rest.len() < buf.len() {
                    return Err(self.corrupt(super::SHORT));
                }
                let (head, tail) = rest.split_at(buf.len());
                buf.copy_from_slice(head);
                *rest = tail;
            }
            Source::File(file) => {
                if let Err(e) = file.read_exact(buf) {
                    return Err(match e.kind() {
                        std::io::ErrorKind::UnexpectedEof => self.corrupt(super::SHORT),
                        _ => RdbError::Io(e),
                    });
                }
            }
        }
        self.pos += buf.len() as u64;
        if let Some(crc) = &mut self.crc {
            *crc = crc64::update(*crc, buf);
        }
        Ok(())
    }

    /// A fixed number of bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut buf = [0; N];
        self.fill(&mut buf)?;
        Ok(buf)
    }

    /// One byte: a type or an opcode.
    pub fn byte(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    /// So many bytes.
    pub fn bytes(&mut self, len: u64) -> Result<Vec<u8>> {
        if len > self.left() {
            return Err(self.corrupt(super::SHORT));
        }
        let len = usize::try_from(len).map_err(|_| self.corrupt(super::SHORT))?;
        let mut out = Vec::new();
        while out.len() < len {
            let have = out.len();
            let step = if self.size == u64::MAX { (len - have).min(STEP) } else { len - have };
            out.try_reserve_exact(step).map_err(|_| self.corrupt("out of memory for a string"))?;
            out.resize(have + step, 0);
            self.fill(&mut out[have..])?;
        }
        Ok(out)
    }

    /// A length, or the announcement of an encoded string.
    pub fn length(&mut self) -> Result<Length> {
        let first = self.byte()?;
        Ok(match first >> 6 {
            0 => Length::Plain(u64::from(first & 0x3f)),
            1 => Length::Plain(u64::from(first & 0x3f) << 8 | u64::from(self.byte()?)),
            3 => Length::Encoded(first & 0x3f),
            _ if first == 0x80 => Length::Plain(u64::from(u32::from_be_bytes(self.array()?))),
            _ if first == 0x81 => Length::Plain(u64::from_be_bytes(self.array()?)),
            _ => return Err(self.corrupt(format!("unknown form of a length: {first:#04x}"))),
        })
    }

    /// A length, or any number in the form of one.
    pub fn number(&mut self) -> Result<u64> {
        match self.length()? {
            Length::Plain(n) => Ok(n),
            Length::Encoded(_) => Err(self.corrupt("an encoded string where a length belongs")),
        }
    }

    /// A number of elements of at least `bytes` bytes each, so that a wrong one is found at once.
    pub fn count(&mut self, bytes: u64) -> Result<u64> {
        let n = self.number()?;
        if n > self.left() / bytes.max(1) {
            return Err(self.corrupt(format!("{n} elements cannot be in what is left of the file")));
        }
        Ok(n)
    }

    /// A string in any encoding.
    pub fn string(&mut self) -> Result<Vec<u8>> {
        let encoding = match self.length()? {
            Length::Plain(n) => return self.bytes(n),
            Length::Encoded(e) => e,
        };
        let int = match encoding {
            0 => i64::from(self.byte()? as i8),
            1 => i64::from(i16::from_le_bytes(self.array()?)),
            2 => i64::from(i32::from_le_bytes(self.array()?)),
            3 => {
                let small = self.number()?;
                let len = self.number()?;
                let small = self.bytes(small)?;
                return usize::try_from(len)
                    .ok()
                    .and_then(|len| lzf::decompress(&small, len))
                    .ok_or_else(|| self.corrupt("Invalid LZF compressed string"));
            }
            _ => {
                return Err(self.corrupt(format!("Unknown RDB string encoding type {encoding}")));
            }
        };
        Ok(int.to_string().into_bytes())
    }

    /// A time in milliseconds.
    pub fn millis(&mut self) -> Result<i64> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    /// A double of eight bytes.
    pub fn double(&mut self) -> Result<f64> {
        Ok(f64::from_le_bytes(self.array()?))
    }

    /// A double as text, as old sorted sets have it: a length, of which 253 to 255 stand for nan and the infinities.
    pub fn text_double(&mut self) -> Result<f64> {
        Ok(match self.byte()? {
            255 => f64::NEG_INFINITY,
            254 => f64::INFINITY,
            253 => f64::NAN,
            n => {
                let text = self.bytes(u64::from(n))?;
                let value = std::str::from_utf8(&text).ok().and_then(|t| t.trim().parse().ok());
                value.ok_or_else(|| self.corrupt("a score that is no number"))?
            }
        })
    }
}
