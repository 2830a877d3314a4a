//! The order in which towers are asked.
//!
//! The first tower that is asked knows that this machine asks. So the same one is asked for 30
//! days: a keeper that draws another one at each start would meet a spy within a day. A key in the
//! state folder gives all towers an order, address groups first, because many addresses of one
//! network cost little.

use std::fs;
use std::hash::{Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clacks_proto::Address;
use clacks_store::AddressGroup;
use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;

use crate::error::Failure;
use crate::identity::{self, Access};
use crate::output::{rfc3339, wrap};
use crate::state;

const FILE: &str = "first-hop.json";
const FORMAT: &str = "clacks-first-hop";
const VERSION: u32 = 1;

/// How long the order stays the same (Tor keeps its guards for some months; towers live shorter).
const LIFETIME: Duration = Duration::from_secs(30 * 24 * 3_600);

/// The longest file that is read. This command writes about 120 bytes.
const MAX_BYTES: u64 = 4_096;

/// The content of the file.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Content {
    format: String,
    version: u32,
    key: [u8; 16],
    #[serde(with = "rfc3339")]
    since: SystemTime,
}

/// Sorts towers of a network by the key in the state folder, which is made if there is none.
/// Returns the key. It gives an order to the second towers, too.
pub(super) fn sort(towers: &mut [Address], network: &str) -> Result<[u8; 16], Failure> {
    let (key, trouble) = match state::home(state::variable) {
        Some(folder) => {
            let (key, written) = key_in(&folder, SystemTime::now())?;
            let trouble = written.err().map(|error| {
                format!(
                    "The order of first towers can't be kept in {} ({error}): another tower may be \
                     asked next time.",
                    folder.display()
                )
            });
            (key, trouble)
        }
        None => {
            let trouble =
                "There is no folder for state, so another tower may be asked next time: set HOME.";
            (fresh_key()?, Some(trouble.to_owned()))
        }
    };
    if let Some(trouble) = trouble.filter(|_| towers.len() > 1) {
        wrap::note(trouble);
    }
    towers.sort_by_cached_key(|tower| place(&key, network, tower));
    Ok(key)
}

/// Returns the key in a folder, or writes a new one. The second value is the result of writing.
fn key_in(folder: &Path, now: SystemTime) -> Result<([u8; 16], io::Result<()>), Failure> {
    let path = folder.join(FILE);
    if let Some(content) = read(&path)
        && now.duration_since(content.since).is_ok_and(|age| age < LIFETIME)
    {
        return Ok((content.key, Ok(())));
    }
    let key = fresh_key()?;
    let content = Content { format: FORMAT.into(), version: VERSION, key, since: now };
    Ok((key, write(folder, &path, &content)))
}

/// Reads the file. One that can't be used is replaced: it contains nothing that is missed.
fn read(path: &PathBuf) -> Option<Content> {
    if fs::metadata(path).ok()?.len() > MAX_BYTES {
        return None;
    }
    let content: Content = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    (content.format == FORMAT && content.version == VERSION).then_some(content)
}

/// Replaces the file in one step.
fn write(folder: &Path, path: &Path, content: &Content) -> io::Result<()> {
    identity::make_folder(folder)?;
    let new = folder.join(format!("{FILE}.{}", std::process::id()));
    let mut bytes = serde_json::to_vec(content)?;
    bytes.push(b'\n');
    identity::write_new(&new, &bytes, Access::OwnerOnly)?;
    fs::rename(&new, path).inspect_err(|_| _ = fs::remove_file(&new))
}

fn fresh_key() -> Result<[u8; 16], Failure> {
    let mut key = [0; 16];
    getrandom::fill(&mut key).map_err(|error| {
        Failure::failed(format_args!("The operating system gives no randomness: {error}."))
    })?;
    Ok(key)
}

/// Returns the place of a tower: first that of its address group, then that of its address.
fn place(key: &[u8; 16], network: &str, tower: &Address) -> (u64, u64) {
    let hasher = || {
        let mut hasher = SipHasher13::new_with_key(key);
        hasher.write(network.as_bytes());
        hasher.write_u8(0);
        hasher
    };
    let mut of_group = hasher();
    AddressGroup::of(tower).hash(&mut of_group);
    let mut of_address = hasher();
    of_address.write(tower.to_string().as_bytes());
    (of_group.finish(), of_address.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        text.parse().unwrap()
    }

    #[test]
    fn the_key_stays_for_30_days() {
        let dir = tempfile::tempdir().unwrap();
        let (now, folder) = (SystemTime::now(), dir.path().join("state"));
        let key = |now| key_in(&folder, now).map(|(key, written)| (key, written.unwrap())).unwrap();
        let first = key(now);
        assert_eq!(key(now + LIFETIME - Duration::from_secs(1)), first);
        let second = key(now + LIFETIME + Duration::from_secs(1));
        assert_ne!(second, first);
        // A clock that was set back makes a new key: the age of this one is not known.
        assert_ne!(key(now), second);
        fs::write(folder.join(FILE), "{}").unwrap();
        assert_eq!(key(now), key(now));
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_that_cant_be_written_gives_a_key_and_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let (_, written) = key_in(&file, SystemTime::now()).unwrap();
        assert!(written.is_err());
    }

    #[test]
    fn towers_of_one_address_group_are_neighbours_in_the_order() {
        let towers = [
            "192.0.2.1:1",
            "198.51.100.1:1",
            "[::ffff:192.0.7.9]:2",
            "198.51.3.1:1",
            "a.x.example:1",
            "b.x.example:1",
        ];
        for number in 0..20 {
            let mut sorted = towers.map(address);
            sorted.sort_by_cached_key(|tower| place(&[number; 16], "clacks", tower));
            let mut groups: Vec<_> = sorted.iter().map(AddressGroup::of).collect();
            groups.dedup();
            assert_eq!(groups.len(), 3, "{sorted:?}");
        }
    }

    #[test]
    fn another_key_or_network_gives_another_order() {
        let towers: Vec<_> = (1..=9).map(|number| address(&format!("10.{number}.0.1:1"))).collect();
        let sorted = |key: u8, network: &str| {
            let mut towers = towers.clone();
            towers.sort_by_cached_key(|tower| place(&[key; 16], network, tower));
            towers
        };
        assert_eq!(sorted(1, "a"), sorted(1, "a"));
        assert_ne!(sorted(1, "a"), sorted(2, "a"));
        assert_ne!(sorted(1, "a"), sorted(1, "b"));
    }
}
