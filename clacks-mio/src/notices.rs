//! What a tower tells the application.

use clacks_proto::Report;
use std::collections::VecDeque;
use std::fmt;
use std::sync::mpsc::{RecvTimeoutError, TryRecvError};
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::time::{Duration, Instant};

use crate::desk::lock;

/// How many reports wait for a reader, at most; older ones give way and are counted in a [`Report::Missed`].
/// Default: 1 024 (guess: a second of a tower that passes a few hundred messages a second). A report may name a message and
/// keeps it alive, so that a reader that stopped reading holds up to this many messages of `max_message` bytes.
pub const NOTICES_CAPACITY: usize = 1_024;

/// What a tower tells the application, from the moment of [`Handle::notices`](crate::Handle::notices) on.
///
/// Each reader has all [`Report`]s for itself, and may wait for them in any of four ways: [`recv`](Self::recv), [`recv_timeout`](Self::recv_timeout),
/// [`try_recv`](Self::try_recv), or as an iterator. A slow reader never holds up the tower: after more than [`NOTICES_CAPACITY`] unread reports it gets
/// a [`Report::Missed`] that counts the ones it lost, then those that are still there. Ends when the reactor is gone.
pub struct Notices {
    mailbox: Arc<Mailbox>,
}

impl Notices {
    /// Waits for the next report; `None` when the reactor is gone.
    ///
    /// Not for the thread that [turns](crate::Reactor::turn) the reactor: nothing new would ever come.
    #[must_use]
    pub fn recv(&self) -> Option<Report> {
        let mut letters = lock(&self.mailbox.letters);
        letters.waiting += 1;
        let waited = self.mailbox.arrived.wait_while(letters, |letters| letters.must_wait());
        letters = waited.unwrap_or_else(std::sync::PoisonError::into_inner);
        letters.waiting -= 1;
        letters.take()
    }

    /// Waits for the next report, but not for ever.
    ///
    /// # Errors
    ///
    /// Says whether there was none in time, or will be none. No report is lost.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Report, RecvTimeoutError> {
        // A moment that the clock can't tell is never.
        let deadline = Instant::now().checked_add(timeout);
        let mut letters = lock(&self.mailbox.letters);
        while letters.must_wait() {
            let left = deadline.map_or(timeout, |at| at.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Err(RecvTimeoutError::Timeout);
            }
            letters.waiting += 1;
            let waited = self.mailbox.arrived.wait_timeout(letters, left);
            letters = waited.unwrap_or_else(std::sync::PoisonError::into_inner).0;
            letters.waiting -= 1;
        }
        letters.take().ok_or(RecvTimeoutError::Disconnected)
    }

    /// The next report, if there is one. For the thread that turns the reactor.
    ///
    /// # Errors
    ///
    /// Says whether there is none yet, or will be none.
    pub fn try_recv(&self) -> Result<Report, TryRecvError> {
        let mut letters = lock(&self.mailbox.letters);
        if letters.must_wait() {
            return Err(TryRecvError::Empty);
        }
        letters.take().ok_or(TryRecvError::Disconnected)
    }
}

impl Iterator for Notices {
    type Item = Report;

    fn next(&mut self) -> Option<Report> {
        self.recv()
    }
}

impl fmt::Debug for Notices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unread = lock(&self.mailbox.letters).reports.len();
        f.debug_struct("Notices").field("unread", &unread).finish_non_exhaustive()
    }
}

/// The tower's end of all its notices.
#[derive(Default)]
pub(crate) struct Board(Mutex<Readers>);

#[derive(Default)]
struct Readers {
    mailboxes: Vec<Weak<Mailbox>>,
    closed: bool,
}

/// What waits for one reader.
#[derive(Default)]
struct Mailbox {
    letters: Mutex<Letters>,
    arrived: Condvar,
}

#[derive(Default)]
struct Letters {
    reports: VecDeque<Report>,
    missed: u64,
    closed: bool,
    /// How many threads wait. To wake somebody costs a call of the operating system, even when nobody sleeps.
    waiting: usize,
}

impl Board {
    pub(crate) fn subscribe(&self) -> Notices {
        let mut readers = lock(&self.0);
        let mailbox = Arc::new(Mailbox::default());
        lock(&mailbox.letters).closed = readers.closed;
        readers.mailboxes.push(Arc::downgrade(&mailbox));
        Notices { mailbox }
    }

