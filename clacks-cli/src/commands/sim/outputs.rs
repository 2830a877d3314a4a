//! The files that a run writes.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clacks_sim::report::Report;

use crate::args::SimArgs;
use crate::error::Failure;

/// The files of a run. They are open, so that a file that can't be written is found before the run.
/// A file keeps its content until something is written to it.
#[derive(Default)]
pub(super) struct Outputs {
    pub(super) trace: Option<OutputFile>,
    pub(super) report: Option<OutputFile>,
}

/// A file that is open for writing.
pub(super) struct OutputFile {
    path: PathBuf,
    file: File,
    /// Whether the file did not exist before.
    is_new: bool,
}

/// A file of the command line with its identity.
struct Used {
    /// The option or the file, for a sentence.
    name: String,
    id: FileId,
    is_input: bool,
}

/// The identity of a file. It is the same for all paths of a file, also through links.
#[derive(Clone, Copy, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

impl Outputs {
    /// Opens the files of the command line. Each must be a file of its own, and none may be one of
    /// the `inputs`.
    pub(super) fn open(args: &SimArgs, inputs: &[PathBuf]) -> Result<Self, Failure> {
        let mut created = Vec::new();
        let outputs = Self::open_each(args, inputs, &mut created);
        if outputs.is_err() {
            for file in created {
                // An empty file that this command created is of no use.
                let _ = fs::remove_file(file);
            }
        }
        outputs
    }

    /// Opens the files, and adds the new ones to `created`.
    fn open_each(
        args: &SimArgs,
        inputs: &[PathBuf],
        created: &mut Vec<PathBuf>,
    ) -> Result<Self, Failure> {
        let mut used: Vec<_> = inputs.iter().filter_map(|path| Used::input(path)).collect();
        used.extend(streams(&used)?);
        let mut open = |option: &str, path: &Path| {
            if path == Path::new("-") {
                return Err(Failure::usage(format_args!(
                    "{option} cannot write to standard output, which has the summary: choose a \
                     file. (./- is a file with the name -.)"
                )));
            }
            if let Ok(metadata) = fs::metadata(path) {
                check(&used, option, path, &metadata)?;
            }
            let output =
                OutputFile::open(path).map_err(|error| Failure::usage(cant_write(path, &error)))?;
            created.extend(output.is_new.then(|| path.to_owned()));
            let metadata = output.file.metadata();
            if let Some(id) = metadata.ok().and_then(|metadata| FileId::of(&metadata)) {
                used.push(Used { name: option.to_owned(), id, is_input: false });
            }
            Ok(output)
        };
        if let Some(folder) = &args.csv {
            fs::create_dir_all(folder)
                .map_err(|error| Failure::usage(cant_write(folder, &error)))?;
        }
        let mut outputs = Self::default();
        if let Some(path) = &args.trace {
            outputs.trace = Some(open("--trace", path)?);
        }
        if let Some(path) = &args.report {
            outputs.report = Some(open("--report", path)?);
        }
        if let Some(folder) = &args.csv {
            for name in Report::CSV_FILES {
                // The tables are opened again when they are written.
                drop(open(&format!("the {name} of --csv"), &folder.join(name))?);
            }
        }
        Ok(outputs)
    }
}

impl OutputFile {
    fn open(path: &Path) -> io::Result<Self> {
        let is_new = fs::metadata(path).is_err();
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
        Ok(Self { path: path.to_owned(), file, is_new })
    }

    /// Returns the file without its old content.
    pub(super) fn emptied(self) -> Result<File, Failure> {
        let is_file = self.file.metadata().is_ok_and(|metadata| metadata.is_file());
        // A pipe or a device has no length.
        let emptied = if is_file { self.file.set_len(0) } else { Ok(()) };
        emptied.map_err(|error| Failure::failed(cant_write(&self.path, &error)))?;
        Ok(self.file)
    }

    /// Replaces the content of the file.
    pub(super) fn write(self, bytes: &[u8]) -> Result<(), Failure> {
        let path = self.path.clone();
        let mut file = self.emptied()?;
        file.write_all(bytes).map_err(|error| Failure::failed(cant_write(&path, &error)))
    }
}

impl Used {
    fn input(path: &Path) -> Option<Self> {
        let id = FileId::of(&fs::metadata(path).ok()?)?;
        Some(Self { name: path.display().to_string(), id, is_input: true })
    }
}

impl FileId {
    #[cfg(unix)]
    #[allow(clippy::unnecessary_wraps, reason = "other systems have no identity")]
    fn of(metadata: &Metadata) -> Option<Self> {
        use std::os::unix::fs::MetadataExt;
        Some(Self { device: metadata.dev(), inode: metadata.ino() })
    }

    #[cfg(not(unix))]
    fn of(_: &Metadata) -> Option<Self> {
        None
    }
}

/// Returns standard output and standard error. Neither may be a regular file that is read.
#[cfg(unix)]
fn streams(inputs: &[Used]) -> Result<Vec<Used>, Failure> {
    use std::os::fd::AsFd;
    let (out, error) = (io::stdout(), io::stderr());
    let mut streams = Vec::new();
    for (name, stream) in [("standard output", out.as_fd()), ("standard error", error.as_fd())] {
        let metadata = stream.try_clone_to_owned().and_then(|file| File::from(file).metadata());
        // A closed stream is none of the files.
        let Ok(metadata) = metadata else { continue };
        let Some(id) = FileId::of(&metadata) else { continue };
        // A terminal can be all of standard input, output and error.
        if let Some(input) = inputs.iter().find(|input| metadata.is_file() && input.id == id) {
            let input = &input.name;
            return Err(Failure::usage(format_args!(
                "{name} goes into {input}, which this command reads: choose another file."
            )));
        }
        streams.push(Used { name: name.to_owned(), id, is_input: false });
    }
    Ok(streams)
}

#[cfg(not(unix))]
fn streams(_: &[Used]) -> Result<Vec<Used>, Failure> {
    Ok(Vec::new())
}

/// Checks that an output is none of the files in use. All outputs may be written to the null
/// device.
fn check(used: &[Used], option: &str, path: &Path, metadata: &Metadata) -> Result<(), Failure> {
    let null = fs::metadata("/dev/null").ok().and_then(|metadata| FileId::of(&metadata));
    let id = FileId::of(metadata).filter(|id| Some(*id) != null);
    let Some(other) = used.iter().find(|other| Some(other.id) == id) else { return Ok(()) };
    let (path, name) = (path.display(), &other.name);
    Err(Failure::usage(if other.is_input {
        format!(
            "{option} {path} would overwrite {name}, which this command reads: choose another file."
        )
    } else {
        format!("{option} {path} is the same file as {name}: choose another file for one of them.")
    }))
}

pub(super) fn cant_write(path: &Path, error: &io::Error) -> String {
    format!("{} can't be written ({error}).", path.display())
}
