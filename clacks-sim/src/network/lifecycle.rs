//! The life of a tower: start, crash, leave, pause, clock, wake-ups, and churn.

use std::sync::Arc;

use clacks_proto::{Config, Event, HeldMessage, Instant, MessageState, StateMachine, Tower};
use clacks_store::enable_client;

use super::addresses;
use super::clock::Clock;
use super::connection::EndId;
use super::offers::Offers;
use super::{Due, Network, NetworkObserver, nanos};
use crate::files::{ClientNode, Files};
use crate::node::{Machine, NewNode};
use crate::observation::{Fault, Observed, TowerId};
use crate::plan::{ContactVerb, CrashKind, Plan, WithContacts};
use crate::rng::{Purpose, RngStream};
use crate::roles::{self, RawNode, RoleNode, RoleStore};

/// No wake-up is wanted.
const NEVER: u64 = u64::MAX;

/// One tower of the network, whether it runs or not.
pub(super) struct Node<M> {
    pub(super) machine: Option<Machine<M>>,
    /// When the tower wants to be woken, in network time.
    pub(super) wakeup: u64,
    /// When the event queue has a wake-up: at that time or earlier.
    armed: u64,
    /// The ends of connections, by the index of the tower's links.
    pub(super) ends: Vec<Option<EndId>>,
    /// The number of dials in all lives.
    pub(super) dials: u32,
    lives: u32,
    /// Sessions and absences so far.
    sessions: u32,
    /// The number of pauses that overlap now.
    pauses: u32,
    is_leaving: bool,
    /// The machine is gone, so nothing is answered.
    pub(super) is_unanswering: bool,
    /// What few towers need.
    extras: Option<Box<Extras>>,
}

#[derive(Default)]
struct Extras {
    clock: Clock,
    /// What arrived while the tower was paused.
    parked: Vec<Due>,
    offers: Option<Offers>,
}

impl<M> Node<M> {
    pub(super) fn absent() -> Self {
        Self {
            machine: None,
            wakeup: NEVER,
            armed: NEVER,
            ends: Vec::new(),
            dials: 0,
            lives: 0,
            sessions: 0,
            pauses: 0,
            is_leaving: false,
            is_unanswering: false,
            extras: None,
        }
    }

    /// Returns the time on the tower's clock at a time of the network.
    pub(super) fn local_time(&self, at: u64) -> Instant {
        self.extras.as_ref().map_or(Instant::from_nanos(at), |extras| extras.clock.time(at))
    }

    /// Returns when the tower's clock will show a time.
    fn network_time(&self, local: Instant) -> u64 {
        self.extras.as_ref().map_or(local.as_nanos(), |extras| extras.clock.reaches(local))
    }

    /// Returns the machine, unless the process is suspended.
    pub(super) fn running(&mut self) -> Option<&mut Machine<M>> {
        let is_paused = self.is_paused();
        self.machine.as_mut().filter(|_| !is_paused)
    }

    /// Returns whether the process is suspended.
    pub(super) fn is_paused(&self) -> bool {
        self.pauses > 0
    }

    pub(super) fn park(&mut self, due: Due) {
        self.extras.get_or_insert_default().parked.push(due);
    }

    fn take_parked(&mut self) -> Vec<Due> {
        self.extras.as_mut().map(|extras| std::mem::take(&mut extras.parked)).unwrap_or_default()
    }

    /// Makes place for messages under screening.
    pub(super) fn create_offers(&mut self) {
        self.extras.get_or_insert_default().offers.get_or_insert_default();
    }
}

impl<M: StateMachine> Node<M> {
    pub(super) fn tower(&self) -> Option<&Tower> {
        self.machine.as_ref()?.tower()
    }

    pub(super) fn tower_and_offers(&mut self) -> (Option<&Tower>, Option<&mut Offers>) {
        let offers = self.extras.as_mut().and_then(|extras| extras.offers.as_mut());
        (self.machine.as_ref().and_then(Machine::tower), offers)
    }
}

