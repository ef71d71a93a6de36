//! The sorted set, in both encodings, against a sorted vector.
use super::*;

/// xorshift: tests must repeat exactly.
struct Rng(u64);

impl Rng {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }

    fn score(&mut self) -> f64 {
        match self.below(12) {
            0 => f64::INFINITY,
            1 => f64::NEG_INFINITY,
            2 => 1e300,
            3 => 0.1 * self.below(100) as f64,
            _ => self.below(30) as f64 - 15.0,
        }
    }
}

type Pair = (Vec<u8>, f64);

fn sort(model: &mut [Pair]) {
    model.sort_by(|a, b| a.1.total_cmp(&b.1).then_with(|| a.0.cmp(&b.0)));
}

fn owned<'a>(items: impl Iterator<Item = (LpItem<'a>, f64)>) -> Vec<Pair> {
    items.map(|(member, score)| (member.to_vec(), score)).collect()
}

fn check(set: &SortedSet) {
    match set.repr.view() {
        View::Packed(lp) => assert!(packed::is_valid(lp)),
        View::Full(full) => full.check(),
    }
}

fn check_views(set: &SortedSet, model: &[Pair], rng: &mut Rng) {
    check(set);
    assert_eq!(owned(set.iter()), model);
    assert_eq!(owned(set.clone().iter()), model);
    let at = rng.below(model.len() + 1);
    assert_eq!(owned(set.iter_from(at, false)), model[at..]);
    assert_eq!(
        owned(set.by_rank(at).into_iter()),
        model[at..].iter().take(1).cloned().collect::<Vec<_>>()
    );
    if let Some((member, score)) = model.get(at) {
        let mut expected = model[..=at].to_vec();
        expected.reverse();
        assert_eq!(owned(set.iter_from(at, true)), expected);
        assert_eq!(set.rank(member, false), Some(at));
        assert_eq!(set.rank(member, true), Some(model.len() - 1 - at));
        assert_eq!(set.score(member), Some(*score));
        assert_eq!(set.rank_of_place(*score, member, false), at);
        assert_eq!(set.rank_of_place(*score, member, true), at + 1);
    }
    assert_eq!(set.rank(b"nobody", false), None);
    let (a, b) = (rng.score(), rng.score());
    let range = ScoreRange { min: a, max: b, minex: at % 2 == 0, maxex: at % 3 == 0 };
    let inside = |s: f64| {
        (if range.minex { s > a } else { s >= a }) && (if range.maxex { s < b } else { s <= b })
    };
    let expected: Vec<_> = model.iter().filter(|p| inside(p.1)).cloned().collect();
    let ranks = set.range_by_score(&range);
    assert_eq!(owned(set.iter_range(ranks.clone(), false)), expected);
    let first = set.edge_by_score(&range, false).and_then(|r| set.by_rank(r));
    assert_eq!(owned(first.into_iter()).first(), expected.first());
    let last = set.edge_by_score(&range, true).and_then(|r| set.by_rank(r));
    assert_eq!(owned(last.into_iter()).first(), expected.last());
    let reversed: Vec<_> = expected.into_iter().rev().collect();
    assert_eq!(owned(set.iter_range(ranks, true)), reversed);
}

fn against_model(seed: u64, limits: ZsetLimits, steps: usize, most: usize) {
    let mut rng = Rng(seed);
    let mut set = SortedSet::new();
    let mut model: Vec<Pair> = Vec::new();
    for step in 0..steps {
        let mut member = rng.below(2 * most).to_string().into_bytes();
        if rng.below(3) == 0 {
            member.insert(0, b'm');
        }
        let known = model.iter().position(|p| p.0 == member);
        let kinds = if model.len() < most { 12 } else { 6 };
        match rng.below(kinds) {
            0 | 1 => {
                let expected = known.map(|at| model.remove(at).1);
                assert_eq!(set.remove(&member), expected);
            }
            2 if !model.is_empty() => {
                let (popped, expected) = if rng.below(2) == 0 {
                    (set.pop_min(), model.remove(0))
                } else {
                    (set.pop_max(), model.pop().unwrap())
                };
                assert_eq!(popped, Some(expected));
            }
            3 if rng.below(5) == 0 => {
                let start = rng.below(model.len() + 1);
                let end = start + rng.below(most / 4);
                let mut gone = Vec::new();
                let n = set.remove_range(start..end, |m, s| gone.push((m.to_vec(), s)));
                let expected: Vec<_> = model.drain(start..end.min(model.len())).collect();
                assert_eq!((n, gone), (expected.len(), expected));
            }
            _ => {
                let score = rng.score();
                let expected = match known {
                    None => Inserted::Added,
                    Some(at) if model[at].1 == score => Inserted::Unchanged,
                    Some(_) => Inserted::Updated,
                };
                assert_eq!(set.insert(&member, score, &limits), expected);
                match known {
                    Some(at) => model[at].1 = score,
                    None => model.push((member, score)),
                }
                sort(&mut model);
            }
        }
        assert_eq!(set.len(), model.len());
        if step % 19 == 0 {
            check_views(&set, &model, &mut rng);
        }
    }
    let mut all = Vec::new();
    let mut cursor = 0;
    loop {
        cursor = set.scan(cursor, |m, s| all.push((m.to_vec(), s)));
        if cursor == 0 {
            break;
        }
    }
    sort(&mut all);
    assert_eq!(all, model);
}

