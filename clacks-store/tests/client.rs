//! Jobs of clients in a network in memory.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod network;

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use clacks_proto::{EnqueueOptions, Message, StateMachine};
use clacks_store::{
    Chunk, ClientConfig, FirstHop, Health, HealthState, Job, JobError, JobEvent, Listener, Path,
    Phase, PutReport, Refusal, Route, SHARD, StoreConfig, Tag, seal,
};
use network::{Conduct, File, HOUR, Network, UNIX, address, config};

fn direct(first: usize) -> ClientConfig {
    let mut config = ClientConfig::new(vec![address(first)]);
    config.route = Route::Direct;
    config
}

fn stem(first: &[usize]) -> ClientConfig {
    ClientConfig::new(first.iter().map(|number| address(*number)).collect())
}

fn get(file: &File) -> Job {
    Job::Get { link: file.link.clone(), proved: Vec::new() }
}

/// Puts a file with a new client. Returns what it reports.
fn put_with(network: &mut Network, config: ClientConfig, file: &File) -> PutReport {
    let putter = network.add_client(config);
    network.start(putter, Job::Put(file.link.clone()));
    network.run(putter, file).put()
}

/// Gets a file with a new client, and checks its content.
fn get_with(network: &mut Network, config: ClientConfig, file: &File) {
    let getter = network.add_client(config);
    network.start(getter, get(file));
    network.run(getter, file).assert_restores(file);
}

/// Puts a file directly.
fn put(network: &mut Network, file: &File) {
    put_with(network, direct(0), file);
    // The stores list the last pieces.
    network.advance(Duration::from_secs(3));
}

/// Gets a file directly, and checks its content.
fn assert_readable(network: &mut Network, first: usize, file: &File) {
    let getter = network.add_client(direct(first));
    network.start(getter, get(file));
    network.run(getter, file).assert_restores(file);
}

/// Counts the pieces as one first hop shows them.
fn health(network: &mut Network, first: usize, file: &File) -> Health {
    let mut config = direct(first);
    config.verify = 0;
    let client = network.add_client(config);
    network.start(client, Job::Health(file.link.clone()));
    match network.run(client, file).last {
        Some(JobEvent::Checked(health)) => health,
        other => panic!("{other:?}"),
    }
}

/// Returns tags that the client takes for those of the file, and whose chunks are none.
fn forged_tags(file: &File) -> Vec<Tag> {
    let keys = file.link.chunk_keys();
    let forge = |index: u32| {
        let chunk = seal(&keys, index, &[1; SHARD], &Path::default(), HOUR + 20, [9; 12]);
        Chunk::parse(&chunk[..]).unwrap().tag()
    };
    (0..file.link.file().geometry.chunks()).map(forge).collect()
}

#[test]
fn a_file_is_put_and_got_directly() {
    let mut network = Network::of_stores(3);
    let file = File::new(300, 1, HOUR + 24);
    let putter = network.add_client(direct(0));
    network.start(putter, Job::Put(file.link.clone()));
    let put = network.run(putter, &file);
    let report = put.put();
    assert_eq!((report.pieces, report.towers, report.verified), (600, 3, 1));
    assert_eq!((report.republished, put.groups), (0, 2));
    assert_readable(&mut network, 2, &file);
}

#[test]
fn a_file_is_put_and_got_through_a_relay() {
    let mut network = Network::of_stores(5);
    let relay = network.add_fake(Conduct::Relay, &[0, 1, 2, 3, 4]);
    let other = network.add_fake(Conduct::Relay, &[0, 1, 2, 3, 4]);
    let file = File::new(93, 1, HOUR + 24);
    let putter = network.add_client(stem(&[relay, other]));
    network.start(putter, Job::Put(file.link.clone()));
    let report = network.run(putter, &file).put();
    assert_eq!((report.pieces, report.towers, report.verified), (186, 5, 1));
    let getter = network.add_client(stem(&[relay]));
    network.start(getter, get(&file));
    let got = network.run(getter, &file);
    got.assert_restores(&file);
    assert!(got.pieces.len() <= 93 + 8, "no more pieces are taken than are needed");
}

#[test]
fn a_file_is_put_and_got_through_stems_of_stores() {
    for stores in [1, 2, 3, 10] {
        let mut network = Network::of_stores(stores);
        // Each client draws another length of its stem.
        for number in 0..4 {
            let file = File::new(60, number, HOUR + 24);
            let putter = network.add_client(stem(&[0]));
            network.start(putter, Job::Put(file.link.clone()));
            let put = network.run(putter, &file);
            let report = put.put();
            assert_eq!(usize::from(report.verified), usize::from(stores > 1), "{stores} stores");
            assert!(report.seen > 0.9 && report.republished == 0, "{report:?}");
            let getter = network.add_client(stem(&[stores - 1]));
            network.start(getter, get(&file));
            network.run(getter, &file).assert_restores(&file);
            let getter = network.add_client(stem(&[stores - 1]));
            let missing = File::new(60, 100 + number, HOUR + 24);
            network.start(getter, get(&missing));
            let error = network.run(getter, &missing).error();
            let is_gone = match stores {
                1 => matches!(error, JobError::NotConfirmed { seen: 0, needed: 60 }),
                _ => matches!(error, JobError::Gone { seen: 0, agreed: 1, .. }),
            };
            assert!(is_gone, "{error:?}, {stores} stores, file {number}");
        }
    }
}

#[test]
fn a_file_survives_the_loss_of_four_of_ten_towers_and_not_of_six() {
    let mut network = Network::of_stores(10);
    let file = File::new(93, 1, HOUR + 24);
    put(&mut network, &file);
    (0..4).for_each(|number| network.kill(number));
    assert_readable(&mut network, 9, &file);
    (4..6).for_each(|number| network.kill(number));
    let getter = network.add_client(direct(9));
    network.start(getter, get(&file));
    let error = network.run(getter, &file).error();
    assert!(matches!(error, JobError::Gone { seen: 40..=92, needed: 93, .. }), "{error:?}");
}

