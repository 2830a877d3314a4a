//! Outputs that appear under their name when they are complete.

use std::ffi::OsStr;
use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;
use tempfile::NamedTempFile;

/// What to do with a file that has the name of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It stays, and the output fails.
    Keep,
    /// The output replaces it.
    Replace,
}

/// A file that appears under its name when it is complete. If it is dropped before, it is removed.
#[derive(Debug)]
pub struct NewFile {
    file: NamedTempFile,
    path: PathBuf,
}

impl NewFile {
    /// Creates a file without its name, in the folder of `path`. Other users may read it as far as
    /// the umask allows it.
    ///
    /// # Errors
    ///
    /// If the folder can't be written.
    pub fn create(path: &Path) -> io::Result<Self> {
        let file = tempfile::Builder::new()
            .prefix(".clacks-")
            .suffix(".new")
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(folder_of(path))?;
        Ok(Self { file, path: path.into() })
    }

    /// Returns the file.
    pub fn file(&mut self) -> &mut File {
        self.file.as_file_mut()
    }

    /// Writes the file to the disk, and gives it its name. A link of this name is not followed.
    ///
    /// # Errors
    ///
    /// If the file can't be written, or if its name is used and `existing` keeps that file. The
    /// new file is removed then.
    pub fn finish(self, existing: Existing) -> io::Result<()> {
        let Self { file, path } = self;
        file.as_file().sync_all()?;
        let renamed = match existing {
            Existing::Keep => file.persist_noclobber(&path),
            Existing::Replace => file.persist(&path),
        };
        renamed.map_err(|error| error.error)?;
        // The name is in the folder.
        File::open(folder_of(&path))?.sync_all()
    }
}

/// Returns the bytes that are free in the file system of a file, or `None` if it is not known.
#[must_use]
pub fn free_space(path: &Path) -> Option<u64> {
    let found = statvfs(folder_of(path)).ok()?;
    // The types of the fields differ between systems.
    #[allow(clippy::useless_conversion, reason = "needed on some systems")]
    let (blocks, size) = (u64::from(found.blocks_available()), u64::from(found.fragment_size()));
    Some(blocks.saturating_mul(size))
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder.as_os_str() != OsStr::new("") => folder,
        _ => Path::new("."),
    }
}
