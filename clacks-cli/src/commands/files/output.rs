//! Where `clacks get` writes, and its files.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use clacks_store::files::{
    Content, ContentError, Existing, NewFile, PartError, PartFile, free_space,
};
use clacks_store::{FileId, SHARD};

use crate::args::GetArgs;
use crate::error::Failure;
use crate::output::text::{escape, grouped};
use crate::output::wrap;
use crate::output::writer::write_to_stdout;

/// Where the content goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// To standard output.
    Stdout,
    /// Into a device or a pipe that exists.
    Device(PathBuf),
    /// Into a new file in a folder. Without a path it has the name in the stream.
    File { folder: PathBuf, path: Option<(PathBuf, Existing)> },
}

impl Output {
    /// Returns the output that the options choose. Fails if it is a file that exists and may not be
    /// replaced.
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
                Ok(found) if !found.is_file() => Self::Device(path.clone()),
                _ => {
                    let existing = may_write(path, args.force)?;
                    Self::File { folder: folder_of(path), path: Some((path.clone(), existing)) }
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
        let root: String = id.root.bytes()[..4].iter().map(|byte| format!("{byte:02x}")).collect();
        let path = folder.join(format!(".clacks-{root}.clacks-part"));
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

    /// Writes the content. Returns the path if it is a new file.
    pub(super) fn write(
        &self,
        content: Content<'_>,
        id: &FileId,
        force: bool,
        on_group: impl FnMut(u32, u32),
    ) -> Result<Option<PathBuf>, Failure> {
        match self {
            Self::Stdout => {
                content.write_to(&mut Stdout, on_group).map_err(|error| match error {
                    ContentError::Write(error) => Failure::from(error),
                    error => broken(&error),
                })?;
                Ok(None)
            }
            Self::Device(path) => {
                let written =
                    OpenOptions::new().write(true).open(path).map_err(ContentError::Write);
                written
                    .and_then(|mut device| content.write_to(&mut device, on_group))
                    .map_err(|error| not_written(path, &error))?;
                Ok(None)
            }
            Self::File { folder, path } => {
                let (path, existing) = match path {
                    Some(chosen) => chosen.clone(),
                    None => {
                        let path = folder.join(name(&content, id));
                        let existing = may_write(&path, force)?;
                        (path, existing)
                    }
                };
                let written = NewFile::create(&path).map_err(ContentError::Write).and_then(|new| {
                    let mut new = new;
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

/// Standard output, also if another program has put it into non-blocking mode.
struct Stdout;

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        write_to_stdout(bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns the name of a file that was given none.
fn name(content: &Content<'_>, id: &FileId) -> String {
    content.header().safe_name().unwrap_or_else(|| {
        let root: String = id.root.bytes()[..4].iter().map(|byte| format!("{byte:02x}")).collect();
        format!("clacks-{root}")
    })
}

/// Returns what to do with a file that has the name of the output. Asks on a terminal.
fn may_write(path: &Path, force: bool) -> Result<Existing, Failure> {
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
    // A terminal that can't be read says no.
    let _ = io::stdin().read_line(&mut answer);
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
pub(super) fn piece_not_written(error: &io::Error) -> Failure {
    Failure::failed(format_args!(
        "A piece can't be written ({error}): free some space, and run the same command again. It \
         takes only the rest."
    ))
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

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => ".".into(),
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
        let expected = Output::File { folder: folder.clone(), path: None };
        assert_eq!(choose(&folder).ok(), Some(expected));
        let path = folder.join("photo.jpg");
        let expected = Output::File { folder, path: Some((path.clone(), Existing::Keep)) };
        assert_eq!(choose(&path).ok(), Some(expected));
        let null = Path::new("/dev/null");
        assert_eq!(choose(null).ok(), Some(Output::Device(null.into())));
        let here = Output::File { folder: ".".into(), path: None };
        assert_eq!(Output::choose(&args(&[])).ok(), Some(here));
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
