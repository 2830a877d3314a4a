//! Serves the dashboard over HTTP.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use nix::sys::socket::{setsockopt, sockopt};
use smol::channel::{self, Receiver, Sender};
use smol::future::FutureExt;
use smol::lock::Semaphore;
use smol::stream::Stream;
use smol::{Async, LocalExecutor, Timer};
use smol_hyper::rt::{FuturesIo, SmolTimer};

use super::access::{Access, Refusal};
use super::feed::{Feed, MAX_READERS};
use super::health::{self, Health};
use super::metrics::{self, Metrics};
use super::page;
use crate::control::ControlledTower;
use crate::output::Output;

/// The maximum number of connections. More than the readers, so that the metrics can be read when
/// all pages are open. A further connection closes the oldest one without a request, and waits if
/// there is none.
const MAX_CONNECTIONS: usize = 4 * MAX_READERS;

/// How long a client may take to send the head of a request.
const HEAD_LIMIT: Duration = Duration::from_secs(10);

/// How long a request may take, except for the events.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);

/// How often the limits of a connection are checked.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The maximum size of the head of a request. Bodies are not read.
const MAX_HEAD: usize = 16 * 1024;

/// The maximum number of headers.
const MAX_HEADERS: usize = 64;

/// The bytes that wait in the socket for a slow client. With the default of the system, a client
/// that reads nothing would be noticed after megabytes.
const SEND_BUFFER: usize = 64 * 1024;

/// The pause after an error of the listener, such as a lack of descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// The policy of answers that are no pages.
const NO_CONTENT_POLICY: &str = "default-src 'none'; frame-ancestors 'none'";

/// A thread that serves the dashboard. A connection is a task of that thread, so a slow client
/// delays neither the tower nor other clients.
pub(super) struct Server {
    thread: JoinHandle<()>,
    /// Closed when the server is to end.
    finish: Sender<()>,
    was_opened: Arc<AtomicBool>,
}

impl Server {
    /// Starts the thread.
    pub(super) fn start(
        listener: TcpListener,
        access: Access,
        control: Arc<ControlledTower>,
    ) -> io::Result<Self> {
        let listener = Async::new(listener)?;
        let (finish, finished) = channel::bounded(1);
        let was_opened = Arc::new(AtomicBool::new(false));
        let feed = Feed::new(control.clone(), was_opened.clone());
        let health = Health::new(control.clone());
        let answers = Answers { control, access, feed, health, silent: Silent::default() };
        let thread = thread::Builder::new()
            .name("dashboard".into())
            .spawn(move || smol::block_on(serve(&listener, answers, &finished)))?;
        Ok(Self { thread, finish, was_opened })
    }

    /// Returns whether a page has shown the tower.
    pub(super) fn was_opened(&self) -> bool {
        self.was_opened.load(Ordering::Relaxed)
    }

    /// Closes all connections, and ends the thread.
    pub(super) fn finish(self) {
        self.finish.close();
        // A panic there is reported where it happened.
        let _ = self.thread.join();
    }
}

async fn serve(listener: &Async<TcpListener>, dashboard: Answers, finished: &Receiver<()>) {
    let executor = LocalExecutor::new();
    let dashboard = Rc::new(dashboard);
    let feed = {
        let dashboard = dashboard.clone();
        executor.spawn(async move { dashboard.feed.run().await })
    };
    let finish = async {
        let _ = finished.recv().await;
    };
    executor.run(accept(listener, &dashboard, &executor).or(finish)).await;
    drop(feed);
    dashboard.feed.close();
}

async fn accept(
    listener: &Async<TcpListener>,
    dashboard: &Rc<Answers>,
    executor: &LocalExecutor<'_>,
) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    for number in 0.. {
        match listener.accept().await {
            Ok((stream, _)) => {
                let permit = match room.try_acquire_arc() {
                    Some(permit) => permit,
                    None => {
                        dashboard.silent.close_oldest();
                        room.acquire_arc().await
                    }
                };
                // Without the limit, a slow client is noticed later.
                let _ = setsockopt(&stream, sockopt::SndBuf, &SEND_BUFFER);
                let dashboard = dashboard.clone();
                let connection = async move {
                    dashboard.serve(stream, number).await;
                    drop(permit);
                };
                executor.spawn(connection).detach();
            }
            Err(_) => _ = Timer::after(ACCEPT_RETRY).await,
        }
    }
}

/// The connections without a request, the oldest first. A connection is closed when its sender is
/// dropped.
#[derive(Default)]
struct Silent(RefCell<VecDeque<(u64, Sender<()>)>>);

impl Silent {
    /// Adds a connection. The receiver is closed when the connection is to end.
    fn add(&self, number: u64) -> Receiver<()> {
        let (sender, closed) = channel::bounded(1);
        self.0.borrow_mut().push_back((number, sender));
        closed
    }

    /// Removes a connection that has a request or has ended.
    fn remove(&self, number: u64) -> Option<Sender<()>> {
        let mut silent = self.0.borrow_mut();
        let index = silent.iter().position(|(other, _)| *other == number)?;
        silent.remove(index).map(|(_, sender)| sender)
    }

    fn close_oldest(&self) {
        self.0.borrow_mut().pop_front();
    }
}

/// Answers requests.
struct Answers {
    control: Arc<ControlledTower>,
    access: Access,
    feed: Feed,
    health: Health,
    silent: Silent,
}

