//! Requests that stores pass on for others.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod stores;

use std::collections::BTreeSet;
use std::time::Duration;

use clacks_proto::{Address, To};
use clacks_store::protocol::{Body, Datagram, MAX_HOPS, Outcome, Tags};
use clacks_store::{CHUNK, Chunk, Rate, StoreConfig, Tag};

use stores::{HOUR, Network, UNIX, address, chunk, config, settings, store};

const START: Tag = Tag::new([0; Tag::LEN]);

fn network_with(count: usize, settings: &StoreConfig) -> Network {
    let stores = (0..count).map(|number| store(number, config(), settings.clone())).collect();
    let mut network = Network::with_guests(stores, 2);
    network.advance(Duration::from_secs(60));
    network
}

fn network_of(count: usize) -> Network {
    network_with(count, &settings())
}

/// Sends a request through a store, and returns all answers.
fn relay(
    network: &mut Network,
    store: usize,
    hops: u8,
    target: Option<Address>,
    request: &Body<'_>,
) -> Vec<Vec<u8>> {
    let inner = request.encode_inner();
    network.ask(store, &Body::Relay { hops, target, inner: &inner })
}

fn body(answer: &[u8]) -> Body<'_> {
    let datagram = Datagram::decode(answer).unwrap();
    assert_eq!(datagram.number, 7, "an answer has the number of the request");
    datagram.body
}

fn outcome(answers: &[Vec<u8>]) -> Outcome {
    match answers {
        [answer] => match body(answer) {
            Body::Published(outcome) => outcome,
            other => panic!("{other:?}"),
        },
        other => panic!("{} answers", other.len()),
    }
}

fn is_lost(answers: &[Vec<u8>]) -> bool {
    matches!(answers, [answer] if body(answer) == Body::Lost)
}

fn publish(chunk: &[u8; CHUNK]) -> Body<'_> {
    Body::Publish(chunk)
}

fn tag(chunk: &[u8; CHUNK]) -> Tag {
    Chunk::parse(&chunk[..]).unwrap().tag()
}

fn held(network: &Network, store: usize) -> u64 {
    network.stores[store].stats().held
}

fn relayed(network: &Network) -> Vec<u64> {
    network.stores.iter().map(|store| store.stats().relayed).collect()
}

#[test]
fn a_request_with_a_target_is_answered_by_the_target() {
    let mut network = network_of(4);
    let chunk = chunk(1, HOUR + 5);
    assert_eq!(network.publish(2, &chunk), Outcome::Queued);
    for hops in [1, 2, 3, MAX_HOPS] {
        let answers = relay(&mut network, 0, hops, Some(address(2)), &Body::List { after: START });
        let Body::Inventory { entries, held: 1, .. } = body(&answers[0]) else { panic!() };
        assert_eq!(entries.iter().map(|(tag, _)| tag).collect::<Vec<_>>(), [tag(&chunk)]);
        let other = Tag::new([9; Tag::LEN]);
        let tags = [*tag(&chunk).bytes(), *other.bytes()];
        let fetch = Body::Fetch(Tags::new(&tags).unwrap());
        let answers = relay(&mut network, 0, hops, Some(address(2)), &fetch);
        let [first, second] = &answers[..] else { panic!("{} answers", answers.len()) };
        assert_eq!(body(first), Body::Chunk(&chunk));
        assert!(matches!(body(second), Body::Gone(tags) if tags.iter().eq([other])));
    }
    let before = network.stores[0].stats().relayed;
    let peers = relay(&mut network, 0, 1, Some(address(2)), &Body::Peers { cursor: 0 });
    assert!(matches!(body(&peers[0]), Body::Towers { known: 3, .. }));
    assert_eq!(network.stores[0].stats().relayed, before + 1);
}