#[test]
fn each_tower_gets_the_same_number_of_pieces() {
    for route in [Route::Stem, Route::Direct] {
        let mut network = Network::of_stores(10);
        let mut config = stem(&[0]);
        config.route = route;
        for seed in 0..5 {
            let file = File::new(93, seed, HOUR + 24);
            put_with(&mut network, config.clone(), &file);
        }
        // Pieces that do not rest have moved to random towers.
        network.advance(Duration::from_secs(60));
        let held = (0..10).map(|store| network.store(store).stats().held);
        let held: Vec<_> = held.collect();
        // 93 each, of which 9 went away and as many came.
        assert_eq!(held.iter().sum::<u64>(), 5 * 186);
        assert!(held.iter().all(|held| (75..=111).contains(held)), "{held:?}");
    }
}

#[test]
fn a_file_that_was_never_put_is_gone() {
    let mut network = Network::of_stores(3);
    let file = File::new(9, 1, HOUR + 24);
    let getter = network.add_client(direct(0));
    network.start(getter, get(&file));
    let before = network.now;
    let error = network.run(getter, &file).error();
    assert_eq!(error, JobError::Gone { seen: 0, needed: 9, visited: 3, known: 3, agreed: 1 });
    assert!(network.now.duration_since(before).as_secs() < 20);
    assert!(network.client(getter).poll_event().is_none());
    assert_eq!(network.client(getter).progress().phase, Phase::Idle);
}

#[test]
fn a_file_is_got_although_the_pieces_of_towers_that_left_are_not_listed_yet() {
    let every = Duration::from_secs(120);
    let mut settings = StoreConfig::default();
    settings.list_every = every;
    let routes = [Route::Stem, Route::Direct];
    for (route, is_health) in routes.into_iter().flat_map(|it| [(it, false), (it, true)]) {
        let mut network = Network::of_stores_with(5, &config(), &settings);
        let file = File::new(93, 1, HOUR + 24);
        let mut unverified = direct(0);
        unverified.verify = 0;
        put_with(&mut network, unverified, &file);
        let rest = |network: &Network| {
            let late = u128::from(network.now.as_nanos()) % every.as_nanos();
            every - Duration::from_nanos(u64::try_from(late).unwrap())
        };
        network.advance(rest(&network));
        network.leave(2..5);
        // Five seconds later, the others list what they got.
        network.advance(rest(&network) - Duration::from_secs(5));
        let relays: Vec<_> = (0..2).map(|_| network.add_fake(Conduct::Relay, &[0, 1])).collect();
        let mut config = stem(&relays);
        config.route = route;
        let client = network.add_client(config);
        let job = if is_health { Job::Health(file.link.clone()) } else { get(&file) };
        network.start(client, job);
        let outcomes = network.run(client, &file);
        match outcomes.last {
            Some(JobEvent::Checked(health)) => assert_eq!(health.state, HealthState::Safe),
            _ => outcomes.assert_restores(&file),
        }
    }
}

#[test]
fn a_file_is_got_while_its_pieces_move() {
    // Each piece moves each second, and is listed for less than half of the time.
    let (mut fast, mut settings) = (config(), StoreConfig::default());
    fast.send_rate = clacks_proto::SendRate::per_second(200);
    settings.hold = Duration::from_secs(1);
    for route in [Route::Stem, Route::Direct] {
        let mut network = Network::of_stores_with(2, &fast, &settings);
        let file = File::new(93, 1, HOUR + 24);
        let mut config = stem(&[0]);
        config.route = route;
        put_with(&mut network, config.clone(), &file);
        get_with(&mut network, config, &file);
    }
}

#[test]
fn a_file_is_got_from_a_tower_that_answers_late() {
    for route in [Route::Stem, Route::Direct] {
        for late in [10, 40, 70] {
            let mut network = Network::of_stores(2);
            let file = File::new(93, 1, HOUR + 24);
            put(&mut network, &file);
            let mut config = stem(&[0]);
            config.route = route;
            let getter = network.add_client(config);
            network.start(getter, get(&file));
            assert!(matches!(network.event(getter), JobEvent::Forecast(_)));
            let now = network.now;
            network.stop(1);
            network.client(getter).proceed(now);
            network.advance(Duration::from_secs(late));
            network.go_on(1);
            network.run(getter, &file).assert_restores(&file);
        }
    }
}

#[test]
fn towers_that_lie_only_make_a_get_slower() {
    let file = File::new(93, 1, HOUR + 24);
    let forged = forged_tags(&file);
    for conduct in [Conduct::Forge(forged.clone()), Conduct::Silent(forged), Conduct::Mute] {
        let mut network = Network::of_stores(4);
        put(&mut network, &file);
        // A first hop that names three liars among the stores.
        let liars: Vec<_> = (0..3).map(|_| network.add_fake(conduct.clone(), &[])).collect();
        let all = [&liars[..], &[0, 1, 2, 3]].concat();
        let relay = network.add_fake(Conduct::Relay, &all);
        get_with(&mut network, direct(relay), &file);
        for liar in liars {
            // One list, one fetch of four chunks, and the request for peers of a second look.
            let requests = network.fake(liar).requests;
            assert!(requests <= 8, "{conduct:?}: asked {requests} times");
        }
    }
}

#[test]
fn a_resumed_get_takes_only_the_rest() {
    let mut network = Network::of_stores(3);
    let file = File::new(93, 1, HOUR + 24);
    put(&mut network, &file);
    let getter = network.add_client(direct(1));
    let proved: Vec<u32> = (100..160).collect();
    network.start(getter, Job::Get { link: file.link.clone(), proved: proved.clone() });
    let got = network.run(getter, &file);
    assert!(matches!(got.last, Some(JobEvent::Got)), "{:?}", got.last);
    assert!((33..=33 + 8).contains(&got.pieces.len()), "{} pieces", got.pieces.len());
    assert!(got.pieces.iter().all(|(piece, _)| !proved.contains(&piece.index())));
}

#[test]
fn pieces_that_are_not_polled_hold_up_a_get() {
    let mut network = Network::of_stores(3);
    let file = File::new(250, 1, HOUR + 24);
    put(&mut network, &file);
    let getter = network.add_client(direct(1));
    network.start(getter, get(&file));
    assert!(matches!(network.event(getter), JobEvent::Forecast(_)));
    let now = network.now;
    network.client(getter).proceed(now);
    network.advance(Duration::from_secs(100));
    assert_eq!(network.client(getter).progress().pieces, 128);
    assert!(network.client(getter).has_event());
    network.run(getter, &file).assert_restores(&file);
}