const PACKED: ZsetLimits = ZsetLimits { max_listpack_entries: usize::MAX, max_listpack_value: 64 };
const FULL: ZsetLimits = ZsetLimits { max_listpack_entries: 0, max_listpack_value: 64 };

#[test]
fn behaves_like_a_sorted_vector() {
    against_model(0x9E37_79B9_7F4A_7C15, PACKED, 6_000, 60);
    against_model(0x0123_4567_89AB_CDEF, FULL, 12_000, 700);
    against_model(99, ZsetLimits::default(), 6_000, 200);
}

#[test]
fn encoding_follows_the_limits() {
    let limits = ZsetLimits { max_listpack_entries: 3, max_listpack_value: 5 };
    let mut set = SortedSet::new();
    for member in ["a", "b", "c"] {
        set.insert(member.as_bytes(), 1.0, &limits);
    }
    assert_eq!(set.encoding(), "listpack");
    set.insert(b"a", 2.0, &limits);
    assert_eq!(set.encoding(), "listpack");
    set.insert(b"d", 2.0, &limits);
    assert_eq!(set.encoding(), "skiplist");
    set.remove(b"d");
    assert_eq!(set.encoding(), "skiplist");
    set.settle(&limits);
    assert_eq!(set.encoding(), "listpack");
    assert_eq!(owned(set.iter())[2], (b"a".to_vec(), 2.0));
    set.insert(b"longer", 1.0, &limits);
    assert_eq!(set.encoding(), "skiplist");
    set.remove(b"a");
    set.settle(&limits);
    assert_eq!((set.encoding(), set.len()), ("skiplist", 3));
    assert_eq!(SortedSet::for_size(4, 1, &limits).encoding(), "skiplist");
    assert_eq!(SortedSet::for_size(3, 6, &limits).encoding(), "skiplist");
    assert_eq!(SortedSet::for_size(3, 5, &limits).encoding(), "listpack");
}

#[test]
fn listpack_bytes_are_those_of_redis() {
    let mut set = SortedSet::new();
    for (member, score) in [("x", 1.5), ("7", -0.0), ("z", 1e30), ("w", 3.0), ("i", f64::INFINITY)]
    {
        set.insert(member.as_bytes(), score, &PACKED);
    }
    let lp = set.as_listpack().unwrap();
    let items: Vec<_> = lp.iter().collect();
    let expected = [
        LpItem::Int(7),
        LpItem::Int(0),
        LpItem::Str(b"x"),
        LpItem::Str(b"1.5"),
        LpItem::Str(b"w"),
        LpItem::Int(3),
        LpItem::Str(b"z"),
        LpItem::Str(b"1e+30"),
        LpItem::Str(b"i"),
        LpItem::Str(b"inf"),
    ];
    assert_eq!(items, expected);
    let back = SortedSet::from_listpack(lp.clone()).unwrap();
    assert_eq!(owned(back.iter()), owned(set.iter()));
}

#[test]
fn wrong_listpacks_are_refused() {
    let of = |texts: &[&str]| {
        let lp: Listpack = texts.iter().map(|t| LpItem::parse(t.as_bytes())).collect();
        SortedSet::from_listpack(lp).is_ok()
    };
    assert!(of(&["a", "1", "b", "1", "c", "2.5"]));
    assert!(!of(&["a", "1", "b"]));
    assert!(!of(&["a", "x"]));
    assert!(!of(&["a", "nan"]));
    assert!(!of(&["a", "2", "b", "1"]));
    assert!(!of(&["b", "1", "a", "1"]));
    assert!(!of(&["a", "1", "b", "2", "a", "3"]));
}

