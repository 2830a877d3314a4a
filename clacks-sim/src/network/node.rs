//! The lives of towers: they come up, die, leave, are paused, and have clocks of their own.

use std::sync::Arc;

use clacks_proto::{Event, Instant, StateMachine};

use super::addresses::address_of;
use super::clock::Clock;
use super::connection::EndId;
use super::senders::Offered;
use super::{Due, Network, Observer, nanos};
use crate::observation::{Fault, Observed, TowerId};
use crate::plan::{ContactVerb, CrashKind, WithContacts};
use crate::rng::{Purpose, RngStream};

/// When nothing is to be done.
pub(super) const NEVER: u64 = u64::MAX;

/// The place of one tower, whether it lives or not.
pub(super) struct Node<M> {
    pub(super) machine: Option<M>,
    /// When it wants to be woken, in the world's time.
    pub(super) wanted: u64,
    /// When the event queue will ask: at that moment or before.
    pub(super) armed: u64,
    /// Its ends of connections, by the index of its links.
    pub(super) ends: Vec<Option<EndId>>,
    /// How often it has dialled in all its lives.
    pub(super) dials: u32,
    /// How often it has come up.
    pub(super) lives: u32,
    pub(super) is_paused: bool,
    pub(super) is_leaving: bool,
    /// Its machine is gone, and nobody says so.
    pub(super) is_unanswering: bool,
    /// The sessions and absences that it has had.
    sessions: u32,
    pub(super) clock: Option<Box<Clock>>,
    /// What arrived while it was paused.
    parked: Vec<Due>,
    /// What it has under screening.
    pub(super) offers: Vec<Offered>,
}

impl<M> Node<M> {
    pub(super) fn absent() -> Self {
        Self {
            machine: None,
            wanted: NEVER,
            armed: NEVER,
            ends: Vec::new(),
            dials: 0,
            lives: 0,
            is_paused: false,
            is_leaving: false,
            is_unanswering: false,
            sessions: 0,
            clock: None,
            parked: Vec::new(),
            offers: Vec::new(),
        }
    }

    /// What its clock says at a moment of the world.
    pub(super) fn clock(&self, at: u64) -> Instant {
        self.clock.as_ref().map_or(Instant::from_nanos(at), |clock| clock.says(at))
    }

    /// When its clock will say so much.
    pub(super) fn moment(&self, says: Instant) -> u64 {
        self.clock.as_ref().map_or(says.as_nanos(), |clock| clock.reaches(says))
    }

    pub(super) fn park(&mut self, due: Due) {
        self.parked.push(due);
    }
}

impl<M: StateMachine, W: Observer<M>> Network<M, W> {
    /// A tower comes up with nothing in its memory.
    pub(super) fn start(&mut self, tower: TowerId, contacts: WithContacts) {
        if self.node(tower).is_leaving {
            // It should be gone by now, and takes longer to leave than it may.
            self.crash(tower, CrashKind::Process);
        }
        if self.node(tower).machine.is_some() {
            return;
        }
        let life = self.node(tower).lives;
        let seed = self.random.tower_seed(tower.0, life);
        let Some(address) = address_of(tower) else { return };
        let Some(machine) = (self.make)(Arc::clone(&self.plan.config), address, &seed) else {
            return;
        };
        let node = self.node(tower);
        node.machine = Some(machine);
        node.lives += 1;
        node.is_unanswering = false;
        self.snapshot.running += 1;
        self.see(tower, Observed::Started { life });
        if life > 0 {
            self.see_fault(Some(tower), Fault::Restart);
        }
        if contacts == WithContacts::Told {
            let plan = Arc::clone(&self.plan);
            let now = self.local_now(tower);
            for contact in plan.contacts.of(tower) {
                let (Some(address), Some(machine)) =
                    (address_of(*contact), &mut self.nodes[tower.0 as usize].machine)
                else {
                    continue;
                };
                // A full table is the tower's own business.
                let _known = match plan.contacts.verb {
                    ContactVerb::Announce => machine.tower_mut().announce(&address, now),
                    ContactVerb::Expand => machine.tower_mut().expand(&address, now),
                };
            }
        }
        self.settle(tower);
    }

    /// A tower dies, and its queue with it.
    pub(super) fn crash(&mut self, tower: TowerId, how: CrashKind) {
        if self.node(tower).machine.is_none() {
            return;
        }
        self.see(tower, Observed::Crashed);
        self.see_fault(Some(tower), Fault::Crash);
        self.remove(tower, how);
    }

    /// Takes a tower out of the world, with all its ends of connections.
    pub(super) fn remove(&mut self, tower: TowerId, how: CrashKind) {
        let node = self.node(tower);
        node.machine = None;
        (node.wanted, node.is_paused, node.is_leaving) = (NEVER, false, false);
        node.is_unanswering = how == CrashKind::Machine;
        let ends = std::mem::take(&mut node.ends);
        let parked = std::mem::take(&mut node.parked);
        node.offers.clear();
        self.snapshot.running -= 1;
        self.abandon_parked(parked, how);
        for end in ends.into_iter().flatten() {
            self.abandon(end, how);
        }
    }

