//! The store of a tower: what it tells neighbours about the chunks in its queue.
//!
//! [`Store`] wraps a tower and is a state machine like it, so each driver runs it unchanged. It
//! screens what comes in, keeps an inventory of the chunks that the tower holds, and answers the
//! datagrams of [`protocol`](crate::protocol).

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;
use core::ops::Bound;
use core::time::Duration;

use bytes::BufMut;
use clacks_proto::{
    Action, Config, DatagramError, Datagrams, DefaultVerdict, Dialect, EnqueueOptions, Event,
    Instant, Kind, LinkId, Message, MessageId, Notice, Refusal, Screening, StateMachine, Status,
    To, Tower, Verdict, Wakeup,
};

use crate::chunk::{CHUNK, Chunk, Tag};
use crate::protocol::{Body, Datagram, MAX_LEN, MAX_TAGS, MAX_TOWERS, Outcome, Page, Tags};

/// The seconds of an hour, the unit of a chunk's end.
const HOUR: u64 = 3_600;
/// How far clocks may differ.
const SKEW: u64 = 5 * 60;
/// The most chunks that wait for room on one link (guess: four full fetches).
const MAX_PENDING: usize = 4 * MAX_TAGS;

/// How a store behaves. Fields that are left out have their defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreConfig {
    /// How long a chunk rests at a tower before it moves on. A chunk that moves seldom meets fewer
    /// towers that drop it. Default: 10 minutes (simulated: with a tenth of such towers, files that
    /// are repaired each 12 minutes survive a day; with 1 minute they do not).
    pub hold: Duration,
    /// The end of a chunk may be this many hours ahead. Default: 24.
    pub max_hours: u32,
    /// The share of the queue, in per cent, above which no chunk is taken from a client. The rest
    /// is for messages in transit. Default: 60 (guess).
    pub publish_below: u8,
    /// How many chunks a link may publish at once, and then each second. Default: 4 096 and 256
    /// (guess).
    pub publish_rate: Rate,
    /// How many other requests a link may make at once, and then each second. Default: 256 and 128
    /// (guess).
    pub request_rate: Rate,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            hold: Duration::from_secs(600),
            max_hours: 24,
            publish_below: 60,
            publish_rate: Rate { burst: 4_096, per_second: 256 },
            request_rate: Rate { burst: 256, per_second: 128 },
        }
    }
}

/// A number of events at once, and then each second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many at once.
    pub burst: u32,
    /// How many each second.
    pub per_second: u32,
}

/// Sets what a tower with a store needs: screening, and datagrams of 12 KiB.
pub fn enable_store(config: &mut Config) {
    config.datagrams = Datagrams::ON;
    let timeout = Duration::from_secs(10);
    // Each offer is decided at once, so few are open at a time.
    config.screening = Screening::On { max_offers: 64, timeout, default: DefaultVerdict::Accept };
    config.max_message = config.max_message.max(CHUNK);
}

/// Why a tower can't have a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreError {
    /// The tower does not screen messages with [`DefaultVerdict::Accept`].
    Screening,
    /// The tower takes no datagrams of [`MAX_LEN`] bytes.
    Datagrams,
    /// The tower takes no messages of [`CHUNK`] bytes.
    MaxMessage,
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Screening => "a store needs screening that accepts by default",
            Self::Datagrams => "a store needs datagrams of 12 KiB",
            Self::MaxMessage => "a store needs messages of at least 12 000 bytes",
        })
    }
}

impl core::error::Error for StoreError {}

/// What a store has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
    /// Chunks that clients published and the tower refused.
    pub refused: u64,
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
    /// The Unix time at [`Instant::ORIGIN`], in seconds.
    unix_at_origin: u64,
    now: Instant,
    inventory: BTreeMap<Tag, Entry>,
    links: BTreeMap<LinkId, LinkState>,
    stats: StoreStats,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    id: MessageId,
    until: u32,
}

/// What is kept about a link on which requests came.
#[derive(Debug, Default)]
struct LinkState {
    publishes: Bucket,
    requests: Bucket,
    /// Chunks that were asked for, with the number of the request.
    pending: VecDeque<(u32, Tag)>,
}

/// A token bucket. It begins full.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    /// When the bucket will be full.
    full_at: u64,
}

impl Bucket {
    fn take(&mut self, rate: Rate, now: Instant) -> bool {
        let now = now.as_nanos();
        let cost = 1_000_000_000 / u64::from(rate.per_second.max(1));
        let room = cost.saturating_mul(rate.burst.into());
        let full_at = self.full_at.max(now).saturating_add(cost);
        let is_taken = full_at - now <= room;
        if is_taken {
            self.full_at = full_at;
        }
        is_taken
    }
}

