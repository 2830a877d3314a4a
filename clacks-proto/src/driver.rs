//! For drivers: a state machine that several threads use, and that still has answers after its end.
//!
//! [`StateMachine`] is all that a driver needs. One whose application is on other threads needs three things more, and these are the
//! same on every runtime: a lock that is held for one call at a time ([`SharedMachine`]), actions that can be carried out
//! when the lock is open again ([`Errand`]), and the application's verbs without the machine's type ([`Verbs`]).
//! Still no clock, no socket and no thread: whoever calls says what time it is. And how a host with many addresses is dialled, which must not
//! depend on the runtime.

use alloc::vec::Vec;
use core::time::Duration;
use core::{fmt, mem};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::address::Address;
use crate::event::{Action, CloseMode, Notice, Report};
use crate::ids::{LinkId, OfferId, PeerId};
use crate::machine::StateMachine;
use crate::message::{Message, Nonce};
use crate::stats::Stats;
use crate::time::Instant;
use crate::tower::{
    EnqueueError, ExpandError, Held, Peer, PeerView, RefusedMessage, ShutdownProgress, Tower,
};

/// How long an address of a host may keep silent before the next one is tried as well: the machine's deadline is for all of them
/// together, and one that swallows what is sent to it must not use it up. Default from RFC 8305 §5.
pub const HEAD_START: Duration = Duration::from_millis(250);

/// The most addresses of one host that are tried. Whoever rules a name decides how many it has. A guess.
pub const MAX_ADDRESSES: usize = 16;

/// A state machine behind a lock, for as long as its driver lives; then what is left of it.
///
/// The driver: [`call`](Self::call) for every call of [`StateMachine`], [`next_errand`](Self::next_errand) until there are no more, sleep until
/// [`outlook`](Self::outlook), and [`end`](Self::end). Anyone: [`Verbs`].
///
/// The lock is held for one call at a time, and never while the application's code runs.
pub struct SharedMachine<M>(Mutex<Life<M>>);

enum Life<M> {
    Running { machine: M, left: Option<usize> },
    Over(Remains),
}

/// What is known of a tower after its end.
#[derive(Clone, Copy)]
struct Remains {
    stats: Stats,
    held: (usize, usize),
    left: usize,
}

/// An [`Action`] with everything spelled out, so that it can be carried out when the machine is free for others again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Errand {
    /// [`Action::Connect`].
    Dial {
        /// The link that the connection will be.
        link: LinkId,
        /// Whom to dial. `None` when the peer was forgotten meanwhile: the attempt has failed.
        address: Option<Address>,
    },
    /// [`Action::Send`].
    Send {
        /// The link.
        link: LinkId,
    },
    /// [`Action::Close`].
    Close {
        /// The link.
        link: LinkId,
        /// With what care.
        how: CloseMode,
    },
    /// [`Action::Screen`].
    Screen {
        /// What the verdict is about.
        offer: OfferId,
        /// The message.
        message: Message,
        /// Who handed it over, when that is known.
        from: Option<Address>,
    },
    /// [`Action::Notify`].
    Tell(Report),
}

/// What lies ahead of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outlook {
    /// When it wants its timer: [`Instant::FAR_FUTURE`] if never.
    pub wakeup: Instant,
    /// How far its shutdown has come. `Done` as well when the driver is gone.
    pub progress: ShutdownProgress,
}

impl<M: StateMachine> SharedMachine<M> {
    /// Puts the machine behind a lock.
    pub fn new(machine: M) -> Self {
        Self(Mutex::new(Life::Running { machine, left: None }))
    }

    /// Calls the machine; `None` after the end. The driver carries out the [errands](Self::next_errand) that follow from it.
    pub fn call<R>(&self, call: impl FnOnce(&mut M) -> R) -> Option<R> {
        match &mut *self.lock() {
            Life::Running { machine, .. } => Some(call(machine)),
            Life::Over(_) => None,
        }
    }

    /// The next thing to do, oldest first. Notices that nobody `wants` are passed over, and cost nothing.
    pub fn next_errand(&self, wants: impl Fn(Notice) -> bool) -> Option<Errand> {
        let mut life = self.lock();
        let Life::Running { machine, left } = &mut *life else { return None };
        loop {
            let action = machine.poll_action()?;
            if let Action::Notify(Notice::ShutDown { left: count }) = action {
                *left = Some(count);
            }
            if let Some(errand) = spelled_out(machine.tower(), action, &wants) {
                return Some(errand);
            }
        }
    }

    /// When the machine wants its timer, and whether it has come to its end.
    pub fn outlook(&self) -> Outlook {
        match &*self.lock() {
            Life::Running { machine, .. } => Outlook {
                wakeup: machine.next_wakeup().map_or(Instant::FAR_FUTURE, |wakeup| wakeup.at),
                progress: machine.tower().shutdown_progress(),
            },
            Life::Over(_) => {
                Outlook { wakeup: Instant::FAR_FUTURE, progress: ShutdownProgress::Done }
            }
        }
    }

