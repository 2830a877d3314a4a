//! Files in a network: what clients put, keep and get, and what has become of it.

mod client;
mod content;
mod pieces;
mod recognition;
mod spies;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clacks_proto::{Address, Instant, Seed, Tower};
use clacks_store::{ChunkKeys, ClientConfig, FirstHop, Geometry, Route, SHARD, Store, StoreConfig};
use rand::RngExt;
use rand::seq::{IndexedRandom, index};

use crate::observation::TowerId;
use crate::outcome::JobCount;
use crate::rng::{Purpose, RngStream, RngStreams};
use crate::scenario::{self, Guess, JobFailure, JobKind};
pub(crate) use client::ClientNode;
use content::File;
pub(crate) use pieces::Pieces;
use spies::{Neighbour, Spies};

/// The Unix hour at the start of each run, which is half past it.
const HOUR: u32 = 498_000;
/// The Unix time at the start of each run.
const UNIX: u64 = HOUR as u64 * 3_600 + 1_800;
/// Returns the Unix hour at a time of a run.
pub(crate) fn hour(now: Instant) -> u32 {
    HOUR + u32::try_from((1_800 + now.as_nanos() / 1_000_000_000) / 3_600).unwrap_or(0)
}

/// The most towers that a client knows at its start.
const MAX_FIRST: usize = 16;

/// The files of a run, worked out.
#[derive(Debug)]
pub(crate) struct Files {
    section: scenario::Files,
    streams: RngStreams,
    /// The towers with a store.
    stores: Vec<TowerId>,
    /// Those that are spies, in ascending order.
    spies: Vec<TowerId>,
    /// The number of the first client. All towers from here on are clients.
    first_client: u32,
    files: Vec<File>,
    /// What has become of the job of each client.
    jobs: Mutex<Vec<JobRecord>>,
    /// What spies have seen.
    seen: Mutex<Spies>,
}

/// What has become of a job.
#[derive(Clone, Debug)]
pub(crate) struct JobRecord {
    pub(crate) kind: JobKind,
    file: usize,
    began: Option<Instant>,
    ended: Option<Instant>,
    pub(crate) is_done: bool,
    /// Why the job failed or can't begin.
    failure: Option<Failure>,
    /// The towers that a reader has visited, and those that it knew.
    visited: (u32, u32),
}

/// Why a job failed.
#[derive(Clone, Debug)]
struct Failure {
    kind: JobFailure,
    /// The reason, for people.
    why: String,
}

impl Failure {
    fn other(why: &str) -> Self {
        Self { kind: JobFailure::Other, why: why.to_owned() }
    }
}

impl JobRecord {
    /// Returns what has become of the job, for people.
    fn result(&self) -> &str {
        match &self.failure {
            _ if self.is_done => "done",
            Some(failure) => &failure.why,
            None if self.began.is_some() => "not over at the end of the run",
            None => "did not begin",
        }
    }

    /// Returns whether the job failed for this reason.
    pub(crate) fn is_failed(&self, why: JobFailure) -> bool {
        self.failure.as_ref().is_some_and(|failure| failure.kind == why)
    }

    /// Returns the seconds that the job took, if it was done.
    pub(crate) fn seconds(&self) -> Option<f64> {
        let time = self.ended?.duration_since(self.began?);
        self.is_done.then_some(time.as_secs_f64())
    }

    /// Returns the share of the towers that a reader has visited, if it got its file.
    pub(crate) fn visited(&self) -> Option<f64> {
        let (visited, known) = self.visited;
        (self.is_done && known > 0).then(|| f64::from(visited) / f64::from(known))
    }
}

impl Files {
    pub(crate) fn new(
        section: &scenario::Files,
        streams: RngStreams,
        stores: Vec<TowerId>,
        spies: Vec<TowerId>,
        first_client: u32,
    ) -> Option<Self> {
        let data = u32::try_from(section.size.div_ceil(SHARD as u64)).ok()?;
        let geometry = Geometry::new(section.redundancy, data).ok()?;
        let until = HOUR + section.hours;
        let files = (0..section.count).map(|number| File::new(number, geometry, until));
        let job = |client: u32| {
            let kind = if client < section.count { JobKind::Put } else { JobKind::Get };
            let file = (client % section.count) as usize;
            let (began, ended, is_done, failure) = (None, None, false, None);
            JobRecord { kind, file, began, ended, is_done, failure, visited: (0, 0) }
        };
        let files: Vec<File> = files.collect::<Option<_>>()?;
        let keys = if spies.is_empty() { Vec::new() } else { keys(&files) };
        Some(Self {
            section: section.clone(),
            streams,
            stores,
            spies,
            first_client,
            files,
            jobs: Mutex::new((0..section.clients()).map(job).collect()),
            seen: Mutex::new(Spies::new(keys)),
        })
    }

    /// Returns whether a tower is a client.
    pub(crate) fn is_client(&self, tower: TowerId) -> bool {
        tower.0 >= self.first_client
    }

