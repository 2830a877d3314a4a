//! The limits of a store: each with the case that it stops, and the same without it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod stores;

use std::time::Duration;

use clacks_proto::{Config, EnqueueOptions, Message, SendRate};
use clacks_store::protocol::{Body, Datagram, Outcome, Tags};
use clacks_store::{CHUNK, Chunk, Rate, StoreConfig, Tag};

use stores::{HOUR, Network, address, chunk, config, settings, store};

const START: Tag = Tag::new([0; Tag::LEN]);

fn tag(chunk: &[u8; CHUNK]) -> Tag {
    Chunk::parse(&chunk[..]).unwrap().tag()
}

/// Returns stores of which the first one has room for 100 messages.
fn network_of(count: usize, settings: &StoreConfig) -> Network {
    let make = |number| {
        let mut config = config();
        if number == 0 {
            config.max_queue_messages = 100;
            config.hold_below = 100;
        }
        store(number, config, settings.clone())
    };
    let mut network = Network::with_guests((0..count).map(make).collect(), 2);
    network.advance(Duration::from_secs(60));
    network
}

/// Publishes chunks at the first store, and returns how many were queued.
fn publish(
    network: &mut Network,
    guest: usize,
    indexes: std::ops::Range<u32>,
    until: u32,
) -> usize {
    let mut queued = 0;
    for index in indexes {
        let chunk = chunk(index, until);
        network.send(guest, 0, index, &Body::Publish(&chunk));
        network.settle();
        for (_, answer) in std::mem::take(&mut network.answers) {
            let Body::Published(outcome) = Datagram::decode(&answer).unwrap().body else {
                panic!("{answer:?}")
            };
            queued += usize::from(outcome == Outcome::Queued);
        }
    }
    queued
}

/// Fills the first store with messages of its application, which end after a time.
fn fill(network: &mut Network, messages: usize, lifetime: Duration) {
    let (now, hold) = (network.now, lifetime);
    for number in 0..messages {
        let options = EnqueueOptions { lifetime: Some(lifetime), hold };
        let message = Message::text(&format!("message {number}"));
        network.tower(0).enqueue_with(message, options, now).unwrap();
    }
    network.settle();
}

#[test]
fn above_40_per_cent_a_group_has_a_share_of_what_clients_publish() {
    // 8 towers are 8 groups, and clients count as one more. Each has 2/9 of 100 messages.
    for (shares_from, expected) in [(40, [40, 20]), (100, [60, 0])] {
        let mut settings = settings();
        settings.reserve_below = 60;
        settings.shares_from = shares_from;
        let mut network = network_of(9, &settings);
        let queued = [(0, 0..80), (1, 100..180)]
            .map(|(guest, indexes)| publish(&mut network, guest, indexes, HOUR + 1));
        assert_eq!(queued, expected, "from {shares_from} %");
    }
}

#[test]
fn above_40_per_cent_a_group_has_a_share_of_what_comes_as_messages() {
    let held = |shares_from| {
        let mut settings = settings();
        settings.shares_from = shares_from;
        let mut network = network_of(9, &settings);
        fill(&mut network, 45, Duration::from_secs(3_000));
        let now = network.now;
        for index in 0..360 {
            let message = Message::bytes(&chunk(index, HOUR + 5)[..]);
            network.tower(1).enqueue(message, now).unwrap();
        }
        network.advance(Duration::from_secs(90));
        network.stores[0].inventory().count()
    };
    assert_eq!(held(40), 22, "2/9 of 100");
    assert!(held(100) > 30, "about an eighth of 360");
}

#[test]
fn above_30_per_cent_clients_publish_only_chunks_that_end_sooner() {
    for (shorter_from, expected) in [(30, Outcome::TooLong), (100, Outcome::Queued)] {
        let mut settings = settings();
        settings.shorter_from = shorter_from;
        let mut network = network_of(1, &settings);
        assert_eq!(publish(&mut network, 0, 0..30, HOUR + 24), 30);
        assert_eq!(publish(&mut network, 0, 30..45, HOUR + 2), 15);
        assert_eq!(network.publish(0, &chunk(50, HOUR + 14)), expected);
        assert_eq!(network.publish(0, &chunk(51, HOUR + 13)), Outcome::Queued);
        assert_eq!(
            publish(&mut network, 0, 60..90, HOUR + 2),
            58 - 45 + usize::from(expected != Outcome::Queued)
        );
    }
}

