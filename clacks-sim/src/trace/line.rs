//! An observation as a line of text and as numbers for the hash.

use std::fmt;

use clacks_proto::Status;
use clacks_proto::wire::Attempt;

use crate::observation::{Fault, MessageId, Observation, Observed, Origin, TowerId};

/// An observation as a line of text: the moment in seconds, the tower and the event.
///
/// ```
/// use clacks_proto::Instant;
/// use clacks_sim::{Line, MessageId, Observation, Observed, TowerId};
///
/// let what = Observed::Delivered { to: Some(TowerId(7)), message: Some(MessageId(3)) };
/// let at = Instant::from_nanos(1_500_000_000);
/// let observation = Observation { at, tower: Some(TowerId(2)), what };
/// assert_eq!(Line(&observation).to_string(), "1.500000000 t2 delivered m3 to t7");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Line<'a>(pub &'a Observation);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Observation { at, tower, what } = self.0;
        let nanos = at.as_nanos();
        write!(f, "{}.{:09} ", nanos / 1_000_000_000, nanos % 1_000_000_000)?;
        match tower {
            Some(tower) => write!(f, "{tower} ")?,
            None => f.write_str("network ")?,
        }
        write!(f, "{what}")
    }
}

impl fmt::Display for TowerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "t{}", self.0)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "m{}", self.0)
    }
}

/// A tower or a message, or `?` if it does not belong to the run.
struct OrUnknown<T>(Option<T>);

impl<T: fmt::Display> fmt::Display for OrUnknown<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(known) => known.fmt(f),
            None => f.write_str("?"),
        }
    }
}

impl fmt::Display for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Started { life } => write!(f, "started, life {life}"),
            Self::Crashed => f.write_str("crashed"),
            Self::Leaving => f.write_str("leaving"),
            Self::Left { undelivered } => write!(f, "left, {undelivered} undelivered"),
            Self::Paused => f.write_str("paused"),
            Self::Resumed => f.write_str("resumed"),
            Self::ClockChanged { step, drift_ppm } => {
                write!(f, "clock changed by {step} ns, drifts by {drift_ppm} ppm")
            }
            Self::Enqueued { message } => write!(f, "enqueued {message}"),
            Self::EnqueueRefused => f.write_str("enqueue refused"),
            Self::Ignored { peer } => write!(f, "ignores {peer}"),
            Self::Unignored { peer } => write!(f, "unignores {peer}"),
            Self::Dialled { to } => write!(f, "dialled {}", OrUnknown(to)),
            Self::Accepted { from } => write!(f, "accepted {from}"),
            Self::NotAccepted { from, reason } => {
                write!(f, "did not accept {from}: {reason}")
            }
            Self::Connected { to } => write!(f, "connected to {to}"),
            Self::ConnectFailed { to, cause } => {
                write!(f, "could not connect to {}: {cause}", OrUnknown(to))
            }
            Self::Sent { to, bytes } => write!(f, "sent {bytes} bytes to {to}"),
            Self::HandedOver { to, message, attempt, arrives } => {
                let again = if attempt == Attempt::Retry { "again " } else { "" };
                let nanos = arrives.as_nanos();
                let (seconds, rest) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
                let message = OrUnknown(message);
                write!(f, "handed over {message} {again}to {to}, arrives {seconds}.{rest:09}")
            }
            Self::Arrived { from, bytes } => write!(f, "got {bytes} bytes from {from}"),
            Self::Finished { from } => write!(f, "end of stream from {from}"),
            Self::Broke { with } => write!(f, "connection with {with} broke"),
            Self::Closed { with } => write!(f, "closed connection with {}", OrUnknown(with)),
            Self::TimerFired => f.write_str("timer fired"),
            Self::Discovered { peer } => write!(f, "discovered {}", OrUnknown(peer)),
            Self::Forgot => f.write_str("forgot a peer"),
            Self::StatusChanged { peer, from, to, reason } => {
                write!(f, "status of {}: {from} -> {to}: {reason}", OrUnknown(peer))
            }
            Self::Received { from, message, .. } => {
                write!(f, "received {} from {}", OrUnknown(message), OrUnknown(from))
            }
            Self::Queued { message, origin } => {
                write!(f, "queued {}, {origin}", OrUnknown(message))
            }
            Self::Delivered { to, message } => {
                write!(f, "delivered {} to {}", OrUnknown(message), OrUnknown(to))
            }
            Self::Announced { to } => write!(f, "announced to {}", OrUnknown(to)),
            Self::LinkClosed { peer, reason } => {
                write!(f, "link with {} closed: {reason}", OrUnknown(peer))
            }
            Self::Missed { count } => write!(f, "missed {count} notices"),
            Self::CopyKept { message } => write!(f, "kept a copy of {message}"),
            Self::Swallowed { sender, message } => {
                write!(f, "swallowed {message} from {}", OrUnknown(sender))
            }
            Self::Expired { message } => write!(f, "dropped {message}: its lifetime was over"),
            Self::Dropped { message } => write!(f, "dropped {message}"),
            Self::Fault(fault) => write!(f, "fault: {}", fault.as_str()),
        }
    }
}

