//! The commands, one module each. `args` has their options and help.

pub(crate) mod bench;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod demo;
pub(crate) mod keygen;
pub(crate) mod man;
pub(crate) mod sim;
pub(crate) mod tower;
