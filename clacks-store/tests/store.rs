//! Stores in a network in memory, asked by a guest.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod stores;

use std::time::Duration;

use clacks_proto::{Config, Datagrams, Message, Notice, Seed, To, Tower};
use clacks_store::protocol::{Body, Datagram, Outcome};
use clacks_store::{CHUNK, Chunk, Store, StoreConfig, StoreError, Tag};
use proptest::prelude::*;

use stores::{HOUR, Network, UNIX, address, chunk, config, keys, settings, store};

#[test]
fn a_store_needs_screening_datagrams_and_long_messages() {
    let make = |change: fn(&mut Config)| {
        let mut config = config();
        change(&mut config);
        let tower = Tower::new(config, address(0), &Seed::from_u64(1)).unwrap();
        Store::new(tower, StoreConfig::default(), &Seed::from_u64(1), UNIX).map(|_| ())
    };
    assert_eq!(make(|_| {}), Ok(()));
    assert_eq!(make(|it| it.screening = clacks_proto::Screening::Off), Err(StoreError::Screening));
    assert_eq!(make(|it| it.datagrams = Datagrams::Off), Err(StoreError::Datagrams));
    assert_eq!(make(|it| it.max_message = CHUNK - 1), Err(StoreError::MaxMessage));
}

#[test]
fn a_guest_publishes_lists_and_fetches_a_chunk() {
    let mut network = Network::of_store(settings());
    let chunk = chunk(3, HOUR + 5);
    let tag = Chunk::parse(&chunk[..]).unwrap().tag();
    assert_eq!(network.publish(0, &chunk), Outcome::Queued);
    assert_eq!(network.list(0), [tag]);
    assert_eq!(
        network.fetch(0, &[tag, Tag::new([9; 20])]),
        (vec![chunk.to_vec()], vec![Tag::new([9; 20])])
    );
    // The same chunk again is held already.
    assert_eq!(network.publish(0, &chunk), Outcome::Queued);
    assert_eq!(network.tower(0).queue_usage().messages, 1);
    assert_eq!(tag.recognise(&keys()), Some(3));
    assert!(network.tower(0).survey().next().is_none(), "a guest is not learned");
}

#[test]
fn a_chunk_ends_with_its_hour() {
    let mut network = Network::of_store(settings());
    assert_eq!(network.publish(0, &chunk(1, HOUR - 1)), Outcome::BadHour);
    assert_eq!(network.publish(0, &chunk(1, HOUR + 25)), Outcome::BadHour);
    assert_eq!(network.publish(0, &chunk(1, HOUR + 24)), Outcome::Queued);
    assert_eq!(network.publish(0, &chunk(2, HOUR)), Outcome::Queued);
    assert_eq!(network.list(0).len(), 2);
    network.advance(Duration::from_secs(1_790));
    assert_eq!(network.list(0).len(), 2);
    network.advance(Duration::from_secs(20));
    assert_eq!(network.list(0).len(), 1, "the lifetime of its message is over");
    let expired = |(_, notice): &(usize, Notice)| matches!(notice, Notice::MessageExpired { .. });
    assert_eq!(network.notices.iter().filter(|it| expired(it)).count(), 1);
}

