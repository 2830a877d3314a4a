//! The control socket: a Unix domain socket with JSON lines. `docs/control-protocol.md` describes
//! the protocol.

pub(crate) mod client;
mod folder;
mod server;

pub(crate) use folder::{BoundSocket, bind, bind_default, find_group, runtime_folder};
pub(crate) use server::ControlServer;
