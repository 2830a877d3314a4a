//! The options of a tower that is a member of a private network.

use std::path::Path;

use clacks_proto::Address;
use clacks_proto::tls::TlsError;

use super::folder::NetworkFolder;
use super::name;
use super::quoted;
use crate::args::{TowerArgs, TrustArgs};
use crate::error::Failure;
use crate::identity::Files;

/// The network of a tower that is given no other name.
pub(crate) const OPEN: &str = "clacks";

/// Returns the options with the identity, the roots, the list of revoked members and the first
/// addresses of a private network, if the options choose one of which this machine is a member.
pub(crate) fn with_membership(args: &TowerArgs) -> Result<TowerArgs, Failure> {
    let mut args = args.clone();
    let (trust, network) = apply(&args.trust)?;
    args.trust = trust;
    if let Some(network) = network.filter(|network| !network.is_founder()) {
        let is_own = |address: &Address| Some(address) == args.advertise.as_ref();
        let known = args.announce.clone();
        let first = network.settings().addresses.iter();
        args.announce.extend(first.filter(|it| !is_own(it) && !known.contains(it)).cloned());
    }
    Ok(args)
}

/// Like [`with_membership`], for a command that takes part in a network without a tower. Returns
/// the first addresses of the network, too.
pub(crate) fn of_guest(trust: &TrustArgs) -> Result<(TrustArgs, Vec<Address>), Failure> {
    let (trust, network) = apply(trust)?;
    let addresses = network.map(|network| network.settings().addresses.clone());
    Ok((trust, addresses.unwrap_or_default()))
}

/// Returns the options with those of a membership, and the folder of the network.
///
/// The options choose a network by its name, or by the state folder. Options of another
/// private network, or of one without TLS, stay as they are.
fn apply(trust: &TrustArgs) -> Result<(TrustArgs, Option<NetworkFolder>), Failure> {
    let mut trust = trust.clone();
    if trust.key.is_some() || trust.roots.is_some() {
        return Ok((trust, None));
    }
    let in_state = trust.state.as_deref().map(NetworkFolder::open).transpose()?.flatten();
    let named = match name::parse(&trust.network) {
        Ok(name) if in_state.is_none() => NetworkFolder::named(&name, None)?,
        // Networks that are open may have any name.
        _ => None,
    };
    if let (Some(network), true) = (&named, trust.state.is_some()) {
        return Err(Failure::usage(format_args!(
            "The state of the network {} is in {}: leave out --state.",
            network.name(),
            network.path().display()
        )));
    }
    let Some(network) = in_state.or(named) else { return Ok((trust, None)) };
    let name = network.name();
    if trust.clear {
        return Err(Failure::usage(format_args!(
            "The network {name} is private, and --clear would show its messages to everyone: leave \
             out --clear."
        )));
    }
    if trust.network != OPEN && trust.network != name.as_str() {
        return Err(Failure::usage(format_args!(
            "{} belongs to the network {name} and not to {}: leave out --network.",
            network.path().display(),
            trust.network
        )));
    }
    network.trust()?.check(&network.identity()?).map_err(|error| {
        let member = quoted(network.settings().member.as_str());
        // The key of a revoked member stays excluded.
        let renew = match error {
            TlsError::OwnRevoked => String::new(),
            _ => format!(" The founder renews a membership with `clacks invite --renew {member}`."),
        };
        Failure::failed(format_args!(
            "This machine cannot take part in the network {name}: {error}.{renew}"
        ))
    })?;
    trust.network = name.to_string();
    if trust.ephemeral {
        let Files { key, cert } = Files::within(network.path());
        (trust.key, trust.cert) = (Some(key), Some(cert));
    } else {
        trust.state = Some(network.path().to_owned());
    }
    trust.roots = Some(network.roots_file());
    trust.revoked = trust.revoked.or_else(|| network.revoked_file());
    Ok((trust, Some(network)))
}

/// Returns an advice to add `--network`, if this machine is a member of private networks.
pub(crate) fn advice() -> Option<String> {
    let networks = NetworkFolder::all().ok()?;
    let names: Vec<_> = networks.iter().map(|it| quoted(it.name().as_str())).collect();
    let or = names.join(" or --network ");
    (!names.is_empty()).then(|| {
        format!("This machine is a member of {}: add --network {or}.", names.join(" and of "))
    })
}

/// Returns the command that starts the tower of a network. The founder's has its address, and a
/// member's has an example to be replaced.
pub(super) fn start_command(network: &NetworkFolder, dir: Option<&Path>) -> String {
    let own = network.settings().addresses.first().filter(|_| network.is_founder());
    let port = own.map_or(8001, |address| address.port().get());
    let advertise = own.map_or_else(|| format!("HOST:{port}"), ToString::to_string);
    let chosen = match dir {
        Some(dir) => format!("--state {}", quoted(&dir.display().to_string())),
        None => format!("--network {}", quoted(network.name().as_str())),
    };
    format!("clacks tower {chosen} --listen 0.0.0.0:{port} --advertise {advertise}")
}
