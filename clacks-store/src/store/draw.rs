//! Draws of towers: the next one of a stem, and the one that gets a chunk.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::hash::{Hash, Hasher};
use core::time::Duration;

use clacks_proto::{Address, Instant, Seed, Tower};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use siphasher::sip::SipHasher24;

use crate::address_group::AddressGroup;
use crate::deck::Deck;
use crate::protocol::MAX_LEN;

/// The stream of random words of a store. Those of its tower have small numbers.
const STREAM: u64 = 1 << 32;
/// How long the list of towers with stores is used before it is made again.
const FRESH_FOR: Duration = Duration::from_secs(1);
/// The most stems whose next tower is remembered. The others are computed for each request.
const MAX_STEMS: usize = 1_024;

/// Where requests come from: a peer, or the address group of a guest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Edge {
    Peer(Address),
    Guests(AddressGroup),
}

impl Edge {
    /// Returns whether requests come from guests on the machine of this tower.
    pub(super) fn is_own_machine(&self) -> bool {
        matches!(self, Self::Guests(group) if group.is_own_machine())
    }
}

/// The random choices of a store.
#[derive(Debug)]
pub(super) struct Draw {
    words: ChaCha8Rng,
    /// The key of the present epoch.
    key: (u64, u64),
    epoch: Duration,
    epoch_ends: Instant,
    /// The next tower of each stem.
    stems: BTreeMap<Edge, Address>,
    /// The towers with stores, by group.
    stores: Vec<(AddressGroup, Address)>,
    /// The number of their groups.
    groups: usize,
    /// The stores whose turn it is to get a chunk.
    deck: Deck,
    /// The chunks until the next one that stays here, and those after it until the round ends.
    own: [u32; 2],
    /// When the list of stores must be made again.
    stale_at: Instant,
}

impl Draw {
    pub(super) fn new(seed: &Seed, epoch: Duration) -> Self {
        let mut words = ChaCha8Rng::from_seed(seed.0);
        words.set_stream(STREAM);
        let key = (words.next_u64(), words.next_u64());
        let nanos = u64::try_from(epoch.as_nanos()).unwrap_or(u64::MAX).max(1);
        let epoch_ends = Instant::from_nanos(words.next_u64() % nanos);
        let (stems, stores) = (BTreeMap::new(), Vec::new());
        let stale_at = Instant::ORIGIN;
        let (deck, own) = (Deck::default(), [0; 2]);
        Self { words, key, epoch, epoch_ends, stems, stores, groups: 0, deck, own, stale_at }
    }

    /// Returns a random number.
    pub(super) fn word(&mut self) -> u32 {
        self.words.next_u32()
    }

    /// Returns true once in so many times. Never for 0.
    pub(super) fn one_in(&mut self, count: u32) -> bool {
        count > 0 && self.words.next_u64().is_multiple_of(count.into())
    }

    /// Returns the number of address groups of the towers with stores.
    pub(super) fn groups(&mut self, tower: &Tower, now: Instant) -> usize {
        self.refresh(tower, now);
        self.groups
    }

    /// Returns whether it is the turn of this tower to get a chunk. It has one turn for each of the
    /// other towers with stores.
    pub(super) fn is_own_turn(&mut self, tower: &Tower, now: Instant) -> bool {
        self.refresh(tower, now);
        if self.own == [0; 2] {
            let others = u32::try_from(self.stores.len()).unwrap_or(u32::MAX - 1);
            let before = self.words.random_range(0..=others);
            self.own = [before + 1, others - before];
        }
        let [before, after] = &mut self.own;
        if *before == 0 {
            *after -= 1;
            return false;
        }
        *before -= 1;
        *before == 0
    }

    /// Returns the next tower for requests from an edge. It is the same one during an epoch, unless
    /// it is gone. For guests on this machine it is the same one until it is gone.
    ///
    /// Each tower has a score that depends on the edge and a secret of the epoch, and the highest
    /// one wins. So the choice needs no memory, and returns to a tower that was gone for a moment.
    pub(super) fn next_of_stem(
        &mut self,
        tower: &Tower,
        edge: &Edge,
        now: Instant,
    ) -> Option<Address> {
        self.begin_epoch(now);
        if let Some(next) = self.stems.get(edge)
            && is_store(tower, next)
        {
            return Some(next.clone());
        }
        self.refresh(tower, now);
        let score = |item: &dyn Fn(&mut SipHasher24)| {
            let mut hasher = SipHasher24::new_with_keys(self.key.0, self.key.1);
            edge.hash(&mut hasher);
            item(&mut hasher);
            hasher.finish()
        };
        // A request goes back to where it came from only if there is no other tower.
        let is_back = |address: &Address| matches!(edge, Edge::Peer(peer) if peer == address);
        let candidates = self.stores.iter().filter(|(_, it)| is_store(tower, it));
        let best = candidates.max_by_key(|(group, address)| {
            let scores =
                (score(&|hasher| group.hash(hasher)), score(&|hasher| address.hash(hasher)));
            (!is_back(address), scores)
        });
        let (_, next) = best?.clone();
        if self.stems.len() >= MAX_STEMS {
            self.stems.retain(|edge, _| edge.is_own_machine());
        }
        self.stems.insert(edge.clone(), next.clone());
        Some(next)
    }

    /// Draws the tower with a store that gets the next chunk, among those for which `test` holds.
    pub(super) fn store(
        &mut self,
        tower: &Tower,
        now: Instant,
        test: impl Fn(&Address) -> bool,
    ) -> Option<Address> {
        self.refresh(tower, now);
        let suits = |address: &Address| is_store(tower, address) && test(address);
        self.deck.draw(&self.stores, suits, &mut self.words)
    }

    fn begin_epoch(&mut self, now: Instant) {
        if now < self.epoch_ends {
            return;
        }
        self.key = (self.words.next_u64(), self.words.next_u64());
        self.stems.retain(|edge, _| edge.is_own_machine());
        let epoch = u64::try_from(self.epoch.as_nanos()).unwrap_or(u64::MAX).max(1);
        let late = now.as_nanos() - self.epoch_ends.as_nanos();
        self.epoch_ends = Instant::from_nanos(now.as_nanos().saturating_add(epoch - late % epoch));
    }

    fn refresh(&mut self, tower: &Tower, now: Instant) {
        if now < self.stale_at {
            return;
        }
        self.stale_at = now + FRESH_FOR;
        let len = u32::try_from(MAX_LEN).unwrap_or(u32::MAX);
        let peers = tower.datagram_peers(len);
        self.stores.clear();
        self.stores
            .extend(peers.map(|peer| (AddressGroup::of(peer.address), peer.address.clone())));
        self.stores.sort_unstable();
        self.groups = count_groups(&self.stores);
    }
}

/// Returns whether a tower has a store, as far as its last hello says.
fn is_store(tower: &Tower, address: &Address) -> bool {
    let len = u32::try_from(MAX_LEN).unwrap_or(u32::MAX);
    tower.datagram_peer(address, len).is_some()
}

fn count_groups(sorted: &[(AddressGroup, Address)]) -> usize {
    sorted.chunk_by(|one, other| one.0 == other.0).count()
}
