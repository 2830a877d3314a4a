//! All links of a tower, and the queue of links with work.

use clacks_proto::driver::{Connection, Dial, DialProgress, Lookup, Readiness, Shared, Turn};
use clacks_proto::{CloseMode, Event, IoCause, LinkId, StateMachine};
use mio::net::TcpStream;
use mio::{Interest, Registry, Token, event};
use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::time::Instant;

use crate::dial;

/// The links of a tower.
///
/// The token of a socket is the index of its link. Indices are reused. A batch of events may
/// therefore report a closed socket. The link that has its index then reads and finds no bytes.
#[derive(Debug, Default)]
pub(crate) struct Links {
    /// By index. The length is the largest number of links that existed at the same time. The state
    /// machine limits it.
    slots: Vec<Option<Link>>,
    /// The links with work. Each link is in the queue at most once.
    ready: VecDeque<LinkId>,
    /// The times at which dials start the next attempt.
    dial_timers: BTreeSet<(Instant, LinkId)>,
}

#[derive(Debug)]
struct Link {
    id: LinkId,
    /// The link is in the queue of links with work.
    is_ready: bool,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The name of the host is being looked up.
    Resolving(#[allow(dead_code, reason = "dropping it gives up the look-up")] Option<Lookup>),
    Dialling(Dial<TcpStream>),
    Open(TcpStream, Connection),
}

impl Links {
    /// Adds a link that waits for the addresses of its host.
    pub(crate) fn add_resolving(&mut self, id: LinkId, lookup: Option<Lookup>) {
        self.add(id, State::Resolving(lookup));
    }

    /// Adds a link that dials an address.
    pub(crate) fn dial(&mut self, id: LinkId, address: SocketAddr) {
        self.add(id, State::Dialling(Dial::new(Ok(vec![address]))));
    }

    /// Starts to dial the addresses of a host, unless its link has ended.
    pub(crate) fn on_resolved(&mut self, id: LinkId, addresses: Result<Vec<SocketAddr>, IoCause>) {
        if let Some(link) = self.get(id) {
            link.state = State::Dialling(Dial::new(addresses));
            self.note_work(id.index());
        }
    }

    /// Adds a link with an inbound connection.
    ///
    /// # Errors
    ///
    /// Returns an error if the socket cannot be registered. No link is added then.
    pub(crate) fn accept(
        &mut self,
        id: LinkId,
        mut stream: TcpStream,
        registry: &Registry,
    ) -> io::Result<()> {
        let interests = Interest::READABLE | Interest::WRITABLE;
        registry.register(&mut stream, Token(id.index()), interests)?;
        self.add(id, open(id, stream));
        Ok(())
    }

    /// Notes that the state machine has bytes to send on a link.
    pub(crate) fn send(&mut self, id: LinkId) {
        if let Some(Link { state: State::Open(_, connection), .. }) = self.get(id) {
            connection.send();
            self.note_work(id.index());
        }
    }

    /// Closes a link, at once or after everything is sent. Returns the terminal event if the link
    /// has ended.
    pub(crate) fn close(&mut self, link: LinkId, how: CloseMode) -> Option<Event<'static>> {
        let event = match (&mut self.get(link)?.state, how) {
            (State::Open(_, connection), CloseMode::Flush) => {
                connection.flush();
                self.note_work(link.index());
                return None;
            }
            (State::Open(..), CloseMode::Abort) => Event::Closed { link },
            (_, _) => Event::ConnectFailed { link, cause: IoCause::Other },
        };
        self.slots[link.index()] = None;
        Some(event)
    }

    /// Handles an event of a socket.
    pub(crate) fn on_event(&mut self, event: &event::Event) {
        let index = event.token().0;
        match self.slots.get_mut(index) {
            Some(Some(Link { state: State::Open(_, connection), .. })) => {
                // Reads and writes return errors and the end of the stream.
                if event.is_readable() || event.is_read_closed() || event.is_error() {
                    connection.on_readable();
                }
                if event.is_writable() || event.is_write_closed() || event.is_error() {
                    connection.on_writable();
                }
                self.note_work(index);
            }
            Some(Some(_)) => self.note_work(index),
            _ => {}
        }
    }

    /// Lets all links read the bytes that have arrived, even if no event has reported them. Returns
    /// the number of links with work.
    pub(crate) fn read_all(&mut self) -> usize {
        for index in 0..self.slots.len() {
            if let Some(Link { state: State::Open(_, connection), .. }) = &mut self.slots[index] {
                connection.on_readable();
            }
            self.note_work(index);
        }
        self.ready.len()
    }

    pub(crate) fn have_work(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Returns the time at which to call [`on_time`](Self::on_time).
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.dial_timers.first().map(|(at, _)| *at)
    }

    /// Continues the dials whose timers are due.
    pub(crate) fn on_time(&mut self, now: Instant) {
        while self.next_timeout().is_some_and(|at| at <= now)
            && let Some((_, id)) = self.dial_timers.pop_first()
        {
            if self.get(id).is_some() {
                self.note_work(id.index());
            }
        }
    }

