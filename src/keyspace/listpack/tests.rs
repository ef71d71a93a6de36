use super::*;

fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

fn random_element(state: &mut u64) -> Vec<u8> {
    let r = next(state);
    match r % 8 {
        0 => (next(state) as i64 >> (r >> 8 & 63)).to_string().into_bytes(),
        1 => (next(state) % 200).to_string().into_bytes(),
        2 => vec![b'x'; (next(state) % 200) as usize],
        3 if r & 0xf00 == 0 => vec![b'y'; (next(state) % 40_000) as usize],
        4 => format!("0{}", next(state) % 10).into_bytes(),
        _ => (0..next(state) % 20).map(|_| next(state) as u8).collect(),
    }
}

fn check(lp: &Listpack, model: &[Vec<u8>]) {
    assert_eq!(lp.len(), model.len());
    assert!(lp.iter().map(|i| i.to_vec()).eq(model.iter().cloned()));
    let mut pos = lp.last();
    for element in model.iter().rev() {
        let at = pos.expect("an element");
        assert!(lp.get(at).eq_bytes(element));
        pos = lp.prev(at);
    }
    assert_eq!(pos, None);
    assert_eq!(Listpack::from_bytes(lp.to_bytes()).as_ref(), Ok(lp));
}

#[test]
fn behaves_as_a_list_of_strings() {
    let mut state = 88172645463325252;
    for round in 0..30 {
        let mut lp = Listpack::new();
        let mut model: Vec<Vec<u8>> = Vec::new();
        for _ in 0..100 {
            let element = random_element(&mut state);
            let i = (next(&mut state) % (model.len() as u64 + 1)) as usize;
            let pos = lp.seek(i as i64);
            match (next(&mut state) % 8, pos) {
                (0, Some(pos)) => {
                    assert_eq!(lp.insert_before(pos, &element[..]), pos);
                    model.insert(i, element);
                }
                (1, Some(pos)) => {
                    let at = lp.insert_after(pos, &element[..]);
                    assert!(lp.get(at).eq_bytes(&element));
                    model.insert(i + 1, element);
                }
                (2, Some(pos)) => {
                    lp.replace(pos, &element[..]);
                    model[i] = element;
                }
                (3, Some(pos)) => {
                    let next = lp.remove(pos);
                    model.remove(i);
                    assert_eq!(next.map(|p| lp.get(p).to_vec()), model.get(i).cloned());
                }
                (4, _) => {
                    lp.push_front(&element[..]);
                    model.insert(0, element);
                }
                (5, Some(_)) if round % 3 == 0 => {
                    let n = (next(&mut state) % 4) as usize;
                    let end = (i + n).min(model.len());
                    assert_eq!(lp.remove_range(i as i64 - model.len() as i64, n), end - i);
                    model.drain(i..end);
                }
                (6, Some(pos)) => {
                    let tail = lp.split_off(pos);
                    check(&lp, &model[..i]);
                    check(&tail, &model[i..]);
                    lp.append(&tail);
                }
                _ => {
                    lp.push_back(&element[..]);
                    model.push(element);
                }
            }
            check(&lp, &model);
        }
        for (i, element) in model.iter().enumerate() {
            let found = lp.find(element, 0).expect("present");
            assert!(lp.get(found).eq_bytes(element));
            assert_eq!(
                found,
                lp.seek(model.iter().position(|e| e == element).unwrap() as i64).unwrap()
            );
            assert_eq!(lp.get_index(i as i64 - model.len() as i64).unwrap().to_vec(), *element);
        }
        assert_eq!(lp.find(b"not there", 0), None);
        assert_eq!(lp.seek(model.len() as i64), None);
        assert_eq!(lp.seek(-(model.len() as i64) - 1), None);
    }
}

