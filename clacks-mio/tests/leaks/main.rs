//! Links come and go, and leave nothing behind.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that can't go on fails"
)]

// What the tests of all runtimes share stands with those of clacks-smol.
mod accounts;

use clacks_mio::Reactor;
use clacks_proto::Address;
use std::thread;

#[test]
fn ten_thousand_short_links_leave_nothing_behind() {
    let (tower, listener) = accounts::tower(1);
    let (busy, reactor) = Reactor::new(tower, listener).unwrap();
    thread::spawn(|| reactor.run());
    let (tower, listener) = accounts::tower(2);
    let (other, reactor) = Reactor::new(tower, listener).unwrap();
    thread::spawn(|| reactor.run());
    let address = Address::try_from(other.local_addr()).unwrap();
    let mut notices = busy.notices();
    accounts::count(busy.local_addr(), || {
        busy.announce(&address).unwrap();
        assert!(notices.any(|report| accounts::is_end(&report, &address)));
    });
}
