//! The reactor: one thread that does all for a tower.

use clacks_proto::driver::{Errand, SharedMachine};
use clacks_proto::{
    Address, CloseMode, Event, Host, Instant, IoCause, LinkId, Message, Notice, OfferId, Report,
    ShutdownProgress, StateMachine, Verdict,
};
use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token, Waker};
use std::cell::OnceCell;
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
#[cfg(unix)]
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use crate::buffers::Buffers;
use crate::desk::Desk;
use crate::door::Door;
use crate::handle::Handle;
use crate::links::Links;
use crate::names::Names;

/// Links have their index for a token.
const DOOR: Token = Token(usize::MAX);
const BELL: Token = Token(usize::MAX - 1);

/// How much news is taken in at a time; the rest comes with the next turn.
const EVENTS_PER_TURN: usize = 256;

/// How many connections are accepted before the links have their turn.
const ACCEPTS_PER_TURN: usize = 32;

/// How many links have their turn before timers, verbs and new connections have theirs.
const LINKS_PER_TURN: usize = 8;

/// Looks at a message, and at the peer who brought it when it is known, before the message is queued.
type Screen = Box<dyn FnMut(&Message, Option<&Address>) -> Verdict + Send>;

/// Runs one tower: a state machine, a listening socket, and all the connections between them and the world.
///
/// In the order of use: [`new`](Self::new), perhaps [`screen_with`](Self::screen_with), and then one of two ways to live:
///
/// - [`run`](Self::run) gives the thread to the tower until its shutdown is complete.
/// - [`turn`](Self::turn) does what there is to do and comes back, for programs with a loop of their own. Such a loop sleeps until the reactor's descriptor
///   ([`AsFd`]) is readable, or [`next_timeout`](Self::next_timeout) is over.
///
/// All else is said to the [`Handle`]. Dropping the reactor is an abrupt death: all sockets close at once, nobody is told.
pub struct Reactor<M: StateMachine + Send + 'static> {
    poll: Poll,
    events: Events,
    /// Closed for ever at the end.
    door: Option<Door>,
    links: Links,
    names: Names,
    buffers: Buffers,
    screen: Option<Screen>,
    core: Core<M>,
}

/// The machine and its clock.
pub(crate) struct Core<M> {
    machine: Arc<SharedMachine<M>>,
    desk: Arc<Desk>,
}

impl<M: StateMachine> Core<M> {
    pub(crate) fn new(machine: M, desk: Arc<Desk>) -> Self {
        Self { machine: Arc::new(SharedMachine::new(machine)), desk }
    }

    pub(crate) fn now(&self) -> Instant {
        self.desk.now()
    }

    /// Tells the machine what happened.
    pub(crate) fn handle(&self, event: Event<'_>) {
        self.call(|machine, now| machine.handle(event, now));
    }

    /// Calls the machine, unless it is gone. What it asks for is done when the one who called has finished.
    pub(crate) fn call<R>(&self, call: impl FnOnce(&mut M, Instant) -> R) -> Option<R> {
        self.machine.call(|machine| call(machine, self.now()))
    }

    /// Reports that nobody reads are not spelled out, unless they go to the log.
    fn next_errand(&self) -> Option<Errand> {
        let is_logged =
            |notice| matches!(notice, Notice::KeyChanged { .. } | Notice::LinkClosed { .. });
        // Asked once for all notices that are passed over: whoever reads from now on is told of what happens from now on.
        let has_readers = OnceCell::new();
        let has_readers = || *has_readers.get_or_init(|| self.desk.board.has_readers());
        self.machine.next_errand(|notice| is_logged(notice) || has_readers())
    }
}

