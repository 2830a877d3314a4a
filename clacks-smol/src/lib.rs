//! Runs a Clacks tower on [`smol`] and [`async_io`].
//!
//! The protocol lives in [`clacks_proto`], which has no socket, no clock and no thread. This crate lends it all three:
//! it moves bytes between connections and a [`StateMachine`], fires one timer, resolves names, and carries the
//! application's commands across. It decides nothing: no rule of the protocol, no time-out and no retry is found here, so
//! that a tower behaves the same on every runtime.
//!
//! The two types to read first: [`Driver`], a future that runs one tower, and [`Handle`], the application's way to it.
//!
//! # Two towers that pass a message
//!
//! ```
//! use clacks_proto::{Address, Config, Message, Report, Seed, SendRate, Tower};
//! use clacks_smol::{Driver, Handle};
//! use std::net::TcpListener;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;
//! fn tower(seed: u64) -> Result<(Handle, Driver<Tower>)> {
//!     let listener = TcpListener::bind("127.0.0.1:0")?;
//!     let address = Address::try_from(listener.local_addr()?)?;
//!     let mut config = Config::default();
//!     config.send_rate = SendRate::per_second(100);
//!     // A real tower takes its seed from the operating system.
//!     let tower = Tower::new(config, address, &Seed::from_u64(seed))?;
//!     Ok(Driver::new(tower, listener)?)
//! }
//!
//! let (lipwig, driver) = tower(1)?;
//! smol::spawn(driver.run()).detach();
//! let (princess, driver) = tower(2)?;
//! smol::spawn(driver.run()).detach();
//!
//! smol::block_on(async {
//!     let mut notices = princess.notices();
//!     lipwig.expand(&Address::try_from(princess.local_addr())?).await?;
//!     lipwig.enqueue(Message::text("Hello Discworld!")).await?;
//!     while let Some(report) = notices.next().await {
//!         if let Report::MessageReceived { message, .. } = report {
//!             assert_eq!(message.as_text(), Some("Hello Discworld!"));
//!             break;
//!         }
//!     }
//!     # Ok::<(), Box<dyn std::error::Error>>(())
//! })?;
//! # Ok(())
//! # }
//! ```
//!
//! # What it costs
//!
//! Everything is bounded, on top of what [`Config::max_memory`](clacks_proto::Config::max_memory) bounds for the tower itself:
//!
//! | what | how much |
//! |---|---|
//! | an open connection with nothing to do | no buffer; about 1.5 KiB with the tower's own part (measured in clear text), besides the kernel's socket |
//! | a connection whose peer does not read | 64 KiB more, for what it has yet to take |
//! | buffers kept for the next turn | 2 × 64 KiB for each tower, whatever the number of links |
//! | notices that wait for a slow reader | [`NOTICES_CAPACITY`] for each tower, with the messages that they name |
//! | names being looked up | 16 threads of the process-wide blocking pool for each tower |
//!
//! All of a tower runs inside its [`run`](Driver::run) future, on an executor of its own, so one tower takes at most one
//! core. Towers that share a process share nothing else than async-io's reactor.

mod buffers;
mod dial;
mod driver;
mod handle;
mod link;
mod notices;
mod shared;
mod watched;

#[doc(no_inline)]
pub use clacks_proto::{Peer, StateMachine};
pub use driver::Driver;
pub use handle::Handle;
pub use notices::{NOTICES_CAPACITY, Notices};

/// Compiles the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