/// Returns an event as numbers: a code and two words.
pub(super) fn words(what: &Observed) -> (u32, u64, u64) {
    let tower = |tower: Option<TowerId>| tower.map_or(u64::MAX, |tower| u64::from(tower.0));
    let message = |message: Option<MessageId>| message.map_or(u64::MAX, |m| u64::from(m.0));
    match *what {
        Observed::Started { life } => (1, u64::from(life), 0),
        Observed::Crashed => (2, 0, 0),
        Observed::Leaving => (3, 0, 0),
        Observed::Left { undelivered } => (4, undelivered as u64, 0),
        Observed::Paused => (5, 0, 0),
        Observed::Resumed => (6, 0, 0),
        Observed::ClockChanged { step, drift_ppm } => {
            (7, step.cast_unsigned(), u64::from(drift_ppm.cast_unsigned()))
        }
        Observed::Enqueued { message: number } => (8, u64::from(number.0), 0),
        Observed::EnqueueRefused => (9, 0, 0),
        Observed::Ignored { peer } => (10, u64::from(peer.0), 0),
        Observed::Unignored { peer } => (11, u64::from(peer.0), 0),
        Observed::Dialled { to } => (12, tower(to), 0),
        Observed::Accepted { from } => (13, u64::from(from.0), 0),
        Observed::NotAccepted { from, reason } => (14, u64::from(from.0), reason as u64),
        Observed::Connected { to } => (15, u64::from(to.0), 0),
        Observed::ConnectFailed { to, cause } => (16, tower(to), cause as u64),
        Observed::Sent { to, bytes } => (17, u64::from(to.0), u64::from(bytes)),
        Observed::HandedOver { to, message: number, attempt, arrives } => {
            let retry = u64::from(attempt == Attempt::Retry) << 63;
            (18, u64::from(to.0) << 32 ^ message(number), arrives.as_nanos() ^ retry)
        }
        Observed::Arrived { from, bytes } => (19, u64::from(from.0), u64::from(bytes)),
        Observed::Finished { from } => (20, u64::from(from.0), 0),
        Observed::Broke { with } => (21, u64::from(with.0), 0),
        Observed::Closed { with } => (22, tower(with), 0),
        Observed::TimerFired => (23, 0, 0),
        Observed::Discovered { peer } => (24, tower(peer), 0),
        Observed::Forgot => (25, 0, 0),
        // Reasons have no stable numbers. Later observations depend on them anyway.
        Observed::StatusChanged { peer, from, to, .. } => {
            (26, tower(peer), u64::from(code(from)) << 8 | u64::from(code(to)))
        }
        Observed::Received { from, message: number, .. } => (27, tower(from), message(number)),
        Observed::Queued { message: number, origin } => {
            let origin = match origin {
                Origin::Local => 0,
                Origin::Peer => 1,
                Origin::Returned => 2,
            };
            (28, message(number), origin)
        }
        Observed::Delivered { to, message: number } => (29, tower(to), message(number)),
        Observed::Announced { to } => (30, tower(to), 0),
        Observed::LinkClosed { peer, .. } => (31, tower(peer), 0),
        Observed::Missed { count } => (32, count, 0),
        Observed::CopyKept { message } => (34, u64::from(message.0), 0),
        Observed::Swallowed { sender, message } => (35, tower(sender), u64::from(message.0)),
        Observed::Dropped { message } => (36, u64::from(message.0), 0),
        Observed::Expired { message } => (37, u64::from(message.0), 0),
        Observed::Fault(fault) => {
            let number = Fault::ALL.iter().position(|other| *other == fault);
            (33, number.map_or(u64::MAX, |number| number as u64), 0)
        }
    }
}

fn code(status: Status) -> u8 {
    match status {
        Status::New => 0,
        Status::Alive => 1,
        Status::Lost => 2,
        Status::Dead => 3,
        Status::Ignored => 4,
    }
}
