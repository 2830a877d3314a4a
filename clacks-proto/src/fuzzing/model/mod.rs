//! A second tower, written as plainly as it can be: lists that are searched, and sums that are computed anew whenever somebody asks.
//!
//! It is told the same events and verbs as the real one, each right after it, and says what must have become of every message, peer and link,
//! what the tower has to tell, and what it must have counted. What was drawn at random it reads off the real tower (its [`Inside`]) and checks that it may be:
//! who got a message or an announce, who is named as a friend, the nonces, the phases of the ticks and of the heartbeat, and the ids. It also reads off
//! what nobody promises: in which order links that are overdue at once are looked at.

mod compare;
mod links;
mod receive;
mod send;
mod standing;
mod verbs;

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use bytes::Bytes;

use crate::config::{Allowance, Config, Screening, SendRate, Window};
use crate::ids::{LinkId, MessageKey, PeerId};
use crate::link::{Outcome, State};
use crate::time::{Instant, nanos};
use crate::tower::inside::Inside;
use crate::wire::{Decoder, Farewell};
use crate::{Address, CloseMode, CloseReason, Kind, Nonce, Origin, Stats, Status, Tower};

pub(super) use send::Outgoing;

/// The number of a message in [`Model::known`].
pub(super) type Number = usize;
/// The name of a peer: a peer that is forgotten and learned again has another one.
pub(super) type Key = usize;

/// A message that is or was here.
#[derive(Clone, Debug)]
pub(super) struct Known {
    /// Those of the messages that were enqueued here are drawn by the tower.
    pub(super) nonce: Option<Nonce>,
    /// It came into being here.
    pub(super) is_own: bool,
    pub(super) kind: Kind,
    pub(super) body: Bytes,
    /// Given by the tower.
    pub(super) key: Option<MessageKey>,
}

/// Where a message is. There is one place for each, and no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Waiting,
    InFlight(Key),
    Offered { link: LinkId, until: Instant },
}

/// A message that is here.
#[derive(Clone, Debug)]
struct Message {
    number: Number,
    place: Place,
    /// A copy came in while it was in flight.
    came_again: bool,
    /// A copy that comes in is compared with it: of several messages with one nonce, one is.
    is_findable: bool,
}

/// A message that has left.
#[derive(Clone, Copy, Debug)]
struct Departed {
    number: Number,
    /// How many notices that were told before it left, or as it left, have yet to be polled.
    notices: usize,
    /// Until the call after the one that polled the last of them.
    may_be_spoken_of: bool,
}

/// The number of a transfer that was taken, where it came in, and when.
type Taken = (u64, LinkId, Instant);

