//! A tower holds no more than its configuration says.

use clacks_proto::{Config, Instant, QueueUsage, StatusCounts, Tower};

use super::violation::{Checker, Scene, Violations};
use crate::observation::{Observation, Observed, TowerId};

/// Watches how much a tower holds, after each event.
///
/// Messages held and the bytes of their bodies, links and peers are at most what the configuration
/// allows.
#[derive(Debug)]
pub(super) struct Bounds {
    limits: Sizes,
    looks: u64,
    /// An upper bound of the number of links of each tower. Counting is O(links), so links are
    /// counted only when this bound exceeds the limit.
    links: Vec<usize>,
}

/// How much there is of what is bounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sizes {
    messages: usize,
    bytes: usize,
    links: usize,
    peers: usize,
}

impl Sizes {
    /// Returns the sizes of a tower that has this number of links.
    fn of(tower: &Tower, links: usize) -> Self {
        let QueueUsage { messages, bytes, .. } = tower.queue_usage();
        let StatusCounts { new, alive, lost, dead, ignored, .. } = tower.status_counts();
        let peers = (new + alive + lost + dead + ignored) as usize;
        Self { messages, bytes, links, peers }
    }

    fn named(self) -> [(&'static str, usize); 4] {
        let Self { messages, bytes, links, peers } = self;
        [("messages", messages), ("bytes of messages", bytes), ("links", links), ("peers", peers)]
    }
}

impl Bounds {
    pub(super) fn new(towers: u32, config: &Config) -> Self {
        let limits = Sizes {
            messages: config.max_queue_messages,
            bytes: config.max_queue_bytes,
            links: config.max_links,
            peers: config.max_peers,
        };
        Self { limits, looks: 0, links: vec![0; towers as usize] }
    }

    pub(super) fn see(&mut self, observation: &Observation) {
        if let Observed::Dialled { .. } | Observed::Accepted { .. } = observation.what
            && let Some(tower) = observation.tower
            && let Some(links) = self.links.get_mut(tower.0 as usize)
        {
            *links += 1;
        }
    }

    pub(super) fn look(
        &mut self,
        at: Instant,
        tower: TowerId,
        machine: &Tower,
        found: &mut Violations,
    ) {
        let Some(links) = self.links.get_mut(tower.0 as usize) else { return };
        if *links > self.limits.links {
            *links = machine.links().count();
        }
        let sizes = Sizes::of(machine, *links);
        self.compare(at, tower, sizes, found);
    }

    fn compare(&mut self, at: Instant, tower: TowerId, sizes: Sizes, found: &mut Violations) {
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
    use clacks_proto::{Address, Seed};

    #[test]
    fn a_size_at_its_limit_is_right_and_one_beyond_is_found() {
        let mut bounds = Bounds::new(5, &Config::default());
        let full = bounds.limits;
        assert!(full.named().iter().all(|(_, limit)| *limit > 0));
        let mut found = Violations::default();
        let (at, tower) = (Instant::ORIGIN, TowerId(4));
        bounds.compare(at, tower, full, &mut found);
        assert_eq!(found.count(), 0);
        for (over, what) in [
            (Sizes { messages: full.messages + 1, ..full }, "messages"),
            (Sizes { bytes: full.bytes + 1, ..full }, "bytes of messages"),
            (Sizes { links: full.links + 1, ..full }, "links"),
            (Sizes { peers: full.peers + 1, ..full }, "peers"),
        ] {
            let mut found = Violations::default();
            bounds.compare(at, tower, over, &mut found);
            assert_eq!(found.count_of(Checker::Bounds), 1);
            assert!(found.kept()[0].text.contains(what), "{}", found.kept()[0].text);
        }
        assert_eq!(bounds.looks(), 5);
    }

    #[test]
    fn links_are_counted_when_a_tower_may_have_too_many() {
        let mut config = Config::default();
        (config.max_links, config.max_half_open) = (3, 1);
        let address = |port| Address::new("127.0.0.1", port).unwrap();
        let mut machine = Tower::new(config.clone(), address(8_001), &Seed::from_u64(1)).unwrap();
        let (at, tower) = (Instant::ORIGIN, TowerId(0));
        let mut bounds = Bounds::new(1, &config);
        let mut found = Violations::default();
        machine.announce(&address(8_002), at).unwrap();
        for upper_bound in [1, 2, 3, 1, 2] {
            let what = Observed::Dialled { to: None };
            bounds.see(&Observation { at, tower: Some(tower), what });
            bounds.look(at, tower, &machine, &mut found);
            assert_eq!(bounds.links, [upper_bound]);
        }
        assert_eq!(found.count(), 0);
        bounds.limits.links = 0;
        bounds.look(at, tower, &machine, &mut found);
        assert_eq!(found.count_of(Checker::Bounds), 1);
    }
}
