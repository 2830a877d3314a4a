//! The plan of a run: what each tower does, and when. The network carries the plan out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use clacks_proto::{Config, Instant};

use crate::distribution::Distribution;
use crate::network::AddressBook;
use crate::observation::{Fault, TowerId};
use crate::roles::Roles;
pub(crate) use crate::scenario::{
    ContactVerb, CrashKind, Direction, Link as LinkConditions, PartitionEffect as Severance,
};

/// Everything that the network needs to know.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The seed of all random numbers.
    pub(crate) seed: u64,
    /// Whether towers prove keys to each other.
    pub(crate) keys: bool,
    /// Which address belongs to which tower.
    pub(crate) addresses: AddressBook,
    /// Which towers have which role.
    pub(crate) roles: Roles,
    /// The number of towers, running or not.
    pub(crate) towers: u32,
    /// The configuration of all towers.
    pub(crate) config: Arc<Config>,
    /// The longest time of the run: the scenario's time and the time to settle.
    pub(crate) time: Duration,
    /// When the last fault is over, and random faults stop on paths.
    pub(crate) faults_end: Instant,
    /// The conditions at the start on all links without a path.
    pub(crate) conditions: LinkConditions,
    /// Other conditions on some links. The first path that fits counts.
    pub(crate) paths: Vec<Path>,
    /// The length of a message's body in bytes, at least 8: it begins with its number.
    pub(crate) message_size: usize,
    /// The addresses that each tower knows when it starts.
    pub(crate) contacts: Contacts,
    /// What is done, in the order of time.
    pub(crate) steps: Vec<(Instant, Step)>,
    /// Towers that leave and return at random.
    pub(crate) churn: Option<Churn>,
    /// The interval of samples.
    pub(crate) sample_every: Duration,
}

impl Plan {
    /// Returns the planned faults with their numbers. The number is `None` for random faults.
    pub(crate) fn asked(&self) -> Vec<(Fault, Option<u64>)> {
        let mut counts: BTreeMap<Fault, Option<u64>> = BTreeMap::new();
        let mut count = |fault| {
            if let Some(count) = counts.entry(fault).or_insert(Some(0)) {
                *count += 1;
            }
        };
        let mut all = vec![&self.conditions];
        all.extend(self.paths.iter().map(|path| &*path.conditions));
        let mut starts = 0;
        for (_, step) in &self.steps {
            match step {
                // The first start of a tower is no restart.
                Step::Start { .. } => {
                    starts += 1;
                    if starts > self.towers {
                        count(Fault::Restart);
                    }
                }
                Step::Crash { .. } => count(Fault::Crash),
                Step::Leave { .. } => count(Fault::Leave),
                Step::Pause { .. } => count(Fault::Pause),
                Step::Resume { .. } => count(Fault::Resume),
                Step::Clock { step, drift_ppm, .. } => {
                    if *step != 0 {
                        count(Fault::ClockStep);
                    }
                    if *drift_ppm != 0 {
                        count(Fault::ClockDrift);
                    }
                }
                Step::Part { .. } => count(Fault::Partition),
                Step::Heal { .. } => count(Fault::Heal),
                Step::LinkConditions { conditions } => {
                    count(Fault::LinkConditions);
                    all.extend(conditions.as_deref());
                }
                _ => {}
            }
        }
        let cuts = self.steps.iter().any(|(_, step)| matches!(step, Step::Cut { .. }));
        // A partition that stopped no bytes tested nothing.
        let parts = self.steps.iter().any(|(_, step)| matches!(step, Step::Part { .. }));
        let by_chance = [
            (Fault::Cut, cuts),
            (Fault::Refused, all.iter().any(|link| link.refused > 0.0)),
            (Fault::Unanswered, all.iter().any(|link| link.unanswered > 0.0)),
            (Fault::Broken, all.iter().any(|link| link.broken > 0.0)),
            (Fault::Corrupted, all.iter().any(|link| link.corrupted > 0.0)),
            (Fault::Silenced, all.iter().any(|link| link.silenced > 0.0)),
            (Fault::Crash, self.churn.as_ref().is_some_and(|churn| churn.graceful < 1.0)),
            (Fault::Leave, self.churn.as_ref().is_some_and(|churn| churn.graceful > 0.0)),
            (Fault::Restart, self.churn.is_some()),
            (Fault::Parted, parts),
        ];
        for (fault, _) in by_chance.into_iter().filter(|(_, is_asked)| *is_asked) {
            counts.insert(fault, None);
        }
        counts.into_iter().collect()
    }
}

