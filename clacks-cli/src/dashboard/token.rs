//! The token that a browser must send to see the state of the tower.

use std::fmt::{self, Write as _};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use subtle::ConstantTimeEq;

use crate::control::socket;
use crate::error::Failure;

/// 256 random bits in hexadecimal digits. Each start of a tower has its own.
#[derive(Clone)]
pub(crate) struct Token(String);

/// Does not show the token.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

impl Token {
    /// Returns a token from the operating system.
    pub(crate) fn generate() -> Result<Self, Failure> {
        random_hex::<32>().map(Self)
    }

    /// Returns the digits.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether `claimed` is this token. The time does not depend on which digits differ.
    pub(crate) fn is(&self, claimed: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(claimed).into()
    }
}

/// Returns `N` random bytes in hexadecimal digits.
pub(super) fn random_hex<const N: usize>() -> Result<String, Failure> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| {
        Failure::failed(format_args!("The operating system gives no randomness: {error}."))
    })?;
    let mut hex = String::with_capacity(2 * N);
    for byte in bytes {
        // Writing to a string does not fail.
        let _ = write!(hex, "{byte:02x}");
    }
    Ok(hex)
}

/// The file with the token, for programs of the same user. It is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct TokenFile {
    path: PathBuf,
    /// Locked as long as the token is valid. The lock ends with the process.
    _file: Flock<File>,
}

impl TokenFile {
    /// Writes the token of the dashboard at `address` into the folder of control sockets. Only the
    /// own user may read it. Removes the files of towers that were killed. The error is a sentence.
    pub(crate) fn write(token: &Token, address: SocketAddr) -> Result<Self, String> {
        let folder = socket::runtime_folder()?;
        remove_invalid(&folder);
        let path = folder.join(format!("{address}.token"));
        Self::create(&path, token).map_err(|error| {
            format!(
                "The token of the dashboard cannot be written to {} ({error}): look at the folder.",
                path.display()
            )
        })
    }

    /// Returns the path of the file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn create(path: &Path, token: &Token) -> io::Result<Self> {
        // The file has its name only when it is locked, so that no other tower removes it.
        let new = path.with_extension("new");
        match fs::remove_file(&new) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        let mut file = Flock::lock(file, FlockArg::LockExclusiveNonblock)
            .map_err(|(_, error)| io::Error::from(error))?;
        writeln!(file, "{}", token.as_str())?;
        fs::rename(&new, path)?;
        Ok(Self { path: path.to_owned(), _file: file })
    }
}

/// Removes the token files in a folder that no tower has locked.
fn remove_invalid(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        if path.extension().is_some_and(|end| end == "token")
            && let Ok(file) = File::open(&path)
            && Flock::lock(file, FlockArg::LockExclusiveNonblock).is_ok()
        {
            let _ = fs::remove_file(path);
        }
    }
}

impl Drop for TokenFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_token_has_256_bits_and_only_equals_itself() {
        let (one, other) = (Token::generate().unwrap(), Token::generate().unwrap());
        assert_eq!(one.as_str().len(), 64);
        assert!(one.is(one.as_str().as_bytes()));
        assert!(!one.is(other.as_str().as_bytes()));
        assert!(!one.is(&one.as_str().as_bytes()[..63]) && !one.is(b""));
        assert!(!format!("{one:?}").contains(one.as_str()));
    }

    #[test]
    fn the_file_is_for_its_owner_and_replaces_an_old_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("127.0.0.1:1.token");
        fs::write(&path, "old").unwrap();
        fs::write(path.with_extension("new"), "old").unwrap();
        let token = Token::generate().unwrap();
        let file = TokenFile::create(&path, &token).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_to_string(&path).unwrap().trim_end(), token.as_str());
        drop(file);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn files_of_killed_towers_are_removed_and_others_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let _valid =
            TokenFile::create(&path("127.0.0.1:1.token"), &Token::generate().unwrap()).unwrap();
        for other in ["127.0.0.1:2.token", "127.0.0.1:2.sock"] {
            fs::write(path(other), "x").unwrap();
        }
        remove_invalid(dir.path());
        assert!(path("127.0.0.1:1.token").exists() && path("127.0.0.1:2.sock").exists());
        assert!(!path("127.0.0.1:2.token").exists());
    }
}
