//! All links, and which of them have work to do.

use clacks_proto::{Event, Instant, IoCause, LinkId, StateMachine};
use mio::net::TcpStream;
use mio::{Interest, Registry, Token, event};
use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::buffers::Buffers;
use crate::connection::{Connection, Orders, Turn};
use crate::dial::{Dial, Dialled};
use crate::names::Names;
use crate::reactor::Core;

/// The links by their index, which grow to the most that were ever there at once; the machine bounds that.
///
/// A token is an index, and a place is used again. News of a socket that is gone may so reach the next one in its place, within one batch of
/// events: it is asked in vain, and no harm is done.
#[derive(Default)]
pub(crate) struct Links {
    places: Vec<Option<Link>>,
    /// Links with work, each of them once. Whoever has had its turn and is not done goes to the end.
    ready: VecDeque<LinkId>,
    /// When dials go on to their hosts' next addresses, in the order of time: all have the same head start.
    head_starts: VecDeque<(Instant, LinkId)>,
}

struct Link {
    id: LinkId,
    orders: Orders,
    /// It stands in the list of those that have work.
    is_ready: bool,
    stage: Stage,
}

enum Stage {
    /// Its host's name is being looked up.
    Resolving,
    Dialling(Dial),
    Open(Connection),
}

impl Links {
    /// A link whose host's addresses are not known yet.
    pub(crate) fn resolve(&mut self, id: LinkId) {
        self.insert(id, Stage::Resolving);
    }

    /// A link to the first of some addresses that takes it. When there are none, the cause is `failure`.
    pub(crate) fn dial(&mut self, id: LinkId, sockets: Vec<SocketAddr>, failure: IoCause) {
        self.insert(id, Stage::Dialling(Dial::new(sockets, failure)));
    }

    /// What was found out about a link's host; of no use if nobody waits for it any more.
    pub(crate) fn resolved(&mut self, id: LinkId, found: Result<Vec<SocketAddr>, IoCause>) {
        let Some(link) = self.get(id) else { return };
        link.stage = Stage::Dialling(match found {
            Ok(sockets) => Dial::new(sockets, IoCause::Resolve),
            Err(cause) => Dial::new(Vec::new(), cause),
        });
        self.note_work(id.index());
    }

    /// A link over a connection that was accepted.
    ///
    /// # Errors
    ///
    /// When the socket can't be watched. It is closed, and there is no link.
    pub(crate) fn open(
        &mut self,
        id: LinkId,
        mut stream: TcpStream,
        registry: &Registry,
    ) -> std::io::Result<()> {
        let interests = Interest::READABLE | Interest::WRITABLE;
        registry.register(&mut stream, Token(id.index()), interests)?;
        self.insert(id, Stage::Open(Connection::new(stream)));
        Ok(())
    }

    /// Leaves an order for a link. One that has ended needs none.
    pub(crate) fn order(&mut self, id: LinkId, give: impl FnOnce(&mut Orders)) {
        if let Some(link) = self.get(id) {
            give(&mut link.orders);
            self.note_work(id.index());
        }
    }

    /// Takes in what the operating system tells of a socket.
    pub(crate) fn on_event(&mut self, event: &event::Event) {
        let index = event.token().0;
        if let Some(Some(Link { stage: Stage::Open(connection), .. })) = self.places.get_mut(index)
        {
            connection.on_event(event);
        }
        self.note_work(index);
    }

    pub(crate) fn have_work(&self) -> bool {
        !self.ready.is_empty()
    }

    /// When [`on_time`](Self::on_time) has something to do.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.head_starts.front().map(|(at, _)| *at)
    }

    /// Has dials go on whose time has come.
    pub(crate) fn on_time(&mut self, now: Instant) {
        while let Some((at, id)) = self.head_starts.front().copied()
            && at <= now
        {
            self.head_starts.pop_front();
            if self.get(id).is_some() {
                self.note_work(id.index());
            }
        }
    }

    /// Gives the next link its turn. `false` when none has work to do.
    pub(crate) fn serve_next<M: StateMachine>(
        &mut self,
        core: &Core<M>,
        names: &Names,
        buffers: &mut Buffers,
        registry: &Registry,
    ) -> bool {
        let Some(id) = self.ready.pop_front() else { return false };
        let Some(link) = self.get(id) else { return true };
        link.is_ready = false;
        match link.take_turn(core, names, buffers, registry) {
            Turn::Idle => {}
            Turn::Due(at) => self.head_starts.push_back((at, id)),
            Turn::Busy => self.note_work(id.index()),
            Turn::Ended(event) => self.end(id, event, core),
        }
        true
    }

    /// The terminal event. The place is given up first, and the socket with it: the machine may use it again at once.
    fn end<M: StateMachine>(&mut self, id: LinkId, event: Event<'_>, core: &Core<M>) {
        if let Some(place) = self.places.get_mut(id.index()) {
            *place = None;
        }
        core.handle(event);
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    fn insert(&mut self, id: LinkId, stage: Stage) {
        let index = id.index();
        if self.places.len() <= index {
            self.places.resize_with(index + 1, || None);
        }
        self.places[index] = Some(Link { id, orders: Orders::default(), is_ready: false, stage });
        self.note_work(index);
    }

    fn get(&mut self, id: LinkId) -> Option<&mut Link> {
        self.places.get_mut(id.index())?.as_mut().filter(|link| link.id == id)
    }

    /// Puts a link on the list if it has work and is not on it.
    fn note_work(&mut self, index: usize) {
        if let Some(Some(link)) = self.places.get_mut(index)
            && !link.is_ready
            && link.has_work()
        {
            link.is_ready = true;
            self.ready.push_back(link.id);
        }
    }
}