/// The addresses that towers know when they start.
#[derive(Clone, Debug, Default)]
pub(crate) struct Contacts {
    /// The index of each tower's first contact, with one more entry than towers. Empty if there are
    /// no contacts.
    pub(crate) first: Vec<u32>,
    /// The contacts of all towers.
    pub(crate) all: Vec<TowerId>,
    /// What a tower does with its contacts.
    pub(crate) verb: ContactVerb,
}

impl Contacts {
    /// Returns the contacts of a tower.
    pub(crate) fn of(&self, tower: TowerId) -> &[TowerId] {
        let place = |index: u32| self.first.get(index as usize).map(|place| *place as usize);
        let range = place(tower.0).zip(place(tower.0 + 1));
        range.and_then(|(from, to)| self.all.get(from..to)).unwrap_or_default()
    }
}

/// Other conditions on the links from some towers to others.
#[derive(Clone, Debug)]
pub(crate) struct Path {
    pub(crate) from: Group,
    pub(crate) to: Group,
    pub(crate) conditions: Arc<LinkConditions>,
    /// The conditions from [`Plan::faults_end`] on: without random faults.
    pub(crate) calm: Arc<LinkConditions>,
}

/// A set of towers.
#[derive(Clone, Debug)]
pub(crate) enum Group {
    /// All towers.
    All,
    /// The towers from the first number to before the second.
    Range(u32, u32),
    /// A list in ascending order.
    These(Arc<[u32]>),
}

impl Group {
    /// Returns whether a tower is in the group.
    pub(crate) fn has(&self, tower: TowerId) -> bool {
        match self {
            Self::All => true,
            Self::Range(from, to) => (*from..*to).contains(&tower.0),
            Self::These(towers) => towers.binary_search(&tower.0).is_ok(),
        }
    }
}

/// An action on the network or on a tower.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// A tower starts, or restarts with the same address and an empty memory.
    Start { tower: TowerId, contacts: WithContacts },
    /// A tower crashes.
    Crash { tower: TowerId, how: CrashKind },
    /// A tower begins to shut down.
    Leave { tower: TowerId },
    /// A tower's process is suspended. Its connections stay open.
    Pause { tower: TowerId },
    /// A tower's process goes on.
    Resume { tower: TowerId },
    /// A tower's clock jumps by `step` nanoseconds, and runs faster by `drift_ppm` parts per
    /// million. A clock that is set back stands still until it is right again.
    Clock { tower: TowerId, step: i64, drift_ppm: i32 },
    /// A partition begins.
    Part { id: u32, partition: Partition },
    /// A partition ends.
    Heal { id: u32 },
    /// The conditions of all links without a path change. `None` restores those of the start.
    LinkConditions { conditions: Option<Box<LinkConditions>> },
    /// All connections of a tower are reset.
    Cut { tower: TowerId },
    /// The application of a tower enqueues messages.
    Enqueue { tower: TowerId, count: u32 },
    /// The application of a tower adds a peer.
    Expand { tower: TowerId, peer: TowerId },
    /// The application of a tower announces it to a peer.
    Announce { tower: TowerId, peer: TowerId },
    /// The application of a tower ignores a peer.
    Ignore { tower: TowerId, peer: TowerId },
    /// The application of a tower unignores a peer.
    Unignore { tower: TowerId, peer: TowerId },
}

/// Whether a tower that starts is told its contacts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WithContacts {
    /// The tower is told its contacts.
    Told,
    /// The tower knows no address. Other towers must find it.
    Untold,
}

/// A partition of the network.
#[derive(Clone, Debug)]
pub(crate) struct Partition {
    /// The first group. The second group is all other towers.
    pub(crate) inside: Group,
    /// The direction in which bytes are stopped.
    pub(crate) direction: Direction,
    /// What towers notice.
    pub(crate) how: Severance,
}

/// Towers that leave and return at random.
#[derive(Clone, Debug)]
pub(crate) struct Churn {
    /// The towers that leave and return.
    pub(crate) towers: Group,
    /// When the churn begins and ends.
    pub(crate) from: Instant,
    pub(crate) until: Instant,
    /// The length of a session.
    pub(crate) session: Distribution,
    /// The length of an absence.
    pub(crate) absence: Distribution,
    /// The share of sessions that end with a graceful shutdown. The others end with a crash.
    pub(crate) graceful: f64,
    /// Whether a tower that returns is told its contacts.
    pub(crate) contacts: WithContacts,
}
