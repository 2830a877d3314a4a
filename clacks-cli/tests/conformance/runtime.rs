//! What a runtime must be able to do to be tested here.

use std::net::TcpListener;
use std::time::Duration;

use clacks_proto::tls::SecureTower;
use clacks_proto::{
    Address, ExpandError, Held, Message, Nonce, Peer, RefusedMessage, Report, Stats, Tower, Verdict,
};

/// Starts towers.
pub(crate) trait Runtime: Sync {
    /// Lets a machine run on a listening socket. The reports begin before it does, so that none goes by unheard.
    fn start(
        &self,
        machine: Machine,
        listener: TcpListener,
        screen: Option<Screen>,
    ) -> Box<dyn Running>;
}

/// What there is to drive.
pub(crate) enum Machine {
    /// A tower in clear text.
    Clear(Box<Tower>),
    /// A tower behind TLS.
    Secure(Box<SecureTower>),
}

/// Looks at messages before they are queued.
pub(crate) type Screen = Box<dyn FnMut(&Message, Option<&Address>) -> Verdict + Send>;

/// A tower that runs: its application's handle. None of the verbs waits for more than a lock.
pub(crate) trait Running: Send {
    fn enqueue(&self, message: Message) -> Result<Nonce, RefusedMessage>;
    fn peek(&self) -> Vec<Held>;
    fn survey(&self) -> Vec<Peer>;
    fn expand(&self, address: &Address) -> Result<(), ExpandError>;
    fn announce(&self, address: &Address) -> Result<(), ExpandError>;
    fn ignore(&self, address: &Address) -> Result<(), ExpandError>;
    fn heed(&self, address: &Address) -> bool;
    fn stats(&self) -> Stats;
    fn held(&self) -> (usize, usize);

    /// The next report; `None` when there was none within that time, or the tower is gone.
    fn next_report(&mut self, within: Duration) -> Option<Report>;

    /// Shuts the tower down and waits for its end. How many messages no peer took.
    fn shut_down(&mut self) -> usize;

    /// Sudden death: nobody is told. Its sockets are closed when this returns.
    fn kill(self: Box<Self>);
}
