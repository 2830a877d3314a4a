//! The last troubles of a tower, each with a remedy.

use std::collections::VecDeque;
use std::time::SystemTime;

use clacks_proto::{Address, CloseReason, IoCause, Notice, Status, StatusReason, TlsFailure};
use serde::{Deserialize, Serialize};

use crate::output::{Entry, Output, rfc3339};

/// The maximum number of troubles that are kept. The oldest one is dropped.
const CAPACITY: usize = 16;

/// Something that failed, and what a person can do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Trouble {
    /// When it last happened.
    #[serde(with = "rfc3339")]
    pub(crate) time: SystemTime,
    /// The number of the event in which it was last reported.
    pub(crate) seq: u64,
    /// How often it happened in a row.
    pub(crate) count: u64,
    /// The peer, if one is concerned.
    pub(crate) peer: Option<Address>,
    /// What failed.
    pub(crate) what: String,
    /// What a person can do.
    pub(crate) remedy: String,
}

/// The last troubles. Those of a peer end when it is alive again or forgotten.
#[derive(Debug, Default)]
pub(crate) struct Troubles(VecDeque<Trouble>);

impl Troubles {
    /// Takes note of an event.
    pub(crate) fn observe(&mut self, entry: &Entry) {
        let Output::Notice(notice) = &entry.output else { return };
        let (peer, what, remedy) = match notice {
            Notice::StatusChanged { peer, to: Status::Lost | Status::Dead, reason, .. } => {
                (Some(peer), reason.to_string(), remedy_of_status(*reason))
            }
            Notice::StatusChanged { peer, to: Status::Alive | Status::Ignored, .. }
            | Notice::TowerForgotten { peer } => {
                return self.0.retain(|trouble| trouble.peer.as_ref() != Some(peer));
            }
            Notice::KeyChanged { peer, .. } => {
                let remedy = remedy(CloseReason::KeyChanged);
                (Some(peer), CloseReason::KeyChanged.to_string(), remedy)
            }
            Notice::LinkClosed { peer, reason, .. } if is_actionable(*reason) => {
                (peer.as_ref(), reason.to_string(), remedy(*reason))
            }
            _ => return,
        };
        let (peer, remedy) = (peer.cloned(), remedy.to_owned());
        let known = self.0.iter().position(|trouble| trouble.peer == peer && trouble.what == what);
        let earlier = known.and_then(|index| self.0.remove(index));
        let count = earlier.map_or(1, |trouble| trouble.count.saturating_add(1));
        if self.0.len() == CAPACITY {
            self.0.pop_front();
        }
        self.0.push_back(Trouble { time: entry.time, seq: entry.seq, count, peer, what, remedy });
    }

    /// Returns the number of troubles.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the troubles, the oldest first.
    pub(crate) fn all(&self) -> Vec<Trouble> {
        self.0.iter().cloned().collect()
    }
}

/// Returns whether a person could do something about the reason. Links are closed all the time.
pub(crate) fn is_actionable(reason: CloseReason) -> bool {
    matches!(
        reason,
        CloseReason::Wire(_)
            | CloseReason::Protocol(_)
            | CloseReason::Tls(_)
            | CloseReason::WrongNetwork
            | CloseReason::WrongVersion(_)
            | CloseReason::OwnAddress
    )
}

/// Returns what a person can do about a change of the status.
pub(crate) fn remedy_of_status(reason: StatusReason) -> &'static str {
    match reason {
        StatusReason::LinkClosed(reason) => remedy(reason),
        StatusReason::IgnoredByPeer => {
            "The peer was told to ignore this tower: ask its owner for `clacks unignore`."
        }
        _ => "Look at the log of the peer.",
    }
}

/// Returns what a person can do about a closed link.
pub(crate) fn remedy(reason: CloseReason) -> &'static str {
    match reason {
        CloseReason::Io(IoCause::Refused) => {
            "No program listens at that port: start the peer, or check the address."
        }
        CloseReason::Io(IoCause::Resolve) => {
            "Check the spelling of the name, and the DNS of this machine."
        }
        CloseReason::Io(IoCause::Unreachable) => {
            "Check that this machine is online, and that the address is right."
        }
        CloseReason::Io(IoCause::Exhausted) => {
            "This machine lacks descriptors, ports or memory: raise `ulimit -n`, or stop programs."
        }
        CloseReason::ConnectTimeout | CloseReason::Io(IoCause::TimedOut) => {
            "Nothing answers there: check the address, and the firewalls between the machines."
        }
        CloseReason::HandshakeTimeout => {
            "A program listens there but does not answer as a tower: check the port."
        }
        CloseReason::ConfirmTimeout | CloseReason::RequestTimeout => {
            "The peer is stopped or overloaded: look at it. It is tried again."
        }
        CloseReason::Io(_) | CloseReason::Truncated | CloseReason::Goodbye(_) => {
            "The peer or the network between ended the connection. It is tried again."
        }
        CloseReason::Tls(TlsFailure::NotTls) => {
            "The peer speaks clear text: use --clear on both towers or on none."
        }
        CloseReason::Tls(TlsFailure::Certificate) => {
            "One side refuses the certificate of the other: compare --roots of both, and look at \
             the expiry dates."
        }
        CloseReason::Tls(_) => "Check the port, and that both towers are up to date.",
        CloseReason::Wire(_) | CloseReason::Protocol(_) | CloseReason::BadHttp => {
            "The program there does not speak this protocol: check the port, update it, and use \
             --clear on both towers or on none."
        }
        CloseReason::WrongNetwork => "Start both towers with the same --network.",
        CloseReason::WrongVersion(_) => "Update the older one of the two towers.",
        CloseReason::KeyChanged => {
            "The tower there has another key than before. If its owner made a new identity, \
             `clacks forget` its address. If not, another program has its port."
        }
        CloseReason::OwnAddress => {
            "The address leads to this tower itself: check --advertise and --announce."
        }
        CloseReason::Ignored => "This tower ignores the peer: `clacks unignore` undoes that.",
        CloseReason::HttpStatus(_) => "The peer refuses the message: look at its log.",
        _ => "It is tried again.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status_changed(peer: &str, to: Status, seq: u64) -> Entry {
        let reason = match to {
            Status::Lost => StatusReason::LinkClosed(CloseReason::Io(IoCause::Refused)),
            _ => StatusReason::Success,
        };
        let peer = peer.parse().unwrap();
        let from = Status::New;
        Entry::now(Output::Notice(Notice::StatusChanged { peer, from, to, reason }), seq)
    }

    #[test]
    fn troubles_are_counted_and_end_when_the_peer_is_alive() {
        let mut troubles = Troubles::default();
        troubles.observe(&status_changed("a:1", Status::Lost, 1));
        troubles.observe(&status_changed("b:1", Status::Lost, 2));
        troubles.observe(&status_changed("a:1", Status::Lost, 3));
        let all = troubles.all();
        let counts: Vec<_> = all.iter().map(|trouble| (trouble.seq, trouble.count)).collect();
        assert_eq!(counts, [(2, 1), (3, 2)]);
        assert!(all[0].remedy.contains("start the peer"), "{all:?}");
        troubles.observe(&status_changed("a:1", Status::Alive, 4));
        assert_eq!(troubles.all().len(), 1);
    }

    #[test]
    fn troubles_are_bounded() {
        let mut troubles = Troubles::default();
        for n in 1..100 {
            troubles.observe(&status_changed(&format!("a:{n}"), Status::Lost, n));
        }
        let all = troubles.all();
        assert_eq!((all.len(), all[0].seq), (CAPACITY, 100 - CAPACITY as u64));
    }
}
