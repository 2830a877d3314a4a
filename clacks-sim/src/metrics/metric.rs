//! The table of metrics. Every output takes names, units and meanings from here.

use serde::{Deserialize, Serialize};

/// How the values of a metric over two neighbouring intervals are merged into one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregate {
    /// Keeps the later value. The metric is a gauge.
    Last,
    /// Keeps the larger value.
    Max,
    /// Adds the values. The metric counts events of an interval.
    Sum,
    /// Divides two other metrics, so there is nothing to merge.
    Ratio(Metric, Metric),
}

/// One row of the table.
struct Definition {
    key: &'static str,
    name: &'static str,
    unit: &'static str,
    aggregate: Aggregate,
    meaning: &'static str,
}

macro_rules! metrics {
    ($(
        $metric:ident $key:literal $name:literal $unit:literal $aggregate:expr, $meaning:literal;
    )*) => {
        /// A quantity that is recorded over the time of a run.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum Metric {
            $(#[doc = $meaning] #[serde(rename = $key)] $metric,)*
        }

        impl Metric {
            /// All metrics, in the order of the tables.
            pub const ALL: &[Self] = &[$(Self::$metric),*];

            const TABLE: &[Definition] = &[$(Definition {
                key: $key, name: $name, unit: $unit, aggregate: $aggregate, meaning: $meaning,
            }),*];
        }
    };
}

use Aggregate::{Last, Max, Ratio, Sum};

