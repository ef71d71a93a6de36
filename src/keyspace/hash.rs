//! The hash type: small hashes are listpacks, large ones a table of field and value cells.
//!
//! | `OBJECT ENCODING` | form |
//! |---|---|
//! | `listpack` | field, value, field, value ... |
//! | `listpackex` | field, value, expiry (0: none), ... soonest expiry first, fields without one last |
//! | `hashtable` | [`Table`] of cells; expiry times also in an ordered index |
//!
//! A field that has expired stays until somebody removes it; who reads decides by
//! [`HashEntry::is_expired`]. Time comes from the caller.
use std::collections::{BTreeSet, HashSet};

use super::block::Word;
use super::listpack::{Batch, CorruptListpack, Listpack, LpItem, LpPos, LpPositions};
use super::number::NumBuf;
use super::table::{self, hash_bytes, FetchAhead, Table};
use super::thin::Pair;

/// Why the bytes of a listpack make no hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadListpack {
    /// They are no listpack of whole tuples with sound expiries.
    Corrupt,
    /// A field is there twice.
    Duplicates,
}

impl From<CorruptListpack> for BadListpack {
    fn from(_: CorruptListpack) -> BadListpack {
        BadListpack::Corrupt
    }
}

/// `hash-max-listpack-entries` and `hash-max-listpack-value`.
#[derive(Clone, Copy, Debug)]
pub struct HashLimits {
    /// Most fields of a listpack.
    pub max_listpack_entries: usize,
    /// Longest field or value of a listpack.
    pub max_listpack_value: usize,
}

/// The latest expiry time that a stored field can have.
const MAX_EXPIRE: i64 = (1 << 48) - 2;
const NO_EXPIRE: i64 = 0;

/// A field with its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashEntry<'a> {
    /// The field's name.
    pub field: LpItem<'a>,
    /// The value.
    pub value: LpItem<'a>,
    /// When the field expires, in milliseconds since the epoch.
    pub expire: Option<i64>,
}

impl HashEntry<'_> {
    /// Whether readers must treat the field as missing.
    pub fn is_expired(&self, now_ms: i64) -> bool {
        self.expire.is_some_and(|at| at < now_ms)
    }
}

/// See the module's description. One word.
#[derive(Clone)]
#[repr(transparent)]
pub struct Hash {
    form: Form,
}

/// The word of a hash.
#[repr(transparent)]
struct Form(Word);

const PACKED: usize = 0;
const PACKED_EX: usize = 1;
const TABLE: usize = 2;

/// What the word is.
enum View<L, B> {
    Packed(L),
    PackedEx(L),
    Table(B),
}

impl Form {
    fn packed(lp: Listpack) -> Form {
        Form(Word::of_block(lp, PACKED))
    }

    fn packed_ex(lp: Listpack) -> Form {
        Form(Word::of_block(lp, PACKED_EX))
    }

    fn table(big: Box<Big>) -> Form {
        Form(Word::of_box(big, TABLE))
    }

    #[inline]
    fn view(&self) -> View<&Listpack, &Big> {
        // SAFETY: layout: the mark tells which function above made the word.
        unsafe {
            match self.0.mark() {
                PACKED => View::Packed(self.0.block()),
                PACKED_EX => View::PackedEx(self.0.block()),
                _ => View::Table(self.0.boxed()),
            }
        }
    }

    #[inline]
    fn view_mut(&mut self) -> View<&mut Listpack, &mut Big> {
        // SAFETY: layout: as above; listpacks are changed in place only.
        unsafe {
            match self.0.mark() {
                PACKED => View::Packed(self.0.block_mut()),
                PACKED_EX => View::PackedEx(self.0.block_mut()),
                _ => View::Table(self.0.boxed_mut()),
            }
        }
    }
}

impl Clone for Form {
    fn clone(&self) -> Form {
        match self.view() {
            View::Packed(lp) => Form::packed(lp.clone()),
            View::PackedEx(lp) => Form::packed_ex(lp.clone()),
            View::Table(big) => Form::table(Box::new(big.clone())),
        }
    }
}