    /// The driver goes: lets go of the machine and of all that it holds. Saying it again changes nothing.
    pub fn end(&self) {
        let ended = {
            let mut life = self.lock();
            let Life::Running { machine, left } = &*life else { return };
            let tower = machine.tower();
            let held = tower.held();
            let remains = Remains { stats: *tower.stats(), held, left: left.unwrap_or(held.0) };
            mem::replace(&mut *life, Life::Over(remains))
        };
        // Not under the lock: a machine may hold much.
        drop(ended);
    }

    fn command<A, R>(&self, argument: A, verb: impl FnOnce(&mut Tower, A) -> R) -> Result<R, A> {
        match &mut *self.lock() {
            Life::Running { machine, .. } => Ok(verb(machine.tower_mut(), argument)),
            Life::Over(_) => Err(argument),
        }
    }

    fn view<R>(&self, look: impl FnOnce(&Tower) -> R, look_back: impl FnOnce(&Remains) -> R) -> R {
        match &*self.lock() {
            Life::Running { machine, .. } => look(machine.tower()),
            Life::Over(remains) => look_back(remains),
        }
    }

    /// Poisoned or not: a panic elsewhere is a bug to be reported there, and must not spread.
    fn lock(&self) -> MutexGuard<'_, Life<M>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<M> fmt::Debug for SharedMachine<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedMachine").finish_non_exhaustive()
    }
}

fn spelled_out(tower: &Tower, action: Action, wants: impl Fn(Notice) -> bool) -> Option<Errand> {
    let address = |peer| tower.peer(peer).map(|peer| peer.address.clone());
    Some(match action {
        Action::Connect { link, peer } => Errand::Dial { link, address: address(peer) },
        Action::Send { link } => Errand::Send { link },
        Action::Close { link, how, .. } => Errand::Close { link, how },
        Action::Screen { offer, from } => {
            let (_, message) = tower.offer(offer)?;
            Errand::Screen { offer, message, from: from.and_then(address) }
        }
        Action::Notify(notice) if wants(notice) => Errand::Tell(tower.report(notice)?),
        Action::Notify(_) => return None,
    })
}

/// What an application says to a tower that a driver runs, on any thread and without the machine's type.
///
/// Nothing here waits. After a call that takes the time, wake the driver: the tower may have become busy. After the end verbs
/// refuse as in a shutdown, and getters answer for a tower with neither messages nor peers, except for [`stats`](Self::stats),
/// [`held`](Self::held) and [`left`](Self::left), which stay as they were.
pub trait Verbs: Send + Sync {
    /// See [`Tower::enqueue`].
    ///
    /// # Errors
    ///
    /// Gives the message back and says why; nothing was changed.
    fn enqueue(&self, message: Message, now: Instant) -> Result<Nonce, RefusedMessage>;

    /// See [`Tower::expand`].
    ///
    /// # Errors
    ///
    /// Says why not; nothing was changed.
    fn expand(&self, address: &Address, now: Instant) -> Result<(), ExpandError>;

    /// See [`Tower::announce`].
    ///
    /// # Errors
    ///
    /// Says why not; nothing was changed.
    fn announce(&self, address: &Address, now: Instant) -> Result<(), ExpandError>;

    /// See [`Tower::ignore`].
    ///
    /// # Errors
    ///
    /// Says why not; nothing was changed.
    fn ignore(&self, address: &Address, now: Instant) -> Result<(), ExpandError>;

    /// See [`Tower::heed`].
    fn heed(&self, address: &Address, now: Instant) -> bool;

    /// See [`Tower::shutdown`].
    fn shutdown(&self, now: Instant);

    /// See [`Tower::peek`].
    fn peek(&self) -> Vec<Held>;

    /// See [`Tower::survey`].
    fn survey(&self, now: Instant) -> Vec<Peer>;

    /// See [`Tower::stats`].
    fn stats(&self) -> Stats;

    /// See [`Tower::held`].
    fn held(&self) -> (usize, usize);

    /// After the end: how many messages no peer took. Until then: how many are held.
    fn left(&self) -> usize;
}

impl<M: StateMachine + Send> Verbs for SharedMachine<M> {
    fn enqueue(&self, message: Message, now: Instant) -> Result<Nonce, RefusedMessage> {
        self.command(message, |tower, message| tower.enqueue(message, now)).unwrap_or_else(
            |message| Err(RefusedMessage { message, why: EnqueueError::ShuttingDown }),
        )
    }

    fn expand(&self, address: &Address, now: Instant) -> Result<(), ExpandError> {
        known(self.command(address, |tower, address| tower.expand(address, now)))
    }

    fn announce(&self, address: &Address, now: Instant) -> Result<(), ExpandError> {
        known(self.command(address, |tower, address| tower.announce(address, now)))
    }

    fn ignore(&self, address: &Address, now: Instant) -> Result<(), ExpandError> {
        known(self.command(address, |tower, address| tower.ignore(address, now)))
    }

