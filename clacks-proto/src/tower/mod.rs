//! The tower: routes what happens on links to peers and queue, and what is queued to links.

mod actions;
mod admission;
mod announce;
mod api;
mod backoff;
pub(crate) mod contact;
mod datagrams;
pub(crate) mod eligible;
mod gossip;
mod handover;
mod heartbeat;
mod hold;
#[cfg(any(test, feature = "fuzzing"))]
mod invariants;
mod lifetime;
mod link_closed;
mod links;
mod pacer;
mod peers;
mod queue;
mod recent;
mod redial;
mod rejections;
mod route;
mod screening;
pub mod selector;
mod sender;
mod shutdown;
#[cfg(feature = "simulation")]
mod simulation;
mod snapshot;
mod status;
mod strangers;
#[cfg(any(feature = "tls", feature = "simulation"))]
mod tls;
mod unproved;

use alloc::boxed::Box;
use alloc::sync::Arc;
use bytes::BufMut;
use core::fmt;
use core::net::IpAddr;

use crate::address::Address;
use crate::config::{Config, ConfigError};
use crate::deadline_heap::DeadlineHeap;
use crate::error::{IoCause, Refusal};
use crate::event::{Action, Event, Notice, Wakeup, WakeupReason};
use crate::hash::Hasher;
use crate::ids::LinkId;
use crate::link::{Link, LinkEvent, Local, RetryMemory, Router, Session, State};
use crate::rng::{Purpose, Seed, SparseStream, Stream};
use crate::state_machine::StateMachine;
use crate::stats::Stats;
use crate::time::{Instant, nanos};
use actions::ActionQueue;
use datagrams::Inbox;
use handover::{FrameContent, Reoffers};
use links::Links;
use pacer::{Pacer, TokenBucket};
pub(crate) use peers::Peers;
use queue::Queue;
use recent::RecentMessages;
use rejections::Rejections;
use screening::Screenings;
use selector::Selector;
use shutdown::Phase;
use strangers::Strangers;
use unproved::Unproved;

pub use api::{
    EnqueueError, EnqueueOptions, ExpandError, HeldMessage, LinkInfo, MessageState, Peer,
    QueueUsage, RefusedMessage,
};
pub use datagrams::{Datagram, DatagramError, DatagramPeer, To};
pub use peers::StatusCounts;
pub use screening::{DecideError, Verdict};
pub use shutdown::ShutdownProgress;
pub use snapshot::PeerRecord;
#[cfg(any(feature = "tls", feature = "simulation"))]
pub(crate) use tls::TlsHandshake;

/// A tower in clear text: a queue of messages, a table of peers, and links to some of them.
///
/// # Methods
///
/// - For the driver: all of [`StateMachine`].
/// - For the application, to change something: [`enqueue`](Self::enqueue),
///   [`expand`](Self::expand), [`announce`](Self::announce), [`ignore`](Self::ignore),
///   [`unignore`](Self::unignore), [`forget`](Self::forget), [`pin`](Self::pin),
///   [`restore`](Self::restore), [`decide`](Self::decide), [`shutdown`](Self::shutdown). Each takes
///   the current time, as `handle` does, and may leave actions to be polled.
/// - To look: [`peek`](Self::peek), [`survey`](Self::survey), [`peer`](Self::peer),
///   [`find`](Self::find), [`message`](Self::message), [`offer`](Self::offer),
///   [`link`](Self::link), [`links`](Self::links), [`stats`](Self::stats),
///   [`queue_usage`](Self::queue_usage), [`status_counts`](Self::status_counts),
///   [`pending_screenings`](Self::pending_screenings), [`snapshot`](Self::snapshot),
///   [`address`](Self::address), [`identity`](Self::identity), [`config`](Self::config),
///   [`shutdown_progress`](Self::shutdown_progress).
///
/// # Guarantees
///
/// A message is in exactly one state inside a running tower: it waits in the queue, rests, is in
/// flight, or is handed over. A message under screening is still at the peer that sent it, and its
/// transfer is unanswered. What a tower does depends only on its configuration, its seed and its
/// inputs. Nothing that a peer sends makes it panic, or take more memory than
/// [`Config::max_memory`].
pub struct Tower {
    local: Local,
    now: Instant,
    links: Links,
    peers: Peers,
    queue: Queue,
    actions: ActionQueue,
    selector: Selector,
    friend_stream: SparseStream,
    nonce_stream: SparseStream,
    /// How many links have got a number.
    numbered_links: u64,
    pacer: Pacer,
    contacts: TokenBucket,
    /// How many alive peers were found lost since the last call of `advance`.
    lost_to_replace: u32,
    /// How many lost and dead peers became alive since the last call of `advance`.
    returned: u32,
    /// A tick found no peer with an open link. It is spent when there is one.
    is_tick_owed: bool,
    /// With an unlimited rate or in a shutdown: when the next attempt to hand over a message is
    /// due, after some failed.
    retry_at: Option<Instant>,
    reoffers: Reoffers,
    heartbeat_at: Option<Instant>,
    last_sent: Option<Instant>,
    friends: TokenBucket,
    strangers: Strangers,
    unproved: Unproved,
    link_deadlines: DeadlineHeap,
    backoffs: DeadlineHeap,
    /// When a peer that did not take an announce gets it again.
    announces: DeadlineHeap,
    recent: RecentMessages,
    screenings: Screenings,
    rejections: Rejections,
    /// What was taken on links that have ended; `None` until there is something.
    retry_memory: Option<Box<RetryMemory>>,
    /// Datagrams that came in; `None` if there are none.
    inbox: Option<Box<Inbox>>,
    phase: Phase,
    /// The earliest time of the next [`Notice::LocalTrouble`].
    next_local_trouble: Instant,
    stats: Stats,
}

