//! The set type: integers only as an intset, small sets as a listpack, large ones as a table of cells.
//!
//! Encodings (`OBJECT ENCODING`) and the limits at which they change are those of Redis 7.4: an intset with too many
//! elements becomes a table at once, an intset that gets its first text becomes a listpack if it fits one,
//! and no form ever goes back by itself.
use std::collections::HashSet;

use super::block::Word;
use super::intset::{CorruptIntset, Intset};
use super::listpack::{CorruptListpack, Listpack, LpItem, LpIter};
use super::number::{format_i64, i64_text_len, parse_i64};
use super::table::{self, hash_bytes, FetchAhead, Table};
use super::thin::Member;

/// `set-max-intset-entries`, `set-max-listpack-entries` and `set-max-listpack-value`.
#[derive(Clone, Copy, Debug)]
pub struct SetLimits {
    /// Most elements of an intset.
    pub max_intset_entries: usize,
    /// Most elements of a listpack.
    pub max_listpack_entries: usize,
    /// Longest element of a listpack.
    pub max_listpack_value: usize,
}

impl SetLimits {
    /// An intset never holds more than 2^30 elements.
    fn intset_entries(&self) -> usize {
        self.max_intset_entries.min(1 << 30)
    }
}

/// Most bytes that an integer takes in a listpack, with its back length.
const MAX_PACKED_INT: usize = 10;

/// See the module's description. One word.
#[derive(Clone)]
#[repr(transparent)]
pub struct Set {
    form: Form,
}

/// The word of a set.
#[repr(transparent)]
struct Form(Word);

const INTS: usize = 0;
const PACKED: usize = 1;
const TABLE: usize = 2;

/// What the word is.
enum View<I, L, B> {
    Ints(I),
    Packed(L),
    Table(B),
}

impl Form {
    fn ints(ints: Intset) -> Form {
        Form(Word::of_block(ints, INTS))
    }

    fn packed(lp: Listpack) -> Form {
        Form(Word::of_block(lp, PACKED))
    }

    fn table(big: Box<Big>) -> Form {
        Form(Word::of_box(big, TABLE))
    }

    #[inline]
    fn view(&self) -> View<&Intset, &Listpack, &Big> {
        // SAFETY: layout: the mark tells which function above made the word.
        unsafe {
            match self.0.mark() {
                INTS => View::Ints(self.0.block()),
                PACKED => View::Packed(self.0.block()),
                _ => View::Table(self.0.boxed()),
            }
        }
    }

    #[inline]
    fn view_mut(&mut self) -> View<&mut Intset, &mut Listpack, &mut Big> {
        // SAFETY: layout: as above; intsets and listpacks are changed in place only.
        unsafe {
            match self.0.mark() {
                INTS => View::Ints(self.0.block_mut()),
                PACKED => View::Packed(self.0.block_mut()),
                _ => View::Table(self.0.boxed_mut()),
            }
        }
    }
}

impl Clone for Form {
    fn clone(&self) -> Form {
        match self.view() {
            View::Ints(ints) => Form::ints(ints.clone()),
            View::Packed(lp) => Form::packed(lp.clone()),
            View::Table(big) => Form::table(Box::new(big.clone())),
        }
    }
}

impl Drop for Form {
    fn drop(&mut self) {
        // SAFETY: layout: the mark tells what the word was made of; it is not used again.
        unsafe {
            match self.0.mark() {
                INTS => self.0.drop_block::<Intset>(),
                PACKED => self.0.drop_block::<Listpack>(),
                _ => self.0.drop_box::<Big>(),
            }
        }
    }
}

/// The table form. Owns its cells.
struct Big {
    members: Table<Member>,
    /// Size of all cells.
    cell_bytes: usize,
}

impl Default for Set {
    fn default() -> Self {
        Set::new()
    }
}

impl Set {
    /// The table of its members, if they are in one.
    #[inline]
    pub fn ahead(&self) -> Option<&dyn FetchAhead> {
        match self.form.view() {
            View::Table(table) => Some(&table.members),
            _ => None,
        }
    }

