//! Visits to all towers that a first hop knows, in a random order without repetition.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::hash::{Hash, Hasher};
use core::time::Duration;

use clacks_proto::{Address, Instant};
use rand::{Rng, RngExt};
use siphasher::sip::SipHasher24;

use super::Route;
use super::collector::{LARGE, Take, Wanted};
use super::requests::{ContactId, Failure, Way, mean};
use crate::address_group::AddressGroup;
use crate::chunk::Tag;
use crate::clock_samples::ClockSamples;
use crate::estimate::{MAX_VISITS, NetworkEstimate, Samples, VISITS_PER_SECOND};
use crate::protocol::PAGE;

/// The most towers of a survey: the table of a tower with default settings.
const MAX_TOWERS: usize = 4_096;
/// The most pages of an inventory: a queue of 65 536 messages, the default.
const MAX_PAGES: u32 = 135;
/// The most pages of addresses.
const MAX_PEER_PAGES: u32 = 128;
/// A pause that is made up for, in nanoseconds: half a second, or 32 visits.
const BURST: u64 = 500_000_000;
/// How often chunks are asked for again that did not come.
const MAX_TRIES: u8 = 2;
/// How often a tower is visited before it counts as gone, if the last hop says that it can't be
/// reached. The last hop dials few towers at a time for others.
const MAX_LOST: u8 = 4;
/// How often a tower is visited that does not answer.
const MAX_SILENT: u8 = 2;
/// The shortest and the longest time between two visits. It is doubled when the last hop can't keep
/// up, and falls with each answer.
const SPACING: Duration = Duration::from_nanos(1_000_000_000 / VISITS_PER_SECOND as u64);
const MAX_SPACING: Duration = Duration::from_millis(125);
/// The towers that a last hop can't reach if it reaches none at all (guess: fewer may be gone).
const MIN_LOST: usize = 3;
/// The chunks that a tower may owe before it has given one that is proved. Each proof doubles it.
const FIRST_TRUST: u32 = 4;
/// The most chunks that a tower may owe.
const MAX_TRUST: u32 = 128;
/// The next page of an inventory is asked for when fewer wanted tags than this wait.
const LOW: usize = 64;

/// The place of a tower in a survey.
pub(crate) type TowerId = u16;

#[derive(Debug)]
pub(crate) struct KnownTower {
    /// `None` for the last hop of the stem.
    pub(crate) address: Option<Address>,
    pub(crate) contact: ContactId,
    /// The tower gave a wrong chunk or an invalid inventory.
    pub(crate) is_bad: bool,
    /// The tower answered with an inventory.
    pub(crate) has_answered: bool,
    /// The visit is over, and the tower did not answer.
    pub(crate) has_failed: bool,
    /// The last hop said that it can't reach the tower.
    is_lost: bool,
    /// A request for its inventory timed out, and no later one was answered. It may hold pieces.
    is_silent: bool,
    /// The visits without an answer.
    tries: u8,
    trust: u32,
}

/// A visit: the pages of an inventory, and the chunks that are taken meanwhile.
#[derive(Debug)]
pub(crate) struct Visit {
    started: Instant,
    /// The last tag of the page before.
    pub(crate) after: Tag,
    pages: u32,
    is_listing: bool,
    has_more: bool,
    tries: u8,
    /// The pieces that the job wants from this tower.
    pub(crate) wanted: VecDeque<Wanted>,
    /// What the tower lists of each group, until its list ends.
    groups: BTreeMap<u32, Candidates>,
    /// The chunks that are asked for.
    pub(crate) owed: u32,
}

/// The towers that the first hop knows.
#[derive(Debug)]
enum Near {
    Unknown,
    Asked,
    Failed,
    Known(Vec<Address>),
}

/// The pieces of a group that a tower lists.
#[derive(Debug, Default)]
struct Candidates {
    listed: u32,
    /// The pieces among which two are drawn, and these.
    considered: u32,
    drawn: [Option<Wanted>; 2],
}

