//! The counters of a tower in words.

/// Each counter of `stats`, with one line of help.
pub(crate) const COUNTERS: [(&str, &str); 27] = [
    ("enqueued", "messages queued here: by `send`, on the console, and pieces from `put`"),
    ("received", "messages taken from peers, including those that were held already"),
    ("coalesced", "messages from peers that were held already: one copy was kept"),
    ("recognised_retries", "messages that came a second time after a broken link: taken once"),
    ("delivered", "messages that a peer confirmed: this tower then forgot them"),
    ("expired", "messages whose lifetime was over: they were dropped"),
    ("returned", "messages back in the queue, because the peer did not take them"),
    ("in_doubt", "messages sent again to the same peer after their link broke"),
    ("doubt_unresolved", "messages back in the queue that a peer may have: they may exist twice"),
    ("refused_by_peers", "messages that peers refused, for example because they are full"),
    ("refused", "messages from peers that this tower refused, for example when it is full"),
    ("swallowed", "messages confirmed but not queued: the application took them"),
    ("datagrams_dropped", "datagrams that came in faster than the application read them"),
    ("links_accepted", "connections from others"),
    ("links_dialled", "connections to others"),
    ("links_refused", "connections from others that found no room"),
    ("links_misbehaved", "links closed because the other side broke the protocol, or TLS failed"),
    ("links_timed_out", "links closed because the other side was silent for too long"),
    ("links_broken", "links that ended in any other way without a goodbye"),
    ("local_failures", "connections that failed because this machine lacked something"),
    ("handshakes_full", "TLS handshakes that began a new session"),
    ("handshakes_resumed", "TLS handshakes that resumed an earlier session, which is quicker"),
    ("towers_discovered", "addresses that became known towers"),
    ("towers_not_learned", "addresses not learned: too many at once, or no room for more towers"),
    ("claims_disproved", "callers that gave a known address but have another key"),
    ("stale_events", "reports about links that had ended already: no harm, but rare"),
    ("notices_missed", "notices dropped inside the tower, because too many waited"),
];

/// Each counter of a store, with one line of help. The first one is no counter, but a gauge.
pub(crate) const STORE_COUNTERS: [(&str, &str); 9] = [
    ("held", "pieces of files in the queue"),
    ("listed", "pages of the list of these pieces that were sent"),
    ("fetched", "pieces that were sent to readers"),
    ("published", "pieces that came from `put` and were queued"),
    ("refused", "pieces that were refused: they are broken, or too many"),
    ("relayed", "requests of others that were passed on"),
    ("lost", "requests of others that could not be passed on, or got no answer"),
    ("swallowed", "pieces that came in although they are over or held already"),
    ("ignored", "requests that make no sense, or came too fast"),
];

/// The first word of a line of text, with its meaning.
pub(crate) const WORDS: [(&str, &str); 18] = [
    ("listening", "the tower is ready"),
    ("discovered", "a new tower is known"),
    ("new", "a tower is known and was not tried yet"),
    ("alive", "the last attempt to reach a tower succeeded"),
    ("lost", "the last attempt to reach a tower failed; it is tried again"),
    ("dead", "a tower was lost for longer than --kill-timeout; it is tried seldom"),
    ("ignored", "this tower has nothing to do with another one"),
    ("forgotten", "a tower was removed from the known ones"),
    ("received", "a message came from a tower; `again`: it was here before"),
    ("queued", "a message of yours is in the queue"),
    ("returned", "a message is back in the queue, because the peer did not take it"),
    ("delivered", "a peer has confirmed a message, and this tower has forgotten it"),
    ("announced", "a tower has confirmed that it knows this one"),
    ("stranger", "another key than before is at a known address: it is not trusted"),
    ("closed", "a link was closed for a reason that a person can act on"),
    ("refused", "a tower does not take messages of this one; the line says why"),
    ("trouble", "this machine lacks something that connections need"),
    ("missed", "events came faster than they could be shown"),
];

/// Returns the help of the counters as lines.
pub(crate) fn help() -> String {
    let mut help = String::from("Counters, since the start of the tower:\n");
    for (name, meaning) in COUNTERS {
        help.push_str(&format!("  {:<19} {meaning}\n", name.replace('_', " ")));
    }
    help
}

#[cfg(test)]
mod tests {
    use super::*;
    use clacks_proto::Stats;
    use clacks_store::StoreStats;

    #[test]
    fn every_counter_has_one_line_of_help() {
        let stats = serde_json::to_value(Stats::default()).unwrap();
        let names: Vec<_> = stats.as_object().unwrap().keys().cloned().collect();
        assert_eq!(names, COUNTERS.map(|(name, _)| name.to_owned()));
        let stats = serde_json::to_value(StoreStats::default()).unwrap();
        let names: Vec<_> = stats.as_object().unwrap().keys().cloned().collect();
        assert_eq!(names, STORE_COUNTERS.map(|(name, _)| name.to_owned()));
        assert!(help().lines().all(|line| line.chars().count() <= 100));
    }
}
