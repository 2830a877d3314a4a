//! Opening a connection: each address of a host in turn, none of them waited for.

use clacks_proto::driver::{HEAD_START, MAX_ADDRESSES};
use clacks_proto::{Instant, IoCause};
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::vec;

/// What some systems say of a connection that is still under way; it has no stable `ErrorKind`.
const EINPROGRESS: i32 =
    if cfg!(any(target_os = "linux", target_os = "android")) { 115 } else { 36 };

/// The attempts to reach one host, each with a head start before the next. Dropping it gives up those under way.
#[derive(Debug)]
pub(crate) struct Dial {
    sockets: vec::IntoIter<SocketAddr>,
    attempts: Vec<TcpStream>,
    /// When the last of them has used up its head start.
    next_at: Instant,
    failure: IoCause,
}

/// How far a dial has come.
#[derive(Debug)]
pub(crate) enum Dialled {
    /// Readiness will tell. If an attempt has begun and is not the last one possible: when to go on even without.
    UnderWay(Option<Instant>),
    Connected(TcpStream),
    /// With the cause of the last attempt to fail.
    Failed(IoCause),
}

impl Dial {
    /// Will try the addresses in their order. When there are none, the cause is `failure`.
    pub(crate) fn new(mut sockets: Vec<SocketAddr>, failure: IoCause) -> Self {
        sockets.truncate(MAX_ADDRESSES);
        let sockets = sockets.into_iter();
        Self { sockets, attempts: Vec::new(), next_at: Instant::ORIGIN, failure }
    }

    /// Goes on as far as is possible without waiting. Call it at the beginning, whenever a socket may have news, and when it is time for the next
    /// address; needless calls are harmless.
    pub(crate) fn advance(&mut self, now: Instant, registry: &Registry, token: Token) -> Dialled {
        let mut is_due = self.next_at <= now;
        let mut index = 0;
        while let Some(attempt) = self.attempts.get(index) {
            match has_connected(attempt) {
                Ok(true) => return Dialled::Connected(self.attempts.swap_remove(index)),
                Ok(false) => index += 1,
                Err(error) => {
                    self.attempts.swap_remove(index);
                    self.failure = IoCause::from(&error);
                    is_due = true;
                }
            }
        }
        if is_due && self.try_next(registry, token) {
            self.next_at = now + HEAD_START;
            return Dialled::UnderWay((self.sockets.len() > 0).then_some(self.next_at));
        }
        if self.attempts.is_empty() {
            Dialled::Failed(self.failure)
        } else {
            Dialled::UnderWay(None)
        }
    }

    /// Begins the next attempt; `false` when there is none left.
    fn try_next(&mut self, registry: &Registry, token: Token) -> bool {
        for socket in self.sockets.by_ref() {
            match open(socket, registry, token) {
                Ok(stream) => {
                    self.attempts.push(stream);
                    return true;
                }
                Err(error) => self.failure = IoCause::from(&error),
            }
        }
        false
    }
}

fn open(socket: SocketAddr, registry: &Registry, token: Token) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(socket)?;
    registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
    Ok(stream)
}

/// Whether the connection stands. Being writable is no proof of that: a socket whose attempt failed is, too.
fn has_connected(stream: &TcpStream) -> io::Result<bool> {
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    match stream.peer_addr() {
        Ok(peer) if is_itself(stream, peer) => Err(ErrorKind::ConnectionRefused.into()),
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotConnected => Ok(false),
        Err(error) if error.raw_os_error() == Some(EINPROGRESS) => Ok(false),
        Err(error) => Err(error),
    }
}

