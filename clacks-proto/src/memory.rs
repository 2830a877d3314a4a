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

// The numbers are those of the plain build: what HTTP adds to each link would hide that one of them has changed.
#[cfg(all(test, target_pointer_width = "64", not(feature = "http")))]
mod tests {
    use super::*;
    use crate::config::DefaultVerdict;
    use core::time::Duration;

    #[test]
    #[cfg_attr(miri, ignore = "about the layout that the stable compiler gives to records")]
    fn law_8_the_formula_counts_each_thing_that_a_tower_holds() {
        let base = Config { screening: screening(10), ..Config::default() };
        let one_more = |change: fn(&mut Config)| {
            let mut config = base.clone();
            change(&mut config);
            config.max_memory() - base.max_memory()
        };
        assert_eq!(one_more(|config| config.max_queue_bytes += 1), 1, "a byte");
        assert_eq!(one_more(|config| config.max_queue_messages += 1), 180, "a message");
        assert_eq!(one_more(|config| config.max_peers += 1), 3_757, "a peer");
        assert_eq!(one_more(|config| config.max_links += 1), 76_654, "a link");
        let (per_peer, per_link) = (96 * base.max_peers, 272 * base.max_links);
        let windows = one_more(|config| config.window.messages += 1);
        assert_eq!(windows, per_peer + per_link, "a message in each window");
        let frames = one_more(|config| config.max_message += 1);
        assert_eq!(frames, base.max_links, "a byte of the frame on each link");
        assert_eq!(one_more(|config| config.max_pending_notices += 1), 48, "a notice");
        assert_eq!(one_more(|config| config.screening = screening(11)), 112, "an offer");
        assert_eq!(one_more(|config| config.network.push('x')), 1, "a byte of the network's name");

        let mut least = base.clone();
        (least.max_queue_bytes, least.max_queue_messages) = (0, 0);
        (least.max_peers, least.max_links, least.max_pending_notices) = (0, 0, 0);
        (least.screening, least.network) = (Screening::Off, "".into());
        assert_eq!(least.max_memory(), 2_456, "the tower itself");
    }

    fn screening(max_offers: usize) -> Screening {
        let timeout = Duration::from_secs(1);
        Screening::On { max_offers, timeout, default: DefaultVerdict::Accept }
    }
}