#[test]
fn a_file_too_large_for_the_room_is_refused() {
    let mut small = config();
    small.max_queue_messages = 100;
    let mut network = Network::of_stores_with(3, &small, &StoreConfig::default());
    let file = File::new(93, 1, HOUR + 24);
    let putter = network.add_client(direct(0));
    network.start(putter, Job::Put(file.link.clone()));
    let put = network.run(putter, &file);
    let refusal = Refusal::NoRoom { chunks: 186, room: 180 };
    assert_eq!(put.error(), JobError::Refused(refusal));
    assert_eq!((put.forecast.unwrap().refusal, put.groups), (Some(refusal), 0));
    // A patient client tries. Stores that fill up take only pieces that end soon.
    let mut patient = direct(0);
    patient.patient = true;
    for (hours, error) in [(24, JobError::TooLong), (1, JobError::Full)] {
        let file = File::new(93, 1, HOUR + hours);
        let putter = network.add_client(patient.clone());
        network.start(putter, Job::Put(file.link.clone()));
        assert_eq!(network.run(putter, &file).error(), error);
    }
}

#[test]
fn a_keeper_repairs_what_leaves_with_its_towers() {
    let mut network = Network::of_stores(10);
    let file = File::new(300, 1, HOUR + 24);
    put(&mut network, &file);
    let keeper = network.add_client(direct(9));
    network.start(keeper, Job::Keep(file.link.clone()));
    let next = |network: &mut Network| match network.event(keeper) {
        JobEvent::Checked(health) => health,
        event => panic!("{event:?}"),
    };
    let first = next(&mut network);
    assert_eq!((first.state, first.seen), (HealthState::Safe, 600));
    assert_eq!(first.proved, first.sampled);
    // One in twenty, and two of each group of each tower.
    assert!((50..=100).contains(&first.sampled), "a sample of {}", first.sampled);
    (0..3).for_each(|number| network.kill(number));
    let damaged = next(&mut network);
    assert!((360..=480).contains(&damaged.seen), "{damaged:?}");
    let mut released = BTreeMap::new();
    for _ in 0..2 {
        match network.event(keeper) {
            JobEvent::Repaired(repair) => _ = released.insert(repair.group, repair),
            event => panic!("{event:?}"),
        }
    }
    assert!(released.values().all(|repair| (40..=150).contains(&repair.released)));
    assert!(released.values().all(|repair| repair.taken == 150));
    // As many as were missing were released.
    let repaired = next(&mut network);
    let expected = damaged.seen + released.values().map(|repair| repair.released).sum::<u32>();
    assert_eq!(repaired.seen, expected);
    assert!(repaired.alive > 0.95, "{repaired:?}");
    assert_readable(&mut network, 5, &file);
    assert!(network.client(keeper).progress().phase == Phase::Waiting);
}

#[test]
fn a_keeper_checks_often_until_it_knows_how_fast_pieces_are_lost() {
    let mut network = Network::of_stores(4);
    let file = File::new(9, 1, HOUR + 24);
    put(&mut network, &file);
    let keeper = network.add_client(direct(1));
    network.start(keeper, Job::Keep(file.link.clone()));
    let mut pauses = Vec::new();
    let mut last = None;
    for _ in 0..18 {
        assert!(matches!(network.event(keeper), JobEvent::Checked(_)));
        pauses.extend(last.map(|last| network.now.duration_since(last).as_secs() / 60));
        last = Some(network.now);
    }
    // 2 minutes, a quarter longer each time, and at last 30, each times 0.5 to 1.5.
    assert!(pauses[..5].iter().all(|pause| *pause <= 7), "{pauses:?}");
    assert!(pauses[13..].iter().all(|pause| (15..=45).contains(pause)), "{pauses:?}");
}

#[test]
fn a_keeper_renews_pieces_before_they_end() {
    let mut network = Network::of_stores(4);
    let file = File::new(9, 1, HOUR + 4);
    put(&mut network, &file);
    let keeper = network.add_client(direct(1));
    network.start(keeper, Job::Keep(file.link.clone()));
    assert!(matches!(network.event(keeper), JobEvent::Checked(_)));
    match network.event(keeper) {
        JobEvent::Repaired(repair) => {
            assert_eq!((repair.released, repair.until), (40, HOUR + 24));
        }
        event => panic!("{event:?}"),
    }
    network.advance(Duration::from_secs(6 * 3_600));
    assert_readable(&mut network, 2, &file);
}

/// Returns ten stores that have room for 400 messages each, and a file in them.
fn small_stores(file: &File) -> Network {
    let mut small = config();
    small.max_queue_messages = 400;
    let mut network = Network::of_stores_with(10, &small, &StoreConfig::default());
    put(&mut network, file);
    network
}

/// Lets each store hold this number of messages, which end after a time.
fn fill(network: &mut Network, stores: usize, messages: usize, lifetime: Duration) {
    let now = network.now;
    for number in 0..stores {
        let tower = network.nodes[number].tower_mut();
        for count in tower.queue_usage().messages..messages {
            let options = EnqueueOptions { lifetime: Some(lifetime), hold: lifetime };
            let message = Message::text(&format!("message {count} of {number}"));
            tower.enqueue_with(message, options, now).unwrap();
        }
    }
    network.settle();
}

/// Waits for the next repair of a keeper, which must have no trouble. Returns how many hours the
/// new pieces last.
fn repair(network: &mut Network, keeper: usize) -> u64 {
    loop {
        match network.event(keeper) {
            JobEvent::Checked(_) => {}
            JobEvent::Repaired(repair) => {
                let now = (UNIX + network.now.as_nanos() / 1_000_000_000) / 3_600;
                return u64::from(repair.until) - now;
            }
            event => panic!("{event:?}"),
        }
    }
}

#[test]
fn a_keeper_shortens_the_life_of_pieces_at_once_when_stores_are_full() {
    let file = File::new(93, 1, HOUR + 24);
    let mut network = small_stores(&file);
    fill(&mut network, 10, 180, Duration::from_secs(1_200));
    let keeper = network.add_client(direct(9));
    network.start(keeper, Job::Keep(file.link.clone()));
    assert!(matches!(network.event(keeper), JobEvent::Checked(_)));
    (0..3).for_each(|number| network.kill(number));
    let first = repair(&mut network, keeper);
    assert!((2..=12).contains(&first), "{first} hours");
    // The stores become emptier, and new pieces last longer again.
    network.advance(Duration::from_secs(1_200));
    network.kill(3);
    let second = repair(&mut network, keeper);
    assert_eq!(second, first * 2);
}

