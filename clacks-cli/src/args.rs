//! The command line with its help.

mod control;
mod files;

use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use clacks_proto::{Address, Seed, SendRate};
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use tracing_subscriber::filter::Targets;

use crate::network::args as network;
use crate::value_parser::{self, Heartbeat, Listen};

pub(crate) use control::{
    KindArg, ListenArgs, PeekArgs, PeerArgs, PingArgs, ReachArgs, SendArgs, StatsArgs, StatusArgs,
    StopArgs, SurveyArgs, WatchArgs,
};
pub(crate) use files::{AccessArgs, GetArgs, HealthArgs, KeepArgs, LinkArg, LinkArgs, PutArgs};

/// Towers of a peer-to-peer network in which data lives in flight.
///
/// A tower keeps messages only in a queue in memory. At each tick it hands the first one to a peer
/// drawn at random, and forgets it when the peer has confirmed it. The peer does the same. Towers
/// learn of each other by gossip, notice when a peer is gone, and use it again when it returns.
#[derive(Debug, Parser)]
#[command(name = "clacks", version, max_term_width = 100, arg_required_else_help = true)]
#[command(after_help = "See it work:  clacks demo
Run a tower:  clacks tower --listen 127.0.0.1:8001
Speak to it:  clacks send 'Hello!'    clacks listen --once    clacks status
Share a file: clacks put photo.jpg    clacks get LINK")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Show in about 20 seconds how towers meet, lose each other and heal
    ///
    /// Four towers run in this process on 127.0.0.1, over TLS. What happens is written as it
    /// happens:
    ///
    ///   Step 1. Towers 1 and 2 know each other, and tower 3 announces itself to tower 1.
    ///           Towers 2 and 3 learn of each other while "Hello Discworld!" travels.
    ///
    ///   Step 2. Tower 4 joins, and dies without a goodbye. The others notice.
    ///
    ///   Step 3. Tower 4 returns without an announcement. The others find it again.
    ///
    /// Each step waits until it has been seen. The exit code is 0 only when all three were.
    #[command(verbatim_doc_comment)]
    Demo(DemoArgs),
    /// Run one tower, until Ctrl-C or SIGTERM.
    ///
    /// A tower that is asked to stop first hands its queue to its peers, for at most 10 seconds:
    /// what it holds exists nowhere else. A second Ctrl-C ends it at once.
    ///
    /// The tower takes commands on standard input, one a line. `help` lists them. It runs on after
    /// the end of the input. To run a tower in the background of a shell, give it `< /dev/null`.
    ///
    /// Every option can also be set in a configuration file and in the environment: --send-rate is
    /// `send-rate = 2` in the file and CLACKS_SEND_RATE=2 in the environment. A flag replaces the
    /// environment, and the environment replaces the file, also for options that may be given
    /// several times. `clacks config` shows what applies.
    ///
    /// SIGHUP reads the file again and applies `announce`, `ignore` and `log`. In a private network
    /// it also applies a renewed certificate and a new list of revoked members. Other changes apply
    /// at the next start. A SIGHUP that is ignored at the start (`nohup`) stays ignored, and one
    /// from a terminal that is closed stops the tower.
    Tower(Box<TowerArgs>),
    /// Show the options of a tower, and where each value comes from
    ///
    /// It takes the options of `tower`, reads the same file and the same environment, and starts
    /// nothing. With --json it writes one JSON object.
    #[command(after_long_help = CONFIG_EXAMPLES)]
    Config(Box<TowerArgs>),
    /// Put a message into the queue of the running tower
    #[command(alias = "enqueue")]
    Send(SendArgs),
    /// Write the messages that come to the running tower
    ///
    /// Messages travel in circles, so a tower receives each one again and again. --new leaves out
    /// those that the tower has had lately. Text and JSON end with a newline. Bytes are written as
    /// they are, and on a terminal they are described.
    Listen(ListenArgs),
    /// Show the messages that the running tower holds
    Peek(PeekArgs),
    /// Show the towers that the running tower knows
    Survey(SurveyArgs),
    /// Show the state of the running tower, its last troubles and what to do
    Status(StatusArgs),
    /// Show the counters of the running tower
    Stats(StatsArgs),
    /// Make the running tower known to another one, and wait for the result
    Announce(PeerArgs),
    /// Let the running tower know another one
    Expand(PeerArgs),
    /// Ignore another tower: close its links and never dial it
    Ignore(PeerArgs),
    /// Undo `ignore`
    Unignore(PeerArgs),
    /// Forget a tower and the key that was seen at its address
    ///
    /// A tower that has made a new identity is accepted again then.
    Forget(PeerArgs),
    /// Write the events of the running tower as they happen
    Watch(WatchArgs),
    /// Stop the running tower, and wait until it has handed its queue to peers
    Stop(StopArgs),
    /// Put a file into the network, and print its link
    ///
    /// The file is encrypted and cut into pieces of 12 000 bytes. Twice as many pieces as needed
    /// are given to towers of the network, which pass them on from memory to memory. Each person
    /// with the link can read the file with `clacks get`, at any tower of the network. No tower can
    /// read it without the link.
    ///
    /// The pieces are gone after the time of --for. Until then the file survives the loss of
    /// towers as long as half of its pieces are left. `clacks health` counts them, and
    /// `clacks keep` replaces lost ones. A file can't be deleted.
    ///
    /// The link is written to standard output, and all else to standard error.
    Put(Box<PutArgs>),
    /// Get a file from the network by its link
    ///
    /// Pieces are taken from the towers that hold them, and each one is checked against the link.
    /// Proved pieces are kept in a file `.clacks-XXXXXXXX.clacks-part` in the folder of the output.
    /// If the command is interrupted, run it again: it takes only the rest. The file is removed at
    /// the end.
    Get(Box<GetArgs>),
    /// Count the pieces of a file that are left, and estimate how long it lasts
    ///
    /// Pieces are counted at the towers, and a sample of them is taken and checked. The answer is
    /// `safe`, `thin` or `lost`. It takes a read link or a keep link.
    Health(Box<HealthArgs>),
    /// Keep a file alive until Ctrl-C
    ///
    /// The pieces are counted every few minutes. Lost ones are made again from the others, and all
    /// are put again before their time is over. It takes a read link or a keep link. A keeper with
    /// a keep link can't read the file.
    Keep(Box<KeepArgs>),
    /// Show what a link says about its file, or make the keep link from it. Asks no tower
    Link(LinkArgs),
    /// Check whether a tower answers at an address, and report its identity and dialect
    ///
    /// The name is looked up, the port is dialled, and the handshake is made. No message is sent,
    /// and the other tower does not learn of this one. No running tower is needed.
    Ping(PingArgs),
    /// Run a network of up to a million towers in virtual time, with faults on purpose
    ///
    /// A scenario is one of those that come with the command (`--list`), or a TOML file. `--show`
    /// prints one, to begin a file of your own with. The towers are real ones, and so are the bytes
    /// between them. Only time and the network are simulated, so a run depends on its scenario and
    /// seed alone, and can be repeated to the last byte.
    ///
    /// Checkers follow every copy of every message and look at a tower after each of its events.
    ///
    /// Some scenarios are attacks, such as `flood`, `holes` and `blackout`. They have targets:
    /// numbers that the network should reach all the same, such as the hops of honest towers as a
    /// share of those in a calm network. The targets of `capacity`, `listener`, `fill` and
    /// `sessions` compare a run with theory. The run ends with a table of the targets. Scenarios of
    /// your own can have targets, too (`[[target]]`).
    ///
    /// Ctrl-C ends a run or a sweep early, with its summary so far. A second one ends the command
    /// at once, with exit code 130.
    ///
    /// The exit code is 0 when every rule held (so far, if the run was stopped), 1 when one did
    /// not, a target was missed and --check is given, or a result can't be written, 2 when the
    /// command line or the scenario is not valid, or a file can't be written to begin with.
    Sim(Box<SimArgs>),
    /// Measure how fast towers are on this machine, beside bare TLS and sockets
    ///
    /// Two towers hand messages to each other over TLS on 127.0.0.1, as fast as they can, and one
    /// dials others again and again. In the same run the same bytes go through bare rustls over
    /// blocking sockets, and through the sockets alone.
    ///
    /// The candidates take turns, so other load affects all of them equally. Compare the ratios.
    /// The benchmark takes about two minutes, and a tenth of that with --quick.
    Bench(BenchArgs),
    /// Found a private network, which others join by invitation
    Network(network::NetworkArgs),
    /// Invite a member into a private network
    ///
    /// Prints one line. On the machine of the new member `clacks join LINE` takes it. The line
    /// contains the address of this machine's tower, the root certificate of the network, and the
    /// private key and the certificate of the new member. Each line is for one machine.
    ///
    /// Keep the line secret, also after it was used: a person who has it can take part in the place
    /// of the member. `clacks revoke` excludes the member again.
    Invite(network::InviteArgs),
    /// Join a private network with the line of an invitation, or apply an update
    ///
    /// Writes the identity and the settings into the state folder, starts nothing, and prints the
    /// command that starts the tower. An existing network is never overwritten.
    Join(network::JoinArgs),
    /// List the members of a private network that this machine has founded
    Members(network::MembersArgs),
    /// Exclude a member from a private network
    ///
    /// Prints one line for all other members: `clacks join LINE` takes it, and a tower applies it
    /// at its next start. A tower that has the list refuses the revoked member, whichever of the
    /// two dials. A tower that does not have the list yet still accepts the member.
    Revoke(network::RevokeArgs),
    /// Make an identity: a private key and its certificate.
    ///
    /// DIR gets `key.pem`, which only you may read, and `cert.pem`. Existing files are never
    /// overwritten. Other towers know this one by the fingerprint.
    Keygen(KeygenArgs),
    /// Write the completion script for a shell
    Completions(CompletionsArgs),
    /// Write the manual pages into a folder
    #[command(hide = true)]
    Man(ManArgs),
}

