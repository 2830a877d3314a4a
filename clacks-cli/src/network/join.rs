//! `clacks join`: takes part in a network, or applies an update.

use std::io::{self, BufRead, IsTerminal, Read, Write};

use clacks_proto::tls::{Identity, Revocations, TlsError};
use serde_json::json;

use super::args::JoinArgs;
use super::folder::{self, NetworkFolder, NewNetwork, Settings};
use super::line::{Invitation, LONGEST, Line, Update};
use super::membership::start_command;
use crate::error::Failure;
use crate::output::text::{GOOD, QUIET, STRONG};
use crate::output::{json, wrap};

/// The most addresses of an invitation.
const MOST_ADDRESSES: usize = 64;

pub(crate) fn run(args: &JoinArgs) -> Result<(), Failure> {
    let text = if args.line == "-" { read_line()? } else { args.line.clone() };
    match Line::parse(&text).map_err(Failure::failed)? {
        Line::Invitation(invitation) => join(args, &invitation),
        Line::Update(update) => apply(args, &update),
    }
}

/// Reads one line of a terminal, or all of another standard input.
fn read_line() -> Result<String, Failure> {
    let (mut text, mut input) = (String::new(), io::stdin().lock().take(LONGEST as u64 * 2));
    let read = if io::stdin().is_terminal() {
        input.read_line(&mut text)
    } else {
        input.read_to_string(&mut text)
    };
    read.map_err(|error| {
        Failure::failed(format_args!("Standard input cannot be read ({error})."))
    })?;
    Ok(text)
}

fn join(args: &JoinArgs, invitation: &Invitation) -> Result<(), Failure> {
    let Invitation { network: name, member, addresses, .. } = invitation;
    if addresses.len() > MOST_ADDRESSES {
        return Err(Failure::failed("This invitation has too many addresses: ask for another."));
    }
    let key_pem = pem("PRIVATE KEY", &invitation.key);
    let cert_pem = pem("CERTIFICATE", &invitation.certificate);
    let roots_pem = pem("CERTIFICATE", &invitation.root);
    let revoked_pem = invitation.revoked.as_ref().map(|list| pem("X509 CRL", list));
    let identity = Identity::from_pem(key_pem.as_bytes(), cert_pem.as_bytes())
        .and_then(|identity| {
            folder::trust(&roots_pem, revoked_pem.as_deref())?.check(&identity)?;
            Ok(identity)
        })
        .map_err(|error| Failure::failed(refused(error)))?;
    let dir = folder::new_folder(name, args.output.dir.as_deref())?;
    let new = NewNetwork {
        settings: Settings {
            network: name.clone(),
            member: member.clone(),
            addresses: addresses.clone(),
        },
        key_pem: &key_pem,
        cert_pem: &cert_pem,
        roots_pem: &roots_pem,
        revoked_pem: revoked_pem.as_deref(),
        authority_pem: None,
    };
    let network = NetworkFolder::create(&dir, &new)?;
    let start = start_command(&network, args.output.dir.as_deref());
    if args.output.json {
        json::write(&json!({
            "event": "joined",
            "network": name,
            "member": member,
            "folder": network.path(),
            "fingerprint": identity.fingerprint(),
            "addresses": addresses,
            "start": start,
        }))?;
        return Ok(());
    }
    let mut out = wrap::stdout();
    writeln!(out, "{GOOD}joined{GOOD:#} the private network {STRONG}{name}{STRONG:#} as {member}")?;
    writeln!(out, "folder       {} (the key in it is a secret)", network.path().display())?;
    writeln!(out, "fingerprint  {}", identity.fingerprint())?;
    for address in addresses {
        writeln!(out, "first tower  {address}")?;
    }
    writeln!(
        out,
        "{QUIET}Nothing was started. This command starts the tower; replace the address by one at \
         which the others reach this machine:{QUIET:#}"
    )?;
    out.write_unbroken(format_args!("  {start}"))?;
    out.flush()?;
    Ok(())
}

