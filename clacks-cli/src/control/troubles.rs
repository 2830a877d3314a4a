//! The last troubles of a tower, each with a remedy.

use std::collections::VecDeque;
use std::time::SystemTime;

use clacks_proto::wire::{Farewell, RefusedReason};
use clacks_proto::{Address, CloseReason, IoCause, Notice, Status, StatusReason, TlsFailure};
use serde::{Deserialize, Serialize};

use crate::output::{Entry, Output, rfc3339};

/// The maximum number of troubles of familiar peers, and of troubles of strangers. The oldest one
/// is dropped.
const CAPACITY: usize = 16;

/// The maximum number of familiar peers. The value is a guess.
const MAX_FAMILIAR: usize = 256;

/// Something that failed, and what a person can do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Trouble {
    /// When it last happened.
    #[serde(with = "rfc3339")]
    pub(crate) time: SystemTime,
    /// The number of the event in which it was last reported.
    pub(crate) seq: u64,
    /// How often it happened in a row. For towers that were never alive, how often it happened to
    /// any of them.
    pub(crate) count: u64,
    /// The peer, if one is concerned. The last one of several.
    pub(crate) peer: Option<Address>,
    /// What failed.
    pub(crate) what: String,
    /// What a person can do.
    pub(crate) remedy: String,
}

/// The last troubles. Those of a peer end when it is alive again or forgotten.
///
/// Peers can name any number of towers that fail. The troubles of these strangers have a share of
/// their own, with one trouble for each cause.
#[derive(Debug, Default)]
pub(crate) struct Troubles {
    familiar: VecDeque<Trouble>,
    strange: VecDeque<Trouble>,
    /// Peers that the application has named, or that were alive.
    peers: VecDeque<Address>,
}

impl Troubles {
    /// Adds a peer that is no stranger.
    pub(crate) fn add_familiar(&mut self, peer: &Address) {
        if !self.peers.contains(peer) {
            if self.peers.len() == MAX_FAMILIAR {
                self.peers.pop_front();
            }
            self.peers.push_back(peer.clone());
        }
    }

    /// Takes note of an event.
    pub(crate) fn observe(&mut self, entry: &Entry) {
        let Output::Notice(notice) = &entry.output else { return };
        let (peer, what, remedy) = match notice {
            Notice::StatusChanged { peer, to: Status::Lost | Status::Dead, reason, .. } => {
                (Some(peer), reason.to_string(), remedy_of_status(*reason))
            }
            Notice::StatusChanged { peer, to: Status::Alive, .. } => {
                self.add_familiar(peer);
                return self.end(peer);
            }
            Notice::StatusChanged { peer, to: Status::Ignored, .. }
            | Notice::TowerForgotten { peer } => return self.end(peer),
            Notice::KeyChanged { peer, .. } => {
                let remedy = remedy(CloseReason::KeyChanged);
                (Some(peer), CloseReason::KeyChanged.to_string(), remedy)
            }
            Notice::Refused { by, reason, .. } if *reason != RefusedReason::Busy => {
                let reason = StatusReason::Refused(*reason);
                (Some(by), reason.to_string(), remedy_of_status(reason))
            }
            Notice::LocalTrouble { cause } => {
                (None, cause.to_string(), remedy(CloseReason::Io(*cause)))
            }
            Notice::LinkClosed { peer, reason, .. } if is_actionable(*reason) => {
                (peer.as_ref(), reason.to_string(), remedy(*reason))
            }
            _ => return,
        };
        let is_familiar = peer.is_none_or(|peer| self.peers.contains(peer));
        let troubles = if is_familiar { &mut self.familiar } else { &mut self.strange };
        let (peer, remedy) = (peer.cloned(), remedy.to_owned());
        let is_it = |it: &Trouble| it.what == what && (!is_familiar || it.peer == peer);
        let earlier = troubles.iter().position(is_it).and_then(|index| troubles.remove(index));
        let count = earlier.map_or(1, |trouble| trouble.count.saturating_add(1));
        if troubles.len() == CAPACITY {
            troubles.pop_front();
        }
        troubles.push_back(Trouble { time: entry.time, seq: entry.seq, count, peer, what, remedy });
    }

