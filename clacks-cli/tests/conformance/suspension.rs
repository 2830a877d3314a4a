//! A driver that did not run for a while, for example because its process was suspended, does not
//! time out peers that answered in time.

use std::thread;
use std::time::Duration;

use clacks_proto::driver::{Handle, Notices};
use clacks_proto::{CloseReason, Config, IoCause, Message, Notice, SendRate, StateMachine, Tower};

use crate::manual_tower::ManualTower;
use crate::network::{Network, Runtimes, address_of, listen, poll_until, without_timeouts};
use crate::recorder::{Recorder, Records};
use crate::runtime::Driver;

/// The timeout of peers.
const TIMEOUT: Duration = Duration::from_millis(500);

/// How long the driver is suspended.
const SUSPENSION: Duration = Duration::from_millis(600);

/// A tower that runs only in [`run_until`](Self::run_until).
struct SuspendableTower {
    handle: Handle<Recorder>,
    notices: Notices,
    driver: Driver<Recorder>,
    records: Records,
    _network: Network,
}

impl SuspendableTower {
    fn new(runtimes: Runtimes, configure: impl FnOnce(&mut Config)) -> Self {
        let mut config = without_timeouts();
        config.send_rate = SendRate::Unlimited;
        configure(&mut config);
        let records = Records::default();
        let mut network = Network::new(runtimes);
        let (handle, driver) = network.driver(config, |tower| Recorder::new(tower, &records));
        let notices = handle.notices();
        Self { handle, notices, driver, records, _network: network }
    }

    /// Runs the driver until a condition holds. Fails if the tower closes a link. Dials of peers
    /// that do not listen may fail.
    fn run_until(&mut self, what: &str, mut condition: impl FnMut(&Tower, &Records) -> bool) {
        let Self { handle, notices, driver, records, .. } = self;
        poll_until(what, || {
            driver.step();
            while let Ok(notice) = notices.try_recv() {
                let has_failed = matches!(&notice, Notice::LinkClosed { reason, .. }
                    if *reason != CloseReason::Io(IoCause::Refused));
                assert!(!has_failed, "{notice:?}");
            }
            handle.with(|machine, _| condition(machine.tower(), records)).unwrap()
        });
        assert_eq!(handle.stats().links_timed_out, 0);
    }

    /// Waits until the timeout is over. The driver does not run.
    fn suspend(&self) {
        let end = self.handle.now() + SUSPENSION;
        while self.handle.now() < end {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

pub(crate) fn a_hello_that_arrived_during_a_suspension_is_in_time(runtimes: Runtimes) {
    /// More than a driver serves before it fires a timer that is not overdue.
    const PEERS: usize = 20;

    let mut tower = SuspendableTower::new(runtimes, |config| config.timeouts.handshake = TIMEOUT);
    let dial = |_| ManualTower::dial(tower.handle.address());
    let mut peers: Vec<_> = (0..PEERS).map(dial).collect();
    let accepted = u64::try_from(PEERS).unwrap();
    tower.run_until("links", |tower, _| tower.stats().links_accepted == accepted);
    peers.iter_mut().for_each(ManualTower::send);
    tower.suspend();
    tower.run_until("open links", |tower, _| {
        tower.links().filter(|link| link.is_open).count() == PEERS
    });
}

pub(crate) fn a_confirmation_that_arrived_during_a_suspension_is_in_time(runtimes: Runtimes) {
    let mut tower = SuspendableTower::new(runtimes, |config| config.timeouts.confirm = TIMEOUT);
    let listener = listen();
    tower.handle.announce(&address_of(&listener)).unwrap();
    tower.run_until("a connection", |_, records| records.any(|link| link.connected == 1));
    let mut peer = ManualTower::accept(&listener);
    tower.run_until("a live peer", |tower, _| {
        peer.receive();
        peer.send();
        tower.status_counts().alive == 1
    });
    tower.handle.enqueue(Message::text("in time")).unwrap();
    tower.run_until("the message", |_, _| {
        peer.receive();
        peer.queue_len() == 1
    });
    peer.send();
    tower.suspend();
    tower.run_until("the confirmation", |tower, _| tower.stats().delivered == 1);
}

pub(crate) fn a_connection_that_was_established_during_a_suspension_is_in_time(runtimes: Runtimes) {
    // A dial can be complete after the first step. The test needs one that is not.
    let (mut tower, _listener) = loop {
        let mut tower = SuspendableTower::new(runtimes, |config| config.timeouts.connect = TIMEOUT);
        let listener = listen();
        tower.handle.announce(&address_of(&listener)).unwrap();
        tower.driver.step();
        assert_eq!(tower.handle.stats().links_dialled, 1);
        if !tower.records.any(|link| link.connected == 1) {
            break (tower, listener);
        }
    };
    tower.suspend();
    tower.run_until("the connection", |_, records| records.any(|link| link.connected == 1));
}
