//! Runs a Clacks tower on [`smol`].
//!
//! The protocol is a state machine in [`clacks_proto`], without sockets, clock or threads. This
//! crate moves bytes between connections and a [`StateMachine`], fires one timer and looks up
//! names. It contains no rule of the protocol: it has no timeouts and no retries. A tower therefore
//! behaves the same on every runtime.
//!
//! Read these two types first: [`Driver`], whose future runs one tower, and [`Handle`], the
//! application's interface to the tower.
//!
//! # Two towers that pass a message
//!
//! ```
//! use clacks_proto::tls::{Identity, SecureTower, Trust};
//! use clacks_smol::{Address, Config, Driver, Handle, Message, Notice, Seed, SendRate, Tower};
//! use std::net::TcpListener;
//!
//! # type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;
//! fn start() -> Result<Handle<SecureTower>> {
//!     let listener = TcpListener::bind("127.0.0.1:0")?;
//!     let mut config = Config::default();
//!     config.send_rate = SendRate::per_second(100);
//!     let address = Address::try_from(listener.local_addr()?)?;
//!     let tower = Tower::new(config, address, &Seed::generate())?;
//!     let tower = SecureTower::new(tower, &Identity::generate()?, Trust::Open)?;
//!     let (handle, driver) = Driver::new(tower, listener)?;
//!     smol::spawn(driver.run()).detach();
//!     Ok(handle)
//! }
//!
//! # fn main() -> Result<()> {
//! let (lipwig, princess) = (start()?, start()?);
//! let mut notices = princess.notices();
//! lipwig.expand(princess.address())?;
//! smol::block_on(async {
//!     let delivery = lipwig.deliver(Message::text("Hello Discworld!"))?.await;
//!     assert_eq!(delivery.unwrap().to.as_ref(), Some(princess.address()));
//!     while let Some(notice) = notices.recv().await {
//!         if let Notice::MessageReceived { message, .. } = notice {
//!             assert_eq!(message.as_text(), Some("Hello Discworld!"));
//!             break;
//!         }
//!     }
//!     Ok(())
//! })
//! # }
//! ```
//!
//! A [`Tower`] without [`SecureTower`](clacks_proto::tls::SecureTower) does not use TLS. Run it
//! only in tests and in trusted networks.
//!
//! # Costs
//!
//! [`Config::max_memory`] limits the memory of the tower itself. The driver needs in addition:
//!
//! | item | cost |
//! |---|---|
//! | an open connection without work | 1 KiB (measured without TLS), and the kernel's socket |
//! | a connection whose peer does not read | 64 KiB in addition |
//! | buffers for reading and writing | 2 × 64 KiB for each tower |
//! | unread notices of a reader | [`NOTICES_CAPACITY`], and [`NOTICES_BYTES`] of message bodies |
//! | name look-ups | one thread for each look-up in progress, at most 16 for each tower |
//!
//! All tasks of a tower run inside the future of [`Driver::run`], so a tower uses at most one core.
//! Towers in one process share only the reactor of [`smol`].
//!
//! # Features
//!
//! No feature is enabled by default. `tls` enables the feature `tls` of [`clacks_proto`], and
//! re-exports its module `tls`.

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
    Address, Config, Message, Notice, Peer, Seed, SendRate, ShutdownProgress, StateMachine, Stats,
    Status, Tower, Verdict,
};
pub use driver::Driver;

/// Compiles the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
