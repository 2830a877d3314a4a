//! `clacks tower`: one tower from its start to its end.

use std::io::{self, IsTerminal};
use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use clacks_proto::driver::Handle;
use clacks_proto::{StateMachine, Status};
use clacks_store::Store;
use smol::channel::{self, Receiver};
use smol::future::{self, FutureExt};

use crate::args::{ControlArgs, TowerArgs};
use crate::config::{Changes, Configuration, Settings};
use crate::control::console::{self, Command};
use crate::control::prompt::Prompt;
use crate::control::screen::{Events, Screen};
use crate::control::socket::{self, BoundSocket, ControlServer};
use crate::control::{Check, ControlledTower, MayHaveStore, Request, Subscription};
use crate::dashboard::{self, Dashboard};
use crate::error::Failure;
use crate::limits;
use crate::network::expiry::{self, Expiry};
use crate::network::membership;
use crate::network::renewal::{Renew, Renewal, Renewed};
use crate::output::clock;
use crate::output::writer::LOG;
use crate::output::{Entry, Output};
use crate::runtime::RunningTower;
use crate::service::ServiceManager;
use crate::setup::{self, Machine, Prepared};
use crate::signals::{self, HangUp, Signal};
use crate::state::{PeerKeeper, PeersFile};

/// How many lines of the console may wait. A program that writes faster is held up.
const CONSOLE_LINES: usize = 16;

/// Runs a tower until it is asked to stop.
pub(crate) fn run(args: &TowerArgs, settings: Settings) -> Result<(), Failure> {
    limits::check(limits::TOWER_DESCRIPTORS)?;
    let configured = args;
    let args = &membership::with_membership(args)?;
    let Prepared { machine, store, listener, notes, expiry, state } = setup::prepare(args)?;
    let kept = state.as_ref().map(|state| state.peers(&args.trust.network));
    let renewal = Renewal::start(configured)?;
    let lasting = (Configuration::new(configured, settings), kept, expiry);
    match (machine, store) {
        (Machine::Clear(tower), None) => run_machine(args, *tower, listener, &notes, lasting, None),
        (Machine::Secure(tower), None) => {
            let renew = renewal.map(|it| it.applied_to(|tower| tower));
            run_machine(args, *tower, listener, &notes, lasting, renew)
        }
        (Machine::Clear(tower), Some(store)) => {
            run_machine(args, store.wrap(*tower)?, listener, &notes, lasting, None)
        }
        (Machine::Secure(tower), Some(store)) => {
            let renew = renewal.map(|it| it.applied_to(Store::inner_mut));
            run_machine(args, store.wrap(*tower)?, listener, &notes, lasting, renew)
        }
    }
}