#[derive(Debug)]
pub(crate) struct Survey {
    /// The first hop.
    pub(crate) hop: ContactId,
    pub(crate) towers: Vec<KnownTower>,
    addresses: BTreeSet<Address>,
    /// Towers that were bad in an earlier round.
    bad: BTreeSet<Option<Address>>,
    unvisited: BTreeMap<AddressGroup, Vec<TowerId>>,
    /// Towers that did not answer, and are visited again after all others.
    again: VecDeque<TowerId>,
    waiting: u32,
    pub(crate) visits: BTreeMap<TowerId, Visit>,
    /// The next page of addresses.
    cursor: Option<u32>,
    is_asking_peers: bool,
    /// When addresses are asked for next.
    ask_peers_at: Instant,
    has_lost_peers: bool,
    peer_pages: u32,
    /// The towers that the first hop knows. They may become other first hops.
    near: Near,
    /// The visits that may be started.
    limit: u32,
    started: u32,
    answered: u32,
    failed: u32,
    samples: Samples,
    clocks: ClockSamples,
    next_visit_at: Instant,
    spacing: Duration,
    /// When the visits were slowed down last.
    slowed_at: Instant,
    visit_time: Option<Duration>,
    began: Instant,
}

impl Survey {
    /// Begins a survey through a first hop. `first` is the tower at the end of the way: the first
    /// hop itself, or `None` for the last hop of a stem. Towers at `bad` addresses are not visited.
    pub(crate) fn new(
        hop: ContactId,
        first: Option<Address>,
        limit: u32,
        bad: BTreeSet<Option<Address>>,
        now: Instant,
    ) -> Self {
        let mut survey = Self {
            hop,
            bad,
            towers: Vec::new(),
            addresses: BTreeSet::new(),
            unvisited: BTreeMap::new(),
            again: VecDeque::new(),
            waiting: 0,
            visits: BTreeMap::new(),
            cursor: Some(0),
            is_asking_peers: false,
            ask_peers_at: Instant::ORIGIN,
            has_lost_peers: false,
            peer_pages: 0,
            // The first hop is the end of the way itself if that has an address.
            near: if first.is_some() { Near::Known(Vec::new()) } else { Near::Unknown },
            limit,
            started: 0,
            answered: 0,
            failed: 0,
            samples: Samples::default(),
            clocks: ClockSamples::default(),
            spacing: SPACING,
            slowed_at: Instant::ORIGIN,
            next_visit_at: Instant::from_nanos(now.as_nanos().saturating_sub(BURST)),
            visit_time: None,
            began: now,
        };
        survey.add(first, hop);
        survey
    }

    fn add(&mut self, address: Option<Address>, contact: ContactId) {
        let Ok(id) = TowerId::try_from(self.towers.len()) else { return };
        let group = match &address {
            Some(address) if !self.addresses.insert(address.clone()) => return,
            Some(address) => AddressGroup::of(address),
            // The last hop has no address here.
            None => AddressGroup::UNKNOWN,
        };
        let is_bad = self.bad.contains(&address);
        if is_bad {
            self.failed += 1;
        } else {
            self.unvisited.entry(group).or_default().push(id);
            self.waiting += 1;
        }
        self.towers.push(KnownTower {
            address,
            contact,
            is_bad,
            has_answered: false,
            has_failed: false,
            is_lost: false,
            is_silent: false,
            tries: 0,
            trust: FIRST_TRUST,
        });
    }

    /// Takes a page of addresses.
    pub(crate) fn on_towers(
        &mut self,
        next: u32,
        addresses: &[Address],
        mut contact_of: impl FnMut(&Address) -> ContactId,
    ) {
        self.is_asking_peers = false;
        self.peer_pages += 1;
        let has_more = next > self.cursor.unwrap_or(u32::MAX) && self.peer_pages < MAX_PEER_PAGES;
        self.cursor = has_more.then_some(next);
        for address in addresses {
            if self.towers.len() < MAX_TOWERS && !self.addresses.contains(address) {
                let contact = contact_of(address);
                self.add(Some(address.clone()), contact);
            }
        }
    }

    /// Returns the page of addresses to ask for.
    pub(crate) fn wanted_peers(&self, now: Instant) -> Option<u32> {
        self.cursor.filter(|_| !self.is_asking_peers && self.ask_peers_at <= now)
    }

    /// Returns when addresses are asked for again, if that is later.
    pub(crate) fn peers_wanted_at(&self, now: Instant) -> Option<Instant> {
        let waits = self.cursor.is_some() && !self.is_asking_peers && self.ask_peers_at > now;
        waits.then_some(self.ask_peers_at)
    }

