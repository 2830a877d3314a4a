//! Where the demo's towers stand, and the one who watches them.

use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

use clacks_proto::tls::{Identity, Trust};
use clacks_proto::{Address, Config, Report, SendRate, Status, Tower};
use smol::channel::{self, Receiver, Sender};
use smol::future::FutureExt;
use smol::{Task, Timer};

use super::Number;
use super::teller::Teller;
use crate::args::{DemoArgs, Runtime};
use crate::error::Failure;
use crate::runtime::{Handle, Running};
use crate::{identity, setup};

/// How many messages a demo tower hands on each second. Twenty times the default, so that all is seen in seconds.
pub(super) const RATE: u32 = 20;

/// How long to wait for anything: many times what it takes, for machines that are busy.
const PATIENCE: Duration = Duration::from_secs(90);

/// How long reports are gathered before the towers are looked at again.
const GLANCE: Duration = Duration::from_millis(20);

/// The towers, what they reported in this step, and the voice that tells it.
pub(super) struct Stage {
    runtime: Runtime,
    places: Vec<Place>,
    heard: Receiver<(Number, Report)>,
    ear: Sender<(Number, Report)>,
    /// How long anything may take before it counts as not seen.
    pub(super) patience: Duration,
    /// Everything that was reported since the last [`mark`](Self::mark).
    record: Vec<(Number, Report)>,
    pub(super) teller: Teller,
}

/// What is a tower's own, also while it is down.
struct Place {
    address: Address,
    identity: Identity,
    /// The port, from the start until the tower first takes it.
    reserved: Option<TcpListener>,
    running: Option<Running>,
    /// Forwards the reports of the running tower, or of the last one.
    forwarding: Option<Task<()>>,
}

/// Why a step does not go on.
pub(super) enum Stop {
    /// Something did not happen.
    Unseen(String),
    /// The demo itself cannot go on.
    Failed(Failure),
}

impl<E: Into<Failure>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl Stage {
    /// Takes the four ports and makes the four identities.
    pub(super) fn new(args: &DemoArgs) -> Result<Self, Failure> {
        let mut places = Vec::new();
        for number in Number::ALL {
            let listener = reserve(args.base_port, number)?;
            let address = listener
                .local_addr()
                .ok()
                .and_then(|socket| Address::try_from(socket).ok())
                .ok_or_else(|| Failure::failed("The port of a listener cannot be told."))?;
            let identity = identity::generate()?;
            let reserved = Some(listener);
            places.push(Place { address, identity, reserved, running: None, forwarding: None });
        }
        let (ear, heard) = channel::unbounded();
        let addresses = places.iter().map(|place| place.address.clone()).collect();
        let teller = Teller::new(args.json, addresses)?;
        Ok(Self {
            runtime: args.runtime,
            places,
            heard,
            ear,
            patience: PATIENCE,
            record: Vec::new(),
            teller,
        })
    }

    /// Starts a tower: with its own address and identity, and with nothing else from an earlier life.
    pub(super) fn raise(&mut self, number: Number, config: Config) -> Result<(), Stop> {
        let place = &mut self.places[number.index()];
        let listener = match place.reserved.take() {
            Some(listener) => listener,
            None => take_port(number, place.address.port().get())?,
        };
        let tower = Tower::new(config, place.address.clone(), &setup::fresh_seed()?)
            .map_err(Failure::failed)?;
        let machine = setup::secure(tower, &place.identity, Trust::Open)?;
        let (running, mut notices) =
            Running::start(self.runtime, machine, listener).map_err(|error| {
                Failure::failed(format_args!("Tower {} cannot start ({error}).", number.0))
            })?;
        let ear = self.ear.clone();
        place.forwarding = Some(smol::spawn(async move {
            while let Some(report) = notices.next().await {
                if ear.send((number, report)).await.is_err() {
                    return;
                }
            }
        }));
        let fingerprint = place.identity.fingerprint();
        place.running = Some(running);
        Ok(self.teller.listening(number, fingerprint)?)
    }

    /// Kills a tower: its sockets close without a goodbye. Returns how many messages it held.
    ///
    /// All its reports have been heard when this returns.
    pub(super) async fn kill(&mut self, number: Number) -> usize {
        let place = &mut self.places[number.index()];
        let Some(running) = place.running.take() else { return 0 };
        let handle = running.handle.clone();
        running.kill().await;
        if let Some(forwarding) = place.forwarding.take() {
            forwarding.await;
        }
        handle.held().await.0
    }

    pub(super) fn handle(&self, number: Number) -> Result<&Handle, Stop> {
        match &self.places[number.index()].running {
            Some(running) => Ok(&running.handle),
            None => Err(Stop::Unseen(format!("tower {} is down", number.0))),
        }
    }

    pub(super) fn address(&self, number: Number) -> &Address {
        &self.places[number.index()].address
    }

