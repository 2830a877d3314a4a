//! The store of a tower: which chunks it holds, for neighbours that ask.
//!
//! [`Store`] wraps a tower and is a state machine like it, so each driver runs it unchanged. It
//! screens what comes in, keeps an inventory of the chunks that the tower holds, and answers the
//! datagrams of [`protocol`](crate::protocol). It passes requests on for others.
//!
//! | subject | file |
//! |---|---|
//! | the chunks that are held | `store/inventory.rs` |
//! | limits for chunks | `store/admission.rs` |
//! | requests of others that wait for answers | `store/relay.rs` |
//! | which tower is next, and which gets a chunk | `store/draw.rs` |
//! | what waits to be sent, and whose turn it is | `store/outgoing.rs` |
//!
//! # Limits
//!
//! Each limit has a knob in [`StoreConfig`] with a value that disables it.
//!
//! | limit | knob |
//! |---|---|
//! | clients fill a part of the queue only | [`publish_below`](StoreConfig::publish_below) |
//! | chunks from clients end sooner in a fuller queue | [`shorter_from`](StoreConfig::shorter_from) |
//! | address groups have shares of a fuller queue | [`shares_from`](StoreConfig::shares_from) |
//! | groups that publish little have own room | [`reserve_below`](StoreConfig::reserve_below) |
//! | a link has rates | [`publish_rate`](StoreConfig::publish_rate), [`request_rate`](StoreConfig::request_rate) |
//! | datagrams have a rate, and address groups take turns | [`egress`](StoreConfig::egress) |
//! | few links are dialled for others | [`dials`](StoreConfig::dials) |
//! | requests are passed on for others, and few wait | [`relays`](StoreConfig::relays), [`max_relayed`](StoreConfig::max_relayed) |
//! | new chunks are listed together | [`list_every`](StoreConfig::list_every) |
//!
//! No chunk rests above [`Config::hold_below`](clacks_proto::Config::hold_below), and guests have
//! at most [`Config::max_unproved`](clacks_proto::Config::max_unproved) links.

mod admission;
mod config;
mod draw;
mod inventory;
mod outgoing;
mod relay;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use bytes::{BufMut, Bytes};
use clacks_proto::{
    Action, Address, DatagramError, EnqueueOptions, Event, Instant, Kind, LinkId, Message,
    MessageId, Notice, OfferId, Refusal, Seed, StateMachine, To, Tower, Verdict, Wakeup,
    WakeupReason,
};

use crate::address_group::AddressGroup;
use crate::chunk::{CHUNK, Chunk, Tag};
use crate::clock::Clock;
use crate::clock_samples::ClockSamples;
use crate::protocol::{
    Body, Datagram, MAX_HOPS, MAX_LEN, MAX_TAGS, MAX_TOWERS, Outcome, Page, Tags,
};
use crate::rate::Bucket;
use admission::Fill;
pub use config::{StoreConfig, StoreError, enable_store};
use draw::{Draw, Edge};
use inventory::{Entry, Inventory, Source};
use outgoing::{Outgoing, Waiting};
use relay::{Awaited, NotAwaited, Progress, Relayed, Relays, TIMEOUT};

/// The seconds of an hour, the unit of a chunk's end.
const HOUR: u64 = 3_600;
/// How far clocks may differ.
const SKEW: u64 = 5 * 60;
/// How much sooner than its hour the lifetime of a chunk may end: an hour, because a lifetime of 24
/// hours can end within the last hour, and the difference of two clocks.
const SHORT: Duration = Duration::from_secs(HOUR + 2 * SKEW);

/// How many times the rate of a guest a peer has. It passes on the requests of others.
const PEER_RATE: u32 = 4;

/// What a store has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
#[non_exhaustive]
pub struct StoreStats {
    /// Chunks in the inventory.
    pub held: u64,
    /// Pages of the inventory that were sent.
    pub listed: u64,
    /// Chunks that were sent to clients.
    pub fetched: u64,
    /// Chunks that clients published and the tower queued.
    pub published: u64,
    /// Chunks that were refused, from clients and from peers.
    pub refused: u64,
    /// Requests of others that were passed on.
    pub relayed: u64,
    /// Requests of others that could not be passed on, or got no answer.
    pub lost: u64,
    /// Chunks that came in although they are over or held already.
    pub swallowed: u64,
    /// Datagrams that are none of a store, or exceed the rate of their link.
    pub ignored: u64,
}

/// A tower with a store.
#[derive(Debug)]
pub struct Store<M> {
    inner: M,
    config: StoreConfig,
    clock: Clock,
    now: Instant,
    inventory: Inventory,
    outgoing: Outgoing,
    relays: Relays,
    draw: Draw,
    dials: Bucket,
    /// The Unix minutes of peers and of this tower when they answered, by peer.
    clocks: BTreeMap<Address, (u32, u32)>,
    /// The links that were dialled for others, the oldest first.
    dialled: VecDeque<LinkId>,
    /// Requests of others that wait for a dial, the oldest first.
    postponed: VecDeque<Postponed>,
    /// When the first one is tried again.
    retry_at: Instant,
    stats: StoreStats,
}

