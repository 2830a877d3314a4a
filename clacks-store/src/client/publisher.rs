//! Groups that are published: their shards are sealed and sent one by one.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use rand::seq::SliceRandom;
use rand::{Rng, RngExt};

use crate::chunk::{CHUNK, seal};
use crate::code::Group;
use crate::geometry::{Geometry, SHARD};
use crate::keys::ChunkKeys;
use crate::merkle::Node;
use crate::protocol::Outcome;

/// The groups in memory: one whose last answers are awaited, and the next one. 6 MB each.
const MAX_GROUPS: usize = 2;
/// The refusals in a row that end a job (guess: a quarter of a window).
const MAX_REFUSALS: u32 = 32;

/// A group whose shards are published.
#[derive(Debug)]
struct Outgoing {
    group: Group,
    /// The nodes of the Merkle path above the group.
    top: Vec<Node>,
    /// The places that are to be published.
    todo: Vec<u32>,
    under_way: u32,
}

/// The pieces of a group that are to be published.
#[derive(Clone, Debug)]
struct Order {
    group: u32,
    /// `None` for all.
    places: Option<Vec<u32>>,
}

/// Why publishing can't go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stuck {
    Full,
    TooLong,
    BadHour,
}

#[derive(Debug)]
pub(crate) struct Publisher {
    geometry: Geometry,
    /// The last hour of a piece, and by how many hours it is shortened at most.
    until: u32,
    jitter: u32,
    orders: VecDeque<Order>,
    groups: Vec<Outgoing>,
    /// The order whose group was asked for.
    needed: Option<Order>,
    published: u32,
    total: u32,
    /// The refusals since a piece was taken.
    full: u32,
    too_long: u32,
    bad_hour: u32,
    /// The pieces under way that were sealed before their hour was shortened.
    outdated: u32,
}

impl Publisher {
    pub(crate) fn new(geometry: Geometry, until: u32, jitter: u32) -> Self {
        Self {
            geometry,
            until,
            jitter,
            orders: VecDeque::new(),
            groups: Vec::new(),
            needed: None,
            published: 0,
            total: 0,
            full: 0,
            too_long: 0,
            bad_hour: 0,
            outdated: 0,
        }
    }

    /// Gives an earlier hour to the pieces that were not published yet.
    pub(crate) fn shorten(&mut self, until: u32, jitter: u32) {
        (self.until, self.jitter) = (until, jitter);
        (self.full, self.too_long, self.bad_hour) = (0, 0, 0);
        self.outdated = self.groups.iter().map(|group| group.under_way).sum();
    }

    /// Orders all pieces of all groups.
    pub(crate) fn order_all(&mut self) {
        let orders = (0..self.geometry.groups()).map(|group| Order { group, places: None });
        self.orders = orders.collect();
        self.total = self.geometry.chunks();
    }

    /// Orders some pieces of a group.
    pub(crate) fn order(&mut self, group: u32, places: Vec<u32>) {
        self.total += u32::try_from(places.len()).unwrap_or(u32::MAX);
        self.orders.push_back(Order { group, places: Some(places) });
    }

    /// Returns a group that must be supplied now.
    pub(crate) fn next_needed(&mut self) -> Option<u32> {
        let is_sending = self.groups.iter().any(|group| !group.todo.is_empty());
        if self.needed.is_some() || is_sending || self.groups.len() >= MAX_GROUPS {
            return None;
        }
        self.needed = self.orders.pop_front();
        self.needed.as_ref().map(|order| order.group)
    }

    /// Returns the group that was asked for and is not here yet.
    pub(crate) fn needed(&self) -> Option<u32> {
        self.needed.as_ref().map(|order| order.group)
    }

    /// Takes the group that was asked for.
    pub(crate) fn supply(&mut self, group: Group, top: Vec<Node>, rng: &mut impl Rng) {
        let Some(order) = self.needed.take_if(|order| order.group == group.number()) else {
            return;
        };
        let all = || (0..self.geometry.total()).collect();
        let mut todo: Vec<u32> = order.places.unwrap_or_else(all);
        // A random order: the first pieces that a hop sees must not tell the size of the file.
        todo.shuffle(rng);
        self.groups.push(Outgoing { group, top, todo, under_way: 0 });
    }