impl<M: StateMachine> Store<M> {
    /// Returns a store of a tower. `unix_at_origin` is the Unix time in seconds at
    /// [`Instant::ORIGIN`].
    ///
    /// # Errors
    ///
    /// If the configuration of the tower does not allow a store: see
    /// [`enable_store`](crate::enable_store).
    pub fn new(inner: M, config: StoreConfig, unix_at_origin: u64) -> Result<Self, StoreError> {
        let tower = inner.tower().config();
        if !matches!(tower.screening, Screening::On { default: DefaultVerdict::Accept, .. }) {
            return Err(StoreError::Screening);
        }
        match tower.datagrams {
            Datagrams::On { max_len, .. } if max_len as usize >= MAX_LEN => {}
            _ => return Err(StoreError::Datagrams),
        }
        if tower.max_message < CHUNK {
            return Err(StoreError::MaxMessage);
        }
        let mut store = Self {
            inner,
            config,
            unix_at_origin,
            now: Instant::ORIGIN,
            inventory: BTreeMap::new(),
            links: BTreeMap::new(),
            stats: StoreStats::default(),
        };
        store.rebuild();
        Ok(store)
    }

    /// Returns what the store has done.
    #[must_use]
    pub fn stats(&self) -> StoreStats {
        StoreStats { held: self.inventory.len() as u64, ..self.stats }
    }