#[test]
fn a_request_without_a_target_is_answered_at_the_end_of_the_stem() {
    let mut network = network_of(4);
    let chunk = chunk(1, HOUR + 5);
    assert_eq!(network.publish(0, &chunk), Outcome::Queued);
    for target in [None, Some(address(0))] {
        let answers = relay(&mut network, 0, 1, target, &Body::List { after: START });
        assert!(matches!(body(&answers[0]), Body::Inventory { held: 1, .. }));
    }
    assert_eq!(relayed(&network), [0; 4]);
    // With two hops another tower answers, which does not hold the chunk.
    let answers = relay(&mut network, 0, 2, None, &Body::List { after: START });
    assert!(matches!(body(&answers[0]), Body::Inventory { held: 0, .. }));
}

#[test]
fn a_target_that_is_no_alive_tower_is_lost_and_not_dialled() {
    let mut network = network_of(3);
    network.kill(2);
    network.advance(Duration::from_secs(600));
    let dialled = network.tower(0).stats().links_dialled;
    for target in [address(2), "192.0.2.1:8001".parse().unwrap()] {
        for hops in [1, 3] {
            let list = Body::List { after: START };
            let answers = relay(&mut network, 0, hops, Some(target.clone()), &list);
            assert!(is_lost(&answers), "{target} {hops}");
        }
    }
    assert_eq!(network.tower(0).stats().links_dialled, dialled);
    assert!(network.tower(0).find(&"192.0.2.1:8001".parse().unwrap()).is_none());
}

#[test]
fn chunks_without_a_target_are_scattered_among_all_stores() {
    let mut network = network_of(4);
    for index in 0..200 {
        let chunk = chunk(index, HOUR + 5);
        let answers = relay(&mut network, 0, 1, None, &publish(&chunk));
        assert_eq!(outcome(&answers), Outcome::Queued);
    }
    let held: Vec<_> = (0..4).map(|store| held(&network, store)).collect();
    assert_eq!(held.iter().sum::<u64>(), 200);
    assert!(held.iter().all(|held| *held == 50), "{held:?}");
}

#[test]
fn one_chunk_in_ten_does_not_rest_and_leaves_with_the_next_tick() {
    let mut network = network_of(2);
    for index in 0..100 {
        let chunk = chunk(index, HOUR + 5);
        outcome(&relay(&mut network, 0, 1, None, &publish(&chunk)));
    }
    let waiting = [0, 1].map(|store| network.tower(store).queue_usage().waiting);
    assert!(waiting.iter().all(|waiting| (1..15).contains(waiting)), "{waiting:?}");
    network.advance(Duration::from_secs(10));
    assert_eq!([0, 1].map(|store| network.tower(store).queue_usage().waiting), [0, 0]);

    let mut settings = settings();
    settings.unheld = 0;
    let mut network = network_with(2, &settings);
    for index in 0..100 {
        let chunk = chunk(index, HOUR + 5);
        outcome(&relay(&mut network, 0, 1, None, &publish(&chunk)));
    }
    let waiting = [0, 1].map(|store| network.tower(store).queue_usage().waiting);
    assert_eq!(waiting, [0, 0], "0 disables the rule");
}

#[test]
fn a_stem_leads_to_the_same_tower_during_an_epoch_and_to_others_in_later_ones() {
    let mut network = network_of(6);
    let next = |network: &mut Network| {
        // The second tower of the stem answers, and has no more to pass on.
        let answers = relay(network, 0, 2, None, &Body::Peers { cursor: 0 });
        let Body::Towers { addresses, .. } = body(&answers[0]) else { panic!() };
        let all = (0..6).map(address).collect::<BTreeSet<_>>();
        let known = addresses.into_iter().collect();
        all.difference(&known).next().unwrap().clone()
    };
    let mut seen = BTreeSet::new();
    for _ in 0..30 {
        let first = next(&mut network);
        assert_ne!(first, address(0));
        for _ in 0..5 {
            assert_eq!(next(&mut network), first);
        }
        seen.insert(first);
        network.advance(Duration::from_secs(600));
    }
    assert_eq!(seen.len(), 5, "each one was next in some epoch");
}

