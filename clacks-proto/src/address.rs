//! The address of a tower: a host and a port, in canonical form.

use alloc::sync::Arc;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::num::NonZeroU16;
use core::str::FromStr;

/// The maximum length of a host name, in bytes (RFC 1035 §2.3.4, without the root's dot).
pub const MAX_NAME: usize = 253;

/// The host and port of a tower.
///
/// Every value is valid and canonical, so addresses can be compared. Names are in lower case. An
/// IPv4-mapped IPv6 address becomes an IPv4 address. A host that spells an IP address becomes that
/// IP address. Port 0 and unspecified or multicast IP addresses are refused, because they can't be
/// dialled. Names are not resolved here, but by the driver.
///
/// ```
/// use clacks_proto::Address;
///
/// let tower: Address = "Tower.Example:8001".parse()?;
/// assert_eq!(tower.to_string(), "tower.example:8001");
/// assert_eq!("[::ffff:127.0.0.1]:80".parse::<Address>()?, "127.0.0.1:80".parse()?);
/// assert!("tower.example".parse::<Address>().is_err());
/// # Ok::<(), clacks_proto::AddressError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address(Repr);

/// Each variant contains the port, where alignment leaves space for it. A port beside the enum
/// would increase the size of an address from 24 to 32 bytes. IP addresses are stored as integers,
/// because unaligned values are slow to copy.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Repr {
    V4(u32, NonZeroU16),
    V6([u64; 2], NonZeroU16),
    Name(Name, NonZeroU16),
}

/// A host: an IP address, or a name that the driver resolves when it dials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host<'a> {
    /// An IP address, which is never an IPv4-mapped IPv6 address.
    Ip(IpAddr),
    /// A DNS name in lower case.
    Name(&'a Name),
}

/// A valid DNS name in lower case, at most [`MAX_NAME`] bytes. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

/// Returns the two halves of an IPv6 address.
#[allow(clippy::cast_possible_truncation, reason = "the lower half is wanted")]
fn halves(ip: Ipv6Addr) -> [u64; 2] {
    [(ip.to_bits() >> 64) as u64, ip.to_bits() as u64]
}

fn ipv6([high, low]: [u64; 2]) -> Ipv6Addr {
    Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(low))
}

impl Address {
    /// Returns the address of a host and a port. The host is a name, an IPv4 address, or an IPv6
    /// address with or without brackets.
    ///
    /// # Errors
    ///
    /// [`AddressError::Port`] if the port is 0, and [`AddressError::Host`] if the host is not
    /// valid.
    pub fn new(host: &str, port: u16) -> Result<Self, AddressError> {
        let port = NonZeroU16::new(port).ok_or(AddressError::Port)?;
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if let Some(bare) = bare {
            let ip = Ipv6Addr::from_str(bare).map_err(|_| AddressError::Host)?;
            return Self::from_ip(IpAddr::V6(ip), port);
        }
        match IpAddr::from_str(host) {
            Ok(ip) => Self::from_ip(ip, port),
            Err(_) => Ok(Self::from_name(Name::new(host)?, port)),
        }
    }

    /// Returns the address of an IP address and a port, in canonical form.
    ///
    /// # Errors
    ///
    /// [`AddressError::Host`] if the IP address is unspecified or multicast, because it can't be
    /// dialled.
    #[inline(always)]
    pub fn from_ip(ip: IpAddr, port: NonZeroU16) -> Result<Self, AddressError> {
        let ip = ip.to_canonical();
        if ip.is_unspecified() || ip.is_multicast() {
            return Err(AddressError::Host);
        }
        Ok(Self(match ip {
            IpAddr::V4(ip) => Repr::V4(ip.to_bits(), port),
            IpAddr::V6(ip) => Repr::V6(halves(ip), port),
        }))
    }

    /// Returns the address of a parsed name and a port.
    pub(crate) fn from_name(name: Name, port: NonZeroU16) -> Self {
        Self(Repr::Name(name, port))
    }

    /// Returns the host.
    #[must_use]
    #[inline]
    pub fn host(&self) -> Host<'_> {
        match &self.0 {
            Repr::V4(ip, _) => Host::Ip(IpAddr::V4(Ipv4Addr::from_bits(*ip))),
            Repr::V6(ip, _) => Host::Ip(IpAddr::V6(ipv6(*ip))),
            Repr::Name(name, _) => Host::Name(name),
        }
    }

    /// Returns the port.
    #[must_use]
    pub fn port(&self) -> NonZeroU16 {
        let (Repr::V4(_, port) | Repr::V6(_, port) | Repr::Name(_, port)) = &self.0;
        *port
    }
}

