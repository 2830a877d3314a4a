//! A network in memory with a virtual clock: stores, clients, and towers that lie.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use bytes::BufMut;
use clacks_proto::{
    Action, Address, Config, Event, Instant, IoCause, LinkId, Notice, Refusal, Seed, SendRate,
    StateMachine, To, Tower, Wakeup,
};
use clacks_store::protocol::{Body, Datagram, Outcome, Page, Tags};
use clacks_store::{
    CHUNK, Chunk, Client, ClientConfig, Group, GroupRoots, Job, JobEvent, Listener, OpenedChunk,
    Store, StoreConfig, Tag, enable_client, enable_store,
};

/// The Unix hour at the origin of all clocks, which is half past it.
pub(crate) const HOUR: u32 = 498_000;
pub(crate) const UNIX: u64 = HOUR as u64 * 3_600 + 1_800;

pub(crate) fn address(number: usize) -> Address {
    let [high, low] = u16::try_from(number).unwrap().to_be_bytes();
    // Each tower in a network of its own.
    Address::new(&format!("10.{low}.{high}.1"), 8001).unwrap()
}

pub(crate) fn config() -> Config {
    let mut config = Config::default();
    config.send_rate = SendRate::per_second(10);
    enable_store(&mut config);
    config
}

pub(crate) fn store(number: usize, config: Config, settings: StoreConfig) -> Store<Tower> {
    let seed = Seed::from_u64(number as u64);
    let tower = Tower::new(config, address(number), &seed).unwrap();
    Store::new(tower, settings, &seed, UNIX).unwrap()
}

/// How a tower that is no honest store behaves.
#[derive(Clone, Debug)]
pub(crate) enum Conduct {
    /// Passes requests on honestly, as the only hop of a stem.
    Relay,
    /// Like `Relay`, but drops published chunks and says that they are queued.
    Drop,
    /// Like `Drop`, and lists the chunks that it dropped.
    DropAndList(Vec<Tag>),
    /// Says that it reaches none of the towers that it names.
    Lose,
    /// Like `Relay`, but shows empty inventories.
    Hide,
    /// Lists these tags, and gives junk for them.
    Forge(Vec<Tag>),
    /// Lists these tags, and gives nothing.
    Silent(Vec<Tag>),
    /// Lists these tags with these hours, and says that the chunks are gone.
    Gone(Vec<(Tag, u32)>),
    /// Lists these tags with these hours, and gives the chunks of the first store that it knows.
    Copy(Vec<(Tag, u32)>),
    /// Like `Relay`, but says that each published chunk comes too fast.
    TooFast,
    /// Takes datagrams and answers none.
    Mute,
}

/// A tower that is no honest store.
pub(crate) struct Fake {
    tower: Tower,
    pub(crate) conduct: Conduct,
    /// The stores that it names.
    pub(crate) known: Vec<Address>,
    /// The next tower of longer stems. Without one, all stems end here.
    pub(crate) stem: Option<Address>,
    /// The requests for addresses that it says are lost, before it answers one.
    pub(crate) loses_peers: u32,
    /// By how many minutes it says that its clock is ahead.
    pub(crate) clock_ahead: i32,
    /// The requests that came as the hop of a stem.
    pub(crate) relays: u32,
    /// The fewest hops of a request that is not for addresses.
    pub(crate) shortest_stem: Option<u8>,
    next: usize,
    number: u32,
    /// The requests passed on, by link and number.
    passed: BTreeMap<(LinkId, u32), (LinkId, u32)>,
    pub(crate) requests: u32,
}

impl Fake {
    fn serve(&mut self, now: Instant) -> bool {
        let mut is_busy = false;
        while let Some(datagram) = self.tower.take_datagram() {
            is_busy = true;
            let Ok(request) = Datagram::decode(&datagram.body) else { continue };
            if let Some((link, number)) = self.passed.get(&(datagram.link, request.number)) {
                self.send(*link, &Datagram { number: *number, body: request.body.clone() }, now);
                continue;
            }
            self.requests += 1;
            self.answer(datagram.link, &request, now);
        }
        is_busy
    }

    fn minute(&self, now: Instant) -> u32 {
        let unix = UNIX + now.as_nanos() / 1_000_000_000;
        u32::try_from(unix / 60).unwrap().wrapping_add_signed(self.clock_ahead)
    }

