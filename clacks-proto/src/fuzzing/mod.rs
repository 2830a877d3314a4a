//! The bodies of the fuzz targets. Internal: nothing in here is promised to anybody.
//!
//! They live in the crate, so that a change that breaks one is noticed when the crate is built. The
//! targets in `fuzz/` are a line each, and the inputs that fuzzers found worth keeping are run by
//! the tests of this crate, on any toolchain.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is how a fuzzer is told"
)]

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
