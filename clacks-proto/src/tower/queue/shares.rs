//! How much of the queue each sender uses.

use alloc::vec::Vec;

use super::Account;
use crate::ids::{Epoch, PeerId};

/// The sums of the messages held, by the sender.
///
/// A message costs the bytes of its body, and at least the bytes that the queue has for each
/// message. One number covers both bounds then.
#[derive(Debug)]
pub(super) struct Shares {
    /// By the slot of the peer. A sum with another epoch belongs to a peer that was forgotten.
    peers: Vec<(Epoch, usize)>,
    unproved: usize,
    least_cost: usize,
}

impl Shares {
    pub(super) fn new(max_messages: usize, max_bytes: usize) -> Self {
        let least_cost = max_bytes.div_ceil(max_messages.max(1));
        Self { peers: Vec::new(), unproved: 0, least_cost }
    }

    /// Frees the memory of an empty queue.
    pub(super) fn free_memory(&mut self) {
        self.peers = Vec::new();
    }

    /// Returns what a body of `len` bytes costs.
    #[inline]
    pub(super) fn cost(&self, len: usize) -> usize {
        len.max(self.least_cost)
    }

    /// Returns the costs of all messages of an account.
    pub(super) fn held(&self, account: Account) -> usize {
        match account {
            Account::Local => 0,
            Account::Unproved => self.unproved,
            Account::Peer(peer) => match self.peers.get(peer.index as usize) {
                Some((epoch, held)) if *epoch == peer.epoch => *held,
                _ => 0,
            },
        }
    }

    #[inline]
    pub(super) fn add(&mut self, account: Account, len: usize) {
        let cost = self.cost(len);
        match account {
            Account::Local => {}
            Account::Unproved => self.unproved = self.unproved.saturating_add(cost),
            Account::Peer(peer) => {
                let sum = self.sum_of(peer);
                *sum = sum.saturating_add(cost);
            }
        }
    }

    #[inline]
    pub(super) fn subtract(&mut self, account: Account, len: usize) {
        let cost = self.cost(len);
        match account {
            Account::Local => {}
            Account::Unproved => self.unproved = self.unproved.saturating_sub(cost),
            Account::Peer(peer) => match self.peers.get_mut(peer.index as usize) {
                Some((epoch, held)) if *epoch == peer.epoch => *held = held.saturating_sub(cost),
                _ => {}
            },
        }
    }

    #[inline]
    fn sum_of(&mut self, peer: PeerId) -> &mut usize {
        let index = peer.index as usize;
        if self.peers.len() <= index {
            self.peers.resize(index + 1, (Epoch::FIRST, 0));
        }
        let sum = &mut self.peers[index];
        if sum.0 != peer.epoch {
            *sum = (peer.epoch, 0);
        }
        &mut sum.1
    }
}