#[test]
fn ranges_of_members() {
    for limits in [PACKED, FULL] {
        let mut set = SortedSet::new();
        for member in ["", "a", "b", "bb", "c", "d"] {
            set.insert(member.as_bytes(), 0.0, &limits);
        }
        let count = |min: &str, max: &str| {
            set.range_by_lex(&LexRange::parse(min.as_bytes(), max.as_bytes()).unwrap())
        };
        assert_eq!(count("-", "+"), 0..6);
        assert_eq!(count("[b", "[c"), 2..5);
        assert_eq!(count("(b", "(c"), 3..4);
        assert_eq!(count("(", "[a"), 1..2);
        assert!(
            count("+", "-").is_empty() && count("-", "-").is_empty() && count("+", "+").is_empty()
        );
        assert!(count("[c", "[b").is_empty() && count("(b", "(b").is_empty());
        let range = LexRange::parse(b"[b", b"(c").unwrap();
        assert_eq!(
            (set.edge_by_lex(&range, false), set.edge_by_lex(&range, true)),
            (Some(2), Some(3))
        );
    }
    for bad in ["", "a", "-x", "++"] {
        assert_eq!(LexBound::parse(bad.as_bytes()), None, "{bad}");
    }
}

#[test]
fn ranges_of_scores_are_read_as_redis_does() {
    let parse = |min: &str, max: &str| {
        ScoreRange::parse(min.as_bytes(), max.as_bytes()).map(|r| (r.min, r.max, r.minex, r.maxex))
    };
    assert_eq!(parse("1", "(2.5"), Some((1.0, 2.5, false, true)));
    assert_eq!(parse("-inf", "+inf"), Some((f64::NEG_INFINITY, f64::INFINITY, false, false)));
    assert_eq!(parse("(", "1e999"), Some((0.0, f64::INFINITY, true, false)));
    for bad in ["nan", "(nan", "x", "1x", "((1"] {
        assert_eq!(parse(bad, "1"), None, "{bad}");
    }
}

#[test]
fn a_cursor_survives_changes() {
    for limits in [PACKED, FULL] {
        let mut set = SortedSet::new();
        for i in 0..10 {
            set.insert(format!("m{i}").as_bytes(), f64::from(i), &limits);
        }
        let cursor = set.cursor(4).unwrap();
        assert_eq!(set.step(&cursor, false).unwrap().member, b"m5");
        assert_eq!(set.step(&cursor, true).unwrap().member, b"m3");
        set.remove(b"m0");
        assert_eq!(set.step(&cursor, false).unwrap().member, b"m5");
        assert_eq!(set.step(&cursor, true).unwrap().member, b"m3");
        set.remove(b"m4");
        assert_eq!(set.step(&cursor, false).unwrap().member, b"m5");
        assert_eq!(set.step(&cursor, true).unwrap().member, b"m3");
        let end = set.cursor(set.len() - 1).unwrap();
        assert_eq!(set.step(&end, false), None);
        assert_eq!(set.step(&set.cursor(0).unwrap(), true), None);
    }
}

#[test]
fn ranks_outside_are_nothing() {
    for limits in [PACKED, FULL] {
        let mut set = SortedSet::new();
        assert!(set.iter_from(0, true).next().is_none() && set.pop_max().is_none());
        set.insert(b"a", 1.0, &limits);
        for rank in [1, usize::MAX] {
            assert!(set.by_rank(rank).is_none() && set.iter_from(rank, false).next().is_none());
            assert_eq!(set.remove_range(rank..usize::MAX, |_, _| ()), 0);
            assert_eq!(set.iter_from(rank, true).count(), 1);
        }
    }
}

#[test]
fn random_finds_everyone() {
    for limits in [PACKED, FULL] {
        let mut set = SortedSet::new();
        assert!(set.random(&mut || 3).is_none());
        for i in 0..5 {
            set.insert(&[b'a' + i], f64::from(i), &limits);
        }
        let mut n = 0;
        let mut draw = || {
            n += 1;
            n
        };
        let seen: std::collections::HashSet<_> =
            (0..5).map(|_| set.random(&mut draw).unwrap().0.to_vec()).collect();
        assert_eq!(seen.len(), 5);
    }
}
