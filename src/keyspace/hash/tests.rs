use super::*;
use std::collections::BTreeMap;

const LIMITS: HashLimits = HashLimits { max_listpack_entries: 12, max_listpack_value: 20 };

fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

type Model = BTreeMap<Vec<u8>, (Vec<u8>, Option<i64>)>;

fn contents(hash: &Hash) -> Model {
    let all: Vec<_> =
        hash.iter().map(|e| (e.field.to_vec(), (e.value.to_vec(), e.expire))).collect();
    let map: Model = all.iter().cloned().collect();
    assert_eq!(map.len(), all.len(), "a field twice");
    map
}

fn check(hash: &Hash, model: &Model) {
    assert_eq!(hash.len(), model.len());
    assert_eq!(&contents(hash), model);
    assert_eq!(hash.min_expire(), model.values().filter_map(|v| v.1).min());
    if let View::Table(big) = hash.form.view() {
        let sizes = model.iter().map(|(f, (v, e))| 8 + f.len() + v.len() + e.map_or(0, |_| 8));
        assert_eq!(big.cell_bytes, sizes.sum());
        assert_eq!(big.expires.len(), model.values().filter(|v| v.1.is_some()).count());
    }
    if let Some(lp) = hash.as_listpack() {
        let bytes = lp.to_bytes();
        let loaded = match hash.encoding() {
            "listpack" => Hash::from_listpack(bytes, &LIMITS),
            _ => Hash::from_listpack_ex(bytes, &LIMITS),
        };
        assert_eq!(contents(&loaded.expect("valid bytes")), *model);
    }
}

fn random_text(state: &mut u64, limit: u64, long: bool) -> Vec<u8> {
    match next(state) % 12 {
        0..5 => format!("{}", next(state) % limit).into_bytes(),
        11 if long => vec![b'L'; (next(state) % 40) as usize],
        _ => format!("f{}", next(state) % limit).into_bytes(),
    }
}

#[test]
fn behaves_as_a_map_with_expiry_times() {
    let mut state = 77;
    let mut encodings = BTreeMap::new();
    for round in 0..60u64 {
        let mut hash = Hash::new();
        let mut model = Model::new();
        let fields = [5, 10, 40][round as usize % 3];
        for step in 0..250 {
            let field = random_text(&mut state, fields, false);
            let value =
                random_text(&mut state, 1_000_000, fields == 40 || round % 4 == 0 && step > 200);
            let there = model.get(&field).cloned();
            match next(&mut state) % 10 {
                0..4 => {
                    assert_eq!(hash.set(&field, &value, &LIMITS), there.is_none());
                    model.insert(field.clone(), (value.clone(), None));
                }
                4 => {
                    assert_eq!(hash.set_keep_ttl(&field, &value, &LIMITS), there.is_none());
                    let expire = there.and_then(|(_, expire)| expire);
                    model.insert(field.clone(), (value.clone(), expire));
                }
                5 | 6 => {
                    assert_eq!(hash.remove(&field), there.is_some());
                    model.remove(&field);
                }
                7 if round % 2 == 0 => {
                    let expire = match next(&mut state) % 4 {
                        0 => None,
                        _ => Some(1 + (next(&mut state) % 1_000) as i64),
                    };
                    assert_eq!(hash.set_expire(&field, expire), there.is_some());
                    if let Some(entry) = model.get_mut(&field) {
                        entry.1 = expire;
                    }
                }
                8 if step % 10 == 0 => {
                    let now = (next(&mut state) % 1_000) as i64;
                    let limit = (next(&mut state) % 4) as usize;
                    let behind = model.values().filter(|v| v.1.is_some_and(|at| at < now)).count();
                    assert_eq!(hash.expired_count(now), behind);
                    let mut gone = Vec::new();
                    let count = hash.remove_expired(now, limit, |f| gone.push(f.to_vec()));
                    let due = model.values().filter(|v| v.1.is_some_and(|at| at <= now)).count();
                    assert_eq!((count, gone.len()), (due.min(limit), count));
                    for field in gone {
                        assert!(model.remove(&field).unwrap().1.unwrap() <= now);
                    }
                }
                _ => {
                    let entry = hash.get(&field);
                    assert_eq!(entry.map(|e| (e.value.to_vec(), e.expire)), there);
                    assert_eq!(hash.contains(&field), there.is_some());
                    assert_eq!(hash.value_len(&field), there.as_ref().map(|v| v.0.len()));
                    assert_eq!(hash.get_expire(&field), there.map(|v| v.1));
                }
            }
            check(&hash, &model);
        }
        *encodings.entry(hash.encoding()).or_insert(0) += 1;
        check(&hash.clone(), &model);
        let mut seen = Model::new();
        let mut cursor = 0;
        loop {
            cursor = hash.scan(cursor, |e| {
                seen.insert(e.field.to_vec(), (e.value.to_vec(), e.expire));
            });
            if cursor == 0 {
                break;
            }
        }
        assert_eq!(seen, model);
        if let Some(entry) = hash.random(&mut || next(&mut state)) {
            assert_eq!(model[&entry.field.to_vec()].0, entry.value.to_vec());
        }
    }
    assert_eq!(encodings.len(), 3, "{encodings:?}");
}