impl Drop for Form {
    fn drop(&mut self) {
        // SAFETY: layout: the mark tells what the word was made of; it is not used again.
        unsafe {
            match self.0.mark() {
                PACKED | PACKED_EX => self.0.drop_block::<Listpack>(),
                _ => self.0.drop_box::<Big>(),
            }
        }
    }
}

/// The table form. Owns its cells.
struct Big {
    pairs: Table<Pair>,
    /// All pairs that expire, soonest first.
    expires: BTreeSet<(i64, Pair)>,
    /// Size of all cells.
    cell_bytes: usize,
}

impl Default for Hash {
    fn default() -> Self {
        Hash::new()
    }
}

impl Hash {
    /// The table of its fields, if they are in one.
    #[inline]
    pub fn ahead(&self) -> Option<&dyn FetchAhead> {
        match self.form.view() {
            View::Table(table) => Some(&table.pairs),
            _ => None,
        }
    }

    /// An empty hash.
    pub fn new() -> Hash {
        Hash { form: Form::packed(Listpack::new()) }
    }

    /// Loads the bytes of the `listpack` form (RDB type 16), in the form that the limits ask for.
    pub fn from_listpack(bytes: Vec<u8>, limits: &HashLimits) -> Result<Hash, BadListpack> {
        let lp = Listpack::from_bytes(bytes)?;
        check_tuples(&lp, 2)?;
        Ok(Hash { form: Form::packed(lp) }.within(limits))
    }

    /// Loads the bytes of the `listpackex` form (RDB type 25), in the form that the limits ask for.
    pub fn from_listpack_ex(bytes: Vec<u8>, limits: &HashLimits) -> Result<Hash, BadListpack> {
        let lp = Listpack::from_bytes(bytes)?;
        check_tuples(&lp, 3)?;
        let mut last = None;
        for (_, item) in lp.positions().skip(2).step_by(3) {
            let LpItem::Int(expire) = item else { return Err(BadListpack::Corrupt) };
            let ordered = expire == NO_EXPIRE || last.is_none_or(|l| l != NO_EXPIRE && l <= expire);
            if !(0..=MAX_EXPIRE).contains(&expire) || !ordered {
                return Err(BadListpack::Corrupt);
            }
            last = Some(expire);
        }
        Ok(Hash { form: Form::packed_ex(lp) }.within(limits))
    }

    fn within(mut self, limits: &HashLimits) -> Hash {
        if self.len() > limits.max_listpack_entries {
            self.convert_to_table();
        }
        self
    }

    /// The serialised form, unless this is a table. [`Hash::encoding`] tells pairs from triplets.
    pub fn as_listpack(&self) -> Option<&Listpack> {
        match self.form.view() {
            View::Packed(lp) | View::PackedEx(lp) => Some(lp),
            View::Table(_) => None,
        }
    }

