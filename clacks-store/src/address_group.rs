//! The part of an address that one operator controls.

use core::net::IpAddr;

use clacks_proto::{Address, Host, Name};

/// The network of an address: an IPv4 /16, an IPv6 /32, or a host name. Many identities cost
/// nothing, and many networks do, so a network is drawn before a tower in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum AddressGroup {
    V4([u8; 2]),
    V6([u8; 4]),
    Name(Name),
}

impl AddressGroup {
    pub(crate) fn of(address: &Address) -> Self {
        match address.host() {
            Host::Ip(IpAddr::V4(ip)) => {
                let [a, b, ..] = ip.octets();
                Self::V4([a, b])
            }
            Host::Ip(IpAddr::V6(ip)) => {
                let [a, b, c, d, ..] = ip.octets();
                Self::V6([a, b, c, d])
            }
            Host::Name(name) => Self::Name(name.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_network_share_a_group() {
        let group = |text: &str| AddressGroup::of(&text.parse().unwrap());
        assert_eq!(group("192.0.2.1:1"), group("192.0.9.9:2"));
        assert_ne!(group("192.0.2.1:1"), group("192.1.2.1:1"));
        assert_eq!(group("[2001:db8::1]:1"), group("[2001:db8:5::2]:2"));
        assert_ne!(group("[2001:db8::1]:1"), group("[2001:db9::1]:1"));
        assert_eq!(group("a.example:1"), group("a.example:2"));
        assert_ne!(group("a.example:1"), group("b.example:1"));
    }
}
