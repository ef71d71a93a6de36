use super::*;
use std::collections::{BTreeMap, BTreeSet};

const LIMITS: SetLimits =
    SetLimits { max_intset_entries: 16, max_listpack_entries: 12, max_listpack_value: 20 };

fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

fn contents(set: &Set) -> BTreeSet<Vec<u8>> {
    let all: Vec<_> = set.iter().map(|m| m.to_vec()).collect();
    let distinct: BTreeSet<_> = all.iter().cloned().collect();
    assert_eq!(all.len(), distinct.len(), "a member twice");
    distinct
}

fn of(members: &[&str]) -> Set {
    let mut set = Set::new();
    for member in members {
        assert!(set.add(member.as_bytes(), &LIMITS));
    }
    set
}

#[test]
fn behaves_as_a_set() {
    let mut state = 31;
    let mut encodings = BTreeMap::new();
    for round in 0..80u64 {
        let mut set = Set::new();
        let mut model: BTreeSet<Vec<u8>> = BTreeSet::new();
        let range = [4, 8, 60, 500][round as usize / 2 % 4];
        for _ in 0..300 {
            let r = next(&mut state);
            let member = match r % 16 {
                15 if round % 8 > 5 => vec![b'L'; (r >> 8) as usize % 40],
                0..6 if round % 2 == 1 => format!("m{}", (r >> 8) % range).into_bytes(),
                _ => (((r >> 8) % range) as i64 - 3).to_string().into_bytes(),
            };
            assert_eq!(set.contains(&member), model.contains(&member));
            assert_eq!(set.contains_item(LpItem::parse(&member)), model.contains(&member));
            match next(&mut state) % 8 {
                0..3 => assert_eq!(set.add(&member, &LIMITS), model.insert(member)),
                3 | 4 => {
                    let item = LpItem::parse(&member);
                    assert_eq!(set.add_item(item, &LIMITS), model.insert(member.clone()));
                }
                5 | 6 => assert_eq!(set.remove(&member), model.remove(&member)),
                _ if r % 64 < 16 => match set.pop_random(&mut || next(&mut state)) {
                    Some(member) => assert!(model.remove(&member)),
                    None => assert!(model.is_empty()),
                },
                _ => match set.random(&mut || next(&mut state)) {
                    Some(member) => assert!(model.contains(&member.to_vec())),
                    None => assert!(model.is_empty()),
                },
            }
            assert_eq!(set.len(), model.len());
        }
        assert_eq!(contents(&set), model);
        assert_eq!(contents(&set.clone()), model);
        if let View::Table(big) = set.form.view() {
            assert_eq!(big.cell_bytes, model.iter().map(|m| m.len() + 4).sum());
        }
        let mut seen = BTreeSet::new();
        let mut cursor = 0;
        loop {
            cursor = set.scan(cursor, |member| {
                seen.insert(member.to_vec());
            });
            if cursor == 0 {
                break;
            }
        }
        assert_eq!(seen, model);
        *encodings.entry(set.encoding()).or_insert(0) += 1;
    }
    assert_eq!(encodings.len(), 3, "{encodings:?}");
}

