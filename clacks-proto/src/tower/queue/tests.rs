use super::*;
use alloc::vec;
use proptest::prelude::*;

const PEER: PeerId = PeerId { index: 0, epoch: Epoch::FIRST };
const LINK: LinkId = LinkId { index: 0, epoch: Epoch::FIRST };

fn body(number: u8) -> Bytes {
    Bytes::from(vec![number; usize::from(number)])
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    Waiting,
    InFlight,
    Offered,
    /// Gone, but the notice of this number may speak of it.
    Departed(u32),
    /// Gone, but pinned.
    Lingering,
}

/// One message of the model.
#[derive(Clone, Debug)]
struct Known {
    key: MessageKey,
    nonce: Nonce,
    body: u8,
    stage: Stage,
    pins: u32,
    came_again: bool,
    is_findable: bool,
}

/// The queue as anyone would write it first: a list in the order of waiting, searched from the front.
#[derive(Default)]
struct Model {
    messages: Vec<Known>,
    gone: Vec<MessageKey>,
}

impl Model {
    fn get(&mut self, key: MessageKey) -> Option<&mut Known> {
        self.messages.iter_mut().find(|known| known.key == key)
    }

    fn rotate(&mut self, key: MessageKey) {
        let place = self.messages.iter().position(|known| known.key == key).unwrap();
        let known = self.messages.remove(place);
        self.messages.push(known);
    }

    /// Comes to wait at the tail, and is findable by its nonce if no other is.
    fn queue_up(&mut self, key: MessageKey) {
        self.rotate(key);
        let mut known = self.messages.pop().unwrap();
        known.stage = Stage::Waiting;
        known.came_again = false;
        known.is_findable |=
            !self.messages.iter().any(|other| other.is_findable && other.nonce == known.nonce);
        self.messages.push(known);
    }

    /// All notices up to this one are over.
    fn notices_are_over(&mut self, notice: u32) {
        for known in &mut self.messages {
            if matches!(known.stage, Stage::Departed(last) if last <= notice) {
                known.stage = Stage::Lingering;
            }
        }
    }

    fn drop_unpinned(&mut self) {
        let is_gone = |known: &Known| known.stage == Stage::Lingering && known.pins == 0;
        self.gone.extend(self.messages.iter().filter(|k| is_gone(k)).map(|k| k.key));
        self.messages.retain(|known| !is_gone(known));
    }

    fn keys(&self, test: impl Fn(Stage) -> bool) -> Vec<MessageKey> {
        self.messages.iter().filter(|k| test(k.stage)).map(|k| k.key).collect()
    }
}

