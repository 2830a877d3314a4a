//! What a tower tells the application, as a stream.

use async_broadcast::{InactiveReceiver, Receiver, RecvError, Sender};
use clacks_proto::Report;
use smol::stream::Stream;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

/// How many reports wait for the slowest reader, at most; older ones give way and are counted in a [`Report::Missed`].
/// Default: 1 024 (guess: a second of a tower that passes a few hundred messages a second). A report may name a message and
/// keeps it alive, so that a reader that stopped reading holds up to this many messages of `max_message` bytes.
pub const NOTICES_CAPACITY: usize = 1_024;

/// What a tower tells the application, from the moment of [`Handle::notices`](crate::Handle::notices) on.
///
/// A stream of [`Report`]s, each reader having its own. A slow reader never holds up the tower: after more than [`NOTICES_CAPACITY`] unread
/// reports it gets a [`Report::Missed`] that counts the ones it lost, then those that are still there. Ends when the driver is gone.
#[derive(Debug)]
pub struct Notices {
    receiver: Receiver<Report>,
}

impl Notices {
    /// The next report; `None` when the driver is gone. Safe to cancel: a report is taken only when it is returned.
    pub async fn next(&mut self) -> Option<Report> {
        poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }
}

impl Stream for Notices {
    type Item = Report;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Report>> {
        Pin::new(&mut self.receiver).poll_recv(context).map(|received| match received? {
            Ok(report) => Some(report),
            Err(RecvError::Overflowed(count)) => Some(Report::Missed { count }),
            Err(RecvError::Closed) => None,
        })
    }
}

/// The tower's end of all its notices.
pub(crate) struct Board {
    sender: Sender<Report>,
    // Keeps the channel open while nobody reads.
    template: InactiveReceiver<Report>,
}

impl Board {
    pub(crate) fn new() -> Self {
        let (mut sender, receiver) = async_broadcast::broadcast(NOTICES_CAPACITY);
        sender.set_overflow(true);
        sender.set_await_active(false);
        Self { sender, template: receiver.deactivate() }
    }

    pub(crate) fn subscribe(&self) -> Notices {
        Notices { receiver: self.template.activate_cloned() }
    }

    /// Whether anyone reads: a report that nobody reads need not be spelled out.
    pub(crate) fn has_readers(&self) -> bool {
        self.sender.receiver_count() > 0
    }

    pub(crate) fn post(&self, report: Report) {
        // The only failures are that the last reader has just left, or that the tower is gone: then nobody is to be told.
        let _ = self.sender.try_broadcast(report);
    }

    /// Readers get what is still there, then the end.
    pub(crate) fn close(&self) {
        self.sender.close();
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
        let board = Board::new();
        assert!(!board.has_readers());
        let (mut slow, mut quick) = (board.subscribe(), board.subscribe());
        assert!(board.has_readers());
        smol::block_on(async {
            for number in 0..NOTICES_CAPACITY + 3 {
                board.post(report(number));
                assert_eq!(quick.next().await, Some(report(number)));
            }
            board.close();
            assert_eq!(slow.next().await, Some(Report::Missed { count: 3 }));
            for number in 3..NOTICES_CAPACITY + 3 {
                assert_eq!(slow.next().await, Some(report(number)));
            }
            assert_eq!(slow.next().await, None);
            assert_eq!(quick.next().await, None);
            assert_eq!(board.subscribe().next().await, None);
        });
    }
}
