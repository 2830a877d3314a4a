//! Files in a network: what clients put, keep and get, and what has become of it.

mod client;
mod content;
mod pieces;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clacks_proto::{Address, Instant, Seed, Tower};
use clacks_store::{ClientConfig, Geometry, Route, SHARD, Store, StoreConfig};
use rand::RngExt;
use rand::seq::index;

use crate::observation::TowerId;
use crate::rng::{Purpose, RngStream, RngStreams};
use crate::scenario::{self, JobFailure, JobKind};
pub(crate) use client::ClientNode;
use content::File;
pub(crate) use pieces::Pieces;

/// The Unix hour at the start of each run, which is half past it.
const HOUR: u32 = 498_000;
/// The Unix time at the start of each run.
const UNIX: u64 = HOUR as u64 * 3_600 + 1_800;
/// The most towers that a client knows at its start.
const MAX_FIRST: usize = 16;

/// The files of a run, worked out.
#[derive(Debug)]
pub(crate) struct Files {
    section: scenario::Files,
    streams: RngStreams,
    /// The towers with a store.
    stores: Vec<TowerId>,
    /// The number of the first client. All towers from here on are clients.
    first_client: u32,
    files: Vec<File>,
    /// What has become of the job of each client.
    jobs: Mutex<Vec<JobRecord>>,
}

/// What has become of a job.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JobRecord {
    pub(crate) kind: JobKind,
    file: usize,
    began: Option<Instant>,
    ended: Option<Instant>,
    pub(crate) is_done: bool,
    pub(crate) failure: Option<JobFailure>,
    /// The towers that a reader has visited, and those that it knew.
    visited: (u32, u32),
}

impl JobRecord {
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
        Some(Self {
            section: section.clone(),
            streams,
            stores,
            first_client,
            files: files.collect::<Option<_>>()?,
            jobs: Mutex::new((0..section.clients()).map(job).collect()),
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
        let count = self.stores.len().min(MAX_FIRST);
        let drawn = index::sample(&mut self.draws(tower), self.stores.len(), count);
        let drawn = drawn.into_iter().map(|place| self.stores[place]);
        let addresses = first.into_iter().chain(drawn).filter_map(address_of);
        let mut config = ClientConfig::new(addresses.collect());
        config.route = if self.section.direct { Route::Direct } else { Route::Stem };
        config.verify = self.section.verify;
        config.patient = self.section.patient;
        config
    }

    /// Returns the random numbers of a tower that concern files.
    fn draws(&self, tower: TowerId) -> RngStream {
        self.streams.stream(Purpose::Application, 1 << 61 | u64::from(tower.0))
    }

    /// Returns what has become of all jobs.
    pub(crate) fn jobs(&self) -> Vec<JobRecord> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<JobRecord>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn job(&self, client: usize) -> JobRecord {
        self.lock()[client]
    }

    fn change_job(&self, client: usize, change: impl FnOnce(&mut JobRecord)) {
        change(&mut self.lock()[client]);
    }

    /// Returns when a client begins, or looks for the first time whether its file was put.
    fn start_of(&self, client: usize) -> Duration {
        let scenario::Files { count, at, over, read_at, .. } = self.section;
        match u32::try_from(client) {
            Ok(file) if file < count => at + over * file / count,
            _ => read_at.max(at),
        }
    }
}
