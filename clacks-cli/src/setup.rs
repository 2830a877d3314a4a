//! Prepares a tower as the options say.

use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use clacks_proto::tls::{Identity, SecureTower, Trust};
use clacks_proto::{
    Address, Config, ConfigError, Dialects, Instant, Seed, StateMachine, Status, Tower,
};
use clacks_store::{CHUNK, Rate, Store, StoreConfig, enable_store};

use crate::args::{StoreArgs, TowerArgs, TrustArgs, TuningArgs};
use crate::error::Failure;
use crate::identity::{self, Files, Found};
use crate::network::expiry::{self, Expiry};
use crate::network::membership;
use crate::state::{self, Kept, StateFolder};
use crate::value_parser::{Heartbeat, Listen};

/// The most towers to which a tower announces itself when it returns: as many as it may contact in
/// a second by default.
const RETURNS: usize = 10;

/// A tower with its port, before it runs.
pub(crate) struct Prepared {
    pub(crate) machine: Machine,
    /// `None` for a tower without a store.
    pub(crate) store: Option<StorePlan>,
    pub(crate) listener: TcpListener,
    /// Remarks for people.
    pub(crate) notes: Vec<String>,
    /// When the certificate expires. `None` without a private network.
    pub(crate) expiry: Option<Expiry>,
    /// The state folder, unless the tower keeps no state.
    pub(crate) state: Option<StateFolder>,
}

/// The state machine of a tower.
pub(crate) enum Machine {
    /// In clear text.
    Clear(Box<Tower>),
    /// Over TLS.
    Secure(Box<SecureTower>),
}

/// What a tower needs to have a store.
pub(crate) struct StorePlan {
    config: StoreConfig,
    seed: Seed,
}

impl StorePlan {
    /// Returns the tower with a store. The clock of the store begins now.
    pub(crate) fn wrap<M: StateMachine>(self, tower: M) -> Result<Store<M>, Failure> {
        // With a clock before 1970, which was never set, the store takes no pieces.
        let unix_now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Store::new(tower, self.config, &self.seed, unix_now.as_secs()).map_err(|error| {
            Failure::usage(format_args!("The tower can have no store ({error}): add --no-store."))
        })
    }
}

/// Prepares a tower. All options are checked before a port is taken, and a port is taken before
/// anything is written.
pub(crate) fn prepare(args: &TowerArgs) -> Result<Prepared, Failure> {
    let mut config = config(&args.trust, &args.tuning).map_err(impossible)?;
    let why_no_store = why_no_store(&args.store, &config);
    let has_store = !args.store.no_store && why_no_store.is_none();
    if has_store {
        enable_store(&mut config);
    }
    let listen = args.listen.as_ref().ok_or_else(nowhere)?;
    if isize::try_from(config.max_memory()).is_err() {
        return Err(Failure::usage(
            "No machine has room for so many messages: choose a smaller --max-queue or \
             --max-queue-bytes.",
        ));
    }
    if listen.is_unspecified() && args.advertise.is_none() {
        return Err(Failure::usage(format_args!(
            "No tower can dial {}: add --advertise HOST:PORT, the address under which other towers \
             reach this one.",
            listen.host
        )));
    }
    let folder = state_folder(args);
    let has_identity = args.trust.key.is_some() || folder.as_deref().is_some_and(identity::is_in);
    if args.trust.roots.is_some() && !has_identity {
        return Err(no_member(folder.as_deref()));
    }
    let seed = match &args.tuning.seed {
        Some(seed) => seed.clone(),
        None => fresh_seed()?,
    };
    let store = has_store.then(|| store_plan(&args.store, &seed));
    let secrets = secrets(&args.trust)?;
    let listener = bind(listen)?;
    let address = match &args.advertise {
        Some(address) => address.clone(),
        None => dialled(listen, &listener)?,
    };
    let mut notes = Vec::new();
    let state = folder.as_deref().map(StateFolder::open).transpose()?;
    notes.extend(why_no_http(&args.trust, &config));
    notes.extend(why_no_store);
    notes.extend(open_network(&args.trust)?);
    let kept = match &state {
        Some(state) => state.peers(&config.network).load()?,
        None => Kept::Nothing,
    };
    let mut tower = Tower::new(config, address, &seed).map_err(impossible)?;
    restore(&mut tower, kept, &args.ignore, &mut notes)?;
    let mut expiry = None;
    let machine = match secrets {
        Some((identity, trust)) => {
            let identity = match identity {
                Some(identity) => identity,
                None => own_identity(state.as_ref(), &mut notes)?,
            };
            check_membership(args, folder.as_deref(), &identity, &trust)?;
            expiry = Expiry::of(&identity, &trust);
            notes.extend(expiry.and_then(expires_soon));
            Machine::Secure(Box::new(secure(tower, &identity, trust)?))
        }
        None => {
            notes.push("No TLS: everything can be read and forged on the way.".into());
            Machine::Clear(Box::new(tower))
        }
    };
    Ok(Prepared { machine, store, listener, notes, expiry, state })
}

