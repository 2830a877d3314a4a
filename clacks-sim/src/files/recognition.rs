//! Recognises the pieces of files by their tags.

use clacks_store::{ChunkKeys, Tag};
use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

/// The keys of all files, and the tags that were seen.
#[derive(Debug)]
pub(super) struct Recognition {
    keys: Vec<ChunkKeys>,
    /// The file and the index of each tag that was seen. `None` is a piece of no file.
    known: HashMap<Tag, Option<(u32, u32)>, FxBuildHasher>,
}

impl Recognition {
    pub(super) fn new(keys: Vec<ChunkKeys>) -> Self {
        Self { keys, known: HashMap::default() }
    }

    /// Returns the number of files.
    pub(super) fn files(&self) -> usize {
        self.keys.len()
    }

    /// Returns the file and the index of the piece with a tag.
    pub(super) fn piece(&mut self, tag: Tag) -> Option<(u32, u32)> {
        let find = || {
            let mut keys = self.keys.iter().zip(0..);
            keys.find_map(|(keys, file)| Some((file, tag.recognise(keys)?)))
        };
        *self.known.entry(tag).or_insert_with(find)
    }
}
