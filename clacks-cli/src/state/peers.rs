//! The file of the peers that a tower knows.
//!
//! One line of JSON with the format, its version, the network, and a
//! [`PeerRecord`] for each peer.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clacks_proto::PeerRecord;
use serde::{Deserialize, Serialize};

use crate::error::Failure;

/// The name of the format, which no other program writes.
const FORMAT: &str = "clacks-peers";

/// The version of the format. A change that an older command can't read increments it.
const VERSION: u32 = 1;

/// The longest file that is read: ten times as long as that of a full table of 4 096 peers.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// The file of the peers in a state folder.
#[derive(Clone, Debug)]
pub(crate) struct PeersFile {
    dir: PathBuf,
    network: String,
}

/// The peers of an earlier start.
#[derive(Debug)]
pub(crate) enum Kept {
    /// There is no file.
    Nothing,
    /// The peers in the file.
    Peers(Vec<PeerRecord>),
    /// The file could not be used. The sentence contains its new name.
    SetAside(String),
}

/// The fields that every version has.
#[derive(Deserialize)]
struct Header {
    format: String,
    version: u32,
}

#[derive(Deserialize)]
struct Content {
    network: String,
    peers: Vec<PeerRecord>,
}

#[derive(Serialize)]
struct NewContent<'a> {
    format: &'static str,
    version: u32,
    network: &'a str,
    peers: &'a [PeerRecord],
}

impl PeersFile {
    /// Returns the file of the peers of `network` in a folder.
    pub(crate) fn new(dir: &Path, network: &str) -> Self {
        Self { dir: dir.to_owned(), network: network.to_owned() }
    }

    /// Returns the path of the file.
    pub(crate) fn path(&self) -> PathBuf {
        self.dir.join("peers.json")
    }

    /// Reads the peers. A file that can't be used is renamed to `peers.json.aside`, in place of an
    /// earlier one.
    ///
    /// Fails if the file can't be read.
    pub(crate) fn load(&self) -> Result<Kept, Failure> {
        let path = self.path();
        let failed = |error: io::Error| {
            Failure::failed(format_args!(
                "The known towers in {} cannot be read ({error}): make the file readable, or move \
                 it away.",
                path.display()
            ))
        };
        let bytes = match read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Kept::Nothing),
            Err(error) => return Err(failed(error)),
        };
        let why = match self.parse(&bytes) {
            Ok(peers) => return Ok(Kept::Peers(peers)),
            Err(why) => why,
        };
        let aside = self.dir.join("peers.json.aside");
        let now = match fs::rename(&path, &aside) {
            Ok(()) => format!("The file is now {}", aside.display()),
            // A folder can be in the way of the other.
            Err(error) => format!("Move it away, because it cannot be renamed ({error})"),
        };
        Ok(Kept::SetAside(format!(
            "The known towers in {} cannot be used: {why}. {now}. The tower starts without them.",
            path.display(),
        )))
    }

    fn parse(&self, bytes: &[u8]) -> Result<Vec<PeerRecord>, String> {
        if bytes.len() as u64 > MAX_BYTES {
            return Err(format!("it is longer than {MAX_BYTES} bytes"));
        }
        let header: Header = serde_json::from_slice(bytes)
            .map_err(|_| "it was not written by this command, or it is damaged".to_owned())?;
        if header.format != FORMAT {
            return Err("another program wrote it".to_owned());
        }
        if header.version != VERSION {
            return Err(format!(
                "its format has version {}, and this command reads version {VERSION}",
                header.version
            ));
        }
        let content: Content =
            serde_json::from_slice(bytes).map_err(|error| format!("it is damaged ({error})"))?;
        if content.network != self.network {
            return Err(format!("they belong to the network {:?}", content.network));
        }
        Ok(content.peers)
    }

    /// Replaces the file in one step. After a power cut it has either the old or the new content.
    pub(crate) fn save(&self, peers: &[PeerRecord]) -> io::Result<()> {
        let content =
            NewContent { format: FORMAT, version: VERSION, network: &self.network, peers };
        let mut bytes = serde_json::to_vec(&content)?;
        bytes.push(b'\n');
        let new = self.dir.join("peers.json.new");
        // The folder is locked, so this is a file that an earlier tower could not finish.
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        let written = file.write_all(&bytes).and_then(|()| file.sync_all());
        let replaced = written.and_then(|()| fs::rename(&new, self.path()));
        if replaced.is_err() {
            let _ = fs::remove_file(&new);
        }
        replaced?;
        // The new name is on the disk only after this.
        File::open(&self.dir)?.sync_all()
    }
}

