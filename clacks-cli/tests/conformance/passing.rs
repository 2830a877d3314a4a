//! Messages that find no room, and messages that need much.

use std::collections::BTreeSet;

use clacks_proto::{EnqueueError, Message, Nonce, Status};

use crate::network::{Network, RunningTower, Runtimes, quick, quiet};

pub(crate) fn a_full_tower_is_busy_and_nothing_is_lost(runtimes: Runtimes) {
    let mut network = Network::of(runtimes);
    let mut giver = network.raise_with(quick());
    let mut config = quiet();
    config.max_queue_messages = 3;
    let mut small = network.raise_with(config);
    giver.expand(&small.address).unwrap();
    let nonces: BTreeSet<Nonce> =
        (0..10).map(|n| giver.enqueue(Message::text(&n.to_string())).unwrap()).collect();

    small.until("it is full", |small| small.held() == 3);
    giver.until("refusals", |giver| giver.stats().refused_by_peers >= 5);
    // Busy is not gone.
    assert_eq!(giver.status_of(&small.address), Some(Status::Alive));
    giver.until("the rest is back", |giver| giver.held() == 7);
    let message = Message::text("one too many");
    let refused = small.enqueue(message.clone()).unwrap_err();
    assert_eq!((refused.message, refused.reason), (message, EnqueueError::Full));

    // All that it took comes back when it leaves.
    assert_eq!(small.leave(), 0);
    giver.until("all is back", |giver| giver.held() == 10);
    let held: BTreeSet<Nonce> = giver.peek().iter().map(|held| held.nonce).collect();
    assert_eq!(held, nonces);
}

pub(crate) fn messages_of_a_mebibyte_arrive_unharmed(runtimes: Runtimes) {
    const LEN: usize = 1 << 20;
    let mut network = Network::of(runtimes);
    let (mut sending, mut taking) = (quick(), quiet());
    (sending.max_message, taking.max_message) = (LEN, LEN);
    // Several are on their way at a time.
    taking.window.bytes = 4 << 20;
    let mut sender = network.raise_with(sending);
    let mut taker = network.raise_with(taking);
    sender.expand(&taker.address).unwrap();

    let mut bodies: Vec<Vec<u8>> =
        [LEN, LEN - 1, 0, 1, LEN, 65_536, LEN, LEN].iter().zip(1..).map(body).collect();
    for body in &bodies {
        sender.enqueue(Message::bytes(body)).unwrap();
    }
    let refused = sender.enqueue(Message::bytes(&vec![0; LEN + 1])).unwrap_err();
    assert_eq!(refused.reason, EnqueueError::TooLarge { max: LEN });
    // Not by its notices: they may be dropped, since the bodies are larger than what is kept for a
    // slow reader.
    sender.until("all are delivered", |sender| sender.stats().delivered == 8);

    let bytes: usize = bodies.iter().map(Vec::len).sum();
    taker.until("all are there", |taker| usage(taker) == (8, bytes));
    let mut held: Vec<Vec<u8>> =
        taker.peek().iter().map(|held| held.message.body().to_vec()).collect();
    held.sort();
    bodies.sort();
    assert!(held == bodies, "{:?}", held.iter().map(Vec::len).collect::<Vec<_>>());
    sender.until("it has room again", |sender| usage(sender) == (0, 0));
    // And all the way back.
    assert_eq!(taker.leave(), 0);
    sender.until("all are back", |sender| usage(sender) == (8, bytes));
}

/// The messages and bytes that a tower holds.
fn usage(tower: &RunningTower) -> (usize, usize) {
    let usage = tower.queue_usage();
    (usage.messages, usage.bytes)
}

/// Bytes that differ from each other and from other bodies'.
fn body((len, seed): (&usize, u32)) -> Vec<u8> {
    let mut word = seed;
    let mut next = || {
        word = word.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        word.to_be_bytes()[0]
    };
    (0..*len).map(|_| next()).collect()
}
