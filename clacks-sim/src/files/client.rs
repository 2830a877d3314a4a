//! The client of a file, as a node of the network.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BufMut;
use clacks_proto::{
    Action, Address, Event, Instant, LinkId, Refusal, Seed, StateMachine, Tower, Wakeup,
    WakeupReason,
};
use clacks_store::{Client, Group, Job, JobError, JobEvent, OpenedChunk, Refusal as JobRefusal};

use super::{Failure, Files, UNIX};
use crate::observation::TowerId;
use crate::scenario::{JobFailure, JobKind};

/// How often a reader looks whether its file was put.
const LOOK: Duration = Duration::from_secs(1);

/// The pieces of each group, with its root.
type Groups = BTreeMap<u32, ([u8; 32], Vec<OpenedChunk>)>;

/// A client that puts a file and perhaps keeps it, or gets a file.
#[derive(Debug)]
pub(crate) struct ClientNode {
    client: Client<Tower>,
    files: Arc<Files>,
    /// The number of the client.
    number: usize,
    now: Instant,
    /// When the next job begins, or the file is looked for.
    next: Option<Instant>,
    pieces: Groups,
}

impl ClientNode {
    pub(crate) fn new(
        tower: Tower,
        number: TowerId,
        files: &Arc<Files>,
        seed: &Seed,
        address_of: impl Fn(TowerId) -> Option<Address>,
    ) -> Option<Self> {
        let config = files.client_config(number, address_of);
        let client = Client::new(tower, config, seed, UNIX).ok()?;
        let number = (number.0 - files.first_client) as usize;
        let next = Some(Instant::ORIGIN + files.start_of(number));
        let (files, now, pieces) = (Arc::clone(files), Instant::ORIGIN, Groups::new());
        Some(Self { client, files, number, now, next, pieces })
    }

    /// Does what is due. Returns whether something was.
    fn turn(&mut self) -> bool {
        if self.next.is_some_and(|at| at <= self.now) {
            self.next = None;
            self.begin();
            return true;
        }
        let Some(event) = self.client.poll_event() else { return false };
        self.on_event(event);
        true
    }

    /// Starts the first job, if the file is there.
    fn begin(&mut self) {
        let job = self.files.job(self.number);
        let link = self.files.files[job.file].link.keep();
        let job = match job.kind {
            JobKind::Put => Job::Put(link),
            JobKind::Get => {
                let put = self.files.job(job.file);
                if put.ended.is_none() {
                    self.next = Some(self.now + LOOK);
                    return;
                }
                if !put.is_done {
                    let failure = Failure::other("the file was not put");
                    self.files.change_job(self.number, |record| record.failure = Some(failure));
                    return;
                }
                Job::Get { link, proved: Vec::new() }
            }
        };
        let now = self.now;
        self.files.change_job(self.number, |record| record.began = Some(now));
        self.client.start(job, now);
    }

    /// Notes how many towers were visited so far. The job may be over with the next bytes.
    fn note_visits(&mut self) {
        if self.files.is_reader(self.number) {
            let progress = self.client.progress();
            if progress.known > 0 {
                let visited = (progress.visited, progress.known);
                self.files.change_job(self.number, |record| record.visited = visited);
            }
        }
    }

    fn on_event(&mut self, event: JobEvent) {
        let files = Arc::clone(&self.files);
        let file = &files.files[files.job(self.number).file];
        match event {
            JobEvent::Forecast(_) => self.client.proceed(self.now),
            JobEvent::NeedGroup(group) => {
                if let Some(group) = file.group(group) {
                    self.client.supply(group, &file.roots, self.now);
                }
            }
            JobEvent::Piece { piece, group_root } => {
                if let Some((group, _)) = file.geometry().locate(piece.index()) {
                    let pieces = self.pieces.entry(group).or_default();
                    pieces.0 = group_root;
                    pieces.1.push(piece);
                }
            }
            JobEvent::Put(_) => {
                self.end(Ok(()));
                if files.section.keep {
                    let link = file.link.keep();
                    self.client.start(Job::Keep(link), self.now);
                }
            }
            JobEvent::Got => {
                let wrong = || Failure::other("the content is wrong");
                self.end(if self.is_right() { Ok(()) } else { Err(wrong()) });
            }
            JobEvent::Failed(error) => {
                let (kind, why) = (failure_kind(&error), error.to_string());
                self.end(Err(Failure { kind, why }));
            }
            _ => {}
        }
    }

    fn end(&mut self, result: Result<(), Failure>) {
        self.pieces.clear();
        let now = self.now;
        self.files.change_job(self.number, |record| {
            record.ended.get_or_insert(now);
            record.is_done |= result.is_ok();
            record.failure = result.err();
        });
    }

    /// Returns whether the pieces restore all groups of the file.
    fn is_right(&self) -> bool {
        let file = &self.files.files[self.files.job(self.number).file];
        let geometry = file.geometry();
        (0..geometry.groups()).all(|number| {
            let Some((root, pieces)) = self.pieces.get(&number) else { return false };
            let shards = pieces.iter().filter_map(|piece| {
                let (_, place) = geometry.locate(piece.index())?;
                Some((place, piece.shard()))
            });
            let restored = Group::restore(geometry, number, root, shards);
            let expected = file.group(number);
            restored
                .ok()
                .zip(expected)
                .is_some_and(|(restored, expected)| restored.shards() == expected.shards())
        })
    }
}

fn failure_kind(error: &JobError) -> JobFailure {
    match error {
        JobError::Gone { .. } => JobFailure::Gone,
        JobError::NotSeen => JobFailure::NotSeen,
        JobError::Full | JobError::TooLong | JobError::Refused(JobRefusal::NoRoom { .. }) => {
            JobFailure::Full
        }
        _ => JobFailure::Other,
    }
}

impl StateMachine for ClientNode {
    fn accept(&mut self, from: IpAddr, now: Instant) -> Result<LinkId, Refusal> {
        self.now = self.now.max(now);
        self.client.accept(from, now)
    }

    fn handle(&mut self, event: Event<'_>, now: Instant) {
        self.now = self.now.max(now);
        if matches!(event, Event::BytesArrived { .. }) {
            self.note_visits();
        }
        self.client.handle(event, now);
    }

    fn transmit(&mut self, link: LinkId, out: &mut impl BufMut) -> usize {
        self.client.transmit(link, out)
    }

    fn poll_action(&mut self) -> Option<Action> {
        loop {
            match self.client.poll_action() {
                None if self.turn() => {}
                action => return action,
            }
        }
    }

    fn next_wakeup(&self) -> Option<Wakeup> {
        let own = self.next.map(|at| Wakeup { at, reason: WakeupReason::Actions });
        own.into_iter().chain(self.client.next_wakeup()).min_by_key(|wakeup| wakeup.at)
    }

    fn tower(&self) -> &Tower {
        self.client.tower()
    }

    fn tower_mut(&mut self) -> &mut Tower {
        self.client.tower_mut()
    }
}
