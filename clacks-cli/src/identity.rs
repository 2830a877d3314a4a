//! Identities in files.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clacks_proto::tls::{Identity, Revocations, Roots};

use crate::error::Failure;

/// The files of an identity.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    /// The private key.
    pub(crate) key: PathBuf,
    /// Its certificate.
    pub(crate) cert: PathBuf,
}

impl Files {
    /// Returns the files of an identity in a folder.
    pub(crate) fn within(dir: &Path) -> Self {
        Self { key: dir.join("key.pem"), cert: dir.join("cert.pem") }
    }
}

/// Generates an identity in `dir`. Fails if one of its files exists.
pub(crate) fn create(dir: &Path) -> Result<(Identity, Files), Failure> {
    let files = Files::within(dir);
    for file in [&files.key, &files.cert] {
        // A link that points nowhere is in the way as well, so this doesn't ask whether the file
        // exists.
        if fs::symlink_metadata(file).is_ok() {
            return Err(Failure::failed(format_args!(
                "{} is there already and stays as it is: choose another folder, or move it away.",
                file.display()
            )));
        }
    }
    let identity = generate()?;
    let written = make_folder(dir)
        .map_err(|error| (dir, error))
        .and_then(|()| {
            write_new(&files.key, identity.key_pem().as_bytes(), Access::OwnerOnly)
                .map_err(|error| (files.key.as_path(), error))
        })
        .and_then(|()| {
            write_new(&files.cert, identity.cert_pem().as_bytes(), Access::Everyone).map_err(
                |error| {
                    // Half an identity would be in the way of the next attempt.
                    let _ = fs::remove_file(&files.key);
                    (files.cert.as_path(), error)
                },
            )
        });
    written.map_err(|(path, error)| {
        Failure::failed(format_args!(
            "{} cannot be written ({error}): choose a folder that you may write to.",
            path.display()
        ))
    })?;
    Ok((identity, files))
}

/// Returns the identity in `dir`, or generates one there, and which of the two.
pub(crate) fn load_or_create(dir: &Path) -> Result<(Identity, Found), Failure> {
    if is_in(dir) {
        Ok((load(&Files::within(dir))?, Found::OnDisk))
    } else {
        Ok((create(dir)?.0, Found::MadeNow))
    }
}

/// Returns whether an identity is in `dir`, or a part of one.
pub(crate) fn is_in(dir: &Path) -> bool {
    let files = Files::within(dir);
    files.key.exists() || files.cert.exists()
}

/// Where an identity comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// It was in its files.
    OnDisk,
    /// It was generated.
    MadeNow,
}

/// Returns the identity in two files.
pub(crate) fn load(files: &Files) -> Result<Identity, Failure> {
    let key = read(&files.key, "private key")?;
    let cert = read(&files.cert, "certificate")?;
    let identity = Identity::from_pem(&key, &cert).map_err(|error| {
        Failure::failed(format_args!(
            "The identity in {} and {} cannot be used: {error}.",
            files.key.display(),
            files.cert.display()
        ))
    })?;
    warn_when_others_may_read(&files.key);
    Ok(identity)
}

/// Returns a new identity that is in no file.
pub(crate) fn generate() -> Result<Identity, Failure> {
    Identity::generate()
        .map_err(|error| Failure::failed(format_args!("No key could be made: {error}.")))
}

/// Returns the roots of a private network.
pub(crate) fn roots(file: &Path) -> Result<Roots, Failure> {
    let pem = read(file, "network's root certificates")?;
    Roots::from_pem(&pem).map_err(|_| {
        let why = unreadable_root(&pem);
        Failure::failed(format_args!("The roots in {} cannot be used: {why}.", file.display()))
    })
}

/// Returns what is wrong with root certificates.
fn unreadable_root(pem: &[u8]) -> String {
    const LABEL: &str = "CERTIFICATE";
    let sections = pem::parse_many(pem).unwrap_or_default();
    let certificates: Vec<_> = sections.iter().filter(|section| section.tag() == LABEL).collect();
    let is_readable =
        |section: &&pem::Pem| Roots::from_pem(pem::encode(section).as_bytes()).is_ok();
    match certificates.iter().position(|section| !is_readable(section)) {
        Some(index) => format!(
            "certificate {} of {} in it is no X.509 certificate; take it out, or replace it",
            index + 1,
            certificates.len()
        ),
        None => format!(
            "supply one or more X.509 certificates as PEM, each with a first line -----BEGIN \
             {LABEL}-----, and whole"
        ),
    }
}

/// Returns the roots of a private network without revoked certificates.
pub(crate) fn roots_without(file: &Path, revoked: &Path) -> Result<Roots, Failure> {
    let pem = read(revoked, "list of revoked certificates")?;
    let list = Revocations::from_pem(&pem);
    let roots = roots(file)?;
    list.and_then(|list| roots.revoking(&list)).map_err(|error| {
        Failure::failed(format_args!(
            "The list of revoked certificates in {} cannot be used: {error}.",
            revoked.display()
        ))
    })
}

fn read(file: &Path, what: &str) -> Result<Vec<u8>, Failure> {
    fs::read(file).map_err(|error| {
        let advice = match error.kind() {
            io::ErrorKind::NotFound => "check the path, or make an identity with `clacks keygen`",
            io::ErrorKind::PermissionDenied => "it must be readable by the user who runs the tower",
            _ => "check the path",
        };
        Failure::failed(format_args!(
            "The {what} in {} cannot be read ({error}): {advice}.",
            file.display()
        ))
    })
}

/// Which users may read a new file.
#[derive(Clone, Copy)]
pub(crate) enum Access {
    OwnerOnly,
    Everyone,
}

/// Makes a folder that only its owner can enter, unless it exists.
#[cfg(unix)]
pub(crate) fn make_folder(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Writes a file that must not exist. It is on the disk when this returns.
pub(crate) fn write_new(file: &Path, bytes: &[u8], access: Access) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(match access {
            Access::OwnerOnly => 0o600,
            Access::Everyone => 0o644,
        });
    }
    #[cfg(not(unix))]
    let _ = access;
    let mut open = options.open(file)?;
    let written = open.write_all(bytes).and_then(|()| open.sync_all());
    if written.is_err() {
        let _ = fs::remove_file(file);
    }
    written
}

#[cfg(unix)]
fn warn_when_others_may_read(key: &Path) {
    use std::os::unix::fs::PermissionsExt;
    if fs::metadata(key).is_ok_and(|meta| meta.permissions().mode() & 0o077 != 0) {
        tracing::warn!("{} can be read by other users: chmod 600 it", key.display());
    }
}

#[cfg(not(unix))]
fn warn_when_others_may_read(_key: &Path) {}
