//! Links leave nothing behind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod accounts;

use clacks_smol::Driver;

#[test]
fn ten_thousand_short_links_leave_nothing_behind() {
    let (tower, listener) = accounts::tower(1);
    let (busy, driver) = Driver::new(tower, listener).unwrap();
    let _busy = smol::spawn(driver.run());
    let (tower, listener) = accounts::tower(2);
    let (other, driver) = Driver::new(tower, listener).unwrap();
    let _other = smol::spawn(driver.run());
    // Starts the reactor of smol, so that its descriptors do not count.
    smol::block_on(async { smol::Timer::after(std::time::Duration::from_millis(1)).await });
    let mut notices = busy.notices();
    accounts::count(busy.local_addr(), || {
        busy.announce(other.address()).unwrap();
        assert!(notices.iter().any(|notice| accounts::is_end(&notice, other.address())));
    });
}
