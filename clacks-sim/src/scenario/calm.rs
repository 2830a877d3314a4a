//! How long it may take, after the last fault, until everybody knows everybody as alive.

use std::time::Duration;

use clacks_proto::{Config, SendRate};

use super::Scenario;
use super::fault::{Deed, Fault, Parts};
use super::messages::Repeat;
use super::towers::Towers;

/// By how much the bound is longer than what the argument gives.
const GENEROSITY: f64 = 2.0;

/// What is added to each logarithm, so that small networks too hardly ever need the generosity:
/// e^-3 is one in twenty.
const SLACK: f64 = 3.0;

impl Scenario {
    /// How long after the last fault every running tower must know every other running one as
    /// alive. `None` when nobody can promise that: towers are never drawn, or learned, or there is
    /// no room for all.
    ///
    /// # Why so long
    ///
    /// With *n* towers, each of which draws a recipient at least *r* times a second: once a
    /// heartbeat, or, when no tower can lose its queue, as often as it holds one of *M* messages,
    /// which is the share *M* / (*M* + *n* (1 + send rate × latency)) of its ticks. The bound is
    /// twice the sum of:
    ///
    /// - **Noticing.** Whatever was on its way when the last fault ended is given up: two attempts
    ///   with all their time-outs, a back-off, and one more draw.
    /// - **Finding the lost.** Nobody stays lost after a draw, for now it succeeds. A tower that
    ///   has lost *l* others needs *l* draws that go to the lost, of which each is one with the
    ///   chance *q* = lost : all odds. Chernoff's bound, with *c* = ln *n* + 3 so that it holds for
    ///   all towers together, gives (√(2c) + √(2c + 4l))² / 4 of *q* draws. When some of the lost
    ///   never come back, they stay among those drawn, and the last one is found like the coupon
    ///   collector's last coupon: *l* (ln *n* + ln *l* + 3) of *q* draws, *l* counting those who
    ///   are gone. Where others may be dead by then, *q* is the chance of the dead.
    /// - **Hearing of each other.** Each draw tells somebody a name, any of at most *n* - 1. While
    ///   few know a tower, those who know it grow by the share *r* / (*n* - 1) a second at least:
    ///   ln *n* times its inverse until half do. From then on each of the *n*² pairs is named, in
    ///   one direction or the other, once in as long: 2 ln *n* + 3 times that until all are. New
    ///   ones come first in the draw: one more draw for each name.
    /// - **Room to learn.** Names come in vain while the allowance for friends is used up: at most
    ///   `every` for each name beyond its burst.
    ///
    /// Refusals for want of links, draws that tell a known name again in the first phase, and waves
    /// of failures between strangers are what the factor of 2 is for.
    #[must_use]
    pub fn calm_bound(&self) -> Option<Duration> {
        let config = self.tower.config();
        let others = self.towers.saturating_sub(1);
        if others == 0 {
            return Some(Duration::ZERO);
        }
        if self.ignores_for_good() {
            return None;
        }
        let (n, peers) = (f64::from(self.towers), f64::from(others));
        if usize::try_from(others).is_ok_and(|others| others > config.max_peers) {
            return None;
        }
        let rate = self.draws_per_second(&config)?;
        let learning = {
            let friends = config.friends;
            let beyond = others.saturating_sub(friends.burst);
            if beyond > 0 && friends.burst == 0 && !friends.every.is_zero() {
                return None;
            }
            f64::from(beyond) * friends.every.as_secs_f64()
        };
        let noticing =
            noticing(&config).as_secs_f64() + 4.0 * self.link.mean_latency().as_secs_f64();
        let finding = self.draws_to_find_the_lost(&config)?;
        let hearing = peers * (3.0 * n.ln() + SLACK) + peers;
        let seconds = noticing + learning + (1.0 + finding + hearing) / rate;
        Duration::try_from_secs_f64(GENEROSITY * seconds).ok().map(whole_seconds)
    }

