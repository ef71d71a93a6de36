//! One side of the comparison: a server's connections and the values kept from its replies.
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use backplane::client::resp::Reply;
use backplane::client::Wire;

/// One connection.
pub struct Conn {
    wire: Wire,
    /// Pushed messages that came before a command's own reply.
    pushed: VecDeque<Reply>,
    subscribed: bool,
}

impl Conn {
    fn open(addr: SocketAddr, proto: u8) -> std::io::Result<Conn> {
        let wire = Wire::open(addr)?;
        let mut conn = Conn { wire, pushed: VecDeque::new(), subscribed: false };
        if proto == 3 {
            conn.wire.ask(&["HELLO", "3"], Duration::from_secs(10));
        }
        Ok(conn)
    }

    /// Writes bytes; an error shows in the next read.
    pub fn write(&mut self, bytes: &[u8]) {
        self.wire.write(bytes);
    }

    fn is_push(&self, reply: &Reply) -> bool {
        let Reply::Many(kind, items) = reply else { return false };
        let names: [&[u8]; 3] = [b"message", b"pmessage", b"smessage"];
        let first = items.first().and_then(Reply::text).unwrap_or_default();
        *kind == b'>' || (self.subscribed && names.contains(&first))
    }

    /// The reply to a command: pushes before it are set aside. A command that subscribes is answered by pushes,
    /// one a channel; several of them come back as one list.
    pub fn reply_to(&mut self, args: &[Vec<u8>], wait: Duration) -> Reply {
        let Some(count) = confirmations(args) else {
            return loop {
                let reply = self.wire.read(wait);
                if !self.is_push(&reply) {
                    break reply;
                }
                self.pushed.push_back(reply);
            };
        };
        let mut replies = Vec::new();
        while replies.len() < count {
            let reply = self.wire.read(wait);
            let confirms = match &reply {
                Reply::Many(_, items) => {
                    items.first().and_then(Reply::text).is_some_and(is_subscription)
                }
                _ => return reply,
            };
            match confirms {
                true => replies.push(reply),
                false => self.pushed.push_back(reply),
            }
        }
        self.subscribed = true;
        match replies.len() {
            1 => replies.remove(0),
            _ => Reply::Many(b'*', replies),
        }
    }

    /// The next push set aside, or the next thing on the wire.
    pub fn read(&mut self, wait: Duration) -> Reply {
        self.pushed.pop_front().unwrap_or_else(|| self.wire.read(wait))
    }
}

fn is_subscription(word: &[u8]) -> bool {
    let word = word.to_ascii_lowercase();
    word.ends_with(b"subscribe") && word.len() <= b"punsubscribe".len()
}

/// How many confirmations a command of the subscribe family is answered with; `None` for all other commands.
fn confirmations(args: &[Vec<u8>]) -> Option<usize> {
    is_subscription(args.first()?).then(|| (args.len() - 1).max(1))
}

/// One side.
pub struct Side {
    /// Where its server listens.
    pub addr: SocketAddr,
    conns: HashMap<String, Conn>,
    protocols: HashMap<String, u8>,
    vars: HashMap<String, Vec<u8>>,
}

impl Side {
    /// A side without connections.
    pub fn new(addr: SocketAddr) -> Side {
        let (conns, protocols) = (HashMap::new(), HashMap::new());
        Side { addr, conns, protocols, vars: HashMap::new() }
    }

    /// The connection of that name, opened where it is not open; `None` where the server refuses it.
    pub fn conn(&mut self, name: &str) -> Option<&mut Conn> {
        if !self.conns.contains_key(name) {
            let proto = self.protocols.get(name).copied().unwrap_or(2);
            self.conns.insert(name.to_string(), Conn::open(self.addr, proto).ok()?);
        }
        self.conns.get_mut(name)
    }

    /// Closes the connection of that name.
    pub fn close(&mut self, name: &str) {
        self.conns.remove(name);
    }

    /// Closes all connections; they come back in RESP2.
    pub fn close_all(&mut self) {
        self.conns.clear();
        self.protocols.clear();
    }

    /// Remembers the protocol that a connection was switched to, for when it must be opened again.
    pub fn set_protocol(&mut self, name: &str, proto: u8) {
        self.protocols.insert(name.to_string(), proto);
    }

    /// Keeps the bytes of a reply, or of the part of it at `path`, as a variable.
    pub fn keep(&mut self, name: &str, reply: &Reply, path: &[usize]) {
        let value = reply.at(path).and_then(Reply::text).unwrap_or(b"");
        self.vars.insert(name.to_string(), value.to_vec());
    }

    /// `args` with `${name}` replaced by what this side kept, `${!name}` by what `other` kept.
    pub fn fill(&self, args: &[Vec<u8>], other: &Side) -> Vec<Vec<u8>> {
        args.iter().map(|arg| self.fill_one(arg, other)).collect()
    }

    fn fill_one(&self, arg: &[u8], other: &Side) -> Vec<u8> {
        let (mut out, mut rest) = (Vec::new(), arg);
        while let Some(at) = rest.windows(2).position(|pair| pair == b"${") {
            out.extend_from_slice(&rest[..at]);
            rest = &rest[at..];
            let value = rest.iter().position(|byte| *byte == b'}').and_then(|end| {
                let name = std::str::from_utf8(&rest[2..end]).ok()?;
                let value = match name.strip_prefix('!') {
                    Some(name) => other.vars.get(name),
                    None => self.vars.get(name),
                };
                Some((value?, end + 1))
            });
            let (text, used) = match value {
                Some((value, end)) => (value.as_slice(), end),
                None => (&rest[..2], 2),
            };
            out.extend_from_slice(text);
            rest = &rest[used..];
        }
        out.extend_from_slice(rest);
        out
    }
}
