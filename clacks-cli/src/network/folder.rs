//! The folder of a network on this machine.

use std::fs::{self, File};
use std::io;
use std::os::unix::{self, fs::MetadataExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clacks_proto::tls::{Authority, Identity, Revocations, Roots, Trust};
use clacks_proto::{Address, Fingerprint};
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::Uid;
use serde::{Deserialize, Serialize};

use super::name::Name;
use crate::error::Failure;
use crate::identity::{self, Access, Files};
use crate::state;

/// The settings. A folder without them is no network.
const SETTINGS: &str = "network.toml";
/// The root certificate.
const ROOTS: &str = "roots.pem";
/// The list of revoked members.
const REVOKED: &str = "revoked.pem";
/// The private key of the network, in the folder of the founder only.
const AUTHORITY: &str = "network-key.pem";
/// The folder with a file for each member, in the folder of the founder only.
const MEMBERS: &str = "members";

/// A network of which this machine is a member. Its folder contains `network.toml`, the identity of
/// the tower (`key.pem`, `cert.pem`), the root (`roots.pem`), and the list of revoked members
/// (`revoked.pem`) if there is one. The folder of the founder also contains the key of the network
/// (`network-key.pem`) and the members.
#[derive(Debug)]
pub(crate) struct NetworkFolder {
    path: PathBuf,
    settings: Settings,
}

/// The content of `network.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// The name of the network.
    pub(crate) network: Name,
    /// The name of this member.
    pub(crate) member: Name,
    /// Where the founder's tower is reached. A member announces itself there at each start.
    pub(crate) addresses: Vec<Address>,
}

/// A member as the founder remembers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Member {
    pub(crate) fingerprint: Fingerprint,
    #[serde(with = "humantime_text")]
    pub(crate) invited: SystemTime,
    #[serde(with = "humantime_text")]
    pub(crate) expires: SystemTime,
    /// When the member was revoked.
    #[serde(default, with = "humantime_text::optional", skip_serializing_if = "Option::is_none")]
    pub(crate) revoked: Option<SystemTime>,
    /// The certificate as PEM. A renewed one is made for the same key.
    pub(crate) certificate: String,
}

/// The files of a new network.
pub(crate) struct NewNetwork<'a> {
    pub(crate) settings: Settings,
    pub(crate) key_pem: &'a str,
    pub(crate) cert_pem: &'a str,
    pub(crate) roots_pem: &'a str,
    pub(crate) revoked_pem: Option<&'a str>,
    /// The key of the network, if it is founded here.
    pub(crate) authority_pem: Option<&'a str>,
}

impl NetworkFolder {
    /// Writes the files of a network into a folder, which must be empty or missing. If one can't be
    /// written, the others are removed.
    pub(crate) fn create(dir: &Path, new: &NewNetwork<'_>) -> Result<Self, Failure> {
        let name = &new.settings.network;
        let is_new = !dir.exists();
        make_folder(dir).map_err(|error| cant_write(dir, &error))?;
        let _lock = lock(dir)?;
        if fs::read_dir(dir).map_or(true, |mut entries| entries.next().is_some()) {
            return Err(Failure::failed(format_args!(
                "There is something in {} already, and it stays as it is: choose another name than \
                 {name}, or another folder with --dir.",
                dir.display()
            )));
        }
        let created = Self::write_all(dir, new);
        if created.is_err() {
            for file in ["key.pem", "cert.pem", ROOTS, REVOKED, AUTHORITY, SETTINGS] {
                let _ = fs::remove_file(dir.join(file));
            }
            let _ = fs::remove_dir(dir.join(MEMBERS));
            if is_new {
                let _ = fs::remove_dir(dir);
            }
        }
        created?;
        Ok(Self { path: dir.to_owned(), settings: new.settings.clone() })
    }

