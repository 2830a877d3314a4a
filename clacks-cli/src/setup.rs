//! Prepares a tower as the options say.

use std::io;
use std::net::TcpListener;

use clacks_proto::tls::{Identity, SecureTower, Trust};
use clacks_proto::{Address, Config, ConfigError, Dialects, Seed, Tower};

use crate::args::{TowerArgs, TrustArgs, TuningArgs};
use crate::error::Failure;
use crate::identity::{self, Files, Found};
use crate::network::membership;
use crate::value_parser::{Heartbeat, Listen};

/// A tower with its port, before it runs.
pub(crate) struct Prepared {
    pub(crate) machine: Machine,
    pub(crate) listener: TcpListener,
    /// Remarks for people.
    pub(crate) notes: Vec<String>,
}

/// The state machine of a tower.
pub(crate) enum Machine {
    /// In clear text.
    Clear(Box<Tower>),
    /// Over TLS.
    Secure(Box<SecureTower>),
}

/// Prepares a tower. All options are checked before a port is taken, and before a new identity is
/// written.
pub(crate) fn prepare(args: &TowerArgs) -> Result<Prepared, Failure> {
    let config = config(&args.trust, &args.tuning).map_err(impossible)?;
    if isize::try_from(config.max_memory()).is_err() {
        return Err(Failure::usage(
            "No machine has room for so many messages: choose a smaller --max-queue or \
             --max-queue-bytes.",
        ));
    }
    if args.listen.is_unspecified() && args.advertise.is_none() {
        return Err(Failure::usage(format_args!(
            "Nobody can dial {}: add --advertise HOST:PORT, the address under which other towers \
             reach this one.",
            args.listen.host
        )));
    }
    if args.trust.roots.is_some() && args.trust.identity.is_none() && args.trust.key.is_none() {
        return Err(Failure::usage(
            "In a private network a fresh identity is a stranger: with --roots, give --key and \
             --cert (or --identity) of a certificate that comes from those roots.",
        ));
    }
    let new_home = args.trust.identity.as_deref().filter(|dir| !identity::is_in(dir));
    if let (Some(dir), true) = (new_home, args.trust.roots.is_some()) {
        return Err(Failure::failed(format_args!(
            "There is no identity in {}, and one made now would be a stranger in a private \
             network: make it with `clacks keygen`, and put its certificate among the roots or \
             have them sign one for its key.",
            dir.display()
        )));
    }
    let seed = match &args.tuning.seed {
        Some(seed) => seed.clone(),
        None => fresh_seed()?,
    };
    let mut notes = Vec::new();
    let secrets = secrets(&args.trust, &mut notes)?;
    notes.extend(why_no_http(&args.trust, &config));
    notes.extend(open_network(&args.trust));
    let listener = bind(&args.listen)?;
    let address = match &args.advertise {
        Some(address) => address.clone(),
        None => dialled(&args.listen, &listener)?,
    };
    let tower = Tower::new(config, address, &seed).map_err(impossible)?;
    let machine = match secrets {
        Some((identity, trust)) => {
            check_membership(&args.trust, &identity, &trust)?;
            Machine::Secure(Box::new(secure(tower, &identity, trust)?))
        }
        None => Machine::Clear(Box::new(tower)),
    };
    Ok(Prepared { machine, listener, notes })
}

/// Checks that towers of the private network accept this one.
fn check_membership(args: &TrustArgs, identity: &Identity, trust: &Trust) -> Result<(), Failure> {
    let in_folder = || args.identity.as_deref().map(|dir| Files::within(dir).cert);
    let (Some(cert), Some(roots)) = (args.cert.clone().or_else(in_folder), &args.roots) else {
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
                "Port {port} of {host} is not for everyone: choose a port from 1024 on, or run \
                 with the right to take it."
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

/// Returns a remark if a network with a name of its own is open. A member of a private network may
/// have mistyped its name.
fn open_network(trust: &TrustArgs) -> Option<String> {
    let name = &trust.network;
    (trust.roots.is_none() && name != membership::OPEN).then(|| {
        format!(
            "The network {name} is open: every tower can take part. This machine is no member of a \
             private network of this name."
        )
    })
}

fn secrets(
    trust: &TrustArgs,
    notes: &mut Vec<String>,
) -> Result<Option<(Identity, Trust)>, Failure> {
    if trust.clear {
        notes.push("No TLS: everything can be read and forged on the way.".into());
        return Ok(None);
    }
    let policy = match &trust.roots {
        Some(file) => Trust::Private(match &trust.revoked {
            Some(revoked) => identity::roots_without(file, revoked)?,
            None => identity::roots(file)?,
        }),
        None => Trust::Open,
    };
    let identity = match (&trust.identity, &trust.key, &trust.cert) {
        (Some(dir), _, _) => {
            let (identity, found) = identity::load_or_create(dir)?;
            if found == Found::MadeNow {
                notes.push(format!("A new identity was made in {}.", dir.display()));
            }
            identity
        }
        (None, Some(key), Some(cert)) => {
            identity::load(&Files { key: key.clone(), cert: cert.clone() })?
        }
        (None, _, _) => {
            notes.push(
                "This identity lives in memory only: restarted at this address, the tower is a \
                 stranger whom those who know it now will refuse. --identity DIR keeps one."
                    .into(),
            );
            identity::generate()?
        }
    };
    Ok(Some((identity, policy)))
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
    fn impossible_sizes_are_refused() {
        let args = parse(&["--max-queue-bytes=1"]);
        assert_eq!(config(&args.trust, &args.tuning), Err(ConfigError::MaxQueueBytes));
    }
}
