//! The content of files: random bytes that follow from the number of the file.

use clacks_store::{FileId, Geometry, Group, GroupRoots, ReadLink, SHARD, Secret};
use rand::Rng;

use crate::rng::{Purpose, RngStreams};

/// A file. Its groups are made when they are needed, because a file is larger than its roots.
#[derive(Debug)]
pub(super) struct File {
    number: u32,
    geometry: Geometry,
    pub(super) link: ReadLink,
    pub(super) roots: GroupRoots,
}

impl File {
    pub(super) fn new(number: u32, geometry: Geometry, until: u32) -> Option<Self> {
        let groups = (0..geometry.groups()).map(|group| encode(number, geometry, group));
        let roots = groups.map(|group| Some(group?.root())).collect::<Option<_>>()?;
        let roots = GroupRoots::new(roots);
        let mut secret = [0; 16];
        bytes_of(number, u32::MAX, 0, &mut secret);
        let file = FileId { geometry, until, root: roots.file_root() };
        let link = ReadLink::new(Secret::new(secret), file);
        Some(Self { number, geometry, link, roots })
    }

    pub(super) fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// Returns a group with all its shards.
    pub(super) fn group(&self, group: u32) -> Option<Group> {
        encode(self.number, self.geometry, group)
    }
}

fn encode(file: u32, geometry: Geometry, group: u32) -> Option<Group> {
    let shard = |place| {
        let mut bytes = vec![0; SHARD];
        bytes_of(file, group, place, &mut bytes);
        bytes
    };
    Group::encode(geometry, group, (0..geometry.data()).map(shard).collect())
}

/// Fills a shard. All runs have the same files.
fn bytes_of(file: u32, group: u32, place: u32, bytes: &mut [u8]) {
    let subject = 1 << 60 | u64::from(group) << 32 | u64::from(place);
    RngStreams::new(file.into()).stream(Purpose::Application, subject).fill_bytes(bytes);
}
