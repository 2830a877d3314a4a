//! Serves the control socket of a tower.

use std::cell::Cell;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use clacks_proto::Notice;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Uid;
use smol::channel::{self, Receiver, Sender};
use smol::future::{self, FutureExt};
use smol::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use smol::{Async, LocalExecutor, Timer};

use super::BoundSocket;
use crate::control::protocol::{Greeting, VERSION};
use crate::control::{ControlledTower, Request};
use crate::output::{Entry, Output, json};

/// The maximum number of connections.
pub(crate) const MAX_CONNECTIONS: usize = 16;

/// The maximum number of connections that watch events. The others are for short requests such as
/// `stop`.
const MAX_WATCHERS: usize = 14;

/// How often the connection of a client that sends no more requests is checked.
const GONE_INTERVAL: Duration = Duration::from_millis(500);

/// How long a client may take for a request. The value is a guess. A client that watches events has
/// no limit.
const REQUEST_LIMIT: Duration = Duration::from_secs(60);

/// How long a client may take to read a line. The value is a guess.
const READ_LIMIT: Duration = Duration::from_secs(30);

/// How long the end of the tower waits for clients that have not read its last events.
const FINISH_LIMIT: Duration = Duration::from_secs(2);

/// The pause after an error of the listener, such as a lack of descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// A thread that serves the control socket. A connection is a task of that thread, so a slow client
/// delays neither the tower nor other clients.
pub(crate) struct ControlServer {
    thread: JoinHandle<()>,
    /// Closed when no more connections are accepted.
    finish: Sender<()>,
}

impl ControlServer {
    /// Starts the thread.
    pub(crate) fn start(control: Arc<ControlledTower>, socket: BoundSocket) -> io::Result<Self> {
        let (finish, finished) = channel::bounded(1);
        let thread = thread::Builder::new()
            .name("control".into())
            .spawn(move || smol::block_on(serve(&control, socket, &finished)))?;
        Ok(Self { thread, finish })
    }

    /// Removes the socket. Waits for clients that read the last events, for a short time at most.
    pub(crate) fn finish(self) {
        self.finish.close();
        // A panic there is reported where it happened.
        let _ = self.thread.join();
    }
}

async fn serve(control: &Arc<ControlledTower>, socket: BoundSocket, finished: &Receiver<()>) {
    let executor = LocalExecutor::new();
    let (connections, watchers) = (Rc::new(()), Rc::default());
    let accept = accept(control, &socket, &executor, &connections, &watchers);
    let finish = async {
        let _ = finished.recv().await;
    };
    executor.run(accept.or(finish)).await;
    drop(socket);
    let done = async {
        while Rc::strong_count(&connections) > 1 {
            Timer::after(Duration::from_millis(5)).await;
        }
    };
    let limit = async {
        Timer::after(FINISH_LIMIT).await;
    };
    executor.run(done.or(limit)).await;
}

async fn accept(
    control: &Arc<ControlledTower>,
    socket: &BoundSocket,
    executor: &LocalExecutor<'_>,
    connections: &Rc<()>,
    watchers: &Rc<Cell<usize>>,
) {
    let listener = match socket.listener.try_clone().and_then(Async::<UnixListener>::new) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!("the control socket cannot be served: {error}"),
    };
    loop {
        match listener.accept().await {
            Ok((stream, _)) if socket.is_shared || is_allowed(&stream) => {
                let (guard, watchers) = (connections.clone(), watchers.clone());
                let control = control.clone();
                let connection = async move {
                    // Clients come and go. An error concerns the one client only.
                    let _ = Connection::new(control, stream, watchers).run(&guard).await;
                };
                executor.spawn(connection).detach();
            }
            Ok(_) => tracing::warn!("another user was refused at the control socket"),
            Err(_) => _ = Timer::after(ACCEPT_RETRY).await,
        }
    }
}

