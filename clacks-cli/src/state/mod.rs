//! The state folder of a tower: its identity, and the peers that it knows.
//!
//! | file | content |
//! |---|---|
//! | `key.pem`, `cert.pem` | the identity, see [`crate::identity`] |
//! | `peers.json` | the peers, see [`peers`] |
//! | `peers.json.aside` | the last `peers.json` that could not be used |
//! | `lock` | locked while a tower uses the folder; contains the process id of the last one |

mod keeper;
mod peers;

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clacks_proto::Address;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::error::Failure;
use crate::identity;

pub(crate) use keeper::PeerKeeper;
pub(crate) use peers::{Kept, PeersFile};

/// The state folder of a tower that runs. The folder is locked until this is dropped.
#[derive(Debug)]
pub(crate) struct StateFolder {
    dir: PathBuf,
    /// The operating system unlocks the file when it is closed, also after a `kill -9`.
    _lock: Flock<File>,
}

impl StateFolder {
    /// Makes the folder if it does not exist, and locks it. Fails if another tower uses it.
    pub(crate) fn open(dir: &Path) -> Result<Self, Failure> {
        let not_written = |error| {
            Failure::failed(format_args!(
                "The state folder {} cannot be written ({error}): choose another one with --state \
                 DIR, or keep no state with --ephemeral.",
                dir.display()
            ))
        };
        identity::make_folder(dir).map_err(not_written)?;
        let lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(dir.join("lock"))
            .map_err(not_written)?;
        let lock = match Flock::lock(lock, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => lock,
            Err((lock, Errno::EWOULDBLOCK)) => {
                return Err(Failure::failed(format_args!(
                    "Another tower{} uses the state folder {}: stop that tower, or give this one a \
                     folder of its own with --state DIR.",
                    process_of(&lock),
                    dir.display()
                )));
            }
            Err((_, error)) => return Err(not_written(error.into())),
        };
        // The process id is for the sentence above. The lock does not depend on it.
        let _ = write_process(&lock);
        Ok(Self { dir: dir.to_owned(), _lock: lock })
    }

    /// Returns the path of the folder.
    pub(crate) fn path(&self) -> &Path {
        &self.dir
    }

    /// Returns the file of the peers of a network.
    pub(crate) fn peers(&self, network: &str) -> PeersFile {
        PeersFile::new(&self.dir, network)
    }
}

fn write_process(mut lock: &File) -> std::io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    writeln!(lock, "{}", std::process::id())
}

/// Returns ` (process N)` if the lock file contains a process id.
fn process_of(lock: &File) -> String {
    let mut text = String::new();
    let _ = lock.take(20).read_to_string(&mut text);
    text.trim().parse::<u32>().map_or_else(|_| String::new(), |id| format!(" (process {id})"))
}

/// Returns the folder of the state of all towers: `$XDG_STATE_HOME/clacks`, or
/// `~/.local/state/clacks`. Returns `None` if the environment names no home. `variable` returns
/// variables of the environment.
pub(crate) fn home(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    // The XDG specification: relative paths are to be ignored.
    let absolute = |name| variable(name).filter(|path| path.is_absolute());
    let home = || absolute("HOME").map(|home| home.join(".local/state"));
    absolute("XDG_STATE_HOME").or_else(home).map(|dir| dir.join("clacks"))
}

/// Returns the state folder of a tower that was given none: `$STATE_DIRECTORY`, which systemd sets,
/// or a folder of [`home`] that is named after the address of the tower. Peers remember the key of
/// an address, so each address has an identity of its own.
///
/// Returns `None` if there is no such folder: the port is not known before the start, or the
/// environment names no home.
pub(crate) fn default_folder(
    address: Option<&Address>,
    variable: impl Fn(&str) -> Option<PathBuf>,
) -> Option<PathBuf> {
    if let Some(dir) = of_service(&variable) {
        return Some(dir);
    }
    Some(home(variable)?.join("towers").join(address?.to_string()))
}

/// Returns the first folder of `$STATE_DIRECTORY`. systemd separates several ones by colons.
pub(crate) fn of_service(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let dirs = variable("STATE_DIRECTORY")?;
    let first = dirs.to_str().and_then(|dirs| dirs.split(':').next()).map(PathBuf::from);
    first.filter(|dir| dir.is_absolute())
}

/// Returns a variable of the environment as a path. An empty variable counts as not set.
pub(crate) fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(address: Option<&str>, variables: &[(&str, &str)]) -> Option<PathBuf> {
        let address: Option<Address> = address.map(|address| address.parse().unwrap());
        default_folder(address.as_ref(), |name| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| PathBuf::from(value))
        })
    }

    #[test]
    fn the_default_folder_is_named_after_the_address() {
        let path = |path: &str| Some(PathBuf::from(path));
        let address = Some("Tower.Example:8001");
        assert_eq!(
            folder(address, &[("XDG_STATE_HOME", "/s"), ("HOME", "/h")]),
            path("/s/clacks/towers/tower.example:8001")
        );
        assert_eq!(
            folder(Some("[::1]:8001"), &[("HOME", "/h")]),
            path("/h/.local/state/clacks/towers/[::1]:8001")
        );
        assert_eq!(
            folder(address, &[("XDG_STATE_HOME", "relative"), ("HOME", "/h")]),
            path("/h/.local/state/clacks/towers/tower.example:8001")
        );
        assert_eq!(folder(address, &[]), None);
        assert_eq!(folder(None, &[("HOME", "/h")]), None);
    }

    #[test]
    fn systemd_chooses_the_folder() {
        let under_systemd = [("STATE_DIRECTORY", "/var/lib/a:/var/lib/b"), ("HOME", "/h")];
        assert_eq!(folder(Some("x:1"), &under_systemd), Some("/var/lib/a".into()));
        assert_eq!(folder(None, &under_systemd), Some("/var/lib/a".into()));
    }

    #[test]
    fn a_folder_is_locked_while_it_is_used() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("a/b");
        let first = StateFolder::open(&dir).unwrap();
        let refused = StateFolder::open(&dir).unwrap_err();
        let expected = format!("(process {})", std::process::id());
        assert!(refused.sentence().unwrap().contains(&expected), "{refused:?}");
        drop(first);
        StateFolder::open(&dir).unwrap();
    }
}
