//! The towers of the demo, and what they have notified.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clacks_proto::driver::Handle;
use clacks_proto::tls::{Identity, SecureTower, Trust};
use clacks_proto::{Address, Config, MessageState, Notice, SendRate, Status, Tower};
use smol::channel::{self, Receiver, Sender};
use smol::future::FutureExt;
use smol::{Task, Timer};

use super::Number;
use super::narrator::Narrator;
use crate::args::{DemoArgs, Runtime};
use crate::control::ControlledTower;
use crate::dashboard::{self, BoundDashboard, Dashboard};
use crate::error::Failure;
use crate::runtime::RunningTower;
use crate::{identity, setup};

/// How many messages a demo tower sends each second: twenty times the default, so that the demo
/// takes seconds.
pub(super) const SEND_RATE: u32 = 20;

/// How long to wait for anything: many times what it takes, for busy machines.
const TIMEOUT: Duration = Duration::from_secs(90);

/// How long notices are gathered before a condition is checked again.
const CHECK_INTERVAL: Duration = Duration::from_millis(20);

/// How long to wait for a person who opens the dashboard. The value is a guess.
const PAGE_LIMIT: Duration = Duration::from_secs(60);

/// Four towers on this machine, of which some run.
pub(super) struct DemoNetwork {
    runtime: Runtime,
    /// The configuration of each tower.
    pub(super) config: Config,
    towers: Vec<DemoTower>,
    notices: Receiver<(Number, Notice)>,
    sender: Sender<(Number, Notice)>,
    /// How long anything may take before it counts as not seen.
    pub(super) timeout: Duration,
    /// The notices since the last [`mark`](Self::mark).
    since_mark: Vec<(Number, Notice)>,
    pub(super) narrator: Narrator,
    /// The dashboard of tower 1, before that tower runs.
    bound: Option<BoundDashboard>,
    dashboard: Option<Dashboard>,
}

/// What a tower keeps while it is down.
struct DemoTower {
    address: Address,
    identity: Identity,
    /// The port, from the start of the demo until the tower first takes it.
    reserved: Option<TcpListener>,
    running: Option<RunningTower<SecureTower>>,
    /// Forwards the notices of the running tower, or of the last one.
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

impl DemoNetwork {
    /// Takes four ports and generates four identities.
    pub(super) fn new(args: &DemoArgs) -> Result<Self, Failure> {
        let mut towers = Vec::new();
        for number in Number::ALL {
            let listener = reserve(args.base_port, number)?;
            let address = listener
                .local_addr()
                .ok()
                .and_then(|socket| Address::try_from(socket).ok())
                .ok_or_else(|| Failure::failed("The port of a listener cannot be told."))?;
            let (identity, reserved) = (identity::generate()?, Some(listener));
            towers.push(DemoTower { address, identity, reserved, running: None, forwarding: None });
        }
        let bound = dashboard::bind(&args.http)?;
        let (sender, notices) = channel::unbounded();
        let addresses = towers.iter().map(|tower| tower.address.clone()).collect();
        Ok(Self {
            runtime: args.runtime,
            config: config(args.original),
            towers,
            notices,
            sender,
            timeout: TIMEOUT,
            since_mark: Vec::new(),
            narrator: Narrator::new(args.json, addresses)?,
            bound,
            dashboard: None,
        })
    }

    /// Starts a tower. It keeps nothing of an earlier start but its address and identity.
    pub(super) fn start(&mut self, number: Number, config: Config) -> Result<(), Stop> {
        let tower = &mut self.towers[number.index()];
        let listener = match tower.reserved.take() {
            Some(listener) => listener,
            None => take_port(number, tower.address.port().get())?,
        };
        let machine = Tower::new(config, tower.address.clone(), &setup::fresh_seed()?)
            .map_err(Failure::failed)?;
        let machine = setup::secure(machine, &tower.identity, Trust::Open)?;
        let (running, mut notices) =
            RunningTower::start(self.runtime, machine, listener).map_err(|error| {
                Failure::failed(format_args!("Tower {} cannot start ({error}).", number.0))
            })?;
        if let Some(bound) = self.bound.take_if(|_| number == Number(1)) {
            // Pages cannot stop a tower.
            let (stop, _) = channel::bounded(1);
            let handle = running.handle.clone();
            let shown = handle.notices();
            let control = Arc::new(ControlledTower::new(handle, shown, stop, None));
            self.dashboard = Some(Dashboard::start(bound, control.clone())?);
            smol::spawn(async move { control.run().await }).detach();
        }
        let sender = self.sender.clone();
        tower.forwarding = Some(smol::spawn(async move {
            while let Some(notice) = notices.recv().await {
                if sender.send((number, notice)).await.is_err() {
                    return;
                }
            }
        }));
        tower.running = Some(running);
        let fingerprint = tower.identity.fingerprint();
        Ok(self.narrator.listening(number, fingerprint)?)
    }

    /// Kills a tower: its sockets are closed without a goodbye. Returns how many messages it held.
    ///
    /// All its notices are in the channel when this returns.
    pub(super) async fn kill(&mut self, number: Number) -> usize {
        let tower = &mut self.towers[number.index()];
        let Some(running) = tower.running.take() else { return 0 };
        let handle = running.handle.clone();
        running.kill().await;
        if let Some(forwarding) = tower.forwarding.take() {
            forwarding.await;
        }
        handle.queue_usage().messages
    }