    /// Returns whether a piece is to be sealed.
    pub(crate) fn has_next(&self) -> bool {
        self.groups.iter().any(|group| !group.todo.is_empty())
    }

    /// Seals the next piece. It counts as under way.
    pub(crate) fn next(
        &mut self,
        keys: &ChunkKeys,
        rng: &mut impl Rng,
    ) -> Option<(u32, u32, Box<[u8; CHUNK]>)> {
        let outgoing = self.groups.iter_mut().find(|group| !group.todo.is_empty())?;
        let place = outgoing.todo.pop()?;
        let shard: &[u8; SHARD] =
            outgoing.group.shards().get(place as usize)?.as_slice().try_into().ok()?;
        let number = outgoing.group.number();
        let path = outgoing.group.path_below(&outgoing.top, place);
        let until = self.until - rng.random_range(0..=self.jitter.min(self.until));
        let mut nonce = [0; 12];
        rng.fill_bytes(&mut nonce);
        let index = self.geometry.index(number, place);
        outgoing.under_way += 1;
        Some((number, place, seal(keys, index, shard, &path, until, nonce)))
    }

    /// Puts a piece back that was not sent or not taken.
    pub(crate) fn put_back(&mut self, group: u32, place: u32) {
        if let Some(outgoing) = self.groups.iter_mut().find(|it| it.group.number() == group) {
            outgoing.under_way -= 1;
            outgoing.todo.push(place);
        }
    }

    /// Notes the answer about a piece.
    pub(crate) fn on_outcome(&mut self, group: u32, place: u32, outcome: Outcome) {
        let Some(at) = self.groups.iter().position(|it| it.group.number() == group) else {
            return;
        };
        let is_outdated = self.outdated > 0;
        self.outdated = self.outdated.saturating_sub(1);
        match outcome {
            Outcome::Queued => {
                (self.full, self.too_long, self.bad_hour) = (0, 0, 0);
                self.published += 1;
                let outgoing = &mut self.groups[at];
                outgoing.under_way -= 1;
                if outgoing.todo.is_empty() && outgoing.under_way == 0 {
                    self.groups.swap_remove(at);
                }
                return;
            }
            Outcome::Full => self.full += 1,
            Outcome::TooLong => self.too_long += u32::from(!is_outdated),
            Outcome::BadHour => self.bad_hour += 1,
            // The rate of the link grows again.
            Outcome::TooFast => {}
        }
        self.put_back(group, place);
    }

    /// Does without the group that was asked for.
    pub(crate) fn skip_needed(&mut self) {
        self.needed = None;
    }

    /// Returns why publishing can't go on.
    pub(crate) fn stuck(&self) -> Option<Stuck> {
        // A small file has few pieces, and each of them is tried eight times.
        let most = MAX_REFUSALS.min(self.total.saturating_mul(8)).max(1);
        let Self { full, too_long, bad_hour, .. } = *self;
        if full + too_long + bad_hour < most {
            None
        } else if full >= too_long.max(bad_hour) {
            Some(Stuck::Full)
        } else if too_long >= bad_hour {
            Some(Stuck::TooLong)
        } else {
            Some(Stuck::BadHour)
        }
    }

    /// Returns whether pieces that end sooner may be taken.
    pub(crate) fn may_shorten(&self) -> bool {
        self.too_long > 0
    }

    /// Returns whether all orders are carried out.
    pub(crate) fn is_done(&self) -> bool {
        self.orders.is_empty() && self.groups.is_empty() && self.needed.is_none()
    }

    /// Returns the pieces that were published, and all that were ordered.
    pub(crate) fn progress(&self) -> (u32, u32) {
        (self.published, self.total)
    }

    /// Returns the first hour at whose end pieces may end.
    pub(crate) fn first_end(&self) -> u32 {
        self.until - self.jitter.min(self.until)
    }

    pub(crate) fn until(&self) -> u32 {
        self.until
    }
}
