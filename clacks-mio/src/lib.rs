//! Runs a Clacks tower on bare [`mio`]: one thread, no async runtime.
//!
//! The protocol is a state machine in [`clacks_proto`], without sockets, clock or threads. This
//! crate moves bytes between connections and a [`StateMachine`] and fires one timer, on a thread
//! that may belong to another program. Only names are looked up on other threads. No rule of the
//! protocol is in here: there is no timeout and no retry. A tower therefore behaves the same on
//! every runtime.
//!
//! Read these two types first: [`Reactor`], which runs one tower, and [`Handle`], the application's
//! way to the tower.
//!
//! # Two towers that pass a message
//!
//! One has a thread of its own. The other one lives in the loop of the program.
//!
//! ```
//! use clacks_mio::{Address, Config, Handle, Message, Notice, Reactor, Seed, SendRate, Tower};
//! use clacks_proto::tls::{Identity, SecureTower, Trust};
//! use std::{net::TcpListener, thread};
//!
//! # type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;
//! fn tower() -> Result<(Handle<SecureTower>, Reactor<SecureTower>)> {
//!     let listener = TcpListener::bind("127.0.0.1:0")?;
//!     let mut config = Config::default();
//!     config.send_rate = SendRate::per_second(100);
//!     let address = Address::try_from(listener.local_addr()?)?;
//!     let tower = Tower::new(config, address, &Seed::generate())?;
//!     let tower = SecureTower::new(tower, &Identity::generate()?, Trust::Open)?;
//!     Ok(Reactor::new(tower, listener)?)
//! }
//!
//! # fn main() -> Result<()> {
//! let (lipwig, reactor) = tower()?;
//! thread::spawn(|| reactor.run());
//! let (princess, mut reactor) = tower()?;
//!
//! lipwig.expand(princess.address())?;
//! lipwig.enqueue(Message::text("Hello Discworld!"))?;
//! let mut notices = princess.notices();
//! loop {
//!     reactor.turn(None)?;
//!     while let Ok(notice) = notices.try_recv() {
//!         if let Notice::MessageReceived { message, .. } = notice {
//!             assert_eq!(message.as_text(), Some("Hello Discworld!"));
//!             return Ok(());
//!         }
//!     }
//! }
//! # }
//! ```
//!
//! [`Tower`] without [`SecureTower`](clacks_proto::tls::SecureTower) speaks clear text: for tests
//! and trusted networks only.
//!
//! # In a loop of your own
//!
//! A program that waits for other things as well adds the reactor's descriptor
//! ([`AsFd`](std::os::fd::AsFd), on unixes) to what it waits for. When the descriptor is readable,
//! or [`next_timeout`](Reactor::next_timeout) is over, a [`turn`](Reactor::turn) with a timeout of
//! zero does what there is to do. Handles work on the thread of the loop as well. Only waiting is
//! not possible there, because it would wait for itself: read notices with
//! [`try_recv`](Notices::try_recv), and ask a [`Wait`] with [`now`](Wait::now) after each turn.
//!
//! # Costs
//!
//! Everything is bounded, beside what [`Config::max_memory`] bounds for the tower itself:
//!
//! | what | how much |
//! |---|---|
//! | an open connection without work | 0.6 KiB (measured in clear text), the kernel's socket |
//! | a connection whose peer does not read | 64 KiB more |
//! | buffers for reading and writing | 2 × 64 KiB for each tower |
//! | unread notices of a reader | [`NOTICES_CAPACITY`], and [`NOTICES_BYTES`] of message bodies |
//! | names being looked up | at most 16 threads for each tower, none without look-ups |
//!
//! A tower with nothing to do sleeps in the operating system's selector and uses no processor time.
//!
//! # Features
//!
//! None is on by default. `tls` is the feature `tls` of [`clacks_proto`], and re-exports its module
//! of that name.

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
    Address, Config, Message, Notice, Peer, Seed, SendRate, ShutdownProgress, StateMachine, Stats,
    Status, Tower, Verdict,
};
pub use reactor::Reactor;

/// Compiles the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
