//! The log of the shards that have been proved.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path as FilePath;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::Uid;

use crate::chunk::OpenedChunk;
use crate::code::{Group, RestoreError};
use crate::content::{FileHeader, HeaderError, apply_cipher};
use crate::geometry::{Geometry, SHARD};
use crate::keys::Secret;
use crate::link::{FileId, ReadLink};
use crate::merkle::{PATH, Path, prove};

const MAGIC: &[u8; 16] = b"clacks part 1\r\n\x1a";
/// The magic, the redundancy, the number of data shards and the root.
const HEADER: usize = 16 + 1 + 3 + 32;
/// The index, the shard and its Merkle path.
const RECORD: usize = 4 + SHARD + 32 * PATH;
/// How often a log is opened that other processes remove in the same moment.
const MAX_ATTEMPTS: u32 = 10;
/// The place of a shard that is not in the log.
const ABSENT: u32 = u32::MAX;

/// A log of the shards of one file that have been proved.
///
/// The log is written while a file is read from the network, so that a client that was interrupted
/// takes only the rest. It contains encrypted shards: without the read link it can't be read.
///
/// | bytes | field |
/// |---|---|
/// | 16 | `clacks part 1`, CR, LF, 1A |
/// | 1 | the redundancy |
/// | 3 | the number of data shards |
/// | 32 | the Merkle root |
/// | | records: index (4), shard (11 372), Merkle path (576) |
///
/// Numbers are big-endian. When the log is opened, each record is proved again. The first one that
/// fails is cut off with all that follow.
#[derive(Debug)]
pub struct PartFile {
    log: Log,
    geometry: Geometry,
    root: crate::merkle::Root,
    /// The number of records.
    records: u32,
    /// The record of each index, or [`ABSENT`].
    places: Vec<u32>,
    groups: Vec<GroupState>,
}

/// The shards of a group in the log.
#[derive(Clone, Copy, Debug, Default)]
struct GroupState {
    held: u32,
    root: [u8; 32],
}

/// A file with or without a name.
#[derive(Debug)]
enum Log {
    Named(Flock<File>),
    Unnamed(File),
}

impl Log {
    fn file(&self) -> &File {
        match self {
            Self::Named(file) => file,
            Self::Unnamed(file) => file,
        }
    }
}

/// Why a log can't be used. A log that exists has not changed.
#[derive(Debug)]
#[non_exhaustive]
pub enum PartError {
    /// The log can't be read or written.
    Io(io::Error),
    /// Another process uses the log.
    Locked,
    /// The path is a link, no regular file, a file of another user, or a file with a second name.
    Foreign,
    /// The file is no log, or one of another file.
    OtherFile,
}

impl fmt::Display for PartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Locked => f.write_str("another process uses it"),
            Self::Foreign => {
                f.write_str("it is a link, no regular file, or a file of another user")
            }
            Self::OtherFile => f.write_str("it belongs to another link"),
        }
    }
}

impl core::error::Error for PartError {}

