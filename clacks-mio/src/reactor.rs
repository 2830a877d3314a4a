//! The reactor: runs a tower on one thread.

use clacks_proto::driver::{
    ACCEPTS_PER_TURN, AcceptBackoff, CATCH_UP_TURNS, Handle, LINKS_PER_TURN, OVERDUE, Screen,
    Shared,
};
use clacks_proto::{
    Action, Address, Event, Host, Instant, IoCause, LinkId, Message, ShutdownProgress, Standing,
    StateMachine, Verdict,
};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
#[cfg(unix)]
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::links::Links;
use crate::resolver::Lookups;

/// The tokens of links are their indices.
const LISTENER: Token = Token(usize::MAX);
const WAKER: Token = Token(usize::MAX - 1);

/// The maximum number of events of a turn. The value is a guess. The next turn receives the others.
const EVENTS_PER_TURN: usize = 256;

/// Runs one tower: a state machine, a listener, and all connections.
///
/// Call [`new`](Self::new), optionally [`screen_with`](Self::screen_with), and then one of these:
///
/// - [`run`](Self::run) runs the tower on this thread until its shutdown is complete.
/// - [`turn`](Self::turn) does the work that is due and returns, for programs with their own loop.
///   Such a loop sleeps until the reactor's descriptor ([`AsFd`]) is readable, or
///   [`next_timeout`](Self::next_timeout) has passed.
///
/// The application uses the [`Handle`]. Dropping the reactor closes all sockets at once, without a
/// goodbye to peers.
pub struct Reactor<M: StateMachine + Send + 'static> {
    poll: Poll,
    events: Events,
    /// `None` after the end of the tower.
    acceptor: Option<Acceptor>,
    links: Links,
    lookups: Lookups,
    screen: Option<Screen>,
    /// The number of links that are served before the overdue timer fires. `None` if the timer is
    /// not overdue.
    catch_up: Option<usize>,
    waker: Arc<ReactorWaker>,
    shared: Arc<Shared<M>>,
}