    /// An empty set, ready for integers.
    pub fn new() -> Set {
        Set { form: Form::ints(Intset::new()) }
    }

    /// An empty set in the form that suits a command which adds `count` members, `first` among them (`SADD`
    /// on a missing key).
    pub fn for_members(first: &[u8], count: usize, limits: &SetLimits) -> Set {
        let form = if count <= limits.max_intset_entries && parse_i64(first).is_some() {
            Form::ints(Intset::new())
        } else if count <= limits.max_listpack_entries {
            Form::packed(Listpack::new())
        } else {
            Form::table(Box::new(Big::with_capacity(count)))
        };
        Set { form }
    }

    /// Before a command adds `count` members to a set that exists: chooses the table form at once if they
    /// are too many for the present one (`SADD`).
    pub fn prepare(&mut self, count: usize, limits: &SetLimits) {
        let too_many = match self.form.view() {
            View::Ints(_) => count > limits.max_intset_entries,
            View::Packed(_) => count > limits.max_listpack_entries,
            View::Table(_) => false,
        };
        if too_many {
            self.convert_to_table(count);
        }
    }

    /// Loads the bytes of an intset (RDB type 11), in the form that the limits ask for.
    pub fn from_intset(bytes: Vec<u8>, limits: &SetLimits) -> Result<Set, CorruptIntset> {
        let mut set = Set { form: Form::ints(Intset::from_bytes(bytes)?) };
        if set.len() > limits.max_intset_entries {
            set.convert_to_table(0);
        }
        Ok(set)
    }

    /// Loads the bytes of a listpack (RDB type 20), in the form that the limits ask for.
    pub fn from_listpack(bytes: Vec<u8>, limits: &SetLimits) -> Result<Set, CorruptListpack> {
        let lp = Listpack::from_bytes(bytes)?;
        let mut seen = HashSet::new();
        if !lp.iter().all(|member| seen.insert(member.to_cow())) {
            return Err(CorruptListpack);
        }
        drop(seen);
        let mut set = Set { form: Form::packed(lp) };
        if set.len() > limits.max_listpack_entries {
            set.convert_to_table(0);
        }
        Ok(set)
    }

    /// The intset, if this is one.
    pub fn as_intset(&self) -> Option<&Intset> {
        match self.form.view() {
            View::Ints(ints) => Some(ints),
            _ => None,
        }
    }

    /// The listpack, if this is one.
    pub fn as_listpack(&self) -> Option<&Listpack> {
        match self.form.view() {
            View::Packed(lp) => Some(lp),
            _ => None,
        }
    }