impl From<io::Error> for PartError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl PartFile {
    /// Opens the log at a path, or creates it. Only its owner may read it, and one process at a
    /// time can use it.
    ///
    /// # Errors
    ///
    /// If the path is no log of this file, or is used by another process.
    pub fn open(path: &FilePath, id: &FileId) -> Result<Self, PartError> {
        for _ in 0..MAX_ATTEMPTS {
            let file = open_private(path)?;
            let locked = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(locked) => locked,
                Err((_, Errno::EWOULDBLOCK)) => return Err(PartError::Locked),
                Err((_, error)) => return Err(PartError::Io(error.into())),
            };
            // Another process may have removed the file before it was locked here.
            let (held, found) = (locked.metadata()?, fs::symlink_metadata(path));
            let is_same =
                |found: &fs::Metadata| (found.dev(), found.ino()) == (held.dev(), held.ino());
            if found.is_ok_and(|found| is_same(&found)) {
                return Self::resume(Log::Named(locked), id);
            }
        }
        Err(PartError::Locked)
    }

    /// Returns a log in a temporary file without a name, for an output that can't be resumed.
    ///
    /// # Errors
    ///
    /// If the file can't be created.
    pub fn temporary(id: &FileId) -> Result<Self, PartError> {
        Self::resume(Log::Unnamed(tempfile::tempfile()?), id)
    }

    /// Returns the bytes on disk that the rest of the log needs.
    #[must_use]
    pub fn missing_bytes(&self) -> u64 {
        u64::from(self.needed() - self.held()) * RECORD as u64
    }

    /// Returns the number of different shards that the file needs.
    #[must_use]
    pub fn needed(&self) -> u32 {
        self.geometry.data() * self.geometry.groups()
    }

    /// Returns the number of shards in the log, without those that their groups do not need.
    #[must_use]
    pub fn held(&self) -> u32 {
        self.groups.iter().map(|group| group.held.min(self.geometry.data())).sum()
    }

    /// Returns the indices of the shards in the log.
    pub fn indices(&self) -> impl Iterator<Item = u32> + '_ {
        (0..).zip(&self.places).filter(|(_, place)| **place != ABSENT).map(|(index, _)| index)
    }

    /// Returns whether the file can be restored.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.groups.iter().all(|group| group.held >= self.geometry.data())
    }

    /// Proves a shard, and appends it to the log. Returns whether it was needed: a shard that is in
    /// the log already, fails its proof, or belongs to a group that has enough is not.
    ///
    /// # Errors
    ///
    /// If the log can't be written. It has all earlier records then.
    pub fn push(&mut self, chunk: &OpenedChunk) -> io::Result<bool> {
        let (index, path) = (chunk.index(), chunk.path());
        let Some((group, _)) = self.geometry.locate(index) else { return Ok(false) };
        let is_full =
            self.groups.get(group as usize).is_none_or(|it| it.held >= self.geometry.data());
        if is_full || self.place(index).is_some() {
            return Ok(false);
        }
        let proved = prove(self.geometry, &self.root, index, chunk.shard(), &path);
        let Some(root) = proved else { return Ok(false) };
        let mut record = Vec::with_capacity(RECORD);
        record.extend(index.to_be_bytes());
        record.extend(chunk.shard());
        path.0.iter().for_each(|node| record.extend(node));
        let at = self.end();
        if let Err(error) = self.log.file().write_all_at(&record, at) {
            // If this fails too, the next start cuts the record off.
            let _ = self.log.file().set_len(at);
            return Err(error);
        }
        self.note(index, root);
        Ok(true)
    }

    /// Begins to restore the file. Returns its content, with the header decoded.
    ///
    /// # Errors
    ///
    /// If a group lacks shards, the log can't be read, or the file was damaged when it was put.
    pub fn content(&self, link: &ReadLink) -> Result<Content<'_>, ContentError> {
        let secret = link.secret().clone();
        let first = self.plain_group(0, &secret)?;
        let bytes = first.first().map(Vec::as_slice).unwrap_or_default();
        let (header, skip) =
            FileHeader::decode(bytes, self.geometry).map_err(ContentError::Header)?;
        Ok(Content { part: self, secret, header, skip, first })
    }

    /// Returns the decrypted data shards of a group.
    fn plain_group(&self, number: u32, secret: &Secret) -> Result<Vec<Vec<u8>>, ContentError> {
        let state = self.groups.get(number as usize).copied().unwrap_or_default();
        let mut shards = Vec::with_capacity(self.geometry.data() as usize);
        for place in 0..self.geometry.total() {
            if shards.len() == self.geometry.data() as usize {
                break;
            }
            let index = self.geometry.index(number, place);
            let Some(record) = self.place(index) else { continue };
            let mut bytes = Box::new([0; RECORD]);
            self.log
                .file()
                .read_exact_at(&mut bytes[..], HEADER as u64 + u64::from(record) * RECORD as u64)
                .map_err(ContentError::Read)?;
            shards.push((place, bytes));
        }
        let parts = shards.iter().map(|(place, bytes)| (*place, &bytes[4..4 + SHARD]));
        // This proves the shards as well: their hashes are part of the root.
        let restored = Group::restore(self.geometry, number, &state.root, parts);
        let group = restored.map_err(|error| {
            let is_proved = |(place, bytes): &(u32, Box<[u8; RECORD]>)| {
                let index = self.geometry.index(number, *place);
                self.prove_record(bytes).is_some_and(|(proved, _)| proved == index)
            };
            // The disk may have changed one.
            if shards.iter().all(is_proved) {
                ContentError::Restore(error)
            } else {
                ContentError::Read(io::ErrorKind::InvalidData.into())
            }
        })?;
        let data = self.geometry.data();
        let plain = group.shards().iter().zip(number * data..(number + 1) * data);
        plain
            .map(|(shard, index)| {
                let mut shard = shard.clone();
                let applied = apply_cipher(secret, index, &mut shard);
                applied.map_err(|error| ContentError::Read(io::Error::other(error)))?;
                Ok(shard)
            })
            .collect()
    }

    /// Reads a log up to the first record that is not proved, and cuts off the rest.
    fn resume(log: Log, id: &FileId) -> Result<Self, PartError> {
        let FileId { geometry, root, .. } = *id;
        let places = vec![ABSENT; geometry.chunks() as usize];
        let groups = vec![GroupState::default(); geometry.groups() as usize];
        let mut part = Self { log, geometry, root, records: 0, places, groups };
        let mut expected = Vec::with_capacity(HEADER);
        expected.extend(MAGIC);
        expected.push(geometry.redundancy());
        expected.extend(&geometry.shards().to_be_bytes()[1..]);
        expected.extend(root.bytes());
        let mut input = BufReader::with_capacity(16 * RECORD, part.log.file().try_clone()?);
        let mut header = Vec::with_capacity(HEADER);
        input.by_ref().take(HEADER as u64).read_to_end(&mut header)?;
        if header != expected {
            // A client may have been killed when it had written a part of the header.
            if !expected.starts_with(&header) {
                return Err(PartError::OtherFile);
            }
            part.log.file().write_all_at(&expected, 0)?;
            return Ok(part);
        }
        let mut record = Box::new([0; RECORD]);
        while part.records < geometry.chunks() {
            match input.read_exact(&mut record[..]) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                Err(error) => return Err(error.into()),
            }
            let Some((index, root)) = part.prove_record(&record) else { break };
            if part.place(index).is_some() {
                break;
            }
            part.note(index, root);
        }
        part.log.file().set_len(part.end())?;
        Ok(part)
    }

    /// Returns the index of a record and the root of its group, if it is proved.
    fn prove_record(&self, record: &[u8; RECORD]) -> Option<(u32, [u8; 32])> {
        let (index, rest) = record.split_first_chunk()?;
        let index = u32::from_be_bytes(*index);
        let (shard, nodes) = rest.split_at(SHARD);
        let mut path = Path::default();
        for (node, bytes) in path.0.iter_mut().zip(nodes.chunks_exact(32)) {
            node.copy_from_slice(bytes);
        }
        let root = prove(self.geometry, &self.root, index, shard, &path)?;
        Some((index, root))
    }

    /// Notes that the next record has this index.
    fn note(&mut self, index: u32, root: [u8; 32]) {
        let group = self.geometry.locate(index).map_or(0, |(group, _)| group);
        if let (Some(place), Some(group)) =
            (self.places.get_mut(index as usize), self.groups.get_mut(group as usize))
        {
            *place = self.records;
            *group = GroupState { held: group.held + 1, root };
            self.records += 1;
        }
    }

    fn place(&self, index: u32) -> Option<u32> {
        self.places.get(index as usize).copied().filter(|place| *place != ABSENT)
    }

    fn end(&self) -> u64 {
        HEADER as u64 + u64::from(self.records) * RECORD as u64
    }
}

