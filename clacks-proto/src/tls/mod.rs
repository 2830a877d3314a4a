//! TLS: a tower with encrypted links. All calls of rustls are in this module.
//!
//! [`SecureTower`] wraps a [`Tower`](crate::Tower) and implements the same
//! [`StateMachine`](crate::StateMachine). Links use TLS 1.3 and no older version. Both sides must
//! offer the protocol name `clacks/2` (ALPN) and show a certificate. If [HTTP](#with-http) is
//! spoken too, either may be missing.
//!
//! # What a handshake proves
//!
//! A completed handshake proves that the other side holds the private key of its certificate, and
//! that no third party reads or alters the bytes. `SecureTower` passes the
//! [`Fingerprint`](crate::Fingerprint) of that key to the inner tower. **The key is the identity**
//! of a tower. Names, addresses and the text of a certificate prove nothing and are not checked. No
//! host name is sent (SNI).
//!
//! [`Trust`] decides which keys are accepted:
//!
//! - [`Trust::Open`]: all keys. The tower pins the key of an address at the first dial, so the
//!   first contact with an address is not authenticated.
//! - [`Trust::Private`]: only keys whose certificate chains to one of the network's own roots and
//!   is within its dates. All others are refused in the handshake.
//!
//! A private network can have an [`Authority`] that signs the certificates of its members. The
//! authority can revoke the key of a member by a signed list. A tower refuses the keys of the lists
//! that it was given at its start ([`Roots::revoking`]) or later ([`SecureTower::renew`]).
//!
//! # With HTTP
//!
//! A tower in an open network that also speaks [HTTP](crate::Dialects) offers `http/1.1` after
//! `clacks/2`, and requests a certificate from callers without requiring one. ALPN selects the
//! dialect. If ALPN selects none, a dialled tower is assumed to speak HTTP, and the first byte of a
//! caller selects its dialect. The native dialect is never spoken with a side that has not proved a
//! key. HTTP is not spoken in a private network, because towers of the JavaScript package show no
//! certificate when they call.
//!
//! The key of a dialled tower that speaks HTTP is not pinned, because such a tower proves no key
//! when it calls. If a key is pinned for an address, a tower at that address must show this key in
//! either dialect. X.509 certificates of version 1 are accepted from towers that speak HTTP. Their
//! signatures cannot be verified, so they prove no key. A tower with such a certificate is treated
//! like one without a certificate.
//!
//! # Resumption
//!
//! A resumed session proves the same key without a new signature. In a private network, a peer can
//! therefore use an expired certificate until its last ticket expires, after at most 12 hours
//! (rustls).
//!
//! # Randomness and time
//!
//! Unlike the rest of this crate, TLS reads randomness from the operating system. It also reads the
//! system time, to check the dates of certificates and tickets. The behaviour of the inner tower
//! still depends only on its inputs.
//!
//! ```
//! use clacks_proto::tls::{Identity, SecureTower, Trust};
//! use clacks_proto::{Address, Config, Seed, Tower};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let identity = Identity::generate()?;
//! let address: Address = "tower.example:8001".parse()?;
//! let tower = Tower::new(Config::default(), address, &Seed::from_u64(1))?;
//! let secure = SecureTower::new(tower, &identity, Trust::Open)?;
//! # let _ = secure;
//! # Ok(())
//! # }
//! ```

mod authority;
mod error;
mod handshake;
mod identity;
mod links;
mod revocations;
mod secure_tower;
mod session;
mod tickets;
mod trust;

pub use authority::Authority;
pub use error::TlsError;
pub use identity::Identity;
pub use revocations::Revocations;
pub use secure_tower::{SecureTower, TLS_LINK_MEMORY};
pub use trust::{Roots, Trust};

/// The name of the native dialect in the handshake (ALPN, RFC 7301). A side that does not offer it
/// is refused, unless HTTP is spoken.
pub const ALPN: &[u8] = b"clacks/2";

/// The name of HTTP in the handshake, offered after [`ALPN`] if the tower speaks HTTP.
const HTTP_ALPN: &[u8] = b"http/1.1";
