//! The command line of private networks.

use std::path::PathBuf;

use clacks_proto::Address;
use clap::{Args, Subcommand};

use super::name::{self, Name};

/// The options of `network`.
#[derive(Debug, Args)]
pub(crate) struct NetworkArgs {
    #[command(subcommand)]
    pub(crate) verb: NetworkVerb,
}

impl NetworkArgs {
    /// Returns whether results are JSON.
    pub(crate) fn json(&self) -> bool {
        match &self.verb {
            NetworkVerb::New(args) => args.output.json,
        }
    }
}

/// The commands of `network`.
#[derive(Debug, Subcommand)]
pub(crate) enum NetworkVerb {
    /// Found a private network on this machine
    ///
    /// Makes the key of the network, its root certificate, and the identity of this machine's own
    /// tower. Only towers that were invited can take part. The key stays on this machine. Keep a
    /// copy of the folder in a safe place: without the key there are no further invitations.
    ///
    /// Nothing is started, and an existing network is never overwritten.
    New(NewArgs),
}

/// The options of `network new`.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  clacks network new home --address anna.example:8001
  clacks invite --for bob
  clacks tower --network home --listen 0.0.0.0:8001 --advertise anna.example:8001")]
pub(crate) struct NewArgs {
    /// The name of the network: letters, digits, `-`, `_` and `.`
    #[arg(value_name = "NAME", value_parser = name::parse)]
    pub(crate) name: Name,
    /// The address at which members reach this machine's tower. May be given several times
    #[arg(long, value_name = "HOST:PORT", required = true)]
    pub(crate) address: Vec<Address>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// The options of `invite`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  clacks invite --for bob
  clacks invite --for bob | ssh bob.example clacks join -
  clacks invite --for phone --days 30 --qr
  clacks invite --renew bob")]
pub(crate) struct InviteArgs {
    /// The name of the new member [default: the first unused one of member-1, member-2, ...]
    #[arg(long = "for", value_name = "NAME", value_parser = name::parse)]
    pub(crate) member: Option<Name>,
    /// Extend the time of a member instead. Its key stays the same, so the line holds no secret
    #[arg(long, value_name = "NAME", value_parser = name::parse)]
    #[arg(conflicts_with_all = ["member", "qr"])]
    pub(crate) renew: Option<Name>,
    /// How long the member can take part, from now on
    #[arg(long, value_name = "N", default_value = "365", allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub(crate) days: u32,
    /// Print a QR code instead of a line
    #[arg(long, conflicts_with = "json")]
    pub(crate) qr: bool,
    #[command(flatten)]
    pub(crate) network: ChosenNetwork,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// The options of `join`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  clacks join clacks-join-1:...
  clacks join - < invitation.txt")]
pub(crate) struct JoinArgs {
    /// The line of `clacks invite` or `clacks revoke`, or `-` to read it from standard input
    ///
    /// A line on the command line can be seen by other users of this machine while the command
    /// runs, and stays in the history of the shell.
    #[arg(value_name = "LINE")]
    pub(crate) line: String,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// The options of `members`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  clacks members
  clacks members --json | jq -r '.members[] | select(.status == \"expired\") | .name'")]
pub(crate) struct MembersArgs {
    #[command(flatten)]
    pub(crate) network: ChosenNetwork,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// The options of `revoke`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  clacks revoke bob
  clacks revoke | ssh carol.example clacks join -")]
pub(crate) struct RevokeArgs {
    /// The member to exclude. Without a name, the line for the others is printed again
    #[arg(value_name = "NAME", value_parser = name::parse)]
    pub(crate) member: Option<Name>,
    #[command(flatten)]
    pub(crate) network: ChosenNetwork,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Which of the networks of this machine is meant.
#[derive(Debug, Args)]
pub(crate) struct ChosenNetwork {
    /// The network, if this machine has founded more than one
    #[arg(long = "network", value_name = "NAME", value_parser = name::parse)]
    pub(crate) name: Option<Name>,
}

/// Where the network is, and how results are written.
#[derive(Debug, Args)]
pub(crate) struct OutputArgs {
    /// The folder of the network [default: networks/NAME in the state folder]
    ///
    /// The state folder is $STATE_DIRECTORY under systemd, else $XDG_STATE_HOME/clacks, else
    /// ~/.local/state/clacks.
    #[arg(long, value_name = "DIR", hide_short_help = true)]
    pub(crate) dir: Option<PathBuf>,
    /// Write the result as one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}
