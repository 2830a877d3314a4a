//! The columns of a series: what each is called, what it is measured in and what it means.

/// One quantity that is followed over the time of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[allow(missing_docs, reason = "Column::about says it, to the reader of a report as well")]
pub enum Column {
    // Gauges.
    Running,
    PeersNew,
    PeersAlive,
    PeersLost,
    PeersDead,
    PeersIgnored,
    Discovery,
    Links,
    Messages,
    Copies,
    Surplus,
    Lost,
    Waiting,
    OnTheWire,
    QueueMean,
    QueueMin,
    QueueMedian,
    QueueP99,
    QueueMax,
    // Counts.
    Enqueued,
    EnqueueRefused,
    HandOvers,
    Retries,
    Received,
    QueuedFromPeer,
    Coalesced,
    Returned,
    Deliveries,
    BytesSent,
    Dials,
    FailedDials,
    NotAccepted,
    Broken,
    Discovered,
    StatusChanges,
    BecameAlive,
    BecameLost,
    BecameDead,
    Missed,
    Events,
}

/// How the values of a column over two neighbouring intervals become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// The value at the end: the column says how things stand at a moment.
    Last,
    /// The smaller.
    Least,
    /// The larger: peaks stay.
    Most,
    /// Their sum: the column counts what happened in an interval.
    Sum,
}

impl Column {
    /// All of them, in the order in which they are written down.
    pub const ALL: [Self; 40] = [
        Self::Running,
        Self::PeersNew,
        Self::PeersAlive,
        Self::PeersLost,
        Self::PeersDead,
        Self::PeersIgnored,
        Self::Discovery,
        Self::Links,
        Self::Messages,
        Self::Copies,
        Self::Surplus,
        Self::Lost,
        Self::Waiting,
        Self::OnTheWire,
        Self::QueueMean,
        Self::QueueMin,
        Self::QueueMedian,
        Self::QueueP99,
        Self::QueueMax,
        Self::Enqueued,
        Self::EnqueueRefused,
        Self::HandOvers,
        Self::Retries,
        Self::Received,
        Self::QueuedFromPeer,
        Self::Coalesced,
        Self::Returned,
        Self::Deliveries,
        Self::BytesSent,
        Self::Dials,
        Self::FailedDials,
        Self::NotAccepted,
        Self::Broken,
        Self::Discovered,
        Self::StatusChanges,
        Self::BecameAlive,
        Self::BecameLost,
        Self::BecameDead,
        Self::Missed,
        Self::Events,
    ];