fn run_machine<M: MayHaveStore + Send + 'static>(
    args: &TowerArgs,
    machine: M,
    listener: TcpListener,
    notes: &[String],
    (configuration, kept, expiry): (Configuration, Option<PeersFile>, Option<Expiry>),
    renew: Option<Renew<M>>,
) -> Result<(), Failure> {
    let (stops, stop) = channel::bounded(1);
    let (reloads, reload) = channel::bounded(1);
    let (lines, commands) = channel::bounded(CONSOLE_LINES);
    let on_signal = {
        let stops = stops.clone();
        // Fails if an earlier request has not been received yet.
        move |signal| {
            let _ = match signal {
                Signal::Stop => stops.try_send(()),
                Signal::Reload => reloads.try_send(()),
            };
        }
    };
    signals::listen(HangUp::Reloads, on_signal).map_err(|error| {
        Failure::failed(format_args!("Signals cannot be caught ({error}): start it again."))
    })?;
    let mut notes = notes.to_vec();
    let socket = bind_socket(&args.control, &listener, &mut notes)?;
    let dashboard = dashboard::bind(&args.http)?;
    let has_prompt = !args.json && Prompt::is_possible();
    let events = match (args.quiet, args.verbose, has_prompt) {
        (true, ..) | (false, false, true) => Events::StartAndEnd,
        _ => Events::All,
    };
    let screen = Screen::start(args.json, events)?;
    let (tower, notices) = RunningTower::start(args.runtime, machine, listener)
        .map_err(|error| Failure::failed(format_args!("The tower cannot start ({error}).")))?;
    let path = socket.as_ref().map(|socket| socket.path.clone());
    let control = Arc::new(ControlledTower::new(tower.handle.clone(), notices, stops, path));
    let expiry = Arc::new(Mutex::new(expiry));
    control.add_check(expiry::check(expiry.clone()));
    control.add_check(clock_check(tower.handle.clone()));
    control.add_check(screen.check());
    let numbering = start_numbering(control.clone()).map_err(|error| {
        Failure::failed(format_args!("The events cannot be read ({error}): start it again."))
    })?;
    let server = socket.map(|socket| ControlServer::start(control.clone(), socket));
    let server = server.transpose().map_err(|error| {
        Failure::failed(format_args!("The control socket cannot be served ({error})."))
    })?;
    let dashboard = dashboard.map(|bound| Dashboard::start(bound, control.clone())).transpose()?;
    let console = match has_prompt {
        true => Prompt::start(lines, control.clone()).map(Some),
        false => console::listen(lines, args.tuning.max_message).map(|()| None),
    };
    let prompt = console.map_err(|error| {
        Failure::failed(format_args!("The console cannot start ({error}): start it again."))
    })?;
    if let Some(prompt) = &prompt {
        screen.print_with(prompt.printer());
        if let (Some(log), true) = (LOG.get(), io::stderr().is_terminal()) {
            log.print_with(prompt.printer());
        }
    }
    // From the first event on.
    let events = control.subscribe(Some(0));
    let service = ServiceManager::start().map_err(|error| {
        Failure::failed(format_args!("No thread can be started ({error}): start it again."))
    })?;
    let renewal = (renew, expiry);
    let mut session =
        Session { tower, control, events, screen, prompt, configuration, renewal, service };
    session.start(args, &notes, dashboard.as_ref());
    let keeper = kept.map(|file| session.keep_peers(file)).transpose()?;
    let watchdog = ServiceManager::watchdog(&session.tower.handle);
    session.on_ready();
    let result = smol::block_on(session.run(Requests { stop, reload, commands }, numbering));
    if result.is_err() {
        session.end_prompt();
    }
    drop(watchdog);
    if let Some(keeper) = keeper {
        keeper.finish();
    }
    session.service.flush();
    if let Some(sentence) = result.as_ref().err().and_then(Failure::sentence) {
        tracing::error!("{sentence}");
        let error = session.control.entry(Output::error(sentence));
        session.screen.answer(&error);
    }
    if let Some(dashboard) = dashboard {
        dashboard.finish();
    }
    if let Some(server) = server {
        server.finish();
    }
    let finished = session.screen.finish();
    // The sentence is written, and standard output must not be waited for again.
    result.map_err(|_| Failure::Reported).and(finished)
}

/// Binds the control socket. A tower runs without one if no option asks for it.
fn bind_socket(
    args: &ControlArgs,
    listener: &TcpListener,
    notes: &mut Vec<String>,
) -> Result<Option<BoundSocket>, Failure> {
    let group = args.control_group.as_deref().map(socket::find_group).transpose();
    let group = group.map_err(Failure::Usage)?;
    let bound = match (&args.control, listener.local_addr()) {
        (Some(path), _) => socket::bind(path, group),
        (None, Ok(listens_at)) => socket::bind_default(listens_at, group),
        (None, Err(error)) => Err(format!("The control socket has no name ({error}).")),
    };
    match bound {
        Ok(socket) => Ok(Some(socket)),
        Err(sentence) if args.control.is_some() || group.is_some() => {
            Err(Failure::Failed(sentence))
        }
        Err(sentence) => {
            notes.push(format!("Other commands cannot reach this tower. {sentence}"));
            Ok(None)
        }
    }
}

/// Returns the check whether the clock of this machine is that of other towers.
fn clock_check<M: MayHaveStore + Send + 'static>(tower: Handle<M>) -> Check {
    Box::new(move || {
        let minutes = tower.with(|machine, _| machine.clock_difference()).flatten()?;
        Some((
            format!("the clock of this machine is {}, as most towers say", clock::text(minutes)),
            "set the clock: the tower refuses pieces of files whose time it takes for over",
        ))
    })
}

