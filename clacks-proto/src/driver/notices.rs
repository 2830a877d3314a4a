//! The notices of a tower, for any number of readers.

use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::fmt;
use core::future::poll_fn;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use std::sync::Mutex;
use std::time::Instant;

use event_listener::{Event, EventListener, Listener};
use futures_core::Stream;

use super::lock;
use crate::event::Notice;
use crate::message::Message;

/// The maximum number of unread notices of one reader (guess: one second of a tower that passes a
/// few hundred messages a second). Older notices are dropped and counted in a [`Notice::Missed`].
pub const NOTICES_CAPACITY: usize = 1_024;

/// The maximum number of bytes of message bodies in the unread notices of one reader. The value is
/// a guess. A single notice may exceed it. Older notices are dropped and counted in a
/// [`Notice::Missed`].
pub const NOTICES_BYTES: usize = 4 * 1024 * 1024;

/// A reader of the notices of a tower, from the call of [`Handle::notices`](super::Handle::notices)
/// on.
///
/// Each reader receives all [`Notice`]s. Async code uses [`recv`](Self::recv) or [`Stream`]. Other
/// code uses [`recv_blocking`](Self::recv_blocking), [`recv_timeout`](Self::recv_timeout),
/// [`try_recv`](Self::try_recv) or [`iter`](Self::iter). A slow reader never delays the tower. It
/// loses the oldest notices beyond [`NOTICES_CAPACITY`] and [`NOTICES_BYTES`], and receives a
/// [`Notice::Missed`] with their number. The reader ends with the driver.
pub struct Notices {
    reader: Arc<Reader>,
    listener: Option<EventListener>,
}

/// The error of [`Notices::try_recv`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryRecvError {
    /// There is no notice yet.
    Empty,
    /// The driver has ended, and all notices are read.
    Closed,
}

/// The error of [`Notices::recv_timeout`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecvTimeoutError {
    /// No notice arrived in time.
    Timeout,
    /// The driver has ended, and all notices are read.
    Closed,
}

impl fmt::Display for TryRecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "no notice yet",
            Self::Closed => "the driver has ended",
        })
    }
}

impl fmt::Display for RecvTimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Timeout => "no notice in time",
            Self::Closed => "the driver has ended",
        })
    }
}

impl core::error::Error for TryRecvError {}
impl core::error::Error for RecvTimeoutError {}

impl Notices {
    /// Waits for the next notice. Returns `None` after the end of the driver. No notice is lost if
    /// the future is dropped.
    pub async fn recv(&mut self) -> Option<Notice> {
        poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }

    /// Blocks until the next notice. Returns `None` after the end of the driver.
    ///
    /// Do not call it on the thread that runs the driver, because this would deadlock.
    pub fn recv_blocking(&mut self) -> Option<Notice> {
        loop {
            // Listen before the check, so that no notification is missed.
            let listener = self.reader.arrived.listen();
            match self.try_recv() {
                Ok(notice) => return Some(notice),
                Err(TryRecvError::Closed) => return None,
                Err(TryRecvError::Empty) => listener.wait(),
            }
        }
    }

    /// Returns an iterator that blocks until the next notice and ends with the driver.
    pub fn iter(&mut self) -> impl Iterator<Item = Notice> + '_ {
        core::iter::from_fn(|| self.recv_blocking())
    }

    /// Blocks until the next notice, but no longer than `timeout`.
    ///
    /// # Errors
    ///
    /// Returns an error if no notice arrived in time, or if the driver has ended.
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Notice, RecvTimeoutError> {
        // The deadline is beyond the range of the clock.
        let Some(deadline) = Instant::now().checked_add(timeout) else {
            return self.recv_blocking().ok_or(RecvTimeoutError::Closed);
        };
        loop {
            let listener = self.reader.arrived.listen();
            match self.try_recv() {
                Ok(notice) => return Ok(notice),
                Err(TryRecvError::Closed) => return Err(RecvTimeoutError::Closed),
                Err(TryRecvError::Empty) if Instant::now() >= deadline => {
                    return Err(RecvTimeoutError::Timeout);
                }
                Err(TryRecvError::Empty) => _ = listener.wait_deadline(deadline),
            }
        }
    }

    /// Returns the next notice without blocking.
    ///
    /// # Errors
    ///
    /// Returns an error if there is no unread notice, or if the driver has ended.
    pub fn try_recv(&mut self) -> Result<Notice, TryRecvError> {
        let mut queue = lock(&self.reader.queue);
        match queue.pop() {
            Some(notice) => Ok(notice),
            None if queue.is_closed => Err(TryRecvError::Closed),
            None => Err(TryRecvError::Empty),
        }
    }
}

