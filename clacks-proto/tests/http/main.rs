//! HTTP with the JavaScript towers of the original: requests in both directions, memory, and
//! protocol violations.
#![cfg(feature = "http")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../common/mod.rs"]
mod common;

mod client;
mod harness;
mod memory;
mod random_calls;
mod server;