    fn send(&mut self, link: LinkId, datagram: &Datagram<'_>, now: Instant) {
        let _ = self.tower.datagram(To::Link(link), datagram.encode(), now);
    }

    fn pass(&mut self, link: LinkId, number: u32, to: &Address, body: &Body<'_>, now: Instant) {
        self.number += 1;
        let peer = self.tower.expand(to, now).unwrap();
        let bytes = Datagram { number: self.number, body: body.clone() }.encode();
        match self.tower.datagram(To::Peer(peer), bytes, now) {
            Ok(out) => _ = self.passed.insert((out, self.number), (link, number)),
            Err(_) => self.send(link, &Datagram { number, body: Body::Lost }, now),
        }
    }

    fn answer(&mut self, link: LinkId, request: &Datagram<'_>, now: Instant) {
        let number = request.number;
        if let Body::Relay { hops, inner, .. } = &request.body {
            self.relays += 1;
            if !matches!(Body::decode_inner(inner), Ok(Body::Peers { .. })) {
                self.shortest_stem = Some(self.shortest_stem.map_or(*hops, |it| it.min(*hops)));
            }
        }
        if let (Some(next), Body::Relay { hops: hops @ 2.., target, inner }) =
            (self.stem.clone(), &request.body)
        {
            let body = Body::Relay { hops: hops - 1, target: target.clone(), inner };
            return self.pass(link, number, &next, &body, now);
        }
        let (body, target) = match &request.body {
            Body::Relay { inner, target, .. } => {
                (Body::decode_inner(inner).unwrap(), target.clone())
            }
            body => (body.clone(), None),
        };
        if matches!(self.conduct, Conduct::Mute) {
            return;
        }
        if let (Body::Publish(chunk), None, Conduct::DropAndList(tags)) =
            (&body, &target, &mut self.conduct)
        {
            tags.push(Chunk::parse(&chunk[..]).unwrap().tag());
            let body = Body::Published(Outcome::Queued);
            return self.send(link, &Datagram { number, body }, now);
        }
        let answer = match (&body, target) {
            (Body::Publish(_), None) if matches!(self.conduct, Conduct::Drop) => {
                Body::Published(Outcome::Queued)
            }
            (Body::Publish(_), None) if matches!(self.conduct, Conduct::TooFast) => {
                Body::Published(Outcome::TooFast)
            }
            (Body::Publish(_), None) if !self.known.is_empty() => {
                self.next = (self.next + 1) % self.known.len();
                let to = self.known[self.next].clone();
                return self.pass(link, number, &to, &body, now);
            }
            (Body::List { .. }, Some(_)) if matches!(self.conduct, Conduct::Hide) => {
                let page = Page::default();
                let body = Body::Inventory {
                    has_more: false,
                    minute: self.minute(now),
                    held: 0,
                    room: 1_000,
                    entries: page.entries(),
                };
                return self.send(link, &Datagram { number, body }, now);
            }
            (_, Some(_)) if matches!(self.conduct, Conduct::Lose) => Body::Lost,
            (_, Some(to)) => return self.pass(link, number, &to, &body, now),
            (Body::Peers { .. }, None) if self.loses_peers > 0 => {
                self.loses_peers -= 1;
                Body::Lost
            }
            (Body::Peers { .. }, None) => {
                let known = u32::try_from(self.known.len()).unwrap();
                Body::Towers { next: 0, known, addresses: self.known.clone() }
            }
            (Body::List { after }, None) => {
                let mut page = Page::default();
                let usual = |tags: &[Tag]| tags.iter().map(|tag| (*tag, HOUR + 20)).collect();
                let mut entries: Vec<_> = match &self.conduct {
                    Conduct::Forge(tags) | Conduct::Silent(tags) | Conduct::DropAndList(tags) => {
                        usual(tags)
                    }
                    Conduct::Gone(entries) | Conduct::Copy(entries) => entries.clone(),
                    _ => Vec::new(),
                };
                entries.retain(|(tag, _)| tag > after);
                entries.sort_unstable();
                let has_more = entries.iter().any(|(tag, until)| !page.push(*tag, *until));
                let entries = page.entries();
                let minute = self.minute(now);
                let body = Body::Inventory { has_more, minute, held: 10, room: 1_000, entries };
                return self.send(link, &Datagram { number, body }, now);
            }
            (Body::Fetch(tags), None) if matches!(self.conduct, Conduct::Gone(_)) => {
                let tags: Vec<_> = tags.iter().map(|tag| *tag.bytes()).collect();
                let body = Body::Gone(Tags::new(&tags).unwrap());
                return self.send(link, &Datagram { number, body }, now);
            }
            (Body::Fetch(_), None) if matches!(self.conduct, Conduct::Copy(_)) => {
                let to = self.known[0].clone();
                return self.pass(link, number, &to, &body, now);
            }
            (Body::Fetch(tags), None) if matches!(self.conduct, Conduct::Forge(_)) => {
                for tag in tags.iter() {
                    let mut chunk = [7; CHUNK];
                    chunk[..Tag::LEN].copy_from_slice(tag.bytes());
                    self.send(link, &Datagram { number, body: Body::Chunk(&chunk) }, now);
                }
                return;
            }
            (Body::Publish(_), None) => Body::Published(Outcome::Queued),
            _ => return,
        };
        self.send(link, &Datagram { number, body: answer }, now);
    }
}

