//! Streams and their iterators.
use super::key::{fail, key};
use crate::execute::Expiry;
use crate::keyspace::stream::{AppendError, NodeLimits, Stream, StreamId, TrimTo};
use crate::keyspace::value::{Kind, Value, ValueMut, ValueRef};
use crate::module::abi;
use crate::module::key::{Key, StreamEntry, StreamWalk, Walk};
use crate::module::string::RStr;
use crate::server::Server;
use libc::{EBADF, EDOM, EFBIG, EINVAL, ENOENT, ENOTSUP, ERANGE};
use std::collections::VecDeque;
use std::ffi::{c_int, c_long};

const OK: c_int = abi::OK;
const ERR: c_int = abi::ERR;
/// Most entries that an iterator reads ahead.
const MOST_AHEAD: usize = 64;

fn status(result: Result<(), c_int>) -> c_int {
    match result {
        Ok(()) => OK,
        Err(number) => fail(number, ERR),
    }
}

fn own(id: abi::StreamId) -> StreamId {
    StreamId::new(id.ms, id.seq)
}

/// The stream of an open key.
fn stream_of<'a>(key: &mut Key) -> Result<&'a Stream, c_int> {
    match key.value() {
        Some(ValueRef::Stream(stream)) => Ok(stream),
        _ => Err(ENOTSUP),
    }
}

/// The stream of a key that is open for writing, to change it.
fn stream_mut<'a>(key: &mut Key) -> Result<&'a mut Stream, c_int> {
    match key.kind() {
        Some(Kind::Stream) if !key.writable() => Err(EBADF),
        Some(Kind::Stream) => match key.value_mut() {
            Some(ValueMut::Stream(stream)) => Ok(stream),
            _ => Err(ENOTSUP),
        },
        _ => Err(ENOTSUP),
    }
}

/// The iterator of an open key.
fn walk_of(key: Option<&mut Key>) -> Result<(&Stream, &mut StreamWalk), c_int> {
    let key = key.ok_or(EINVAL)?;
    let stream = stream_of(key)?;
    match &mut key.walk {
        Walk::Stream(walk) => Ok((stream, walk)),
        _ => Err(EBADF),
    }
}

/// `StreamAdd` after the null checks; `id` is `None` for an id of the server's choice.
fn add(key: &mut Key, id: Option<StreamId>, fields: &[&[u8]]) -> Result<StreamId, c_int> {
    let created = match key.kind() {
        Some(Kind::Stream) => false,
        None => true,
        Some(_) => return Err(ENOTSUP),
    };
    if !key.writable() {
        return Err(EBADF);
    }
    if id.is_some_and(StreamId::is_zero) {
        return Err(EDOM);
    }
    if created {
        key.put(Value::Stream(Box::default()), Expiry::Clear);
    }
    let now = key.ctx().time();
    let stream = stream_mut(key)?;
    let config = &Server::get().config;
    let limits = NodeLimits {
        max_bytes: config.stream_node_max_bytes(),
        max_entries: config.stream_node_max_entries(),
    };
    // The last possible id of all leaves room for none.
    let next = stream.next_id(now as u64).filter(|_| stream.last_id != StreamId::MAX);
    let id = id.unwrap_or(next.ok_or(EFBIG)?);
    if let Err(e) = stream.append(id, fields, limits) {
        if created {
            key.delete_if_empty();
        }
        return Err(match e {
            AppendError::IdNotGreater => EDOM,
            AppendError::TooBig => ERANGE,
        });
    }
    key.stream_ready |= !created;
    Ok(id)
}

fn delete(key: Option<&mut Key>, id: Option<StreamId>) -> Result<(), c_int> {
    let (Some(key), Some(id)) = (key, id) else { return Err(EINVAL) };
    stream_of(key)?;
    if matches!(key.walk, Walk::Stream(_)) {
        return Err(EBADF);
    }
    if stream_mut(key)?.delete(id) {
        Ok(())
    } else {
        Err(ENOENT)
    }
}

