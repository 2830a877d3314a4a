//! Tests of `Dial`.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use super::super::{Dial, DialProgress, is_connected};
use crate::error::IoCause;

const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

fn socket(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// A dial to the ports 1, 2, … A socket is represented by its port.
struct Fixture {
    dial: Dial<u16>,
    start: Instant,
    /// The ports that were dialled, in order.
    dialled: Vec<u16>,
    /// The results of completed attempts.
    results: BTreeMap<u16, Result<(), ErrorKind>>,
    /// The errors of ports at which no attempt can be started.
    unreachable: BTreeMap<u16, ErrorKind>,
}

impl Fixture {
    fn new(ports: u16) -> Self {
        let addresses = (1..=ports).map(socket).collect();
        let (results, unreachable) = (BTreeMap::new(), BTreeMap::new());
        let start = Instant::now();
        Self { dial: Dial::new(Ok(addresses)), start, dialled: Vec::new(), results, unreachable }
    }

    fn complete(&mut self, port: u16, result: Result<(), ErrorKind>) {
        self.results.insert(port, result);
    }

    /// Advances the dial at a time after the start.
    fn advance(&mut self, after: Duration) -> DialProgress<u16> {
        let Self { dial, start, dialled, results, unreachable } = self;
        dial.advance(
            *start + after,
            |address| {
                dialled.push(address.port());
                match unreachable.get(&address.port()) {
                    Some(kind) => Err((*kind).into()),
                    None => Ok(address.port()),
                }
            },
            |port| match results.get(port) {
                Some(Ok(())) => Ok(true),
                Some(Err(kind)) => Err((*kind).into()),
                None => Ok(false),
            },
        )
    }

    /// Asserts that the dial is pending until a time after the start.
    fn assert_pending(&mut self, after: Duration, until: Option<Duration>) {
        let progress = self.advance(after);
        let DialProgress::Pending(at) = progress else { panic!("{progress:?}") };
        assert_eq!(at.map(|at| at - self.start), until);
    }

    /// Makes each attempt fail when it is started. Returns the cause of the dial's failure.
    fn fail(&mut self, kinds: &[ErrorKind]) -> IoCause {
        self.unreachable = (1..).zip(kinds.iter().copied()).collect();
        match self.advance(Duration::ZERO) {
            DialProgress::Failed(cause) => cause,
            progress => panic!("{progress:?}"),
        }
    }
}

#[test]
fn the_next_attempt_begins_250_ms_after_the_previous_one() {
    let mut fixture = Fixture::new(3);
    fixture.assert_pending(Duration::ZERO, Some(ATTEMPT_DELAY));
    fixture.assert_pending(ATTEMPT_DELAY / 2, Some(ATTEMPT_DELAY));
    assert_eq!(fixture.dialled, [1]);
    fixture.assert_pending(ATTEMPT_DELAY, Some(2 * ATTEMPT_DELAY));
    fixture.assert_pending(2 * ATTEMPT_DELAY, None);
    fixture.assert_pending(100 * ATTEMPT_DELAY, None);
    assert_eq!(fixture.dialled, [1, 2, 3]);
    // The first attempt is still in progress.
    fixture.complete(1, Ok(()));
    let progress = fixture.advance(101 * ATTEMPT_DELAY);
    assert!(matches!(progress, DialProgress::Connected(1)), "{progress:?}");
}

#[test]
fn the_next_attempt_begins_at_once_after_a_failure() {
    let mut fixture = Fixture::new(3);
    fixture.assert_pending(Duration::ZERO, Some(ATTEMPT_DELAY));
    fixture.complete(1, Err(ErrorKind::ConnectionRefused));
    fixture.assert_pending(ATTEMPT_DELAY / 2, Some(ATTEMPT_DELAY / 2 + ATTEMPT_DELAY));
    assert_eq!((fixture.dialled.as_slice(), fixture.dial.attempts()), (&[1, 2][..], &[2][..]));
    // The same holds after an address at which no attempt can be started.
    fixture.unreachable.insert(3, ErrorKind::NetworkUnreachable);
    fixture.assert_pending(2 * ATTEMPT_DELAY, None);
    fixture.complete(2, Err(ErrorKind::TimedOut));
    let progress = fixture.advance(2 * ATTEMPT_DELAY);
    assert!(matches!(progress, DialProgress::Failed(IoCause::TimedOut)), "{progress:?}");
}

#[test]
fn at_most_16_addresses_are_dialled() {
    let mut fixture = Fixture::new(17);
    let kinds = [ErrorKind::ConnectionRefused; 17];
    assert_eq!((fixture.fail(&kinds), fixture.dialled.len()), (IoCause::Refused, 16));
}

#[test]
fn a_dial_fails_with_the_last_cause_that_concerns_the_host() {
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
        assert_eq!(Fixture::new(ports).fail(kinds), cause, "{kinds:?}");
    }
    for cause in [IoCause::Resolve, IoCause::Exhausted] {
        let mut dial = Dial::<u16>::new(Err(cause));
        let progress = dial.advance(Instant::now(), |_| panic!(), |_| panic!());
        assert!(matches!(progress, DialProgress::Failed(other) if other == cause));
    }
}

#[test]
fn a_socket_is_connected_if_it_has_no_error_and_another_peer() {
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