pub(crate) enum Node {
    Store(Box<Store<Tower>>),
    Client(Box<Client<Tower>>),
    Fake(Box<Fake>),
}

macro_rules! each {
    ($node:expr, $machine:ident => $call:expr) => {
        match $node {
            Node::Store($machine) => $call,
            Node::Client($machine) => $call,
            Node::Fake(fake) => {
                let $machine = &mut fake.tower;
                $call
            }
        }
    };
}

impl Node {
    fn accept(&mut self, now: Instant) -> Result<LinkId, Refusal> {
        let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
        each!(self, machine => machine.accept(local, now))
    }

    fn handle(&mut self, event: Event<'_>, now: Instant) {
        each!(self, machine => machine.handle(event, now));
    }

    fn transmit(&mut self, link: LinkId, out: &mut impl BufMut) -> usize {
        each!(self, machine => machine.transmit(link, out))
    }

    fn poll_action(&mut self, now: Instant) -> Option<Action> {
        if let Node::Fake(fake) = self {
            fake.serve(now);
        }
        each!(self, machine => machine.poll_action())
    }

    fn next_wakeup(&mut self) -> Option<Wakeup> {
        each!(self, machine => machine.next_wakeup())
    }

    pub(crate) fn tower_mut(&mut self) -> &mut Tower {
        each!(self, machine => machine.tower_mut())
    }
}

/// All nodes, by number, and what connects them.
pub(crate) struct Network {
    pub(crate) nodes: Vec<Node>,
    pub(crate) now: Instant,
    /// The other end of each link, by node and link.
    ends: BTreeMap<(usize, LinkId), (usize, LinkId)>,
    /// The nodes that were killed.
    pub(crate) dead: BTreeSet<usize>,
    /// The nodes that do nothing for a while, and then go on.
    stopped: BTreeSet<usize>,
    pub(crate) notices: Vec<(usize, Notice)>,
    /// Takes pieces from the messages that a node receives.
    pub(crate) listener: Option<(usize, Listener)>,
    /// The pieces that it took.
    pub(crate) heard: Vec<(OpenedChunk, [u8; 32])>,
}

impl Network {
    pub(crate) fn new() -> Self {
        Self {
            nodes: Vec::new(),
            now: Instant::ORIGIN,
            ends: BTreeMap::new(),
            dead: BTreeSet::new(),
            stopped: BTreeSet::new(),
            notices: Vec::new(),
            listener: None,
            heard: Vec::new(),
        }
    }

    /// Returns a network of stores that know each other.
    pub(crate) fn of_stores(count: usize) -> Self {
        Self::of_stores_with(count, &config(), &StoreConfig::default())
    }

    pub(crate) fn of_stores_with(count: usize, config: &Config, settings: &StoreConfig) -> Self {
        let mut network = Self::new();
        for number in 0..count {
            let store = store(number, config.clone(), settings.clone());
            network.nodes.push(Node::Store(Box::new(store)));
        }
        for one in 0..count {
            for other in (0..count).filter(|other| *other != one) {
                network.nodes[one].tower_mut().expand(&address(other), Instant::ORIGIN).unwrap();
            }
        }
        // The towers dial each other.
        network.advance(Duration::from_secs(60));
        network
    }