impl<M: StateMachine + Send + 'static> Reactor<M> {
    /// Returns a reactor for `machine`, and the application's handle to it. The clock of the state
    /// machine starts now.
    ///
    /// The methods of the handle can be called at once. Their effects on peers begin when the
    /// reactor runs.
    ///
    /// # Errors
    ///
    /// Returns an error if the listener cannot be made non-blocking or has no address, or if no
    /// selector can be created.
    pub fn new(machine: M, listener: std::net::TcpListener) -> io::Result<(Handle<M>, Self)> {
        listener.set_nonblocking(true)?;
        let local_addr = listener.local_addr()?;
        let mut listener = TcpListener::from_std(listener);
        let poll = Poll::new()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let waker = Arc::new(ReactorWaker::new(Waker::new(poll.registry(), WAKER)?));
        let waking = waker.clone();
        let shared = Shared::new(machine, local_addr, move || waking.wake());
        let reactor = Self {
            poll,
            events: Events::with_capacity(EVENTS_PER_TURN),
            acceptor: Some(Acceptor::new(listener)),
            links: Links::default(),
            lookups: Lookups::new(waker.clone()),
            screen: None,
            catch_up: None,
            waker,
            shared: shared.clone(),
        };
        Ok((Handle::new(shared), reactor))
    }

    /// Calls `screen` with each message that a peer hands over, before the message is queued. This
    /// requires [`Config::screening`](clacks_proto::Config::screening). If screening is on and
    /// there is no function, each message waits for its timeout and gets the default verdict.
    ///
    /// The whole tower waits for the function, so it should be fast. No lock is held during the
    /// call. The function may use a [`Handle`], but must not block on a [`Wait`](crate::Wait) or on
    /// [`Notices`](crate::Notices).
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
    /// Returns an error if the operating system's selector fails. The reactor is dropped then.
    /// Other errors of the operating system do not end the tower.
    pub fn run(mut self) -> io::Result<()> {
        while self.turn(None)? != ShutdownProgress::Done {}
        Ok(())
    }

    /// Waits until there is work, does a limited part of it, and returns the progress of a
    /// shutdown. Waits no longer than `timeout`. `None` sets no limit. After
    /// [`Done`](ShutdownProgress::Done) all sockets are closed, and further turns do nothing.
    ///
    /// A turn may return without having done anything: after the timeout, [`Handle::wake`], a
    /// signal, or a spurious event of the operating system.
    ///
    /// # Errors
    ///
    /// Returns an error if the operating system's selector fails. The tower has not changed. Call
    /// the method again, or drop the reactor.
    pub fn turn(&mut self, timeout: Option<Duration>) -> io::Result<ShutdownProgress> {
        if self.acceptor.is_none() {
            return Ok(ShutdownProgress::Done);
        }
        self.wait(timeout.into_iter().chain(self.next_timeout()).min())?;
        // Clear before the actions are polled, so that no later wake-up is missed.
        self.waker.clear();
        self.take_events();
        self.execute_actions();
        self.continue_dials();
        self.accept();
        self.serve_links();
        self.fire_timer();
        let progress = self.shared.shutdown_progress();
        if progress == ShutdownProgress::Done {
            self.end();
        }
        Ok(progress)
    }

    /// Returns how long a loop may sleep before the next [`turn`](Self::turn) if the descriptor
    /// does not become readable. `None` means no limit. Call it again after each turn, and after
    /// each use of a handle on this thread. Handles on other threads make the descriptor readable.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Duration> {
        if self.links.have_work() {
            return Some(Duration::ZERO);
        }
        let accept = self.acceptor.as_ref().and_then(Acceptor::next_timeout);
        let own = accept.into_iter().chain(self.links.next_timeout()).min();
        let own = own.map(|at| at.saturating_duration_since(std::time::Instant::now()));
        let wakeup = self.shared.next_wakeup();
        let timer =
            (wakeup < Instant::FAR_FUTURE).then(|| wakeup.duration_since(self.shared.now()));
        own.into_iter().chain(timer).min()
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

    fn take_events(&mut self) {
        for event in &self.events {
            match (event.token(), &mut self.acceptor) {
                (LISTENER, Some(acceptor)) => acceptor.may_accept = true,
                (LISTENER | WAKER, _) => {}
                _ => self.links.on_event(event),
            }
        }
    }

    fn continue_dials(&mut self) {
        while let Some((link, addresses)) = self.lookups.poll() {
            self.links.on_resolved(link, addresses);
        }
        self.links.on_time(std::time::Instant::now());
    }

    fn accept(&mut self) {
        for _ in 0..ACCEPTS_PER_TURN {
            let accepted = self.acceptor.as_mut().map(Acceptor::accept);
            let (stream, from) = match accepted {
                Some(Accept::Connection(stream, from)) => (stream, from),
                Some(Accept::Failed(cause)) => {
                    self.shared.handle(Event::AcceptFailed { cause });
                    self.execute_actions();
                    return;
                }
                Some(Accept::None) | None => return,
            };
            if let Some(link) = self.shared.accept(from.ip())
                && let Err(error) = self.links.accept(link, stream, self.poll.registry())
            {
                self.shared.handle(Event::Lost { link, cause: IoCause::from(&error) });
            }
            self.execute_actions();
        }
    }

    fn serve_links(&mut self) {
        for _ in 0..LINKS_PER_TURN {
            if !self.links.serve_next(&self.shared, self.poll.registry()) {
                return;
            }
            self.catch_up = self.catch_up.map(|turns| turns.saturating_sub(1));
            self.execute_actions();
        }
    }

    /// Fires the timer if it is due. Before an overdue timer fires, links read the bytes that have
    /// arrived.
    fn fire_timer(&mut self) {
        let (now, wakeup) = (self.shared.now(), self.shared.next_wakeup());
        if wakeup > now {
            self.catch_up = None;
            return;
        }
        let is_overdue = now.duration_since(wakeup) > OVERDUE;
        match self.catch_up {
            None if is_overdue => self.catch_up = Some(self.links.read_all() * CATCH_UP_TURNS),
            Some(1..) if self.links.have_work() => {}
            _ => {
                self.catch_up = None;
                self.shared.handle(Event::TimerFired);
                self.execute_actions();
            }
        }
    }

    fn execute_actions(&mut self) {
        while let Some(action) = self.shared.poll_action() {
            match action {
                Action::Connect { link, address, except, standing } => {
                    self.dial(link, &address, except, standing);
                }
                Action::Send { link } => self.links.send(link),
                Action::Close { link, how, .. } => {
                    if let Some(event) = self.links.close(link, how) {
                        self.shared.handle(event);
                    }
                }
                Action::Screen { offer, message, from } => {
                    if let Some(screen) = &mut self.screen {
                        self.shared.decide(offer, screen(&message, from.as_ref()));
                    }
                }
                _ => {}
            }
        }
    }

    fn dial(&mut self, link: LinkId, address: &Address, except: Vec<IpAddr>, standing: Standing) {
        match address.host() {
            Host::Ip(ip) => self.links.dial(link, SocketAddr::new(ip, address.port().get())),
            Host::Name(name) => {
                let (name, port) = (name.clone(), address.port());
                let lookup = self.lookups.look_up(link, name, port, except, standing);
                self.links.add_resolving(link, Some(lookup));
            }
        }
    }

    /// Closes all sockets, and then ends the tower. All sockets are closed before the waits of
    /// handles end.
    fn end(&mut self) {
        self.links.clear();
        self.acceptor = None;
        self.shared.end();
    }
}

