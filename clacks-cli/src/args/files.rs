//! The options of the commands for files: `put`, `get`, `health`, `keep` and `link`.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use clacks_proto::Address;
use clap::Args;

use super::TrustArgs;
use crate::network::membership;
use crate::value_parser;

/// Adds the exit codes to the examples of a command.
macro_rules! examples {
    ($($line:literal)*) => {
        concat!(
            "Examples:\n", $("  ", $line, "\n",)*
            "\nExit codes: 0 if it was done, 1 if it failed, 2 if the command line makes no sense, \
             3 if the file is gone, 4 if the network can't do it now. docs/files.md explains them."
        )
    };
}

/// How the network is reached, and how the command reports.
#[derive(Clone, Debug, Args)]
pub(crate) struct AccessArgs {
    /// The tower to ask. May be given several times
    ///
    /// By default it is that of the variable CLACKS_TOWER, the tower that runs here, or else
    /// 127.0.0.1:8001. One of several is drawn once and used for 30 days, because each new one
    /// would learn that this machine asks.
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',')]
    pub(crate) tower: Vec<Address>,
    /// Ask all towers directly, not through a chain of towers
    ///
    /// This is faster. Every tower that is asked learns the address of this machine, and a tower
    /// that knows the link learns which file it is.
    #[arg(long)]
    pub(crate) direct: bool,
    /// Write one JSON object a line on standard output
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) network: NetworkArgs,
}

/// The network, and the identity of the guest in it.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Network")]
pub(crate) struct NetworkArgs {
    /// The network of this name
    ///
    /// By default it is that of the tower that runs here. If this machine is a member of a private
    /// network of this name (`clacks join`), the command takes part as this member.
    #[arg(long, value_name = "NAME", value_parser = value_parser::network)]
    pub(crate) network: Option<String>,
    /// A private network: accept only towers with a certificate from these roots
    #[arg(long, value_name = "PEM", requires = "state", conflicts_with = "clear")]
    pub(crate) roots: Option<PathBuf>,
    /// The folder of an identity in a private network
    #[arg(long, alias = "identity", value_name = "DIR", conflicts_with = "clear")]
    pub(crate) state: Option<PathBuf>,
    /// No TLS: all that is sent can be read and forged on the way, but not the file. For tests
    #[arg(long)]
    pub(crate) clear: bool,
}

impl NetworkArgs {
    /// Returns whether a network is chosen.
    pub(crate) fn is_chosen(&self) -> bool {
        self.network.is_some() || self.roots.is_some() || self.state.is_some() || self.clear
    }

    /// Returns the options of a tower with this network and identity.
    pub(crate) fn trust(&self) -> TrustArgs {
        let Self { network, roots, state, clear } = self.clone();
        TrustArgs {
            state,
            ephemeral: false,
            key: None,
            cert: None,
            roots,
            revoked: None,
            clear,
            no_http: true,
            network: network.unwrap_or_else(|| membership::OPEN.to_owned()),
            open: true,
        }
    }
}

/// Through how many further towers a result is checked.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Through how many further towers the result is checked
    ///
    /// A tower can lie about what it has passed on. `put` is done when the pieces are seen through
    /// another tower, and `get` calls a file gone when another tower finds too few pieces, too.
    /// Each further tower learns that this machine asks.
    #[arg(long, value_name = "N", default_value = "1", allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(u8).range(1..=3))]
    pub(crate) verify: u8,
}

