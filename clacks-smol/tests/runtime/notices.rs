//! The stream of notices never holds up its tower.

use clacks_proto::{Message, Report};
use clacks_smol::NOTICES_CAPACITY;

use crate::support::{delivers, quick, quiet, run, start};

#[test]
fn a_slow_reader_misses_notices_and_the_tower_goes_on() {
    run(async {
        let mut config = quick();
        config.send_rate = clacks_proto::SendRate::Unlimited;
        // No heartbeat adds a notice while the slow reader reads.
        config.heartbeat = None;
        let (one, two) = (start(config), start(quiet()));
        let (mut slow, mut quick) = (one.handle.notices(), one.handle.notices());
        one.handle.expand(&two.address()).await.unwrap();
        // Each gives two notices: queued and delivered.
        for _ in 0..NOTICES_CAPACITY {
            one.handle.enqueue(Message::text("x")).await.unwrap();
            delivers(&mut quick, 1).await;
        }
        let first = slow.next().await;
        let Some(Report::Missed { count }) = first else { panic!("{first:?} is no loss") };
        let expected = u64::try_from(NOTICES_CAPACITY).unwrap();
        assert!(count >= expected, "only {count} were missed");
        assert!(!matches!(slow.next().await, None | Some(Report::Missed { .. })));
    });
}

#[test]
fn each_reader_has_all_from_the_moment_it_began() {
    run(async {
        let (one, two) = (start(quick()), start(quiet()));
        one.handle.expand(&two.address()).await.unwrap();
        let (mut first, mut second) = (one.handle.notices(), one.handle.notices());
        one.handle.enqueue(Message::text("x")).await.unwrap();
        delivers(&mut first, 1).await;
        delivers(&mut second, 1).await;
        let mut late = one.handle.notices();
        one.handle.shutdown().await;
        while let Some(report) = late.next().await {
            assert!(!matches!(report, Report::MessageDelivered { .. }));
        }
    });
}
