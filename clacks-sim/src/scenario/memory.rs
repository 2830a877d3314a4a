//! How much memory a run may take, before it takes it.

use clacks_proto::SendRate;

use super::error::ScenarioError;
use super::words::Heartbeat;
use super::{Repeat, Scenario};

/// A tower with nothing in it, and its place in the world (guess, on the safe side, as all of
/// these).
const TOWER: u64 = 2_048;
/// A peer: its record and its places in lists, which grow by doubling.
const PEER: u64 = 320;
/// A message besides its body: its record, its places, what is known of it in the world.
const MESSAGE: u64 = 320;
/// One end of a connection: a tower's link, and the bytes on their way.
const LINK: u64 = 1_024;
/// A message that a tower remembers, in a ring and an index that grow by doubling.
const REMEMBERED: u64 = 32;
/// A contact of a tower.
const CONTACT: u64 = 4;
/// Something that is done at some time.
const STEP: u64 = 80;
/// How things stood at a sample, kept for a law of the whole network.
const READING: u64 = 160;
/// How many copies of a message there may be: links that break leave some.
const COPIES: u64 = 2;

/// How much memory a run may take if neither the scenario nor the machine says less.
const MOST: u64 = 16 << 30;

impl Scenario {
    /// How much memory the run takes at most, in bytes, roughly: on the safe side, but no proof.
    ///
    /// The sum over all towers of 2 KiB, 320 bytes for each peer, 1 KiB for each link and 32 bytes
    /// for each remembered message, plus each message twice, contacts, steps, and readings for an
    /// oracle. The number of peers is the maximum that a tower may know or can learn in the time.
    /// The number of links is the maximum that it may have or uses within the idle time-out.
    #[must_use]
    pub fn memory_estimate(&self) -> u64 {
        let towers = u64::from(self.towers);
        let each = TOWER
            .saturating_add(self.peers().saturating_mul(PEER))
            .saturating_add(self.links().saturating_mul(LINK))
            .saturating_add(self.remembered().saturating_mul(REMEMBERED));
        let messages = self.messages.total().saturating_add(self.enqueued_by_faults());
        let size = u64::try_from(self.messages.size).unwrap_or(u64::MAX);
        let message = MESSAGE.saturating_add(size).saturating_mul(COPIES).saturating_add(STEP);
        [
            towers.saturating_mul(each.saturating_add(STEP)),
            messages.saturating_mul(message),
            self.contacts.total(self.towers).saturating_mul(CONTACT),
            self.fault_steps().saturating_mul(STEP),
            self.readings().saturating_mul(READING),
        ]
        .into_iter()
        .fold(0, u64::saturating_add)
    }

    /// Compares the estimate with a limit in bytes.
    ///
    /// # Errors
    ///
    /// When it is more.
    pub fn check_memory(&self, limit: u64) -> Result<(), ScenarioError> {
        let needed = self.memory_estimate();
        if needed > limit { Err(ScenarioError::Memory { needed, limit }) } else { Ok(()) }
    }

