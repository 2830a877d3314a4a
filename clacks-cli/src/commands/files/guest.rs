//! A guest of a network in this process, which does the jobs.

use std::net::TcpListener;
use std::time::{Duration, SystemTime};

use clacks_proto::driver::Handle;
use clacks_proto::tls::{SecureTower, Trust};
use clacks_proto::{Config, Dialects, Seed, StateMachine, Tower};
use clacks_smol::Driver;
use clacks_store::{
    Client, ClientConfig, Group, GroupRoots, Job, JobEvent, Progress, Route, enable_client,
};

use super::access::Access;
use super::interrupt::Interrupt;
use crate::error::Failure;
use crate::identity::{self, Files};
use crate::setup;

/// How often the progress is looked at.
const TICK: Duration = Duration::from_millis(200);

/// How long the goodbye to towers may take.
const GOODBYE_LIMIT: Duration = Duration::from_millis(500);

/// The address of the own tower. No other tower receives it, because the tower is a guest.
const OWN_ADDRESS: &str = "guest.invalid:1";

/// A guest that runs.
pub(super) struct Guest {
    client: Box<dyn ClientHandle>,
    interrupt: Interrupt,
}

/// What happens next.
pub(super) enum Step {
    /// The job has an event.
    Event(JobEvent),
    /// Some time has passed.
    Tick,
    /// Ctrl-C.
    Interrupted,
}

/// How jobs are done.
pub(super) struct Options {
    pub(super) verify: u8,
    pub(super) is_patient: bool,
}

impl Guest {
    /// Starts a guest.
    pub(super) fn start(
        access: &Access,
        options: &Options,
        interrupt: Interrupt,
    ) -> Result<Self, Failure> {
        let mut client = ClientConfig::new(access.first.clone());
        client.route = if access.is_direct { Route::Direct } else { Route::Stem };
        client.first_hop = access.first_hop();
        client.order = Some(access.order);
        client.verify = options.verify;
        client.patient = options.is_patient;
        let seed = setup::fresh_seed()?;
        let tower = tower(access, &seed)?;
        let trust = &access.trust;
        let client = if trust.clear {
            run(tower, client, &seed)?
        } else {
            let identity = match &trust.state {
                Some(dir) => identity::load(&Files::within(dir))?,
                None => identity::generate()?,
            };
            let policy = match (&trust.roots, &trust.revoked) {
                (Some(roots), Some(revoked)) => {
                    Trust::Private(identity::roots_without(roots, revoked)?)
                }
                (Some(roots), None) => Trust::Private(identity::roots(roots)?),
                (None, _) => Trust::Open,
            };
            let tower: SecureTower = setup::secure(tower, &identity, policy)?;
            run(tower, client, &seed)?
        };
        Ok(Self { client, interrupt })
    }

    /// Starts a job.
    pub(super) fn begin(&self, job: Job) -> Result<(), Failure> {
        self.client.begin(job).ok_or_else(ended)
    }

    /// Lets a job go on after its forecast.
    pub(super) fn proceed(&self) -> Result<(), Failure> {
        self.client.proceed().ok_or_else(ended)
    }

    /// Supplies a group that a job needs.
    pub(super) fn supply(&self, group: Group, roots: &GroupRoots) -> Result<(), Failure> {
        self.client.supply(group, roots).ok_or_else(ended)
    }

    /// Waits for the next event, but not long.
    pub(super) fn next(&self) -> Result<Step, Failure> {
        if self.interrupt.is_requested() {
            return Ok(Step::Interrupted);
        }
        let event = self.client.next(TICK).ok_or_else(ended)?;
        Ok(event.map_or(Step::Tick, Step::Event))
    }

    /// Returns how far the job is.
    pub(super) fn progress(&self) -> Progress {
        self.client.progress().unwrap_or_default()
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.client.say_goodbye();
    }
}

fn ended() -> Failure {
    Failure::failed("The guest of the network ended: try again.")
}

/// Returns the tower of the guest.
fn tower(access: &Access, seed: &Seed) -> Result<Tower, Failure> {
    let mut config = Config::default();
    config.network.clone_from(&access.trust.network);
    // Towers of the JavaScript package have no stores.
    config.dialects = Dialects::Native;
    enable_client(&mut config);
    let cannot = |error: &dyn std::fmt::Display| Failure::failed(format_args!("{error}."));
    let own = OWN_ADDRESS.parse().map_err(|error| cannot(&error))?;
    Tower::new(config, own, seed).map_err(|error| cannot(&error))
}

/// Starts a client of this tower.
fn run<M: StateMachine + Send + 'static>(
    machine: M,
    config: ClientConfig,
    seed: &Seed,
) -> Result<Box<dyn ClientHandle>, Failure> {
    let cannot = |error: &dyn std::fmt::Display| {
        Failure::failed(format_args!("The guest of the network cannot start: {error}."))
    };
    let client = Client::new(machine, config, seed, unix_now()).map_err(|error| cannot(&error))?;
    // The driver needs a listener. No tower learns its address.
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| cannot(&error))?;
    let (handle, driver) = Driver::new(client, listener).map_err(|error| cannot(&error))?;
    smol::spawn(driver.run()).detach();
    Ok(Box::new(handle))
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// A client with or without TLS. The methods return `None` after the end of the driver.
trait ClientHandle {
    fn begin(&self, job: Job) -> Option<()>;
    fn proceed(&self) -> Option<()>;
    fn supply(&self, group: Group, roots: &GroupRoots) -> Option<()>;
    fn next(&self, limit: Duration) -> Option<Option<JobEvent>>;
    fn progress(&self) -> Option<Progress>;
    fn say_goodbye(&self);
}

impl<M: StateMachine + Send + 'static> ClientHandle for Handle<Client<M>> {
    fn begin(&self, job: Job) -> Option<()> {
        self.with(|client, now| client.start(job, now))
    }

    fn proceed(&self) -> Option<()> {
        self.with(Client::proceed)
    }

    fn supply(&self, group: Group, roots: &GroupRoots) -> Option<()> {
        self.with(|client, now| client.supply(group, roots, now))
    }

    fn next(&self, limit: Duration) -> Option<Option<JobEvent>> {
        let waited = self.wait(|client| client.has_event().then_some(())).wait_timeout(limit);
        match waited {
            Ok(Some(())) => self.with(|client, _| client.poll_event()),
            Ok(None) => None,
            Err(_) => {
                // A keeper runs for days, and the clock of its driver stops while the machine
                // sleeps.
                self.with(|client, now| client.set_clock(unix_now(), now))?;
                Some(None)
            }
        }
    }

    fn progress(&self) -> Option<Progress> {
        self.with(|client, _| client.progress())
    }

    fn say_goodbye(&self) {
        let _ = self.shutdown_within(GOODBYE_LIMIT).wait_timeout(GOODBYE_LIMIT * 2);
    }
}
