//! The deadlines of one link.

use crate::time::Instant;

/// What a link waits for until a deadline.
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
    /// After our goodbye: the peer answers what was sent. After that: the driver closes the
    /// connection.
    Close,
}

impl LinkTimer {
    const ALL: [Self; 6] =
        [Self::Connect, Self::Handshake, Self::Confirm, Self::Idle, Self::Request, Self::Close];
}

/// One deadline for each [`LinkTimer`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimerTable {
    deadlines: [Instant; LinkTimer::ALL.len()],
    /// Not later than the earliest deadline. Deadlines are put off all the time, and one that is
    /// looked at too early does no harm.
    next: Instant,
}

impl Default for TimerTable {
    fn default() -> Self {
        Self { deadlines: [Instant::FAR_FUTURE; LinkTimer::ALL.len()], next: Instant::FAR_FUTURE }
    }
}

impl TimerTable {
    #[inline]
    pub(crate) fn set(&mut self, timer: LinkTimer, at: Instant) {
        self.deadlines[timer as usize] = at;
        self.next = self.next.min(at);
    }

    #[inline]
    pub(crate) fn get(&self, timer: LinkTimer) -> Instant {
        self.deadlines[timer as usize]
    }

    #[inline]
    pub(crate) fn stop(&mut self, timer: LinkTimer) {
        self.deadlines[timer as usize] = Instant::FAR_FUTURE;
    }

    pub(crate) fn stop_all(&mut self) {
        *self = Self::default();
    }

    /// Returns when [`expire`](Self::expire) must be called; [`Instant::FAR_FUTURE`] if no timer is
    /// set.
    #[inline]
    pub(crate) fn next(&self) -> Instant {
        self.next
    }

    /// Stops and returns a timer whose deadline has come.
    pub(crate) fn expire(&mut self, now: Instant) -> Option<LinkTimer> {
        let is_due = |at: Instant| at <= now && at < Instant::FAR_FUTURE;
        let timer = LinkTimer::ALL.into_iter().find(|timer| is_due(self.get(*timer)));
        if let Some(timer) = timer {
            self.stop(timer);
        }
        self.refresh();
        timer
    }

    /// Makes [`next`](Self::next) the earliest deadline.
    pub(crate) fn refresh(&mut self) {
        self.next = self.earliest();
    }

    /// Returns the earliest deadline.
    pub(crate) fn earliest(&self) -> Instant {
        self.deadlines.into_iter().fold(Instant::FAR_FUTURE, Instant::min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(nanos: u64) -> Instant {
        Instant::from_nanos(nanos)
    }

    #[test]
    fn timers_expire_once_and_not_before_their_deadline() {
        let mut timers = TimerTable::default();
        assert_eq!(
            (timers.next(), timers.expire(Instant::FAR_FUTURE)),
            (Instant::FAR_FUTURE, None)
        );
        timers.set(LinkTimer::Idle, at(5));
        timers.set(LinkTimer::Confirm, at(7));
        timers.set(LinkTimer::Idle, at(9));
        assert!(timers.next() <= at(7));
        assert_eq!((timers.expire(at(6)), timers.next()), (None, at(7)));
        assert_eq!((timers.expire(at(9)), timers.next()), (Some(LinkTimer::Confirm), at(9)));
        assert_eq!(
            (timers.expire(at(9)), timers.next()),
            (Some(LinkTimer::Idle), Instant::FAR_FUTURE)
        );
        assert_eq!(timers.expire(at(9)), None);
    }
}
