//! Limits for chunks that keep a flood from stopping keepers.

use clacks_proto::Tower;

use super::config::StoreConfig;
use crate::chunk::CHUNK;

/// The fill, in per cent, with which the share of a group is halved.
const HALVED_WITH: usize = 4;

/// How full the queue of a tower is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fill {
    /// In per cent of the messages or of the bytes, whichever is more.
    pub(super) percent: usize,
    /// The chunks for which the whole queue has room.
    capacity: usize,
}

impl Fill {
    pub(super) fn of(tower: &Tower) -> Self {
        let (config, usage) = (tower.config(), tower.queue_usage());
        let percent = |used: usize, max: usize| used.saturating_mul(100) / max.max(1);
        let messages = percent(usage.messages, config.max_queue_messages);
        let bytes = percent(usage.bytes, config.max_queue_bytes);
        let capacity = config.max_queue_messages.min(config.max_queue_bytes / CHUNK);
        Self { percent: messages.max(bytes), capacity }
    }

    /// Returns whether a limit that begins at `percent` applies. 100 disables a limit.
    pub(super) fn is_from(self, percent: u8) -> bool {
        percent < 100 && self.percent >= usize::from(percent)
    }

    /// Returns the most chunks that one of `groups` groups may have.
    pub(super) fn share(self, config: &StoreConfig, groups: usize) -> usize {
        let above = self.percent.saturating_sub(usize::from(config.shares_from));
        let halvings = u32::try_from(above / HALVED_WITH).unwrap_or(u32::MAX);
        let eighth = (self.capacity / 8).checked_shr(halvings).unwrap_or(0);
        // One more group, for clients.
        eighth.max(self.capacity.saturating_mul(2) / (groups + 1)).max(1)
    }

    /// Returns how many chunks one of `groups` groups may have published above
    /// [`publish_below`](StoreConfig::publish_below).
    pub(super) fn reserve(self, config: &StoreConfig, groups: usize) -> usize {
        let percent = config.reserve_below.saturating_sub(config.publish_below);
        // One more group, for clients.
        (self.capacity.saturating_mul(percent.into()) / 100 / (groups + 1)).max(1)
    }

    /// Returns how many hours ahead the end of a chunk may be that a client publishes.
    pub(super) fn max_hours(self, config: &StoreConfig) -> u32 {
        let (from, to) = (usize::from(config.shorter_from), usize::from(config.publish_below));
        if !self.is_from(config.shorter_from) || to <= from {
            return config.max_hours;
        }
        let above = u32::try_from((self.percent - from).min(to - from)).unwrap_or(u32::MAX);
        let span = config.max_hours.saturating_sub(config.short_hours);
        let range = u32::try_from(to - from).unwrap_or(u32::MAX);
        config.max_hours - span.saturating_mul(above) / range
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_furthest_hour_falls_from_24_to_2_between_30_and_60_per_cent() {
        let mut config = StoreConfig::default();
        let hours =
            |config: &StoreConfig, percent| Fill { percent, capacity: 1_000 }.max_hours(config);
        for (percent, expected) in [(0, 24), (29, 24), (30, 24), (45, 13), (60, 2), (99, 2)] {
            assert_eq!(hours(&config, percent), expected, "{percent} %");
        }
        config.shorter_from = 100;
        assert_eq!(hours(&config, 60), 24);
    }

    #[test]
    fn the_share_of_a_group_is_halved_with_each_4_per_cent_and_at_least_twice_an_equal_one() {
        let config = StoreConfig::default();
        let share = |percent, groups| Fill { percent, capacity: 8_000 }.share(&config, groups);
        let shares = [40, 43, 44, 48, 56, 64].map(|percent| share(percent, 999));
        assert_eq!(shares, [1_000, 1_000, 500, 250, 62, 16]);
        assert_eq!(share(99, 999), 16, "twice an equal share");
        assert_eq!(share(99, 1), 8_000, "one group has everything");
        assert_eq!(share(40, 3), 4_000);
    }
}
