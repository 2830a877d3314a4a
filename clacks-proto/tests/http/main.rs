//! HTTP with the towers of the original's JavaScript package: what comes in, what goes out, and
//! what it costs when the other side misbehaves.
#![cfg(feature = "http")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../common/mod.rs"]
mod common;

mod asking;
mod host;
mod memory;
mod serving;
mod storm;
