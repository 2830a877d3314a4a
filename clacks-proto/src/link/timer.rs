//! The deadlines of one link.

use crate::time::Instant;

/// What a link waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkTimer {
    /// The dialled peer accepts the connection.
    Connect,
    /// TLS and the hello are complete.
    Handshake,
    /// The peer answers the oldest transfer.
    Confirm,
    /// Anything is sent or arrives.
    Idle,
    /// An HTTP request that has begun is complete.
    Request,
    /// After our goodbye: the peer answers what was sent. After that: the driver closes the connection.
    Close,
}

impl LinkTimer {
    const ALL: [Self; 6] =
        [Self::Connect, Self::Handshake, Self::Confirm, Self::Idle, Self::Request, Self::Close];
}

/// One deadline for each [`LinkTimer`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimerTable([Instant; LinkTimer::ALL.len()]);

impl Default for TimerTable {
    fn default() -> Self {
        Self([Instant::FAR_FUTURE; LinkTimer::ALL.len()])
    }
}

impl TimerTable {
    #[inline]
    pub(crate) fn set(&mut self, timer: LinkTimer, at: Instant) {
        self.0[timer as usize] = at;
    }

    pub(crate) fn get(&self, timer: LinkTimer) -> Instant {
        self.0[timer as usize]
    }

    #[inline]
    pub(crate) fn stop(&mut self, timer: LinkTimer) {
        self.0[timer as usize] = Instant::FAR_FUTURE;
    }

    pub(crate) fn stop_all(&mut self) {
        *self = Self::default();
    }

    /// Returns the earliest deadline; [`Instant::FAR_FUTURE`] if no timer is set.
    #[inline]
    pub(crate) fn next(&self) -> Instant {
        self.0.iter().copied().fold(Instant::FAR_FUTURE, Instant::min)
    }

    /// Stops and returns a timer whose deadline has come.
    pub(crate) fn expire(&mut self, now: Instant) -> Option<LinkTimer> {
        let is_due = |at: Instant| at <= now && at < Instant::FAR_FUTURE;
        let timer = LinkTimer::ALL.into_iter().find(|timer| is_due(self.get(*timer)))?;
        self.stop(timer);
        Some(timer)
    }
}