impl fmt::Debug for Tower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tower")
            .field("address", &self.local.address)
            .field("now", &self.now)
            .field("peers", &self.peers.len())
            .field("links", &self.links.len())
            .field("messages", &self.queue.len())
            .field("phase", &self.phase)
            .finish_non_exhaustive()
    }
}

impl Tower {
    /// Returns a tower that peers reach at `address`. Its time starts at [`Instant::ORIGIN`].
    /// Towers with the same configuration can share it: pass clones of one `Arc`.
    ///
    /// # Errors
    ///
    /// If the configuration is out of its limits.
    pub fn new(
        config: impl Into<Arc<Config>>,
        address: Address,
        seed: &Seed,
    ) -> Result<Self, ConfigError> {
        let config = config.into();
        config.validate()?;
        let mut start = Stream::new(seed, Purpose::Start);
        // The order of these draws is part of what a seed means.
        let phase = start.word();
        let heartbeat_at = config.heartbeat.map(|heartbeat| {
            Instant::from_nanos(start.word().checked_rem(nanos(heartbeat)).unwrap_or(0))
        });
        let incarnation = start.word();
        let hasher = Hasher::new([start.word(), start.word(), start.word(), start.word()]);
        let speaks_http = config.speaks_http();
        Ok(Self {
            now: Instant::ORIGIN,
            links: Links::new(config.max_links),
            peers: Peers::new(config.max_peers, config.newcomers, hasher.clone()),
            queue: Queue::new(config.max_queue_messages, config.max_queue_bytes, hasher),
            actions: ActionQueue::new(config.max_pending_notices, config.max_links),
            selector: Selector::new(seed, config.odds),
            friend_stream: SparseStream::new(Purpose::Friend),
            nonce_stream: SparseStream::new(Purpose::Nonce),
            numbered_links: 0,
            pacer: Pacer::new(config.send_rate, config.burst, phase),
            contacts: TokenBucket::default(),
            lost_to_replace: 0,
            returned: 0,
            is_tick_owed: false,
            retry_at: None,
            reoffers: Reoffers::default(),
            heartbeat_at,
            last_sent: None,
            friends: TokenBucket::default(),
            strangers: Strangers::default(),
            unproved: Unproved::default(),
            link_deadlines: DeadlineHeap::default(),
            backoffs: DeadlineHeap::default(),
            announces: DeadlineHeap::default(),
            recent: RecentMessages::new(config.recent),
            screenings: Screenings::default(),
            rejections: Rejections::default(),
            retry_memory: None,
            inbox: None,
            phase: Phase::Running,
            next_local_trouble: Instant::ORIGIN,
            stats: Stats::default(),
            local: Local { config, address, identity: None, incarnation, speaks_http },
        })
    }

