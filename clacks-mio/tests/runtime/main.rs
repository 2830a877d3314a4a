//! Towers on mio, seen from outside: real sockets on the loopback, and nothing but what an application can see.
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
mod idle;
#[cfg(unix)]
mod loops;
mod machines;
mod notices;
mod passing;
#[cfg(target_os = "linux")]
mod scarcity;
mod screening;
mod secure;
mod support;
// What the tests of all runtimes share stands with those of clacks-smol.
mod towers;
mod witness;
