//! Forges and sybils: endpoints that name addresses to towers.

use std::collections::BTreeMap;

use clacks_proto::wire::{AnnounceFrame, Farewell, Frame};
use clacks_proto::{Address, Instant, LinkId};
use rand::Rng;

use super::raw::{Io, hello};
use super::{Endpoint, Schedule, Setup};
use crate::network::{self, NameKind};
use crate::observation::TowerId;
use crate::scenario::Names;

/// What a forge names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claims {
    /// Addresses that belong to no tower, in a number of /16 networks. When all
    /// are named, the first one follows.
    MadeUp { kind: NameKind, networks: u32 },
    /// The address of a tower.
    Tower(TowerId),
}

/// Calls towers in turn. A call claims one address, and names another one as a friend. A forge of
/// sybil addresses answers at them, too. Messages that it gets are confirmed and dropped.
#[derive(Debug)]
pub(super) struct Forge {
    setup: Setup,
    claims: Claims,
    /// The first /16 network of sybil addresses.
    first_network: u32,
    schedule: Schedule,
    calls: u32,
    names: u32,
    incarnation: u64,
    /// The calls that are not over, by the index of their links.
    open: BTreeMap<usize, Call>,
    /// The last call to each tower, if calls are kept open.
    kept: BTreeMap<TowerId, LinkId>,
}

#[derive(Debug)]
struct Call {
    target: TowerId,
    claim: Option<Address>,
    friend: Option<Address>,
}

impl Forge {
    pub(super) fn new(mut setup: Setup, claims: Claims, rate: f64) -> Self {
        let targets = setup.targets().len();
        let schedule = Schedule::new(setup.window, rate * targets as f64);
        let first_network = setup.first_sybil_network();
        let incarnation = setup.draws.next_u64();
        let (open, kept) = (BTreeMap::new(), BTreeMap::new());
        let (calls, names) = (0, 0);
        Self { setup, claims, first_network, schedule, calls, names, incarnation, open, kept }
    }

    fn call(&mut self, io: &mut Io) {
        let targets = self.setup.targets();
        let Some(target) = targets.get(self.calls as usize % targets.len().max(1)).copied() else {
            return;
        };
        self.calls = self.calls.wrapping_add(1);
        let Some(address) = self.setup.address_of(target) else { return };
        let (ip, call) = match self.claims {
            Claims::MadeUp { kind, networks } => {
                let (claim, friend) = (self.name(kind, networks), self.name(kind, networks));
                let own = self.setup.plan.addresses.ip_of(self.setup.tower);
                let ip = if kind == NameKind::Sybil { claim } else { own };
                let [claim, friend] = [claim, friend].map(network::address);
                (ip, Call { target, claim, friend })
            }
            Claims::Tower(tower) => {
                let own = self.setup.plan.addresses.ip_of(self.setup.tower);
                (own, Call { target, claim: self.setup.address_of(tower), friend: None })
            }
        };
        let link = io.dial(address, ip);
        self.open.insert(link.index(), call);
        if let Claims::Tower(_) = self.claims
            && let Some(former) = self.kept.insert(target, link)
        {
            hang_up(former, io);
        }
    }

    /// Returns the next made-up address.
    fn name(&mut self, kind: NameKind, networks: u32) -> u32 {
        let number = self.names;
        self.names = self.names.wrapping_add(1);
        match kind {
            NameKind::Sybil => network::made_up(kind, self.first_network, networks, number),
            // The towers of this role share the addresses.
            NameKind::Silent | NameKind::Refusing => {
                let towers = u32::try_from(self.setup.towers.len()).unwrap_or(1);
                let number = number.wrapping_mul(towers).wrapping_add(self.setup.position());
                network::made_up(kind, 0, networks, number)
            }
        }
    }
}

fn hang_up(link: LinkId, io: &mut Io) {
    io.send(link, &Frame::Goodbye { farewell: Farewell::Idle });
    io.close(link);
}

impl Endpoint for Forge {
    fn listens_at(&self, ip: u32) -> bool {
        let is_own = ip == self.setup.plan.addresses.ip_of(self.setup.tower);
        !is_own && matches!(self.claims, Claims::MadeUp { kind: NameKind::Sybil, .. })
    }

    fn next_wakeup(&self) -> Option<Instant> {
        self.schedule.next()
    }

    fn on_timer(&mut self, io: &mut Io) {
        while self.schedule.is_due(io.now()) {
            self.call(io);
        }
    }

    fn on_open(&mut self, link: LinkId, io: &mut Io) {
        let Some(ip) = io.ip(link) else { return };
        let claim = match self.open.get(&link.index()) {
            Some(call) => call.claim.clone(),
            None => network::address(ip),
        };
        let incarnation = self.incarnation ^ u64::from(ip);
        io.send(link, &Frame::Hello(hello(&self.setup.config, incarnation, claim)));
    }

    fn on_frame(&mut self, link: LinkId, frame: &Frame<'_>, io: &mut Io) {
        let call = self.open.get(&link.index());
        match frame {
            Frame::Hello(_) => {
                if let Some(Call { friend, .. }) = call {
                    let friends = friend.iter().cloned().collect();
                    io.send(link, &Frame::Announce(AnnounceFrame { transfer: 1, friends }));
                }
            }
            Frame::Message(message) => {
                io.send(link, &Frame::Confirmed { through: message.transfer });
            }
            Frame::Announce(announce) => {
                io.send(link, &Frame::Confirmed { through: announce.transfer });
            }
            Frame::Confirmed { .. } | Frame::Refused { .. } => {
                if let (Some(_), Claims::MadeUp { .. }) = (call, self.claims) {
                    hang_up(link, io);
                }
            }
            _ => io.close(link),
        }
    }

    fn on_end(&mut self, link: LinkId, _: &mut Io) {
        let Some(call) = self.open.remove(&link.index()) else { return };
        if self.kept.get(&call.target) == Some(&link) {
            self.kept.remove(&call.target);
        }
    }
}

impl From<(Names, u32)> for Claims {
    fn from((names, networks): (Names, u32)) -> Self {
        match names {
            Names::Silent => Self::MadeUp { kind: NameKind::Silent, networks },
            Names::Refusing => Self::MadeUp { kind: NameKind::Refusing, networks },
            Names::Tower(tower) => Self::Tower(TowerId(tower)),
        }
    }
}