/// Bytes are from `DUMP` of a list on redis-server 7.4.1.
#[test]
fn bytes_are_those_of_redis() {
    let mut lp = Listpack::new();
    for item in
        ["a", "127", "128", "-1", "4095", "-4096", "4096", "-32768", "8388607", "2147483647"]
    {
        lp.push_back(item.as_bytes());
    }
    lp.push_back(i64::MIN);
    assert_eq!(
        lp.to_bytes(),
        b"\x35\0\0\0\x0b\0\x81a\x02\x7f\x01\xc0\x80\x02\xdf\xff\x02\xcf\xff\x02\xd0\x00\x02\
          \xf1\x00\x10\x03\xf1\x00\x80\x03\xf2\xff\xff\x7f\x04\xf3\xff\xff\xff\x7f\x05\
          \xf4\0\0\0\0\0\0\0\x80\x09\xff"
    );
}

#[test]
fn long_entries_have_long_back_lengths() {
    for len in [63, 64, 125, 126, 127, 4095, 4096, 16_377, 16_378, 16_379, 2_097_145, 2_097_146] {
        let mut lp = Listpack::new();
        lp.push_back(&b"before"[..]);
        lp.push_back(&vec![b'z'; len][..]);
        lp.push_back(7);
        let last = lp.last().unwrap();
        assert_eq!(lp.get(lp.prev(last).unwrap()).text_len(), len);
        assert!(Listpack::from_bytes(lp.to_bytes()).is_ok());
    }
}

/// A batch writes the frequent encodings itself: they must be those of one element after the other.
#[test]
fn a_batch_has_the_bytes_of_its_elements() {
    let edges = [0, 127, 128, 4095, 4096, 0x7fff, 0x8000, 0x7f_ffff, 0x80_0000, i64::MAX];
    let numbers = edges.into_iter().flat_map(|n| [n, -n, -n - 1]);
    let lengths = [0, 1, 63, 64, 126, 127, 128, 4095, 4096, 16_382, 16_383];
    let mut one_by_one = Listpack::from_iter([LpItem::Int(5)]);
    let mut at_once = one_by_one.clone();
    let mut batch = Batch::default();
    for n in numbers {
        batch.int(n);
        batch.text(n.to_string().as_bytes());
        one_by_one.push_back(n);
        one_by_one.push_back(n);
    }
    for text in lengths.map(|len| vec![b'x'; len]) {
        batch.text(&text);
        one_by_one.push_back(&text[..]);
    }
    at_once.extend(&batch);
    assert!(at_once == one_by_one);
    assert_eq!(at_once.len(), 1 + 2 * 3 * edges.len() + lengths.len());
    // The next batch begins empty, though it may have the buffer of this one.
    drop(batch);
    at_once.extend(&Batch::default());
    assert!(at_once == one_by_one);
}

/// Passing over an element, and reading it, must go equally far.
#[test]
fn a_cursor_reads_what_is_there() {
    let texts = ["0", "127", "-1", "4096", "-70000", "9223372036854775807", "", "word"];
    let mut lp: Listpack = texts.iter().map(|t| LpItem::parse(t.as_bytes())).collect();
    [63, 64, 4096].iter().for_each(|len| lp.push_back(&vec![b'y'; *len][..]));
    for from in lp.positions().map(|(pos, _)| pos) {
        let (mut reading, mut passing, mut asking) =
            (lp.cursor_at(from), lp.cursor_at(from), lp.cursor_at(from));
        for (pos, item) in lp.positions_from(from) {
            assert_eq!([reading.place(), passing.place(), asking.place()], [Some(pos); 3]);
            assert_eq!((reading.item(), passing.skip()), (Some(item), Some(())));
            assert_eq!((asking.int(), lp.int(pos)), (item.as_i64(), item.as_i64()));
        }
        assert_eq!((reading.item(), passing.skip(), asking.int()), (None, None, None));
    }
}

#[test]
fn find_skips() {
    let mut lp = Listpack::new();
    for item in ["f1", "v", "v", "f1", "12", "v"] {
        lp.push_back(item.as_bytes());
    }
    assert_eq!(lp.find(b"v", 1), lp.seek(2));
    assert_eq!(lp.find(b"12", 1), lp.seek(4));
    assert_eq!(lp.find(b"012", 1), None);
    assert_eq!(lp.find_from(lp.seek(1).unwrap(), b"f1", 1), lp.seek(3));
}