#[test]
fn a_stem_survives_the_end_of_its_next_tower() {
    let mut network = network_of(4);
    let towers: Vec<_> = (1..4).collect();
    for victim in &towers[..2] {
        network.kill(*victim);
        network.advance(Duration::from_secs(600));
        let answers = relay(&mut network, 0, 2, None, &Body::List { after: START });
        assert!(matches!(body(&answers[0]), Body::Inventory { .. }), "without {victim}");
    }
    // The last one carries requests out itself.
    network.kill(3);
    network.advance(Duration::from_secs(600));
    let passed_on = network.stores[0].stats().relayed;
    let answers = relay(&mut network, 0, 2, None, &Body::List { after: START });
    assert!(matches!(body(&answers[0]), Body::Inventory { .. }));
    assert_eq!(network.stores[0].stats().relayed, passed_on);
}

#[test]
fn two_towers_pass_a_request_to_and_fro() {
    let mut network = network_of(2);
    for hops in 1..=MAX_HOPS {
        let answers = relay(&mut network, 0, hops, None, &Body::List { after: START });
        assert!(matches!(body(&answers[0]), Body::Inventory { .. }), "{hops} hops");
        let chunk = chunk(hops.into(), HOUR + 5);
        let answers = relay(&mut network, 0, hops, None, &publish(&chunk));
        assert_eq!(outcome(&answers), Outcome::Queued, "{hops} hops");
    }
}

#[test]
fn a_request_is_lost_when_its_link_closes_or_its_time_is_over() {
    let mut network = network_of(3);
    let list = Body::List { after: START }.encode_inner();
    let ask = |network: &mut Network| {
        network.send(0, 0, 7, &Body::Relay { hops: 1, target: Some(address(1)), inner: &list });
    };
    // The target does not answer. The request is lost after 15 seconds.
    network.silence(1);
    ask(&mut network);
    network.advance(Duration::from_secs(14));
    assert_eq!(network.answers, []);
    network.advance(Duration::from_secs(2));
    let answers = std::mem::take(&mut network.answers);
    assert!(is_lost(&[answers[0].1.clone()]) && answers.len() == 1);
    // The link closes.
    ask(&mut network);
    network.advance(Duration::from_secs(1));
    assert_eq!(network.answers, []);
    network.kill(1);
    let answers = std::mem::take(&mut network.answers);
    assert!(is_lost(&[answers[0].1.clone()]) && answers.len() == 1);
    network.advance(Duration::from_secs(60));
    assert_eq!(network.answers, [], "one answer");
    assert_eq!(network.stores[0].stats().lost, 2);
}

#[test]
fn a_store_that_does_not_relay_carries_out_what_is_for_itself_only() {
    let mut network = network_of(2);
    let mut settings = settings();
    settings.relays = false;
    network.stores.push(store(2, config(), settings));
    let at = network.stores.len() - 1;
    for other in 0..at {
        network.tower(at).expand(&address(other), clacks_proto::Instant::ORIGIN).unwrap();
    }
    let now = network.now;
    network.guests[0].expand(&address(at), now).unwrap();
    network.advance(Duration::from_secs(60));
    let list = Body::List { after: START };
    for target in [None, Some(address(at))] {
        let answers = relay(&mut network, at, 1, target, &list);
        assert!(matches!(body(&answers[0]), Body::Inventory { .. }));
    }
    for (hops, target) in [(2, None), (1, Some(address(0))), (2, Some(address(at)))] {
        assert!(is_lost(&relay(&mut network, at, hops, target, &list)));
    }
    let chunk = chunk(1, HOUR + 5);
    let answers = relay(&mut network, at, 1, None, &publish(&chunk));
    assert_eq!(outcome(&answers), Outcome::Queued);
    assert_eq!(held(&network, at), 1);
}

#[test]
fn a_store_that_does_not_relay_passes_on_what_guests_on_its_machine_ask() {
    let mut settings = settings();
    settings.relays = false;
    let stores = (0..3).map(|number| store(number, config(), settings.clone())).collect();
    let mut network = Network::with_guests(stores, 1);
    network.guest_ip = Some(std::net::Ipv4Addr::LOCALHOST.into());
    network.advance(Duration::from_secs(60));
    let list = Body::List { after: START };
    let answers = relay(&mut network, 0, 1, Some(address(1)), &list);
    assert!(matches!(body(&answers[0]), Body::Inventory { .. }));
}

