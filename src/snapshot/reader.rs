//! Reading the building blocks of RDB. Nothing that a file says is believed: a length that is longer than what is left
//! is an error before any memory is reserved for it.
use super::{crc64, lzf, RdbError, Result};
use std::borrow::Cow;
use std::fs::File;
use std::io::Read;

/// Memory for a long string is reserved in steps of this size when the length of the source is unknown.
const STEP: usize = 16 << 20;

/// A file is read in pieces of this size.
const PIECE: usize = 256 << 10;

/// A file and what was read ahead of it.
struct Ahead {
    file: File,
    buf: Box<[u8]>,
    /// What is next in `buf`.
    at: usize,
    end: usize,
    /// Up to where the checksum goes, if there is one.
    summed: usize,
    crc: Option<u64>,
}

impl Ahead {
    fn sum(&mut self) {
        if let Some(crc) = &mut self.crc {
            *crc = crc64::update(*crc, &self.buf[self.summed..self.at]);
        }
        self.summed = self.at;
    }

    /// Some bytes that are next; none at the end of the file.
    fn piece(&mut self, most: usize) -> std::io::Result<&[u8]> {
        if self.at == self.end {
            self.sum();
            (self.at, self.summed) = (0, 0);
            self.end = loop {
                match self.file.read(&mut self.buf) {
                    Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                    other => break other?,
                }
            };
        }
        let from = self.at;
        self.at = self.end.min(from.saturating_add(most));
        Ok(&self.buf[from..self.at])
    }
}

enum Source<'a> {
    Memory(&'a [u8]),
    File(Ahead),
}

/// Where RDB bytes come from: memory or a file.
pub struct Reader<'a> {
    source: Source<'a>,
    pos: u64,
    size: u64,
    /// What is read is copied here.
    record: Option<Vec<u8>>,
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
        Reader { source: Source::Memory(bytes), pos: 0, size, record: None }
    }

    /// Reads a file, and computes the checksum if asked to.
    pub fn of_file(file: File, checksum: bool) -> std::io::Result<Reader<'static>> {
        let meta = file.metadata()?;
        let size = if meta.is_file() { meta.len() } else { u64::MAX };
        let buf = vec![0; PIECE].into_boxed_slice();
        let crc = checksum.then_some(0);
        let source = Source::File(Ahead { file, buf, at: 0, end: 0, summed: 0, crc });
        Ok(Reader { source, pos: 0, size, record: None })
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
    pub fn checksum(&mut self) -> Option<u64> {
        match &mut self.source {
            Source::Memory(_) => None,
            Source::File(ahead) => {
                ahead.sum();
                ahead.crc
            }
        }
    }

    /// Copies what is read from now on into a buffer, behind what it has.
    pub fn record(&mut self, into: Vec<u8>) {
        self.record = Some(into);
    }

    /// Ends [`Reader::record`].
    pub fn recorded(&mut self) -> Vec<u8> {
        self.record.take().unwrap_or_default()
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
            Source::File(ahead) => {
                let mut filled = 0;
                while filled < buf.len() {
                    let piece = ahead.piece(buf.len() - filled).map_err(RdbError::Io)?;
                    if piece.is_empty() {
                        return Err(self.corrupt(super::SHORT));
                    }
                    buf[filled..filled + piece.len()].copy_from_slice(piece);
                    filled += piece.len();
                }
            }
        }
        self.pos += buf.len() as u64;
        if let Some(record) = &mut self.record {
            record.extend_from_slice(buf);
        }
        Ok(())
    }

    /// Passes over so many bytes.
    pub fn skip(&mut self, len: u64) -> Result<()> {
        if len > self.left() {
            return Err(self.corrupt(super::SHORT));
        }
        let mut left = len;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX);
            let piece = match &mut self.source {
                Source::Memory(rest) => {
                    let (head, tail) = rest.split_at(most.min(rest.len()));
                    *rest = tail;
                    head
                }
                Source::File(ahead) => ahead.piece(most).map_err(RdbError::Io)?,
            };
            if piece.is_empty() {
                return Err(self.corrupt(super::SHORT));
            }
            if let Some(record) = &mut self.record {
                record.extend_from_slice(piece);
            }
            left -= piece.len() as u64;
            self.pos += piece.len() as u64;
        }
        Ok(())
    }

    /// Passes over a string in any encoding.
    pub fn skip_string(&mut self) -> Result<()> {
        match self.length()? {
            Length::Plain(n) => self.skip(n),
            Length::Encoded(0) => self.skip(1),
            Length::Encoded(1) => self.skip(2),
            Length::Encoded(2) => self.skip(4),
            Length::Encoded(3) => {
                let small = self.number()?;
                self.number()?;
                self.skip(small)
            }
            Length::Encoded(other) => {
                Err(self.corrupt(format!("Unknown RDB string encoding type {other}")))
            }
        }
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
            let short = super::SHORT;
            return Err(self.corrupt(format!("{short}: {n} elements cannot be in what is left")));
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
