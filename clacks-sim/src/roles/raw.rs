//! Endpoints that are no towers: they read and write frames themselves.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::time::Duration;

use clacks_proto::wire::{Decoder, Frame, Hello, MAX_BODY, VERSION};
use clacks_proto::{Action, Address, CloseMode, CloseReason, Config, Event, Instant, LinkId};

/// What an endpoint does. [`RawNode`] handles its connections.
pub(crate) trait Endpoint: std::fmt::Debug + Send {
    /// Returns whether connections to an address of the endpoint are accepted.
    fn listens_at(&self, ip: u32) -> bool {
        let _ = ip;
        false
    }

    /// Returns when the endpoint wants to act.
    fn next_wakeup(&self) -> Option<Instant>;

    /// Acts because the timer fired.
    fn on_timer(&mut self, io: &mut Io);

    /// Handles a connection that is established.
    fn on_open(&mut self, link: LinkId, io: &mut Io) {
        let _ = (link, io);
    }

    /// Handles a frame.
    fn on_frame(&mut self, link: LinkId, frame: &Frame<'_>, io: &mut Io) {
        let _ = (link, frame, io);
    }

    /// Handles the end of a connection, of a dial that failed too.
    fn on_end(&mut self, link: LinkId, io: &mut Io) {
        let _ = (link, io);
    }
}

/// The connections of an endpoint.
#[derive(Debug, Default)]
pub(crate) struct Io {
    now: Instant,
    /// By the index of their ids.
    links: Vec<Option<RawLink>>,
    free: Vec<u32>,
    /// The number of links so far.
    count: u32,
    actions: VecDeque<Action>,
    dial_timeout: Duration,
    /// The dials and when they time out, in the order of time. Some may have been answered.
    dials: VecDeque<(Instant, LinkId)>,
}

#[derive(Debug)]
struct RawLink {
    id: LinkId,
    /// The number of the endpoint's address on this link.
    ip: u32,
    decoder: Decoder,
    /// Bytes to be sent.
    output: Vec<u8>,
    is_open: bool,
}

impl Io {
    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    /// Dials an address, from the endpoint's address with the number `ip`.
    pub(crate) fn dial(&mut self, address: Address, ip: u32) -> LinkId {
        let link = self.insert(ip, false);
        self.dials.push_back((self.now + self.dial_timeout, link));
        self.actions.push_back(Action::Connect {
            link,
            address,
            except: Vec::new(),
            standing: clacks_proto::Standing::Known,
        });
        link
    }

    pub(crate) fn send(&mut self, link: LinkId, frame: &Frame<'_>) {
        let mut bytes = Vec::with_capacity(frame.encoded_len());
        frame.encode(&mut bytes);
        self.send_bytes(link, &bytes);
    }

    pub(crate) fn send_bytes(&mut self, link: LinkId, bytes: &[u8]) {
        let Some(slot) = self.link_mut(link) else { return };
        let is_first = slot.output.is_empty();
        slot.output.extend_from_slice(bytes);
        if is_first {
            self.actions.push_back(Action::Send { link });
        }
    }

    /// Closes a connection when all was sent.
    pub(crate) fn close(&mut self, link: LinkId) {
        if self.link_mut(link).is_some() {
            let (how, reason) = (CloseMode::Flush, CloseReason::Idle);
            self.actions.push_back(Action::Close { link, how, reason });
        }
    }

    /// Ends the dials that were not answered in time.
    fn end_late_dials(&mut self) {
        while let Some((due, link)) = self.dials.front().copied()
            && due <= self.now
        {
            self.dials.pop_front();
            if self.link_mut(link).is_some_and(|slot| !slot.is_open) {
                let (how, reason) = (CloseMode::Abort, CloseReason::ConnectTimeout);
                self.actions.push_back(Action::Close { link, how, reason });
            }
        }
    }

    /// Returns the number of the endpoint's address on a link.
    pub(crate) fn ip(&self, link: LinkId) -> Option<u32> {
        let slot = self.links.get(link.index())?.as_ref().filter(|slot| slot.id == link)?;
        Some(slot.ip)
    }

