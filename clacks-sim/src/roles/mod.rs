//! Roles: towers that depart from the protocol, and endpoints that are no towers.
//!
//! A role is either a [`Behaviour`], which changes what an ordinary node does, or an [`Endpoint`],
//! which exchanges frames itself. Each role has a file. The application of towers without a role is
//! a [`Behaviour`] too.

mod deaf;
mod flood;
mod forge;
mod framer;
mod hold;
mod hole;
mod hop;
mod liar;
mod publish_flood;
mod raw;
mod role_store;
mod slow;
mod slowloris;
mod spy;
mod wrapper;

use std::sync::Arc;
use std::time::Duration;

use clacks_proto::{Address, Config, Instant};

use crate::network::NameKind;
use crate::observation::TowerId;
use crate::plan::Plan;
use crate::rng::{Purpose, RngStream, RngStreams};
use crate::scenario::RoleKind;
pub(crate) use hop::Dropped;
pub(crate) use raw::{Endpoint, RawNode};
pub(crate) use role_store::{RoleStore, StoreBehaviour};
pub use spy::FirstHops;
pub(crate) use wrapper::{Behaviour, RoleNode};

/// The roles of a run, worked out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Roles {
    pub(crate) all: Vec<RolePlan>,
    /// The position in `all` plus one, for each tower; empty if there are no roles.
    of: Vec<u8>,
    /// The towers without a role.
    honest: Arc<[TowerId]>,
}

/// A role, worked out.
#[derive(Clone, Debug)]
pub(crate) struct RolePlan {
    pub(crate) kind: RoleKind,
    pub(crate) window: Window,
    pub(crate) config: Arc<Config>,
    pub(crate) towers: Arc<[TowerId]>,
    /// What the towers of the role dropped, if they collude.
    pub(crate) dropped: Arc<Dropped>,
}

impl Roles {
    pub(crate) fn new(all: Vec<RolePlan>, towers: u32) -> Self {
        if all.is_empty() {
            return Self::default();
        }
        let mut of = vec![0; towers as usize];
        for (role, number) in all.iter().zip(1..) {
            for tower in role.towers.iter() {
                of[tower.0 as usize] = number;
            }
        }
        let honest = (0..towers).map(TowerId).filter(|tower| of[tower.0 as usize] == 0).collect();
        Self { all, of, honest }
    }

    /// Returns the role of a tower, if it has one.
    pub(crate) fn of(&self, tower: TowerId) -> Option<&RolePlan> {
        let number = self.of.get(tower.0 as usize)?.checked_sub(1)?;
        self.all.get(usize::from(number))
    }

    /// Returns all towers with a role.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (TowerId, &RolePlan)> {
        self.all.iter().flat_map(|role| role.towers.iter().map(move |tower| (*tower, role)))
    }

    /// Returns all towers with a role.
    pub(crate) fn towers(&self) -> Vec<TowerId> {
        self.iter().map(|(tower, _)| tower).collect()
    }

    /// Returns the owner of each /16 network of sybil addresses.
    pub(crate) fn sybil_owners(&self) -> Arc<[TowerId]> {
        let owner = |role: &RolePlan| {
            let networks = role.kind.sybil_networks();
            let owner = move |tower: &TowerId| std::iter::repeat_n(*tower, networks as usize);
            role.towers.iter().flat_map(owner).collect::<Vec<_>>()
        };
        self.all.iter().flat_map(owner).collect()
    }
}

/// When a role departs from the protocol.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) from: Instant,
    pub(crate) until: Instant,
}

impl Window {
    fn contains(self, now: Instant) -> bool {
        self.from <= now && now < self.until
    }
}

/// What a role needs to know of its run.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    plan: Arc<Plan>,
    tower: TowerId,
    window: Window,
    config: Arc<Config>,
    /// The towers with the same role, this one included.
    towers: Arc<[TowerId]>,
    draws: RngStream,
}

impl Setup {
    fn new(plan: &Arc<Plan>, tower: TowerId, life: u32) -> Option<(Self, RoleKind)> {
        let role = plan.roles.of(tower)?;
        let (window, config) = (role.window, Arc::clone(&role.config));
        let towers = Arc::clone(&role.towers);
        let draws = draws_of_life(&RngStreams::new(plan.seed), tower, life);
        let setup = Self { plan: Arc::clone(plan), tower, window, config, towers, draws };
        Some((setup, role.kind.clone()))
    }

    /// Returns the towers without a role.
    fn targets(&self) -> &Arc<[TowerId]> {
        &self.plan.roles.honest
    }

    fn address_of(&self, tower: TowerId) -> Option<Address> {
        self.plan.addresses.address_of(tower)
    }

    /// Returns the position of this tower among those with the same role.
    fn position(&self) -> u32 {
        let position = self.towers.iter().zip(0..).find(|(tower, _)| **tower == self.tower);
        position.map_or(0, |(_, position)| position)
    }

