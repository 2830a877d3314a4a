//! The bodies of the fuzz targets. This module is internal and has no stable interface.
//!
//! The bodies are in this crate, so that `cargo check` finds a change that breaks one. Each target
//! in `fuzz/` is one line. The tests of this crate run the bodies on the inputs that are kept in
//! `fuzz/`, on any toolchain.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a fuzzer recognises a finding by a panic"
)]

#[cfg(any(test, feature = "std"))]
mod corpus;
#[cfg(feature = "http")]
mod http_bytes;
#[cfg(feature = "http")]
mod http_tower;
mod observer;
#[cfg(test)]
mod replay;
#[cfg(feature = "tls")]
mod tls_bytes;
mod tower_events;
mod wire_decode;
mod wire_roundtrip;

#[cfg(any(test, feature = "std"))]
pub use corpus::replay;
#[cfg(feature = "http")]
pub use http_bytes::http_bytes;
#[cfg(feature = "tls")]
pub use tls_bytes::tls_bytes;
pub use tower_events::tower_events;
pub use wire_decode::wire_decode;
pub use wire_roundtrip::wire_roundtrip;

#[cfg(test)]
pub(crate) use wire_decode::{MAX_GENERATED, bytes_survive, cut, reencode};
#[cfg(test)]
pub(crate) use wire_roundtrip::a_frame_survives;
