//! Hostile hops: towers that say that they queued a piece, and drop it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use clacks_proto::{Address, Instant, LinkId};
use clacks_store::protocol::{Body, Datagram, Entries, Outcome, PAGE, Page};
use clacks_store::{Chunk, Tag};
use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use super::role_store::StoreBehaviour;
use super::{Setup, Window};
use crate::observation::TowerId;
use crate::plan::Plan;
use crate::scenario::Lists;

/// The most lists of a link whose answers are awaited.
const MAX_LISTS: usize = 4_096;

/// The pieces that hops dropped: their tags with their hours.
#[derive(Debug, Default)]
pub(crate) struct Dropped(Mutex<BTreeMap<Tag, u32>>);

impl Dropped {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Tag, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Drops what it should queue or pass on, and changes inventories.
#[derive(Debug)]
pub(super) struct Hop {
    plan: Arc<Plan>,
    tower: TowerId,
    window: Window,
    lists: Lists,
    dropped: Arc<Dropped>,
    /// The lists that were asked for on each link, by their number.
    asked: HashMap<LinkId, BTreeMap<u32, Asked>, FxBuildHasher>,
}

/// A request for an inventory.
#[derive(Debug)]
struct Asked {
    /// The tower that is asked: this one if it is `None`.
    target: Option<TowerId>,
    after: Tag,
}

impl Hop {
    pub(super) fn new(setup: Setup, lists: Lists, dropped: Arc<Dropped>) -> Self {
        let Setup { plan, tower, window, .. } = setup;
        Self { plan, tower, window, lists, dropped, asked: HashMap::default() }
    }

    /// Returns the tower that claims to hold a piece that was dropped.
    fn claimant(&self, tag: Tag) -> TowerId {
        let word = tag.bytes().first_chunk().map_or(0, |word| u32::from_be_bytes(*word));
        TowerId(word % self.plan.members.max(1))
    }

    /// Returns the inventory with what the role adds to it or hides.
    fn change(&self, asked: &Asked, is_last: bool, entries: Entries<'_>) -> Option<(bool, Page)> {
        let is_own = asked.target.is_none();
        let mut page = Page::default();
        match (self.lists, is_own) {
            (Lists::Nothing, true) | (Lists::Hidden, _) => return Some((false, page)),
            (Lists::Dropped, true) | (Lists::Forged, _) => {}
            (Lists::Nothing | Lists::Dropped, false) => return None,
        }
        let last = entries.iter().last().filter(|_| !is_last).map(|(tag, _)| tag);
        let mut all: BTreeMap<Tag, u32> = entries.iter().collect();
        let target = asked.target.unwrap_or(self.tower);
        let is_claimed = |tag: Tag| self.lists == Lists::Dropped || self.claimant(tag) == target;
        for (tag, until) in self.dropped.lock().iter() {
            if *tag > asked.after && last.is_none_or(|last| *tag <= last) && is_claimed(*tag) {
                all.insert(*tag, *until);
            }
        }
        let has_more = !is_last || all.len() > PAGE;
        for (tag, until) in all {
            if !page.push(tag, until) {
                break;
            }
        }
        Some((has_more, page))
    }
}

impl StoreBehaviour for Hop {
    fn answer(
        &mut self,
        own: &Address,
        link: LinkId,
        datagram: &Datagram<'_>,
        now: Instant,
    ) -> Option<Body<'static>> {
        if !self.window.contains(now) {
            return None;
        }
        let (target, request) = match &datagram.body {
            Body::Relay { target, inner, .. } => (target.as_ref(), Body::decode_inner(inner).ok()?),
            request => (None, request.clone()),
        };
        match request {
            Body::Publish(bytes) => {
                if let Some(chunk) = Chunk::parse(bytes) {
                    self.dropped.lock().insert(chunk.tag(), chunk.until());
                }
                Some(Body::Published(Outcome::Queued))
            }
            Body::List { after } => {
                let target = target.filter(|target| *target != own);
                let target = match target {
                    Some(target) => Some(self.plan.addresses.tower_at(target)?),
                    None => None,
                };
                let asked = self.asked.entry(link).or_default();
                if asked.len() < MAX_LISTS {
                    asked.insert(datagram.number, Asked { target, after });
                }
                None
            }
            _ => None,
        }
    }

    fn rewrite(&mut self, link: LinkId, datagram: &Datagram<'_>) -> Option<Vec<u8>> {
        let number = datagram.number;
        let asked = self.asked.get_mut(&link)?;
        match datagram.body {
            Body::Inventory { has_more, held, room, minute, entries } => {
                let asked = asked.remove(&number)?;
                let (has_more, page) = self.change(&asked, !has_more, entries)?;
                let body =
                    Body::Inventory { has_more, held, room, minute, entries: page.entries() };
                Some(Datagram { number, body }.encode())
            }
            Body::Lost => {
                asked.remove(&number);
                None
            }
            _ => None,
        }
    }

    fn on_end(&mut self, link: LinkId) {
        self.asked.remove(&link);
    }
}
