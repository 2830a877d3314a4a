//! Datagrams between the applications of two towers, and guests.

use clacks_proto::{Config, Datagrams, Message, Notice, To};

use crate::network::{DEADLINE, Network, RunningTower, Runtimes, quick, quiet};

fn with_datagrams(mut config: Config) -> Config {
    config.datagrams = Datagrams::ON;
    config
}

/// Sends a question to a peer that is dialled if need be, and returns the answer.
fn ask(asking: &RunningTower, answering: &RunningTower, question: &str) -> String {
    asking.expand(&answering.address).unwrap();
    let peer = asking.find(&answering.address).unwrap().id;
    asking.datagram(To::Peer(peer), question.as_bytes().to_vec()).unwrap();
    let asked = answering.next_datagram().wait_timeout(DEADLINE).unwrap().unwrap();
    let answer = [b"re: ", &asked.body[..]].concat();
    answering.datagram(To::Link(asked.link), answer).unwrap();
    let answer = asking.next_datagram().wait_timeout(DEADLINE).unwrap().unwrap();
    assert_eq!(answer.from.as_ref(), Some(&answering.address));
    String::from_utf8(answer.body.to_vec()).unwrap()
}

pub(crate) fn two_applications_ask_each_other_over_the_link_of_their_towers(runtimes: Runtimes) {
    let mut network = Network::new(runtimes);
    let first = network.start(with_datagrams(quiet()));
    let second = network.start(with_datagrams(quiet()));
    assert_eq!(ask(&first, &second, "what time is it?"), "re: what time is it?");
    assert_eq!(ask(&second, &first, &"x".repeat(12_000)).len(), 12_004);
    assert_eq!(first.datagrams().count(), 0);
}

pub(crate) fn a_guest_asks_and_is_not_learned(runtimes: Runtimes) {
    let mut network = Network::new(runtimes);
    let mut tower = network.start(with_datagrams(quiet()));
    let mut config = with_datagrams(quick());
    config.is_guest = true;
    let guest = network.start(config);
    assert_eq!(ask(&guest, &tower, "who are you?"), "re: who are you?");
    guest.enqueue(Message::text("from a guest")).unwrap();
    let from = tower.wait_for("the message", |notice| match notice {
        Notice::MessageReceived { from, .. } => Some(from.clone()),
        _ => None,
    });
    assert_eq!(from, None);
    assert_eq!(tower.survey().len(), 0, "a guest is not learned");
}