/// What drives a tower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Runtime {
    /// The smol async runtime
    Smol,
    /// Bare mio, each tower on a thread of its own
    Mio,
}

/// The options of `demo`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  clacks demo
  clacks demo --base-port 9001
  clacks demo --http 127.0.0.1:9180
  clacks demo --json | grep tower_updated")]
pub(crate) struct DemoArgs {
    /// What drives the towers
    #[arg(long, value_enum, default_value_t = Runtime::Smol)]
    pub(crate) runtime: Runtime,
    /// The port of tower 1; the others have the next three. 0 picks free ones
    #[arg(long, value_name = "PORT", default_value_t = 8001)]
    pub(crate) base_port: u16,
    /// Run the towers with the rules of the original's document, without those against attacks
    #[arg(long)]
    pub(crate) original: bool,
    /// Write every event as one JSON object a line, and a final `result`
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) http: HttpArgs,
}

/// The options of `tower` and `config`.
#[derive(Clone, Debug, Args)]
#[command(after_long_help = TOWER_EXAMPLES)]
pub(crate) struct TowerArgs {
    /// Where to listen. Port 0 picks a free one
    #[arg(long, value_name = "HOST:PORT", value_parser = value_parser::listen)]
    pub(crate) listen: Option<Listen>,
    /// The address that other towers dial, if it differs from --listen: behind a NAT, or on 0.0.0.0
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) advertise: Option<Address>,
    /// Make this tower known to another one at the start. May be given several times
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',')]
    pub(crate) announce: Vec<Address>,
    /// Add a peer at the start without announcing this tower to it. May be given several times
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',')]
    pub(crate) expand: Vec<Address>,
    /// Ignore a tower: close its links and never dial it. May be given several times
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',')]
    pub(crate) ignore: Vec<Address>,

    /// What drives the tower
    #[arg(long, value_enum, default_value_t = Runtime::Smol)]
    pub(crate) runtime: Runtime,
    /// Write every event as one JSON object a line on standard output
    ///
    /// Logs go to standard error.
    #[arg(long)]
    pub(crate) json: bool,
    /// Which logs are written, for example `debug` or `warn,clacks_proto=trace`
    ///
    /// Without this option, the variable RUST_LOG has the same effect.
    #[arg(long, value_name = "FILTER", value_parser = value_parser::log)]
    pub(crate) log: Option<Targets>,
    /// The configuration file, in TOML [default: tower.toml in the configuration folder]
    ///
    /// The folder is $CONFIGURATION_DIRECTORY under systemd, else $XDG_CONFIG_HOME/clacks, else
    /// ~/.config/clacks. There it may be missing.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Write only the start, reloads and the end. This is the default in a terminal
    ///
    /// Remarks of the start and the address of the dashboard are written, too.
    #[arg(short, long, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Write all events in a terminal, too. They are written above the line that is typed
    #[arg(short, long)]
    pub(crate) verbose: bool,

    #[command(flatten)]
    pub(crate) control: ControlArgs,
    #[command(flatten)]
    pub(crate) http: HttpArgs,
    #[command(flatten)]
    pub(crate) trust: TrustArgs,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    #[command(flatten)]
    pub(crate) tuning: TuningArgs,
}

