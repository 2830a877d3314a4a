//! What a driver, its links and the application's handles share: the machine, its clock and the way out for its actions.

use clacks_proto::{
    Action, Address, CloseMode, Event, Instant, LinkId, Message, Notice, OfferId, Report,
    ShutdownProgress, StateMachine, Stats, Tower,
};
use std::collections::VecDeque;
use std::mem;
use std::net::SocketAddr;
use std::sync::Mutex;
use tracing::Level;

use crate::buffers::Buffers;
use crate::dial::Dialler;
use crate::link::{Orders, Post, Register};
use crate::notices::Board;
use crate::watched::{Watched, lock};

/// A tower and all that its tasks have in common.
///
/// The machine's lock is taken for one call at a time: never across an `await`, never while something blocks, never while the
/// application's code runs. Actions are polled by the driver's own tasks alone, and these never run at the same time;
/// so they are carried out in the order in which the machine gave them.
pub(crate) struct Shared<M> {
    pub(crate) local_addr: SocketAddr,
    pub(crate) links: Register,
    pub(crate) buffers: Buffers,
    pub(crate) dialler: Dialler,
    pub(crate) board: Board,
    /// What only the driver's main task can do.
    pub(crate) desk: Watched<Desk>,
    life: Mutex<Life<M>>,
    origin: std::time::Instant,
}

enum Life<M> {
    Running { machine: M, left: Option<usize> },
    Over(Remains),
}

/// What is known of a tower after its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Remains {
    pub(crate) stats: Stats,
    /// How many messages it still had, which are lost with it, and the bytes of their bodies.
    pub(crate) held: (usize, usize),
    /// How many messages no peer took.
    pub(crate) left: usize,
}

/// The main task's desk: what it must do, and until when it sleeps.
pub(crate) struct Desk {
    /// At most one dial for each link, and one offer for each message under screening: the machine bounds both.
    pub(crate) chores: VecDeque<Chore>,
    /// Something changed that the main task must look at.
    pub(crate) bell: bool,
    /// When the main task's timer will fire.
    pub(crate) armed: Instant,
}

/// What only the main task does, because it needs the executor or the application's own function.
pub(crate) enum Chore {
    Dial { link: LinkId, orders: Post, address: Option<Address> },
    Screen { offer: OfferId, message: Message, from: Option<Address> },
}

/// An action, with all that is needed to carry it out once the machine is unlocked.
enum Job {
    Order(LinkId, Orders),
    Dial(LinkId, Option<Address>),
    Screen(Chore),
    Tell(Report),
    Nothing,
}

impl<M: StateMachine> Shared<M> {
    pub(crate) fn new(machine: M, local_addr: SocketAddr) -> Self {
        Self {
            local_addr,
            links: Register::default(),
            buffers: Buffers::default(),
            dialler: Dialler::new(),
            board: Board::new(),
            desk: Watched::new(Desk {
                chores: VecDeque::new(),
                bell: false,
                armed: Instant::FAR_FUTURE,
            }),
            life: Mutex::new(Life::Running { machine, left: None }),
            origin: std::time::Instant::now(),
        }
    }

