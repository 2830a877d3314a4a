//! The driver: the main task of a tower.

use async_io::{Async, Timer};
use clacks_proto::{Address, Event, Instant, Message, StateMachine, Verdict};
use smol::channel::{self, Sender};
use smol::{Executor, future};
use std::convert::Infallible;
use std::fmt;
use std::io::{self, ErrorKind};
use std::mem;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use crate::handle::Handle;
use crate::link::Link;
use crate::shared::{Chore, Desk, Shared};

/// How many connections are accepted before the links have their turn.
const ACCEPTS_PER_TURN: usize = 32;

/// How many turns links take before timers, verbs and new connections have theirs.
const TURNS_PER_ROUND: usize = 8;

/// How long to accept nothing after the operating system could not give a connection: most likely
/// descriptors are short, and trying again at once would only burn time until one is closed. A guess.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// Looks at a message, and at the peer who brought it when it is known, before the message is queued.
type Screen = Box<dyn FnMut(&Message, Option<&Address>) -> Verdict + Send>;

/// Runs one tower: a state machine, a listening socket, and all the connections between them and the world.
///
/// In the order of use: [`new`](Self::new), perhaps [`screen_with`](Self::screen_with), and [`run`](Self::run), which gives the future that
/// is the tower's life. All else is said to the [`Handle`].
pub struct Driver<M: StateMachine + Send + 'static> {
    listener: TcpListener,
    screen: Option<Screen>,
    life: Life<M>,
}

/// Ends the tower when it is dropped, whatever the reason.
struct Life<M: StateMachine> {
    shared: Arc<Shared<M>>,
    // Only there to be dropped: whoever waits for the end has the other half.
    _over: Sender<Infallible>,
}

impl<M: StateMachine> Drop for Life<M> {
    fn drop(&mut self) {
        self.shared.end();
    }
}

impl<M: StateMachine + Send + 'static> Driver<M> {
    /// A driver for `machine`, and the application's handle to it. The machine's clock starts now.
    ///
    /// Verbs work at once; what they ask for happens when the driver runs.
    ///
    /// # Errors
    ///
    /// When the operating system does not let `listener` become non-blocking or tell its address.
    pub fn new(machine: M, listener: TcpListener) -> io::Result<(Handle, Self)> {
        listener.set_nonblocking(true)?;
        let shared = Arc::new(Shared::new(machine, listener.local_addr()?));
        let (sender, over) = channel::bounded(1);
        let handle = Handle::new(shared.clone(), over);
        let life = Life { shared, _over: sender };
        Ok((handle, Self { listener, screen: None, life }))
    }

    /// Has `screen` look at each message from a peer before it is queued. Needs [`Config::screening`](clacks_proto::Config::screening); when that
    /// is on and there is no such function, every message waits for its time-out and has the default verdict.
    ///
    /// The function is called outside of any lock and may use a [`Handle`]; but the whole tower waits for it, so it should be quick.
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
    /// Works on any executor: all that it starts lives on an executor of its own inside this future. Dropping the future is an abrupt death: all
    /// sockets close at once, nobody is told.
    ///
    /// # Errors
    ///
    /// When the listener can't be watched for connections. Once it is, nothing that the operating system or a peer does ends the tower.
    pub async fn run(self) -> io::Result<()> {
        let Self { listener, screen, life } = self;
        let listener = Async::new_nonblocking(listener)?;
        // After `life`, and so dropped before it: the end is told when the sockets are closed.
        let executor = Executor::new();
        let crew = Crew { shared: &life.shared, executor: &executor };
        let own_work = future::or(crew.work(screen), crew.accept(&listener));
        future::or(own_work, crew.run_links()).await;
        Ok(())
    }
}

/// What runs beside the links' own tasks, and starts these.
struct Crew<'a, M> {
    shared: &'a Arc<Shared<M>>,
    executor: &'a Executor<'static>,
}

impl<M: StateMachine + Send + 'static> Crew<'_, M> {
    /// Fires the timer, dials, and shows messages to the application, until the machine has come to its end.
    async fn work(&self, mut screen: Option<Screen>) {
        let mut timer = Timer::never();
        loop {
            self.shared.pump();
            self.do_chores(screen.as_mut());
            let (wakeup, done) = self.shared.outlook();
            if done {
                return;
            }
            if wakeup <= self.shared.now() {
                self.shared.handle(Event::TimerFired);
                // The links have their turn even if the machine can't get enough of its timer.
                future::yield_now().await;
                continue;
            }
            self.arm(&mut timer, wakeup);
            future::or(self.bell(), async {
                (&mut timer).await;
            })
            .await;
        }
    }

