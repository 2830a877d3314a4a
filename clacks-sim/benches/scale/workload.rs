//! The networks that are measured. All of them: each tower knows a number of drawn others and learns of nobody else, and bytes take 50 ms.

use std::time::Duration;

use clacks_proto::SendRate;
use clacks_sim::metrics::Metric;
use clacks_sim::scenario::{ContactVerb, Shape};
use clacks_sim::{Distribution, Options, Scenario, Simulation};

use crate::Figures;
use crate::machine::{Stopwatch, resident};

/// Runs one of the bundled scenarios from its beginning for so many events: also how it comes up is measured.
pub(crate) fn bundled(name: &str, towers: u32, events: u64) -> Figures {
    let mut scenario =
        Scenario::named(name).expect("a workload, or the name of a bundled scenario");
    scenario.towers = towers;
    run(&scenario, Duration::ZERO, events)
}

/// What goes on in a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Workload {
    /// As many messages as towers, each tower sends one a second to one of 8 peers. All links stay open.
    Busy,
    /// No messages; each tower announces itself once a minute to one of 8 peers. Links close after 10 s.
    Quiet,
    /// The same, with a heartbeat of an hour: after a while hardly a link is left.
    Idle,
    /// 16 peers, 5 messages of 64 bytes in the queue, and hardly anything moves.
    Stocked,
}

impl Workload {
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "busy" => Some(Self::Busy),
            "quiet" => Some(Self::Quiet),
            "idle" => Some(Self::Idle),
            "stocked" => Some(Self::Stocked),
            _ => None,
        }
    }

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
                // All are up by then.
                (messages.count, messages.at) = (each * towers, Some(Duration::from_secs(2)));
            })
            .link(|link| link.latency = Distribution::Constant(Duration::from_millis(50)))
            .checks(|checks| checks.liveness = false)
            .tower(|tower| {
                tower.max_peers = degree as usize;
                tower.max_links = 2 * degree as usize;
                tower.max_half_open = degree as usize;
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
        // Without keys, a link carries messages in both directions as soon as it is open.
        scenario.keys = false;
        scenario
    }

    /// How long it takes until things are as they stay, in virtual time: in a busy network, until nearly every peer was drawn once.
    fn warm_up(self, towers: u32) -> Duration {
        Duration::from_secs(match self {
            // Longer would take minutes.
            Self::Busy if towers > 100_000 => 12,
            Self::Busy => 30,
            Self::Quiet => 180,
            Self::Idle | Self::Stocked => 3 * 3_600,
        })
    }

    /// Runs it until it is warm and for so many events more.
    pub(crate) fn measure(self, towers: u32, events: u64) -> Figures {
        // The quietest networks need no more: what counts is what they take.
        let events = if matches!(self, Self::Idle | Self::Stocked) { 10_000 } else { events };
        run(&self.scenario(towers), self.warm_up(towers), events)
    }
}

#[allow(clippy::cast_precision_loss, reason = "counts of towers and links are exact in a float")]
fn run(scenario: &Scenario, warm_up: Duration, events: u64) -> Figures {
    let before = resident();
    let mut simulation = Simulation::new(scenario, ".".as_ref(), Options::default())
        .expect("a scenario without mistakes");
    let mut begun = simulation.advance(0);
    while begun.at < warm_up {
        begun = simulation.advance(10_000);
        assert!(!begun.is_over, "the network came to rest");
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
        // Each is at two towers.
        links: 2.0 * gauge(Metric::Connections),
        peers: gauge(Metric::PeersNew) + gauge(Metric::PeersAlive),
        messages: gauge(Metric::Copies),
        hash: Some(outcome.hash),
    }
}
