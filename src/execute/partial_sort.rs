//! The quicksort of Bentley and McIlroy ("Engineering a Sort Function", 1993), of which only those parts are done that
//! reach into a wanted range.
//!
//! Redis sorts so where it is asked for a part of a result: `SORT ... BY ... LIMIT`, and places with `COUNT`. Which of
//! several equal elements get into that part, and in which order, follows from the steps of this algorithm; so an
//! answer is only the same if the steps are.
use std::cmp::Ordering;
use std::ops::Range;

/// Up to this length, elements are put in place one by one.
const SMALL: usize = 6;
/// From this length on, the pivot is a median of medians.
const LARGE: usize = 41;

/// Orders `items` so that the places in `wanted` hold what belongs there; the others hold the rest.
pub fn sort_range<T>(items: &mut [T], wanted: &Range<usize>, compare: impl Fn(&T, &T) -> Ordering) {
    let mut parts = Vec::new();
    parts.push(0..items.len());
    while let Some(part) = parts.pop() {
        let inside = part.start.max(wanted.start) < part.end.min(wanted.end);
        if part.len() < 2 || !inside {
            continue;
        }
        let (less, greater) = split(&mut items[part.clone()], &compare);
        parts.push(part.start..part.start + less);
        parts.push(part.end - greater..part.end);
    }
}

/// Puts the elements equal to a pivot between the less and the greater ones, and tells how many of these there are:
/// none of a short slice, which is sorted altogether.
fn split<T>(items: &mut [T], compare: &impl Fn(&T, &T) -> Ordering) -> (usize, usize) {
    let len = items.len();
    if len <= SMALL {
        for i in 1..len {
            for j in (1..=i).rev() {
                if compare(&items[j - 1], &items[j]) != Ordering::Greater {
                    break;
                }
                items.swap(j - 1, j);
            }
        }
        return (0, 0);
    }
    let pivot = pivot(items, compare);
    items.swap(0, pivot);
    // What equals the pivot is gathered at both ends: before `first` and behind `last`.
    let (mut first, mut low) = (1, 1);
    let (mut last, mut high) = (len - 1, len - 1);
    loop {
        while low <= high {
            match compare(&items[low], &items[0]) {
                Ordering::Greater => break,
                Ordering::Equal => {
                    items.swap(first, low);
                    first += 1;
                }
                Ordering::Less => {}
            }
            low += 1;
        }
        while low <= high {
            match compare(&items[high], &items[0]) {
                Ordering::Less => break,
                Ordering::Equal => {
                    items.swap(high, last);
                    last -= 1;
                }
                Ordering::Greater => {}
            }
            high -= 1;
        }
        if low > high {
            break;
        }
        items.swap(low, high);
        low += 1;
        high -= 1;
    }
    let (less, greater) = (low - first, last - high);
    exchange(items, 0, low, first.min(less));
    exchange(items, low, len, greater.min(len - 1 - last));
    (less, greater)
}

/// Exchanges the `count` elements from `at` on with those that end before `end`.
fn exchange<T>(items: &mut [T], at: usize, end: usize, count: usize) {
    for i in 0..count {
        items.swap(at + i, end - count + i);
    }
}

fn pivot<T>(items: &[T], compare: &impl Fn(&T, &T) -> Ordering) -> usize {
    let len = items.len();
    let middle = len / 2;
    if len == SMALL + 1 {
        return middle;
    }
    let median = |a, b, c| median(items, [a, b, c], compare);
    if len < LARGE {
        return median(0, middle, len - 1);
    }
    let step = len / 8;
    let low = median(0, step, 2 * step);
    let mid = median(middle - step, middle, middle + step);
    let high = median(len - 1 - 2 * step, len - 1 - step, len - 1);
    median(low, mid, high)
}

/// Which of three places holds the middle element.
fn median<T>(items: &[T], [a, b, c]: [usize; 3], compare: &impl Fn(&T, &T) -> Ordering) -> usize {
    let order = |x: usize, y: usize| compare(&items[x], &items[y]);
    let (ab, bc) = (order(a, b), order(b, c));
    if ab == Ordering::Less {
        match bc {
            Ordering::Less => b,
            _ if order(a, c) == Ordering::Less => c,
            _ => a,
        }
    } else {
        match bc {
            Ordering::Greater => b,
            _ if order(a, c) == Ordering::Less => a,
            _ => c,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Elements are told apart by a place that is not compared.
    fn check(keys: &[u32], wanted: Range<usize>) {
        let mut items: Vec<(u32, usize)> = keys.iter().copied().zip(0..).collect();
        sort_range(&mut items, &wanted, |a, b| a.0.cmp(&b.0));
        let mut sorted = keys.to_vec();
        sorted.sort_unstable();
        let got: Vec<u32> = items.iter().map(|item| item.0).collect();
        assert_eq!(got[wanted.clone()], sorted[wanted.clone()], "{keys:?} {wanted:?}");
        // What is before the range is not greater, what is behind it not less; and nothing is lost.
        if !wanted.is_empty() {
            assert!(got[..wanted.start].iter().all(|k| *k <= got[wanted.start]));
            assert!(got[wanted.end..].iter().all(|k| *k >= got[wanted.end - 1]));
        }
        items.sort_by_key(|item| item.1);
        assert!(items.into_iter().eq(keys.iter().copied().zip(0..)));
    }

    #[test]
    fn the_wanted_part_is_sorted() {
        let mut seed = 7u64;
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (seed >> 33) % below
        };
        for _ in 0..3000 {
            let len = random(130) as usize;
            let kinds = 1 + random(40);
            let keys: Vec<u32> = (0..len).map(|_| random(kinds) as u32).collect();
            let start = random(len as u64 + 1) as usize;
            let end = start + random((len - start) as u64 + 1) as usize;
            check(&keys, start..end);
        }
    }

    #[test]
    fn runs_that_are_sorted_already() {
        let up: Vec<u32> = (0..5000).collect();
        let down: Vec<u32> = up.iter().rev().copied().collect();
        let same = vec![3; 5000];
        for keys in [&up, &down, &same] {
            check(keys, 0..10);
            check(keys, 2500..2510);
            check(keys, 0..5000);
        }
    }

    /// What `SORT l BY w_* ALPHA LIMIT start count` of Redis 7.4.1 answers for the letters from `a` on, whose weights
    /// are the rests of 0, 7, 14... by 3.
    #[test]
    fn ties_come_as_redis_has_them() {
        let answers = [
            (12, 0..5, "adgjk"),
            (12, 3..7, "jkbh"),
            (12, 7..12, "elfic"),
            (52, 0..5, "mdgja"),
            (52, 3..7, "japs"),
            (52, 47..52, "SrGiV"),
        ];
        for (len, wanted, answer) in answers {
            let letters = ('a'..='z').chain('A'..='Z').take(len);
            let mut items: Vec<(usize, char)> = (0..).map(|i| i * 7 % 3).zip(letters).collect();
            sort_range(&mut items, &wanted, |a, b| a.0.cmp(&b.0));
            let got: String = items[wanted].iter().map(|item| item.1).collect();
            assert_eq!(got, answer);
        }
    }
}