    /// Gives the links their turns. Busy links always have one more to take, so that without a limit the crew's own work
    /// would come last.
    async fn run_links(&self) {
        loop {
            for _ in 0..TURNS_PER_ROUND {
                self.executor.tick().await;
            }
            future::yield_now().await;
        }
    }

    /// Sets the timer, unless it is set for that moment already. From here on whoever drives the machine rings when it wants to be woken earlier.
    fn arm(&self, timer: &mut Timer, wakeup: Instant) {
        let mut armed = wakeup;
        self.shared.desk.change(|desk| {
            mem::swap(&mut desk.armed, &mut armed);
            false
        });
        if armed != wakeup {
            *timer = self.shared.on_the_wall(wakeup).map_or_else(Timer::never, Timer::at);
        }
    }

    async fn bell(&self) {
        self.shared.desk.until(|desk| mem::take(&mut desk.bell).then_some(())).await;
    }

    fn do_chores(&self, mut screen: Option<&mut Screen>) {
        while let Some(chore) = self.next_chore() {
            match chore {
                Chore::Dial { link, orders, address } => {
                    let link = Link::new(self.shared.clone(), link, orders);
                    self.executor.spawn(link.dial(address)).detach();
                }
                Chore::Screen { offer, message, from } => {
                    let Some(screen) = &mut screen else { continue };
                    let verdict = screen(&message, from.as_ref());
                    let decided = self
                        .shared
                        .drive(|machine, now| machine.tower_mut().decide(offer, verdict, now));
                    if let Some(Err(error)) = decided {
                        tracing::debug!(%error, "a verdict could not be carried out");
                    }
                }
            }
        }
    }

    fn next_chore(&self) -> Option<Chore> {
        let mut chore = None;
        self.shared.desk.change(|desk: &mut Desk| {
            chore = desk.chores.pop_front();
            false
        });
        chore
    }

    /// Accepts connections for ever. A connection that can't be accepted is no reason to stop.
    ///
    /// Waits to be told that there is one: to be polled is no news, since all of a tower is one future, which wakes for whatever its links do.
    async fn accept(&self, listener: &Async<TcpListener>) {
        let mut failing = false;
        loop {
            for _ in 0..ACCEPTS_PER_TURN {
                let accepted = match accept_waiting(listener) {
                    Ok(None) => listener.readable().await.map(|()| None),
                    accepted => accepted,
                };
                match accepted {
                    Ok(Some((stream, from))) => {
                        failing = false;
                        self.admit(stream, from.ip());
                    }
                    Ok(None) => {}
                    Err(error) => {
                        if !mem::replace(&mut failing, true) {
                            tracing::warn!(%error, "connections can't be accepted; trying on");
                        }
                        Timer::after(ACCEPT_REST).await;
                    }
                }
            }
            future::yield_now().await;
        }
    }

    /// Asks the machine before anything is spent on a connection. A refused one is dropped.
    fn admit(&self, stream: Async<TcpStream>, from: IpAddr) {
        match self.shared.call(|machine, now| machine.accept(from, now)) {
            Some(Ok(id)) => {
                tracing::debug!(%from, "link accepted");
                // In the register before the first order for it is carried out.
                let link = Link::new(self.shared.clone(), id, self.shared.links.open(id));
                self.executor.spawn(link.carry(stream)).detach();
            }
            Some(Err(refusal)) => tracing::debug!(%from, %refusal, "connection refused"),
            None => {}
        }
        self.shared.pump();
    }
}

/// The next connection, if one waits.
fn accept_waiting(
    listener: &Async<TcpListener>,
) -> io::Result<Option<(Async<TcpStream>, SocketAddr)>> {
    match listener.get_ref().accept() {
        Ok((stream, from)) => Ok(Some((Async::new(stream)?, from))),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

impl<M: StateMachine + Send + 'static> fmt::Debug for Driver<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let local_addr = self.life.shared.local_addr;
        f.debug_struct("Driver").field("local_addr", &local_addr).finish_non_exhaustive()
    }
}
