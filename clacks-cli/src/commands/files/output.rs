//! Where `clacks get` writes, and its files.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use clacks_store::files::{
    Content, ContentError, Existing, NewFile, PartError, PartFile, folder_of, free_space,
};
use clacks_store::{FileId, SHARD};
use nix::poll::PollFlags;

use super::interrupt::{Interrupt, Stream};
use crate::args::GetArgs;
use crate::error::Failure;
use crate::output::text::{escape, grouped};
use crate::output::wrap;

/// Where the content goes.
#[derive(Debug)]
pub(super) enum Output {
    /// To standard output.
    Stdout,
    /// Into a device or a pipe that exists.
    Device { path: PathBuf, file: File },
    /// Into a new file in a folder. Without a path it has the name in the stream.
    File { folder: PathBuf, path: Option<(PathBuf, Existing)> },
}

impl Output {
    /// Returns the output that the options choose. Fails if it is a file that exists and may not be
    /// replaced. Waits for the reader of a pipe.
    pub(super) fn choose(args: &GetArgs) -> Result<Self, Failure> {
        Ok(match &args.output {
            None => Self::File { folder: ".".into(), path: None },
            Some(path) if path.as_os_str() == "-" => {
                if args.access.json {
                    return Err(Failure::usage(
                        "The file and the JSON lines can't both go to standard output: leave out \
                         --json, or give -o another file.",
                    ));
                }
                if io::stdout().is_terminal() {
                    return Err(Failure::usage(
                        "A terminal is no place for a file: send standard output elsewhere, or \
                         give -o a file.",
                    ));
                }
                Self::Stdout
            }
            Some(path) => match fs::metadata(path) {
                Ok(found) if found.is_dir() => Self::File { folder: path.clone(), path: None },
                Ok(found) if !found.is_file() => {
                    Self::Device { path: path.clone(), file: open_device(path)? }
                }
                _ => {
                    if path.as_os_str().as_encoded_bytes().ends_with(b"/") {
                        return Err(Failure::failed(format_args!(
                            "There is no folder {}: create it, or choose another place with -o.",
                            shown(path)
                        )));
                    }
                    let existing = may_write(path, args.force, &Interrupt::default())?;
                    let folder = folder_of(path).to_owned();
                    Self::File { folder, path: Some((path.clone(), existing)) }
                }
            },
        })
    }

    /// Opens the log of the pieces of a file. Fails if the disk has no room for the rest of it and
    /// for the output.
    pub(super) fn part(&self, id: &FileId) -> Result<Part, Failure> {
        let Self::File { folder, .. } = self else {
            let temporary = PartFile::temporary(id).map_err(|error| {
                Failure::failed(format_args!(
                    "The pieces need a temporary file, and none can be made ({error}): set TMPDIR \
                     to a folder that you may write to."
                ))
            })?;
            return Ok(Part { log: temporary, path: None });
        };
        let path = folder.join(format!(".clacks-{}.clacks-part", id.short_name()));
        let log = PartFile::open(&path, id).map_err(|error| cannot_open(&path, &error))?;
        let needed = log.missing_bytes() + u64::from(id.geometry.shards()) * SHARD as u64;
        if let Err(failure) = check_space(folder, free_space(&path), needed) {
            if log.held() == 0 {
                let _ = fs::remove_file(&path);
            }
            return Err(failure);
        }
        Ok(Part { log, path: Some(path) })
    }

    /// Writes the content. Returns the path if it is a new file. Fails if the command is asked to
    /// stop before the last group is written.
    pub(super) fn write(
        &self,
        content: Content<'_>,
        id: &FileId,
        force: bool,
        interrupt: &Interrupt,
        mut on_group: impl FnMut(u32, u32),
    ) -> Result<Option<PathBuf>, Failure> {
        let on_group = |done, all| {
            on_group(done, all);
            interrupt.check()
        };
        match self {
            Self::Stdout => {
                io::stdout().flush()?;
                let file = File::from(io::stdout().as_fd().try_clone_to_owned()?);
                content.write_to(&mut Stream::new(&file, interrupt), on_group).map_err(
                    |error| match error {
                        ContentError::Write(error) => Failure::from(error),
                        error => broken(&error),
                    },
                )?;
                Ok(None)
            }
            Self::Device { path, file } => {
                content.write_to(&mut Stream::new(file, interrupt), on_group).map_err(|error| {
                    match error {
                        ContentError::Write(error) => Failure::failed(format_args!(
                            "{} can't be written ({error}): choose another place with -o, and run \
                             the command again. It takes all pieces again.",
                            shown(path)
                        )),
                        error => broken(&error),
                    }
                })?;
                Ok(None)
            }
            Self::File { folder, path } => {
                let (path, existing) = match path {
                    Some(chosen) => chosen.clone(),
                    None => {
                        let path = folder.join(name(&content, id));
                        let existing = may_write(&path, force, interrupt)?;
                        (path, existing)
                    }
                };
                let new = NewFile::create(&path, id).map_err(ContentError::Write);
                let written = new.and_then(|mut new| {
                    content.write_to(new.file(), on_group)?;
                    new.finish(existing).map_err(ContentError::Write)
                });
                written.map_err(|error| not_written(&path, &error))?;
                Ok(Some(path))
            }
        }
    }
}

