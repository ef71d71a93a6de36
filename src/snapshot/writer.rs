//! Writing the building blocks of RDB: lengths, strings, numbers.
use super::{crc64, lzf, EncodedInt};
use crate::keyspace::number::parse_i64;
use std::fs::File;
use std::io::{self, Write};

/// A file is written in pieces of about this size.
const PIECE: usize = 64 << 10;

/// Where RDB bytes go: into memory, or through a buffer into a file. An error sticks: what follows it is dropped, and
/// [`Writer::finish_file`] reports it.
pub struct Writer {
    buf: Vec<u8>,
    file: Option<File>,
    compress: bool,
    /// Strings that [`Writer::settle_into`] will compress: where they are in `buf`, and their lengths.
    later: Option<Vec<(usize, usize)>>,
    checksum: Option<u64>,
    written: u64,
    /// After this many bytes the file is flushed to the disk, so that the final flush is short. 0: only at the end.
    sync_every: u64,
    /// Bytes of the file that are on their way to the disk.
    synced: u64,
    /// Bytes of the file behind those.
    unsynced: u64,
    error: Option<io::Error>,
}

/// Starts to bring `len` bytes from `at` on to the disk, and waits for those before them: so the disk is never far
/// behind, and the file is not waited for at each step.
#[cfg(target_os = "linux")]
fn sync_behind(file: &File, at: u64, len: u64) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let wait = libc::SYNC_FILE_RANGE_WAIT_BEFORE
        | libc::SYNC_FILE_RANGE_WRITE
        | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    let before = at.saturating_sub(len);
    for (from, len, how) in [(at, len, libc::SYNC_FILE_RANGE_WRITE), (before, at - before, wait)] {
        // A length of 0 would mean the rest of the file.
        if len == 0 {
            continue;
        }
        // SAFETY: layout: a plain system call on a descriptor that is open.
        let result =
            unsafe { libc::sync_file_range(file.as_raw_fd(), from as i64, len as i64, how) };
        if result != 0 {
            return file.sync_data();
        }
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn sync_behind(file: &File, _: u64, _: u64) -> io::Result<()> {
    file.sync_data()
}

impl Writer {
    /// Writes into memory.
    pub fn to_memory(compress: bool) -> Writer {
        Writer {
            buf: Vec::new(),
            file: None,
            compress,
            later: None,
            checksum: None,
            written: 0,
            sync_every: 0,
            synced: 0,
            unsynced: 0,
            error: None,
        }
    }

    /// Writes into memory, and leaves compression to [`Writer::settle_into`]: for those who have little time.
    pub fn to_memory_for_now(compress: bool) -> Writer {
        Writer { later: compress.then(Vec::new), ..Writer::to_memory(compress) }
    }

    /// Brings what was written to memory into another writer, compressed as that one does it.
    pub fn settle_into(&mut self, out: &mut Writer) {
        let mut from = 0;
        for (at, len) in self.later.iter_mut().flat_map(std::mem::take) {
            out.raw(&self.buf[from..at]);
            out.string(&self.buf[at..at + len]);
            from = at + len;
        }
        out.raw(&self.buf[from..]);
        self.buf.clear();
        if let Some(e) = self.error.take() {
            out.fail(e);
        }
    }

    /// Whether nothing was written since the start, or since [`Writer::settle_into`].
    pub fn is_empty(&self) -> bool {
        self.buf.is_empty() && self.error.is_none()
    }

    /// Bytes in memory.
    pub fn buffered(&self) -> usize {
        self.buf.len()
    }

    /// Bytes in memory, so far; for a writer to memory that compresses at once.
    pub fn bytes(&self) -> &[u8] {
        &self.buf
    }

    /// Forgets the bytes in memory.
    pub fn clear(&mut self) {
        self.buf.clear();
    }

    /// Writes into a file.
    pub fn to_file(file: File, compress: bool, checksum: bool, sync_every: u64) -> Writer {
        Writer {
            file: Some(file),
            checksum: checksum.then_some(0),
            sync_every,
            ..Writer::to_memory(compress)
        }
    }

    /// Bytes written so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Whether writing has failed.
    pub fn failed(&self) -> bool {
        self.error.is_some()
    }

    /// Makes the writer fail, for a reason other than the file.
    pub fn fail(&mut self, error: io::Error) {
        self.error.get_or_insert(error);
    }

    /// Writes bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.written += bytes.len() as u64;
        self.buf.extend_from_slice(bytes);
        if self.file.is_some() && self.buf.len() >= PIECE {
            self.flush();
        }
    }

    /// Lets `f` write into the buffer.
    pub fn append(&mut self, f: impl FnOnce(&mut Vec<u8>)) {
        let before = self.buf.len();
        f(&mut self.buf);
        self.written += (self.buf.len() - before) as u64;
        if self.file.is_some() && self.buf.len() >= PIECE {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if let Some(crc) = &mut self.checksum {
            *crc = crc64::update(*crc, &self.buf);
        }
        if let (Some(file), None) = (&mut self.file, &self.error) {
            let mut result = file.write_all(&self.buf);
            self.unsynced += self.buf.len() as u64;
            if result.is_ok() && self.sync_every > 0 && self.unsynced >= self.sync_every {
                result = sync_behind(file, self.synced, self.unsynced);
                self.synced += self.unsynced;
                self.unsynced = 0;
            }
            self.error = result.err();
        }
        self.buf.clear();
    }

    /// A single byte: a type or an opcode.
    pub fn byte(&mut self, byte: u8) {
        self.raw(&[byte]);
    }

    /// A length, in the shortest of its four forms.
    pub fn len(&mut self, len: u64) {
        match len {
            0..=0x3f => self.byte(len as u8),
            0x40..=0x3fff => self.raw(&[0x40 | (len >> 8) as u8, len as u8]),
            0x4000..=0xffff_ffff => {
                self.byte(0x80);
                self.raw(&(len as u32).to_be_bytes());
            }
            _ => {
                self.byte(0x81);
                self.raw(&len.to_be_bytes());
            }
        }
    }

    /// A string: as an integer if it is a short one, compressed if that helps, else as it is.
    pub fn string(&mut self, text: &[u8]) {
        if text.len() <= 11 {
            if let Some(encoded) = parse_i64(text).and_then(EncodedInt::of) {
                self.raw(encoded.bytes());
                return;
            }
        }
        if self.compress && text.len() > 20 {
            if let Some(later) = &mut self.later {
                later.push((self.buf.len(), text.len()));
                self.raw(text);
                return;
            }
            if let Some(small) = lzf::compress(text, text.len() - 4) {
                self.byte(super::ENCODED_LZF);
                self.len(small.len() as u64);
                self.len(text.len() as u64);
                self.raw(&small);
                return;
            }
        }
        self.len(text.len() as u64);
        self.raw(text);
    }

    /// An integer as a string.
    pub fn int_string(&mut self, value: i64) {
        match EncodedInt::of(value) {
            Some(encoded) => self.raw(encoded.bytes()),
            None => {
                let text = crate::keyspace::number::format_i64(value);
                self.len(text.as_bytes().len() as u64);
                self.raw(text.as_bytes());
            }
        }
    }

    /// A time in milliseconds: eight bytes, little endian.
    pub fn millis(&mut self, ms: i64) {
        self.raw(&ms.to_le_bytes());
    }

    /// A double: eight bytes, little endian.
    pub fn double(&mut self, value: f64) {
        self.raw(&value.to_le_bytes());
    }

    /// The bytes written to memory.
    pub fn into_bytes(self) -> Vec<u8> {
        self.buf
    }

    /// The error that has stuck.
    pub fn take_error(&mut self) -> Option<io::Error> {
        self.error.take()
    }

    /// Appends the checksum (zero without one) and brings everything to the disk.
    pub fn finish_file(mut self) -> io::Result<()> {
        self.flush();
        let crc = self.checksum.take().unwrap_or(0);
        self.raw(&crc.to_le_bytes());
        self.finish_plain()
    }

    /// Brings everything to the disk.
    pub fn finish_plain(mut self) -> io::Result<()> {
        self.flush();
        if let Some(e) = self.error {
            return Err(e);
        }
        match self.file {
            Some(file) => file.sync_all(),
            None => Ok(()),
        }
    }
}
