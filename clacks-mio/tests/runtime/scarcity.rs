//! A tower whose process has no descriptors left.
//!
//! The limit belongs to a process. Each test therefore runs in a process of its own, for which a
//! shell has lowered it.

use clacks_proto::{CloseReason, IoCause, Notice, Status};
use std::fs::File;
use std::io::Read;
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::{reactor, run, without_timeouts};

/// How long the tower is watched while it can't accept.
const WATCH: Duration = Duration::from_secs(1);

/// Runs an ignored test of this file with few descriptors.
fn run_with_few_descriptors(test: &str) {
    let output = Command::new("sh")
        .args(["-c", "ulimit -n 64 && exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{output:?}");
}

/// Takes all descriptors of the process.
fn take_descriptors() -> Vec<File> {
    let files: Vec<_> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    assert!(files.len() < 64, "the limit is not low");
    files
}

#[test]
fn a_tower_accepts_again_when_there_are_descriptors() {
    run_with_few_descriptors("scarcity::accepts_without_descriptors");
}

#[test]
#[ignore = "takes all descriptors of its process: for the test above"]
fn accepts_without_descriptors() {
    run(|| {
        let (handle, mut reactor) = reactor(without_timeouts());
        let mut files = take_descriptors();
        files.pop();
        let mut caller = TcpStream::connect(handle.local_addr()).unwrap();
        assert!(File::open("/dev/null").is_err());

        let begun = Instant::now();
        let mut turns = 0;
        while turns < 2 || begun.elapsed() < WATCH {
            reactor.turn(Some(WATCH)).unwrap();
            turns += 1;
        }
        assert_eq!(handle.stats().links_accepted, 0);
        // It tries again ten times a second.
        let seconds = begun.elapsed().as_secs_f64();
        assert!(f64::from(turns) < 100.0 * seconds, "{turns} turns in {seconds} seconds");

        drop(files);
        caller.set_nonblocking(true).unwrap();
        while caller.read(&mut [0; 1]).is_err() {
            reactor.turn(None).unwrap();
        }
        assert_eq!(handle.stats().links_accepted, 1);
    });
}

#[test]
fn a_peer_is_not_blamed_for_a_lack_of_descriptors() {
    run_with_few_descriptors("scarcity::dials_without_descriptors");
}

#[test]
#[ignore = "takes all descriptors of its process: for the test above"]
fn dials_without_descriptors() {
    run(|| {
        let (handle, mut reactor) = reactor(without_timeouts());
        let _files = take_descriptors();
        for address in ["127.0.0.1:1", "localhost:1"].map(|address| address.parse().unwrap()) {
            let mut notices = handle.notices();
            handle.announce(&address).unwrap();
            let reason = loop {
                match notices.try_recv() {
                    Ok(Notice::LinkClosed { reason, .. }) => break reason,
                    Ok(_) => {}
                    Err(_) => _ = reactor.turn(None).unwrap(),
                }
            };
            assert_eq!(reason, CloseReason::Io(IoCause::Exhausted));
            assert_eq!(handle.find(&address).unwrap().status, Status::New);
        }
    });
}
