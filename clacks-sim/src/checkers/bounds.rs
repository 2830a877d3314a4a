//! Bounds: a tower holds no more than its configuration allows.

use clacks_proto::{Config, QueueUsage, StatusCounts, Tower};

use super::violation::{Checker, Violations};
use crate::observation::{Observation, Observed, TowerId};

/// Compares the messages, the bytes of their bodies, the links and the peers of a tower with its
/// configuration after each event.
#[derive(Debug)]
pub(super) struct Bounds {
    /// An upper bound of the number of links of each tower. Counting is O(links), so links are
    /// counted only when this bound exceeds the limit.
    links: Vec<u32>,
}

/// The quantities that are bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sizes {
    messages: usize,
    bytes: usize,
    links: usize,
    peers: usize,
}

impl Sizes {
    fn of(tower: &Tower, links: usize) -> Self {
        let QueueUsage { messages, bytes, .. } = tower.queue_usage();
        let StatusCounts { new, alive, lost, dead, ignored, .. } = tower.status_counts();
        let peers = (new + alive + lost + dead + ignored) as usize;
        Self { messages, bytes, links, peers }
    }

    fn limits(config: &Config) -> Self {
        Self {
            messages: config.max_held_messages(),
            bytes: config.max_held_bytes(),
            links: config.max_links,
            peers: config.max_peers,
        }
    }

    fn named(self) -> [(&'static str, usize); 4] {
        let Self { messages, bytes, links, peers } = self;
        [("messages", messages), ("bytes of messages", bytes), ("links", links), ("peers", peers)]
    }
}

impl Bounds {
    pub(super) fn new(towers: u32) -> Self {
        Self { links: vec![0; towers as usize] }
    }

    #[inline]
    pub(super) fn observe(&mut self, observation: &Observation) {
        if let Observed::Dialled { .. } | Observed::Accepted { .. } = observation.what
            && let Some(tower) = observation.tower
            && let Some(links) = self.links.get_mut(tower.0 as usize)
        {
            *links += 1;
        }
    }

    #[inline]
    pub(super) fn after(&mut self, tower: TowerId, machine: &Tower, found: &mut Violations) {
        let Some(links) = self.links.get_mut(tower.0 as usize) else { return };
        let limits = Sizes::limits(machine.config());
        if *links as usize > limits.links {
            *links = u32::try_from(machine.links().count()).unwrap_or(u32::MAX);
        }
        compare(tower, Sizes::of(machine, *links as usize), limits, found);
    }
}

#[inline]
fn compare(tower: TowerId, sizes: Sizes, limits: Sizes, found: &mut Violations) {
    let Sizes { messages, bytes, links, peers } = limits;
    if sizes.messages <= messages
        && sizes.bytes <= bytes
        && sizes.links <= links
        && sizes.peers <= peers
    {
        return;
    }
    for ((what, size), (_, limit)) in sizes.named().into_iter().zip(limits.named()) {
        if size > limit {
            found.report(Checker::Bounds, tower, None, || {
                format!("tower {} has {size} {what}, and may have {limit}", tower.0)
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clacks_proto::{Address, Instant, Seed};

    #[test]
    fn a_size_over_its_limit_bites() {
        let limits = Sizes::limits(&Config::default());
        let mut found = Violations::default();
        compare(TowerId(4), limits, limits, &mut found);
        assert_eq!(found.count(), 0);
        for (over, what) in [
            (Sizes { messages: limits.messages + 1, ..limits }, "messages"),
            (Sizes { bytes: limits.bytes + 1, ..limits }, "bytes of messages"),
            (Sizes { links: limits.links + 1, ..limits }, "links"),
            (Sizes { peers: limits.peers + 1, ..limits }, "peers"),
        ] {
            let mut found = Violations::default();
            compare(TowerId(4), over, limits, &mut found);
            assert!(found.count() == 1 && found.texts()[0].contains(what), "{found:?}");
        }
    }

    #[test]
    fn links_are_counted_when_a_tower_may_have_too_many() {
        let mut config = Config::default();
        (config.max_links, config.max_unproved) = (3, 1);
        let address = |port| Address::new("127.0.0.1", port).unwrap();
        let mut machine = Tower::new(config, address(8_001), &Seed::from_u64(1)).unwrap();
        machine.announce(&address(8_002), Instant::ORIGIN).unwrap();
        let (mut bounds, mut found) = (Bounds::new(1), Violations::default());
        for upper_bound in [1, 2, 3, 1, 2] {
            let (tower, what) = (Some(TowerId(0)), Observed::Dialled { to: None });
            bounds.observe(&Observation { at: Instant::ORIGIN, tower, what });
            bounds.after(TowerId(0), &machine, &mut found);
            assert_eq!(bounds.links, [upper_bound]);
        }
        assert_eq!(found.count(), 0);
    }
}
