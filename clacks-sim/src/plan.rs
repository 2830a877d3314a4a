//! A scenario worked out: which tower does what and when. The world carries it out and decides nothing of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use clacks_proto::{Config, Instant};

use crate::distribution::Distribution;
use crate::network::AddressBook;
use crate::observation::{Fault, TowerId};
use crate::roles::Roles;

/// Everything that a world needs to know, besides the random numbers.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The seed of every random number.
    pub(crate) seed: u64,
    /// Whether towers prove keys to each other.
    pub(crate) keys: bool,
    /// Which address belongs to which tower.
    pub(crate) addresses: AddressBook,
    /// Which towers have which role.
    pub(crate) roles: Roles,
    /// How many towers there are, living or not.
    pub(crate) towers: u32,
    /// How each of them behaves.
    pub(crate) config: Arc<Config>,
    /// How long the run lasts.
    pub(crate) time: Duration,
    /// From when on nothing is done to the network any more.
    pub(crate) calm_from: Instant,
    /// How the network is at the start, everywhere that no path says something else.
    pub(crate) conditions: LinkConditions,
    /// Exceptions; the first that fits counts.
    pub(crate) paths: Vec<Path>,
    /// The length of a message's body in bytes, at least 8: it begins with its number.
    pub(crate) message_size: usize,
    /// Whom each tower knows when it comes up: `contacts[first_contact[n]..first_contact[n + 1]]`.
    pub(crate) contacts: Contacts,
    /// What is done, in the order of time.
    pub(crate) steps: Vec<(Instant, Step)>,
    /// Towers that come and go by themselves.
    pub(crate) churn: Option<Churn>,
    /// How often the state of the network is written down.
    pub(crate) sample_every: Duration,
}

impl Plan {
    /// The faults that it asks for, and how often; `None` where that is left to chance.
    pub(crate) fn asked(&self) -> Vec<(Fault, Option<u64>)> {
        let mut counts: BTreeMap<Fault, Option<u64>> = BTreeMap::new();
        let mut count = |fault| {
            if let Some(count) = counts.entry(fault).or_insert(Some(0)) {
                *count += 1;
            }
        };
        let mut weathers = vec![&self.conditions];
        weathers.extend(self.paths.iter().map(|path| &*path.conditions));
        let mut starts = 0;
        for (_, step) in &self.steps {
            match step {
                // The first one of each tower is none.
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
                    weathers.extend(conditions.as_deref());
                }
                _ => {}
            }
        }
        let cuts = self.steps.iter().any(|(_, step)| matches!(step, Step::Cut { .. }));
        // A partition that stops nothing has not tried anything.
        let parts = self.steps.iter().any(|(_, step)| matches!(step, Step::Part { .. }));
        let by_chance = [
            (Fault::Cut, cuts),
            (Fault::Refused, weathers.iter().any(|conditions| conditions.refused > 0.0)),
            (Fault::Unanswered, weathers.iter().any(|conditions| conditions.unanswered > 0.0)),
            (Fault::Broken, weathers.iter().any(|conditions| conditions.broken > 0.0)),
            (Fault::Corrupted, weathers.iter().any(|conditions| conditions.corrupted > 0.0)),
            (Fault::Silenced, weathers.iter().any(|conditions| conditions.silenced > 0.0)),
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

/// Whom towers know when they come up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Contacts {
    /// Where the contacts of each tower begin; one more entry than towers, or none at all.
    pub(crate) first: Vec<u32>,
    /// The contacts of all towers, one after the other.
    pub(crate) all: Vec<TowerId>,
    /// What a tower does with them.
    pub(crate) verb: ContactVerb,
}

impl Contacts {
    /// Whom a tower knows when it comes up.
    pub(crate) fn of(&self, tower: TowerId) -> &[TowerId] {
        let place = |index: u32| self.first.get(index as usize).map(|place| *place as usize);
        let range = place(tower.0).zip(place(tower.0 + 1));
        range.and_then(|(from, to)| self.all.get(from..to)).unwrap_or_default()
    }
}

/// What a tower does with an address that it is given at the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ContactVerb {
    /// It makes itself known to it at once.
    #[default]
    Announce,
    /// It adds it to its peers, as new.
    Expand,
}