#[test]
fn more_than_eight_hops_are_lost() {
    let mut network = network_of(3);
    let list = Body::List { after: START };
    assert!(is_lost(&relay(&mut network, 0, MAX_HOPS + 1, None, &list)));
    assert_eq!(relayed(&network), [0; 3]);
}

#[test]
fn a_relay_without_a_request_is_counted_as_ignored() {
    let mut network = network_of(2);
    let before = network.stores[0].stats().ignored;
    for inner in [&[][..], &[5], &[0x82], &[1, 2]] {
        let answers = network.ask(0, &Body::Relay { hops: 1, target: None, inner });
        assert_eq!(answers, [] as [Vec<u8>; 0]);
    }
    assert_eq!(network.stores[0].stats().ignored, before + 4);
}

#[test]
fn relayed_requests_count_as_what_they_carry() {
    let mut settings = settings();
    settings.publish_rate = Rate { burst: 3, per_second: 1 };
    settings.request_rate = Rate { burst: 2, per_second: 1 };
    settings.unheld = 0;
    let mut network = network_with(2, &settings);
    for (index, expected) in (0..4).zip([Outcome::Queued; 3].into_iter().chain([Outcome::TooFast]))
    {
        let chunk = chunk(index, HOUR + 5);
        assert_eq!(outcome(&relay(&mut network, 0, 1, None, &publish(&chunk))), expected);
    }
    let list = Body::List { after: START };
    let lists = [1, 1, 0]
        .map(|expected| relay(&mut network, 0, 1, Some(address(1)), &list).len() == expected);
    assert_eq!(lists, [true; 3]);
}

#[test]
fn one_link_has_a_quarter_of_the_requests_that_wait() {
    let mut settings = settings();
    settings.max_relayed = 8;
    let mut network = network_with(3, &settings);
    network.silence(1);
    let list = Body::List { after: START }.encode_inner();
    for number in 0..4 {
        network.send(
            0,
            0,
            number,
            &Body::Relay { hops: 1, target: Some(address(1)), inner: &list },
        );
    }
    network.settle();
    let lost: Vec<_> = std::mem::take(&mut network.answers);
    let numbers: Vec<_> =
        lost.iter().map(|(_, answer)| Datagram::decode(answer).unwrap().number).collect();
    assert_eq!(numbers, [2, 3]);
    // Another guest has its own quarter.
    network.send(1, 0, 9, &Body::Relay { hops: 1, target: Some(address(1)), inner: &list });
    network.settle();
    assert_eq!(network.answers, []);
    // After the time-out there is room again.
    network.advance(Duration::from_secs(21));
    network.answers.clear();
    network.send(0, 0, 5, &Body::Relay { hops: 1, target: Some(address(2)), inner: &list });
    network.settle();
    assert!(matches!(
        Datagram::decode(&network.answers[0].1).unwrap().body,
        Body::Inventory { .. }
    ));
}

#[test]
fn guests_of_one_address_group_share_a_quarter_of_the_requests_that_wait() {
    let mut settings = settings();
    settings.max_relayed = 8;
    let stores = (0..3).map(|number| store(number, config(), settings.clone())).collect();
    let mut network = Network::with_guests(stores, 2);
    network.guest_ip = Some(std::net::Ipv4Addr::new(127, 200, 0, 1).into());
    network.advance(Duration::from_secs(60));
    network.silence(1);
    let list = Body::List { after: START }.encode_inner();
    let relay = Body::Relay { hops: 1, target: Some(address(1)), inner: &list };
    for (guest, number) in [(0, 1), (1, 2), (0, 3), (1, 4)] {
        network.send(guest, 0, number, &relay);
        network.settle();
    }
    let numbers: Vec<_> = network
        .answers
        .iter()
        .map(|(_, answer)| Datagram::decode(answer).unwrap())
        .map(|answer| (answer.number, answer.body == Body::Lost))
        .collect();
    assert_eq!(numbers, [(3, true), (4, true)]);
}