#[test]
fn a_keeper_keeps_a_file_in_stores_that_a_flood_keeps_full() {
    let file = File::new(9, 1, HOUR + 4);
    let mut network = small_stores(&file);
    fill(&mut network, 10, 240, Duration::from_secs(24 * 3_600));
    let keeper = network.add_client(direct(9));
    network.start(keeper, Job::Keep(file.link.clone()));
    assert_eq!(repair(&mut network, keeper), 2);
    let end = network.now + Duration::from_secs(20 * 3_600);
    while network.now < end {
        match network.event(keeper) {
            JobEvent::Checked(health) => assert!(health.alive > 0.9, "{health:?}"),
            JobEvent::Repaired(_) => {}
            event => panic!("{event:?}"),
        }
    }
    assert_readable(&mut network, 2, &file);
}

#[test]
fn a_first_hop_that_drops_pieces_is_noticed() {
    let mut network = Network::of_stores(5);
    let stores = [0, 1, 2, 3, 4];
    let dropper = network.add_fake(Conduct::Drop, &stores);
    let honest = network.add_fake(Conduct::Relay, &stores);
    let third = network.add_fake(Conduct::Relay, &stores);
    let file = File::new(93, 1, HOUR + 24);
    let putter = network.add_client(stem(&[dropper, honest, third]));
    network.start(putter, Job::Put(file.link.clone()));
    let put = network.run(putter, &file);
    let report = put.put();
    assert_eq!((report.republished, put.republished, put.groups), (186, 186, 2));
    assert_eq!((report.verified, report.towers), (1, 5));
    assert_readable(&mut network, 3, &file);
}

#[test]
fn a_first_hop_that_drops_pieces_and_lists_them_is_noticed() {
    let mut network = Network::of_stores(5);
    let stores = [0, 1, 2, 3, 4];
    let dropper = network.add_fake(Conduct::DropAndList(Vec::new()), &stores);
    let all: Vec<_> = stores.into_iter().chain([dropper]).collect();
    let honest = network.add_fake(Conduct::Relay, &all);
    let third = network.add_fake(Conduct::Relay, &all);
    let file = File::new(93, 1, HOUR + 24);
    let putter = network.add_client(stem(&[dropper, honest, third]));
    network.start(putter, Job::Put(file.link.clone()));
    let report = network.run(putter, &file).put();
    // All pieces, and then those that the other hop gave to the dropper.
    assert!((200..=300).contains(&report.republished), "{report:?}");
    assert_eq!((report.verified, report.towers), (1, 5));
    assert_readable(&mut network, 3, &file);
}

#[test]
fn a_put_that_no_other_hop_sees_fails() {
    let mut network = Network::of_stores(2);
    let droppers: Vec<_> = (0..5).map(|_| network.add_fake(Conduct::Drop, &[0, 1])).collect();
    let file = File::new(9, 1, HOUR + 24);
    let putter = network.add_client(stem(&droppers));
    network.start(putter, Job::Put(file.link.clone()));
    assert_eq!(network.run(putter, &file).error(), JobError::NotSeen);
}

#[test]
fn a_first_hop_that_hides_a_file_does_not_make_it_gone() {
    let mut network = Network::of_stores(5);
    let file = File::new(93, 1, HOUR + 24);
    put(&mut network, &file);
    let stores = [0, 1, 2, 3, 4];
    let hider = network.add_fake(Conduct::Hide, &stores);
    let honest = network.add_fake(Conduct::Relay, &stores);
    let getter = network.add_client(stem(&[hider, honest]));
    network.start(getter, get(&file));
    network.run(getter, &file).assert_restores(&file);
}

#[test]
fn the_end_of_a_stem_does_not_choose_other_first_hops() {
    let mut network = Network::of_stores(3);
    let stores = [0, 1, 2];
    let accomplices: Vec<_> = (0..3).map(|_| network.add_fake(Conduct::Hide, &stores)).collect();
    let end = network.add_fake(Conduct::Hide, &accomplices);
    let first = network.add_fake(Conduct::Relay, &stores);
    network.fake(first).stem = Some(address(end));
    let file = File::new(9, 1, HOUR + 24);
    put(&mut network, &file);
    // Half of the stems are longer than one hop.
    for _ in 0..8 {
        get_with(&mut network, stem(&[first]), &file);
    }
    assert!(network.fake(end).relays > 0);
    for accomplice in accomplices {
        assert_eq!(network.fake(accomplice).relays, 0);
    }
}

#[test]
fn a_file_is_not_gone_if_the_other_towers_named_are_dead() {
    let mut network = Network::of_stores(3);
    let file = File::new(9, 1, HOUR + 24);
    put(&mut network, &file);
    let dead: Vec<_> = (0..3).map(|_| network.add_fake(Conduct::Mute, &[])).collect();
    dead.iter().for_each(|number| network.kill(*number));
    let hider = network.add_fake(Conduct::Hide, &dead);
    let all: Vec<_> = [hider].into_iter().chain(dead).collect();
    let getter = network.add_client(stem(&all));
    network.start(getter, get(&file));
    let error = network.run(getter, &file).error();
    assert_eq!(error, JobError::NotConfirmed { seen: 0, needed: 9 });
}

#[test]
fn a_first_hop_that_hides_a_file_does_not_make_it_lost() {
    let mut network = Network::of_stores(3);
    let file = File::new(93, 1, HOUR + 24);
    put(&mut network, &file);
    let hider = network.add_fake(Conduct::Hide, &[0, 1, 2]);
    let client = network.add_client(stem(&[hider]));
    network.start(client, Job::Health(file.link.clone()));
    match network.run(client, &file).last {
        Some(JobEvent::Checked(health)) => assert_eq!(health.state, HealthState::Safe),
        other => panic!("{other:?}"),
    }
    let alone = network.add_fake(Conduct::Hide, &[]);
    let client = network.add_client(stem(&[alone]));
    network.start(client, Job::Health(file.link.clone()));
    let error = network.run(client, &file).error();
    assert_eq!(error, JobError::NotConfirmed { seen: 0, needed: 93 });
}

