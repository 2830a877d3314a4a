//! Jobs of clients in a network in memory.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod network;

use clacks_store::{ClientConfig, Job, JobError, JobEvent, Route};
use network::{Conduct, File, HOUR, Network, address};

fn direct(first: usize) -> ClientConfig {
    let mut config = ClientConfig::new(vec![address(first)]);
    config.route = Route::Direct;
    config
}

fn get(file: &File) -> Job {
    Job::Get { link: file.link.clone(), proved: Vec::new() }
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
    let getter = network.add_client(direct(2));
    network.start(getter, get(&file));
    network.run(getter, &file).assert_restores(&file);
}

#[test]
fn a_file_is_put_and_got_through_a_relay() {
    let mut network = Network::of_stores(5);
    let relay = network.add_fake(Conduct::Relay, &[0, 1, 2, 3, 4]);
    let other = network.add_fake(Conduct::Relay, &[0, 1, 2, 3, 4]);
    let first = vec![address(relay), address(other)];
    let file = File::new(93, 1, HOUR + 24);
    let putter = network.add_client(ClientConfig::new(first.clone()));
    network.start(putter, Job::Put(file.link.clone()));
    let report = network.run(putter, &file).put();
    assert_eq!((report.pieces, report.towers, report.verified), (186, 5, 1));
    let getter = network.add_client(ClientConfig::new(first));
    network.start(getter, get(&file));
    let got = network.run(getter, &file);
    got.assert_restores(&file);
    assert!(got.pieces.len() <= 93 + 8);
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
    assert!(matches!(network.client(getter).poll_event(), None::<JobEvent>));
}