/// Fails if a disk has less free space than needed. An unknown space suffices.
fn check_space(folder: &Path, free: Option<u64>, needed: u64) -> Result<(), Failure> {
    match free {
        Some(free) if free < needed => Err(Failure::failed(format_args!(
            "The disk of {} has {} MB free, and the file needs up to {} MB while it is read: free \
             some space, or choose another folder with -o.",
            shown(folder),
            grouped(free / 1_000_000),
            grouped(needed.div_ceil(1_000_000))
        ))),
        _ => Ok(()),
    }
}

/// The log of the pieces of a file.
pub(super) struct Part {
    pub(super) log: PartFile,
    path: Option<PathBuf>,
}

impl Part {
    /// Returns whether the next start can continue with the log.
    pub(super) fn is_kept(&self) -> bool {
        self.path.is_some()
    }

    /// Removes the log.
    pub(super) fn remove(self) {
        if let Some(path) = &self.path {
            // It is still locked, so no other process uses it.
            if let Err(error) = fs::remove_file(path) {
                wrap::note(format_args!("{} can't be removed: {error}.", path.display()));
            }
        }
    }

    /// Removes the log if it contains nothing.
    pub(super) fn remove_if_empty(self) {
        if self.log.indices().next().is_none() {
            self.remove();
        }
    }
}

/// Opens a device or a pipe.
fn open_device(path: &Path) -> Result<File, Failure> {
    let cannot = |error: io::Error| {
        Failure::failed(format_args!(
            "{} can't be opened ({error}): choose another place with -o.",
            shown(path)
        ))
    };
    let file = OpenOptions::new().write(true).open(path).map_err(cannot)?;
    // The path may name another file since its kind was read. A regular file would be overwritten
    // in place.
    if file.metadata().map_err(cannot)?.is_file() {
        return Err(cannot(io::Error::other("it was replaced by a file")));
    }
    Ok(file)
}

/// Returns the name of a file that was given none.
fn name(content: &Content<'_>, id: &FileId) -> String {
    content.header().safe_name().unwrap_or_else(|| format!("clacks-{}", id.short_name()))
}

/// Returns what to do with a file that has the name of the output. Asks on a terminal.
fn may_write(path: &Path, force: bool, interrupt: &Interrupt) -> Result<Existing, Failure> {
    let Ok(found) = fs::symlink_metadata(path) else { return Ok(Existing::Keep) };
    if found.is_dir() {
        return Err(Failure::failed(format_args!(
            "{} is a folder: choose another name with -o.",
            shown(path)
        )));
    }
    if force {
        return Ok(Existing::Replace);
    }
    let refused = || {
        Failure::failed(format_args!(
            "{} exists and stays as it is: replace it with -f, or choose another name with -o.",
            shown(path)
        ))
    };
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(refused());
    }
    let mut err = io::stderr();
    let _ = write!(err, "{} exists. Replace it? [y/N] ", shown(path)).and_then(|()| err.flush());
    let mut answer = String::new();
    // If the terminal can't be read, the file is kept.
    if interrupt.wait_for(io::stdin().as_fd(), PollFlags::POLLIN).is_ok() {
        let _ = io::stdin().read_line(&mut answer);
    }
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(Existing::Replace),
        _ => Err(refused()),
    }
}

fn shown(path: &Path) -> String {
    escape(&path.display().to_string())
}

fn cannot_open(path: &Path, error: &PartError) -> Failure {
    let path = path.display();
    Failure::failed(match error {
        PartError::Locked => {
            format!("Another `clacks get` takes this file: wait for it, or stop it ({path}).")
        }
        PartError::Foreign | PartError::OtherFile => {
            format!("{path} is in the way, because {error}: remove it, or choose another folder.")
        }
        error => format!(
            "The pieces can't be kept in {path} ({error}): choose a folder that you may write to, \
             with -o."
        ),
    })
}

