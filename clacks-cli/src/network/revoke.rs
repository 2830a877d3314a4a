//! `clacks revoke`: excludes a member.

use std::io::{self, Write};
use std::time::SystemTime;

use clacks_proto::tls::Authority;
use serde_json::json;

use super::args::RevokeArgs;
use super::folder::NetworkFolder;
use super::invite::der;
use super::line::Update;
use super::since_1970;
use crate::error::Failure;
use crate::output::text::{STRONG, WARN};
use crate::output::{json, wrap};

pub(crate) fn run(args: &RevokeArgs) -> Result<(), Failure> {
    let dir = args.output.dir.as_deref();
    let network = NetworkFolder::chosen(args.network.name.as_ref(), dir)?;
    let _lock = network.lock()?;
    let authority = network.authority()?;
    if let Some(name) = &args.member {
        let mut member = network.member(name)?;
        if *name == network.settings().member {
            return Err(Failure::failed(
                "The founder cannot be revoked: every invitation comes from its key. To end the \
                 network, stop its towers and found another one.",
            ));
        }
        // Again for one that is revoked: the list may be missing after a crash.
        member.revoked = member.revoked.or_else(|| Some(SystemTime::now()));
        network.replace_member(name, &member)?;
    }
    let count = write_list(&network, &authority)?;
    let Some(pem) = network.revoked_pem()?.filter(|_| count > 0) else {
        return Err(Failure::failed("No member is revoked: add the NAME of one."));
    };
    let update =
        Update { network: network.name().clone(), certificate: None, revoked: Some(der(&pem)?) };
    let line = update.to_line().map_err(Failure::failed)?;
    if args.output.json {
        json::write(&json!({
            "event": "revoked",
            "network": network.name(),
            "member": args.member,
            "revoked": count,
            "line": line,
        }))?;
        return Ok(());
    }
    let mut explanation = wrap::stderr();
    if let Some(name) = &args.member {
        let _ = writeln!(explanation, "{STRONG}{name}{STRONG:#} is revoked on this machine.");
    }
    let _ = writeln!(
        explanation,
        "Reload the tower of this machine (SIGHUP), or start it again. Send this line to every \
         other member: clacks join LINE, and then the same there. It contains no secret. {WARN}A tower that does not have \
         the line still accepts the revoked member,{WARN:#} and passes messages to it."
    );
    let _ = explanation.flush();
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()?;
    Ok(())
}

/// Writes the list of all revoked members, and returns their number.
fn write_list(network: &NetworkFolder, authority: &Authority) -> Result<usize, Failure> {
    let members = network.members()?;
    let revoked: Vec<_> = members
        .iter()
        .filter_map(|(_, member)| Some((member.fingerprint, since_1970(member.revoked?))))
        .collect();
    let count = revoked.len();
    if count > 0 {
        let pem = authority.revoke(revoked).map_err(Failure::failed)?;
        network.replace_revoked(&pem)?;
    }
    Ok(count)
}
