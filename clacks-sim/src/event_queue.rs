//! The queue of pending events, a radix heap.
//!
//! A binary heap of a million events misses the cache on every level. This queue appends each event
//! to one of a few hundred buckets, and reads each bucket in sequence:
//!
//! - The level of a bucket is the highest base-64 digit in which the time of the event differs from
//!   the `base`. The buckets of low levels cover short ranges of time, and the buckets of high
//!   levels cover long ranges. Events of the same time are in the same bucket, in the order in
//!   which they were pushed.
//! - When all earlier events are popped, the queue opens the first bucket. A bucket with few events
//!   is sorted into `due`, and its events are popped from there. The events of a fuller bucket are
//!   redistributed to the buckets of lower levels, which are empty at that time. So the number of
//!   events that are sorted at once does not grow with the queue, and the buckets need no resizing.
//!
//! An event never overtakes an earlier event of the same time. So the queue stores no sequence
//! numbers.

use std::fmt;

/// A radix heap of pending events. Events are popped by time. Events of the same time are popped in
/// the order in which they were pushed.
///
/// # Memory
///
/// An event takes about 17 bytes, plus the size of the item above 8 bytes. The queue allocates up
/// to a quarter more while it grows, and up to 200 kB for buckets that are not full. The queue
/// reuses its memory, and frees it on drop.
pub(crate) struct EventQueue<T> {
    /// The time of the last popped event. No pending event is earlier.
    now: u64,
    /// The time relative to which events are assigned to buckets. An event before the base goes to
    /// `due`. The base moves only within the range of the bucket that was opened last, so all other
    /// buckets stay valid.
    base: u64,
    /// The sorted events. Events before `next_due` are popped.
    due: Vec<Entry<T>>,
    /// The index of the next event in `due`.
    next_due: usize,
    /// All buckets. The index is `level * BUCKETS_PER_LEVEL + digit`.
    buckets: Box<[Bucket]>,
    /// A bit mask for each level. The bit of a digit is set if the bucket has events.
    filled: [u64; LEVELS],
    /// A bit mask of the levels that have events.
    filled_levels: u64,
    /// The events of all buckets.
    chunks: Chunks<T>,
    /// The number of pending events.
    len: usize,
}

/// The number of bits of a digit. With 6 bits, a `u64` has a bit for each bucket of a level.
const DIGIT_BITS: u32 = 6;

/// The number of buckets of a level, one for each value of a digit.
const BUCKETS_PER_LEVEL: usize = 1 << DIGIT_BITS;

/// The number of levels, one for each digit of a time.
const LEVELS: usize = u64::BITS.div_ceil(DIGIT_BITS) as usize;

/// The largest number of events of a bucket that is sorted. A fuller bucket is redistributed.
/// Prefetching sees only sorted events. With 48 instead of 512, a sorted bucket of a network of
/// 10 000 towers has 8 events on average, and an event takes a quarter more time (measured).
const SORT_AT_MOST: usize = 512;

/// The largest number of events in `due`. An insertion into a longer list costs more than to move
/// all its events to buckets. The value is a guess.
const MAX_DUE: usize = 4 * SORT_AT_MOST;

/// A pending event.
#[derive(Clone, Copy)]
struct Entry<T> {
    /// The time of the event.
    at: u64,
    item: T,
}

impl<T: Copy> EventQueue<T> {
    /// Returns an empty queue at time 0.
    pub(crate) fn new() -> Self {
        Self {
            now: 0,
            base: 0,
            due: Vec::with_capacity(2 * MAX_DUE),
            next_due: 0,
            buckets: vec![Bucket::EMPTY; LEVELS * BUCKETS_PER_LEVEL].into_boxed_slice(),
            filled: [0; LEVELS],
            filled_levels: 0,
            chunks: Chunks { all: Vec::new(), free: NO_CHUNK },
            len: 0,
        }
    }

    /// Returns the number of pending events.
    #[allow(dead_code, reason = "for the tests and the benchmark")]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Returns whether no event is pending.
    #[allow(dead_code, reason = "for the tests and the benchmark")]
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds an event at a time. An event in the past is added at the time of the last popped event.
    pub(crate) fn push(&mut self, at: u64, item: T) {
        let entry = Entry { at: at.max(self.now), item };
        self.len += 1;
        if entry.at >= self.base {
            self.append(entry);
        } else if self.due.len() - self.next_due < MAX_DUE {
            self.insert(entry);
        } else {
            self.move_due_to_buckets();
            self.append(entry);
        }
    }

    /// Removes the next event, and returns its time and its item.
    pub(crate) fn pop(&mut self) -> Option<(u64, T)> {
        let entry = self.due.get(self.next_due).copied().or_else(|| self.refill())?;
        self.next_due += 1;
        self.len -= 1;
        self.now = entry.at;
        Some((entry.at, entry.item))
    }

