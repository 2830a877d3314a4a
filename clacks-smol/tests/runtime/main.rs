//! Towers on smol, seen from outside: sockets on the loopback interface, and what an application
//! can see.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod by_hand;
mod callers;
mod crowd;
mod death;
mod ending;
mod hostile;
mod machines;
mod notices;
mod passing;
#[cfg(target_os = "linux")]
mod scarcity;
mod screening;
mod secure;
mod storm;
mod support;
mod suspension;
mod towers;
mod witness;