/// Returns the failure of a piece that could not be written.
pub(super) fn piece_not_written(part: &Part, error: &io::Error) -> Failure {
    let advice = if part.is_kept() {
        "free some space, and run the same command again. It takes only the rest"
    } else {
        "set TMPDIR to a folder with more space, and run the same command again"
    };
    Failure::failed(format_args!("A piece can't be written ({error}): {advice}."))
}

/// Returns the failure of a content that can't be restored.
pub(super) fn broken(error: &ContentError) -> Failure {
    let advice = match error {
        ContentError::Read(_) => "remove the part file, and try again",
        _ => "ask for another link",
    };
    Failure::failed(format_args!("The file can't be restored, because {error}: {advice}."))
}

fn not_written(path: &Path, error: &ContentError) -> Failure {
    let path = shown(path);
    match error {
        ContentError::Write(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Failure::failed(format_args!(
                "{path} exists and stays as it is: replace it with -f, or choose another name with \
                 -o."
            ))
        }
        ContentError::Write(error) => Failure::failed(format_args!(
            "{path} can't be written ({error}): free some space or choose another place with -o, \
             and run the command again. The pieces are kept."
        )),
        error => broken(error),
    }
}

/// Opens a file to be put. Returns it with its name, or `None` if it has no end that is known, as a
/// pipe.
pub(super) fn open_input(path: &Path) -> Result<(File, bool), Failure> {
    let cannot = |error: &io::Error| {
        let advice = match error.kind() {
            io::ErrorKind::NotFound => "check the path",
            io::ErrorKind::PermissionDenied => "check its permissions",
            _ => "choose another file",
        };
        Failure::failed(format_args!("{} can't be read ({error}): {advice}.", shown(path)))
    };
    let file = File::open(path).map_err(|error| cannot(&error))?;
    let found = file.metadata().map_err(|error| cannot(&error))?;
    if found.is_dir() {
        return Err(Failure::usage(format_args!(
            "{0} is a folder: pack it first, for example `tar c {0} | clacks put - --name {0}.tar`.",
            shown(path)
        )));
    }
    Ok((file, found.is_file()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Verb};
    use clap::Parser;

    fn args(line: &[&str]) -> GetArgs {
        let line = ["clacks", "get", "clacks1x"].iter().chain(line);
        match Cli::try_parse_from(line).unwrap().verb {
            Verb::Get(args) => *args,
            other => panic!("{other:?}"),
        }
    }

    fn choose(path: &Path) -> Result<Output, Failure> {
        Output::choose(&args(&["-o", path.to_str().unwrap()]))
    }

    #[test]
    fn the_output_is_a_file_a_folder_or_a_device() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().to_owned();
        let file = |output| match output {
            Ok(Output::File { folder, path }) => (folder, path),
            other => panic!("{other:?}"),
        };
        assert_eq!(file(choose(&folder)), (folder.clone(), None));
        assert_eq!(file(Output::choose(&args(&[]))), (".".into(), None));
        let path = folder.join("photo.jpg");
        let expected = (folder.clone(), Some((path.clone(), Existing::Keep)));
        assert_eq!(file(choose(&path)), expected);
        assert!(matches!(choose(Path::new("/dev/null")), Ok(Output::Device { .. })));
        let failure = choose(&folder.join("missing/")).unwrap_err();
        assert!(failure.sentence().unwrap().contains("There is no folder"));
        fs::write(&path, "mine").unwrap();
        assert!(choose(&folder.join("photo.jpg/")).is_err());
        assert!(open_device(&path).is_err(), "a file is no device");
    }

    #[test]
    fn a_disk_without_room_is_named_with_numbers() {
        let check = |free, needed| check_space(Path::new("films"), free, needed);
        assert!(check(Some(9_000_000), 9_000_000).is_ok());
        assert!(check(None, u64::MAX).is_ok());
        let failure = check(Some(8_999_999), 2_240_000_001).unwrap_err();
        assert_eq!(
            failure.sentence().unwrap(),
            "The disk of films has 8 MB free, and the file needs up to 2 241 MB while it is read: \
             free some space, or choose another folder with -o."
        );
    }

    #[test]
    fn a_file_that_exists_is_replaced_only_if_asked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("photo.jpg");
        let may_write = |path: &Path, force| may_write(path, force, &Interrupt::default());
        assert_eq!(may_write(&path, false).ok(), Some(Existing::Keep));
        fs::write(&path, "mine").unwrap();
        // Standard input of a test may be a terminal, which would be asked.
        if !io::stdin().is_terminal() {
            assert!(choose(&path).unwrap_err().sentence().unwrap().contains("-f"));
        }
        assert_eq!(may_write(&path, true).ok(), Some(Existing::Replace));
        assert!(may_write(dir.path(), true).is_err());
    }
}
