//! A tower in an event loop of your own: a driver explained part by part.
//!
//! The driver is the example `sockets`: a tower behind TLS on std's non-blocking sockets, with the
//! `polling` crate to wait for them. Its source is [at the end](#the-whole-driver). To try it,
//! start a tower with the command `clacks tower --listen 127.0.0.1:8001`, and then the example:
//!
//! ```sh
//! cargo run --package clacks-proto --features tls --example sockets -- 127.0.0.1:8002 127.0.0.1:8001 5 60
//! ```
//!
//! Any other event loop needs the same parts. A driver decides nothing: the state machine decides
//! when to dial, which links to close, how long to wait and what to retry. A driver that faces such
//! a question passes it on as an [`Event`](crate::Event).
//!
//! # State
//!
//! `Driver` owns the machine and a clock that starts at zero when the machine is made. It is
//! generic over [`StateMachine`](crate::StateMachine), so it does not depend on whether there is
//! TLS.
//!
//! `Link` is one connection: its socket once there is one; bytes that the machine has written and
//! the socket has not taken; whether the link is to be closed after them; and whether the other
//! side has ended its stream. Links are stored by [`LinkId::index`](crate::LinkId::index), which is
//! small and is reused. The driver therefore compares the whole id before it uses a link (`take`).
//!
//! # The loop
//!
//! `run_once` is the body of the loop. It executes the actions of the machine, sleeps until a
//! socket is ready or [`next_wakeup`](crate::StateMachine::next_wakeup) has come, passes events to
//! the machine, and finally [`TimerFired`](crate::Event::TimerFired). The machine compares the
//! clock with its deadlines, so a `TimerFired` that comes too early does no harm. A driver needs
//! this one timer, however many links and deadlines there are.
//!
//! Methods such as [`Tower::enqueue`](crate::Tower::enqueue) may be called at any time between
//! turns. Their consequences are actions. While actions are queued the next wake-up is *now*, so
//! that even a driver that sleeps without polling does not sleep long.
//!
//! # Accepting
//!
//! `accept` asks the machine first. If the machine refuses, because there are too many links or the
//! tower shuts down, the driver drops the socket. Otherwise the link exists and is connected; an
//! accepted link gets no [`Connected`](crate::Event::Connected).
//!
//! The driver accepts one connection in a turn, so that many callers do not delay the other links.
//!
//! # Dialling
//!
//! [`Action::Connect`](crate::Action::Connect) carries the address. `dial` connects on a thread,
//! because resolving a name may take a minute and std has no non-blocking connect. The result
//! arrives through a channel, and the thread wakes the poller.
//!
//! `on_dialled` then passes [`Connected`](crate::Event::Connected) or
//! [`ConnectFailed`](crate::Event::ConnectFailed) to the machine, unless the link is gone: the
//! machine has a time-out of its own for dials, and may have closed the link.
//!
//! Two towers may dial each other at the same time. Then there are two links between them, and both
//! are used. A driver does nothing about that.
//!
//! # Reading
//!
//! `read` reads at most one chunk in a turn, so that one busy link does not delay the others. The
//! machine takes bytes in pieces of any size. The end of a stream is passed on as
//! [`Finished`](crate::Event::Finished) and does not end the link, because the machine may still
//! have bytes to send.
//!
//! # Writing
//!
//! After [`Action::Send`](crate::Action::Send), and whenever the socket is writable again, `write`
//! calls [`transmit`](crate::StateMachine::transmit) until it returns 0. It asks for more bytes
//! only when the socket has taken all before them. Then a peer that does not read costs one chunk
//! of memory, messages stay in the machine where they can still be handed to other peers, and TLS
//! makes few large records.
//!
//! # Closing
//!
//! [`Action::Close`](crate::Action::Close) says how to close. [`Abort`](crate::CloseMode::Abort)
//! closes the socket at once. [`Flush`](crate::CloseMode::Flush) sends what `transmit` still
//! returns, shuts down the sending side, and closes the socket when the other side has ended its
//! stream too. A socket that is closed earlier may be reset by the operating system, and the other
//! side may lose the last bytes. If the other side takes too long, the machine asks again with
//! `Abort`.
//!
//! After `Flush` the driver still reads, to see the end of the stream. It may pass the bytes and
//! `Finished` to the machine, which ignores them, or drop them.
//!
//! Every link ends with exactly one of [`Closed`](crate::Event::Closed),
//! [`Lost`](crate::Event::Lost) and [`ConnectFailed`](crate::Event::ConnectFailed). The driver
//! passes it when it has closed the socket and freed the entry (`end`), because the machine may use
//! the index for the next link during that call.
//!
//! # What a driver in production adds
//!
//! It survives a process without free descriptors and pauses the listener then. It limits the
//! number of concurrent name look-ups, tries all addresses of a name, and prevents a dial from
//! connecting to itself (the local port of a dialling socket may be the port that it dials). The
//! crates `clacks-smol` and `clacks-mio` do this.
//!
//! # The whole driver
//!
#![cfg_attr(feature = "tls", doc = "```no_run")]
#![cfg_attr(not(feature = "tls"), doc = "```ignore")]
#![doc = include_str!("../examples/sockets.rs")]
//! ```
