//! The client of stores: puts, gets, counts and keeps files.
//!
//! [`Client`] wraps a guest tower and is a state machine like it, so each driver runs it unchanged.
//! It does one [`Job`] at a time. An application starts a job, and then waits for its events:
//!
//! 1. [`Client::start`].
//! 2. Wait until [`Client::has_event`], for example with `handle.wait` of a driver. Call
//!    [`Client::poll_event`] until it returns `None`.
//! 3. [`JobEvent`] says what each event asks for: [`Client::proceed`], [`Client::supply`] or
//!    nothing.
//!
//! The client need not be polled at fixed times: its timers are part of
//! [`next_wakeup`](StateMachine::next_wakeup).

mod active;
mod collector;
mod get;
mod job;
mod keep;
mod listener;
mod publisher;
mod put;
mod requests;
mod survey;

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;

use bytes::BufMut;
use clacks_proto::{
    Action, Address, Config, DatagramLoss, Datagrams, Event, Instant, LinkId, Notice, Refusal,
    Screening, Seed, StateMachine, Tower, Wakeup, WakeupReason,
};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::clock::Clock;
use crate::code::{Group, GroupRoots};
use crate::protocol::MAX_LEN;
use crate::store::StoreError;

use active::Active;
use requests::{Failure, Requests};

pub use job::{Health, HealthState, Job, JobError, JobEvent, Phase, Progress, PutReport, Repair};
pub use listener::Listener;
pub use put::hours_with_jitter;

/// The stream of random words of a client. A tower with the same seed has other streams.
const STREAM: u64 = 0x636C_6965_6E74;

/// How requests reach towers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Route {
    /// Through other towers. Each request goes to the first hop, which passes it on. The tower that
    /// is asked does not see who asks. Each hop sees the request and the hop before it.
    #[default]
    Stem,
    /// From here to each tower. It is faster, and each tower that is asked sees who asks.
    Direct,
}

/// Whose tower the first hop is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum FirstHop {
    /// A tower of another person. It is a hop of the stem like any other.
    #[default]
    Foreign,
    /// The tower of this person. Towers that are asked must not see it, so each stem has another
    /// hop behind it. Only if it knows no other store, it asks by itself.
    Own,
}

/// How a client works.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientConfig {
    /// The first hops, at least one. The next one is used when the one before is gone. Keep the
    /// same one for all jobs: a new one for each job learns in time which files belong together.
    pub first: Vec<Address>,
    /// Whose tower the first of these is. Default: [`FirstHop::Foreign`].
    pub first_hop: FirstHop,
    /// The key that gives other first hops their order. Keep it for a month, so that few towers see
    /// this client. By default each client draws its own.
    pub order: Option<[u8; 16]>,
    /// How requests reach towers. Default: [`Route::Stem`].
    pub route: Route,
    /// Through how many other first hops a put is checked, and a file that is gone is searched. One
    /// hop may pretend that pieces arrived, or that there are none. Hops that collude may do so
    /// with a probability that falls with each one. 0 disables the check. Default: 1.
    pub verify: u8,
    /// Whether a job begins although its forecast is a refusal. Default: false.
    pub patient: bool,
}

impl ClientConfig {
    /// Returns the default configuration with these first hops.
    #[must_use]
    pub fn new(first: Vec<Address>) -> Self {
        let (first_hop, route) = (FirstHop::default(), Route::default());
        Self { first, first_hop, order: None, route, verify: 1, patient: false }
    }
}

/// Sets what the tower of a client needs: it is a guest with datagrams of 12 KiB, and does nothing
/// by itself.
pub fn enable_client(config: &mut Config) {
    config.is_guest = true;
    config.datagrams = Datagrams::ON;
    config.screening = Screening::Off;
    // The client dials what it asks. It learns no addresses but those in answers to it.
    config.contact_rate = 0;
    config.heartbeat = None;
    config.announced_friends = 0;
}

/// A client of stores. See the [module](self).
///
/// - Jobs: [`start`](Self::start), [`cancel`](Self::cancel), [`proceed`](Self::proceed),
///   [`supply`](Self::supply).
/// - Results: [`has_event`](Self::has_event), [`poll_event`](Self::poll_event),
///   [`progress`](Self::progress).
pub struct Client<M> {
    inner: M,
    env: Env,
    active: Option<Active>,
    /// Something happened since the last turn.
    is_dirty: bool,
}

