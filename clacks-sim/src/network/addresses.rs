//! The address book: which address belongs to which tower, and what happens at addresses without
//! a tower.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU16;
use std::sync::Arc;

use clacks_proto::{Address, Fingerprint, Host};
use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::observation::TowerId;
use crate::rng::{Purpose, RngStreams};

/// The port of every address.
const PORT: u16 = 8_001;
/// Towers with consecutive addresses: `10.0.0.1` is the first.
const DENSE: u32 = 10 << 24;
/// The first /16 network of towers that have one each: `11.0.0.0/16`.
const SPREAD: u32 = 11 << 8;
/// The /16 networks of each kind of made-up addresses begin here: silent, refusing, sybil.
const MADE_UP: [(NameKind, u32); 3] =
    [(NameKind::Silent, 128 << 8), (NameKind::Refusing, 136 << 8), (NameKind::Sybil, 144 << 8)];
/// The number of /16 networks of each kind of made-up addresses.
pub(crate) const MADE_UP_NETWORKS: u32 = 8 << 8;
/// The most towers that can have a /16 network each: the public part below `127.0.0.0`.
pub(crate) const MAX_SPREAD: u32 = (127 << 8) - SPREAD;

/// Which addresses towers have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AddressLayout {
    /// Consecutive addresses in the private network `10.0.0.0/8`.
    #[default]
    Dense,
    /// One public /16 network for each tower, for at most 29 696 towers.
    Spread,
}

/// What happens at an address that belongs to no tower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NameKind {
    /// A dial is never answered.
    Silent,
    /// A dial is refused.
    Refusing,
    /// A role answers at the address.
    Sybil,
}

/// Where a dial leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Destination {
    Tower(TowerId),
    /// The dial is never answered.
    Silent,
    /// The dial is refused.
    Refusing,
    /// There is no route.
    Unreachable,
}

/// The addresses of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct AddressBook {
    towers: u32,
    layout: AddressLayout,
    /// The role tower that answers in each /16 network of sybil addresses.
    sybils: Arc<[TowerId]>,
}

impl AddressBook {
    pub(crate) fn new(towers: u32, layout: AddressLayout, sybils: Arc<[TowerId]>) -> Self {
        Self { towers, layout, sybils }
    }

    /// Returns the IPv4 address of a tower as a number.
    pub(crate) fn ip_of(&self, tower: TowerId) -> u32 {
        match self.layout {
            AddressLayout::Dense => DENSE + tower.0 + 1,
            AddressLayout::Spread => (SPREAD + tower.0) << 16 | 1,
        }
    }

    /// Returns the address of a tower.
    pub(crate) fn address_of(&self, tower: TowerId) -> Option<Address> {
        address(self.ip_of(tower))
    }

    /// Returns the tower with an address. Addresses that a role answers besides its own are not
    /// included.
    pub(crate) fn tower_at(&self, address: &Address) -> Option<TowerId> {
        self.tower_with(ip(address))
    }

    /// Returns the tower that answers at an address.
    pub(crate) fn responder_at(&self, address: &Address) -> Option<TowerId> {
        match self.destination(address) {
            Destination::Tower(tower) => Some(tower),
            _ => None,
        }
    }

    /// Returns where a dial leads.
    pub(super) fn destination(&self, address: &Address) -> Destination {
        let ip = ip(address);
        if let Some(tower) = self.tower_with(ip) {
            return Destination::Tower(tower);
        }
        let network = ip >> 16;
        let is_in = |first: u32| (first..first + MADE_UP_NETWORKS).contains(&network);
        match MADE_UP.iter().find(|(_, first)| is_in(*first)) {
            Some((NameKind::Silent, _)) => Destination::Silent,
            Some((NameKind::Refusing, _)) => Destination::Refusing,
            Some((NameKind::Sybil, first)) => {
                let owner = self.sybils.get((network - first) as usize);
                owner.map_or(Destination::Refusing, |owner| Destination::Tower(*owner))
            }
            None => Destination::Unreachable,
        }
    }

    fn tower_with(&self, ip: u32) -> Option<TowerId> {
        let number = match self.layout {
            AddressLayout::Dense => ip.checked_sub(DENSE + 1)?,
            AddressLayout::Spread => (ip >> 16).checked_sub(SPREAD).filter(|_| ip & 0xffff == 1)?,
        };
        (number < self.towers).then_some(TowerId(number))
    }
}

