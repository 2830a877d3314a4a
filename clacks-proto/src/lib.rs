//! The Clacks protocol as a pure state machine.
//!
//! A *tower* keeps messages only in a queue in memory. At each tick it hands the message at the head to one randomly chosen
//! peer, and forgets it when that peer has confirmed it; the peer queues it. So data lives in flight, and nowhere for good. Towers gossip
//! each other's addresses, notice who is gone, and take back who returns.
//!
//! # What this crate does not do
//!
//! It opens no socket, reads no clock, starts no thread and asks no operating system for randomness. It is `no_std` (with `alloc`)
//! unless a feature says otherwise. Whoever embeds it tells it what happened and what time it is, and does what it asks. Ready-made drivers
//! are the crates `clacks-smol` and `clacks-mio` and, for a simulated network, the tests of this one.
//!
//! # Where to begin
//!
//! - [`Tower`] is the protocol. Its methods are what an application does: `enqueue`, `peek`, `survey`, `expand`, `announce`, `ignore`.
//! - [`StateMachine`] is what a driver does: [`Event`]s in, [`Action`]s out.
//!
//! Then [`Config`] has every knob, [`wire`] the bytes, [`selector`] the draw, and `tls` (feature `tls`) the same state machine with ciphertext on the outside.
//!
//! # A driver, complete
//!
//! Two towers, and a loop that carries out what they ask. Connections are queues of bytes here; with sockets the loop is the same.
//!
//! ```
//! use clacks_proto::{Action, Address, Config, Event, Instant, LinkId, Message, Seed, StateMachine, Tower};
//! use core::{net::{IpAddr, Ipv4Addr}, time::Duration};
//!
//! let address = |port| Address::new("127.0.0.1", port);
//! let tower = |port: u16| Tower::new(Config::default(), address(port).unwrap(), &Seed::from_u64(port.into()));
//! let mut towers = [tower(8001)?, tower(8002)?];
//! let mut now = Instant::ORIGIN;
//! towers[0].enqueue(Message::text("Hello Discworld!"), now)?;
//! towers[0].expand(&address(8002)?, now)?;
//!
//! let mut ends: [Option<LinkId>; 2] = [None, None]; // of the one connection, at each tower
//! while towers[1].held().0 == 0 {
//!     for n in 0..2 {
//!         // 1. Do what the tower asks.
//!         while let Some(action) = towers[n].poll_action() {
//!             if let Action::Connect { link, .. } = action {
//!                 let there = towers[1 - n].accept(IpAddr::V4(Ipv4Addr::LOCALHOST), now)?;
//!                 (ends[n], ends[1 - n]) = (Some(link), Some(there));
//!                 towers[n].handle(Event::Connected { link }, now);
//!             }
//!         }
//!         // 2. Carry its bytes to the other side.
//!         let (Some(from), Some(to)) = (ends[n], ends[1 - n]) else { continue };
//!         let mut bytes = Vec::new();
//!         while towers[n].transmit(from, &mut bytes) > 0 {}
//!         towers[1 - n].handle(Event::BytesArrived { link: to, bytes: &bytes }, now);
//!     }
//!     // 3. Sleep until one of them asks to be woken.
//!     let wakeups = towers.iter().filter_map(StateMachine::next_wakeup);
//!     now = now.max(wakeups.map(|wakeup| wakeup.at).min().unwrap_or(now));
//!     towers.iter_mut().for_each(|tower| tower.handle(Event::TimerFired, now));
//! }
//! assert_eq!(towers[1].peek().next().unwrap().message.as_text(), Some("Hello Discworld!"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`embedding`] goes through one with sockets and TLS, part by part.
//!
//! # Panics
//!
//! A panic in this crate is a bug, never the answer to a peer: whatever bytes come in, the worst that happens is that their link is closed with a
//! reason, and counted in [`Stats`]. There is no `unsafe` in it.
//!
//! # Features
//!
//! None is on by default.
//!
//! | feature | what it adds | costs |
//! |---|---|---|
//! | `std` | `driver`: what drivers with threads share; conversions from `std::io` errors | the standard library |
//! | `tls` | `tls::SecureTower`, keys and trust | `std`, rustls, ring, rcgen |
//! | `http` | `http`: the dialect of the original's JavaScript towers | httparse, serde, serde_json, base64 |
//! | `fuzzing` | nothing for you: the bodies of this project's fuzz targets, which change without notice | |
//!
//! # Dependencies of the bare crate
//!
//! `bytes` (bodies that are shared without copying, and the buffers of drivers), `rand_core` and `rand_chacha` (the generator, whose words never change), `hashbrown`
//! (hash tables without an operating system's randomness) and `siphasher` (the keyed hash of names and keys in them, because peers choose what is looked up;
//! numbers have a keyed digest of their own).
// With features too, so that every build has the same prelude and an import that is missing is missing everywhere.
#![no_std]

extern crate alloc;
#[cfg(any(test, feature = "std"))]
extern crate std;

mod address;
#[cfg(feature = "bench")]
#[doc(hidden)]
pub mod bench;
mod config;
mod deadline_heap;
#[cfg(feature = "std")]
pub mod driver;
pub mod embedding;
mod error;
mod event;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod hash;
#[cfg(feature = "http")]
pub mod http;
mod ids;
mod index_list;
mod link;
mod message;
mod rng;
#[cfg(feature = "serde")]
mod serialization;
mod state_machine;
mod stats;
mod table;
mod time;
#[cfg(feature = "tls")]
pub mod tls;
mod tower;
pub mod wire;

pub use bytes;

pub use address::{Address, AddressError, Host, MAX_NAME, Name};
pub use config::{
    Allowance, Config, ConfigError, DefaultVerdict, Dialects, Odds, Screening, SendRate, Timeouts,
};
pub use error::{CloseReason, IoCause, ProtocolError, Refusal, StatusReason, TlsFailure};
pub use event::{Action, CloseMode, Dialect, Event, Notice, Origin, Status, Wakeup, WakeupReason};
pub use ids::{Fingerprint, FingerprintError, LinkId, MessageId, OfferId, PeerId};
pub use message::{Kind, Message, Nonce, NonceError};
pub use rng::Seed;
pub use state_machine::StateMachine;
pub use stats::Stats;
pub use time::Instant;
pub use tower::{
    DecideError, EnqueueError, ExpandError, HeldMessage, LinkInfo, MessageState, Peer, PeerRecord,
    QueueUsage, RefusedMessage, ShutdownProgress, StatusCounts, Tower, Verdict, selector,
};
pub use wire::Window;

/// The examples of the READMEs, compiled and run with the documentation's.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
#[doc = include_str!("../../README.md")]
struct Readmes;
