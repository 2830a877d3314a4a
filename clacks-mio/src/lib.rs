//! Runs a Clacks tower on bare [mio]: one thread, no async runtime.
//!
//! The protocol lives in [`clacks_proto`], which has no socket, no clock and no thread. This crate lends it sockets and a clock, and is
//! content with one thread that may belong to somebody else: it moves bytes between connections and a [`StateMachine`], fires one timer, and carries
//! the application's commands across. Only names are looked up on threads beside it. It decides nothing: no rule of the protocol, no
//! time-out and no retry is found here, so that a tower behaves the same on every runtime.
//!
//! The two types to read first: [`Reactor`], which runs one tower, and [`Handle`], the application's way to it.
//!
//! # Two towers that pass a message
//!
//! One has a thread of its own; the other lives in the loop of the program.
//!
//! ```
//! use clacks_mio::{Handle, Reactor};
//! use clacks_proto::{Address, Config, Message, Report, Seed, SendRate, Tower};
//! use std::{net::TcpListener, thread};
//!
//! # type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;
//! fn tower(seed: u64) -> Result<(Handle, Reactor<Tower>)> {
//!     let listener = TcpListener::bind("127.0.0.1:0")?;
//!     let address = Address::try_from(listener.local_addr()?)?;
//!     let mut config = Config::default();
//!     config.send_rate = SendRate::per_second(100);
//!     // A real tower takes its seed from the operating system.
//!     let tower = Tower::new(config, address, &Seed::from_u64(seed))?;
//!     Ok(Reactor::new(tower, listener)?)
//! }
//!
//! # fn main() -> Result<()> {
//! let (lipwig, reactor) = tower(1)?;
//! thread::spawn(|| reactor.run());
//! let (princess, mut reactor) = tower(2)?;
//!
//! lipwig.expand(&Address::try_from(princess.local_addr())?)?;
//! lipwig.enqueue(Message::text("Hello Discworld!"))?;
//! let notices = princess.notices();
//! loop {
//!     reactor.turn(None)?;
//!     while let Ok(report) = notices.try_recv() {
//!         if let Report::MessageReceived { message, .. } = report {
//!             assert_eq!(message.as_text(), Some("Hello Discworld!"));
//!             return Ok(());
//!         }
//!     }
//! }
//! # }
//! ```
//!
//! # In a loop of your own
//!
//! A program that waits for other things as well puts the reactor's descriptor ([`AsFd`](std::os::fd::AsFd), on unixes) among them. Whenever it is readable,
//! or [`next_timeout`](Reactor::next_timeout) has passed, a [`turn`](Reactor::turn) with a time-out of zero does what there is to do. Handles work on the loop's thread
//! too, except for [`Handle::shutdown`], which waits; there, [`Handle::try_shutdown`] asks.
//!
//! # What it costs
//!
//! Everything is bounded, on top of what [`Config::max_memory`](clacks_proto::Config::max_memory) bounds for the tower itself:
//!
//! | what | how much |
//! |---|---|
//! | an open connection with nothing to do | no buffer; 128 bytes, besides the tower's own part and the kernel's socket |
//! | a connection whose peer does not read | 64 KiB more, for what it has yet to take |
//! | buffers for the turn | 2 × 64 KiB for each tower, whatever the number of links |
//! | notices that wait for a slow reader | [`NOTICES_CAPACITY`] for each reader, with the messages that they name |
//! | names being looked up | up to 16 threads for each tower, none when there is nothing to look up |
//!
//! A tower with nothing to do sleeps in the operating system's selector and uses no processor time at all.

mod buffers;
mod connection;
mod desk;
mod dial;
mod door;
mod handle;
mod links;
mod names;
mod notices;
mod reactor;

#[doc(no_inline)]
pub use clacks_proto::{Peer, StateMachine};
pub use handle::Handle;
pub use notices::{NOTICES_CAPACITY, Notices};
pub use reactor::Reactor;

/// The README's example, compiled with the documentation's.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