    /// `OBJECT ENCODING`.
    pub fn encoding(&self) -> &'static str {
        match self.form.view() {
            View::Packed(_) => "listpack",
            View::PackedEx(_) => "listpackex",
            View::Table(_) => "hashtable",
        }
    }

    /// Number of fields, expired ones that are still present included (`HLEN`).
    pub fn len(&self) -> usize {
        match self.form.view() {
            View::Packed(lp) => lp.len() / 2,
            View::PackedEx(lp) => lp.len() / 3,
            View::Table(big) => big.pairs.len(),
        }
    }

    /// Whether there are no fields, not even expired ones.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Memory held on the heap.
    pub fn mem_bytes(&self) -> usize {
        match self.form.view() {
            View::Packed(lp) | View::PackedEx(lp) => lp.mem_bytes(),
            View::Table(big) => {
                let index = big.expires.len() * size_of::<(i64, Pair)>();
                size_of::<Big>() + big.pairs.mem_bytes() + big.cell_bytes + index
            }
        }
    }

    /// The entry of a field, expired or not (`HGET`).
    pub fn get(&self, field: &[u8]) -> Option<HashEntry<'_>> {
        match self.form.view() {
            View::Packed(lp) => lp.find(field, 1).map(|pos| packed_entry(lp, pos, false)),
            View::PackedEx(lp) => lp.find(field, 2).map(|pos| packed_entry(lp, pos, true)),
            View::Table(big) => big.find(field).map(|pair| big.entry(pair)),
        }
    }

    /// Whether the field is present, expired or not.
    pub fn contains(&self, field: &[u8]) -> bool {
        self.get(field).is_some()
    }

    /// Length of a field's value (`HSTRLEN`).
    pub fn value_len(&self, field: &[u8]) -> Option<usize> {
        self.get(field).map(|entry| entry.value.text_len())
    }

    /// Before several fields are set in one command: chooses the table form at once if the arguments
    /// (fields and values) are too many or too long for a listpack.
    pub fn prepare<'a>(
        &mut self,
        args: impl ExactSizeIterator<Item = &'a [u8]>,
        limits: &HashLimits,
    ) {
        let (View::Packed(lp) | View::PackedEx(lp)) = self.form.view() else { return };
        let mut too_large = args.len() / 2 > limits.max_listpack_entries;
        let mut sum = 0;
        for arg in args {
            too_large |= arg.len() > limits.max_listpack_value;
            sum += arg.len();
        }
        if too_large || !lp.would_fit(sum) {
            self.convert_to_table();
        }
    }

    /// Sets a field; true if it is new. A field that was there loses its expiry time (`HSET`).
    pub fn set(&mut self, field: &[u8], value: &[u8], limits: &HashLimits) -> bool {
        self.set_with(field, value, limits, false)
    }

    /// [`Hash::set`], but a field that was there keeps its expiry time (`HINCRBY`).
    pub fn set_keep_ttl(&mut self, field: &[u8], value: &[u8], limits: &HashLimits) -> bool {
        self.set_with(field, value, limits, true)
    }

    fn set_with(&mut self, field: &[u8], value: &[u8], limits: &HashLimits, keep: bool) -> bool {
        if let View::Packed(lp) | View::PackedEx(lp) = self.form.view() {
            let longest = field.len().max(value.len());
            if longest > limits.max_listpack_value || !lp.would_fit(field.len() + value.len()) {
                self.convert_to_table();
            }
        }
        let new = match self.form.view_mut() {
            View::Table(big) => return big.set(field, value, keep),
            View::Packed(lp) => match lp.find(field, 1) {
                Some(pos) => {
                    replace_next(lp, pos, value);
                    false
                }
                None => {
                    let mut items = Batch::default();
                    items.text(field);
                    items.text(value);
                    lp.extend(&items);
                    true
                }
            },
            View::PackedEx(lp) => match lp.find(field, 2) {
                Some(pos) if keep || packed_entry(lp, pos, true).expire.is_none() => {
                    replace_next(lp, pos, value);
                    false
                }
                found => {
                    if let Some(pos) = found {
                        lp.remove_at(pos, 3);
                    }
                    insert_by_expiry(lp, field, LpItem::parse(value), NO_EXPIRE);
                    found.is_none()
                }
            },
        };
        // Also when a field only changed: the limit may be a new one.
        if self.len() > limits.max_listpack_entries {
            self.convert_to_table();
        }
        new
    }

    /// Removes a field; false if it was not there (`HDEL`).
    pub fn remove(&mut self, field: &[u8]) -> bool {
        let (lp, width) = match self.form.view_mut() {
            View::Packed(lp) => (lp, 2),
            View::PackedEx(lp) => (lp, 3),
            View::Table(big) => return big.remove(field),
        };
        let found = lp.find(field, width - 1);
        if let Some(pos) = found {
            lp.remove_at(pos, width);
        }
        found.is_some()
    }

    /// Makes room for expiry times: from here on a listpack is a `listpackex`, as after any `HEXPIRE`.
    pub fn make_expirable(&mut self) {
        if let View::Packed(lp) = self.form.view() {
            let mut wider = Listpack::new();
            for (i, item) in lp.iter().enumerate() {
                wider.push_back(item);
                if i % 2 == 1 {
                    wider.push_back(NO_EXPIRE);
                }
            }
            self.form = Form::packed_ex(wider);
        }
    }

    /// Sets or (None) takes away a field's expiry time, positive milliseconds since the epoch. False if
    /// there is no such field (`HPEXPIREAT`, `HPERSIST`).
    pub fn set_expire(&mut self, field: &[u8], expire: Option<i64>) -> bool {
        debug_assert!(expire.is_none_or(|at| (1..=MAX_EXPIRE).contains(&at)));
        if expire.is_some() {
            self.make_expirable();
        }
        match self.form.view_mut() {
            View::Packed(lp) => lp.find(field, 1).is_some(),
            View::Table(big) => big.set_expire(field, expire),
            View::PackedEx(lp) => {
                let Some(pos) = lp.find(field, 2) else { return false };
                let entry = packed_entry(lp, pos, true);
                if entry.expire != expire {
                    let value = entry.value.to_vec();
                    let value = match entry.value {
                        LpItem::Int(number) => LpItem::Int(number),
                        LpItem::Str(_) => LpItem::Str(&value),
                    };
                    lp.remove_at(pos, 3);
                    insert_by_expiry(lp, field, value, expire.unwrap_or(NO_EXPIRE));
                }
                true
            }
        }
    }

    /// A field's expiry time: None without the field, Some(None) without expiry (`HPEXPIRETIME`).
    pub fn get_expire(&self, field: &[u8]) -> Option<Option<i64>> {
        self.get(field).map(|entry| entry.expire)
    }

    /// The soonest expiry time of all fields.
    pub fn min_expire(&self) -> Option<i64> {
        match self.form.view() {
            View::Packed(_) => None,
            View::PackedEx(lp) => lp.first().and_then(|pos| packed_entry(lp, pos, true).expire),
            View::Table(big) => big.expires.first().map(|&(at, _)| at),
        }
    }

    /// How many fields readers treat as missing at `now_ms`.
    pub fn expired_count(&self, now_ms: i64) -> usize {
        match self.form.view() {
            View::Packed(_) => 0,
            View::PackedEx(_) => self.iter().take_while(|entry| entry.is_expired(now_ms)).count(),
            View::Table(big) => big.expires.iter().take_while(|&&(at, _)| at < now_ms).count(),
        }
    }

    /// Removes up to `limit` fields whose time has come, soonest first, giving each name to `f` before it
    /// goes; returns their number (the active expiry cycle).
    pub fn remove_expired(&mut self, now_ms: i64, limit: usize, mut f: impl FnMut(&[u8])) -> usize {
        match self.form.view_mut() {
            View::Packed(_) => 0,
            View::PackedEx(lp) => {
                let mut count = 0;
                let due = |entry: &HashEntry<'_>| entry.expire.is_some_and(|at| at <= now_ms);
                for entry in packed_iter(lp, true).take_while(due).take(limit) {
                    f(entry.field.bytes(&mut NumBuf::new()));
                    count += 1;
                }
                if let Some(first) = lp.first() {
                    lp.remove_at(first, count * 3);
                }
                count
            }
            View::Table(big) => {
                let mut count = 0;
                while let Some(&(at, pair)) = big.expires.first() {
                    if at > now_ms || count == limit {
                        break;
                    }
                    // A copy: the removal frees the cell.
                    // SAFETY: layout: pairs in the index are alive.
                    let field = unsafe { pair.field() }.to_vec();
                    f(&field);
                    big.remove(&field);
                    count += 1;
                }
                count
            }
        }
    }

    /// All entries.
    pub fn iter(&self) -> HashIter<'_> {
        match self.form.view() {
            View::Packed(lp) => packed_iter(lp, false),
            View::PackedEx(lp) => packed_iter(lp, true),
            View::Table(big) => HashIter { inner: IterForm::Table(big, big.pairs.iter()) },
        }
    }

    /// One step of `HSCAN`: a listpack in one go, a table as [`Table::scan`] does.
    pub fn scan(&self, cursor: u64, mut f: impl FnMut(HashEntry<'_>)) -> u64 {
        match self.form.view() {
            View::Table(big) => big.pairs.scan(cursor, |pair| f(big.entry(pair))),
            _ => {
                self.iter().for_each(f);
                0
            }
        }
    }

    /// A random entry, expired or not (`HRANDFIELD`).
    pub fn random(&self, rng: &mut impl FnMut() -> u64) -> Option<HashEntry<'_>> {
        match self.form.view() {
            View::Packed(lp) => packed_random(lp, false, rng),
            View::PackedEx(lp) => packed_random(lp, true, rng),
            View::Table(big) => big.pairs.random(rng).map(|pair| big.entry(pair)),
        }
    }

    /// Takes the table form, from which there is no way back.
    pub fn convert_to_table(&mut self) {
        if let View::Table(_) = self.form.view() {
            return;
        }
        let mut big = Box::new(Big::with_capacity(self.len()));
        let (mut field, mut value) = (NumBuf::new(), NumBuf::new());
        for entry in self.iter() {
            big.add(entry.field.bytes(&mut field), entry.value.bytes(&mut value), entry.expire);
        }
        self.form = Form::table(big);
    }
}

impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Whole tuples with different first elements.
fn check_tuples(lp: &Listpack, width: usize) -> Result<(), BadListpack> {
    if lp.len() % width != 0 {
        return Err(BadListpack::Corrupt);
    }
    let mut seen = HashSet::new();
    match lp.iter().step_by(width).all(|field| seen.insert(field.to_cow())) {
        true => Ok(()),
        false => Err(BadListpack::Duplicates),
    }
}

fn packed_entry(lp: &Listpack, pos: LpPos, ex: bool) -> HashEntry<'_> {
    let mut iter = HashIter { inner: IterForm::Packed(lp.positions_from(pos), ex) };
    iter.next().expect("whole tuples")
}

fn packed_iter(lp: &Listpack, ex: bool) -> HashIter<'_> {
    HashIter { inner: IterForm::Packed(lp.positions(), ex) }
}

fn packed_random<'a>(
    lp: &'a Listpack,
    ex: bool,
    rng: &mut impl FnMut() -> u64,
) -> Option<HashEntry<'a>> {
    let width = if ex { 3 } else { 2 };
    let len = lp.len() / width;
    let index = rng().checked_rem(len as u64)? as i64 * width as i64;
    lp.seek(index).map(|pos| packed_entry(lp, pos, ex))
}

fn replace_next(lp: &mut Listpack, field: LpPos, value: &[u8]) {
    let pos = lp.next(field).expect("whole tuples");
    lp.replace(pos, value);
}

