//! Notices never hold up their tower.

use clacks_proto::{Message, Notice, SendRate};
use clacks_smol::NOTICES_CAPACITY;

use crate::support::{delivers, quick, quiet, run, start};

#[test]
fn a_slow_reader_misses_notices_and_the_tower_goes_on() {
    run(async {
        let mut config = quick();
        config.send_rate = SendRate::Unlimited;
        // No heartbeat adds a notice while the slow reader reads.
        config.heartbeat = None;
        let (one, two) = (start(config), start(quiet()));
        let (mut slow, mut quick) = (one.handle.notices(), one.handle.notices());
        one.handle.expand(&two.address()).unwrap();
        // Each message gives two notices: queued and delivered.
        for _ in 0..NOTICES_CAPACITY {
            one.handle.enqueue(Message::text("x")).unwrap();
            delivers(&mut quick, 1).await;
        }
        let first = slow.recv().await;
        let Some(Notice::Missed { count }) = first else { panic!("{first:?}") };
        assert!(count >= u64::try_from(NOTICES_CAPACITY).unwrap(), "{count}");
        assert!(!matches!(slow.recv().await, None | Some(Notice::Missed { .. })));
    });
}

#[test]
fn each_reader_gets_all_notices_since_it_was_made() {
    run(async {
        let (one, two) = (start(quick()), start(quiet()));
        one.handle.expand(&two.address()).unwrap();
        let (mut first, mut second) = (one.handle.notices(), one.handle.notices());
        one.handle.enqueue(Message::text("x")).unwrap();
        delivers(&mut first, 1).await;
        delivers(&mut second, 1).await;
        let mut late = one.handle.notices();
        one.handle.shutdown().await;
        while let Some(notice) = late.recv().await {
            assert!(!matches!(notice, Notice::MessageDelivered { .. }));
        }
    });
}