    /// Whether anyone reads: a report that nobody reads need not be spelled out.
    pub(crate) fn has_readers(&self) -> bool {
        let mut readers = lock(&self.0);
        readers.mailboxes.retain(|mailbox| mailbox.strong_count() > 0);
        !readers.mailboxes.is_empty()
    }

    pub(crate) fn post(&self, report: &Report) {
        self.each(|letters| letters.put(report.clone()));
    }

    /// Readers get what is still there, then the end.
    pub(crate) fn close(&self) {
        lock(&self.0).closed = true;
        self.each(|letters| letters.closed = true);
    }

    fn each(&self, change: impl Fn(&mut Letters)) {
        for mailbox in lock(&self.0).mailboxes.iter().filter_map(Weak::upgrade) {
            let mut letters = lock(&mailbox.letters);
            change(&mut letters);
            let is_awaited = letters.waiting > 0;
            drop(letters);
            if is_awaited {
                mailbox.arrived.notify_all();
            }
        }
    }
}

impl Letters {
    fn must_wait(&self) -> bool {
        self.reports.is_empty() && !self.closed
    }

    fn put(&mut self, report: Report) {
        if self.reports.len() == NOTICES_CAPACITY {
            self.reports.pop_front();
            self.missed += 1;
        }
        self.reports.push_back(report);
    }

    /// What was missed is older than all that is there.
    fn take(&mut self) -> Option<Report> {
        match std::mem::take(&mut self.missed) {
            0 => self.reports.pop_front(),
            count => Some(Report::Missed { count }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(count: usize) -> Report {
        Report::ShutDown { left: count }
    }

    #[test]
    fn a_slow_reader_is_told_how_much_it_missed() {
        let board = Board::default();
        assert!(!board.has_readers());
        let (mut slow, quick) = (board.subscribe(), board.subscribe());
        for number in 0..NOTICES_CAPACITY + 3 {
            board.post(&report(number));
            assert_eq!(quick.try_recv(), Ok(report(number)));
        }
        board.close();
        assert_eq!(slow.next(), Some(Report::Missed { count: 3 }));
        assert!(slow.by_ref().eq((3..NOTICES_CAPACITY + 3).map(report)));
        assert_eq!((slow.recv(), quick.recv(), board.subscribe().recv()), (None, None, None));
        assert!(board.has_readers());
        drop((slow, quick));
        assert!(!board.has_readers());
    }

    #[test]
    fn whoever_waits_is_woken_by_a_report_and_by_the_end() {
        let ways: [fn(&Notices) -> Option<Report>; 2] =
            [Notices::recv, |notices| notices.recv_timeout(Duration::MAX).ok()];
        for way in ways {
            for expected in [Some(report(1)), None] {
                let board = Board::default();
                let notices = board.subscribe();
                std::thread::scope(|scope| {
                    let reader = scope.spawn(|| way(&notices));
                    while lock(&notices.mailbox.letters).waiting == 0 {
                        std::thread::yield_now();
                    }
                    match &expected {
                        Some(report) => board.post(report),
                        None => board.close(),
                    }
                    assert_eq!(reader.join().unwrap(), expected);
                });
                assert_eq!(lock(&notices.mailbox.letters).waiting, 0);
            }
        }
    }

    #[test]
    fn every_way_to_wait_tells_not_yet_from_never() {
        let board = Arc::new(Board::default());
        let notices = board.subscribe();
        assert_eq!(notices.try_recv(), Err(TryRecvError::Empty));
        let moment = Duration::from_millis(1);
        assert_eq!(notices.recv_timeout(moment), Err(RecvTimeoutError::Timeout));
        let poster = {
            let board = board.clone();
            std::thread::spawn(move || {
                board.post(&report(1));
                board.post(&report(2));
                board.close();
            })
        };
        assert_eq!(notices.recv(), Some(report(1)));
        assert_eq!(notices.recv_timeout(Duration::MAX), Ok(report(2)));
        poster.join().unwrap();
        assert_eq!(notices.recv_timeout(moment), Err(RecvTimeoutError::Disconnected));
        assert_eq!(notices.try_recv(), Err(TryRecvError::Disconnected));
    }
}
