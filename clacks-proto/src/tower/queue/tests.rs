use super::*;
use crate::ids::Epoch;
use alloc::vec;
use alloc::vec::Vec;
use proptest::prelude::*;

const PEER: PeerId = PeerId { index: 0, epoch: Epoch::FIRST };
const LINK: LinkId = LinkId { index: 0, epoch: Epoch::FIRST };

/// A body of as many bytes as its number.
fn body(number: u8) -> Message {
    Message::bytes(&vec![number; usize::from(number)])
}

/// One message of the model.
#[derive(Clone, Debug)]
struct Known {
    id: MessageId,
    nonce: Nonce,
    body: u8,
    place: Place,
    came_again: bool,
    is_findable: bool,
}

/// The queue as a list in the order of waiting, searched from the front.
#[derive(Default)]
struct Model {
    messages: Vec<Known>,
    gone: Vec<MessageId>,
}

impl Model {
    fn get(&mut self, id: MessageId) -> &mut Known {
        self.messages.iter_mut().find(|known| known.id == id).unwrap()
    }

    fn head(&self) -> Option<MessageId> {
        self.messages.iter().find(|known| known.place == Place::Waiting).map(|known| known.id)
    }

    fn remove(&mut self, id: MessageId) -> Known {
        let position = self.messages.iter().position(|known| known.id == id).unwrap();
        self.messages.remove(position)
    }

    fn find(&self, nonce: Nonce, body: u8) -> Option<MessageId> {
        let known = self.messages.iter().find(|known| known.is_findable && known.nonce == nonce);
        known.filter(|known| known.body == body).map(|known| known.id)
    }

    /// The message waits at the tail, and is findable by its nonce if no other is.
    fn push(&mut self, mut known: Known) {
        known.is_findable |=
            !self.messages.iter().any(|other| other.is_findable && other.nonce == known.nonce);
        (known.place, known.came_again) = (Place::Waiting, false);
        self.messages.push(known);
    }

    fn requeue(&mut self, id: MessageId) {
        let known = self.remove(id);
        self.push(known);
    }

    fn drop(&mut self, id: MessageId) {
        self.remove(id);
        self.gone.push(id);
    }
}

