//! A counted B+ tree over `(score, member)`: order, ranks and rank look-ups in O(log n).
//!
//! Every inner node knows for each child its number of items and its first item. Iteration goes leaf by leaf and
//! finds the next leaf by rank, so that leaves need no links and every change stays on one path from the root.
use std::cmp::Ordering;

use super::member::Member;

const LEAF_MAX: usize = 64;
const LEAF_MIN: usize = LEAF_MAX / 4;
const INNER_MAX: usize = 32;
const INNER_MIN: usize = INNER_MAX / 4;

/// One entry of the tree.
#[derive(Clone, Copy)]
pub(super) struct Item {
    /// The score, never NaN.
    pub score: f64,
    /// The member.
    pub member: Member,
}

impl Item {
    fn cmp_key(&self, score: f64, member: &[u8]) -> Ordering {
        match self.score.partial_cmp(&score) {
            Some(Ordering::Equal) | None => self.member.bytes().cmp(member),
            Some(order) => order,
        }
    }
}

struct Child {
    count: usize,
    first: Item,
    node: Node,
}

enum Node {
    Leaf(Vec<Item>),
    Inner(Vec<Child>),
}

/// The ordered side of a full sorted set.
pub(super) struct Tree {
    root: Node,
    len: usize,
}

impl Default for Tree {
    fn default() -> Tree {
        Tree::new()
    }
}

impl Tree {
    /// An empty tree.
    pub fn new() -> Tree {
        Tree { root: Node::Leaf(Vec::new()), len: 0 }
    }

    /// Number of items.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Adds an item that is not there yet.
    pub fn insert(&mut self, item: Item) {
        if let Some(right) = insert_into(&mut self.root, item, true) {
            let left = std::mem::replace(&mut self.root, Node::Inner(Vec::with_capacity(2)));
            if let Node::Inner(children) = &mut self.root {
                children.push(Child::over(left));
                children.push(right);
            }
        }
        self.len += 1;
    }

    /// Takes out the item with this key.
    pub fn remove(&mut self, score: f64, member: &[u8]) -> Option<Item> {
        let mut gone = None;
        self.take(Target::Key(score, member), 1, &mut |item| gone = Some(item));
        gone
    }

    /// Takes out up to `count` items from rank `start` on, each handed to `removed` in order. Returns how many.
    pub fn remove_range(
        &mut self,
        start: usize,
        count: usize,
        removed: &mut dyn FnMut(Item),
    ) -> usize {
        let want = count.min(self.len.saturating_sub(start));
        let mut done = 0;
        while done < want {
            done += self.take(Target::Rank(start), want - done, removed);
        }
        done
    }

    fn take(&mut self, target: Target<'_>, max: usize, removed: &mut dyn FnMut(Item)) -> usize {
        let taken = remove_from(&mut self.root, target, max, removed);
        self.len -= taken;
        loop {
            let only = match &mut self.root {
                Node::Inner(children) if children.len() <= 1 => children.pop(),
                _ => break,
            };
            self.root = only.map_or(Node::Leaf(Vec::new()), |child| child.node);
        }
        taken
    }

    /// The item at a rank.
    pub fn get(&self, rank: usize) -> Option<&Item> {
        let (leaf, at) = self.leaf_at(rank)?;
        leaf.get(at)
    }

    /// The rank that an item with this key has or would get.
    pub fn rank_of(&self, score: f64, member: &[u8]) -> usize {
        self.partition_point(|item| item.cmp_key(score, member) == Ordering::Less)
    }

    /// Number of leading items for which `before` holds; it must hold for a prefix of the order.
    pub fn partition_point(&self, before: impl Fn(&Item) -> bool) -> usize {
        let mut node = &self.root;
        let mut rank = 0;
        loop {
            match node {
                Node::Leaf(items) => return rank + items.partition_point(&before),
                Node::Inner(children) => {
                    // The boundary lies in the last child whose first item is still before it.
                    let at = children.partition_point(|c| before(&c.first)).saturating_sub(1);
                    rank += children[..at].iter().map(|c| c.count).sum::<usize>();
                    node = &children[at].node;
                }
            }
        }
    }

