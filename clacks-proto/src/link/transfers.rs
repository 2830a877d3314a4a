//! What one link carries for us: transfers that wait to be sent, and those that wait for an answer.

use alloc::collections::VecDeque;

use crate::ids::{MessageKey, PeerId};
use crate::room;
use crate::time::Instant;
use crate::wire::Attempt;

/// Something that a peer must confirm.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transfer {
    pub(crate) number: u64,
    pub(crate) attempt: Attempt,
    pub(crate) cargo: Cargo,
    pub(crate) friend: Option<PeerId>,
    /// When it was handed to the driver. Before that, since when nothing but the driver keeps it.
    pub(crate) sent: Instant,
}

/// What a transfer carries.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cargo {
    Message { key: MessageKey, len: u32 },
    Announce,
}

impl Transfer {
    /// Bytes that count towards the window.
    pub(crate) fn len(&self) -> usize {
        match self.cargo {
            Cargo::Message { len, .. } => len as usize,
            Cargo::Announce => 0,
        }
    }

    pub(crate) fn message(&self) -> Option<MessageKey> {
        match self.cargo {
            Cargo::Message { key, .. } => Some(key),
            Cargo::Announce => None,
        }
    }
}

/// Transfers in the order in which they go out. Those sent and not answered are a prefix of them, since answers come in the same order.
#[derive(Debug, Default)]
pub(crate) struct Transfers {
    all: VecDeque<Transfer>,
    sent: usize,
    sent_bytes: usize,
    unsent_bytes: usize,
}

impl Transfers {
    /// What `count` transfers take at most, in bytes.
    pub(crate) const fn memory(count: usize) -> usize {
        room::MOST_SPARE * count * size_of::<Transfer>()
    }

    /// Adds one to be sent.
    pub(crate) fn push(&mut self, transfer: Transfer) {
        self.unsent_bytes += transfer.len();
        room::for_one_more(&mut self.all);
        self.all.push_back(transfer);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.sent_bytes + self.unsent_bytes
    }

    /// How many wait for an answer.
    pub(crate) fn sent(&self) -> usize {
        self.sent
    }

    /// The bytes of those that wait for an answer.
    pub(crate) fn sent_bytes(&self) -> usize {
        self.sent_bytes
    }

    /// Whether one that was sent and not answered has this number.
    pub(crate) fn awaits(&self, number: u64) -> bool {
        self.all.iter().take(self.sent).any(|transfer| transfer.number == number)
    }

    /// All of them, in order.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Transfer> {
        self.all.iter()
    }

    /// Those to be sent.
    pub(crate) fn unsent(&self) -> impl Iterator<Item = &Transfer> {
        self.all.iter().skip(self.sent)
    }

    /// The one that has waited longest: for its answer, or else to be sent.
    pub(crate) fn oldest(&self) -> Option<&Transfer> {
        self.all.front()
    }

    /// The next to be sent.
    pub(crate) fn next(&self) -> Option<&Transfer> {
        self.all.get(self.sent)
    }

    /// Notes that the next one is sent now, and returns it.
    pub(crate) fn send_next(&mut self, now: Instant) -> Option<Transfer> {
        let next = self.all.get_mut(self.sent)?;
        next.sent = now;
        self.sent += 1;
        self.unsent_bytes -= next.len();
        self.sent_bytes += next.len();
        Some(*next)
    }

    /// Takes the one that has waited longest for its answer.
    pub(crate) fn pop_sent(&mut self) -> Option<Transfer> {
        if self.sent == 0 {
            return None;
        }
        let transfer = self.all.pop_front()?;
        self.sent -= 1;
        self.sent_bytes -= transfer.len();
        Some(transfer)
    }

    /// Notes that answers have come. When none is awaited any more, it is the next one's turn: what it waited before was not its driver's doing.
    pub(crate) fn answered(&mut self, now: Instant) {
        if let Some(next) = self.all.front_mut().filter(|_| self.sent == 0) {
            next.sent = now;
        }
    }

    /// Takes all those that were not sent.
    pub(crate) fn take_unsent(&mut self) -> VecDeque<Transfer> {
        self.unsent_bytes = 0;
        self.all.split_off(self.sent)
    }
}
