//! Peers that speak HTTP, correctly or not.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use clacks_proto::{Address, Config, Dialect, Dialects, Status};

use crate::network::{Network, Runtimes, listen, quick, quiet};

const MESSAGES: usize = 50;

pub(crate) fn no_message_is_lost_at_http_peers_that_fail(runtimes: Runtimes) {
    let mut network = Network::new(runtimes);
    let with_http = |mut config: Config| {
        config.dialects = Dialects::NativeAndHttp;
        config.timeouts.confirm = Duration::from_secs(1);
        config.timeouts.close = Duration::from_secs(1);
        config
    };
    let mut tower = network.start_clear(with_http(quick()));
    let good = network.start_clear(with_http(quiet()));
    let failing = [
        HttpPeer::new(Response::Nothing),
        HttpPeer::new(Response::Complete(b"\0\x01 is this an answer?\r\n\r\n")),
        HttpPeer::new(Response::Incomplete(b"HTTP/1.1 200")),
        HttpPeer::new(Response::Complete(b"HTTP/1.1 500 Internal Server Error\r\n\r\n")),
        HttpPeer::new(Response::Complete(b"")),
    ];
    // This peer confirms each message, and then closes the connection before the end of the body.
    let confirming =
        HttpPeer::new(Response::Complete(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"));
    for peer in failing.iter().chain([&confirming]) {
        tower.expand(&peer.address()).unwrap();
    }
    tower.expand(&good.address).unwrap();
    let texts: BTreeSet<String> = (0..MESSAGES).map(|n| format!("message {n}.")).collect();
    texts.iter().for_each(|text| tower.enqueue_text(text));

    tower.wait_until("an empty queue", |tower| tower.queue_len() == 0);
    let mut found = BTreeSet::new();
    for held in good.peek() {
        found.extend(held.message.as_text().map(str::to_owned));
    }
    let requests = confirming.requests();
    found.extend(texts.iter().filter(|text| requests.contains(*text)).cloned());
    assert_eq!(found, texts, "each message is at a peer that has confirmed it");
    tower.wait_for_status(Status::Alive, &good.address);
    for peer in &failing {
        tower.wait_for_status(Status::Lost, &peer.address());
    }
    assert_eq!(tower.find(&confirming.address()).unwrap().dialect, Some(Dialect::Http));
    // A call in clear text proves nothing, and this peer dials no other.
    assert_eq!(good.status_of(&tower.address), Some(Status::New));
}

/// The bytes that a peer sends after it has read a request.
#[derive(Clone, Copy)]
enum Response {
    /// Nothing. The connection stays open.
    Nothing,
    /// These bytes. The connection stays open.
    Incomplete(&'static [u8]),
    /// These bytes. Then the peer closes the connection.
    Complete(&'static [u8]),
}

/// A peer without TLS that does not speak the native dialect.
struct HttpPeer {
    socket: SocketAddr,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    requests: String,
    streams: Vec<TcpStream>,
    has_ended: bool,
}

impl HttpPeer {
    fn new(response: Response) -> Self {
        let listener = listen();
        let socket = listener.local_addr().unwrap();
        let shared = Arc::new(Mutex::new(Shared::default()));
        let accepting = shared.clone();
        thread::spawn(move || Self::accept(&listener, response, &accepting));
        Self { socket, shared }
    }

    fn accept(listener: &TcpListener, response: Response, shared: &Arc<Mutex<Shared>>) {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { continue };
            let mut locked = lock(shared);
            if locked.has_ended {
                return;
            }
            locked.streams.push(stream.try_clone().unwrap());
            let shared = shared.clone();
            thread::spawn(move || Self::serve(stream, response, &shared));
        }
    }

    fn serve(mut stream: TcpStream, response: Response, shared: &Mutex<Shared>) {
        let Some(request) = read_request(&mut stream) else {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
            let _ = stream.shutdown(Shutdown::Both);
            return;
        };
        lock(shared).requests += &request;
        let (bytes, closes) = match response {
            Response::Nothing => (&b""[..], false),
            Response::Incomplete(bytes) => (bytes, false),
            Response::Complete(bytes) => (bytes, true),
        };
        let _ = stream.write_all(bytes);
        if closes {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn address(&self) -> Address {
        Address::try_from(self.socket).unwrap()
    }

    /// Returns all requests so far.
    fn requests(&self) -> String {
        lock(&self.shared).requests.clone()
    }
}

impl Drop for HttpPeer {
    fn drop(&mut self) {
        let mut shared = lock(&self.shared);
        shared.has_ended = true;
        for stream in shared.streams.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        // Wakes the thread that accepts connections.
        let _ = TcpStream::connect(self.socket);
    }
}

/// Reads one request. Returns `None` if the bytes are no `POST` request.
fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    // The payload ends with two consecutive closing brackets.
    while !bytes.ends_with(b"}}") {
        stream.read_exact(&mut byte).ok()?;
        bytes.push(byte[0]);
        if bytes[0] != b'P' {
            return None;
        }
    }
    String::from_utf8(bytes).ok()
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