/// When nobody listens at a port of this machine, a dial may be given that very port for its own end, and TCP connects it with
/// itself; the port's tower could then not come back.
fn is_itself(stream: &TcpStream, peer: SocketAddr) -> bool {
    stream.local_addr().is_ok_and(|local| local == peer)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use mio::{Events, Poll};
    use std::net::TcpListener;

    const TOKEN: Token = Token(0);

    fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = listener.local_addr().unwrap();
        (listener, socket)
    }

    /// A port that refuses connections. The two ends of a connection reserve it.
    fn closed_port() -> (SocketAddr, [std::net::TcpStream; 2]) {
        let (listener, socket) = listener();
        let caller = std::net::TcpStream::connect(socket).unwrap();
        (socket, [caller, listener.accept().unwrap().0])
    }

    /// The outcome of attempts that need no time to pass.
    fn finish(dial: &mut Dial) -> Dialled {
        finish_at(Instant::ORIGIN, &mut Poll::new().unwrap(), dial)
    }

    fn finish_at(now: Instant, poll: &mut Poll, dial: &mut Dial) -> Dialled {
        let mut events = Events::with_capacity(8);
        loop {
            match dial.advance(now, poll.registry(), TOKEN) {
                Dialled::UnderWay(_) => poll.poll(&mut events, None).unwrap(),
                dialled => return dialled,
            }
        }
    }

    #[test]
    fn each_address_is_tried_until_one_answers() {
        let (_listener, open) = listener();
        let (closed, _hold) = closed_port();
        let mut dial = Dial::new(vec![closed, open, closed], IoCause::Resolve);
        let Dialled::Connected(stream) = finish(&mut dial) else { panic!("not connected") };
        assert_eq!(stream.peer_addr().unwrap(), open);
    }

    #[test]
    fn failures_are_told_apart() {
        let (closed, _hold) = closed_port();
        let mut refused = Dial::new(vec![closed], IoCause::Resolve);
        assert!(matches!(finish(&mut refused), Dialled::Failed(IoCause::Refused)));
        let mut nowhere = Dial::new(Vec::new(), IoCause::Resolve);
        assert!(matches!(finish(&mut nowhere), Dialled::Failed(IoCause::Resolve)));
    }

    #[test]
    fn a_name_with_too_many_addresses_is_not_tried_for_ever() {
        let (_listener, open) = listener();
        let (closed, _hold) = closed_port();
        let mut sockets = vec![closed; MAX_ADDRESSES];
        sockets.push(open);
        let mut dial = Dial::new(sockets, IoCause::Resolve);
        assert!(matches!(finish(&mut dial), Dialled::Failed(IoCause::Refused)));
    }

    /// An address that never answers. Attempts that hang need a listener whose queue is full, and what happens then differs between
    /// systems.
    #[cfg(target_os = "linux")]
    pub(crate) fn silence() -> (SocketAddr, (TcpListener, Vec<std::net::TcpStream>)) {
        let (listener, socket) = listener();
        let patience = std::time::Duration::from_millis(500);
        let mut queue = Vec::new();
        while let Ok(stream) = std::net::TcpStream::connect_timeout(&socket, patience) {
            queue.push(stream);
        }
        (socket, (listener, queue))
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn asking_too_early_is_not_taken_for_an_answer() {
        let (silent, _hold) = silence();
        let poll = Poll::new().unwrap();
        let mut dial = Dial::new(vec![silent], IoCause::Resolve);
        for _ in 0..10 {
            let dialled = dial.advance(Instant::ORIGIN, poll.registry(), TOKEN);
            assert!(matches!(dialled, Dialled::UnderWay(None)));
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_address_that_never_answers_has_a_head_start_and_no_more() {
        let (silent, _hold) = silence();
        let (_listener, open) = listener();
        let (closed, _hold_closed) = closed_port();
        let mut poll = Poll::new().unwrap();
        let sockets = vec![closed, silent, closed, open];
        let mut dial = Dial::new(sockets, IoCause::Resolve);
        // The first one fails, and the second one begins at once.
        let begin = Instant::ORIGIN;
        let mut events = Events::with_capacity(8);
        let mut next = dial.advance(begin, poll.registry(), TOKEN);
        while dial.sockets.len() > 2 {
            poll.poll(&mut events, None).unwrap();
            next = dial.advance(begin, poll.registry(), TOKEN);
        }
        let due = begin + HEAD_START;
        assert!(matches!(next, Dialled::UnderWay(Some(at)) if at == due));
        let early = begin + HEAD_START / 2;
        let patient = dial.advance(early, poll.registry(), TOKEN);
        assert!(matches!(patient, Dialled::UnderWay(None)) && dial.sockets.len() == 2);
        let Dialled::Connected(stream) = finish_at(due, &mut poll, &mut dial) else {
            panic!("not connected")
        };
        assert_eq!(stream.peer_addr().unwrap(), open);
        assert_eq!(dial.attempts.len(), 1, "the silent one was not given up meanwhile");
    }
}