    /// Sets the time. Time never goes back.
    pub(crate) fn set_now(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    /// Hands over messages, arms the ticks, and continues a shutdown. Called after every input.
    fn advance(&mut self) {
        self.shorten_holds();
        self.replace_lost();
        self.follow_returned();
        self.spend_owed_tick();
        self.pump();
        self.advance_shutdown();
        let eligible = self.peers.eligible(self.local.config.max_probes);
        let is_wanted = self.queue.waiting() > 0 && !eligible.is_empty()
            || eligible.new > 0 && self.contacts_peers();
        self.pacer.arm(is_wanted, self.now);
    }

    #[inline(always)]
    fn notify(&mut self, notice: Notice) {
        if !self.actions.notify(notice) {
            self.stats.notices_missed += 1;
        }
    }

    /// Frees what an idle tower does not need: without links nothing has been handed over for a
    /// while.
    fn free_memory(&mut self) {
        self.selector.free_memory();
        self.friend_stream.free_memory();
        self.nonce_stream.free_memory();
        self.forget_old_links();
        self.actions.free_memory();
        self.links.free_memory();
        self.queue.free_memory();
        for deadlines in [&mut self.link_deadlines, &mut self.backoffs, &mut self.announces] {
            deadlines.free_memory();
        }
    }

    fn on_timer(&mut self) {
        while let Some(index) = self.link_deadlines.pop_due(self.now) {
            let Some(id) = self.links.id(index) else { continue };
            self.with_link(id, |link, local, now| {
                link.session_mut().scheduled = Instant::FAR_FUTURE;
                link.handle_timeout(local, now)
            });
        }
        while let Some(index) = self.backoffs.pop_due(self.now) {
            self.peers.on_backoff_over(index);
        }
        while let Some(index) = self.announces.pop_due(self.now) {
            self.repeat_announce(index);
        }
        self.on_screening_deadlines();
        self.on_holds();
        self.on_expiry();
        self.on_ticks();
        self.on_heartbeat();
        self.on_shutdown_deadline();
        self.retry_at = self.retry_at.filter(|at| *at > self.now);
        if self.links.len() == 0 {
            self.free_memory();
        }
    }

    fn on_connected(&mut self, id: LinkId, at: Option<IpAddr>) {
        match self.links.get(id).map(Session::state) {
            Some(State::Connecting) => {
                self.note_route(id, at);
                self.with_link(id, Link::handle_connected);
            }
            // The connection was established just when the dial was given up.
            Some(State::Closed) => {}
            _ => self.stats.stale_events += 1,
        }
    }

    fn on_bytes(&mut self, id: LinkId, bytes: &[u8]) {
        let Some(mut link) = self.links.take(id) else {
            self.stats.stale_events += 1;
            return;
        };
        link.handle_bytes(id, bytes, self);
        self.put_back(id, link);
    }

    fn on_finished(&mut self, id: LinkId) {
        if self.links.get(id).is_none() {
            self.stats.stale_events += 1;
        }
        self.with_link(id, Link::handle_finished);
    }

    fn on_lost(&mut self, id: LinkId, cause: IoCause) {
        let Some(mut link) = self.links.take(id) else {
            self.stats.stale_events += 1;
            return;
        };
        // Free the slot first: a retry may need it.
        self.link_deadlines.clear(id.index);
        self.links.remove(id);
        if let Some(number) = link.session_mut().unproved.take() {
            self.unproved.remove(link.session().prefix, number);
        }
        let event = link.handle_lost(cause, &self.local, self.now);
        self.on_link_event(id, link.session_mut(), event);
        if self.links.len() == 0 {
            self.free_memory();
        }
    }

    /// Takes a link out of the table, lets it act, and routes what follows. Does nothing if the
    /// link has ended.
    fn with_link(
        &mut self,
        id: LinkId,
        act: impl FnOnce(&mut Link, &Local, Instant) -> LinkEvent<'static>,
    ) {
        let Some(mut link) = self.links.take(id) else { return };
        let event = act(&mut link, &self.local, self.now);
        self.on_link_event(id, link.session_mut(), event);
        self.put_back(id, link);
    }

    /// Puts a link back into the table after it has acted.
    #[inline]
    fn put_back(&mut self, id: LinkId, mut link: Box<Link>) {
        let session = link.session_mut();
        if session.needs_attention() {
            self.attend(id, session);
        }
        if session.unproved.is_some() {
            self.note_proof(session);
        }
        self.links.note_use(id, session, self.now);
        self.links.put_back(id, link);
    }

    /// Takes note of what has changed on a link: asks the driver to send if the link has something
    /// to send, schedules the link's next deadline, and notes whether the link's peer may be drawn.
    fn attend(&mut self, id: LinkId, session: &mut Session) {
        if !session.send_queued && session.wants_transmit() {
            session.send_queued = true;
            self.actions.push(Action::Send { link: id });
        }
        schedule(&mut self.link_deadlines, id, session);
        self.note_load(id, session);
    }
}

/// Sets the wake-up of a link if it is earlier than the one that is set.
#[inline]
fn schedule(deadlines: &mut DeadlineHeap, id: LinkId, session: &mut Session) {
    let deadline = session.next_timeout();
    if deadline < session.scheduled {
        session.scheduled = deadline;
        deadlines.set(id.index, deadline);
    }
}

impl StateMachine for Tower {
    fn accept(&mut self, from: IpAddr, now: Instant) -> Result<LinkId, Refusal> {
        self.set_now(now);
        let accepted = self.accept_link(from);
        match accepted {
            Ok(_) => self.stats.links_accepted += 1,
            Err(_) => self.stats.links_refused += 1,
        }
        self.advance();
        accepted
    }