fn refused(error: TlsError) -> String {
    match error {
        TlsError::OwnExpired => "This invitation has expired: ask the founder for a new one, and \
                                 check the clock of this machine."
            .to_owned(),
        TlsError::OwnNotYetValid => {
            "This invitation is not valid yet: check the clock of this machine.".to_owned()
        }
        TlsError::OwnRevoked => {
            "This invitation was revoked: ask the founder for a new one.".to_owned()
        }
        error => format!("The parts of this invitation do not fit together ({error})."),
    }
}

fn apply(args: &JoinArgs, update: &Update) -> Result<(), Failure> {
    let name = &update.network;
    let network = NetworkFolder::named(name, args.output.dir.as_deref())?.ok_or_else(|| {
        Failure::failed(format_args!(
            "This line is an update for members of the network {name}, and this machine is none: \
             ask the founder for an invitation."
        ))
    })?;
    let _lock = network.lock()?;
    let foreign = || {
        Failure::failed(format_args!(
            "This update is of another network that is called {name} as well: nothing was changed."
        ))
    };
    let own = network.identity()?;
    let revoked_pem = update.revoked.as_ref().map(|list| pem("X509 CRL", list));
    let (revoked_pem, count) = match revoked_pem {
        Some(new) => newer(&network, new)?,
        None => (None, None),
    };
    let applied = revoked_pem.clone().map_or_else(|| network.revoked_pem(), |pem| Ok(Some(pem)))?;
    let trust = folder::trust(&network.roots_pem()?, applied.as_deref()).map_err(|_| foreign())?;
    // The signature of a list is verified with a certificate.
    if let Err(TlsError::ForeignRevocations) = trust.check(&own) {
        return Err(foreign());
    }
    let cert_pem = update.certificate.as_ref().map(|certificate| pem("CERTIFICATE", certificate));
    if let Some(cert_pem) = &cert_pem {
        let renewed =
            Identity::from_pem(own.key_pem().as_bytes(), cert_pem.as_bytes()).map_err(|_| {
                Failure::failed(
                    "This certificate is for another member: apply the line on the machine of \
                     that member. Nothing was changed.",
                )
            })?;
        trust.check(&renewed).map_err(|error| match error {
            TlsError::OwnNotFromRoots => foreign(),
            error => Failure::failed(refused(error)),
        })?;
    }
    if let Some(pem) = &revoked_pem {
        network.replace_revoked(pem)?;
    }
    if let Some(pem) = &cert_pem {
        network.replace_certificate(pem)?;
    }
    report(args, &network, revoked_pem.and(count), cert_pem.is_some(), trust.check(&own))
}

/// Returns a list if it says more than the one on this machine, and its length.
fn newer(network: &NetworkFolder, new: String) -> Result<(Option<String>, Option<usize>), Failure> {
    let damaged =
        |error: TlsError| Failure::failed(format_args!("The update is damaged: {error}."));
    let list = Revocations::from_pem(new.as_bytes()).map_err(damaged)?;
    let Some(old) = network.revoked_pem()? else { return Ok((Some(new), Some(list.count()))) };
    let old = Revocations::from_pem(old.as_bytes()).map_err(|error| {
        Failure::failed(format_args!(
            "The list in {} is damaged: {error}.",
            network.path().display()
        ))
    })?;
    if !list.contains_all(&old) {
        return Err(Failure::failed(
            "This update is older than the list of revoked members on this machine, or of another \
             network: nothing was changed.",
        ));
    }
    if old.contains_all(&list) {
        return Ok((None, None));
    }
    Ok((Some(new), Some(list.count())))
}

