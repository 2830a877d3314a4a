//! What a driver does about errors of its listener.

use core::time::Duration;
use std::io::{self, ErrorKind};

/// How many connections are accepted before the links have their turn (guess).
pub const ACCEPTS_PER_TURN: usize = 32;

/// How long to accept nothing after the operating system could not give a connection (guess). Most
/// likely it lacks descriptors, and trying again at once would only use processor time until one is
/// closed.
const REST: Duration = Duration::from_millis(100);

/// Decides how long to accept nothing after an error.
#[derive(Debug, Default)]
pub struct AcceptBackoff {
    is_failing: bool,
}

impl AcceptBackoff {
    /// Notes that a connection was accepted.
    pub fn on_accepted(&mut self) {
        self.is_failing = false;
    }

    /// Returns how long to accept nothing: zero if the error concerns a single connection. Logs the
    /// first of several errors.
    pub fn on_error(&mut self, error: &io::Error) -> Duration {
        if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) {
            return Duration::ZERO;
        }
        if !core::mem::replace(&mut self.is_failing, true) {
            tracing::warn!(%error, "cannot accept connections; trying again");
        }
        REST
    }
}
