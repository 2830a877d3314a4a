//! How many addresses that callers claim are learned, in all and from one network.

use alloc::vec::Vec;

use super::pacer::TokenBucket;
use crate::config::Allowance;
use crate::prefix::{Prefix, Scope};
use crate::time::Instant;

/// One network gets at most one part in so many of the allowance. The value is a guess.
const GROUP_SHARE: u32 = 4;

/// The number of networks that are remembered. Four suffice to use up the allowance.
const MAX_GROUPS: usize = 16;

/// The allowance for addresses that callers claim.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    all: TokenBucket,
    /// The networks of callers, which have used a part of their share.
    groups: Vec<(Prefix, TokenBucket)>,
}

impl Strangers {
    /// Takes a token for a caller if there is one.
    pub(super) fn take(&mut self, caller: Prefix, allowance: Allowance, now: Instant) -> bool {
        self.take_of_group(caller, allowance, now) && self.all.take(allowance, now)
    }

    /// Takes a token without regard to networks.
    pub(super) fn take_of_all(&mut self, allowance: Allowance, now: Instant) -> bool {
        self.all.take(allowance, now)
    }

    /// A private network has no share of its own: all its towers may start at once.
    fn take_of_group(&mut self, caller: Prefix, allowance: Allowance, now: Instant) -> bool {
        if caller.scope() != Scope::Public {
            return true;
        }
        let share = Allowance {
            burst: allowance.burst.div_ceil(GROUP_SHARE),
            every: allowance.every.saturating_mul(GROUP_SHARE),
        };
        let group = caller.group();
        let known = self.groups.iter().position(|(other, _)| *other == group);
        let position = known.unwrap_or_else(|| self.add(group, now));
        self.groups.get_mut(position).is_none_or(|(_, bucket)| bucket.take(share, now))
    }

    /// Adds a network, in place of the one that has used the least. Returns its position.
    fn add(&mut self, group: Prefix, now: Instant) -> usize {
        let fresh = (group, TokenBucket::default());
        if self.groups.len() < MAX_GROUPS {
            self.groups.push(fresh);
            return self.groups.len() - 1;
        }
        let used = |position: &usize| self.groups[*position].1.spent_at(now);
        let least = (0..self.groups.len()).min_by_key(used).unwrap_or(0);
        self.groups[least] = fresh;
        least
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;
    use core::time::Duration;

    const ALLOWANCE: Allowance = Allowance { burst: 16, every: Duration::from_secs(1) };

    fn caller(network: u8, host: u8) -> Prefix {
        Prefix::of(Ipv4Addr::new(198, 51, network, host).into())
    }

    /// Returns how many of 100 callers are learned.
    fn taken(strangers: &mut Strangers, at: u64, caller: impl Fn(u8) -> Prefix) -> usize {
        let now = Instant::ORIGIN + Duration::from_secs(at);
        (0..100).filter(|n| strangers.take(caller(*n), ALLOWANCE, now)).count()
    }

    #[test]
    fn rule_7_one_network_gets_a_quarter_of_the_allowance() {
        let mut strangers = Strangers::default();
        assert_eq!(taken(&mut strangers, 0, |host| caller(1, host)), 4);
        assert_eq!(taken(&mut strangers, 0, |host| caller(2, host)), 4);
        assert_eq!(taken(&mut strangers, 0, |host| caller(host, 1)), 8);
        assert_eq!(taken(&mut strangers, 8, |host| caller(1, host)), 2, "one in four seconds");
        assert_eq!(taken(&mut strangers, 8, |host| caller(3, host)), 4);
        assert!(strangers.groups.len() <= MAX_GROUPS);
    }

    #[test]
    fn rule_7_a_private_network_gets_the_whole_allowance() {
        for ip in [[127, 0, 0, 0], [10, 0, 0, 0], [192, 168, 0, 0]] {
            let [a, b, c, _] = ip;
            let mut strangers = Strangers::default();
            let host = |d| Prefix::of(Ipv4Addr::new(a, b, c, d).into());
            assert_eq!(taken(&mut strangers, 0, host), 16);
        }
    }

    #[test]
    fn rule_7_many_networks_do_not_renew_the_share_of_a_greedy_one() {
        let mut strangers = Strangers::default();
        let allowance = Allowance { burst: 1_000, every: Duration::from_secs(1) };
        let now = Instant::ORIGIN;
        let mut greedy = 0;
        for n in 0..1_000u32 {
            let other = caller(u8::try_from(n % 200).unwrap(), 1);
            strangers.take(other, allowance, now);
            greedy += usize::from(strangers.take(caller(255, 1), allowance, now));
        }
        assert_eq!(greedy, 250);
    }
}
