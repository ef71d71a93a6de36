use super::*;
use std::collections::{HashMap, HashSet};

fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// A number as its own handle. `BITS` bits of its hash vary at either end, so a small value makes collisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Number<const BITS: u32>(u64);

impl<const BITS: u32> TableItem for Number<BITS> {
    fn table_hash(&self) -> u64 {
        let hash = hash_bytes(&self.0.to_le_bytes());
        if BITS == 64 {
            hash
        } else {
            let few = hash & ((1 << BITS) - 1);
            few.checked_shl(64 - BITS).unwrap_or(0) | few
        }
    }
}

type N<const BITS: u32> = Number<BITS>;

fn contains<const BITS: u32>(table: &Table<N<BITS>>, n: u64) -> bool {
    let item = Number::<BITS>(n);
    table.find(item.table_hash(), |&other| other == item) == Some(item)
}

fn add<const BITS: u32>(table: &mut Table<N<BITS>>, n: u64) {
    table.insert(Number::<BITS>(n).table_hash(), Number(n));
}

fn remove<const BITS: u32>(table: &mut Table<N<BITS>>, n: u64) -> bool {
    let item = Number::<BITS>(n);
    table.remove(item.table_hash(), |&other| other == item) == Some(item)
}

/// Counts are right, passed buckets are full, and each item that is away passed all buckets from its home.
fn check<const BITS: u32>(table: &Table<N<BITS>>) {
    let mut items = 0;
    for index in 0..table.count {
        // SAFETY: layout: a bucket of this table.
        let bucket = |index| unsafe { table.bucket(index).as_ref() };
        items += bucket(index).present().count();
        assert!(!bucket(index).passed() || bucket(index).free().count() == 0);
        for slot in bucket(index).present() {
            let hash = bucket(index).item(slot).table_hash();
            let mut at = table.home(hash);
            let away = if at == index { 0 } else { AWAY };
            assert_eq!(bucket(index).fingerprint(slot), fingerprint(hash) | away);
            while at != index {
                assert!(bucket(at).passed());
                at = table.after(at);
            }
        }
    }
    assert_eq!(items, table.len);
    assert_eq!(table.iter().count(), items);
}

fn against_model<const BITS: u32>(range: u64, steps: usize) {
    let mut state = 0x1234_5678_9abc_def1 ^ u64::from(BITS);
    let mut table: Table<N<BITS>> = Table::new();
    let mut model: HashMap<u64, ()> = HashMap::new();
    // The bias moves, so that the table fills, empties and fills again.
    for step in 0..steps {
        let filling = step / (steps / 6).max(1) % 2 == 0;
        let n = next(&mut state) % range;
        let present = model.contains_key(&n);
        assert_eq!(contains(&table, n), present);
        if present && (!filling || next(&mut state) % 4 == 0) {
            assert!(remove(&mut table, n));
            assert!(!contains(&table, n));
            model.remove(&n);
        } else if !present && (filling || next(&mut state) % 4 == 0) {
            add(&mut table, n);
            model.insert(n, ());
        } else if !present {
            assert!(!remove(&mut table, n));
        }
        if step % 256 == 0 {
            check(&table);
        }
    }
    check(&table);
    let items: HashSet<u64> = table.iter().map(|n| n.0).collect();
    assert_eq!(items, model.keys().copied().collect());
    let mut drained = HashSet::new();
    table.drain(|n| assert!(drained.insert(n.0)));
    assert_eq!(drained, items);
    assert_eq!((table.len(), table.mem_bytes()), (0, 0));
}

#[test]
fn behaves_as_a_map() {
    against_model::<64>(2_000, 60_000);
    against_model::<64>(40_000, 300_000);
}

#[test]
fn behaves_as_a_map_when_hashes_collide() {
    against_model::<0>(60, 20_000);
    against_model::<3>(300, 30_000);
    against_model::<6>(2_000, 60_000);
}

#[test]
fn tables_grow_in_the_allocators_steps() {
    let mut count = 1;
    let mut steps = Vec::new();
    while count < 100 {
        steps.push(count);
        count = step_from(count + 1);
    }
    assert_eq!(
        steps,
        [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96]
    );
    for len in 1..5_000 {
        let buckets = buckets_for(len);
        assert!(room(buckets) >= len && room(buckets) < buckets * SLOTS, "{len}");
    }
}

