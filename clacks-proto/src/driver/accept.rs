//! Back-off of a driver after errors of its listener.

use core::time::Duration;
use std::io::{self, ErrorKind};

/// The maximum number of connections that are accepted before links are served. The value is a
/// guess.
pub const ACCEPTS_PER_TURN: usize = 32;

/// How long no connection is accepted after an error of the operating system. The value is a guess.
/// The most likely cause is that the process has no free file descriptors. Retrying at once would
/// only use processor time until one is closed.
const RETRY_DELAY: Duration = Duration::from_millis(100);

/// Decides how long no connection is accepted after an error.
#[derive(Debug, Default)]
pub struct AcceptBackoff {
    is_failing: bool,
}

impl AcceptBackoff {
    /// Notes that a connection was accepted.
    pub fn on_accepted(&mut self) {
        self.is_failing = false;
    }

    /// Returns how long no connection must be accepted. Returns zero if the error concerns a single
    /// connection. Logs the first of consecutive errors.
    pub fn on_error(&mut self, error: &io::Error) -> Duration {
        if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) {
            return Duration::ZERO;
        }
        if !core::mem::replace(&mut self.is_failing, true) {
            tracing::warn!(%error, "cannot accept connections; trying again");
        }
        RETRY_DELAY
    }
}
