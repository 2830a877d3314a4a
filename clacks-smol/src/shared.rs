//! What a driver, its links and the application's handles share: the machine, its clock and the way out for its actions.

use clacks_proto::driver::{Errand, SharedMachine};
use clacks_proto::{
    Address, CloseMode, Event, Instant, LinkId, Message, Notice, OfferId, Report, ShutdownProgress,
    StateMachine,
};
use std::cell::OnceCell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use tracing::Level;

use crate::buffers::Buffers;
use crate::dial::Dialler;
use crate::link::{Orders, Post, Register};
use crate::notices::Board;
use crate::watched::Watched;

/// A tower and all that its tasks have in common.
///
/// Errands are fetched by the driver's own tasks alone, and these never run at the same time; so they are carried
/// out in the order in which the machine gave them.
pub(crate) struct Shared<M> {
    pub(crate) machine: SharedMachine<M>,
    pub(crate) local_addr: SocketAddr,
    pub(crate) links: Register,
    pub(crate) buffers: Buffers,
    pub(crate) dialler: Dialler,
    pub(crate) board: Board,
    /// What only the driver's main task can do.
    pub(crate) desk: Watched<Desk>,
    origin: std::time::Instant,
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

impl<M: StateMachine> Shared<M> {
    pub(crate) fn new(machine: M, local_addr: SocketAddr) -> Self {
        Self {
            machine: SharedMachine::new(machine),
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
        self.machine.call(|machine| call(machine, self.now()))
    }

    /// Carries out all errands that wait, and rings for the main task if there is something for it.
    pub(crate) fn pump(&self) {
        while let Some(errand) = self.next_errand() {
            match errand {
                Errand::Dial { link, address } => {
                    // In the register at once, so that an order to close finds the link even before it dials.
                    let orders = self.links.open(link);
                    self.assign(Chore::Dial { link, orders, address });
                }
                Errand::Send { link } => self.links.order(link, Orders::SEND),
                Errand::Close { link, how: CloseMode::Flush } => {
                    self.links.order(link, Orders::FLUSH);
                }
                Errand::Close { link, how: CloseMode::Abort } => {
                    self.links.order(link, Orders::CUT);
                }
                Errand::Screen { offer, message, from } => {
                    self.assign(Chore::Screen { offer, message, from });
                }
                Errand::Tell(report) => {
                    log(&report);
                    self.board.post(report);
                }
                _ => {}
            }
        }
        let (wakeup, done) = self.outlook();
        self.desk.change(|desk| (done || wakeup < desk.armed) && desk.ring());
    }

    /// Reports that nobody reads are not spelled out, unless they go to the log.
    fn next_errand(&self) -> Option<Errand> {
        // Asked once for all notices that are passed over: whoever reads from now on is told of what happens from now on.
        let has_readers = OnceCell::new();
        let has_readers = || *has_readers.get_or_init(|| self.board.has_readers());
        self.machine.next_errand(|notice| has_readers() || is_logged(notice))
    }

    /// When the machine wants its timer, and whether it has come to its end.
    pub(crate) fn outlook(&self) -> (Instant, bool) {
        let outlook = self.machine.outlook();
        (outlook.wakeup, outlook.progress == ShutdownProgress::Done)
    }

    fn assign(&self, chore: Chore) {
        self.desk.change(|desk| {
            desk.chores.push_back(chore);
            desk.ring()
        });
    }

    /// The driver is gone: lets go of the machine and of all that it holds.
    pub(crate) fn end(&self) {
        self.machine.end();
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
    pub(crate) fn ring(&mut self) -> bool {
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