fn nowhere() -> Failure {
    Failure::usage(
        "The tower needs an address to listen on: add --listen HOST:PORT, set CLACKS_LISTEN, or \
         write listen = \"HOST:PORT\" in the configuration file.",
    )
}

/// Returns a remark if the certificate expires soon.
fn expires_soon(expiry: Expiry) -> Option<String> {
    let warning = expiry.warning(SystemTime::now())?;
    let warning = warning.replacen("the", "The", 1);
    Some(format!("{warning}. {}", expiry::REMEDY))
}

fn no_member(folder: Option<&Path>) -> Failure {
    match folder {
        Some(folder) => Failure::failed(format_args!(
            "There is no identity in {}, and one made now would be a stranger in a private \
             network: make it with `clacks keygen`, and put its certificate among the roots or \
             have them sign one for its key.",
            folder.display()
        )),
        None => Failure::usage(
            "In a private network a fresh identity is a stranger: with --roots, give --state of a \
             folder with an identity, or --key and --cert of a certificate that comes from those \
             roots.",
        ),
    }
}

/// Returns the state folder that the options choose, or the default one of the tower's address.
fn state_folder(args: &TowerArgs) -> Option<PathBuf> {
    if args.trust.ephemeral || args.trust.clear {
        return None;
    }
    let listened = || {
        let listen = args.listen.as_ref().filter(|listen| listen.port != 0)?;
        listen.address(listen.port).ok()
    };
    let address = args.advertise.clone().or_else(listened);
    args.trust.state.clone().or_else(|| state::default_folder(address.as_ref(), state::variable))
}

/// Restores the peers of an earlier start, and ignores those that the configuration ignores. No
/// peer can call before that, so the pins hold from the start.
fn restore(
    tower: &mut Tower,
    kept: Kept,
    ignored: &[Address],
    notes: &mut Vec<String>,
) -> Result<(), Failure> {
    let now = Instant::ORIGIN;
    let peers = match kept {
        Kept::Nothing => Vec::new(),
        Kept::Peers(peers) => peers,
        Kept::SetAside(sentence) => {
            notes.push(sentence);
            Vec::new()
        }
    };
    let (mut returning, mut left_out) = (Vec::new(), 0);
    for peer in &peers {
        match tower.restore(peer, now) {
            Ok(_) if peer.status == Status::Alive => returning.push(&peer.address),
            Ok(_) => {}
            Err(error) => {
                tracing::debug!("{} is not restored: {error}", peer.address);
                left_out += 1;
            }
        }
    }
    if left_out > 0 {
        notes.push(format!("{left_out} of the known towers are left out: --log debug says why."));
    }
    for address in ignored {
        tower.ignore(address, now).map_err(|error| {
            Failure::usage(format_args!("{address} cannot be ignored: {error}."))
        })?;
    }
    // The others are dialled one by one at the next ticks.
    for address in returning.into_iter().filter(|it| !ignored.contains(it)).take(RETURNS) {
        let _ = tower.announce(address, now);
    }
    Ok(())
}