    pub(crate) fn on_peers_asked(&mut self) {
        self.is_asking_peers = true;
    }

    /// A page of addresses did not come. It is asked for again after this instant.
    pub(crate) fn on_peers_failed(&mut self, ask_at: Instant) {
        self.is_asking_peers = false;
        self.has_lost_peers = true;
        self.ask_peers_at = ask_at;
    }

    /// Returns whether to ask the first hop for the towers that it knows: the last hop does not
    /// name itself.
    pub(crate) fn wants_near(&self) -> bool {
        matches!(self.near, Near::Unknown) && (!self.knows_no_tower() || self.has_lost_peers)
    }

    /// Returns whether the first hop says that it knows no other tower with a store.
    pub(crate) fn is_alone(&self) -> bool {
        matches!(&self.near, Near::Known(near) if near.is_empty())
    }

    /// Does without the towers that the first hop knows.
    pub(crate) fn on_near_failed(&mut self) {
        self.near = Near::Failed;
    }

    pub(crate) fn on_near_asked(&mut self) {
        self.near = Near::Asked;
    }

    pub(crate) fn on_near(&mut self, addresses: Vec<Address>) {
        self.near = Near::Known(addresses);
    }

    /// Does without more addresses.
    pub(crate) fn end_peers(&mut self) {
        self.cursor = None;
    }

    /// Returns whether the first page of addresses did not come yet.
    pub(crate) fn knows_no_tower(&self) -> bool {
        self.peer_pages == 0
    }

    pub(crate) fn limit(&self) -> u32 {
        self.limit
    }

    /// Allows more visits.
    pub(crate) fn set_limit(&mut self, limit: u32) {
        self.limit = limit;
    }

    /// Starts no more visits than were started.
    pub(crate) fn stop(&mut self) {
        self.limit = self.started;
        self.cursor = None;
    }

    /// Starts the next visit if one may be started. Returns when to try again if only the rate
    /// forbids it.
    pub(crate) fn start_visit(
        &mut self,
        rng: &mut impl Rng,
        now: Instant,
    ) -> Result<(), Option<Instant>> {
        let is_full = self.visits.len() >= MAX_VISITS as usize;
        // The first answer shows that the way works.
        if is_full || self.knows_no_tower() || self.waiting == 0 || self.started >= self.limit {
            return Err(None);
        }
        if self.next_visit_at > now {
            return Err(Some(self.next_visit_at));
        }
        let Some(tower) = self.draw(rng).or_else(|| self.again.pop_front()) else {
            return Err(None);
        };
        self.waiting -= 1;
        self.started += 1;
        let earliest = Instant::from_nanos(now.as_nanos().saturating_sub(BURST));
        self.next_visit_at = self.next_visit_at.max(earliest) + self.spacing;
        let visit = Visit {
            started: now,
            after: Tag::new([0; Tag::LEN]),
            pages: 0,
            is_listing: false,
            has_more: true,
            tries: 0,
            wanted: VecDeque::new(),
            groups: BTreeMap::new(),
            owed: 0,
        };
        self.visits.insert(tower, visit);
        Ok(())
    }

    /// Draws a tower that was not visited: a group first, then a tower of it.
    fn draw(&mut self, rng: &mut impl Rng) -> Option<TowerId> {
        let group = rng.random_range(0..self.unvisited.len().max(1));
        let group = self.unvisited.keys().nth(group).copied()?;
        let towers = self.unvisited.get_mut(&group)?;
        let tower = towers.swap_remove(rng.random_range(0..towers.len()));
        if towers.is_empty() {
            self.unvisited.remove(&group);
        }
        Some(tower)
    }

    /// Takes a page of an inventory. Returns false if the page is invalid: its tags are not in
    /// order, or it claims more without a tag. The tower is bad then. `clocks` are the Unix minutes
    /// of the tower and of this machine.
    pub(crate) fn on_inventory(
        &mut self,
        tower: TowerId,
        tags: impl Iterator<Item = Tag>,
        has_more: bool,
        held: u32,
        room: u32,
        clocks: (u32, u32),
    ) -> bool {
        let Some(visit) = self.visits.get_mut(&tower) else { return false };
        visit.is_listing = false;
        visit.pages += 1;
        self.spacing = SPACING.max(self.spacing - self.spacing / 16);
        let mut count = 0;
        let is_sorted = tags
            .map(|tag| (count += 1, core::mem::replace(&mut visit.after, tag), tag))
            .all(|((), before, tag)| before < tag);
        let is_whole = !has_more || count == PAGE;
        visit.has_more = has_more && visit.pages < MAX_PAGES;
        if let Some(known) = self.towers.get_mut(usize::from(tower)) {
            known.is_silent = false;
            if !core::mem::replace(&mut known.has_answered, true) {
                self.answered += 1;
                self.samples.push(held, room);
                self.clocks.push(clocks.0, clocks.1);
            }
        }
        if !is_sorted || !is_whole {
            self.set_bad(tower);
        }
        is_sorted && is_whole
    }

