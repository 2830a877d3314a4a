//! `clacks network new`: founds a network.

use std::io::Write;
use std::time::{Duration, SystemTime};

use clacks_proto::tls::Authority;
use serde_json::json;

use super::args::NewArgs;
use super::folder::{self, Member, NetworkFolder, NewNetwork, Settings};
use super::membership::start_command;
use super::name;
use super::since_1970;
use crate::error::Failure;
use crate::output::text::{GOOD, QUIET, STRONG, WARN};
use crate::output::{json, wrap};

/// The name of the founder among the members.
const FOUNDER: &str = "founder";

/// How long the founder's own certificate is valid. The founder could renew it at any time, so a
/// shorter time would only stop the tower.
const FOUNDER_VALIDITY: Duration = Duration::from_secs(100 * 365 * 86_400);

pub(super) fn run(args: &NewArgs) -> Result<(), Failure> {
    let dir = folder::new_folder(&args.name, args.output.dir.as_deref())?;
    let no_key = |error| Failure::failed(format_args!("No key could be made: {error}."));
    let authority = Authority::generate().map_err(no_key)?;
    let now = SystemTime::now();
    let expires = now + FOUNDER_VALIDITY;
    let identity = authority.issue(since_1970(expires)).map_err(no_key)?;
    let founder = name::parse(FOUNDER).map_err(Failure::failed)?;
    let new = NewNetwork {
        settings: Settings {
            network: args.name.clone(),
            member: founder.clone(),
            addresses: args.address.clone(),
        },
        key_pem: identity.key_pem(),
        cert_pem: identity.cert_pem(),
        roots_pem: authority.cert_pem(),
        revoked_pem: None,
        authority_pem: Some(authority.key_pem()),
    };
    let network = NetworkFolder::create(&dir, &new)?;
    let member = Member {
        fingerprint: identity.fingerprint(),
        invited: now,
        expires,
        revoked: None,
        certificate: identity.cert_pem().to_owned(),
    };
    network.add_member(&founder, &member)?;

    let start = start_command(&network, args.output.dir.as_deref());
    if args.output.json {
        json::write(&json!({
            "event": "network_created",
            "network": args.name,
            "folder": network.path(),
            "fingerprint": identity.fingerprint(),
            "addresses": args.address,
            "start": start,
        }))?;
        return Ok(());
    }
    let mut out = wrap::stdout();
    let (name, path) = (&args.name, network.path().display());
    writeln!(out, "{GOOD}founded{GOOD:#} the private network {STRONG}{name}{STRONG:#}")?;
    writeln!(out, "folder       {path}")?;
    writeln!(out, "fingerprint  {}", identity.fingerprint())?;
    writeln!(
        out,
        "{WARN}Keep{WARN:#} a copy of the folder in a safe place. Its network-key.pem makes \
         invitations. Without this file there are no further ones, and a person who copies it can \
         invite members, too."
    )?;
    writeln!(out, "{QUIET}Nothing was started. The next commands:{QUIET:#}")?;
    out.write_unbroken("  clacks invite --for NAME")?;
    out.write_unbroken(format_args!("  {start}"))?;
    out.flush()?;
    Ok(())
}
