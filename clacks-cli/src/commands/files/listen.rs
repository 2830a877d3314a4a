//! `clacks get --listen`: takes the pieces from the messages that the tower of this machine
//! receives.
//!
//! The command only reads the events of the tower on its control socket. The tower does the same as
//! without it, so no other tower learns that the file is read.

use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use clacks_proto::Message;
use clacks_store::{Listener, ListeningForecast, ReadLink, StoreConfig};

use super::interrupt::Interrupt;
use super::link::{end_of, until_text};
use super::output::{Part, piece_not_written};
use super::report::{self, Report};
use crate::args::GetArgs;
use crate::control::socket::client::Client;
use crate::control::{Request, TowerStatus};
use crate::error::Failure;
use crate::output::Output;
use crate::output::text::grouped;

/// How often the progress is looked at.
const TICK: Duration = Duration::from_millis(200);

/// How often the tower is asked for its state.
const STATUS_INTERVAL: Duration = Duration::from_secs(5);

/// How much longer than its hour a piece is kept, because clocks differ.
const SKEW: Duration = Duration::from_secs(5 * 60);

/// The messages that wait between the reader of the socket and the listener. The tower keeps
/// further ones for a while.
const WAITING: usize = 64;

/// Listens until all groups can be restored.
pub(super) fn collect(
    args: &GetArgs,
    link: &ReadLink,
    part: &mut Part,
    interrupt: &Interrupt,
    report: &mut Report,
) -> Result<(), Failure> {
    let mut tower = RunningTower::connect(args.control.as_deref())?;
    let mut listener = Listener::new(&link.keep(), part.log.indices());
    // From here on, so that no message between the two is missed.
    let messages = tower.watch(args.control.as_deref())?;
    for message in tower.held()? {
        take(&mut listener, &message, part)?;
    }
    if !listener.is_complete() {
        check_end(args, link, &listener)?;
        let forecast = tower.forecast(&listener, left(link));
        report.listening_forecast(forecast.as_ref(), &tower.status.address, tower.others())?;
        let refusal = forecast.and_then(|it| it.refusal).filter(|_| !args.patient);
        if let Some(refusal) = refusal {
            return Err(Failure::Refused(report::refusal_sentence(&refusal)));
        }
    }
    let mut asked_at = Instant::now();
    while !listener.is_complete() {
        match messages.recv_timeout(TICK) {
            Ok(Ok(message)) => take(&mut listener, &message, part)?,
            Ok(Err(failure)) => return Err(failure),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err(tower_ended()),
        }
        if interrupt.is_requested() {
            report.clear();
            return Err(report::stopped(part));
        }
        check_end(args, link, &listener)?;
        if asked_at.elapsed() >= STATUS_INTERVAL {
            tower.refresh()?;
            asked_at = Instant::now();
        }
        let mut progress = listener.progress();
        progress.known = tower.others();
        progress.remaining = tower.forecast(&listener, Duration::MAX).map(|it| it.time);
        report.progress(&progress)?;
    }
    Ok(())
}

/// Keeps the piece in a message, if it is one.
fn take(listener: &mut Listener, message: &Message, part: &mut Part) -> Result<(), Failure> {
    if let Some((piece, _)) = listener.take(message) {
        part.log.push(&piece).map_err(|error| piece_not_written(part, &error))?;
    }
    Ok(())
}

/// Returns the time until no tower holds a piece that was put with the file.
fn left(link: &ReadLink) -> Duration {
    let ends_at = end_of(link.file().until) + SKEW;
    ends_at.duration_since(SystemTime::now()).unwrap_or_default()
}

fn tower_ended() -> Failure {
    Failure::failed(
        "The tower ended. Start it again, and run the same command again. It takes only the rest.",
    )
}

/// Fails if the time of the file is over and the options do not say to wait for a keeper.
fn check_end(args: &GetArgs, link: &ReadLink, listener: &Listener) -> Result<(), Failure> {
    if args.patient || !left(link).is_zero() {
        return Ok(());
    }
    let progress = listener.progress();
    Err(Failure::Gone(format!(
        "The file is over: {} of {} needed pieces came. It was put until {}. If a keeper keeps it \
         alive, add --patient to listen all the same.",
        grouped(progress.pieces.into()),
        grouped(progress.needed.into()),
        until_text(link.file().until)
    )))
}

/// The tower that runs here.
struct RunningTower {
    client: Client,
    status: TowerStatus,
}

impl RunningTower {
    fn connect(control: Option<&Path>) -> Result<Self, Failure> {
        let mut client = Client::connect(control).map_err(|failure| match failure {
            // The exit code of `NoTower` would mean here that the file is gone.
            Failure::NoTower(sentence) => Failure::Failed(sentence),
            failure => failure,
        })?;
        let status = status_of(&mut client)?;
        Ok(Self { client, status })
    }