    fn write_all(dir: &Path, new: &NewNetwork<'_>) -> Result<(), Failure> {
        if new.authority_pem.is_some() {
            let members = dir.join(MEMBERS);
            make_folder(&members).map_err(|error| cant_write(&members, &error))?;
        }
        let settings = toml::to_string(&new.settings).map_err(Failure::failed)?;
        let files = Files::within(dir);
        let write = |file: &Path, text: &str, access| {
            identity::write_new(file, text.as_bytes(), access)
                .and_then(|()| give_to_owner_of_folder(file))
                .map_err(|error| cant_write(file, &error))
        };
        if let Some(key) = new.authority_pem {
            write(&dir.join(AUTHORITY), key, Access::OwnerOnly)?;
        }
        write(&files.key, new.key_pem, Access::OwnerOnly)?;
        write(&files.cert, new.cert_pem, Access::Everyone)?;
        write(&dir.join(ROOTS), new.roots_pem, Access::Everyone)?;
        if let Some(revoked) = new.revoked_pem {
            write(&dir.join(REVOKED), revoked, Access::Everyone)?;
        }
        // Last: a folder with settings is complete.
        write(&dir.join(SETTINGS), &settings, Access::Everyone)?;
        sync(dir).map_err(|error| cant_write(dir, &error))
    }

    /// Keeps other commands from changing the network, until the result is dropped. Waits for a
    /// command that changes it now.
    pub(crate) fn lock(&self) -> Result<Flock<File>, Failure> {
        lock(&self.path)
    }

