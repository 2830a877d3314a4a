//! The one implementation of the verbs of a running tower.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use clacks_proto::driver::{Delivery, Handle, Notices, Wait};
use clacks_proto::tls::SecureTower;
use clacks_proto::{
    Address, Config, EnqueueError, EnqueueOptions, ExpandError, Fingerprint, HeldMessage, LinkInfo,
    Message, Nonce, Notice, Peer, QueueUsage, RefusedMessage, StateMachine, Stats, Status,
    StatusCounts, Tower,
};
use clacks_store::{Store, StoreStats};
use smol::Timer;
use smol::channel::Sender;
use smol::future;
use smol::stream::{Stream, StreamExt};

use super::events::{Events, Subscription};
use super::history::History;
use super::protocol::Request;
use super::status::{QueueStatus, SAMPLE_INTERVAL, Samples, TowerStatus, millis};
use super::troubles::{Trouble, Troubles, remedy, remedy_of_status};
use crate::config::Changes;
use crate::output::{Entry, Output, SurveyedPeer};

/// The most bytes of messages in an answer to `peek`.
const MAX_PEEKED: usize = 4 * 1024 * 1024;
/// About the bytes of a message in JSON without its body.
const OVERHEAD_OF_A_MESSAGE: usize = 200;
/// How often the state is read again if an event comes in between. The number of an answer is then
/// that of the state, unless the tower is very busy.
const CONSISTENT_READS: usize = 4;