impl<M: StateMachine + Send + 'static> Drop for Reactor<M> {
    fn drop(&mut self) {
        self.end();
    }
}

/// The descriptor is readable when a [`turn`](Reactor::turn) has work. Use it only to wait in
/// another loop.
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
        let local_addr = self.shared.local_addr();
        f.debug_struct("Reactor").field("local_addr", &local_addr).finish_non_exhaustive()
    }
}

/// Accepts connections.
struct Acceptor {
    listener: TcpListener,
    /// The queue of the listener may contain a connection. The operating system reports only the
    /// first one.
    may_accept: bool,
    /// The time of the next attempt after an error.
    retry_at: std::time::Instant,
    backoff: AcceptBackoff,
}

impl Acceptor {
    fn new(listener: TcpListener) -> Self {
        let retry_at = std::time::Instant::now();
        Self { listener, may_accept: true, retry_at, backoff: AcceptBackoff::default() }
    }

    /// Returns when to call [`accept`](Self::accept). `None` if the operating system will report
    /// the next connection.
    fn next_timeout(&self) -> Option<std::time::Instant> {
        self.may_accept.then_some(self.retry_at)
    }

    /// Accepts the next connection if there is one.
    fn accept(&mut self) -> Accept {
        while self.may_accept && self.retry_at <= std::time::Instant::now() {
            match self.listener.accept() {
                Ok(accepted) => {
                    self.backoff.on_accepted();
                    return Accept::Connection(accepted.0, accepted.1);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.may_accept = false,
                Err(error) => {
                    let pause = self.backoff.on_error(&error);
                    self.retry_at = std::time::Instant::now() + pause;
                    if !pause.is_zero() {
                        return Accept::Failed(IoCause::from(&error));
                    }
                }
            }
        }
        Accept::None
    }
}

/// The result of an attempt to accept a connection.
enum Accept {
    Connection(TcpStream, SocketAddr),
    /// The operating system reported an error. The next attempt is made later.
    Failed(IoCause),
    /// No connection waits, or it is too early for an attempt.
    None,
}

/// Wakes the reactor from any thread.
#[derive(Debug)]
pub(crate) struct ReactorWaker {
    waker: Waker,
    /// The reactor was woken and has not cleared the wake-up.
    is_woken: AtomicBool,
}

impl ReactorWaker {
    pub(crate) fn new(waker: Waker) -> Self {
        Self { waker, is_woken: AtomicBool::new(false) }
    }

    /// Makes the reactor return from its current or next wait. Several calls before
    /// [`clear`](Self::clear) cost one system call.
    pub(crate) fn wake(&self) {
        if !self.is_woken.swap(true, Ordering::SeqCst)
            && let Err(error) = self.waker.wake()
        {
            // Lets the next call try again.
            self.is_woken.store(false, Ordering::SeqCst);
            tracing::warn!(%error, "cannot wake a reactor");
        }
    }

