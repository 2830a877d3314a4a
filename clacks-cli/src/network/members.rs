//! `clacks members`: the members with their state.

use std::io::Write;
use std::time::SystemTime;

use anstyle::Style;
use serde::Serialize;
use serde_json::json;

use super::args::MembersArgs;
use super::day;
use super::expiry::days_left;
use super::folder::{Member, NetworkFolder};
use super::quoted;
use crate::error::Failure;
use crate::output::text::{BAD, GOOD, QUIET, STRONG, WARN};
use crate::output::{json, wrap};

/// Whether a member is accepted by the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    /// The certificate is valid.
    Valid,
    /// The certificate has expired.
    Expired,
    /// The founder has revoked the member.
    Revoked,
}

impl Status {
    fn of(member: &Member, now: SystemTime) -> Self {
        match member.revoked {
            Some(_) => Self::Revoked,
            None if member.expires <= now => Self::Expired,
            None => Self::Valid,
        }
    }

    fn word(self) -> (&'static str, Style) {
        match self {
            Self::Valid => ("valid", GOOD),
            Self::Expired => ("expired", WARN),
            Self::Revoked => ("revoked", BAD),
        }
    }
}

pub(crate) fn run(args: &MembersArgs) -> Result<(), Failure> {
    let dir = args.output.dir.as_deref();
    let network = NetworkFolder::chosen(args.network.name.as_ref(), dir)?;
    let name = network.name();
    if !network.is_founder() {
        return Err(Failure::failed(format_args!(
            "The founder of the network {name} has the list of its members. This machine is in it \
             as {}.",
            network.settings().member
        )));
    }
    let (members, now) = (network.members()?, SystemTime::now());
    if args.output.json {
        let time = |time| humantime::format_rfc3339_seconds(time).to_string();
        let members = members.iter().map(|(name, member)| {
            json!({
                "name": name,
                "status": Status::of(member, now),
                "fingerprint": member.fingerprint,
                "invited": time(member.invited),
                "expires": time(member.expires),
                "revoked": member.revoked.map(time),
            })
        });
        let members: Vec<_> = members.collect();
        json::write(&json!({"event": "members", "network": name, "members": members}))?;
        return Ok(());
    }
    let mut out = wrap::stdout();
    writeln!(out, "{STRONG}{name}{STRONG:#} has {} members", members.len())?;
    let width = members.iter().map(|(name, _)| name.as_str().chars().count()).max().unwrap_or(0);
    let mut ending = Vec::new();
    for (name, member) in &members {
        let (word, style) = Status::of(member, now).word();
        let until = match member.revoked {
            Some(revoked) => format!("on    {}", day(revoked)),
            None => match days_left(member.expires, now) {
                Some(days) => {
                    ending.push(name.as_str());
                    format!("until {} {WARN}({days} days left){WARN:#}", day(member.expires))
                }
                None => format!("until {}", day(member.expires)),
            },
        };
        let key = member.fingerprint.to_string();
        let key = key.get(..16).unwrap_or_default();
        writeln!(
            out,
            "  {:<width$}  {style}{word:<7}{style:#}  {until}  {QUIET}{key}{QUIET:#}",
            name.as_str()
        )?;
    }
    for name in ending {
        writeln!(out, "Extend the time of {name}: clacks invite --renew {}", quoted(name))?;
    }
    out.flush()?;
    Ok(())
}