    /// A tower is asked to leave.
    pub(super) fn leave(&mut self, tower: TowerId) {
        let now = self.local_now(tower);
        let node = self.node(tower);
        if node.is_leaving || node.is_paused {
            return;
        }
        let Some(machine) = &mut node.machine else { return };
        machine.tower_mut().shutdown(now);
        node.is_leaving = true;
        self.see(tower, Observed::Leaving);
        self.see_fault(Some(tower), Fault::Leave);
        self.settle(tower);
    }

    /// A tower has said its last word.
    pub(super) fn on_left(&mut self, tower: TowerId, undelivered: usize) {
        self.see(tower, Observed::Left { undelivered });
        self.remove(tower, CrashKind::Process);
    }

    pub(super) fn pause(&mut self, tower: TowerId) {
        let node = self.node(tower);
        if node.machine.is_none() || node.is_paused {
            return;
        }
        node.is_paused = true;
        self.see(tower, Observed::Paused);
        self.see_fault(Some(tower), Fault::Pause);
    }

    pub(super) fn resume(&mut self, tower: TowerId) {
        let now = self.now;
        let node = self.node(tower);
        if !node.is_paused {
            return;
        }
        node.is_paused = false;
        let parked = std::mem::take(&mut node.parked);
        self.see(tower, Observed::Resumed);
        self.see_fault(Some(tower), Fault::Resume);
        for due in parked {
            self.event_queue.push(now, due);
        }
        self.arm(tower);
    }

    pub(super) fn change_clock(&mut self, tower: TowerId, step: i64, drift_ppm: i32) {
        let now = self.now;
        let node = self.node(tower);
        let before = node.clock.as_deref().copied().unwrap_or_default();
        let mut clock = before;
        clock.change(now, step, drift_ppm);
        node.clock = Some(Box::new(clock));
        self.see(tower, Observed::ClockChanged { step, drift_ppm });
        if step != 0 {
            self.see_fault(Some(tower), Fault::ClockStep);
        }
        if drift_ppm != 0 {
            self.see_fault(Some(tower), Fault::ClockDrift);
        }
        self.want(tower);
    }

    /// The event queue says that a tower may want to be woken.
    pub(super) fn on_wake(&mut self, tower: TowerId) {
        let at = self.now;
        let node = self.node(tower);
        if node.armed != at {
            // An earlier one was asked for since, and has done this one's work.
            return;
        }
        node.armed = NEVER;
        if node.wanted > at {
            return self.arm(tower);
        }
        if node.is_paused {
            return;
        }
        let now = node.clock(at);
        let Some(machine) = &mut node.machine else { return };
        machine.handle(Event::TimerFired, now);
        self.snapshot.events += 1;
        self.see(tower, Observed::TimerFired);
        self.settle(tower);
    }

    /// Asks a tower when it wants to be woken, and sees to it.
    pub(super) fn want(&mut self, tower: TowerId) {
        let node = self.node(tower);
        let wakeup = node.machine.as_ref().and_then(StateMachine::next_wakeup);
        node.wanted = wakeup.map_or(NEVER, |wakeup| node.moment(wakeup.at));
        self.arm(tower);
    }

    /// Sees to it that the event queue asks in time. One that asks too early is left to do so: taking it back would cost more.
    fn arm(&mut self, tower: TowerId) {
        let now = self.now;
        let node = self.node(tower);
        if node.is_paused || node.wanted >= node.armed {
            return;
        }
        let at = node.wanted.max(now);
        node.armed = at;
        self.event_queue.push(at, Due::Wake(tower));
    }
}

/// Towers that come and go by themselves.
impl<M: StateMachine, W: Observer<M>> Network<M, W> {
    pub(super) fn begin_churn(&mut self) {
        let plan = Arc::clone(&self.plan);
        let Some(churn) = &plan.churn else { return };
        for tower in (0..plan.towers).map(TowerId).filter(|tower| churn.towers.has(*tower)) {
            let mut draws = self.churn_draws(tower);
            let first = nanos(churn.session.sample(&mut draws));
            self.event_queue.push(churn.from.as_nanos().saturating_add(first), Due::Churn(tower));
        }
    }

    /// A session or an absence is over.
    pub(super) fn on_churn(&mut self, tower: TowerId) {
        let plan = Arc::clone(&self.plan);
        let Some(churn) = &plan.churn else { return };
        let until = churn.until.as_nanos();
        let mut draws = self.churn_draws(tower);
        if self.node(tower).is_leaving {
            // It should be back by now, and takes longer to leave than it may.
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
            // Whoever is away when the churn ends comes back then.
            let back = self.now.saturating_add(nanos(churn.absence.sample(&mut draws)));
            back.min(until.max(self.now + 1))
        } else {
            self.start(tower, churn.contacts);
            self.now.saturating_add(nanos(churn.session.sample(&mut draws)))
        };
        // It takes a while to leave: a tower that still does when it should be back, dies.
        if is_running && self.node(tower).is_leaving {
            let longest = nanos(plan.config.timeouts.shutdown + plan.config.timeouts.close * 2);
            next = next.max(self.now.saturating_add(longest));
        }
        self.event_queue.push(next, Due::Churn(tower));
    }

    fn churn_draws(&mut self, tower: TowerId) -> RngStream {
        let session = self.node(tower).sessions;
        self.node(tower).sessions += 1;
        // Every session has a stream of its own, however many numbers the one before took.
        let subject = u64::from(tower.0) << 32 | u64::from(session);
        self.random.stream(Purpose::Churn, subject)
    }
}