#[test]
fn a_chunk_with_a_wrong_id_or_hour_is_refused_whatever_door_it_uses() {
    let mut network = network_of(2, &settings());
    let mut broken = chunk(1, HOUR + 5);
    broken[500] ^= 1;
    let (far, over) = (chunk(2, HOUR + 26), chunk(3, HOUR - 2));
    for chunk in [&broken, &far, &over] {
        assert_eq!(network.publish(0, chunk), Outcome::BadHour);
    }
    let now = network.now;
    for chunk in [&broken, &far, &over] {
        network.tower(1).enqueue(Message::bytes(&chunk[..]), now).unwrap();
    }
    // As long as a chunk, and none.
    network.tower(1).enqueue(Message::bytes(&[5; CHUNK]), now).unwrap();
    network.advance(Duration::from_secs(5));
    let held: Vec<_> = network.tower(0).peek().map(|held| held.message).collect();
    let elsewhere: Vec<_> = network.tower(1).peek().map(|held| held.message).collect();
    let stays = |chunk: &[u8]| {
        let is = |message: &Message| message.body() == chunk;
        elsewhere.iter().any(is) && !held.iter().any(is)
    };
    assert!(stays(&broken[..]) && stays(&far[..]));
    let all = held.iter().chain(&elsewhere);
    assert!(!all.clone().any(|message| message.body() == &over[..]), "over, so it is dropped");
    assert!(all.clone().any(|message| message.body() == [5; CHUNK]), "of another application");
    assert_eq!(network.list(0), []);
}

#[test]
fn no_chunk_rests_above_80_per_cent() {
    for (hold_below, expected) in [(80, 0), (100, 1)] {
        let mut config = config();
        config.max_queue_messages = 100;
        config.local_share = 100;
        config.hold_below = hold_below;
        let stores = vec![store(0, config, settings()), store(1, stores::config(), settings())];
        let mut network = Network::new(stores);
        network.advance(Duration::from_secs(60));
        // They rest already, so they stay although later ones do not rest.
        fill(&mut network, 79, Duration::from_secs(3_000));
        let now = network.now;
        for number in 0..5 {
            let options = EnqueueOptions { lifetime: None, hold: Duration::from_secs(3_000) };
            let message = Message::text(&format!("more {number}"));
            network.tower(0).enqueue_with(message, options, now).unwrap();
        }
        let before = network.tower(0).queue_usage().at_rest;
        network.tower(1).enqueue(Message::bytes(&chunk(1, HOUR + 5)[..]), now).unwrap();
        network.advance(Duration::from_millis(500));
        let at_rest = network.tower(0).queue_usage().at_rest;
        assert_eq!(at_rest - before, expected, "below {hold_below} %");
    }
}

#[test]
fn groups_that_publish_little_have_room_of_their_own() {
    // 4 towers are 4 groups, and clients count as one more. Each has a fifth of 20 messages.
    for (reserve_below, expected) in [(80, [4, 4]), (60, [0, 0])] {
        let mut settings = settings();
        settings.reserve_below = reserve_below;
        settings.shares_from = 100;
        let mut network = network_of(5, &settings);
        fill(&mut network, 60, Duration::from_secs(3_000));
        let queued = [(0, 0..20), (1, 100..120)]
            .map(|(guest, indexes)| publish(&mut network, guest, indexes, HOUR + 1));
        assert_eq!(queued, expected, "below {reserve_below} %");
    }
}

#[test]
fn a_group_that_publishes_much_has_no_reserve() {
    let mut network = network_of(5, &settings());
    assert_eq!(publish(&mut network, 0, 0..30, HOUR + 1), 30);
    fill(&mut network, 30, Duration::from_secs(3_000));
    assert_eq!(publish(&mut network, 0, 100..120, HOUR + 1), 0);
    assert_eq!(publish(&mut network, 1, 200..220, HOUR + 1), 4);
}

#[test]
fn a_tower_through_which_much_is_published_can_still_hand_over() {
    let mut settings = settings();
    settings.unheld = 0;
    let mut network = network_of(9, &settings);
    for index in 0..60 {
        let publish = chunk(index, HOUR + 1);
        let inner = Body::Publish(&publish).encode_inner();
        let target = Some(address(0));
        network.send(0, 1, index, &Body::Relay { hops: 1, target, inner: &inner });
        network.settle();
    }
    assert_eq!(network.stores[0].stats().held, 40, "its share begins at 40 %");
    let now = network.now;
    for index in 100..460 {
        let message = Message::bytes(&chunk(index, HOUR + 5)[..]);
        network.tower(1).enqueue(message, now).unwrap();
    }
    network.advance(Duration::from_secs(90));
    let held = network.stores[0].stats().held;
    assert_eq!(held, 40 + 22, "2/9 of 100 came as messages");
}

