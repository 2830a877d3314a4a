//! The one formula for the most memory that a tower takes.

use crate::actions::Actions;
use crate::config::{Config, Screening};
use crate::deadlines::Deadlines;
use crate::event::Action;
use crate::ids::{Fingerprint, MessageKey};
use crate::link::Link;
use crate::peers::Peers;
use crate::queue::Queue;
use crate::room::{self, RareQueue};
use crate::seed::SparseStream;
use crate::selector::Selector;
use crate::taken::Taken;
use crate::time::Instant;
use crate::tower::Tower;

impl Config {
    /// The most memory that a tower takes, in bytes, besides what the allocator adds to each allocation.
    ///
    /// The sum of: the bodies held; for each message its record and its places in the lists; for each peer its record, its name, and the transfers
    /// remembered of it; for each link its record, one body half received, a cut frame's head, and what may wait on it in each direction;
    /// for each action and offer its place in the queue; and where HTTP is spoken, what reading one request takes. Vectors that grow by doubling are counted twice.
    #[must_use]
    pub fn max_memory(&self) -> usize {
        let offers = match self.screening {
            Screening::Off => 0,
            Screening::On { max_offers, .. } => max_offers,
        };
        let window = usize::from(self.window.messages);
        let peer = Peers::MEMORY + Taken::memory(2 * window);
        let link =
            Link::memory(window, self.max_message) + Actions::PER_LINK * 2 * size_of::<Action>();
        #[cfg(feature = "http")]
        let link = link.saturating_add(crate::link::Talk::memory(self));
        #[cfg(feature = "http")]
        let reading = crate::link::Talk::reading(self);
        #[cfg(not(feature = "http"))]
        let reading = 0;
        let parts = [
            self.max_queue_bytes,
            self.max_queue_messages.saturating_mul(Queue::MEMORY),
            self.max_peers.saturating_mul(peer + Deadlines::MEMORY),
            self.max_links.saturating_mul(link.saturating_add(Deadlines::MEMORY)),
            reading,
            // One more: the end of a shutdown is told in any case.
            self.max_pending_notices.saturating_add(1).saturating_mul(2 * size_of::<Action>()),
            offers.saturating_mul(2 * size_of::<Action>()),
            RareQueue::<(Instant, MessageKey)>::memory(0),
            offers.saturating_mul(2 * size_of::<(Instant, MessageKey)>() * room::MOST_SPARE),
            size_of::<Tower>()
                + Selector::MEMORY
                + 2 * SparseStream::MEMORY
                + size_of::<Fingerprint>(),
            2 * size_of::<usize>() + size_of::<Self>() + self.network.len(),
        ];
        parts.into_iter().fold(0, usize::saturating_add)
    }
}