impl<M: StateMachine> Store<M> {
    /// Returns a store of a tower. `unix_at_origin` is the Unix time in seconds at
    /// [`Instant::ORIGIN`]. The seed of the tower can be used again: the store has a stream of its
    /// own.
    ///
    /// # Errors
    ///
    /// If the configuration of the tower does not allow a store: see
    /// [`enable_store`](crate::enable_store).
    pub fn new(
        inner: M,
        config: StoreConfig,
        seed: &Seed,
        unix_at_origin: u64,
    ) -> Result<Self, StoreError> {
        StoreError::check(inner.tower().config())?;
        let mut store = Self {
            draw: Draw::new(seed, config.epoch),
            inner,
            config,
            clock: Clock::new(unix_at_origin, Instant::ORIGIN),
            now: Instant::ORIGIN,
            inventory: Inventory::default(),
            outgoing: Outgoing::default(),
            relays: Relays::default(),
            dials: Bucket::default(),
            clocks: BTreeMap::new(),
            dialled: VecDeque::new(),
            postponed: VecDeque::new(),
            retry_at: Instant::ORIGIN,
            stats: StoreStats::default(),
        };
        store.rebuild();
        Ok(store)
    }

    /// Returns the tower without its store, for calls that the store need not see.
    pub fn inner_mut(&mut self) -> &mut M {
        &mut self.inner
    }

    /// Returns what the store has done.
    #[must_use]
    pub fn stats(&self) -> StoreStats {
        StoreStats { held: self.inventory.len() as u64, ..self.stats }
    }