    /// Items from a rank on, towards the end or (`reverse`) towards the start; the item at `rank` comes first.
    pub fn iter_from(&self, rank: usize, reverse: bool) -> Iter<'_> {
        let rank = if reverse && rank >= self.len { self.len.wrapping_sub(1) } else { rank };
        Iter { tree: self, leaf: &[], at: 0, rank, reverse }
    }

    fn leaf_at(&self, rank: usize) -> Option<(&[Item], usize)> {
        if rank >= self.len {
            return None;
        }
        let mut node = &self.root;
        let mut left = rank;
        loop {
            match node {
                Node::Leaf(items) => return Some((items, left)),
                Node::Inner(children) => {
                    let at = child_at_rank(children, &mut left);
                    node = &children[at].node;
                }
            }
        }
    }

    /// Bytes of the tree's own nodes, without the members.
    pub fn mem_bytes(&self) -> usize {
        fn of(node: &Node) -> usize {
            match node {
                Node::Leaf(items) => items.capacity() * std::mem::size_of::<Item>(),
                Node::Inner(children) => {
                    children.capacity() * std::mem::size_of::<Child>()
                        + children.iter().map(|c| of(&c.node)).sum::<usize>()
                }
            }
        }
        std::mem::size_of::<Tree>() + of(&self.root)
    }
}

/// What to take out of the tree.
#[derive(Clone, Copy)]
enum Target<'a> {
    Rank(usize),
    Key(f64, &'a [u8]),
}

impl Child {
    fn over(node: Node) -> Child {
        let (count, first) = match &node {
            Node::Leaf(items) => (items.len(), items[0]),
            Node::Inner(children) => (children.iter().map(|c| c.count).sum(), children[0].first),
        };
        Child { count, first, node }
    }
}

impl Node {
    fn first(&self) -> Option<Item> {
        match self {
            Node::Leaf(items) => items.first().copied(),
            Node::Inner(children) => children.first().map(|c| c.first),
        }
    }

    fn is_small(&self) -> bool {
        match self {
            Node::Leaf(items) => items.len() < LEAF_MIN,
            Node::Inner(children) => children.len() < INNER_MIN,
        }
    }
}

fn child_at_rank(children: &[Child], left: &mut usize) -> usize {
    let mut at = 0;
    while *left >= children[at].count {
        *left -= children[at].count;
        at += 1;
    }
    at
}

/// Inserts below `node`; the new right sibling, if it had to be split. `last` says that nothing lies to the right
/// of `node`: then an append leaves the full node full, so that ascending inserts pack it.
fn insert_into(node: &mut Node, item: Item, last: bool) -> Option<Child> {
    match node {
        Node::Leaf(items) => {
            let key = item.member;
            let at =
                items.partition_point(|i| i.cmp_key(item.score, key.bytes()) == Ordering::Less);
            if items.len() < LEAF_MAX {
                items.insert(at, item);
                return None;
            }
            if last && at == items.len() {
                return Some(Child::over(Node::Leaf(vec![item])));
            }
            let mut right = split(items, LEAF_MAX);
            match at.checked_sub(items.len()) {
                Some(beyond) if beyond > 0 => right.insert(beyond, item),
                _ => items.insert(at, item),
            }
            Some(Child::over(Node::Leaf(right)))
        }
        Node::Inner(children) => {
            let key = item.member;
            let at = children
                .partition_point(|c| c.first.cmp_key(item.score, key.bytes()) == Ordering::Less)
                .saturating_sub(1);
            let is_last = last && at + 1 == children.len();
            let child = &mut children[at];
            let split_off = insert_into(&mut child.node, item, is_last);
            child.count += 1;
            if let Some(first) = child.node.first() {
                child.first = first;
            }
            let right = split_off?;
            child.count -= right.count;
            if children.len() < INNER_MAX {
                children.insert(at + 1, right);
                return None;
            }
            if is_last {
                return Some(Child::over(Node::Inner(vec![right])));
            }
            let mut upper = split(children, INNER_MAX);
            match (at + 1).checked_sub(children.len()) {
                Some(beyond) if beyond > 0 => upper.insert(beyond, right),
                _ => children.insert(at + 1, right),
            }
            Some(Child::over(Node::Inner(upper)))
        }
    }
}

/// The upper half of a full vector, with room for a whole node.
fn split<T>(all: &mut Vec<T>, room: usize) -> Vec<T> {
    let mut upper = Vec::with_capacity(room);
    upper.extend(all.drain(all.len() / 2..));
    upper
}

