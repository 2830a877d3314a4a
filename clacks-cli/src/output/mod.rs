//! What a tower says, and the two voices that say it: JSON lines for programs, sentences for people.

use std::io;
use std::time::Duration;

use clacks_proto::{Address, Fingerprint, Held, Peer, Report, Stats};

use crate::json;
use crate::plain::Plain;

/// Something to say.
#[derive(Debug)]
pub(crate) enum Said<'a> {
    /// The tower can be reached.
    Listening { address: &'a Address, fingerprint: Option<Fingerprint> },
    /// Something happened.
    Report(&'a Report),
    /// The answer to `peek`.
    Peek(&'a [Held]),
    /// The answer to `survey`.
    Survey(&'a [Peer]),
    /// The answer to `stats`.
    Stats { stats: &'a Stats, held: (usize, usize) },
    /// What a verb of the console asked for is done, or on its way.
    Done { verb: &'static str, tower: &'a Address },
    /// The answer to `help`.
    Help,
    /// The tower has been asked to stop and hands its messages to peers.
    ShuttingDown { messages: usize, within: Duration },
    /// The tower has stopped.
    ShutDown { left: usize },
    /// Something that a person should know, and a program knows.
    Note(&'a str),
    /// Something could not be done.
    Error(&'a str),
}

/// How it is said.
pub(crate) enum Voice {
    /// One JSON object a line.
    Json,
    /// Sentences, in colour on a terminal.
    Plain(Plain),
}

impl Voice {
    /// The voice that was asked for.
    pub(crate) fn new(json: bool) -> Self {
        if json { Self::Json } else { Self::Plain(Plain::new()) }
    }

    /// Says it, at once.
    pub(crate) fn say(&mut self, said: &Said<'_>) -> io::Result<()> {
        match self {
            Self::Json => match said {
                Said::Note(note) => {
                    tracing::info!("{note}");
                    Ok(())
                }
                said => json::event(said).map_or(Ok(()), |event| json::write(&event)),
            },
            Self::Plain(plain) => plain.say(said),
        }
    }
}

/// The name and value of everything that a tower counts.
pub(crate) fn counters(stats: &Stats) -> [(&'static str, u64); 24] {
    [
        ("enqueued", stats.enqueued),
        ("received", stats.received),
        ("coalesced", stats.coalesced),
        ("recognised_retries", stats.recognised_retries),
        ("delivered", stats.delivered),
        ("returned", stats.returned),
        ("in_doubt", stats.in_doubt),
        ("doubt_unresolved", stats.doubt_unresolved),
        ("refused_by_peers", stats.refused_by_peers),
        ("refused", stats.refused),
        ("swallowed", stats.swallowed),
        ("links_accepted", stats.links_accepted),
        ("links_dialled", stats.links_dialled),
        ("links_refused", stats.links_refused),
        ("links_misbehaved", stats.links_misbehaved),
        ("links_timed_out", stats.links_timed_out),
        ("links_broken", stats.links_broken),
        ("handshakes_full", stats.handshakes_full),
        ("handshakes_resumed", stats.handshakes_resumed),
        ("towers_discovered", stats.towers_discovered),
        ("towers_not_learned", stats.towers_not_learned),
        ("claims_disproved", stats.claims_disproved),
        ("stale_events", stats.stale_events),
        ("notices_missed", stats.notices_missed),
    ]
}
