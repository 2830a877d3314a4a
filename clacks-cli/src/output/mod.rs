//! What the command writes to standard output: text for people or JSON lines for programs.

pub(crate) mod json;
pub(crate) mod text;

use std::io;
use std::time::Duration;

use clacks_proto::{Address, Fingerprint, HeldMessage, Instant, Notice, Peer, Stats};
use serde::Serialize;

use crate::config::Changes;
use text::Text;

/// Something to write about a tower. Its serialized form is one line of `--json`.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Output<'a> {
    /// The tower listens.
    Listening { address: &'a Address, fingerprint: Option<Fingerprint> },
    /// The answer to `peek`.
    Peek { messages: &'a [HeldMessage] },
    /// The answer to `survey`.
    Survey { towers: &'a [SurveyedPeer] },
    /// The answer to `stats`.
    Stats {
        held_messages: usize,
        held_bytes: usize,
        #[serde(flatten)]
        stats: &'a Stats,
    },
    /// A command of the console has been carried out.
    Done { verb: &'static str, tower: &'a Address },
    /// The answer to `help`: the commands with their descriptions.
    Help {
        #[serde(serialize_with = "json::pairs_as_object")]
        commands: &'a [(&'static str, &'static str)],
    },
    /// The shutdown has begun. The tower hands its messages to peers.
    ShuttingDown {
        messages: usize,
        #[serde(skip)]
        within: Duration,
    },
    /// The configuration has been read again.
    Reloaded {
        #[serde(flatten)]
        changes: &'a Changes,
        #[serde(skip)]
        sentence: &'a str,
    },
    /// Something could not be done.
    Error { message: &'a str },
    /// A remark for people. With `--json` it is logged.
    #[serde(skip)]
    Note(&'a str),
    /// The tower has notified its application.
    #[serde(untagged)]
    Notice(&'a Notice),
}

/// A peer with the time since its status last changed.
#[derive(Clone, Debug, Serialize)]
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

/// How the output is written.
pub(crate) enum Format {
    /// One JSON object a line.
    Json,
    /// Text, in colour on a terminal.
    Text(Text),
}

impl Format {
    /// Returns the format for the option `--json`.
    pub(crate) fn new(json: bool) -> Self {
        if json { Self::Json } else { Self::Text(Text::new()) }
    }

    /// Writes and flushes the output.
    pub(crate) fn write(&mut self, output: &Output<'_>) -> io::Result<()> {
        match (self, output) {
            (Self::Json, Output::Note(note)) => {
                tracing::info!("{note}");
                Ok(())
            }
            (Self::Json, output) => json::write(output),
            (Self::Text(text), output) => text.write(output),
        }
    }
}
