//! Opening a connection to an address.

use async_io::{Async, Timer};
use clacks_proto::driver::{HEAD_START, MAX_ADDRESSES};
use clacks_proto::{Address, Host, IoCause};
use smol::future::{self, Boxed};
use smol::lock::Semaphore;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::task::Poll;

/// How many names a tower looks up at a time. The operating system's resolver can't be interrupted, and may
/// hold a thread of the process's pool for a minute each.
const MAX_LOOKUPS: usize = 16;

/// Opens connections. Does not limit how long that takes: who drops the future is no longer interested.
pub(crate) struct Dialler {
    lookups: Arc<Semaphore>,
}

impl Dialler {
    pub(crate) fn new() -> Self {
        Self { lookups: Arc::new(Semaphore::new(MAX_LOOKUPS)) }
    }

    /// A connection to one of the host's addresses, tried in the resolver's order and each with a head start before the next.
    /// The error is that of the last one.
    pub(crate) async fn connect(&self, address: &Address) -> Result<Async<TcpStream>, IoCause> {
        let sockets = self.resolve(address).await?;
        let attempts = sockets.into_iter().take(MAX_ADDRESSES).map(connect_one);
        first_of(attempts.collect()).await
    }

    async fn resolve(&self, address: &Address) -> Result<Vec<SocketAddr>, IoCause> {
        let port = address.port().get();
        let name = match address.host() {
            Host::Ip(ip) => return Ok(vec![SocketAddr::new(ip, port)]),
            Host::Name(name) => name.clone(),
        };
        // The permit goes with the thread, not with this future: a look-up that nobody waits for any more still runs.
        let permit = self.lookups.acquire_arc().await;
        smol::unblock(move || {
            let _permit = permit;
            (name.as_str(), port).to_socket_addrs().map(Iterator::collect)
        })
        .await
        .map_err(|_| IoCause::Resolve)
    }
}

fn connect_one(socket: SocketAddr) -> Attempt<Async<TcpStream>> {
    Box::pin(async move {
        match Async::<TcpStream>::connect(socket).await {
            Ok(stream) if has_one_end(stream.get_ref()) => Err(IoCause::Refused),
            Ok(stream) => Ok(stream),
            Err(error) => Err(IoCause::from(&error)),
        }
    })
}

/// One of several ways to what is wanted.
type Attempt<T> = Boxed<Result<T, IoCause>>;

/// The first success. The next attempt begins when one of those before it has failed, or the last of them has used up its
/// head start; all that have begun go on. The error is that of the last one to fail.
async fn first_of<T: Send + 'static>(attempts: Vec<Attempt<T>>) -> Result<T, IoCause> {
    let mut failure = IoCause::Resolve;
    let mut running = Vec::new();
    let mut waiting = attempts.into_iter();
    loop {
        let next = waiting.next();
        let patience = if next.is_some() { Timer::after(HEAD_START) } else { Timer::never() };
        running.extend(next);
        if running.is_empty() {
            return Err(failure);
        }
        let silence = async {
            patience.await;
            None
        };
        match future::or(async { Some(any(&mut running).await) }, silence).await {
            Some(Ok(success)) => return Ok(success),
            Some(Err(cause)) => failure = cause,
            None => {}
        }
    }
}

/// What the first of them to end has come to; it is taken out.
async fn any<T>(running: &mut Vec<Attempt<T>>) -> Result<T, IoCause> {
    std::future::poll_fn(|context| {
        for index in 0..running.len() {
            if let Poll::Ready(end) = running[index].as_mut().poll(context) {
                drop(running.swap_remove(index));
                return Poll::Ready(end);
            }
        }
        Poll::Pending
    })
    .await
}

/// Whether a connection ends where it begins. When nobody listens at a port of this machine, a dial may be given that very port for
/// its own end, and TCP connects it with itself; the port's tower could then not come back.
fn has_one_end(stream: &TcpStream) -> bool {
    matches!((stream.local_addr(), stream.peer_addr()), (Ok(local), Ok(peer)) if local == peer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::time::Duration;

    /// A port that refuses connections. The two ends of a connection reserve it.
    fn closed_port() -> (SocketAddr, [TcpStream; 2]) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = listener.local_addr().unwrap();
        let caller = TcpStream::connect(socket).unwrap();
        (socket, [caller, listener.accept().unwrap().0])
    }

    fn connect(sockets: &[SocketAddr]) -> Result<Async<TcpStream>, IoCause> {
        smol::block_on(first_of(sockets.iter().copied().map(connect_one).collect()))
    }

    #[test]
    fn each_address_is_tried_until_one_answers() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let open = listener.local_addr().unwrap();
        let (closed, _hold) = closed_port();
        let (other, _hold_other) = closed_port();
        let stream = connect(&[closed, open, other]);
        assert_eq!(stream.unwrap().get_ref().peer_addr().unwrap(), open);
        assert_eq!(connect(&[closed, other]).unwrap_err(), IoCause::Refused);
    }

    /// The outcome, or the failure of a test that would wait for ever.
    fn outcome(attempts: Vec<Attempt<u8>>) -> Result<u8, IoCause> {
        smol::block_on(future::or(first_of(attempts), async {
            Timer::after(Duration::from_secs(60)).await;
            panic!("waited too long");
        }))
    }

    fn silence() -> Attempt<u8> {
        Box::pin(future::pending())
    }

    fn after(wait: Duration, end: Result<u8, IoCause>) -> Attempt<u8> {
        Box::pin(async move {
            Timer::after(wait).await;
            end
        })
    }

    #[test]
    fn an_address_that_never_answers_does_not_keep_the_others_from_being_tried() {
        let attempts = vec![silence(), silence(), after(Duration::ZERO, Ok(3))];
        assert_eq!(outcome(attempts), Ok(3));
    }

    #[test]
    fn an_address_that_is_slow_to_answer_is_not_given_up() {
        let refused = || after(Duration::ZERO, Err(IoCause::Refused));
        let attempts = vec![after(2 * HEAD_START, Ok(1)), refused(), refused()];
        assert_eq!(outcome(attempts), Ok(1));
    }

    #[test]
    fn without_an_address_there_is_nothing_to_connect_to() {
        assert_eq!(outcome(Vec::new()), Err(IoCause::Resolve));
    }

    #[test]
    fn a_name_is_resolved() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let address = Address::new("localhost", port).unwrap();
        let stream = smol::block_on(Dialler::new().connect(&address));
        assert_eq!(stream.unwrap().get_ref().peer_addr().unwrap().port(), port);
    }

    #[test]
    fn failures_are_told_apart() {
        let (closed, _hold) = closed_port();
        let dialler = Dialler::new();
        let refused = smol::block_on(dialler.connect(&Address::try_from(closed).unwrap()));
        assert_eq!(refused.unwrap_err(), IoCause::Refused);
        let unknown = Address::new("no-such-tower.invalid", 1).unwrap();
        assert_eq!(smol::block_on(dialler.connect(&unknown)).unwrap_err(), IoCause::Resolve);
    }

    #[test]
    fn an_ordinary_connection_has_two_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(!has_one_end(&stream));
    }
}