    /// A request for an inventory did not get to the first hop.
    pub(crate) fn on_list_unsent(&mut self, tower: TowerId) {
        if let Some(visit) = self.visits.get_mut(&tower) {
            visit.is_listing = false;
        }
    }

    /// An inventory did not come.
    pub(crate) fn on_list_failed(&mut self, tower: TowerId, failure: Failure, now: Instant) {
        let Some(visit) = self.visits.get_mut(&tower) else { return };
        visit.is_listing = false;
        visit.has_more = false;
        let Some(known) = self.towers.get_mut(usize::from(tower)) else { return };
        known.tries += 1;
        known.is_lost = failure == Failure::Lost;
        known.is_silent = failure == Failure::TimedOut;
        if known.has_answered {
            // The next page of an inventory of which earlier ones came.
            visit.has_more = known.tries < MAX_SILENT;
            return;
        }
        let most = match failure {
            Failure::Lost => MAX_LOST,
            Failure::TimedOut | Failure::LinkEnded => MAX_SILENT,
            Failure::NotTaken => 0,
        };
        if failure == Failure::Lost && self.slowed_at + self.spacing * 4 <= now {
            self.spacing = MAX_SPACING.min(self.spacing * 2);
            self.slowed_at = now;
        }
        if known.tries < most {
            self.visits.remove(&tower);
            self.again.push_back(tower);
            self.waiting += 1;
            self.started -= 1;
        }
    }

    /// Does not ask a tower again.
    pub(crate) fn set_bad(&mut self, tower: TowerId) {
        if let Some(known) = self.towers.get_mut(usize::from(tower)) {
            known.is_bad = true;
        }
        if let Some(visit) = self.visits.get_mut(&tower) {
            visit.give_up();
        }
    }

    pub(crate) fn is_bad(&self, tower: TowerId) -> bool {
        self.towers.get(usize::from(tower)).is_some_and(|known| known.is_bad)
    }

    /// Returns the addresses of bad towers, for the next round through the same first hop.
    pub(crate) fn bad_addresses(&self) -> BTreeSet<Option<Address>> {
        let bad = self.towers.iter().filter(|known| known.is_bad);
        bad.map(|known| known.address.clone()).collect()
    }

    /// Returns the way to a tower, if `hop` is the way to the first hop.
    pub(crate) fn way<'a>(&'a self, tower: TowerId, hop: Way<'a>) -> Option<Way<'a>> {
        let known = self.towers.get(usize::from(tower))?;
        Some(match hop.route {
            Route::Stem => Way { target: known.address.as_ref(), ..hop },
            Route::Direct => Way { contact: known.contact, ..hop },
        })
    }

    /// Notes a chunk that was owed.
    pub(crate) fn on_chunk(&mut self, tower: TowerId, is_proved: bool) {
        if let Some(visit) = self.visits.get_mut(&tower) {
            visit.owed = visit.owed.saturating_sub(1);
        }
        if let Some(known) = self.towers.get_mut(usize::from(tower)).filter(|_| is_proved) {
            known.trust = (known.trust * 2).min(MAX_TRUST);
        }
    }

    /// Returns how many more chunks may be asked of a tower.
    pub(crate) fn credit(&self, tower: TowerId) -> u32 {
        let trust = self.towers.get(usize::from(tower)).map_or(0, |known| known.trust);
        self.visits.get(&tower).map_or(0, |visit| trust.saturating_sub(visit.owed))
    }

    /// Returns a visit that should ask for its next page.
    pub(crate) fn next_list(&self) -> Option<(TowerId, Tag)> {
        let mut visits = self.visits.iter();
        let (tower, visit) = visits.find(|(_, visit)| visit.wants_page())?;
        Some((*tower, visit.after))
    }

