//! One tower, and a peer of it that speaks frames by hand: it can say what no tower says, and stay
//! silent when it likes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::BufMut;
use clacks_proto::wire::{
    AnnounceFrame, Attempt, Decoder, Farewell, Frame, Hello, MessageFrame, RefusedReason, VERSION,
};
use clacks_proto::{
    Action, Address, CloseMode, CloseReason, Config, Event, Instant, IoCause, Kind, LinkId,
    Message, Nonce, Notice, OfferId, StateMachine, Status, Tower, Window,
};

use super::{LOCAL, address, tower};

/// A frame that the tower said, with what the tests look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    Hello { network: String, address: Option<Address>, window: Window, max_message: u32 },
    Message { transfer: u64, attempt: Attempt, nonce: Nonce, friend: Option<Address>, text: String },
    Announce { transfer: u64, friend: Option<Address> },
    Confirmed(u64),
    Refused(u64, RefusedReason),
    Goodbye(Farewell),
}

/// A tower under test, its driver, and the hand-made peer at the other end of every link.
pub struct Raw {
    pub tower: Tower,
    pub now: Instant,
    /// Every action polled.
    pub actions: Vec<Action>,
    pub notices: Vec<Notice>,
    /// Links that the tower dialled and that nobody answered yet.
    pub dialled: VecDeque<(LinkId, Address)>,
    /// Offers to be decided.
    pub offers: VecDeque<(OfferId, Option<Address>)>,
    /// Links that the tower asked to close, with its reason; the driver does so at once.
    pub closed: BTreeMap<LinkId, (CloseMode, CloseReason)>,
    /// Links whose connection takes no bytes.
    pub deaf: BTreeSet<LinkId>,
    /// The driver asks for at most so many bytes at a time.
    pub room: usize,
    /// The driver does not close what it is asked to close.
    pub never_closes: bool,
    lines: BTreeMap<LinkId, (Decoder, Vec<Said>)>,
    incarnation: u64,
}

/// A hello as the tower at `address` would say it, with the limits of the default configuration.
pub fn hello(address: Option<Address>) -> Hello<'static> {
    Hello {
        version: VERSION,
        incarnation: 77,
        max_message: 64 * 1024,
        window: Window { messages: 32, bytes: 256 * 1024 },
        network: "clacks",
        address,
    }
}

/// A first attempt to hand over a text; its nonce is the transfer's number.
pub fn message(transfer: u64, text: &str) -> MessageFrame<'_> {
    MessageFrame {
        transfer,
        attempt: Attempt::First,
        nonce: Nonce(u128::from(transfer)),
        kind: Kind::Text,
        friend: None,
        body: text.as_bytes(),
    }
}

pub fn encode(frame: &Frame<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame.encode(&mut bytes);
    bytes
}

impl Raw {
    /// The tower number 0, alone.
    pub fn new(config: &Config) -> Self {
        Self {
            tower: tower(0, config),
            now: Instant::ORIGIN,
            actions: Vec::new(),
            notices: Vec::new(),
            dialled: VecDeque::new(),
            offers: VecDeque::new(),
            closed: BTreeMap::new(),
            deaf: BTreeSet::new(),
            room: 1_000_000,
            never_closes: false,
            lines: BTreeMap::new(),
            incarnation: 77,
        }
    }

    /// Calls the tower. Nothing is said yet.
    pub fn call(&mut self) -> LinkId {
        let link = self.tower.accept(LOCAL, self.now).expect("room for a link");
        self.settle();
        link
    }

    /// Calls the tower and says hello as the tower number `n`.
    pub fn call_as(&mut self, n: usize) -> LinkId {
        let link = self.call();
        self.greet(link, Some(address(n)));
        link
    }

    /// Calls as the tower number `n` and announces that: it is alive.
    pub fn call_alive(&mut self, n: usize) -> LinkId {
        let link = self.call_as(n);
        self.announce(link, 1_000);
        self.heard(link);
        assert_eq!(self.status(n), Some(Status::Alive));
        link
    }

    /// A tower that has handed one message to the tower number 1, which has not answered yet.
    /// Returns the link and the transfer.
    pub fn handed(config: &Config, text: &str) -> (Self, LinkId, u64) {
        let mut raw = Self::new(config);
        raw.expand(1);
        raw.enqueue(text);
        assert!(raw.run_to_dial(Duration::from_secs(2)));
        let link = raw.answer();
        let [(transfer, Attempt::First, _)] = raw.heard_messages(link)[..] else { panic!("one") };
        (raw, link, transfer)
    }