    /// Returns the tags of the chunks that the tower holds, with the hours of their ends.
    pub fn inventory(&self) -> impl Iterator<Item = (Tag, u32)> + '_ {
        self.inventory.iter().map(|(tag, entry)| (tag, entry.until))
    }

    /// Sets the Unix time, in seconds. Call it from time to time, because the clock of the driver
    /// may stop while the machine sleeps. After that, chunks whose hours are over are no longer
    /// listed and given, and peers swallow them. If the time was wrong, those chunks are listed
    /// again when it is set right.
    pub fn set_clock(&mut self, unix: u64, now: Instant) {
        self.set_now(now);
        self.clock = Clock::new(unix, self.now);
    }

    fn set_now(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    fn unix_now(&self) -> u64 {
        self.clock.unix(self.now)
    }

    fn unix_minute(&self) -> u32 {
        u32::try_from(self.unix_now() / 60).unwrap_or(u32::MAX)
    }

    /// Returns whether the hour of a chunk is not over, and not too far ahead.
    fn check_hour(&self, until: u32) -> Hour {
        let (now, hour) = (self.unix_now(), u64::from(until));
        if (hour + 1) * HOUR + SKEW <= now {
            Hour::Over
        } else if hour > self.furthest_hour(self.config.max_hours) {
            Hour::TooFar
        } else {
            Hour::Valid
        }
    }

    /// Returns whether the lifetime of a chunk ends long before its hour does. Each tower that
    /// hands a message over can shorten its lifetime.
    fn ends_early(&self, chunk: &Chunk<'_>, end: Instant) -> bool {
        let hour_ends = (u64::from(chunk.until()) + 1) * HOUR;
        let rest = Duration::from_secs(hour_ends.saturating_sub(self.unix_now()));
        let most = self.inner.tower().config().max_lifetime.unwrap_or(Duration::MAX);
        end + SHORT < self.now + rest.min(most)
    }

    fn furthest_hour(&self, hours: u32) -> u64 {
        self.unix_now().saturating_add(SKEW) / HOUR + u64::from(hours)
    }

    /// Polls until there is an action for the driver, or none.
    #[inline(never)]
    fn poll_next(&mut self, action: &mut Option<Action>) {
        loop {
            *action = self.inner.poll_action();
            if !self.takes(action.as_ref()) {
                return;
            }
        }
    }

    /// Handles an action, or what is to do if there is none. Returns whether another one must be
    /// polled.
    #[inline(always)]
    fn takes(&mut self, action: Option<&Action>) -> bool {
        match action {
            Some(Action::Notify(notice)) => {
                match notice.message() {
                    Some(message) if !is_long_as_chunk(message) => {}
                    _ => self.on_notice(notice),
                }
                false
            }
            Some(Action::Screen { offer, message, .. }) => {
                self.screen(*offer, message);
                true
            }
            Some(_) => false,
            None => self.work(),
        }
    }

    /// Answers requests and sends pending datagrams. Returns whether something was done.
    #[inline(never)]
    fn work(&mut self) -> bool {
        // Run all three: `||` would skip the rest.
        self.serve() | self.pass_on_postponed() | self.flush()
    }

    // Chunks that come as messages.

    #[inline(never)]
    fn screen(&mut self, offer: OfferId, message: &Message) {
        let tower = self.inner.tower();
        let group = tower.link_of_offer(offer).map(|link| self.group_of(link));
        let source = Source::Message(group.unwrap_or(AddressGroup::UNKNOWN));
        let held = tower.offer(offer);
        let (id, end) = held.map_or((None, None), |held| (Some(held.id), held.expires_at));
        let chunk = Some(message).filter(|it| self.has_near_hour(it)).map(chunk_of);
        let verdict = match &chunk {
            // A message of another application.
            None => Verdict::ACCEPT,
            Some(None) => self.reject(),
            Some(Some(chunk)) => self.verdict(chunk, end, source),
        };
        let is_accepted = matches!(verdict, Verdict::Accept { .. });
        // If the offer is gone, the sender keeps its message.
        let decided = self.inner.tower_mut().decide(offer, verdict, self.now);
        if let (Ok(()), true, Some(Some(chunk)), Some(id)) = (decided, is_accepted, chunk, id) {
            self.enter(id, chunk.tag(), chunk.until(), source);
        }
    }

    /// Returns whether a message is as long as a chunk and has an hour within a week from now. A
    /// message of another application has one by a chance of less than 2^-23, and is not hashed.
    fn has_near_hour(&self, message: &Message) -> bool {
        const WEEK: u64 = 7 * 24;
        let until = message.body().get(Tag::LEN..).and_then(<[u8]>::first_chunk);
        let until = until.map(|until| u64::from(u32::from_be_bytes(*until)));
        let now = self.unix_now() / HOUR;
        is_long_as_chunk(message) && until.is_some_and(|until| until.abs_diff(now) <= WEEK)
    }

    fn verdict(&mut self, chunk: &Chunk<'_>, end: Option<Instant>, source: Source) -> Verdict {
        match self.check_hour(chunk.until()) {
            Hour::Over => self.swallow(),
            Hour::TooFar => self.reject(),
            // Others of the same tag would be swallowed, and then nothing would be left.
            Hour::Valid if end.is_some_and(|end| self.ends_early(chunk, end)) => self.reject(),
            Hour::Valid if self.holds(chunk.tag()) => self.swallow(),
            Hour::Valid if !self.is_within_share(source) => self.reject(),
            Hour::Valid => Verdict::Accept { hold: self.config.hold },
        }
    }

    fn swallow(&mut self) -> Verdict {
        self.stats.swallowed += 1;
        Verdict::Swallow
    }

    fn reject(&mut self) -> Verdict {
        self.stats.refused += 1;
        Verdict::Reject
    }

    fn group_of(&self, link: LinkId) -> AddressGroup {
        self.outgoing.get(link).map_or(AddressGroup::UNKNOWN, |state| state.group)
    }

    /// Above a certain fill, each address group has a share of the queue for its messages, and one
    /// for what it publishes. If it had one for both, a tower through which a flood is published
    /// could hand over only to towers that drop what they get.
    fn is_within_share(&mut self, source: Source) -> bool {
        let fill = Fill::of(self.inner.tower());
        if !fill.is_from(self.config.shares_from) {
            return true;
        }
        let groups = self.draw.groups(self.inner.tower(), self.now);
        self.inventory.of_source(source) < fill.share(&self.config, groups)
    }

    /// Part of the room for messages in transit is reserved for groups that have published few
    /// chunks, so that a flood by others does not stop them.
    fn is_within_reserve(&mut self, source: Source) -> bool {
        let fill = Fill::of(self.inner.tower());
        let groups = self.draw.groups(self.inner.tower(), self.now);
        self.config.reserve_below > self.config.publish_below
            && !fill.is_from(self.config.reserve_below)
            && self.inventory.of_source(source) < fill.reserve(&self.config, groups)
    }

    // The inventory.

    fn holds(&self, tag: Tag) -> bool {
        self.inventory.get(tag).is_some_and(|entry| self.is_held(entry.id))
    }

    /// Returns whether readers get a chunk.
    fn is_given(&self, entry: &Entry) -> bool {
        self.is_held(entry.id) && self.check_hour(entry.until) != Hour::Over
    }

    fn is_held(&self, id: MessageId) -> bool {
        self.inner.tower().message(id).is_some()
    }

    #[inline(never)]
    fn on_notice(&mut self, notice: &Notice) {
        match notice {
            Notice::MessageReceived { id, message, .. } => self.discover(*id, message),
            Notice::MessageQueued { id, .. } => {
                if let Some(held) = self.inner.tower().message(*id)
                    && is_long_as_chunk(&held.message)
                {
                    self.discover(*id, &held.message);
                }
            }
            Notice::MessageDelivered { id, message, .. }
            | Notice::MessageExpired { id, message, .. } => self.leave(*id, message),
            Notice::DatagramRoom { link } => {
                self.outgoing.on_room(*link, is_guest(self.inner.tower(), *link));
            }
            Notice::DatagramsDropped { link, .. } => self.lose(*link),
            Notice::LinkClosed { link, .. } => self.on_link_closed(*link),
            Notice::Missed { .. } => self.rebuild(),
            _ => {}
        }
    }

    /// Adds a message to the inventory if it is a chunk that is not there yet.
    fn discover(&mut self, id: MessageId, message: &Message) {
        let known = likely_tag(message).is_some_and(|tag| self.holds(tag));
        if !known
            && self.is_held(id)
            && let Some(chunk) = chunk_of(message)
        {
            let source = Source::Message(AddressGroup::UNKNOWN);
            self.enter(id, chunk.tag(), chunk.until(), source);
        }
    }

    fn enter(&mut self, id: MessageId, tag: Tag, until: u32, source: Source) {
        let listed_at = self.next_listing();
        self.inventory.insert(tag, Entry { id, until, source, listed_at });
    }

    /// Returns when new chunks are listed.
    fn next_listing(&self) -> Instant {
        let every = u64::try_from(self.config.list_every.as_nanos()).unwrap_or(u64::MAX);
        let now = self.now.as_nanos();
        let late = now.checked_rem(every).unwrap_or(0);
        Instant::from_nanos(if every == 0 { now } else { now.saturating_add(every - late) })
    }

    fn leave(&mut self, id: MessageId, message: &Message) {
        if let Some(tag) = likely_tag(message)
            && self.inventory.get(tag).is_some_and(|entry| entry.id == id)
            && !self.is_held(id)
        {
            self.inventory.remove(tag);
        }
    }

    /// Looks through the queue and the links. After missed notices the store does not know what has
    /// become of them.
    fn rebuild(&mut self) {
        let before = core::mem::take(&mut self.inventory);
        let held = self.inner.tower().peek().filter(|held| is_long_as_chunk(&held.message));
        let held: Vec<_> = held.map(|held| (held.id, held.message)).collect();
        for (id, message) in held {
            let known = likely_tag(&message).and_then(|tag| Some((tag, before.get(tag)?)));
            match known.filter(|(_, entry)| entry.id == id) {
                Some((tag, entry)) => self.inventory.insert(tag, *entry),
                None => self.discover(id, &message),
            }
        }
        let tower = self.inner.tower();
        self.outgoing.retain(|link| tower.link(link).is_some());
        self.outgoing.on_missed(|link| is_guest(tower, link));
        self.dialled.retain(|link| tower.link(*link).is_some());
    }

    // Requests.

    /// Answers the datagrams that came in. Returns whether there were any.
    fn serve(&mut self) -> bool {
        let mut is_busy = false;
        while let Some(datagram) = self.inner.tower_mut().take_datagram() {
            is_busy = true;
            // A link that is being closed takes no answers.
            if self.outgoing.get(datagram.link).is_none() {
                continue;
            }
            match Datagram::decode(&datagram.body) {
                Ok(decoded) => self.on_datagram(datagram.link, &decoded, &datagram.body),
                Err(_) => self.stats.ignored += 1,
            }
        }
        is_busy
    }

    fn on_datagram(&mut self, link: LinkId, datagram: &Datagram<'_>, bytes: &Bytes) {
        let number = datagram.number;
        match &datagram.body {
            Body::Relay { hops, target, inner } => {
                let Ok(request) = Body::decode_inner(inner) else { return };
                if self.is_within_rate(link, number, &request) {
                    self.relay(link, number, *hops, target.as_ref(), &request);
                }
            }
            request if Awaited::by(request).is_some() => {
                if self.is_within_rate(link, number, request) {
                    self.carry_out(link, number, request);
                }
            }
            answer => {
                if self.on_answer(link, number, answer, bytes).is_err() {
                    self.stats.ignored += 1;
                }
            }
        }
    }

    /// Each link has a rate. A request counts the same if it is to be passed on.
    fn is_within_rate(&mut self, link: LinkId, number: u32, request: &Body<'_>) -> bool {
        let (now, config) = (self.now, &self.config);
        let factor = if is_guest(self.inner.tower(), link) { 1 } else { PEER_RATE };
        let Some(state) = self.outgoing.get_mut(link) else { return false };
        let is_publish = matches!(request, Body::Publish(_));
        let is_within = match is_publish {
            true => state.publishes.take(config.publish_rate.times(factor), now),
            false => state.requests.take(config.request_rate.times(factor), now),
        };
        if !is_within && is_publish {
            self.stats.refused += 1;
            self.send(link, number, &Body::Published(Outcome::TooFast));
        } else if !is_within {
            self.stats.ignored += 1;
        }
        is_within
    }

    /// Carries a request out at this tower.
    fn carry_out(&mut self, link: LinkId, number: u32, request: &Body<'_>) {
        match request {
            Body::List { after } => self.push(link, Waiting::Page { number, after: *after }),
            Body::Fetch(tags) => self.fetch(link, number, *tags),
            Body::Publish(chunk) => {
                let outcome = self.publish(self.group_of(link), &chunk[..]);
                match outcome {
                    Outcome::Queued => self.stats.published += 1,
                    _ => self.stats.refused += 1,
                }
                self.send(link, number, &Body::Published(outcome));
            }
            Body::Peers { cursor } => self.list_towers(link, number, *cursor),
            _ => {}
        }
    }

    fn page(&self, number: u32, after: Tag) -> Vec<u8> {
        let mut page = Page::default();
        let mut has_more = false;
        for (tag, entry) in self.inventory.after(after) {
            if entry.listed_at > self.now || !self.is_given(entry) {
                continue;
            }
            has_more = !page.push(tag, entry.until);
            if has_more {
                break;
            }
        }
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let (held, room) = (count(self.inventory.len()), count(self.room()));
        let minute = self.unix_minute();
        let body = Body::Inventory { has_more, minute, held, room, entries: page.entries() };
        Datagram { number, body }.encode()
    }

    /// Returns how many more chunks clients may publish.
    fn room(&self) -> usize {
        let (tower, percent) = (self.inner.tower(), usize::from(self.config.publish_below));
        let (config, usage) = (tower.config(), tower.queue_usage());
        let share = |whole: usize| whole.saturating_mul(percent) / 100;
        let messages = share(config.max_queue_messages).saturating_sub(usage.messages);
        let bytes = share(config.max_queue_bytes).saturating_sub(usage.bytes);
        messages.min(bytes / CHUNK)
    }

    fn publish(&mut self, group: AddressGroup, bytes: &[u8]) -> Outcome {
        // No reader can open a chunk with a wrong id.
        let Some(chunk) = Chunk::parse(bytes) else { return Outcome::BadHour };
        let until = chunk.until();
        if self.check_hour(until) != Hour::Valid {
            return Outcome::BadHour;
        }
        if self.holds(chunk.tag()) {
            return Outcome::Queued;
        }
        let fill = Fill::of(self.inner.tower());
        let source = Source::Published(group);
        if self.room() == 0 && !self.is_within_reserve(source) {
            return Outcome::Full;
        }
        if u64::from(until) > self.furthest_hour(fill.max_hours(&self.config)) {
            return Outcome::TooLong;
        }
        if !self.is_within_share(source) {
            return Outcome::Full;
        }
        let end = (u64::from(until) + 1) * HOUR;
        let rest = Duration::from_secs(end.saturating_sub(self.unix_now()).max(1));
        let max = self.inner.tower().config().max_lifetime;
        let lifetime = Some(max.map_or(rest, |max| rest.min(max)));
        let is_unheld = self.draw.one_in(self.config.unheld);
        let hold = if is_unheld { Duration::ZERO } else { self.config.hold };
        let options = EnqueueOptions { lifetime, hold };
        let message = Message::bytes(bytes);
        match self.inner.tower_mut().enqueue_with(message.clone(), options, self.now) {
            Ok(nonce) => {
                if let Some(id) = self.inner.tower().find_message(nonce, &message) {
                    self.enter(id, chunk.tag(), until, source);
                }
                Outcome::Queued
            }
            Err(_) => Outcome::Full,
        }
    }

    fn fetch(&mut self, link: LinkId, number: u32, tags: Tags<'_>) {
        let is_given = |tag: &Tag| self.inventory.get(*tag).is_some_and(|it| self.is_given(it));
        let (held, mut gone): (Vec<Tag>, Vec<Tag>) = tags.iter().partition(is_given);
        // The last place is for word of those that are gone.
        let room = self.outgoing.room(link).saturating_sub(1).min(held.len());
        let (taken, refused) = held.split_at(room);
        taken.iter().for_each(|tag| self.push(link, Waiting::Chunk { number, tag: *tag }));
        gone.extend(refused);
        if !gone.is_empty() {
            self.push(link, Waiting::Bytes(gone_datagram(number, &gone).into()));
        }
    }

    fn list_towers(&mut self, link: LinkId, number: u32, cursor: u32) {
        let len = u32::try_from(MAX_LEN).unwrap_or(u32::MAX);
        let peers = self.inner.tower().datagram_peers(len);
        let (mut known, mut addresses) = (0u32, Vec::new());
        for peer in peers {
            if known >= cursor && addresses.len() < MAX_TOWERS {
                addresses.push(peer.address.clone());
            }
            known = known.saturating_add(1);
        }
        let next = cursor.saturating_add(u32::try_from(addresses.len()).unwrap_or(u32::MAX));
        let next = if next < known { next } else { 0 };
        self.send(link, number, &Body::Towers { next, known, addresses });
    }

    // Requests of others.

    /// Passes a request on, or carries it out if it has arrived.
    fn relay(
        &mut self,
        link: LinkId,
        number: u32,
        hops: u8,
        target: Option<&Address>,
        request: &Body<'_>,
    ) {
        let is_for_this = target.is_none_or(|target| target == self.inner.tower().address());
        let ends_at = self.now + TIMEOUT;
        // The owner of the tower may ask through it in any case.
        let is_own = self.edge(link).is_own_machine();
        let may_pass_on = (self.config.relays || is_own) && hops <= MAX_HOPS;
        if hops > 1 && may_pass_on {
            let edge = self.edge(link);
            if let Some(next) = self.draw.next_of_stem(self.inner.tower(), &edge, self.now) {
                let inner = request.encode_inner();
                let body = Body::Relay { hops: hops - 1, target: target.cloned(), inner: &inner };
                return self.pass_on(link, number, request, &next, &body, ends_at);
            }
            // Without another tower, the stem ends here.
        }
        let is_last = hops == 1 || may_pass_on;
        match target {
            None if may_pass_on && matches!(request, Body::Publish(_)) => {
                self.scatter(link, number, request);
            }
            _ if is_for_this && is_last => {
                self.carry_out(link, number, request);
            }
            Some(target) if may_pass_on => {
                if !self.postpone(link, number, request, target) {
                    self.pass_on(link, number, request, target, request, ends_at);
                }
            }
            _ => self.lost(link, number),
        }
    }

    /// Gives a chunk to the tower whose turn it is, or queues it here. In a small network, no tower
    /// must have many more chunks than the others, since each of them may be lost.
    fn scatter(&mut self, link: LinkId, number: u32, request: &Body<'_>) {
        if self.draw.is_own_turn(self.inner.tower(), self.now) {
            return self.carry_out(link, number, request);
        }
        let may_dial = self.may_dial();
        let tower = self.inner.tower();
        let has_link = |address: &Address| {
            let len = u32::try_from(MAX_LEN).unwrap_or(u32::MAX);
            tower.datagram_peer(address, len).is_some_and(|peer| peer.link.is_some())
        };
        match self.draw.store(tower, self.now, |it| may_dial || has_link(it)) {
            Some(next) => {
                let ends_at = self.now + TIMEOUT;
                self.pass_on(link, number, request, &next, request, ends_at);
            }
            None => self.carry_out(link, number, request),
        }
    }

    /// Returns where the requests of a link come from.
    fn edge(&self, link: LinkId) -> Edge {
        let peer = self.inner.tower().link(link).and_then(|link| link.peer);
        peer.map_or_else(|| Edge::Guests(self.group_of(link)), Edge::Peer)
    }

    /// Sends a request to a tower, and notes which link awaits the answer until `ends_at`.
    fn pass_on(
        &mut self,
        asker: LinkId,
        asked: u32,
        request: &Body<'_>,
        to: &Address,
        body: &Body<'_>,
        ends_at: Instant,
    ) {
        let sent = self.try_pass_on(asker, request, to, body);
        let (Some((to, number)), Some(awaited)) = (sent, Awaited::by(request)) else {
            return self.lost(asker, asked);
        };
        self.stats.relayed += 1;
        let guests = is_guest(self.inner.tower(), asker).then(|| self.group_of(asker));
        self.relays.insert(number, to, (asker, asked), guests, awaited, ends_at);
        if let Some(state) = self.outgoing.get_mut(asker) {
            state.relayed += 1;
        }
    }

    /// Returns how many requests wait for a link. Guests of one address group count together,
    /// because they need no address of their own.
    fn relayed_for(&self, asker: LinkId) -> Option<usize> {
        let (tower, state) = (self.inner.tower(), self.outgoing.get(asker)?);
        let is_guest = is_guest(tower, asker);
        Some(if is_guest { self.relays.of_guests(state.group) } else { state.relayed })
    }

    fn try_pass_on(
        &mut self,
        asker: LinkId,
        request: &Body<'_>,
        to: &Address,
        body: &Body<'_>,
    ) -> Option<(LinkId, u32)> {
        let most = self.config.max_relayed;
        let of_asker = self.relayed_for(asker)?;
        Awaited::by(request)?;
        if self.relays.len() >= most || of_asker >= (most / 4).max(1) {
            return None;
        }
        let len = u32::try_from(MAX_LEN).unwrap_or(u32::MAX);
        let peer = self.inner.tower().datagram_peer(to, len)?;
        let (peer, link) = (peer.id, peer.link);
        let draw = &mut self.draw;
        let number = self.relays.free_number(|| draw.word());
        let bytes = Bytes::from(Datagram { number, body: body.clone() }.encode());
        if let Some(link) = link {
            self.open(link, AddressGroup::of(to));
            return self.try_push(link, Waiting::Bytes(bytes)).then_some((link, number));
        }
        if !self.may_dial() {
            return None;
        }
        let len = bytes.len();
        let link = self.inner.tower_mut().datagram(To::Peer(peer), bytes, self.now).ok()?;
        self.dials.spend(1, self.config.dials, self.now);
        self.open(link, AddressGroup::of(to));
        self.outgoing.spend(len, self.config.egress, self.now);
        self.dialled.push_back(link);
        Some((link, number))
    }

    /// Lets a request wait if it needs a dial and no dial may be made now. Returns whether it
    /// waits.
    fn postpone(&mut self, link: LinkId, number: u32, request: &Body<'_>, to: &Address) -> bool {
        let of_link = self.postponed.iter().filter(|it| it.asker == link).count();
        let has_place = of_link < MAX_POSTPONED / 4 && self.postponed.len() < MAX_POSTPONED;
        let must_wait = self.needs_dial(to) && (!self.postponed.is_empty() || !self.may_dial());
        let waits = must_wait && has_place && !matches!(request, Body::Publish(_));
        if waits {
            let (arrived_at, to) = (self.now, to.clone());
            let request = request.encode_inner().into();
            self.postponed.push_back(Postponed { asker: link, number, request, to, arrived_at });
            self.retry_at = self.next_dial();
        }
        waits
    }

    /// Passes on requests that waited for a dial. Returns whether there were any.
    fn pass_on_postponed(&mut self) -> bool {
        let mut is_busy = false;
        while let Some(first) = self.postponed.front() {
            let is_over = first.arrived_at + MAX_WAIT <= self.now;
            let to = first.to.clone();
            if !is_over && self.needs_dial(&to) && !self.may_dial() {
                self.retry_at = self.next_dial();
                break;
            }
            let Some(first) = self.postponed.pop_front() else { break };
            is_busy = true;
            match Body::decode_inner(&first.request) {
                Ok(request) if !is_over => {
                    let ends_at = first.arrived_at + TIMEOUT;
                    self.pass_on(first.asker, first.number, &request, &to, &request, ends_at);
                }
                _ => self.lost(first.asker, first.number),
            }
        }
        is_busy
    }

    fn needs_dial(&self, to: &Address) -> bool {
        let len = u32::try_from(MAX_LEN).unwrap_or(u32::MAX);
        self.inner.tower().datagram_peer(to, len).is_some_and(|peer| peer.link.is_none())
    }

    /// Returns when a dial for others may be made, or when to look again for an idle link.
    fn next_dial(&self) -> Instant {
        let ready_at = self.dials.ready_at(1, self.config.dials);
        if ready_at > self.now { ready_at } else { self.now + LOOK_AGAIN }
    }

    /// Returns whether a link may be dialled for others. If they have their part of the links, an
    /// idle one of those is closed, and the next dial finds its place.
    fn may_dial(&mut self) -> bool {
        let most = (self.inner.tower().config().max_links / 4).max(1);
        let now = self.now;
        if self.dials.ready_at(1, self.config.dials) > now {
            return false;
        }
        if self.dialled.len() < most {
            return true;
        }
        let (dialled, tower) = (&self.dialled, self.inner.tower_mut());
        let relays = &self.relays;
        let idle = dialled.iter().filter(|link| !relays.uses(**link)).copied();
        let closed = idle.take(MAX_LOOKS).find(|link| tower.close_idle(*link, now));
        if let Some(closed) = closed {
            self.dialled.retain(|link| *link != closed);
        }
        closed.is_some()
    }

    /// Passes an answer on to the link that awaits it.
    fn on_answer(
        &mut self,
        link: LinkId,
        number: u32,
        answer: &Body<'_>,
        bytes: &Bytes,
    ) -> Result<(), NotAwaited> {
        let (relayed, progress) = self.relays.on_answer(link, number, answer)?;
        match answer {
            Body::Lost => self.stats.lost += 1,
            Body::Inventory { minute, .. } => self.note_clock(link, *minute),
            _ => {}
        }
        let passed = Waiting::Bytes(renumbered(bytes, relayed.number));
        let is_passed = self.try_push(relayed.asker, passed);
        if progress == Progress::Complete || !is_passed {
            self.relays.remove(number);
            self.on_relayed(relayed.asker);
        }
        if !is_passed {
            self.lost(relayed.asker, relayed.number);
        }
        Ok(())
    }

    /// Notes the clock of a peer. One peer has one clock, whatever it answers.
    fn note_clock(&mut self, link: LinkId, theirs: u32) {
        let peer = self.inner.tower().link(link).and_then(|link| link.peer);
        let Some(peer) = peer else { return };
        if self.clocks.len() == MAX_CLOCKS && !self.clocks.contains_key(&peer) {
            self.clocks.pop_first();
        }
        let own = self.unix_minute();
        self.clocks.insert(peer, (theirs, own));
    }

    /// Returns by how many minutes the clocks of most peers are ahead of that of this tower, or
    /// behind it if negative. `None` if most of them differ by at most 5 minutes, or if fewer than
    /// three peers have answered requests that this tower passed on.
    #[must_use]
    pub fn clock_difference(&self) -> Option<i32> {
        let mut samples = ClockSamples::default();
        self.clocks.values().for_each(|(theirs, own)| samples.push(*theirs, *own));
        samples.difference()
    }

    /// Notes that a link awaits one answer less.
    fn on_relayed(&mut self, asker: LinkId) {
        if let Some(state) = self.outgoing.get_mut(asker) {
            state.relayed = state.relayed.saturating_sub(1);
        }
    }

    /// Reports that a request got no answer.
    fn lost(&mut self, link: LinkId, number: u32) {
        self.stats.lost += 1;
        self.send(link, number, &Body::Lost);
    }

    fn on_lost(&mut self, relayed: Relayed) {
        self.on_relayed(relayed.asker);
        self.lost(relayed.asker, relayed.number);
    }

    /// Reports that the requests sent on a link get no answer.
    fn lose(&mut self, link: LinkId) {
        for relayed in self.relays.take_of_link(link) {
            self.on_lost(relayed);
        }
    }

    /// Notes where a new link leads.
    fn open(&mut self, link: LinkId, group: AddressGroup) {
        let tower = self.inner.tower();
        // Links whose end was not noticed.
        if self.outgoing.len() > 2 * tower.config().max_links {
            self.outgoing.retain(|link| tower.link(link).is_some());
        }
        self.outgoing.open(link, group);
    }

    fn on_link_closed(&mut self, link: LinkId) {
        self.outgoing.close(link);
        self.dialled.retain(|dialled| *dialled != link);
        self.postponed.retain(|postponed| postponed.asker != link);
        self.lose(link);
    }

    // Sending.

    /// Sends an answer. If too much waits for the link, the client asks again.
    fn send(&mut self, link: LinkId, number: u32, body: &Body<'_>) {
        let bytes = Datagram { number, body: body.clone() }.encode();
        self.push(link, Waiting::Bytes(bytes.into()));
    }

    fn push(&mut self, link: LinkId, waiting: Waiting) {
        let _ = self.try_push(link, waiting);
    }

    fn try_push(&mut self, link: LinkId, waiting: Waiting) -> bool {
        let is_guest = is_guest(self.inner.tower(), link);
        self.outgoing.push(link, waiting, is_guest, self.config.max_waiting)
    }

    /// Sends what waits, as far as links and the rate allow. Returns whether something was sent.
    fn flush(&mut self) -> bool {
        let mut is_busy = false;
        let rate = self.config.egress;
        while self.outgoing.next_at(rate).is_some_and(|at| at <= self.now)
            && let Some((link, waiting)) = self.outgoing.next()
        {
            let (bytes, is_chunk) = match waiting {
                Waiting::Bytes(bytes) => (bytes.clone(), false),
                Waiting::Page { number, after } => (self.page(*number, *after).into(), false),
                Waiting::Chunk { number, tag } => match self.chunk(*number, *tag) {
                    Some(chunk) => (chunk.into(), true),
                    None => (gone_datagram(*number, &[*tag]).into(), false),
                },
            };
            let is_page = matches!(waiting, Waiting::Page { .. });
            let len = bytes.len();
            match self.inner.tower_mut().datagram(To::Link(link), bytes, self.now) {
                Ok(_) => {
                    self.stats.fetched += u64::from(is_chunk);
                    self.stats.listed += u64::from(is_page);
                    self.outgoing.pop(link, len, rate, self.now);
                    is_busy = true;
                }
                Err(DatagramError::Full) => self.outgoing.on_full(link),
                Err(_) => self.outgoing.pop(link, 0, rate, self.now),
            }
        }
        is_busy
    }

    fn chunk(&self, number: u32, tag: Tag) -> Option<Vec<u8>> {
        let held = self.inner.tower().message(self.inventory.get(tag)?.id)?;
        let chunk = held.message.body().try_into().ok()?;
        Some(Datagram { number, body: Body::Chunk(chunk) }.encode())
    }

    fn on_timer(&mut self) {
        while let Some(relayed) = self.relays.pop_expired(self.now) {
            self.on_lost(relayed);
        }
    }

    /// Returns when this store has something to do.
    fn next_own_wakeup(&self) -> Option<Instant> {
        let egress = self.outgoing.next_at(self.config.egress);
        let dial = self.postponed.front().map(|it| (it.arrived_at + MAX_WAIT).min(self.retry_at));
        [self.relays.next_end(), egress, dial].into_iter().flatten().min()
    }
}