#[test]
fn a_first_hop_that_passes_nothing_on_is_named() {
    let mut network = Network::of_stores(3);
    let file = File::new(93, 1, HOUR + 24);
    put(&mut network, &file);
    let loser = network.add_fake(Conduct::Lose, &[0, 1, 2]);
    let other = File::new(9, 2, HOUR + 24);
    for (job, file) in
        [(Job::Put(other.link.clone()), &other), (Job::Health(file.link.clone()), &file)]
    {
        let client = network.add_client(stem(&[loser]));
        network.start(client, job);
        assert_eq!(network.run(client, file).error(), JobError::NoRelay);
    }
}

#[test]
fn one_key_gives_one_other_first_hop() {
    for (order, range) in [(Some([7; 16]), 1..=1), (None, 2..=5)] {
        let mut network = Network::of_stores(3);
        let others: Vec<_> = (0..5).map(|_| network.add_fake(Conduct::Relay, &[0, 1, 2])).collect();
        let first = network.add_fake(Conduct::Relay, &others);
        let end = network.add_fake(Conduct::Relay, &[0, 1, 2]);
        network.fake(first).stem = Some(address(end));
        let mut config = stem(&[first]);
        (config.order, config.first_hop) = (order, FirstHop::Own);
        for seed in 0..8 {
            let file = File::new(9, seed, HOUR + 24);
            let putter = network.add_client(config.clone());
            network.start(putter, Job::Put(file.link.clone()));
            assert_eq!(network.run(putter, &file).put().verified, 1);
        }
        let seen = others.iter().filter(|other| network.fake(**other).relays > 0).count();
        assert!(range.contains(&seen), "{seen} towers saw the client");
    }
}

#[test]
fn an_own_tower_passes_each_request_on_to_another_one() {
    let mut network = Network::of_stores(3);
    let end = network.add_fake(Conduct::Relay, &[0, 1, 2]);
    let own = network.add_fake(Conduct::Relay, &[0, 1, 2]);
    network.fake(own).stem = Some(address(end));
    let mut config = stem(&[own]);
    // The second tower passes requests on to any other tower.
    config.verify = 0;
    for first_hop in [FirstHop::Own, FirstHop::Foreign] {
        config.first_hop = first_hop;
        for seed in 0..8 {
            let file = File::new(9, seed, HOUR + 24);
            put_with(&mut network, config.clone(), &file);
        }
        let shortest = if first_hop == FirstHop::Own { 2 } else { 1 };
        assert_eq!(network.fake(own).shortest_stem, Some(shortest));
    }
}

#[test]
fn addresses_are_asked_for_again_when_the_next_hop_may_have_ended() {
    let mut network = Network::of_stores(3);
    let hop = network.add_fake(Conduct::Relay, &[0, 1, 2]);
    for seed in 0..8 {
        network.fake(hop).loses_peers = 3;
        let file = File::new(9, seed, HOUR + 24);
        let putter = network.add_client(stem(&[hop]));
        let start = network.now;
        network.start(putter, Job::Put(file.link.clone()));
        network.run(putter, &file).put();
        let time = network.now.duration_since(start);
        assert!(time < Duration::from_secs(12), "{time:?}");
    }
}

#[test]
fn an_own_tower_without_others_asks_by_itself() {
    let mut network = Network::of_stores(1);
    let mut config = stem(&[0]);
    config.first_hop = FirstHop::Own;
    let file = File::new(9, 1, HOUR + 24);
    put_with(&mut network, config.clone(), &file);
    get_with(&mut network, config, &file);
}

#[test]
fn a_wrong_clock_is_named() {
    let mut network = Network::of_stores(3);
    for (wrong, ahead) in [(UNIX - 2 * 86_400, 2_880), (UNIX + 2 * 86_400, -2_880)] {
        let hour = u32::try_from(wrong / 3_600).unwrap();
        let file = File::new(9, 1, hour + 24);
        let putter = network.add_client_at(direct(0), wrong);
        network.start(putter, Job::Put(file.link.clone()));
        let put = network.run(putter, &file);
        assert_eq!(put.error(), JobError::Clock { minutes: Some(ahead) });
        assert_eq!(put.clock, Some(ahead));
    }
}

#[test]
fn a_difference_of_clocks_is_reported_if_towers_behind_two_first_hops_agree() {
    let put = |ahead: i64, liar: usize| {
        let mut network = Network::of_stores(5);
        let stores = [0, 1, 2, 3, 4];
        let hops = [(); 3].map(|()| network.add_fake(Conduct::Relay, &stores));
        let file = File::new(9, 1, HOUR + 10);
        let config = stem(&[hops[liar], hops[(liar + 1) % 3], hops[(liar + 2) % 3]]);
        let putter = network.add_client_at(config, UNIX.strict_add_signed(-ahead));
        network.start(putter, Job::Put(file.link.clone()));
        let put = network.run(putter, &file);
        put.put();
        put.clock
    };
    assert_eq!(put(20 * 60, 0), Some(20));
    assert_eq!(put(-20 * 60, 1), Some(-20));
    assert_eq!(put(4 * 60, 0), None, "clocks may differ a little");
    assert_eq!(put(0, 0), None);
}

#[test]
fn one_tower_can_not_make_a_clock_look_wrong() {
    let mut network = Network::of_stores(3);
    let stores = [0, 1, 2];
    // The first hop shows inventories of its own, each with a clock that is wrong.
    let liar = network.add_fake(Conduct::Hide, &stores);
    network.fake(liar).clock_ahead = 90;
    let honest = network.add_fake(Conduct::Relay, &stores);
    let missing = File::new(9, 1, HOUR + 10);
    let getter = network.add_client(stem(&[liar, honest]));
    network.start(getter, get(&missing));
    let got = network.run(getter, &missing);
    assert!(matches!(got.error(), JobError::Gone { agreed: 1, .. }), "{:?}", got.last);
    assert_eq!(got.clock, None);
    // A store that lies among others, and is asked directly.
    let forger = network.add_fake(Conduct::Forge(Vec::new()), &[]);
    network.fake(forger).clock_ahead = -90;
    let relay = network.add_fake(Conduct::Relay, &[0, 1, 2, forger]);
    let getter = network.add_client(direct(relay));
    network.start(getter, get(&missing));
    assert_eq!(network.run(getter, &missing).clock, None);
}

