//! Messages go from tower to tower.

use std::collections::BTreeSet;
use std::time::Duration;

use clacks_proto::{
    Config, EnqueueError, EnqueueOptions, Message, MessageState, Nonce, Notice, StateMachine,
    Status,
};

use crate::network::{DEADLINE, Network, RunningTower, Runtimes, quick, quiet};

pub(crate) fn a_message_moves_from_one_tower_to_the_other(runtimes: Runtimes) {
    let mut network = Network::new(runtimes);
    let mut sender = network.start_clear(quick());
    let mut receiver = network.start_clear(quiet());
    sender.expand(&receiver.address).unwrap();
    let sent = sender.enqueue(Message::text("GNU Terry Pratchett")).unwrap();
    let (from, nonce, message) = receiver.wait_for("the message", |notice| match notice {
        Notice::MessageReceived { from, nonce, message, .. } => {
            Some((from.clone(), *nonce, message.clone()))
        }
        _ => None,
    });
    assert_eq!((from.as_ref(), nonce), (Some(&sender.address), sent));
    assert_eq!(message.as_text(), Some("GNU Terry Pratchett"));
    assert_eq!(sender.wait_for_deliveries(1), [receiver.address.clone()]);
    assert_eq!((usage(&sender), usage(&receiver)), ((0, 0), (1, 19)));
    assert_eq!(receiver.peek()[0].nonce, sent);
    assert_eq!(sender.stats().delivered, 1);
    let [peer] = &sender.survey()[..] else { panic!("one peer") };
    assert_eq!((&peer.address, peer.status), (&receiver.address, Status::Alive));
}

pub(crate) fn a_wait_for_a_delivery_returns_the_peer(runtimes: Runtimes) {
    let mut network = Network::new(runtimes);
    let sender = network.start_clear(quick());
    let receiver = network.start_clear(quiet());
    sender.expand(&receiver.address).unwrap();
    let delivery = sender.deliver(Message::text("registered mail")).unwrap();
    let delivery = delivery.wait_timeout(DEADLINE).unwrap().unwrap();
    assert_eq!(delivery.to.as_ref(), Some(&receiver.address));
    let is_empty = sender.wait(|tower| (tower.queue_usage().messages == 0).then_some(()));
    assert_eq!(is_empty.wait_timeout(DEADLINE).unwrap(), Some(()));
}

/// In milliseconds.
const HOUR: u64 = 60 * 60 * 1_000;

pub(crate) fn a_message_rests_for_its_hold_and_ends_with_its_lifetime(runtimes: Runtimes) {
    let mut network = Network::new(runtimes);
    let mut sender = network.start(quick());
    let mut receiver = network.start(quiet());
    sender.expand(&receiver.address).unwrap();
    let enqueue = |sender: &RunningTower, text: &str, lifetime: Option<u64>, hold: u64| {
        let lifetime = lifetime.map(Duration::from_millis);
        let options = EnqueueOptions { lifetime, hold: Duration::from_millis(hold) };
        sender.enqueue_with(Message::text(text), options).unwrap()
    };
    // A message rests at most for its lifetime.
    let ends = enqueue(&sender, "ends", Some(50), HOUR);
    let expired = sender.wait_for("the end of the message", |notice| match notice {
        Notice::MessageExpired { nonce, .. } => Some(*nonce),
        _ => None,
    });
    assert_eq!(expired, ends);
    let rests = enqueue(&sender, "rests", None, HOUR);
    enqueue(&sender, "moves", None, 0);
    enqueue(&sender, "moves soon", None, 50);
    receiver.wait_until("two messages", |receiver| receiver.queue_len() == 2);
    sender.wait_until("the last message", |sender| sender.queue_len() == 1);
    let [held] = &sender.peek()[..] else { panic!("one message") };
    assert_eq!((held.nonce, &held.state), (rests, &MessageState::Held));
    // A tower that leaves ends all holds.
    assert_eq!(sender.shut_down(), 0);
    receiver.wait_for_text("rests");
    assert_eq!((sender.stats().expired, sender.stats().delivered), (1, 3));
}

