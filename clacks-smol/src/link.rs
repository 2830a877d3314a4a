//! The task of a link: dials if the link is outbound, moves bytes, and reports the end.

use clacks_proto::driver::{Connection, Readiness, Turn};
use clacks_proto::{Event, IoCause, LinkId, StateMachine};
use smol::{Async, future};
use std::future::poll_fn;
use std::io;
use std::net::{Shutdown, TcpStream};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::dial::{self, Target};
use crate::driver::Core;
use crate::signal::Signal;

/// The state machine has something to send.
pub(crate) const SEND: u8 = 1;
/// Close the connection when everything is sent.
pub(crate) const FLUSH: u8 = 2;
/// Close the connection at once.
pub(crate) const ABORT: u8 = 4;
/// Read the bytes that have arrived, even if the reactor has not reported them.
pub(crate) const READ: u8 = 8;

/// A link. It passes exactly one terminal event to the state machine, after its socket is closed.
pub(crate) struct Link<M> {
    core: Arc<Core<M>>,
    id: LinkId,
    commands: Arc<Signal>,
}

impl<M: StateMachine> Link<M> {
    pub(crate) fn new(core: Arc<Core<M>>, id: LinkId, commands: Arc<Signal>) -> Self {
        Self { core, id, commands }
    }

    /// Dials, and then moves the bytes of the connection until its end.
    pub(crate) async fn dial(self, target: Target) {
        let cancelled = poll_fn(|context| match self.commands.take(context) & (FLUSH | ABORT) {
            0 => Poll::Pending,
            _ => Poll::Ready(Err(IoCause::Other)),
        });
        let address = target.address.clone();
        let dialled = dial::connect(target, &self.core.resolver);
        match future::or(dialled, cancelled).await {
            Ok(stream) => {
                tracing::debug!(link = ?self.id, %address, "connected");
                let at = stream.get_ref().peer_addr().ok().map(|it| it.ip());
                self.core.shared.handle(Event::Connected { link: self.id, at });
                self.run(stream).await;
            }
            Err(cause) => {
                self.core.end_link(self.id, Event::ConnectFailed { link: self.id, cause });
            }
        }
    }

    /// Moves the bytes of a connection until its end.
    pub(crate) async fn run(self, stream: Async<TcpStream>) {
        // Without the option, small messages take longer.
        let _ = stream.get_ref().set_nodelay(true);
        let end = self.move_bytes(&stream).await;
        drop(stream);
        self.core.end_link(self.id, end);
    }

    /// Moves the bytes of a connection. Returns the terminal event at the end.
    async fn move_bytes(&self, stream: &Async<TcpStream>) -> Event<'static> {
        let mut connection = Connection::new(self.id, Readiness::Level);
        // Each future is kept until it is ready. `Async::poll_readable` would ignore the first
        // event if another thread was waiting for events when this task registered, and would
        // register again. If this thread is busy, that can repeat for seconds.
        let (mut readable, mut writable) = (stream.readable(), stream.writable());
        let mut poll_ready = |connection: &mut Connection, context: &mut Context<'_>| {
            if connection.wants_readable() && Pin::new(&mut readable).poll(context)?.is_ready() {
                readable = stream.readable();
                connection.on_readable();
            }
            if connection.wants_writable() && Pin::new(&mut writable).poll(context)?.is_ready() {
                writable = stream.writable();
                connection.on_writable();
            }
            if connection.has_work() { Poll::Ready(Ok(())) } else { Poll::Pending }
        };
        poll_fn(|context| self.poll_end(&mut connection, stream, &mut poll_ready, context)).await
    }

    /// Moves bytes until the socket is not ready. `poll_ready` then waits until it is ready for the
    /// work of the connection.
    fn poll_end(
        &self,
        connection: &mut Connection,
        stream: &Async<TcpStream>,
        mut poll_ready: impl FnMut(&mut Connection, &mut Context<'_>) -> Poll<io::Result<()>>,
        context: &mut Context<'_>,
    ) -> Poll<Event<'static>> {
        let link = self.id;
        let commands = self.commands.take(context);
        if commands & ABORT != 0 {
            return Poll::Ready(Event::Closed { link });
        }
        if commands & SEND != 0 {
            connection.send();
        }
        if commands & FLUSH != 0 {
            connection.flush();
        }
        if commands & READ != 0 {
            connection.on_readable();
        }
        loop {
            match connection.turn(&self.core.shared, stream.get_ref()) {
                Turn::Ended(event) => return Poll::Ready(event),
                Turn::Busy => {
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                // Fails only if the connection has ended. The next read returns that error.
                Turn::ShutDownWrite => _ = stream.get_ref().shutdown(Shutdown::Write),
                Turn::Idle => {}
            }
            match poll_ready(connection, context) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => {
                    return Poll::Ready(Event::Lost { link, cause: IoCause::from(&error) });
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}