fn report(
    args: &JoinArgs,
    network: &NetworkFolder,
    revoked: Option<usize>,
    is_renewed: bool,
    own: Result<(), TlsError>,
) -> Result<(), Failure> {
    let is_revoked = own == Err(TlsError::OwnRevoked);
    if args.output.json {
        json::write(&json!({
            "event": "updated",
            "network": network.name(),
            "revoked": revoked,
            "renewed": is_renewed,
            "own_membership_revoked": is_revoked,
        }))?;
        return Ok(());
    }
    let mut out = wrap::stdout();
    let name = network.name();
    match revoked {
        Some(1) => writeln!(out, "{GOOD}updated{GOOD:#} {name}: 1 member is revoked")?,
        Some(count) => writeln!(out, "{GOOD}updated{GOOD:#} {name}: {count} members are revoked")?,
        None => {}
    }
    if is_renewed {
        writeln!(out, "{GOOD}renewed{GOOD:#} the certificate of this machine in {name}")?;
    }
    if is_revoked {
        writeln!(out, "This machine itself is revoked: the others refuse it.")?;
    }
    if revoked.is_none() && !is_renewed {
        writeln!(out, "{name} had this update already.")?;
    } else {
        writeln!(
            out,
            "{QUIET}A running tower applies it when it is reloaded (SIGHUP) or started \
             again.{QUIET:#}"
        )?;
    }
    out.flush()?;
    Ok(())
}

fn pem(label: &str, der: &[u8]) -> String {
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new(label, der), config)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use clacks_proto::tls::Authority;

    use super::super::args::OutputArgs;
    use super::super::invite::der;
    use super::*;

    /// Joins with a certificate that is valid until some time, and returns the sentence of the
    /// refusal.
    fn refusal(expires: SystemTime, change: impl FnOnce(&mut Invitation)) -> Option<String> {
        let authority = Authority::generate().unwrap();
        let identity = authority.issue(super::super::since_1970(expires)).unwrap();
        let name = |text: &str| text.to_owned().try_into().unwrap();
        let mut invitation = Invitation {
            network: name("home"),
            member: name("bob"),
            addresses: vec!["127.0.0.1:8001".parse().unwrap()],
            root: der(authority.cert_pem()).unwrap(),
            certificate: der(identity.cert_pem()).unwrap(),
            key: der(identity.key_pem()).unwrap(),
            revoked: None,
        };
        change(&mut invitation);
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("home");
        let output = OutputArgs { dir: Some(dir.clone()), json: true };
        let args = JoinArgs { line: invitation.to_line().unwrap(), output };
        let failure = run(&args).err()?;
        assert!(!dir.exists(), "something was written");
        failure.sentence().map(str::to_owned)
    }

    fn in_an_hour() -> SystemTime {
        SystemTime::now() + Duration::from_secs(3_600)
    }

    #[test]
    fn an_expired_invitation_is_refused() {
        assert_eq!(refusal(in_an_hour(), |_| ()), None);
        let ago = SystemTime::now() - Duration::from_secs(2);
        let sentence = refusal(ago, |_| ()).unwrap();
        assert!(sentence.contains("has expired: ask the founder"), "{sentence}");
    }

    #[test]
    fn an_invitation_whose_parts_do_not_fit_is_refused() {
        let other = Authority::generate().unwrap();
        let stranger = other.issue(Duration::MAX).unwrap();
        let list = other.revoke([]).unwrap();
        let changes: [&dyn Fn(&mut Invitation); 6] = [
            &|it| it.root = der(other.cert_pem()).unwrap(),
            &|it| it.key = der(stranger.key_pem()).unwrap(),
            &|it| it.certificate = der(stranger.cert_pem()).unwrap(),
            &|it| it.revoked = Some(der(&list).unwrap()),
            &|it| it.key.clear(),
            &|it| it.root.truncate(100),
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let sentence = refusal(in_an_hour(), change).unwrap();
            assert!(sentence.contains("do not fit together"), "{number}: {sentence}");
        }
        let address = "127.0.0.1:1".parse::<clacks_proto::Address>().unwrap();
        let many = |it: &mut Invitation| it.addresses = vec![address; 65];
        assert!(refusal(in_an_hour(), many).unwrap().contains("too many addresses"));
    }
}
