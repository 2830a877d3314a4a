//! The meaning of each counter of a tower.

use clacks_proto::Stats;
use serde_json::Value;

/// Each counter with its meaning, in the order of [`Stats`].
pub(crate) const COUNTERS: [(&str, &str); 26] = [
    ("enqueued", "messages enqueued at this tower"),
    ("received", "messages taken from peers, including coalesced ones"),
    ("coalesced", "messages from peers that were already held here"),
    ("recognised_retries", "retried messages that were already taken at the first attempt"),
    ("delivered", "messages confirmed by peers"),
    ("expired", "messages dropped because their lifetime was over"),
    ("returned", "messages that went back to the queue because a peer did not take them"),
    ("in_doubt", "messages sent again to the same peer after their link broke"),
    ("doubt_unresolved", "messages that went back to the queue and may exist twice"),
    ("refused_by_peers", "messages that peers refused"),
    ("refused", "messages from peers that this tower refused"),
    ("swallowed", "messages that an application confirmed but did not queue"),
    ("datagrams_dropped", "datagrams that came in and were dropped"),
    ("links_accepted", "inbound links"),
    ("links_dialled", "outbound links"),
    ("links_refused", "inbound connections that were refused"),
    ("links_misbehaved", "links closed because of invalid bytes, forbidden frames or TLS failures"),
    ("links_timed_out", "links closed because of a time-out"),
    ("links_broken", "links that ended in any other way without a goodbye"),
    ("handshakes_full", "TLS handshakes that began a new session"),
    ("handshakes_resumed", "TLS handshakes that resumed an earlier session"),
    ("towers_discovered", "addresses that became peers"),
    ("towers_not_learned", "addresses not learned: too many at once, or the table was full"),
    ("claims_disproved", "claims of an address that its pinned key disproved"),
    ("stale_events", "events for links that had ended"),
    ("notices_missed", "notices dropped because too many waited"),
];

/// Returns each counter with its name, its meaning and its value.
pub(crate) fn counters(stats: &Stats) -> Vec<(&'static str, &'static str, u64)> {
    let Ok(Value::Object(values)) = serde_json::to_value(stats) else { return Vec::new() };
    let counter = |(name, meaning): &(&'static str, &'static str)| {
        Some((*name, *meaning, values.get(*name)?.as_u64()?))
    };
    COUNTERS.iter().filter_map(counter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_has_a_meaning() {
        let Ok(Value::Object(values)) = serde_json::to_value(Stats::default()) else { panic!() };
        let fields: Vec<_> = values.keys().map(String::as_str).collect();
        assert_eq!(fields, COUNTERS.map(|(name, _)| name));
        assert_eq!(counters(&Stats::default()).len(), COUNTERS.len());
    }
}