    fn clear(&self) {
        self.is_woken.store(false, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_os = "linux")]
    use crate::dial::tests::silent_address;
    #[cfg(target_os = "linux")]
    use clacks_proto::driver::Resolver;
    use clacks_proto::{Config, Seed, Tower};

    fn bind() -> std::net::TcpListener {
        std::net::TcpListener::bind("127.0.0.1:0").unwrap()
    }

    fn reactor() -> Reactor<Tower> {
        let listener = bind();
        let address = Address::try_from(listener.local_addr().unwrap()).unwrap();
        let mut config = Config::default();
        config.heartbeat = None;
        config.timeouts.handshake = Duration::from_secs(3_600);
        let tower = Tower::new(config, address, &Seed::from_u64(1)).unwrap();
        Reactor::new(tower, listener).unwrap().1
    }

    #[test]
    fn a_turn_serves_a_limited_number_of_links() {
        let mut reactor = reactor();
        let to = reactor.shared.local_addr();
        let connect = |_| std::net::TcpStream::connect(to).unwrap();
        let _callers: Vec<_> = (0..LINKS_PER_TURN + 1).map(connect).collect();
        while reactor.shared.call(|tower, _| tower.stats().links_accepted).unwrap() == 0 {
            reactor.turn(None).unwrap();
        }
        assert!(reactor.links.have_work(), "one turn served more links than the limit");
        assert_eq!(reactor.next_timeout(), Some(Duration::ZERO));
    }

    #[test]
    fn links_that_catch_up_have_a_limited_number_of_turns() {
        let mut reactor = reactor();
        reactor.catch_up = Some(2 * LINKS_PER_TURN);
        let to = reactor.shared.local_addr();
        let connect = |_| std::net::TcpStream::connect(to).unwrap();
        let _callers: Vec<_> = (0..LINKS_PER_TURN + 1).map(connect).collect();
        while !reactor.links.have_work() {
            reactor.take_events();
            reactor.accept();
        }
        reactor.serve_links();
        assert_eq!(reactor.catch_up, Some(LINKS_PER_TURN));
    }

    /// All addresses of 127.0.0.0/8 are those of the loopback interface on Linux.
    #[cfg(target_os = "linux")]
    #[test]
    fn the_next_address_of_a_name_is_dialled_if_a_stranger_answers_at_the_first_one() {
        let bind = |ip: &str| std::net::TcpListener::bind((ip, 0)).unwrap();
        let (stranger, other) = (bind("127.0.0.1"), bind("127.0.0.2"));
        let found = [&stranger, &other].map(|listener| listener.local_addr().unwrap());
        let mut reactor = reactor();
        reactor.lookups.set_resolver(Resolver::new(move |_, _| Ok(found.to_vec())));
        let name = Address::new("tower.example", 8001).unwrap();
        reactor.shared.call(|tower, now| tower.announce(&name, now)).unwrap().unwrap();
        let mut accept = |listener: &std::net::TcpListener| {
            listener.set_nonblocking(true).unwrap();
            let deadline = std::time::Instant::now() + Duration::from_secs(120);
            loop {
                reactor.turn(Some(Duration::from_millis(10))).unwrap();
                match listener.accept() {
                    Ok(accepted) => return accepted,
                    Err(_) => assert!(std::time::Instant::now() < deadline, "not dialled"),
                }
            }
        };
        drop(accept(&stranger));
        accept(&other);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_reactor_wakes_for_the_next_address_of_a_dial() {
        let mut reactor = reactor();
        let other = bind();
        let open = other.local_addr().unwrap();
        let link = reactor.shared.accept(open.ip()).unwrap();
        let (silent, _hold) = silent_address();
        reactor.links.add_resolving(link, None);
        reactor.links.on_resolved(link, Ok(vec![silent, open]));
        while reactor.links.next_timeout().is_none() {
            reactor.turn(Some(Duration::ZERO)).unwrap();
        }
        assert!(reactor.next_timeout().is_some_and(|timeout| timeout < Duration::from_secs(1)));
        other.set_nonblocking(true).unwrap();
        while other.accept().is_err() {
            reactor.turn(None).unwrap();
        }
    }
}