    pub(crate) fn on_list_asked(&mut self, tower: TowerId) {
        if let Some(visit) = self.visits.get_mut(&tower) {
            visit.is_listing = true;
        }
    }

    /// Wants two pieces of each group of which a tower lists more than a sixteenth, when its list
    /// has ended. A group has `total` pieces.
    pub(crate) fn want_of_large(&mut self, total: u32) {
        for visit in self.visits.values_mut().filter(|visit| !visit.has_more) {
            for group in core::mem::take(&mut visit.groups).into_values() {
                if group.listed > total / LARGE {
                    visit.wanted.extend(group.drawn.into_iter().flatten());
                }
            }
        }
    }

    /// Ends visits that have nothing left to do.
    pub(crate) fn end_visits(&mut self, now: Instant) -> bool {
        let before = self.visits.len();
        let Self { visit_time, towers, failed, .. } = self;
        self.visits.retain(|tower, visit| {
            let is_over =
                !visit.is_listing && !visit.has_more && visit.wanted.is_empty() && visit.owed == 0;
            let known = towers.get_mut(usize::from(*tower)).filter(|_| is_over);
            if let Some(known) = known {
                known.has_failed = !known.has_answered;
                if known.has_failed {
                    *failed += 1;
                } else {
                    *visit_time = Some(mean(*visit_time, now.duration_since(visit.started)));
                }
            }
            !is_over
        });
        self.visits.len() < before
    }

    /// Returns whether all visits that may be started are over.
    pub(crate) fn is_over(&self) -> bool {
        let may_start = self.waiting > 0 && self.started < self.limit;
        self.visits.is_empty() && self.has_addresses() && !may_start
    }

    fn has_addresses(&self) -> bool {
        self.cursor.is_none() && matches!(self.near, Near::Failed | Near::Known(_))
    }

    /// Returns whether the visits that were allowed have all had an answer or failed. Visits with
    /// chunks to take may go on.
    pub(crate) fn has_estimate(&self) -> bool {
        let may_start = self.waiting > 0 && self.started < self.limit;
        self.has_addresses()
            && !may_start
            && self.visits.iter().all(|(tower, visit)| {
                !visit.is_listing
                    && (self.towers.get(usize::from(*tower)).is_some_and(|it| it.has_answered)
                        || !visit.has_more)
            })
    }

    /// Returns whether the last hop of the stem reached none of several towers. It passes no
    /// requests on, so nothing is known of them.
    pub(crate) fn relays_nothing(&self) -> bool {
        let others = self.towers.iter().filter(|known| known.address.is_some());
        let lost = others.clone().filter(|known| known.has_failed && known.is_lost).count();
        lost >= MIN_LOST && others.into_iter().all(|known| !known.has_answered)
    }

    /// Returns the share of the towers that were visited. A reader gets nothing from a tower that
    /// does not answer, so its visit counts as one that found nothing.
    pub(crate) fn visited_share(&self) -> f64 {
        f64::from(self.answered + self.failed) / f64::from(self.known().max(1))
    }

    /// Returns the share of the towers of which it is known whether they hold pieces. The last hop
    /// of a stem may not want to reach a tower.
    pub(crate) fn known_share(&self) -> f64 {
        let lost = self.towers.iter().filter(|known| known.has_failed && known.is_lost).count();
        let lost = u32::try_from(lost).unwrap_or(u32::MAX);
        let visited = self.answered + self.failed;
        f64::from(visited.saturating_sub(lost)) / f64::from(self.known().max(1))
    }

    /// Returns the share of the towers that answered. Others may still hold pieces.
    pub(crate) fn answered_share(&self) -> f64 {
        f64::from(self.answered) / f64::from(self.known().max(1))
    }

    /// Returns how many towers did not answer in time. They may hold pieces.
    pub(crate) fn silent(&self) -> u32 {
        let silent = self.towers.iter().filter(|known| known.is_silent).count();
        u32::try_from(silent).unwrap_or(u32::MAX)
    }

    /// Returns whether so many towers did not answer in time that they may hold most of a file.
    pub(crate) fn may_hide(&self) -> bool {
        self.silent() > self.answered / 2
    }

    /// Returns how many towers answered, or did not until their visits ended.
    pub(crate) fn ended(&self) -> u32 {
        self.answered + self.failed
    }

