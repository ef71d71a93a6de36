//! Many elements at once.
use super::item::{back_len_size, write_back_len, Encoded, LpItem, MAX_BACK, MAX_PREFIX};
use std::cell::Cell;

/// Elements in their final form, to be appended at once by [`Listpack::extend`].
pub struct Batch {
    pub(super) bytes: Vec<u8>,
    pub(super) count: usize,
}

thread_local! {
    /// The buffer of a thread's last batch.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Larger buffers are not kept.
const SPARE_SIZE: usize = 16 * 1024;

impl Default for Batch {
    fn default() -> Batch {
        Batch { bytes: SPARE.take(), count: 0 }
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        if self.bytes.capacity() <= SPARE_SIZE {
            self.bytes.clear();
            SPARE.set(std::mem::take(&mut self.bytes));
        }
    }
}

// The frequent small cases of `Encoded` stand here once more: they go without its buffer and its loops.
impl Batch {
    /// Adds an integer.
    #[inline]
    pub fn int(&mut self, value: i64) {
        match value {
            0..=127 => self.bytes.extend_from_slice(&[value as u8, 1]),
            -4096..=4095 => {
                let head = 0xc0 | (value >> 8) as u8 & 0x1f;
                self.bytes.extend_from_slice(&[head, value as u8, 2]);
            }
            _ => {
                let mut prefix = [0; MAX_PREFIX];
                let len = Encoded::int(value, &mut prefix);
                self.bytes.extend_from_slice(&prefix[..len]);
                self.bytes.push(len as u8);
            }
        }
        self.count += 1;
    }

    /// Adds a text; one that is a canonical integer is stored as one.
    #[inline]
    pub fn text(&mut self, text: &[u8]) {
        match LpItem::parse(text) {
            LpItem::Int(value) => self.int(value),
            LpItem::Str(text) if text.len() < 64 => {
                let len = text.len() as u8;
                self.bytes.reserve(text.len() + 2);
                self.bytes.push(0x80 | len);
                self.bytes.extend_from_slice(text);
                self.bytes.push(len + 1);
                self.count += 1;
            }
            LpItem::Str(text) => self.long_text(text),
        }
    }

    fn long_text(&mut self, text: &[u8]) {
        let new = Encoded::of(LpItem::Str(text));
        let len = new.len();
        let mut back = [0; MAX_BACK];
        let back = &mut back[..back_len_size(len)];
        write_back_len(back, len);
        self.bytes.reserve(len + back.len());
        self.bytes.extend_from_slice(&new.prefix[..new.prefix_len]);
        self.bytes.extend_from_slice(text);
        self.bytes.extend_from_slice(back);
        self.count += 1;
    }
}