    /// The moment on the machine's clock, which reads zero when the driver is made.
    pub(crate) fn now(&self) -> Instant {
        Instant::from_nanos(u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// The machine's moment on the operating system's clock, if that can tell it.
    pub(crate) fn on_the_wall(&self, at: Instant) -> Option<std::time::Instant> {
        self.origin.checked_add(at.duration_since(Instant::ORIGIN))
    }

    /// Tells the machine what happened, and does what it asks for. For the driver's tasks.
    pub(crate) fn handle(&self, event: Event<'_>) {
        self.drive(|machine, now| machine.handle(event, now));
    }

    /// Calls the machine, and does what it asks for. For the driver's tasks.
    pub(crate) fn drive<R>(&self, call: impl FnOnce(&mut M, Instant) -> R) -> Option<R> {
        let answer = self.call(call);
        self.pump();
        answer
    }

    /// Calls the machine, unless it is gone. Somebody must [`pump`](Self::pump) soon.
    pub(crate) fn call<R>(&self, call: impl FnOnce(&mut M, Instant) -> R) -> Option<R> {
        let mut life = lock(&self.life);
        let now = self.now();
        match &mut *life {
            Life::Running { machine, .. } => Some(call(machine, now)),
            Life::Over(_) => None,
        }
    }

    /// Carries out all actions that wait, and rings for the main task if there is something for it.
    pub(crate) fn pump(&self) {
        while let Some(job) = self.next_job() {
            match job {
                Job::Order(link, order) => self.links.order(link, order),
                Job::Dial(link, address) => {
                    // In the register at once, so that an order to close finds the link even before it dials.
                    let orders = self.links.open(link);
                    self.assign(Chore::Dial { link, orders, address });
                }
                Job::Screen(chore) => self.assign(chore),
                Job::Tell(report) => {
                    log(&report);
                    self.board.post(report);
                }
                Job::Nothing => {}
            }
        }
        let (wakeup, done) = self.outlook();
        self.desk.change(|desk| (done || wakeup < desk.armed) && desk.ring());
    }

    fn assign(&self, chore: Chore) {
        self.desk.change(|desk| {
            desk.chores.push_back(chore);
            desk.ring()
        });
    }

    fn next_job(&self) -> Option<Job> {
        let mut life = lock(&self.life);
        let Life::Running { machine, left } = &mut *life else { return None };
        let action = machine.poll_action()?;
        let tower = machine.tower();
        let address = |peer| tower.peer(peer).map(|peer| peer.address.clone());
        Some(match action {
            Action::Connect { link, peer } => Job::Dial(link, address(peer)),
            Action::Send { link } => Job::Order(link, Orders::SEND),
            Action::Close { link, how: CloseMode::Flush, .. } => Job::Order(link, Orders::FLUSH),
            Action::Close { link, how: CloseMode::Abort, .. } => Job::Order(link, Orders::CUT),
            Action::Screen { offer, from } => match tower.offer(offer) {
                Some((_, message)) => {
                    Job::Screen(Chore::Screen { offer, message, from: from.and_then(address) })
                }
                None => Job::Nothing,
            },
            Action::Notify(notice) => {
                if let Notice::ShutDown { left: count } = notice {
                    *left = Some(count);
                }
                let wanted = self.board.has_readers() || is_logged(notice);
                wanted.then(|| tower.report(notice)).flatten().map_or(Job::Nothing, Job::Tell)
            }
            _ => Job::Nothing,
        })
    }

    /// When the machine wants its timer, and whether it has come to its end.
    pub(crate) fn outlook(&self) -> (Instant, bool) {
        match &*lock(&self.life) {
            Life::Running { machine, .. } => {
                let done = machine.tower().shutdown_progress() == ShutdownProgress::Done;
                let at = machine.next_wakeup().map_or(Instant::FAR_FUTURE, |wakeup| wakeup.at);
                (at, done)
            }
            Life::Over(_) => (Instant::FAR_FUTURE, true),
        }
    }

    /// Calls one of the tower's verbs, and leaves what it asks for to the driver. For the application.
    ///
    /// # Errors
    ///
    /// Gives the argument back when the driver is gone.
    pub(crate) fn command<A, R>(
        &self,
        argument: A,
        verb: impl FnOnce(&mut Tower, A, Instant) -> R,
    ) -> Result<R, A> {
        let answer = {
            let mut life = lock(&self.life);
            let now = self.now();
            match &mut *life {
                Life::Running { machine, .. } => verb(machine.tower_mut(), argument, now),
                Life::Over(_) => return Err(argument),
            }
        };
        self.desk.change(Desk::ring);
        Ok(answer)
    }

    /// Looks at the tower, or at what is left of it.
    pub(crate) fn view<R>(
        &self,
        look: impl FnOnce(&Tower) -> R,
        look_back: impl FnOnce(&Remains) -> R,
    ) -> R {
        match &*lock(&self.life) {
            Life::Running { machine, .. } => look(machine.tower()),
            Life::Over(remains) => look_back(remains),
        }
    }

    /// The driver is gone: lets go of the machine and of all that it holds.
    pub(crate) fn end(&self) {
        let ended = {
            let mut life = lock(&self.life);
            let Life::Running { machine, left } = &*life else { return };
            let tower = machine.tower();
            let held = tower.held();
            let remains = Remains { stats: *tower.stats(), held, left: left.unwrap_or(held.0) };
            mem::replace(&mut *life, Life::Over(remains))
        };
        drop(ended);
        self.links.clear();
        self.desk.change(|desk| {
            desk.chores.clear();
            true
        });
        self.board.close();
    }
}

impl Desk {
    /// Rings the bell; for the value of a [`Watched::change`].
    fn ring(&mut self) -> bool {
        self.bell = true;
        true
    }
}

/// Whether a notice goes to the log as well.
fn is_logged(notice: Notice) -> bool {
    match notice {
        Notice::KeyChanged { .. } => tracing::enabled!(Level::WARN),
        Notice::LinkClosed { .. } => tracing::enabled!(Level::DEBUG),
        _ => false,
    }
}

fn log(report: &Report) {
    match report {
        Report::KeyChanged { tower, seen } => {
            tracing::warn!(%tower, ?seen, "another key than the one pinned for this address");
        }
        Report::LinkClosed { tower, why } => {
            let tower = tower.as_ref().map(tracing::field::display);
            tracing::debug!(tower, %why, "link closed");
        }
        _ => {}
    }
}
