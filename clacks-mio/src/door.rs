//! Where connections come in.

use clacks_proto::Instant;
use mio::net::{TcpListener, TcpStream};
use std::io::ErrorKind;
use std::mem;
use std::net::IpAddr;
use std::time::Duration;

/// How long to accept nothing after the operating system could not give a connection: most likely
/// descriptors are short, and trying again at once would only burn time until one is closed. A guess.
const REST: Duration = Duration::from_millis(100);

/// The listening socket, and what is known of the connections that wait there.
pub(crate) struct Door {
    listener: TcpListener,
    /// Readiness is told once: from then on connections wait until it was seen that there are no more.
    may_wait: bool,
    rest_until: Option<Instant>,
    failing: bool,
}

impl Door {
    pub(crate) fn new(listener: TcpListener) -> Self {
        Self { listener, may_wait: true, rest_until: None, failing: false }
    }

    /// Somebody knocked.
    pub(crate) fn on_ready(&mut self) {
        self.may_wait = true;
    }

    /// When to look again: `None` when readiness will tell.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.may_wait.then_some(self.rest_until.unwrap_or(Instant::ORIGIN))
    }

    /// The next connection, if one waits and this is no time of rest.
    ///
    /// No error is a reason to stop: one connection that went away while it waited is passed over, and after all else comes a rest.
    pub(crate) fn accept(&mut self, now: Instant) -> Option<(TcpStream, IpAddr)> {
        while self.due().is_some_and(|due| due <= now) {
            self.rest_until = None;
            match self.listener.accept() {
                Ok((stream, from)) => {
                    self.failing = false;
                    return Some((stream, from.ip()));
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => self.may_wait = false,
                    ErrorKind::Interrupted | ErrorKind::ConnectionAborted => {}
                    _ => {
                        self.rest_until = Some(now + REST);
                        if !mem::replace(&mut self.failing, true) {
                            tracing::warn!(%error, "connections can't be accepted; trying on");
                        }
                    }
                },
            }
        }
        None
    }
}