    fn refresh(&mut self) -> Result<(), Failure> {
        self.status = status_of(&mut self.client)?;
        Ok(())
    }

    /// Returns the messages that the tower receives from now on.
    fn watch(&self, control: Option<&Path>) -> Result<Receiver<Received>, Failure> {
        let mut client = Client::connect(control)?;
        client.send(&Request::Watch { after: None })?;
        client.wait_for_ever()?;
        let (sender, messages) = sync_channel(WAITING);
        thread::Builder::new()
            .name("messages".into())
            .spawn(move || pass_on(client, &sender))
            .map_err(|error| {
                Failure::failed(format_args!("No thread can be started ({error})."))
            })?;
        Ok(messages)
    }

    /// Returns the messages that the tower holds. It leaves out the last ones of a long queue.
    fn held(&mut self) -> Result<Vec<Message>, Failure> {
        let answer = self.client.request(&Request::Peek)?;
        match answer.entry.map(|entry| entry.output) {
            Some(Output::Peek { messages, .. }) => {
                Ok(messages.into_iter().map(|held| held.message).collect())
            }
            _ => Ok(Vec::new()),
        }
    }

    /// Returns how many other towers are alive.
    fn others(&self) -> u32 {
        self.status.peers.alive
    }

    /// Returns what the rest will take. `None` if the tower has received no message lately.
    fn forecast(&self, listener: &Listener, left: Duration) -> Option<ListeningForecast> {
        let stay = stay(&self.status)?;
        Some(listener.forecast(stay.saturating_mul(self.others().max(1)), left))
    }
}

fn status_of(client: &mut Client) -> Result<TowerStatus, Failure> {
    let answer = client.request(&Request::Status)?;
    match answer.entry.map(|entry| entry.output) {
        Some(Output::Status(status)) => Ok(*status),
        _ => {
            Err(Failure::failed("The tower does not tell its state: restart it with this version."))
        }
    }
}

/// Returns how long a message stays at the tower: the messages held, divided by those received each
/// second. At a tower with a store, pieces rest at least for the hold. `None` if nothing is known.
fn stay(status: &TowerStatus) -> Option<Duration> {
    #[allow(clippy::cast_precision_loss, reason = "a time has few digits")]
    let seconds = status.queue.messages.max(1) as f64 / status.rates.received_per_s;
    let measured = (status.rates.received_per_s > 0.0)
        .then(|| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX));
    let hold = status.store.map(|_| StoreConfig::default().hold);
    measured.max(hold)
}

/// A message, or why there will be no more.
type Received = Result<Message, Failure>;

fn pass_on(mut client: Client, messages: &SyncSender<Received>) {
    loop {
        let message = match client.next() {
            Ok(None) => return,
            Err(failure) => Err(failure),
            Ok(Some(received)) => match received.entry.map(|entry| entry.output) {
                // Messages that leave were perhaps left out of the answer to `peek`.
                Some(Output::Notice(notice)) => match notice.message() {
                    Some(message) => Ok(message.clone()),
                    None => continue,
                },
                _ => continue,
            },
        };
        let is_last = message.is_err();
        // Fails at the end of the command.
        if messages.send(message).is_err() || is_last {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn status(messages: u64, rate: f64, has_store: bool) -> TowerStatus {
        let store = has_store.then(clacks_store::StoreStats::default);
        serde_json::from_value(json!({
            "address": "127.0.0.1:1", "fingerprint": null, "network": "clacks", "version": "1",
            "uptime_ms": 1,
            "queue": {"messages": messages, "max_messages": 9, "bytes": 0, "max_bytes": 9},
            "peers": clacks_proto::StatusCounts::default(), "links": 0, "max_links": 1,
            "rates": {"over_ms": 60_000, "received_per_s": rate, "delivered_per_s": rate},
            "store": store, "troubles": [], "stats": clacks_proto::Stats::default(),
        }))
        .unwrap()
    }

    #[test]
    fn the_stay_is_the_queue_by_the_rate_and_at_least_the_hold_of_a_store() {
        assert_eq!(stay(&status(30, 2.0, false)), Some(Duration::from_secs(15)));
        assert_eq!(stay(&status(30, 2.0, true)), Some(Duration::from_secs(600)));
        assert_eq!(stay(&status(3_000, 2.0, true)), Some(Duration::from_secs(1_500)));
        assert_eq!(stay(&status(30, 0.0, true)), Some(Duration::from_secs(600)));
        assert_eq!(stay(&status(30, 0.0, false)), None);
    }
}
