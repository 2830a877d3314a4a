//! Name look-ups on other threads.

use clacks_proto::driver::{MAX_LOOKUPS, look_up};
use clacks_proto::{IoCause, LinkId, Name};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};

use crate::reactor::ReactorWaker;

/// Looks up the names of links that dial, a limited number at a time. Each look-up in progress has
/// a thread.
#[derive(Debug)]
pub(crate) struct Resolver {
    /// At most one for each link.
    waiting: VecDeque<(LinkId, Name, NonZeroU16)>,
    running: usize,
    sender: Sender<Answer>,
    answers: Receiver<Answer>,
    waker: Arc<ReactorWaker>,
}

/// The addresses of a link's host.
type Answer = (LinkId, Result<Vec<SocketAddr>, IoCause>);

impl Resolver {
    /// Returns a resolver that wakes the reactor after each answer.
    pub(crate) fn new(waker: Arc<ReactorWaker>) -> Self {
        let (sender, answers) = mpsc::channel();
        Self { waiting: VecDeque::new(), running: 0, sender, answers, waker }
    }

    pub(crate) fn look_up(&mut self, link: LinkId, name: Name, port: NonZeroU16) {
        self.waiting.push_back((link, name, port));
        self.start_waiting();
    }

    /// Removes a look-up that has not started. A look-up in progress continues.
    pub(crate) fn cancel(&mut self, link: LinkId) {
        self.waiting.retain(|(waiting, ..)| *waiting != link);
    }

    /// Returns the next answer.
    pub(crate) fn poll(&mut self) -> Option<Answer> {
        let answer = self.answers.try_recv().ok()?;
        self.running -= 1;
        self.start_waiting();
        Some(answer)
    }

    fn start_waiting(&mut self) {
        while self.running < MAX_LOOKUPS
            && let Some((link, name, port)) = self.waiting.pop_front()
        {
            self.running += 1;
            let (sender, waker) = (self.sender.clone(), self.waker.clone());
            let answer = move |addresses| {
                // Fails if the reactor has ended.
                let _ = sender.send((link, addresses));
                waker.wake();
            };
            if let Err(error) = look_up(name, port, answer) {
                tracing::warn!(%error, "no thread to look up a name");
                let _ = self.sender.send((link, Err(IoCause::Exhausted)));
                self.waker.wake();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clacks_proto::driver::Shared;
    use clacks_proto::{Address, Config, Seed, Tower};
    use mio::{Events, Poll, Token, Waker};
    use std::net::{IpAddr, Ipv4Addr};

    const PORT: NonZeroU16 = NonZeroU16::MIN;

    fn resolver(poll: &Poll) -> Resolver {
        let waker = Waker::new(poll.registry(), Token(0)).unwrap();
        Resolver::new(Arc::new(ReactorWaker::new(waker)))
    }

    fn links(count: usize) -> Vec<LinkId> {
        let address = Address::new("127.0.0.1", 8001).unwrap();
        let tower = Tower::new(Config::default(), address, &Seed::from_u64(1)).unwrap();
        let from = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let shared = Shared::new(tower, (from, 8001).into(), || ());
        (0..count).map(|_| shared.accept(from).unwrap()).collect()
    }

    #[test]
    fn an_answer_wakes_the_reactor() {
        let mut poll = Poll::new().unwrap();
        let mut resolver = resolver(&poll);
        let link = links(1)[0];
        resolver.look_up(link, Name::new("localhost").unwrap(), PORT);
        let mut events = Events::with_capacity(1);
        poll.poll(&mut events, None).unwrap();
        let (answered, addresses) = resolver.poll().unwrap();
        let addresses = addresses.unwrap();
        assert!(answered == link && !addresses.is_empty());
        assert!(addresses.iter().all(|address| address.port() == PORT.get()));
        assert_eq!(resolver.running, 0);
    }

    #[test]
    fn look_ups_over_the_limit_wait_and_can_be_cancelled() {
        let poll = Poll::new().unwrap();
        let mut resolver = resolver(&poll);
        let links = links(MAX_LOOKUPS + 2);
        // Simulates that the limit is reached.
        resolver.running = MAX_LOOKUPS;
        for link in &links[..2] {
            resolver.look_up(*link, Name::new("localhost").unwrap(), PORT);
        }
        assert_eq!((resolver.running, resolver.waiting.len()), (MAX_LOOKUPS, 2));
        resolver.cancel(links[0]);
        resolver.sender.send((links[2], Ok(Vec::new()))).unwrap();
        assert_eq!(resolver.poll().unwrap().0, links[2]);
        assert_eq!((resolver.running, resolver.waiting.len()), (MAX_LOOKUPS, 0));
        assert_eq!(resolver.answers.recv().unwrap().0, links[1]);
    }
}
