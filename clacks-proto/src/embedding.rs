//! A tower in an event loop of your own: a walk through a whole driver.
//!
//! The driver is the example `sockets`: a tower behind TLS on std's non-blocking sockets, with the `polling` crate to wait for them. It stands
//! whole [at the end](#the-whole-driver). Start a tower with the command `clacks tower --listen 127.0.0.1:8001`, and let the example call it:
//!
//! ```sh
//! cargo run --package clacks-proto --features tls --example sockets -- 127.0.0.1:8002 127.0.0.1:8001 5 60
//! ```
//!
//! A loop that you have already needs the same parts. None of them decides anything: when to dial, whom to drop, how long to wait and what to
//! try again is the machine's business. A driver that finds itself with such a question should hand it over as an [`Event`](crate::Event).
//!
//! # What a driver keeps
//!
//! `Driver` has the machine and a clock whose zero is the moment at which the machine was made. It is generic over the
//! [`StateMachine`](crate::StateMachine): whether there is TLS is all the same to it, it moves bytes.
//!
//! A `Link` is what the driver knows of a connection: the socket, if there is one yet; bytes that the machine has given and the socket has not
//! taken; whether it is to be closed after these; and whether the other side has said all that it will say. Links stand by their
//! [`LinkId::index`](crate::LinkId::index), which is small and is used again, so the driver compares the whole id before it believes that a link is
//! still the same one (`take`).
//!
//! # One turn
//!
//! `turn` is the loop's body. It does what the machine asks for, sleeps until a socket is ready or [`next_wakeup`](crate::StateMachine::next_wakeup)
//! has come, says what happened, and in the end that time has passed. Nothing asks which of these it was: the clock is compared on every turn, by the
//! machine, and a [`TimerFired`](crate::Event::TimerFired) that comes too early does no harm. A driver needs this one timer, however many links and deadlines there are.
//!
//! Verbs such as [`Tower::enqueue`](crate::Tower::enqueue) may be said at any time between turns. What follows from them waits as actions, and as long as
//! actions wait the wake-up is *now*: even a driver that slept without polling would not sleep long.
//!
//! # Accept
//!
//! `accept` asks the machine first. When it refuses, because too many strangers are at the door or the tower is leaving, the socket is dropped, and nothing
//! was spent on it. Otherwise the link exists and is connected; there is no [`Connected`](crate::Event::Connected) for it.
//!
//! One connection is accepted in a turn, and the listener watched anew: a crowd at the door does not keep the others waiting.
//!
//! # Dial
//!
//! [`Action::Connect`](crate::Action::Connect) names a peer, and [`Tower::peer`](crate::Tower::peer) its address. `dial` connects on a thread, because looking up a name may take a minute and
//! std has no other way to connect without waiting. The outcome comes back through a channel, and the poller is notified.
//!
//! `on_dialled` tells the machine one of two things, unless the link is gone: the machine may have given the attempt up meanwhile
//! (it has a time-out of its own), and a connection that nobody wants any more is dropped.
//!
//! # Read
//!
//! `read` takes what there is, at most one chunk, so that one link that never falls silent does not starve the others; the socket is still readable in the
//! next turn. Bytes go to the machine in whatever pieces they come. The end of the stream is told as [`Finished`](crate::Event::Finished) and not as the link's end, because the
//! machine may still have something to say. What it makes of a stream that ends in the middle of a message is its own affair.
//!
//! # Write
//!
//! After [`Action::Send`](crate::Action::Send), and whenever the socket takes bytes again, `write` calls [`transmit`](crate::StateMachine::transmit) until there is no more. It asks for more only
//! when the socket has taken everything: so a peer that does not read costs one chunk, messages stay in the machine where they can still go
//! to somebody else, and TLS makes few large records instead of many small ones.
//!
//! # Timer
//!
//! There is nothing more to it than the time-out of the poller in `turn`.
//!
//! # Close
//!
//! [`Action::Close`](crate::Action::Close) says how. [`Abort`](crate::CloseMode::Abort) is at once. [`Flush`](crate::CloseMode::Flush) is in order: all that the machine has left to say, then the end of our side (`shutdown`), and the socket stays
//! open until the other side has ended its own. To close it earlier would have the operating system reset the connection if anything was still to be
//! read, and the farewell might never arrive. How long that may take is again the machine's to say: if it is too long, it asks for the same with `Abort`.
//!
//! Every link ends with exactly one of [`Closed`](crate::Event::Closed), [`Lost`](crate::Event::Lost) and [`ConnectFailed`](crate::Event::ConnectFailed), said when its socket is closed
//! and its place is free (`end`): the machine may use the index for the next link before the call has returned.
//!
//! # What a driver for production does besides
//!
//! It survives a process without descriptors (this one ends when it can't accept), rests the listener then instead of spinning, limits how many names it looks up at a time, tries all
//! of a name's addresses, and does not let a dial connect with itself: a local port where nobody listens may be given to the very socket
//! that dials it. The crates `clacks-smol` and `clacks-mio` do all that in a few hundred lines each.
//!
//! # The whole driver
//!
#![cfg_attr(feature = "tls", doc = "```no_run")]
#![cfg_attr(not(feature = "tls"), doc = "```ignore")]
#![doc = include_str!("../examples/sockets.rs")]
//! ```
