//! Looking ahead at what modules keep behind their values, so that it is in the cache when the module comes to it.
//!
//! Nothing is known of a value but where it begins. So its first words are taken for pointers, and what they point to is
//! fetched; then the first words of that. A word that is no pointer costs a look into a bit map. Only pages of the
//! server's own heap are read (`module::api::memory::owns`), of which none is ever unmapped; what is read decides what
//! is fetched, and nothing else.
use super::table::prefetch;
use crate::module::api::memory::{owns, range};
use std::ops::Range;
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

/// How many of `most` words at an address lie in its page.
#[inline]
fn in_page(at: usize, most: usize) -> usize {
    most.min((PAGE - at % PAGE) / WORD)
}

/// The `i`th word at an address.
///
/// # Safety
/// The word is aligned, and in a page of our heap.
#[inline]
unsafe fn word(at: usize, i: usize) -> usize {
    let word = with_exposed_provenance::<AtomicUsize>(at + i * WORD);
    // SAFETY: layout: this function's contract: such a page stays mapped; whatever stands there is a number.
    untagged(unsafe { (*word).load(Relaxed) })
}

/// Fetches what values, which lie in our heap, point to, and what that points to. The values themselves are on their way
/// into the cache. On the module thread, with the module lock, under which they are not freed.
pub fn fetch_behind(values: &[usize]) {
    for &value in values {
        for i in 0..in_page(value, WORDS.len()) {
            // SAFETY: layout: aligned, as `ModuleValue::in_heap` says, and in the page of a block that is in use.
            let at = unsafe { word(value, i) };
            prefetch(at);
            prefetch(at.wrapping_add(64));
        }
    }
    // Most words that are no pointers are far from the heap, which two compares tell.
    let Range { start, end } = range();
    let is_near = |at: usize| at.wrapping_sub(start) < end.saturating_sub(start);
    for &value in values {
        for (i, most) in WORDS.into_iter().enumerate().take(in_page(value, WORDS.len())) {
            // SAFETY: layout: as above.
            let at = unsafe { word(value, i) };
            if !is_near(at) || !owns(std::ptr::without_provenance_mut(at)) {
                continue;
            }
            for j in 0..in_page(at, most) {
                // SAFETY: layout: aligned, as the tag was cut off, and in a page of our heap.
                let next = unsafe { word(at, j) };
                if is_near(next) {
                    prefetch(next);
                }
            }
        }
    }
}
