//! Dialling of hosts, independent of the runtime.

use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;
use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use crate::error::IoCause;

/// How long an attempt to connect may take before the next address is tried in parallel (RFC 8305
/// §5). The state machine has one time-out for all addresses, and a silent address must not use it
/// up.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// The maximum number of addresses of one host that are tried. The value is a guess. The owner of a
/// name controls how many addresses it has.
const MAX_ADDRESSES: usize = 16;

/// Connects to one of the addresses of a host. `S` is a non-blocking socket. Dropping the dial
/// cancels all attempts.
///
/// The first 16 addresses are tried in the order of the resolver. The next attempt begins 250 ms
/// after the previous one, or at once when an attempt fails. Earlier attempts continue until one
/// succeeds.
#[derive(Debug)]
pub struct Dial<S> {
    addresses: vec::IntoIter<SocketAddr>,
    attempts: Vec<S>,
    /// When the next attempt begins. `None` means at once.
    next_at: Option<Instant>,
    failure: Option<IoCause>,
}

/// The progress of a dial.
#[derive(Debug)]
pub enum DialProgress<S> {
    /// Call [`Dial::advance`] when a socket may be ready, or at this time.
    Pending(Option<Instant>),
    /// A connection is established. Drop the dial.
    Connected(S),
    /// All attempts have failed.
    Failed(IoCause),
}

impl<S> Dial<S> {
    /// Returns a dial to the addresses of a host. No attempt is started.
    #[must_use]
    pub fn new(resolved: Result<Vec<SocketAddr>, IoCause>) -> Self {
        let (mut addresses, failure) = match resolved {
            Ok(addresses) => (addresses, None),
            Err(cause) => (Vec::new(), Some(cause)),
        };
        addresses.truncate(MAX_ADDRESSES);
        Self { addresses: addresses.into_iter(), attempts: Vec::new(), next_at: None, failure }
    }

    /// Returns the sockets of the attempts in progress.
    pub fn attempts(&self) -> &[S] {
        &self.attempts
    }

    /// Advances the dial as far as possible without blocking. It may be called at any time.
    /// `connect` starts an attempt, and `is_connected` returns whether the attempt has succeeded.
    pub fn advance(
        &mut self,
        now: Instant,
        mut connect: impl FnMut(SocketAddr) -> io::Result<S>,
        mut is_connected: impl FnMut(&S) -> io::Result<bool>,
    ) -> DialProgress<S> {
        let mut index = 0;
        while let Some(attempt) = self.attempts.get(index) {
            match is_connected(attempt) {
                Ok(true) => return DialProgress::Connected(self.attempts.swap_remove(index)),
                Ok(false) => index += 1,
                Err(error) => {
                    self.attempts.swap_remove(index);
                    self.on_failed(&error);
                }
            }
        }
        while self.next_at.is_none_or(|at| at <= now)
            && let Some(address) = self.addresses.next()
        {
            match connect(address) {
                Ok(attempt) => {
                    self.attempts.push(attempt);
                    self.next_at = Some(now + ATTEMPT_DELAY);
                }
                Err(error) => self.on_failed(&error),
            }
        }
        if self.attempts.is_empty() {
            return DialProgress::Failed(self.failure.unwrap_or(IoCause::Resolve));
        }
        DialProgress::Pending(self.next_at.filter(|_| self.addresses.len() > 0))
    }

    /// Records the cause of a failed attempt. The dial fails with the cause of its last attempt.
    ///
    /// An attempt that failed because this machine has no port, descriptor or memory says nothing
    /// about the host. Its cause is reported only if all attempts failed for this reason.
    fn on_failed(&mut self, error: &io::Error) {
        let cause = IoCause::from(error);
        self.next_at = None;
        if self.failure.is_none() || !cause.is_local() {
            self.failure = Some(cause);
        }
    }
}

/// Returns whether an attempt to connect has succeeded, given the results of `take_error`,
/// `local_addr` and `peer_addr` of its socket. Writability is not sufficient, because the socket of
/// a failed attempt is writable, too.
///
/// # Errors
///
/// Returns an error if the attempt has failed, or if the socket is connected to itself. TCP may
/// connect a socket to itself if it dials a local port on which no process listens and gets the
/// same port as its own. The tower could then not listen at that port again.
pub fn is_connected(
    error: io::Result<Option<io::Error>>,
    local: io::Result<SocketAddr>,
    peer: io::Result<SocketAddr>,
) -> io::Result<bool> {
    if let Some(error) = error? {
        return Err(error);
    }
    match peer {
        Ok(peer) if local.is_ok_and(|local| local == peer) => {
            Err(io::ErrorKind::ConnectionRefused.into())
        }
        Ok(_) => Ok(true),
        Err(error) if is_in_progress(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Returns whether an error means that a connection is not established yet.
#[must_use]
pub fn is_in_progress(error: &io::Error) -> bool {
    // The error of a non-blocking connect on Unix. It has no stable `ErrorKind`.
    let in_progress = if cfg!(any(target_os = "linux", target_os = "android")) { 115 } else { 36 };
    matches!(error.kind(), io::ErrorKind::NotConnected | io::ErrorKind::WouldBlock)
        || cfg!(unix) && error.raw_os_error() == Some(in_progress)
}