metrics! {
    Running "running" "towers running" "towers" Last, "Towers that are up. Paused towers count.";
    HonestRunning "honest_running" "honest towers running" "towers" Last,
        "Towers without a role that are up.";
    Messages "messages" "messages alive" "messages" Last,
        "Different messages of which at least one copy exists.";
    Copies "copies" "copies" "copies" Last,
        "Copies of messages that running towers hold: waiting, in flight or under screening.";
    Waiting "waiting" "copies waiting" "copies" Last, "Copies that wait in a queue.";
    InFlight "in_flight" "copies in flight" "copies" Last,
        "Copies that a tower has handed over and keeps until the peer confirms.";
    OnTheWire "on_the_wire" "messages on the wire" "messages" Last,
        "Messages among the bytes between two towers.";
    Surplus "surplus" "surplus copies" "copies" Last, "Copies beyond the first of each message.";
    Lost "lost" "messages lost" "messages" Last,
        "Messages that were enqueued and have no copy left.";
    Enqueued "enqueued" "messages enqueued" "messages" Sum, "Messages that applications enqueued.";
    EnqueueRefused "enqueue_refused" "enqueues refused" "messages" Sum,
        "Messages that a tower did not accept from its application.";
    HonestEnqueues "honest_enqueues" "enqueues" "messages" Sum,
        "Messages that applications gave to towers without a role, accepted and refused ones.";
    HandOvers "hand_overs" "hand-overs" "messages" Sum,
        "Messages sent to a peer, retries included.";
    Retries "retries" "retries" "messages" Sum, "Hand-overs that repeat an unconfirmed hand-over.";
    Hops "hops" "hops" "messages" Sum, "Messages that a tower accepted from a peer.";
    HonestHops "honest_hops" "honest hops" "messages" Sum,
        "Hops to towers without a role, of messages from towers without a role.";
    HopsCrossing "hops_crossing" "hops across" "messages" Sum,
        "Hops between the sides of the latest partition, or of the first one before it begins.";
    CrossingShare "crossing_share" "share of hops across" "share"
        Ratio(Self::HopsCrossing, Self::Hops),
        "Hops between the two sides of the latest partition, divided by all hops.";
    Stored "stored" "stored" "messages" Sum, "Messages from peers that a tower stored.";
    Coalesced "coalesced" "coalesced" "messages" Sum,
        "Messages from peers that the tower held already. The two copies became one.";
    Swallowed "swallowed" "swallowed" "messages" Sum,
        "Messages that an application confirmed and did not pass on.";
    Deliveries "deliveries" "deliveries" "messages" Sum, "Hand-overs that the peer confirmed.";
    HonestHandOvers "honest_hand_overs" "honest hand-overs" "messages" Sum,
        "Hand-overs by towers without a role that ended: confirmed, failed or refused.";
    HonestDeliveries "honest_deliveries" "honest deliveries" "messages" Sum,
        "Hand-overs by towers without a role that the peer confirmed.";
    DeliveriesToRoles "deliveries_to_roles" "deliveries to roles" "messages" Sum,
        "Hand-overs by towers without a role that a tower with a role confirmed.";
    Returned "returned" "returned" "messages" Sum,
        "Hand-overs that failed or were refused. The message is in its queue again.";
    BytesSent "bytes_sent" "bytes sent" "bytes" Sum, "Bytes that towers sent.";
    Discovery "discovery" "peers known" "share" Last,
        "Mean share of the other running towers that a running tower knows as alive.";
    PeersNew "peers_new" "peers new" "peers" Last,
        "Entries with the status new in the peer tables of running towers.";
    PeersAlive "peers_alive" "peers alive" "peers" Last, "Entries with the status alive.";
    PeersLost "peers_lost" "peers lost" "peers" Last, "Entries with the status lost.";
    PeersDead "peers_dead" "peers dead" "peers" Last, "Entries with the status dead.";
    PeersIgnored "peers_ignored" "peers ignored" "peers" Last, "Entries with the status ignored.";
    Discovered "discovered" "peers discovered" "peers" Sum,
        "Peers that a tower added to its table.";
    StatusChanges "status_changes" "status changes" "changes" Sum,
        "Changes of the status of a peer at a tower.";
    BecameAlive "became_alive" "became alive" "changes" Sum, "Status changes to alive.";
    BecameLost "became_lost" "became lost" "changes" Sum, "Status changes to lost.";
    BecameDead "became_dead" "became dead" "changes" Sum, "Status changes to dead.";
    QueueMean "queue_mean" "queue, mean" "messages" Ratio(Self::Waiting, Self::Running),
        "Copies waiting, divided by running towers.";
    QueueMedian "queue_median" "queue, median" "messages" Last,
        "Queue length that half of the running towers do not exceed.";
    QueueP99 "queue_p99" "queue, 99th percentile" "messages" Max,
        "Queue length that 99 of 100 running towers do not exceed.";
    QueueMax "queue_max" "queue, maximum" "messages" Max, "Longest queue of a running tower.";
    FilesReadable "files_readable" "files readable" "share" Last,
        "Share of the files that were put and of which the network holds enough pieces.";
    FilesReadableApart "files_readable_apart" "files readable in each side" "share" Last,
        "Share of these files that can be read in each side of the last partition.";
    PiecesAlive "pieces_alive" "pieces alive" "share" Last,
        "Share of the pieces of these files that running towers hold.";
    PiecesLaw "pieces_law" "pieces alive without keepers" "share" Last,
        "Share of the pieces that would be held without keepers if towers die as planned.";
    PieceCopies "piece_copies" "copies of a piece" "copies" Last,
        "Pieces held, divided by the different ones.";
    Connections "connections" "connections open" "connections" Last,
        "Connections with at least one open end.";
    Dials "dials" "dials" "dials" Sum, "Connections that towers tried to open.";
    FailedDials "failed_dials" "dials failed" "dials" Sum, "Dials without a connection.";
    NotAccepted "not_accepted" "dials not accepted" "dials" Sum,
        "Dials that the dialled tower did not accept.";
    Broken "broken" "broken ends" "ends" Sum,
        "Ends of connections that broke. A connection that breaks at both ends counts twice.";
    Missed "missed" "notices missed" "notices" Sum,
        "Notices dropped because the notice queue was full. Other metrics do not count them.";
    Events "events" "events" "events" Sum,
        "Timers, dials, answers, arrivals of bytes and steps of the scenario.";
}

impl Metric {
    /// Returns the name for programs: lower-case words joined by underscores.
    #[must_use]
    pub fn key(self) -> &'static str {
        self.definition().key
    }

    /// Returns the name for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.definition().name
    }

    /// Returns the unit. `share` is a number from 0 to 1.
    #[must_use]
    pub fn unit(self) -> &'static str {
        self.definition().unit
    }

    /// Returns the definition as a sentence.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        self.definition().meaning
    }

    /// Returns how neighbouring intervals are merged.
    #[must_use]
    pub fn aggregate(self) -> Aggregate {
        self.definition().aggregate
    }

    fn definition(self) -> &'static Definition {
        &Self::TABLE[self as usize]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_metric_has_a_key_a_name_and_a_meaning_of_its_own() {
        for text in [Metric::key, Metric::name, Metric::meaning] {
            let texts: BTreeSet<_> = Metric::ALL.iter().map(|metric| text(*metric)).collect();
            assert_eq!(texts.len(), Metric::ALL.len());
        }
        for metric in Metric::ALL {
            let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            assert!(metric.key().chars().all(is_plain), "{metric:?}");
            assert!(metric.meaning().ends_with('.'), "{metric:?}");
        }
    }
}