/// The options of `put`.
#[derive(Clone, Debug, Args)]
#[command(after_help = examples!(
    "clacks put photo.jpg"
    "clacks put photo.jpg --for 6h --keep"
    "tar c holiday | clacks put - --name holiday.tar"
    "clacks put photo.jpg --tower tower.example:8001"
    "clacks put photo.jpg --json | jq -r 'select(.read).read'"
))]
pub(crate) struct PutArgs {
    /// The file, or `-` to read it from standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// For how long the file can be read, from 1h to 24h
    ///
    /// Towers drop it up to 2 hours later. With more than 22h, the first pieces end up to 2 hours
    /// before the time. `clacks keep` extends the time.
    #[arg(long = "for", value_name = "TIME", default_value = "24h")]
    #[arg(value_parser = value_parser::lifetime)]
    pub(crate) lifetime: Duration,
    /// How many times as much as the file is put, from 2 to 8
    ///
    /// With 2, any half of the pieces restore the file.
    #[arg(long, value_name = "N", default_value = "2", allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(u8).range(2..=8))]
    pub(crate) redundancy: u8,
    /// The name that the receiver gets [default: the name of the file]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Stay, and keep the file alive until Ctrl-C. The same as `clacks keep`
    #[arg(long)]
    pub(crate) keep: bool,
    /// Go on even if the forecast is bad
    #[arg(long)]
    pub(crate) patient: bool,
    /// Print the link as a QR code, too
    #[arg(long, conflicts_with = "json")]
    pub(crate) qr: bool,
    #[command(flatten)]
    pub(crate) verify: VerifyArgs,
    #[command(flatten)]
    pub(crate) access: AccessArgs,
}

/// The link of a file.
#[derive(Clone, Args)]
pub(crate) struct LinkArg {
    /// The link, or `-` to read it from standard input. Without a link, the command asks for one
    ///
    /// A link on the command line can be seen by other users of this machine while the command
    /// runs, and stays in the history of the shell.
    #[arg(value_name = "LINK")]
    pub(crate) link: Option<String>,
}

impl fmt::Debug for LinkArg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The link is a secret.
        f.debug_struct("LinkArg").finish_non_exhaustive()
    }
}

/// The options of `get`.
#[derive(Clone, Debug, Args)]
#[command(after_help = examples!(
    "clacks get clacks1..."
    "clacks get - -o photo.jpg < link.txt"
    "clacks get clacks1... -o - | tar x"
    "clacks get clacks1... -o ~/Downloads"
    "clacks get clacks1... --listen"
))]
pub(crate) struct GetArgs {
    #[command(flatten)]
    pub(crate) link: LinkArg,
    /// The file to write, a folder for it, or `-` for standard output
    ///
    /// By default it has the name that it had where it was put, without characters that are not
    /// safe, in the current folder.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Replace a file that exists. Without it, the command asks on a terminal and fails elsewhere
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Go on even if the forecast is bad
    #[arg(long)]
    pub(crate) patient: bool,
    /// Ask no tower. Take the pieces from the messages that the tower of this machine receives
    ///
    /// No other tower learns that this machine reads the file. It takes about an hour in a network
    /// of ten towers, and half a day in one of a hundred. The tower must run: start it with
    /// `clacks tower`.
    #[arg(long, conflicts_with_all = ["direct", "verify", "network", "roots", "state", "clear"])]
    pub(crate) listen: bool,
    /// The control socket of the tower for --listen. Needed only if several towers run here
    #[arg(long, value_name = "PATH")]
    pub(crate) control: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) verify: VerifyArgs,
    #[command(flatten)]
    pub(crate) access: AccessArgs,
}

/// The options of `health`.
#[derive(Clone, Debug, Args)]
#[command(after_help = examples!(
    "clacks health clacks1..."
    "clacks health - --json < keeper.txt | jq -r 'select(.state).state'"
))]
pub(crate) struct HealthArgs {
    #[command(flatten)]
    pub(crate) link: LinkArg,
    #[command(flatten)]
    pub(crate) access: AccessArgs,
}

/// The options of `keep`.
#[derive(Clone, Debug, Args)]
#[command(after_help = examples!(
    "clacks keep clacks1..."
    "clacks link --keep clacks1... | ssh server.example clacks keep -"
))]
pub(crate) struct KeepArgs {
    #[command(flatten)]
    pub(crate) link: LinkArg,
    #[command(flatten)]
    pub(crate) access: AccessArgs,
}

/// The options of `link`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  clacks link clacks1...
  clacks link --keep clacks1...
  clacks link --qr - < link.txt

Exit codes: 0 if it was done, 2 if the link or the command line makes no sense.")]
pub(crate) struct LinkArgs {
    #[command(flatten)]
    pub(crate) link: LinkArg,
    /// Print the link with which the file can be kept alive, and not read
    #[arg(long)]
    pub(crate) keep: bool,
    /// Print the link as a QR code
    #[arg(long, conflicts_with = "json")]
    pub(crate) qr: bool,
    /// Write one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}