/// Opens or creates a file that only the own user can read.
fn open_private(path: &FilePath) -> Result<File, PartError> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(nix::libc::O_NOFOLLOW)
        .open(path)
        .map_err(|error| match error.raw_os_error() {
            Some(nix::libc::ELOOP | nix::libc::EISDIR | nix::libc::ENXIO) => PartError::Foreign,
            _ => PartError::Io(error),
        })?;
    let found = file.metadata()?;
    let is_own = found.is_file() && found.uid() == Uid::effective().as_raw() && found.nlink() <= 1;
    if !is_own {
        return Err(PartError::Foreign);
    }
    if found.mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(file)
}

/// The content of a file whose shards are all in a [`PartFile`].
pub struct Content<'a> {
    part: &'a PartFile,
    secret: Secret,
    header: FileHeader,
    /// The bytes of the header.
    skip: usize,
    /// The data shards of the first group, decrypted.
    first: Vec<Vec<u8>>,
}

impl fmt::Debug for Content<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Content").field("header", &self.header).finish_non_exhaustive()
    }
}

/// Why a file can't be restored. The log has not changed.
#[derive(Debug)]
#[non_exhaustive]
pub enum ContentError {
    /// The log can't be read, or was changed by another program.
    Read(io::Error),
    /// The output can't be written.
    Write(io::Error),
    /// A group can't be restored.
    Restore(RestoreError),
    /// The file begins with no header.
    Header(HeaderError),
}

impl fmt::Display for ContentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => write!(f, "the pieces can't be read: {error}"),
            Self::Write(error) => write!(f, "the output can't be written: {error}"),
            Self::Restore(error) => error.fmt(f),
            Self::Header(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for ContentError {}

impl Content<'_> {
    /// Returns the name and the length.
    #[must_use]
    pub fn header(&self) -> &FileHeader {
        &self.header
    }

    /// Writes the content. `on_group` is called with the number of groups that have been written,
    /// and the number of all groups. Its error ends the writing.
    ///
    /// # Errors
    ///
    /// If the log can't be read, the output can't be written, or a group was damaged when it was
    /// put. The error of `on_group` is returned as [`ContentError::Write`].
    pub fn write_to(
        mut self,
        output: &mut impl Write,
        mut on_group: impl FnMut(u32, u32) -> io::Result<()>,
    ) -> Result<(), ContentError> {
        let groups = self.part.geometry.groups();
        let (mut skip, mut left) = (self.skip, self.header.len);
        let mut shards = core::mem::take(&mut self.first);
        for number in 0..groups {
            if number > 0 {
                shards = self.part.plain_group(number, &self.secret)?;
            }
            for shard in &shards {
                let bytes = shard.get(skip..).unwrap_or_default();
                skip = skip.saturating_sub(shard.len());
                let count = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                let bytes = bytes.get(..count).unwrap_or_default();
                output.write_all(bytes).map_err(ContentError::Write)?;
                left -= bytes.len() as u64;
            }
            on_group(number + 1, groups).map_err(ContentError::Write)?;
        }
        output.flush().map_err(ContentError::Write)
    }
}
