//! The methods of a reactor that other runtimes do not have.
//!
//! The tests that all runtimes have in common are in `clacks-cli/tests/conformance`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod end_of_stream;
mod idle;
#[cfg(unix)]
mod own_loop;
mod support;
mod turns;
