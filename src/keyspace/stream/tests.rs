//! The stream against a plain map, and its byte format.
use super::*;

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

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

fn fields_of(entry: &Entry<'_>) -> Fields {
    assert_eq!(entry.fields().count(), entry.field_count());
    entry.fields().map(|(name, value)| (name.to_vec(), value.to_vec())).collect()
}

fn all(range: Range<'_>) -> Vec<(StreamId, Fields)> {
    range.map(|entry| (entry.id, fields_of(&entry))).collect()
}

fn random_fields(rng: &mut Rng) -> Vec<Vec<u8>> {
    let names: &[&str] = match rng.below(4) {
        0 => &["other"],
        1 => &["a", "b", "7"],
        2 => &[],
        _ => &["a", "b"],
    };
    let mut flat = Vec::new();
    for name in names {
        flat.push(name.as_bytes().to_vec());
        flat.push(match rng.below(3) {
            0 => rng.below(1 << 40).to_string().into_bytes(),
            1 => vec![b'v'; rng.below(200) as usize],
            _ => b"-12".to_vec(),
        });
    }
    flat
}

fn pairs(flat: &[Vec<u8>]) -> Fields {
    flat.chunks(2).map(|p| (p[0].clone(), p[1].clone())).collect()
}

fn against_model(seed: u64, limits: NodeLimits, steps: usize) {
    let mut rng = Rng(seed);
    let mut stream = Stream::new();
    let mut model: BTreeMap<StreamId, Fields> = BTreeMap::new();
    let mut added = 0;
    for step in 0..steps {
        match rng.below(20) {
            0..=14 => {
                let mut id = stream.last_id.next().unwrap();
                if rng.below(3) == 0 {
                    id = StreamId::new(id.ms + rng.below(5) + 1, rng.below(100));
                }
                let flat = random_fields(&mut rng);
                stream.append(id, &flat, limits).unwrap();
                assert_eq!(stream.append(id, &flat, limits), Err(AppendError::IdNotGreater));
                model.insert(id, pairs(&flat));
                added += 1;
            }
            15..=18 if !model.is_empty() => {
                let nth = rng.below(model.len() as u64) as usize;
                let id = *model.keys().nth(nth).unwrap();
                assert!(stream.delete(id) && !stream.delete(id));
                assert!(stream.max_deleted_entry_id >= id);
                model.remove(&id);
            }
            19 if rng.below(8) == 0 && !model.is_empty() => {
                if rng.below(2) == 0 {
                    let keep = model.len() as u64 - rng.below(model.len() as u64 / 4 + 1);
                    let gone = stream.trim(TrimTo::MaxLen(keep), false, 0);
                    assert_eq!(gone, model.len() as u64 - keep);
                    while model.len() as u64 > keep {
                        model.pop_first();
                    }
                } else {
                    let nth = rng.below(model.len() as u64 / 4 + 1) as usize;
                    let min = *model.keys().nth(nth).unwrap();
                    assert_eq!(stream.trim(TrimTo::MinId(min), false, 0), nth as u64);
                    model = model.split_off(&min);
                }
            }
            _ => {}
        }
        let first = model.keys().next().copied().unwrap_or_default();
        assert_eq!((stream.len(), stream.first_id()), (model.len() as u64, first));
        if step % 41 == 0 {
            let expected: Vec<_> = model.iter().map(|(id, f)| (*id, f.clone())).collect();
            assert_eq!(all(stream.iter()), expected);
            let (a, b) = (rng.below(stream.last_id.ms + 2), rng.below(stream.last_id.ms + 2));
            let (start, end) = (StreamId::new(a.min(b), rng.below(9)), StreamId::new(a.max(b), 7));
            let mut expected = expected;
            expected.retain(|(id, _)| start <= *id && *id <= end);
            assert_eq!(all(stream.range(start, end, false)), expected);
            expected.reverse();
            assert_eq!(all(stream.range(start, end, true)), expected);
            for id in [start, end, stream.last_id] {
                assert_eq!(stream.get(id).map(|e| fields_of(&e)), model.get(&id).cloned());
            }
            assert_eq!(stream.last().map(|e| e.id), model.keys().next_back().copied());
            // What a file would hold builds the same stream.
            let mut copy = Stream::new();
            for (id, lp) in stream.nodes() {
                let lp = Listpack::from_bytes(lp.to_bytes()).unwrap();
                copy.insert_node(id, lp.clone()).unwrap();
                assert_eq!(copy.insert_node(id, lp), Err(NodeError::Duplicate));
            }
            assert_eq!(all(copy.iter()), all(stream.iter()));
        }
    }
    assert_eq!(stream.entries_added, added);
    assert!(stream.nodes().len() > 1);
    assert_eq!(stream.trim(TrimTo::MaxLen(0), false, 0), model.len() as u64);
    assert_eq!((stream.len(), stream.nodes().len()), (0, 0));
    assert!(stream.first_id().is_zero() && stream.last().is_none());
}