    /// Adds a tower that is no honest store. Returns its number.
    pub(crate) fn add_fake(&mut self, conduct: Conduct, known: &[usize]) -> usize {
        let number = self.nodes.len();
        let seed = Seed::from_u64(number as u64);
        let mut config = config();
        config.screening = clacks_proto::Screening::Off;
        config.contact_rate = 0;
        config.max_links = 1_024;
        // A relay that passes on all that comes, without a queue of its own.
        let (outbox, inbox) = (8 << 20, 64 << 20);
        config.datagrams = clacks_proto::Datagrams::On { max_len: 12_288, outbox, inbox };
        let tower = Tower::new(config, address(number), &seed).unwrap();
        let known = known.iter().map(|number| address(*number)).collect();
        let passed = BTreeMap::new();
        let fake = Fake {
            tower,
            conduct,
            known,
            stem: None,
            loses_peers: 0,
            clock_ahead: 0,
            relays: 0,
            shortest_stem: None,
            next: 0,
            number: 0,
            passed,
            requests: 0,
        };
        self.nodes.push(Node::Fake(Box::new(fake)));
        number
    }

    pub(crate) fn fake(&mut self, number: usize) -> &mut Fake {
        match &mut self.nodes[number] {
            Node::Fake(fake) => fake,
            _ => panic!("no fake"),
        }
    }

    /// Publishes a chunk from a fake at a store.
    pub(crate) fn publish(&mut self, from: usize, store: &Address, chunk: &[u8; CHUNK]) {
        let now = self.now;
        let fake = self.fake(from);
        fake.number += 1;
        let bytes = Datagram { number: fake.number, body: Body::Publish(chunk) }.encode();
        let peer = fake.tower.expand(store, now).unwrap();
        fake.tower.datagram(To::Peer(peer), bytes, now).unwrap();
        self.settle();
    }

    /// Adds a client. Returns its number.
    pub(crate) fn add_client(&mut self, config: ClientConfig) -> usize {
        self.add_client_at(config, UNIX)
    }

    /// Adds a client with a clock of its own. Returns its number.
    pub(crate) fn add_client_at(&mut self, config: ClientConfig, unix: u64) -> usize {
        let number = self.nodes.len();
        let seed = Seed::from_u64(1_000 + number as u64);
        let mut settings = Config::default();
        enable_client(&mut settings);
        let tower = Tower::new(settings, address(number), &seed).unwrap();
        let client = Client::new(tower, config, &seed, unix).unwrap();
        self.nodes.push(Node::Client(Box::new(client)));
        number
    }

    pub(crate) fn client(&mut self, number: usize) -> &mut Client<Tower> {
        match &mut self.nodes[number] {
            Node::Client(client) => client,
            _ => panic!("no client"),
        }
    }

    pub(crate) fn store(&mut self, number: usize) -> &mut Store<Tower> {
        match &mut self.nodes[number] {
            Node::Store(store) => store,
            _ => panic!("no store"),
        }
    }

    /// Ends a node at once. Its peers see broken links.
    pub(crate) fn kill(&mut self, number: usize) {
        self.dead.insert(number);
        let links: Vec<_> = self.ends.keys().filter(|(node, _)| *node == number).copied().collect();
        for end in links {
            if let Some((to, link)) = self.ends.remove(&end) {
                self.ends.remove(&(to, link));
                self.nodes[to].handle(Event::Lost { link, cause: IoCause::Reset }, self.now);
            }
        }
        self.settle();
    }

    /// Lets a node do nothing until it goes on. Bytes to it wait, and so do those from it.
    pub(crate) fn stop(&mut self, number: usize) {
        self.stopped.insert(number);
    }

    pub(crate) fn go_on(&mut self, number: usize) {
        self.stopped.remove(&number);
    }

