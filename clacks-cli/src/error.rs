//! Failures of the command, and their exit codes.

use std::fmt;
use std::io;
use std::process::ExitCode;

/// Why the command ends early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line or a file makes no sense. Exit code 2, like every mistake that clap finds.
    Usage(String),
    /// Something could not be done. Exit code 1.
    Failed(String),
    /// No tower runs, or several do and none is chosen. Exit code 3.
    NoTower(String),
    /// The file is not in the network any more. Exit code 3.
    Gone(String),
    /// The network can't do it now. Exit code 4.
    Refused(String),
    /// The user has stopped the command. Exit code 130, as shells have it for Ctrl-C.
    Interrupted(String),
    /// The command failed, and the output says how. Exit code 1.
    Reported,
    /// The reader of standard output is gone. Exit code 0.
    OutputClosed,
}

impl Failure {
    /// Returns a failure. The sentence says what to do.
    pub(crate) fn failed(sentence: impl fmt::Display) -> Self {
        Self::Failed(sentence.to_string())
    }

    /// Returns a mistake in the command line. The sentence says what to do.
    pub(crate) fn usage(sentence: impl fmt::Display) -> Self {
        Self::Usage(sentence.to_string())
    }

    /// Returns the sentence that is not written yet.
    pub(crate) fn sentence(&self) -> Option<&str> {
        match self {
            Self::Usage(sentence)
            | Self::Failed(sentence)
            | Self::NoTower(sentence)
            | Self::Gone(sentence)
            | Self::Refused(sentence)
            | Self::Interrupted(sentence) => Some(sentence),
            Self::Reported | Self::OutputClosed => None,
        }
    }

    /// Returns the kind of the failure, for programs.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Usage(_) => "usage",
            Self::Failed(_) | Self::Reported => "failed",
            Self::NoTower(_) => "no_tower",
            Self::Gone(_) => "gone",
            Self::Refused(_) => "refused",
            Self::Interrupted(_) => "interrupted",
            Self::OutputClosed => "output_closed",
        }
    }

    /// Returns the exit code of the command.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Usage(_) => ExitCode::from(2),
            Self::NoTower(_) | Self::Gone(_) => ExitCode::from(3),
            Self::Refused(_) => ExitCode::from(4),
            Self::Interrupted(_) => ExitCode::from(130),
            Self::Failed(_) | Self::Reported => ExitCode::FAILURE,
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

/// For values that can't be serialized, which is a mistake in this command.
impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::Failed(format!("A value cannot be written as JSON: {error}."))
    }
}
