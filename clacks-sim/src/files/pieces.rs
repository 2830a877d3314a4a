//! Counts the pieces of files that the network holds for readers.

use clacks_proto::{Instant, StateMachine};
use clacks_store::{CHUNK, Tag};

use super::recognition::Recognition;
use super::{Files, JobRecord};
use crate::metrics::FileGauges;
use crate::network::NetworkView;
use crate::scenario::JobKind;

/// Finds the pieces of files in the queues of towers.
pub(crate) struct Pieces {
    recognition: Recognition,
}

impl Pieces {
    pub(crate) fn new(files: &Files) -> Self {
        Self { recognition: Recognition::new(files.keys()) }
    }

    /// Counts the pieces of the files that were put. `None` if there is no such file.
    #[allow(clippy::cast_precision_loss, reason = "counts are exact in a float")]
    pub(crate) fn count<M: StateMachine>(
        &mut self,
        view: &NetworkView<'_, M>,
        now: Instant,
    ) -> Option<FileGauges> {
        let plan = view.plan();
        let files = plan.files.as_deref()?;
        let jobs = files.jobs();
        let put: Vec<_> =
            jobs.iter().filter(|job| job.kind == JobKind::Put && job.is_done).collect();
        let is_put = |file: u32| jobs[file as usize].is_done;
        if put.is_empty() {
            return None;
        }
        let geometry = files.files[0].geometry();
        let mut held = vec![Vec::new(); self.recognition.files()];
        for job in &put {
            held[job.file] = vec![0_u32; geometry.chunks() as usize];
        }
        let gives = |tower| plan.roles.of(tower).is_none_or(|role| role.kind.gives_pieces());
        let givers = view.running().filter(|(tower, _)| gives(*tower));
        let held_messages = givers.flat_map(|(_, tower)| tower.peek());
        for message in held_messages.map(|held| held.message) {
            if let Some((file, index)) = self.piece(message.body())
                && is_put(file)
                && let Some(count) = held[file as usize].get_mut(index as usize)
            {
                *count += 1;
            }
        }
        let all: u64 = held.iter().flatten().map(|count| u64::from(*count)).sum();
        let different = held.iter().flatten().filter(|count| **count > 0).count() as f64;
        let is_readable = |pieces: &&Vec<u32>| {
            pieces.chunks(geometry.total() as usize).all(|group| {
                let alive = group.iter().filter(|count| **count > 0).count();
                alive >= geometry.data() as usize
            })
        };
        let put_pieces: Vec<_> = held.iter().filter(|pieces| !pieces.is_empty()).collect();
        let readable = put_pieces.iter().copied().filter(is_readable).count() as f64;
        let files = put.len() as f64;
        let alive = |job: &&JobRecord| job.ended.map(|ended| plan.survival(ended, now));
        let law = put.iter().filter_map(alive).sum::<f64>() / files;
        let pieces = different / (files * f64::from(geometry.chunks()));
        let copies = if different > 0.0 { all as f64 / different } else { 0.0 };
        Some(FileGauges { readable: readable / files, pieces, copies, law })
    }

    /// Returns the file and the index of a piece.
    fn piece(&mut self, body: &[u8]) -> Option<(u32, u32)> {
        let tag = Tag::new(*body.first_chunk()?);
        if body.len() != CHUNK {
            return None;
        }
        self.recognition.piece(tag)
    }
}
