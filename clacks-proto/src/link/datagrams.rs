//! The datagrams that a link has to send.

use alloc::collections::VecDeque;

use bytes::Bytes;

/// What a datagram costs besides its bytes, in bytes. It bounds the number of short ones.
const OVERHEAD: usize = 64;

/// Why a link does not send a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DatagramRefusal {
    /// The link is not open, and is not being opened.
    Gone,
    NotTaken,
    Length {
        max: u32,
    },
    Full,
}

/// The datagrams that a link has to send, in order. Alternates with transfers.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    datagrams: VecDeque<Bytes>,
    cost: usize,
    /// A transfer was sent after the last datagram, or there was none.
    is_next: bool,
    /// A datagram did not fit since.
    was_full: bool,
}

impl Outbox {
    pub(super) fn push(&mut self, body: Bytes, bound: usize) -> Result<(), DatagramRefusal> {
        if self.cost + body.len() + OVERHEAD > bound {
            self.was_full = true;
            return Err(DatagramRefusal::Full);
        }
        self.cost += body.len() + OVERHEAD;
        self.datagrams.push_back(body);
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.datagrams.is_empty()
    }

    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.datagrams.len()).unwrap_or(u32::MAX)
    }

    /// Takes the next datagram, if it is its turn or if no transfer can be sent.
    pub(super) fn pop(&mut self, has_transfer: bool) -> Option<Bytes> {
        if has_transfer && !core::mem::replace(&mut self.is_next, false) {
            self.is_next = true;
            return None;
        }
        let body = self.datagrams.pop_front()?;
        self.cost -= body.len() + OVERHEAD;
        Some(body)
    }

    /// Drops the datagrams that the other side does not take, and returns their number.
    pub(super) fn drop_longer(&mut self, max: u32) -> u32 {
        let before = self.len();
        self.datagrams.retain(|body| u32::try_from(body.len()).is_ok_and(|len| len <= max));
        self.cost = self.datagrams.iter().map(|body| body.len() + OVERHEAD).sum();
        before - self.len()
    }

    /// Returns whether a datagram did not fit, and half of the bound is free now. Returns true
    /// once.
    pub(super) fn has_room_again(&mut self, bound: usize) -> bool {
        self.cost <= bound / 2 && core::mem::take(&mut self.was_full)
    }
}