    /// Returns the first /16 network of sybil addresses at which this tower answers.
    fn first_sybil_network(&self) -> u32 {
        let owners = self.plan.roles.sybil_owners();
        owners
            .iter()
            .zip(0..)
            .find(|(owner, _)| **owner == self.tower)
            .map_or(0, |(_, first)| first)
    }
}

/// Returns the random numbers of a role in one life of a tower.
fn draws_of_life(random: &RngStreams, tower: TowerId, life: u32) -> RngStream {
    random.stream(Purpose::Application, u64::from(tower.0) << 32 | u64::from(life))
}

/// Returns the random numbers that choose the towers of the role with a number.
pub(crate) fn draws_of_towers(random: &RngStreams, number: usize) -> RngStream {
    random.stream(Purpose::Application, 1 << 62 | number as u64)
}

/// Returns the behaviour of a tower that departs from the protocol.
pub(crate) fn behaviour(plan: &Arc<Plan>, tower: TowerId, life: u32) -> Option<Box<dyn Behaviour>> {
    let (setup, kind) = Setup::new(plan, tower, life)?;
    Some(match kind {
        RoleKind::Hole { share } => Box::new(hole::Hole::new(setup, share)),
        RoleKind::Colluder { share } => Box::new(hole::Colluder::new(setup, share)),
        RoleKind::Liar { share } => Box::new(liar::Liar::new(setup, share)),
        RoleKind::Flood { rate, size } => Box::new(flood::Flood::new(&setup, rate, size)),
        RoleKind::Deaf {} => Box::new(deaf::Deaf::new(&setup)),
        RoleKind::Slow { delay } => Box::new(slow::Slow::new(&setup, delay)),
        _ => return None,
    })
}

/// Returns the behaviour of a tower with a store that departs from the protocol of stores.
pub(crate) fn store_behaviour(
    plan: &Arc<Plan>,
    tower: TowerId,
    life: u32,
) -> Option<Box<dyn StoreBehaviour>> {
    let (setup, kind) = Setup::new(plan, tower, life)?;
    Some(match kind {
        RoleKind::Hop { lists, colludes } => {
            let shared = plan.roles.of(tower).filter(|_| colludes);
            let dropped = shared.map(|role| Arc::clone(&role.dropped)).unwrap_or_default();
            Box::new(hop::Hop::new(setup, lists, dropped))
        }
        RoleKind::PublishFlood { rate, hours } => {
            Box::new(publish_flood::PublishFlood::new(setup, rate, hours))
        }
        _ => return None,
    })
}

/// Returns the application of a tower without a role, if messages rest there.
pub(crate) fn holding(plan: &Plan, tower: TowerId) -> Option<Box<dyn Behaviour>> {
    let hold = plan.hold.filter(|_| plan.roles.of(tower).is_none())?;
    Some(Box::new(hold::Holding { hold }))
}

/// Returns the endpoint of a role that is no tower.
pub(crate) fn endpoint(plan: &Arc<Plan>, tower: TowerId, life: u32) -> Option<Box<dyn Endpoint>> {
    let (setup, kind) = Setup::new(plan, tower, life)?;
    Some(match kind {
        RoleKind::Forge { names, networks, rate } => {
            Box::new(forge::Forge::new(setup, (names, networks).into(), rate))
        }
        RoleKind::Sybil { networks, rate } => {
            let claims = forge::Claims::MadeUp { kind: NameKind::Sybil, networks };
            Box::new(forge::Forge::new(setup, claims, rate))
        }
        RoleKind::Framer { frames, rate } => Box::new(framer::Framer::new(setup, frames, rate)),
        RoleKind::Slowloris { connections, hello } => {
            Box::new(slowloris::Slowloris::new(setup, connections, hello))
        }
        _ => return None,
    })
}

/// When the next of several actions at a rate is due.
#[derive(Clone, Copy, Debug)]
struct Schedule {
    next: Instant,
    interval: Duration,
    until: Instant,
}

impl Schedule {
    /// Returns a schedule of `rate` actions a second. A rate of 0 means none.
    fn new(window: Window, rate: f64) -> Self {
        let interval = Duration::try_from_secs_f64(1.0 / rate).unwrap_or(Duration::MAX);
        let interval = interval.max(Duration::from_nanos(1));
        let next = if rate > 0.0 { window.from } else { Instant::FAR_FUTURE };
        Self { next, interval, until: window.until }
    }

    /// Returns when the next action is due.
    fn next(&self) -> Option<Instant> {
        (self.next < self.until).then_some(self.next)
    }

    /// Returns whether an action is due now, and schedules the one after it.
    fn is_due(&mut self, now: Instant) -> bool {
        let is_due = self.next().is_some_and(|next| next <= now);
        if is_due {
            // A role that was down or paused makes up for at most one second.
            let earliest = now.as_nanos().saturating_sub(1_000_000_000);
            self.next = self.next.max(Instant::from_nanos(earliest)) + self.interval;
        }
        is_due
    }
}

#[cfg(test)]
mod tests;
