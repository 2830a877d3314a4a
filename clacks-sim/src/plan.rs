//! The plan of a run: the actions of each tower with their times. The network executes the plan.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use clacks_proto::{Config, Instant};

use crate::closed_form::message_survival;
use crate::distribution::Distribution;
use crate::files::Files;
use crate::network::AddressBook;
use crate::observation::{Fault, TowerId};
use crate::roles::Roles;
pub(crate) use crate::scenario::{
    ContactVerb, CrashKind, Direction, Link as LinkConditions, LinkOverrides, PartitionEffect,
};

/// The complete input of a network.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The seed of all random numbers.
    pub(crate) seed: u64,
    /// Whether towers authenticate each other with keys.
    pub(crate) keys: bool,
    /// The tower of each address.
    pub(crate) addresses: AddressBook,
    /// The towers that have a role.
    pub(crate) roles: Roles,
    /// The number of towers, running or not, with the clients of files.
    pub(crate) towers: u32,
    /// The number of towers without the clients of files, which come last.
    pub(crate) members: u32,
    /// The files that clients put into the network.
    pub(crate) files: Option<Arc<Files>>,
    /// The configuration of all towers.
    pub(crate) config: Arc<Config>,
    /// The hold with which applications of towers without a role accept messages.
    pub(crate) hold: Option<Duration>,
    /// The maximum duration of the run: the time of the scenario, plus the time to settle.
    pub(crate) time: Duration,
    /// The time at which the last fault ends. Random faults on paths stop at this time.
    pub(crate) faults_end: Instant,
    /// The conditions at the start of the run. They apply to all links without a path.
    pub(crate) conditions: LinkConditions,
    /// Conditions of some links. The first path that matches a link applies.
    pub(crate) paths: Vec<Path>,
    /// The length of the body of a message in bytes. At least 8, because the body begins with the
    /// number of the message.
    pub(crate) message_size: usize,
    /// The addresses that each tower knows when it starts.
    pub(crate) contacts: Contacts,
    /// The actions, ordered by time.
    pub(crate) steps: Vec<(Instant, Step)>,
    /// The towers that leave and return at random.
    pub(crate) churn: Option<Churn>,
    /// The interval between two samples.
    pub(crate) sample_every: Duration,
}

impl Plan {
    /// Returns the share of the messages held between two times that are held at the end of it, if
    /// nothing but churn ends them.
    pub(crate) fn survival(&self, from: Instant, until: Instant) -> f64 {
        let Some(churn) = &self.churn else { return 1.0 };
        let time = until.min(churn.until).duration_since(from.max(churn.from)).as_secs_f64();
        message_survival(time / churn.session.mean().as_secs_f64(), churn.graceful)
    }

    /// Returns the planned faults with their counts. The count of a random fault is `None`.
    pub(crate) fn planned_faults(&self) -> Vec<(Fault, Option<u64>)> {
        let mut counts: BTreeMap<Fault, Option<u64>> = BTreeMap::new();
        let mut count = |fault| {
            if let Some(count) = counts.entry(fault).or_insert(Some(0)) {
                *count += 1;
            }
        };
        let mut all = vec![self.conditions.clone()];
        all.extend(self.paths.iter().map(|path| (*path.conditions.until_faults_end).clone()));
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
                Step::Partition { .. } => count(Fault::Partition),
                Step::Heal { .. } => count(Fault::Heal),
                Step::ChangeConditions { link, .. } => {
                    count(Fault::LinkConditions);
                    all.push(self.conditions.with(link));
                }
                Step::RestoreConditions { .. } => count(Fault::LinkConditions),
                _ => {}
            }
        }
        let cuts = self.steps.iter().any(|(_, step)| matches!(step, Step::Cut { .. }));
        // A partition must block a dial or bytes at least once.
        let parts = self.steps.iter().any(|(_, step)| matches!(step, Step::Partition { .. }));
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
            (Fault::Blocked, parts),
        ];
        for (fault, _) in by_chance.into_iter().filter(|(_, is_planned)| *is_planned) {
            counts.insert(fault, None);
        }
        counts.into_iter().collect()
    }
}

