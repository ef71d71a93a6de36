//! Looking ahead at what modules keep behind their values, so that it is in the cache when the module comes to it.
//!
//! Nothing is known of a value but where it begins. So its first words are taken for pointers, and what they point to is
//! fetched; then the first words of that. A word that is no pointer costs a look into a bit map. Only pages of the
//! server's own heap are read (`module::api::memory::owns`), of which none is ever unmapped; what is read decides what
//! is fetched, and nothing else.
use super::table::prefetch;
use crate::module::api::memory::owns;
use std::ptr::with_exposed_provenance;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

const PAGE: usize = 4096;
const WORD: usize = size_of::<usize>();
/// Words looked at where the first word, and the second, of a value point.
const WORDS: [usize; 2] = [16, 8];

/// The word at an address without the tag that some modules keep in the lowest bits of pointers.
fn untagged(word: usize) -> usize {
    word & !(WORD - 1)
}

/// The first `most` words at an address that is in a page of our heap; those behind the page are left out.
fn words(at: usize, most: usize) -> impl Iterator<Item = usize> {
    let most = most.min((PAGE - at % PAGE) / WORD);
    (0..most).map(move |i| {
        let word = with_exposed_provenance::<AtomicUsize>(at + i * WORD);
        // SAFETY: layout: aligned, and in a page that stays mapped; whatever stands there is a number.
        unsafe { (*word).load(Relaxed) }
    })
}

fn pointers(value: usize) -> impl Iterator<Item = usize> {
    words(value, WORDS.len()).map(untagged)
}

/// Fetches what values, which lie in our heap, point to, and what that points to. The values themselves are on their way
/// into the cache. On the module thread, with the module lock, under which they are not freed.
pub fn fetch_behind(values: &[usize]) {
    for value in values {
        for at in pointers(*value) {
            prefetch(at);
            prefetch(at.wrapping_add(64));
        }
    }
    for value in values {
        for (at, most) in pointers(*value).zip(WORDS).filter(|(at, _)| is_ours(*at)) {
            words(at, most).map(untagged).filter(|at| is_ours(*at)).for_each(prefetch);
        }
    }
}

/// Whether an address is in a page of our heap.
fn is_ours(address: usize) -> bool {
    owns(std::ptr::without_provenance_mut(address))
}