/// The store of the tower.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Store")]
pub(crate) struct StoreArgs {
    /// Carry pieces of files like other messages, and answer no questions about them
    ///
    /// A tower with a store tells other towers and `clacks get` which pieces of files it holds
    /// (sealed, so it can't read them), and takes pieces from `clacks put`.
    #[arg(long)]
    pub(crate) no_store: bool,
    /// Do not pass on requests of other towers
    ///
    /// `clacks put` and `clacks get` reach stores through several towers, so that no store learns
    /// who asks. A tower without this option passes on such requests.
    #[arg(long)]
    pub(crate) no_relay: bool,
    /// How many bytes a second the store sends at most, for its own answers and for others
    ///
    /// Known towers come before `clacks put` and `clacks get`. The messages of the tower are not
    /// limited by this.
    #[arg(long, value_name = "SIZE", default_value = "8MiB", value_parser = value_parser::size)]
    pub(crate) store_rate: usize,
}

/// The dashboard of the tower.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Dashboard")]
pub(crate) struct HttpArgs {
    /// Show the tower on a page for browsers. The demo shows tower 1. Port 0 picks a free one
    ///
    /// On a terminal the start prints the address of the page with a token. Elsewhere it prints the
    /// address, and the file that has the token. The page shows no message bodies and cannot change
    /// anything. /metrics has the counters for Prometheus, and /healthz answers `ok` while the
    /// tower makes progress.
    #[arg(long, value_name = "IP:PORT", value_parser = value_parser::http)]
    pub(crate) http: Option<SocketAddr>,
    /// A name of the page, if other machines reach it. May be given several times
    ///
    /// Needed unless --http is on loopback. The connection is not encrypted. The metrics need the
    /// token then, too.
    #[arg(long, value_name = "HOST", requires = "http", value_parser = value_parser::http_host)]
    pub(crate) http_host: Vec<String>,
}

