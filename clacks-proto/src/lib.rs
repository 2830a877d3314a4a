//! The Clacks protocol as a pure state machine.
//!
//! A *tower* keeps messages only in a queue in memory. At each tick it hands the message at the
//! head to one randomly chosen peer, and drops it when the peer has confirmed it or its lifetime is
//! over. The peer queues the message. So data lives in flight, and is stored nowhere for good.
//! Towers gossip each other's addresses, notice which peers are gone, and take them back when they
//! return.
//!
//! # What this crate does not do
//!
//! It opens no sockets, reads no clock and starts no threads. It is `no_std` (with `alloc`) unless
//! a feature says otherwise. A *driver* passes it events and the current time, and executes the
//! actions that it returns. The crates `clacks-smol` and `clacks-mio` are drivers for real sockets,
//! `clacks-sim` is one for a simulated network.
//!
//! # Where to begin
//!
//! - [`Tower`] is the protocol. Its methods are for applications: [`enqueue`](Tower::enqueue),
//!   [`peek`](Tower::peek), [`survey`](Tower::survey), [`expand`](Tower::expand),
//!   [`announce`](Tower::announce), [`ignore`](Tower::ignore).
//! - [`StateMachine`] is for drivers: [`Event`]s in, [`Action`]s out.
//!
//! [`Config`] has all settings, [`wire`] specifies the bytes, [`selector`] is the draw of the
//! recipient. `tls` (feature `tls`) is the same state machine with ciphertext on the outside. Use
//! it whenever a network is not your own: [`Tower`] alone speaks clear text.
//!
//! # A complete driver
//!
//! Two towers, and a loop that executes their actions. The connection is a buffer in each
//! direction. With sockets the loop is the same.
//!
//! ```
//! use clacks_proto::{Action, Address, Config, Event, Instant, LinkId, Message, Seed};
//! use clacks_proto::{StateMachine, Tower};
//! use core::{net::{IpAddr, Ipv4Addr}, time::Duration};
//!
//! let address = |port| Address::new("127.0.0.1", port);
//! // Fixed seeds make a run repeatable. Towers in a real network need `Seed::generate()`.
//! let tower = |port: u16| {
//!     let seed = Seed::from_u64(port.into());
//!     Tower::new(Config::default(), address(port).unwrap(), &seed)
//! };
//! let mut towers = [tower(8001)?, tower(8002)?];
//! let mut now = Instant::ORIGIN;
//! towers[0].enqueue(Message::text("Hello Discworld!"), now)?;
//! towers[0].expand(&address(8002)?, now)?;
//!
//! let mut ends: [Option<LinkId>; 2] = [None, None]; // of the one connection, at each tower
//! while towers[1].queue_usage().messages == 0 {
//!     for n in 0..2 {
//!         // 1. Execute the actions of the tower.
//!         while let Some(action) = towers[n].poll_action() {
//!             if let Action::Connect { link, .. } = action {
//!                 let there = towers[1 - n].accept(IpAddr::V4(Ipv4Addr::LOCALHOST), now)?;
//!                 (ends[n], ends[1 - n]) = (Some(link), Some(there));
//!                 towers[n].handle(Event::Connected { link, at: None }, now);
//!             }
//!         }
//!         // 2. Carry its bytes to the other tower.
//!         let (Some(from), Some(to)) = (ends[n], ends[1 - n]) else { continue };
//!         let mut bytes = Vec::new();
//!         while towers[n].transmit(from, &mut bytes) > 0 {}
//!         towers[1 - n].handle(Event::BytesArrived { link: to, bytes: &bytes }, now);
//!     }
//!     // 3. Sleep until the next wake-up.
//!     let wakeups = towers.iter().filter_map(StateMachine::next_wakeup);
//!     now = now.max(wakeups.map(|wakeup| wakeup.at).min().unwrap_or(now));
//!     towers.iter_mut().for_each(|tower| tower.handle(Event::TimerFired, now));
//! }
//! assert_eq!(towers[1].peek().next().unwrap().message.as_text(), Some("Hello Discworld!"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`embedding`] explains a driver with sockets and TLS, part by part.
//!
//! # The path of a message
//!
//! From a socket into the queue of a tower, and out again to the next tower:
//!
//! 1. `tower/mod.rs`: the driver passes [`Event::BytesArrived`]. The tower takes the link out of
//!    its table (`tower/links.rs`).
//! 2. `link/codec.rs`: the link's codec decodes frames (`wire/decode.rs`, `wire/parse.rs`).
//! 3. `link/mod.rs`: the link checks that its state and its window (`link/window.rs`) admit the
//!    message, and passes it on as an event.
//! 4. `tower/route.rs`: the tower decides about the message: who sent it (`tower/sender.rs`) and
//!    whether it is a retry (`link/dedup.rs`).
//! 5. `tower/admission.rs`: there is room for the message, or its sender has credit, or it is
//!    refused as busy. `tower/queue.rs`: the message is stored, unless a copy is held.
//! 6. `tower/actions.rs`: notices for the application, and [`Action::Send`] for the answer.
//! 7. `tower/handover.rs`: at a tick (`tower/pacer.rs`) a peer is drawn (`tower/selector.rs`) for
//!    the message at the head of the queue, and the message is given to a link of the peer.
//! 8. `link/outgoing.rs`: when the peer's window admits the message, `transmit` encodes it
//!    (`wire/encode.rs`).
//! 9. The confirmation of the peer comes in like the message, by steps 1 to 3.
//! 10. `tower/route.rs`: the tower drops the message from the queue and notifies the application.
//!
//! Where to find the rest:
//!
//! | subject | file |
//! |---|---|
//! | the bytes of a hello | `wire/encode.rs`, `wire/parse.rs` |
//! | the window for messages that come in, and their confirmations | `link/window.rs` |
//! | the window for messages that go out | `link/outgoing.rs` |
//! | what happens when a link breaks | `tower/link_closed.rs` |
//! | how a peer becomes lost | `tower/status.rs`, after a broken link `tower/link_closed.rs` |
//! | the odds | `tower/selector.rs` |
//! | datagrams | `tower/datagrams.rs`, `link/datagrams.rs` |
//!
//! # Rules against attacks and failures
//!
//! Each rule has a knob in [`Config`] with a value that disables it. [`Config::original`] disables
//! those that the original's document contradicts. The README of the project has the numbers that
//! the network reaches with them, and says which attacks they do not stop. The tests are in the
//! folder `tests`: those of rule 1 are `rule_1_…`, and `without_rule_1_…` shows what happens
//! without the rule.
//!
//! | | rule | knob: off value | file, tests |
//! |---|---|---|---|
//! | 1 | a dial carries an announcement, and never a message | [`contact_rate`](Config::contact_rate): 0 | `tower/contact.rs`, `contacts` |
//! | 2 | another peer is contacted at once when one is found lost, and when one returns | `contact_rate`: 0 | `tower/contact.rs`, `contacts` |
//! | 3 | full towers exchange messages on credit | [`exchange_credit`](Config::exchange_credit): 0 | `tower/admission.rs`, `full` |
//! | 4 | no peer holds more than its share of a queue that is nearly full | [`fair_share_from`](Config::fair_share_from): 100 | `tower/admission.rs`, `full` |
//! | 5 | messages end | [`lifetime`](Config::lifetime), [`max_lifetime`](Config::max_lifetime): `None` | `tower/lifetime.rs`, `lifetime` |
//! | 6 | peers that take nothing are left alone longer and longer | [`max_probe_backoff`](Config::max_probe_backoff), [`max_busy_backoff`](Config::max_busy_backoff): 0 s | `tower/backoff.rs`, `backoff` |
//! | 7 | newcomers replace peers of a full table | [`newcomers`](Config::newcomers): `ReplaceDead` | `tower/peers.rs`, `newcomers` |
//! | 8 | a claim without a key is dialled back | [`claims`](Config::claims): `Believe` | `tower/sender.rs`, `newcomers` |
//! | 9 | a tick looks for a message that a peer can take | [`tried_messages`](Config::tried_messages): 0 | `tower/handover.rs`, `contacts` |
//! | 10 | unproved callers share a part of the links | [`max_unproved`](Config::max_unproved): `max_links` | `tower/unproved.rs`, `links` |
//! | 11 | messages can rest before they join the queue | [`hold_below`](Config::hold_below): 0 | `tower/hold.rs`, `hold` |
//! | 12 | an announce names several friends | [`announced_friends`](Config::announced_friends): 1 | `tower/handover.rs`, `gossip` |
//! | 13 | local addresses are learned over local links alone | [`local_addresses`](Config::local_addresses): `FromAllLinks` | `tower/gossip.rs`, `newcomers` |
//! | 14 | few addresses are learned at a time | [`friends`](Config::friends), [`strangers`](Config::strangers): every 0 s | `tower/gossip.rs`, `tower/strangers.rs`, `gossip` |
//!
//! # Names of the original
//!
//! Clacks began as the JavaScript package `clacks-p2p`. What its README describes has these names
//! here. `clacks-smol` has an example `original` with all of them.
//!
//! | JavaScript | this crate | with a driver (`driver::Handle`) |
//! |---|---|---|
//! | `Clacks()`, `tower.init(key, cert)` | [`Tower::new`], `tls::SecureTower::new` with `tls::Identity::from_pem` | `Driver::new` of the adapter |
//! | `tower.enqueue(message)` | [`Tower::enqueue`] | `handle.enqueue` |
//! | `tower.peek()` | [`Tower::peek`] | `handle.peek` |
//! | `tower.survey()` | [`Tower::survey`] | `handle.survey` |
//! | `tower.expand(hostname, port)` | [`Tower::expand`] | `handle.expand` |
//! | `tower.announce(hostname, port)` | [`Tower::announce`] | `handle.announce` |
//! | `tower.onMessageReceived` | [`Notice::MessageReceived`] | `handle.notices` |
//! | `tower.onTowerDiscovered` | [`Notice::TowerDiscovered`] | `handle.notices` |
//! | `tower.onTowerUpdated` | [`Notice::StatusChanged`] | `handle.notices` |
//!
//! # Panics
//!
//! A panic in this crate is a bug, and never the answer to a peer. If a peer sends invalid bytes,
//! its link is closed with a [`CloseReason`] and counted in [`Stats`]. There is no `unsafe`.
//!
//! # Features
//!
//! None is on by default.
//!
//! | feature | adds | costs |
//! |---|---|---|
//! | `std` | `driver`: what drivers with threads share; [`Seed`]`::generate`; conversions from `std::io` errors | std, getrandom, event-listener, futures-core |
//! | `tls` | `tls::SecureTower`, identities, trust | `std`, rustls, ring, rcgen |
//! | `http` | `http`: the dialect of the original's JavaScript towers | httparse, serde, serde_json, base64 |
//! | `serde` | `Serialize` and `Deserialize` for the configuration, notices, messages, ids, peers and counters | serde, base64 |
//! | `bench`, `fuzzing`, `simulation` | internals for this project's benchmarks, fuzz targets and simulator; they may change at any time | |
//!
//! # Dependencies without features
//!
//! - `bytes`: the buffers of drivers.
//! - `rand_core`, `rand_chacha`: the generator. Its words never change.
//! - `hashbrown`: hash tables without an operating system's randomness.
//! - `ahash`: keyed hashes, because peers choose the nonces, addresses and keys that are looked up.
// With features too, so that every build has the same prelude and an import that is missing is
// missing everywhere.
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
#[cfg(feature = "simulation")]
#[doc(hidden)]
pub mod prefetch;
mod prefix;
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
    Allowance, Claims, Config, ConfigError, Datagrams, DefaultVerdict, Dialects, LocalAddresses,
    Newcomers, Odds, Screening, SendRate, Timeouts,
};
pub use error::{CloseReason, IoCause, ProtocolError, Refusal, StatusReason, TlsFailure};
pub use event::{
    Action, CloseMode, DatagramLoss, Dialect, Event, HandOverEnd, Notice, Origin, Standing, Status,
    Wakeup, WakeupReason,
};
pub use ids::{Fingerprint, FingerprintError, LinkId, MessageId, OfferId, PeerId};
pub use message::{Kind, Lifetime, Message, Nonce, NonceError};
pub use rng::Seed;
pub use state_machine::StateMachine;
pub use stats::Stats;
pub use time::Instant;
pub use tower::{
    Datagram, DatagramError, DatagramPeer, DecideError, EnqueueError, EnqueueOptions, ExpandError,
    HeldMessage, LinkInfo, MessageState, Peer, PeerRecord, QueueUsage, RefusedMessage,
    ShutdownProgress, StatusCounts, To, Tower, Verdict, selector,
};
pub use wire::Window;

/// The examples of the READMEs. They are compiled and run as documentation tests.
#[cfg(all(doctest, feature = "tls"))]
#[doc = include_str!("../README.md")]
#[doc = include_str!("../../README.md")]
struct Readmes;