/// Checks that towers of the private network accept this one.
fn check_membership(
    args: &TowerArgs,
    folder: Option<&Path>,
    identity: &Identity,
    trust: &Trust,
) -> Result<(), Failure> {
    let in_folder = || folder.map(|folder| Files::within(folder).cert);
    let (Some(cert), Some(roots)) = (args.trust.cert.clone().or_else(in_folder), &args.trust.roots)
    else {
        return Ok(());
    };
    let (cert, roots) = (cert.display(), roots.display());
    trust.check(identity).map_err(|error| {
        Failure::failed(format_args!("{cert} does not fit the network of {roots}: {error}."))
    })
}

/// Puts a tower behind TLS.
pub(crate) fn secure(
    tower: Tower,
    identity: &Identity,
    trust: Trust,
) -> Result<SecureTower, Failure> {
    SecureTower::new(tower, identity, trust)
        .map_err(|error| Failure::failed(format_args!("TLS cannot start: {error}.")))
}

fn store_plan(args: &StoreArgs, seed: &Seed) -> StorePlan {
    let mut config = StoreConfig::default();
    config.relays = !args.no_relay;
    let per_second = u32::try_from(args.store_rate).unwrap_or(u32::MAX).max(1);
    config.egress = Rate { burst: per_second, per_second };
    StorePlan { config, seed: seed.clone() }
}

/// Returns why a tower has no store although no option disables it.
fn why_no_store(args: &StoreArgs, config: &Config) -> Option<String> {
    let why = match config {
        _ if args.no_store => return None,
        Config { max_message, .. } if *max_message < CHUNK => "--max-message",
        Config { max_queue_bytes, .. } if *max_queue_bytes < CHUNK => "--max-queue-bytes",
        _ => return None,
    };
    Some(format!("This tower has no store: {why} is less than {CHUNK} bytes."))
}

/// Returns a seed from the operating system.
pub(crate) fn fresh_seed() -> Result<Seed, Failure> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| {
        Failure::failed(format_args!("The operating system gives no randomness: {error}."))
    })?;
    Ok(Seed(seed))
}

/// Takes a port.
pub(crate) fn bind(listen: &Listen) -> Result<TcpListener, Failure> {
    let Listen { host, port } = listen;
    TcpListener::bind((host.as_str(), *port)).map_err(|error| {
        Failure::failed(match error.kind() {
            io::ErrorKind::AddrInUse => format!(
                "Port {port} of {host} is in use: stop the program that has it, or choose another \
                 port (0 picks a free one)."
            ),
            io::ErrorKind::PermissionDenied => format!(
                "Port {port} of {host} needs privileges: choose a port from 1024 on, or run the \
                 command as root."
            ),
            io::ErrorKind::AddrNotAvailable => format!(
                "{host} is no address of this machine: listen on one that is, and name the other \
                 with --advertise."
            ),
            _ => format!("Cannot listen on port {port} of {host} ({error}): check the address."),
        })
    })
}

fn dialled(listen: &Listen, listener: &TcpListener) -> Result<Address, Failure> {
    let unknown = |error: &dyn std::fmt::Display| {
        Failure::failed(format_args!(
            "Cannot tell where this tower listens ({error}): add --advertise HOST:PORT."
        ))
    };
    let port = listener.local_addr().map_err(|error| unknown(&error))?.port();
    listen.address(port).map_err(|error| unknown(&error))
}