    /// Returns the tags of the chunks that the tower holds, with the hours of their ends.
    pub fn inventory(&self) -> impl Iterator<Item = (Tag, u32)> + '_ {
        self.inventory.iter().map(|(tag, entry)| (*tag, entry.until))
    }

    fn unix_now(&self) -> u64 {
        self.unix_at_origin.saturating_add(self.now.as_nanos() / 1_000_000_000)
    }

    /// Returns whether the hour of a chunk is not over, and not too far ahead.
    fn check_hour(&self, until: u32) -> Hour {
        let (now, hour) = (self.unix_now(), u64::from(until));
        let furthest = (now + SKEW) / HOUR + u64::from(self.config.max_hours);
        if (hour + 1) * HOUR + SKEW <= now {
            Hour::Over
        } else if hour > furthest {
            Hour::TooFar
        } else {
            Hour::Valid
        }
    }

    fn on_action(&mut self, action: Action) -> Option<Action> {
        match action {
            Action::Screen { offer, message, .. } => {
                let verdict = self.verdict(&message);
                // If the offer is gone, the sender keeps its message.
                let _ = self.inner.tower_mut().decide(offer, verdict, self.now);
                None
            }
            Action::Notify(notice) => {
                self.on_notice(&notice);
                Some(Action::Notify(notice))
            }
            action => Some(action),
        }
    }

    fn verdict(&mut self, message: &Message) -> Verdict {
        // A body of the same length that is no chunk is a message of another application.
        let Some(chunk) = chunk_of(message) else { return Verdict::ACCEPT };
        match self.check_hour(chunk.until()) {
            Hour::Over => self.swallow(),
            Hour::TooFar => Verdict::Reject,
            Hour::Valid if self.holds(chunk.tag()) => self.swallow(),
            Hour::Valid => Verdict::Accept { hold: self.config.hold },
        }
    }

    fn swallow(&mut self) -> Verdict {
        self.stats.swallowed += 1;
        Verdict::Swallow
    }

    fn holds(&self, tag: Tag) -> bool {
        self.inventory.get(&tag).is_some_and(|entry| self.is_held(entry.id))
    }

    fn is_held(&self, id: MessageId) -> bool {
        self.inner.tower().message(id).is_some()
    }

    fn on_notice(&mut self, notice: &Notice) {
        match notice {
            Notice::MessageReceived { id, message, .. } => self.enter(*id, message),
            Notice::MessageQueued { id, .. } => {
                if let Some(held) = self.inner.tower().message(*id) {
                    self.enter(*id, &held.message);
                }
            }
            Notice::MessageDelivered { id, message, .. }
            | Notice::MessageExpired { id, message, .. } => self.leave(*id, message),
            Notice::DatagramRoom { link } => self.send_pending(*link),
            Notice::LinkClosed { link, .. } => _ = self.links.remove(link),
            Notice::Missed { .. } => self.rebuild(),
            _ => {}
        }
    }

    fn enter(&mut self, id: MessageId, message: &Message) {
        if self.is_held(id)
            && let Some(chunk) = chunk_of(message)
        {
            self.inventory.insert(chunk.tag(), Entry { id, until: chunk.until() });
        }
    }

    fn leave(&mut self, id: MessageId, message: &Message) {
        if let Some(tag) = likely_tag(message)
            && self.inventory.get(&tag).is_some_and(|entry| entry.id == id)
            && !self.is_held(id)
        {
            self.inventory.remove(&tag);
        }
    }

    /// Looks through the queue for chunks. After missed notices the inventory is not complete.
    fn rebuild(&mut self) {
        let held: Vec<_> = self.inner.tower().peek().map(|it| (it.id, it.message)).collect();
        self.inventory.clear();
        held.iter().for_each(|(id, message)| self.enter(*id, message));
        let Self { links, inner, .. } = self;
        links.retain(|link, _| inner.tower().link(*link).is_some());
    }

    /// Answers the datagrams that came in. Returns whether there were any.
    fn serve(&mut self) -> bool {
        let mut is_busy = false;
        while let Some(datagram) = self.inner.tower_mut().take_datagram() {
            is_busy = true;
            if self.inner.tower().link(datagram.link).is_none() {
                continue;
            }
            match Datagram::decode(&datagram.body) {
                Ok(request) => self.answer(datagram.link, &request),
                Err(_) => self.stats.ignored += 1,
            }
        }
        is_busy
    }

    fn answer(&mut self, link: LinkId, request: &Datagram<'_>) {
        let (now, config) = (self.now, &self.config);
        let state = self.links.entry(link).or_default();
        let is_publish = matches!(request.body, Body::Publish(_));
        let has_rate = if is_publish {
            state.publishes.take(config.publish_rate, now)
        } else {
            state.requests.take(config.request_rate, now)
        };
        let number = request.number;
        match &request.body {
            Body::Publish(_) if !has_rate => {
                self.stats.refused += 1;
                self.send(link, number, &Body::Published(Outcome::TooFast));
            }
            _ if !has_rate => self.stats.ignored += 1,
            Body::List { after } => self.list(link, number, *after),
            Body::Fetch(tags) => self.fetch(link, number, *tags),
            Body::Publish(chunk) => {
                let outcome = self.publish(&chunk[..]);
                if outcome == Outcome::Queued {
                    self.stats.published += 1;
                } else {
                    self.stats.refused += 1;
                }
                self.send(link, number, &Body::Published(outcome));
            }
            Body::Peers { cursor } => self.list_towers(link, number, *cursor),
            // Answers, and requests that this store does not carry out.
            _ => self.stats.ignored += 1,
        }
    }

    fn list(&mut self, link: LinkId, number: u32, after: Tag) {
        let mut page = Page::default();
        let mut has_more = false;
        for (tag, entry) in self.inventory.range((Bound::Excluded(after), Bound::Unbounded)) {
            if !self.is_held(entry.id) || self.check_hour(entry.until) == Hour::Over {
                continue;
            }
            has_more = !page.push(*tag, entry.until);
            if has_more {
                break;
            }
        }
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let (held, room) = (count(self.inventory.len()), count(self.room()));
        self.stats.listed += 1;
        self.send(link, number, &Body::Inventory { has_more, held, room, entries: page.entries() });
    }

    /// Returns how many more chunks clients may publish.
    fn room(&self) -> usize {
        let (tower, percent) = (self.inner.tower(), usize::from(self.config.publish_below));
        let (config, usage) = (tower.config(), tower.queue_usage());
        let share = |whole: usize| whole / 100 * percent;
        let messages = share(config.max_queue_messages).saturating_sub(usage.messages);
        let bytes = share(config.max_queue_bytes).saturating_sub(usage.bytes);
        messages.min(bytes / CHUNK)
    }

    fn publish(&mut self, bytes: &[u8]) -> Outcome {
        // An id that is wrong is a chunk that no reader can open.
        let Some(chunk) = Chunk::parse(bytes) else { return Outcome::BadHour };
        if self.check_hour(chunk.until()) != Hour::Valid {
            return Outcome::BadHour;
        }
        if self.holds(chunk.tag()) {
            return Outcome::Queued;
        }
        if self.room() == 0 {
            return Outcome::Full;
        }
        let end = (u64::from(chunk.until()) + 1) * HOUR;
        let rest = Duration::from_secs(end.saturating_sub(self.unix_now()).max(1));
        let max = self.inner.tower().config().max_lifetime;
        let lifetime = Some(max.map_or(rest, |max| rest.min(max)));
        let options = EnqueueOptions { lifetime, hold: self.config.hold };
        let enqueued =
            self.inner.tower_mut().enqueue_with(Message::bytes(bytes), options, self.now);
        match enqueued {
            Ok(_) => Outcome::Queued,
            Err(_) => Outcome::Full,
        }
    }

    fn fetch(&mut self, link: LinkId, number: u32, tags: Tags<'_>) {
        let (held, mut gone): (Vec<Tag>, Vec<Tag>) = tags.iter().partition(|tag| self.holds(*tag));
        let pending = &mut self.links.entry(link).or_default().pending;
        let room = MAX_PENDING.saturating_sub(pending.len()).min(held.len());
        let (taken, refused) = held.split_at(room);
        pending.extend(taken.iter().map(|tag| (number, *tag)));
        gone.extend(refused);
        self.send_gone(link, number, &gone);
        self.send_pending(link);
    }

    fn send_gone(&mut self, link: LinkId, number: u32, tags: &[Tag]) {
        let flat: Vec<_> = tags.iter().map(|tag| *tag.bytes()).collect();
        if let Some(tags) = Tags::new(&flat) {
            self.send(link, number, &Body::Gone(tags));
        }
    }

    /// Sends chunks that were asked for, as many as the link has room for.
    fn send_pending(&mut self, link: LinkId) {
        while let Some((number, tag)) = self.links.get(&link).and_then(|it| it.pending.front()) {
            let (number, tag) = (*number, *tag);
            let held = self.inventory.get(&tag).and_then(|it| self.inner.tower().message(it.id));
            match held.as_ref().and_then(|held| held.message.body().try_into().ok()) {
                Some(chunk) => {
                    let bytes = Datagram { number, body: Body::Chunk(chunk) }.encode();
                    match self.inner.tower_mut().datagram(To::Link(link), bytes, self.now) {
                        Err(DatagramError::Full) => return,
                        Ok(_) => self.stats.fetched += 1,
                        Err(_) => {}
                    }
                }
                None => self.send_gone(link, number, &[tag]),
            }
            if let Some(state) = self.links.get_mut(&link) {
                state.pending.pop_front();
            }
        }
    }

    fn list_towers(&mut self, link: LinkId, number: u32, cursor: u32) {
        let is_listed = |status, dialect| status == Status::Alive && dialect != Some(Dialect::Http);
        let peers = self.inner.tower().survey();
        let mut addresses: Vec<_> = peers
            .filter(|peer| is_listed(peer.status, peer.dialect))
            .map(|peer| peer.address)
            .collect();
        let known = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
        let first = addresses.len().min(cursor as usize);
        addresses.drain(..first);
        addresses.truncate(MAX_TOWERS);
        let next = cursor.saturating_add(u32::try_from(addresses.len()).unwrap_or(u32::MAX));
        let next = if next < known { next } else { 0 };
        self.send(link, number, &Body::Towers { next, known, addresses });
    }

    /// Sends an answer. If the link has no room, the client asks again.
    fn send(&mut self, link: LinkId, number: u32, body: &Body<'_>) {
        let bytes = Datagram { number, body: body.clone() }.encode();
        let _ = self.inner.tower_mut().datagram(To::Link(link), bytes, self.now);
    }
}

