//! Dialling the addresses of a host.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::num::NonZeroU16;
use core::time::Duration;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc;
use std::time::Instant;

use super::super::{Dial, DialProgress, is_connected, look_up};
use crate::address::Name;
use crate::error::IoCause;

const HEAD_START: Duration = Duration::from_millis(250);

fn socket(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// A dial to the ports from 1. A socket is the port.
struct World {
    dial: Dial<u16>,
    start: Instant,
    /// The ports that were tried, in order.
    tried: Vec<u16>,
    /// How the attempts end that have ended.
    ends: BTreeMap<u16, Result<(), ErrorKind>>,
    /// The ports to which no attempt can begin.
    unreachable: BTreeMap<u16, ErrorKind>,
}

impl World {
    fn new(ports: u16) -> Self {
        let addresses = (1..=ports).map(socket).collect();
        let (ends, unreachable) = (BTreeMap::new(), BTreeMap::new());
        let start = Instant::now();
        Self { dial: Dial::new(Ok(addresses)), start, tried: Vec::new(), ends, unreachable }
    }

    fn end(&mut self, port: u16, end: Result<(), ErrorKind>) {
        self.ends.insert(port, end);
    }

    /// Goes on at a time after the start.
    fn advance(&mut self, after: Duration) -> DialProgress<u16> {
        let Self { dial, start, tried, ends, unreachable } = self;
        dial.advance(
            *start + after,
            |address| {
                tried.push(address.port());
                match unreachable.get(&address.port()) {
                    Some(kind) => Err((*kind).into()),
                    None => Ok(address.port()),
                }
            },
            |port| match ends.get(port) {
                Some(Ok(())) => Ok(true),
                Some(Err(kind)) => Err((*kind).into()),
                None => Ok(false),
            },
        )
    }

    /// Fails if the dial is not pending until a time after the start.
    fn assert_pending(&mut self, after: Duration, until: Option<Duration>) {
        let progress = self.advance(after);
        let DialProgress::Pending(at) = progress else { panic!("{progress:?}") };
        assert_eq!(at.map(|at| at - self.start), until);
    }

    /// Lets each attempt fail as it begins, and returns the cause of the dial's failure.
    fn fail(&mut self, kinds: &[ErrorKind]) -> IoCause {
        self.unreachable = (1..).zip(kinds.iter().copied()).collect();
        match self.advance(Duration::ZERO) {
            DialProgress::Failed(cause) => cause,
            progress => panic!("{progress:?}"),
        }
    }
}

#[test]
fn each_address_has_a_head_start_before_the_next() {
    let mut world = World::new(3);
    world.assert_pending(Duration::ZERO, Some(HEAD_START));
    world.assert_pending(HEAD_START / 2, Some(HEAD_START));
    assert_eq!(world.tried, [1]);
    world.assert_pending(HEAD_START, Some(2 * HEAD_START));
    world.assert_pending(2 * HEAD_START, None);
    world.assert_pending(100 * HEAD_START, None);
    assert_eq!(world.tried, [1, 2, 3]);
    // The first attempt goes on.
    world.end(1, Ok(()));
    let progress = world.advance(101 * HEAD_START);
    assert!(matches!(progress, DialProgress::Connected(1)), "{progress:?}");
}

#[test]
fn the_next_attempt_begins_at_once_when_one_fails() {
    let mut world = World::new(3);
    world.assert_pending(Duration::ZERO, Some(HEAD_START));
    world.end(1, Err(ErrorKind::ConnectionRefused));
    world.assert_pending(HEAD_START / 2, Some(HEAD_START / 2 + HEAD_START));
    assert_eq!((world.tried.as_slice(), world.dial.attempts()), (&[1, 2][..], &[2][..]));
    // So does one after an address to which none can begin.
    world.unreachable.insert(3, ErrorKind::NetworkUnreachable);
    world.assert_pending(2 * HEAD_START, None);
    world.end(2, Err(ErrorKind::TimedOut));
    let progress = world.advance(2 * HEAD_START);
    assert!(matches!(progress, DialProgress::Failed(IoCause::TimedOut)), "{progress:?}");
}

#[test]
fn sixteen_addresses_are_tried_at_most() {
    let mut world = World::new(17);
    let kinds = [ErrorKind::ConnectionRefused; 17];
    assert_eq!((world.fail(&kinds), world.tried.len()), (IoCause::Refused, 16));
}

#[test]
fn a_dial_fails_with_the_last_cause_that_says_something_about_the_host() {
    let (refused, timed_out) = (ErrorKind::ConnectionRefused, ErrorKind::TimedOut);
    let exhausted = ErrorKind::AddrNotAvailable;
    for (kinds, cause) in [
        (&[][..], IoCause::Resolve),
        (&[refused, timed_out], IoCause::TimedOut),
        (&[exhausted, refused], IoCause::Refused),
        (&[refused, exhausted], IoCause::Refused),
        (&[exhausted, exhausted], IoCause::Exhausted),
    ] {
        let ports = u16::try_from(kinds.len()).unwrap();
        assert_eq!(World::new(ports).fail(kinds), cause, "{kinds:?}");
    }
    for cause in [IoCause::Resolve, IoCause::Exhausted] {
        let mut dial = Dial::<u16>::new(Err(cause));
        let progress = dial.advance(Instant::now(), |_| panic!(), |_| panic!());
        assert!(matches!(progress, DialProgress::Failed(other) if other == cause));
    }
}

#[test]
fn a_socket_is_connected_if_it_has_no_error_and_two_ends() {
    let error = |kind: ErrorKind| -> io::Error { kind.into() };
    let (one, two) = (socket(1), socket(2));
    assert!(is_connected(Ok(None), Ok(one), Ok(two)).unwrap());
    assert!(!is_connected(Ok(None), Ok(one), Err(error(ErrorKind::NotConnected))).unwrap());
    let failed = is_connected(Ok(Some(error(ErrorKind::TimedOut))), Ok(one), Ok(two));
    assert_eq!(failed.unwrap_err().kind(), ErrorKind::TimedOut);
    let closed = is_connected(Ok(None), Ok(one), Err(error(ErrorKind::InvalidInput)));
    assert_eq!(closed.unwrap_err().kind(), ErrorKind::InvalidInput);
    let with_itself = is_connected(Ok(None), Ok(one), Ok(one));
    assert_eq!(with_itself.unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn names_are_looked_up_on_a_thread() {
    let resolve = |name| {
        let (sender, answer) = mpsc::channel();
        let port = NonZeroU16::new(7).unwrap();
        look_up(Name::new(name).unwrap(), port, move |found| sender.send(found).unwrap()).unwrap();
        answer.recv().unwrap()
    };
    let found = resolve("localhost").unwrap();
    assert!(!found.is_empty() && found.iter().all(|address| address.port() == 7));
    assert_eq!(resolve("no-such-tower.invalid"), Err(IoCause::Resolve));
}