/// Fetches chunks for both guests, and returns how many each has after a time.
fn fetched(network: &mut Network, counts: [usize; 2], time: Duration) -> [usize; 2] {
    let tags: Vec<_> = network.list(0);
    for (guest, count) in counts.into_iter().enumerate() {
        let flat: Vec<_> = tags[..count].iter().map(|tag| *tag.bytes()).collect();
        network.send(guest, 0, 1, &Body::Fetch(Tags::new(&flat).unwrap()));
        network.settle();
    }
    network.advance(time);
    let mut got = [0; 2];
    for (guest, answer) in std::mem::take(&mut network.answers) {
        got[guest] +=
            usize::from(matches!(Datagram::decode(&answer).unwrap().body, Body::Chunk(_)));
    }
    got
}

#[test]
fn datagrams_have_a_rate_and_groups_take_turns() {
    let mut settings = settings();
    settings.egress = Rate { burst: 24_000, per_second: 12_021 };
    let mut network = network_of(1, &settings);
    assert_eq!(publish(&mut network, 0, 0..32, HOUR + 1), 32);
    network.advance(Duration::from_secs(60));
    let got = fetched(&mut network, [32, 5], Duration::from_secs(12));
    assert!((6..10).contains(&got[0]), "{got:?}");
    assert_eq!(got[1], 5, "the other guest does not wait for the first one");

    let mut network = network_of(1, &stores::settings());
    assert_eq!(publish(&mut network, 0, 0..32, HOUR + 1), 32);
    assert_eq!(fetched(&mut network, [32, 5], Duration::ZERO), [32, 5]);
}

/// Returns stores whose links are closed, because nothing happens.
fn idle(count: usize, settings: &StoreConfig, change: fn(&mut Config)) -> Network {
    let make = |number| {
        let mut config = config();
        change(&mut config);
        config.heartbeat = None;
        store(number, config, settings.clone())
    };
    let mut network = Network::new((0..count).map(make).collect());
    network.advance(Duration::from_secs(50));
    network.advance(Duration::from_secs(100));
    network
}

/// Asks for the inventories of all other stores at once, through the first one.
fn ask_all(network: &mut Network) {
    let list = Body::List { after: START }.encode_inner();
    for (number, other) in (0..).zip(1..network.stores.len()) {
        let target = Some(address(other));
        network.send(0, 0, number, &Body::Relay { hops: 1, target, inner: &list });
    }
    network.settle();
}

/// Returns how many inventories have come, and how many requests are lost.
fn answers(network: &mut Network) -> [usize; 2] {
    let answers = std::mem::take(&mut network.answers);
    let is_lost =
        |(_, answer): &(usize, Vec<u8>)| Datagram::decode(answer).unwrap().body == Body::Lost;
    let lost = answers.iter().filter(|answer| is_lost(answer)).count();
    [answers.len() - lost, lost]
}

#[test]
fn dials_for_others_have_a_rate_and_requests_wait_for_them() {
    let mut settings = settings();
    settings.dials = Rate { burst: 3, per_second: 1 };
    let mut network = idle(9, &settings, |_| {});
    let links = network.tower(0).links().filter(|link| link.peer.is_some()).count();
    assert_eq!(links, 0, "all are closed");
    ask_all(&mut network);
    assert_eq!(answers(&mut network), [3, 0]);
    network.advance(Duration::from_millis(2_100));
    assert_eq!(answers(&mut network), [2, 0]);
    network.advance(Duration::from_secs(10));
    assert_eq!(answers(&mut network), [3, 0]);

    settings.dials = Rate { burst: 3, per_second: 0 };
    let mut network = idle(9, &settings, |_| {});
    settings.dials = Rate { burst: u32::MAX, per_second: u32::MAX };
    ask_all(&mut network);
    network.advance(Duration::from_secs(9));
    let [listed, _] = answers(&mut network);
    network.advance(Duration::from_secs(2));
    assert_eq!(listed + answers(&mut network)[1], 8, "those that waited too long are lost");

    let mut network = idle(9, &settings, |_| {});
    ask_all(&mut network);
    assert_eq!(answers(&mut network), [8, 0]);
}