#[derive(Clone, Debug)]
struct Peer {
    key: Key,
    id: PeerId,
    address: Address,
    status: Status,
    since: Instant,
    /// In which order the dead have died.
    died: u64,
    /// Where it is handed messages.
    link: Option<LinkId>,
    rests_until: Option<Instant>,
    announce_due: bool,
    /// It is but another name of this tower.
    is_alias: bool,
    max_message: u32,
    /// The transfers of an incarnation that were taken from it.
    taken: Option<(u64, Vec<Taken>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cargo {
    Message(Number),
    Announce,
}

#[derive(Clone, Copy, Debug)]
struct Transfer {
    number: u64,
    is_retry: bool,
    cargo: Cargo,
    friend: Option<PeerId>,
    at: Instant,
    is_sent: bool,
}

/// A transfer that came in and is not answered, because it or one before it is under screening.
#[derive(Clone, Copy, Debug)]
struct Undecided {
    transfer: u64,
    offer: Option<Number>,
    outcome: Option<Outcome>,
    len: usize,
}

#[derive(Clone, Copy, Debug)]
struct Answer {
    transfer: u64,
    outcome: Outcome,
    count: usize,
    bytes: usize,
}

#[derive(Debug)]
struct Link {
    id: LinkId,
    is_inbound: bool,
    state: State,
    /// When the state began.
    since: Instant,
    /// When bytes last went either way.
    used: Instant,
    peer: Option<Key>,
    incarnation: u64,
    granted: Window,
    decoder: Decoder,
    hello_due: bool,
    farewell_due: Option<Farewell>,
    answers: VecDeque<Answer>,
    undecided: VecDeque<Undecided>,
    transfers: Vec<Transfer>,
    /// A frame has gone in part; the message in it stays readable.
    partial: Option<Option<Number>>,
    /// How and why its driver was asked to close it.
    close: Option<(CloseMode, CloseReason)>,
    /// It was asked to close once more, at once.
    is_urged: bool,
    /// How many times its driver has heard that.
    closes: u8,
}

/// What a tower must tell, in this order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Told {
    Discovered(Key),
    Status(Key, Status, Status),
    Forgotten(PeerId),
    Received(Option<Key>, Number),
    Queued(Number, Origin),
    Delivered(Key, Number),
    Announced(Key),
    Closed(LinkId, Option<Key>, CloseReason),
    Missed(u64),
    ShutDown(usize),
}

/// A bucket that fills with time.
#[derive(Debug, Default)]
struct Bucket {
    missing: u64,
    at: Instant,
}

impl Bucket {
    fn take(&mut self, allowance: Allowance, now: Instant) -> bool {
        let price = nanos(allowance.every);
        let whole = price.saturating_mul(allowance.burst.into());
        self.missing = self.missing.saturating_sub(nanos(now.duration_since(self.at)));
        self.at = now;
        let is_there = whole.saturating_sub(self.missing) >= price;
        self.missing += if is_there { price } else { 0 };
        is_there
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    Draining { until: Instant },
    Parting,
    Done,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Model {
    config: Config,
    own: Address,
    now: Instant,
    /// The real tower before and after the step that is gone through.
    before: Inside,
    after: Inside,
    pub(super) known: Vec<Known>,
    messages: Vec<Message>,
    /// The messages that wait, head first.
    queue: Vec<Number>,
    /// Messages that have left, and that must still be readable.
    departed: Vec<Departed>,
    peers: Vec<Peer>,
    /// Every peer there ever was.
    ids: Vec<(PeerId, Key)>,
    deaths: u64,
    links: Vec<Link>,
    /// Places of links that have ended, and that actions still name.
    haunted: usize,
    next_transfer: u64,
    friends: Bucket,
    strangers: Bucket,
    /// Between two ticks, in nanoseconds; 0 when the rate is unlimited.
    period: u64,
    tick: Instant,
    wants_ticks: bool,
    retry_at: Option<Instant>,
    heartbeat_at: Instant,
    last_sent: Option<Instant>,
    /// Whose memory of what was taken is tidied next.
    tidied: u32,
    /// The highest number of a transfer that was taken.
    newest_taken: u64,
    phase: Phase,
    told: VecDeque<Told>,
    missed: u64,
    /// Offers that the application was not told of, with whom they came from. Some may be decided already.
    screens: VecDeque<(Number, Option<Key>)>,
    stats: Stats,
}

impl Model {
    pub(super) fn new(tower: &Tower) -> Self {
        let config = tower.config().clone();
        let inside = tower.inside();
        Self {
            own: tower.address().clone(),
            now: Instant::ORIGIN,
            known: Vec::new(),
            messages: Vec::new(),
            queue: Vec::new(),
            departed: Vec::new(),
            peers: Vec::new(),
            ids: Vec::new(),
            deaths: 0,
            links: Vec::new(),
            haunted: 0,
            next_transfer: 0,
            friends: Bucket::default(),
            strangers: Bucket::default(),
            period: match config.send_rate {
                SendRate::Every(period) => nanos(period),
                SendRate::Unlimited => 0,
            },
            tick: inside.tick,
            wants_ticks: false,
            retry_at: None,
            heartbeat_at: inside.heartbeat_at,
            last_sent: None,
            tidied: 0,
            newest_taken: 0,
            phase: Phase::Running,
            told: VecDeque::new(),
            missed: 0,
            screens: VecDeque::new(),
            stats: Stats::default(),
            before: inside.clone(),
            after: inside,
            config,
        }
    }

    /// Goes through what the real tower has just gone through, and compares. `before` is its inside at the beginning.
    pub(super) fn step<T>(
        &mut self,
        before: Inside,
        tower: &Tower,
        now: Instant,
        predict: impl FnOnce(&mut Self) -> T,
    ) -> T {
        self.haunted = before.places - self.links.len();
        self.before = before;
        self.after = tower.inside();
        self.now = self.now.max(now);
        let result = predict(self);
        self.compare(tower);
        result
    }

    /// Compares when nothing has happened but that the driver polled and took bytes.
    pub(super) fn look(&mut self, tower: &Tower) {
        self.after = tower.inside();
        self.haunted = self.after.places - self.links.len();
        self.compare(tower);
    }

    fn link(&self, id: LinkId) -> Option<&Link> {
        self.links.iter().find(|link| link.id == id)
    }

    fn link_mut(&mut self, id: LinkId) -> Option<&mut Link> {
        self.links.iter_mut().find(|link| link.id == id)
    }

    /// A link on which frames still matter.
    fn live(&mut self, id: LinkId) -> Option<&mut Link> {
        self.link_mut(id).filter(|link| link.state != State::Closing)
    }

    fn peer(&self, key: Key) -> Option<&Peer> {
        self.peers.iter().find(|peer| peer.key == key)
    }

    fn peer_mut(&mut self, key: Key) -> Option<&mut Peer> {
        self.peers.iter_mut().find(|peer| peer.key == key)
    }

    fn find(&self, address: &Address) -> Option<Key> {
        self.peers.iter().find(|peer| peer.address == *address).map(|peer| peer.key)
    }

    fn status(&self, key: Key) -> Option<Status> {
        self.peer(key).map(|peer| peer.status)
    }

    fn id_of(&self, key: Key) -> PeerId {
        self.ids.iter().find(|(_, other)| *other == key).unwrap().0
    }

    fn len(&self, number: Number) -> usize {
        self.known[number].body.len()
    }

    /// What is told, if there is room for it.
    fn tell(&mut self, told: Told) {
        if self.missed > 0 && self.has_room_to_tell(2) {
            self.told.push_back(Told::Missed(core::mem::take(&mut self.missed)));
        }
        if self.has_room_to_tell(1) {
            self.told.push_back(told);
            self.learn_key(told);
        } else {
            self.missed += 1;
            self.stats.notices_missed += 1;
        }
    }

    /// A notice says which of several messages that came in one step is which, though they may be the same in all that can be seen.
    fn learn_key(&mut self, told: Told) {
        let said = self.after.told.get(self.told.len() - 1).copied().flatten();
        if let (Told::Received(_, number) | Told::Queued(number, _), Some(key)) = (told, said) {
            self.known[number].key.get_or_insert(key);
        }
    }

    fn has_room_to_tell(&self, count: usize) -> bool {
        self.told.len() + count <= self.config.max_pending_notices
    }

    /// Places of messages that are taken, and bytes of bodies.
    fn taken_room(&mut self) -> (usize, usize) {
        let links = &self.links;
        let is_cut = |number| links.iter().any(|link| link.partial == Some(Some(number)));
        self.departed.retain(|departed| departed.may_be_spoken_of || is_cut(departed.number));
        let here = self.messages.iter().map(|message| message.number);
        let all = here.chain(self.departed.iter().map(|departed| departed.number));
        let all: Vec<_> = all.collect();
        (all.len(), all.into_iter().map(|number| self.len(number)).sum())
    }

    /// The application has had its look at what was told last.
    fn forget_polled(&mut self) {
        for departed in &mut self.departed {
            departed.may_be_spoken_of &= departed.notices > 0;
        }
    }

    fn has_room(&mut self, len: usize, percent: u8) -> bool {
        let share = |whole: usize| whole * usize::from(percent) / 100;
        let (count, bytes) = self.taken_room();
        count < share(self.config.max_queue_messages)
            && bytes + len <= share(self.config.max_queue_bytes)
    }

    fn store(&mut self, nonce: Option<Nonce>, kind: Kind, body: &[u8], place: Place) -> Number {
        let number = self.known.len();
        let body = Bytes::copy_from_slice(body);
        self.known.push(Known { nonce, is_own: false, kind, body, key: None });
        self.messages.push(Message { number, place, came_again: false, is_findable: false });
        if place == Place::Waiting {
            self.queue_up(number);
        }
        number
    }

    /// A name that the tower drew belongs to no other message.
    fn is_unused(&self, nonce: Nonce) -> bool {
        self.known.iter().all(|known| known.nonce != Some(nonce))
    }

    fn message(&self, number: Number) -> Option<&Message> {
        self.messages.iter().find(|message| message.number == number)
    }

    /// Puts a message at the tail.
    fn queue_up(&mut self, number: Number) {
        let nonce = self.known[number].nonce;
        let is_same = |other: &Message| {
            other.is_findable && other.number != number && self.known[other.number].nonce == nonce
        };
        let is_findable = nonce.is_none() || !self.messages.iter().any(is_same);
        self.queue.push(number);
        if let Some(message) = self.messages.iter_mut().find(|message| message.number == number) {
            message.place = Place::Waiting;
            message.came_again = false;
            message.is_findable = is_findable;
        }
    }

    /// A message that was elsewhere waits again. Whether it was.
    fn give_back(&mut self, number: Number) -> bool {
        let was_away = self.message(number).is_some_and(|message| message.place != Place::Waiting);
        if was_away {
            self.queue_up(number);
        }
        was_away
    }

    /// A message has left, unless a copy of it came in meanwhile.
    fn let_go(&mut self, number: Number) {
        let Some(message) = self.message(number) else { return };
        if message.came_again {
            self.give_back(number);
        } else if matches!(message.place, Place::InFlight(_)) {
            self.messages.retain(|message| message.number != number);
            let notices = self.told.len();
            self.departed.push(Departed { number, notices, may_be_spoken_of: true });
        }
    }

    /// A message under screening leaves. Nothing was told of it yet.
    fn discard(&mut self, number: Number) {
        self.messages.retain(|message| message.number != number);
    }

    /// The very same message, if it is here and not under screening.
    fn find_copy(&self, nonce: Nonce, kind: Kind, body: &[u8]) -> Option<Number> {
        let is_named = |message: &&Message| {
            message.is_findable && self.known[message.number].nonce == Some(nonce)
        };
        let number = self.messages.iter().find(is_named)?.number;
        let known = &self.known[number];
        (known.kind == kind && known.body == body).then_some(number)
    }

    /// A copy came in. One that is in flight must not vanish when it is confirmed.
    fn coalesce(&mut self, number: Number) {
        if let Some(message) = self.messages.iter_mut().find(|message| message.number == number) {
            message.came_again |= matches!(message.place, Place::InFlight(_));
        }
    }

    fn open_offers(&self) -> usize {
        let is_offered = |message: &&Message| matches!(message.place, Place::Offered { .. });
        self.messages.iter().filter(is_offered).count()
    }

    fn max_offers(&self) -> usize {
        match self.config.screening {
            Screening::Off => 0,
            Screening::On { max_offers, .. } => max_offers,
        }
    }
}