/// Where other commands reach the tower.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Control")]
pub(crate) struct ControlArgs {
    /// The socket through which `clacks send`, `clacks status` and others reach this tower
    ///
    /// By default it is named after the address of the tower, in $XDG_RUNTIME_DIR/clacks, or else
    /// in ~/.local/state/clacks/run. The folder must be yours, and only you may write to it.
    #[arg(long, value_name = "PATH")]
    pub(crate) control: Option<PathBuf>,
    /// Let a group of users control the tower, too
    #[arg(long, value_name = "GROUP")]
    pub(crate) control_group: Option<String>,
}

/// The tower's identity and network.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Identity")]
pub(crate) struct TrustArgs {
    /// The folder of the identity and the known towers, made on the first run
    ///
    /// Towers remember the key that they found at an address, and refuse another key there. So by
    /// default each address has a folder of its own: towers/HOST:PORT in $XDG_STATE_HOME/clacks or
    /// ~/.local/state/clacks. Under systemd it is $STATE_DIRECTORY. With port 0 and no --advertise
    /// there is no default, and the tower is --ephemeral.
    ///
    /// The folder contains key.pem, cert.pem and peers.json. One tower at a time can use it.
    #[arg(long, alias = "identity", value_name = "DIR")]
    #[arg(conflicts_with_all = ["ephemeral", "clear"])]
    pub(crate) state: Option<PathBuf>,
    /// Read and write no state: a new identity at each start, and no known towers
    #[arg(long)]
    pub(crate) ephemeral: bool,
    /// The tower's private key, if it is not the one in the state folder
    #[arg(long, value_name = "PEM", requires = "cert", conflicts_with = "clear")]
    pub(crate) key: Option<PathBuf>,
    /// The key's certificate, alone or as a chain
    #[arg(long, value_name = "PEM", requires = "key", conflicts_with = "clear")]
    pub(crate) cert: Option<PathBuf>,
    /// A private network: accept only towers with a certificate from these roots
    #[arg(long, value_name = "PEM", conflicts_with = "clear")]
    pub(crate) roots: Option<PathBuf>,
    /// Certificates that are refused although they come from the roots, as lists (X509 CRL)
    #[arg(long, value_name = "PEM", conflicts_with = "clear")]
    pub(crate) revoked: Option<PathBuf>,
    /// No TLS and no state: everything can be read and forged on the way. For tests and trusted
    /// networks
    #[arg(long)]
    pub(crate) clear: bool,
    /// Speak only with towers like this one, not with those of the original's JavaScript package
    ///
    /// Private networks, and networks with another name than `clacks`, never use HTTP.
    #[arg(long)]
    pub(crate) no_http: bool,
    /// The tower belongs to the network of this name, and refuses towers of others
    ///
    /// If this machine is a member of a private network of this name (`clacks join`), the tower
    /// uses that membership: its identity, its roots, and its first addresses.
    #[arg(long, value_name = "NAME", default_value = "clacks")]
    #[arg(value_parser = value_parser::network)]
    pub(crate) network: String,
    /// The network named by --network is an open one, in which every tower can take part
    ///
    /// Without this, the name of a network of which this machine is no member is refused: a
    /// mistyped name would start an open tower.
    #[arg(long)]
    pub(crate) open: bool,
}

