//! The list against a plain vector, and the encoding rules that clients can see.
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

    fn value(&mut self) -> Vec<u8> {
        match self.below(20) {
            0 => vec![b'L'; 5000 + self.below(9000)],
            1..=6 => self.below(100_000).to_string().into_bytes(),
            7..=12 => self.below(5).to_string().into_bytes(),
            _ => vec![b'a' + self.below(3) as u8; self.below(40)],
        }
    }
}

fn values(list: &List) -> Vec<Vec<u8>> {
    list.iter().map(|item| item.to_vec()).collect()
}

/// Nodes are never empty and add up; plain nodes hold only big elements.
fn check(list: &List, fill: Fill) {
    let mut sum = 0;
    for node in list.nodes() {
        match node {
            NodeRef::Packed(lp) => {
                assert!(list.encoding() == "listpack" || !lp.is_empty());
                sum += lp.len();
            }
            NodeRef::Plain(value) => {
                assert!(fill.is_large(value.len()));
                sum += 1;
            }
        }
    }
    assert_eq!(sum, list.len());
}

fn against_model(seed: u64, fill: Fill, steps: usize, max_len: usize) {
    let mut rng = Rng(seed);
    let mut list = List::new();
    let mut model: Vec<Vec<u8>> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for step in 0..steps {
        let at = rng.below(model.len() + 1);
        let value = rng.value();
        let shrink = model.len() > max_len;
        match if shrink { 6 + rng.below(6) } else { rng.below(12) } {
            0 | 1 => {
                list.push_back(&[&value], fill);
                model.push(value);
            }
            2 => {
                let second = rng.value();
                list.push_front(&[&value, &second], fill);
                model.insert(0, value);
                model.insert(0, second);
            }
            3 | 4 => {
                assert_eq!(list.insert_before(at, &value, fill), at < model.len());
                if at < model.len() {
                    model.insert(at, value);
                }
            }
            5 => {
                assert_eq!(list.insert_after(at, &value, fill), at < model.len());
                if at < model.len() {
                    model.insert(at + 1, value);
                }
            }
            6 => {
                assert_eq!(list.set(at, &value, fill), at < model.len());
                if let Some(place) = model.get_mut(at) {
                    *place = value;
                }
            }
            7 => {
                let popped = if rng.below(2) == 0 {
                    let expected = (!model.is_empty()).then(|| model.remove(0));
                    (list.pop_front(fill), expected)
                } else {
                    (list.pop_back(fill), model.pop())
                };
                assert_eq!(popped.0, popped.1);
            }
            8 => {
                let count = rng.below(5) as i64 - 2;
                let expected = model_remove(&mut model, count, &value);
                assert_eq!(list.remove(count, &value, fill), expected);
            }
            9 => {
                let count = rng.below(6);
                let end = model.len().min(at + count);
                list.delete_range(at, count, fill);
                model.drain(at..end);
            }
            10 if rng.below(10) == 0 => {
                let cut = rng.below(model.len() / 3 + 1);
                let end = model.len() - rng.below(model.len() / 3 + 1);
                list.trim(cut, end, fill);
                model.truncate(end);
                model.drain(..cut.min(end));
            }
            _ => {
                let after = rng.below(2) == 0;
                let pivot = rng.value();
                let place = model.iter().position(|v| *v == pivot);
                assert_eq!(list.insert_at_pivot(&pivot, &value, after, fill), place.is_some());
                if let Some(place) = place {
                    model.insert(place + usize::from(after), value);
                }
            }
        }
        assert_eq!(list.len(), model.len());
        seen.insert(list.encoding());
        if step % 23 == 0 {
            check(&list, fill);
            assert_eq!(values(&list), model);
            assert_eq!(values(&list.clone()), model);
            let at = rng.below(model.len() + 1);
            assert_eq!(list.get(at).map(|i| i.to_vec()).as_ref(), model.get(at));
            let ahead: Vec<_> = list.iter_from(at, false).map(|i| i.to_vec()).collect();
            assert_eq!(ahead, model[at..]);
            if at < model.len() {
                let back: Vec<_> = list.iter_from(at, true).map(|i| i.to_vec()).collect();
                assert!(back.iter().eq(model[..=at].iter().rev()));
            }
        }
    }
    assert_eq!(seen.len(), 2, "both encodings were met");
}

