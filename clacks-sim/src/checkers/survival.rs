//! Survival: enough messages are alive at the end, or enough groups of messages.

use serde::{Deserialize, Serialize};

use super::copies::Copies;
use super::violation::{Checker, Violations};
use crate::observation::MessageId;

/// How many messages must be alive at the end of a run.
///
/// Messages are grouped in the order in which they were enqueued. A group stands for a file that is
/// cut into `n` chunks and can be read as long as `k` of them are alive. With `n = 1` and `k = 1`,
/// the goal is about single messages.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Survival {
    /// The number of messages in a group, at least 1. A last group with fewer messages is not
    /// counted.
    pub n: u32,
    /// The number of messages of a group that must be alive, at most `n`.
    pub k: u32,
    /// The share of groups that must survive, from 0 to 1.
    pub share: f64,
}

/// How many groups of messages survived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Groups {
    /// The number of groups.
    pub count: u64,
    /// The number of groups of which at least `k` messages are alive.
    pub alive: u64,
}

impl Groups {
    /// Returns the share of groups that survived, or `None` if there are no groups.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "counts of groups are exact in a float")]
    pub fn share(&self) -> Option<f64> {
        (self.count > 0).then(|| self.alive as f64 / self.count as f64)
    }
}

impl Survival {
    /// Counts the groups of the messages so far. O(messages).
    pub(super) fn groups(&self, copies: &Copies) -> Groups {
        let n = self.n.max(1);
        let count = copies.messages() / n;
        let alive = (0..count).filter(|group| {
            let members = (group * n..(group + 1) * n).map(MessageId);
            members.filter(|message| copies.is_alive(*message)).count() >= self.k as usize
        });
        Groups { count: count.into(), alive: alive.count() as u64 }
    }

    /// Compares the share of groups alive with the goal. A run without a group misses the goal.
    pub(super) fn finish(&self, copies: &Copies, found: &mut Violations) {
        let groups @ Groups { count, alive } = self.groups(copies);
        if groups.share().is_none_or(|share| share < self.share) {
            found.report(Checker::Survival, None, None, || {
                let Self { n, k, share } = self;
                format!("{alive} of {count} groups have {k} of {n} messages; {share} must have")
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::totals::LossCause;
    use crate::observation::TowerId;

    /// Returns the number of violations when these of ten messages are alive.
    fn violations(goal: Survival, alive: &[u32]) -> u64 {
        let mut copies = Copies::new(1);
        for message in (0..10).map(MessageId) {
            copies.insert(TowerId(0), message);
            if !alive.contains(&message.0) {
                copies.remove(TowerId(0), message, Some(LossCause::Crash));
            }
        }
        let mut found = Violations::default();
        goal.finish(&copies, &mut found);
        found.count()
    }

    #[test]
    fn a_group_with_less_than_k_messages_alive_bites() {
        let goal = Survival { n: 4, k: 2, share: 1.0 };
        assert_eq!(violations(goal, &[0, 3, 4, 5]), 0);
        assert_eq!(violations(goal, &[0, 3, 4, 8, 9]), 1);
        assert_eq!(violations(Survival { share: 0.5, ..goal }, &[0, 3, 4, 8, 9]), 0);
    }

    #[test]
    fn a_share_of_single_messages_can_be_demanded() {
        let goal = Survival { n: 1, k: 1, share: 0.3 };
        assert_eq!(violations(goal, &[1, 5, 9]), 0);
        assert_eq!(violations(goal, &[1, 5]), 1);
        assert_eq!(violations(Survival { n: 11, ..goal }, &[1]), 1, "there is no group");
    }
}