fn begin(
    key: Option<&mut Key>,
    flags: c_int,
    start: Option<StreamId>,
    end: Option<StreamId>,
) -> Result<(), c_int> {
    const KNOWN: c_int = abi::STREAM_ITERATOR_EXCLUSIVE | abi::STREAM_ITERATOR_REVERSE;
    let key = key.filter(|_| flags & !KNOWN == 0).ok_or(EINVAL)?;
    let stream = stream_of(key)?;
    if matches!(key.walk, Walk::Stream(_)) {
        return Err(EBADF);
    }
    let (mut first, mut last) = (start.unwrap_or(StreamId::MIN), end.unwrap_or(StreamId::MAX));
    if flags & abi::STREAM_ITERATOR_EXCLUSIVE != 0 {
        if start.is_some() {
            first = first.next().ok_or(EDOM)?;
        }
        if end.is_some() {
            last = last.prev().ok_or(EDOM)?;
        }
    }
    key.walk = Walk::Stream(Box::new(StreamWalk {
        start: first,
        end: last,
        back: flags & abi::STREAM_ITERATOR_REVERSE != 0,
        done: first > last,
        ahead: VecDeque::new(),
        read_from: (stream.len(), stream.entries_added),
        batch: 0,
        current: None,
        fields: Vec::new().into_iter(),
    }));
    Ok(())
}

/// The next entry: read ahead, unless the stream has changed since.
fn next_entry(stream: &Stream, walk: &mut StreamWalk) -> Option<StreamEntry> {
    let state = (stream.len(), stream.entries_added);
    if walk.read_from != state {
        walk.read_from = state;
        if let Some(entry) = walk.ahead.front() {
            let id = entry.id;
            if walk.back {
                walk.end = id;
            } else {
                walk.start = id;
            }
            walk.done = false;
            walk.ahead.clear();
        }
    }
    if walk.ahead.is_empty() && !walk.done {
        walk.batch = (walk.batch * 2).clamp(1, MOST_AHEAD);
        for entry in stream.range(walk.start, walk.end, walk.back).take(walk.batch) {
            let fields = entry.fields().map(|(name, value)| (name.to_vec(), value.to_vec()));
            walk.ahead.push_back(StreamEntry { id: entry.id, fields: fields.collect() });
        }
        let rest =
            walk.ahead.back().and_then(|e| if walk.back { e.id.prev() } else { e.id.next() });
        match rest {
            Some(id) if walk.back => walk.end = id,
            Some(id) => walk.start = id,
            None => walk.done = true,
        }
        walk.done |= walk.start > walk.end;
    }
    walk.ahead.pop_front()
}

fn delete_current(key: Option<&mut Key>) -> Result<(), c_int> {
    let key = key.ok_or(EINVAL)?;
    let stream = stream_mut(key)?;
    let Walk::Stream(walk) = &mut key.walk else { return Err(EBADF) };
    let id = walk.current.take().ok_or(ENOENT)?;
    if stream.delete(id) {
        // Our own change: what was read ahead is still right.
        walk.read_from.0 = walk.read_from.0.wrapping_sub(1);
    }
    walk.fields = Vec::new().into_iter();
    Ok(())
}

fn trim(key: Option<&mut Key>, flags: c_int, to: Option<TrimTo>) -> i64 {
    let trimmed = || {
        let key = key.filter(|_| flags & !abi::STREAM_TRIM_APPROX == 0).ok_or(EINVAL)?;
        let to = to.ok_or(EINVAL)?;
        let stream = stream_mut(key)?;
        let approx = flags & abi::STREAM_TRIM_APPROX != 0;
        let most = 100 * Server::get().config.stream_node_max_entries() as u64;
        Ok(stream.trim(to, approx, if approx { most } else { 0 }) as i64)
    };
    trimmed().unwrap_or_else(|number| fail(number, -1))
}