    /// Returns the event that follows after `skipped` others, if they are sorted.
    #[allow(dead_code, reason = "the benchmarks do not use it")]
    #[inline]
    pub(crate) fn upcoming(&self, skipped: usize) -> Option<T> {
        self.due.get(self.next_due + skipped).map(|entry| entry.item)
    }

    /// Returns the time of the next event.
    pub(crate) fn next_at(&self) -> Option<u64> {
        if let Some(entry) = self.due.get(self.next_due) {
            return Some(entry.at);
        }
        self.first_bucket()
            .map(|(level, digit)| self.buckets[level * BUCKETS_PER_LEVEL + digit].earliest)
    }

    /// Inserts an event into `due`, behind all events of the same time.
    fn insert(&mut self, entry: Entry<T>) {
        if self.due.len() == self.due.capacity() {
            self.due.drain(..self.next_due);
            self.next_due = 0;
        }
        let later = self.due[self.next_due..].partition_point(|other| other.at <= entry.at);
        self.due.insert(self.next_due + later, entry);
    }

    /// Moves the sorted events back to buckets.
    ///
    /// This happens at most once after each `refill`: `base` becomes `now`, and later pushes are
    /// not before `now`. The levels below the bucket that was opened last are empty. The only
    /// exception is the bucket of the time `base` itself, whose events are redistributed last.
    fn move_due_to_buckets(&mut self) {
        let (level, digit) = bucket_of(self.base, self.base);
        let last = self.take_bucket(level, digit);
        self.base = self.now;
        let due = std::mem::take(&mut self.due);
        for entry in &due[self.next_due..] {
            self.append(*entry);
        }
        self.due = due;
        self.due.clear();
        self.next_due = 0;
        self.redistribute(&last);
    }

    /// Fills `due` with the next events, and returns the first one. Returns `None` if no event is
    /// pending.
    #[cold]
    fn refill(&mut self) -> Option<Entry<T>> {
        self.due.clear();
        self.next_due = 0;
        while self.due.is_empty() {
            let (level, digit) = self.first_bucket()?;
            let index = level * BUCKETS_PER_LEVEL + digit;
            if level == 0 {
                // The base differs from the time of this bucket only in the lowest digit. So the
                // base need not move.
                self.open_chunk(index);
            } else if self.buckets[index].len <= SORT_AT_MOST {
                let bucket = self.take_bucket(level, digit);
                // The last time of the bucket. The time after it belongs to the next bucket, whose
                // events must differ from the base in this digit.
                self.base = bucket.earliest | ((1 << (DIGIT_BITS as usize * level)) - 1);
                self.sort(&bucket);
            } else {
                let bucket = self.take_bucket(level, digit);
                self.base = bucket.earliest;
                self.redistribute(&bucket);
            }
        }
        self.due.first().copied()
    }
}

/// Operations on buckets.
impl<T: Copy> EventQueue<T> {
    /// Appends an event to its bucket.
    fn append(&mut self, entry: Entry<T>) {
        let (level, digit) = bucket_of(entry.at, self.base);
        let bucket = &mut self.buckets[level * BUCKETS_PER_LEVEL + digit];
        let slot = bucket.len % CHUNK_LEN;
        if slot > 0 {
            self.chunks.all[bucket.last].entries[slot] = entry;
        } else {
            let chunk = self.chunks.add(entry);
            if bucket.len == 0 {
                bucket.first = chunk;
                self.filled[level] |= 1 << digit;
                self.filled_levels |= 1 << level;
            } else {
                self.chunks.all[bucket.last].next = chunk;
            }
            bucket.last = chunk;
        }
        bucket.len += 1;
        bucket.earliest = bucket.earliest.min(entry.at);
    }

    /// Returns the level and the digit of the bucket with the earliest event that is not in `due`.
    ///
    /// No event in a bucket is before the base. So an event that differs from the base in a lower
    /// digit is earlier.
    fn first_bucket(&self) -> Option<(usize, usize)> {
        if self.filled_levels == 0 {
            return None;
        }
        let level = self.filled_levels.trailing_zeros() as usize;
        Some((level, self.filled[level].trailing_zeros() as usize))
    }

    /// Removes a bucket with its events, and leaves an empty bucket.
    fn take_bucket(&mut self, level: usize, digit: usize) -> Bucket {
        self.filled[level] &= !(1 << digit);
        if self.filled[level] == 0 {
            self.filled_levels &= !(1 << level);
        }
        std::mem::replace(&mut self.buckets[level * BUCKETS_PER_LEVEL + digit], Bucket::EMPTY)
    }

