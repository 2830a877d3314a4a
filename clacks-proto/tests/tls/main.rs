//! TLS: pairs of secure towers, and secure towers with other clients and servers, in memory and in
//! virtual time.
#![cfg(feature = "tls")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    unreachable_pub,
    reason = "tests"
)]

mod damage;
mod handshake;
#[cfg(feature = "http")]
mod http;
mod limits;
mod pair;
mod rustls_client;
mod stream;
