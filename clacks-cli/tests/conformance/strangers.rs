//! Peers that speak HTTP, more or less.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use clacks_proto::{Address, Config, Dialect, Dialects, Status};

use crate::network::{Network, Plan, Runtimes, port, quick, quiet};

const MESSAGES: usize = 50;

pub(crate) fn peers_that_hang_babble_dawdle_and_lie_cost_nothing_but_themselves(
    runtimes: Runtimes,
) {
    let mut network = Network::of(runtimes);
    let clear = |mut config: Config| {
        config.dialects = Dialects::NativeAndHttp;
        config.timeouts.confirm = Duration::from_secs(1);
        config.timeouts.close = Duration::from_secs(1);
        let mut plan = Plan::new(config);
        plan.identity = None;
        plan
    };
    let mut tower = network.raise(clear(quick()));
    let mut good = network.raise(clear(quiet()));
    let bad = [
        Stranger::that(Habit::Hangs),
        Stranger::that(Habit::Answers(b"\0\x01 is this an answer?\r\n\r\n")),
        Stranger::that(Habit::Begins(b"HTTP/1.1 200")),
        Stranger::that(Habit::Answers(b"HTTP/1.1 500 Internal Server Error\r\n\r\n")),
        Stranger::that(Habit::Answers(b"")),
    ];
    // It says that it takes everything, and breaks off: what it was given is its own.
    let liar = Stranger::that(Habit::Answers(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"));
    for stranger in bad.iter().chain([&liar]) {
        tower.expand(&stranger.address()).unwrap();
    }
    tower.expand(&good.address).unwrap();
    let texts: BTreeSet<String> = (0..MESSAGES).map(|n| format!("message {n}.")).collect();
    texts.iter().for_each(|text| tower.enqueue_text(text));

    tower.until("all is handed over", |tower| tower.held().0 == 0);
    let mut found = BTreeSet::new();
    for held in good.peek() {
        found.extend(held.message.as_text().map(str::to_owned));
    }
    let heard = liar.heard();
    found.extend(texts.iter().filter(|text| heard.contains(*text)).cloned());
    assert_eq!(found, texts, "each is where it was said to be");
    tower.thinks(Status::Alive, &good.address);
    for stranger in &bad {
        tower.thinks(Status::Lost, &stranger.address());
    }
    assert_eq!(tower.peer(&liar.address()).unwrap().dialect, Some(Dialect::Http));
    good.until("it still works", |good| good.status_of(&tower.address) == Some(Status::Alive));
}

/// What a stranger does when it has read a request.
#[derive(Clone, Copy)]
enum Habit {
    /// It says nothing more.
    Hangs,
    /// It says that, and nothing more.
    Begins(&'static [u8]),
    /// It says that, and closes.
    Answers(&'static [u8]),
}

/// Somebody at the other end of connections in clear text who does not know the native dialect.
struct Stranger {
    socket: SocketAddr,
    known: Arc<Mutex<Known>>,
}

#[derive(Default)]
struct Known {
    heard: String,
    streams: Vec<TcpStream>,
    is_over: bool,
}

impl Stranger {
    fn that(habit: Habit) -> Self {
        let listener = port();
        let socket = listener.local_addr().unwrap();
        let known = Arc::new(Mutex::new(Known::default()));
        let at_work = known.clone();
        thread::spawn(move || Self::work(&listener, habit, &at_work));
        Self { socket, known }
    }

    fn work(listener: &TcpListener, habit: Habit, known: &Arc<Mutex<Known>>) {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { continue };
            let mut all = lock(known);
            if all.is_over {
                return;
            }
            all.streams.push(stream.try_clone().unwrap());
            let known = known.clone();
            thread::spawn(move || Self::serve(stream, habit, &known));
        }
    }

    fn serve(mut stream: TcpStream, habit: Habit, known: &Mutex<Known>) {
        let Some(request) = read_request(&mut stream) else {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
            let _ = stream.shutdown(Shutdown::Both);
            return;
        };
        lock(known).heard += &request;
        let (words, ends) = match habit {
            Habit::Hangs => (&b""[..], false),
            Habit::Begins(words) => (words, false),
            Habit::Answers(words) => (words, true),
        };
        let _ = stream.write_all(words);
        if ends {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn address(&self) -> Address {
        Address::try_from(self.socket).unwrap()
    }

    fn heard(&self) -> String {
        lock(&self.known).heard.clone()
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let mut known = lock(&self.known);
        known.is_over = true;
        for stream in known.streams.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        // Whoever accepts connections wakes up, and sees that it is over.
        let _ = TcpStream::connect(self.socket);
    }
}

/// A whole request; `None` when something else begins.
fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    // The payload ends with the second bracket that closes in a row.
    while !bytes.ends_with(b"}}") {
        stream.read_exact(&mut byte).ok()?;
        bytes.push(byte[0]);
        if bytes[0] != b'P' {
            return None;
        }
    }
    String::from_utf8(bytes).ok()
}

fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}