    fn insert(&mut self, ip: u32, is_open: bool) -> LinkId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.links.push(None);
            u32::try_from(self.links.len() - 1).unwrap_or(u32::MAX)
        });
        self.count = self.count.wrapping_add(1);
        let id = LinkId::simulated(index, NonZeroU32::new(self.count).unwrap_or(NonZeroU32::MIN));
        let decoder = Decoder::new(MAX_BODY);
        let output = Vec::new();
        self.links[index as usize] = Some(RawLink { id, ip, decoder, output, is_open });
        id
    }

    fn link_mut(&mut self, link: LinkId) -> Option<&mut RawLink> {
        self.links.get_mut(link.index())?.as_mut().filter(|slot| slot.id == link)
    }

    fn remove(&mut self, link: LinkId) {
        if self.link_mut(link).is_some() {
            self.links[link.index()] = None;
            self.free.push(u32::try_from(link.index()).unwrap_or(u32::MAX));
        }
    }
}

/// Returns the hello of a tower with a configuration.
pub(crate) fn hello(config: &Config, incarnation: u64, address: Option<Address>) -> Hello<'_> {
    Hello {
        version: VERSION,
        incarnation,
        link: 1,
        max_message: u32::try_from(config.max_message).unwrap_or(u32::MAX),
        window: config.window,
        datagram: 0,
        network: &config.network,
        address,
        rest: &[],
    }
}

/// An endpoint with its connections, driven like a tower.
#[derive(Debug)]
pub(crate) struct RawNode {
    endpoint: Box<dyn Endpoint>,
    io: Io,
}

impl RawNode {
    pub(crate) fn new(endpoint: Box<dyn Endpoint>, dial_timeout: Duration) -> Self {
        Self { endpoint, io: Io { dial_timeout, ..Io::default() } }
    }

    pub(crate) fn listens_at(&self, ip: u32) -> bool {
        self.endpoint.listens_at(ip)
    }

    pub(crate) fn ip(&self, link: LinkId) -> Option<u32> {
        self.io.ip(link)
    }

    pub(crate) fn accept(&mut self, ip: u32, now: Instant) -> LinkId {
        self.io.now = now;
        let link = self.io.insert(ip, true);
        self.endpoint.on_open(link, &mut self.io);
        link
    }

    pub(crate) fn handle(&mut self, event: Event<'_>, now: Instant) {
        let Self { endpoint, io } = self;
        io.now = now;
        match event {
            Event::Connected { link, .. } => {
                let Some(slot) = io.link_mut(link) else { return };
                slot.is_open = true;
                endpoint.on_open(link, io);
            }
            Event::BytesArrived { link, mut bytes } => {
                let Some(slot) = io.link_mut(link) else { return };
                let mut decoder = std::mem::take(&mut slot.decoder);
                loop {
                    match decoder.decode(&mut bytes) {
                        Ok(Some(frame)) => endpoint.on_frame(link, &frame, io),
                        Ok(None) => break,
                        Err(_) => {
                            io.close(link);
                            break;
                        }
                    }
                }
                if let Some(slot) = io.link_mut(link) {
                    slot.decoder = decoder;
                }
            }
            Event::Finished { link } => io.close(link),
            Event::ConnectFailed { link, .. }
            | Event::Lost { link, .. }
            | Event::Closed { link } => {
                io.remove(link);
                endpoint.on_end(link, io);
            }
            Event::TimerFired => {
                io.end_late_dials();
                endpoint.on_timer(io);
            }
            _ => {}
        }
    }

    pub(crate) fn transmit(&mut self, link: LinkId, out: &mut Vec<u8>) -> usize {
        let Some(slot) = self.io.link_mut(link) else { return 0 };
        let length = slot.output.len();
        out.append(&mut slot.output);
        length
    }

    pub(crate) fn poll_action(&mut self) -> Option<Action> {
        self.io.actions.pop_front()
    }

    pub(crate) fn next_wakeup(&self) -> Option<Instant> {
        let dial = self.io.dials.front().map(|(due, _)| *due);
        dial.into_iter().chain(self.endpoint.next_wakeup()).min()
    }
}
