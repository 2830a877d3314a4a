//! What the command writes to standard output: text for people or JSON lines for programs.

pub(crate) mod clock;
pub(crate) mod counters;
pub(crate) mod json;
pub(crate) mod progress;
pub(crate) mod qr;
pub(crate) mod rfc3339;
pub(crate) mod text;
pub(crate) mod wrap;
pub(crate) mod writer;

use std::path::PathBuf;
use std::time::SystemTime;

use clacks_proto::{Address, Fingerprint, HeldMessage, Instant, Nonce, Notice, Peer, Stats};
use serde::{Deserialize, Serialize};

use crate::config::Changes;
use crate::control::{HistoryPoint, TowerStatus};

/// An event of a tower or an answer to a request. Its serialized form is one JSON line: on standard
/// output with `--json`, and on the control socket.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Entry {
    #[serde(flatten)]
    pub(crate) output: Output,
    /// The number of the event. For an answer, the number of the last event before it.
    pub(crate) seq: u64,
    #[serde(with = "rfc3339")]
    pub(crate) time: SystemTime,
}

impl Entry {
    /// Returns an entry of the present time.
    pub(crate) fn now(output: Output, seq: u64) -> Self {
        Self { output, seq, time: SystemTime::now() }
    }
}

/// The content of an [`Entry`]. `docs/events.md` lists all of them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Output {
    /// Event: the tower listens. `control` is the path of its control socket.
    Listening {
        address: Address,
        fingerprint: Option<Fingerprint>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        control: Option<PathBuf>,
    },
    /// Event: the shutdown has begun. The tower hands its messages to peers.
    ShuttingDown { messages: usize, within_ms: u64 },
    /// Event: the configuration has been read again.
    Reloaded {
        #[serde(flatten)]
        changes: Changes,
    },
    /// Answer to `peek`: the messages at the head, and the number of those that are left out.
    Peek { messages: Vec<HeldMessage>, left_out: usize },
    /// Answer to `survey`.
    Survey { towers: Vec<SurveyedPeer> },
    /// Answer to `stats`.
    Stats {
        held_messages: usize,
        held_bytes: usize,
        #[serde(flatten)]
        stats: Box<Stats>,
    },
    /// Answer to `status`.
    Status(Box<TowerStatus>),
    /// Answer to `history`: the points of the last hour, the oldest first.
    History { points: Vec<HistoryPoint> },
    /// Answer to `enqueue`: the message is in the queue.
    Enqueued { nonce: Nonce },
    /// Answer to an `enqueue` that waits: a peer has confirmed the message. `to` is null if the
    /// notice of the delivery was dropped.
    Delivered { to: Option<Address> },
    /// Answer to `stop`. The event `shut_down` has the result.
    Stopping,
    /// Answer to `announce`. The event `announced` or `tower_updated` has the result.
    Announcing { tower: Address },
    /// Answer to the other requests that name a tower.
    Done { verb: String, tower: Address },
    /// Answer to `help`: the commands of the console with their descriptions.
    #[serde(skip_deserializing)]
    Help {
        #[serde(serialize_with = "json::pairs_as_object")]
        commands: &'static [(&'static str, &'static str)],
    },
    /// The address of the dashboard, and the file with its token. On a terminal the address ends in
    /// the token. It is no event, so that no other user of the control socket receives it.
    Dashboard { url: String, token_file: PathBuf },
    /// The request or the command failed.
    Error { message: String },
    /// A remark for people. With `--json` it is logged.
    #[serde(skip)]
    Note(String),
    /// Event: a notice of the tower.
    #[serde(untagged)]
    Notice(Notice),
}

impl Output {
    /// Returns an error.
    pub(crate) fn error(message: impl Into<String>) -> Self {
        Self::Error { message: message.into() }
    }
}

/// A peer with the time since its status last changed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SurveyedPeer {
    #[serde(flatten)]
    pub(crate) peer: Peer,
    pub(crate) since_ms: u64,
}

impl SurveyedPeer {
    pub(crate) fn new(peer: Peer, now: Instant) -> Self {
        let since = now.duration_since(peer.since);
        Self { peer, since_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX) }
    }
}