/// Rates and limits.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Tuning")]
pub(crate) struct TuningArgs {
    /// How many messages are handed on a second, for example 20 or 0.5; or `unlimited`
    #[arg(long, value_name = "N|unlimited", default_value = "1", allow_negative_numbers = true)]
    #[arg(value_parser = value_parser::send_rate)]
    pub(crate) send_rate: SendRate,
    /// How often a tower with nothing to send looks after its peers; `off` for never
    #[arg(long, value_name = "TIME|off", default_value = "60s")]
    #[arg(value_parser = value_parser::heartbeat)]
    pub(crate) heartbeat: Heartbeat,
    /// How long a lost peer may stay lost before it counts as dead
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = value_parser::duration)]
    pub(crate) kill_timeout: Duration,
    /// The longest message that is taken, at most 16MiB
    #[arg(long, value_name = "SIZE", default_value = "64KiB", value_parser = value_parser::size)]
    pub(crate) max_message: usize,
    /// The most messages that are held; a fifth of the room is kept for those of other towers
    #[arg(long, value_name = "MESSAGES", default_value = "65536", value_parser = value_parser::count)]
    pub(crate) max_queue: usize,
    /// The most bytes that are held, likewise
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = value_parser::size)]
    pub(crate) max_queue_bytes: usize,
    /// Replay the random choices of another run: 64 hexadecimal digits
    ///
    /// Only for looking into what happened. A person who knows the seed of a tower can predict all
    /// that it draws: leave it out on a real network, and the operating system gives a fresh one.
    #[arg(long, value_name = "HEX", value_parser = value_parser::seed)]
    pub(crate) seed: Option<Seed>,
}

