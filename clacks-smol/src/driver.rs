//! The driver: the main task of a tower.

use clacks_proto::driver::{
    ACCEPTS_PER_TURN, AcceptBackoff, CATCH_UP_TURNS, Handle, LINKS_PER_TURN, OVERDUE, Resolver,
    Screen, Shared,
};
use clacks_proto::{
    Action, Address, CloseMode, Event, Instant, IoCause, LinkId, Message, ShutdownProgress,
    StateMachine, Verdict,
};
use smol::{Async, Executor, Timer, future};
use std::collections::HashMap;
use std::fmt;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use crate::dial::Target;
use crate::link::{ABORT, FLUSH, Link, READ, SEND};
use crate::signal::Signal;

/// Runs one tower: a state machine, a listener, and all connections.
///
/// Call [`new`](Self::new), optionally [`screen_with`](Self::screen_with), and then
/// [`run`](Self::run), which returns the future that runs the tower. The application uses the
/// [`Handle`].
pub struct Driver<M: StateMachine + Send + 'static> {
    listener: TcpListener,
    screen: Option<Screen>,
    tower: Running<M>,
}

/// Ends the tower when it is dropped.
struct Running<M: StateMachine>(Arc<Core<M>>);

impl<M: StateMachine> Drop for Running<M> {
    fn drop(&mut self) {
        self.0.shared.end();
    }
}

impl<M: StateMachine + Send + 'static> Driver<M> {
    /// Returns a driver for `machine`, and the application's handle to it. The clock of the state
    /// machine starts now.
    ///
    /// The methods of the handle can be called at once. Their effects on peers begin when the
    /// driver runs.
    ///
    /// # Errors
    ///
    /// Returns an error if the listener cannot be made non-blocking or has no address.
    pub fn new(machine: M, listener: TcpListener) -> io::Result<(Handle<M>, Self)> {
        listener.set_nonblocking(true)?;
        let wake = Arc::new(Signal::default());
        let waking = wake.clone();
        let shared = Shared::new(machine, listener.local_addr()?, move || waking.set(WAKE));
        let handle = Handle::new(shared.clone());
        let resolver = Resolver::default();
        let core = Core { shared, wake, links: Mutex::default(), resolver };
        Ok((handle, Self { listener, screen: None, tower: Running(Arc::new(core)) }))
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

    /// Runs the tower until its shutdown is complete.
    ///
    /// Any executor can run the future. The tasks of the tower run on another executor, inside the
    /// future. Dropping the future closes all sockets at once, without a goodbye to peers.
    ///
    /// # Errors
    ///
    /// Returns an error if the listener cannot be registered with the reactor. Later errors of the
    /// operating system do not end the tower.
    pub async fn run(self) -> io::Result<()> {
        let Self { listener, screen, tower } = self;
        let listener = Async::new_nonblocking(listener)?;
        // Dropped before `tower`: all sockets are closed before the waits of handles end.
        let executor = Executor::new();
        let tasks = Tasks { core: &tower.0, executor: &executor };
        future::or(tasks.work(screen), tasks.accept(&listener)).await;
        Ok(())
    }
}

impl<M: StateMachine + Send + 'static> fmt::Debug for Driver<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let local_addr = self.tower.0.shared.local_addr();
        f.debug_struct("Driver").field("local_addr", &local_addr).finish_non_exhaustive()
    }
}

/// The main task must execute actions.
const WAKE: u8 = 1;

/// The state that the tasks of a tower share.
pub(crate) struct Core<M> {
    pub(crate) shared: Arc<Shared<M>>,
    pub(crate) resolver: Resolver,
    /// Wakes the main task.
    wake: Arc<Signal>,
    /// The commands for each link that has not ended.
    links: Mutex<HashMap<LinkId, Arc<Signal>>>,
}

impl<M: StateMachine> Core<M> {
    /// Passes the terminal event of a link to the state machine.
    pub(crate) fn end_link(&self, link: LinkId, event: Event<'_>) {
        self.links().remove(&link);
        self.shared.handle(event);
    }

    fn add_link(self: &Arc<Self>, link: LinkId) -> Link<M> {
        let commands = Arc::new(Signal::default());
        self.links().insert(link, commands.clone());
        Link::new(self.clone(), link, commands)
    }

