//! Address groups. A tower is free to make itself identities, but addresses cost more. So shares
//! and draws count groups of addresses before peers.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use clacks_proto::{Address, Host};

/// A group of addresses: an IPv4 /16, an IPv6 /32, or the last two labels of a name.
///
/// One owner can have many addresses of a group at little cost, so choices among towers count
/// groups first. The hash of a group is the same in each process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressGroup(u64);

/// Marks the groups of IPv6 addresses.
const IPV6: u64 = 1 << 32;
/// Marks the groups of names.
const NAME: u64 = 1 << 63;

impl AddressGroup {
    /// The group of links without a known address.
    pub(crate) const UNKNOWN: Self = Self(IPV6 - 1);
    /// The group of ::1 alone: other addresses of ::/32 are not of this machine.
    const LOCALHOST_V6: Self = Self(IPV6 << 1);

    #[allow(clippy::cast_possible_truncation, reason = "the prefix of an IPv6 address has 32 bits")]
    pub(crate) fn of_ip(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self(u64::from(ip.to_bits() >> 16)),
            IpAddr::V6(Ipv6Addr::LOCALHOST) => Self::LOCALHOST_V6,
            IpAddr::V6(ip) => Self(IPV6 | (ip.to_bits() >> 96) as u64),
        }
    }

    /// Returns whether this is the group of 127.0.0.1 or ::1. All its addresses are loopback.
    pub(crate) fn is_own_machine(self) -> bool {
        self == Self::of_ip(Ipv4Addr::LOCALHOST.into()) || self == Self::LOCALHOST_V6
    }

    /// Returns the group of an address.
    #[must_use]
    pub fn of(address: &Address) -> Self {
        match address.host() {
            Host::Ip(ip) => Self::of_ip(ip),
            Host::Name(name) => Self::of_name(name.as_str()),
        }
    }

    /// A domain costs about as much as an address, and the names within it cost nothing.
    fn of_name(name: &str) -> Self {
        let mut dots = name.rmatch_indices('.').map(|(at, _)| at + 1);
        let domain = &name[dots.nth(1).unwrap_or(0)..];
        let mut word = [0; 8];
        word.copy_from_slice(&blake3::hash(domain.as_bytes()).as_bytes()[..8]);
        Self(u64::from_be_bytes(word) | NAME)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_network_or_domain_are_one_group() {
        let group = |host: &str| AddressGroup::of(&Address::new(host, 8001).unwrap());
        for (one, other) in [
            ("192.0.2.1", "192.0.9.9"),
            ("2001:db8::1", "2001:db8:ffff::1"),
            ("a.example.org", "b.c.example.org"),
            ("example.org", "a.example.org"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
        ] {
            assert_eq!(group(one), group(other), "{one} {other}");
        }
        for (one, other) in [
            ("192.0.2.1", "192.1.2.1"),
            ("2001:db8::1", "2001:db9::1"),
            ("a.example.org", "a.example.net"),
            ("localhost", "127.0.0.1"),
        ] {
            assert_ne!(group(one), group(other), "{one} {other}");
        }
    }

    #[test]
    fn only_loopback_addresses_are_of_this_machine() {
        let is_own = |ip: &str| AddressGroup::of_ip(ip.parse().unwrap()).is_own_machine();
        for ip in ["127.0.0.1", "127.0.0.2", "::1", "::ffff:127.0.0.1"] {
            assert!(is_own(ip), "{ip}");
        }
        for ip in ["::", "::2", "::192.0.2.1", "::ffff:192.0.2.1", "192.0.2.1", "0:1::1"] {
            assert!(!is_own(ip), "{ip}");
        }
    }
}