/// The options of `sim`.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    arg_required_else_help = true
)]
#[command(after_help = SIM_EXAMPLES)]
pub(crate) struct SimArgs {
    #[command(subcommand)]
    pub(crate) verb: Option<SimVerb>,
    /// The name of a scenario that comes with the command, `swarm`, or a TOML file
    ///
    /// `swarm` draws a scenario from the seed. A name that contains a `/` or ends in `.toml`
    /// is a file, and so is any other name that no scenario has.
    #[arg(value_name = "SCENARIO", required_unless_present = "list")]
    pub(crate) scenario: Option<String>,
    /// List the scenarios that come with the command
    #[arg(long, conflicts_with_all = ["scenario", "json"])]
    pub(crate) list: bool,
    /// Print the scenario as TOML, with the changes that are asked for, and do not run it
    ///
    /// One that comes with the command is printed as it was written, with its comments. A file, or
    /// a scenario that --towers, --set and the like change, is printed with every default spelled
    /// out.
    #[arg(long, conflicts_with_all = ["seeds", "json", "csv", "report", "trace", "wall"])]
    pub(crate) show: bool,

    /// How many towers there are
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    #[arg(value_parser = value_parser::towers)]
    pub(crate) towers: Option<u32>,
    /// The virtual time of messages and faults
    ///
    /// Later messages, faults and targets of the scenario are left out. Then the run goes on until
    /// every tower knows every other as alive, for at most `checks.settle_within`.
    #[arg(long, value_name = "TIME", value_parser = value_parser::duration)]
    pub(crate) time: Option<Duration>,
    /// The seed of every random choice
    #[arg(long, value_name = "S", allow_negative_numbers = true, conflicts_with = "seeds")]
    #[arg(value_parser = value_parser::number)]
    pub(crate) seed: Option<u64>,
    /// Change any other field of the scenario, like link.latency=80ms. May be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = value_parser::setting)]
    pub(crate) set: Vec<(String, String)>,
    /// Run the towers with the rules of the original's document, without those against attacks
    ///
    /// They start from `Config::original()` of the library instead of the default configuration.
    /// Values that the scenario or --set changes stay.
    #[arg(long)]
    pub(crate) original: bool,
    /// Stop after so much real time, and say how far it came
    #[arg(long, value_name = "TIME", value_parser = value_parser::duration)]
    pub(crate) wall: Option<Duration>,
    /// Continue after a violation of an invariant. A run ends at the first one otherwise
    #[arg(long)]
    pub(crate) keep_going: bool,

    /// Run it once for each seed of a range, the last excluded: 0..1000
    #[arg(long, value_name = "A..B", value_parser = value_parser::seeds)]
    #[arg(conflicts_with_all = ["csv", "report", "trace", "wall"])]
    pub(crate) seeds: Option<Range<u64>>,
    /// The number of runs at the same time [default: the number of cores]
    ///
    /// The results are the same for any number.
    #[arg(long, value_name = "N", requires = "seeds", allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) jobs: Option<u16>,

    /// End with exit code 1 if a target is missed
    ///
    /// Targets are numbers that a scenario should reach, under attack or according to theory. They
    /// are listed at the end with the number that was reached. A missed target is no violation of a
    /// rule.
    #[arg(long)]
    pub(crate) check: bool,
    /// Write only the rows of a Markdown table of the targets
    #[arg(long, requires = "seeds", conflicts_with = "json", hide_short_help = true)]
    pub(crate) markdown: bool,

    /// Write one JSON object a line: `started`, a `run` for each of --seeds, and at the end
    /// `result`
    #[arg(long)]
    pub(crate) json: bool,
    /// Write the run as CSV files into a folder: over time, figures with definitions, faults,
    /// checks, and hand-overs of up to 400 towers
    #[arg(long, value_name = "DIR")]
    pub(crate) csv: Option<PathBuf>,
    /// Write one HTML page with tables, plots and a map of up to 400 towers
    #[arg(long, value_name = "FILE.html")]
    pub(crate) report: Option<PathBuf>,
    /// Write each observation as a line of text: about 50 bytes for each of up to millions
    ///
    /// After a second the command estimates the size of the whole file. `clacks sim diff` compares
    /// two traces.
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,
    /// Cut the trace after the last line within this size. The run goes on
    #[arg(long, value_name = "SIZE", value_parser = value_parser::size, default_value = "1GiB")]
    #[arg(requires = "trace")]
    pub(crate) trace_limit: usize,
}