    /// `OBJECT ENCODING`.
    pub fn encoding(&self) -> &'static str {
        match self.form.view() {
            View::Ints(_) => "intset",
            View::Packed(_) => "listpack",
            View::Table(_) => "hashtable",
        }
    }

    /// Number of members (`SCARD`).
    pub fn len(&self) -> usize {
        match self.form.view() {
            View::Ints(ints) => ints.len(),
            View::Packed(lp) => lp.len(),
            View::Table(big) => big.members.len(),
        }
    }

    /// Whether there are no members.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Memory held on the heap.
    pub fn mem_bytes(&self) -> usize {
        match self.form.view() {
            View::Ints(ints) => ints.mem_bytes(),
            View::Packed(lp) => lp.mem_bytes(),
            View::Table(big) => size_of::<Big>() + big.members.mem_bytes() + big.cell_bytes,
        }
    }

    /// Whether `member` is in the set (`SISMEMBER`).
    pub fn contains(&self, member: &[u8]) -> bool {
        match self.form.view() {
            View::Ints(ints) => parse_i64(member).is_some_and(|value| ints.contains(value)),
            View::Packed(lp) => lp.find(member, 0).is_some(),
            View::Table(big) => big.find(member).is_some(),
        }
    }

    /// [`Set::contains`] for a member of another set.
    pub fn contains_item(&self, member: LpItem<'_>) -> bool {
        match (self.form.view(), member) {
            (View::Ints(ints), LpItem::Int(value)) => ints.contains(value),
            (_, LpItem::Int(value)) => self.contains(&format_i64(value)),
            (_, LpItem::Str(text)) => self.contains(text),
        }
    }

    /// Adds a member; false if it was there (`SADD`).
    pub fn add(&mut self, member: &[u8], limits: &SetLimits) -> bool {
        match self.form.view_mut() {
            View::Table(big) => big.add(member),
            View::Packed(lp) => {
                if lp.find(member, 0).is_some() {
                    return false;
                }
                let fits = lp.len() < limits.max_listpack_entries
                    && member.len() <= limits.max_listpack_value
                    && lp.would_fit(member.len());
                self.append(member, fits);
                true
            }
            View::Ints(ints) => {
                if let Some(value) = parse_i64(member) {
                    return self.add_int(value, limits);
                }
                let longest = ints.min().into_iter().chain(ints.max()).map(i64_text_len).max();
                let fits = ints.len() < limits.max_listpack_entries
                    && member.len().max(longest.unwrap_or(0)) <= limits.max_listpack_value
                    && Listpack::new().would_fit(ints.len() * MAX_PACKED_INT + member.len());
                if fits {
                    self.form = Form::packed(ints.iter().map(LpItem::Int).collect());
                }
                self.append(member, fits);
                true
            }
        }
    }

    /// [`Set::add`] for a member of another set.
    pub fn add_item(&mut self, member: LpItem<'_>, limits: &SetLimits) -> bool {
        match member {
            LpItem::Str(text) => self.add(text, limits),
            LpItem::Int(value) => match self.form.view() {
                View::Ints(_) => self.add_int(value, limits),
                _ => self.add(&format_i64(value), limits),
            },
        }
    }

    fn add_int(&mut self, value: i64, limits: &SetLimits) -> bool {
        let View::Ints(ints) = self.form.view_mut() else { return false };
        let added = ints.add(value);
        if ints.len() > limits.intset_entries() {
            self.convert_to_table(0);
        }
        added
    }

    /// Adds a member that is not there, to the listpack if it `fits`.
    fn append(&mut self, member: &[u8], fits: bool) {
        match self.form.view_mut() {
            View::Packed(lp) if fits => lp.push_back(member),
            _ => {
                self.convert_to_table(self.len() + 1);
                if let View::Table(big) = self.form.view_mut() {
                    big.add(member);
                }
            }
        }
    }

    /// Removes a member; false if it was not there (`SREM`).
    pub fn remove(&mut self, member: &[u8]) -> bool {
        match self.form.view_mut() {
            View::Ints(ints) => parse_i64(member).is_some_and(|value| ints.remove(value)),
            View::Packed(lp) => {
                let found = lp.find(member, 0);
                if let Some(pos) = found {
                    lp.remove(pos);
                }
                found.is_some()
            }
            View::Table(big) => big.remove(member),
        }
    }

    /// All members.
    pub fn iter(&self) -> SetIter<'_> {
        let inner = match self.form.view() {
            View::Ints(ints) => IterForm::Ints(ints, 0),
            View::Packed(lp) => IterForm::Packed(lp.iter()),
            View::Table(big) => IterForm::Table(big, big.members.iter()),
        };
        SetIter { inner }
    }

    /// One step of `SSCAN`: small forms in one go, a table as [`Table::scan`] does.
    pub fn scan(&self, cursor: u64, mut f: impl FnMut(LpItem<'_>)) -> u64 {
        match self.form.view() {
            View::Table(big) => big.members.scan(cursor, |member| f(LpItem::Str(big.text(member)))),
            _ => {
                self.iter().for_each(f);
                0
            }
        }
    }

    /// A random member (`SRANDMEMBER`).
    pub fn random(&self, rng: &mut impl FnMut() -> u64) -> Option<LpItem<'_>> {
        match self.form.view() {
            View::Ints(ints) => ints.random(rng).map(LpItem::Int),
            View::Packed(lp) => lp.get_index(rng().checked_rem(lp.len() as u64)? as i64),
            View::Table(big) => big.members.random(rng).map(|m| LpItem::Str(big.text(m))),
        }
    }

    /// Removes a random member and returns it (`SPOP`).
    pub fn pop_random(&mut self, rng: &mut impl FnMut() -> u64) -> Option<Vec<u8>> {
        if let View::Packed(lp) = self.form.view_mut() {
            let pos = lp.seek(rng().checked_rem(lp.len() as u64)? as i64)?;
            let member = lp.get(pos).to_vec();
            lp.remove(pos);
            return Some(member);
        }
        let member = self.random(rng)?.to_vec();
        self.remove(&member);
        Some(member)
    }

    /// Takes the intset form if all members are integers and not too many; whether it is one now. (The
    /// result of `SDIFFSTORE`, `SUNIONSTORE` and `SINTERSTORE`.)
    pub fn convert_to_intset(&mut self, limits: &SetLimits) -> bool {
        if let View::Ints(_) = self.form.view() {
            return true;
        }
        if self.len() > limits.intset_entries() {
            return false;
        }
        let mut ints = Intset::new();
        for member in self.iter() {
            let Some(value) = member.as_i64() else { return false };
            ints.add(value);
        }
        self.form = Form::ints(ints);
        true
    }

    /// Takes the table form, with room for `capacity` members.
    pub fn convert_to_table(&mut self, capacity: usize) {
        if let View::Table(_) = self.form.view() {
            return;
        }
        let mut big = Box::new(Big::with_capacity(capacity.max(self.len())));
        for member in self.iter() {
            big.insert(&member.to_cow());
        }
        self.form = Form::table(big);
    }
}