    /// How often each tower draws a recipient, at least.
    #[allow(clippy::cast_precision_loss, reason = "an estimate")]
    fn draws_per_second(&self, config: &Config) -> Option<f64> {
        let by_heartbeat = config.heartbeat.map_or(0.0, |every| 1.0 / every.as_secs_f64());
        let messages = if self.may_lose_messages() { 0.0 } else { f64::from(self.messages.count) };
        let latency = self.link.mean_latency().as_secs_f64();
        let send_rate = match config.send_rate {
            SendRate::Every(every) => 1.0 / every.as_secs_f64(),
            // A message is handed on as soon as it has come: one round trip, and a millisecond for
            // the rest.
            SendRate::Unlimited => 1.0 / (2.0 * latency + 0.001),
        };
        let demand = f64::from(self.towers) * (1.0 + send_rate * latency);
        let by_messages = send_rate * messages / (messages + demand);
        let rate = by_heartbeat.max(by_messages);
        (rate > 0.0 && rate.is_finite()).then_some(rate)
    }

    fn may_lose_messages(&self) -> bool {
        let loses = |fault: &Fault| matches!(fault.what, Deed::Crash { .. } | Deed::Leave { .. });
        self.churn.is_some() || self.faults.iter().any(loses)
    }

    fn draws_to_find_the_lost(&self, config: &Config) -> Option<f64> {
        let (lost, gone) = self.lost_and_gone();
        if lost <= gone {
            return Some(0.0);
        }
        let odds = config.odds;
        let sum = f64::from(odds.alive) + f64::from(odds.lost) + f64::from(odds.dead);
        let weight = if self.may_make_dead(config) { odds.lost.min(odds.dead) } else { odds.lost };
        if weight == 0 {
            return None;
        }
        let chance = f64::from(weight) / sum;
        let (n, l) = (f64::from(self.towers), f64::from(lost));
        let draws = if gone == 0 {
            let c = n.ln() + SLACK;
            ((2.0 * c).sqrt() + (2.0 * c + 4.0 * l).sqrt()).powi(2) / 4.0
        } else {
            l * (n.ln() + l.ln() + SLACK)
        };
        Some(draws / chance)
    }

    /// How many others a tower may have lost when the last fault ends, and how many of those don't
    /// come back.
    fn lost_and_gone(&self) -> (u32, u32) {
        let others = self.towers.saturating_sub(1);
        let (mut lost, mut gone) = (0u32, 0u32);
        for fault in &self.faults {
            let times = Repeat::times(fault.repeat);
            let hit = |towers: &Towers| towers.size(self.towers).saturating_mul(times);
            let hit = match &fault.what {
                Deed::Crash { towers, .. } | Deed::Leave { towers, .. } => {
                    if fault.lasts.is_none() {
                        gone = gone.saturating_add(hit(towers));
                    }
                    hit(towers)
                }
                Deed::Pause { towers } | Deed::Clock { towers, .. } | Deed::Cut { towers } => {
                    hit(towers)
                }
                Deed::Partition { kind: Parts::Isolate(_), .. } | Deed::LinkConditions { .. } => {
                    others
                }
                // Those who were turned away have lost who ignored them.
                Deed::Ignore { towers, peers } => hit(towers).max(hit(peers)),
                Deed::Partition { kind, .. } => {
                    let (inside, outside) = kind.sides(self.towers);
                    inside.max(outside)
                }
                _ => 0,
            };
            lost = lost.saturating_add(hit);
        }
        if let Some(churn) = &self.churn {
            lost = lost.saturating_add(churn.towers.size(self.towers));
        }
        (if self.has_mishaps() { others } else { lost.min(others) }, gone.min(others))
    }

    /// Returns whether a tower ignores a peer and does not unignore it later. Two random groups may
    /// be different, and a paused tower takes no calls of its application.
    pub(super) fn ignores_for_good(&self) -> bool {
        let is_drawn = |group: &Towers| matches!(group, Towers::Share(_) | Towers::Count(_));
        let is_paused_at = |unignores: &Fault| {
            let pauses = |fault: &&Fault| matches!(fault.what, Deed::Pause { .. });
            let mut pauses = self.faults.iter().filter(pauses);
            pauses.any(|pause| pause.at <= unignores.end() && pause.end() >= unignores.end())
        };
        let is_unignored = |ignored: &Fault, towers: &Towers, peers: &Towers| {
            !is_drawn(towers)
                && !is_drawn(peers)
                && self.faults.iter().any(|fault| {
                    let unignores = Deed::Unignore { towers: towers.clone(), peers: peers.clone() };
                    fault.what == unignores && fault.end() > ignored.end() && !is_paused_at(fault)
                })
        };
        self.faults.iter().any(|fault| match &fault.what {
            Deed::Ignore { towers, peers } => !is_unignored(fault, towers, peers),
            _ => false,
        })
    }