    fn heed(&self, address: &Address, now: Instant) -> bool {
        self.command(address, |tower, address| tower.heed(address, now)).unwrap_or(false)
    }

    fn shutdown(&self, now: Instant) {
        // A tower that is gone has shut down.
        let _ = self.command((), |tower, ()| tower.shutdown(now));
    }

    fn peek(&self) -> Vec<Held> {
        self.view(|tower| tower.peek().collect(), |_| Vec::new())
    }

    fn survey(&self, now: Instant) -> Vec<Peer> {
        let peer = |peer: PeerView<'_>| peer.to_peer(now);
        self.view(|tower| tower.survey().map(peer).collect(), |_| Vec::new())
    }

    fn stats(&self) -> Stats {
        self.view(|tower| *tower.stats(), |remains| remains.stats)
    }

    fn held(&self) -> (usize, usize) {
        self.view(Tower::held, |remains| remains.held)
    }

    fn left(&self) -> usize {
        self.view(|tower| tower.held().0, |remains| remains.left)
    }
}

/// The answer of a verb about a peer; the application has no use for the peer's id.
fn known(answer: Result<Result<PeerId, ExpandError>, &Address>) -> Result<(), ExpandError> {
    answer.unwrap_or(Err(ExpandError::ShuttingDown)).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::event::{Event, Origin, Status};
    use crate::seed::Seed;

    const NOW: Instant = Instant::ORIGIN;

    fn shared() -> SharedMachine<Tower> {
        let address = Address::new("127.0.0.1", 8001).unwrap();
        let tower = Tower::new(Config::default(), address, &Seed::from_u64(1)).unwrap();
        SharedMachine::new(tower)
    }

    fn peer() -> Address {
        Address::new("127.0.0.1", 8002).unwrap()
    }

    #[test]
    fn errands_come_in_order_and_unwanted_notices_do_not() {
        let shared = shared();
        let nonce = shared.enqueue(Message::text("abc"), NOW).unwrap();
        shared.announce(&peer(), NOW).unwrap();
        let origin = Origin::Local;
        assert_eq!(
            shared.next_errand(|_| true),
            Some(Errand::Tell(Report::MessageQueued { nonce, origin }))
        );
        // The discovery is passed over.
        let Some(Errand::Dial { link, address }) = shared.next_errand(|_| false) else {
            panic!("no dial")
        };
        assert_eq!(address, Some(peer()));
        shared.call(|machine| machine.handle(Event::Connected { link }, NOW)).unwrap();
        assert_eq!(shared.next_errand(|_| true), Some(Errand::Send { link }));
        assert_eq!(shared.next_errand(|_| true), None);
    }

    #[test]
    fn a_survey_tells_for_how_long() {
        let shared = shared();
        shared.expand(&peer(), NOW).unwrap();
        let later = NOW + Duration::from_secs(3);
        let seen = shared.survey(later);
        assert_eq!(
            (&seen[0].address, seen[0].status, seen[0].since),
            (&peer(), Status::New, Duration::from_secs(3))
        );
    }

    #[test]
    fn after_the_end_counters_stay_and_verbs_refuse() {
        let shared = shared();
        shared.enqueue(Message::text("abc"), NOW).unwrap();
        assert_eq!(shared.outlook().progress, ShutdownProgress::Running);
        shared.end();
        shared.end();
        assert_eq!((shared.held(), shared.left(), shared.stats().enqueued), ((1, 3), 1, 1));
        assert_eq!(
            shared.outlook(),
            Outlook { wakeup: Instant::FAR_FUTURE, progress: ShutdownProgress::Done }
        );
        assert_eq!(shared.expand(&peer(), NOW), Err(ExpandError::ShuttingDown));
        assert!(shared.call(|_| ()).is_none() && shared.next_errand(|_| true).is_none());
        assert!(shared.peek().is_empty() && shared.survey(NOW).is_empty());
        assert!(!shared.heed(&peer(), NOW));
        shared.shutdown(NOW);
        let refused = shared.enqueue(Message::text("late"), NOW).unwrap_err();
        assert_eq!(refused.why, EnqueueError::ShuttingDown);
    }

    #[test]
    fn what_no_peer_took_is_counted_even_if_the_notice_is_unwanted() {
        let shared = shared();
        shared.enqueue(Message::text("abc"), NOW).unwrap();
        shared.shutdown(NOW);
        assert_eq!(shared.next_errand(|_| false), None);
        assert_eq!(shared.outlook().progress, ShutdownProgress::Done);
        shared.end();
        assert_eq!(shared.left(), 1);
    }

    #[test]
    fn a_panic_elsewhere_does_not_spread() {
        let shared = shared();
        std::thread::scope(|scope| {
            let caller = scope.spawn(|| shared.call(|_| panic!("on purpose")));
            assert!(caller.join().is_err());
        });
        assert_eq!(shared.held(), (0, 0));
    }
}
