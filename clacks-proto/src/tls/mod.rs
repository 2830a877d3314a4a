//! TLS: the same state machine with ciphertext on the outside. Every rustls call of the project is
//! in here.
//!
//! [`SecureTower`] wraps a [`Tower`](crate::Tower) and is driven exactly like one. It speaks TLS
//! 1.3 and nothing older, with the protocol name `clacks/1` (ALPN) required on both sides, and asks
//! for a certificate in both directions. Where [HTTP](#with-http) is spoken, too, either may be
//! missing.
//!
//! # What is proved, and what is not
//!
//! A finished handshake proves that the other side holds the private key of the certificate that it
//! showed, and that nobody in between reads or alters the bytes. The tower inside is then told the
//! [`Fingerprint`](crate::Fingerprint) of that key: **the key is the identity**. Names, addresses
//! and the certificate's text prove nothing and are never looked at; no host name is sent (SNI).
//!
//! Whether *that* key is welcome is another question, answered by [`Trust`]:
//!
//! - [`Trust::Open`]: every key is. The tower pins the key of an address at the first dial, so the
//!   first contact is a leap of faith.
//! - [`Trust::Private`]: only keys whose certificate chains to the network's own roots, and is
//!   within its dates. Everybody else is refused in the handshake.
//!
//! # With HTTP
//!
//! A tower in an open network that also speaks [HTTP](crate::Dialects) names `http/1.1` behind
//! `clacks/1`, and asks callers for a certificate without requiring one. What is agreed on is
//! spoken; when nothing is, a caller's first byte tells, and whoever was dialled speaks HTTP. The
//! native dialect is never spoken with somebody who has not proved a key. In a private network
//! there is no HTTP: towers of the JavaScript package have no certificates to show.
//!
//! The key of a dialled tower that speaks HTTP is not pinned, because it proves none when it calls.
//! Where a key is pinned for an address, the same key must be shown in either dialect. Certificates
//! of version 1 of X.509 are accepted from towers that speak HTTP: what such a one signs can't be
//! verified, so it proves no key and nothing is believed that would need one.
//!
//! A session that is resumed proves the same key again without a new signature. In a private
//! network a certificate that expires can thus still be used for as long as its last ticket lives:
//! 12 hours at most.
//!
//! Unlike the rest of this crate, TLS takes randomness and, for certificates' dates and tickets,
//! the time from the operating system. What the tower inside does still depends on its inputs
//! alone.
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

mod error;
mod handshake;
mod identity;
mod links;
mod secure_tower;
mod session;
mod tickets;
mod trust;

pub use error::TlsError;
pub use identity::Identity;
pub use secure_tower::{SecureTower, TLS_LINK_MEMORY};
pub use trust::{Roots, Trust};

/// The native dialect's name in the handshake (ALPN, RFC 7301). A side that doesn't name it is
/// refused, unless HTTP is spoken with it.
pub const ALPN: &[u8] = b"clacks/1";

/// What a tower that also speaks HTTP names behind it.
const HTTP_ALPN: &[u8] = b"http/1.1";
