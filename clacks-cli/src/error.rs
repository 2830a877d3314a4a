//! What can go wrong, and the exit code that says so.

use std::fmt;
use std::io;
use std::process::ExitCode;

/// Why the command ends early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What was asked for makes no sense. Exit code 2, like every mistake that clap finds.
    Usage(String),
    /// It made sense and could not be done. Exit code 1.
    Failed(String),
    /// It failed, and everything about it has been said. Exit code 1.
    Told,
    /// Nobody reads standard output any more: there is nobody to tell either. Exit code 0.
    OutputClosed,
}

impl Failure {
    /// A failure in one sentence that says what to do.
    pub(crate) fn failed(sentence: impl fmt::Display) -> Self {
        Self::Failed(sentence.to_string())
    }

    /// A mistake in the command line, in one sentence that says what to do.
    pub(crate) fn usage(sentence: impl fmt::Display) -> Self {
        Self::Usage(sentence.to_string())
    }

    /// The sentence, when there is still one to say.
    pub(crate) fn sentence(&self) -> Option<&str> {
        match self {
            Self::Usage(sentence) | Self::Failed(sentence) => Some(sentence),
            Self::Told | Self::OutputClosed => None,
        }
    }

    /// What the command exits with.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Usage(_) => ExitCode::from(2),
            Self::Failed(_) | Self::Told => ExitCode::FAILURE,
            Self::OutputClosed => ExitCode::SUCCESS,
        }
    }
}

/// For errors of writing to standard output, which is all that `?` is used for on an [`io::Error`].
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::OutputClosed,
            _ => Self::Failed(format!(
                "Standard output cannot be written ({error}): free some space, or send it \
                 elsewhere."
            )),
        }
    }
}