/// Returns whether the process at the other end belongs to this user or to root.
fn is_allowed(stream: &Async<UnixStream>) -> bool {
    peer_uid(stream).is_ok_and(|uid| uid == Uid::effective() || uid.is_root())
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn peer_uid(stream: &Async<UnixStream>) -> nix::Result<Uid> {
    use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
    Ok(Uid::from_raw(getsockopt(&stream.as_fd(), PeerCredentials)?.uid()))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn peer_uid(stream: &Async<UnixStream>) -> nix::Result<Uid> {
    Ok(nix::unistd::getpeereid(stream.as_fd())?.0)
}

/// One client.
struct Connection {
    control: Arc<ControlledTower>,
    stream: BufReader<Async<UnixStream>>,
    /// The maximum length of a request.
    max_line: usize,
    /// The number of connections that watch.
    watchers: Rc<Cell<usize>>,
}

/// A line of a client.
enum Line {
    Whole(Vec<u8>),
    TooLong,
}

impl Connection {
    fn new(
        control: Arc<ControlledTower>,
        stream: Async<UnixStream>,
        watchers: Rc<Cell<usize>>,
    ) -> Self {
        // A control character of one byte takes six in JSON.
        let max_line = control.config().max_message.saturating_mul(6).saturating_add(4_096);
        Self { control, stream: BufReader::new(stream), max_line, watchers }
    }

    /// Answers requests until the client closes the connection.
    async fn run(mut self, connections: &Rc<()>) -> io::Result<()> {
        // The server has one of the references.
        if Rc::strong_count(connections) - 1 > MAX_CONNECTIONS {
            let sentence = format!(
                "{MAX_CONNECTIONS} programs are connected to this tower: end one of them, and try \
                 again."
            );
            return self.write(&self.control.entry(Output::Error { message: sentence })).await;
        }
        let greeting = Greeting {
            clacks_control: VERSION,
            version: env!("CARGO_PKG_VERSION").into(),
            address: self.control.address().clone(),
            fingerprint: self.control.fingerprint(),
        };
        self.write_line(&json::line(&greeting)?).await?;
        loop {
            let line = match within(REQUEST_LIMIT, self.read_line()).await? {
                None => return Ok(()),
                Some(Line::Whole(line)) if line.trim_ascii().is_empty() => continue,
                Some(Line::Whole(line)) => line,
                Some(Line::TooLong) => {
                    let max = self.max_line;
                    let sentence = format!("That line is too long: at most {max} bytes are read.");
                    return self
                        .write(&self.control.entry(Output::Error { message: sentence }))
                        .await;
                }
            };
            match serde_json::from_slice(&line) {
                Ok(Request::Watch { .. }) if self.watchers.get() >= MAX_WATCHERS => {
                    let sentence = format!(
                        "{MAX_WATCHERS} programs watch this tower: end one of them, and try again."
                    );
                    self.write(&self.control.entry(Output::Error { message: sentence })).await?;
                }
                Ok(Request::Watch { after }) => {
                    let watchers = self.watchers.clone();
                    watchers.set(watchers.get() + 1);
                    let watched = self.watch(after).await;
                    watchers.set(watchers.get() - 1);
                    return watched;
                }
                Ok(Request::Stop) => return self.stop().await,
                Ok(request) => {
                    let Some(answer) = self.answer(request).await? else { return Ok(()) };
                    self.write(&answer).await?;
                }
                Err(error) => {
                    let sentence = format!("That line is no request: {error}.");
                    self.write(&self.control.entry(Output::Error { message: sentence })).await?;
                }
            }
        }
    }

    /// Returns the answer to a request. Returns `None` if the client goes away before.
    async fn answer(&mut self, request: Request) -> io::Result<Option<Entry>> {
        let control = self.control.clone();
        let answer = async { Ok(Some(control.answer(request).await)) };
        let gone = async { closed(&mut self.stream).await.map(|()| None) };
        answer.or(gone).await
    }

    /// Sends events until the tower or the client ends.
    async fn watch(&mut self, after: Option<u64>) -> io::Result<()> {
        let mut events = self.control.subscribe(after);
        loop {
            let event = async { Ok(events.next().await) };
            let gone = async { closed(&mut self.stream).await.map(|()| None) };
            match event.or(gone).await? {
                Some(event) => self.write(&event).await?,
                None => return Ok(()),
            }
        }
    }

    /// Stops the tower, and sends the answer and the last event.
    async fn stop(&mut self) -> io::Result<()> {
        let mut events = self.control.subscribe(None);
        self.write(&self.control.carry_out(Request::Stop)).await?;
        while let Some(event) = events.next().await {
            if let Output::Notice(Notice::ShutDown { .. }) = event.output {
                self.write(&event).await?;
            }
        }
        Ok(())
    }

    async fn write(&mut self, entry: &Entry) -> io::Result<()> {
        self.write_line(&json::line(entry)?).await
    }

    async fn write_line(&mut self, line: &[u8]) -> io::Result<()> {
        let stream = self.stream.get_mut();
        within(READ_LIMIT, async {
            stream.write_all(line).await?;
            stream.flush().await
        })
        .await
    }

    /// Returns the next line without its end. Returns `None` at the end of the stream.
    async fn read_line(&mut self) -> io::Result<Option<Line>> {
        let mut line = Vec::new();
        loop {
            let bytes = self.stream.fill_buf().await?;
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let (taken, is_whole) = match end {
                Some(end) => (end + 1, true),
                None => (bytes.len(), bytes.is_empty()),
            };
            line.extend_from_slice(&bytes[..end.unwrap_or(taken)]);
            self.stream.consume(taken);
            if line.len() > self.max_line {
                return Ok(Some(Line::TooLong));
            }
            if is_whole {
                let is_end = end.is_none() && line.is_empty();
                return Ok((!is_end).then_some(Line::Whole(line)));
            }
        }
    }
}

/// Waits until the client has closed the connection. A client that has closed only its output, as
/// `nc -N` does, still reads. Further requests stay in the buffer.
async fn closed(stream: &mut BufReader<Async<UnixStream>>) -> io::Result<()> {
    if !stream.fill_buf().await?.is_empty() {
        return future::pending().await;
    }
    while !is_gone(stream.get_ref()) {
        Timer::after(GONE_INTERVAL).await;
    }
    Ok(())
}

/// Returns whether a client has closed both directions of its connection.
fn is_gone(stream: &Async<UnixStream>) -> bool {
    let mut polled = [PollFd::new(stream.as_fd(), PollFlags::empty())];
    let result = poll(&mut polled, PollTimeout::ZERO);
    let [polled] = polled;
    let ends = PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL;
    result.is_err() || polled.revents().is_none_or(|found| found.intersects(ends))
}

/// Returns the result of `task`, or an error after `limit`.
async fn within<T>(limit: Duration, task: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let late = async {
        Timer::after(limit).await;
        Err(io::ErrorKind::TimedOut.into())
    };
    task.or(late).await
}
