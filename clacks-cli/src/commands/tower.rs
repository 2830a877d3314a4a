//! `clacks tower`: one tower from its start to its end.

use std::io;
use std::net::TcpListener;

use clacks_proto::driver::Notices;
use clacks_proto::{
    Address, EnqueueError, ExpandError, Notice, RefusedMessage, StateMachine, Status,
};
use smol::channel::{self, Receiver};
use smol::future::{self, FutureExt};

use crate::args::TowerArgs;
use crate::config::{Changes, Configuration, Settings};
use crate::control::console::{self, COMMANDS, Command};
use crate::error::Failure;
use crate::output::{Format, Output, SurveyedPeer};
use crate::runtime::RunningTower;
use crate::service;
use crate::setup::{self, Machine, Prepared};
use crate::signals::{self, HangUp, Request};
use crate::state::{PeerKeeper, PeersFile};

/// How many lines of the console may wait. A program that writes faster is held up.
const CONSOLE_LINES: usize = 16;

/// Runs a tower until it is asked to stop.
pub(crate) fn run(args: &TowerArgs, settings: Settings) -> Result<(), Failure> {
    let Prepared { machine, listener, notes, state } = setup::prepare(args)?;
    let kept = state.as_ref().map(|state| state.peers(&args.trust.network));
    let lasting = (Configuration::new(args, settings), kept);
    match machine {
        Machine::Clear(tower) => run_machine(args, *tower, listener, &notes, lasting),
        Machine::Secure(tower) => run_machine(args, *tower, listener, &notes, lasting),
    }
}

fn run_machine<M: StateMachine + Send + 'static>(
    args: &TowerArgs,
    machine: M,
    listener: TcpListener,
    notes: &[String],
    (configuration, kept): (Configuration, Option<PeersFile>),
) -> Result<(), Failure> {
    let (stops, stop) = channel::bounded(1);
    let (reloads, reload) = channel::bounded(1);
    let (lines, commands) = channel::bounded(CONSOLE_LINES);
    // Fails if an earlier request has not been received yet.
    let send = move |request| {
        let _ = match request {
            Request::Stop => stops.try_send(()),
            Request::Reload => reloads.try_send(()),
        };
    };
    signals::listen(HangUp::Reloads, send).map_err(|error| {
        Failure::failed(format_args!("Signals cannot be caught ({error}): start it again."))
    })?;
    smol::block_on(async {
        let mut session = Session::start(args, machine, listener, notes, configuration)?;
        let keeper = kept.map(|file| session.keep_peers(file)).transpose()?;
        console::listen(lines, args.tuning.max_message).map_err(|error| {
            Failure::failed(format_args!("The console cannot start ({error}): start it again."))
        })?;
        let watchdog = service::watchdog(&session.tower.handle);
        service::ready(&format!("Listens as {}", session.tower.handle.address()));
        let result = session.run(stop, reload, commands).await;
        drop(watchdog);
        if let Some(keeper) = keeper {
            keeper.finish();
        }
        result
    })
}

/// A tower that runs, with its output.
struct Session<M: StateMachine + Send + 'static> {
    tower: RunningTower<M>,
    notices: Notices,
    format: Format,
    configuration: Configuration,
}

/// The next thing to do.
enum Turn {
    Notice(Option<Notice>),
    Command(Result<Command, String>),
    Reload,
    Stop,
}

