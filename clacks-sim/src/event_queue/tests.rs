//! The event queue is compared with a sorted map.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// A slow event queue: a sorted map with a sequence number in each key.
#[derive(Default)]
struct Model {
    events: BTreeMap<(u64, u64), u64>,
    pushed: u64,
    now: u64,
}

impl Model {
    fn push(&mut self, at: u64) -> u64 {
        self.pushed += 1;
        self.events.insert((at.max(self.now), self.pushed), self.pushed);
        self.pushed
    }

    fn pop(&mut self) -> Option<(u64, u64)> {
        let ((at, _), item) = self.events.pop_first()?;
        self.now = at;
        Some((at, item))
    }

    fn next_at(&self) -> Option<u64> {
        self.events.first_key_value().map(|((at, _), _)| *at)
    }
}

/// An event queue and its model. Both must return the same results.
struct Pair {
    event_queue: EventQueue<u64>,
    model: Model,
}

impl Pair {
    fn new() -> Self {
        Self { event_queue: EventQueue::new(), model: Model::default() }
    }

    fn push(&mut self, at: u64) {
        let item = self.model.push(at);
        self.event_queue.push(at, item);
        self.compare();
    }

    fn push_after(&mut self, delay: u64) {
        self.push(self.model.now.saturating_add(delay));
    }

    fn pop(&mut self) {
        assert_eq!(self.event_queue.pop(), self.model.pop());
        self.compare();
    }

    fn drain(&mut self) {
        while !self.model.events.is_empty() {
            self.pop();
        }
        assert!(self.event_queue.is_empty());
        assert_eq!(self.event_queue.pop(), None);
    }

    fn compare(&self) {
        assert_eq!(self.event_queue.len(), self.model.events.len());
        assert_eq!(self.event_queue.next_at(), self.model.next_at());
    }
}

/// A SplitMix64 generator, for runs that are too long for proptest.
struct Words(u64);

impl Words {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }
}

const SECOND: u64 = 1_000_000_000;

#[derive(Clone, Debug)]
enum Step {
    Push { at: u64 },
    PushAfter { delay: u64 },
    Burst { delay: u64, spread: u64, count: u16 },
    Pop { count: u16 },
}