impl<M: StateMachine + Send + 'static> Reactor<M> {
    /// A reactor for `machine`, and the application's handle to it. The machine's clock starts now.
    ///
    /// Verbs work at once; what they ask for happens when the reactor runs.
    ///
    /// # Errors
    ///
    /// When the operating system does not let `listener` become non-blocking or tell its address, or has no selector to spare.
    pub fn new(machine: M, listener: std::net::TcpListener) -> io::Result<(Handle, Self)> {
        listener.set_nonblocking(true)?;
        let local_addr = listener.local_addr()?;
        let mut listener = TcpListener::from_std(listener);
        let poll = Poll::new()?;
        poll.registry().register(&mut listener, DOOR, Interest::READABLE)?;
        let desk = Arc::new(Desk::new(local_addr, Waker::new(poll.registry(), BELL)?));
        let core = Core::new(machine, desk.clone());
        let handle = Handle::new(core.machine.clone(), desk.clone());
        let reactor = Self {
            poll,
            events: Events::with_capacity(EVENTS_PER_TURN),
            door: Some(Door::new(listener)),
            links: Links::default(),
            names: Names::new(desk),
            buffers: Buffers::new(),
            screen: None,
            core,
        };
        Ok((handle, reactor))
    }

    /// Has `screen` look at each message from a peer before it is queued. Needs [`Config::screening`](clacks_proto::Config::screening); when that
    /// is on and there is no such function, every message waits for its time-out and has the default verdict.
    ///
    /// The function is called outside of any lock and may use a [`Handle`], except for [`Handle::shutdown`], which would wait for itself. The whole tower
    /// waits for it, so it should be quick.
    #[must_use]
    pub fn screen_with(
        mut self,
        screen: impl FnMut(&Message, Option<&Address>) -> Verdict + Send + 'static,
    ) -> Self {
        self.screen = Some(Box::new(screen));
        self
    }

    /// Runs the tower on this thread until its shutdown is complete.
    ///
    /// # Errors
    ///
    /// When the operating system's selector fails; the tower then dies abruptly. Nothing else that the operating system or a peer does ends it.
    pub fn run(mut self) -> io::Result<()> {
        while self.turn(None)? != ShutdownProgress::Done {}
        Ok(())
    }

    /// Waits until there is something to do, but no longer than `timeout` (`None`: as long as it takes), does a fair share of it, and tells
    /// how far a shutdown has come. After [`Done`](ShutdownProgress::Done) all sockets are closed, and there is no need to come again.
    ///
    /// May come back with nothing done: because of the time-out, [`Handle::wake`], a signal, or false news from the operating system.
    ///
    /// # Errors
    ///
    /// When the operating system's selector fails. The tower is as it was: come again, or drop the reactor.
    pub fn turn(&mut self, timeout: Option<Duration>) -> io::Result<ShutdownProgress> {
        if self.core.desk.is_over() {
            return Ok(ShutdownProgress::Done);
        }
        let needed = self.next_timeout();
        self.wait(timeout.into_iter().chain(needed).min())?;
        // Before anything is looked at: who rings from now on may have come too late for it.
        self.core.desk.answer_bell();
        self.take_news();
        self.fire_timer();
        self.carry_on_dials();
        self.admit();
        self.serve_links();
        let progress = self.core.machine.outlook().progress;
        if progress == ShutdownProgress::Done {
            // A shutdown may have been asked for, and been complete, a moment ago: its notice is still to be told.
            self.pump();
            self.end();
        }
        Ok(progress)
    }

    /// How long a loop may sleep before the next [`turn`](Self::turn) when the descriptor stays silent; `None` for ever. Ask again after every turn and
    /// after every verb that was said on this thread; verbs on other threads make the descriptor readable.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Duration> {
        if self.links.have_work() {
            return Some(Duration::ZERO);
        }
        let door = self.door.as_ref().and_then(Door::due);
        let own = door.into_iter().chain(self.links.due()).min();
        let next = own.unwrap_or(Instant::FAR_FUTURE).min(self.core.machine.outlook().wakeup);
        (next < Instant::FAR_FUTURE).then(|| next.duration_since(self.core.now()))
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {
                self.events.clear();
                Ok(())
            }
            waited => waited,
        }
    }

    fn take_news(&mut self) {
        let Self { events, door, links, .. } = self;
        for event in &*events {
            match (event.token(), &mut *door) {
                (DOOR, Some(door)) => door.on_ready(),
                (DOOR | BELL, _) => {}
                _ => links.on_event(event),
            }
        }
    }

    /// The clock is read at every turn, whatever ended the wait.
    fn fire_timer(&mut self) {
        self.pump();
        if self.core.machine.outlook().wakeup <= self.core.now() {
            self.core.handle(Event::TimerFired);
            self.pump();
        }
    }

    fn carry_on_dials(&mut self) {
        for answer in self.names.take_answers() {
            self.links.resolved(answer.link, answer.found);
        }
        self.links.on_time(self.core.now());
    }

    /// Asks the machine before anything is spent on a connection. A refused one is dropped.
    fn admit(&mut self) {
        for _ in 0..ACCEPTS_PER_TURN {
            let now = self.core.now();
            let accepted = self.door.as_mut().and_then(|door| door.accept(now));
            let Some((stream, from)) = accepted else { return };
            match self.core.call(|machine, now| machine.accept(from, now)) {
                Some(Ok(link)) => {
                    tracing::debug!(%from, "link accepted");
                    if let Err(error) = self.links.open(link, stream, self.poll.registry()) {
                        self.core.handle(Event::Lost { link, cause: IoCause::from(&error) });
                    }
                }
                Some(Err(refusal)) => tracing::debug!(%from, %refusal, "connection refused"),
                None => {}
            }
            self.pump();
        }
    }

    fn serve_links(&mut self) {
        for _ in 0..LINKS_PER_TURN {
            let Self { links, core, names, buffers, poll, .. } = self;
            if !links.serve_next(core, names, buffers, poll.registry()) {
                return;
            }
            self.pump();
        }
    }

    /// Carries out all errands that wait. Those of links are only noted: each link has them in its turn.
    fn pump(&mut self) {
        while let Some(errand) = self.core.next_errand() {
            match errand {
                Errand::Dial { link, address } => self.dial(link, address.as_ref()),
                Errand::Send { link } => self.links.order(link, |orders| orders.send = true),
                Errand::Close { link, how: CloseMode::Flush } => {
                    self.links.order(link, |orders| orders.flush = true);
                }
                Errand::Close { link, how: CloseMode::Abort } => {
                    self.links.order(link, |orders| orders.cut = true);
                }
                Errand::Screen { offer, message, from } => {
                    self.judge(offer, &message, from.as_ref());
                }
                Errand::Tell(report) => {
                    log(&report);
                    self.core.desk.board.post(&report);
                }
                _ => {}
            }
        }
    }

    fn dial(&mut self, link: LinkId, address: Option<&Address>) {
        let Some(address) = address else {
            self.links.dial(link, Vec::new(), IoCause::Other);
            return;
        };
        let port = address.port().get();
        match address.host() {
            Host::Ip(ip) => {
                self.links.dial(link, vec![SocketAddr::new(ip, port)], IoCause::Other);
            }
            Host::Name(name) => {
                self.links.resolve(link);
                self.names.look_up(link, name.clone(), port);
            }
        }
    }

    fn judge(&mut self, offer: OfferId, message: &Message, from: Option<&Address>) {
        let Some(screen) = &mut self.screen else { return };
        let verdict = screen(message, from);
        let decided =
            self.core.call(|machine, now| machine.tower_mut().decide(offer, verdict, now));
        if let Some(Err(error)) = decided {
            tracing::debug!(%error, "a verdict could not be carried out");
        }
    }

    /// Closes all sockets, and then tells that it is over.
    fn end(&mut self) {
        self.links.clear();
        self.door = None;
        self.core.machine.end();
        self.core.desk.end();
    }
}

