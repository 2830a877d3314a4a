//! The workloads of the benchmark.
//!
//! In all workloads, each tower has a fixed number of random peers and discovers no other towers.
//! The latency of all links is 50 ms.

use std::time::Duration;

use clacks_proto::SendRate;
use clacks_sim::metrics::Metric;
use clacks_sim::scenario::{ContactVerb, Shape};
use clacks_sim::{Distribution, Options, Scenario, Simulation};

use crate::Figures;
use crate::machine::{Stopwatch, resident};

/// Measures the first `events` events of a bundled scenario, including the start of all towers.
pub(crate) fn bundled(name: &str, towers: u32, events: u64) -> Figures {
    let mut scenario =
        Scenario::named(name).expect("a workload, or the name of a bundled scenario");
    scenario.towers = towers;
    run(&scenario, Duration::ZERO, events)
}

/// The configuration and the traffic of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Workload {
    /// As many messages as towers. Each tower sends at most one message in a second to one of 8
    /// peers. All links stay open.
    Busy,
    /// No messages. Each tower announces itself once a minute to one of 8 peers. Idle links close
    /// after 10 s.
    Quiet,
    /// No messages. The heartbeat is 1 h, so almost all links are closed after the warm-up.
    Idle,
    /// 16 peers and 5 messages of 64 bytes for each tower. A tower sends one message in an hour, so
    /// almost all messages stay in their queues.
    Stocked,
}

impl Workload {
    /// Returns the workload with a name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "busy" => Some(Self::Busy),
            "quiet" => Some(Self::Quiet),
            "idle" => Some(Self::Idle),
            "stocked" => Some(Self::Stocked),
            _ => None,
        }
    }

    /// Returns the scenario of the workload.
    fn scenario(self, towers: u32) -> Scenario {
        let degree = if self == Self::Stocked { 16 } else { 8 };
        let each = match self {
            Self::Busy => 1,
            Self::Quiet | Self::Idle => 0,
            Self::Stocked => 5,
        };
        let hour = Duration::from_secs(3_600);
        let mut scenario = Scenario::new("scale", towers, 24 * 100 * hour)
            .contacts(|contacts| {
                (contacts.shape, contacts.degree, contacts.verb) =
                    (Shape::Regular, degree, ContactVerb::Expand);
                contacts.spread = Duration::from_secs(1);
            })
            .messages(|messages| {
                // All towers are running at this time.
                (messages.count, messages.at) = (each * towers, Some(Duration::from_secs(2)));
            })
            .link(|link| link.latency = Distribution::Constant(Duration::from_millis(50)))
            .checks(|checks| checks.convergence = false)
            .tower(|tower| {
                tower.recent = 0;
                tower.max_peers = degree as usize;
                tower.max_links = 2 * degree as usize;
                tower.max_unproved = degree as usize;
                match self {
                    Self::Busy => {}
                    Self::Quiet => tower.timeouts.idle = Duration::from_secs(10),
                    Self::Idle | Self::Stocked => {
                        tower.timeouts.idle = Duration::from_secs(10);
                        tower.heartbeat = Some(hour);
                        tower.send_rate = SendRate::Every(hour);
                    }
                }
            });
        scenario.sample = Some(hour);
        // Without keys, a new link carries messages in both directions at once.
        scenario.keys = false;
        scenario
    }

    /// Returns the virtual time until the network is in a steady state. In a busy network, each
    /// tower has then sent a message to nearly all its peers.
    fn warm_up(self, towers: u32) -> Duration {
        Duration::from_secs(match self {
            // 30 s of a large network take minutes of CPU time.
            Self::Busy if towers > 100_000 => 12,
            Self::Busy => 30,
            Self::Quiet => 180,
            Self::Idle | Self::Stocked => 3 * 3_600,
        })
    }

    /// Runs the network through its warm-up, and measures the next `events` events.
    pub(crate) fn measure(self, towers: u32, events: u64) -> Figures {
        // The measured quantity of these workloads is the memory, not the speed.
        let events = if matches!(self, Self::Idle | Self::Stocked) { 10_000 } else { events };
        run(&self.scenario(towers), self.warm_up(towers), events)
    }
}

/// Runs a scenario through its warm-up, and measures the next `events` events.
#[allow(clippy::cast_precision_loss, reason = "counts of towers and links are exact in a float")]
fn run(scenario: &Scenario, warm_up: Duration, events: u64) -> Figures {
    let before = resident();
    let mut simulation =
        Simulation::new(scenario, ".".as_ref(), Options::default()).expect("a valid scenario");
    let mut begun = simulation.advance(0);
    while begun.at < warm_up {
        begun = simulation.advance(10_000);
        assert!(!begun.is_over, "the run ended during the warm-up");
    }
    let stopwatch = Stopwatch::start();
    let mut now = begun;
    while now.events < begun.events + events && !now.is_over {
        now = simulation.advance(10_000);
    }
    let (cpu_seconds, wall_seconds) = stopwatch.read();
    let bytes = resident().saturating_sub(before);
    let outcome = simulation.finish();
    assert_eq!(outcome.violated, 0, "{:?}", outcome.violations);
    let last = outcome.series.samples().last();
    let gauge = |metric| last.and_then(|sample| sample.value(metric)).unwrap_or(0.0);
    Figures {
        events: now.events - begun.events,
        cpu_seconds,
        wall_seconds,
        bytes,
        // A connection is a link of two towers.
        links: 2.0 * gauge(Metric::Connections),
        peers: gauge(Metric::PeersNew) + gauge(Metric::PeersAlive),
        messages: gauge(Metric::Copies),
        hash: Some(outcome.hash),
    }
}
