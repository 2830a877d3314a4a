//! The task of a link: a dial if need be, then the bytes of the connection, then its end.

use clacks_proto::driver::{Connection, Readiness, Turn};
use clacks_proto::{Address, Event, IoCause, LinkId, StateMachine};
use smol::{Async, future};
use std::future::poll_fn;
use std::io;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::dial;
use crate::driver::Core;
use crate::signal::Signal;

/// The state machine has something to send.
pub(crate) const SEND: u8 = 1;
/// Close the connection when everything is sent.
pub(crate) const FLUSH: u8 = 2;
/// Close the connection at once.
pub(crate) const ABORT: u8 = 4;
/// Read what has arrived, even if the reactor has not reported anything.
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
    pub(crate) async fn dial(self, address: Address) {
        let cancelled = poll_fn(|context| match self.commands.take(context) & (FLUSH | ABORT) {
            0 => Poll::Pending,
            _ => Poll::Ready(Err(IoCause::Other)),
        });
        let dialled = dial::connect(&address, &self.core.lookups);
        match future::or(dialled, cancelled).await {
            Ok(stream) => {
                tracing::debug!(link = ?self.id, %address, "connected");
                self.core.shared.handle(Event::Connected { link: self.id });
                self.run(stream).await;
            }
            Err(cause) => {
                self.core.end_link(self.id, Event::ConnectFailed { link: self.id, cause });
            }
        }
    }

    /// Moves the bytes of a connection until its end.
    pub(crate) async fn run(self, stream: Async<TcpStream>) {
        // Without the option small messages take longer, nothing else.
        let _ = stream.get_ref().set_nodelay(true);
        let mut connection = Connection::new(self.id, Readiness::Level);
        let end = poll_fn(|context| self.poll_end(&mut connection, &stream, context)).await;
        drop(stream);
        self.core.end_link(self.id, end);
    }

    /// Moves bytes as long as there are any. Returns the terminal event at the end.
    fn poll_end(
        &self,
        connection: &mut Connection,
        stream: &Async<TcpStream>,
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
                // Fails only if the connection has ended, which the next read finds.
                Turn::ShutDownWrite => _ = stream.get_ref().shutdown(Shutdown::Write),
                Turn::Idle => {}
            }
            match poll_ready(connection, stream, context) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => {
                    return Poll::Ready(Event::Lost { link, cause: IoCause::from(&error) });
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

/// Waits until the socket is ready for what the connection has to do.
fn poll_ready(
    connection: &mut Connection,
    stream: &Async<TcpStream>,
    context: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    if connection.wants_readable() && stream.poll_readable(context)?.is_ready() {
        connection.on_readable();
    }
    if connection.wants_writable() && stream.poll_writable(context)?.is_ready() {
        connection.on_writable();
    }
    if connection.has_work() { Poll::Ready(Ok(())) } else { Poll::Pending }
}