/// What a directed link does to the bytes on it. Shares are probabilities from 0 to 1.
#[derive(Clone, Debug)]
pub(crate) struct LinkConditions {
    /// How long bytes are on their way: drawn once for each directed pair of towers.
    pub(crate) latency: Distribution,
    /// What comes on top, drawn for each segment. The order within a connection is kept.
    pub(crate) jitter: Option<Distribution>,
    /// Bytes a second; `None` is no limit.
    pub(crate) bandwidth: Option<u64>,
    /// The most bytes on their way on one connection in one direction; `None` is no limit.
    pub(crate) capacity: Option<u32>,
    /// The share of dials that are refused.
    pub(crate) refused: f64,
    /// The share of dials that are never answered.
    pub(crate) unanswered: f64,
    /// The share of segments in the middle of which the connection breaks.
    pub(crate) broken: f64,
    /// The share of segments of which one byte is altered.
    pub(crate) corrupted: f64,
    /// The share of segments with which the direction falls silent for ever, without an end.
    pub(crate) silenced: f64,
}

/// Another weather on some directed links.
#[derive(Clone, Debug)]
pub(crate) struct Path {
    pub(crate) from: Group,
    pub(crate) to: Group,
    pub(crate) conditions: Arc<LinkConditions>,
    /// The same without mishaps: how it is from [`Plan::calm_from`] on.
    pub(crate) calm: Arc<LinkConditions>,
}

/// A set of towers.
#[derive(Clone, Debug)]
pub(crate) enum Group {
    /// All of them.
    All,
    /// Those with the numbers from the first to before the second.
    Range(u32, u32),
    /// These, in ascending order.
    These(Arc<[u32]>),
}

impl Group {
    /// Whether a tower is in it.
    pub(crate) fn has(&self, tower: TowerId) -> bool {
        match self {
            Self::All => true,
            Self::Range(from, to) => (*from..*to).contains(&tower.0),
            Self::These(towers) => towers.binary_search(&tower.0).is_ok(),
        }
    }
}

/// Something that is done to the network or to a tower.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// A tower comes up: for the first time, or again with the same address and nothing in its memory.
    Start { tower: TowerId, contacts: WithContacts },
    /// A tower dies.
    Crash { tower: TowerId, how: CrashKind },
    /// A tower is asked to leave.
    Leave { tower: TowerId },
    /// A tower's process is stopped; its connections stand.
    Pause { tower: TowerId },
    /// A tower's process goes on.
    Resume { tower: TowerId },
    /// A tower's clock jumps by so many nanoseconds (a jump back makes it stand still until then), and is fast by so many parts per million from now on.
    Clock { tower: TowerId, step: i64, drift_ppm: i32 },
    /// The network is parted.
    Part { id: u32, partition: Partition },
    /// The partition with this number heals.
    Heal { id: u32 },
    /// The weather changes everywhere that no path says something else. With `None` it is as at the start.
    LinkConditions { conditions: Option<Box<LinkConditions>> },
    /// All connections of a tower break.
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

/// Whether a tower that comes up is told its contacts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WithContacts {
    /// It is.
    Told,
    /// It is not: others have to remember it.
    Untold,
}

/// How the others notice that a tower has died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CrashKind {
    /// Its process is gone: its connections are reset, and dials are refused.
    Process,
    /// Its machine is gone: its connections fall silent, and dials are never answered.
    Machine,
}

/// What can't reach what.
#[derive(Clone, Debug)]
pub(crate) struct Partition {
    /// Bytes from here to outside are stopped.
    pub(crate) inside: Group,
    /// In which direction.
    pub(crate) direction: Direction,
    /// How that looks.
    pub(crate) how: Severance,
}

/// In which direction a partition stops bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// In both.
    Both,
    /// From inside to outside.
    Out,
    /// From outside to inside.
    In,
}

/// How a partition looks from a tower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Severance {
    /// Nothing comes through, and nobody is told.
    Silent,
    /// Connections break, and dials fail at once.
    Reset,
}

/// Towers that come and go by themselves.
#[derive(Clone, Debug)]
pub(crate) struct Churn {
    /// Which.
    pub(crate) towers: Group,
    /// Between when and when.
    pub(crate) from: Instant,
    pub(crate) until: Instant,
    /// How long a tower stays.
    pub(crate) session: Distribution,
    /// How long it is away.
    pub(crate) absence: Distribution,
    /// The share of sessions that end gracefully; the others crash.
    pub(crate) graceful: f64,
    /// Whether those who come back are told their contacts.
    pub(crate) contacts: WithContacts,
}
