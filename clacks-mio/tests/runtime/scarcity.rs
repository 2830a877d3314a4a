//! A tower whose process has no descriptors left.
//!
//! The limit is a process's own, so that the test runs in a process of its own, which a shell has given a low one.

use std::fs::File;
use std::io::Read;
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::{FOR_EVER, quiet, reactor, run};

/// How long the tower is watched while nothing can be accepted.
const WHILE: Duration = Duration::from_secs(1);

#[test]
fn running_out_of_descriptors_is_survived() {
    let test = std::env::current_exe().unwrap();
    let output = Command::new("sh")
        .args(["-c", "ulimit -n 64 && exec \"$0\" \"$@\""])
        .arg(test)
        .args(["--exact", "scarcity::out_of_descriptors", "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{output:?}");
}

#[test]
#[ignore = "takes all descriptors of its process: for the test above"]
fn out_of_descriptors() {
    run(|| {
        let mut config = quiet();
        config.timeouts.handshake = FOR_EVER;
        let (handle, mut reactor) = reactor(config);
        // All that there are, but for the caller's own end.
        let mut hoard = Vec::new();
        while let Ok(file) = File::open("/dev/null") {
            hoard.push(file);
        }
        assert!(hoard.len() < 64, "the limit is not low: {}", hoard.len());
        hoard.pop();
        let mut caller = TcpStream::connect(handle.local_addr()).unwrap();
        assert!(File::open("/dev/null").is_err());

        let begun = Instant::now();
        let mut turns = 0;
        while turns < 2 || begun.elapsed() < WHILE {
            reactor.turn(Some(WHILE)).unwrap();
            turns += 1;
        }
        assert_eq!(handle.stats().links_accepted, 0);
        // It tries again ten times a second, and not as often as it can.
        let seconds = begun.elapsed().as_secs_f64();
        assert!(f64::from(turns) < 100.0 * seconds, "{turns} turns in {seconds} seconds");

        drop(hoard);
        caller.set_nonblocking(true).unwrap();
        while caller.read(&mut [0; 1]).is_err() {
            reactor.turn(None).unwrap();
        }
        assert_eq!(handle.stats().links_accepted, 1);
    });
}