    /// Removes the troubles of a peer.
    fn end(&mut self, peer: &Address) {
        for troubles in [&mut self.familiar, &mut self.strange] {
            troubles.retain(|trouble| trouble.peer.as_ref() != Some(peer));
        }
    }

    /// Returns the number of troubles.
    pub(crate) fn len(&self) -> usize {
        self.familiar.len() + self.strange.len()
    }

    /// Returns the troubles of familiar peers, then those of strangers. The oldest ones come first.
    pub(crate) fn all(&self) -> Vec<Trouble> {
        self.familiar.iter().chain(&self.strange).cloned().collect()
    }
}

/// Returns whether a person could do something about the reason. Most links close without a
/// trouble.
pub(crate) fn is_actionable(reason: CloseReason) -> bool {
    matches!(
        reason,
        CloseReason::Wire(_)
            | CloseReason::Protocol(_)
            | CloseReason::Tls(_)
            | CloseReason::WrongNetwork
            | CloseReason::WrongVersion(_)
            | CloseReason::OwnAddress
            | CloseReason::Goodbye(Farewell::OtherKey)
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
        CloseReason::Goodbye(Farewell::OtherKey) => {
            "The peer remembers another key for the address of this tower. If this tower has a new \
             identity, ask the owner of the peer for `clacks forget`."
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
        CloseReason::Tls(TlsFailure::CertificateExpired) => {
            "The certificate of one of the two towers has expired: renew it (`clacks invite --renew \
             NAME`), and check the clocks of both machines."
        }
        CloseReason::Tls(TlsFailure::CertificateRevoked) => {
            "One of the two towers was excluded from the private network. If that is a mistake, its \
             founder can invite it again."
        }
        CloseReason::Tls(TlsFailure::UnknownIssuer) => {
            "One of the two towers is no member of the private network: join it (`clacks join`), or \
             compare --roots of both."
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
        Entry::now(
            Output::Notice(Notice::StatusChanged { peer, from, to, reason, retry_in: None }),
            seq,
        )
    }

    #[test]
    fn troubles_are_counted_and_end_when_the_peer_is_alive() {
        let mut troubles = Troubles::default();
        for peer in ["a:1", "b:1"] {
            troubles.add_familiar(&peer.parse().unwrap());
        }
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
        for n in 1..1_000 {
            let peer = format!("a:{n}");
            troubles.add_familiar(&peer.parse().unwrap());
            troubles.observe(&status_changed(&peer, Status::Lost, n));
        }
        let all = troubles.all();
        assert_eq!((all.len(), all[0].seq), (CAPACITY, 1_000 - CAPACITY as u64));
        assert_eq!(troubles.peers.len(), MAX_FAMILIAR);
    }

    #[test]
    fn troubles_of_strangers_do_not_displace_those_of_peers() {
        let mut troubles = Troubles::default();
        troubles.observe(&status_changed("friend:1", Status::Alive, 1));
        troubles.observe(&status_changed("friend:1", Status::Lost, 2));
        for n in 3..100 {
            troubles.observe(&status_changed(&format!("stranger:{n}"), Status::Lost, n));
        }
        let all = troubles.all();
        let shown: Vec<_> =
            all.iter().map(|it| (it.peer.as_ref().unwrap().to_string(), it.count)).collect();
        // Strangers that fail for the same cause are one trouble.
        assert_eq!(shown, [("friend:1".into(), 1), ("stranger:99".into(), 97)]);
        troubles.observe(&status_changed("stranger:99", Status::Alive, 100));
        assert_eq!(troubles.len(), 1);
    }
}