    /// Appends the events of a removed bucket to the buckets that they have after a change of the
    /// base.
    fn redistribute(&mut self, bucket: &Bucket) {
        let (mut chunk, mut left) = (bucket.first, bucket.len);
        while left > 0 {
            let Chunk { entries, next } = self.chunks.remove(chunk);
            let count = left.min(CHUNK_LEN);
            for entry in &entries[..count] {
                self.append(*entry);
            }
            (chunk, left) = (next, left - count);
        }
    }

    /// Moves the events of a removed bucket to `due`, and sorts `due`.
    fn sort(&mut self, bucket: &Bucket) {
        let (mut chunk, mut left) = (bucket.first, bucket.len);
        while left > 0 {
            let Chunk { entries, next } = self.chunks.remove(chunk);
            let count = left.min(CHUNK_LEN);
            self.due.extend_from_slice(&entries[..count]);
            (chunk, left) = (next, left - count);
        }
        // The sort must be stable to keep the order of events of the same time.
        self.due.sort_by_key(|entry| entry.at);
    }

    /// Moves the first chunk of a bucket of the lowest level to `due`. All events of the bucket
    /// have the same time, so they need no sorting.
    fn open_chunk(&mut self, digit: usize) {
        let bucket = &mut self.buckets[digit];
        let Chunk { entries, next } = self.chunks.remove(bucket.first);
        let count = bucket.len.min(CHUNK_LEN);
        self.due.extend_from_slice(&entries[..count]);
        bucket.first = next;
        bucket.len -= count;
        if bucket.len == 0 {
            self.take_bucket(0, digit);
        }
    }
}

/// Returns the level and the digit of the bucket of a time. The level is the highest digit in which
/// the time differs from the base.
#[allow(clippy::cast_possible_truncation, reason = "a digit is less than 64")]
fn bucket_of(at: u64, base: u64) -> (usize, usize) {
    let level = ((at ^ base) | 1).ilog2() / DIGIT_BITS;
    let digit = (at >> (level * DIGIT_BITS)) as usize % BUCKETS_PER_LEVEL;
    (level as usize, digit)
}

/// A linked list of chunks. All chunks except the last one are full.
#[derive(Clone)]
struct Bucket {
    /// The time of the earliest event.
    earliest: u64,
    /// The index of the first chunk.
    first: usize,
    /// The index of the last chunk.
    last: usize,
    /// The number of events.
    len: usize,
}

impl Bucket {
    const EMPTY: Self = Self { earliest: u64::MAX, first: NO_CHUNK, last: NO_CHUNK, len: 0 };
}

/// The memory of all buckets. The chunk that was freed last is reused first, because the chunk is
/// probably still in the cache.
struct Chunks<T> {
    /// The chunks in use and the free chunks.
    all: Vec<Chunk<T>>,
    /// The index of the first free chunk.
    free: usize,
}

/// The number of events in a chunk. Larger chunks waste more memory in buckets with few events.
/// Smaller chunks cost more cache misses. The value is a guess.
const CHUNK_LEN: usize = 16;

/// The index that no chunk has.
const NO_CHUNK: usize = usize::MAX;

/// A part of a bucket.
#[derive(Clone, Copy)]
struct Chunk<T> {
    entries: [Entry<T>; CHUNK_LEN],
    /// The index of the next chunk of the bucket, or of the next free chunk.
    next: usize,
}

impl<T: Copy> Chunks<T> {
    /// Adds a chunk with one event, and returns the index of the chunk. The unused entries of a new
    /// chunk are copies of the event.
    fn add(&mut self, first: Entry<T>) -> usize {
        if let Some(chunk) = self.all.get_mut(self.free) {
            chunk.entries[0] = first;
            return std::mem::replace(&mut self.free, chunk.next);
        }
        if self.all.len() == self.all.capacity() {
            // A `Vec` that doubles its capacity would allocate up to twice the memory in use.
            self.all.reserve_exact(self.all.len() / 4 + 64);
        }
        self.all.push(Chunk { entries: [first; CHUNK_LEN], next: NO_CHUNK });
        self.all.len() - 1
    }

    /// Frees a chunk, and returns a copy of the chunk.
    fn remove(&mut self, index: usize) -> Chunk<T> {
        let chunk = self.all[index];
        self.all[index].next = std::mem::replace(&mut self.free, index);
        chunk
    }
}

impl<T> fmt::Debug for EventQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { now, len, .. } = self;
        f.debug_struct("EventQueue").field("now", now).field("len", len).finish_non_exhaustive()
    }
}

// The benchmarks include this file as a module of their own, so the path must be explicit.
#[cfg(test)]
#[path = "event_queue/tests.rs"]
mod tests;
