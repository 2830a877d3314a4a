//! Private networks by invitation: `network`, `invite`, `join`, `members` and `revoke`.
//!
//! The founder's machine has the key of the network ([`Authority`](clacks_proto::tls::Authority)).
//! An invitation is one [`mod@line`] with the root certificate, the address of the founder's tower,
//! and the key and certificate of the new member. `join` writes them into a [`folder`], and `clacks
//! tower --network NAME` reads them from there ([`membership`]). An update is a line with a list of
//! revoked members, or a renewed certificate.
//!
//! The alternative to a key in the invitation is a request: the new member makes the key, and the
//! founder signs it. This needs two lines instead of one, in both directions. An intercepted
//! invitation lets another machine join, and `revoke` excludes that machine.

pub(crate) mod args;
pub(crate) mod expiry;
mod folder;
mod invite;
mod join;
mod line;
mod members;
pub(crate) mod membership;
mod name;
mod new;
pub(crate) mod renewal;
mod revoke;

use std::time::{Duration, SystemTime};

pub(crate) use invite::run as invite;
pub(crate) use join::run as join;
pub(crate) use members::run as members;
pub(crate) use revoke::run as revoke;

use crate::error::Failure;
use args::{NetworkArgs, NetworkVerb};

/// Runs `clacks network`.
pub(crate) fn network(args: &NetworkArgs) -> Result<(), Failure> {
    match &args.verb {
        NetworkVerb::New(args) => new::run(args),
    }
}

/// Returns the time since the start of 1970.
fn since_1970(time: SystemTime) -> Duration {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// Returns the day of a time, as in 2030-01-31.
fn day(time: SystemTime) -> String {
    let text = humantime::format_rfc3339_seconds(time).to_string();
    text.get(..10).unwrap_or_default().to_owned()
}

/// Returns a word as a shell reads it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:".contains(c);
    if word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}
