//! The nodes of a network: what a program makes for a tower, and what roles make of it.

use std::net::IpAddr;
use std::sync::Arc;

use clacks_proto::{
    Action, Address, Config, Event, Instant, LinkId, Refusal, Seed, StateMachine, Tower,
};
use clacks_store::Store;

use crate::files::ClientNode;
use crate::observation::TowerId;
use crate::roles::{RawNode, RoleNode, RoleStore};
use crate::scenario::RoleKind;

/// What is known of a node that must be made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NewNode {
    /// The number of the tower.
    pub tower: TowerId,
    /// The configuration of the tower, shared by all towers that have the same one.
    pub config: Arc<Config>,
    /// The address of the tower.
    pub address: Address,
    /// The seed of the tower. It differs in each life of the tower.
    pub seed: Seed,
    /// The role of the tower. The simulator makes the node behave so: nothing has to be done.
    pub role: Option<RoleKind>,
}

/// Makes the node of a tower. `None` keeps the tower down.
pub(crate) type Maker<M> = Box<dyn FnMut(NewNode) -> Option<M> + Send>;

/// What runs at the address of a tower.
#[derive(Debug)]
pub(crate) enum Machine<M> {
    /// A node that behaves as its program says.
    Node(M),
    /// A node whose behaviour a role changes.
    Role(Box<RoleNode<M>>),
    /// A role that is no tower.
    Raw(Box<RawNode>),
    /// A tower with a store.
    Store(Box<Store<Tower>>),
    /// A tower with a store whose behaviour a role changes.
    RoleStore(Box<RoleStore>),
    /// A client of stores.
    Client(Box<ClientNode>),
}

impl<M: StateMachine> Machine<M> {
    /// Accepts a connection from an address to the address with the number `ip`.
    pub(crate) fn accept(
        &mut self,
        from: IpAddr,
        ip: u32,
        now: Instant,
    ) -> Result<LinkId, Refusal> {
        match self {
            Self::Node(node) => node.accept(from, now),
            Self::Role(node) => node.accept(from, now),
            Self::Store(node) => node.accept(from, now),
            Self::RoleStore(node) => node.accept(from, now),
            Self::Client(node) => node.accept(from, now),
            Self::Raw(node) => Ok(node.accept(ip, now)),
        }
    }

    /// Returns whether connections to the address with the number `ip` are accepted.
    pub(crate) fn listens_at(&self, ip: u32) -> bool {
        match self {
            Self::Raw(node) => node.listens_at(ip),
            _ => true,
        }
    }

    /// Returns the number of the address under which a link was dialled.
    pub(crate) fn ip(&self, link: LinkId, own: u32) -> u32 {
        match self {
            Self::Raw(node) => node.ip(link).unwrap_or(own),
            _ => own,
        }
    }

    pub(crate) fn handle(&mut self, event: Event<'_>, now: Instant) {
        match self {
            Self::Node(node) => node.handle(event, now),
            Self::Role(node) => node.handle(event, now),
            Self::Store(node) => node.handle(event, now),
            Self::RoleStore(node) => node.handle(event, now),
            Self::Client(node) => node.handle(event, now),
            Self::Raw(node) => node.handle(event, now),
        }
    }

    pub(crate) fn transmit(&mut self, link: LinkId, out: &mut Vec<u8>) -> usize {
        match self {
            Self::Node(node) => node.transmit(link, out),
            Self::Role(node) => node.transmit(link, out),
            Self::Store(node) => node.transmit(link, out),
            Self::RoleStore(node) => node.transmit(link, out),
            Self::Client(node) => node.transmit(link, out),
            Self::Raw(node) => node.transmit(link, out),
        }
    }

    pub(crate) fn poll_action(&mut self) -> Option<Action> {
        match self {
            Self::Node(node) => node.poll_action(),
            Self::Role(node) => node.poll_action(),
            Self::Store(node) => node.poll_action(),
            Self::RoleStore(node) => node.poll_action(),
            Self::Client(node) => node.poll_action(),
            Self::Raw(node) => node.poll_action(),
        }
    }

    pub(crate) fn next_wakeup(&self) -> Option<Instant> {
        match self {
            Self::Node(node) => node.next_wakeup().map(|wakeup| wakeup.at),
            Self::Role(node) => node.next_wakeup().map(|wakeup| wakeup.at),
            Self::Store(node) => node.next_wakeup().map(|wakeup| wakeup.at),
            Self::RoleStore(node) => node.next_wakeup().map(|wakeup| wakeup.at),
            Self::Client(node) => node.next_wakeup().map(|wakeup| wakeup.at),
            Self::Raw(node) => node.next_wakeup(),
        }
    }

    /// Returns the node that the program made; `None` for stores, clients, and roles that are no
    /// tower.
    pub(crate) fn node(&self) -> Option<&M> {
        match self {
            Self::Node(node) => Some(node),
            Self::Role(node) => Some(node.inner()),
            Self::Raw(_) | Self::Store(_) | Self::RoleStore(_) | Self::Client(_) => None,
        }
    }

    pub(crate) fn node_mut(&mut self) -> Option<&mut M> {
        match self {
            Self::Node(node) => Some(node),
            Self::Role(node) => Some(node.inner_mut()),
            Self::Raw(_) | Self::Store(_) | Self::RoleStore(_) | Self::Client(_) => None,
        }
    }

    pub(crate) fn tower(&self) -> Option<&Tower> {
        match self {
            Self::Node(node) => Some(node.tower()),
            Self::Role(node) => Some(node.tower()),
            Self::Store(node) => Some(node.tower()),
            Self::RoleStore(node) => Some(node.tower()),
            Self::Client(node) => Some(node.tower()),
            Self::Raw(_) => None,
        }
    }

    pub(crate) fn tower_mut(&mut self) -> Option<&mut Tower> {
        match self {
            Self::Node(node) => Some(node.tower_mut()),
            Self::Role(node) => Some(node.tower_mut()),
            Self::Store(node) => Some(node.tower_mut()),
            Self::RoleStore(node) => Some(node.tower_mut()),
            Self::Client(node) => Some(node.tower_mut()),
            Self::Raw(_) => None,
        }
    }
}