#[test]
fn a_request_that_waited_for_a_dial_is_lost_as_soon_as_another_one() {
    let mut settings = settings();
    settings.dials = Rate { burst: 3, per_second: 1 };
    let mut network = idle(9, &settings, |_| {});
    (1..9).for_each(|store| network.silence(store));
    ask_all(&mut network);
    // The last one is dialled after 5 seconds.
    network.advance(Duration::from_secs(14));
    assert_eq!(answers(&mut network), [0, 0]);
    network.advance(Duration::from_secs(2));
    assert_eq!(answers(&mut network), [0, 8]);
}

#[test]
fn links_for_others_are_at_most_a_quarter() {
    let few = |config: &mut Config| {
        config.max_links = 20;
        config.max_unproved = 20;
    };
    let mut network = idle(9, &settings(), few);
    ask_all(&mut network);
    network.advance(Duration::from_secs(1));
    assert_eq!(answers(&mut network), [8, 0], "idle ones make room");
    let links = network.tower(0).links().filter(|link| link.peer.is_some()).count();
    assert_eq!(links, 5);
    // Those that are in use do not.
    let mut network = idle(9, &settings(), few);
    (1..9).for_each(|store| network.silence(store));
    ask_all(&mut network);
    network.advance(Duration::from_secs(11));
    assert_eq!(answers(&mut network), [0, 3]);
}

#[test]
fn new_chunks_are_listed_together() {
    let mut network = network_of(1, &StoreConfig::default());
    network.advance(Duration::from_millis(100));
    let (one, other) = (chunk(1, HOUR + 5), chunk(2, HOUR + 5));
    assert_eq!(network.publish(0, &one), Outcome::Queued);
    network.advance(Duration::from_millis(1_000));
    assert_eq!(network.list(0), []);
    assert_eq!(network.publish(0, &other), Outcome::Queued);
    network.advance(Duration::from_millis(800));
    assert_eq!(network.list(0), []);
    network.advance(Duration::from_millis(100));
    assert_eq!(network.list(0).len(), 2);
    // They can be fetched before.
    let third = chunk(3, HOUR + 5);
    assert_eq!(network.publish(0, &third), Outcome::Queued);
    assert_eq!(network.fetch(0, &[tag(&third)]).0, [third.to_vec()]);
}

#[test]
fn a_reader_that_does_not_read_makes_others_wait_for_nothing() {
    let mut settings = settings();
    settings.request_rate = Rate { burst: u32::MAX, per_second: u32::MAX };
    let mut config = config();
    config.send_rate = SendRate::per_second(1);
    let mut network = Network::with_guests(vec![store(0, config, settings)], 2);
    network.advance(Duration::from_secs(5));
    assert_eq!(publish(&mut network, 0, 0..200, HOUR + 5), 200);
    let tags: Vec<_> = network.list(0);
    network.stop_reading(0);
    for (number, tags) in (0..100).zip(tags.chunks(32).cycle()) {
        let flat: Vec<_> = tags.iter().map(|tag| *tag.bytes()).collect();
        network.send(0, 0, number, &Body::Fetch(Tags::new(&flat).unwrap()));
        network.settle();
    }
    network.send(1, 0, 7, &Body::Fetch(Tags::new(&[*tags[0].bytes()]).unwrap()));
    network.settle();
    assert_eq!(network.answers.iter().filter(|(guest, _)| *guest == 1).count(), 1);
}

#[test]
fn a_chunk_whose_lifetime_ends_long_before_its_hour_is_refused() {
    let mut network = Network::new((0..2).map(|n| store(n, config(), settings())).collect());
    network.advance(Duration::from_secs(60));
    // The hour of both ends in five hours and a half.
    for (index, hours, held) in [(1, 4, 0), (2, 5, 1)] {
        let (now, chunk) = (network.now, chunk(index, HOUR + 5));
        let lifetime = Some(Duration::from_secs(hours * 3_600));
        let options = EnqueueOptions { lifetime, ..EnqueueOptions::default() };
        network.tower(1).enqueue_with(Message::bytes(&chunk[..]), options, now).unwrap();
        network.advance(Duration::from_secs(30));
        assert_eq!(network.stores[0].stats().held, held, "{hours} hours");
    }
}