    /// Opens a folder. Returns `None` if there is no network in it.
    pub(crate) fn open(dir: &Path) -> Result<Option<Self>, Failure> {
        let file = dir.join(SETTINGS);
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if is_missing(&error) => return Ok(None),
            Err(error) => return Err(cant_read(&file, &error)),
        };
        let settings = toml::from_str(&text).map_err(|error| unusable(&file, &error))?;
        Ok(Some(Self { path: dir.to_owned(), settings }))
    }

    /// Returns the network of a name in the state folder, or the one in `dir`.
    pub(crate) fn named(name: &Name, dir: Option<&Path>) -> Result<Option<Self>, Failure> {
        match dir {
            Some(dir) => Self::open(dir),
            None => match networks_folder() {
                Some(networks) => Self::open(&networks.join(name)),
                None => Ok(None),
            },
        }
    }

    /// Returns the network that the options choose: the one in `dir`, the one with a name, or the
    /// only one that this machine has founded.
    pub(crate) fn chosen(name: Option<&Name>, dir: Option<&Path>) -> Result<Self, Failure> {
        if let Some(dir) = dir {
            return Self::open(dir)?.ok_or_else(|| {
                Failure::failed(format_args!("There is no network in {}.", dir.display()))
            });
        }
        if let Some(name) = name {
            return Self::named(name, None)?.ok_or_else(|| {
                Failure::failed(format_args!(
                    "This machine is no member of a network {name}: found it with `clacks network \
                     new {name}`, or join it with `clacks join`."
                ))
            });
        }
        let (mut founded, mut joined) = (Vec::new(), Vec::new());
        for network in Self::all()? {
            if network.is_founder() { founded.push(network) } else { joined.push(network) }
        }
        let mut networks = if founded.is_empty() { joined } else { founded };
        match (networks.pop(), networks.is_empty()) {
            (Some(network), true) => Ok(network),
            (None, _) => Err(Failure::failed(
                "This machine is in no network: found one with `clacks network new NAME`, or join \
                 one with `clacks join LINE`.",
            )),
            (Some(last), false) => {
                let names: Vec<_> =
                    networks.iter().chain([&last]).map(|it| it.name().as_str()).collect();
                Err(Failure::usage(format_args!(
                    "This machine is in several networks: add --network NAME, one of {}.",
                    names.join(", ")
                )))
            }
        }
    }

    /// Returns all networks in the state folder, in the order of their names.
    pub(crate) fn all() -> Result<Vec<Self>, Failure> {
        let Some(networks) = networks_folder() else { return Ok(Vec::new()) };
        let entries = match fs::read_dir(&networks) {
            Ok(entries) => entries,
            Err(error) if is_missing(&error) => return Ok(Vec::new()),
            Err(error) => return Err(cant_read(&networks, &error)),
        };
        let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.sort();
        paths.iter().filter_map(|path| Self::open(path).transpose()).collect()
    }

    /// Returns the folder.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the name of the network.
    pub(crate) fn name(&self) -> &Name {
        &self.settings.network
    }

    /// Returns the settings.
    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Returns whether the network was founded in this folder.
    pub(crate) fn is_founder(&self) -> bool {
        self.path.join(AUTHORITY).exists()
    }

    /// Returns the file of the root certificate.
    pub(crate) fn roots_file(&self) -> PathBuf {
        self.path.join(ROOTS)
    }

    /// Returns the file of the list of revoked members, if there is one.
    pub(crate) fn revoked_file(&self) -> Option<PathBuf> {
        Some(self.path.join(REVOKED)).filter(|file| file.exists())
    }

    /// Returns the identity of this machine's tower.
    pub(crate) fn identity(&self) -> Result<Identity, Failure> {
        identity::load(&Files::within(&self.path))
    }

    /// Returns the root certificate as PEM.
    pub(crate) fn roots_pem(&self) -> Result<String, Failure> {
        read(&self.roots_file())
    }

    /// Returns the list of revoked members as PEM, if there is one.
    pub(crate) fn revoked_pem(&self) -> Result<Option<String>, Failure> {
        self.revoked_file().map(|file| read(&file)).transpose()
    }

    /// Returns the rules for peers.
    pub(crate) fn trust(&self) -> Result<Trust, Failure> {
        trust(&self.roots_pem()?, self.revoked_pem()?.as_deref())
            .map_err(|why| unusable(&self.path, &why))
    }

    /// Returns the key of the network.
    pub(crate) fn authority(&self) -> Result<Authority, Failure> {
        let file = self.path.join(AUTHORITY);
        if !file.exists() {
            let name = self.name();
            return Err(Failure::failed(format_args!(
                "Only the founder of the network {name} can do this: its key is not on this \
                 machine."
            )));
        }
        Authority::from_pem(&read(&file)?, &self.roots_pem()?)
            .map_err(|error| unusable(&file, &error))
    }

    /// Returns all members with their names, in the order of names.
    pub(crate) fn members(&self) -> Result<Vec<(Name, Member)>, Failure> {
        let folder = self.path.join(MEMBERS);
        let entries = fs::read_dir(&folder).map_err(|error| cant_read(&folder, &error))?;
        let mut members = Vec::new();
        for entry in entries {
            let file = entry.map_err(|error| cant_read(&folder, &error))?.path();
            let name = file.file_name().and_then(|name| name.to_str());
            // Skip other files, for example a temporary file from a crash.
            let Some(name) = name.and_then(|name| name.strip_suffix(".toml")) else { continue };
            let Ok(name) = Name::try_from(name.to_owned()) else { continue };
            let member = toml::from_str(&read(&file)?).map_err(|error| unusable(&file, &error))?;
            members.push((name, member));
        }
        members.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(members)
    }

    /// Returns the member of a name.
    pub(crate) fn member(&self, name: &Name) -> Result<Member, Failure> {
        let file = self.member_file(name);
        if !file.exists() {
            let network = self.name();
            return Err(Failure::failed(format_args!(
                "The network {network} has no member {name}: `clacks members` lists them."
            )));
        }
        toml::from_str(&read(&file)?).map_err(|error| unusable(&file, &error))
    }

    /// Remembers a new member. Returns false if the name is in use.
    pub(crate) fn add_member(&self, name: &Name, member: &Member) -> Result<bool, Failure> {
        let file = self.member_file(name);
        let text = toml::to_string(member).map_err(Failure::failed)?;
        let written = identity::write_new(&file, text.as_bytes(), Access::OwnerOnly);
        match written.and_then(|()| give_to_owner_of_folder(&file)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(cant_write(&file, &error)),
        }
    }

    /// Forgets a member that got no invitation.
    pub(crate) fn forget_member(&self, name: &Name) {
        let _ = fs::remove_file(self.member_file(name));
    }

    /// Replaces what is remembered of a member.
    pub(crate) fn replace_member(&self, name: &Name, member: &Member) -> Result<(), Failure> {
        let text = toml::to_string(member).map_err(Failure::failed)?;
        replace(&self.member_file(name), &text)
    }

    /// Replaces the list of revoked members.
    pub(crate) fn replace_revoked(&self, pem: &str) -> Result<(), Failure> {
        replace(&self.path.join(REVOKED), pem)
    }

    /// Replaces the certificate of this machine's tower.
    pub(crate) fn replace_certificate(&self, pem: &str) -> Result<(), Failure> {
        replace(&Files::within(&self.path).cert, pem)
    }

    fn member_file(&self, name: &Name) -> PathBuf {
        self.path.join(MEMBERS).join(format!("{name}.toml"))
    }
}

