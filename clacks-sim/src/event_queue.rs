//! What is going to happen, in the order in which it happens.
//!
//! A heap of a million events misses the cache at every step down. Here an event is only ever appended to one of a few hundred
//! buckets, and read again in sequence:
//!
//! - An event goes to the bucket of the highest digit (base 64) in which its time differs from the `edge`, so near buckets are narrow and far
//!   ones wide. Equal times always share a bucket, in the order of their coming.
//! - When everything nearer is gone, the first bucket is opened. One with few events is sorted into `due`, and popped from there. One with
//!   many is dealt out to narrower buckets, which were all empty. So the width of what gets sorted follows the population by itself, and
//!   there is nothing to resize.
//!
//! Because nothing ever overtakes an event of its own instant on this way, no sequence number is stored: the order *is* the place.

use std::fmt;

/// Pending events, popped by time, and at the same instant in the order in which they were pushed.
///
/// Memory: some 17 bytes per event and the item's own size above 8, at most a quarter more while growing, and up to 200 kB for buckets that are
/// not full. It is kept for the next events and given back only with the event queue.
pub(crate) struct EventQueue<T> {
    /// When the last popped event happened. Nothing is pending before.
    now: u64,
    /// What is pushed for an earlier time comes to `due`, everything else to `buckets`, placed by how its time differs from the edge. It moves
    /// only within the bucket that was opened for the last popped event; so all other buckets stay right.
    edge: u64,
    /// Sorted; what lies before `next_due` is gone.
    due: Vec<Entry<T>>,
    next_due: usize,
    /// `[level * FAN + digit]`.
    buckets: Box<[Bucket]>,
    /// A bit for each digit whose bucket has events.
    filled: [u64; LEVELS],
    /// A bit for each level that has events.
    filled_levels: u64,
    chunks: Chunks<T>,
    len: usize,
}

/// Bits of a digit, so that a word has a bit for each bucket of a level.
const DIGIT: u32 = 6;
const FAN: usize = 1 << DIGIT;
const LEVELS: usize = u64::BITS.div_ceil(DIGIT) as usize;

/// A bucket of this many events is sorted, a fuller one is dealt out.
const FEW: usize = 48;

/// So many events in `due` make it cheaper to put them back in buckets than to move them for each event that comes between them.
const CROWD: usize = 4 * FEW;

#[derive(Clone, Copy)]
struct Entry<T> {
    at: u64,
    item: T,
}

impl<T: Copy> EventQueue<T> {
    /// An event queue at time 0, with nothing on it.
    pub(crate) fn new() -> Self {
        Self {
            now: 0,
            edge: 0,
            due: Vec::with_capacity(2 * CROWD),
            next_due: 0,
            buckets: vec![Bucket::EMPTY; LEVELS * FAN].into_boxed_slice(),
            filled: [0; LEVELS],
            filled_levels: 0,
            chunks: Chunks { all: Vec::new(), free: NONE },
            len: 0,
        }
    }

    /// How many events are pending.
    #[allow(dead_code, reason = "for the tests and the benchmark")]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    #[allow(dead_code, reason = "for the tests and the benchmark")]
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Puts an event down for a time, or for the time of the last popped event if that time has passed.
    pub(crate) fn push(&mut self, at: u64, item: T) {
        let entry = Entry { at: at.max(self.now), item };
        self.len += 1;
        if entry.at >= self.edge {
            self.place(entry);
        } else if self.due.len() - self.next_due < CROWD {
            self.insert(entry);
        } else {
            self.disperse();
            self.place(entry);
        }
    }

    /// Takes the next event off, and when it happens.
    pub(crate) fn pop(&mut self) -> Option<(u64, T)> {
        let entry = self.due.get(self.next_due).copied().or_else(|| self.refill())?;
        self.next_due += 1;
        self.len -= 1;
        self.now = entry.at;
        Some((entry.at, entry.item))
    }

    /// When the next event happens.
    #[allow(dead_code, reason = "for the tests and the benchmark")]
    pub(crate) fn next_at(&self) -> Option<u64> {
        if let Some(entry) = self.due.get(self.next_due) {
            return Some(entry.at);
        }
        self.first_bucket().map(|(level, digit)| self.buckets[level * FAN + digit].earliest)
    }

    /// Among the sorted events, behind those of the same instant.
    fn insert(&mut self, entry: Entry<T>) {
        if self.due.len() == self.due.capacity() {
            self.due.drain(..self.next_due);
            self.next_due = 0;
        }
        let later = self.due[self.next_due..].partition_point(|other| other.at <= entry.at);
        self.due.insert(self.next_due + later, entry);
    }

    /// Puts the sorted events back in buckets. It happens at most once after a refill, since nothing is due before `now`; and the bucket that was
    /// opened last had no neighbours in narrower levels, except for the edge's own instant.
    fn disperse(&mut self) {
        let (level, digit) = place(self.edge, self.edge);
        let last = self.take(level, digit);
        self.edge = self.now;
        let due = std::mem::take(&mut self.due);
        for entry in &due[self.next_due..] {
            self.place(*entry);
        }
        self.due = due;
        self.due.clear();
        self.next_due = 0;
        self.deal(&last);
    }

