//! Messages that peers did not understand.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::time::Duration;

use crate::ids::{MessageId, PeerId};
use crate::time::Instant;

/// The most rejections that are remembered. The value is a guess.
const MAX_REJECTIONS: usize = 64;

/// How long a peer does not get a message again that it rejected. The value is a guess.
const REJECTED_FOR: Duration = Duration::from_secs(60);

/// Messages that peers did not understand, the oldest first. Keeps a message that no peer
/// understands from taking every tick.
#[derive(Debug, Default)]
#[expect(clippy::box_collection, reason = "most towers have none, which then takes 8 bytes")]
pub(super) struct Rejections(Option<Box<VecDeque<(PeerId, MessageId, Instant)>>>);

impl Rejections {
    pub(super) fn add(&mut self, peer: PeerId, message: MessageId, now: Instant) {
        let rejections = self.0.get_or_insert_default();
        if rejections.len() == MAX_REJECTIONS {
            rejections.pop_front();
        }
        rejections.push_back((peer, message, now + REJECTED_FOR));
    }

    pub(super) fn contains(&self, peer: PeerId, message: MessageId, now: Instant) -> bool {
        let mut rejections = self.0.iter().flat_map(|rejections| rejections.iter());
        rejections.any(|(by, what, until)| (*by, *what) == (peer, message) && *until > now)
    }
}