/// Takes up to `max` items out of the one leaf that holds `target`.
fn remove_from(
    node: &mut Node,
    target: Target<'_>,
    max: usize,
    removed: &mut dyn FnMut(Item),
) -> usize {
    match node {
        Node::Leaf(items) => {
            let start = match target {
                Target::Rank(rank) => rank,
                Target::Key(score, member) => {
                    match items.binary_search_by(|i| i.cmp_key(score, member)) {
                        Ok(at) => at,
                        Err(_) => return 0,
                    }
                }
            };
            let end = items.len().min(start.saturating_add(max));
            items.drain(start..end).for_each(removed);
            end - start
        }
        Node::Inner(children) => {
            let (at, target) = match target {
                Target::Rank(mut rank) => {
                    let at = child_at_rank(children, &mut rank);
                    (at, Target::Rank(rank))
                }
                Target::Key(score, member) => {
                    let at = children
                        .partition_point(|c| c.first.cmp_key(score, member) != Ordering::Greater)
                        .saturating_sub(1);
                    (at, target)
                }
            };
            // The separator may be a member that the caller drops in `removed`: it is read no more after this.
            let taken = remove_from(&mut children[at].node, target, max, removed);
            if taken == 0 {
                return 0;
            }
            children[at].count -= taken;
            match children[at].node.first() {
                Some(first) => children[at].first = first,
                None => {
                    children.remove(at);
                    return taken;
                }
            }
            if children[at].node.is_small() && children.len() > 1 {
                let left = if at + 1 < children.len() { at } else { at - 1 };
                rebalance(children, left);
            }
            taken
        }
    }
}

/// Merges child `left` with its right neighbour, or evens them out when one node cannot hold both.
fn rebalance(children: &mut Vec<Child>, left: usize) {
    let mut right = children.remove(left + 1);
    let child = &mut children[left];
    let spare = match (&mut child.node, &mut right.node) {
        (Node::Leaf(a), Node::Leaf(b)) => even_out(a, b, LEAF_MAX),
        (Node::Inner(a), Node::Inner(b)) => even_out(a, b, INNER_MAX),
        // All leaves are at one depth, so neighbours are always of one kind.
        _ => true,
    };
    let node = std::mem::replace(&mut child.node, Node::Leaf(Vec::new()));
    *child = Child::over(node);
    if spare {
        children.insert(left + 1, Child::over(right.node));
    }
}

/// Moves all of `b` into `a` when it fits (false), otherwise gives each about half (true).
fn even_out<T>(a: &mut Vec<T>, b: &mut Vec<T>, max: usize) -> bool {
    let all = a.len() + b.len();
    if all <= max {
        a.append(b);
        return false;
    }
    let half = all / 2;
    if a.len() < half {
        let from_b = half - a.len();
        a.extend(b.drain(..from_b));
    } else {
        let tail: Vec<T> = a.drain(half..).collect();
        b.splice(0..0, tail);
    }
    true
}

/// Iterator over items by rank, see [`Tree::iter_from`].
#[derive(Clone)]
pub(super) struct Iter<'a> {
    tree: &'a Tree,
    leaf: &'a [Item],
    at: usize,
    rank: usize,
    reverse: bool,
}

impl<'a> Iterator for Iter<'a> {
    type Item = &'a Item;

    fn next(&mut self) -> Option<&'a Item> {
        // `at` runs off either end of the leaf by wrapping: then the next leaf is found by rank.
        if self.at >= self.leaf.len() {
            (self.leaf, self.at) = self.tree.leaf_at(self.rank)?;
        }
        let item = &self.leaf[self.at];
        if self.reverse {
            self.at = self.at.wrapping_sub(1);
            self.rank = self.rank.wrapping_sub(1);
        } else {
            self.at += 1;
            self.rank += 1;
        }
        Some(item)
    }
}

