//! A file that is put.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use crate::code::{Group, GroupRoots};
use crate::content::{FileHeader, HeaderError, apply_cipher};
use crate::geometry::{Geometry, GeometryError, MAX_GROUP, MAX_GROUPS, SHARD};
use crate::keys::Secret;
use crate::link::{FileId, ReadLink};

/// The most bytes of a file, with the lowest redundancy.
const MAX_LEN: u64 = MAX_GROUPS as u64 * (MAX_GROUP as u64 / 2) * SHARD as u64;

/// A file that is put.
///
/// The file is read twice, and must not change meanwhile: two contents under one secret would share
/// a key stream, and the chunks of the first pass would not fit the link. A group that differs in
/// the second pass is an error.
#[derive(Debug)]
pub struct Source<R> {
    input: R,
    header: FileHeader,
    header_bytes: Vec<u8>,
    geometry: Geometry,
    secret: Secret,
    roots: GroupRoots,
}

/// The error of a file that can't be put.
#[derive(Debug)]
#[non_exhaustive]
pub enum SourceError {
    /// The file could not be read.
    Read(io::Error),
    /// The temporary file for a stream could not be written.
    Spool(io::Error),
    /// The file changed while it was read.
    Changed,
    /// The name is too long.
    Name(HeaderError),
    /// The redundancy is wrong, or the file is too large.
    Geometry(GeometryError),
    /// The file has no group with this number.
    NoGroup,
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => write!(f, "the file can't be read: {error}"),
            Self::Spool(error) => write!(f, "the temporary file can't be written: {error}"),
            Self::Changed => f.write_str("the file changed while it was read"),
            Self::Name(error) => error.fmt(f),
            Self::Geometry(error) => error.fmt(f),
            Self::NoGroup => f.write_str("the file has no such group"),
        }
    }
}

impl core::error::Error for SourceError {}

impl From<io::Error> for SourceError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // The file is shorter than it was.
            io::ErrorKind::UnexpectedEof => Self::Changed,
            _ => Self::Read(error),
        }
    }
}

impl<R: Read + Seek> Source<R> {
    /// Reads a file to its end, and computes the root of each group. `on_group` is called at the
    /// beginning and after each group, with the number of groups that have been read and of all
    /// groups.
    ///
    /// The secret must be a new one.
    ///
    /// # Errors
    ///
    /// If the file can't be read, or can't have this name, length or redundancy.
    pub fn read(
        mut input: R,
        name: String,
        redundancy: u8,
        secret: Secret,
        mut on_group: impl FnMut(u32, u32),
    ) -> Result<Self, SourceError> {
        let len = input.seek(SeekFrom::End(0))?;
        let header = FileHeader { name, len };
        let header_bytes = header.encode().map_err(SourceError::Name)?;
        let geometry = header.geometry(redundancy).map_err(SourceError::Geometry)?;
        let roots = GroupRoots::new(vec![[0; 32]]);
        let mut source = Self { input, header, header_bytes, geometry, secret, roots };
        let mut roots = Vec::with_capacity(geometry.groups() as usize);
        on_group(0, geometry.groups());
        for number in 0..geometry.groups() {
            roots.push(source.encode(number)?.root());
            on_group(number + 1, geometry.groups());
        }
        if source.input.seek(SeekFrom::End(0))? != len {
            return Err(SourceError::Changed);
        }
        source.roots = GroupRoots::new(roots);
        Ok(source)
    }

    /// Reads a group again.
    ///
    /// # Errors
    ///
    /// If the file can't be read, or if the group has changed.
    pub fn group(&mut self, number: u32) -> Result<Group, SourceError> {
        let root = *self.roots.group_root(number).ok_or(SourceError::NoGroup)?;
        let group = self.encode(number)?;
        if group.root() == root { Ok(group) } else { Err(SourceError::Changed) }
    }

    fn encode(&mut self, number: u32) -> Result<Group, SourceError> {
        let data = self.geometry.data();
        let mut shards = Vec::with_capacity(self.geometry.total() as usize);
        for shard in number * data..(number + 1) * data {
            let mut bytes = vec![0; SHARD];
            self.fill(u64::from(shard) * SHARD as u64, &mut bytes)?;
            apply_cipher(&self.secret, shard, &mut bytes).map_err(io::Error::other)?;
            shards.push(bytes);
        }
        Group::encode(self.geometry, number, shards).ok_or(SourceError::NoGroup)
    }

    /// Reads the stream from a place on: the header, the file, zeros.
    fn fill(&mut self, start: u64, mut bytes: &mut [u8]) -> io::Result<()> {
        let header_len = self.header_bytes.len() as u64;
        if let Some(header) = self.header_bytes.get(to_usize(start)..) {
            let (front, rest) = bytes.split_at_mut(header.len().min(bytes.len()));
            front.copy_from_slice(header.get(..front.len()).unwrap_or_default());
            bytes = rest;
        }
        let at = start.saturating_sub(header_len);
        let left = self.header.len.saturating_sub(at);
        let count = to_usize(left).min(bytes.len());
        if count > 0 {
            self.input.seek(SeekFrom::Start(at))?;
            self.input.read_exact(bytes.get_mut(..count).unwrap_or_default())?;
        }
        Ok(())
    }
}

impl<R> Source<R> {
    /// Returns the name and the length.
    #[must_use]
    pub fn header(&self) -> &FileHeader {
        &self.header
    }

    /// Returns how the file is divided.
    #[must_use]
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// Returns the roots of all groups.
    #[must_use]
    pub fn roots(&self) -> &GroupRoots {
        &self.roots
    }

    /// Returns the link of the file. `until` is the Unix hour at whose end the file is over.
    #[must_use]
    pub fn link(&self, until: u32) -> ReadLink {
        let file = FileId { geometry: self.geometry, until, root: self.roots.file_root() };
        ReadLink::new(self.secret.clone(), file)
    }
}

/// Copies a stream into a temporary file without a name, which can be read twice. `on_bytes` is
/// called with the number of bytes so far.
///
/// # Errors
///
/// If the stream can't be read, the file can't be written, or the stream is longer than a file may
/// be.
pub fn spool(input: impl Read, on_bytes: impl FnMut(u64)) -> Result<File, SourceError> {
    spool_up_to(MAX_LEN, input, on_bytes)
}

pub(super) fn spool_up_to(
    max: u64,
    mut input: impl Read,
    mut on_bytes: impl FnMut(u64),
) -> Result<File, SourceError> {
    let mut file = tempfile::tempfile().map_err(SourceError::Spool)?;
    let mut buffer = vec![0; 256 * 1024];
    let mut len = 0;
    loop {
        let count = match input.read(&mut buffer) {
            Ok(0) => return Ok(file),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        len += count as u64;
        if len > max {
            let max = MAX_GROUPS * (MAX_GROUP / 2);
            return Err(SourceError::Geometry(GeometryError::TooLarge { max }));
        }
        io::Write::write_all(&mut file, buffer.get(..count).unwrap_or_default())
            .map_err(SourceError::Spool)?;
        on_bytes(len);
    }
}

/// Returns a length in memory. One that is too long is longer than any buffer.
fn to_usize(len: u64) -> usize {
    usize::try_from(len).unwrap_or(usize::MAX)
}