#[test]
fn more_elements_than_the_header_counts() {
    let mut lp = Listpack::new();
    (0..70_000).for_each(|i| lp.push_back(i));
    assert_eq!(lp.len(), 70_000);
    assert_eq!(lp.get_index(69_999), Some(LpItem::Int(69_999)));
    assert_eq!(lp.get_index(-70_000), Some(LpItem::Int(0)));
    assert_eq!(lp.seek(70_000), None);
    assert_eq!(lp.remove_range(0, 10_000), 10_000);
    assert_eq!(lp.len(), 60_000);
    let tail = lp.split_off(lp.seek(59_990).unwrap());
    assert_eq!((lp.len(), tail.len()), (59_990, 10));
    assert!(Listpack::from_bytes(lp.to_bytes()).is_ok());
}

#[test]
fn corrupt_bytes_are_refused_or_readable() {
    let mut good = Listpack::new();
    for item in [
        "field",
        "17",
        "-70000",
        "a longer value than sixty-three bytes, so that its length takes two",
    ] {
        good.push_back(item.as_bytes());
    }
    assert!(Listpack::from_bytes(Vec::new()).is_err());
    for cut in 0..good.byte_len() {
        assert_eq!(Listpack::from_bytes(good.to_bytes()[..cut].to_vec()), Err(CorruptListpack));
    }
    let mut state = 1234567;
    let mut refused = 0;
    for _ in 0..50_000 {
        let mut bytes = good.to_bytes();
        for _ in 0..=next(&mut state) % 3 {
            let at = (next(&mut state) % bytes.len() as u64) as usize;
            bytes[at] = next(&mut state) as u8;
        }
        match Listpack::from_bytes(bytes) {
            Ok(lp) => {
                let forward = lp.iter().count();
                let back = std::iter::successors(lp.last(), |&p| lp.prev(p)).count();
                assert_eq!(forward, back);
            }
            Err(CorruptListpack) => refused += 1,
        }
    }
    assert!(refused > 10_000);
}

#[test]
fn prepending_leaves_a_gap_that_nobody_sees() {
    let mut state = 0x2545_f491_4f6c_dd1d;
    for round in 0..40u64 {
        let mut lp = Listpack::new();
        let mut model: Vec<Vec<u8>> = Vec::new();
        for step in 0..400 {
            let element = random_element(&mut state);
            // Rounds that grow, and rounds that go up and down.
            match next(&mut state) % (6 + round % 4) {
                0 if !model.is_empty() => {
                    lp.remove(lp.first().expect("not empty"));
                    model.remove(0);
                }
                1 if !model.is_empty() => {
                    lp.remove(lp.last().expect("not empty"));
                    model.pop();
                }
                2 if round % 2 == 0 => {
                    lp.push_back(&element[..]);
                    model.push(element);
                }
                3 if round % 4 == 0 && !model.is_empty() => {
                    let i = (next(&mut state) % model.len() as u64) as usize;
                    let pos = lp.seek(i as i64).expect("an element");
                    lp.replace(pos, &element[..]);
                    model[i] = element;
                }
                _ => {
                    lp.push_front(&element[..]);
                    model.insert(0, element);
                    assert!(lp.form().1, "late");
                    let copy = lp.clone();
                    assert!(copy == lp && !copy.form().1);
                }
            }
            if step % 16 == 0 {
                check(&lp, &model);
            }
        }
        check(&lp, &model);
        let mut batch = Batch::default();
        batch.text(b"last");
        lp.push_front(1);
        lp.extend(&batch);
        model.insert(0, b"1".to_vec());
        model.push(b"last".to_vec());
        check(&lp, &model);
    }
}

#[test]
fn prepending_moves_nothing_within_a_size_class() {
    let mut lp = Listpack::new();
    let element = [b'x'; 60];
    (0..21).for_each(|_| lp.push_front(&element[..]));
    let before = lp.buf()[HEADER..].as_ptr();
    lp.push_front(&element[..]);
    assert_eq!(lp.buf()[HEADER + 62..].as_ptr(), before);
    lp.remove(lp.first().expect("an element"));
    assert_eq!(lp.buf()[HEADER..].as_ptr(), before);
}