/// Inserts a triplet before the first that expires no sooner.
fn insert_by_expiry(lp: &mut Listpack, field: &[u8], value: LpItem<'_>, expire: i64) {
    let later = |item: LpItem<'_>| item.as_i64().is_some_and(|at| at == NO_EXPIRE || at >= expire);
    let mut place = None;
    if expire != NO_EXPIRE {
        let mut positions = lp.positions();
        while let Some((pos, _)) = positions.next() {
            positions.next();
            if positions.next().is_some_and(|(_, item)| later(item)) {
                place = Some(pos);
                break;
            }
        }
    }
    match place {
        None => {
            lp.push_back(field);
            lp.push_back(value);
            lp.push_back(expire);
        }
        Some(pos) => {
            lp.insert_before(pos, field);
            let pos = lp.insert_after(pos, value);
            lp.insert_after(pos, expire);
        }
    }
}

impl Big {
    fn with_capacity(len: usize) -> Big {
        Big { pairs: Table::with_capacity(len), expires: BTreeSet::new(), cell_bytes: 0 }
    }

    fn find(&self, field: &[u8]) -> Option<Pair> {
        // SAFETY: layout: pairs in the table are alive.
        self.pairs.find(hash_bytes(field), |pair| unsafe { pair.field() } == field)
    }

