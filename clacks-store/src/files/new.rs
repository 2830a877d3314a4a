//! Outputs that appear under their name when they are complete.

use alloc::format;
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;
use tempfile::NamedTempFile;

use crate::link::FileId;

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
    /// The permissions at the end.
    permissions: Permissions,
}

impl NewFile {
    /// Creates a file with a temporary name, in the folder of `path`. Only its owner may read it
    /// until it is finished.
    ///
    /// The temporary name depends on the file in the network. A file that a killed process left
    /// under this name is removed. The caller must hold the [`PartFile`](super::PartFile) of the
    /// same file and folder, whose lock excludes other processes.
    ///
    /// # Errors
    ///
    /// If the folder can't be written.
    pub fn create(path: &Path, id: &FileId) -> io::Result<Self> {
        let folder = folder_of(path);
        let name = format!(".clacks-{}.clacks-new", id.short_name());
        match fs::remove_file(folder.join(&name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = tempfile::Builder::new()
            .prefix(&name)
            .rand_bytes(0)
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(folder)?;
        // The permissions that the umask leaves.
        let permissions = file.as_file().metadata()?.permissions();
        file.as_file().set_permissions(Permissions::from_mode(0o600))?;
        Ok(Self { file, path: path.into(), permissions })
    }

    /// Returns the file.
    pub fn file(&mut self) -> &mut File {
        self.file.as_file_mut()
    }

    /// Writes the file to the disk, and gives it its name. A link of this name is not followed.
    /// Other users may read the file then, as far as the umask allows it.
    ///
    /// # Errors
    ///
    /// If the file can't be written, or if its name is used and `existing` keeps that file. The
    /// new file is removed then.
    pub fn finish(self, existing: Existing) -> io::Result<()> {
        let Self { file, path, permissions } = self;
        file.as_file().set_permissions(permissions)?;
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

/// Returns the folder of a path. It is `.` for a name without a folder.
#[must_use]
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder.as_os_str() != OsStr::new("") => folder,
        _ => Path::new("."),
    }
}