fn delay() -> impl Strategy<Value = u64> {
    prop_oneof![
        3 => Just(0),
        3 => 0..3u64,
        3 => 0..200u64,
        6 => SECOND / 10..60 * SECOND,
        2 => (0..50u64).prop_map(|n| n * SECOND),
        1 => 3_600 * SECOND..30_000 * SECOND,
        1 => any::<u64>(),
        1 => Just(u64::MAX),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let count = || prop_oneof![9 => 0..20u16, 1 => 0..600u16];
    prop_oneof![
        1 => delay().prop_map(|at| Step::Push { at }),
        4 => delay().prop_map(|delay| Step::PushAfter { delay }),
        2 => (delay(), delay(), count())
            .prop_map(|(delay, spread, count)| Step::Burst { delay, spread, count }),
        4 => count().prop_map(|count| Step::Pop { count }),
    ]
}

proptest! {
    #[test]
    fn events_are_popped_as_from_a_sorted_map(steps in prop::collection::vec(step(), 1..120)) {
        let mut pair = Pair::new();
        let mut words = Words(1);
        for step in steps {
            match step {
                Step::Push { at } => pair.push(at),
                Step::PushAfter { delay } => pair.push_after(delay),
                Step::Burst { delay, spread, count } => for _ in 0..count {
                    pair.push_after(delay.saturating_add(words.next() % spread.max(1)));
                },
                Step::Pop { count } => (0..count).for_each(|_| pair.pop()),
            }
        }
        pair.drain();
    }
}

#[test]
fn events_of_the_same_time_are_popped_in_push_order() {
    let mut event_queue = EventQueue::new();
    for (item, at) in [(0, 50), (1, 7), (2, 50), (3, 7), (4, 50)] {
        event_queue.push(at, item);
    }
    let order: Vec<_> = std::iter::from_fn(|| event_queue.pop()).collect();
    assert_eq!(order, [(7, 1), (7, 3), (50, 0), (50, 2), (50, 4)]);
    // The largest bucket that is sorted.
    (0..SORT_AT_MOST).for_each(|item| event_queue.push((1 << 36) + item as u64 % 3, item));
    let order: Vec<_> = std::iter::from_fn(|| event_queue.pop()).collect();
    assert!(order.is_sorted());
}

#[test]
fn an_event_in_the_past_is_popped_after_the_events_of_now() {
    let mut event_queue = EventQueue::new();
    event_queue.push(100, 'a');
    event_queue.push(100, 'b');
    assert_eq!(event_queue.pop(), Some((100, 'a')));
    event_queue.push(3, 'c');
    event_queue.push(101, 'd');
    assert_eq!(event_queue.next_at(), Some(100));
    let rest: Vec<_> = std::iter::from_fn(|| event_queue.pop()).collect();
    assert_eq!(rest, [(100, 'b'), (100, 'c'), (101, 'd')]);
}

#[test]
fn next_at_does_not_prevent_earlier_pushes() {
    let mut event_queue = EventQueue::new();
    event_queue.push(60 * SECOND, 'z');
    assert_eq!(event_queue.next_at(), Some(60 * SECOND));
    event_queue.push(5, 'a');
    assert_eq!(event_queue.next_at(), Some(5));
    assert_eq!(event_queue.pop(), Some((5, 'a')));
}

#[test]
fn the_largest_time_is_valid() {
    let mut pair = Pair::new();
    for at in [u64::MAX, 0, u64::MAX - 1, u64::MAX, 1, 1 << 63] {
        pair.push(at);
    }
    pair.drain();
    pair.push(0);
    pair.push(u64::MAX);
    pair.drain();
}

#[test]
fn ten_thousand_events_of_the_same_time_are_popped_in_push_order() {
    let mut pair = Pair::new();
    for _ in 0..10_000 {
        pair.push(SECOND);
    }
    for _ in 0..5_000 {
        pair.pop();
        pair.push_after(0);
        pair.push_after(1);
    }
    pair.drain();
}

#[test]
fn too_many_due_events_move_to_buckets_once() {
    let mut pair = Pair::new();
    (0..40).for_each(|n| pair.push(2 * SECOND + n * SECOND / 100));
    pair.pop();
    assert!(pair.event_queue.due.len() > 1, "a small bucket is sorted");
    // The last time of the opened bucket. Events of this time have their own bucket.
    let base = pair.event_queue.base;
    (0..3).for_each(|_| pair.push(base));
    let mut words = Words(2);
    let mut moved = 0;
    for _ in 0..3_000 {
        let before = pair.event_queue.base;
        pair.push_after(words.next() % (SECOND / 10));
        moved += u32::from(pair.event_queue.base < before);
    }
    assert_eq!(moved, 1, "the due events move to buckets once");
    (0..3).for_each(|_| pair.push(base));
    pair.drain();
}

#[test]
fn the_queue_can_grow_and_shrink_a_thousandfold() {
    let mut pair = Pair::new();
    let mut words = Words(3);
    for size in [10, 30_000, 20, 3_000, 10_000, 1] {
        while pair.event_queue.len() < size {
            pair.push_after(words.next() % (60 * SECOND));
        }
        while pair.event_queue.len() > size {
            pair.pop();
        }
        for _ in 0..2_000 {
            pair.pop();
            let delay = match words.next() % 8 {
                0 => 0,
                1 => 3_600 * SECOND,
                2 => words.next() % 1_000,
                _ => SECOND / 10 + words.next() % (10 * SECOND),
            };
            pair.push_after(delay);
        }
    }
    pair.drain();
}

#[test]
fn memory_is_proportional_to_the_events_and_is_reused() {
    let hold = |event_queue: &mut EventQueue<u64>, words: &mut Words, ops: u32| {
        for _ in 0..ops {
            let (now, item) = event_queue.pop().unwrap();
            event_queue.push(now + words.next() % (60 * SECOND), item);
        }
    };
    let bytes = |event_queue: &EventQueue<u64>| {
        event_queue.chunks.all.capacity() * size_of::<Chunk<u64>>()
            + event_queue.due.capacity() * size_of::<Entry<u64>>()
            + event_queue.buckets.len() * size_of::<Bucket>()
    };
    let (mut event_queue, mut words) = (EventQueue::new(), Words(4));
    for item in 0..100_000 {
        event_queue.push(words.next() % (60 * SECOND), item);
    }
    hold(&mut event_queue, &mut words, 300_000);
    let warm = bytes(&event_queue);
    assert!(warm <= 100_000 * 40, "{warm} bytes for 100000 events");
    hold(&mut event_queue, &mut words, 300_000);
    assert_eq!(bytes(&event_queue), warm);
}

#[test]
fn due_does_not_grow_while_it_never_becomes_empty() {
    let mut event_queue = EventQueue::new();
    (0..20).for_each(|n| event_queue.push((1 << 36) + n, n));
    for turn in 0..10_000 {
        let (now, item) = event_queue.pop().unwrap();
        event_queue.push(now + 1 + turn % 100, item);
        assert!(event_queue.next_due < event_queue.due.len(), "an event is always due");
    }
    assert_eq!(event_queue.due.capacity(), 2 * MAX_DUE);
}

#[test]
fn upcoming_events_are_those_that_are_popped_next() {
    let mut event_queue = EventQueue::new();
    (0..20u64).for_each(|n| event_queue.push((1 << 36) + n * 7 % 20, n));
    event_queue.pop();
    let upcoming: Vec<_> = (0..5).filter_map(|skipped| event_queue.upcoming(skipped)).collect();
    let popped: Vec<_> = (0..5).filter_map(|_| Some(event_queue.pop()?.1)).collect();
    assert_eq!((upcoming.len(), upcoming), (5, popped));
    assert_eq!(event_queue.upcoming(14), None, "no event is left there");
}

#[test]
fn hot_types_keep_their_size() {
    assert_eq!(size_of::<Entry<u64>>(), 16);
    assert_eq!(size_of::<Chunk<u64>>(), 264);
    assert_eq!(size_of::<Bucket>(), 32);
}
