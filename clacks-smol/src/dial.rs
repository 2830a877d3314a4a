//! Dials: resolves the name of a host and connects to one of its addresses.

use clacks_proto::driver::{Dial, DialProgress, Resolver, is_connected, is_in_progress};
use clacks_proto::{Address, Host, IoCause, Standing};
use smol::channel;
use smol::{Async, Timer};
use socket2::{Domain, Protocol, Socket, Type};
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::pin::Pin;
use std::task::Poll;
use std::time::Instant;

/// What to dial.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) address: Address,
    /// The IP addresses of the host that are not dialled.
    pub(crate) except: Vec<IpAddr>,
    pub(crate) standing: Standing,
}

/// Connects to one of the addresses of a host. There is no timeout. Dropping the future cancels the
/// dial.
pub(crate) async fn connect(
    target: Target,
    resolver: &Resolver,
) -> Result<Async<TcpStream>, IoCause> {
    execute(Dial::new(resolve(target, resolver).await)).await
}

async fn resolve(target: Target, resolver: &Resolver) -> Result<Vec<SocketAddr>, IoCause> {
    let Target { address, except, standing } = target;
    let name = match address.host() {
        Host::Ip(ip) => return Ok(vec![SocketAddr::new(ip, address.port().get())]),
        Host::Name(name) => name.clone(),
    };
    let (sender, answer) = channel::bounded(1);
    // Dropped with this future, which gives up the look-up.
    let _lookup = resolver.look_up(name, address.port(), except, standing, move |resolved| {
        // Fails if the dial was cancelled.
        let _ = sender.try_send(resolved);
    });
    answer.recv().await.unwrap_or(Err(IoCause::Resolve))
}

async fn execute(mut dial: Dial<Async<TcpStream>>) -> Result<Async<TcpStream>, IoCause> {
    let (mut timer, mut armed) = (Timer::never(), None);
    poll_fn(move |context| {
        loop {
            match dial.advance(Instant::now(), start, is_done) {
                DialProgress::Connected(stream) => return Poll::Ready(Ok(stream)),
                DialProgress::Failed(cause) => return Poll::Ready(Err(cause)),
                DialProgress::Pending(until) => {
                    if armed != until {
                        armed = until;
                        timer = until.map_or_else(Timer::never, Timer::at);
                    }
                }
            }
            // All attempts are polled, so that each one wakes this task.
            let mut is_ready = Pin::new(&mut timer).poll(context).is_ready();
            for attempt in dial.attempts() {
                is_ready |= matches!(attempt.poll_writable(context), Poll::Ready(Ok(())));
            }
            if !is_ready {
                return Poll::Pending;
            }
        }
    })
    .await
}

/// Starts an attempt to connect.
fn start(address: SocketAddr) -> io::Result<Async<TcpStream>> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    match socket.connect(&address.into()) {
        Err(error) if !is_in_progress(&error) => Err(error),
        _ => Async::new_nonblocking(socket.into()),
    }
}

fn is_done(attempt: &Async<TcpStream>) -> io::Result<bool> {
    let socket = attempt.get_ref();
    is_connected(socket.take_error(), socket.local_addr(), socket.peer_addr())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    /// A port that refuses connections. The two ends of a connection reserve it.
    fn closed_port() -> (SocketAddr, [TcpStream; 2]) {
        let (listener, address) = listener();
        let caller = TcpStream::connect(address).unwrap();
        (address, [caller, listener.accept().unwrap().0])
    }

    fn finish(addresses: Result<Vec<SocketAddr>, IoCause>) -> Result<SocketAddr, IoCause> {
        let stream = smol::block_on(execute(Dial::new(addresses)))?;
        Ok(stream.get_ref().peer_addr().unwrap())
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

    /// An address is silent if the queue of its listener is full. Other systems behave differently
    /// then.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_silent_address_does_not_block_the_next_one() {
        let (_silent_listener, silent) = listener();
        let timeout = std::time::Duration::from_millis(500);
        let connect = || TcpStream::connect_timeout(&silent, timeout).ok();
        let _queue: Vec<_> = std::iter::from_fn(connect).collect();
        let (_listener, open) = listener();
        assert_eq!(finish(Ok(vec![silent, open])), Ok(open));
    }

    fn connect_to_host(host: &str, port: u16) -> Result<SocketAddr, IoCause> {
        let address = Address::new(host, port).unwrap();
        let target = Target { address, except: Vec::new(), standing: Standing::Known };
        let stream = smol::block_on(connect(target, &Resolver::default()))?;
        Ok(stream.get_ref().peer_addr().unwrap())
    }

    #[test]
    fn names_are_looked_up() {
        let (_listener, open) = listener();
        assert_eq!(connect_to_host("localhost", open.port()).unwrap().port(), open.port());
        assert_eq!(connect_to_host("no-such-tower.invalid", 1), Err(IoCause::Resolve));
    }
}
