//! One tower, from its first word to its last.

use std::io;
use std::ops::ControlFlow;
use std::pin::pin;

use clacks_proto::{Address, Config, EnqueueError, ExpandError, RefusedMessage, Report};
use smol::channel::{self, Receiver};
use smol::future::{self, FutureExt};

use crate::args::TowerArgs;
use crate::console::{self, Command};
use crate::error::Failure;
use crate::output::{Said, Voice};
use crate::runtime::{Handle, Notices, Running};
use crate::setup::{self, Prepared};
use crate::signals;

/// How many lines of the console may wait. A script that writes faster waits.
const CONSOLE_LINES: usize = 16;

/// Runs a tower until it is asked to stop.
pub(crate) fn run(args: &TowerArgs) -> Result<(), Failure> {
    let prepared = setup::prepare(args)?;
    let (stops, stop) = channel::bounded(1);
    let (lines, commands) = channel::bounded(CONSOLE_LINES);
    signals::listen(stops).map_err(|error| {
        Failure::failed(format_args!("Signals cannot be caught ({error}): start it again."))
    })?;
    smol::block_on(async {
        let mut tower = Station::start(args, prepared).await?;
        console::listen(lines, args.tuning.max_message).map_err(|error| {
            Failure::failed(format_args!("The console cannot start ({error}): start it again."))
        })?;
        tower.work(stop, commands).await
    })
}

/// A tower that runs, and the voice that tells of it.
struct Station {
    running: Running,
    handle: Handle,
    notices: Notices,
    voice: Voice,
}

/// The next thing that happened.
enum Turn {
    Report(Option<Report>),
    Command(Result<Command, String>),
    Stop,
    Ended(io::Result<()>),
}

impl Station {
    async fn start(args: &TowerArgs, prepared: Prepared) -> Result<Self, Failure> {
        let Prepared { machine, listener, address, fingerprint, notes } = prepared;
        let (running, notices) = Running::start(args.runtime, machine, listener)
            .map_err(|error| Failure::failed(format_args!("The tower cannot start ({error}).")))?;
        let handle = running.handle.clone();
        let voice = Voice::new(args.json);
        let mut station = Self { running, handle, notices, voice };
        station.voice.say(&Said::Listening { address: &address, fingerprint })?;
        for note in &notes {
            station.voice.say(&Said::Note(note))?;
        }
        for tower in &args.expand {
            station.obey(Command::Expand(tower.clone())).await?;
        }
        for tower in &args.announce {
            station.obey(Command::Announce(tower.clone())).await?;
        }
        Ok(station)
    }

    /// Tells what happens and does what is asked, until the tower has ended.
    async fn work(
        &mut self,
        stop: Receiver<()>,
        commands: Receiver<Result<Command, String>>,
    ) -> Result<(), Failure> {
        let worked = self.serve(stop, commands).await;
        if worked.is_err() {
            // Nobody listens any more, or nothing can be written. What this tower holds is still worth handing on.
            self.handle.shutdown().await;
        }
        worked
    }

    async fn serve(
        &mut self,
        stop: Receiver<()>,
        commands: Receiver<Result<Command, String>>,
    ) -> Result<(), Failure> {
        loop {
            let stop = async {
                take(&stop).await;
                Turn::Stop
            };
            let ended = async { Turn::Ended(self.running.ended().await) };
            let report = async { Turn::Report(self.notices.next().await) };
            let command = async { Turn::Command(take(&commands).await) };
            // Whoever wants to stop comes first; what happened and what is asked take turns.
            match stop.or(ended).or(future::race(report, command)).await {
                Turn::Stop | Turn::Command(Ok(Command::Quit)) => return self.leave().await,
                Turn::Report(Some(report)) => self.voice.say(&Said::Report(&report))?,
                Turn::Command(Ok(command)) => self.obey(command).await?,
                Turn::Command(Err(sentence)) => self.voice.say(&Said::Error(&sentence))?,
                Turn::Report(None) => return broken(self.running.ended().await),
                Turn::Ended(ended) => return broken(ended),
            }
        }
    }

