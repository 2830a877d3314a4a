//! The tower: owns everything, turns events into actions, and carries the application's verbs.

mod ahead;
#[cfg(feature = "http")]
mod http;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod inside;
mod links;
mod receive;
mod report;
mod screening;
mod send;
mod shutdown;
mod standing;
mod verbs;

use alloc::boxed::Box;
use alloc::sync::Arc;
use bytes::BufMut;
use core::fmt;
use core::net::IpAddr;

use crate::actions::Actions;
use crate::address::Address;
use crate::config::{Config, ConfigError, Screening};
use crate::deadlines::Deadlines;
use crate::digest::{NumberDigest, PeerDigest};
use crate::event::{Action, Event, Notice, Wakeup, WakeupReason};
use crate::ids::{Fingerprint, LinkId, MessageKey};
use crate::link::{Direction, Links, State};
use crate::machine::StateMachine;
use crate::pacer::{Bucket, Pacer};
use crate::peers::{Peers, Standing};
use crate::queue::{Place, Queue};
use crate::reason::Refusal;
use crate::room::RareQueue;
use crate::seed::{Purpose, Seed, SparseStream, Stream};
use crate::selector::Selector;
use crate::stats::Stats;
use crate::time::Instant;

pub use ahead::Foresight;
pub use report::{Held, Peer, PeerView};
pub use screening::{DecideError, Verdict};
pub use shutdown::ShutdownProgress;
pub use verbs::{EnqueueError, ExpandError, RefusedMessage};

/// A tower in clear text: a queue of messages, a table of peers, and links to some of them.
///
/// # Methods, by who calls them
///
/// - The driver: everything in [`StateMachine`].
/// - The application, to change something: [`enqueue`](Self::enqueue), [`expand`](Self::expand),
///   [`announce`](Self::announce), [`ignore`](Self::ignore), [`heed`](Self::heed), [`decide`](Self::decide),
///   [`shutdown`](Self::shutdown). Each takes the current time, as `handle` does, and may leave actions to be polled.
/// - Anyone, to look: [`peek`](Self::peek), [`survey`](Self::survey), [`peer`](Self::peer), [`find`](Self::find),
///   [`message`](Self::message), [`offer`](Self::offer), [`report`](Self::report), [`stats`](Self::stats), [`held`](Self::held), [`links`](Self::links),
///   [`waiting`](Self::waiting), [`offers`](Self::offers), [`peers`](Self::peers), [`standing`](Self::standing), [`nonce_of`](Self::nonce_of).
///
/// # What is guaranteed
///
/// A message is always in exactly one place inside a living tower: queued, in flight, or handed over. What a tower does is a function of its
/// configuration, its seed and its inputs. Nothing that a peer sends makes it panic, or hold more than [`Config::max_memory`].
pub struct Tower {
    /// Shared by all towers that were made with it.
    config: Arc<Config>,
    address: Address,
    identity: Option<Box<Fingerprint>>,
    incarnation: u64,
    now: Instant,
    peers: Peers,
    links: Links,
    queue: Queue,
    actions: Actions,
    selector: Selector,
    friend_stream: SparseStream,
    nonce_stream: SparseStream,
    pacer: Pacer,
    /// With an unlimited rate: when to try again what found no room.
    retry_at: Option<Instant>,
    friends: Bucket,
    strangers: Bucket,
    link_deadlines: Deadlines,
    backoffs: Deadlines,
    /// The place of the peer that is tidied up next.
    tidied: u32,
    /// Of meaning with a heartbeat.
    heartbeat_at: Instant,
    last_sent: Option<Instant>,
    /// Messages under screening by deadline; some may be decided already.
    offers: RareQueue<(Instant, MessageKey)>,
    open_offers: u32,
    next_transfer: u64,
    shutdown: Shutdown,
    /// There when HTTP is spoken.
    #[cfg(feature = "http")]
    http: Option<Box<http::State>>,
    stats: Stats,
}

/// How far a shutdown has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shutdown {
    Running,
    Draining { until: Instant },
    Parting,
    Done,
}

impl fmt::Debug for Tower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tower")
            .field("address", &self.address)
            .field("now", &self.now)
            .field("peers", &self.peers.len())
            .field("links", &self.links.len())
            .field("messages", &self.queue.len())
            .field("shutdown", &self.shutdown)
            .finish_non_exhaustive()
    }
}