#[cfg(test)]
impl Tree {
    /// Panics when a count, a separator, the order, a node's size or the depth of a leaf is wrong.
    pub fn check(&self) {
        fn walk(
            node: &Node,
            depth: usize,
            depths: &mut Vec<usize>,
            items: &mut Vec<Item>,
        ) -> usize {
            match node {
                Node::Leaf(leaf) => {
                    assert!(leaf.len() <= LEAF_MAX);
                    depths.push(depth);
                    items.extend(leaf);
                    leaf.len()
                }
                Node::Inner(children) => {
                    assert!(!children.is_empty() && children.len() <= INNER_MAX);
                    let mut sum = 0;
                    for child in children {
                        let begin = items.len();
                        let count = walk(&child.node, depth + 1, depths, items);
                        assert_eq!(count, child.count);
                        assert!(count > 0);
                        let first = &items[begin];
                        assert!(first.score == child.first.score);
                        assert_eq!(first.member.bytes(), child.first.member.bytes());
                        sum += count;
                    }
                    sum
                }
            }
        }
        let (mut depths, mut items) = (Vec::new(), Vec::new());
        assert_eq!(walk(&self.root, 0, &mut depths, &mut items), self.len);
        assert!(depths.windows(2).all(|d| d[0] == d[1]));
        let ordered = |w: &[Item]| w[0].cmp_key(w[1].score, w[1].member.bytes()) == Ordering::Less;
        assert!(items.windows(2).all(ordered));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compare(a: (f64, &[u8]), b: (f64, &[u8])) -> Ordering {
        a.0.total_cmp(&b.0).then_with(|| a.1.cmp(b.1))
    }

    /// xorshift: tests must repeat exactly.
    struct Rng(u64);
    impl Rng {
        fn below(&mut self, n: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 % n
        }
    }

    fn against_model(seed: u64, steps: usize, grow: u64) {
        let mut rng = Rng(seed);
        let mut model: Vec<Member> = Vec::new();
        let mut tree = Tree::new();
        for step in 0..steps {
            let score = rng.below(50) as f64 - 25.0;
            let name = format!("m{}", rng.below(5000));
            if rng.below(100) < grow || model.is_empty() {
                let key = (score, name.as_bytes());
                let found =
                    model.binary_search_by(|m: &Member| compare((m.score(), m.bytes()), key));
                if let Err(at) = found {
                    let member = Member::new(name.as_bytes(), score);
                    tree.insert(Item { score, member });
                    model.insert(at, member);
                }
            } else if rng.below(50) == 0 {
                let start = rng.below(model.len() as u64) as usize;
                let count = rng.below(300) as usize;
                let end = model.len().min(start + count);
                let mut gone = Vec::new();
                let n =
                    tree.remove_range(start, count, &mut |i| gone.push(i.member.bytes().to_vec()));
                let expected: Vec<_> =
                    model.drain(start..end).map(|m| m.bytes().to_vec()).collect();
                assert_eq!(gone, expected);
                assert_eq!(n, expected.len());
            } else {
                let at = rng.below(model.len() as u64) as usize;
                let member = model.remove(at);
                assert_eq!(tree.rank_of(member.score(), member.bytes()), at);
                assert!(tree.remove(member.score(), member.bytes()).is_some());
                assert!(tree.remove(member.score(), member.bytes()).is_none());
            }
            assert_eq!(tree.len(), model.len());
            if step % 97 == 0 {
                tree.check();
                let start = rng.below(model.len() as u64 + 1) as usize;
                let ahead: Vec<_> =
                    tree.iter_from(start, false).map(|i| i.member.bytes().to_vec()).collect();
                let expected: Vec<_> = model[start..].iter().map(|m| m.bytes().to_vec()).collect();
                assert_eq!(ahead, expected);
                if !model.is_empty() {
                    let start = start.min(model.len() - 1);
                    let back: Vec<_> =
                        tree.iter_from(start, true).map(|i| i.member.bytes().to_vec()).collect();
                    let expected: Vec<_> =
                        model[..=start].iter().rev().map(|m| m.bytes().to_vec()).collect();
                    assert_eq!(back, expected);
                    assert_eq!(tree.get(start).unwrap().member.bytes(), model[start].bytes());
                }
                let limit = rng.below(60) as f64 - 30.0;
                let expected = model.iter().filter(|m| m.score() < limit).count();
                assert_eq!(tree.partition_point(|i| i.score < limit), expected);
            }
        }
        tree.check();
        tree.remove_range(0, usize::MAX, &mut |_| ());
        assert!(tree.len() == 0 && tree.get(0).is_none());
    }

    #[test]
    fn behaves_like_a_sorted_vector() {
        against_model(0x9E37_79B9_7F4A_7C15, 30_000, 60);
        against_model(0x1234_5678_9ABC_DEF1, 10_000, 45);
        against_model(42, 8_000, 95);
    }

    #[test]
    fn ascending_inserts_fill_the_leaves() {
        let members: Vec<_> = (0..10_000).map(|i| Member::new(b"x", f64::from(i))).collect();
        let mut tree = Tree::new();
        for member in &members {
            tree.insert(Item { score: member.score(), member: *member });
        }
        tree.check();
        let bytes = 10_000 * std::mem::size_of::<Item>();
        assert!(tree.mem_bytes() < bytes + bytes / 8, "{}", tree.mem_bytes());
    }

    #[test]
    fn iteration_past_the_end_is_empty() {
        let tree = Tree::new();
        assert!(tree.iter_from(0, false).next().is_none());
        assert!(tree.iter_from(0, true).next().is_none());
    }
}