/// Reads a file up to one byte more than the longest one. Returns no bytes if the path is not a
/// regular file.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // Opening a named pipe would wait for its writer.
    if fs::metadata(path)?.is_file() {
        File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clacks_proto::{Fingerprint, Status};
    use std::os::unix::fs::PermissionsExt;

    fn records() -> Vec<PeerRecord> {
        let mut pinned = PeerRecord::new("tower.example:8001".parse().unwrap(), Status::Alive);
        pinned.fingerprint = Some(Fingerprint([7; 32]));
        vec![pinned, PeerRecord::new("[::1]:2".parse().unwrap(), Status::Ignored)]
    }

    fn loaded(file: &PeersFile) -> Vec<PeerRecord> {
        match file.load().unwrap() {
            Kept::Peers(peers) => peers,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn saved_peers_are_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let file = PeersFile::new(dir.path(), "clacks");
        assert!(matches!(file.load().unwrap(), Kept::Nothing));
        file.save(&records()).unwrap();
        assert_eq!(loaded(&file), records());
        file.save(&records()[..1]).unwrap();
        assert_eq!(loaded(&file), records()[..1]);
        let mode = fs::metadata(file.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let names: Vec<_> = fs::read_dir(dir.path()).unwrap().flatten().collect();
        assert_eq!(names.len(), 1, "{names:?}");
    }

    #[test]
    fn the_format_is_stable() {
        let dir = tempfile::tempdir().unwrap();
        let file = PeersFile::new(dir.path(), "clacks");
        file.save(&records()[..1]).unwrap();
        let expected = format!(
            "{}{}{}\n",
            r#"{"format":"clacks-peers","version":1,"network":"clacks","peers":["#,
            r#"{"address":"tower.example:8001","status":"alive","fingerprint":""#,
            "07".repeat(32) + r#"","dialect":null}]}"#
        );
        assert_eq!(fs::read_to_string(file.path()).unwrap(), expected);
    }

    #[test]
    fn a_file_that_cannot_be_used_is_set_aside() {
        for (content, words) in [
            (&b""[..], "damaged"),
            (b"\xff\x00", "damaged"),
            (br#"{"format":"clacks-peers","version":1}"#, "damaged"),
            (br#"{"format":"clacks-peers","version":1,"network":"clacks","peers":[{"#, "damaged"),
            (br#"{"format":"other","version":1}"#, "another program"),
            (br#"{"format":"clacks-peers","version":2,"all":"new"}"#, "version 2"),
            (
                br#"{"format":"clacks-peers","version":1,"network":"other","peers":[]}"#,
                "the network \"other\"",
            ),
            (
                br#"{"format":"clacks-peers","version":1,"network":"clacks","peers":[{"address":"x:0","status":"alive"}]}"#,
                "damaged",
            ),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let file = PeersFile::new(dir.path(), "clacks");
            fs::write(dir.path().join("peers.json.aside"), "earlier").unwrap();
            fs::write(file.path(), content).unwrap();
            let Kept::SetAside(sentence) = file.load().unwrap() else { panic!("{content:?}") };
            assert!(sentence.contains(words) && sentence.contains(".aside"), "{sentence}");
            assert_eq!(fs::read(dir.path().join("peers.json.aside")).unwrap(), content);
            assert!(matches!(file.load().unwrap(), Kept::Nothing));
        }
    }

    #[test]
    fn a_folder_or_a_pipe_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let file = PeersFile::new(dir.path(), "clacks");
        fs::create_dir(file.path()).unwrap();
        assert!(matches!(file.load().unwrap(), Kept::SetAside(_)));
        assert!(dir.path().join("peers.json.aside").is_dir());
        // Two folders that are not empty.
        fs::write(dir.path().join("peers.json.aside/x"), "").unwrap();
        fs::create_dir(file.path()).unwrap();
        fs::write(file.path().join("x"), "").unwrap();
        let Kept::SetAside(sentence) = file.load().unwrap() else { panic!("it was used") };
        assert!(sentence.contains("Move it away"), "{sentence}");
    }

    #[test]
    fn a_long_file_is_not_read_into_memory() {
        let dir = tempfile::tempdir().unwrap();
        let file = PeersFile::new(dir.path(), "clacks");
        File::create(file.path()).unwrap().set_len(1 << 40).unwrap();
        let Kept::SetAside(sentence) = file.load().unwrap() else { panic!("it was used") };
        assert!(sentence.contains("longer than"), "{sentence}");
    }
}