#[cfg(any(test, feature = "fuzzing"))]
impl<M: StateMachine> Store<M> {
    /// Compares the parts of the store with each other and with the tower.
    pub fn assert_consistent(&self) {
        self.inventory.assert_consistent();
        self.outgoing.assert_consistent(self.config.max_waiting);
        self.relays.assert_consistent(self.config.max_relayed);
        for (link, state) in self.outgoing.iter() {
            assert_eq!(state.relayed, self.relays.of_asker(link), "requests of {link:?}");
        }
        assert!(self.postponed.len() <= MAX_POSTPONED);
        let tower = self.inner.tower();
        let most = (tower.config().max_links / 4).max(1);
        assert!(self.dialled.len() <= most, "{} links for others", self.dialled.len());
    }

    /// Checks that nothing is kept for links after their end.
    pub fn assert_idle(&self) {
        let waiting = self.postponed.len();
        assert_eq!((self.outgoing.len(), self.relays.len(), self.dialled.len()), (0, 0, 0));
        assert_eq!(waiting, 0);
    }
}

/// The most peers whose clocks are kept (guess: many more than liars).
const MAX_CLOCKS: usize = 64;

/// The most links that are looked at for one that is idle.
const MAX_LOOKS: usize = 8;

/// The most requests that wait for a dial. One link may have a quarter (guess: a client asks 32
/// towers at once).
const MAX_POSTPONED: usize = 256;
/// How long a request waits for a dial. The rest of [`TIMEOUT`] is for the answer (guess).
const MAX_WAIT: Duration = Duration::from_secs(10);
/// How soon an idle link is looked for again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// A request that waits for a dial.
#[derive(Debug)]
struct Postponed {
    asker: LinkId,
    /// The number of the request on that link.
    number: u32,
    request: Bytes,
    to: Address,
    arrived_at: Instant,
}

