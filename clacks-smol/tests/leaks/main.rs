//! Links come and go, and leave nothing behind.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that can't go on fails"
)]

mod accounts;

use clacks_proto::Address;
use clacks_smol::Driver;

#[test]
fn ten_thousand_short_links_leave_nothing_behind() {
    let (tower, listener) = accounts::tower(1);
    let (busy, driver) = Driver::new(tower, listener).unwrap();
    let _busy = smol::spawn(driver.run());
    let (tower, listener) = accounts::tower(2);
    let (other, driver) = Driver::new(tower, listener).unwrap();
    let _other = smol::spawn(driver.run());
    let address = Address::try_from(other.local_addr()).unwrap();
    // Whatever smol keeps for itself is there from now on.
    smol::block_on(async { smol::unblock(|| ()).await });
    let mut notices = busy.notices();
    accounts::count(busy.local_addr(), || {
        smol::block_on(async {
            busy.announce(&address).await.unwrap();
            while notices
                .next()
                .await
                .as_ref()
                .is_some_and(|report| !accounts::is_end(report, &address))
            {}
        });
    });
}
