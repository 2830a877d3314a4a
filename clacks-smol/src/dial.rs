//! Opening a connection to an address.

use async_io::Async;
use clacks_proto::{Address, Host, IoCause};
use smol::lock::Semaphore;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;

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

    /// A connection to the first of the host's addresses that takes one, tried in the resolver's order. The error is
    /// that of the last one.
    pub(crate) async fn connect(&self, address: &Address) -> Result<Async<TcpStream>, IoCause> {
        connect_first(self.resolve(address).await?).await
    }

    async fn resolve(&self, address: &Address) -> Result<Vec<SocketAddr>, IoCause> {
        let port = address.port().get();
        let name = match address.host() {
            Host::Ip(ip) => return Ok(vec![SocketAddr::new(*ip, port)]),
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

async fn connect_first(sockets: Vec<SocketAddr>) -> Result<Async<TcpStream>, IoCause> {
    let mut failure = IoCause::Resolve;
    for socket in sockets {
        match Async::<TcpStream>::connect(socket).await {
            Ok(stream) if has_one_end(stream.get_ref()) => failure = IoCause::Refused,
            Ok(stream) => return Ok(stream),
            Err(error) => failure = IoCause::from(&error),
        }
    }
    Err(failure)
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

    fn closed_port() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
    }

    #[test]
    fn each_address_is_tried_until_one_answers() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let open = listener.local_addr().unwrap();
        let stream = smol::block_on(connect_first(vec![closed_port(), open, closed_port()]));
        assert_eq!(stream.unwrap().get_ref().peer_addr().unwrap(), open);
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
        let closed = closed_port();
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