    fn command(&self, link: LinkId, command: u8) {
        if let Some(commands) = self.links().get(&link) {
            commands.set(command);
        }
    }

    fn links(&self) -> MutexGuard<'_, HashMap<LinkId, Arc<Signal>>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The main task. It runs the tasks of links on the executor.
struct Tasks<'a, M> {
    core: &'a Arc<Core<M>>,
    executor: &'a Executor<'static>,
}

impl<M: StateMachine + Send + 'static> Tasks<'_, M> {
    /// Runs the links, executes the actions of the state machine, and fires its timer, until a
    /// shutdown is complete.
    async fn work(&self, mut screen: Option<Screen>) {
        let shared = &self.core.shared;
        let (mut timer, mut armed) = (Timer::never(), Instant::FAR_FUTURE);
        loop {
            for _ in 0..LINKS_PER_TURN {
                self.execute_actions(&mut screen);
                if self.fire_timer().await {
                    self.execute_actions(&mut screen);
                    armed = Instant::FAR_FUTURE;
                }
                if shared.shutdown_progress() == ShutdownProgress::Done {
                    return;
                }
                let wakeup = shared.next_wakeup();
                if armed != wakeup {
                    armed = wakeup;
                    timer = shared.to_std(wakeup).map_or_else(Timer::never, Timer::at);
                }
                // Links come first: the timer may always be due, and handles may be used all the
                // time. Both are checked above after each wait.
                let timeout = async { _ = (&mut timer).await };
                future::or(self.executor.tick(), future::or(self.woken(), timeout)).await;
            }
            // Lets this thread accept connections and run other tasks.
            future::yield_now().await;
        }
    }

    /// Fires the timer if it is due. Returns whether it was due. Before an overdue timer fires,
    /// links read the bytes that have arrived.
    async fn fire_timer(&self) -> bool {
        let shared = &self.core.shared;
        let (now, wakeup) = (shared.now(), shared.next_wakeup());
        if wakeup > now {
            return false;
        }
        if now.duration_since(wakeup) > OVERDUE {
            self.catch_up().await;
        }
        shared.handle(Event::TimerFired);
        true
    }

    /// Waits until a handle was used or a connection was accepted.
    async fn woken(&self) {
        poll_fn(|context| match self.core.wake.take(context) {
            0 => Poll::Pending,
            _ => Poll::Ready(()),
        })
        .await;
    }

    /// Lets links read the bytes that have arrived, even if the reactor has not reported them.
    async fn catch_up(&self) {
        let links: Vec<_> = self.core.links().values().cloned().collect();
        links.iter().for_each(|commands| commands.set(READ));
        for turn in 1..=links.len() * CATCH_UP_TURNS {
            if !self.executor.try_tick() {
                break;
            }
            if turn % LINKS_PER_TURN == 0 {
                future::yield_now().await;
            }
        }
    }

    fn execute_actions(&self, screen: &mut Option<Screen>) {
        while let Some(action) = self.core.shared.poll_action() {
            match action {
                Action::Connect { link, address, except, standing } => {
                    let target = Target { address, except, standing };
                    self.executor.spawn(self.core.add_link(link).dial(target)).detach();
                }
                Action::Send { link } => self.core.command(link, SEND),
                Action::Close { link, how: CloseMode::Flush, .. } => self.core.command(link, FLUSH),
                Action::Close { link, how: CloseMode::Abort, .. } => self.core.command(link, ABORT),
                Action::Screen { offer, message, from } => {
                    if let Some(screen) = screen {
                        self.core.shared.decide(offer, screen(&message, from.as_ref()));
                    }
                }
                _ => {}
            }
        }
    }

    /// Accepts connections. Errors do not end it.
    async fn accept(&self, listener: &Async<TcpListener>) {
        let mut backoff = AcceptBackoff::default();
        loop {
            for _ in 0..ACCEPTS_PER_TURN {
                match accept_waiting(listener).await {
                    Ok((stream, from)) => {
                        backoff.on_accepted();
                        if let Some(link) = self.core.shared.accept(from.ip()) {
                            self.executor.spawn(self.core.add_link(link).run(stream)).detach();
                        }
                        self.core.wake.set(WAKE);
                    }
                    Err(error) => {
                        let pause = backoff.on_error(&error);
                        if !pause.is_zero() {
                            let cause = IoCause::from(&error);
                            self.core.shared.handle(Event::AcceptFailed { cause });
                            self.core.wake.set(WAKE);
                        }
                        Timer::after(pause).await;
                    }
                }
            }
            future::yield_now().await;
        }
    }
}