pub(crate) fn a_full_tower_refuses_messages_and_none_is_lost(runtimes: Runtimes) {
    let mut network = Network::new(runtimes);
    let mut sender = network.start(quick());
    let mut config = quiet();
    (config.max_queue_messages, config.fair_share_from) = (3, 100);
    let mut small = network.start(config);
    sender.expand(&small.address).unwrap();
    let nonces: BTreeSet<Nonce> =
        (0..10).map(|n| sender.enqueue(Message::text(&n.to_string())).unwrap()).collect();

    small.wait_until("a full queue", |small| small.queue_len() == 3);
    sender.wait_until("refusals", |sender| sender.stats().refused_by_peers >= 5);
    // A busy peer is alive.
    assert_eq!(sender.status_of(&small.address), Some(Status::Alive));
    sender.wait_until("the return of the refused messages", |sender| sender.queue_len() == 7);
    let message = Message::text("one too many");
    let refused = small.enqueue(message.clone()).unwrap_err();
    assert_eq!((refused.message, refused.reason), (message, EnqueueError::Full));

    // The full tower hands over its messages when it shuts down.
    assert_eq!(small.shut_down(), 0);
    sender.wait_until("the return of all messages", |sender| sender.queue_len() == 10);
    let held: BTreeSet<Nonce> = sender.peek().iter().map(|held| held.nonce).collect();
    assert_eq!(held, nonces);
}

/// Lengths around the sizes of a TLS record and of the drivers' buffers, and several long messages.
const LENGTHS: [usize; 12] = [
    1 << 20,
    (1 << 20) - 1,
    0,
    1,
    1 << 20,
    16_383,
    16_384,
    16_385,
    65_535,
    65_536,
    65_537,
    1 << 20,
];

pub(crate) fn messages_of_any_length_arrive_unchanged_with_tls(runtimes: Runtimes) {
    let [sending, receiving] = configs(1 << 20);
    let mut network = Network::new(runtimes);
    let (sender, receiver) = (network.start(sending), network.start(receiving));
    check_bodies(&LENGTHS, sender, receiver);
}

pub(crate) fn messages_of_any_length_arrive_unchanged_without_tls(runtimes: Runtimes) {
    let [sending, receiving] = configs(4 << 20);
    let mut network = Network::new(runtimes);
    let (sender, receiver) = (network.start_clear(sending), network.start_clear(receiving));
    let lengths: Vec<usize> = LENGTHS.into_iter().chain([4 << 20]).collect();
    check_bodies(&lengths, sender, receiver);
}

/// Returns the configurations of a sender and a receiver of messages up to a length.
fn configs(max_message: usize) -> [Config; 2] {
    let (mut sending, mut receiving) = (quick(), quiet());
    (sending.max_message, receiving.max_message) = (max_message, max_message);
    // Several messages may be sent before the first one is confirmed.
    receiving.window.bytes = 8 << 20;
    [sending, receiving]
}

/// Sends messages of these lengths to the receiver, and back when the receiver shuts down.
fn check_bodies<M: StateMachine + Send + 'static>(
    lengths: &[usize],
    mut sender: RunningTower<M>,
    mut receiver: RunningTower<M>,
) {
    sender.expand(&receiver.address).unwrap();
    let mut bodies: Vec<Vec<u8>> = lengths.iter().zip(1..).map(body).collect();
    for body in &bodies {
        sender.enqueue(Message::bytes(body)).unwrap();
    }
    let max = sender.config().max_message;
    let refused = sender.enqueue(Message::bytes(&vec![0; max + 1])).unwrap_err();
    assert_eq!(refused.reason, EnqueueError::TooLarge { max });
    // Counters and not notices: the bodies exceed the limit for the unread notices of a reader.
    let count = bodies.len();
    sender.wait_until("all deliveries", |sender| {
        sender.stats().delivered == u64::try_from(count).unwrap()
    });

    let bytes: usize = bodies.iter().map(Vec::len).sum();
    receiver.wait_until("all messages", |receiver| usage(receiver) == (count, bytes));
    let mut received: Vec<Vec<u8>> =
        receiver.peek().iter().map(|held| held.message.body().to_vec()).collect();
    received.sort();
    bodies.sort();
    assert!(received == bodies, "{:?}", received.iter().map(Vec::len).collect::<Vec<_>>());
    sender.wait_until("an empty queue", |sender| usage(sender) == (0, 0));
    assert_eq!(receiver.shut_down(), 0);
    sender.wait_until("the return of all messages", |sender| usage(sender) == (count, bytes));
}

/// Returns the number of messages and bytes in the queue of a tower.
fn usage<M: StateMachine + Send + 'static>(tower: &RunningTower<M>) -> (usize, usize) {
    let usage = tower.queue_usage();
    (usage.messages, usage.bytes)
}

/// Returns pseudorandom bytes.
fn body((len, seed): (&usize, u32)) -> Vec<u8> {
    let mut word = seed;
    let mut next = || {
        word = word.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        word.to_be_bytes()[0]
    };
    (0..*len).map(|_| next()).collect()
}
