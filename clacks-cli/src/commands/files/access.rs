//! Which tower is asked first, and as a member of which network.

use clacks_proto::{Address, Host};
use clacks_store::FirstHop;

use super::first_hop;
use crate::args::{AccessArgs, TrustArgs};
use crate::control::socket::client::running_towers;
use crate::error::Failure;
use crate::network::membership::{self, OPEN};
use crate::output::wrap;

/// The tower that is asked if there is no other one.
const DEFAULT: &str = "127.0.0.1:8001";

/// How a network is reached.
pub(super) struct Access {
    /// The towers in the order in which they are asked.
    pub(super) first: Vec<Address>,
    /// The key that gives other first towers their order.
    pub(super) order: [u8; 16],
    /// The identity and the network, with those of a membership.
    pub(super) trust: TrustArgs,
    pub(super) is_direct: bool,
    origin: Origin,
}

/// Where the first tower comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// `--tower`.
    Given,
    /// It runs here.
    Local,
    /// The invitation into a private network.
    Invitation,
    /// There is no other one.
    Default,
}

impl Access {
    /// Finds the tower that is asked first: one that the options name, one that runs here, the
    /// first towers of a private network, or the default one.
    pub(super) fn find(args: &AccessArgs) -> Result<Self, Failure> {
        let (mut trust, members) = membership::of_guest(&args.network.trust())?;
        let (mut first, origin) = if !args.tower.is_empty() {
            (args.tower.clone(), Origin::Given)
        } else if let Some((towers, network)) = local_towers(&trust, args.network.is_chosen())? {
            trust = network;
            (towers, Origin::Local)
        } else if !members.is_empty() {
            (members, Origin::Invitation)
        } else {
            (DEFAULT.parse().into_iter().collect(), Origin::Default)
        };
        let order = first_hop::sort(&mut first, &trust.network)?;
        let access = Self { first, order, trust, is_direct: args.direct, origin };
        access.warn();
        Ok(access)
    }

    /// Writes a note if another machine learns that this one asks.
    fn warn(&self) {
        if self.is_direct {
            wrap::note(
                "With --direct, each tower that is asked learns the address of this machine.",
            );
            return;
        }
        if let (Some(tower), Origin::Given | Origin::Invitation) = (self.first.first(), self.origin)
            && !is_loopback(tower)
        {
            wrap::note(format_args!(
                "{tower} can be certain that this machine asks. A tower of your own on this machine \
                 hides it."
            ));
        }
    }

    /// Returns the failure if no tower answers.
    pub(super) fn unreachable(&self) -> Failure {
        let towers: Vec<_> = self.first.iter().map(ToString::to_string).collect();
        let towers = towers.join(" or ");
        Failure::failed(match self.origin {
            Origin::Default => format!(
                "No tower answers at {DEFAULT}: start one with `clacks tower --listen {DEFAULT}`, or \
                 name another one with --tower HOST:PORT."
            ),
            _ => format!("No tower answers at {towers}: `{}` shows why.", self.ping()),
        })
    }

    /// Returns the command that checks the first tower in the same network.
    fn ping(&self) -> String {
        let mut command = format!("clacks ping {}", self.first());
        if self.trust.network != OPEN {
            command = format!("{command} --network {}", self.trust.network);
        }
        if self.trust.clear {
            command.push_str(" --clear");
        }
        command
    }

    /// Returns the failure if the first tower passes no requests on.
    pub(super) fn no_relay(&self) -> Failure {
        Failure::Refused(format!(
            "{} passes no requests of others on, or no tower that it knows does: name another tower \
             with --tower HOST:PORT, or add --direct, which shows this machine to all towers that \
             are asked.",
            self.first()
        ))
    }

    /// Returns the failure if only the first tower says that a file is gone.
    pub(super) fn not_confirmed(&self, seen: u32, needed: u32) -> Failure {
        Failure::failed(format_args!(
            "Only {} says that the file is gone ({seen} of {needed} needed pieces were found), and no \
             other tower could be asked: name another tower with --tower HOST:PORT.",
            self.first()
        ))
    }

    /// Returns whose tower the first one is. One on this machine is that of its user.
    pub(super) fn first_hop(&self) -> FirstHop {
        let is_here = self.first.first().is_some_and(is_loopback);
        let is_own = is_here || matches!(self.origin, Origin::Local | Origin::Default);
        if is_own { FirstHop::Own } else { FirstHop::Foreign }
    }

    /// Returns the failure if no tower has a store.
    pub(super) fn no_store(&self) -> Failure {
        Failure::Refused(format!(
            "{} knows no tower with a store: start towers without --no-store, or name another \
             tower with --tower HOST:PORT.",
            self.first()
        ))
    }

    /// Returns the tower that is asked first, as text.
    fn first(&self) -> String {
        self.first.first().map(ToString::to_string).unwrap_or_default()
    }
}

/// Returns the addresses of the towers that run here, and how their network is reached. `None` if
/// no tower of the chosen network runs here.
fn local_towers(
    trust: &TrustArgs,
    is_chosen: bool,
) -> Result<Option<(Vec<Address>, TrustArgs)>, Failure> {
    let mut towers = running_towers();
    if is_chosen {
        towers.retain(|tower| tower.network == trust.network);
    }
    let Some(first) = towers.first() else { return Ok(None) };
    let (network, is_clear) = (first.network.clone(), first.fingerprint.is_none());
    let is_same =
        towers.iter().all(|it| it.network == network && it.fingerprint.is_none() == is_clear);
    if !is_same {
        let addresses: Vec<_> = towers.iter().map(|it| it.dialled.to_string()).collect();
        return Err(Failure::usage(format_args!(
            "Towers of several networks run here: choose one with --tower {}.",
            addresses.join(" or --tower ")
        )));
    }
    let mut trust = trust.clone();
    if !is_chosen {
        trust.network = network;
        trust.clear = is_clear;
        trust = membership::of_guest(&trust)?.0;
    }
    Ok(Some((towers.into_iter().map(|tower| tower.dialled).collect(), trust)))
}

fn is_loopback(tower: &Address) -> bool {
    match tower.host() {
        Host::Ip(ip) => ip.to_canonical().is_loopback(),
        Host::Name(name) => name.as_str() == "localhost",
    }
}