/// Returns what fails now and what a person can do, if something does.
pub(crate) type Check = Box<dyn Fn() -> Option<(String, &'static str)> + Send + Sync>;

/// A running tower with its verbs. All fronts share it: the console, the control socket and others.
///
/// - [`answer`](Self::answer) carries out any [`Request`], and waits if the request asks for it.
///   [`carry_out`](Self::carry_out) never waits.
/// - [`subscribe`](Self::subscribe) returns the events.
/// - [`status`](Self::status) returns the state, with the number of the last event before it.
pub(crate) struct ControlledTower {
    tower: Box<dyn Verbs>,
    /// The only reader of notices. Events get their numbers in its order.
    notices: Mutex<Notices>,
    events: Arc<Events>,
    troubles: Mutex<Troubles>,
    samples: Mutex<Samples>,
    history: Mutex<History>,
    checks: Mutex<Vec<Check>>,
    start: Instant,
    stop: Sender<()>,
}

impl ControlledTower {
    /// Returns the control of a tower. A message on `stop` asks its owner to shut it down. `socket`
    /// is the path of the control socket.
    pub(crate) fn new<M: MayHaveStore + Send + 'static>(
        tower: Handle<M>,
        notices: Notices,
        stop: Sender<()>,
        socket: Option<PathBuf>,
    ) -> Self {
        let start = Instant::now();
        let control = Self {
            tower: Box::new(tower),
            notices: Mutex::new(notices),
            events: Arc::default(),
            troubles: Mutex::default(),
            samples: Mutex::new(Samples::new(start)),
            history: Mutex::new(History::new(start)),
            checks: Mutex::default(),
            start,
            stop,
        };
        // They are known from an earlier start, or from the options.
        for peer in control.tower.survey() {
            lock(&control.troubles).add_familiar(&peer.address);
        }
        let (address, fingerprint) = (control.address().clone(), control.tower.identity());
        control.events.push(Output::Listening { address, fingerprint, control: socket });
        control
    }

    /// Turns notices into events until the driver has ended.
    pub(crate) async fn run(&self) {
        let mut samples = Timer::interval(SAMPLE_INTERVAL);
        loop {
            let next = future::poll_fn(|context| {
                // The lock is held until the event has its number.
                let mut notices = lock(&self.notices);
                Pin::new(&mut *notices)
                    .poll_next(context)
                    .map(|notice| Some(notice.map(|notice| self.on_notice(notice))))
            });
            let sample = async {
                samples.next().await;
                None
            };
            // A busy tower must not keep the samples from being taken.
            match future::race(next, sample).await {
                Some(Some(())) => {}
                Some(None) => return,
                None => self.sample(Instant::now()),
            }
        }
    }

    fn sample(&self, now: Instant) {
        let stats = self.tower.stats();
        lock(&self.samples).add(now, &stats);
        lock(&self.history).add(now, self.tower.queue_usage(), &stats);
        // The clock of the driver stops while the machine sleeps, and a person may set the other.
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.tower.set_clock(unix.as_secs());
    }

    fn on_notice(&self, notice: Notice) {
        // The owner reports the end of the shutdown when all sockets are closed.
        if !matches!(notice, Notice::ShutDown { .. }) {
            self.push(Output::Notice(notice));
        }
    }

    /// Adds an event.
    fn push(&self, output: Output) {
        let entry = self.events.push(output);
        lock(&self.troubles).observe(&entry);
    }

    /// Reports that the shutdown has begun.
    pub(crate) fn on_shutting_down(&self, within: Duration) {
        let messages = self.tower.queue_usage().messages;
        self.push(Output::ShuttingDown { messages, within_ms: millis(within) });
    }

    /// Reports that the configuration has been read again.
    pub(crate) fn on_reloaded(&self, changes: Changes) {
        self.catch_up();
        self.push(Output::Reloaded { changes });
    }

    /// Reports the end of the tower, and ends all subscriptions.
    pub(crate) fn on_ended(&self, left: usize) {
        self.catch_up();
        self.push(Output::Notice(Notice::ShutDown { left }));
        self.events.close();
    }

    /// Waits until the driver has made progress. Returns `false` after the end of the driver.
    pub(crate) fn next_turn(&self) -> Wait<bool> {
        self.tower.next_turn()
    }

    /// Returns a subscription to the events after the one with a number. `None` means from now on.
    pub(crate) fn subscribe(&self, after: Option<u64>) -> Subscription {
        self.events.subscribe(after)
    }

    /// Returns the address at which peers dial the tower.
    pub(crate) fn address(&self) -> &Address {
        self.tower.address()
    }

    /// Returns the fingerprint of the tower's key.
    pub(crate) fn fingerprint(&self) -> Option<Fingerprint> {
        self.tower.identity()
    }

    /// Returns the configuration.
    pub(crate) fn config(&self) -> &Config {
        self.tower.config()
    }

    /// Asks the owner of the tower to shut it down.
    pub(crate) fn stop(&self) {
        // Fails if that was asked for already.
        let _ = self.stop.try_send(());
    }

    /// Adds a check for a trouble that no event reports.
    pub(crate) fn add_check(&self, check: Check) {
        lock(&self.checks).push(check);
    }

    /// Returns the state of the tower.
    pub(crate) fn status(&self) -> Entry {
        self.read(|| {
            let (tower, config) = (&self.tower, self.tower.config());
            let (stats, usage, now) = (tower.stats(), tower.queue_usage(), Instant::now());
            let peers = tower.status_counts();
            let mut troubles = self.present_troubles(peers, usage);
            troubles.extend(lock(&self.troubles).all());
            Output::Status(Box::new(TowerStatus {
                address: tower.address().clone(),
                fingerprint: tower.identity(),
                network: config.network.clone(),
                version: env!("CARGO_PKG_VERSION").into(),
                uptime_ms: millis(self.start.elapsed()),
                queue: QueueStatus {
                    messages: usage.messages,
                    max_messages: config.max_queue_messages,
                    bytes: usage.bytes,
                    max_bytes: config.max_queue_bytes,
                },
                peers,
                links: tower.links().iter().filter(|link| link.is_open).count(),
                max_links: config.max_links,
                rates: lock(&self.samples).rates(now, &stats),
                store: tower.store(),
                troubles,
                stats,
            }))
        })
    }

    /// Returns the status and the known towers of the same moment, unless the tower is very busy.
    pub(crate) fn overview(&self) -> (Entry, Vec<SurveyedPeer>) {
        let mut towers = Vec::new();
        let mut status = self.status();
        for _ in 0..CONSISTENT_READS {
            let survey = self.read_once(|| self.survey());
            let is_same = survey.seq == status.seq;
            if let Output::Survey { towers: found } = survey.output {
                towers = found;
            }
            if is_same {
                break;
            }
            status = self.status();
        }
        (status, towers)
    }

    /// Returns troubles that follow from the state, and that no event reports.
    fn present_troubles(&self, peers: StatusCounts, usage: QueueUsage) -> Vec<Trouble> {
        let config = self.tower.config();
        let share = usize::from(config.local_share);
        let is_over = |used: usize, max: usize| used >= max.saturating_mul(share) / 100;
        let is_full = is_over(usage.messages, config.max_queue_messages)
            || is_over(usage.bytes, config.max_queue_bytes);
        let known = peers.new + peers.alive + peers.lost + peers.dead;
        let (time, seq) = (SystemTime::now(), self.events.last());
        let mut found: Vec<_> = lock(&self.checks).iter().filter_map(|check| check()).collect();
        let full = is_full.then_some((
            "the queue is full: it takes no messages of `clacks send`".to_owned(),
            "Wait until peers have taken some, add peers with `clacks announce`, or start the \
             tower with a larger --max-queue or --max-queue-bytes.",
        ));
        let alone = (known == 0).then_some((
            "no other tower is known".to_owned(),
            "Make this one known to another tower with `clacks announce HOST:PORT`.",
        ));
        found.extend(full.into_iter().chain(alone));
        let trouble = |(what, remedy): (String, &str)| Trouble {
            time,
            seq,
            count: 1,
            peer: None,
            what,
            remedy: remedy.into(),
        };
        found.into_iter().map(trouble).collect()
    }

    /// Returns the state of the tower in a few words.
    pub(crate) fn summary(&self) -> String {
        let (peers, held) = (self.tower.status_counts(), self.tower.queue_usage().messages);
        let known = peers.new + peers.alive + peers.lost + peers.dead;
        let troubles = match lock(&self.troubles).len() {
            0 => String::new(),
            1 => ", 1 trouble (see status)".into(),
            count => format!(", {count} troubles (see status)"),
        };
        let (address, alive) = (self.address(), peers.alive);
        format!("{address}  {alive} of {known} towers alive, {held} held{troubles}")
    }

    /// Carries out a request. The answer to an `enqueue` that waits comes when a peer has confirmed
    /// the message.
    pub(crate) async fn answer(&self, request: Request) -> Entry {
        match request {
            Request::Enqueue { message, lifetime_ms, wait: true } => {
                let delivery = self.tower.deliver(message, options(lifetime_ms));
                let output = match delivery {
                    Ok(delivery) => match delivery.await {
                        Some(Delivery { to, .. }) => Output::Delivered { to },
                        None => Output::error(
                            "No peer took the message before its lifetime or the tower ended: \
                             send it again.",
                        ),
                    },
                    Err(refused) => Output::error(not_enqueued(&refused)),
                };
                self.entry(output)
            }
            Request::Announce { tower, wait: true } => self.announce(&tower).await,
            request => self.carry_out(request),
        }
    }

    /// Announces the tower to a peer. Returns when the peer has confirmed, or at the first failure.
    async fn announce(&self, tower: &Address) -> Entry {
        let mut events = self.subscribe(None);
        let answer = self.carry_out(Request::Announce { tower: tower.clone(), wait: false });
        if !matches!(answer.output, Output::Announcing { .. }) {
            return answer;
        }
        while let Some(event) = events.next().await {
            let Output::Notice(notice) = &event.output else { continue };
            match result_of_announcement(notice, tower) {
                Some(Ok(())) => return Entry { output: event.output.clone(), ..*event },
                Some(Err(message)) => return self.entry(Output::Error { message }),
                None => {}
            }
            // The result may be among the events that were missed.
            if matches!(notice, Notice::Missed { .. }) && self.is_alive(tower) {
                return self.entry(Output::Notice(Notice::Announced { to: tower.clone() }));
            }
        }
        self.entry(Output::error("The tower ended before the other one confirmed."))
    }

    fn is_alive(&self, tower: &Address) -> bool {
        let is_it = |peer: &Peer| peer.address == *tower && peer.status == Status::Alive;
        self.tower.survey().iter().any(is_it)
    }

    /// Carries out a request without waiting.
    pub(crate) fn carry_out(&self, request: Request) -> Entry {
        let tower = &self.tower;
        if let Request::Announce { tower: named, .. } | Request::Expand { tower: named } = &request
        {
            lock(&self.troubles).add_familiar(named);
        }
        let output = match request {
            Request::Peek => return self.read_once(|| first_messages(tower.peek())),
            Request::Survey => return self.read(|| self.survey()),
            Request::Stats => return self.read(|| self.stats()),
            Request::Status => return self.status(),
            Request::History => Output::History { points: lock(&self.history).points() },
            Request::Enqueue { message, lifetime_ms, .. } => {
                match tower.enqueue(message, options(lifetime_ms)) {
                    Ok(nonce) => Output::Enqueued { nonce },
                    Err(refused) => Output::error(not_enqueued(&refused)),
                }
            }
            Request::Announce { tower: to, .. } => match tower.announce(&to) {
                Ok(()) => Output::Announcing { tower: to },
                Err(error) => Output::error(not_added(&to, error)),
            },
            Request::Expand { tower: peer } => {
                let result = tower.expand(&peer);
                done("expand", &peer, result.map_err(|error| not_added(&peer, error)))
            }
            Request::Ignore { tower: peer } => {
                let result = tower.ignore(&peer);
                done("ignore", &peer, result.map_err(|error| not_added(&peer, error)))
            }
            Request::Unignore { tower: peer } => {
                let result = tower.unignore(&peer).then_some(());
                done(
                    "unignore",
                    &peer,
                    result.ok_or_else(|| {
                        format!("{peer} was not ignored, so there is nothing to undo.")
                    }),
                )
            }
            Request::Forget { tower: peer } => {
                let result = tower.forget(&peer).then_some(());
                done(
                    "forget",
                    &peer,
                    result.ok_or_else(|| {
                        format!("{peer} is not known, so there is nothing to forget.")
                    }),
                )
            }
            Request::Watch { .. } => Output::error("Events are sent on the control socket only."),
            Request::Stop => {
                self.stop();
                Output::Stopping
            }
        };
        self.entry(output)
    }

    fn survey(&self) -> Output {
        let now = self.tower.now();
        let peers = self.tower.survey().into_iter();
        Output::Survey { towers: peers.map(|peer| SurveyedPeer::new(peer, now)).collect() }
    }

    fn stats(&self) -> Output {
        let (stats, usage) = (Box::new(self.tower.stats()), self.tower.queue_usage());
        Output::Stats { held_messages: usage.messages, held_bytes: usage.bytes, stats }
    }

    /// Returns an entry after the events up to now.
    pub(crate) fn entry(&self, output: Output) -> Entry {
        self.read_once(|| output)
    }

    /// Returns what `getter` returns, with the number of the last event before it.
    fn read_once(&self, getter: impl FnOnce() -> Output) -> Entry {
        self.catch_up();
        let seq = self.events.last();
        Entry::now(getter(), seq)
    }

    /// Like [`read_once`](Self::read_once), but tries to find a moment without events.
    fn read(&self, getter: impl Fn() -> Output) -> Entry {
        let mut entry = self.read_once(&getter);
        for _ in 1..CONSISTENT_READS {
            self.catch_up();
            if entry.seq == self.events.last() {
                break;
            }
            entry = self.read_once(&getter);
        }
        entry
    }

    /// Turns the notices up to now into events.
    fn catch_up(&self) {
        let mut notices = lock(&self.notices);
        while let Ok(notice) = notices.try_recv() {
            self.on_notice(notice);
        }
    }
}

