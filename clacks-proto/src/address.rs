//! Where a tower can be reached: a host and a port, in one canonical form.

use alloc::sync::Arc;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::num::NonZeroU16;
use core::str::FromStr;

/// The longest host name, in bytes (RFC 1035 §2.3.4, without the root's dot).
pub const MAX_NAME: usize = 253;

/// The host and port of a tower. Two addresses are the same when their values are.
///
/// An address that exists is valid and canonical: names are in lower case, an IPv4 address mapped
/// into IPv6 is plain IPv4, a host that spells an IP address is that address, and nothing that
/// can't be dialled (port 0, an unspecified or multicast IP address) gets in. No name is ever
/// resolved here: that is the driver's job.
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
pub struct Address(Place);

/// The port is inside each variant, where there is room for it: beside the enum it would make an
/// address 32 bytes long instead of 24. IP addresses are numbers, which are aligned: at odd offsets
/// they are slow to move.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    V4(u32, NonZeroU16),
    V6([u64; 2], NonZeroU16),
    Name(Name, NonZeroU16),
}

/// A host: an IP address, or a name that the driver resolves when it dials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host<'a> {
    /// An IP address; never an IPv4 address in IPv6 clothes.
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
    /// An address from its parts. The host may be a name, an IPv4 or an IPv6 address (brackets
    /// allowed).
    ///
    /// # Errors
    ///
    /// When the host or the port can't be that of a tower; the error says which.
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

    /// An address from an IP address, made canonical.
    ///
    /// # Errors
    ///
    /// [`AddressError::Host`] for an unspecified or multicast IP address: nobody can dial it.
    #[inline(always)]
    pub fn from_ip(ip: IpAddr, port: NonZeroU16) -> Result<Self, AddressError> {
        let ip = ip.to_canonical();
        if ip.is_unspecified() || ip.is_multicast() {
            return Err(AddressError::Host);
        }
        Ok(Self(match ip {
            IpAddr::V4(ip) => Place::V4(ip.to_bits(), port),
            IpAddr::V6(ip) => Place::V6(halves(ip), port),
        }))
    }

    /// An address from a name that is already parsed.
    pub(crate) fn from_name(name: Name, port: NonZeroU16) -> Self {
        Self(Place::Name(name, port))
    }

    /// The host.
    #[must_use]
    #[inline]
    pub fn host(&self) -> Host<'_> {
        match &self.0 {
            Place::V4(ip, _) => Host::Ip(IpAddr::V4(Ipv4Addr::from_bits(*ip))),
            Place::V6(ip, _) => Host::Ip(IpAddr::V6(ipv6(*ip))),
            Place::Name(name, _) => Host::Name(name),
        }
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> NonZeroU16 {
        let (Place::V4(_, port) | Place::V6(_, port) | Place::Name(_, port)) = &self.0;
        *port
    }
}

impl Name {
    /// A name, put into lower case.
    ///
    /// Letters, digits, `-` and `_` in labels of 1 to 63 bytes. A last label that begins with a
    /// digit is refused: resolvers read such names as IP addresses in disguise (`127.1` is
    /// `127.0.0.1`).
    ///
    /// # Errors
    ///
    /// [`AddressError::Host`] when it is not such a name.
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

    /// The name as text.
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
            Place::V4(ip, port) => {
                state.write_u64(u64::from(*ip) << 16 | u64::from(port.get()));
            }
            Place::V6(ip, port) => {
                ip.hash(state);
                state.write_u16(port.get());
            }
            Place::Name(name, port) => {
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
        // Without brackets, nobody can tell an IPv6 address's last group from a port.
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
            Place::V4(ip, port) => write!(f, "{}:{port}", Ipv4Addr::from_bits(*ip)),
            Place::V6(ip, port) => write!(f, "[{}]:{port}", ipv6(*ip)),
            Place::Name(name, port) => write!(f, "{}:{port}", name.as_str()),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why something is not an [`Address`]. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddressError {
    /// The port is missing.
    NoPort,
    /// The port is not a number from 1 to 65535.
    Port,
    /// The host is neither a DNS name nor an IP address that can be dialled.
    Host,
    /// An IPv6 address stands without brackets.
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
    fn one_value_has_one_spelling() {
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
    fn what_cannot_be_dialled_is_no_address() {
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