    /// Fills `due` with the next events; the first of them, or none if nothing is pending.
    #[cold]
    fn refill(&mut self) -> Option<Entry<T>> {
        self.due.clear();
        self.next_due = 0;
        while self.due.is_empty() {
            let (level, digit) = self.first_bucket()?;
            let index = level * FAN + digit;
            if level == 0 {
                // The edge differs from this instant in the lowest digit at most, and may stay.
                self.open_chunk(index);
            } else if self.buckets[index].len <= FEW {
                let bucket = self.take(level, digit);
                // The bucket's last instant, not the one after it: that lies in the next bucket, whose events are where they are because they
                // differ from the edge in this digit.
                self.edge = bucket.earliest | ((1 << (DIGIT as usize * level)) - 1);
                self.sort(&bucket);
            } else {
                let bucket = self.take(level, digit);
                self.edge = bucket.earliest;
                self.deal(&bucket);
            }
        }
        self.due.first().copied()
    }
}

/// Buckets.
impl<T: Copy> EventQueue<T> {
    /// Behind all others in its bucket.
    fn place(&mut self, entry: Entry<T>) {
        let (level, digit) = place(entry.at, self.edge);
        let bucket = &mut self.buckets[level * FAN + digit];
        let slot = bucket.len % CHUNK;
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

    /// The bucket with the next event that is not in `due`: nothing lies before the edge, and what differs from it in a lower digit lies nearer.
    fn first_bucket(&self) -> Option<(usize, usize)> {
        if self.filled_levels == 0 {
            return None;
        }
        let level = self.filled_levels.trailing_zeros() as usize;
        Some((level, self.filled[level].trailing_zeros() as usize))
    }

    /// The bucket's events are the caller's now.
    fn take(&mut self, level: usize, digit: usize) -> Bucket {
        self.filled[level] &= !(1 << digit);
        if self.filled[level] == 0 {
            self.filled_levels &= !(1 << level);
        }
        std::mem::replace(&mut self.buckets[level * FAN + digit], Bucket::EMPTY)
    }

    /// Places a bucket's events in relation to a new edge.
    fn deal(&mut self, bucket: &Bucket) {
        let (mut chunk, mut left) = (bucket.first, bucket.len);
        while left > 0 {
            let Chunk { entries, next } = self.chunks.remove(chunk);
            let count = left.min(CHUNK);
            for entry in &entries[..count] {
                self.place(*entry);
            }
            (chunk, left) = (next, left - count);
        }
    }

    /// Sorts a bucket's events into `due`.
    fn sort(&mut self, bucket: &Bucket) {
        let (mut chunk, mut left) = (bucket.first, bucket.len);
        while left > 0 {
            let Chunk { entries, next } = self.chunks.remove(chunk);
            let count = left.min(CHUNK);
            self.due.extend_from_slice(&entries[..count]);
            (chunk, left) = (next, left - count);
        }
        // Equal times must stay in their order.
        self.due.sort_by_key(|entry| entry.at);
    }

    /// Moves the first chunk of a bucket of the lowest level, where all events are of one instant.
    fn open_chunk(&mut self, digit: usize) {
        let bucket = &mut self.buckets[digit];
        let Chunk { entries, next } = self.chunks.remove(bucket.first);
        let count = bucket.len.min(CHUNK);
        self.due.extend_from_slice(&entries[..count]);
        bucket.first = next;
        bucket.len -= count;
        if bucket.len == 0 {
            self.take(0, digit);
        }
    }
}

/// The level and digit of a time's bucket: the highest digit that differs.
#[allow(clippy::cast_possible_truncation, reason = "a digit is less than 64")]
fn place(at: u64, edge: u64) -> (usize, usize) {
    let level = ((at ^ edge) | 1).ilog2() / DIGIT;
    let digit = (at >> (level * DIGIT)) as usize % FAN;
    (level as usize, digit)
}

/// A chain of chunks, all of them full but the last.
#[derive(Clone)]
struct Bucket {
    earliest: u64,
    first: usize,
    last: usize,
    len: usize,
}

impl Bucket {
    const EMPTY: Self = Self { earliest: u64::MAX, first: NONE, last: NONE, len: 0 };
}

/// Memory for all buckets. Freed chunks are used again last in, first out, while the cache still has them.
struct Chunks<T> {
    all: Vec<Chunk<T>>,
    free: usize,
}

/// Few enough that buckets with few events waste little, enough that the way to the next chunk costs little.
const CHUNK: usize = 16;

const NONE: usize = usize::MAX;

#[derive(Clone, Copy)]
struct Chunk<T> {
    entries: [Entry<T>; CHUNK],
    next: usize,
}

impl<T: Copy> Chunks<T> {
    /// A chunk of one event. The copies of it behind it only fill the places that are not used yet.
    fn add(&mut self, first: Entry<T>) -> usize {
        if let Some(chunk) = self.all.get_mut(self.free) {
            chunk.entries[0] = first;
            return std::mem::replace(&mut self.free, chunk.next);
        }
        if self.all.len() == self.all.capacity() {
            // Doubling would hold twice the memory at the worst moment.
            self.all.reserve_exact(self.all.len() / 4 + 64);
        }
        self.all.push(Chunk { entries: [first; CHUNK], next: NONE });
        self.all.len() - 1
    }

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

// The path as the benchmark sees it, which takes this file in.
#[cfg(test)]
#[path = "event_queue/tests.rs"]
mod tests;