impl<M: StateMachine, W: NetworkObserver<M>> Network<M, W> {
    /// Starts a tower with an empty memory.
    pub(super) fn start(&mut self, tower: TowerId, contacts: WithContacts) {
        if self.node(tower).is_leaving {
            // The shutdown takes longer than the plan allows.
            self.crash(tower, CrashKind::Process);
        }
        if self.node(tower).machine.is_some() {
            return;
        }
        let life = self.node(tower).lives;
        let Some(machine) = self.new_machine(tower, life) else { return };
        let node = self.node(tower);
        node.machine = Some(machine);
        node.lives += 1;
        node.is_unanswering = false;
        self.snapshot.running += 1;
        self.see(tower, Observed::Started { life });
        if life > 0 {
            self.see_fault(Some(tower), Fault::Restart);
        }
        if contacts == WithContacts::Added {
            self.add_contacts(tower);
        }
        self.settle(tower);
    }

    fn new_machine(&mut self, tower: TowerId, life: u32) -> Option<Machine<M>> {
        let plan = Arc::clone(&self.plan);
        let role = plan.roles.of(tower);
        let has_store = role.is_none_or(|role| role.kind.has_store());
        if let Some(files) = plan.files.as_ref().filter(|_| has_store) {
            return self.new_file_node(&plan, files, tower, life);
        }
        let config = role.map_or(&plan.config, |role| &role.config);
        if let Some(endpoint) = roles::endpoint(&plan, tower, life) {
            let node = RawNode::new(endpoint, config.timeouts.connect);
            return Some(Machine::Raw(Box::new(node)));
        }
        let new = NewNode {
            tower,
            config: Arc::clone(config),
            address: plan.addresses.address_of(tower)?,
            seed: self.random.tower_seed(tower.0, life),
            role: role.map(|role| role.kind.clone()),
        };
        let mut node = (self.make)(new)?;
        if plan.keys {
            let key = addresses::key(&self.random, plan.addresses.ip_of(tower));
            node.tower_mut().set_identity(key);
        }
        Some(match roles::behaviour(&plan, tower, life).or_else(|| roles::holding(&plan, tower)) {
            Some(behaviour) => {
                let now = self.local_now(tower);
                Machine::Role(Box::new(RoleNode::new(node, behaviour, now)))
            }
            None => Machine::Node(node),
        })
    }

    /// Returns a store, or a client of stores.
    fn new_file_node(
        &self,
        plan: &Arc<Plan>,
        files: &Arc<Files>,
        tower: TowerId,
        life: u32,
    ) -> Option<Machine<M>> {
        let (address, seed) =
            (plan.addresses.address_of(tower)?, self.random.tower_seed(tower.0, life));
        let address_of = |tower| plan.addresses.address_of(tower);
        let key = addresses::key(&self.random, plan.addresses.ip_of(tower));
        if !files.is_client(tower) {
            let config = plan.roles.of(tower).map_or(&plan.config, |role| &role.config);
            let mut machine = Tower::new(Arc::clone(config), address, &seed).ok()?;
            if plan.keys {
                machine.set_identity(key);
            }
            let store = files.store(machine, tower, &seed)?;
            return Some(match roles::store_behaviour(plan, tower, life) {
                Some(behaviour) => Machine::RoleStore(Box::new(RoleStore::new(store, behaviour))),
                None => Machine::Store(Box::new(store)),
            });
        }
        let mut config = Config::clone(&plan.config);
        enable_client(&mut config);
        let mut machine = Tower::new(config, address, &seed).ok()?;
        if plan.keys {
            machine.set_identity(key);
        }
        let client = ClientNode::new(machine, tower, files, &seed, address_of)?;
        Some(Machine::Client(Box::new(client)))
    }

    /// Adds the contacts of the plan to a tower.
    fn add_contacts(&mut self, tower: TowerId) {
        let plan = Arc::clone(&self.plan);
        let now = self.local_now(tower);
        let machine = self.node(tower).machine.as_mut();
        let Some(machine) = machine.and_then(Machine::tower_mut) else { return };
        for contact in plan.contacts.of(tower) {
            let is_tower = plan.roles.of(*contact).is_none_or(|role| !role.kind.is_raw());
            let Some(address) = plan.addresses.address_of(*contact).filter(|_| is_tower) else {
                continue;
            };
            // A full table is no error of the plan.
            let _added = match plan.contacts.verb {
                ContactVerb::Announce => machine.announce(&address, now),
                ContactVerb::Expand => machine.expand(&address, now),
            };
        }
    }

