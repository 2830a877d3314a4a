//! Towers whose process has no free file descriptors.

use std::fs::File;
use std::io::Read;
use std::time::{Duration, Instant};

use clacks_proto::{CloseReason, IoCause, Notice, Status};

use crate::network::{Network, Runtimes, connect, poll_until, without_timeouts};
use crate::own_process::run_in_own_process;

const MAX_DESCRIPTORS: u32 = 64;

/// How long the driver runs while it cannot accept a connection.
const RUN_TIME: Duration = Duration::from_secs(1);

/// Opens files until the process has no free descriptors.
fn take_all_descriptors() -> Vec<File> {
    let files: Vec<_> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    assert!(files.len() < MAX_DESCRIPTORS as usize, "the limit is not low");
    files
}

pub(crate) fn a_tower_accepts_again_when_descriptors_are_free(runtimes: Runtimes) {
    let name = "a_tower_accepts_again_when_descriptors_are_free";
    run_in_own_process(name, runtimes, MAX_DESCRIPTORS, || {
        let mut network = Network::new(runtimes);
        let (handle, mut driver) = network.driver(without_timeouts(), |tower| tower);
        driver.step();
        let mut notices = handle.notices();
        let mut files = take_all_descriptors();
        files.pop();
        let mut caller = connect(handle.local_addr());
        assert!(File::open("/dev/null").is_err());

        let start = Instant::now();
        let mut polls = 0;
        // At least one poll after the failure.
        while polls < 2 || start.elapsed() < RUN_TIME {
            polls += driver.polls_within(RUN_TIME);
        }
        assert_eq!(handle.stats().links_accepted, 0);
        assert!(handle.stats().local_failures > 0);
        assert_eq!(notices.try_recv(), Ok(Notice::LocalTrouble { cause: IoCause::Exhausted }));
        // The driver tries again ten times a second.
        let seconds = start.elapsed().as_secs_f64();
        assert!(f64::from(polls) < 100.0 * seconds, "{polls} polls in {seconds} seconds");

        drop(files);
        caller.set_nonblocking(true).unwrap();
        poll_until("a hello", || {
            driver.step();
            caller.read(&mut [0; 1]).is_ok()
        });
        assert_eq!(handle.stats().links_accepted, 1);
    });
}

pub(crate) fn a_peer_is_not_lost_if_there_are_no_descriptors_and_is_tried_again(
    runtimes: Runtimes,
) {
    let name = "a_peer_is_not_lost_if_there_are_no_descriptors_and_is_tried_again";
    run_in_own_process(name, runtimes, MAX_DESCRIPTORS, || {
        let mut network = Network::new(runtimes);
        let (handle, mut driver) = network.driver(without_timeouts(), |tower| tower);
        driver.step();
        let files = take_all_descriptors();
        let peers = ["127.0.0.1:1", "localhost:1"].map(|address| address.parse().unwrap());
        for address in &peers {
            let mut notices = handle.notices();
            handle.announce(address).unwrap();
            let mut reason = None;
            poll_until("the end of the dial", || {
                driver.step();
                while let Ok(notice) = notices.try_recv() {
                    if let Notice::LinkClosed { reason: closed, .. } = notice {
                        reason = Some(closed);
                    }
                }
                reason.is_some()
            });
            assert_eq!(reason, Some(CloseReason::Io(IoCause::Exhausted)));
            assert_eq!(handle.find(address).unwrap().status, Status::New);
        }
        assert!(handle.stats().local_failures >= 2);
        drop(files);
        for address in &peers {
            poll_until("the next dial, which is refused", || {
                driver.step();
                handle.find(address).unwrap().status == Status::Lost
            });
        }
    });
}