/// Returns the result of an announcement, if a notice reports it. The error is a sentence.
fn result_of_announcement(notice: &Notice, tower: &Address) -> Option<Result<(), String>> {
    let (why, remedy) = match notice {
        Notice::Announced { to } if to == tower => return Some(Ok(())),
        Notice::StatusChanged { peer, to: Status::Lost | Status::Dead, reason, .. }
            if peer == tower =>
        {
            (reason.to_string(), remedy_of_status(*reason))
        }
        // A link that was open may close meanwhile. This one was an attempt.
        Notice::LinkClosed { peer: Some(peer), reason, retry_in: Some(_), .. } if peer == tower => {
            (reason.to_string(), remedy(*reason))
        }
        _ => return None,
    };
    Some(Err(format!("{tower} was not reached: {why}. {remedy}")))
}

/// The verbs of a [`Handle`], whatever its state machine.
trait Verbs: Send + Sync {
    fn enqueue(&self, message: Message, options: EnqueueOptions) -> Result<Nonce, RefusedMessage>;
    fn deliver(
        &self,
        message: Message,
        options: EnqueueOptions,
    ) -> Result<Wait<Option<Delivery>>, RefusedMessage>;
    fn expand(&self, address: &Address) -> Result<(), ExpandError>;
    fn announce(&self, address: &Address) -> Result<(), ExpandError>;
    fn ignore(&self, address: &Address) -> Result<(), ExpandError>;
    fn unignore(&self, address: &Address) -> bool;
    fn forget(&self, address: &Address) -> bool;
    fn peek(&self) -> Vec<HeldMessage>;
    fn survey(&self) -> Vec<Peer>;
    fn links(&self) -> Vec<LinkInfo>;
    fn stats(&self) -> Stats;
    fn queue_usage(&self) -> QueueUsage;
    fn status_counts(&self) -> StatusCounts;
    fn address(&self) -> &Address;
    fn identity(&self) -> Option<Fingerprint>;
    fn config(&self) -> &Config;
    fn now(&self) -> clacks_proto::Instant;
    fn next_turn(&self) -> Wait<bool>;
    fn store(&self) -> Option<StoreStats>;
    fn set_clock(&self, unix: u64);
}