/// Returns the rules for peers of a network.
pub(crate) fn trust(
    roots_pem: &str,
    revoked_pem: Option<&str>,
) -> Result<Trust, clacks_proto::tls::TlsError> {
    let roots = Roots::from_pem(roots_pem.as_bytes())?;
    Ok(Trust::Private(match revoked_pem {
        Some(pem) => roots.revoking(&Revocations::from_pem(pem.as_bytes())?)?,
        None => roots,
    }))
}

/// Returns the folder of all networks: in the state folder of systemd, else in that of the user.
pub(crate) fn networks_folder() -> Option<PathBuf> {
    let state = state::of_service(state::variable).or_else(|| state::home(state::variable))?;
    Some(state.join("networks"))
}

/// Returns the folder of a new network.
pub(crate) fn new_folder(name: &Name, dir: Option<&Path>) -> Result<PathBuf, Failure> {
    match dir {
        Some(dir) => Ok(dir.to_owned()),
        None => Ok(networks_folder()
            .ok_or_else(|| {
                Failure::usage(
                    "There is no folder for networks, because HOME is not set: add --dir DIR.",
                )
            })?
            .join(name)),
    }
}

fn read(file: &Path) -> Result<String, Failure> {
    fs::read_to_string(file).map_err(|error| cant_read(file, &error))
}

/// Replaces the content of a file in one step, so that a crash leaves the old content or the new.
/// The file belongs to the owner of its folder: root may update the folder of a service.
fn replace(file: &Path, text: &str) -> Result<(), Failure> {
    let mut new = file.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    // One that was left by a crash.
    let _ = fs::remove_file(&new);
    identity::write_new(&new, text.as_bytes(), Access::OwnerOnly)
        .and_then(|()| give_to_owner_of_folder(&new))
        .and_then(|()| fs::rename(&new, file))
        .and_then(|()| file.parent().map_or(Ok(()), sync))
        .map_err(|error| cant_write(file, &error))
}

/// Locks a folder. A tower that runs has locked a file in it instead, and does not wait.
fn lock(dir: &Path) -> Result<Flock<File>, Failure> {
    let cant_lock = |error: io::Error| {
        Failure::failed(format_args!("{} cannot be locked ({error}).", dir.display()))
    };
    let folder = File::open(dir).map_err(cant_lock)?;
    Flock::lock(folder, FlockArg::LockExclusive).map_err(|(_, error)| cant_lock(error.into()))
}

/// Writes the names of a folder to the disk.
fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Makes a folder and the folders above it, unless they exist.
fn make_folder(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        make_folder(parent)?;
    }
    identity::make_folder(dir)?;
    give_to_owner_of_folder(dir)
}

/// Gives a file that root has made to the owner of its folder.
fn give_to_owner_of_folder(file: &Path) -> io::Result<()> {
    let Some(folder) = file.parent().filter(|_| Uid::effective().is_root()) else { return Ok(()) };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let (folder, own) = (fs::metadata(folder)?, fs::metadata(file)?);
    if folder.uid() == own.uid() {
        return Ok(());
    }
    unix::fs::lchown(file, Some(folder.uid()), Some(folder.gid()))
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn cant_read(path: &Path, error: &io::Error) -> Failure {
    Failure::failed(format_args!(
        "{} cannot be read ({error}): check its permissions.",
        path.display()
    ))
}

fn cant_write(path: &Path, error: &io::Error) -> Failure {
    Failure::failed(format_args!(
        "{} cannot be written ({error}): choose a folder that you may write to, with --dir.",
        path.display()
    ))
}

fn unusable(path: &Path, error: &impl std::fmt::Display) -> Failure {
    let error = error.to_string();
    Failure::failed(format_args!("{} cannot be used: {}.", path.display(), error.trim_end()))
}

/// Times as text (RFC 3339), in files that people read.
mod humantime_text {
    use std::time::SystemTime;

    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(time: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&humantime::format_rfc3339_seconds(*time))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<SystemTime, D::Error> {
        humantime::parse_rfc3339(&String::deserialize(from)?).map_err(D::Error::custom)
    }

    pub(super) mod optional {
        use super::*;

        pub(in super::super) fn serialize<S: Serializer>(
            time: &Option<SystemTime>,
            to: S,
        ) -> Result<S::Ok, S::Error> {
            match time {
                Some(time) => super::serialize(time, to),
                None => to.serialize_none(),
            }
        }

        pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
            from: D,
        ) -> Result<Option<SystemTime>, D::Error> {
            super::deserialize(from).map(Some)
        }
    }
}
