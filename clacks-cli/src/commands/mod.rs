//! The commands, one module each. `args` has their options and help.

pub(crate) mod ask;
pub(crate) mod bench;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod demo;
pub(crate) mod files;
pub(crate) mod keygen;
pub(crate) mod listen;
pub(crate) mod man;
pub(crate) mod ping;
pub(crate) mod send;
pub(crate) mod sim;
pub(crate) mod tower;
pub(crate) mod watch;