impl Tower {
    /// A tower that others reach at `address`. Its time starts at [`Instant::ORIGIN`]. Whoever runs many with one configuration
    /// gives each a clone of the same `Arc`.
    ///
    /// # Errors
    ///
    /// When the configuration is out of its limits.
    pub fn new(
        config: impl Into<Arc<Config>>,
        address: Address,
        seed: &Seed,
    ) -> Result<Self, ConfigError> {
        let config = config.into();
        config.check()?;
        let mut start = Stream::new(seed, Purpose::Start);
        let mut word = || start.word();
        // In this order for ever: one word more in front of them would give each seed another phase and another incarnation.
        let address_keys = (word(), word());
        let mut nonce_words = [word(), word()].into_iter();
        let phase = word();
        let heartbeat_at = config.heartbeat.map_or(Instant::ORIGIN, |heartbeat| {
            let period = crate::time::nanos(heartbeat);
            Instant::from_nanos(word().checked_rem(period).unwrap_or(0))
        });
        let incarnation = word();
        let addresses = PeerDigest::new(address_keys, word());
        let nonces = NumberDigest::new(|| nonce_words.next().unwrap_or_else(&mut word));
        Ok(Self {
            identity: None,
            incarnation,
            now: Instant::ORIGIN,
            peers: Peers::new(config.max_peers, addresses),
            links: Links::new(config.max_links, config.window),
            queue: Queue::new(config.max_queue_messages, config.max_queue_bytes, nonces),
            actions: Actions::new(config.max_pending_notices),
            selector: Selector::new(seed, config.odds),
            friend_stream: SparseStream::new(Purpose::Friend),
            nonce_stream: SparseStream::new(Purpose::Nonce),
            pacer: Pacer::new(config.send_rate, config.burst, phase),
            retry_at: None,
            friends: Bucket::default(),
            strangers: Bucket::default(),
            link_deadlines: Deadlines::default(),
            backoffs: Deadlines::default(),
            tidied: 0,
            heartbeat_at,
            last_sent: None,
            offers: RareQueue::default(),
            open_offers: 0,
            next_transfer: 0,
            shutdown: Shutdown::Running,
            #[cfg(feature = "http")]
            http: http::State::new(&config),
            stats: Stats::default(),
            config,
            address,
        })
    }

    /// Where others reach this tower.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What was counted.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// How many messages are held (waiting, in flight or under screening), and the bytes of their bodies.
    #[must_use]
    pub fn held(&self) -> (usize, usize) {
        (self.queue.len(), self.queue.bytes())
    }

    /// How many messages wait in the queue, neither in flight nor under screening.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.waiting()
    }

    /// How many messages are under screening: their senders have them as well, until there is a verdict.
    #[must_use]
    pub fn offers(&self) -> usize {
        self.open_offers as usize
    }

    /// How many peers are known, ignored ones included.
    #[must_use]
    pub fn peers(&self) -> usize {
        self.peers.len()
    }

    /// How many peers have each status. Nothing is counted for it: ask as often as you like.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.peers.standing()
    }

    /// How many links there are, in whatever state.
    #[must_use]
    pub fn links(&self) -> usize {
        self.links.len()
    }

    /// The key that this tower proves to others, if it does.
    #[must_use]
    pub fn identity(&self) -> Option<Fingerprint> {
        self.identity.as_deref().copied()
    }

    /// Tells the tower its own key, so that it recognises itself.
    #[cfg_attr(not(feature = "tls"), allow(dead_code, reason = "only TLS proves keys"))]
    pub(crate) fn set_identity(&mut self, identity: Fingerprint) {
        self.identity = Some(Box::new(identity));
    }

    /// Time never goes back.
    pub(crate) fn set_now(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    /// What follows from any change: messages leave, ticks are wanted or not, a shutdown goes on.
    fn advance(&mut self) {
        self.release_polled();
        self.pump();
        self.advance_shutdown();
        let eligible = self.peers.eligible(self.config.max_probes);
        let somebody = eligible.new + eligible.alive + eligible.lost + eligible.dead > 0;
        self.pacer.arm(self.queue.waiting() > 0 && somebody, self.now);
    }

    /// Lets go of what only notices that were polled spoke of.
    #[inline]
    fn release_polled(&mut self) {
        self.queue.notices_are_over(self.actions.polled_notice());
    }

    fn notify(&mut self, notice: Notice) {
        if !self.actions.notify(notice) {
            self.stats.notices_missed += 1;
        }
    }

    fn on_timer(&mut self) {
        while let Some(index) = self.link_deadlines.pop_due(self.now) {
            if let Some(link) = self.links.id(index) {
                self.on_link_deadline(link);
            }
        }
        while let Some(index) = self.backoffs.pop_due(self.now) {
            self.peers.rested(index);
        }
        self.on_offer_deadlines();
        self.on_ticks();
        self.on_heartbeat();
        self.tidy();
        self.on_shutdown_deadline();
        self.retry_at = self.retry_at.filter(|at| *at > self.now);
    }
}

