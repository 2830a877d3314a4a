//! Links leave nothing behind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

// A link to a file of clacks-smol.
mod accounts;

use clacks_mio::Reactor;
use std::thread;

#[test]
fn ten_thousand_short_links_leave_nothing_behind() {
    let (tower, listener) = accounts::tower(1);
    let (busy, reactor) = Reactor::new(tower, listener).unwrap();
    thread::spawn(|| reactor.run());
    let (tower, listener) = accounts::tower(2);
    let (other, reactor) = Reactor::new(tower, listener).unwrap();
    thread::spawn(|| reactor.run());
    let mut notices = busy.notices();
    accounts::count(busy.local_addr(), || {
        busy.announce(other.address()).unwrap();
        assert!(notices.iter().any(|notice| accounts::is_end(&notice, other.address())));
    });
}