    /// Whether somebody may be dead to others who is there, and does not make itself known.
    fn may_make_dead(&self, config: &Config) -> bool {
        let is_long = |time: Duration| time > config.kill_timeout;
        let silences = self.faults.iter().any(|fault| {
            let is_untold = match fault.what {
                Deed::Partition { .. } | Deed::LinkConditions { .. } | Deed::Pause { .. } => true,
                Deed::Crash { contacts, .. } | Deed::Leave { contacts, .. } => {
                    !contacts && fault.lasts.is_some()
                }
                _ => false,
            };
            is_untold && is_long(fault.end().saturating_sub(fault.at))
        });
        let churns = self.churn.as_ref().is_some_and(|churn| {
            !churn.contacts && is_long(churn.until.saturating_sub(churn.from))
        });
        silences || churns
    }
}

impl Parts {
    /// How many towers are on the one side and on the other.
    pub(super) fn sides(&self, towers: u32) -> (u32, u32) {
        let inside = match self {
            Self::Halves => towers / 2,
            Self::Random(share) => Towers::Share(*share).size(towers),
            Self::Group(group) => group.size(towers),
            Self::Isolate(_) => 1,
        };
        (inside, towers.saturating_sub(inside))
    }
}

/// How long until what was on its way is given up.
fn noticing(config: &Config) -> Duration {
    let times = &config.timeouts;
    let attempt = times.connect.saturating_add(times.handshake).saturating_add(times.confirm);
    [
        attempt.saturating_mul(2),
        times.idle,
        times.close,
        times.shutdown,
        config.probe_backoff,
        config.busy_backoff,
    ]
    .into_iter()
    .fold(Duration::ZERO, Duration::saturating_add)
}