#[test]
fn pieces_end_with_their_file_or_a_little_earlier() {
    for (hours, earliest) in [(0, 0), (1, 1), (4, 3), (24, 22)] {
        let mut network = Network::of_stores(2);
        let file = File::new(60, 1, HOUR + hours);
        let putter = network.add_client(direct(0));
        network.start(putter, Job::Put(file.link.clone()));
        let report = network.run(putter, &file).put();
        assert_eq!(report.first_end, HOUR + earliest);
        let untils = |store: usize, network: &mut Network| -> Vec<u32> {
            network.store(store).inventory().map(|(_, until)| until).collect()
        };
        let all = [untils(0, &mut network), untils(1, &mut network)].concat();
        let (first, last) = (all.iter().min(), all.iter().max());
        assert_eq!((first, last), (Some(&(HOUR + earliest)), Some(&(HOUR + hours))));
    }
}

#[test]
fn a_file_that_changes_while_it_is_put_is_an_error() {
    let mut network = Network::of_stores(2);
    let (file, mut other) = (File::new(9, 1, HOUR + 24), File::new(9, 2, HOUR + 24));
    for has_right_roots in [false, true] {
        if has_right_roots {
            other.roots = file.roots.clone();
        }
        let putter = network.add_client(direct(0));
        network.start(putter, Job::Put(file.link.clone()));
        assert_eq!(network.run(putter, &other).error(), JobError::Changed);
    }
}

#[test]
fn health_is_safe_thin_or_lost() {
    let mut network = Network::of_stores(10);
    let file = File::new(93, 1, HOUR + 24);
    put(&mut network, &file);
    let safe = health(&mut network, 9, &file);
    assert_eq!((safe.state, safe.seen), (HealthState::Safe, 186));
    assert!((0.0..0.15).contains(&safe.error), "the error of a sample: {safe:?}");
    assert!((safe.alive, safe.needed) == (1.0, 0.5) && (0.60..0.62).contains(&safe.safe));
    assert!(safe.life > Duration::from_secs(3_600), "{safe:?}");
    (0..6).for_each(|number| network.kill(number));
    // The towers need a while to notice who is gone.
    network.advance(Duration::from_secs(60));
    let lost = health(&mut network, 9, &file);
    assert_eq!(lost.state, HealthState::Lost, "{lost:?}");
    assert_eq!(lost.life, Duration::ZERO);
}

#[test]
fn forged_tags_do_not_make_a_dying_file_look_healthy() {
    let mut network = Network::of_stores(5);
    let file = File::new(93, 1, HOUR + 24);
    put(&mut network, &file);
    (0..3).for_each(|number| network.kill(number));
    let forger = network.add_fake(Conduct::Forge(forged_tags(&file)), &[3, 4]);
    let health = health(&mut network, forger, &file);
    assert!(health.proved > 0 && health.alive < 0.6, "{health:?}");
    assert_eq!(health.state, HealthState::Lost);
}

/// Returns what all stores list.
fn inventories(network: &mut Network, stores: usize) -> Vec<(Tag, u32)> {
    (0..stores).flat_map(|store| network.store(store).inventory().collect::<Vec<_>>()).collect()
}

#[test]
fn copied_lists_do_not_make_a_dying_file_look_healthy() {
    let mut network = Network::of_stores(10);
    let file = File::new(93, 1, HOUR + 24);
    put(&mut network, &file);
    let entries = inventories(&mut network, 10);
    (0..7).for_each(|number| network.kill(number));
    for conduct in [Conduct::Gone(entries.clone()), Conduct::Silent(untimed(&entries))] {
        let liar = network.add_fake(conduct, &[7, 8, 9]);
        let health = health(&mut network, liar, &file);
        assert_eq!(health.state, HealthState::Lost, "{health:?}");
        assert!(health.alive < 0.4 && health.proved < health.sampled, "{health:?}");
        assert!(health.seen < 80, "{health:?}");
    }
}

fn untimed(entries: &[(Tag, u32)]) -> Vec<Tag> {
    entries.iter().map(|(tag, _)| *tag).collect()
}

#[test]
fn junk_of_an_owner_of_the_keys_does_not_make_a_dying_file_look_healthy() {
    let mut network = Network::of_stores(10);
    let file = File::new(93, 1, HOUR + 24);
    put(&mut network, &file);
    (0..6).for_each(|number| network.kill(number));
    let junk = network.add_fake(Conduct::Relay, &[]);
    let keys = file.link.chunk_keys();
    for index in 0..186 {
        let chunk = seal(&keys, index, &[1; SHARD], &Path::default(), HOUR + 20, [9; 12]);
        let store = address(6 + index as usize % 4);
        network.publish(junk, &store, &chunk);
    }
    network.advance(Duration::from_secs(5));
    let health = health(&mut network, 6, &file);
    assert!(health.proved > 0 && health.proved < health.sampled, "{health:?}");
    assert!(health.state != HealthState::Safe && health.alive < 0.6, "{health:?}");
}

#[test]
fn a_file_of_which_nothing_is_proved_is_not_safe() {
    let mut network = Network::of_stores(1);
    let file = File::new(9, 1, HOUR + 24);
    put(&mut network, &file);
    let entries = inventories(&mut network, 1);
    network.kill(0);
    let liar = network.add_fake(Conduct::Gone(entries), &[]);
    let health = health(&mut network, liar, &file);
    assert_eq!((health.state, health.proved), (HealthState::Lost, 0), "{health:?}");
}

#[test]
fn a_keeper_repairs_a_file_although_a_liar_lists_all_of_it() {
    let mut network = Network::of_stores(10);
    let file = File::new(93, 1, HOUR + 24);
    put(&mut network, &file);
    let entries = inventories(&mut network, 10);
    (0..4).for_each(|number| network.kill(number));
    let liar = network.add_fake(Conduct::Gone(entries), &[4, 5, 6, 7, 8, 9]);
    let keeper = network.add_client(direct(liar));
    network.start(keeper, Job::Keep(file.link.clone()));
    assert!(matches!(network.event(keeper), JobEvent::Checked(_)));
    match network.event(keeper) {
        JobEvent::Repaired(repair) => assert!(repair.released > 50, "{repair:?}"),
        event => panic!("{event:?}"),
    }
}