#[test]
fn chunks_are_over_at_once_when_the_machine_has_slept_past_their_hour() {
    let mut network =
        Network::new(vec![store(0, config(), settings()), store(1, config(), settings())]);
    network.advance(Duration::from_secs(60));
    let (short, long) = (chunk(1, HOUR), chunk(2, HOUR + 20));
    assert_eq!(network.publish(0, &short), Outcome::Queued);
    assert_eq!(network.publish(0, &long), Outcome::Queued);
    let tags = [&short, &long].map(|chunk| Chunk::parse(&chunk[..]).unwrap().tag());
    let (now, later) = (network.now, UNIX + 2 * 3_600);
    (0..2).for_each(|number| network.stores[number].set_clock(later, now));
    assert_eq!(network.list(0), [tags[1]]);
    let (chunks, gone) = network.fetch(0, &tags);
    assert_eq!((chunks.len(), gone), (1, vec![tags[0]]));
    // A chunk without a hold moves on to the other store.
    let message = Message::bytes(&chunk(3, HOUR)[..]);
    network.tower(0).enqueue(message, now).unwrap();
    network.advance(Duration::from_secs(10));
    assert_eq!(network.stores[1].stats().swallowed, 1);
    // With the right time, nothing is lost.
    let now = network.now;
    network.stores[0].set_clock(UNIX + 60, now);
    assert_eq!(network.list(0).len(), 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn no_time_makes_a_store_panic_or_forget_a_chunk_for_ever(
        times in prop::collection::vec((time(), 0u64..60, any::<u32>()), 1..8),
    ) {
        let mut network = Network::of_store(settings());
        assert_eq!(network.publish(0, &chunk(1, HOUR + 24)), Outcome::Queued);
        let tag = network.list(0)[0];
        for (unix, seconds, hour) in times {
            let now = network.now;
            network.stores[0].set_clock(unix, now);
            network.advance(Duration::from_secs(seconds));
            // Around the hour that the store believes, and any other one.
            let believed = u32::try_from(unix / 3_600).unwrap_or(u32::MAX);
            for until in [believed, believed.saturating_add(24), hour, u32::MAX] {
                network.publish(0, &chunk(until, until));
            }
            network.list(0);
            network.fetch(0, &[tag]);
        }
        let now = network.now;
        network.stores[0].set_clock(UNIX + now.as_nanos() / 1_000_000_000, now);
        prop_assert!(network.list(0).contains(&tag));
        prop_assert_eq!(network.fetch(0, &[tag]).0.len(), 1);
        prop_assert_eq!(network.publish(0, &chunk(7, HOUR + 20)), Outcome::Queued);
    }
}

/// Returns a Unix time near the right one, or any.
fn time() -> impl Strategy<Value = u64> {
    let days = 3 * 86_400;
    prop_oneof![UNIX - days..UNIX + days, any::<u64>(), Just(0), Just(u64::MAX)]
}

#[test]
fn a_chunk_with_a_changed_byte_is_not_published() {
    let mut network = Network::of_store(settings());
    let mut chunk = chunk(1, HOUR);
    chunk[500] ^= 1;
    assert_eq!(network.publish(0, &chunk), Outcome::BadHour);
    assert_eq!(network.list(0), []);
}

#[test]
fn chunks_move_to_other_towers_after_their_hold_and_are_found_there() {
    let hold = Duration::from_secs(60);
    let mut settings = settings();
    (settings.hold, settings.unheld) = (hold, 0);
    let stores = (0..3).map(|number| store(number, config(), settings.clone())).collect();
    let mut network = Network::new(stores);
    network.advance(Duration::from_secs(30));
    let tags: Vec<_> = (0..20)
        .map(|index| {
            let chunk = chunk(index, HOUR + 5);
            assert_eq!(network.publish(0, &chunk), Outcome::Queued);
            Chunk::parse(&chunk[..]).unwrap().tag()
        })
        .collect();
    network.advance(Duration::from_secs(50));
    assert_eq!(network.list(0).len(), 20, "they rest");
    network.advance(Duration::from_secs(60));
    assert_eq!(network.list(0).len(), 0);
    // They rest at the other towers, and come back after that.
    let mut found = [network.list(1), network.list(2)].concat();
    found.sort_unstable();
    let mut expected = tags.clone();
    expected.sort_unstable();
    assert_eq!(found, expected);
    let at_one = network.list(1);
    let (chunks, gone) = network.fetch(1, &at_one);
    assert_eq!((chunks.len(), gone.len()), (at_one.len(), 0));
    for number in 0..3 {
        let listed: Vec<_> = network.stores[number].inventory().map(|(tag, _)| tag).collect();
        let held = network.tower(number).peek().count();
        assert_eq!(listed.len(), held, "the inventory of tower {number} is what it holds");
    }
}

#[test]
fn messages_of_other_applications_pass_and_are_not_listed() {
    let stores = (0..2).map(|number| store(number, config(), settings())).collect();
    let mut network = Network::new(stores);
    let now = network.now;
    network.tower(0).enqueue(Message::text("hello"), now).unwrap();
    // As long as a chunk, and none.
    network.tower(0).enqueue(Message::bytes(&[5; CHUNK]), now).unwrap();
    network.advance(Duration::from_secs(20));
    let arrived = |(machine, notice): &(usize, Notice)| {
        *machine == 1 && matches!(notice, Notice::MessageReceived { .. })
    };
    assert!(network.notices.iter().filter(|it| arrived(it)).count() >= 2);
    assert_eq!((network.list(0), network.list(1)), (vec![], vec![]));
}

#[test]
fn an_inventory_is_read_page_by_page() {
    let mut network = Network::of_store(settings());
    let mut tags: Vec<_> = (0..1_200)
        .map(|index| {
            let chunk = chunk(index, HOUR + 5);
            assert_eq!(network.publish(0, &chunk), Outcome::Queued);
            Chunk::parse(&chunk[..]).unwrap().tag()
        })
        .collect();
    tags.sort_unstable();
    assert_eq!(network.list(0), tags);
    // Far more than the outbox of the link has room for at once.
    let (chunks, gone) = network.fetch(0, &tags[..32]);
    assert_eq!((chunks.len(), gone.len()), (32, 0));
}

#[test]
fn clients_fill_a_queue_to_sixty_per_cent_only() {
    let mut small = config();
    small.max_queue_messages = 100;
    let mut network = Network::new(vec![store(0, small, settings())]);
    let outcomes: Vec<_> =
        (0..70).map(|index| network.publish(0, &chunk(index, HOUR + 2))).collect();
    assert!(outcomes[..60].iter().all(|outcome| *outcome == Outcome::Queued));
    assert!(outcomes[60..].iter().all(|outcome| *outcome == Outcome::Full));
}

#[test]
fn a_link_has_a_rate_for_chunks_and_for_other_requests() {
    let mut settings = settings();
    settings.publish_rate = clacks_store::Rate { burst: 3, per_second: 1 };
    settings.request_rate = clacks_store::Rate { burst: 2, per_second: 1 };
    let mut network = Network::of_store(settings);
    let outcomes: Vec<_> =
        (0..4).map(|index| network.publish(0, &chunk(index, HOUR + 5))).collect();
    assert_eq!(outcomes[2..], [Outcome::Queued, Outcome::TooFast]);
    let after = Tag::new([0; 20]);
    let lists: Vec<_> = (0..3).map(|_| network.ask(0, &Body::List { after }).len()).collect();
    assert_eq!(lists, [1, 1, 0], "a list beyond the rate is not answered");
    network.advance(Duration::from_secs(1));
    assert_eq!(network.publish(0, &chunk(9, HOUR + 5)), Outcome::Queued);
    assert_eq!(network.list(0).len(), 4);
}

#[test]
fn towers_with_open_links_are_named_page_by_page() {
    let stores = (0..3).map(|number| store(number, config(), settings())).collect();
    let mut network = Network::new(stores);
    network.advance(Duration::from_secs(60));
    let answers = network.ask(0, &Body::Peers { cursor: 1 });
    let Ok(Datagram { body: Body::Towers { next, known, addresses }, .. }) =
        Datagram::decode(&answers[0])
    else {
        panic!("no towers")
    };
    assert_eq!((next, known, addresses.len()), (0, 2, 1));
}

#[test]
fn invalid_datagrams_are_counted_and_not_answered() {
    let mut network = Network::of_store(settings());
    let to = network.guests[0].find(&address(0)).unwrap().id;
    for bytes in [&b"hello"[..], &[1, 0, 0], &[0x84, 0, 0, 0, 1, 0]] {
        network.guests[0].datagram(To::Peer(to), bytes.to_vec(), network.now).unwrap();
        network.settle();
    }
    assert!(network.answers.is_empty());
    assert_eq!(network.stores[0].stats().ignored, 3);
}