    pub(super) fn handle(&self, number: Number) -> Result<&Handle<SecureTower>, Stop> {
        match &self.towers[number.index()].running {
            Some(running) => Ok(&running.handle),
            None => Err(Stop::Unseen(format!("tower {} is down", number.0))),
        }
    }

    pub(super) fn address(&self, number: Number) -> &Address {
        &self.towers[number.index()].address
    }

    /// Narrates until a condition holds. `what` describes the condition.
    pub(super) async fn until(
        &mut self,
        what: &str,
        condition: impl Fn(&Self) -> bool,
    ) -> Result<(), Stop> {
        let deadline = Instant::now() + self.timeout;
        while !condition(self) {
            if Instant::now() >= deadline {
                let waited = self.timeout.as_secs();
                return Err(Stop::Unseen(format!("not seen in {waited} seconds: {what}")));
            }
            self.watch(CHECK_INTERVAL).await?;
        }
        Ok(())
    }

    /// Waits until a page shows tower 1, if there is a dashboard. Otherwise a person would open the
    /// page when the first steps are over.
    pub(super) async fn wait_for_page(&mut self) -> Result<(), Stop> {
        let Some(dashboard) = &self.dashboard else { return Ok(()) };
        self.narrator.dashboard(&dashboard.output(), PAGE_LIMIT)?;
        let deadline = Instant::now() + PAGE_LIMIT;
        while self.dashboard.as_ref().is_some_and(|it| !it.was_opened())
            && Instant::now() < deadline
        {
            self.watch(CHECK_INTERVAL).await?;
        }
        Ok(())
    }

    /// Narrates for a while.
    pub(super) async fn watch(&mut self, time: Duration) -> Result<(), Stop> {
        let end = Instant::now() + time;
        loop {
            let next = async { self.notices.recv().await.ok() };
            let over = async {
                Timer::at(end).await;
                None
            };
            // The end comes first: towers that never fall silent must not hold it up.
            let Some((number, notice)) = over.or(next).await else { return Ok(()) };
            self.narrator.notice(number, &notice)?;
            self.since_mark.push((number, notice));
        }
    }

    /// Forgets the notices up to now.
    pub(super) fn mark(&mut self) -> Result<(), Stop> {
        while let Ok((number, notice)) = self.notices.try_recv() {
            self.narrator.notice(number, &notice)?;
        }
        self.since_mark.clear();
        Ok(())
    }

    /// Returns whether `by` has learned of `tower` since the mark.
    pub(super) fn has_discovered(&self, by: Number, tower: Number) -> bool {
        let address = self.address(tower);
        self.has_notified(
            by,
            |notice| matches!(notice, Notice::TowerDiscovered { peer } if peer == address),
        )
    }

    /// Returns whether `tower` has changed to `status` for `by` since the mark.
    pub(super) fn has_found(&self, by: Number, tower: Number, status: Status) -> bool {
        let address = self.address(tower);
        self.has_notified(by, |notice| {
            matches!(notice, Notice::StatusChanged { peer, to, .. }
                if peer == address && *to == status)
        })
    }

    /// Returns whether `by` has received a message since the mark.
    pub(super) fn has_received(&self, by: Number) -> bool {
        self.has_notified(by, |notice| matches!(notice, Notice::MessageReceived { .. }))
    }

    fn has_notified(&self, by: Number, is_it: impl Fn(&Notice) -> bool) -> bool {
        self.since_mark.iter().any(|(number, notice)| *number == by && is_it(notice))
    }

    /// Returns whether `tower` has `status` for `by` now.
    pub(super) fn holds(&self, by: Number, tower: Number, status: Status) -> bool {
        let Ok(handle) = self.handle(by) else { return false };
        handle.find(self.address(tower)).is_some_and(|peer| peer.status == status)
    }

    /// Returns whether all other `towers` are alive for `by` now.
    pub(super) fn holds_alive(&self, by: Number, towers: &[Number]) -> bool {
        towers.iter().all(|tower| *tower == by || self.holds(by, *tower, Status::Alive))
    }

    /// Returns whether all of `towers` are alive for each other now.
    pub(super) fn all_alive(&self, towers: &[Number]) -> bool {
        towers.iter().all(|by| self.holds_alive(*by, towers))
    }

    /// Returns whether a message waits at one of `towers` and is not in flight.
    pub(super) fn is_waiting_at(&self, towers: &[Number]) -> bool {
        let mut handles = towers.iter().filter_map(|number| self.handle(*number).ok());
        handles.any(|handle| handle.peek().iter().any(|held| held.state == MessageState::Waiting))
    }

    /// Returns whether a tower holds a message.
    pub(super) fn is_held_by(&self, number: Number) -> bool {
        self.handle(number).is_ok_and(|handle| handle.queue_usage().messages > 0)
    }
}

/// Returns the configuration of a tower that does everything in seconds.
fn config(is_original: bool) -> Config {
    let mut config = if is_original { Config::original() } else { Config::default() };
    config.send_rate = SendRate::per_second(SEND_RATE);
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
            "Tower {} needs port {port} of 127.0.0.1 and cannot have it ({error}): stop the \
             program that has it, or choose four other ports, for example with --base-port 9001 (0 \
             picks free ones).",
            number.0
        ))
    })
}