#[test]
fn a_keeper_renews_pieces_although_a_liar_lists_later_hours() {
    for has_chunks in [false, true] {
        let mut network = Network::of_stores(1);
        let file = File::new(60, 1, HOUR + 4);
        put(&mut network, &file);
        let mut entries = inventories(&mut network, 1);
        // Even an hour that no text can express.
        entries.iter_mut().for_each(|(_, until)| *until = HOUR + 24);
        entries[0].1 = u32::MAX;
        let conduct = if has_chunks { Conduct::Copy(entries) } else { Conduct::Gone(entries) };
        let liar = network.add_fake(conduct, &[0]);
        let keeper = network.add_client(direct(liar));
        network.start(keeper, Job::Keep(file.link.clone()));
        match network.event(keeper) {
            JobEvent::Checked(health) => assert_eq!(health.last_end, HOUR + 4, "{health:?}"),
            event => panic!("{event:?}"),
        }
        match network.event(keeper) {
            JobEvent::Repaired(repair) => assert_eq!(repair.released, 120),
            event => panic!("{event:?}"),
        }
    }
}

#[test]
fn the_next_first_hop_is_used_when_the_first_one_is_gone() {
    let mut network = Network::of_stores(3);
    let file = File::new(9, 1, HOUR + 24);
    put(&mut network, &file);
    let relay = network.add_fake(Conduct::Relay, &[0, 1, 2]);
    network.kill(0);
    get_with(&mut network, stem(&[0, relay]), &file);
    let alone = network.add_client(stem(&[0]));
    network.start(alone, get(&file));
    let before = network.now;
    assert_eq!(network.run(alone, &file).error(), JobError::Unreachable);
    assert!(network.now.duration_since(before) < Duration::from_secs(20));
}

#[test]
fn a_first_hop_that_ends_while_pieces_are_published_is_replaced() {
    let mut network = Network::of_stores(4);
    let stores = [0, 1, 2, 3];
    let relays: Vec<_> = (0..3).map(|_| network.add_fake(Conduct::Relay, &stores)).collect();
    let file = File::new(300, 1, HOUR + 24);
    let putter = network.add_client(stem(&relays));
    network.start(putter, Job::Put(file.link.clone()));
    assert!(matches!(network.event(putter), JobEvent::Forecast(_)));
    let now = network.now;
    network.client(putter).proceed(now);
    assert!(matches!(network.event(putter), JobEvent::NeedGroup(0)));
    let group = file.groups[0].clone();
    network.client(putter).supply(group, &file.roots, now);
    assert!(matches!(network.event(putter), JobEvent::NeedGroup(1)));
    network.kill(relays[0]);
    let group = file.groups[1].clone();
    network.client(putter).supply(group, &file.roots, now);
    network.run(putter, &file).put();
    assert_readable(&mut network, 0, &file);
}

#[test]
fn a_first_hop_that_ends_while_pieces_are_taken_is_replaced() {
    let mut network = Network::of_stores(4);
    let stores = [0, 1, 2, 3];
    let relays: Vec<_> = (0..2).map(|_| network.add_fake(Conduct::Relay, &stores)).collect();
    let file = File::new(250, 1, HOUR + 24);
    put(&mut network, &file);
    let getter = network.add_client(stem(&relays));
    network.start(getter, get(&file));
    assert!(matches!(network.event(getter), JobEvent::Forecast(_)));
    let now = network.now;
    network.client(getter).proceed(now);
    // The window is full of pieces that were not polled, and others are under way.
    network.advance(Duration::from_secs(1));
    network.kill(relays[0]);
    let before = network.now;
    network.run(getter, &file).assert_restores(&file);
    assert!(network.now.duration_since(before) < Duration::from_secs(30));
}

#[test]
fn a_job_without_progress_ends() {
    let mut network = Network::of_stores(1);
    let relay = network.add_fake(Conduct::TooFast, &[0]);
    let file = File::new(1, 1, HOUR + 24);
    let putter = network.add_client(stem(&[relay]));
    network.start(putter, Job::Put(file.link.clone()));
    let before = network.now;
    assert_eq!(network.run(putter, &file).error(), JobError::Stalled);
    let passed = network.now.duration_since(before).as_secs();
    assert!((600..660).contains(&passed), "{passed} s");
    // An application may take its time.
    let putter = network.add_client(direct(0));
    network.start(putter, Job::Put(file.link.clone()));
    assert!(matches!(network.event(putter), JobEvent::Forecast(_)));
    network.advance(Duration::from_secs(700));
    let now = network.now;
    network.client(putter).proceed(now);
    assert!(matches!(network.event(putter), JobEvent::NeedGroup(0)));
    network.advance(Duration::from_secs(700));
    assert!(!network.client(putter).has_event());
    assert_eq!(network.client(putter).progress().phase, Phase::Publishing);
}

#[test]
fn a_cancelled_job_ends_at_once() {
    let mut network = Network::of_stores(2);
    let file = File::new(9, 1, HOUR + 24);
    let getter = network.add_client(direct(0));
    network.start(getter, get(&file));
    let now = network.now;
    network.client(getter).cancel(now);
    assert!(matches!(network.event(getter), JobEvent::Failed(JobError::Cancelled)));
    network.advance(Duration::from_secs(60));
    assert!(!network.client(getter).has_event());
    // The client can do another job.
    put(&mut network, &file);
    network.start(getter, get(&file));
    network.run(getter, &file).assert_restores(&file);
}

#[test]
fn debug_output_contains_no_secret() {
    let file = File::new(9, 0xAB, HOUR + 24);
    let text = format!("{:?} {:?}", Job::Put(file.link.clone()), get(&file));
    assert!(text.contains("KeepSecret(..)") && !text.contains("171, 171"), "{text}");
}

/// What happened in a network that a seed determines.
fn trace(seed: u8) -> Vec<String> {
    let mut network = Network::of_stores(4);
    let file = File::new(60, seed, HOUR + 24);
    let mut trace = Vec::new();
    for job in [Job::Put(file.link.clone()), get(&file), Job::Health(file.link.clone())] {
        let client = network.add_client(stem(&[0]));
        network.start(client, job);
        let outcomes = network.run(client, &file);
        trace.push(format!("{} {:?}", network.now, outcomes.last));
        trace.extend(outcomes.pieces.iter().map(|(piece, _)| format!("{piece:?}")));
    }
    trace
}