    /// Hands the queue to peers, as far as they take it in time, and tells the rest.
    async fn leave(&mut self) -> Result<(), Failure> {
        let (messages, _) = self.handle.held().await;
        let within = Config::default().timeouts.shutdown;
        self.voice.say(&Said::ShuttingDown { messages, within })?;
        let handle = self.handle.clone();
        let mut left = pin!(handle.shutdown());
        let left = loop {
            let left = async { ControlFlow::Break(left.as_mut().await) };
            let report = async { ControlFlow::Continue(self.notices.next().await) };
            match report.or(left).await {
                ControlFlow::Continue(Some(report)) => self.voice.say(&Said::Report(&report))?,
                ControlFlow::Continue(None) => break handle.shutdown().await,
                ControlFlow::Break(left) => break left,
            }
        };
        self.running.ended().await.or_else(|error| broken(Err(error)))?;
        while let Some(report) = self.notices.next().await {
            self.voice.say(&Said::Report(&report))?;
        }
        self.voice.say(&Said::ShutDown { left })?;
        Ok(())
    }

    /// Does what a line of the console asks for, and says what came of it unless a notice will.
    async fn obey(&mut self, command: Command) -> Result<(), Failure> {
        let Self { handle, voice, .. } = self;
        let (verb, tower, done) = match command {
            Command::Enqueue(message) => {
                if let Err(refused) = handle.enqueue(message).await {
                    voice.say(&Said::Error(&not_queued(&refused)))?;
                }
                return Ok(());
            }
            Command::Expand(tower) => {
                let done = handle.expand(&tower).await.map_err(|why| not_known(&tower, why));
                ("expand", tower, done)
            }
            Command::Announce(tower) => {
                let done = handle.announce(&tower).await.map_err(|why| not_known(&tower, why));
                ("announce", tower, done)
            }
            Command::Ignore(tower) => {
                let done = handle.ignore(&tower).await.map_err(|why| not_known(&tower, why));
                ("ignore", tower, done)
            }
            Command::Heed(tower) => {
                let done = handle.heed(&tower).await.then_some(()).ok_or_else(|| {
                    format!("{tower} was not ignored, so there is nothing to undo.")
                });
                ("heed", tower, done)
            }
            Command::Peek => {
                let held = handle.peek().await;
                return Ok(voice.say(&Said::Peek(&held))?);
            }
            Command::Survey => {
                let peers = handle.survey().await;
                return Ok(voice.say(&Said::Survey(&peers))?);
            }
            Command::Stats => {
                let (stats, held) = (handle.stats().await, handle.held().await);
                return Ok(voice.say(&Said::Stats { stats: &stats, held })?);
            }
            Command::Help => return Ok(voice.say(&Said::Help)?),
            Command::Quit => return Ok(()),
        };
        match done {
            Ok(()) => voice.say(&Said::Done { verb, tower: &tower })?,
            Err(sentence) => voice.say(&Said::Error(&sentence))?,
        }
        Ok(())
    }
}

/// The next of a channel. One that has closed has nothing to say, for ever: the end of the input leaves the tower running.
async fn take<T>(from: &Receiver<T>) -> T {
    match from.recv().await {
        Ok(next) => next,
        Err(_) => future::pending().await,
    }
}

fn broken(ended: io::Result<()>) -> Result<(), Failure> {
    Err(Failure::failed(match ended {
        Ok(()) => "The tower ended although nobody asked it to: start it again.".to_owned(),
        Err(error) => format!("The tower broke ({error}): start it again."),
    }))
}

fn not_queued(refused: &RefusedMessage) -> String {
    let bytes = refused.message.body().len();
    match refused.why {
        EnqueueError::Full => "The queue is full (a fifth of it is kept for messages of other towers) and the message was not queued: wait until peers have taken some, or start the \
                               tower with a larger --max-queue or --max-queue-bytes."
            .into(),
        EnqueueError::TooLarge { max } => format!(
            "The message has {bytes} bytes where {max} are allowed, and was not queued: send it in parts, or start the \
             tower with a larger --max-message."
        ),
        EnqueueError::ShuttingDown => "The tower is leaving and the message was not queued: enqueue it at another tower.".into(),
        why => format!("The message was not queued: {why}."),
    }
}

fn not_known(tower: &Address, why: ExpandError) -> String {
    match why {
        ExpandError::OwnAddress => format!("{tower} is this tower itself."),
        ExpandError::Ignored => format!("{tower} is ignored: write heed {tower} first."),
        ExpandError::TableFull => {
            format!("There is no room for {tower} among the towers known here: try again later.")
        }
        ExpandError::ShuttingDown => "The tower is leaving.".into(),
        why => format!("{tower}: {why}."),
    }
}