/// Waits for a connection. After an attempt without a connection, the next attempt waits for the
/// reactor to report one, because each wake-up of the main task polls this future.
async fn accept_waiting(
    listener: &Async<TcpListener>,
) -> io::Result<(Async<TcpStream>, SocketAddr)> {
    loop {
        match listener.get_ref().accept() {
            Ok((stream, from)) => return Ok((Async::new(stream)?, from)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => listener.readable().await?,
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BufMut;
    use clacks_proto::{Config, Refusal, Seed, Tower, Wakeup, WakeupReason};
    use std::io::Write;
    use std::net::{IpAddr, Ipv4Addr};
    use std::pin::pin;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Condvar, OnceLock};
    use std::task::{Context, Wake, Waker};
    use std::time::Duration;

    /// A tower whose timer is always due, or that always wakes the driver.
    struct Restless {
        tower: Tower,
        is_always_due: bool,
        /// Woken each time the driver polls actions, as by a handle on another thread.
        wake: Arc<OnceLock<Arc<Signal>>>,
        /// The number of bytes that links have passed.
        received: Arc<AtomicUsize>,
    }

    impl StateMachine for Restless {
        fn accept(&mut self, from: IpAddr, now: Instant) -> Result<LinkId, Refusal> {
            self.tower.accept(from, now)
        }

        fn handle(&mut self, event: Event<'_>, now: Instant) {
            if let Event::BytesArrived { bytes, .. } = event {
                self.received.fetch_add(bytes.len(), Ordering::SeqCst);
            }
            self.tower.handle(event, now);
        }

        fn transmit(&mut self, link: LinkId, out: &mut impl BufMut) -> usize {
            self.tower.transmit(link, out)
        }

        fn poll_action(&mut self) -> Option<Action> {
            if let Some(wake) = self.wake.get() {
                wake.set(WAKE);
            }
            self.tower.poll_action()
        }

        fn next_wakeup(&self) -> Option<Wakeup> {
            let due = Wakeup { at: Instant::ORIGIN, reason: WakeupReason::Tick };
            self.is_always_due.then_some(due)
        }

        fn tower(&self) -> &Tower {
            &self.tower
        }

        fn tower_mut(&mut self) -> &mut Tower {
            &mut self.tower
        }
    }

    fn driver(is_always_due: bool, is_always_woken: bool) -> Driver<Restless> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address::try_from(listener.local_addr().unwrap()).unwrap();
        let tower = Tower::new(Config::default(), address, &Seed::from_u64(1)).unwrap();
        let wake = Arc::new(OnceLock::new());
        let received = Arc::default();
        let machine = Restless { tower, is_always_due, wake: wake.clone(), received };
        let driver = Driver::new(machine, listener).unwrap().1;
        if is_always_woken {
            wake.set(driver.tower.0.wake.clone()).unwrap();
        }
        driver
    }

    /// Spawns a task that always has work. Returns the number of its turns.
    fn spawn_busy(executor: &Executor<'static>) -> Arc<AtomicUsize> {
        let turns = Arc::new(AtomicUsize::new(0));
        let counted = turns.clone();
        let busy = async move {
            // It ends, so that a test fails instead of hanging if the driver serves only this task.
            while counted.fetch_add(1, Ordering::SeqCst) < 1_000 {
                future::yield_now().await;
            }
        };
        executor.spawn(busy).detach();
        turns
    }

    #[test]
    fn busy_links_a_busy_timer_and_busy_handles_do_not_delay_each_other() {
        for (is_always_due, is_always_woken) in
            [(false, false), (true, false), (false, true), (true, true)]
        {
            let driver = driver(is_always_due, is_always_woken);
            let executor = Executor::new();
            let turns = spawn_busy(&executor);
            let tasks = Tasks { core: &driver.tower.0, executor: &executor };
            smol::block_on(async {
                let mut work = pin!(tasks.work(None));
                for _ in 0..3 {
                    assert!(future::poll_once(&mut work).await.is_none());
                }
            });
            assert_eq!(turns.load(Ordering::SeqCst), 3 * LINKS_PER_TURN);
        }
    }

    #[test]
    fn links_that_catch_up_have_a_limited_number_of_turns() {
        let driver = driver(false, false);
        let core = &driver.tower.0;
        for _ in 0..3 {
            let link = core.shared.accept(Ipv4Addr::LOCALHOST.into()).unwrap();
            drop(core.add_link(link));
        }
        let executor = Executor::new();
        let turns = spawn_busy(&executor);
        smol::block_on(Tasks { core, executor: &executor }.catch_up());
        assert_eq!(turns.load(Ordering::SeqCst), 3 * CATCH_UP_TURNS);
    }

    /// All addresses of 127.0.0.0/8 are those of the loopback interface on Linux.
    #[cfg(target_os = "linux")]
    #[test]
    fn the_next_address_of_a_name_is_dialled_if_a_stranger_answers_at_the_first_one() {
        let bind = |ip: &str| TcpListener::bind((ip, 0)).unwrap();
        let (stranger, other) = (bind("127.0.0.1"), bind("127.0.0.2"));
        let found = [&stranger, &other].map(|listener| listener.local_addr().unwrap());
        let mut driver = driver(false, false);
        let core = Arc::get_mut(&mut driver.tower.0).unwrap();
        core.resolver = Resolver::new(move |_, _| Ok(found.to_vec()));
        let name = Address::new("tower.example", 8001).unwrap();
        core.shared.call(|machine, now| machine.tower.announce(&name, now)).unwrap().unwrap();
        let accepting = std::thread::spawn(move || {
            drop(stranger.accept().unwrap());
            other.accept().unwrap()
        });
        let accepted = smol::unblock(move || accepting.join().is_ok());
        let timeout = async {
            Timer::after(Duration::from_secs(120)).await;
            false
        };
        let run = async { driver.run().await.is_err() };
        assert!(smol::block_on(future::or(future::or(accepted, run), timeout)));
    }

    /// Counts wake-ups.
    #[derive(Default)]
    struct Wakes(Mutex<usize>, Condvar);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            *self.0.lock().unwrap() += 1;
            self.1.notify_all();
        }
    }

    impl Wakes {
        /// Waits for a wake-up since the last call.
        fn wait(&self) {
            let wakes = self.0.lock().unwrap();
            let timeout = Duration::from_secs(60);
            let waiting = self.1.wait_timeout_while(wakes, timeout, |wakes| *wakes == 0);
            let (mut wakes, result) = waiting.unwrap();
            assert!(!result.timed_out(), "the link was not woken");
            *wakes = 0;
        }
    }

    #[test]
    fn a_link_on_a_slow_thread_misses_no_event() {
        let driver = driver(false, false);
        let core = &driver.tower.0;
        let received = core.shared.call(|machine, _| machine.received.clone()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let stream = Async::new(listener.accept().unwrap().0).unwrap();
        let link = core.shared.accept(Ipv4Addr::LOCALHOST.into()).unwrap();
        let mut run = pin!(core.add_link(link).run(stream));
        let wakes = Arc::<Wakes>::default();
        let waker = Waker::from(wakes.clone());
        let mut context = Context::from_waker(&waker);
        let mut poll = || {
            // Until then the thread of the reactor waits for the next events.
            std::thread::sleep(Duration::from_millis(10));
            assert!(run.as_mut().poll(&mut context).is_pending());
        };
        poll();
        peer.write_all(&[0xc1]).unwrap();
        let mut polls = 0;
        while received.load(Ordering::SeqCst) == 0 {
            wakes.wait();
            poll();
            polls += 1;
            assert!(polls <= 4, "the link misses events");
        }
    }

    #[test]
    fn a_link_that_has_ended_is_removed() {
        let driver = driver(false, false);
        let core = driver.tower.0.clone();
        let caller = TcpStream::connect(core.shared.local_addr()).unwrap();
        let ended = async {
            while core.links().is_empty() {
                future::yield_now().await;
            }
            drop(caller);
            while !core.links().is_empty() {
                future::yield_now().await;
            }
            true
        };
        let run = async { driver.run().await.is_err() };
        let timeout = async {
            Timer::after(Duration::from_secs(60)).await;
            false
        };
        assert!(smol::block_on(future::or(future::or(ended, run), timeout)));
    }
}