    /// Answers the oldest dial: the connection stands.
    pub fn pick_up(&mut self) -> LinkId {
        let (link, _) = self.dialled.pop_front().expect("a dial");
        self.tell(Event::Connected { link });
        link
    }

    /// Answers the oldest dial and says hello.
    pub fn answer(&mut self) -> LinkId {
        let link = self.pick_up();
        self.greet(link, None);
        link
    }

    /// The oldest dial is refused.
    pub fn refuse(&mut self) {
        let (link, _) = self.dialled.pop_front().expect("a dial");
        self.tell(Event::ConnectFailed { link, cause: IoCause::Refused });
    }

    /// Says hello.
    pub fn greet(&mut self, link: LinkId, address: Option<Address>) {
        let hello = Hello { incarnation: self.incarnation, ..hello(address) };
        self.say(link, &Frame::Hello(hello));
    }

    /// The peer forgets everything: its next hello has another number.
    pub fn restart_peer(&mut self) {
        self.incarnation += 1;
    }

    /// Says a frame.
    pub fn say(&mut self, link: LinkId, frame: &Frame<'_>) {
        self.bytes(link, &encode(frame));
    }

    /// Says a message.
    pub fn hand(&mut self, link: LinkId, transfer: u64, text: &str) {
        self.say(link, &Frame::Message(message(transfer, text)));
    }

    /// Says an announce.
    pub fn announce(&mut self, link: LinkId, transfer: u64) {
        self.say(link, &Frame::Announce(AnnounceFrame { transfer, friend: None }));
    }

    pub fn confirm(&mut self, link: LinkId, through: u64) {
        self.say(link, &Frame::Confirmed { through });
    }

    pub fn turn_down(&mut self, link: LinkId, transfer: u64, reason: RefusedReason) {
        self.say(link, &Frame::Refused { transfer, reason });
    }

    pub fn bytes(&mut self, link: LinkId, bytes: &[u8]) {
        self.tell(Event::BytesArrived { link, bytes });
    }

    /// Breaks the connection.
    pub fn lose(&mut self, link: LinkId) {
        self.tell(Event::Lost { link, cause: IoCause::Reset });
    }

    /// Says goodbye, as an idle tower does.
    pub fn leave(&mut self, link: LinkId) {
        self.say(link, &Frame::Goodbye { farewell: Farewell::Idle });
    }

    pub fn tell(&mut self, event: Event<'_>) {
        self.tower.handle(event, self.now);
        self.settle();
    }

    /// Lets the application do something.
    pub fn with<R>(&mut self, verb: impl FnOnce(&mut Tower, Instant) -> R) -> R {
        let result = verb(&mut self.tower, self.now);
        self.settle();
        result
    }

    pub fn enqueue(&mut self, text: &str) -> Nonce {
        self.with(|tower, now| tower.enqueue(Message::text(text), now)).expect("room")
    }

    /// Enqueues "`word` 0", "`word` 1" and so on.
    pub fn enqueue_many(&mut self, count: usize, word: &str) {
        for n in 0..count {
            self.enqueue(&format!("{word} {n}"));
        }
    }

    pub fn expand(&mut self, n: usize) {
        self.with(|tower, now| tower.expand(&address(n), now)).expect("a peer");
    }

    pub fn status(&self, n: usize) -> Option<Status> {
        self.tower.find(&address(n)).map(|peer| peer.status)
    }

    /// The texts held, in the order of `peek`.
    pub fn texts(&self) -> Vec<String> {
        let texts = self.tower.peek().map(|held| held.message.as_text().unwrap().to_string());
        texts.collect()
    }

    /// What the tower has said on a link since it was asked last.
    pub fn heard(&mut self, link: LinkId) -> Vec<Said> {
        self.lines.get_mut(&link).map(|(_, heard)| std::mem::take(heard)).unwrap_or_default()
    }

    /// The messages among what the tower has said: transfer, attempt and text.
    pub fn heard_messages(&mut self, link: LinkId) -> Vec<(u64, Attempt, String)> {
        let message = |said| match said {
            Said::Message { transfer, attempt, text, .. } => Some((transfer, attempt, text)),
            _ => None,
        };
        self.heard(link).into_iter().filter_map(message).collect()
    }