    /// Serves the next link with work. Returns whether there was one.
    pub(crate) fn serve_next<M: StateMachine>(
        &mut self,
        shared: &Shared<M>,
        registry: &Registry,
    ) -> bool {
        let Some(id) = self.ready.pop_front() else { return false };
        let index = id.index();
        let slot = self.slots.get_mut(index).and_then(Option::as_mut);
        let Some(link) = slot.filter(|link| link.id == id) else { return true };
        link.is_ready = false;
        let end = match &mut link.state {
            State::Resolving(_) => None,
            State::Dialling(dial) => {
                match dial::advance(dial, Instant::now(), registry, Token(index)) {
                    DialProgress::Pending(until) => {
                        self.dial_timers.extend(until.map(|at| (at, id)));
                        return true;
                    }
                    DialProgress::Failed(cause) => Some(Event::ConnectFailed { link: id, cause }),
                    DialProgress::Connected(stream) => {
                        let to = stream.peer_addr();
                        tracing::debug!(link = ?id, ?to, "connected");
                        let at = to.ok().map(|to| to.ip());
                        link.state = open(id, stream);
                        shared.handle(Event::Connected { link: id, at });
                        None
                    }
                }
            }
            State::Open(stream, connection) => match connection.turn(shared, stream) {
                Turn::Ended(event) => Some(event),
                Turn::ShutDownWrite => {
                    // Fails only if the connection has ended. The next read returns that error.
                    let _ = stream.shutdown(Shutdown::Write);
                    None
                }
                Turn::Busy | Turn::Idle => None,
            },
        };
        match end {
            Some(event) => {
                // The socket is closed first, because the state machine may reuse the index.
                self.slots[index] = None;
                shared.handle(event);
            }
            None => self.note_work(index),
        }
        true
    }

    /// Closes all sockets.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    fn add(&mut self, id: LinkId, state: State) {
        let index = id.index();
        if self.slots.len() <= index {
            self.slots.resize_with(index + 1, || None);
        }
        self.slots[index] = Some(Link { id, is_ready: false, state });
        self.note_work(index);
    }

    fn get(&mut self, id: LinkId) -> Option<&mut Link> {
        self.slots.get_mut(id.index())?.as_mut().filter(|link| link.id == id)
    }

    /// Adds a link to the queue if it has work and is not in the queue.
    fn note_work(&mut self, index: usize) {
        let Some(Some(link)) = self.slots.get_mut(index) else { return };
        let has_work = match &link.state {
            State::Resolving(_) => false,
            State::Dialling(_) => true,
            State::Open(_, connection) => connection.has_work(),
        };
        if has_work && !link.is_ready {
            link.is_ready = true;
            self.ready.push_back(link.id);
        }
    }
}

fn open(id: LinkId, stream: TcpStream) -> State {
    // Without the option, small messages take longer.
    let _ = stream.set_nodelay(true);
    State::Open(stream, Connection::new(id, Readiness::Edge))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clacks_proto::{Address, Config, Seed, Tower};
    use mio::Poll;
    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::Arc;
    use std::time::Duration;

    const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn shared() -> Arc<Shared<Tower>> {
        let address = Address::new("127.0.0.1", 8001).unwrap();
        let tower = Tower::new(Config::default(), address, &Seed::from_u64(1)).unwrap();
        Shared::new(tower, (LOCALHOST, 8001).into(), || ())
    }

    fn link() -> LinkId {
        shared().accept(LOCALHOST).unwrap()
    }

    #[test]
    fn an_idle_link_is_small() {
        assert!(size_of::<Option<Link>>() <= 128, "{}", size_of::<Option<Link>>());
    }

    #[test]
    fn closing_a_link_without_a_connection_ends_it_at_once() {
        let link = link();
        let mut links = Links::default();
        for how in [CloseMode::Flush, CloseMode::Abort] {
            links.add_resolving(link, None);
            assert!(!links.have_work());
            let event = links.close(link, how);
            assert!(matches!(event, Some(Event::ConnectFailed { .. })), "{event:?}");
            links.on_resolved(link, Ok(Vec::new()));
            assert!(links.get(link).is_none() && !links.have_work());
        }
        links.dial(link, (LOCALHOST, 1).into());
        assert!(matches!(links.close(link, CloseMode::Flush), Some(Event::ConnectFailed { .. })));
        while links.serve_next(&shared(), Poll::new().unwrap().registry()) {}
        assert!(links.get(link).is_none());
    }

    #[test]
    fn calls_for_a_link_that_has_ended_do_not_affect_the_next_link_with_its_index() {
        let shared = shared();
        let first = shared.accept(LOCALHOST).unwrap();
        shared.handle(Event::Closed { link: first });
        while shared.poll_action().is_some() {}
        let second = shared.accept(LOCALHOST).unwrap();
        assert_eq!(first.index(), second.index());
        let mut links = Links::default();
        links.add_resolving(second, None);
        links.on_resolved(first, Ok(Vec::new()));
        links.send(first);
        assert!(links.close(first, CloseMode::Abort).is_none());
        assert!(links.get(second).is_some() && !links.have_work());
    }

    #[test]
    fn a_dial_continues_when_its_timer_is_due() {
        let (mut links, link) = (Links::default(), link());
        links.dial(link, (LOCALHOST, 1).into());
        links.ready.clear();
        links.get(link).unwrap().is_ready = false;
        let due = Instant::now();
        let later = due + Duration::from_secs(1);
        links.dial_timers.extend([(later, link), (due, link)]);
        assert_eq!(links.next_timeout(), Some(due));
        links.on_time(due - Duration::from_nanos(1));
        assert!(!links.have_work());
        links.on_time(due);
        assert_eq!((links.ready.len(), links.next_timeout()), (1, Some(later)));
    }
}