    /// Watches and tells until `seen`; `what` is what is waited for.
    pub(super) async fn until(
        &mut self,
        what: &str,
        seen: impl AsyncFn(&Self) -> bool,
    ) -> Result<(), Stop> {
        let deadline = Instant::now() + self.patience;
        while !seen(self).await {
            if Instant::now() >= deadline {
                let waited = self.patience.as_secs();
                return Err(Stop::Unseen(format!("not seen in {waited} seconds: {what}")));
            }
            self.watch(GLANCE).await?;
        }
        Ok(())
    }

    /// Watches and tells for a while.
    pub(super) async fn watch(&mut self, how_long: Duration) -> Result<(), Stop> {
        let end = Instant::now() + how_long;
        loop {
            let next = async { self.heard.recv().await.ok() };
            let over = async {
                Timer::at(end).await;
                None
            };
            // The end first: towers that never fall silent must not hold it up.
            let Some((number, report)) = over.or(next).await else { return Ok(()) };
            self.teller.report(number, &report)?;
            self.record.push((number, report));
        }
    }

    /// From here on only what comes now counts.
    pub(super) async fn mark(&mut self) -> Result<(), Stop> {
        while let Ok((number, report)) = self.heard.try_recv() {
            self.teller.report(number, &report)?;
        }
        self.record.clear();
        Ok(())
    }

    /// Whether `by` has learned of `tower` since the mark.
    pub(super) fn has_discovered(&self, by: Number, tower: Number) -> bool {
        let address = self.address(tower);
        self.record.iter().any(|(number, report)| {
            *number == by && matches!(report, Report::TowerDiscovered { tower } if tower == address)
        })
    }

    /// Whether, since the mark, `by` has found that `tower` is now `status` and was not before.
    pub(super) fn has_found(&self, by: Number, tower: Number, status: Status) -> bool {
        let address = self.address(tower);
        self.record.iter().any(|(number, report)| {
            *number == by
                && matches!(report, Report::StatusChanged { tower, to, .. }
                    if tower == address && *to == status)
        })
    }

    /// How often `by` has received a message since the mark.
    pub(super) fn receipts(&self, by: Number) -> usize {
        self.record
            .iter()
            .filter(|(number, report)| {
                *number == by && matches!(report, Report::MessageReceived { .. })
            })
            .count()
    }

    /// Whether `by` holds `tower` to be `status`, now.
    pub(super) async fn holds(&self, by: Number, tower: Number, status: Status) -> bool {
        let Ok(handle) = self.handle(by) else { return false };
        let address = self.address(tower);
        handle.survey().await.iter().any(|peer| peer.address == *address && peer.status == status)
    }

    /// Whether `by` holds all others of `towers` alive, now.
    pub(super) async fn holds_alive(&self, by: Number, towers: &[Number]) -> bool {
        for tower in towers {
            if *tower != by && !self.holds(by, *tower, Status::Alive).await {
                return false;
            }
        }
        true
    }

    /// Whether all of `towers` hold each other alive, now.
    pub(super) async fn all_alive(&self, towers: &[Number]) -> bool {
        for by in towers {
            if !self.holds_alive(*by, towers).await {
                return false;
            }
        }
        true
    }

    /// Whether one of `towers` has a message waiting that is on its way to nobody.
    pub(super) async fn is_waiting_at(&self, towers: &[Number]) -> bool {
        for number in towers {
            let Ok(handle) = self.handle(*number) else { continue };
            if handle.peek().await.iter().any(|held| held.in_flight.is_none()) {
                return true;
            }
        }
        false
    }

    /// Whether one of `towers` holds anything at all.
    pub(super) async fn is_held_by(&self, number: Number) -> bool {
        match self.handle(number) {
            Ok(handle) => handle.held().await.0 > 0,
            Err(_) => false,
        }
    }
}

/// A tower that is quick to do everything.
pub(super) fn config() -> Config {
    let mut config = Config::default();
    config.send_rate = SendRate::per_second(RATE);
    config.heartbeat = Some(Duration::from_secs(1));
    config.probe_backoff = Duration::from_millis(250);
    config
}

fn reserve(base: u16, number: Number) -> Result<TcpListener, Failure> {
    if base == 0 {
        return take_port(number, 0);
    }
    let port = u16::try_from(number.index()).ok().and_then(|index| base.checked_add(index));
    match port {
        Some(port) => take_port(number, port),
        None => Err(Failure::usage(
            "The demo needs four ports and they end at 65535: give a --base-port of at most 65532.",
        )),
    }
}

fn take_port(number: Number, port: u16) -> Result<TcpListener, Failure> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(|error| {
        Failure::failed(format_args!(
            "Tower {} needs port {port} of 127.0.0.1 and cannot have it ({error}): stop the program that has it, or \
             choose four other ports, for example with --base-port 9001 (0 picks free ones).",
            number.0
        ))
    })
}
