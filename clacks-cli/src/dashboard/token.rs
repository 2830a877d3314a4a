//! The token that a browser must send to see the state of the tower.

use std::fmt::{self, Write as _};
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

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
}

impl TokenFile {
    /// Writes the token of the dashboard at `address` into the folder of control sockets. Only the
    /// own user may read it. The error is a sentence.
    pub(crate) fn write(token: &Token, address: SocketAddr) -> Result<Self, String> {
        let path = socket::runtime_folder()?.join(format!("{address}.token"));
        write_new(&path, token).map_err(|error| {
            format!(
                "The token of the dashboard cannot be written to {} ({error}): look at the folder.",
                path.display()
            )
        })?;
        Ok(Self { path })
    }
}

fn write_new(path: &PathBuf, token: &Token) -> io::Result<()> {
    // A killed tower leaves its file behind. The listener has the port, so no other tower uses it.
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "{}", token.as_str())
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
        let token = Token::generate().unwrap();
        write_new(&path, &token).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_to_string(&path).unwrap().trim_end(), token.as_str());
        drop(TokenFile { path: path.clone() });
        assert!(!path.exists());
    }
}