    /// Lets stores hand on what they hold, and end.
    pub(crate) fn leave(&mut self, numbers: core::ops::Range<usize>) {
        let now = self.now;
        for number in numbers.clone() {
            self.nodes[number].tower_mut().shutdown(now);
        }
        let end = now + Duration::from_secs(60);
        while numbers.clone().any(|number| self.store(number).stats().held > 0) {
            assert!(self.step(end), "the stores do not end");
        }
        // They say goodbye.
        self.advance(Duration::from_secs(5));
        numbers.for_each(|number| self.kill(number));
    }

    fn is_running(&self, number: usize) -> bool {
        !self.dead.contains(&number) && !self.stopped.contains(&number)
    }

    /// Executes actions and passes bytes until nothing is left to do.
    pub(crate) fn settle(&mut self) {
        let mut is_busy = true;
        while is_busy {
            is_busy = false;
            for node in 0..self.nodes.len() {
                while self.is_running(node)
                    && let Some(action) = self.nodes[node].poll_action(self.now)
                {
                    is_busy = true;
                    self.execute(node, action);
                }
            }
            let ends: Vec<_> = self.ends.iter().map(|(from, to)| (*from, *to)).collect();
            for ((from, link), (to, other)) in ends {
                if !self.is_running(from) || !self.is_running(to) {
                    continue;
                }
                let mut bytes = Vec::new();
                while self.nodes[from].transmit(link, &mut bytes) > 0 {}
                // A driver passes what one read returns.
                for bytes in bytes.chunks(64 * 1024) {
                    is_busy = true;
                    self.nodes[to].handle(Event::BytesArrived { link: other, bytes }, self.now);
                }
            }
        }
    }

    fn execute(&mut self, node: usize, action: Action) {
        match action {
            Action::Connect { link, address: to, .. } => {
                let other = (0..self.nodes.len()).find(|other| address(*other) == to);
                let other = other.filter(|other| !self.dead.contains(other));
                let now = self.now;
                let accepted = other.and_then(|to| Some((to, self.nodes[to].accept(now).ok()?)));
                let Some((to, accepted)) = accepted else {
                    let cause = IoCause::Refused;
                    return self.nodes[node].handle(Event::ConnectFailed { link, cause }, now);
                };
                self.ends.insert((node, link), (to, accepted));
                self.ends.insert((to, accepted), (node, link));
                self.nodes[node].handle(Event::Connected { link, at: None }, now);
            }
            Action::Close { link, .. } => {
                if let Some((to, other)) = self.ends.remove(&(node, link)) {
                    self.ends.remove(&(to, other));
                    let lost = Event::Lost { link: other, cause: IoCause::Reset };
                    self.nodes[to].handle(lost, self.now);
                }
                self.nodes[node].handle(Event::Closed { link }, self.now);
            }
            Action::Notify(notice) => {
                if let (Some((at, listener)), Notice::MessageReceived { message, .. }) =
                    (&mut self.listener, &notice)
                    && *at == node
                {
                    self.heard.extend(listener.take(message));
                }
                self.notices.push((node, notice));
            }
            _ => {}
        }
    }

    /// Lets the clock run.
    pub(crate) fn advance(&mut self, time: Duration) {
        let end = self.now + time;
        while self.step(end) {}
        self.now = end;
        self.settle();
    }

    /// Lets the clock run to the next wake-up, unless that is after `end`.
    fn step(&mut self, end: Instant) -> bool {
        self.settle();
        self.notices.clear();
        let running: Vec<_> =
            (0..self.nodes.len()).filter(|number| self.is_running(*number)).collect();
        let next = running.iter().filter_map(|number| Some(self.nodes[*number].next_wakeup()?.at));
        let next = next.min();
        let Some(at) = next.filter(|at| *at <= end) else { return false };
        self.now = self.now.max(at);
        let now = self.now;
        for number in running {
            let node = &mut self.nodes[number];
            if node.next_wakeup().is_some_and(|wakeup| wakeup.at <= now) {
                node.handle(Event::TimerFired, now);
            }
        }
        true
    }

    /// Waits for the next event of a client, for at most an hour of the clock.
    pub(crate) fn event(&mut self, client: usize) -> JobEvent {
        let end = self.now + Duration::from_secs(3_600);
        loop {
            self.settle();
            if let Some(event) = self.client(client).poll_event() {
                return event;
            }
            assert!(self.step(end), "no event: {:?}", self.client(client).progress());
        }
    }

