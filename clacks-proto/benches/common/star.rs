//! A tower with TLS and links to many other towers.
#![allow(unreachable_pub, reason = "each benchmark uses only parts of this module")]

use clacks_proto::tls::{Identity, SecureTower, Trust};
use clacks_proto::{Action, Event, Instant, LinkId, Seed, StateMachine, Tower};

use crate::relay::{LOCAL, peer, unlimited_config};

/// Which side dials.
#[derive(Clone, Copy)]
pub enum Dialler {
    Centre,
    Others,
}

/// Returns the central tower with an idle link to each of `count` other towers. The other towers no
/// longer exist, but the central tower is not notified.
pub fn star(count: usize, dialler: Dialler) -> SecureTower {
    let mut centre = tower(0, count);
    for n in 1..=count {
        let mut other = tower(n, 1);
        match dialler {
            Dialler::Centre => connect(&mut centre, &mut other, n),
            Dialler::Others => connect(&mut other, &mut centre, 0),
        }
    }
    assert_eq!(centre.tower().links().count(), count);
    centre
}

fn tower(number: usize, links: usize) -> SecureTower {
    let mut config = unlimited_config();
    // A sixteenth of the links is kept free.
    config.max_links = links + links / 8 + 2;
    config.max_unproved = links + 1;
    config.max_peers = links + 1;
    let tower = Tower::new(config, peer(number), &Seed::from_u64(number as u64)).unwrap();
    SecureTower::new(tower, &Identity::generate().unwrap(), Trust::Open).unwrap()
}

/// Makes one tower dial the other, announce itself, and receive the confirmation.
fn connect(caller: &mut SecureTower, callee: &mut SecureTower, number: usize) {
    let now = Instant::ORIGIN;
    caller.tower_mut().announce(&peer(number), now).unwrap();
    let link = loop {
        if let Some(Action::Connect { link, .. }) = caller.poll_action() {
            break link;
        }
    };
    let answered = callee.accept(LOCAL, now).unwrap();
    caller.handle(Event::Connected { link, at: None }, now);
    while transfer(caller, link, callee, answered) | transfer(callee, answered, caller, link) {}
    while caller.poll_action().is_some() | callee.poll_action().is_some() {}
    assert_eq!(caller.tower().find(&peer(number)).unwrap().status.as_str(), "alive");
}

/// Passes the bytes of one side to the other. Returns whether there were any.
fn transfer(from: &mut SecureTower, sent: LinkId, to: &mut SecureTower, arrives: LinkId) -> bool {
    let mut bytes = Vec::new();
    while from.transmit(sent, &mut bytes) > 0 {}
    to.handle(Event::BytesArrived { link: arrives, bytes: &bytes }, Instant::ORIGIN);
    !bytes.is_empty()
}
