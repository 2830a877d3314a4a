//! The `[files]` section: files that clients put into the network, keep and get.

use std::time::Duration;

use clacks_store::CHUNK;
use serde::{Deserialize, Serialize};

use super::Scenario;
use super::error::ScenarioError;
use super::validate::{Checked, times, within};

/// The most clients of a run: each is a tower of its own.
const MAX_CLIENTS: u64 = 1_000_000;

/// Files in the network.
///
/// All towers without a role and all spies have a store. Each file has a client that puts it, and
/// `readers` clients that get it. Clients are guests: they are no towers of the scenario, and no
/// fault concerns them.
///
/// ```toml
/// [files]
/// count = 20
/// size = 1_048_576
/// at = "1m"
/// keep = true
/// readers = 1
/// read_at = "50m"
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Files {
    /// The number of files, 1 to 10 000. Default: 1.
    pub count: u32,
    /// The bytes of each file, up to 64 MiB. Default: 1 MiB.
    pub size: u64,
    /// How many times as many pieces as needed are put, from 2 to 8. Default: 2.
    pub redundancy: u8,
    /// When the first file is put. Default: 1 min.
    #[serde(with = "crate::duration")]
    pub at: Duration,
    /// The time over which the files are put, one after the other. Readers follow each other in the
    /// same way. Default: 0s.
    #[serde(with = "crate::duration")]
    pub over: Duration,
    /// How many of the files are put later, all at the same time. Default: 0.
    pub late: u32,
    /// When they are put. Default: at the start.
    #[serde(with = "crate::duration")]
    pub late_at: Duration,
    /// For how many hours each file is put, from 1 to 24. Default: 24.
    pub hours: u32,
    /// Whether the client of each file keeps it: it counts the pieces again and again, and replaces
    /// missing ones. Default: false.
    pub keep: bool,
    /// The number of clients that get each file. Default: 0.
    pub readers: u32,
    /// When the readers begin. A reader waits until its file was put. Default: at once.
    #[serde(with = "crate::duration")]
    pub read_at: Duration,
    /// Whether clients ask towers directly, and not through other towers. Default: false.
    pub direct: bool,
    /// Through how many other towers a client checks what it was told, up to 3. Default: 1.
    pub verify: u8,
    /// Whether clients go on if a job seems not feasible. Default: false.
    pub patient: bool,
    /// The first hop of the clients that put, unless it is down. Default: drawn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<u32>,
    /// Whether each client has a tower without a role on its machine, which is its first hop.
    /// Default: false.
    pub own: bool,
    /// How long a piece rests at each tower. Default: 10 min.
    #[serde(with = "crate::duration")]
    pub hold: Duration,
    /// How many dials a second each store makes for others. Default: 32.
    pub dials: u32,
    /// By how much the clock of each tower may be wrong, in both directions. Default: 0s.
    #[serde(with = "crate::duration")]
    pub clock_error: Duration,
}

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum JobKind {
    /// Puts a file.
    Put,
    /// Gets a file.
    Get,
}

/// Why a client did not do its job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum JobFailure {
    /// The file is gone, as several towers say.
    Gone,
    /// Other towers do not see the pieces that were put.
    NotSeen,
    /// The network has no room, or none for so long.
    Full,
    /// Another reason.
    Other,
}

/// How spies guess which client put or got a file. They name one neighbour that sent requests for
/// its pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Guess {
    /// The neighbour that sent the most requests.
    Requests,
    /// The neighbour that asked for the most different pieces.
    Pieces,
    /// A guest, because guests pass on no requests of others. If there is none, the neighbour that
    /// asked to pass a request on with the most hops to go.
    Hops,
    /// The neighbour that listed a spy last before a piece was taken from it.
    Lister,
    /// A guest that sent requests. If there is none, the guest that began to list inventories first
    /// after the last piece: the client of a put looks through another first hop then.
    Check,
}

impl JobKind {
    /// Returns the name, as in a scenario.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Get => "get",
        }
    }
}

impl Default for Files {
    fn default() -> Self {
        Self {
            count: 1,
            size: 1 << 20,
            redundancy: 2,
            at: Duration::from_secs(60),
            over: Duration::ZERO,
            late: 0,
            late_at: Duration::ZERO,
            hours: 24,
            keep: false,
            readers: 0,
            read_at: Duration::ZERO,
            direct: false,
            verify: 1,
            patient: false,
            first: None,
            own: false,
            hold: Duration::from_secs(600),
            dials: 32,
            clock_error: Duration::ZERO,
        }
    }
}

impl Files {
    /// Returns the number of clients.
    pub(crate) fn clients(&self) -> u32 {
        self.count.saturating_mul(self.readers.saturating_add(1))
    }
}

impl Scenario {
    pub(super) fn check_files(&self) -> Checked {
        let Some(files) = &self.files else { return Ok(()) };
        within("files.count", files.count, &(1..=10_000))?;
        within("files.size", files.size, &(1..=64 << 20))?;
        within("files.late", files.late, &(0..=files.count))?;
        times("files.late_at", files.late_at, Duration::ZERO..=self.time)?;
        within("files.redundancy", files.redundancy, &(2..=8))?;
        within("files.hours", files.hours, &(1..=24))?;
        within("files.readers", files.readers, &(0..=1_000))?;
        within("files.verify", files.verify, &(0..=3))?;
        let clients = u64::from(files.count) * (u64::from(files.readers) + 1);
        if clients > MAX_CLIENTS {
            let problem = format!("makes {clients} clients; there must be at most {MAX_CLIENTS}");
            return Err(ScenarioError::field("files.readers", problem));
        }
        let end = files.at.saturating_add(files.over);
        times("files.at", files.at, Duration::ZERO..=self.time)?;
        times("files.over", end, Duration::ZERO..=self.time)?;
        times("files.read_at", files.read_at, Duration::ZERO..=self.time)?;
        let day = Duration::from_secs(24 * 3_600);
        times("files.hold", files.hold, Duration::ZERO..=day)?;
        times("files.clock_error", files.clock_error, Duration::ZERO..=day)?;
        if let Some(first) = files.first {
            within("files.first", first, &(0..=self.towers - 1))?;
        }
        if self.hold.is_some() {
            let problem = "is not allowed with [files]: set files.hold";
            return Err(ScenarioError::field("hold", problem));
        }
        let most = self.tower.max_message;
        if most < CHUNK {
            let range = format!("at least {CHUNK} with [files]: pieces have so many bytes");
            return Err(ScenarioError::range("tower.max_message", most, range));
        }
        if self.checks.convergence {
            let problem = "is true; with [files] it must be false, because clients are guests that \
                           no tower knows";
            return Err(ScenarioError::field("checks.convergence", problem));
        }
        Ok(())
    }
}