/// What all jobs share.
struct Env {
    config: ClientConfig,
    clock: Clock,
    now: Instant,
    rng: ChaCha8Rng,
    /// See [`ClientConfig::order`].
    order: [u8; 16],
    requests: Requests,
    events: VecDeque<JobEvent>,
    /// The pieces among the events. They are part of the window.
    pieces: u32,
    /// A job changed its state in this turn, so that another turn is needed.
    has_changed: bool,
    /// The difference of clocks was reported.
    is_clock_reported: bool,
}

impl Env {
    fn push(&mut self, event: JobEvent) {
        self.pieces += u32::from(matches!(event, JobEvent::Piece { .. }));
        self.events.push_back(event);
    }

    /// Returns the current Unix hour.
    fn hour(&self) -> u32 {
        self.minute() / 60
    }

    /// Returns the current Unix minute.
    fn minute(&self) -> u32 {
        u32::try_from(self.clock.unix(self.now) / 60).unwrap_or(u32::MAX)
    }
}

impl<M: StateMachine> Client<M> {
    /// Returns a client without a job. `unix_at_origin` is the Unix time in seconds at
    /// [`Instant::ORIGIN`]. The seed may be that of the tower.
    ///
    /// # Errors
    ///
    /// If the tower takes no datagrams of [`MAX_LEN`] bytes: see [`enable_client`].
    pub fn new(
        inner: M,
        config: ClientConfig,
        seed: &Seed,
        unix_at_origin: u64,
    ) -> Result<Self, StoreError> {
        match inner.tower().config().datagrams {
            Datagrams::On { max_len, .. } if max_len as usize >= MAX_LEN => {}
            _ => return Err(StoreError::Datagrams),
        }
        let mut rng = ChaCha8Rng::from_seed(seed.0);
        rng.set_stream(STREAM);
        let mut drawn = [0; 16];
        rng.fill_bytes(&mut drawn);
        let env = Env {
            order: config.order.unwrap_or(drawn),
            config,
            clock: Clock::new(unix_at_origin, Instant::ORIGIN),
            now: Instant::ORIGIN,
            rng,
            requests: Requests::default(),
            events: VecDeque::new(),
            pieces: 0,
            has_changed: false,
            is_clock_reported: false,
        };
        Ok(Self { inner, env, active: None, is_dirty: false })
    }

    /// Sets the Unix time, in seconds. Call it from time to time during a long job, because the
    /// clock of the driver may stop while the machine sleeps.
    pub fn set_clock(&mut self, unix: u64, now: Instant) {
        self.set_now(now);
        self.env.clock = Clock::new(unix, self.env.now);
    }

    /// Starts a job. A job that runs is cancelled without an event, and events that wait are
    /// dropped.
    pub fn start(&mut self, job: Job, now: Instant) {
        self.set_now(now);
        self.env.requests.clear();
        self.env.events.clear();
        self.env.pieces = 0;
        self.env.is_clock_reported = false;
        self.active = Active::new(job, &mut self.env);
        self.is_dirty = true;
    }

    /// Lets a job go on after [`JobEvent::Forecast`].
    pub fn proceed(&mut self, now: Instant) {
        self.set_now(now);
        if let Some(active) = &mut self.active {
            active.proceed(&mut self.env);
        }
        self.is_dirty = true;
    }

    /// Supplies the group that [`JobEvent::NeedGroup`] asked for, with the roots of all groups of
    /// the file. Another group is ignored. If the roots are not those in the link, the job fails
    /// with [`JobError::Changed`].
    pub fn supply(&mut self, group: Group, roots: &GroupRoots, now: Instant) {
        self.set_now(now);
        if let Some(active) = &mut self.active {
            active.supply(&mut self.env, group, roots);
        }
        self.is_dirty = true;
    }

    /// Cancels the job, which reports [`JobError::Cancelled`]. Pieces that were published stay in
    /// the network until their hour.
    pub fn cancel(&mut self, now: Instant) {
        self.set_now(now);
        if self.active.take().is_some() {
            self.env.requests.clear();
            self.env.push(JobEvent::Failed(JobError::Cancelled));
        }
        self.is_dirty = true;
    }

    /// Returns whether an event waits.
    #[must_use]
    pub fn has_event(&self) -> bool {
        !self.env.events.is_empty()
    }

