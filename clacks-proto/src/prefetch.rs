//! Internal: prefetching, for `clacks-sim`, whose towers do not fit into the cache.

use core::mem::size_of;

use prefetch_index::prefetch_index;

/// The size of a cache line in words.
const LINE: usize = 8;

/// Starts to load a value into the cache. `word` is a part of the value.
#[inline(always)]
pub fn prefetch<T>(value: &T, word: &u64) {
    let offset = (&raw const *word).addr().wrapping_sub((&raw const *value).addr());
    // The addresses of all lines follow from that of the word. Any address may be prefetched.
    let (first, words) = (0usize.wrapping_sub(offset / 8), size_of::<T>() / 8);
    for line in (0..words).step_by(LINE) {
        prefetch_index(core::slice::from_ref(word), first.wrapping_add(line));
    }
    prefetch_index(core::slice::from_ref(word), first.wrapping_add(words.saturating_sub(1)));
}
