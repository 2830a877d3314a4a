//! Internals for the benchmarks of this crate. They may change at any time.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};
use core::num::NonZeroU16;

use crate::address::Address;
use crate::config::{Newcomers, Odds};
use crate::event::Status;
use crate::hash::Hasher;
use crate::ids::PeerId;
use crate::link::Direction;
use crate::rng::Seed;
use crate::time::Instant;
use crate::tower::Peers;
use crate::tower::contact::{Drawn, draw_contact, draw_linked};
use crate::tower::selector::{Eligible, Selector};

/// A table of peers, and the selector that draws from it.
#[derive(Debug)]
pub struct Table {
    peers: Peers,
    selector: Selector,
    ids: Vec<PeerId>,
}

impl Table {
    /// Returns a table of `count` peers, of which `linked` per cent have open links. The shares of
    /// the statuses are those of the default [`Odds`](crate::Odds).
    #[must_use]
    pub fn new(count: u32, linked: u32, seed: &Seed) -> Self {
        let odds = Odds::default();
        let mut peers = Peers::new(count as usize, Newcomers::MakeRoom, Hasher::default());
        let sum = u64::from(odds.alive + odds.lost + odds.dead);
        let ids = (0..count).filter_map(|n| {
            // The first peer is dead, so that small tables contain a dead peer, too.
            let offset = u64::from(n) * sum / u64::from(count);
            let status = match offset {
                _ if n == 0 => Status::Dead,
                _ if offset < u64::from(odds.lost) => Status::Lost,
                _ => Status::Alive,
            };
            let ip = IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + n));
            let address = Address::from_ip(ip, NonZeroU16::MAX).ok()?;
            let (id, _) = peers.insert(address, status, Instant::ORIGIN).ok()?;
            // Spread evenly over the table.
            let is_linked = status == Status::Alive && n * linked / 100 != (n + 1) * linked / 100;
            peers.update(id, |peer| peer.open = is_linked.then_some(Direction::Outbound));
            Some(id)
        });
        let ids = ids.collect();
        Self { peers, selector: Selector::new(seed, odds), ids }
    }

    /// Draws a recipient like a tick of a tower. Returns the index of the peer in the table.
    #[inline]
    pub fn draw(&mut self) -> Option<u32> {
        let eligible = self.peers.eligible(usize::MAX);
        match draw_contact(&mut self.selector, &self.peers, eligible)? {
            Drawn::Linked(index) => Some(index),
            Drawn::Unlinked(_) => self.draw_linked(),
            Drawn::NotAlive(_) => self.draw_alive(),
        }
    }

    /// Draws a recipient after a peer was drawn that is not alive.
    fn draw_alive(&mut self) -> Option<u32> {
        let alive = self.peers.eligible(usize::MAX).alive;
        let alive = Eligible { alive, ..Eligible::default() };
        match draw_contact(&mut self.selector, &self.peers, alive)? {
            Drawn::Linked(index) => Some(index),
            _ => self.draw_linked(),
        }
    }

    fn draw_linked(&mut self) -> Option<u32> {
        draw_linked(&mut self.selector, self.peers.eligible_list(Status::Alive)?)
    }

    /// Changes the status of a peer from alive to lost, or from any other to alive.
    pub fn turn_over(&mut self, number: usize) {
        let Some(id) = self.ids.get(number) else { return };
        self.peers.update(*id, |peer| {
            peer.status = if peer.status == Status::Alive { Status::Lost } else { Status::Alive };
        });
    }
}