    /// Returns the oldest event that was not polled. Pieces that wait hold up a get.
    pub fn poll_event(&mut self) -> Option<JobEvent> {
        let event = self.env.events.pop_front()?;
        if matches!(event, JobEvent::Piece { .. }) {
            self.env.pieces -= 1;
            self.is_dirty = true;
        }
        Some(event)
    }

    /// Returns how far the job is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.active.as_ref().map(|active| active.progress(&self.env)).unwrap_or_default()
    }

    fn set_now(&mut self, now: Instant) {
        self.env.now = self.env.now.max(now);
    }

    /// Takes the datagrams that came in, so that the inbox never fills.
    fn receive(&mut self) {
        while let Some(datagram) = self.inner.tower_mut().take_datagram() {
            if let Some(active) = &mut self.active {
                active.on_datagram(&mut self.env, datagram.link, &datagram.body);
                self.is_dirty = true;
            }
        }
    }

    fn on_notice(&mut self, notice: &Notice) {
        let (link, failure) = match notice {
            Notice::LinkClosed { link, .. } => (*link, Failure::LinkEnded),
            Notice::DatagramsDropped { link, why: DatagramLoss::NotTaken, .. } => {
                (*link, Failure::NotTaken)
            }
            Notice::DatagramsDropped { link, .. } => (*link, Failure::LinkEnded),
            Notice::DatagramRoom { link } => {
                self.env.requests.on_room(*link);
                self.is_dirty = true;
                return;
            }
            Notice::TowerForgotten { peer } => {
                self.env.requests.on_forgotten(self.inner.tower(), peer);
                self.is_dirty = true;
                return;
            }
            Notice::Missed { .. } => {
                self.env.requests.retry_full();
                self.is_dirty = true;
                return;
            }
            _ => return,
        };
        for ask in self.env.requests.end_link(link, self.env.now) {
            if let Some(active) = &mut self.active {
                active.on_failure(&mut self.env, ask, failure);
            }
            self.is_dirty = true;
        }
    }

    /// Lets the job do what it can, if something happened. The tower may have new actions then.
    fn advance(&mut self) -> bool {
        if !core::mem::take(&mut self.is_dirty) {
            return false;
        }
        let Self { inner, env, active, .. } = self;
        let Some(running) = active else { return true };
        env.has_changed = false;
        running.turn(env, inner.tower_mut());
        if running.is_over() {
            env.requests.clear();
            *active = None;
        }
        self.is_dirty = env.has_changed;
        true
    }

    fn is_due(&self) -> bool {
        self.own_wakeup().is_some_and(|at| at <= self.env.now)
    }

    fn own_wakeup(&self) -> Option<Instant> {
        let active = self.active.as_ref()?;
        let at = self.env.requests.next_wakeup();
        at.into_iter().chain(active.next_wakeup()).min()
    }
}

impl<M: StateMachine> StateMachine for Client<M> {
    fn accept(&mut self, from: IpAddr, now: Instant) -> Result<LinkId, Refusal> {
        self.set_now(now);
        self.inner.accept(from, now)
    }

    fn handle(&mut self, event: Event<'_>, now: Instant) {
        self.set_now(now);
        self.inner.handle(event, now);
        self.receive();
        self.is_dirty |= self.is_due();
    }

    fn transmit(&mut self, link: LinkId, out: &mut impl BufMut) -> usize {
        self.inner.transmit(link, out)
    }

    fn poll_action(&mut self) -> Option<Action> {
        loop {
            match self.inner.poll_action() {
                Some(action) => {
                    if let Action::Notify(notice) = &action {
                        self.on_notice(notice);
                    }
                    return Some(action);
                }
                None if self.advance() => {}
                None => return None,
            }
        }
    }

    fn next_wakeup(&self) -> Option<Wakeup> {
        let own = if self.is_dirty { Some(self.env.now) } else { self.own_wakeup() };
        let own = own.map(|at| Wakeup { at, reason: WakeupReason::Actions });
        let wakeups = own.into_iter().chain(self.inner.next_wakeup());
        wakeups.min_by_key(|wakeup| wakeup.at)
    }

    fn tower(&self) -> &Tower {
        self.inner.tower()
    }

    fn tower_mut(&mut self) -> &mut Tower {
        self.inner.tower_mut()
    }
}

impl<M> fmt::Debug for Client<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_busy = self.active.is_some();
        f.debug_struct("Client")
            .field("config", &self.env.config)
            .field("is_busy", &is_busy)
            .finish_non_exhaustive()
    }
}
