//! How a host is dialled. It must not depend on the runtime.

use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use core::num::NonZeroU16;
use core::time::Duration;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::thread;
use std::time::Instant;

use crate::address::Name;
use crate::error::IoCause;

/// How long an address of a host may be silent before the next one is tried as well. The deadline
/// of the state machine is for all addresses together, and a silent one must not use it up. Default
/// from RFC 8305 §5.
const HEAD_START: Duration = Duration::from_millis(250);

/// The most addresses of one host that are tried (guess). The owner of a name decides how many it
/// has.
const MAX_ADDRESSES: usize = 16;

/// The most names that a tower looks up at a time (guess). A look-up may take a thread for a
/// minute, and one name that nobody knows must not keep the others waiting.
pub const MAX_LOOKUPS: usize = 16;

/// The attempts to connect to the addresses of one host. `S` is a non-blocking socket. Dropping it
/// gives up all attempts.
///
/// The addresses are tried in the order of the resolver, at most 16 of them, each with a head start
/// of 250 ms before the next. When an attempt fails, the next one begins at once. Attempts that
/// have begun go on until one succeeds.
#[derive(Debug)]
pub struct Dial<S> {
    addresses: vec::IntoIter<SocketAddr>,
    attempts: Vec<S>,
    /// When the last attempt has used up its head start. `None`: at once.
    next_at: Option<Instant>,
    failure: Option<IoCause>,
}

/// How far a dial has come.
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
    /// Returns a dial to the addresses of a host. Nothing has begun.
    #[must_use]
    pub fn new(resolved: Result<Vec<SocketAddr>, IoCause>) -> Self {
        let (mut addresses, failure) = match resolved {
            Ok(addresses) => (addresses, None),
            Err(cause) => (Vec::new(), Some(cause)),
        };
        addresses.truncate(MAX_ADDRESSES);
        Self { addresses: addresses.into_iter(), attempts: Vec::new(), next_at: None, failure }
    }

    /// Returns the sockets of the attempts that have begun and not failed.
    pub fn attempts(&self) -> &[S] {
        &self.attempts
    }

    /// Goes on as far as possible without waiting. Needless calls do no harm. `connect` begins to
    /// connect to an address, `is_connected` returns whether that is done.
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
                    self.next_at = Some(now + HEAD_START);
                }
                Err(error) => self.on_failed(&error),
            }
        }
        if self.attempts.is_empty() {
            return DialProgress::Failed(self.failure.unwrap_or(IoCause::Resolve));
        }
        DialProgress::Pending(self.next_at.filter(|_| self.addresses.len() > 0))
    }

    /// Notes that an attempt failed. The dial fails with the cause of the last one.
    ///
    /// An attempt for which this machine had no port, descriptor or memory proves nothing about the
    /// host. Its cause counts only if all attempts failed like that.
    fn on_failed(&mut self, error: &io::Error) {
        let cause = IoCause::from(error);
        self.next_at = None;
        if self.failure.is_none() || cause != IoCause::Exhausted {
            self.failure = Some(cause);
        }
    }
}

/// Returns whether an attempt to connect has succeeded, from what its socket answers. That a socket
/// is writable proves nothing: one whose attempt failed is writable too.
///
/// # Errors
///
/// If the attempt has failed, or the connection leads back to its own socket. A dial to a port of
/// this machine where no process listens may be given that port for its own end, and TCP connects
/// the socket with itself. The tower at that port could then not come back.
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
    // What a non-blocking connect reports on unixes. It has no stable `ErrorKind`.
    let in_progress = if cfg!(any(target_os = "linux", target_os = "android")) { 115 } else { 36 };
    matches!(error.kind(), io::ErrorKind::NotConnected | io::ErrorKind::WouldBlock)
        || cfg!(unix) && error.raw_os_error() == Some(in_progress)
}

/// Looks up the addresses of a name, on a thread of its own: the resolver of the operating system
/// blocks and can't be interrupted. Passes the result to `answer` on that thread.
///
/// # Errors
///
/// If no thread can be started. `answer` is not called.
pub fn look_up(
    name: Name,
    port: NonZeroU16,
    answer: impl FnOnce(Result<Vec<SocketAddr>, IoCause>) + Send + 'static,
) -> io::Result<()> {
    let lookup = move || answer(resolve(&name, port));
    thread::Builder::new().name("clacks-resolver".into()).spawn(lookup).map(drop)
}

fn resolve(name: &Name, port: NonZeroU16) -> Result<Vec<SocketAddr>, IoCause> {
    match (name.as_str(), port.get()).to_socket_addrs() {
        Ok(addresses) => Ok(addresses.collect()),
        Err(error) if is_exhausted(&error) => Err(IoCause::Exhausted),
        Err(_) => Err(IoCause::Resolve),
    }
}

/// Returns whether a look-up failed because this machine lacks something.
fn is_exhausted(error: &io::Error) -> bool {
    // For want of memory (`EAI_MEMORY`) there is nothing but the text of the C library. For want of
    // a descriptor, some resolvers say that the name is unknown.
    IoCause::from(error) == IoCause::Exhausted
        || error.to_string().to_lowercase().contains("memory")
        || !has_descriptors()
}

/// Returns whether this process can open a socket.
fn has_descriptors() -> bool {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0));
    !socket.is_err_and(|error| IoCause::from(&error) == IoCause::Exhausted)
}