    fn handle(&mut self, event: Event<'_>, now: Instant) {
        self.set_now(now);
        match event {
            Event::Connected { link, at } => self.on_connected(link, at),
            Event::BytesArrived { link, bytes } => self.on_bytes(link, bytes),
            Event::Finished { link } => self.on_finished(link),
            Event::ConnectFailed { link, cause } | Event::Lost { link, cause } => {
                self.on_lost(link, cause);
            }
            // A driver that closes what it was not asked to close has lost the connection.
            Event::Closed { link } => self.on_lost(link, IoCause::Other),
            Event::AcceptFailed { cause } => self.on_local_failure(cause),
            Event::TimerFired => self.on_timer(),
        }
        self.advance();
    }

    fn transmit(&mut self, link: LinkId, out: &mut impl BufMut) -> usize {
        let Self { links, queue, peers, friend_stream, selector, local, now, .. } = self;
        let Some(acting) = links.get_link_mut(link) else { return 0 };
        let session = acting.session();
        let (recipient, round_trip) = (session.peer, session.round_trip());
        let (seed, now) = (selector.seed(), *now);
        let max_friends = local.config.announced_friends.into();
        let mut content = FrameContent {
            queue,
            peers,
            friend_stream,
            seed,
            recipient,
            max_friends,
            now,
            round_trip,
        };
        let written = acting.poll_transmit(out, local, &mut content, now);
        schedule(&mut self.link_deadlines, link, acting.session_mut());
        self.on_datagrams_sent(link);
        written
    }

    // Inlined, the action is moved in pieces that straddle those in which it was written. The
    // processor then waits for the writes, which costs more than the call.
    #[inline(never)]
    fn poll_action(&mut self) -> Option<Action> {
        let Self { actions, links, queue, .. } = self;
        actions.pop(links.len() == 0, |action| match action {
            Action::Notify(_) => true,
            Action::Send { link } => links.get_link_mut(*link).is_some_and(|link| {
                link.session_mut().send_queued = false;
                true
            }),
            // The link may have ended meanwhile, the offer may have been decided.
            Action::Connect { link, .. } | Action::Close { link, .. } => links.get(*link).is_some(),
            Action::Screen { offer, .. } => queue.offered_on(offer.0).is_some(),
        })
    }

    fn next_wakeup(&self) -> Option<Wakeup> {
        if !self.actions.is_empty() {
            return Some(Wakeup { at: self.now, reason: WakeupReason::Actions });
        }
        let is_running = self.phase.is_running();
        let timers = [
            (self.link_deadlines.next(), WakeupReason::Link),
            (self.backoffs.next(), WakeupReason::Backoff),
            (self.announces.next(), WakeupReason::Backoff),
            (self.screenings.next_deadline(), WakeupReason::Screening),
            (self.next_expiry(), WakeupReason::Lifetime),
            (self.queue.first_hold(), WakeupReason::Hold),
            (self.retry_at, WakeupReason::Tick),
            (self.pacer.next().filter(|_| is_running), WakeupReason::Tick),
            (self.heartbeat_at.filter(|_| is_running), WakeupReason::Heartbeat),
            (self.phase.deadline(), WakeupReason::Shutdown),
        ];
        // A plain loop: iterators cost several times as much here, and each event asks.
        let mut earliest: Option<Wakeup> = None;
        for (at, reason) in timers {
            if let Some(at) = at
                && earliest.is_none_or(|earliest| at < earliest.at)
            {
                earliest = Some(Wakeup { at, reason });
            }
        }
        earliest
    }

    fn tower(&self) -> &Tower {
        self
    }

    fn tower_mut(&mut self) -> &mut Tower {
        self
    }
}
