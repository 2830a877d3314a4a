//! The tower. STUB: signatures only.
#![allow(unused_variables, clippy::todo, missing_docs)]
use crate::*;
use bytes::BufMut;
use core::fmt;
use core::net::IpAddr;

#[derive(Debug)]
pub struct Tower {}

/// One message held by a tower.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Held {
    pub key: MessageKey,
    pub nonce: Nonce,
    pub message: Message,
    pub in_flight: Option<PeerId>,
}

/// What a tower knows of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerView<'a> {
    pub id: PeerId,
    pub address: &'a Address,
    pub status: Status,
    pub since: Instant,
    pub fingerprint: Option<Fingerprint>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Accept,
    Replace(Message),
    Swallow,
    Reject,
}

/// Gives the message back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedMessage {
    pub message: Message,
    pub why: EnqueueError,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EnqueueError {
    Full,
    TooLarge { max: usize },
    ShuttingDown,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExpandError {
    OwnAddress,
    Ignored,
    TableFull,
    ShuttingDown,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecideError {
    Gone,
    TooLarge { max: usize },
    Full,
}
impl fmt::Display for EnqueueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("x")
    }
}
impl fmt::Display for ExpandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("x")
    }
}
impl fmt::Display for DecideError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("x")
    }
}
impl core::error::Error for EnqueueError {}
impl core::error::Error for ExpandError {}
impl core::error::Error for DecideError {}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ShutdownProgress {
    Running,
    Draining,
    Done,
}

impl Tower {
    /// A tower that others reach at `address`. Time starts at `Instant::ORIGIN`.
    pub fn new(config: Config, address: Address, seed: &Seed) -> Result<Self, ConfigError> {
        todo!()
    }
    // getters
    pub fn address(&self) -> &Address {
        todo!()
    }
    pub fn config(&self) -> &Config {
        todo!()
    }
    pub fn stats(&self) -> &Stats {
        todo!()
    }
    /// messages held (waiting, in flight or under screening) and the bytes of their bodies
    pub fn held(&self) -> (usize, usize) {
        todo!()
    }
    pub fn links(&self) -> usize {
        todo!()
    }
    /// the queue, head first, then what is in flight
    pub fn peek(&self) -> impl Iterator<Item = Held> + '_ {
        core::iter::empty()
    }
    pub fn survey(&self) -> impl Iterator<Item = PeerView<'_>> + '_ {
        core::iter::empty()
    }
    pub fn peer(&self, peer: PeerId) -> Option<PeerView<'_>> {
        todo!()
    }
    pub fn find(&self, address: &Address) -> Option<PeerView<'_>> {
        todo!()
    }
    pub fn message(&self, key: MessageKey) -> Option<(Nonce, Message)> {
        todo!()
    }
    pub fn offer(&self, offer: OfferId) -> Option<(Nonce, Message)> {
        todo!()
    }
    pub fn report(&self, notice: Notice) -> Option<Report> {
        todo!()
    }
    pub fn shutdown_progress(&self) -> ShutdownProgress {
        todo!()
    }
    // verbs
    pub fn enqueue(&mut self, message: Message, now: Instant) -> Result<Nonce, RefusedMessage> {
        todo!()
    }
    pub fn expand(&mut self, address: &Address, now: Instant) -> Result<PeerId, ExpandError> {
        todo!()
    }
    pub fn announce(&mut self, address: &Address, now: Instant) -> Result<PeerId, ExpandError> {
        todo!()
    }
    pub fn ignore(&mut self, address: &Address, now: Instant) -> Result<PeerId, ExpandError> {
        todo!()
    }
    /// Undoes ignore. The peer becomes new. False if it was not ignored
    pub fn heed(&mut self, address: &Address, now: Instant) -> bool {
        todo!()
    }
    pub fn decide(
        &mut self,
        offer: OfferId,
        verdict: Verdict,
        now: Instant,
    ) -> Result<(), DecideError> {
        todo!()
    }
    /// Drains the queue to peers, then closes all links; `Notice::ShutDown` tells the end.
    pub fn shutdown(&mut self, now: Instant) {
        todo!()
    }

    // for tls::SecureTower only
    /// The identity proved by TLS on this link. Must be told before the link's first plaintext. May close the link (pinned key changed, own key): then `Action::Close` follows.
    #[allow(dead_code)]
    pub(crate) fn identify(&mut self, link: LinkId, identity: Fingerprint) {
        todo!()
    }
    /// TLS refused the other side: closes the link with this reason, flushing the alert.
    #[allow(dead_code)]
    pub(crate) fn fail(&mut self, link: LinkId, why: CloseReason) {
        todo!()
    }
    /// The wrapper has bytes for this link: makes sure that an `Action::Send` is pending.
    #[allow(dead_code)]
    pub(crate) fn request_send(&mut self, link: LinkId) {
        todo!()
    }
    /// Own key
    #[allow(dead_code)]
    pub(crate) fn set_identity(&mut self, own: Fingerprint) {
        todo!()
    }
}

impl StateMachine for Tower {
    fn accept(&mut self, from: IpAddr, now: Instant) -> Result<LinkId, Refusal> {
        todo!()
    }
    fn handle(&mut self, event: Event<'_>, now: Instant) {
        todo!()
    }
    fn transmit(&mut self, link: LinkId, out: &mut impl BufMut) -> usize {
        todo!()
    }
    fn poll_action(&mut self) -> Option<Action> {
        todo!()
    }
    fn next_wakeup(&self) -> Option<Wakeup> {
        todo!()
    }
    fn tower(&self) -> &Tower {
        self
    }
    fn tower_mut(&mut self) -> &mut Tower {
        self
    }
}
