//! Messages from other threads on their way to a connection's own thread.
//!
//! What goes to a replica can be much, and how much it is bounds the memory: it is kept in pieces, and taken out piece by
//! piece. One buffer that grows would take twice as much while it does so.
use std::collections::VecDeque;
use std::task::Waker;

/// Bytes of a piece, or a little more than a message.
const PIECE: usize = 256 * 1024;

/// Messages that wait for the connection's own thread.
#[derive(Default)]
pub struct Mailbox {
    /// Encoded messages: the newest.
    bytes: Vec<u8>,
    /// Those before them, if they are in pieces.
    before: Option<Box<Pieces>>,
    /// Wakes the connection's task; there from its beginning to its end.
    pub waker: Option<Waker>,
}

#[derive(Default)]
struct Pieces {
    pieces: VecDeque<Vec<u8>>,
    bytes: usize,
}

impl Mailbox {
    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.bytes.len() + self.before.as_ref().map_or(0, |b| b.bytes)
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Size of the memory in use.
    pub fn size(&self) -> usize {
        let before = self.before.as_ref().map_or(0, |b| b.bytes);
        super::outbox::block(self.bytes.capacity()) + before
    }

    /// Adds a message; in pieces if they are to be taken out so.
    pub fn add(&mut self, message: &[u8], in_pieces: bool) {
        if in_pieces && !self.bytes.is_empty() && self.bytes.len() + message.len() > PIECE {
            let full =
                std::mem::replace(&mut self.bytes, Vec::with_capacity(PIECE.max(message.len())));
            let before = self.before.get_or_insert_default();
            before.bytes += full.len();
            before.pieces.push_back(full);
        }
        self.bytes.extend_from_slice(message);
    }

    /// Moves the oldest piece behind what is in `to`.
    pub fn take_piece(&mut self, to: &mut Vec<u8>) {
        let oldest = self.before.as_mut().and_then(|b| b.pieces.pop_front());
        let mut oldest = match (&mut self.before, oldest) {
            (Some(before), Some(oldest)) => {
                before.bytes -= oldest.len();
                if before.pieces.is_empty() {
                    self.before = None;
                }
                oldest
            }
            _ => std::mem::take(&mut self.bytes),
        };
        if to.is_empty() {
            std::mem::swap(to, &mut oldest);
        } else {
            to.append(&mut oldest);
        }
    }

    /// Moves everything behind what is in `to`.
    pub fn take_all(&mut self, to: &mut Vec<u8>) {
        while !self.is_empty() {
            self.take_piece(to);
        }
    }

    /// Drops what waits.
    pub fn clear(&mut self) {
        self.bytes = Vec::new();
        self.before = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(in_pieces: bool) -> (Mailbox, Vec<u8>) {
        let (mut m, mut all) = (Mailbox::default(), Vec::new());
        for i in 0..100u8 {
            let message = vec![i; 10_000 + 100 * usize::from(i)];
            m.add(&message, in_pieces);
            all.extend(message);
        }
        assert_eq!(m.len(), all.len());
        (m, all)
    }

    #[test]
    fn pieces_come_out_in_order() {
        let (mut m, all) = filled(true);
        assert!(m.size() < all.len() + PIECE);
        let (mut got, mut pieces) = (Vec::new(), 0);
        while !m.is_empty() {
            let mut piece = Vec::new();
            let left = m.len();
            m.take_piece(&mut piece);
            assert!(piece.len() <= PIECE && left - m.len() == piece.len());
            got.append(&mut piece);
            pieces += 1;
        }
        assert_eq!((got == all, pieces > 4), (true, true));
    }

    #[test]
    fn everything_at_once() {
        for in_pieces in [false, true] {
            let (mut m, all) = filled(in_pieces);
            let mut to = b"reply".to_vec();
            m.take_all(&mut to);
            assert!(to[..5] == *b"reply" && to[5..] == all && m.is_empty());
            m.add(b"x", in_pieces);
            m.clear();
            assert_eq!((m.len(), m.size()), (0, 0));
        }
    }
}
