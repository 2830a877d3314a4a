//! The notices never hold up their tower.

use clacks_mio::NOTICES_CAPACITY;
use clacks_proto::{Message, Report, SendRate};

use crate::support::{delivers, quick, quiet, run, start};

#[test]
fn a_slow_reader_misses_notices_and_the_tower_goes_on() {
    run(|| {
        let mut config = quick();
        config.send_rate = SendRate::Unlimited;
        // No heartbeat adds a notice while the slow reader reads.
        config.heartbeat = None;
        let (one, two) = (start(config), start(quiet()));
        let (slow, quick) = (one.handle.notices(), one.handle.notices());
        one.handle.expand(&two.address()).unwrap();
        // Each gives two notices: queued and delivered.
        for _ in 0..NOTICES_CAPACITY {
            one.handle.enqueue(Message::text("x")).unwrap();
            delivers(&quick, 1);
        }
        let first = slow.recv();
        let Some(Report::Missed { count }) = first else { panic!("{first:?} is no loss") };
        assert!(count >= u64::try_from(NOTICES_CAPACITY).unwrap(), "only {count} were missed");
        assert!(!matches!(slow.recv(), None | Some(Report::Missed { .. })));
    });
}

#[test]
fn each_reader_has_all_from_the_moment_it_began() {
    run(|| {
        let (one, two) = (start(quick()), start(quiet()));
        one.handle.expand(&two.address()).unwrap();
        let (first, second) = (one.handle.notices(), one.handle.notices());
        one.handle.enqueue(Message::text("x")).unwrap();
        delivers(&first, 1);
        delivers(&second, 1);
        let mut late = one.handle.notices();
        one.handle.shutdown();
        assert!(!late.any(|report| matches!(report, Report::MessageDelivered { .. })));
    });
}
