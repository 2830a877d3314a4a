//! A tower holds no more than its configuration says.

use clacks_proto::{Config, Instant, Tower};

use super::violation::{Checker, Scene, Violations};
use crate::occurrence::TowerId;

/// Watches how much a tower holds, after each event.
///
/// Messages held and the bytes of their bodies, links and peers are at most what the configuration allows.
#[derive(Debug)]
pub(super) struct Bounds {
    limits: Sizes,
    looks: u64,
}

/// How much there is of what is bounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sizes {
    pub(super) messages: usize,
    pub(super) bytes: usize,
    pub(super) links: usize,
    pub(super) peers: usize,
}

impl Sizes {
    /// Those of a tower. It keeps count itself, so this costs nothing.
    pub(super) fn of(tower: &Tower) -> Self {
        let (messages, bytes) = tower.held();
        Self { messages, bytes, links: tower.links(), peers: tower.peers() }
    }

    fn named(self) -> [(&'static str, usize); 4] {
        let Self { messages, bytes, links, peers } = self;
        [("messages", messages), ("bytes of messages", bytes), ("links", links), ("peers", peers)]
    }
}

impl Bounds {
    pub(super) fn new(config: &Config) -> Self {
        let limits = Sizes {
            messages: config.max_queue_messages,
            bytes: config.max_queue_bytes,
            links: config.max_links,
            peers: config.max_peers,
        };
        Self { limits, looks: 0 }
    }

    pub(super) fn look(
        &mut self,
        at: Instant,
        tower: TowerId,
        sizes: Sizes,
        found: &mut Violations,
    ) {
        self.looks += 1;
        for ((what, size), (_, limit)) in sizes.named().into_iter().zip(self.limits.named()) {
            if size > limit {
                found.add(Checker::Bounds, Scene::of(at, tower), || {
                    format!("tower {} has {size} {what}, and may have {limit}", tower.0)
                });
            }
        }
    }

    /// How often it has looked.
    pub(super) fn looks(&self) -> u64 {
        self.looks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_at_its_limit_is_right_and_one_beyond_is_found() {
        let mut bounds = Bounds::new(&Config::default());
        let full = bounds.limits;
        assert!(full.named().iter().all(|(_, limit)| *limit > 0));
        let mut found = Violations::default();
        let (at, tower) = (Instant::ORIGIN, TowerId(4));
        bounds.look(at, tower, full, &mut found);
        assert_eq!(found.count(), 0);
        for (over, what) in [
            (Sizes { messages: full.messages + 1, ..full }, "messages"),
            (Sizes { bytes: full.bytes + 1, ..full }, "bytes of messages"),
            (Sizes { links: full.links + 1, ..full }, "links"),
            (Sizes { peers: full.peers + 1, ..full }, "peers"),
        ] {
            let mut found = Violations::default();
            bounds.look(at, tower, over, &mut found);
            assert_eq!(found.count_of(Checker::Bounds), 1);
            assert!(found.kept()[0].text.contains(what), "{}", found.kept()[0].text);
        }
        assert_eq!(bounds.looks(), 5);
    }
}