proptest! {
    #[test]
    #[cfg_attr(miri, ignore = "draws many cases")]
    fn a_queue_does_what_a_list_does(
        steps in proptest::collection::vec((0u8..8, 0u8..4, 0usize..12), 0..150),
    ) {
        let mut queue = Queue::new(8, 20, Hasher::default());
        let mut model = Model::default();
        for (step, number, position) in steps {
            let some = model.messages.get(position).map(|known| (known.id, known.place));
            let nonce = Nonce(position as u128 % 3);
            let len = usize::from(number);
            match (step, some) {
                (0 | 1, _) => {
                    let message = body(number);
                    let expected = model.find(nonce, number);
                    let has_room = queue.has_room(len, 100, 0);
                    let hash = queue.hash(nonce);
                    match queue.take_in(nonce, hash, Kind::Bytes, message.body(), Account::Unproved, has_room) {
                        TakenIn::Coalesced(id) => {
                            prop_assert_eq!(Some(id), expected);
                            let known = model.get(id);
                            known.came_again |= matches!(known.place, Place::InFlight(_));
                        }
                        TakenIn::Queued(id) => {
                            prop_assert!(has_room && expected.is_none());
                            prop_assert!(!model.gone.contains(&id), "an old id again");
                            let place = Place::Waiting;
                            let (came_again, is_findable) = (false, false);
                            let body = number;
                            model.push(Known { id, nonce, body, place, came_again, is_findable });
                        }
                        TakenIn::Full => prop_assert!(!has_room && expected.is_none()),
                    }
                }
                (2, _) if queue.has_room(len, 100, 0) => {
                    let place = Place::Offered(LINK);
                    let id = queue.store(nonce, body(number), place, Account::Peer(PEER));
                    let (came_again, is_findable) = (false, false);
                    let body = number;
                    model.messages.push(Known { id, nonce, body, place, came_again, is_findable });
                }
                (3, _) => {
                    queue.depart(PEER);
                    if let Some(head) = model.head() {
                        model.get(head).place = Place::InFlight(PEER);
                    }
                }
                (4, _) => {
                    queue.rotate();
                    if let Some(head) = model.head() {
                        let known = model.remove(head);
                        model.messages.push(known);
                    }
                }
                (5, Some((id, place))) => {
                    prop_assert_eq!(queue.requeue(id), place != Place::Waiting);
                    if place != Place::Waiting {
                        model.requeue(id);
                    }
                }
                (6, Some((id, Place::InFlight(_)))) => {
                    let known = model.get(id).clone();
                    let expected = (known.nonce, body(known.body), known.came_again);
                    prop_assert_eq!(queue.complete(id), Some(expected));
                    match known.came_again {
                        true => model.requeue(id),
                        false => model.drop(id),
                    }
                }
                (7, Some((id, place))) => {
                    queue.discard(id);
                    if matches!(place, Place::Offered(_)) {
                        model.drop(id);
                    }
                }
                _ => {}
            }

            let bytes: usize = model.messages.iter().map(|known| usize::from(known.body)).sum();
            prop_assert_eq!((queue.len(), queue.bytes()), (model.messages.len(), bytes));
            let waits = |known: &&Known| known.place == Place::Waiting;
            let waiting: Vec<_> = model.messages.iter().filter(waits).map(|it| it.id).collect();
            prop_assert_eq!(queue.waiting(), waiting.len());
            prop_assert_eq!(queue.head().map(|(id, _)| id), waiting.first().copied());
            let mut peeked: Vec<_> = queue.iter().map(|(id, _)| id).collect();
            prop_assert_eq!(&peeked[..waiting.len()], &waiting[..]);
            let mut all: Vec<_> = model.messages.iter().map(|known| known.id).collect();
            all.sort();
            peeked.sort();
            prop_assert_eq!(peeked, all);
            for known in &model.messages {
                let entry = queue.get(known.id).unwrap();
                prop_assert_eq!((entry.nonce, &entry.message), (known.nonce, &body(known.body)));
                prop_assert_eq!(entry.place, known.place);
            }
            for number in 0..4 {
                for nonce in (0..3).map(Nonce) {
                    prop_assert_eq!(queue.find(nonce, &body(number)), model.find(nonce, number));
                }
                let (count, len) = (model.messages.len(), usize::from(number));
                prop_assert_eq!(queue.has_room(len, 100, 3), count < 8 && bytes + len + 3 <= 20);
                prop_assert_eq!(queue.has_room(len, 50, 0), count < 4 && bytes + len <= 10);
            }
            for account in [Account::Unproved, Account::Peer(PEER)] {
                let costs = queue.iter().filter(|(_, entry)| entry.account == account);
                let costs = costs.map(|(_, entry)| entry.message.len().max(3));
                prop_assert_eq!(queue.shares.held(account), costs.sum::<usize>());
            }
            prop_assert!(model.gone.iter().all(|id| queue.get(*id).is_none()));
        }
    }
}

#[test]
fn a_peer_in_the_slot_of_a_forgotten_one_begins_with_nothing() {
    let mut queue = Queue::new(8, 80, Hasher::default());
    let later = PeerId { epoch: PEER.epoch.next(), ..PEER };
    let [earlier, later] = [PEER, later].map(Account::Peer);
    let first = queue.store(Nonce(1), body(20), Place::Offered(LINK), earlier);
    let second = queue.store(Nonce(2), body(5), Place::Offered(LINK), later);
    let held = |queue: &Queue| [earlier, later].map(|account| queue.shares.held(account));
    assert_eq!(held(&queue), [0, 10], "the least cost of a message is 10");
    queue.discard(first);
    assert_eq!(held(&queue), [0, 10]);
    queue.discard(second);
    assert_eq!(held(&queue), [0, 0]);
}