impl StateMachine for Tower {
    fn accept(&mut self, _from: IpAddr, now: Instant) -> Result<LinkId, Refusal> {
        self.set_now(now);
        let accepted = self.admit();
        if accepted.is_err() {
            self.stats.links_refused += 1;
        }
        self.advance();
        accepted
    }

    fn handle(&mut self, event: Event<'_>, now: Instant) {
        self.set_now(now);
        match event {
            Event::Connected { link } => self.on_connected(link),
            Event::ConnectFailed { link, cause } | Event::Lost { link, cause } => {
                self.on_io_failure(link, cause);
            }
            Event::BytesArrived { link, bytes } => self.on_bytes(link, bytes),
            Event::Finished { link } => self.on_finished(link),
            Event::Closed { link } => self.on_closed(link),
            Event::TimerFired => self.on_timer(),
        }
        self.advance();
    }

    fn transmit(&mut self, link: LinkId, out: &mut impl BufMut) -> usize {
        self.transmit_frames(link, out)
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.release_polled();
        loop {
            let action = self.actions.pop()?;
            if self.means_something(&action) {
                return Some(action);
            }
        }
    }

    fn next_wakeup(&self) -> Option<Wakeup> {
        if !self.actions.is_empty() {
            return Some(Wakeup { at: self.now, why: WakeupReason::Actions });
        }
        let is_running = self.shutdown == Shutdown::Running;
        let mut first: Option<Wakeup> = None;
        let mut also = |at: Option<Instant>, why| {
            if let Some(at) = at
                && first.is_none_or(|first| at < first.at)
            {
                first = Some(Wakeup { at, why });
            }
        };
        also(self.link_deadlines.first().map(|(at, _)| at), WakeupReason::Link);
        also(self.backoffs.first().map(|(at, _)| at), WakeupReason::Backoff);
        also(self.offers.front().map(|(at, _)| *at), WakeupReason::Screening);
        also(self.retry_at, WakeupReason::Tick);
        if is_running {
            also(self.pacer.next(), WakeupReason::Tick);
            also(self.config.heartbeat.map(|_| self.heartbeat_at), WakeupReason::Heartbeat);
        }
        if let Shutdown::Draining { until } = self.shutdown {
            also(Some(until), WakeupReason::Shutdown);
        }
        first
    }

    fn tower(&self) -> &Tower {
        self
    }

    fn tower_mut(&mut self) -> &mut Tower {
        self
    }
}

impl Tower {
    /// Whether an action that was asked for is still to be done, now that it is polled.
    fn means_something(&mut self, action: &Action) -> bool {
        match *action {
            Action::Connect { link, .. } | Action::Close { link, .. } => {
                self.links.action_polled(link, false)
            }
            Action::Send { link } => self.links.action_polled(link, true),
            // It may have been decided by its deadline, or its link has ended.
            Action::Screen { offer, .. } => {
                matches!(self.queue.place(offer.0), Place::Offered { .. })
            }
            Action::Notify(_) => true,
        }
    }

    fn admit(&mut self) -> Result<LinkId, Refusal> {
        if self.shutdown != Shutdown::Running {
            return Err(Refusal::ShuttingDown);
        }
        if self.links.half_open() >= self.config.max_half_open {
            return Err(Refusal::TooManyHalfOpen);
        }
        let Some(link) = self.links.open(Direction::Inbound, self.now) else {
            self.make_room_for_links(1);
            return Err(Refusal::TooManyLinks);
        };
        self.make_room_for_links(self.links.reserve());
        self.stats.links_accepted += 1;
        self.greet(link);
        Ok(link)
    }

    /// How many messages may be under screening.
    fn max_offers(&self) -> usize {
        match self.config.screening {
            Screening::Off => 0,
            Screening::On { max_offers, .. } => max_offers,
        }
    }

    /// How far a link has come; `None` when it has ended.
    fn state_of(&self, link: LinkId) -> Option<State> {
        self.links.get(link).map(|link| link.state)
    }
}