impl<M: StateMachine + Send + 'static> Drop for Reactor<M> {
    fn drop(&mut self) {
        self.end();
    }
}

/// Readable when a [`turn`](Reactor::turn) has something to do. For other loops to wait on; nothing else may be done with it.
#[cfg(unix)]
impl<M: StateMachine + Send + 'static> AsFd for Reactor<M> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poll.registry().as_fd()
    }
}

/// See [`AsFd`].
#[cfg(unix)]
impl<M: StateMachine + Send + 'static> AsRawFd for Reactor<M> {
    fn as_raw_fd(&self) -> RawFd {
        self.poll.as_raw_fd()
    }
}

impl<M: StateMachine + Send + 'static> fmt::Debug for Reactor<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let local_addr = self.core.desk.local_addr;
        f.debug_struct("Reactor").field("local_addr", &local_addr).finish_non_exhaustive()
    }
}

fn log(report: &Report) {
    match report {
        Report::KeyChanged { tower, seen } => {
            tracing::warn!(%tower, ?seen, "another key than the one pinned for this address");
        }
        Report::LinkClosed { tower, why } => tracing::debug!(?tower, %why, "link closed"),
        _ => {}
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::dial::tests::silence;
    use clacks_proto::driver::HEAD_START;
    use clacks_proto::{Config, Seed, Tower};

    #[test]
    fn a_reactor_wakes_for_the_next_address() {
        let bind = || std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (own, other) = (bind(), bind());
        let address = Address::try_from(own.local_addr().unwrap()).unwrap();
        let mut config = Config::default();
        config.heartbeat = None;
        config.timeouts.handshake = Duration::from_secs(3_600);
        let tower = Tower::new(config, address, &Seed::from_u64(1)).unwrap();
        let (_handle, mut reactor) = Reactor::new(tower, own).unwrap();
        let here = other.local_addr().unwrap();
        let link = reactor.core.call(|machine, now| machine.accept(here.ip(), now)).unwrap();
        let (silent, _hold) = silence();
        reactor.links.dial(link.unwrap(), vec![silent, here], IoCause::Other);
        reactor.turn(Some(Duration::ZERO)).unwrap();
        while reactor.links.have_work() {
            reactor.turn(Some(Duration::ZERO)).unwrap();
        }
        assert!(reactor.next_timeout().is_some_and(|timeout| timeout <= HEAD_START));
        other.set_nonblocking(true).unwrap();
        while other.accept().is_err() {
            reactor.turn(None).unwrap();
        }
    }
}