impl Answers {
    /// Serves one request of a connection.
    async fn serve(self: Rc<Self>, stream: Async<TcpStream>, number: u64) {
        let start = Instant::now();
        let closed = self.silent.add(number);
        // Keeps a connection with a request open.
        let has_request = RefCell::new(None);
        // The events that this connection reads.
        let events = Rc::new(RefCell::new(None::<Receiver<Bytes>>));
        let service = service_fn(async |request| {
            has_request.replace(self.silent.remove(number));
            let answer = self.answer(&request).await;
            if let Content::Events(stream) = answer.body() {
                *events.borrow_mut() = Some((**stream).clone());
            }
            Ok::<_, Infallible>(answer)
        });
        let serve = async {
            // A connection may end in any way. The error concerns its client only.
            let _ = http1::Builder::new()
                .timer(SmolTimer::new())
                .header_read_timeout(HEAD_LIMIT)
                .max_buf_size(MAX_HEAD)
                .max_headers(MAX_HEADERS)
                .keep_alive(false)
                .serve_connection(FuturesIo::new(stream), service)
                .await;
        };
        let cut = async {
            loop {
                Timer::after(CHECK_INTERVAL).await;
                let is_over = match &*events.borrow() {
                    // The feed has dropped the reader.
                    Some(events) => events.is_closed(),
                    None => start.elapsed() >= REQUEST_LIMIT,
                };
                if is_over {
                    return;
                }
            }
        };
        let evicted = async {
            let _ = closed.recv().await;
        };
        serve.or(cut).or(evicted).await;
        self.silent.remove(number);
    }

    async fn answer(&self, request: &Request<Incoming>) -> Response<Content> {
        let headers = request.headers();
        if let Err(refusal) = self.access.check_site(headers) {
            return refuse(refusal);
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut answer =
                text(StatusCode::METHOD_NOT_ALLOWED, "Only GET and HEAD are allowed.\n");
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return answer;
        }
        match request.uri().path() {
            "/" => self.page(),
            "/healthz" => self.health().await,
            "/metrics" => match self.access.check_metrics(headers) {
                Ok(()) => self.metrics(),
                Err(refusal) => refuse(refusal),
            },
            "/events" => match self.access.check_token(headers) {
                Ok(()) => self.events(),
                Err(refusal) => refuse(refusal),
            },
            _ => text(StatusCode::NOT_FOUND, "The paths are /, /metrics and /healthz.\n"),
        }
    }

    #[allow(clippy::unused_self, reason = "like the other answers")]
    fn page(&self) -> Response<Content> {
        let made = page::page().ok().and_then(|(page, policy)| {
            let policy = HeaderValue::from_str(&policy).ok()?;
            let mut answer = respond(StatusCode::OK, "text/html; charset=utf-8", page.into());
            answer.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
            Some(answer)
        });
        made.unwrap_or_else(failed)
    }

    async fn health(&self) -> Response<Content> {
        if self.health.is_good(health::LIMIT).await {
            text(StatusCode::OK, "ok\n")
        } else {
            text(StatusCode::SERVICE_UNAVAILABLE, "The tower makes no progress.\n")
        }
    }

    fn metrics(&self) -> Response<Content> {
        let entry = self.control.status();
        let Output::Status(status) = entry.output else { return failed() };
        let metrics = Metrics { status: *status, seq: entry.seq, readers: self.feed.readers() };
        match metrics.text() {
            Ok(text) => respond(StatusCode::OK, metrics::CONTENT_TYPE, text.into()),
            Err(_) => failed(),
        }
    }

    fn events(&self) -> Response<Content> {
        match self.feed.subscribe() {
            Some(events) => {
                let events = Content::Events(Box::pin(events));
                respond(StatusCode::OK, "text/event-stream", events)
            }
            None => {
                let sentence = format!("{MAX_READERS} pages are open: close one of them.\n");
                respond(StatusCode::SERVICE_UNAVAILABLE, PLAIN, sentence.into())
            }
        }
    }
}

const PLAIN: &str = "text/plain; charset=utf-8";

fn refuse(refusal: Refusal) -> Response<Content> {
    text(StatusCode::FORBIDDEN, refusal.as_str())
}

fn failed() -> Response<Content> {
    text(StatusCode::INTERNAL_SERVER_ERROR, "The answer could not be made. Try it again.\n")
}

fn text(status: StatusCode, sentence: &'static str) -> Response<Content> {
    respond(status, PLAIN, Content::Whole(Some(Bytes::from_static(sentence.as_bytes()))))
}

fn respond(status: StatusCode, kind: &'static str, content: Content) -> Response<Content> {
    let mut answer = Response::new(content);
    *answer.status_mut() = status;
    for (name, value) in [
        (CONTENT_TYPE, kind),
        (CONTENT_SECURITY_POLICY, NO_CONTENT_POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}

/// The body of an answer.
enum Content {
    Whole(Option<Bytes>),
    /// It ends when the feed drops the reader.
    Events(Pin<Box<Receiver<Bytes>>>),
}

impl From<String> for Content {
    fn from(text: String) -> Self {
        Self::Whole(Some(text.into()))
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let bytes = match &mut *self {
            Self::Whole(whole) => Poll::Ready(whole.take()),
            Self::Events(events) => events.as_mut().poll_next(context),
        };
        bytes.map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(whole) => {
                let bytes = whole.as_ref().map_or(0, Bytes::len);
                SizeHint::with_exact(u64::try_from(bytes).unwrap_or(u64::MAX))
            }
            Self::Events(_) => SizeHint::default(),
        }
    }
}
