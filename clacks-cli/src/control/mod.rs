//! Talking to a running tower.

pub(crate) mod console;