    pub(crate) fn start(&mut self, client: usize, job: Job) {
        let now = self.now;
        self.client(client).start(job, now);
    }

    /// Lets a job go on after its forecast, and supplies groups, until it ends. Returns the last
    /// event, and all others but pieces and forecasts.
    pub(crate) fn run(&mut self, client: usize, file: &File) -> Outcomes {
        let mut outcomes = Outcomes::default();
        loop {
            let event = self.event(client);
            let now = self.now;
            match event {
                JobEvent::Forecast(forecast) => {
                    outcomes.forecast = Some(forecast);
                    self.client(client).proceed(now);
                }
                JobEvent::NeedGroup(number) => {
                    outcomes.groups += 1;
                    let group = file.groups[number as usize].clone();
                    self.client(client).supply(group, &file.roots, now);
                }
                JobEvent::Piece { piece, group_root } => outcomes.pieces.push((piece, group_root)),
                JobEvent::Republishing { pieces } => outcomes.republished += pieces,
                JobEvent::ClockDiffers { minutes } => {
                    assert_eq!(outcomes.clock.replace(minutes), None, "it is reported once");
                }
                event => {
                    outcomes.last = Some(event);
                    return outcomes;
                }
            }
        }
    }
}

/// What a job reported.
#[derive(Default)]
pub(crate) struct Outcomes {
    pub(crate) forecast: Option<clacks_store::Forecast>,
    pub(crate) groups: u32,
    pub(crate) pieces: Vec<(OpenedChunk, [u8; 32])>,
    pub(crate) republished: u32,
    pub(crate) clock: Option<i32>,
    pub(crate) last: Option<JobEvent>,
}

impl Outcomes {
    pub(crate) fn put(&self) -> clacks_store::PutReport {
        match &self.last {
            Some(JobEvent::Put(report)) => *report,
            other => panic!("not put: {other:?}"),
        }
    }

    pub(crate) fn error(&self) -> clacks_store::JobError {
        match &self.last {
            Some(JobEvent::Failed(error)) => *error,
            other => panic!("not failed: {other:?}"),
        }
    }

    /// Checks that the pieces restore the file.
    pub(crate) fn assert_restores(&self, file: &File) {
        assert!(matches!(self.last, Some(JobEvent::Got)), "{:?}", self.last);
        self.assert_has(file);
    }

    pub(crate) fn assert_has(&self, file: &File) {
        let geometry = file.link.file().geometry;
        for group in &file.groups {
            let pieces = self.pieces.iter().filter_map(|(piece, root)| {
                let (number, place) = geometry.locate(piece.index())?;
                (number == group.number()).then_some((place, piece.shard(), root))
            });
            let pieces: Vec<_> = pieces.collect();
            let root = pieces.first().expect("pieces of each group").2;
            let pieces = pieces.iter().map(|(place, shard, _)| (*place, *shard));
            let restored = Group::restore(geometry, group.number(), root, pieces).unwrap();
            assert_eq!(restored.shards(), group.shards());
        }
    }
}

/// A file with all its groups.
pub(crate) struct File {
    pub(crate) link: clacks_store::KeepLink,
    pub(crate) groups: Vec<Group>,
    pub(crate) roots: GroupRoots,
}

impl File {
    /// Returns a file of some data shards. Its bytes and its secret follow from `seed`.
    pub(crate) fn new(shards: u32, seed: u8, until: u32) -> Self {
        let geometry = clacks_store::Geometry::new(2, shards).unwrap();
        let group = |number: u32| {
            let shard = |place: u32| {
                let start = [&[seed][..], &number.to_be_bytes(), &place.to_be_bytes()].concat();
                let mut bytes = vec![0; clacks_store::SHARD];
                blake3::Hasher::new().update(&start).finalize_xof().fill(&mut bytes);
                bytes
            };
            Group::encode(geometry, number, (0..geometry.data()).map(shard).collect()).unwrap()
        };
        let groups: Vec<_> = (0..geometry.groups()).map(group).collect();
        let roots = GroupRoots::new(groups.iter().map(Group::root).collect());
        let file = clacks_store::FileId { geometry, until, root: roots.file_root() };
        let link = clacks_store::ReadLink::new(clacks_store::Secret::new([seed; 16]), file);
        Self { link: link.keep(), groups, roots }
    }
}
