//! Files on disk: what a client of a store reads to put a file, and writes to get one.
//!
//! - [`Source`] reads a file that is put. The first pass computes the root of each group, and so
//!   the link. The second pass reads one group at a time, and compares it with the first pass.
//! - [`PartFile`] is a log of proved shards on disk. A client that is interrupted continues with
//!   it. [`PartFile::content`] restores the file from it, one group at a time.
//! - [`NewFile`] is an output that appears under its name when it is complete.
//!
//! All three hold one group in memory, at most 512 shards with the tables of the code: about
//! 20 MiB, however long the file is. All calls block.

mod new;
mod part;
mod source;

pub use new::{Existing, NewFile, folder_of, free_space};
pub use part::{Content, ContentError, PartError, PartFile};
pub use source::{Source, SourceError, spool};

#[cfg(test)]
mod tests;