    /// Returns the store of a tower.
    pub(crate) fn store(
        &self,
        machine: Tower,
        tower: TowerId,
        seed: &Seed,
    ) -> Option<Store<Tower>> {
        let mut config = StoreConfig::default();
        config.hold = self.section.hold;
        config.dials.per_second = self.section.dials;
        let error = self.section.clock_error.as_secs();
        let unix = UNIX - error + self.draws(tower).random_range(0..=2 * error);
        Store::new(machine, config, seed, unix).ok()
    }

    /// Returns how a client works. It knows some of the stores.
    fn client_config(
        &self,
        tower: TowerId,
        address_of: impl Fn(TowerId) -> Option<Address>,
    ) -> ClientConfig {
        let is_first = |_: &u32| tower.0 - self.first_client < self.section.count;
        let first = self.section.first.filter(is_first).map(TowerId);
        if let Some(own) = self.own_tower(tower) {
            let mut config = ClientConfig::new(address_of(own).into_iter().collect());
            config.first_hop = FirstHop::Own;
            return self.with_options(config);
        }
        let count = self.stores.len().min(MAX_FIRST);
        let drawn = index::sample(&mut self.draws(tower), self.stores.len(), count);
        let drawn = drawn.into_iter().map(|place| self.stores[place]);
        let addresses = first.into_iter().chain(drawn).filter_map(address_of);
        self.with_options(ClientConfig::new(addresses.collect()))
    }

    fn with_options(&self, mut config: ClientConfig) -> ClientConfig {
        config.route = if self.section.direct { Route::Direct } else { Route::Stem };
        config.verify = self.section.verify;
        config.patient = self.section.patient;
        config
    }

    /// Returns the tower on the machine of a client, if clients have towers. It is no spy.
    pub(crate) fn own_tower(&self, client: TowerId) -> Option<TowerId> {
        if !self.section.own || !self.is_client(client) {
            return None;
        }
        let honest: Vec<_> = self.stores.iter().copied().filter(|it| !self.is_spy(*it)).collect();
        honest.choose(&mut self.draws(client)).copied()
    }

    /// Returns whether a tower is a spy.
    pub(crate) fn is_spy(&self, tower: TowerId) -> bool {
        self.spies.binary_search(&tower).is_ok()
    }

    /// Lets a spy see a datagram. Spies know each other, and learn nothing from each other's
    /// requests.
    pub(crate) fn spy(&self, spy: TowerId, from: TowerId, datagram: &[u8], now: Instant) {
        if !self.is_spy(from) {
            let from = Neighbour { tower: from, is_guest: self.is_client(from) };
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.see(spy, from, datagram, now);
        }
    }

    /// Returns the jobs that were done, and those of them whose client or own tower spies name.
    pub(crate) fn named(&self, kind: JobKind, by: Guess) -> (u64, u64) {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut done, mut named) = (0, 0);
        for (client, job) in (self.first_client..).zip(self.lock().iter()) {
            if job.kind != kind || !job.is_done || self.spies.is_empty() {
                continue;
            }
            let client = TowerId(client);
            let guess = seen.guess(kind, job.file, by);
            done += 1;
            named += u64::from(
                guess.is_some_and(|it| it == client || self.own_tower(client) == Some(it)),
            );
        }
        (done, named)
    }

    fn keys(&self) -> Vec<ChunkKeys> {
        keys(&self.files)
    }

    /// Returns the random numbers of a tower that concern files.
    fn draws(&self, tower: TowerId) -> RngStream {
        self.streams.stream(Purpose::Application, 1 << 61 | u64::from(tower.0))
    }

    /// Returns what has become of all jobs.
    pub(crate) fn jobs(&self) -> Vec<JobRecord> {
        self.lock().clone()
    }

    /// Counts the jobs of each kind by what has become of them.
    pub(crate) fn job_counts(&self) -> Vec<JobCount> {
        let mut counts: BTreeMap<(JobKind, bool, String), u64> = BTreeMap::new();
        for job in self.lock().iter() {
            *counts.entry((job.kind, !job.is_done, job.result().to_owned())).or_default() += 1;
        }
        counts
            .into_iter()
            .map(|((kind, fails, result), count)| JobCount { kind, is_done: !fails, result, count })
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<JobRecord>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn job(&self, client: usize) -> JobRecord {
        self.lock()[client].clone()
    }

    fn is_reader(&self, client: usize) -> bool {
        client >= self.section.count as usize
    }

    fn change_job(&self, client: usize, change: impl FnOnce(&mut JobRecord)) {
        change(&mut self.lock()[client]);
    }

    /// Returns when a client begins, or looks for the first time whether its file was put.
    fn start_of(&self, client: usize) -> Duration {
        let scenario::Files { count, at, over, late, late_at, read_at, .. } = self.section;
        let early = count - late;
        let client = u32::try_from(client).unwrap_or(u32::MAX);
        let begin = match client {
            client if client < early => at,
            client if client < count => return late_at,
            _ => read_at.max(at),
        };
        begin + over * (client % count) / count
    }
}

fn keys(files: &[File]) -> Vec<ChunkKeys> {
    files.iter().map(|file| file.link.keep().chunk_keys()).collect()
}
