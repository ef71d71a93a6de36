//! `RedisModuleKey`: an open key.
//!
//! A handle remembers where its key's entry is. That stays right while the holder's `structure` counter stands still:
//! whatever may move or remove an entry in this unit counts it up, and so does the end of the unit, after which natives
//! may change the key. A handle that finds another count looks its key up again, and holds it again.
use super::abi;
use super::context::{flag, Auto, Ctx, SPARE_KEYS};
use super::string::RStr;
use crate::execute::{Brief, Expiry, Tx};
use crate::keyspace::entry::Entry;
use crate::keyspace::event;
use crate::keyspace::stream::StreamId;
use crate::keyspace::value::{Kind, Value, ValueMut, ValueRef};
use crate::keyspace::zset::{Cursor, ScoreRange};
use crate::lock::held::Access;
use crate::server::Server;
use std::collections::VecDeque;
use std::ffi::c_int;
use std::mem::MaybeUninit;

/// An open key.
pub struct Key {
    /// The context that it was opened with.
    pub ctx: *mut Ctx,
    /// Its database.
    pub db: usize,
    name: *mut RStr,
    mode: c_int,
    entry: Option<Entry>,
    /// The holder's `structure` when `entry` was looked up.
    seen: u64,
    /// Where iteration over the value stands.
    pub walk: Walk,
    /// `StreamAdd` added to a stream that was there: clients that wait for it are served when the key is closed.
    pub stream_ready: bool,
}

/// Iteration over a value.
pub enum Walk {
    /// None was begun.
    None,
    /// `ZsetFirstInScoreRange` and its like.
    Zset(ZsetWalk),
    /// `StreamIteratorStart`
    Stream(Box<StreamWalk>),
}

/// Iteration over a range of a sorted set.
pub struct ZsetWalk {
    /// The range.
    pub range: ZsetRange,
    /// The element where it stands; the last one when the end was reached.
    pub current: Option<Cursor>,
    /// The end of the range was reached.
    pub ended: bool,
}

/// A range of a sorted set.
pub enum ZsetRange {
    /// By score.
    Score(ScoreRange),
    /// By member: both ends as `ZRANGEBYLEX` writes them.
    Lex(Vec<u8>, Vec<u8>),
}

/// Iteration over a stream.
pub struct StreamWalk {
    /// What is left: from here
    pub start: StreamId,
    /// to here, both included; nothing when `done`.
    pub end: StreamId,
    /// Towards smaller ids.
    pub back: bool,
    /// Nothing is left behind what was read ahead.
    pub done: bool,
    /// Entries read ahead, so that not every step looks for its place.
    pub ahead: VecDeque<StreamEntry>,
    /// Length and `entries_added` of the stream that they were read from.
    pub read_from: (u64, u64),
    /// How many entries the last reading took.
    pub batch: usize,
    /// The current entry's id, until it is deleted.
    pub current: Option<StreamId>,
    /// Names and values of the current entry that are still to come.
    pub fields: std::vec::IntoIter<(Vec<u8>, Vec<u8>)>,
}

