//! Towers on smol, seen from outside: real sockets on the loopback, and nothing but what an application can see.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that can't go on fails"
)]

mod callers;
mod crowd;
mod death;
mod ending;
mod hostile;
mod machines;
mod notices;
mod passing;
mod screening;
mod secure;
mod storm;
mod support;
mod towers;
mod witness;