    /// Kills a tower with its queue.
    pub(super) fn crash(&mut self, tower: TowerId, how: CrashKind) {
        if self.node(tower).machine.is_none() {
            return;
        }
        self.see(tower, Observed::Crashed);
        self.see_fault(Some(tower), Fault::Crash);
        self.remove(tower, how);
    }

    /// Removes a tower with all its messages and its ends of connections.
    fn remove(&mut self, tower: TowerId, how: CrashKind) {
        let held = self.node(tower).tower().into_iter().flat_map(Tower::peek);
        let is_own = |held: &HeldMessage| !matches!(held.state, MessageState::Offered { .. });
        let held: Vec<_> = held.filter(is_own).map(|held| held.nonce).collect();
        for nonce in held {
            let message = self.message_of(tower, nonce);
            self.see(tower, Observed::Dropped { message });
        }
        let node = self.node(tower);
        node.machine = None;
        (node.wakeup, node.pauses, node.is_leaving) = (NEVER, 0, false);
        node.is_unanswering = how == CrashKind::Machine;
        let ends = std::mem::take(&mut node.ends);
        let parked = node.take_parked();
        if let Some(extras) = &mut node.extras {
            extras.offers = None;
        }
        self.snapshot.running -= 1;
        self.abandon_parked(parked, how);
        for end in ends.into_iter().flatten() {
            self.abandon(end, how);
        }
    }

    /// Starts the shutdown of a tower. A role without a tower stops at once.
    pub(super) fn leave(&mut self, tower: TowerId) {
        let now = self.local_now(tower);
        let node = self.node(tower);
        if node.is_leaving || node.is_paused() {
            return;
        }
        let Some(machine) = &mut node.machine else { return };
        let Some(machine) = machine.tower_mut() else {
            self.see(tower, Observed::Leaving);
            self.see_fault(Some(tower), Fault::Leave);
            return self.on_left(tower, 0);
        };
        machine.shutdown(now);
        node.is_leaving = true;
        self.see(tower, Observed::Leaving);
        self.see_fault(Some(tower), Fault::Leave);
        self.settle(tower);
    }

    /// Handles the end of a shutdown.
    pub(super) fn on_left(&mut self, tower: TowerId, undelivered: usize) {
        self.see(tower, Observed::Left { undelivered });
        self.remove(tower, CrashKind::Process);
    }

    /// Suspends a process. Overlapping pauses of a tower are joined.
    pub(super) fn pause(&mut self, tower: TowerId) {
        let node = self.node(tower);
        if node.machine.is_none() {
            return;
        }
        node.pauses += 1;
        if node.pauses > 1 {
            return;
        }
        self.see(tower, Observed::Paused);
        self.see_fault(Some(tower), Fault::Pause);
    }

    /// Ends a pause, and resumes the process if it was the last one.
    pub(super) fn resume(&mut self, tower: TowerId) {
        let now = self.now;
        let node = self.node(tower);
        let was_paused = node.is_paused();
        node.pauses = node.pauses.saturating_sub(1);
        if node.is_paused() || !was_paused {
            return;
        }
        let parked = node.take_parked();
        self.see(tower, Observed::Resumed);
        self.see_fault(Some(tower), Fault::Resume);
        for due in parked {
            self.event_queue.push(now, due);
        }
        self.arm(tower);
    }

    pub(super) fn change_clock(&mut self, tower: TowerId, step: i64, drift_ppm: i32) {
        let now = self.now;
        let clock = &mut self.node(tower).extras.get_or_insert_default().clock;
        clock.change(now, step, drift_ppm);
        self.see(tower, Observed::ClockChanged { step, drift_ppm });
        if step != 0 {
            self.see_fault(Some(tower), Fault::ClockStep);
        }
        if drift_ppm != 0 {
            self.see_fault(Some(tower), Fault::ClockDrift);
        }
        self.schedule_wakeup(tower);
    }