    pub(crate) fn answered(&self) -> u32 {
        self.answered
    }

    /// Returns the number of towers that answered or may still answer.
    pub(crate) fn reachable(&self) -> u32 {
        self.known().saturating_sub(self.failed)
    }

    pub(crate) fn known(&self) -> u32 {
        u32::try_from(self.towers.len()).unwrap_or(u32::MAX)
    }

    pub(crate) fn visit_time(&self) -> Option<Duration> {
        self.visit_time
    }

    /// Returns the expected time of the visits that are left.
    pub(crate) fn remaining(&self, visits: u32, now: Instant) -> Option<Duration> {
        let done = self.answered + self.failed;
        let passed = now.duration_since(self.began);
        (done > 0).then(|| passed / done * visits.saturating_sub(done))
    }

    pub(crate) fn estimate(&self) -> NetworkEstimate {
        let (held, room) = self.samples.medians();
        NetworkEstimate {
            towers: self.known(),
            visited: self.answered,
            failed: self.failed,
            held,
            room,
        }
    }

    /// Returns by how many minutes the clocks of most towers are ahead of that of this machine.
    pub(crate) fn clock_difference(&self) -> Option<i32> {
        self.clocks.difference()
    }

    /// Returns the towers that the first hop knows by itself. The end of the stem has no say in
    /// them.
    pub(crate) fn table(&self) -> Vec<Address> {
        match (&self.near, self.towers.first()) {
            (Near::Known(near), Some(KnownTower { address: None, .. })) => near.clone(),
            (_, Some(KnownTower { address: Some(_), .. })) => {
                self.addresses.iter().cloned().collect()
            }
            _ => Vec::new(),
        }
    }
}

/// Returns the tower that becomes another first hop: of another address group than all of `used` if
/// there is one, and then the first one by an order that a key gives. The same key gives the same
/// tower, so that few towers see this client.
pub(crate) fn draw_other(
    table: &[Address],
    used: &BTreeSet<Address>,
    order: &[u8; 16],
) -> Option<Address> {
    let groups: BTreeSet<_> = used.iter().map(AddressGroup::of).collect();
    let others = table.iter().filter(|address| !used.contains(*address));
    let others = others.max_by_key(|address| {
        let group = AddressGroup::of(address);
        let score = |item: &dyn Fn(&mut SipHasher24)| {
            let mut hasher = SipHasher24::new_with_key(order);
            item(&mut hasher);
            hasher.finish()
        };
        let of_group = score(&|hasher| group.hash(hasher));
        (!groups.contains(&group), of_group, score(&|hasher| address.hash(hasher)))
    });
    others.cloned()
}

impl Visit {
    /// Notes a piece that the tower lists, of which two of each group are drawn.
    pub(crate) fn on_listed(&mut self, group: u32, piece: Wanted, take: Take, rng: &mut impl Rng) {
        match take {
            Take::Yes => self.wanted.push_back(piece),
            Take::IfLarge => {}
            Take::No => return,
        }
        let group = self.groups.entry(group).or_default();
        group.listed += 1;
        if take == Take::IfLarge {
            group.considered += 1;
            let place = match group.considered {
                1 => 0,
                2 => 1,
                count => rng.random_range(0..count),
            };
            if let Some(drawn) = group.drawn.get_mut(place as usize) {
                *drawn = Some(piece);
            }
        }
    }

    /// Ends the visit. Returns the pieces that were still wanted.
    pub(crate) fn give_up(&mut self) -> VecDeque<Wanted> {
        self.has_more = false;
        self.groups.clear();
        core::mem::take(&mut self.wanted)
    }

    /// A chunk did not come. Returns what is given up.
    pub(crate) fn on_fetch_failed(&mut self) -> VecDeque<Wanted> {
        self.tries += 1;
        if self.tries < MAX_TRIES { VecDeque::new() } else { self.give_up() }
    }