impl<M: StateMachine + Send + 'static> Session<M> {
    fn start(
        args: &TowerArgs,
        machine: M,
        listener: TcpListener,
        notes: &[String],
        configuration: Configuration,
    ) -> Result<Self, Failure> {
        let (tower, notices) = RunningTower::start(args.runtime, machine, listener)
            .map_err(|error| Failure::failed(format_args!("The tower cannot start ({error}).")))?;
        let format = Format::new(args.json);
        let mut session = Self { tower, notices, format, configuration };
        let handle = session.tower.handle.clone();
        let (address, fingerprint) = (handle.address(), handle.identity());
        session.format.write(&Output::Listening { address, fingerprint })?;
        for note in notes {
            session.format.write(&Output::Note(note))?;
        }
        for tower in &args.expand {
            session.carry_out(Command::Expand(tower.clone()))?;
        }
        for tower in &args.announce {
            session.carry_out(Command::Announce(tower.clone()))?;
        }
        Ok(session)
    }

    /// Writes what happens and carries out commands, until the tower has ended.
    async fn run(
        &mut self,
        stop: Receiver<()>,
        reload: Receiver<()>,
        commands: Receiver<Result<Command, String>>,
    ) -> Result<(), Failure> {
        let result = self.serve(stop, reload, commands).await;
        if result.is_err() {
            // The output can't be written. The messages can still be handed on.
            self.tower.handle.shutdown().await;
        }
        result
    }

    async fn serve(
        &mut self,
        stop: Receiver<()>,
        reload: Receiver<()>,
        commands: Receiver<Result<Command, String>>,
    ) -> Result<(), Failure> {
        loop {
            let stop = async {
                receive(&stop).await;
                Turn::Stop
            };
            let reload = async {
                receive(&reload).await;
                Turn::Reload
            };
            let notice = async { Turn::Notice(self.notices.recv().await) };
            let command = async { Turn::Command(receive(&commands).await) };
            // A request to stop comes first. Notices and commands take turns.
            match stop.or(reload).or(future::race(notice, command)).await {
                Turn::Reload => self.reload()?,
                Turn::Stop | Turn::Command(Ok(Command::Quit)) => return self.shut_down().await,
                Turn::Notice(Some(notice)) => self.format.write(&Output::Notice(&notice))?,
                Turn::Notice(None) => return Err(broken(self.tower.ended().await)),
                Turn::Command(Ok(command)) => self.carry_out(command)?,
                Turn::Command(Err(message)) => {
                    self.format.write(&Output::Error { message: &message })?;
                }
            }
        }
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
        PeerKeeper::start(file, snapshot).map_err(|error| {
            Failure::failed(format_args!(
                "No thread can start to save the known towers ({error}): start it again."
            ))
        })
    }

    /// Reads the configuration again, and applies what applies without a restart.
    fn reload(&mut self) -> Result<(), Failure> {
        service::reloading();
        match self.configuration.reload() {
            Ok(changes) => {
                self.apply(&changes);
                self.format.write(&Output::Reloaded {
                    changes: &changes,
                    sentence: &changes.sentence(),
                })?;
            }
            Err(failure) => {
                let why = failure.sentence().unwrap_or_default();
                let message = format!("The configuration stays as it was: {why}");
                self.format.write(&Output::Error { message: &message })?;
            }
        }
        service::ready(&format!("Listens as {}", self.tower.handle.address()));
        Ok(())
    }

    fn apply(&self, changes: &Changes) {
        let handle = &self.tower.handle;
        if let Some(log) = &changes.log {
            crate::set_log(log.clone());
        }
        for tower in &changes.unignore {
            handle.unignore(tower);
        }
        let refused = |tower: &Address, error| tracing::warn!("{}", not_added(tower, error));
        for tower in &changes.ignore {
            handle.ignore(tower).unwrap_or_else(|error| refused(tower, error));
        }
        for tower in &changes.announce {
            handle.announce(tower).unwrap_or_else(|error| refused(tower, error));
        }
    }

    /// Hands the queue to peers, as far as they take it in time.
    async fn shut_down(&mut self) -> Result<(), Failure> {
        let handle = &self.tower.handle;
        let messages = handle.queue_usage().messages;
        let within = handle.config().timeouts.shutdown;
        service::stopping(&format!("Hands over {messages} messages"));
        self.format.write(&Output::ShuttingDown { messages, within })?;
        let left = handle.shutdown();
        while let Some(notice) = self.notices.recv().await {
            if !matches!(notice, Notice::ShutDown { .. }) {
                self.format.write(&Output::Notice(&notice))?;
            }
        }
        self.tower.ended().await.map_err(|error| broken(Err(error)))?;
        // Only now, when all sockets are closed.
        let left = left.await;
        self.format.write(&Output::Notice(&Notice::ShutDown { left }))?;
        Ok(())
    }

    /// Carries out a command of the console. Writes the result unless a notice will tell it.
    fn carry_out(&mut self, command: Command) -> Result<(), Failure> {
        let Self { tower: RunningTower { handle, .. }, format, .. } = self;
        let (verb, tower, result) = match command {
            Command::Enqueue(message) => {
                if let Err(refused) = handle.enqueue(message) {
                    format.write(&Output::Error { message: &not_enqueued(&refused) })?;
                }
                return Ok(());
            }
            Command::Expand(tower) => {
                let result = handle.expand(&tower).map_err(|error| not_added(&tower, error));
                ("expand", tower, result)
            }
            Command::Announce(tower) => {
                let result = handle.announce(&tower).map_err(|error| not_added(&tower, error));
                ("announce", tower, result)
            }
            Command::Ignore(tower) => {
                let result = handle.ignore(&tower).map_err(|error| not_added(&tower, error));
                ("ignore", tower, result)
            }
            Command::Unignore(tower) => {
                let result = handle.unignore(&tower).then_some(()).ok_or_else(|| {
                    format!("{tower} was not ignored, so there is nothing to undo.")
                });
                ("unignore", tower, result)
            }
            Command::Peek => {
                return Ok(format.write(&Output::Peek { messages: &handle.peek() })?);
            }
            Command::Survey => {
                let now = handle.now();
                let peers = handle.survey().into_iter();
                let towers: Vec<_> = peers.map(|peer| SurveyedPeer::new(peer, now)).collect();
                return Ok(format.write(&Output::Survey { towers: &towers })?);
            }
            Command::Stats => {
                let (stats, usage) = (handle.stats(), handle.queue_usage());
                let (held_messages, held_bytes) = (usage.messages, usage.bytes);
                let output = Output::Stats { held_messages, held_bytes, stats: &stats };
                return Ok(format.write(&output)?);
            }
            Command::Help => return Ok(format.write(&Output::Help { commands: &COMMANDS })?),
            Command::Quit => return Ok(()),
        };
        match result {
            Ok(()) => format.write(&Output::Done { verb, tower: &tower })?,
            Err(message) => format.write(&Output::Error { message: &message })?,
        }
        Ok(())
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
        Ok(()) => "The tower ended although nobody asked it to: start it again.".to_owned(),
        Err(error) => format!("The tower broke ({error}): start it again."),
    })
}

fn not_enqueued(refused: &RefusedMessage) -> String {
    let bytes = refused.message.len();
    match refused.reason {
        EnqueueError::Full => {
            "The queue is full (a fifth of it is kept for messages of other towers) and the \
             message was not queued: wait until peers have taken some, or start the tower with a \
             larger --max-queue or --max-queue-bytes."
                .into()
        }
        EnqueueError::TooLarge { max } => format!(
            "The message has {bytes} bytes where {max} are allowed, and was not queued: send it in \
             parts, or start the tower with a larger --max-message."
        ),
        EnqueueError::ShuttingDown => {
            "The tower is leaving and the message was not queued: enqueue it at another tower."
                .into()
        }
        reason => format!("The message was not queued: {reason}."),
    }
}

fn not_added(tower: &Address, error: ExpandError) -> String {
    match error {
        ExpandError::OwnAddress => format!("{tower} is this tower itself."),
        ExpandError::Ignored => format!("{tower} is ignored: write unignore {tower} first."),
        ExpandError::TableFull => {
            format!("There is no room for {tower} among the towers known here: try again later.")
        }
        ExpandError::ShuttingDown => "The tower is leaving.".into(),
        error => format!("{tower}: {error}."),
    }
}
