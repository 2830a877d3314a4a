//! The network that a connection comes from, and how far addresses reach.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::address::{Address, Host};

/// How far from this machine an address is, in order: a host of a wider scope can't reach one of a
/// narrower scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scope {
    Public,
    /// Private (RFC 1918, RFC 4193) or link-local.
    Private,
    Loopback,
}

/// The part of an IP address that one host or site controls: an IPv4 address, or the /64 network of
/// an IPv6 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Prefix(u64);

/// Marks IPv4 addresses. No IPv6 network that can be dialled begins like this.
const IPV4: u64 = 0xffff << 32;

impl Prefix {
    /// The prefix of a host that is known by its name. Its scope is public.
    pub(crate) const UNKNOWN: Self = Self(u64::MAX);

    #[allow(clippy::cast_possible_truncation, reason = "the lower half is dropped")]
    pub(crate) fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self(IPV4 | u64::from(ip.to_bits())),
            IpAddr::V6(ip) => Self((ip.to_bits() >> 64) as u64),
        }
    }

    /// Returns the prefix of a dialled address.
    pub(crate) fn of_address(address: &Address) -> Self {
        match address.host() {
            Host::Ip(ip) => Self::of(ip),
            Host::Name(_) if address.scope() == Scope::Loopback => {
                Self::of(IpAddr::V4(Ipv4Addr::LOCALHOST))
            }
            Host::Name(_) => Self::UNKNOWN,
        }
    }

    /// Returns the network that one operator controls: the /24 network of an IPv4 address, or the
    /// /48 network of an IPv6 address. These are the smallest networks that are routed by
    /// themselves.
    pub(crate) fn group(self) -> Self {
        match self.ipv4() {
            Some(_) => Self(self.0 & !0xff),
            None => Self(self.0 & !0xffff),
        }
    }

    pub(crate) fn scope(self) -> Scope {
        match self.ipv4() {
            Some(ip) if ip.is_loopback() => Scope::Loopback,
            Some(ip) if ip.is_private() || ip.is_link_local() => Scope::Private,
            Some(_) => Scope::Public,
            // `::1` is the only address of its network that can be dialled.
            None if self.0 == 0 => Scope::Loopback,
            None => {
                let ip = Ipv6Addr::from_bits(u128::from(self.0) << 64);
                let is_private = ip.is_unique_local() || ip.is_unicast_link_local();
                if is_private { Scope::Private } else { Scope::Public }
            }
        }
    }

    #[allow(clippy::cast_possible_truncation, reason = "the upper half is the mark")]
    fn ipv4(self) -> Option<Ipv4Addr> {
        (self.0 & !0xffff_ffff == IPV4).then(|| Ipv4Addr::from_bits(self.0 as u32))
    }
}

impl Address {
    /// Returns how far the address is. What a name resolves to is unknown here, and counts as
    /// public, except for `localhost`.
    pub(crate) fn scope(&self) -> Scope {
        match self.host() {
            Host::Ip(ip) => Prefix::of(ip).scope(),
            Host::Name(name) => match name.as_str() {
                "localhost" => Scope::Loopback,
                name if name.ends_with(".localhost") => Scope::Loopback,
                _ => Scope::Public,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(ip: &str) -> Prefix {
        Prefix::of(ip.parse().unwrap())
    }

    #[test]
    fn scopes_are_those_of_the_registries() {
        for (scope, hosts) in [
            (Scope::Loopback, &["127.0.0.1", "127.9.9.9", "::1", "localhost", "x.localhost"][..]),
            (
                Scope::Private,
                &["10.1.2.3", "172.16.0.1", "172.31.9.9", "192.168.0.1", "169.254.169.254"],
            ),
            (Scope::Private, &["fc00::1", "fd12::1", "fe80::1", "febf::1", "::ffff:10.0.0.1"]),
            (Scope::Public, &["1.1.1.1", "172.32.0.1", "2001:db8::1", "fec0::1", "a.example"]),
        ] {
            for host in hosts {
                assert_eq!(Address::new(host, 1).unwrap().scope(), scope, "{host}");
            }
        }
        assert_eq!(Prefix::UNKNOWN.scope(), Scope::Public);
        for host in ["127.0.0.1", "10.0.0.1", "::1", "localhost", "a.example", "2001:db8::1"] {
            let address = Address::new(host, 1).unwrap();
            assert_eq!(Prefix::of_address(&address).scope(), address.scope(), "{host}");
        }
        assert!(Scope::Loopback > Scope::Private && Scope::Private > Scope::Public);
    }

    #[test]
    fn one_host_or_site_has_one_prefix() {
        assert_ne!(prefix("1.2.3.4"), prefix("1.2.3.5"));
        assert_eq!(prefix("1.2.3.4").group(), prefix("1.2.3.5").group());
        assert_ne!(prefix("1.2.3.4").group(), prefix("1.2.4.4").group());
        assert_eq!(prefix("2001:db8:1:2::3"), prefix("2001:db8:1:2:9::"));
        assert_ne!(prefix("2001:db8:1:2::3"), prefix("2001:db8:1:3::3"));
        assert_eq!(prefix("2001:db8:1:2::3").group(), prefix("2001:db8:1:3::3").group());
        assert_ne!(prefix("2001:db8:1:2::3").group(), prefix("2001:db8:2:2::3").group());
        assert_eq!(prefix("::ffff:1.2.3.4"), prefix("1.2.3.4"));
    }
}