#[test]
fn behaves_like_a_map() {
    against_model(0x9E37_79B9_7F4A_7C15, NodeLimits::default(), 6_000);
    against_model(5, NodeLimits { max_bytes: 300, max_entries: 0 }, 3_000);
    // More entries than a one-byte count holds.
    against_model(6, NodeLimits { max_bytes: 0, max_entries: 300 }, 3_000);
}

#[test]
fn node_bytes_are_those_of_redis() {
    let mut stream = Stream::new();
    let limits = NodeLimits::default();
    stream.append(StreamId::new(5, 1), &["f", "1"], limits).unwrap();
    stream.append(StreamId::new(6, 0), &["f", "x"], limits).unwrap();
    stream.append(StreamId::new(6, 1), &["g", "y"], limits).unwrap();
    stream.delete(StreamId::new(6, 0));
    let (id, lp) = stream.nodes().next().unwrap();
    assert_eq!(id, StreamId::new(5, 1));
    let items: Vec<_> = lp.iter().map(|i| String::from_utf8(i.to_vec()).unwrap()).collect();
    let expected = "2 1 1 f 0  2 0 0 1 4  3 1 -1 x 4  0 1 0 1 g y 6";
    assert_eq!(items.join(" "), expected.replace("  ", " "));
}

#[test]
fn malformed_nodes_are_refused() {
    let mut good = Stream::new();
    for ms in 1..5 {
        good.append(StreamId::new(ms, 0), &["f", "v", "g", "w"], NodeLimits::default()).unwrap();
    }
    good.append(StreamId::new(9, 0), &["other", "1"], NodeLimits::default()).unwrap();
    let (_, lp) = good.nodes().next().unwrap();
    let items: Vec<_> = lp.iter().collect();
    assert!(node::is_valid(lp));
    for cut in 0..items.len() {
        let short: Listpack = items[..cut].iter().copied().collect();
        assert!(!node::is_valid(&short), "cut at {cut}");
    }
    for (at, text) in [(0, -1), (0, i64::MAX), (2, -1), (2, 1 << 40), (5, 7), (6, 0)] {
        let mut wrong = items.clone();
        wrong[at] = LpItem::Int(text);
        let wrong: Listpack = wrong.into_iter().collect();
        assert!(!node::is_valid(&wrong), "{at} = {text}");
    }
    let mut stream = Stream::new();
    assert_eq!(stream.insert_node(StreamId::MIN, Listpack::new()), Err(NodeError::Malformed));
}

#[test]
fn approximate_trim_takes_whole_nodes() {
    let limits = NodeLimits { max_bytes: 0, max_entries: 10 };
    let filled = || {
        let mut stream = Stream::new();
        for ms in 1..=35 {
            stream.append(StreamId::new(ms, 0), &["f", "v"], limits).unwrap();
        }
        stream
    };
    assert_eq!(filled().trim(TrimTo::MaxLen(17), true, 0), 10);
    assert_eq!(filled().trim(TrimTo::MaxLen(5), true, 0), 30);
    assert_eq!(filled().trim(TrimTo::MaxLen(0), true, 25), 20);
    assert_eq!(filled().trim(TrimTo::MinId(StreamId::new(21, 0)), true, 0), 20);
    assert_eq!(filled().trim(TrimTo::MinId(StreamId::new(20, 0)), true, 0), 10);
    assert_eq!(filled().trim(TrimTo::MaxLen(99), false, 0), 0);
}

#[test]
fn values_may_go_to_other_threads() {
    fn check<T: Send + Sync>() {}
    check::<Stream>();
    check::<crate::keyspace::list::List>();
    check::<crate::keyspace::zset::SortedSet>();
}

