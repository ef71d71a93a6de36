//! A sorted set as member table and ordered tree.
use std::ops::Range;

use super::super::listpack::LpItem;
use super::super::table::{hash_bytes, Table, TableItem};
use super::member::Member;
use super::tree::{self, Item, Tree};
use super::Inserted;

/// Owner of the members.
///
/// Invariant: table and tree hold the same handles, and the tree's scores are the members'. A handle is freed after
/// it left both; no handle leaves this file.
pub(super) struct Full {
    table: Table<Member>,
    tree: Tree,
    /// Bytes of the members' allocations.
    member_bytes: usize,
}

impl Full {
    pub fn with_capacity(members: usize) -> Full {
        // A hint from a request is only a hint.
        const MOST: usize = 1 << 20;
        Full { table: Table::with_capacity(members.min(MOST)), tree: Tree::new(), member_bytes: 0 }
    }

    /// The members by their hashes, for fetching ahead.
    #[inline]
    pub fn table(&self) -> &Table<Member> {
        &self.table
    }

    pub fn len(&self) -> usize {
        self.tree.len()
    }

    pub fn text_bytes(&self) -> usize {
        self.member_bytes
    }

    pub fn mem_bytes(&self) -> usize {
        size_of::<Full>() + self.table.mem_bytes() + self.tree.mem_bytes() + self.member_bytes
    }

    fn find(&self, hash: u64, member: &[u8]) -> Option<Member> {
        self.table.find(hash, |m| m.bytes() == member)
    }

    pub fn score(&self, member: &[u8]) -> Option<f64> {
        self.find(hash_bytes(member), member).map(|m| m.score())
    }

    /// Adds a member that is not there.
    pub fn add(&mut self, member: &[u8], score: f64) {
        self.add_hashed(hash_bytes(member), member, score);
    }

    fn add_hashed(&mut self, hash: u64, member: &[u8], score: f64) {
        let member = Member::new(member, score);
        self.member_bytes += member.mem_bytes();
        self.table.insert(hash, member);
        self.tree.insert(Item { score, member });
    }

    pub fn insert(&mut self, member: &[u8], score: f64) -> Inserted {
        let hash = hash_bytes(member);
        let Some(found) = self.find(hash, member) else {
            self.add_hashed(hash, member, score);
            return Inserted::Added;
        };
        let old = found.score();
        if old == score {
            return Inserted::Unchanged;
        }
        self.tree.remove(old, member);
        // SAFETY: layout: `&mut self` owns the member.
        unsafe { found.set_score(score) };
        self.tree.insert(Item { score, member: found });
        Inserted::Updated
    }

    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        let found = self.table.remove(hash_bytes(member), |m| m.bytes() == member)?;
        let score = found.score();
        self.tree.remove(score, member);
        self.member_bytes -= found.mem_bytes();
        // SAFETY: layout: it was taken out of the table and the tree.
        unsafe { found.free() };
        Some(score)
    }

    pub fn remove_range(&mut self, ranks: Range<usize>, removed: &mut dyn FnMut(&[u8], f64)) {
        // The caller's code runs first: should it panic, nothing is half removed.
        for item in self.iter_from(ranks.start, false).take(ranks.len()) {
            removed(item.member.bytes(), item.score);
        }
        let Full { table, tree, member_bytes } = self;
        tree.remove_range(ranks.start, ranks.len(), &mut |item| {
            let member = item.member;
            table.remove(member.table_hash(), |m| m.is(member));
            *member_bytes -= member.mem_bytes();
            // SAFETY: layout: the tree hands out what it no longer holds or reads; the table's handle is gone.
            unsafe { member.free() };
        });
    }

    pub fn rank_of(&self, score: f64, member: &[u8]) -> usize {
        self.tree.rank_of(score, member)
    }

    pub fn at(&self, rank: usize) -> Option<(LpItem<'_>, f64)> {
        self.tree.get(rank).map(|i| (LpItem::Str(i.member.bytes()), i.score))
    }

    pub fn iter_from(&self, rank: usize, back: bool) -> tree::Iter<'_> {
        self.tree.iter_from(rank, back)
    }

    pub fn partition_point(&self, before: impl Fn(&[u8], f64) -> bool) -> usize {
        self.tree.partition_point(|i| before(i.member.bytes(), i.score))
    }

    pub fn scan(&self, cursor: u64, mut f: impl FnMut(LpItem<'_>, f64)) -> u64 {
        self.table.scan(cursor, |m| f(LpItem::Str(m.bytes()), m.score()))
    }

    #[cfg(test)]
    pub fn check(&self) {
        self.tree.check();
        assert_eq!(self.table.len(), self.tree.len());
        let mut bytes = 0;
        for item in self.iter_from(0, false) {
            let member = self.find(item.member.table_hash(), item.member.bytes()).expect("in both");
            assert!(member.is(item.member) && member.score() == item.score);
            bytes += member.mem_bytes();
        }
        assert_eq!(bytes, self.member_bytes);
    }
}

impl Clone for Full {
    fn clone(&self) -> Full {
        let mut copy = Full::with_capacity(self.len());
        for item in self.iter_from(0, false) {
            copy.add(item.member.bytes(), item.score);
        }
        copy
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        self.tree = Tree::new();
        self.table.drain(|member| {
            // SAFETY: layout: the tree is gone and the table has given up the handle.
            unsafe { member.free() }
        });
    }
}