impl Name {
    /// Returns a name, converted to lower case.
    ///
    /// A name consists of labels of 1 to 63 bytes: letters, digits, `-` and `_`. The last label
    /// must not begin with a digit, because resolvers parse some such names as IP addresses
    /// (`127.1` is `127.0.0.1`).
    ///
    /// # Errors
    ///
    /// [`AddressError::Host`] if it is not such a name.
    pub fn new(name: &str) -> Result<Self, AddressError> {
        if name.is_empty() || name.len() > MAX_NAME {
            return Err(AddressError::Host);
        }
        let label_fits = |label: &str| {
            let edge = |byte: Option<&u8>| byte.is_some_and(|byte| *byte != b'-');
            let bytes = label.as_bytes();
            label.len() <= 63
                && edge(bytes.first())
                && edge(bytes.last())
                && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte))
        };
        let last = name.rsplit('.').next().unwrap_or_default();
        let numeric = last.as_bytes().first().is_none_or(u8::is_ascii_digit);
        if numeric || !name.split('.').all(label_fits) {
            return Err(AddressError::Host);
        }
        let canonical = !name.bytes().any(|byte| byte.is_ascii_uppercase());
        Ok(Self(if canonical { name.into() } else { name.to_ascii_lowercase().into() }))
    }

    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Hashes an address as one or two numbers, which is faster than field by field.
impl Hash for Address {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        match &self.0 {
            Repr::V4(ip, port) => {
                state.write_u64(u64::from(*ip) << 16 | u64::from(port.get()));
            }
            Repr::V6(ip, port) => {
                ip.hash(state);
                state.write_u16(port.get());
            }
            Repr::Name(name, port) => {
                name.hash(state);
                state.write_u16(port.get());
            }
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (host, port) = text.rsplit_once(':').ok_or(AddressError::NoPort)?;
        // The last group of an IPv6 address without brackets cannot be distinguished from a port.
        if host.contains(':') && !host.starts_with('[') {
            return Err(AddressError::Brackets);
        }
        if port.is_empty() {
            return Err(AddressError::NoPort);
        }
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|_| digits).ok_or(AddressError::Port)?;
        Self::new(host, port)
    }
}

impl TryFrom<SocketAddr> for Address {
    type Error = AddressError;

    fn try_from(socket: SocketAddr) -> Result<Self, AddressError> {
        Self::from_ip(socket.ip(), NonZeroU16::new(socket.port()).ok_or(AddressError::Port)?)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::V4(ip, port) => write!(f, "{}:{port}", Ipv4Addr::from_bits(*ip)),
            Repr::V6(ip, port) => write!(f, "[{}]:{port}", ipv6(*ip)),
            Repr::Name(name, port) => write!(f, "{}:{port}", name.as_str()),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a value is not an [`Address`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddressError {
    /// The port is missing.
    NoPort,
    /// The port is not a number from 1 to 65535.
    Port,
    /// The host is neither a valid DNS name nor an IP address that can be dialled.
    Host,
    /// An IPv6 address has no brackets.
    Brackets,
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoPort => "the port is missing: write HOST:PORT, for example tower.example:8001",
            Self::Port => "the port must be a number from 1 to 65535",
            Self::Host => "the host must be a DNS name or an IP address that can be dialled",
            Self::Brackets => "an IPv6 address needs brackets: write [::1]:8001",
        })
    }
}

impl core::error::Error for AddressError {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn an_address_is_displayed_in_canonical_form() {
        for (text, canonical) in [
            ("LOCALHOST:8001", "localhost:8001"),
            ("127.0.0.1:8001", "127.0.0.1:8001"),
            ("[::FFFF:10.0.0.1]:9", "10.0.0.1:9"),
            ("[0:0::1]:9", "[::1]:9"),
            ("a_b.example-1.x:65535", "a_b.example-1.x:65535"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), canonical);
        }
    }

    #[test]
    fn an_address_that_cannot_be_dialled_is_refused() {
        let long = "a".repeat(64) + ":1";
        for (text, error) in [
            ("tower", AddressError::NoPort),
            ("tower:", AddressError::NoPort),
            ("tower:0", AddressError::Port),
            ("tower:65536", AddressError::Port),
            ("tower:+1", AddressError::Port),
            ("::1:80", AddressError::Brackets),
            ("0.0.0.0:80", AddressError::Host),
            ("[::]:80", AddressError::Host),
            ("224.0.0.1:80", AddressError::Host),
            ("127.1:80", AddressError::Host),
            ("2130706433:80", AddressError::Host),
            ("0x7f.1:80", AddressError::Host),
            ("a..b:80", AddressError::Host),
            ("-a:80", AddressError::Host),
            ("a b:80", AddressError::Host),
            (":80", AddressError::Host),
            ("[1.2.3.4]:80", AddressError::Host),
            (&long, AddressError::Host),
        ] {
            assert_eq!(text.parse::<Address>(), Err(error), "{text}");
        }
    }
}
