//! Floods by requests: towers that ask stores to queue pieces without end.

use clacks_proto::{Instant, To, Tower};
use clacks_store::protocol::{Body, Datagram, MAX_LEN};
use clacks_store::{ChunkKeys, Path, SHARD, Secret, seal};
use rand::Rng;

use super::role_store::StoreBehaviour;
use super::{Schedule, Setup};
use crate::files;
use crate::rng::RngStream;

/// Publishes valid pieces of no file at a rate, at all peers in turn.
#[derive(Debug)]
pub(super) struct PublishFlood {
    schedule: Schedule,
    hours: u32,
    keys: ChunkKeys,
    draws: RngStream,
    /// The number of pieces so far.
    count: u32,
}

impl PublishFlood {
    pub(super) fn new(setup: Setup, rate: f64, hours: u32) -> Self {
        let mut draws = setup.draws;
        let mut secret = [0; 16];
        draws.fill_bytes(&mut secret);
        let keys = Secret::new(secret).keep().chunk_keys();
        Self { schedule: Schedule::new(setup.window, rate), hours, keys, draws, count: 0 }
    }

    fn publish(&mut self, tower: &mut Tower, now: Instant) {
        let len = u32::try_from(MAX_LEN).unwrap_or(u32::MAX);
        let peers = tower.datagram_peers(len).count();
        let Some(turn) = (self.count as usize).checked_rem(peers) else { return };
        let Some(peer) = tower.datagram_peers(len).nth(turn).map(|peer| peer.id) else { return };
        let mut nonce = [0; 12];
        self.draws.fill_bytes(&mut nonce);
        let until = files::hour(now) + self.hours;
        let chunk = seal(&self.keys, self.count, &[0; SHARD], &Path::default(), until, nonce);
        self.count = self.count.wrapping_add(1);
        let datagram = Datagram { number: self.draws.next_u32(), body: Body::Publish(&chunk) };
        // A link without room takes no more.
        let _sent = tower.datagram(To::Peer(peer), datagram.encode(), now);
    }
}

impl StoreBehaviour for PublishFlood {
    fn next_wakeup(&self) -> Option<Instant> {
        self.schedule.next()
    }

    fn on_timer(&mut self, tower: &mut Tower, now: Instant) {
        while self.schedule.is_due(now) {
            self.publish(tower, now);
        }
    }
}
