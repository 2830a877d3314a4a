//! A tower behind TLS with links to many others.
#![allow(unreachable_pub, reason = "each benchmark uses its own part")]

use clacks_proto::tls::{Identity, SecureTower, Trust};
use clacks_proto::{Action, Event, Instant, LinkId, Seed, StateMachine, Tower};

use crate::relay::{LOCAL, peer, roomy};

/// Who makes the connections.
#[derive(Clone, Copy)]
pub enum Caller {
    Centre,
    Others,
}

/// The tower in the middle, when it has a link to each of so many others and nothing more to do.
/// The others are gone, and it does not know that.
pub fn star(count: usize, caller: Caller) -> SecureTower {
    let mut centre = tower(0, count);
    for n in 1..=count {
        let mut other = tower(n, 1);
        match caller {
            Caller::Centre => meet(&mut centre, &mut other, n),
            Caller::Others => meet(&mut other, &mut centre, 0),
        }
    }
    assert_eq!(centre.tower().links().count(), count);
    centre
}

fn tower(number: usize, links: usize) -> SecureTower {
    let mut config = roomy();
    // One link in sixteen is kept free.
    config.max_links = links + links / 8 + 2;
    config.max_half_open = 1;
    config.max_peers = links + 1;
    let tower = Tower::new(config, peer(number), &Seed::from_u64(number as u64)).unwrap();
    SecureTower::new(tower, &Identity::generate().unwrap(), Trust::Open).unwrap()
}

/// One dials the other, says that it is there, and is confirmed.
fn meet(caller: &mut SecureTower, callee: &mut SecureTower, number: usize) {
    let now = Instant::ORIGIN;
    caller.tower_mut().announce(&peer(number), now).unwrap();
    let link = loop {
        if let Some(Action::Connect { link, .. }) = caller.poll_action() {
            break link;
        }
    };
    let answered = callee.accept(LOCAL, now).unwrap();
    caller.handle(Event::Connected { link }, now);
    while pass(caller, link, callee, answered) | pass(callee, answered, caller, link) {}
    while caller.poll_action().is_some() | callee.poll_action().is_some() {}
    assert_eq!(caller.tower().find(&peer(number)).unwrap().status.as_str(), "alive");
}

/// Brings what one side has for the other. Whether there was anything.
fn pass(from: &mut SecureTower, sent: LinkId, to: &mut SecureTower, arrives: LinkId) -> bool {
    let mut bytes = Vec::new();
    while from.transmit(sent, &mut bytes) > 0 {}
    to.handle(Event::BytesArrived { link: arrives, bytes: &bytes }, Instant::ORIGIN);
    !bytes.is_empty()
}
