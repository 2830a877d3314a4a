//! Runs a Clacks tower on [`smol`].

mod dial;
mod driver;
mod link;
mod signal;

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
pub use driver::Driver;
