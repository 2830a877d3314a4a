//! Where control sockets are, and who may use them.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::unix::fs::{
    DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown,
};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use nix::fcntl::{Flock, FlockArg};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Group, Uid};

/// Held while the umask of the process is another one, and while a folder is made.
static UMASK: Mutex<()> = Mutex::new(());

/// A socket that listens. Its files are removed when it is dropped.
#[derive(Debug)]
pub(crate) struct BoundSocket {
    pub(crate) listener: UnixListener,
    pub(crate) path: PathBuf,
    /// Whether a group may use the socket.
    pub(crate) is_shared: bool,
    /// Held as long as the socket is used. The lock ends with the process.
    lock: Lock,
}

/// A file that one process at a time can lock.
#[derive(Debug)]
struct Lock {
    path: PathBuf,
    _file: Flock<File>,
}

impl Drop for BoundSocket {
    fn drop(&mut self) {
        // The lock is held, so the socket is still the own one.
        let _ = fs::remove_file(&self.path);
        let _ = fs::remove_file(&self.lock.path);
    }
}

/// Binds a socket in the default folder, named after the address of the listener. Removes the
/// sockets of towers that were killed. The error is a sentence.
pub(crate) fn bind_default(
    listens_at: SocketAddr,
    group: Option<Gid>,
) -> Result<BoundSocket, String> {
    let folder = runtime_folder()?;
    remove_dead_sockets(&folder);
    bind(&folder.join(format!("{listens_at}.sock")), group)
}

/// Returns the folder for files of running towers. Makes it for the own user alone, unless it
/// exists. The error is a sentence.
pub(crate) fn runtime_folder() -> Result<PathBuf, String> {
    let folder = own_folder().ok_or(
        "There is no folder for a control socket: set XDG_RUNTIME_DIR or HOME, or give --control \
         PATH.",
    )?;
    make(&folder)?;
    Ok(folder)
}

/// Binds a socket. Only the own user may use it, and the group if there is one. The error is a
/// sentence.
pub(crate) fn bind(path: &Path, group: Option<Gid>) -> Result<BoundSocket, String> {
    let path = &std::path::absolute(path).map_err(|error| {
        format!("The control socket {} cannot be made: {error}.", path.display())
    })?;
    let folder = folder_of(path);
    if !folder.exists() {
        make(folder)?;
    }
    check_folder(folder)?;
    let cannot = |error: &dyn std::fmt::Display| {
        format!("The control socket {} cannot be made: {error}.", path.display())
    };
    let lock = lock(path).map_err(|error| match error.kind() {
        ErrorKind::WouldBlock => format!(
            "Another tower uses the control socket {}: stop it, or give --control another path.",
            path.display()
        ),
        _ => cannot(&error),
    })?;
    remove_old(path)?;
    // The socket must not be open for others even for a moment.
    let guard = UMASK.lock().unwrap_or_else(PoisonError::into_inner);
    let others = umask(Mode::from_bits_truncate(0o177));
    let listener = UnixListener::bind(path);
    umask(others);
    drop(guard);
    let listener = listener.map_err(|error| match error.kind() {
        ErrorKind::InvalidInput => cannot(&"the path is too long for a socket"),
        _ => cannot(&error),
    })?;
    let is_shared = group.is_some();
    let socket = BoundSocket { listener, path: path.to_owned(), is_shared, lock };
    if let Some(group) = group {
        chown(path, None, Some(group.as_raw()))
            .and_then(|()| fs::set_permissions(path, Permissions::from_mode(0o660)))
            .map_err(|error| {
                format!(
                    "The control socket cannot be given to the group ({error}): the user of the \
                     tower must be a member of --control-group."
                )
            })?;
    }
    Ok(socket)
}

/// Returns the id of a group with a name.
pub(crate) fn find_group(name: &str) -> Result<Gid, String> {
    match Group::from_name(name) {
        Ok(Some(group)) => Ok(group.gid),
        _ => Err(format!("There is no group {name:?}: check --control-group.")),
    }
}

/// The sockets on which a tower listens.
#[derive(Debug, Default)]
pub(super) struct LiveSockets {
    pub(super) sockets: Vec<PathBuf>,
    /// The folders and sockets that this user may not use.
    pub(super) refused: Vec<PathBuf>,
}

/// Returns the sockets on which a tower listens, in all folders where a tower of this user or of
/// the system puts its own.
pub(super) fn live_sockets() -> LiveSockets {
    live_sockets_in(folders())
}