/// Returns a made-up address as a number. Consecutive addresses lie in `networks` different /16
/// networks, of which `first` is the first one of their kind.
pub(crate) fn made_up(kind: NameKind, first: u32, networks: u32, number: u32) -> u32 {
    let base = MADE_UP.iter().find(|(other, _)| *other == kind).map_or(0, |(_, base)| *base);
    let networks = networks.max(1);
    let network = (first + number % networks) % MADE_UP_NETWORKS;
    (base + network) << 16 | (number / networks) & 0xffff
}

/// Returns the address with a number.
pub(crate) fn address(ip: u32) -> Option<Address> {
    Address::from_ip(IpAddr::V4(Ipv4Addr::from(ip)), NonZeroU16::new(PORT)?).ok()
}

/// Returns the number of an address, or 0 if no simulated network contains the address.
pub(super) fn ip(address: &Address) -> u32 {
    match address.host() {
        Host::Ip(IpAddr::V4(ip)) if address.port().get() == PORT => u32::from(ip),
        _ => 0,
    }
}

/// Returns the key that is proved at an address. It stays the same when a tower restarts.
pub(super) fn key(random: &RngStreams, ip: u32) -> Fingerprint {
    let mut key = [0; 32];
    random.stream(Purpose::Application, 1 << 63 | u64::from(ip)).fill_bytes(&mut key);
    Fingerprint(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tower_has_its_own_address() {
        for (layout, towers, first) in [
            (AddressLayout::Dense, 4_000_000, "10.0.0.1:8001"),
            (AddressLayout::Spread, MAX_SPREAD, "11.0.0.1:8001"),
        ] {
            let book = AddressBook::new(towers, layout, Arc::default());
            for number in [0, 1, 255, towers - 1] {
                let address = book.address_of(TowerId(number)).unwrap();
                assert_eq!(book.tower_at(&address), Some(TowerId(number)));
                assert_eq!(book.destination(&address), Destination::Tower(TowerId(number)));
            }
            assert_eq!(book.address_of(TowerId(0)).unwrap().to_string(), first);
        }
    }

    #[test]
    fn spread_towers_have_a_network_each() {
        let book = AddressBook::new(300, AddressLayout::Spread, Arc::default());
        let networks: std::collections::BTreeSet<_> =
            (0..300).map(|tower| book.ip_of(TowerId(tower)) >> 16).collect();
        assert_eq!(networks.len(), 300);
    }

    #[test]
    fn an_unknown_address_is_unreachable() {
        let book = AddressBook::new(3, AddressLayout::Dense, Arc::default());
        for text in ["10.0.0.0:8001", "10.0.0.4:8001", "10.0.0.1:8002", "11.0.0.1:8001", "t1:8001"]
        {
            let address = text.parse().unwrap();
            assert_eq!(book.tower_at(&address), None, "{text}");
            assert_eq!(book.destination(&address), Destination::Unreachable, "{text}");
        }
    }

    #[test]
    fn made_up_addresses_behave_as_their_kind_says() {
        let sybils = Arc::from([TowerId(7), TowerId(7), TowerId(8), TowerId(8)]);
        let book = AddressBook::new(9, AddressLayout::Dense, sybils);
        let at = |kind, first, number| address(made_up(kind, first, 2, number)).unwrap();
        for number in [0, 1, 5, 131_071] {
            let silent = book.destination(&at(NameKind::Silent, 0, number));
            assert_eq!(silent, Destination::Silent);
            let refusing = book.destination(&at(NameKind::Refusing, 0, number));
            assert_eq!(refusing, Destination::Refusing);
            for (first, owner) in [(0, TowerId(7)), (2, TowerId(8))] {
                let sybil = at(NameKind::Sybil, first, number);
                assert_eq!(book.destination(&sybil), Destination::Tower(owner), "{sybil}");
                assert_eq!(book.responder_at(&sybil), Some(owner));
                assert_eq!(book.tower_at(&sybil), None, "it is not the tower's own address");
            }
        }
    }

    #[test]
    fn a_key_belongs_to_an_address() {
        let random = RngStreams::new(1);
        assert_eq!(key(&random, 7), key(&random, 7));
        assert_ne!(key(&random, 7), key(&random, 8));
        assert_ne!(key(&random, 7), key(&RngStreams::new(2), 7));
    }
}