/// Whether a chunk may be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hour {
    Over,
    Valid,
    TooFar,
}

fn is_guest(tower: &Tower, link: LinkId) -> bool {
    tower.link(link).is_none_or(|link| link.peer.is_none())
}

/// Returns whether a message may be a chunk. A hash costs much more.
fn is_long_as_chunk(message: &Message) -> bool {
    message.len() == CHUNK && message.kind() == Kind::Bytes
}

fn chunk_of(message: &Message) -> Option<Chunk<'_>> {
    if is_long_as_chunk(message) { Chunk::parse(message.body()) } else { None }
}

/// Returns the tag of a message if it may be a chunk.
pub(crate) fn likely_tag(message: &Message) -> Option<Tag> {
    let tag = message.body().first_chunk().filter(|_| is_long_as_chunk(message));
    tag.map(|tag| Tag::new(*tag))
}

fn gone_datagram(number: u32, tags: &[Tag]) -> Vec<u8> {
    let flat: Vec<_> = tags.iter().take(MAX_TAGS).map(|tag| *tag.bytes()).collect();
    let body = Tags::new(&flat).map_or(Body::Lost, Body::Gone);
    Datagram { number, body }.encode()
}

/// Returns a datagram with another number.
fn renumbered(datagram: &[u8], number: u32) -> Bytes {
    let mut bytes = datagram.to_vec();
    if let Some(place) = bytes.get_mut(1..5) {
        place.copy_from_slice(&number.to_be_bytes());
    }
    bytes.into()
}