    /// Handles a wake-up of the event queue, which may be too early.
    pub(super) fn on_wake(&mut self, tower: TowerId) {
        let at = self.now;
        let node = self.node(tower);
        if node.armed != at {
            // An earlier wake-up was armed later and has done the work of this one.
            return;
        }
        node.armed = NEVER;
        if node.wakeup > at {
            return self.arm(tower);
        }
        if node.is_paused() {
            return;
        }
        let now = node.local_time(at);
        let Some(machine) = &mut node.machine else { return };
        machine.handle(Event::TimerFired, now);
        self.snapshot.events += 1;
        self.see(tower, Observed::TimerFired);
        self.settle(tower);
    }

    /// Schedules the next wake-up that a tower wants.
    pub(super) fn schedule_wakeup(&mut self, tower: TowerId) {
        let node = self.node(tower);
        let wakeup = node.machine.as_ref().and_then(Machine::next_wakeup);
        node.wakeup = wakeup.map_or(NEVER, |at| node.network_time(at));
        self.arm(tower);
    }

    /// Arms a wake-up in the event queue, unless one is armed that is early enough. A wake-up that
    /// is too early stays: removing it would cost more.
    fn arm(&mut self, tower: TowerId) {
        let now = self.now;
        let node = self.node(tower);
        if node.is_paused() || node.wakeup >= node.armed {
            return;
        }
        let at = node.wakeup.max(now);
        node.armed = at;
        self.event_queue.push(at, Due::Wake(tower));
    }
}

/// Churn: towers that come and go.
impl<M: StateMachine, W: NetworkObserver<M>> Network<M, W> {
    pub(super) fn begin_churn(&mut self) {
        let plan = Arc::clone(&self.plan);
        let Some(churn) = &plan.churn else { return };
        for tower in (0..plan.members).map(TowerId).filter(|tower| churn.towers.has(*tower)) {
            let mut draws = self.churn_draws(tower);
            let first = nanos(churn.session.sample(&mut draws));
            self.event_queue.push(churn.from.as_nanos().saturating_add(first), Due::Churn(tower));
        }
    }

    /// Handles the end of a session or of an absence.
    pub(super) fn on_churn(&mut self, tower: TowerId) {
        let plan = Arc::clone(&self.plan);
        let Some(churn) = &plan.churn else { return };
        let until = churn.until.as_nanos();
        let mut draws = self.churn_draws(tower);
        if self.node(tower).is_leaving {
            // The shutdown takes longer than the absence.
            self.crash(tower, CrashKind::Process);
        }
        let is_running = self.node(tower).machine.is_some();
        let mut next = if is_running {
            if self.now >= until {
                return;
            }
            if draws.chance(churn.graceful) {
                self.leave(tower);
            } else {
                self.crash(tower, CrashKind::Process);
            }
            // A tower that is absent when the churn ends returns then.
            let back = self.now.saturating_add(nanos(churn.absence.sample(&mut draws)));
            back.min(until.max(self.now + 1))
        } else {
            self.start(tower, churn.contacts);
            self.now.saturating_add(nanos(churn.session.sample(&mut draws)))
        };
        // A shutdown gets its time. A tower that has not left by then dies.
        if is_running && self.node(tower).is_leaving {
            let longest = nanos(plan.config.timeouts.shutdown + plan.config.timeouts.close * 2);
            next = next.max(self.now.saturating_add(longest));
        }
        self.event_queue.push(next, Due::Churn(tower));
    }

    /// Returns the random numbers of a session, which do not depend on earlier sessions.
    fn churn_draws(&mut self, tower: TowerId) -> RngStream {
        let session = self.node(tower).sessions;
        self.node(tower).sessions += 1;
        let subject = u64::from(tower.0) << 32 | u64::from(session);
        self.random.stream(Purpose::Churn, subject)
    }
}