#[test]
fn encodings_change_at_the_limits() {
    let mut hash = Hash::new();
    for i in 0..12 {
        assert!(hash.set(format!("f{i}").as_bytes(), &[b'v'; 20], &LIMITS));
    }
    assert_eq!(hash.encoding(), "listpack");
    assert!(!hash.set(b"f0", b"again", &LIMITS));
    assert_eq!(hash.encoding(), "listpack");
    assert!(hash.set(b"f12", b"v", &LIMITS));
    assert_eq!(hash.encoding(), "hashtable");

    let mut hash = Hash::new();
    hash.set(b"f", &[b'v'; 21], &LIMITS);
    assert_eq!(hash.encoding(), "hashtable");

    let mut hash = Hash::new();
    let args = ["f", "v", "f", "v"].map(str::as_bytes);
    hash.prepare(args.into_iter(), &LIMITS);
    assert_eq!(hash.encoding(), "listpack");
    hash.prepare([&b"f"[..], &[b'v'; 21]].into_iter(), &LIMITS);
    assert_eq!(hash.encoding(), "hashtable");
    let mut hash = Hash::new();
    hash.prepare([&b"f"[..]; 26].into_iter(), &LIMITS);
    assert_eq!(hash.encoding(), "hashtable");
}

#[test]
fn triplets_are_ordered_by_expiry() {
    let mut hash = Hash::new();
    for field in ["a", "b", "c", "d"] {
        hash.set(field.as_bytes(), b"1", &LIMITS);
    }
    assert!(!hash.set_expire(b"none", Some(5)));
    assert_eq!(hash.encoding(), "listpackex");
    for (field, at) in [("c", 30), ("a", 40), ("d", 20)] {
        assert!(hash.set_expire(field.as_bytes(), Some(at)));
    }
    let order = |hash: &Hash| hash.iter().map(|e| e.field.to_vec()).collect::<Vec<_>>().concat();
    assert_eq!(order(&hash), b"dcab");
    hash.set_keep_ttl(b"c", b"2", &LIMITS);
    assert_eq!(order(&hash), b"dcab");
    hash.set(b"c", b"3", &LIMITS);
    assert_eq!(order(&hash), b"dabc");
    assert!(hash.set_expire(b"d", None));
    assert_eq!(order(&hash), b"abcd");
    assert_eq!(hash.min_expire(), Some(40));
    assert!(!hash.get(b"a").unwrap().is_expired(40));
    assert!(hash.get(b"a").unwrap().is_expired(41));
}

#[test]
fn bad_listpacks_are_refused() {
    let load = |items: &[&str], ex: bool| {
        let bytes =
            items.iter().map(|i| LpItem::parse(i.as_bytes())).collect::<Listpack>().to_bytes();
        let load = if ex { Hash::from_listpack_ex } else { Hash::from_listpack };
        load(bytes, &LIMITS).map(|hash| hash.encoding())
    };
    assert_eq!(load(&["f", "v", "g", "v"], false), Ok("listpack"));
    assert_eq!(load(&["f", "v", "f", "v"], false), Err(BadListpack::Duplicates));
    assert_eq!(load(&["f", "v", "g"], false), Err(BadListpack::Corrupt));
    assert_eq!(load(&["f", "v", "5", "g", "v", "7", "h", "v", "0"], true), Ok("listpackex"));
    assert_eq!(load(&["f", "v", "5", "g", "v"], true), Err(BadListpack::Corrupt));
    assert_eq!(load(&["f", "v", "x"], true), Err(BadListpack::Corrupt));
    assert_eq!(load(&["f", "v", "-1"], true), Err(BadListpack::Corrupt));
    assert_eq!(load(&["f", "v", "7", "g", "v", "5"], true), Err(BadListpack::Corrupt));
    assert_eq!(load(&["f", "v", "0", "g", "v", "5"], true), Err(BadListpack::Corrupt));
    let many: Vec<String> = (0..26).map(|i| i.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(load(&many, false), Ok("hashtable"));
}