/// Returns why towers of the JavaScript package are refused although no option asks for it.
fn why_no_http(trust: &TrustArgs, config: &Config) -> Option<String> {
    let why = match trust {
        TrustArgs { no_http: true, .. } => return None,
        TrustArgs { roots: Some(_), .. } => "they have no certificates to show",
        _ if !config.speaks_http() => "they know no names of networks",
        _ => return None,
    };
    Some(format!("Towers of the JavaScript package are refused: {why}."))
}

/// Returns a remark if a network with a name of its own is open.
///
/// # Errors
///
/// If the options do not say that it is open. A member of a private network may have mistyped its
/// name, and its messages would go to strangers.
fn open_network(trust: &TrustArgs) -> Result<Option<String>, Failure> {
    let name = &trust.network;
    if trust.roots.is_some() || name == membership::OPEN {
        return Ok(None);
    }
    if !trust.open && !trust.clear {
        return Err(Failure::usage(format_args!(
            "This machine is no member of a private network {name}: check the name, or join it with \
             `clacks join`. To start a tower of an open network of this name, add --open."
        )));
    }
    Ok(Some(format!("The network {name} is open: every tower can take part.")))
}

/// Reads the identity and the roots that the options name. Returns `None` without TLS.
pub(crate) fn secrets(trust: &TrustArgs) -> Result<Option<(Option<Identity>, Trust)>, Failure> {
    if trust.clear {
        return Ok(None);
    }
    let policy = match &trust.roots {
        Some(file) => Trust::Private(match &trust.revoked {
            Some(revoked) => identity::roots_without(file, revoked)?,
            None => identity::roots(file)?,
        }),
        None => Trust::Open,
    };
    let identity = match (&trust.key, &trust.cert) {
        (Some(key), Some(cert)) => {
            Some(identity::load(&Files { key: key.clone(), cert: cert.clone() })?)
        }
        _ => None,
    };
    Ok(Some((identity, policy)))
}

/// Returns the identity in the state folder, which is made at the first start. Without a folder it
/// is a new one.
fn own_identity(state: Option<&StateFolder>, notes: &mut Vec<String>) -> Result<Identity, Failure> {
    let Some(state) = state else {
        notes.push(
            "This tower keeps no state: restarted at this address it has another key, and towers \
             that know it now refuse it. A fixed port or --state DIR keeps the state."
                .into(),
        );
        return identity::generate();
    };
    let (identity, found) = identity::load_or_create(state.path())?;
    if found == Found::MadeNow {
        notes.push(format!("A new identity was made in {}.", state.path().display()));
    }
    Ok(identity)
}

/// Returns the files of the tower's identity, if the options or the state folder name some.
pub(crate) fn identity_files(args: &TowerArgs) -> Option<Files> {
    match (&args.trust.key, &args.trust.cert) {
        (Some(key), Some(cert)) => Some(Files { key: key.clone(), cert: cert.clone() }),
        _ => state_folder(args).as_deref().map(Files::within),
    }
}

/// Reads the identity and the rules for peers of a running tower again. `None` without TLS.
pub(crate) fn member(args: &TowerArgs) -> Result<Option<(Identity, Trust)>, Failure> {
    let (Some((_, trust)), Some(files)) = (secrets(&args.trust)?, identity_files(args)) else {
        return Ok(None);
    };
    Ok(Some((identity::load(&files)?, trust)))
}

fn impossible(error: ConfigError) -> Failure {
    Failure::usage(match error {
        ConfigError::MaxQueueMessages => {
            format!("--max-queue must be from 2 to {} messages.", u32::MAX - 2)
        }
        ConfigError::MaxMessage => "--max-message must be from 1 byte to 16MiB.".to_owned(),
        ConfigError::MaxQueueBytes => {
            "--max-queue-bytes must have room for one message of --max-message: give it more, or \
             that one less."
                .to_owned()
        }
        ConfigError::Heartbeat => "--heartbeat must be off or at least 10ms.".to_owned(),
        error => format!("These options cannot go together: {error}."),
    })
}

