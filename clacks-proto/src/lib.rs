//! Clacks.
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

mod actions;
mod address;
mod config;
mod deadlines;
mod event;
mod link;
mod machine;
mod message;
mod pacer;
mod peers;
mod queue;
mod seed;
pub mod selector;
mod stats;
mod time;
#[cfg(feature = "tls")]
pub mod tls;
mod tower;
pub mod wire;

pub use address::{Address, AddressError, Host, MAX_NAME, Name};
pub use config::{
    Allowance, Config, ConfigError, DefaultVerdict, Odds, Screening, SendRate, Timeouts, Window,
};
pub use event::{
    Action, CloseMode, CloseReason, Event, Fingerprint, IoCause, LinkId, MessageKey, Notice,
    OfferId, Origin, PeerId, ProtocolError, Refusal, Report, Status, TlsFailure, Wakeup,
    WakeupReason,
};
pub use machine::StateMachine;
pub use message::{Kind, Message, Nonce};
pub use seed::Seed;
pub use stats::Stats;
pub use time::Instant;
pub use tower::{
    DecideError, EnqueueError, ExpandError, Held, PeerView, RefusedMessage, ShutdownProgress,
    Tower, Verdict,
};