impl<M: StateMachine> StateMachine for Store<M> {
    fn accept(&mut self, from: IpAddr, now: Instant) -> Result<LinkId, Refusal> {
        self.set_now(now);
        let accepted = self.inner.accept(from, now);
        if let Ok(link) = accepted {
            self.open(link, AddressGroup::of_ip(from));
        }
        accepted
    }

    fn handle(&mut self, event: Event<'_>, now: Instant) {
        self.set_now(now);
        match &event {
            Event::Connected { link, at } => {
                let peer = self.inner.tower().link(*link).and_then(|link| link.peer);
                let group =
                    at.map(AddressGroup::of_ip).or_else(|| peer.as_ref().map(AddressGroup::of));
                self.open(*link, group.unwrap_or(AddressGroup::UNKNOWN));
            }
            Event::TimerFired => self.on_timer(),
            _ => {}
        }
        let has_bytes = matches!(event, Event::BytesArrived { .. });
        self.inner.handle(event, now);
        // At once: the part of the inbox for one link has room for one read.
        if has_bytes {
            self.serve();
        }
    }

    fn transmit(&mut self, link: LinkId, out: &mut impl BufMut) -> usize {
        self.inner.transmit(link, out)
    }

    fn poll_action(&mut self) -> Option<Action> {
        // One variable with one move: another form copies each action, which costs some per cent
        // of a message.
        let mut action = self.inner.poll_action();
        if self.takes(action.as_ref()) {
            self.poll_next(&mut action);
        }
        action
    }

    fn next_wakeup(&self) -> Option<Wakeup> {
        let inner = self.inner.next_wakeup();
        let Some(at) = self.next_own_wakeup() else { return inner };
        let own = Wakeup { at: at.max(self.now), reason: WakeupReason::Application };
        Some(inner.filter(|inner| inner.at <= own.at).unwrap_or(own))
    }

    fn tower(&self) -> &Tower {
        self.inner.tower()
    }

    fn tower_mut(&mut self) -> &mut Tower {
        self.inner.tower_mut()
    }
}