/// A copy of a stream's entry.
pub struct StreamEntry {
    /// Its id.
    pub id: StreamId,
    /// Its names and values.
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Runs `f` with a transaction of the context.
pub fn with_tx<R>(ctx: &mut Ctx, f: impl FnOnce(&mut Tx<'_>) -> R) -> R {
    f(&mut Brief::new(ctx.tx()))
}

/// The holder's count of changes that may have moved entries. The caller has the module lock.
pub fn structure() -> u64 {
    // SAFETY: lock: functions on keys are called with the module lock.
    unsafe { Server::get().holder() }.structure
}

fn access(mode: c_int) -> Access {
    if mode & abi::WRITE != 0 {
        Access::Write
    } else {
        Access::Read
    }
}

/// Looks a key up as `OpenKey` does: counts the access, tells of a miss and deletes an expired key that is to be
/// written, unless the mode says otherwise. `None` is a missing key.
pub fn look_up(tx: &mut Tx<'_>, key: &[u8], mode: c_int) -> Option<Entry> {
    let has = |bit| mode & (bit | abi::OPEN_KEY_NOEFFECTS) != 0;
    let found = tx.entry_in(tx.db(), key, access(mode));
    let any = mode & abi::OPEN_KEY_ACCESS_EXPIRED != 0;
    if let Some(e) = found.filter(|e| any || !tx.is_dead(*e)) {
        if !has(abi::OPEN_KEY_NOTOUCH) {
            tx.touch(e);
        }
        if mode & abi::WRITE == 0 && !has(abi::OPEN_KEY_NOSTATS) {
            tx.server.stats.keyspace_hits.add(1);
        }
        return Some(e);
    }
    if mode & abi::WRITE != 0 {
        if found.is_some() && !has(abi::OPEN_KEY_NOEXPIRE) {
            tx.expire_now(key);
        }
        return None;
    }
    if !has(abi::OPEN_KEY_NOSTATS) {
        tx.server.stats.keyspace_misses.add(1);
    }
    if !has(abi::OPEN_KEY_NONOTIFY) {
        tx.notify(&event::KEYMISS, key);
    }
    None
}

impl Key {
    /// Opens a key (`OpenKey`). Null when it is missing and not opened for writing.
    ///
    /// # Safety
    /// ABI: a live context and string; the calling thread has the module lock.
    pub unsafe fn open(ctx: *mut Ctx, name: *mut RStr, mode: c_int) -> *mut Key {
        // SAFETY: ABI: this function's contract.
        let (c, text) = unsafe { (&mut *ctx, RStr::bytes(name)) };
        let entry = with_tx(c, |tx| look_up(tx, text, mode));
        if entry.is_none() && mode & abi::WRITE == 0 {
            return std::ptr::null_mut();
        }
        // SAFETY: ABI: this function's contract.
        let key = Key::settle(unsafe { Key::with_entry(ctx, name, mode, entry) });
        super::strict::note(|live| live.keys += 1);
        if c.flags & flag::AUTO_MEMORY != 0 {
            c.remember(Auto::Key(key.cast()));
        }
        key
    }

    /// Gives a handle a place of its own. The calling thread has the module lock.
    fn settle(key: Key) -> *mut Key {
        // SAFETY: lock: this function's contract.
        let spare = unsafe { Server::get().holder() }.spare.keys.pop();
        let mut place = spare.unwrap_or_else(Box::new_uninit);
        place.write(key);
        Box::into_raw(place).cast()
    }

    /// A handle for a key that the server itself looked up in the context's database and holds (`Scan`, the event Key).
    ///
    /// # Safety
    /// As [`Key::open`].
    pub unsafe fn with_entry(
        ctx: *mut Ctx,
        name: *mut RStr,
        mode: c_int,
        entry: Option<Entry>,
    ) -> Key {
        // SAFETY: ABI: this function's contract.
        let (db, name) = unsafe { ((*ctx).session().db, RStr::retain(name)) };
        let (walk, stream_ready, seen) = (Walk::None, false, structure());
        Key { ctx, db, name, mode, entry, seen, walk, stream_ready }
    }

    /// Closes a handle (`CloseKey`): signals the change and frees it.
    ///
    /// # Safety
    /// ABI: `key` came from [`Key::open`] and is given up.
    pub unsafe fn close(key: *mut Key) {
        let place = key.cast::<MaybeUninit<Key>>();
        // SAFETY: ABI: this function's contract.
        let key = unsafe { &mut *key };
        super::strict::note(|live| live.keys -= 1);
        let signals = match key.ctx().module {
            Some(m) => !m.has_option(abi::OPTION_NO_IMPLICIT_SIGNAL_MODIFIED),
            None => true,
        };
        if key.mode & abi::WRITE != 0 && signals {
            let (db, name) = (key.db, key.name());
            with_tx(key.ctx(), |tx| tx.modified_in(db, name));
        }
        if key.stream_ready {
            Server::get().key_ready(key.db, key.name());
        }
        // SAFETY: layout: the handle is in a place that `settle` gave it, and is not looked at again.
        let place = unsafe {
            std::ptr::drop_in_place(key);
            Box::from_raw(place)
        };
        // SAFETY: lock: keys are closed with the module lock.
        let spare = &mut unsafe { Server::get().holder() }.spare.keys;
        if spare.len() < SPARE_KEYS {
            spare.push(place);
        }
    }

    /// The context.
    #[allow(clippy::mut_from_ref)]
    #[inline]
    pub fn ctx(&self) -> &mut Ctx {
        // SAFETY: ABI: a key is used and closed before its context ends; lock: by the holder of the module lock.
        unsafe { &mut *self.ctx }
    }

    /// The key's name, alive as long as the handle.
    #[inline]
    pub fn name<'a>(&self) -> &'a [u8] {
        // SAFETY: ABI: the handle owns a reference; callers use the text only while the handle is open.
        unsafe { RStr::bytes(self.name) }
    }

    /// The key's name, as the handle owns it.
    pub fn name_str(&self) -> *mut RStr {
        self.name
    }

    /// Whether the mode has this bit (`READ`, `WRITE`).
    #[inline]
    pub fn has_mode(&self, bit: c_int) -> bool {
        self.mode & bit != 0
    }

    /// The time by which fields of the key have expired: none has for who wants to see those too.
    pub fn field_time(&self) -> i64 {
        match self.has_mode(abi::OPEN_KEY_ACCESS_EXPIRED) {
            true => i64::MIN,
            false => self.ctx().time(),
        }
    }

    /// Whether the key was opened for writing.
    #[inline]
    pub fn writable(&self) -> bool {
        self.has_mode(abi::WRITE)
    }

    /// The entry; `None` is the empty key.
    #[inline]
    pub fn entry(&mut self) -> Option<Entry> {
        let now = structure();
        if self.seen != now {
            self.look_again(now);
        }
        self.entry
    }

    #[cold]
    fn look_again(&mut self, now: u64) {
        self.entry = self.ctx().tx().entry_in(self.db, self.name(), access(self.mode));
        self.seen = now;
    }

    /// The value's type; `None` is the empty key.
    #[inline]
    pub fn kind(&mut self) -> Option<Kind> {
        self.entry().map(|e| e.kind())
    }

    /// The value. Good until the key changes.
    #[inline]
    pub fn value<'a>(&mut self) -> Option<ValueRef<'a>> {
        self.entry().map(|e| e.value())
    }

    /// The value, to change in place. Good until the key changes in another way. The key is open for writing.
    #[inline]
    pub fn value_mut<'a>(&mut self) -> Option<ValueMut<'a>> {
        debug_assert!(self.writable());
        self.entry().map(|mut e| e.value_mut())
    }

    /// Puts a value under the key, in place of what it has, without expiry. A key that is empty fires `new`.
    pub fn put(&mut self, value: Value, expiry: Expiry) {
        let (db, name) = (self.db, self.name());
        with_tx(self.ctx(), |tx| tx.set_in(db, name, value, expiry));
        self.walk = Walk::None;
    }

    /// Deletes the key; the handle is then that of an empty key. No event. Returns whether there was one.
    pub fn delete(&mut self) -> bool {
        self.walk = Walk::None;
        self.stream_ready = false;
        if self.entry().is_none() {
            return false;
        }
        let (db, name) = (self.db, self.name());
        with_tx(self.ctx(), |tx| tx.remove_in(db, name))
    }

    /// Deletes a collection without elements. No event. Returns whether it did.
    pub fn delete_if_empty(&mut self) -> bool {
        let empty = match self.value() {
            Some(ValueRef::List(v)) => v.is_empty(),
            Some(ValueRef::Set(v)) => v.is_empty(),
            Some(ValueRef::Hash(v)) => v.is_empty(),
            Some(ValueRef::Zset(v)) => v.is_empty(),
            Some(ValueRef::Stream(v)) => v.is_empty(),
            _ => false,
        };
        empty && self.writable() && self.delete()
    }

    /// A new string that automatic memory management frees, if it is on.
    #[inline]
    pub fn new_string(&self, text: &[u8]) -> *mut RStr {
        let s = RStr::new(text);
        self.ctx().remember(Auto::Str(s));
        s
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        // SAFETY: ABI: the handle's own reference.
        unsafe { RStr::release(self.name) };
    }
}