impl Stream for Notices {
    type Item = Notice;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Notice>> {
        loop {
            let reader = self.reader.clone();
            let mut listener = self.listener.take().unwrap_or_else(|| reader.arrived.listen());
            match self.try_recv() {
                Ok(notice) => return Poll::Ready(Some(notice)),
                Err(TryRecvError::Closed) => return Poll::Ready(None),
                Err(TryRecvError::Empty) => {}
            }
            if Pin::new(&mut listener).poll(context).is_pending() {
                self.listener = Some(listener);
                return Poll::Pending;
            }
        }
    }
}

impl fmt::Debug for Notices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unread = lock(&self.reader.queue).notices.len();
        f.debug_struct("Notices").field("unread", &unread).finish_non_exhaustive()
    }
}

/// The sender of notices to all readers.
#[derive(Default)]
pub(super) struct Broadcast(Mutex<Readers>);

#[derive(Default)]
struct Readers {
    readers: Vec<Weak<Reader>>,
    is_closed: bool,
}

#[derive(Default)]
struct Reader {
    queue: Mutex<Queue>,
    arrived: Event,
}

/// The unread notices of one reader.
#[derive(Default)]
struct Queue {
    notices: VecDeque<Notice>,
    bytes: usize,
    missed: u64,
    is_closed: bool,
}

impl Queue {
    fn push(&mut self, notice: Notice) {
        self.bytes += body_len(&notice);
        self.notices.push_back(notice);
        while self.notices.len() > NOTICES_CAPACITY
            || self.bytes > NOTICES_BYTES && self.notices.len() > 1
        {
            let Some(dropped) = self.notices.pop_front() else { break };
            self.bytes -= body_len(&dropped);
            self.missed += match dropped {
                Notice::Missed { count } => count,
                _ => 1,
            };
        }
    }

    fn pop(&mut self) -> Option<Notice> {
        match core::mem::take(&mut self.missed) {
            0 => {
                let notice = self.notices.pop_front()?;
                self.bytes -= body_len(&notice);
                Some(notice)
            }
            count => Some(Notice::Missed { count }),
        }
    }
}

fn body_len(notice: &Notice) -> usize {
    notice.message().map_or(0, Message::len)
}

impl Broadcast {
    pub(super) fn subscribe(&self) -> Notices {
        let mut readers = lock(&self.0);
        let reader = Arc::new(Reader::default());
        lock(&reader.queue).is_closed = readers.is_closed;
        readers.readers.push(Arc::downgrade(&reader));
        Notices { reader, listener: None }
    }

    /// Passes notices to all readers.
    pub(super) fn send(&self, notices: &mut Vec<Notice>) {
        if !notices.is_empty() {
            for reader in self.readers() {
                let mut queue = lock(&reader.queue);
                notices.iter().for_each(|notice| queue.push(notice.clone()));
                drop(queue);
                // Called without the lock, because it runs wakers.
                reader.arrived.notify(usize::MAX);
            }
            notices.clear();
        }
    }

    fn readers(&self) -> Vec<Arc<Reader>> {
        let mut readers = lock(&self.0);
        readers.readers.retain(|reader| reader.strong_count() > 0);
        readers.readers.iter().filter_map(Weak::upgrade).collect()
    }

    /// Closes all readers. They return their unread notices, and then the end.
    pub(super) fn close(&self) {
        lock(&self.0).is_closed = true;
        for reader in self.readers() {
            lock(&reader.queue).is_closed = true;
            reader.arrived.notify(usize::MAX);
        }
    }
}
