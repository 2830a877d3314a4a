//! What a tower has counted since it was made.

/// Counters. They only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Messages enqueued by the application.
    pub enqueued: u64,
    /// Messages taken from peers, coalesced ones included.
    pub received: u64,
    /// Messages from peers that were already held here.
    pub coalesced: u64,
    /// Retried messages that had been taken the first time.
    pub recognised_retries: u64,
    /// Messages confirmed by peers.
    pub delivered: u64,
    /// Messages that came back to the queue, whatever the reason.
    pub returned: u64,
    /// Messages asked about again after their link broke.
    pub in_doubt: u64,
    /// In-doubt messages that came back unanswered: each may now exist twice.
    pub doubt_unresolved: u64,
    /// Messages that peers refused.
    pub refused_by_peers: u64,
    /// Messages from peers that were refused here.
    pub refused: u64,
    /// Messages confirmed and dropped at the application's word.
    pub swallowed: u64,
    /// Links made, inbound.
    pub links_accepted: u64,
    /// Links made, outbound.
    pub links_dialled: u64,
    /// Inbound connections not taken.
    pub links_refused: u64,
    /// Links that ended with a peer's mistake: bytes or frames that are not the protocol, or TLS that failed.
    pub links_misbehaved: u64,
    /// Links that ended because something took too long.
    pub links_timed_out: u64,
    /// Links that ended some other way without a goodbye.
    pub links_broken: u64,
    /// Handshakes of TLS that were complete and began from nothing.
    pub handshakes_full: u64,
    /// Those that went on with an earlier session.
    pub handshakes_resumed: u64,
    /// Addresses learned.
    pub towers_discovered: u64,
    /// Addresses not learned: too many at once, or the table was full.
    pub towers_not_learned: u64,
    /// Claims of an address that its pinned key disproves.
    pub claims_disproved: u64,
    /// Events that named a link that had ended.
    pub stale_events: u64,
    /// Notices dropped because too many waited.
    pub notices_missed: u64,
}