    /// Why the tower closed a link, if it did.
    pub fn close_reason(&self, link: LinkId) -> Option<CloseReason> {
        self.closed.get(&link).map(|(_, why)| *why)
    }

    /// Lets `time` pass.
    pub fn run(&mut self, time: Duration) {
        self.run_until(self.now + time, |_| false);
    }

    /// Runs until the tower has dialled, and returns whether it did.
    pub fn run_to_dial(&mut self, limit: Duration) -> bool {
        self.run_until(self.now + limit, |raw| !raw.dialled.is_empty());
        !self.dialled.is_empty()
    }

    /// Runs until the tower has closed a link, and returns why.
    pub fn run_to_close(&mut self, link: LinkId, limit: Duration) -> Option<CloseReason> {
        self.run_until(self.now + limit, |raw| raw.close_reason(link).is_some());
        self.close_reason(link)
    }

    /// Runs until the tower has said something on a link.
    pub fn run_until_said(&mut self, link: LinkId, limit: Duration, what: &Said) {
        let has_said =
            |raw: &Self| raw.lines.get(&link).is_some_and(|(_, said)| said.contains(what));
        self.run_until(self.now + limit, has_said);
        assert!(has_said(self), "{what:?}");
    }

    /// Fires the tower's timers until `done`, or up to and with a moment.
    fn run_until(&mut self, end: Instant, done: impl Fn(&Self) -> bool) {
        let mut spins = 0;
        self.settle();
        while !done(self) {
            let wakeup = self.tower.next_wakeup().filter(|wakeup| wakeup.at <= end);
            let Some(wakeup) = wakeup else {
                self.now = end;
                return;
            };
            spins = if wakeup.at > self.now { 0 } else { spins + 1 };
            assert!(spins < 1_000, "the timer spins: {wakeup:?}");
            self.now = self.now.max(wakeup.at);
            assert!(
                self.now < Instant::ORIGIN + Duration::from_secs(20_000),
                "what is waited for never comes"
            );
            self.tower.handle(Event::TimerFired, self.now);
            self.settle();
        }
    }

    /// Does all that the tower asks for.
    pub fn settle(&mut self) {
        while let Some(action) = self.tower.poll_action() {
            self.actions.push(action.clone());
            match action {
                Action::Connect { link, address } => self.dialled.push_back((link, address)),
                Action::Send { link } => self.read(link),
                Action::Close { link, how, reason } => self.close(link, how, reason),
                Action::Screen { offer, from, .. } => self.offers.push_back((offer, from)),
                Action::Notify(notice) => self.notices.push(notice),
                _ => {}
            }
        }
    }

    fn close(&mut self, link: LinkId, how: CloseMode, why: CloseReason) {
        if how == CloseMode::Flush {
            self.read(link);
        }
        self.closed.entry(link).or_insert((how, why));
        self.dialled.retain(|(dialled, _)| *dialled != link);
        if !self.never_closes {
            self.tower.handle(Event::Closed { link }, self.now);
        }
    }

    /// Reads all that the tower has to say on a link, unless the connection takes no bytes.
    pub fn read(&mut self, link: LinkId) {
        if self.deaf.contains(&link) {
            return;
        }
        let mut bytes = Vec::new();
        while self.tower.transmit(link, &mut (&mut bytes).limit(self.room)) > 0 {}
        let line = self.lines.entry(link).or_insert_with(|| {
            (Decoder::new(clacks_proto::wire::MAX_BODY).expect_hello(), Vec::new())
        });
        let mut input = bytes.as_slice();
        while let Some(frame) = line.0.decode(&mut input).expect("a tower speaks the protocol") {
            line.1.push(said(frame));
        }
    }
}

fn said(frame: Frame<'_>) -> Said {
    match frame {
        Frame::Hello(Hello { network, address, window, max_message, .. }) => {
            Said::Hello { network: network.to_string(), address, window, max_message }
        }
        Frame::Message(MessageFrame { transfer, attempt, nonce, friend, body, .. }) => {
            let text = String::from_utf8_lossy(body).into_owned();
            Said::Message { transfer, attempt, nonce, friend, text }
        }
        Frame::Announce(AnnounceFrame { transfer, friend }) => Said::Announce { transfer, friend },
        Frame::Confirmed { through } => Said::Confirmed(through),
        Frame::Refused { transfer, reason } => Said::Refused(transfer, reason),
        Frame::Goodbye { farewell } => Said::Goodbye(farewell),
        other => panic!("an unknown frame: {other:?}"),
    }
}
