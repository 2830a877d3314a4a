//! Counters of a tower.

/// The counters of a tower since its creation. They never decrease.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
#[non_exhaustive]
pub struct Stats {
    /// Messages enqueued by the application.
    pub enqueued: u64,
    /// Messages taken from peers, including coalesced ones.
    pub received: u64,
    /// Messages from peers that were already held.
    pub coalesced: u64,
    /// Retried messages that were already taken at the first attempt.
    pub recognised_retries: u64,
    /// Messages confirmed by peers.
    pub delivered: u64,
    /// Messages that were dropped because their lifetime was over.
    pub expired: u64,
    /// Messages that went back to the queue because a peer did not take them.
    pub returned: u64,
    /// Messages that were sent again to the same peer after their link broke.
    pub in_doubt: u64,
    /// Messages that went back to the queue although a peer may have taken them. Each may now exist
    /// twice.
    pub doubt_unresolved: u64,
    /// Messages that peers refused.
    pub refused_by_peers: u64,
    /// Messages from peers that this tower refused.
    pub refused: u64,
    /// Messages that were confirmed but not queued, because the application swallowed them.
    pub swallowed: u64,
    /// Datagrams that came in and were dropped, because the application took too few.
    pub datagrams_dropped: u64,
    /// Inbound links.
    pub links_accepted: u64,
    /// Outbound links.
    pub links_dialled: u64,
    /// Inbound connections that were refused.
    pub links_refused: u64,
    /// Links closed because of invalid bytes, frames that are not allowed, or a TLS failure.
    pub links_misbehaved: u64,
    /// Links closed because of a time-out.
    pub links_timed_out: u64,
    /// Links that ended in any other way without a goodbye.
    pub links_broken: u64,
    /// Dials and accepted connections that failed because this machine lacked descriptors, ports,
    /// threads, memory or its network.
    pub local_failures: u64,
    /// Completed TLS handshakes that began a new session.
    pub handshakes_full: u64,
    /// Completed TLS handshakes that resumed an earlier session.
    pub handshakes_resumed: u64,
    /// Addresses that became peers.
    pub towers_discovered: u64,
    /// Addresses that were not learned, because there were too many at once or the table was full.
    pub towers_not_learned: u64,
    /// Claims of an address that were disproved by its pinned key.
    pub claims_disproved: u64,
    /// Events for links that had ended.
    pub stale_events: u64,
    /// Notices dropped because too many waited.
    pub notices_missed: u64,
}
