//! Numbers of towers as addresses, and back.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU16;

use clacks_proto::{Address, Host};

use crate::observation::TowerId;

/// The port of every tower.
const PORT: u16 = 8_001;
/// The private network whose hosts are the towers: `10.0.0.1` is the first.
const NETWORK: u32 = 10 << 24;

/// The addresses of a run's towers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Addresses {
    /// How many there are.
    pub(crate) towers: u32,
}

impl Addresses {
    /// Which of the towers has an address.
    pub(crate) fn number_of(self, address: &Address) -> Option<TowerId> {
        let Host::Ip(IpAddr::V4(ip)) = address.host() else { return None };
        let number = u32::from(ip).checked_sub(NETWORK + 1)?;
        (address.port().get() == PORT && number < self.towers).then_some(TowerId(number))
    }
}

/// The address of a tower. There are fewer towers than hosts in the network.
pub(crate) fn address_of(tower: TowerId) -> Option<Address> {
    let ip = Ipv4Addr::from(NETWORK.checked_add(tower.0)?.checked_add(1)?);
    Address::from_ip(IpAddr::V4(ip), NonZeroU16::new(PORT)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tower_has_an_address_of_its_own() {
        let addresses = Addresses { towers: 4_000_000 };
        for number in [0, 1, 255, 65_535, 3_999_999] {
            let address = address_of(TowerId(number)).unwrap();
            assert_eq!(addresses.number_of(&address), Some(TowerId(number)));
        }
        assert_eq!(address_of(TowerId(0)).unwrap().to_string(), "10.0.0.1:8001");
    }

    #[test]
    fn other_addresses_are_nobodys() {
        let addresses = Addresses { towers: 3 };
        for text in ["10.0.0.0:8001", "10.0.0.4:8001", "10.0.0.1:8002", "11.0.0.1:8001", "t1:8001"]
        {
            assert_eq!(addresses.number_of(&text.parse().unwrap()), None, "{text}");
        }
    }
}