proptest! {
    #[test]
    fn a_queue_does_as_a_naive_one(
        steps in proptest::collection::vec((0u8..12, 0u8..4, 0usize..12), 0..150),
    ) {
        let mut queue = Queue::new(8, 20, NumberDigest::for_tests());
        let mut model = Model::default();
        // Most runs come to where the numbers wrap around.
        let first = u32::MAX - 2;
        let (mut queued, mut polled) = (0, 0);
        for (step, number, place) in steps {
            let some = model.messages.get(place).map(|known| known.key);
            match (step, some) {
                (0..=2, _) if queue.has_room(usize::from(number), 100) => {
                    let nonce = Nonce(place as u128 % 3);
                    let place = match step {
                        2 => Place::Offered { link: LINK },
                        _ => Place::Waiting,
                    };
                    let key = queue.store(queue.name(nonce), Kind::Bytes, body(number), place);
                    prop_assert!(!model.gone.contains(&key), "an old key again");
                    let (pins, stage) = (0, Stage::Offered);
                    let (came_again, is_findable) = (false, false);
                    let body = number;
                    model.messages.push(Known { key, nonce, body, stage, pins, came_again, is_findable });
                    if place == Place::Waiting {
                        model.queue_up(key);
                    }
                }
                (3, _) => {
                    queue.depart(PEER);
                    let head = model.messages.iter_mut().find(|k| k.stage == Stage::Waiting);
                    head.into_iter().for_each(|known| known.stage = Stage::InFlight);
                }
                (4, _) => {
                    queue.rotate();
                    let head = model.messages.iter().find(|k| k.stage == Stage::Waiting);
                    let head = head.map(|known| known.key);
                    head.into_iter().for_each(|key| model.rotate(key));
                }
                (5, Some(key)) => {
                    let stage = model.get(key).unwrap().stage;
                    let can = matches!(stage, Stage::InFlight | Stage::Offered);
                    prop_assert_eq!(queue.give_back(key), can);
                    if can {
                        model.queue_up(key);
                    }
                }
                (6, Some(key)) => {
                    let known = model.get(key).unwrap();
                    let (stage, stays) = (known.stage, known.came_again);
                    queued += u32::from(number);
                    prop_assert_eq!(queue.let_go(key, first.wrapping_add(queued)), stays);
                    if stays {
                        model.queue_up(key);
                    } else if stage == Stage::InFlight {
                        let known = model.get(key).unwrap();
                        (known.stage, known.is_findable) = (Stage::Departed(queued), false);
                    }
                }
                (7, Some(key)) => {
                    queue.coalesce(key);
                    let known = model.get(key).unwrap();
                    known.came_again |= known.stage == Stage::InFlight;
                }
                (8, Some(key)) => {
                    queue.pin(key);
                    model.get(key).unwrap().pins += 1;
                }
                (9, Some(key)) if model.get(key).unwrap().pins > 0 => {
                    queue.unpin(key);
                    model.get(key).unwrap().pins -= 1;
                }
                // What is under screening is never sent, and so not pinned.
                (10, Some(key)) if model.get(key).unwrap().pins == 0 => {
                    queue.discard(key);
                    if model.get(key).unwrap().stage == Stage::Offered {
                        model.get(key).unwrap().stage = Stage::Lingering;
                    }
                }
                (11, _) => {
                    polled = queued.min(polled + u32::from(number));
                    queue.notices_are_over(first.wrapping_add(polled));
                    model.notices_are_over(polled);
                }
                _ => {}
            }
            model.drop_unpinned();

            let is_gone = |stage| matches!(stage, Stage::Departed(_) | Stage::Lingering);
            let held = model.messages.iter().filter(|k| !is_gone(k.stage));
            let held_bytes: usize = held.clone().map(|k| usize::from(k.body)).sum();
            let bytes: usize = model.messages.iter().map(|k| usize::from(k.body)).sum();
            prop_assert_eq!((queue.len(), queue.bytes()), (held.count(), held_bytes));
            let waiting = model.keys(|stage| stage == Stage::Waiting);
            prop_assert_eq!(queue.waiting(), waiting.len());
            prop_assert_eq!(queue.head().map(|(key, _)| key), waiting.first().copied());
            let mut peeked: Vec<_> = queue.iter().collect();
            prop_assert_eq!(&peeked[..waiting.len()], &waiting[..]);
            let mut away = model.keys(|stage| matches!(stage, Stage::InFlight | Stage::Offered));
            let mut peeked_away = peeked.split_off(waiting.len());
            away.sort();
            peeked_away.sort();
            prop_assert_eq!(peeked_away, away);
            for known in &model.messages {
                let expected = (known.nonce, Kind::Bytes, body(known.body));
                let found = queue.get(known.key);
                prop_assert_eq!(found.map(|(n, kind, b)| (n, kind, b.clone())), Some(expected));
                let place = match known.stage {
                    Stage::Waiting => Place::Waiting,
                    Stage::InFlight => Place::InFlight(PEER),
                    Stage::Offered => Place::Offered { link: LINK },
                    Stage::Departed(_) => Place::Departed,
                    Stage::Lingering => Place::Lingering,
                };
                prop_assert_eq!(queue.place(known.key), place);
            }
            for number in 0..4 {
                for nonce in (0..3).map(Nonce) {
                    let mut found = model.messages.iter().filter(|k| k.is_findable && k.nonce == nonce);
                    let expected = found.next().filter(|k| k.body == number).map(|k| k.key);
                    prop_assert_eq!(queue.find(queue.name(nonce), Kind::Bytes, &body(number)), expected);
                    prop_assert_eq!(queue.find(queue.name(nonce), Kind::Text, &body(number)), None);
                }
                let room = model.messages.len() < 8 && bytes + usize::from(number) <= 20;
                prop_assert_eq!(queue.has_room(usize::from(number), 100), room);
                let half = model.messages.len() < 4 && bytes + usize::from(number) <= 10;
                prop_assert_eq!(queue.has_room(usize::from(number), 50), half);
            }
            for key in &model.gone {
                prop_assert_eq!(queue.place(*key), Place::Vacant);
                prop_assert!(queue.get(*key).is_none() && queue.message(*key).is_none());
            }
        }
    }
}

#[test]
fn a_key_of_a_message_that_left_does_nothing() {
    let mut queue = Queue::new(8, 20, NumberDigest::for_tests());
    let old = queue.store(queue.name(Nonce(1)), Kind::Bytes, body(1), Place::Waiting);
    queue.depart(PEER);
    assert!(!queue.let_go(old, 0));
    queue.notices_are_over(0);
    let new = queue.store(queue.name(Nonce(2)), Kind::Bytes, body(2), Place::Waiting);
    assert_eq!(new.index, old.index, "the slot is used again");
    queue.depart(PEER);
    assert!(!queue.give_back(old) && !queue.let_go(old, 0));
    queue.coalesce(old);
    queue.pin(old);
    queue.unpin(old);
    assert_eq!(queue.place(new), Place::InFlight(PEER));
    assert!(!queue.let_go(new, 0));
    assert_eq!((queue.len(), queue.bytes()), (0, 0));
}

#[test]
fn names_with_the_same_hash_are_told_apart() {
    let mut queue = Queue::new(8, 20, NumberDigest::for_tests());
    let one = queue.name(Nonce(1));
    let twin = Name { nonce: Nonce(2), ..one };
    let first = queue.store(one, Kind::Bytes, body(1), Place::Waiting);
    assert_eq!(queue.find(twin, Kind::Bytes, &body(1)), None);
    let second = queue.store(twin, Kind::Bytes, body(1), Place::Waiting);
    assert_eq!(queue.find(one, Kind::Bytes, &body(1)), Some(first));
    assert_eq!(queue.find(twin, Kind::Bytes, &body(1)), Some(second));
}

#[test]
fn the_numbers_of_notices_wrap_around() {
    for before in 0..3 {
        let mut queue = Queue::new(8, 20, NumberDigest::for_tests());
        let first = u32::MAX - before;
        let keys = [0, 1, 2, 3].map(|n| {
            let name = queue.name(Nonce(n.into()));
            let key = queue.store(name, Kind::Bytes, body(1), Place::Waiting);
            queue.depart(PEER);
            queue.let_go(key, first.wrapping_add(n));
            key
        });
        let readable = |queue: &Queue| keys.iter().filter(|key| queue.get(**key).is_some()).count();
        queue.notices_are_over(first.wrapping_sub(1));
        assert_eq!(readable(&queue), 4);
        for over in 0..4 {
            queue.notices_are_over(first.wrapping_add(over));
            assert_eq!(readable(&queue), 3 - over as usize, "{before}");
        }
    }
}