    fn entry(&self, pair: Pair) -> HashEntry<'_> {
        // SAFETY: layout: a pair of this table; `self` stays borrowed, so that it is not changed meanwhile.
        unsafe {
            HashEntry {
                field: LpItem::Str(pair.field()),
                value: LpItem::Str(pair.value()),
                expire: pair.expire(),
            }
        }
    }

    fn add(&mut self, field: &[u8], value: &[u8], expire: Option<i64>) {
        let pair = Pair::new(field, value, expire);
        self.pairs.insert(hash_bytes(field), pair);
        self.index(pair);
    }

    /// Accounts for a pair that came or changed.
    fn index(&mut self, pair: Pair) {
        // SAFETY: layout: a pair of this table.
        let (size, expire) = unsafe { (pair.size(), pair.expire()) };
        self.cell_bytes += size;
        if let Some(at) = expire {
            self.expires.insert((at, pair));
        }
    }

    /// Takes a pair that goes or changes out of the accounts.
    fn unindex(&mut self, pair: Pair) {
        // SAFETY: layout: a pair of this table.
        let (size, expire) = unsafe { (pair.size(), pair.expire()) };
        self.cell_bytes -= size;
        if let Some(at) = expire {
            self.expires.remove(&(at, pair));
        }
    }

    /// Changes a pair of the table. None as `value` leaves the value.
    fn update(&mut self, pair: Pair, value: Option<&[u8]>, expire: Option<i64>) {
        self.unindex(pair);
        // SAFETY: layout: a pair of this table.
        let hash = hash_bytes(unsafe { pair.field() });
        // SAFETY: layout: alive, nothing borrows from it, and the index and the table forget the old handle.
        let new = unsafe { pair.update(value, expire) };
        // Compared by address only: the old cell may be gone.
        self.pairs.replace(hash, |&other| other == pair, new);
        self.index(new);
    }

    fn set(&mut self, field: &[u8], value: &[u8], keep: bool) -> bool {
        let Some(pair) = self.find(field) else {
            self.add(field, value, None);
            return true;
        };
        // SAFETY: layout: a pair of this table.
        let expire = if keep { unsafe { pair.expire() } } else { None };
        self.update(pair, Some(value), expire);
        false
    }

    fn set_expire(&mut self, field: &[u8], expire: Option<i64>) -> bool {
        let found = self.find(field);
        if let Some(pair) = found {
            self.update(pair, None, expire);
        }
        found.is_some()
    }

    fn remove(&mut self, field: &[u8]) -> bool {
        // SAFETY: layout: pairs in the table are alive.
        let eq = |pair: &Pair| unsafe { pair.field() } == field;
        let Some(pair) = self.pairs.remove(hash_bytes(field), eq) else { return false };
        self.unindex(pair);
        // SAFETY: layout: out of the table and out of the index, so this is the last handle.
        unsafe { pair.free() };
        true
    }
}

impl Clone for Big {
    fn clone(&self) -> Big {
        let mut copy = Big::with_capacity(self.pairs.len());
        for pair in self.pairs.iter() {
            // SAFETY: layout: pairs in the table are alive, and `add` copies.
            let (field, value, expire) = unsafe { (pair.field(), pair.value(), pair.expire()) };
            copy.add(field, value, expire);
        }
        copy
    }
}

impl Drop for Big {
    fn drop(&mut self) {
        self.expires.clear();
        // SAFETY: layout: the table gives out each of its pairs once, and the index is empty.
        self.pairs.drain(|pair| unsafe { pair.free() });
    }
}

/// Iterator over a hash's entries.
pub struct HashIter<'a> {
    inner: IterForm<'a>,
}

enum IterForm<'a> {
    /// Whether there are triplets.
    Packed(LpPositions<'a>, bool),
    Table(&'a Big, table::Iter<'a, Pair>),
}

impl<'a> Iterator for HashIter<'a> {
    type Item = HashEntry<'a>;
    fn next(&mut self) -> Option<HashEntry<'a>> {
        match &mut self.inner {
            IterForm::Packed(items, ex) => {
                let (_, field) = items.next()?;
                let (_, value) = items.next()?;
                let expire = match ex {
                    true => items.next()?.1.as_i64().filter(|&at| at != NO_EXPIRE),
                    false => None,
                };
                Some(HashEntry { field, value, expire })
            }
            IterForm::Table(big, pairs) => pairs.next().map(|pair| big.entry(pair)),
        }
    }
}

#[cfg(test)]
mod tests;
