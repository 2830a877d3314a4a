//! Runs a Clacks tower on bare [`mio`]: one thread, no async runtime.
//!
//! The protocol is a state machine in [`clacks_proto`], without sockets, clock or threads. This
//! crate moves bytes between connections and a [`StateMachine`] and fires one timer. It uses one
//! thread, which may be that of another loop. Only names are looked up on other threads. The crate
//! contains no rule of the protocol: it has no timeouts and no retries. A tower therefore behaves
//! the same on every runtime.
//!
//! Read these two types first: [`Reactor`], which runs one tower, and [`Handle`], the application's
//! interface to the tower.
//!
//! # Two towers that pass a message
//!
//! The first tower has its own thread. The second one runs in the loop of the program.
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
//! A [`Tower`] without [`SecureTower`](clacks_proto::tls::SecureTower) does not use TLS. Run it
//! only in tests and in trusted networks.
//!
//! # In your own loop
//!
//! A program with its own event loop adds the reactor's descriptor
//! ([`AsFd`](std::os::fd::AsFd), on Unix) to its events. When the descriptor is readable, or
//! [`next_timeout`](Reactor::next_timeout) has passed, the program calls [`turn`](Reactor::turn)
//! with a timeout of zero. Handles can be used on the thread of the loop. Methods that block must
//! not be called there, because they would wait for the same thread. Read notices with
//! [`try_recv`](Notices::try_recv), and call [`Wait::now`] after each turn.
//!
//! # Costs
//!
//! [`Config::max_memory`] limits the memory of the tower itself. The reactor needs in addition:
//!
//! | item | cost |
//! |---|---|
//! | an open connection without work | 0.6 KiB (measured without TLS), and the kernel's socket |
//! | a connection whose peer does not read | 64 KiB in addition |
//! | buffers for reading and writing | 2 × 64 KiB for each tower |
//! | unread notices of a reader | [`NOTICES_CAPACITY`], and [`NOTICES_BYTES`] of message bodies |
//! | name look-ups | one thread for each look-up in progress, at most 16 for each tower |
//!
//! A tower without work sleeps in the operating system's selector and uses no processor time.
//!
//! # Features
//!
//! No feature is enabled by default. `tls` enables the feature `tls` of [`clacks_proto`], and
//! re-exports its module `tls`.

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