    fn wants_page(&self) -> bool {
        self.has_more && !self.is_listing && self.wanted.len() < LOW
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{format, vec};
    use clacks_proto::Seed;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;

    const SECOND: Duration = Duration::from_secs(1);
    const BEGIN: Instant = Instant::from_nanos(100_000_000_000);

    fn rng(seed: u64) -> ChaCha8Rng {
        ChaCha8Rng::from_seed(Seed::from_u64(seed).0)
    }

    fn address(group: u32, host: u32) -> Address {
        Address::new(&format!("10.{group}.{}.{}", host / 250, host % 250 + 1), 8001).unwrap()
    }

    /// Returns a survey of `groups` times `hosts` towers behind a stem.
    fn survey(groups: u32, hosts: u32) -> Survey {
        let mut survey = Survey::new(0, None, u32::MAX, BTreeSet::new(), BEGIN);
        let all = (0..groups).flat_map(|group| (0..hosts).map(move |host| address(group, host)));
        survey.on_towers(0, &all.collect::<Vec<_>>(), |_| 0);
        survey.on_near(Vec::new());
        survey
    }

    fn end(survey: &mut Survey, tower: TowerId, now: Instant) {
        assert!(survey.on_inventory(tower, core::iter::empty(), false, 5, 10, (1, 1)));
        assert!(survey.end_visits(now));
    }

    #[test]
    fn each_tower_is_visited_once_and_no_faster_than_allowed() {
        let mut survey = survey(10, 50);
        let (mut rng, mut now) = (rng(1), BEGIN);
        let mut visited = BTreeSet::new();
        let mut most = 0;
        while !survey.is_over() {
            let wait = loop {
                match survey.start_visit(&mut rng, now) {
                    Ok(()) => {}
                    Err(wait) => break wait,
                }
            };
            most = most.max(survey.visits.len());
            let towers: Vec<_> = survey.visits.keys().copied().collect();
            for tower in towers {
                assert!(visited.insert(tower), "tower {tower} is visited twice");
                end(&mut survey, tower, now);
            }
            now = wait.unwrap_or(now).max(now);
        }
        assert_eq!((visited.len(), survey.answered()), (501, 501));
        assert_eq!(most, 32);
        // 64 a second, and half a second is made up for at the beginning.
        let passed = now.duration_since(BEGIN).as_secs_f64();
        assert!((501.0 / 64.0 - 0.6..501.0 / 64.0).contains(&passed), "{passed}");
    }

    #[test]
    fn a_tower_that_the_last_hop_could_not_reach_is_visited_again_after_the_others() {
        let mut survey = survey(1, 5);
        let (mut rng, mut now) = (rng(1), BEGIN);
        let mut visits = Vec::new();
        let mut spacings = BTreeSet::new();
        while !survey.is_over() {
            if let Err(Some(at)) = survey.start_visit(&mut rng, now) {
                now = at;
            }
            let towers: Vec<_> = survey.visits.keys().copied().collect();
            for tower in towers {
                visits.push(tower);
                match tower {
                    1 => survey.on_list_failed(tower, Failure::Lost, now),
                    2 => survey.on_list_failed(tower, Failure::TimedOut, now),
                    3 => survey.on_list_failed(tower, Failure::NotTaken, now),
                    _ => end(&mut survey, tower, now),
                }
                spacings.insert(survey.spacing);
            }
            survey.end_visits(now);
        }
        let count = |tower| visits.iter().filter(|it| **it == tower).count();
        assert_eq!([0, 1, 2, 3, 4, 5].map(count), [1, 4, 2, 1, 1, 1]);
        let mut first: Vec<_> = visits[..6].to_vec();
        first.sort_unstable();
        assert_eq!(first, [0, 1, 2, 3, 4, 5]);
        assert_eq!((survey.answered(), survey.estimate().failed), (3, 3));
        assert!(
            spacings.len() > 1 && spacings.iter().all(|it| (SPACING..=MAX_SPACING).contains(it))
        );
    }

    #[test]
    fn a_group_of_many_addresses_is_visited_no_sooner_than_one_of_few() {
        let mut first = 0u32;
        for seed in 0..400 {
            let mut survey = Survey::new(0, None, 1, BTreeSet::new(), Instant::ORIGIN);
            let mut all: Vec<_> = (0..99).map(|host| address(1, host)).collect();
            all.push(address(2, 0));
            survey.on_towers(0, &all, |_| 0);
            survey.start_visit(&mut rng(seed), Instant::ORIGIN).unwrap();
            let tower = *survey.visits.keys().next().unwrap();
            first += u32::from(survey.towers[usize::from(tower)].address == Some(address(2, 0)));
        }
        // A third each: the two groups, and the last hop. Four standard errors.
        assert!((95..=171).contains(&first), "{first}");
    }

    #[test]
    fn an_inventory_out_of_order_makes_a_tower_bad() {
        let tag = |byte| Tag::new([byte; Tag::LEN]);
        for (tags, has_more) in [(vec![2, 1], false), (vec![1, 1], false), (vec![1], true)] {
            let mut survey = survey(1, 1);
            survey.start_visit(&mut rng(1), BEGIN).unwrap();
            let tower = *survey.visits.keys().next().unwrap();
            let tags = tags.into_iter().map(tag);
            assert!(!survey.on_inventory(tower, tags, has_more, 1, 1, (1, 1)));
            assert!(survey.is_bad(tower));
            assert!(survey.end_visits(Instant::ORIGIN), "the visit is over");
        }
    }

    #[test]
    fn a_tower_owes_more_chunks_with_each_proof() {
        let mut survey = survey(1, 1);
        survey.start_visit(&mut rng(1), BEGIN).unwrap();
        let tower = *survey.visits.keys().next().unwrap();
        let mut credits = Vec::new();
        for _ in 0..7 {
            credits.push(survey.credit(tower));
            survey.on_chunk(tower, true);
        }
        assert_eq!(credits, [4, 8, 16, 32, 64, 128, 128]);
        survey.on_chunk(tower, false);
        survey.visits.get_mut(&tower).unwrap().owed = 100;
        assert_eq!(survey.credit(tower), 28);
    }

    #[test]
    fn an_endless_inventory_ends_after_its_last_page() {
        let mut survey = survey(1, 1);
        survey.start_visit(&mut rng(1), BEGIN).unwrap();
        let mut pages = 0u64;
        while let Some((tower, _)) = survey.next_list() {
            survey.on_list_asked(tower);
            let tag = |at: u64| {
                let mut tag = [0; Tag::LEN];
                tag[..8].copy_from_slice(&(pages * 500 + at + 1).to_be_bytes());
                Tag::new(tag)
            };
            assert!(survey.on_inventory(tower, (0..500).map(tag), true, 1, 1, (1, 1)));
            pages += 1;
        }
        assert_eq!(pages, u64::from(MAX_PAGES));
    }

    #[test]
    fn endless_pages_of_addresses_end() {
        let mut survey = Survey::new(0, None, u32::MAX, BTreeSet::new(), Instant::ORIGIN);
        let mut pages = 0;
        while let Some(cursor) = survey.wanted_peers(Instant::ORIGIN) {
            survey.on_peers_asked();
            let page: Vec<_> = (0..40).map(|host| address(pages, host)).collect();
            survey.on_towers(cursor + 40, &page, |_| 0);
            pages += 1;
        }
        assert_eq!(pages, MAX_PEER_PAGES);
        assert_eq!(survey.known(), 4_096);
    }

    #[test]
    fn another_first_hop_is_of_another_network_if_there_is_one() {
        let table: Vec<_> =
            (0..3).flat_map(|group| (0..5).map(move |host| address(group, host))).collect();
        let used = BTreeSet::from([address(0, 0), address(1, 0)]);
        for seed in 0..50 {
            let other = draw_other(&table, &used, &[seed; 16]).unwrap();
            assert_eq!(AddressGroup::of(&other), AddressGroup::of(&address(2, 0)));
            assert_eq!(draw_other(&table, &used, &[seed; 16]), Some(other));
        }
        let used: BTreeSet<_> = (0..3).map(|group| address(group, 0)).collect();
        let other = draw_other(&table, &used, &[1; 16]).unwrap();
        assert!(!used.contains(&other));
        assert_eq!(survey(3, 5).remaining(10, Instant::ORIGIN + SECOND), None);
    }

    #[test]
    fn the_table_of_the_first_hop_is_not_that_of_the_last_one() {
        let mut survey = survey(3, 5);
        assert_eq!(survey.table(), []);
        survey.on_near(vec![address(7, 1)]);
        assert_eq!(survey.table(), [address(7, 1)]);
        let first = Some(address(1, 1));
        let mut direct = Survey::new(0, first, u32::MAX, BTreeSet::new(), BEGIN);
        direct.on_towers(0, &[address(2, 1)], |_| 0);
        assert_eq!(direct.table(), [address(1, 1), address(2, 1)]);
    }
}