#[test]
fn the_requests_of_guests_on_this_machine_keep_their_next_tower() {
    let stores = (0..6).map(|number| store(number, config(), settings())).collect();
    let mut network = Network::with_guests(stores, 1);
    network.guest_ip = Some(std::net::Ipv4Addr::LOCALHOST.into());
    network.advance(Duration::from_secs(60));
    let next = |network: &mut Network| {
        let answers = relay(network, 0, 2, None, &Body::Peers { cursor: 0 });
        let Body::Towers { addresses, .. } = body(&answers[0]) else { panic!() };
        let all = (0..6).map(address).collect::<BTreeSet<_>>();
        let known = addresses.into_iter().collect();
        all.difference(&known).next().unwrap().clone()
    };
    let first = next(&mut network);
    for _ in 0..30 {
        network.advance(Duration::from_secs(600));
        assert_eq!(next(&mut network), first);
    }
}

#[test]
fn an_answer_that_was_not_asked_for_is_not_passed_on() {
    let mut network = network_of(3);
    network.silence(1);
    let list = Body::List { after: START }.encode_inner();
    network.send(0, 0, 7, &Body::Relay { hops: 1, target: Some(address(1)), inner: &list });
    network.settle();
    let before = network.stores[0].stats().ignored;
    // Numbers are random, so a guest does not guess them. The right number on another link and
    // another kind of answer are no better.
    let (link, number) = network.asked_of(1);
    let other = network.tower(2).find(&address(0)).unwrap().id;
    network.forge(1, To::Link(link), number, &Body::Published(Outcome::Queued));
    network.forge(1, To::Link(link), number ^ 1, &Body::Lost);
    network.forge(2, To::Peer(other), number, &Body::Lost);
    assert_eq!(network.answers, []);
    assert_eq!(network.stores[0].stats().ignored, before + 3);
    for _ in 0..2 {
        network.forge(1, To::Link(link), number, &Body::Lost);
        assert_eq!(network.answers.len(), 1, "only once");
    }
}

#[test]
fn ten_mebibytes_pass_a_relay_whole() {
    let mut settings = settings();
    settings.unheld = 0;
    let mut network = network_with(3, &settings);
    let mut published = Vec::new();
    for index in 0..900 {
        let chunk = chunk(index, HOUR + 5);
        let answers = relay(&mut network, 0, 2, Some(address(2)), &publish(&chunk));
        assert_eq!(outcome(&answers), Outcome::Queued);
        // At 8 MiB a second.
        network.advance(Duration::from_millis(2));
        published.push(tag(&chunk));
    }
    // A reader has 128 chunks under way.
    let mut got = BTreeSet::new();
    for window in published.chunks(128) {
        for (number, tags) in (0..).zip(window.chunks(32)) {
            let tags: Vec<_> = tags.iter().map(|tag| *tag.bytes()).collect();
            let inner = Body::Fetch(Tags::new(&tags).unwrap()).encode_inner();
            let body = Body::Relay { hops: 2, target: Some(address(2)), inner: &inner };
            network.send(0, 0, number, &body);
        }
        network.advance(Duration::from_secs(1));
        for (_, answer) in std::mem::take(&mut network.answers) {
            match Datagram::decode(&answer).unwrap().body {
                Body::Chunk(chunk) => assert!(got.insert(tag(chunk))),
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(got, published.into_iter().collect());
}

#[test]
fn a_tower_compares_its_clock_with_those_of_the_towers_that_answer() {
    let difference = |wrong: usize, seconds: u64| {
        let mut network = network_of(5);
        let now = network.now;
        let unix = UNIX + now.as_nanos() / 1_000_000_000;
        network.stores[wrong].set_clock(unix + seconds, now);
        let mut found = Vec::new();
        for tower in 1..5 {
            let list = Body::List { after: START };
            let answers = relay(&mut network, 0, 1, Some(address(tower)), &list);
            assert!(matches!(body(&answers[0]), Body::Inventory { .. }));
            found.push(network.stores[0].clock_difference());
        }
        found
    };
    // Three towers must agree.
    assert_eq!(difference(0, 20 * 60), [None, None, Some(-20), Some(-20)]);
    assert_eq!(difference(0, 4 * 60), [None; 4]);
    assert_eq!(difference(2, 20 * 60), [None; 4], "one tower is wrong");
}