fn live_sockets_in(folders: impl Iterator<Item = PathBuf>) -> LiveSockets {
    let mut live = LiveSockets::default();
    for folder in folders {
        let sockets = match sockets_in(&folder) {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                live.refused.push(folder);
                continue;
            }
            sockets => sockets.unwrap_or_default(),
        };
        for path in sockets {
            match UnixStream::connect(&path) {
                Ok(_) if !live.sockets.contains(&path) => live.sockets.push(path),
                Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                    live.refused.push(path);
                }
                _ => {}
            }
        }
    }
    live.sockets.sort();
    live
}

fn sockets_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let paths = fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path()));
    Ok(paths.filter(|path| path.extension().is_some_and(|end| end == "sock")).collect())
}

/// Returns the folder of this process: systemd's, the session's, or one of the user.
fn own_folder() -> Option<PathBuf> {
    folder_of_service().or_else(folder_of_session).or_else(folder_of_user)
}

fn folders() -> impl Iterator<Item = PathBuf> {
    let of_system = Some(PathBuf::from("/run/clacks"));
    [folder_of_service(), folder_of_session(), folder_of_user(), of_system].into_iter().flatten()
}

/// systemd's `RuntimeDirectory`, which may be a list.
fn folder_of_service() -> Option<PathBuf> {
    let folders = variable("RUNTIME_DIRECTORY")?;
    let first = folders.to_str()?.split(':').next()?;
    Some(PathBuf::from(first))
}

fn folder_of_session() -> Option<PathBuf> {
    let folder = PathBuf::from(variable("XDG_RUNTIME_DIR")?);
    folder.is_dir().then(|| folder.join("clacks"))
}

fn folder_of_user() -> Option<PathBuf> {
    let state = variable("XDG_STATE_HOME").map(PathBuf::from);
    let state = state.or_else(|| Some(PathBuf::from(variable("HOME")?).join(".local/state")))?;
    Some(state.join("clacks/run"))
}

/// Returns a variable that has an absolute path. Others are to be ignored by the specification of
/// the XDG folders.
fn variable(name: &str) -> Option<std::ffi::OsString> {
    std::env::var_os(name).filter(|value| Path::new(value).is_absolute())
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

/// Makes a folder for the own user alone, unless it exists.
fn make(folder: &Path) -> Result<(), String> {
    let _guard = UMASK.lock().unwrap_or_else(PoisonError::into_inner);
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|error| {
        format!(
            "The folder {} of the control socket cannot be made ({error}): give --control a path \
             in a folder of yours.",
            folder.display()
        )
    })?;
    check_folder(folder)
}

/// Refuses a folder in which others could put a socket of theirs.
fn check_folder(folder: &Path) -> Result<(), String> {
    let refuse = |why: &dyn std::fmt::Display| {
        format!(
            "{} is no place for a control socket ({why}): give --control a path in a folder that \
             only you can write to.",
            folder.display()
        )
    };
    let found = fs::symlink_metadata(folder).map_err(|error| refuse(&error))?;
    if !found.is_dir() {
        return Err(refuse(&"it is a link or a file"));
    }
    if !is_own(&found) {
        return Err(refuse(&"it belongs to another user"));
    }
    if found.mode() & 0o022 != 0 {
        return Err(refuse(&"others can write to it"));
    }
    Ok(())
}

fn is_own(found: &Metadata) -> bool {
    found.uid() == Uid::effective().as_raw()
}

/// Removes the socket that a killed tower left behind. The lock must be held.
fn remove_old(path: &Path) -> Result<(), String> {
    let in_the_way = |why: &dyn std::fmt::Display| {
        format!(
            "{} is in the way ({why}): move it away, or give --control another path.",
            path.display()
        )
    };
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(in_the_way(&error)),
    };
    if !found.file_type().is_socket() {
        return Err(in_the_way(&"it is no socket"));
    }
    if !is_own(&found) {
        return Err(in_the_way(&"it belongs to another user"));
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(|error| in_the_way(&error))
        }
        _ => Err(in_the_way(&"a program listens on it")),
    }
}

/// Removes the sockets in a folder whose towers were killed.
fn remove_dead_sockets(folder: &Path) {
    for path in sockets_in(folder).unwrap_or_default() {
        if let Ok(lock) = lock(&path)
            && remove_old(&path).is_ok()
        {
            let _ = fs::remove_file(&lock.path);
        }
    }
}

