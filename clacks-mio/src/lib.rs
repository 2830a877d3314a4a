//! Runs a Clacks tower on bare [`mio`]: one thread, no async runtime.

mod dial;
mod links;
mod reactor;
mod resolver;

pub use clacks_proto;
#[doc(no_inline)]
pub use clacks_proto::driver::{
    Delivery, Handle, NOTICES_BYTES, NOTICES_CAPACITY, Notices, RecvTimeoutError, TryRecvError,
    Wait,
};
#[cfg(feature = "tls")]
#[doc(no_inline)]
pub use clacks_proto::tls;
#[doc(no_inline)]
pub use clacks_proto::{
    Address, Config, Message, Notice, Peer, Seed, SendRate, ShutdownProgress, StateMachine, Status,
    Tower, Verdict,
};
pub use reactor::Reactor;