impl Link {
    fn has_work(&self) -> bool {
        match &self.stage {
            Stage::Resolving => self.is_unwanted(),
            Stage::Dialling(_) => true,
            Stage::Open(connection) => connection.has_work(self.orders),
        }
    }

    /// Any order to close cancels a dial.
    fn is_unwanted(&self) -> bool {
        self.orders.flush || self.orders.cut
    }

    fn take_turn<M: StateMachine>(
        &mut self,
        core: &Core<M>,
        names: &Names,
        buffers: &mut Buffers,
        registry: &Registry,
    ) -> Turn {
        let link = self.id;
        let is_unwanted = self.is_unwanted();
        match &mut self.stage {
            Stage::Resolving if is_unwanted => {
                names.forget(link);
                Turn::Ended(Event::ConnectFailed { link, cause: IoCause::Other })
            }
            Stage::Dialling(_) if is_unwanted => {
                Turn::Ended(Event::ConnectFailed { link, cause: IoCause::Other })
            }
            Stage::Resolving => Turn::Idle,
            Stage::Dialling(dial) => {
                match dial.advance(core.now(), registry, Token(link.index())) {
                    Dialled::UnderWay(next) => next.map_or(Turn::Idle, Turn::Due),
                    Dialled::Failed(cause) => Turn::Ended(Event::ConnectFailed { link, cause }),
                    Dialled::Connected(stream) => {
                        tracing::debug!(to = ?stream.peer_addr(), "link dialled");
                        self.stage = Stage::Open(Connection::new(stream));
                        core.handle(Event::Connected { link });
                        Turn::Busy
                    }
                }
            }
            Stage::Open(connection) => connection.take_turn(link, &mut self.orders, core, buffers),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desk::Desk;
    use clacks_proto::{Address, Config, Seed, Tower};
    use mio::{Poll, Waker};
    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::Arc;

    const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn tower() -> Tower {
        let address = Address::new("127.0.0.1", 8001).unwrap();
        Tower::new(Config::default(), address, &Seed::from_u64(1)).unwrap()
    }

    fn link() -> LinkId {
        tower().accept(LOCALHOST, Instant::ORIGIN).unwrap()
    }

    #[test]
    fn an_idle_link_is_small() {
        assert!(size_of::<Option<Link>>() <= 128, "{}", size_of::<Option<Link>>());
    }

    #[test]
    fn an_order_outlives_the_answer_that_comes_with_it() {
        let (mut links, id) = (Links::default(), link());
        links.resolve(id);
        assert!(!links.have_work());
        links.order(id, |orders| orders.cut = true);
        links.resolved(id, Ok(Vec::new()));
        assert!(links.get(id).unwrap().is_unwanted());
        assert_eq!(links.ready, [id]);
    }

    #[test]
    fn answers_and_orders_for_links_that_are_gone_change_nothing() {
        let mut tower = tower();
        let first = tower.accept(LOCALHOST, Instant::ORIGIN).unwrap();
        // Another link in the same place.
        tower.handle(Event::Closed { link: first }, Instant::ORIGIN);
        while tower.poll_action().is_some() {}
        let second = tower.accept(LOCALHOST, Instant::ORIGIN).unwrap();
        assert_eq!(first.index(), second.index());
        let mut links = Links::default();
        links.resolve(second);
        links.resolved(first, Ok(Vec::new()));
        links.order(first, |orders| orders.cut = true);
        assert!(!links.have_work());
    }

    #[test]
    fn a_dial_goes_on_when_its_time_has_come() {
        let (mut links, id) = (Links::default(), link());
        links.dial(id, Vec::new(), IoCause::Other);
        links.ready.clear();
        links.get(id).unwrap().is_ready = false;
        let due = Instant::from_nanos(7);
        links.head_starts.extend([(due, id), (Instant::from_nanos(8), id)]);
        links.on_time(Instant::from_nanos(6));
        assert!(!links.have_work());
        links.on_time(due);
        assert_eq!((links.ready.len(), links.due()), (1, Some(Instant::from_nanos(8))));
    }

    #[test]
    fn whoever_gives_up_a_link_does_not_wait_for_its_name() {
        let poll = Poll::new().unwrap();
        let waker = Waker::new(poll.registry(), Token(7)).unwrap();
        let desk = Arc::new(Desk::new((LOCALHOST, 8001).into(), waker));
        let core = Core::new(tower(), desk.clone());
        let (names, mut buffers) = (Names::new(desk), Buffers::new());
        let mut serve =
            |links: &mut Links| links.serve_next(&core, &names, &mut buffers, poll.registry());
        let (mut links, id) = (Links::default(), link());
        links.resolve(id);
        links.order(id, |orders| orders.flush = true);
        assert!(serve(&mut links));
        assert!(links.get(id).is_none() && !serve(&mut links));
    }
}