/// A tower, with or without a store.
pub(crate) trait MayHaveStore: StateMachine {
    /// Returns what the store has done, if there is one.
    fn store_stats(&self) -> Option<StoreStats> {
        None
    }

    /// Returns by how many minutes the clocks of most peers are ahead, if they differ much.
    fn clock_difference(&self) -> Option<i32> {
        None
    }

    /// Sets the Unix time of the store, if there is one.
    fn set_clock(&mut self, _unix: u64, _now: clacks_proto::Instant) {}
}

impl MayHaveStore for Tower {}
impl MayHaveStore for SecureTower {}

impl<M: StateMachine> MayHaveStore for Store<M> {
    fn store_stats(&self) -> Option<StoreStats> {
        Some(self.stats())
    }

    fn clock_difference(&self) -> Option<i32> {
        Self::clock_difference(self)
    }

    fn set_clock(&mut self, unix: u64, now: clacks_proto::Instant) {
        Self::set_clock(self, unix, now);
    }
}

/// Implements [`Verbs`] by the methods of [`Handle`] that have the same names.
macro_rules! verbs_of_handle {
    ($(fn $verb:ident($($argument:ident: $type:ty),*) -> $result:ty;)*) => {
        impl<M: MayHaveStore + Send + 'static> Verbs for Handle<M> {
            fn enqueue(
                &self,
                message: Message,
                options: EnqueueOptions,
            ) -> Result<Nonce, RefusedMessage> {
                self.enqueue_with(message, options)
            }

            fn deliver(
                &self,
                message: Message,
                options: EnqueueOptions,
            ) -> Result<Wait<Option<Delivery>>, RefusedMessage> {
                self.deliver_with(message, options)
            }

            fn address(&self) -> &Address {
                Handle::address(self)
            }

            fn config(&self) -> &Config {
                Handle::config(self)
            }

            fn store(&self) -> Option<StoreStats> {
                self.with(|machine, _| machine.store_stats()).flatten()
            }

            fn set_clock(&self, unix: u64) {
                let _ = self.with(|machine, now| MayHaveStore::set_clock(machine, unix, now));
            }

            $(fn $verb(&self, $($argument: $type),*) -> $result {
                Handle::$verb(self, $($argument),*)
            })*
        }
    };
}