crate::api! {
    /// Adds an entry: `argv` alternates `fields` names and values. An empty key becomes a stream.
    [Locked] fn StreamAdd(
        handle: *mut Key,
        flags: c_int,
        id: *mut abi::StreamId,
        argv: *const *mut RStr,
        fields: c_long,
    ) -> c_int {
        // SAFETY: ABI: null or an open key, null or a place for an id.
        let (k, id) = unsafe { (key(handle), id.as_mut()) };
        let auto = flags & abi::STREAM_ADD_AUTOID != 0;
        let bad = flags & !abi::STREAM_ADD_AUTOID != 0
            || (fields != 0 && argv.is_null())
            || (!auto && id.is_none());
        let Some(k) = k.filter(|_| !bad) else { return fail(EINVAL, ERR) };
        // SAFETY: ABI: as many live strings as twice the number of fields.
        let texts: Vec<&[u8]> = (0..2 * fields.max(0) as usize)
            .map(|i| unsafe { RStr::bytes(*argv.add(i)) })
            .collect();
        let wanted = if auto { None } else { id.as_ref().map(|id| own(**id)) };
        match add(k, wanted, &texts) {
            Ok(added) => {
                if let Some(id) = id {
                    *id = abi::StreamId { ms: added.ms, seq: added.seq };
                }
                OK
            }
            Err(number) => fail(number, ERR),
        }
    }

    /// Deletes an entry. Not while an iterator is active.
    [Locked] fn StreamDelete(handle: *mut Key, id: *const abi::StreamId) -> c_int {
        // SAFETY: ABI: null or an open key, null or an id.
        status(unsafe { delete(key(handle), id.as_ref().map(|id| own(*id))) })
    }

    /// Begins an iteration from `start` to `end`; null is the beginning or the end of the stream.
    [Locked] fn StreamIteratorStart(
        handle: *mut Key,
        flags: c_int,
        start: *const abi::StreamId,
        end: *const abi::StreamId,
    ) -> c_int {
        // SAFETY: ABI: null or an open key, null or ids.
        status(unsafe {
            let (start, end) = (start.as_ref().map(|id| own(*id)), end.as_ref().map(|id| own(*id)));
            begin(key(handle), flags, start, end)
        })
    }

    /// Ends an iteration.
    [Locked] fn StreamIteratorStop(handle: *mut Key) -> c_int {
        // SAFETY: ABI: null or an open key.
        let k = unsafe { key(handle) };
        status(k.ok_or(EINVAL).and_then(|k| {
            walk_of(Some(k))?;
            k.walk = Walk::None;
            Ok(())
        }))
    }

    /// Goes to the next entry: its id and number of fields (either place may be null).
    [Locked] fn StreamIteratorNextID(
        handle: *mut Key,
        id: *mut abi::StreamId,
        fields: *mut c_long,
    ) -> c_int {
        // SAFETY: ABI: null or an open key, null or places for results.
        let (k, id, fields) = unsafe { (key(handle), id.as_mut(), fields.as_mut()) };
        let (stream, walk) = match walk_of(k) {
            Ok(found) => found,
            Err(number) => return fail(number, ERR),
        };
        let Some(entry) = next_entry(stream, walk) else {
            walk.current = None;
            walk.fields = Vec::new().into_iter();
            return fail(ENOENT, ERR);
        };
        if let Some(id) = id {
            *id = abi::StreamId { ms: entry.id.ms, seq: entry.id.seq };
        }
        if let Some(fields) = fields {
            *fields = entry.fields.len() as c_long;
        }
        walk.current = Some(entry.id);
        walk.fields = entry.fields.into_iter();
        OK
    }

    /// The next name and value of the current entry: new strings (either place may be null).
    [Locked] fn StreamIteratorNextField(
        handle: *mut Key,
        name: *mut *mut RStr,
        value: *mut *mut RStr,
    ) -> c_int {
        // SAFETY: ABI: null or an open key, null or places for strings.
        let (k, name, value) = unsafe { (key(handle), name.as_mut(), value.as_mut()) };
        let Some(k) = k else { return fail(EINVAL, ERR) };
        let (n, v) = match walk_of(Some(k)).map(|(_, walk)| walk.fields.next()) {
            Ok(Some(field)) => field,
            Ok(None) => return fail(ENOENT, ERR),
            Err(number) => return fail(number, ERR),
        };
        if let Some(name) = name {
            *name = k.new_string(&n);
        }
        if let Some(value) = value {
            *value = k.new_string(&v);
        }
        OK
    }

    /// Deletes the current entry.
    [Locked] fn StreamIteratorDelete(handle: *mut Key) -> c_int {
        // SAFETY: ABI: null or an open key.
        status(delete_current(unsafe { key(handle) }))
    }

    /// Deletes entries from the start until at most `len` are left; how many, or -1.
    [Locked] fn StreamTrimByLength(handle: *mut Key, flags: c_int, len: i64) -> i64 {
        let to = u64::try_from(len).ok().map(TrimTo::MaxLen);
        // SAFETY: ABI: null or an open key.
        trim(unsafe { key(handle) }, flags, to)
    }

    /// Deletes entries with smaller ids; how many, or -1.
    [Locked] fn StreamTrimByID(handle: *mut Key, flags: c_int, id: *const abi::StreamId) -> i64 {
        // SAFETY: ABI: null or an open key, null or an id.
        unsafe { trim(key(handle), flags, id.as_ref().map(|id| TrimTo::MinId(own(*id)))) }
    }
}
