//! Dials without blocking.

use clacks_proto::driver::{Dial, DialProgress, is_connected};
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use std::time::Instant;

/// Advances a dial without blocking. Its sockets are registered with `token`.
pub(crate) fn advance(
    dial: &mut Dial<TcpStream>,
    now: Instant,
    registry: &Registry,
    token: Token,
) -> DialProgress<TcpStream> {
    dial.advance(
        now,
        |address| {
            let mut stream = TcpStream::connect(address)?;
            registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
            Ok(stream)
        },
        |stream| is_connected(stream.take_error(), stream.local_addr(), stream.peer_addr()),
    )
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use clacks_proto::IoCause;
    use mio::{Events, Poll};
    use std::net::{SocketAddr, TcpListener};
    #[cfg(target_os = "linux")]
    use std::time::Duration;

    const TOKEN: Token = Token(0);

    fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    /// A port that refuses connections. The two ends of a connection reserve it.
    fn closed_port() -> (SocketAddr, [std::net::TcpStream; 2]) {
        let (listener, address) = listener();
        let caller = std::net::TcpStream::connect(address).unwrap();
        (address, [caller, listener.accept().unwrap().0])
    }

    /// Advances a dial to its end, with a clock that stands still.
    fn finish(addresses: Result<Vec<SocketAddr>, IoCause>) -> Result<SocketAddr, IoCause> {
        let (mut poll, mut events) = (Poll::new().unwrap(), Events::with_capacity(8));
        let (mut dial, now) = (Dial::new(addresses), Instant::now());
        loop {
            match advance(&mut dial, now, poll.registry(), TOKEN) {
                DialProgress::Pending(_) => poll.poll(&mut events, None).unwrap(),
                DialProgress::Connected(stream) => return Ok(stream.peer_addr().unwrap()),
                DialProgress::Failed(cause) => return Err(cause),
            }
        }
    }

    #[test]
    fn each_address_is_dialled_until_one_accepts() {
        let (_listener, open) = listener();
        let (closed, _hold) = closed_port();
        assert_eq!(finish(Ok(vec![closed, open, closed])), Ok(open));
    }

    #[test]
    fn a_failure_has_the_cause_of_the_operating_system_or_the_resolver() {
        let (closed, _hold) = closed_port();
        assert_eq!(finish(Ok(vec![closed; 2])), Err(IoCause::Refused));
        assert_eq!(finish(Ok(Vec::new())), Err(IoCause::Resolve));
        assert_eq!(finish(Err(IoCause::Exhausted)), Err(IoCause::Exhausted));
    }

    /// Returns an address that never answers, because the queue of its listener is full. Other
    /// systems behave differently then.
    #[cfg(target_os = "linux")]
    pub(crate) fn silent_address() -> (SocketAddr, impl Sized) {
        let (listener, address) = listener();
        let timeout = Duration::from_millis(500);
        let connect = || std::net::TcpStream::connect_timeout(&address, timeout).ok();
        let queue: Vec<_> = std::iter::from_fn(connect).collect();
        (address, (listener, queue))
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_attempt_without_an_answer_is_pending() {
        let (silent, _hold) = silent_address();
        let poll = Poll::new().unwrap();
        let (mut dial, now) = (Dial::new(Ok(vec![silent])), Instant::now());
        for _ in 0..10 {
            let progress = advance(&mut dial, now, poll.registry(), TOKEN);
            assert!(matches!(progress, DialProgress::Pending(None)), "{progress:?}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_silent_address_does_not_block_the_next_one() {
        let (silent, _hold) = silent_address();
        let (_listener, open) = listener();
        let (mut poll, mut events) = (Poll::new().unwrap(), Events::with_capacity(8));
        let mut dial = Dial::new(Ok(vec![silent, open]));
        let start = Instant::now();
        let DialProgress::Pending(Some(next)) = advance(&mut dial, start, poll.registry(), TOKEN)
        else {
            panic!("no timer for the next address");
        };
        assert_eq!(dial.attempts().len(), 1);
        let stream = loop {
            match advance(&mut dial, next, poll.registry(), TOKEN) {
                DialProgress::Connected(stream) => break stream,
                progress => assert!(matches!(progress, DialProgress::Pending(None))),
            }
            poll.poll(&mut events, None).unwrap();
        };
        assert_eq!(stream.peer_addr().unwrap(), open);
        assert_eq!(dial.attempts().len(), 1, "the first attempt continues until one succeeds");
    }
}