/// Whether a chunk may be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hour {
    Over,
    Valid,
    TooFar,
}

fn chunk_of(message: &Message) -> Option<Chunk<'_>> {
    if message.kind() == Kind::Bytes { Chunk::parse(message.body()) } else { None }
}

/// Returns the tag of a message if it is a chunk, without the cost of a hash.
fn likely_tag(message: &Message) -> Option<Tag> {
    let is_likely = message.kind() == Kind::Bytes && message.len() == CHUNK;
    message.body().first_chunk().filter(|_| is_likely).map(|tag| Tag::new(*tag))
}

impl<M: StateMachine> StateMachine for Store<M> {
    fn accept(&mut self, from: IpAddr, now: Instant) -> Result<LinkId, Refusal> {
        self.now = self.now.max(now);
        self.inner.accept(from, now)
    }

    fn handle(&mut self, event: Event<'_>, now: Instant) {
        self.now = self.now.max(now);
        self.inner.handle(event, now);
    }

    fn transmit(&mut self, link: LinkId, out: &mut impl BufMut) -> usize {
        self.inner.transmit(link, out)
    }

    fn poll_action(&mut self) -> Option<Action> {
        loop {
            match self.inner.poll_action() {
                Some(action) => {
                    if let Some(action) = self.on_action(action) {
                        return Some(action);
                    }
                }
                None if self.serve() => {}
                None => return None,
            }
        }
    }

    fn next_wakeup(&self) -> Option<Wakeup> {
        self.inner.next_wakeup()
    }

    fn tower(&self) -> &Tower {
        self.inner.tower()
    }

    fn tower_mut(&mut self) -> &mut Tower {
        self.inner.tower_mut()
    }
}
