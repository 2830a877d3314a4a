//! Opening a connection: each address of a host in turn, none of them waited for.

use clacks_proto::IoCause;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::vec;

/// What some systems say of a connection that is still under way; it has no stable `ErrorKind`.
const EINPROGRESS: i32 =
    if cfg!(any(target_os = "linux", target_os = "android")) { 115 } else { 36 };

/// The attempts to reach one host. Dropping it gives up the one under way.
#[derive(Debug)]
pub(crate) struct Dial {
    sockets: vec::IntoIter<SocketAddr>,
    attempt: Option<TcpStream>,
    failure: IoCause,
}

/// How far a dial has come.
#[derive(Debug)]
pub(crate) enum Dialled {
    /// Readiness will tell.
    UnderWay,
    Connected(TcpStream),
    /// With the cause of the last attempt.
    Failed(IoCause),
}

impl Dial {
    /// Will try the addresses in their order. When there are none, the cause is `failure`.
    pub(crate) fn new(sockets: Vec<SocketAddr>, failure: IoCause) -> Self {
        Self { sockets: sockets.into_iter(), attempt: None, failure }
    }

    /// Goes on as far as is possible without waiting. Call it at the beginning, and whenever the socket may have news; needless
    /// calls are harmless.
    pub(crate) fn advance(&mut self, registry: &Registry, token: Token) -> Dialled {
        loop {
            if let Some(stream) = self.attempt.take() {
                match has_connected(&stream) {
                    Ok(false) => {
                        self.attempt = Some(stream);
                        return Dialled::UnderWay;
                    }
                    Ok(true) => return Dialled::Connected(stream),
                    // The socket is closed here, before the next one takes its token.
                    Err(error) => self.failure = IoCause::from(&error),
                }
            }
            let Some(socket) = self.sockets.next() else { return Dialled::Failed(self.failure) };
            match open(socket, registry, token) {
                Ok(stream) => self.attempt = Some(stream),
                Err(error) => self.failure = IoCause::from(&error),
            }
        }
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
mod tests {
    use super::*;
    use mio::{Events, Poll};
    use std::net::TcpListener;
    use std::time::Duration;

    const TOKEN: Token = Token(0);

    fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = listener.local_addr().unwrap();
        (listener, socket)
    }

    fn closed_port() -> SocketAddr {
        listener().1
    }

    fn finish(dial: &mut Dial) -> Dialled {
        let mut poll = Poll::new().unwrap();
        let mut events = Events::with_capacity(8);
        loop {
            match dial.advance(poll.registry(), TOKEN) {
                Dialled::UnderWay => poll.poll(&mut events, None).unwrap(),
                dialled => return dialled,
            }
        }
    }

    #[test]
    fn each_address_is_tried_until_one_answers() {
        let (_listener, open) = listener();
        let mut dial = Dial::new(vec![closed_port(), open, closed_port()], IoCause::Resolve);
        let Dialled::Connected(stream) = finish(&mut dial) else { panic!("not connected") };
        assert_eq!(stream.peer_addr().unwrap(), open);
    }

    #[test]
    fn failures_are_told_apart() {
        let mut refused = Dial::new(vec![closed_port()], IoCause::Resolve);
        assert!(matches!(finish(&mut refused), Dialled::Failed(IoCause::Refused)));
        let mut nowhere = Dial::new(Vec::new(), IoCause::Resolve);
        assert!(matches!(finish(&mut nowhere), Dialled::Failed(IoCause::Resolve)));
    }

    /// Attempts that hang need a listener whose queue is full, and what happens then differs between systems.
    #[cfg(target_os = "linux")]
    #[test]
    fn asking_too_early_is_not_taken_for_an_answer() {
        let (listener, socket) = listener();
        let patience = Duration::from_millis(500);
        let mut queue = Vec::new();
        while let Ok(stream) = std::net::TcpStream::connect_timeout(&socket, patience) {
            queue.push(stream);
        }
        let poll = Poll::new().unwrap();
        let mut dial = Dial::new(vec![socket], IoCause::Resolve);
        for _ in 0..10 {
            assert!(matches!(dial.advance(poll.registry(), TOKEN), Dialled::UnderWay));
        }
        drop(listener);
    }
}