fn whole_seconds(time: Duration) -> Duration {
    Duration::from_secs(time.as_secs().saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Heartbeat, Rate};

    fn secs(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    fn scenario(towers: u32) -> Scenario {
        Scenario::new("any", towers, secs(1_000_000))
            .tower(|tower| tower.heartbeat = Heartbeat::Every(secs(1)))
    }

    fn bound(scenario: &Scenario) -> u64 {
        scenario.calm_bound().unwrap().as_secs()
    }

    #[test]
    fn more_towers_slower_heartbeats_and_more_faults_take_longer() {
        let quiet = bound(&scenario(100));
        assert!(bound(&scenario(200)) > quiet);
        let slow = scenario(100).tower(|tower| tower.heartbeat = Heartbeat::Every(secs(9)));
        assert!(bound(&slow) > 5 * quiet);
        let stingy = scenario(100).tower(|tower| tower.friends.every = secs(100));
        assert!(bound(&stingy) > quiet);
        let crash = scenario(100).fault(Fault::crash(secs(1), Towers::Count(9)).lasts(secs(9)));
        assert!(bound(&crash) > quiet);
        let split = scenario(100).fault(Fault::partition(secs(1), secs(9), Parts::Halves));
        assert!(bound(&split) > bound(&crash));
        let lossy = scenario(100).link(|link| link.broken = 0.01);
        assert!(bound(&lossy) > bound(&split));
    }

    #[test]
    fn messages_count_as_long_as_no_tower_can_lose_them() {
        let idle = scenario(100).tower(|tower| tower.heartbeat = Heartbeat::Off);
        assert_eq!(idle.calm_bound(), None);
        let busy = idle.messages(|messages| messages.count = 300);
        let slow = bound(&busy);
        let fast = bound(&busy.clone().tower(|tower| tower.send_rate = Rate::PerSecond(10.0)));
        assert!(fast < slow);
        assert!(bound(&busy.clone().tower(|tower| tower.send_rate = Rate::Unlimited)) < slow);
        let mortal = busy.fault(Fault::crash(secs(1), Towers::One(0)));
        assert_eq!(mortal.calm_bound(), None);
    }

    #[test]
    fn the_dead_take_as_long_as_their_odds_say() {
        let split = |lasts| scenario(10).fault(Fault::partition(secs(1), lasts, Parts::Halves));
        let (short, long) = (bound(&split(secs(3_600))), bound(&split(secs(3_601))));
        assert!(long > 1_000 * short, "{short} {long}");
        let never = split(secs(3_601)).tower(|tower| tower.odds.dead = 0);
        assert_eq!(never.calm_bound(), None);
    }

    #[test]
    fn those_who_are_gone_are_drawn_in_vain() {
        let back = scenario(100).fault(Fault::crash(secs(1), Towers::Count(9)).lasts(secs(9)));
        let some_gone = back.clone().fault(Fault::crash(secs(1), Towers::Count(9)));
        assert!(bound(&some_gone) > 2 * bound(&back));
        let all_gone = scenario(100).fault(Fault::crash(secs(1), Towers::Count(9)));
        assert!(bound(&all_gone) < bound(&back), "nobody is to be found");
    }

    #[test]
    fn real_networks_keep_what_is_promised() {
        let split = Fault::partition(secs(60), secs(300), Parts::Halves);
        let untold = Deed::Crash {
            towers: Towers::Count(8),
            how: crate::scenario::CrashKind::Machine,
            contacts: false,
        };
        let untold = Fault::new(secs(60), untold).lasts(secs(300));
        let gone = Fault::crash(secs(60), Towers::Count(4));
        let some = || scenario(24).seed(7).contacts(|it| it.shape = crate::scenario::Shape::Ring);
        let networks = [
            some(),
            some().fault(split),
            some().fault(untold).fault(gone),
            some().link(|link| link.broken = 0.02).path(crate::scenario::Path::new(
                Towers::One(1),
                Towers::All,
                |link| link.silenced = Some(0.02),
            )),
        ];
        for mut network in networks {
            network.time = network.calm_bound().unwrap() + secs(400);
            let options = crate::Options::default();
            let mut run = crate::Simulation::new(&network, ".".as_ref(), options).unwrap();
            while !run.advance(10_000).is_over {}
            let outcome = run.finish();
            assert!(outcome.violations.is_empty(), "{:?}", outcome.violations);
        }
    }

    #[test]
    fn who_is_ignored_to_the_end_is_not_promised_anything() {
        let deed = |ignores: bool, towers| {
            let peers = Towers::One(5);
            if ignores { Deed::Ignore { towers, peers } } else { Deed::Unignore { towers, peers } }
        };
        let ignored =
            |towers: &Towers| scenario(9).fault(Fault::new(secs(1), deed(true, towers.clone())));
        let unignored = |towers: &Towers, at| {
            ignored(towers).fault(Fault::new(secs(at), deed(false, towers.clone())))
        };
        let (some, drawn) = (Towers::Range(1, 3), Towers::Count(3));
        assert_eq!(ignored(&some).calm_bound(), None);
        assert_eq!(unignored(&some, 1).calm_bound(), None, "not later");
        assert!(unignored(&some, 2).calm_bound().is_some());
        assert_eq!(unignored(&drawn, 2).calm_bound(), None, "others");
        let paused =
            |at| unignored(&some, 5).fault(Fault::pause(secs(at), secs(2), Towers::One(1)));
        assert_eq!(paused(4).calm_bound(), None, "its application is paused as well");
        assert!(paused(2).calm_bound().is_some() && paused(6).calm_bound().is_some());
    }

    #[test]
    fn who_has_no_room_for_everybody_promises_nothing() {
        assert!(scenario(9).tower(|tower| tower.max_peers = 8).calm_bound().is_some());
        assert_eq!(scenario(10).tower(|tower| tower.max_peers = 8).calm_bound(), None);
        assert_eq!(scenario(1).tower(|tower| tower.max_peers = 1).calm_bound(), Some(secs(0)));
    }
}
