//! Limits for chunks that keep a flood from stopping keepers.

use alloc::collections::BTreeMap;
use core::time::Duration;

use clacks_proto::{Instant, Tower};

use super::config::StoreConfig;
use crate::address_group::AddressGroup;
use crate::chunk::CHUNK;

/// For how long a group that was refused has a claim to the next room.
const CLAIM: Duration = Duration::from_secs(10);
/// The most groups that have a claim.
const MAX_CLAIMS: usize = 256;
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

/// The groups that were refused for lack of room, and how many chunks each has published since.
#[derive(Debug, Default)]
pub(super) struct Turns(BTreeMap<AddressGroup, Claim>);

#[derive(Clone, Copy, Debug)]
struct Claim {
    published: u64,
    /// The claim is over then.
    until: Instant,
}

impl Turns {
    /// Notes that a group was refused for lack of room.
    pub(super) fn on_refused(&mut self, group: AddressGroup, now: Instant) {
        let until = now + CLAIM;
        let published = self.least().unwrap_or(0);
        if self.0.len() < MAX_CLAIMS || self.0.contains_key(&group) {
            self.0.entry(group).or_insert(Claim { published, until }).until = until;
        }
    }

    /// Returns whether it is the turn of a group: it is at most `lead` chunks ahead of the others.
    pub(super) fn is_turn(&mut self, group: AddressGroup, lead: u32, now: Instant) -> bool {
        self.0.retain(|_, claim| claim.until > now);
        match (self.least(), self.0.get(&group)) {
            (Some(least), Some(claim)) => claim.published <= least.saturating_add(lead.into()),
            _ => true,
        }
    }

    /// Notes that a group has published a chunk.
    pub(super) fn on_published(&mut self, group: AddressGroup, now: Instant) {
        let Some(least) = self.least() else { return };
        if self.0.len() < MAX_CLAIMS || self.0.contains_key(&group) {
            let fresh = Claim { published: least, until: now + CLAIM };
            self.0.entry(group).or_insert(fresh).published += 1;
        }
    }

    fn least(&self) -> Option<u64> {
        self.0.values().map(|claim| claim.published).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(number: u8) -> AddressGroup {
        AddressGroup::of_ip(core::net::Ipv4Addr::new(10, number, 0, 1).into())
    }

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

    #[test]
    fn a_group_that_was_refused_gets_its_turn_before_a_greedy_one() {
        let (mut turns, now) = (Turns::default(), Instant::ORIGIN);
        let (greedy, modest) = (group(1), group(2));
        assert!(turns.is_turn(greedy, 16, now), "no group waits");
        turns.on_refused(greedy, now);
        turns.on_refused(modest, now);
        let taken = |turns: &mut Turns, group, now| {
            let takes = |turns: &mut Turns| {
                let is_turn = turns.is_turn(group, 16, now);
                is_turn.then(|| turns.on_published(group, now)).is_some()
            };
            (0..1_000).filter(|_| takes(turns)).count()
        };
        assert_eq!(taken(&mut turns, greedy, now), 17);
        // The modest one takes 3, so the greedy one may take 3 more.
        for _ in 0..3 {
            assert!(turns.is_turn(modest, 16, now));
            turns.on_published(modest, now);
        }
        assert_eq!(taken(&mut turns, greedy, now), 3);
        // A claim ends.
        let later = now + CLAIM;
        assert_eq!(taken(&mut turns, greedy, later), 1_000);
    }

    #[test]
    fn claims_are_bounded() {
        let mut turns = Turns::default();
        for number in 0..2_000u32 {
            let ip = core::net::Ipv4Addr::from_bits(number << 16 | 1);
            turns.on_refused(AddressGroup::of_ip(ip.into()), Instant::ORIGIN);
            turns.on_published(AddressGroup::of_ip(ip.into()), Instant::ORIGIN);
        }
        assert_eq!(turns.0.len(), MAX_CLAIMS);
    }
}