fn config(trust: &TrustArgs, tuning: &TuningArgs) -> Result<Config, ConfigError> {
    let mut config = Config::default();
    config.network.clone_from(&trust.network);
    config.dialects = if trust.no_http { Dialects::Native } else { Dialects::NativeAndHttp };
    config.send_rate = tuning.send_rate;
    config.heartbeat = match tuning.heartbeat {
        Heartbeat::Every(every) => Some(every),
        Heartbeat::Off => None,
    };
    config.kill_timeout = tuning.kill_timeout;
    config.max_message = tuning.max_message;
    config.max_queue_messages = tuning.max_queue;
    config.max_queue_bytes = tuning.max_queue_bytes;
    config.validate()?;
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Verb};
    use clap::Parser;

    fn parse(options: &[&str]) -> TowerArgs {
        let line = ["clacks", "tower", "--listen", "127.0.0.1:0"].iter().chain(options);
        match Cli::try_parse_from(line).unwrap().verb {
            Verb::Tower(args) => *args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_defaults_of_the_command_are_those_of_the_core_and_http() {
        let args = parse(&["--no-http"]);
        assert_eq!(config(&args.trust, &args.tuning), Ok(Config::default()));
        let args = parse(&[]);
        let mut both = Config::default();
        both.dialects = Dialects::NativeAndHttp;
        assert_eq!(config(&args.trust, &args.tuning), Ok(both));
    }

    #[test]
    fn a_note_says_which_towers_are_refused() {
        let note = |options: &[&str]| {
            let args = parse(options);
            why_no_http(&args.trust, &config(&args.trust, &args.tuning).unwrap())
        };
        assert_eq!(note(&[]), None);
        assert_eq!(note(&["--network=x", "--no-http"]), None);
        assert!(note(&["--network=x"]).is_some_and(|note| note.contains("names of networks")));
        assert!(note(&["--roots=x"]).is_some_and(|note| note.contains("certificates")));
    }

    #[test]
    fn every_knob_arrives() {
        let args = parse(&[
            "--network=x",
            "--send-rate=4",
            "--heartbeat=off",
            "--kill-timeout=2s",
            "--max-message=3",
            "--max-queue=4",
            "--max-queue-bytes=5",
        ]);
        let config = config(&args.trust, &args.tuning).unwrap();
        assert_eq!(config.network, "x");
        assert_eq!(config.send_rate, clacks_proto::SendRate::per_second(4));
        assert_eq!(config.heartbeat, None);
        assert_eq!(config.kill_timeout, std::time::Duration::from_secs(2));
        assert_eq!(
            (config.max_message, config.max_queue_messages, config.max_queue_bytes),
            (3, 4, 5)
        );
    }

    #[test]
    fn the_bound_of_the_memory_is_that_of_the_page_for_operators() {
        let mebibytes = |options: &[&str]| {
            let args = parse(options);
            let mut config = config(&args.trust, &args.tuning).unwrap();
            let mut bytes = 0;
            if !args.store.no_store {
                enable_store(&mut config);
                bytes += StoreConfig::default().max_memory(&config);
            }
            (config.max_memory() + bytes) / (1024 * 1024)
        };
        let small = ["--max-message=12KiB", "--max-queue=8192", "--max-queue-bytes=8MiB"];
        let bounds = [
            mebibytes(&[]),
            mebibytes(&["--no-store"]),
            mebibytes(&["--no-http"]),
            mebibytes(&["--no-http", "--no-store"]),
            mebibytes(&small),
            mebibytes(&[&small[..], &["--no-store"]].concat()),
        ];
        assert_eq!(bounds, [446, 361, 284, 199, 279, 195], "docs/operating.md has them");
    }

    #[test]
    fn impossible_sizes_are_refused() {
        let args = parse(&["--max-queue-bytes=1"]);
        assert_eq!(config(&args.trust, &args.tuning), Err(ConfigError::MaxQueueBytes));
    }
}