verbs_of_handle! {
    fn expand(address: &Address) -> Result<(), ExpandError>;
    fn announce(address: &Address) -> Result<(), ExpandError>;
    fn ignore(address: &Address) -> Result<(), ExpandError>;
    fn unignore(address: &Address) -> bool;
    fn forget(address: &Address) -> bool;
    fn peek() -> Vec<HeldMessage>;
    fn survey() -> Vec<Peer>;
    fn links() -> Vec<LinkInfo>;
    fn stats() -> Stats;
    fn queue_usage() -> QueueUsage;
    fn status_counts() -> StatusCounts;
    fn identity() -> Option<Fingerprint>;
    fn now() -> clacks_proto::Instant;
    fn next_turn() -> Wait<bool>;
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn options(lifetime_ms: Option<u64>) -> EnqueueOptions {
    EnqueueOptions { lifetime: lifetime_ms.map(Duration::from_millis), ..Default::default() }
}

fn done(verb: &str, tower: &Address, result: Result<(), String>) -> Output {
    match result {
        Ok(()) => Output::Done { verb: verb.into(), tower: tower.clone() },
        Err(message) => Output::Error { message },
    }
}

/// Returns the answer to `peek`. That of a full queue would have hundreds of megabytes.
fn first_messages(mut messages: Vec<HeldMessage>) -> Output {
    let mut bytes = 0;
    let fits = messages.iter().take_while(|held| {
        bytes += held.message.len() + OVERHEAD_OF_A_MESSAGE;
        bytes <= MAX_PEEKED
    });
    // A message of the greatest length is shown, too.
    let shown = fits.count().max(1);
    let left_out = messages.len().saturating_sub(shown);
    messages.truncate(shown);
    Output::Peek { messages, left_out }
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
        ExpandError::Ignored => format!("{tower} is ignored: unignore it first."),
        ExpandError::TableFull => {
            format!("There is no room for {tower} among the towers known here: try again later.")
        }
        ExpandError::ShuttingDown => "The tower is leaving.".into(),
        error => format!("{tower}: {error}."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_a_failed_attempt_ends_the_wait_for_an_announcement() {
        let tower = "a:1".parse().unwrap();
        let result = |notice| {
            let notice: Notice = serde_json::from_value(notice).unwrap();
            result_of_announcement(&notice, &tower).map(|result| result.is_ok())
        };
        let closed = |peer: &str, retry_in_ms: Option<u64>| {
            result(json!({
                "event": "link_closed", "link": [0, 1], "peer": peer, "reason": "idle",
                "retry_in_ms": retry_in_ms,
            }))
        };
        assert_eq!(closed("a:1", None), None);
        assert_eq!(closed("b:1", Some(1)), None);
        assert_eq!(closed("a:1", Some(1)), Some(false));
        assert_eq!(result(json!({"event": "announced", "to": "a:1"})), Some(true));
        assert_eq!(result(json!({"event": "announced", "to": "b:1"})), None);
    }
}
