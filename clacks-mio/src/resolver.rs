//! Name look-ups on other threads.

use clacks_proto::driver::{Lookup, Resolver};
use clacks_proto::{IoCause, LinkId, Name, Standing};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};

use crate::reactor::ReactorWaker;

/// Looks up the names of links that dial.
#[derive(Debug)]
pub(crate) struct Lookups {
    resolver: Resolver,
    sender: Sender<Answer>,
    answers: Receiver<Answer>,
    waker: Arc<ReactorWaker>,
}

/// The addresses of a link's host.
type Answer = (LinkId, Result<Vec<SocketAddr>, IoCause>);

impl Lookups {
    /// Returns look-ups that wake the reactor after each answer.
    pub(crate) fn new(waker: Arc<ReactorWaker>) -> Self {
        let (sender, answers) = mpsc::channel();
        Self { resolver: Resolver::default(), sender, answers, waker }
    }

    /// Looks up a name, until the returned value is dropped.
    pub(crate) fn look_up(
        &self,
        link: LinkId,
        name: Name,
        port: NonZeroU16,
        except: Vec<IpAddr>,
        standing: Standing,
    ) -> Lookup {
        let (sender, waker) = (self.sender.clone(), self.waker.clone());
        self.resolver.look_up(name, port, except, standing, move |addresses| {
            // Fails if the reactor has ended.
            let _ = sender.send((link, addresses));
            waker.wake();
        })
    }

    #[cfg(all(test, target_os = "linux"))]
    pub(crate) fn set_resolver(&mut self, resolver: Resolver) {
        self.resolver = resolver;
    }

    /// Returns the next answer. Its link may have ended.
    pub(crate) fn poll(&mut self) -> Option<Answer> {
        self.answers.try_recv().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clacks_proto::driver::Shared;
    use clacks_proto::{Address, Config, Seed, Tower};
    use mio::{Events, Poll, Token, Waker};
    use std::net::Ipv4Addr;

    #[test]
    fn an_answer_wakes_the_reactor() {
        let mut poll = Poll::new().unwrap();
        let waker = Waker::new(poll.registry(), Token(0)).unwrap();
        let mut lookups = Lookups::new(Arc::new(ReactorWaker::new(waker)));
        let address = Address::new("127.0.0.1", 8001).unwrap();
        let tower = Tower::new(Config::default(), address, &Seed::from_u64(1)).unwrap();
        let from = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let link = Shared::new(tower, (from, 8001).into(), || ()).accept(from).unwrap();
        let (name, port) = (Name::new("localhost").unwrap(), NonZeroU16::MIN);
        let _lookup = lookups.look_up(link, name, port, Vec::new(), Standing::Known);
        poll.poll(&mut Events::with_capacity(1), None).unwrap();
        let (answered, addresses) = lookups.poll().unwrap();
        let addresses = addresses.unwrap();
        assert!(answered == link && !addresses.is_empty());
        assert!(addresses.iter().all(|address| address.port() == port.get()));
    }
}
