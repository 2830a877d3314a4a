//! Requests to a running tower. `docs/control-protocol.md` describes the lines of the socket.

use clacks_proto::{Address, Fingerprint, Message};
use serde::{Deserialize, Serialize};

/// The version of the protocol. It changes when an old client would misunderstand a tower.
pub(crate) const VERSION: u32 = 1;

/// A request. Its serialized form is one line from a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Request {
    /// Put a message into the queue.
    Enqueue {
        message: Message,
        /// For how long the message travels. `None` lets the tower choose.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lifetime_ms: Option<u64>,
        /// Answer when a peer has confirmed the message.
        #[serde(default, skip_serializing_if = "is_false")]
        wait: bool,
    },
    /// Return the messages held.
    Peek,
    /// Return the known towers.
    Survey,
    /// Return the counters.
    Stats,
    /// Return the state of the tower.
    Status,
    /// Return the fill of the queue and the rates over the last hour.
    History,
    /// Add a peer.
    Expand { tower: Address },
    /// Add a peer, and announce this tower to it.
    Announce {
        tower: Address,
        /// Answer when the peer has confirmed, or when it was not reached.
        #[serde(default, skip_serializing_if = "is_false")]
        wait: bool,
    },
    /// Ignore a tower.
    Ignore { tower: Address },
    /// Undo `ignore`.
    Unignore { tower: Address },
    /// Forget a tower and the key that was seen at its address.
    Forget { tower: Address },
    /// Send events from now on, or after the event with a number.
    Watch {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<u64>,
    },
    /// Hand the queue to peers, and stop.
    Stop,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

/// The first line from a tower.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Greeting {
    /// [`VERSION`] of the tower.
    pub(crate) clacks_control: u32,
    /// The version of the command that runs the tower.
    pub(crate) version: String,
    pub(crate) address: Address,
    pub(crate) fingerprint: Option<Fingerprint>,
}