#[test]
fn encodings_change_as_in_redis() {
    // Too many integers: a table, not a listpack.
    let mut set = Set::new();
    (0..16).for_each(|i| assert!(set.add_item(LpItem::Int(i), &LIMITS)));
    assert_eq!(set.encoding(), "intset");
    assert!(set.add(b"16", &LIMITS));
    assert_eq!(set.encoding(), "hashtable");

    // The first text, while it fits a listpack and while not.
    let ints = |count: i64| {
        let mut set = Set::new();
        (0..count).for_each(|i| assert!(set.add_item(LpItem::Int(i), &LIMITS)));
        set
    };
    for (count, text, encoding) in [
        (11, &b"text"[..], "listpack"),
        (12, b"text", "hashtable"),
        (3, &[b't'; 20], "listpack"),
        (3, &[b't'; 21], "hashtable"),
        (0, b"text", "listpack"),
    ] {
        let mut set = ints(count);
        assert!(set.add(text, &LIMITS));
        assert_eq!((set.encoding(), set.len()), (encoding, count as usize + 1));
    }
    let tight = SetLimits { max_listpack_value: 3, ..LIMITS };
    let mut set = Set::new();
    assert!(set.add(b"-100", &tight) && set.add(b"abc", &tight));
    assert_eq!(set.encoding(), "hashtable");

    // A listpack at its limits.
    let mut set = of(&["a"]);
    (1..12).for_each(|i| assert!(set.add_item(LpItem::Int(i), &LIMITS)));
    assert!(!set.add(b"11", &LIMITS));
    assert_eq!(set.encoding(), "listpack");
    assert!(set.add(b"12", &LIMITS));
    assert_eq!(set.encoding(), "hashtable");
    let mut set = of(&["a"]);
    assert!(set.add(&[b't'; 21], &LIMITS));
    assert_eq!(set.encoding(), "hashtable");
}

#[test]
fn the_number_of_members_to_come_chooses_the_form() {
    assert_eq!(Set::for_members(b"1", 16, &LIMITS).encoding(), "intset");
    assert_eq!(Set::for_members(b"1", 17, &LIMITS).encoding(), "hashtable");
    assert_eq!(Set::for_members(b"a", 12, &LIMITS).encoding(), "listpack");
    assert_eq!(Set::for_members(b"a", 13, &LIMITS).encoding(), "hashtable");
    for (members, count, encoding) in [
        (&["1", "2"][..], 16, "intset"),
        (&["1", "2"], 17, "hashtable"),
        (&["1", "a"], 12, "listpack"),
        (&["1", "a"], 13, "hashtable"),
    ] {
        let mut set = of(members);
        set.prepare(count, &LIMITS);
        assert_eq!(set.encoding(), encoding);
        assert_eq!(set.len(), 2);
    }
}

#[test]
fn results_become_intsets_where_they_can() {
    let mut set = of(&["a", "3", "1"]);
    assert!(!set.convert_to_intset(&LIMITS));
    assert!(set.remove(b"a"));
    assert_eq!(set.encoding(), "listpack");
    assert!(set.convert_to_intset(&LIMITS));
    assert_eq!((set.encoding(), set.len()), ("intset", 2));
    set.convert_to_table(0);
    assert!(set.convert_to_intset(&LIMITS));
    let many = SetLimits { max_intset_entries: 1, ..LIMITS };
    set.convert_to_table(0);
    assert!(!set.convert_to_intset(&many));
}

#[test]
fn stored_forms_are_loaded_or_refused() {
    let set = of(&["5", "-70000", "9"]);
    let bytes = set.as_intset().unwrap().as_bytes().to_vec();
    let loaded = Set::from_intset(bytes.clone(), &LIMITS).unwrap();
    assert_eq!((contents(&loaded), loaded.encoding()), (contents(&set), "intset"));
    let tight = SetLimits { max_intset_entries: 2, max_listpack_entries: 2, ..LIMITS };
    let loaded = Set::from_intset(bytes, &tight).unwrap();
    assert_eq!((contents(&loaded), loaded.encoding()), (contents(&set), "hashtable"));

    let set = of(&["5", "text", "9"]);
    let bytes = set.as_listpack().unwrap().to_bytes();
    let loaded = Set::from_listpack(bytes.clone(), &LIMITS).unwrap();
    assert_eq!((contents(&loaded), loaded.encoding()), (contents(&set), "listpack"));
    let loaded = Set::from_listpack(bytes, &tight).unwrap();
    assert_eq!((contents(&loaded), loaded.encoding()), (contents(&set), "hashtable"));
    let twice = ["a", "b", "a"].iter().map(|m| LpItem::Str(m.as_bytes())).collect::<Listpack>();
    assert!(Set::from_listpack(twice.to_bytes(), &LIMITS).is_err());
}