/// The addresses that towers know when they start.
#[derive(Clone, Debug, Default)]
pub(crate) struct Contacts {
    /// The index in `all` of the first contact of each tower. The last of `towers + 1` entries is
    /// the length of `all`. Empty if no tower has contacts.
    pub(crate) first: Vec<u32>,
    /// The contacts of all towers.
    pub(crate) all: Vec<TowerId>,
    /// The call with which an application adds its contacts.
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

/// The conditions of the links from one group of towers to another group.
#[derive(Clone, Debug)]
pub(crate) struct Path {
    /// The towers that send.
    pub(crate) from: Group,
    /// The towers that receive.
    pub(crate) to: Group,
    /// The conditions.
    pub(crate) conditions: PathConditions,
}

/// The conditions of links before and after the end of the faults.
#[derive(Clone, Debug)]
pub(crate) struct PathConditions {
    /// The conditions until the end of the faults.
    pub(crate) until_faults_end: Arc<LinkConditions>,
    /// The conditions after the end of the faults: the same ones without random faults.
    pub(crate) after_faults: Arc<LinkConditions>,
}

impl From<LinkConditions> for PathConditions {
    fn from(link: LinkConditions) -> Self {
        Self { after_faults: link.without_random_faults().into(), until_faults_end: link.into() }
    }
}

/// A set of towers.
#[derive(Clone, Debug)]
pub(crate) enum Group {
    /// All towers.
    All,
    /// The towers from the first number up to, but not including, the second number.
    Range(u32, u32),
    /// The towers with these numbers, in ascending order.
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
    /// A tower starts, or restarts with the same address and without its earlier state.
    Start { tower: TowerId, contacts: WithContacts },
    /// A tower crashes.
    Crash { tower: TowerId, how: CrashKind },
    /// A tower begins to shut down.
    Leave { tower: TowerId },
    /// The process of a tower is suspended. The connections of the tower stay open.
    Pause { tower: TowerId },
    /// The process of a tower is resumed.
    Resume { tower: TowerId },
    /// The clock of a tower jumps by `step` nanoseconds, and runs faster by `drift_ppm` parts per
    /// million. The clock is monotonic: after a negative step, the clock stands still until the
    /// time from before the step is reached again.
    Clock { tower: TowerId, step: i64, drift_ppm: i32 },
    /// A partition begins.
    Partition { id: u32, partition: Partition },
    /// A partition ends.
    Heal { id: u32 },
    /// The conditions of all links without a path change. If several changes overlap and concern
    /// the same field, the change with the highest id applies.
    ChangeConditions { id: u32, link: Box<LinkOverrides> },
    /// A change of conditions ends.
    RestoreConditions { id: u32 },
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

/// Whether the application of a tower adds contacts when the tower starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WithContacts {
    /// The application adds the contacts of the tower.
    Added,
    /// The tower starts without an address. Other towers must contact the tower.
    NotAdded,
}

/// A partition of the network.
#[derive(Clone, Debug)]
pub(crate) struct Partition {
    /// The first group. The second group is all other towers.
    pub(crate) inside: Group,
    /// The direction in which bytes are blocked.
    pub(crate) direction: Direction,
    /// The effect of the partition on dials and connections.
    pub(crate) how: PartitionEffect,
}

/// Churn: towers that leave and return at random.
#[derive(Clone, Debug)]
pub(crate) struct Churn {
    /// The towers that leave and return.
    pub(crate) towers: Group,
    /// The time at which the churn begins.
    pub(crate) from: Instant,
    /// The time at which the churn ends.
    pub(crate) until: Instant,
    /// The duration of a session.
    pub(crate) session: Distribution,
    /// The duration of an absence.
    pub(crate) absence: Distribution,
    /// The share of sessions that end with a graceful shutdown. The others end with a crash.
    pub(crate) graceful: f64,
    /// Whether the application of a tower that returns adds contacts.
    pub(crate) contacts: WithContacts,
}