    /// Its name for machines: lower-case words joined by underscores.
    #[must_use]
    pub fn key(self) -> &'static str {
        self.describe().0
    }

    /// Its name for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.describe().1
    }

    /// What is counted; `share` is a number from 0 to 1. A column that is kept as a sum counts per interval.
    #[must_use]
    pub fn unit(self) -> &'static str {
        self.describe().2
    }

    /// What it means, in a sentence.
    #[must_use]
    pub fn about(self) -> &'static str {
        self.describe().3
    }

    /// How neighbouring intervals become one.
    #[must_use]
    pub fn kept(self) -> Kept {
        match self {
            Self::QueueMin => Kept::Least,
            Self::QueueMax | Self::QueueP99 => Kept::Most,
            _ if (self as usize) < (Self::Enqueued as usize) => Kept::Last,
            _ => Kept::Sum,
        }
    }

    #[rustfmt::skip]
    fn describe(self) -> (&'static str, &'static str, &'static str, &'static str) {
        match self {
            Self::Running => ("running", "running towers", "towers", "Towers that are up, paused ones included."),
            Self::PeersNew => ("peers_new", "new", "entries", "Entries of running towers' peer tables with the status new."),
            Self::PeersAlive => ("peers_alive", "alive", "entries", "Entries of running towers' peer tables with the status alive."),
            Self::PeersLost => ("peers_lost", "lost", "entries", "Entries of running towers' peer tables with the status lost."),
            Self::PeersDead => ("peers_dead", "dead", "entries", "Entries of running towers' peer tables with the status dead."),
            Self::PeersIgnored => ("peers_ignored", "ignored", "entries", "Entries of running towers' peer tables with the status ignored."),
            Self::Discovery => ("discovery", "known as alive", "share", "The share of the other running towers that a running tower knows as alive, on average."),
            Self::Links => ("links", "links open", "links", "Links that are open, each counted once at either end."),
            Self::Messages => ("messages", "messages", "messages", "Different messages of which a running tower holds at least one copy."),
            Self::Copies => ("copies", "copies", "messages", "Copies of messages that running towers hold."),
            Self::Surplus => ("surplus", "surplus copies", "messages", "Copies beyond the first of each message."),
            Self::Lost => ("lost", "lost", "messages", "Messages that were enqueued and of which there is no copy any more."),
            Self::Waiting => ("waiting", "waiting", "messages", "Copies that wait in a queue for their turn."),
            Self::OnTheWire => ("on_the_wire", "on the wire", "messages", "Copies that a tower has handed over and that are on their way to another."),
            Self::QueueMean => ("queue_mean", "mean", "messages", "Messages waiting per running tower."),
            Self::QueueMin => ("queue_min", "minimum", "messages", "The shortest queue of a running tower."),
            Self::QueueMedian => ("queue_median", "median", "messages", "Half of the running towers have at most so many messages waiting."),
            Self::QueueP99 => ("queue_p99", "99th percentile", "messages", "99 of 100 running towers have at most so many messages waiting."),
            Self::QueueMax => ("queue_max", "maximum", "messages", "The longest queue of a running tower."),
            Self::Enqueued => ("enqueued", "enqueued", "messages", "Messages that applications put in."),
            Self::EnqueueRefused => ("enqueue_refused", "enqueue refused", "messages", "Messages that applications got back: the queue was full, or the tower was leaving."),
            Self::HandOvers => ("hand_overs", "hand-overs", "messages", "Messages sent to a peer, first and further attempts."),
            Self::Retries => ("retries", "retries", "messages", "Hand-overs of a message whose first attempt was in doubt."),
            Self::Received => ("received", "received", "messages", "Messages that towers took from a peer."),
            Self::QueuedFromPeer => ("queued_from_peer", "queued from a peer", "messages", "Messages from a peer that went into the queue."),
            Self::Coalesced => ("coalesced", "coalesced", "messages", "Messages from a peer that were already there: confirmed, and not stored twice."),
            Self::Returned => ("returned", "returned", "messages", "Messages that came back to their queue as the peer did not take them."),
            Self::Deliveries => ("deliveries", "deliveries", "messages", "Messages that a peer confirmed."),
            Self::BytesSent => ("bytes_sent", "sent", "bytes", "Bytes that towers gave to the network."),
            Self::Dials => ("dials", "dials", "dials", "Connections that towers tried to open."),
            Self::FailedDials => ("failed_dials", "failed dials", "dials", "Connections that could not be made."),
            Self::NotAccepted => ("not_accepted", "not accepted", "dials", "Connections that the tower at the other end did not take."),
            Self::Broken => ("broken", "broken connections", "connections", "Connections that broke, counted at each end that noticed."),
            Self::Discovered => ("discovered", "peers discovered", "entries", "Peers that a tower had not known."),
            Self::StatusChanges => ("status_changes", "status changes", "changes", "Changes of a peer's status in some tower's table."),
            Self::BecameAlive => ("became_alive", "to alive", "changes", "Status changes to alive."),
            Self::BecameLost => ("became_lost", "to lost", "changes", "Status changes to lost."),
            Self::BecameDead => ("became_dead", "to dead", "changes", "Status changes to dead."),
            Self::Missed => ("missed", "notices missed", "notices", "Notices that a tower had no room for. Observed they told is in no other column."),
            Self::Events => ("events", "events", "events", "Everything that happened."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_listed_in_the_order_of_their_numbers_and_have_keys_of_their_own() {
        for (place, column) in Column::ALL.iter().enumerate() {
            assert_eq!(*column as usize, place, "{column:?}");
            assert!(column.key().chars().all(|c| c.is_ascii_lowercase() || c == '_' || c == '9'));
            assert!(column.about().ends_with('.'), "{column:?}");
        }
        let mut keys: Vec<_> = Column::ALL.iter().map(|column| column.key()).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), Column::ALL.len());
    }
}
