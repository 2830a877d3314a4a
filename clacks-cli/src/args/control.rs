//! The options of the commands that speak to a running tower.

use std::path::PathBuf;
use std::time::Duration;

use clacks_proto::{Address, Kind};
use clap::{Args, ValueEnum};

use super::TrustArgs;
use crate::output::counters;
use crate::value_parser;

const EXIT_CODES: &str = "\
    Exit codes: 0 if it was done, 1 if it failed, 2 if the command line makes no sense, 3 if no \
    tower runs or none of several is chosen.";

/// Adds the exit codes to the examples of a command.
macro_rules! examples {
    ($($line:literal)*) => {
        concat!(
            "Examples:\n", $("  ", $line, "\n",)*
            "\nExit codes: 0 if it was done, 1 if it failed, 2 if the command line makes no sense, \
             3 if no tower runs or none of several is chosen."
        )
    };
}

/// Which tower is spoken to, and how the answer is written.
#[derive(Debug, Args)]
pub(crate) struct ReachArgs {
    /// The control socket of the tower. Needed only if several towers run here
    #[arg(long, value_name = "PATH", env = "CLACKS_CONTROL")]
    pub(crate) control: Option<PathBuf>,
    /// Write JSON lines
    #[arg(long)]
    pub(crate) json: bool,
}

/// The kind of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum KindArg {
    /// Text in UTF-8
    Text,
    /// A JSON value
    Json,
    /// Any bytes
    Bytes,
}

impl From<KindArg> for Kind {
    fn from(kind: KindArg) -> Self {
        match kind {
            KindArg::Text => Self::Text,
            KindArg::Json => Self::Json,
            KindArg::Bytes => Self::Bytes,
        }
    }
}

/// The options of `send`.
#[derive(Debug, Args)]
#[command(after_help = examples!(
    "clacks send 'Hello Discworld!'"
    "clacks send --type json '{\"tide\": 3.1}' --lifetime 10m"
    "clacks send -f picture.png --wait"
    "date | clacks send -"
))]
pub(crate) struct SendArgs {
    /// The message, or `-` to read it from standard input
    #[arg(value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) text: Option<String>,
    /// Read the message from a file
    #[arg(short, long, value_name = "FILE", conflicts_with = "text")]
    pub(crate) file: Option<PathBuf>,
    /// What the message is. By default text if it is UTF-8, and bytes otherwise
    #[arg(long = "type", value_enum, value_name = "KIND")]
    pub(crate) kind: Option<KindArg>,
    /// For how long the message travels, for example 10m. By default 12 to 24 hours
    #[arg(long, value_name = "TIME", value_parser = value_parser::duration)]
    pub(crate) lifetime: Option<Duration>,
    /// Wait until a peer has the message
    #[arg(long)]
    pub(crate) wait: bool,
    #[command(flatten)]
    pub(crate) reach: ReachArgs,
}

/// The options of `listen`.
#[derive(Debug, Args)]
#[command(after_help = examples!(
    "clacks listen --once"
    "clacks listen --new --kind text --match 'tide *'"
    "clacks listen --json | jq -r .message.body"
))]
pub(crate) struct ListenArgs {
    /// End after the first message
    #[arg(long)]
    pub(crate) once: bool,
    /// Only messages that the tower has not had lately
    #[arg(long)]
    pub(crate) new: bool,
    /// Only messages of this kind
    #[arg(long, value_enum)]
    pub(crate) kind: Option<KindArg>,
    /// Only messages whose whole body matches: `*` is any text, `?` any character
    #[arg(long = "match", value_name = "GLOB")]
    pub(crate) pattern: Option<String>,
    /// Write bodies as they are on a terminal, too. A stranger may have written them
    #[arg(long, conflicts_with = "json")]
    pub(crate) raw: bool,
    #[command(flatten)]
    pub(crate) reach: ReachArgs,
}

/// The options of `watch`.
#[derive(Debug, Args)]
#[command(after_help = examples!(
    "clacks watch"
    "clacks watch --json | grep tower_updated"
    "clacks watch --after 0"
))]
pub(crate) struct WatchArgs {
    /// Begin after the event with this number, as far as the tower still has it
    #[arg(long, value_name = "NUMBER")]
    pub(crate) after: Option<u64>,
    #[command(flatten)]
    pub(crate) reach: ReachArgs,
}

/// The options of `peek`.
#[derive(Debug, Args)]
#[command(after_help = examples!("clacks peek" "clacks peek --json | jq '.messages | length'"))]
pub(crate) struct PeekArgs {
    #[command(flatten)]
    pub(crate) reach: ReachArgs,
}

/// The options of `survey`.
#[derive(Debug, Args)]
#[command(after_help = examples!(
    "clacks survey"
    "clacks survey --json | jq -r '.towers[] | select(.status == \"lost\").address'"
))]
pub(crate) struct SurveyArgs {
    #[command(flatten)]
    pub(crate) reach: ReachArgs,
}

/// The options of `status`.
#[derive(Debug, Args)]
#[command(after_help = examples!("clacks status" "clacks status --json | jq .peers.alive"))]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) reach: ReachArgs,
}

/// The options of `stats`.
#[derive(Debug, Args)]
#[command(after_help = format!(
    "{}\n{}", counters::help(), examples!("clacks stats" "clacks stats --json | jq .received")
))]
pub(crate) struct StatsArgs {
    #[command(flatten)]
    pub(crate) reach: ReachArgs,
}

/// The options of `announce`, `expand`, `ignore`, `unignore` and `forget`.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct PeerArgs {
    /// The address of the other tower
    #[arg(value_name = "HOST:PORT")]
    pub(crate) tower: Address,
    #[command(flatten)]
    pub(crate) reach: ReachArgs,
}

/// The options of `stop`.
#[derive(Debug, Args)]
#[command(after_help = examples!("clacks stop"))]
pub(crate) struct StopArgs {
    #[command(flatten)]
    pub(crate) reach: ReachArgs,
}

/// The options of `ping`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  clacks ping tower.example:8001
  clacks ping 192.0.2.7:8001 --network home
  clacks ping 127.0.0.1:8001 --json

Exit codes: 0 if a tower answered, 1 if none did, 2 if the command line makes no sense.")]
pub(crate) struct PingArgs {
    /// The address of the tower
    #[arg(value_name = "HOST:PORT")]
    pub(crate) tower: Address,
    /// Write one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) trust: TrustArgs,
}