/// Numbers the events on a thread of its own, so that none is missed while something else is slow.
fn start_numbering(control: Arc<ControlledTower>) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name("events".into()).spawn(move || smol::block_on(control.run()))
}

/// A tower that runs, with its output.
struct Session<M: StateMachine + Send + 'static> {
    tower: RunningTower<M>,
    control: Arc<ControlledTower>,
    events: Subscription,
    screen: Screen,
    prompt: Option<Prompt>,
    configuration: Configuration,
    /// How a membership is renewed, and when its certificate expires.
    renewal: (Option<Renew<M>>, Arc<Mutex<Option<Expiry>>>),
    service: ServiceManager,
}

/// Requests from outside.
struct Requests {
    stop: Receiver<()>,
    reload: Receiver<()>,
    commands: Receiver<Result<Command, String>>,
}

/// The next thing to do.
enum Turn {
    Event(Option<Arc<Entry>>),
    Command(Result<Command, String>),
    Reload,
    Stop,
    Ended(io::Result<()>),
}

impl<M: StateMachine + Send + 'static> Session<M> {
    /// Writes the address and remarks, and adds the peers of the command line.
    fn start(&mut self, args: &TowerArgs, notes: &[String], dashboard: Option<&Dashboard>) {
        self.write_events();
        if let Some(dashboard) = dashboard {
            self.screen.answer(&self.control.entry(dashboard.output()));
        }
        for note in notes {
            let note = self.control.entry(Output::Note(note.clone()));
            self.screen.answer(&note);
        }
        for tower in &args.expand {
            self.carry_out(Request::Expand { tower: tower.clone() });
        }
        for tower in &args.announce {
            self.carry_out(Request::Announce { tower: tower.clone(), wait: false });
        }
    }

    /// Writes events and carries out commands, until the tower has ended.
    async fn run(&mut self, requests: Requests, numbering: JoinHandle<()>) -> Result<(), Failure> {
        loop {
            let stop = async {
                receive(&requests.stop).await;
                Turn::Stop
            };
            let reload = async {
                receive(&requests.reload).await;
                Turn::Reload
            };
            let closed = async {
                self.screen.closed().await;
                Turn::Stop
            };
            let ended = async { Turn::Ended(self.tower.ended().await) };
            let event = async { Turn::Event(self.events.next().await) };
            let command = async { Turn::Command(receive(&requests.commands).await) };
            // A request to stop comes first. Events and commands take turns.
            let turn = stop.or(closed).or(ended).or(reload).or(future::race(event, command));
            match turn.await {
                Turn::Stop => return self.shut_down(numbering).await,
                Turn::Reload => self.reload(),
                Turn::Event(Some(event)) => self.screen.event(&event),
                Turn::Event(None) => return Err(broken(Ok(()))),
                Turn::Ended(result) => return Err(broken(result)),
                Turn::Command(Ok(Command::Request(request))) => self.carry_out(request),
                Turn::Command(Ok(Command::Help(topic))) => {
                    let help = self.control.entry(Output::Help { commands: topic.pairs() });
                    self.screen.answer(&help);
                }
                Turn::Command(Err(message)) => {
                    let error = self.control.entry(Output::Error { message });
                    self.screen.answer(&error);
                }
            }
        }
    }

    /// Reports to the service manager that the tower listens.
    fn on_ready(&self) {
        self.service.ready(format!("Listens as {}", self.control.address()));
    }

    /// Saves the peers from now on.
    fn keep_peers(&self, file: PeersFile) -> Result<PeerKeeper, Failure> {
        let (handle, ignored) = (self.tower.handle.clone(), self.configuration.ignored());
        let snapshot = move || {
            let (mut peers, ignored) = (handle.snapshot(), ignored.addresses());
            // The configuration says at the next start whether these are still ignored.
            for peer in &mut peers {
                if peer.status == Status::Ignored && ignored.contains(&peer.address) {
                    peer.status = Status::New;
                }
            }
            peers
        };
        let keeper = PeerKeeper::start(file, snapshot).map_err(|error| {
            Failure::failed(format_args!(
                "No thread can start to save the known towers ({error}): start it again."
            ))
        })?;
        self.control.add_check(keeper.check());
        Ok(keeper)
    }

    /// Reads the configuration again, and applies what applies without a restart.
    fn reload(&mut self) {
        self.service.reloading();
        match self.configuration.reload() {
            Ok(mut changes) => {
                self.apply(&changes);
                changes.renewed = self.renew();
                self.control.on_reloaded(changes);
                self.write_events();
            }
            Err(failure) => {
                let why = failure.sentence().unwrap_or_default();
                let message = format!("The configuration stays as it was: {why}");
                tracing::error!("{message}");
                let error = self.control.entry(Output::error(message));
                self.screen.answer(&error);
            }
        }
        self.on_ready();
    }

    /// Applies a new certificate and a new list of revoked members. Returns whether one has
    /// changed.
    fn renew(&mut self) -> bool {
        let (Some(renew), expiry) = &mut self.renewal else { return false };
        match renew(&self.tower.handle) {
            Ok(Some(Renewed { expiry: new, closed })) => {
                *expiry.lock().unwrap_or_else(PoisonError::into_inner) = new;
                tracing::info!("the membership was read again, and {closed} links are closed");
                true
            }
            Ok(None) => false,
            Err(failure) => {
                let why = failure.sentence().unwrap_or_default();
                let message = format!("The membership stays as it was: {why}");
                tracing::error!("{message}");
                let error = self.control.entry(Output::error(message));
                self.screen.answer(&error);
                false
            }
        }
    }

    fn apply(&self, changes: &Changes) {
        if changes.log.is_some() {
            crate::set_log(self.configuration.log());
        }
        let unignore = changes.unignore.iter().map(|it| Request::Unignore { tower: it.clone() });
        let ignore = changes.ignore.iter().map(|it| Request::Ignore { tower: it.clone() });
        let announce = changes.announce.iter();
        let announce = announce.map(|it| Request::Announce { tower: it.clone(), wait: false });
        for request in unignore.chain(ignore).chain(announce) {
            if let Output::Error { message } = self.control.carry_out(request).output {
                tracing::warn!("{message}");
            }
        }
    }

    /// Hands the queue to peers, as far as they take it in time.
    async fn shut_down(&mut self, numbering: JoinHandle<()>) -> Result<(), Failure> {
        let handle = &self.tower.handle;
        let messages = handle.queue_usage().messages;
        self.service.stopping(format!("Hands over {messages} messages"));
        self.control.on_shutting_down(handle.config().timeouts.shutdown);
        let left = handle.shutdown();
        self.end_prompt();
        let ended = loop {
            let ended = async { Turn::Ended(self.tower.ended().await) };
            let event = async { Turn::Event(self.events.next().await) };
            match event.or(ended).await {
                Turn::Event(Some(event)) => self.screen.event(&event),
                Turn::Ended(result) => break result,
                _ => {}
            }
        };
        ended.map_err(|error| broken(Err(error)))?;
        // It ends with the driver. A panic there is reported where it happened.
        let _ = numbering.join();
        // Only now, when all sockets are closed.
        self.control.on_ended(left.await);
        self.write_events();
        Ok(())
    }

    /// Removes the prompt. Ctrl-C is a signal then.
    fn end_prompt(&self) {
        if let Some(prompt) = &self.prompt {
            prompt.end();
        }
    }

    /// Carries out a request of the console, and writes the answer after the events before it.
    fn carry_out(&mut self, request: Request) {
        let answer = self.control.carry_out(request);
        self.write_events();
        self.screen.answer(&answer);
    }

    /// Writes the events up to now.
    fn write_events(&mut self) {
        while let Ok(Some(event)) = self.events.try_next() {
            self.screen.event(&event);
        }
    }
}

/// Returns the next value of a channel. Waits for ever if the channel is closed: the end of the
/// input does not stop the tower.
async fn receive<T>(from: &Receiver<T>) -> T {
    match from.recv().await {
        Ok(next) => next,
        Err(_) => future::pending().await,
    }
}

fn broken(ended: io::Result<()>) -> Failure {
    Failure::failed(match ended {
        Ok(()) => "The tower ended without a request: start it again.".to_owned(),
        Err(error) => format!("The tower broke ({error}): start it again."),
    })
}
