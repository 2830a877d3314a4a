//! A tower in an event loop of your own: a driver explained part by part.
//!
//! The driver is the example `sockets`: a tower with TLS on std's non-blocking sockets, which waits
//! with the `polling` crate. Its source is [at the end](#the-whole-driver). To try it, start a
//! tower with the command `clacks tower --listen 127.0.0.1:8001`, and then the example:
//!
//! ```sh
//! cargo run --package clacks-proto --features tls --example sockets -- 127.0.0.1:8002 127.0.0.1:8001 5 60
//! ```
//!
//! Any other event loop needs the same parts. A driver makes no decisions: the state machine
//! decides when to dial, which links to close, how long to wait and what to retry. The driver
//! passes everything that happens to the machine as an [`Event`](crate::Event).
//!
//! # State
//!
//! `Driver` owns the machine, and a clock that starts at zero when the machine is created. It is
//! generic over [`StateMachine`](crate::StateMachine), so it works with and without TLS.
//!
//! `Link` is one connection. It contains the socket once the connection is established, the bytes
//! of the machine that the socket has not accepted, whether the link must be closed after these
//! bytes, and whether the other side has ended its stream. Links are stored by
//! [`LinkId::index`](crate::LinkId::index), which is small and is reused. The driver therefore
//! compares the whole id before it uses a link (`take`).
//!
//! # The loop
//!
//! `run_once` is the body of the loop. It executes the actions of the machine. It sleeps until a
//! socket is ready or until [`next_wakeup`](crate::StateMachine::next_wakeup). It passes events to
//! the machine, and finally [`TimerFired`](crate::Event::TimerFired). The machine compares the time
//! with its deadlines, so a `TimerFired` that is too early does no harm. This is the only timer of
//! a driver, for any number of links and deadlines.
//!
//! Methods such as [`Tower::enqueue`](crate::Tower::enqueue) may be called at any time between
//! turns. They queue actions. While actions are queued, the next wake-up is *now*, so the driver
//! does not sleep before it has polled them.
//!
//! # Accepting
//!
//! `accept` asks the machine first. The machine refuses if there are too many links or if the tower
//! shuts down. The driver then drops the socket. Otherwise the link exists and is connected, and
//! the driver passes no [`Connected`](crate::Event::Connected) for it.
//!
//! The driver accepts one connection in a turn, so that many callers do not delay the other links.
//!
//! # Dialling
//!
//! [`Action::Connect`](crate::Action::Connect) contains the address. `dial` connects on a thread,
//! because resolving a name may take a minute and std has no non-blocking connect. The thread sends
//! the result through a channel and wakes the poller.
//!
//! `on_dialled` then passes [`Connected`](crate::Event::Connected) or
//! [`ConnectFailed`](crate::Event::ConnectFailed) to the machine, if the link still exists. The
//! machine has its own time-out for dials, and may have closed the link.
//!
//! A name may have several addresses, and another tower may answer at one of them. A driver that
//! passes the IP address of each connection with `Connected` is asked to dial the name again,
//! except for the addresses that failed, before the peer is judged. This driver passes none.
//!
//! If two towers dial each other at the same time, there are two links between them, and both are
//! used. A driver needs no code for this case.
//!
//! # Reading
//!
//! `read` reads at most one chunk in a turn, so that one busy link does not delay the others. The
//! machine accepts bytes in pieces of any size. The end of a stream is passed as
//! [`Finished`](crate::Event::Finished). It does not end the link, because the machine may still
//! have bytes to send.
//!
//! # Writing
//!
//! `write` is called after [`Action::Send`](crate::Action::Send), and whenever the socket is
//! writable again. It calls [`transmit`](crate::StateMachine::transmit) until it returns 0, but
//! only when the socket has accepted all earlier bytes. A peer that does not read then costs one
//! chunk of memory, messages stay in the machine where they can still be handed to other peers, and
//! TLS makes few large records.
//!
//! # Closing
//!
//! [`Action::Close`](crate::Action::Close) specifies how to close.
//! [`Abort`](crate::CloseMode::Abort) closes the socket at once. [`Flush`](crate::CloseMode::Flush)
//! sends the remaining bytes of `transmit`, shuts down the sending side, and closes the socket when
//! the other side has ended its stream, too. If the socket is closed earlier, the operating system
//! may reset the connection, and the other side may lose the last bytes. If the other side takes
//! too long, the machine requests the close again with `Abort`.
//!
//! After `Flush` the driver still reads, to detect the end of the stream. It may pass the bytes and
//! `Finished` to the machine, which ignores them, or drop them.
//!
//! Every link ends with exactly one of [`Closed`](crate::Event::Closed),
//! [`Lost`](crate::Event::Lost) and [`ConnectFailed`](crate::Event::ConnectFailed). The driver
//! passes this event after it has closed the socket and freed the entry (`end`), because the
//! machine may reuse the index for the next link during that call.
//!
//! # What a driver in production adds
//!
//! It handles a lack of free descriptors: it pauses the listener, and passes
//! [`AcceptFailed`](crate::Event::AcceptFailed). It limits the number of concurrent name look-ups,
//! so that names of strangers do not delay those of known peers ([`Standing`](crate::Standing)),
//! tries all addresses of a name, and prevents a dial from connecting to itself (the local port of
//! a dialling socket may be the port that it dials). The crates `clacks-smol` and `clacks-mio` do
//! this.
//!
//! # The whole driver
//!
#![cfg_attr(feature = "tls", doc = "```no_run")]
#![cfg_attr(not(feature = "tls"), doc = "```ignore")]
#![doc = include_str!("../examples/sockets.rs")]
//! ```