    /// How much memory the run may take on this machine, in bytes: what the scenario says, or else
    /// 16 GiB; and never more than is available.
    #[must_use]
    pub fn memory_limit(&self) -> u64 {
        let available =
            std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| available(&text));
        self.memory_limit.unwrap_or(MOST).min(available.unwrap_or(u64::MAX))
    }

    /// How many readings are kept for a law of the whole network.
    fn readings(&self) -> u64 {
        let samples = self.time.as_nanos() / self.sample_every().as_nanos();
        if self.checks.oracle.is_some() { u64::try_from(samples).unwrap_or(u64::MAX) } else { 0 }
    }

    /// How many peers a tower has at most.
    fn peers(&self) -> u64 {
        let learned = [&self.tower.friends, &self.tower.strangers].map(|allowance| {
            let later = self.time.as_nanos().checked_div(allowance.every.as_nanos());
            let later = later.map_or(u64::MAX, |later| u64::try_from(later).unwrap_or(u64::MAX));
            later.saturating_add(allowance.burst.into())
        });
        let contacts = self.contacts.total(self.towers).div_ceil(u64::from(self.towers.max(1)));
        let contacts = if self.contacts.file.is_some() { u64::MAX } else { contacts };
        let known = learned.into_iter().fold(contacts, u64::saturating_add);
        let max_peers = u64::try_from(self.tower.max_peers).unwrap_or(u64::MAX);
        known.min(max_peers).min(u64::from(self.towers.saturating_sub(1)))
    }

    /// How many links a tower has at most, on average over the towers: for each use one end here
    /// and one there, until both are idle.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an estimate, bounded by what is exact; casts from floats saturate"
    )]
    fn links(&self) -> u64 {
        let max_links = u64::try_from(self.tower.max_links).unwrap_or(u64::MAX);
        let most = max_links.min(self.peers().saturating_mul(2));
        let Some(by_messages) = self.sent_per_second() else { return most };
        let by_heartbeats = match self.tower.heartbeat {
            Heartbeat::Off => 0.0,
            Heartbeat::Every(every) => 1.0 / every.as_secs_f64(),
        };
        let idle = self.tower.timeouts.idle.saturating_add(self.tower.timeouts.close);
        let used = 2.0 * (1.0 + (by_messages + by_heartbeats) * idle.as_secs_f64());
        (used.ceil() as u64).min(most)
    }

    /// Returns the maximum number of messages that a tower remembers, on average over the towers. A
    /// tower receives as many as it sends.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an estimate, bounded by what is exact; casts from floats saturate"
    )]
    fn remembered(&self) -> u64 {
        let recent = u64::try_from(self.tower.recent).unwrap_or(u64::MAX);
        let received = self.sent_per_second().map(|sent| sent * self.time.as_secs_f64());
        received.map_or(recent, |received| recent.min(received.ceil() as u64))
    }

    /// Returns the maximum number of messages that a tower sends in a second, on average over the
    /// towers. `None` is no limit.
    #[allow(clippy::cast_precision_loss, reason = "an estimate")]
    fn sent_per_second(&self) -> Option<f64> {
        let messages = self.messages.total().saturating_add(self.enqueued_by_faults());
        let holders = (messages as f64 / f64::from(self.towers.max(1))).min(1.0);
        match self.tower.send_rate.send_rate() {
            SendRate::Every(every) => Some(holders / every.as_secs_f64()),
            SendRate::Unlimited if messages > 0 => None,
            SendRate::Unlimited => Some(0.0),
        }
    }

    fn enqueued_by_faults(&self) -> u64 {
        let of = |fault: &super::Fault| match &fault.what {
            super::Deed::Enqueue { towers, count } => u64::from(towers.size(self.towers))
                .saturating_mul((*count).into())
                .saturating_mul(Repeat::times(fault.repeat).into()),
            _ => 0,
        };
        self.faults.iter().map(of).fold(0, u64::saturating_add)
    }
}

/// The available memory in Linux's own report, in bytes.
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1_024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const HOUR: Duration = Duration::from_secs(3_600);

    #[test]
    fn more_of_anything_takes_more() {
        let small = Scenario::new("small", 1_000, HOUR);
        let base = small.memory_estimate();
        let more = [
            Scenario { towers: 2_000, ..small.clone() },
            small.clone().tower(|tower| tower.max_peers = 1).messages(|it| it.count = 1_000_000),
            small.clone().messages(|messages| messages.count = 1),
            small.clone().contacts(|contacts| contacts.shape = super::super::Shape::Full),
        ];
        for scenario in more {
            assert!(scenario.memory_estimate() > base, "{scenario:?}");
        }
        let judged = |sample| {
            let mut judged =
                small.clone().checks(|it| it.oracle = Some(super::super::Oracle::Capacity));
            judged.sample = Some(Duration::from_millis(sample));
            judged.memory_estimate()
        };
        assert!(judged(1) > judged(100) + 3_000_000 * 100, "every reading is kept");
        let less = small.clone().tower(|tower| tower.max_peers = 8);
        assert!(less.memory_estimate() < base);
        let busy = small.messages(|messages| messages.count = 1_000);
        let forgetful = busy.clone().tower(|tower| tower.recent = 0);
        assert_eq!(busy.memory_estimate() - forgetful.memory_estimate(), 3_600 * 32 * 1_000);
    }

    #[test]
    fn the_limit_is_said_and_suffices() {
        let scenario = Scenario::new("large", 1_000_000, HOUR);
        let needed = scenario.memory_estimate();
        assert!(scenario.check_memory(needed).is_ok());
        let said = scenario.check_memory(needed - 1).unwrap_err().to_string();
        assert!(said.starts_with("this scenario may take "), "{said}");
        assert!(said.contains("memory_limit"), "{said}");
    }

    #[test]
    fn linux_says_what_is_available() {
        let text = "MemTotal:       16303532 kB\nMemFree:  1 kB\nMemAvailable:   12 kB\n";
        assert_eq!(available(text), Some(12 * 1_024));
        assert_eq!(available("MemTotal: 1 kB\n"), None);
    }

    #[test]
    fn the_scenario_may_say_less() {
        let mut scenario = Scenario::new("any", 1, HOUR);
        scenario.memory_limit = Some(5);
        assert_eq!(scenario.memory_limit(), 5);
    }
}