#[test]
fn slots_keep_their_items_and_fingerprints() {
    let mut bucket: Bucket<N<64>> = Bucket { bytes: [0; 64], items: PhantomData };
    let print = |slot: usize| [1, 2, 1, 0xff, 0x7f, 0x80 | 3, 3, 1, 0x81][slot];
    let item = |slot: usize| Number::<64>((slot as u64 + 1) * 0x1234_5678_9abc % (1 << 48));
    for slot in [8, 0, 4, 2, 6, 1, 3, 5, 7] {
        assert_eq!(bucket.fingerprint(slot), FREE);
        bucket.put(slot, item(slot), print(slot));
    }
    bucket.set_passed(true);
    for slot in 0..SLOTS {
        assert_eq!((bucket.item(slot), bucket.fingerprint(slot)), (item(slot), print(slot)));
    }
    let slots = |print| bucket.matching(print).collect::<Vec<_>>();
    assert_eq!(slots(1), [0, 2, 7]);
    assert_eq!(slots(0x81), [8]);
    assert_eq!(slots(0x7f), [4]);
    assert_eq!(slots(4), [0usize; 0]);
    assert_eq!(bucket.away().collect::<Vec<_>>(), [3, 5, 8]);
    bucket.clear(5);
    assert_eq!((bucket.free().collect::<Vec<_>>(), bucket.present().count()), (vec![5], 8));
    assert!((0..1000).all(|hash| (1..AWAY).contains(&fingerprint(hash))));
}

/// Everything that stays in the table is returned, whatever the sizes between.
#[test]
fn scan_misses_nothing_across_resizes() {
    let mut state = 42;
    for round in 0..15u64 {
        let mut table: Table<N<64>> = Table::new();
        let stay = 1 + next(&mut state) % 500;
        (0..stay).for_each(|n| add(&mut table, n));
        let mut extra: Vec<u64> = Vec::new();
        let mut fresh = 1_000_000;
        let mut seen = HashSet::new();
        let mut cursor = 0;
        let mut sizes = HashSet::new();
        loop {
            cursor = table.scan(cursor, |n| {
                seen.insert(n.0);
            });
            sizes.insert(table.count);
            if cursor == 0 {
                break;
            }
            // Big waves of insertions and removals, so that the table is resized in mid-scan.
            let wave = next(&mut state) % 3_000;
            if next(&mut state) % 2 == 0 {
                for _ in 0..wave.min(20_000 - extra.len() as u64) {
                    fresh += 1;
                    add(&mut table, fresh);
                    extra.push(fresh);
                }
            } else {
                for _ in 0..wave.min(extra.len() as u64) {
                    let at = (next(&mut state) % extra.len() as u64) as usize;
                    assert!(remove(&mut table, extra.swap_remove(at)));
                }
            }
        }
        assert!((0..stay).all(|n| seen.contains(&n)), "round {round}");
        assert!(stay < 200 || sizes.len() > 1);
    }
}

#[test]
fn scan_of_a_still_table_returns_each_item_once() {
    let mut table: Table<N<64>> = Table::new();
    assert_eq!(table.scan(0, |_| panic!("nothing to return")), 0);
    (0..5_000).for_each(|n| add(&mut table, n));
    let mut seen = Vec::new();
    let mut cursor = 0;
    loop {
        cursor = table.scan(cursor, |n| seen.push(n.0));
        if cursor == 0 {
            break;
        }
    }
    seen.sort_unstable();
    assert!(seen.into_iter().eq(0..5_000));
}

#[test]
fn replaces_in_place() {
    #[derive(Clone, Copy)]
    struct Pair(u32, u32);
    impl TableItem for Pair {
        fn table_hash(&self) -> u64 {
            hash_bytes(&self.0.to_le_bytes())
        }
    }
    let mut table = Table::new();
    for n in 0..100 {
        table.insert(Pair(n, 0).table_hash(), Pair(n, 0));
    }
    let hash = Pair(7, 0).table_hash();
    assert!(table.replace(hash, |p| p.0 == 7, Pair(7, 9)));
    assert_eq!(table.find(hash, |p| p.0 == 7).unwrap().1, 9);
    assert!(!table.replace(hash, |p| p.0 == 700, Pair(7, 10)));
}

#[test]
fn random_is_fair() {
    let mut table: Table<N<64>> = Table::new();
    let mut state = 99;
    assert_eq!(table.random(&mut || 1), None);
    (0..1_000).for_each(|n| add(&mut table, n));
    let mut counts = [0u32; 1_000];
    for _ in 0..200_000 {
        counts[table.random(&mut || next(&mut state)).unwrap().0 as usize] += 1;
    }
    // 200 expected each; six standard deviations.
    assert!(counts.iter().all(|&c| (115..=285).contains(&c)), "{counts:?}");
}

#[test]
fn random_finds_the_only_item() {
    let mut table: Table<N<64>> = Table::with_capacity(1_000_000);
    let mut state = 5;
    add(&mut table, 3);
    assert_eq!(table.random(&mut || next(&mut state)), Some(Number(3)));
}

#[test]
fn memory_follows_the_number_of_items() {
    let mut table: Table<N<64>> = Table::new();
    (0..100_000).for_each(|n| add(&mut table, n));
    let full = table.mem_bytes();
    assert!(full < 100_000 * 10, "{full}");
    (0..99_990).for_each(|n| assert!(remove(&mut table, n)));
    assert!(table.mem_bytes() < 20 * 64, "{}", table.mem_bytes());
    assert!((99_990..100_000).all(|n| contains(&table, n)));
    table.reserve(1_000_000);
    assert!((99_990..100_000).all(|n| contains(&table, n)));
    check(&table);
}