/// What else `sim` can do.
#[derive(Debug, Subcommand)]
pub(crate) enum SimVerb {
    /// Find the first difference between two traces
    ///
    /// The exit code is 0 when there is none, 1 when there is one, 2 when a trace can't be read.
    Diff {
        /// A file that --trace wrote
        first: PathBuf,
        /// Another one
        second: PathBuf,
    },
}

/// The options of `bench`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  clacks bench --quick
  clacks bench dial
  clacks bench --json | jq 'select(.event == \"row\")'")]
pub(crate) struct BenchArgs {
    /// Only the tables with this in their title
    #[arg(value_name = "TITLE")]
    pub(crate) title: Option<String>,
    /// One short turn for each row instead of several: good for a glance, not for a comparison
    #[arg(long)]
    pub(crate) quick: bool,
    /// Write one JSON object a line: `started`, a `row` for each row of the tables, and a `result`
    #[arg(long)]
    pub(crate) json: bool,
}

/// The options of `keygen`.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  clacks keygen ~/tower
  clacks tower --listen 127.0.0.1:8001 --identity ~/tower")]
pub(crate) struct KeygenArgs {
    /// The folder to put it in; made if it is not there
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,
}

/// The options of `completions`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  clacks completions bash > ~/.local/share/bash-completion/completions/clacks
  clacks completions zsh  > ~/.zfunc/_clacks
  clacks completions fish > ~/.config/fish/completions/clacks.fish")]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

/// The options of `man`.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  clacks man ~/.local/share/man/man1")]
pub(crate) struct ManArgs {
    /// The folder to put them in; made if it is not there
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,
}

const SIM_EXAMPLES: &str = "\
Examples:
  clacks sim --list
  clacks sim capacity
  clacks sim netsplit --towers 50 --report netsplit.html
  clacks sim lossy --set link.broken=0.05 --seeds 0..100 --jobs 2
  clacks sim swarm --seeds 0..300
  clacks sim holes --set role.0.towers.share=0.3 --seeds 1..6
  clacks sim churn --show > mine.toml && clacks sim mine.toml --csv tables
  clacks sim original-1 --trace a && clacks sim original-1 --seed 2 --trace b; clacks sim diff a b";

const TOWER_EXAMPLES: &str = "\
Examples:
  Two towers on one machine, each in a terminal of its own; then type `enqueue Hello!` in either:
    clacks tower --listen 127.0.0.1:8001
    clacks tower --listen 127.0.0.1:8002 --announce 127.0.0.1:8001

  A tower for good, which is reached under a name:
    clacks tower --listen 0.0.0.0:8001 --advertise tower.example:8001

  A tower that can be watched in a browser, at the address that it prints:
    clacks tower --listen 127.0.0.1:8001 --http 127.0.0.1:9180

  A tower for a script:
    (echo 'enqueue Hello!'; sleep 10; echo quit) | clacks tower --listen 127.0.0.1:0 --json

In a terminal the tower has a prompt with history, and writes no events unless -v is given. The
prompt shows the state of the tower. Otherwise it reads commands from standard input and writes all
events, unless -q is given. `clacks watch` writes them at any time.

Commands on standard input:
  enqueue TEXT        put a message into the queue
  peek                show the messages held here
  survey              show the towers known here
  expand HOST:PORT    know another tower
  announce HOST:PORT  know another tower, and make this one known to it
  ignore HOST:PORT    close the links of a tower and never dial it
  unignore HOST:PORT  undo ignore
  forget HOST:PORT    forget a tower and its key
  status              show the state of this tower
  stats               show what has been counted
  help                list the commands
  help stats          explain each counter
  help events         explain the first words of the lines
  quit                hand the queue to peers, and stop

Exit codes: 0 if the tower ended as asked, 1 if it failed, 2 if the command line makes no sense.";

const CONFIG_EXAMPLES: &str = "\
Examples:
  clacks config
  clacks config --listen 127.0.0.1:8001
  clacks config --json | jq '.options[] | select(.source != \"default\")'

A configuration file:
  listen = \"0.0.0.0:8001\"
  advertise = \"tower.example:8001\"
  announce = [\"friend.example:8001\", \"other.example:8001\"]
  send-rate = 2";

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
