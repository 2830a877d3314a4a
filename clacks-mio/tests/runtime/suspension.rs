//! A tower whose process was suspended does not blame peers that answered meanwhile.

use clacks_mio::{Handle, Reactor};
use clacks_proto::{Config, Message, SendRate, StateMachine, Tower};
use std::thread;
use std::time::Duration;

use crate::by_hand::ByHand;
use crate::support::{address, port, run, tower, without_timeouts};
use crate::witness::{Record, Witness};

/// How long peers may take. The tower is suspended for longer.
const TIMEOUT: Duration = Duration::from_millis(300);

/// A tower that runs only while the test waits for something.
struct Suspendable {
    handle: Handle<Witness>,
    record: Record,
    reactor: Reactor<Witness>,
}

impl Suspendable {
    fn new(configure: impl FnOnce(&mut Config)) -> Self {
        let mut config = without_timeouts();
        config.send_rate = SendRate::Unlimited;
        configure(&mut config);
        let listener = port();
        let (machine, record) = Witness::new(tower(config, &listener));
        let (handle, reactor) = Reactor::new(machine, listener).unwrap();
        Self { handle, record, reactor }
    }

    /// Runs the tower until a condition holds. Fails if it blames a peer.
    fn run_until(&mut self, mut condition: impl FnMut(&Tower, &Record) -> bool) {
        let Self { handle, record, reactor } = self;
        while !handle.with(|machine, _| condition(machine.tower(), record)).unwrap() {
            assert_eq!(handle.stats().links_timed_out, 0, "the peer is blamed");
            reactor.turn(Some(Duration::ZERO)).unwrap();
        }
    }

    /// Lets time pass until the timeout is over. The tower does not run.
    fn suspend(&self) {
        let end = self.handle.now() + 2 * TIMEOUT;
        while self.handle.now() < end {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

#[test]
fn a_hello_that_arrived_meanwhile_is_in_time() {
    run(|| {
        let mut tower = Suspendable::new(|config| config.timeouts.handshake = TIMEOUT);
        let mut peer = ByHand::dial(tower.handle.address());
        tower.run_until(|tower, _| tower.stats().links_accepted == 1);
        peer.send();
        tower.suspend();
        tower.run_until(|tower, _| tower.links().any(|link| link.is_open));
    });
}

#[test]
fn a_confirmation_that_arrived_meanwhile_is_in_time() {
    run(|| {
        let mut tower = Suspendable::new(|config| config.timeouts.confirm = TIMEOUT);
        let listener = port();
        tower.handle.announce(&address(&listener)).unwrap();
        tower.run_until(|_, record| record.any(|link| link.connected == 1));
        let mut peer = ByHand::accept(&listener);
        tower.run_until(|tower, _| {
            peer.receive();
            peer.send();
            tower.status_counts().alive == 1
        });
        tower.handle.enqueue(Message::text("in time")).unwrap();
        tower.run_until(|_, _| {
            peer.receive();
            peer.messages() == 1
        });
        peer.send();
        tower.suspend();
        tower.run_until(|tower, _| tower.stats().delivered == 1);
    });
}

#[test]
fn a_connection_that_was_established_meanwhile_is_in_time() {
    run(|| {
        let mut tower = Suspendable::new(|config| config.timeouts.connect = TIMEOUT);
        let listener = port();
        tower.handle.announce(&address(&listener)).unwrap();
        // Begins to dial, and learns nothing more before its next turn.
        tower.reactor.turn(None).unwrap();
        assert_eq!(tower.handle.stats().links_dialled, 1);
        assert!(!tower.record.any(|link| link.connected == 1));
        tower.suspend();
        tower.run_until(|_, record| record.any(|link| link.connected == 1));
    });
}