#[test]
fn the_same_seed_gives_the_same_events() {
    assert_eq!(trace(1), trace(1));
    assert_ne!(trace(1), trace(2));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// The promise of the client: a get ends with the file if enough pieces can be reached,
    /// whatever other towers do, and with an error else.
    #[test]
    fn a_get_ends_with_the_file_or_an_error(
        shards in 1u32..120,
        stores in 3usize..8,
        killed in 0usize..5,
        liars in prop::collection::vec(0u8..4, 0..4),
        is_direct: bool,
    ) {
        let mut network = Network::of_stores(stores);
        let file = File::new(shards, 1, HOUR + 24);
        put(&mut network, &file);
        let forged = forged_tags(&file);
        let conduct = |liar| match liar {
            0 => Conduct::Forge(forged.clone()),
            1 => Conduct::Silent(forged.clone()),
            2 => Conduct::Mute,
            _ => Conduct::Hide,
        };
        let liars: Vec<_> =
            liars.into_iter().map(|liar| network.add_fake(conduct(liar), &[])).collect();
        let all: Vec<_> = liars.into_iter().chain(0..stores).collect();
        let relays: Vec<_> = (0..2).map(|_| network.add_fake(Conduct::Relay, &all)).collect();
        (0..killed.min(stores)).for_each(|number| network.kill(number));
        let reachable: std::collections::BTreeSet<u32> = (killed.min(stores)..stores)
            .flat_map(|number| {
                let keys = file.link.chunk_keys();
                let tags: Vec<_> = network.store(number).inventory().collect();
                tags.into_iter().filter_map(move |(tag, _)| tag.recognise(&keys))
            })
            .collect();
        let mut config = stem(&relays);
        if is_direct {
            config.route = Route::Direct;
        }
        let getter = network.add_client(config);
        network.start(getter, get(&file));
        let outcomes = network.run(getter, &file);
        if reachable.len() >= file.link.file().geometry.data() as usize {
            outcomes.assert_restores(&file);
        } else {
            let error = outcomes.error();
            let is_expected = matches!(error, JobError::Gone { .. } | JobError::NoStore);
            prop_assert!(is_expected, "{error:?}");
        }
    }
}

/// Starts to listen at a store. What the store holds already counts.
fn listen(network: &mut Network, at: usize, file: &File, proved: Vec<u32>) {
    let mut listener = Listener::new(&file.link, proved);
    let held: Vec<_> = network.store(at).tower().peek().collect();
    network.heard.extend(held.iter().filter_map(|held| listener.take(&held.message)));
    network.listener = Some((at, listener));
}

fn listener(network: &Network) -> &Listener {
    &network.listener.as_ref().unwrap().1
}

#[test]
fn a_listener_collects_a_file_without_a_request() {
    let mut settings = StoreConfig::default();
    settings.hold = Duration::from_secs(20);
    let mut network = Network::of_stores_with(8, &config(), &settings);
    let (file, other) = (File::new(93, 1, HOUR + 24), File::new(40, 2, HOUR + 24));
    put(&mut network, &file);
    put(&mut network, &other);
    network.advance(Duration::from_secs(300));
    let counts = |network: &mut Network| {
        let of = |number| {
            let stats = network.store(number).stats();
            (stats.listed, stats.fetched, stats.relayed)
        };
        (0..8).map(of).collect::<Vec<_>>()
    };
    let before = counts(&mut network);
    let received = |network: &mut Network| network.store(7).tower().stats().received;
    let first = received(&mut network);
    network.advance(Duration::from_secs(300));
    let rate = (received(&mut network) - first) as f64 / 300.0;
    let held = network.store(7).tower().peek().count() as f64;
    let interval = Duration::from_secs_f64(7.0 * held / rate);
    // A piece rests and then waits for its turn. What is held at one moment varies.
    assert!(interval > settings.hold * 6, "{interval:?}");

    listen(&mut network, 7, &file, Vec::new());
    let start = network.now;
    let day = Duration::from_secs(86_400);
    let forecast = listener(&network).forecast(interval, day);
    let progress = listener(&network).progress();
    assert_eq!((progress.phase, progress.needed), (Phase::Listening, 93));
    assert_eq!(forecast.pieces + progress.pieces, 93);
    while !listener(&network).is_complete() {
        network.advance(Duration::from_secs(1));
        assert!(network.now < start + day, "{:?}", listener(&network));
    }
    let time = network.now.duration_since(start);
    assert!(time > forecast.time / 2 && time < forecast.time_p99 * 2, "{time:?}: {forecast:?}");
    assert_eq!(network.heard.len(), 93, "no more pieces are taken than are needed");
    assert_eq!(listener(&network).forecast(interval, day).time_p99, Duration::ZERO);
    assert_eq!(counts(&mut network), before, "no store was asked");
    let pieces = std::mem::take(&mut network.heard);
    let outcomes = network::Outcomes { pieces, ..Default::default() };
    outcomes.assert_has(&file);

    // With the pieces that are there, nothing is left to do.
    let proved = outcomes.pieces.iter().map(|(piece, _)| piece.index()).collect();
    listen(&mut network, 7, &file, proved);
    assert!(listener(&network).is_complete() && network.heard.is_empty());
}

#[test]
fn a_listener_takes_no_piece_that_is_not_proved() {
    let file = File::new(93, 1, HOUR + 24);
    let mut listener = Listener::new(&file.link, []);
    let keys = file.link.chunk_keys();
    // An owner of the keep link can seal other bytes.
    let forged = seal(&keys, 3, &[1; SHARD], &Path::default(), HOUR + 20, [9; 12]);
    assert!(listener.take(&Message::bytes(&forged[..])).is_none());
    let shard: &[u8; SHARD] = file.groups[0].shards()[3].as_slice().try_into().unwrap();
    let path = file.roots.path(&file.groups[0], 3);
    let right = seal(&keys, 3, shard, &path, HOUR + 20, [9; 12]);
    let mut changed = right.clone();
    changed[500] ^= 1;
    assert!(listener.take(&Message::bytes(&changed[..])).is_none());
    assert!(listener.take(&Message::bytes(&right[1..])).is_none());
    let (piece, _) = listener.take(&Message::bytes(&right[..])).unwrap();
    assert_eq!((piece.index(), listener.progress().pieces), (3, 1));
    assert!(listener.take(&Message::bytes(&right[..])).is_none(), "the piece is known");
}
