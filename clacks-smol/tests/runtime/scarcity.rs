//! A tower whose process has no descriptors left.
//!
//! The limit belongs to a process. Each test therefore runs in a process of its own, for which a
//! shell has lowered it.

use clacks_proto::{Address, CloseReason, IoCause, Notice, Status};
use smol::{Timer, future};
use std::fs::File;
use std::future::poll_fn;
use std::io::Read;
use std::net::TcpStream;
use std::pin::pin;
use std::process::Command;
use std::time::Duration;

use crate::support::{driver, find, run, without_timeouts};

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
    run(async {
        let (handle, driver) = driver(without_timeouts());
        let mut tower = pin!(driver.run());
        assert!(future::poll_once(&mut tower).await.is_none());
        let mut files = take_descriptors();
        files.pop();
        let mut caller = TcpStream::connect(handle.local_addr()).unwrap();
        assert!(File::open("/dev/null").is_err());

        let mut polls = 0;
        let counting = poll_fn(|context| {
            polls += 1;
            tower.as_mut().poll(context).map(drop)
        });
        future::or(counting, async { _ = Timer::after(WATCH).await }).await;
        assert_eq!(handle.stats().links_accepted, 0);
        // It tries again ten times a second.
        assert!((2..200).contains(&polls), "{polls} polls in a second");

        drop(files);
        caller.set_nonblocking(true).unwrap();
        let greeted = async {
            while caller.read(&mut [0; 1]).is_err() {
                future::yield_now().await;
            }
            Ok(())
        };
        future::or(greeted, tower).await.unwrap();
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
    run(async {
        let (handle, driver) = driver(without_timeouts());
        let mut tower = pin!(driver.run());
        assert!(future::poll_once(&mut tower).await.is_none());
        let _files = take_descriptors();
        for address in [closed_address(), "localhost:1".parse().unwrap()] {
            let mut notices = handle.notices();
            handle.announce(&address).unwrap();
            let closed = find(&mut notices, |notice| match notice {
                Notice::LinkClosed { reason, .. } => Some(reason),
                _ => None,
            });
            let reason = future::or(async { Some(closed.await) }, async {
                tower.as_mut().await.unwrap();
                None
            });
            assert_eq!(reason.await, Some(CloseReason::Io(IoCause::Exhausted)));
            assert_eq!(handle.find(&address).unwrap().status, Status::New);
        }
    });
}

/// An address to dial that takes no descriptor to make.
fn closed_address() -> Address {
    "127.0.0.1:1".parse().unwrap()
}