impl std::fmt::Debug for Set {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl Big {
    fn with_capacity(len: usize) -> Big {
        Big { members: Table::with_capacity(len), cell_bytes: 0 }
    }

    fn text(&self, member: Member) -> &[u8] {
        // SAFETY: layout: a member of this table; `self` stays borrowed, so that it is not freed meanwhile.
        unsafe { member.bytes() }
    }

    fn find(&self, member: &[u8]) -> Option<Member> {
        self.members.find(hash_bytes(member), |&other| self.text(other) == member)
    }

    fn add(&mut self, member: &[u8]) -> bool {
        let new = self.find(member).is_none();
        if new {
            self.insert(member);
        }
        new
    }

    fn insert(&mut self, member: &[u8]) {
        self.members.insert(hash_bytes(member), Member::new(member));
        self.cell_bytes += Member::size(member.len());
    }

    fn remove(&mut self, member: &[u8]) -> bool {
        // SAFETY: layout: members in the table are alive.
        let eq = |other: &Member| unsafe { other.bytes() } == member;
        let Some(cell) = self.members.remove(hash_bytes(member), eq) else { return false };
        self.cell_bytes -= Member::size(member.len());
        // SAFETY: layout: out of the table, so this is the last handle.
        unsafe { cell.free() };
        true
    }
}

impl Clone for Big {
    fn clone(&self) -> Big {
        let mut copy = Big::with_capacity(self.members.len());
        self.members.iter().for_each(|member| copy.insert(self.text(member)));
        copy
    }
}

impl Drop for Big {
    fn drop(&mut self) {
        // SAFETY: layout: the table gives out each of its members once.
        self.members.drain(|member| unsafe { member.free() });
    }
}

/// Iterator over a set's members. A table gives integers as text, the small forms as integers.
pub struct SetIter<'a> {
    inner: IterForm<'a>,
}

enum IterForm<'a> {
    Ints(&'a Intset, usize),
    Packed(LpIter<'a>),
    Table(&'a Big, table::Iter<'a, Member>),
}

impl<'a> Iterator for SetIter<'a> {
    type Item = LpItem<'a>;
    fn next(&mut self) -> Option<LpItem<'a>> {
        match &mut self.inner {
            IterForm::Ints(ints, index) => {
                *index += 1;
                ints.get(*index - 1).map(LpItem::Int)
            }
            IterForm::Packed(items) => items.next(),
            IterForm::Table(big, members) => members.next().map(|m| LpItem::Str(big.text(m))),
        }
    }
}

#[cfg(test)]
mod tests;