#[test]
fn ids() {
    let id = StreamId::new(1, u64::MAX);
    assert_eq!(id.next(), Some(StreamId::new(2, 0)));
    assert_eq!(StreamId::new(2, 0).prev(), Some(id));
    assert_eq!((StreamId::MAX.next(), StreamId::MIN.prev()), (None, None));
    assert_eq!(StreamId::from_bytes(id.to_bytes()), id);
    assert_eq!(StreamId::new(1, 2).to_bytes()[7..], [1, 0, 0, 0, 0, 0, 0, 0, 2]);
    assert_eq!(StreamId::parse(b"12", 7), Some(StreamId::new(12, 7)));
    assert_eq!(StreamId::parse(b"12-3", 7), Some(StreamId::new(12, 3)));
    for bad in ["", "-", "+", "a", "1-", "-1", "1-*", "1-2-3"] {
        assert_eq!(StreamId::parse(bad.as_bytes(), 0), None, "{bad}");
    }
    assert_eq!(StreamId::new(3, 4).to_string(), "3-4");
    let mut stream = Stream::new();
    assert_eq!(stream.next_id(5), Some(StreamId::new(5, 0)));
    assert_eq!(stream.next_id(0), Some(StreamId::new(0, 1)));
    stream.append(id, &["f", "v"], NodeLimits::default()).unwrap();
    assert_eq!(stream.next_id(1), Some(StreamId::new(2, 0)));
    assert_eq!((stream.next_id_in(1), stream.next_id_in(9)), (None, Some(StreamId::new(9, 0))));
}

#[test]
fn a_group_s_lag() {
    let mut stream = Stream::new();
    assert!(stream.create_group(b"g", StreamId::MIN, None));
    assert!(!stream.create_group(b"g", StreamId::MIN, None));
    let lag = |stream: &Stream| stream.group_lag(stream.group(b"g").unwrap());
    assert_eq!(lag(&stream), Some(0));
    for ms in 1..=5 {
        stream.append(StreamId::new(ms, 0), &["f", "v"], NodeLimits::default()).unwrap();
    }
    assert_eq!(lag(&stream), Some(5));
    assert!(stream.advance_group(b"g", StreamId::new(1, 0)));
    assert!(!stream.advance_group(b"g", StreamId::new(1, 0)));
    assert_eq!(stream.group(b"g").unwrap().entries_read, Some(1));
    assert!(stream.advance_group(b"g", StreamId::new(2, 0)));
    assert_eq!(lag(&stream), Some(3));
    // A hole ahead of the group: how much is left is unknown until the group has passed it.
    stream.delete(StreamId::new(4, 0));
    assert_eq!(lag(&stream), None);
    stream.advance_group(b"g", StreamId::new(3, 0));
    assert_eq!(stream.group(b"g").unwrap().entries_read, None);
    stream.advance_group(b"g", StreamId::new(5, 0));
    assert_eq!((stream.group(b"g").unwrap().entries_read, lag(&stream)), (Some(5), Some(0)));
    assert!(stream.destroy_group(b"g") && !stream.destroy_group(b"g"));
}

#[test]
fn nodes_stay_in_order_whatever_comes() {
    let lp = |n: i64| {
        let mut lp = Listpack::new();
        lp.push_back(n);
        lp
    };
    let id = |ms| StreamId { ms, seq: 0 };
    let mut nodes = super::nodes::Nodes::default();
    nodes.put(id(10), lp(1));
    nodes.put(id(30), lp(2));
    nodes.put(id(20), lp(3));
    nodes.put(id(20), lp(4));
    assert_eq!(nodes.insert(id(30), lp(5)), Err(NodeError::Duplicate));
    assert_eq!(nodes.insert(id(5), lp(6)), Ok(()));
    let seen: Vec<_> = nodes.iter().map(|(id, lp)| (id.ms, lp.get_index(0))).collect();
    let int = |n| Some(crate::keyspace::listpack::LpItem::Int(n));
    assert_eq!(seen, [(5, int(6)), (10, int(1)), (20, int(4)), (30, int(2))]);
    let range = |from, to| nodes.range(id(from), id(to)).map(|n| n.0.ms).collect::<Vec<_>>();
    assert_eq!(range(0, 4), []);
    assert_eq!(range(0, 5), [5]);
    assert_eq!(range(12, 25), [10, 20]);
    assert_eq!(range(31, 40), [30]);
    assert_eq!(
        (nodes.place_of(id(4)), nodes.place_of(id(29)).map(|at| nodes.get(at).0)),
        (None, Some(id(20)))
    );
}