fn model_remove(model: &mut Vec<Vec<u8>>, count: i64, value: &[u8]) -> usize {
    let max = if count == 0 { usize::MAX } else { count.unsigned_abs() as usize };
    let mut hits: Vec<_> = (0..model.len()).filter(|&i| model[i] == value).collect();
    if count >= 0 {
        hits.truncate(max);
    } else {
        hits.drain(..hits.len().saturating_sub(max));
    }
    for &hit in hits.iter().rev() {
        model.remove(hit);
    }
    hits.len()
}

#[test]
fn behaves_like_a_vector() {
    against_model(0x9E37_79B9_7F4A_7C15, Fill(-1), 12_000, 400);
    against_model(0x0123_4567_89AB_CDEF, Fill(4), 12_000, 60);
    against_model(77, Fill(-2), 12_000, 900);
    against_model(78, Fill(0), 4_000, 20);
}

#[test]
fn encoding_follows_the_limit() {
    let fill = Fill(4);
    let mut list = List::new();
    list.push_back(&["1", "2", "3", "4"], fill);
    assert_eq!(list.encoding(), "listpack");
    list.push_back(&["5"], fill);
    assert_eq!(list.encoding(), "quicklist");
    assert_eq!(list.node_count(), 2);
    // One node is left after these, but only half of the limit brings the listpack back.
    list.pop_back(fill);
    list.pop_back(fill);
    assert_eq!((list.encoding(), list.len()), ("quicklist", 3));
    list.pop_back(fill);
    assert_eq!((list.encoding(), list.len()), ("listpack", 2));
}

#[test]
fn a_big_element_gets_its_own_node() {
    let fill = Fill::default();
    let mut list = List::new();
    list.push_back(&["a", "b"], fill);
    list.push_back(&[vec![b'x'; 9000]], fill);
    list.push_back(&["c"], fill);
    let shape: Vec<_> = list.nodes().map(|n| matches!(n, NodeRef::Plain(_))).collect();
    assert_eq!(shape, [false, true, false]);
    assert!(list.set(2, b"small", fill));
    assert_eq!(values(&list), [&b"a"[..], b"b", b"small", b"c"]);
}

#[test]
fn a_loaded_list_settles() {
    let mut packed = Listpack::new();
    packed.push_back(&b"a"[..]);
    let mut list = List::for_loading();
    list.push_node(Node::Packed(Listpack::new()));
    list.push_node(Node::Packed(packed.clone()));
    list.settle(Fill::default());
    assert_eq!((list.encoding(), list.len()), ("listpack", 1));
    let mut list = List::for_loading();
    list.push_node(Node::Packed(packed.clone()));
    list.push_node(Node::Packed(packed));
    list.settle(Fill::default());
    assert_eq!((list.encoding(), list.len()), ("quicklist", 2));
}

#[test]
fn places_outside_are_nothing() {
    let fill = Fill(2);
    for n in [2, 5] {
        let mut list = List::new();
        list.push_back(&vec!["x"; n], fill);
        for at in [n, usize::MAX] {
            assert!(list.get(at).is_none() && list.iter_from(at, false).next().is_none());
            assert!(!list.insert_before(at, b"y", Fill(9)) && !list.set(at, b"y", Fill(9)));
            list.delete_range(at, 3, fill);
        }
        list.trim(0, usize::MAX, fill);
        assert_eq!(list.len(), n);
    }
}

#[test]
fn positions_as_lpos_gives_them() {
    let mut list = List::new();
    list.push_back(&["a", "b", "c", "1", "2", "3", "c", "c"], Fill::default());
    assert_eq!(list.positions(b"c", 1, 1, 0), [2]);
    assert_eq!(list.positions(b"c", 2, 1, 0), [6]);
    assert_eq!(list.positions(b"c", -1, 2, 0), [7, 6]);
    assert_eq!(list.positions(b"c", 1, 0, 0), [2, 6, 7]);
    assert_eq!(list.positions(b"c", 1, 0, 7), [2, 6]);
    assert_eq!(list.positions(b"c", -1, 0, 1), [7]);
    assert_eq!(list.positions(b"1", 1, 0, 0), [3]);
    assert!(list.positions(b"x", 1, 0, 0).is_empty());
    assert!(List::new().positions(b"x", -1, 0, 0).is_empty());
}