/// Takes the lock of a socket. The error is `WouldBlock` if another process has it.
fn lock(socket: &Path) -> io::Result<Lock> {
    let mut path = socket.as_os_str().to_owned();
    path.push(".lock");
    let path = PathBuf::from(path);
    loop {
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true).mode(0o600);
        let file = options.custom_flags(nix::libc::O_NOFOLLOW).open(&path)?;
        let file = Flock::lock(file, FlockArg::LockExclusiveNonblock)
            .map_err(|(_, error)| io::Error::from(error))?;
        // The last owner may have removed the file between the two calls.
        let is_current = match (file.metadata(), fs::symlink_metadata(&path)) {
            (Ok(locked), Ok(current)) => {
                (locked.dev(), locked.ino()) == (current.dev(), current.ino())
            }
            _ => false,
        };
        if is_current {
            return Ok(Lock { path, _file: file });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own_dir() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o700)).unwrap();
        dir
    }

    #[test]
    fn a_socket_is_for_its_owner_and_leaves_no_files() {
        let dir = own_dir();
        let path = dir.path().join("new/tower.sock");
        let socket = bind(&path, None).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o777, 0o700);
        UnixStream::connect(&path).unwrap();
        drop(socket);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 0);
    }

    #[test]
    fn a_socket_in_use_is_refused_and_a_dead_one_is_replaced() {
        let dir = own_dir();
        let path = dir.path().join("tower.sock");
        let socket = bind(&path, None).unwrap();
        assert!(bind(&path, None).unwrap_err().contains("Another tower"));
        remove_dead_sockets(dir.path());
        UnixStream::connect(&path).unwrap();
        drop(socket);
        // As a killed tower leaves it: without a listener, and without a lock.
        drop(UnixListener::bind(&path).unwrap());
        let socket = bind(&path, None).unwrap();
        UnixStream::connect(&path).unwrap();
        drop(socket);
        drop(UnixListener::bind(&path).unwrap());
        remove_dead_sockets(dir.path());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn sockets_of_other_users_are_reported() {
        if Uid::effective().is_root() {
            // Root may use all of them.
            return;
        }
        let dir = own_dir();
        let (closed, open) = (dir.path().join("closed"), dir.path().join("open"));
        for folder in [&closed, &open] {
            fs::create_dir(folder).unwrap();
        }
        let [_first, _second] = ["a", "b"]
            .map(|name| UnixListener::bind(open.join(name).with_extension("sock")).unwrap());
        fs::set_permissions(open.join("a.sock"), Permissions::from_mode(0o000)).unwrap();
        fs::set_permissions(&closed, Permissions::from_mode(0o000)).unwrap();
        let live = live_sockets_in([closed.clone(), open.clone()].into_iter());
        fs::set_permissions(&closed, Permissions::from_mode(0o700)).unwrap();
        assert_eq!(live.sockets, [open.join("b.sock")]);
        assert_eq!(live.refused, [closed, open.join("a.sock")]);
    }

    #[test]
    fn a_socket_that_listens_without_a_lock_is_not_replaced() {
        let dir = own_dir();
        let path = dir.path().join("tower.sock");
        let _foreign = UnixListener::bind(&path).unwrap();
        assert!(bind(&path, None).unwrap_err().contains("a program listens"));
        remove_dead_sockets(dir.path());
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn folders_of_others_links_and_files_are_refused() {
        let dir = own_dir();
        let open = dir.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, Permissions::from_mode(0o1777)).unwrap();
        assert!(bind(&open.join("x.sock"), None).unwrap_err().contains("others can write"));
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path(), &link).unwrap();
        assert!(bind(&link.join("x.sock"), None).unwrap_err().contains("a link"));
        let file = dir.path().join("file");
        fs::write(&file, "mine").unwrap();
        assert!(bind(&file, None).unwrap_err().contains("no socket"));
        assert_eq!(fs::read(&file).unwrap(), b"mine");
        let lock = dir.path().join("linked.sock.lock");
        std::os::unix::fs::symlink(&file, lock).unwrap();
        assert!(bind(&dir.path().join("linked.sock"), None).is_err());
        let long = dir.path().join("x".repeat(120));
        assert!(bind(&long, None).unwrap_err().contains("too long"));
    }

    #[test]
    fn a_group_may_use_a_socket_that_is_given_to_it() {
        let dir = own_dir();
        let path = dir.path().join("tower.sock");
        let socket = bind(&path, Some(Gid::effective())).unwrap();
        let found = fs::metadata(&path).unwrap();
        assert_eq!((found.mode() & 0o777, found.gid()), (0o660, Gid::effective().as_raw()));
        assert!(socket.is_shared);
        assert!(find_group("no such group").is_err());
    }
}
