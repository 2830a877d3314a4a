//! `clacks invite`: makes a member, or extends its time.

use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use clacks_proto::tls::Authority;
use serde_json::json;

use super::args::InviteArgs;
use super::folder::{Member, NetworkFolder};
use super::line::{Invitation, Update};
use super::name::{self, Name};
use super::{day, quoted, since_1970};
use crate::error::Failure;
use crate::output::text::{STRONG, WARN};
use crate::output::{json, qr, wrap};

/// The most members that get a name by themselves.
const MOST_UNNAMED: u32 = 100_000;

pub(crate) fn run(args: &InviteArgs) -> Result<(), Failure> {
    let dir = args.output.dir.as_deref();
    let network = NetworkFolder::chosen(args.network.name.as_ref(), dir)?;
    let _lock = network.lock()?;
    let authority = network.authority()?;
    let now = SystemTime::now();
    let expires = now + Duration::from_secs(86_400) * args.days;
    match &args.renew {
        Some(member) => renew(args, &network, &authority, member, expires),
        None => invite(args, &network, &authority, now, expires),
    }
}

fn invite(
    args: &InviteArgs,
    network: &NetworkFolder,
    authority: &Authority,
    now: SystemTime,
    expires: SystemTime,
) -> Result<(), Failure> {
    let identity = authority
        .issue(since_1970(expires))
        .map_err(|error| Failure::failed(format_args!("No key could be made: {error}.")))?;
    let member = Member {
        fingerprint: identity.fingerprint(),
        invited: now,
        expires,
        revoked: None,
        certificate: identity.cert_pem().to_owned(),
    };
    let invitation = |name: &Name| -> Result<String, Failure> {
        let invitation = Invitation {
            network: network.name().clone(),
            member: name.clone(),
            addresses: network.settings().addresses.clone(),
            root: der(authority.cert_pem())?,
            certificate: der(identity.cert_pem())?,
            key: der(identity.key_pem())?,
            revoked: network.revoked_pem()?.as_deref().map(der).transpose()?,
        };
        invitation.to_line().map_err(Failure::failed)
    };
    let name = add(network, args.member.as_ref(), &member)?;
    let made = invitation(&name).and_then(|line| {
        let shown = if args.qr { qr::draw(&line, qr::Terminal::Stdout)? } else { line.clone() };
        Ok((line, shown))
    });
    if made.is_err() {
        // The name of an invitation that does not exist would be in the way.
        network.forget_member(&name);
    }
    let (line, shown) = made?;
    let until = day(expires);
    if args.output.json {
        json::write(&json!({
            "event": "invited",
            "network": network.name(),
            "member": name,
            "fingerprint": identity.fingerprint(),
            "expires": humantime::format_rfc3339_seconds(expires).to_string(),
            "line": line,
        }))?;
        return Ok(());
    }
    // The line alone goes to standard output, so that it can be piped into `clacks join -`.
    let mut explanation = wrap::stderr();
    let _ = writeln!(
        explanation,
        "An invitation for {STRONG}{name}{STRONG:#} into the network {}, valid until {until}. On the \
         other machine: clacks join LINE",
        network.name()
    );
    let _ = writeln!(
        explanation,
        "{WARN}Secret:{WARN:#} it contains the private key of the new member. A person who reads \
         it on the way can join in the place of {name}, read all messages that reach this member, \
         and send messages. Send it over a channel that you trust, to one machine only. `clacks \
         revoke {}` excludes this member again.",
        quoted(name.as_str())
    );
    let _ = explanation.flush();
    let mut out = io::stdout().lock();
    writeln!(out, "{shown}")?;
    out.flush()?;
    Ok(())
}

/// Remembers a member under its name, or under the first unused one.
fn add(network: &NetworkFolder, name: Option<&Name>, member: &Member) -> Result<Name, Failure> {
    if let Some(name) = name {
        return match network.add_member(name, member)? {
            true => Ok(name.clone()),
            false => Err(Failure::failed(format_args!(
                "{name} was invited before: choose another name, or extend the time of {name} with \
                 --renew {name}."
            ))),
        };
    }
    for number in 1..MOST_UNNAMED {
        let name = name::parse(&format!("member-{number}")).map_err(Failure::failed)?;
        if network.add_member(&name, member)? {
            return Ok(name);
        }
    }
    Err(Failure::failed("There are too many members without a name: add --for NAME."))
}

fn renew(
    args: &InviteArgs,
    network: &NetworkFolder,
    authority: &Authority,
    name: &Name,
    expires: SystemTime,
) -> Result<(), Failure> {
    let mut member = network.member(name)?;
    if member.revoked.is_some() {
        return Err(Failure::failed(format_args!(
            "{name} was revoked, and its key stays excluded: invite the member under another name."
        )));
    }
    member.certificate = authority
        .renew(&member.certificate, since_1970(expires))
        .map_err(|error| Failure::failed(format_args!("{name} cannot be renewed: {error}.")))?;
    member.expires = expires;
    let update = Update {
        network: network.name().clone(),
        certificate: Some(der(&member.certificate)?),
        revoked: network.revoked_pem()?.as_deref().map(der).transpose()?,
    };
    let line = update.to_line().map_err(Failure::failed)?;
    network.replace_member(name, &member)?;
    if args.output.json {
        json::write(&json!({
            "event": "renewed",
            "network": network.name(),
            "member": name,
            "fingerprint": member.fingerprint,
            "expires": humantime::format_rfc3339_seconds(expires).to_string(),
            "line": line,
        }))?;
        return Ok(());
    }
    let mut explanation = wrap::stderr();
    let _ = writeln!(
        explanation,
        "A new certificate for {STRONG}{name}{STRONG:#}, valid until {}. It contains no secret. On \
         the machine of {name}: clacks join LINE",
        day(expires)
    );
    let _ = explanation.flush();
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()?;
    Ok(())
}

/// Returns the content of PEM.
pub(super) fn der(pem: &str) -> Result<Vec<u8>, Failure> {
    pem::parse(pem).map(pem::Pem::into_contents).map_err(Failure::failed)
}
