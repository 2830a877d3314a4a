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
    /// Whether each tower is inside the last partition. Empty before the first one.
    inside: Vec<bool>,
}

impl Pieces {
    pub(crate) fn new(files: &Files) -> Self {
        Self { recognition: Recognition::new(files.keys()), inside: Vec::new() }
    }

    /// Counts both sides of a partition apart from now on.
    pub(crate) fn set_partition(&mut self, inside: Vec<bool>) {
        self.inside = inside;
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
            held[job.file] = vec![[0_u32; 2]; geometry.chunks() as usize];
        }
        let gives = |tower| plan.roles.of(tower).is_none_or(|role| role.kind.gives_pieces());
        let givers = view.running().filter(|(tower, _)| gives(*tower));
        for (tower, machine) in givers {
            let side = usize::from(self.inside.get(tower.0 as usize).copied().unwrap_or(false));
            for message in machine.peek().map(|held| held.message) {
                if let Some((file, index)) = self.piece(message.body())
                    && is_put(file)
                    && let Some(counts) = held[file as usize].get_mut(index as usize)
                {
                    counts[side] += 1;
                }
            }
        }
        let copies = |counts: &[u32; 2]| u64::from(counts[0]) + u64::from(counts[1]);
        let all: u64 = held.iter().flatten().map(copies).sum();
        let different = held.iter().flatten().filter(|counts| copies(counts) > 0).count() as f64;
        let put_pieces: Vec<_> = held.iter().filter(|pieces| !pieces.is_empty()).collect();
        // The files of which enough pieces pass the test.
        let readable = |is_held: &dyn Fn(&[u32; 2]) -> bool| {
            let is_readable = |pieces: &&&Vec<[u32; 2]>| {
                pieces.chunks(geometry.total() as usize).all(|group| {
                    let alive = group.iter().filter(|counts| is_held(counts)).count();
                    alive >= geometry.data() as usize
                })
            };
            put_pieces.iter().filter(is_readable).count() as f64
        };
        let files = put.len() as f64;
        let readable_apart = match self.inside.is_empty() {
            true => None,
            false => {
                let sides = [0, 1].map(|side| readable(&|counts| counts[side] > 0));
                Some(sides.iter().sum::<f64>() / (2.0 * files))
            }
        };
        let readable = readable(&|counts| copies(counts) > 0) / files;
        let alive = |job: &&JobRecord| job.ended.map(|ended| plan.survival(ended, now));
        let law = put.iter().filter_map(alive).sum::<f64>() / files;
        let pieces = different / (files * f64::from(geometry.chunks()));
        let copies = if different > 0.0 { all as f64 / different } else { 0.0 };
        Some(FileGauges { readable, readable_apart, pieces, copies, law })
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
