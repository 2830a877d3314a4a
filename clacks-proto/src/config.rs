//! The configuration of a tower: each knob with its default, its limits and its cost.

#[cfg(feature = "serde")]
mod serial;

use alloc::string::String;
use core::fmt;
use core::time::Duration;

use crate::link;
use crate::message::Kind;
use crate::wire::{self, Window};

/// The shortest heartbeat. The value is a guess. Shorter ones would flood peers with announcements
/// and find nothing new.
const MIN_HEARTBEAT: Duration = Duration::from_millis(10);

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The name of a network that was given none.
const DEFAULT_NETWORK: &str = "clacks";

/// How a tower behaves and how much memory it may take. [`Tower::new`](crate::Tower::new) checks
/// it.
///
/// ```
/// use clacks_proto::{Config, SendRate};
///
/// let mut config = Config::default();
/// config.send_rate = SendRate::per_second(20);
/// config.validate()?;
/// # Ok::<(), clacks_proto::ConfigError>(())
/// ```
///
/// With the feature `serde` a configuration can be serialized. Durations are text (`"1h 30m"`), the
/// send rate is a number of messages a second or `"unlimited"`, and `heartbeat` may be `"off"`.
/// Fields that are left out have their defaults, and unknown fields are refused.
///
/// Everything is bounded. [`Config::max_memory`] returns the bound. With the default configuration
/// most of it is the bodies in the queue (64 MiB) and the frames that links have received in part
/// (256 × 64 KiB).
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct Config {
    /// The name of the network, at most 64 bytes. A tower of another network is refused in the
    /// hello. Default: `clacks`.
    pub network: String,
    /// How often a message is handed on. Default: one a second (the original's code).
    pub send_rate: SendRate,
    /// The most ticks that a late timer makes up for at once, at least 1. A larger number evens out
    /// a busy driver, and lets more messages go out together. Default: 32 (guess).
    pub burst: u32,
    /// How long a peer stays lost before a further failure makes it dead. Default: 1 h (the
    /// original).
    #[cfg_attr(feature = "serde", serde(with = "serial::duration"))]
    pub kill_timeout: Duration,
    /// The odds of each status in the draw. Default: 95 000 : 4 000 : 1 000 (ours). The original's
    /// document has 95 000 : 4 999 : 1, with which the halves of a split network find each other
    /// too late.
    pub odds: Odds,
    /// The most contacts a second. A contact dials a drawn peer without an open link and announces
    /// this tower. Messages go to alive peers over open links alone, so silent addresses hold up
    /// none. A larger number finds peers sooner after many have gone, and makes more dials. 0 is
    /// the original's behaviour: messages ride on dials. Default: 10 (guess).
    pub contact_rate: u32,
    /// The most messages at the head of the queue for which a tick looks for a suitable peer among
    /// all open links. A larger number costs more time per tick if peers differ in the lengths or
    /// dialects that they take. With 0, a tick draws five peers for one message. Default: 4 (ours).
    pub tried_messages: u32,
    /// The longest body taken from a peer or from the application, in bytes: 1 to
    /// [`wire::MAX_BODY`] (16 MiB). Every open link may hold one such body in part. Default: 64 KiB
    /// (ours).
    pub max_message: usize,
    /// The most messages held, at least 2. Default: 65 536 (ours).
    pub max_queue_messages: usize,
    /// The most bytes of bodies held, at least `max_message`. The body of a message that has left
    /// counts until the notices that carry it are polled. Default: 64 MiB (ours).
    pub max_queue_bytes: usize,
    /// The share of the queue, in per cent, that [`enqueue`](crate::Tower::enqueue) may fill: 1 to
    /// 100. The rest is kept for messages in transit, because full queues block a store-and-forward
    /// network. Default: 80 (ours).
    pub local_share: u8,
    /// How many messages a full tower takes from a peer, beyond its bounds, before the peer has
    /// taken as many from it. Without that, two full towers never exchange a message again, because
    /// each waits for room at the other. A message counts as `max_message / exchange_credit` bytes,
    /// or as its length if that is more, and the peer has credit while its sum is below
    /// `max_message`. All links together may exceed the bounds by `max_links` such credits. 0
    /// disables the exchange. Default: 16 (simulated: 99 % of the hand-overs in a full network
    /// succeed, 94 % with 4).
    pub exchange_credit: u16,
    /// The fill of the queue, in per cent, from which no peer may hold more than its share of it: 1
    /// to 100. A peer's share is an eighth, or twice an equal share if that is more. With one alive
    /// peer there is no limit. Callers that are no proved peers share an eighth. Messages beyond
    /// the share are taken on credit ([`exchange_credit`](Self::exchange_credit)) or refused as
    /// busy. One peer can't fill the queue then. 100 disables the limit. Default: 80 (ours:
    /// messages of the application end there too).
    pub fair_share_from: u8,
    /// The most peers known, at least 1. With a full table, [`newcomers`](Self::newcomers) applies.
    /// Default: 4 096 (ours).
    pub max_peers: usize,
    /// How newcomers get into the table of peers. Default: [`Newcomers::MakeRoom`].
    pub newcomers: Newcomers,
    /// What follows from the address that a caller claims without a key. Default:
    /// [`Claims::DialBack`].
    pub claims: Claims,
    /// Which peers may name loopback, private and link-local addresses. Default:
    /// [`LocalAddresses::FromLocalLinks`].
    pub local_addresses: LocalAddresses,
    /// The most links open at a time, at least 2. When fewer than a sixteenth of them are free,
    /// each new link makes the idle link that was unused longest close: a caller that is refused
    /// takes this tower for lost. Default: 256 (ours).
    pub max_links: usize,
    /// The most inbound links whose other side is no proved peer, 1 to `max_links`: handshakes that
    /// are not complete, callers without an address, and callers that no dial has confirmed. One
    /// more displaces the oldest of the network that has most of them, an IPv4 address or an IPv6
    /// /64. Strangers can't keep out other callers, and can't take the links that this tower needs
    /// for its own dials. `max_links` disables the limit. Default: 64 (a quarter of `max_links`,
    /// ours).
    pub max_unproved: usize,
    /// What may be unconfirmed on a link, in either direction. A wide window costs memory only
    /// while it is used, and lets a stream of short messages fill the records of TLS: with 32
    /// messages two towers reach a third of the rate. Default: 1 024 messages or 1 MiB (measured,
    /// see BENCHMARKS.md).
    pub window: Window,
    /// The most peers that are not alive and are tried at a time, at least 1. Silent addresses must
    /// never take the whole send rate. Default: 16 (ours).
    pub max_probes: usize,
    /// How long a peer is left alone after a failed attempt, more than zero. Keeps a tower with an
    /// unlimited rate from dialling a closed port without end. Default: 1 s (one tick of the
    /// default rate, so the original's odds hold).
    #[cfg_attr(feature = "serde", serde(with = "serial::duration"))]
    pub probe_backoff: Duration,
    /// The longest time that a lost or dead peer is left alone after a failed attempt. Within it,
    /// the time is as long as the peer has been lost. A longer time saves dials to addresses at
    /// which nothing answers, and finds peers later that return. Zero: always `probe_backoff`.
    /// Default: 60 s (ours).
    #[cfg_attr(feature = "serde", serde(with = "serial::duration"))]
    pub max_probe_backoff: Duration,
    /// The shortest time that a peer is left alone after it refused a message. Default: 100 ms
    /// (guess).
    #[cfg_attr(feature = "serde", serde(with = "serial::duration"))]
    pub busy_backoff: Duration,
    /// The longest time that a peer is left alone after it refused a message. Within it, the time
    /// is 16 times as long as the peer has taken none, for at most half of the alive peers. A peer
    /// that stores a message and refuses it makes a copy, so a shorter time lets such peers
    /// multiply messages. Zero: always `busy_backoff`. Default: 1 h (measured: with 60 s, a tenth
    /// of such peers makes six copies of each message).
    #[cfg_attr(feature = "serde", serde(with = "serial::duration"))]
    pub max_busy_backoff: Duration,
    /// How many addresses named as friends are learned. Each is dialled, so this bounds the dials
    /// that a peer causes. Default: 64 at once, then two a second (ours).
    pub friends: Allowance,
    /// How many friends an announce names: 0 to 8, each an alive peer. With more than one, both
    /// sides of a link announce themselves when it opens. With 1, the original's behaviour, a
    /// hundred towers take 15 minutes to know each other. Default: 8 (ours).
    pub announced_friends: u8,
    /// How many addresses claimed by callers are learned. Callers from one public network, an IPv4
    /// /24 or an IPv6 /48, get at most a quarter. Default: 256 at once, then eight a second (ours:
    /// 150 towers that start at the same time are learned at once).
    pub strangers: Allowance,
    /// For how long a message that the application enqueues travels. The lifetime is drawn from
    /// half of this to all of it, so that it does not tell which tower made the message. Messages
    /// that are never dropped fill a network in which nothing takes them out: an application
    /// enqueues again what must stay. `None` is unlimited, and then `max_lifetime` must be
    /// unlimited too. At least 1 ms, less than 49 days, and at most `max_lifetime`. Default: 24 h
    /// (ours).
    #[cfg_attr(feature = "serde", serde(with = "serial::optional"))]
    pub lifetime: Option<Duration>,
    /// The longest lifetime of a message from a peer. Longer ones are shortened to it, and a
    /// message that came in over HTTP gets it. `None` is unlimited. At least 1 ms and less than 49
    /// days. Default: 24 h (ours).
    #[cfg_attr(feature = "serde", serde(with = "serial::optional"))]
    pub max_lifetime: Option<Duration>,
    /// The share of the queue, in per cent, up to which messages may rest before they join the
    /// queue (see [`EnqueueOptions::hold`](crate::EnqueueOptions::hold)): 0 to 100. Messages at
    /// rest take the room of those in transit. With 0 no message rests. A lower limit than what
    /// clients of a store may fill helps a flood: when messages no longer rest, they meet more
    /// towers that drop them. Default: 80 (simulated with a flood of files: with 60, a twentieth
    /// of the files with keepers was lost in an hour).
    pub hold_below: u8,
    /// How often a tower that has nothing to send announces itself to one drawn peer. With `None`,
    /// the original's behaviour, no death or return is noticed in a quiet network. At least 10 ms.
    /// Default: 60 s (ours).
    #[cfg_attr(feature = "serde", serde(with = "serial::optional"))]
    pub heartbeat: Option<Duration>,
    /// Time limits of links and of the shutdown.
    pub timeouts: Timeouts,
    /// Whether the application sees messages before they are queued. Default: off.
    pub screening: Screening,
    /// Screens only messages of the kind bytes with a body of this length. Others are queued as
    /// they come, and screening costs them nothing. `None` screens all. Default: `None`.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub screened_len: Option<usize>,
    /// Whether datagrams are exchanged. Default: off.
    pub datagrams: Datagrams,
    /// Whether this tower is a guest: its hello names no address, so that it is neither learned nor
    /// dialled, and it takes no messages. It hands over messages of its application, and exchanges
    /// datagrams. Default: false.
    pub is_guest: bool,
    /// Which dialects are spoken. HTTP needs the feature `http`. A link that speaks HTTP may hold a
    /// request's head and twice a body more than a native one. Default: the native dialect alone
    /// (ours: every build behaves the same).
    pub dialects: Dialects,
    /// The minimum number of recent messages, received or enqueued, whose names are remembered; the
    /// maximum is twice that. [`Notice::MessageReceived`](crate::Notice::MessageReceived) uses them
    /// for its field `again`. Each takes some 30 bytes, allocated when it is used. 0 disables the
    /// memory. Default: 4 096 (guess).
    pub recent: usize,
    /// The most notices that wait for the driver: 16 to 2^30. While that many wait, messages from
    /// peers are refused as busy, and other notices are counted instead of kept, except for
    /// [`Notice::ShutDown`](crate::Notice::ShutDown). Default: 8 192 (guess).
    pub max_pending_notices: usize,
}

/// How often the head of the queue is handed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendRate {
    /// One message each interval. Not zero.
    Every(Duration),
    /// As fast as the windows of the links allow.
    Unlimited,
}

impl SendRate {
    /// Returns the rate of `count` messages a second. [`Config::validate`] refuses a count of zero.
    #[must_use]
    pub fn per_second(count: u32) -> Self {
        Self::Every(Duration::from_secs(1).checked_div(count).unwrap_or(Duration::ZERO))
    }
}

/// Integer weights of the statuses in the draw of a recipient. A status without an eligible peer
/// does not take part. New peers always come first. The sum must fit 32 bits, and `alive` must not
/// be 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct Odds {
    /// The weight of all alive peers together.
    pub alive: u32,
    /// The weight of all lost peers together.
    pub lost: u32,
    /// The weight of all dead peers together.
    pub dead: u32,
}

/// A token bucket: `burst` at once, then one more every `every`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct Allowance {
    /// How many are allowed at once.
    pub burst: u32,
    /// The time until one more is allowed. Zero is no limit.
    #[cfg_attr(feature = "serde", serde(with = "serial::duration"))]
    pub every: Duration,
}

/// How newcomers get into the table of peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Newcomers {
    /// A newcomer replaces a peer of a full table, in this order: a peer that was never alive, a
    /// dead one, a lost one, and the alive one that was without a link longest. Peers that the
    /// application named or ignored stay, and so do peers with a link. An announcement of a tower
    /// that is not learned is refused as busy, and each further transfer on its link tries again.
    MakeRoom,
    /// A newcomer replaces only a dead peer. An announcement is confirmed in any case.
    ReplaceDead,
}

/// What follows from the address that a caller claims without a key: in clear text and over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Claims {
    /// The address is learned and dialled. It gets messages only on links that this tower dialled,
    /// and only a dial shows whether it is alive.
    DialBack,
    /// The caller is believed. It gets the messages for that address, and makes the address alive.
    Believe,
}

/// Which peers may name addresses that mean another host elsewhere: loopback, private (RFC 1918,
/// RFC 4193) and link-local ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum LocalAddresses {
    /// Peers whose own link comes from such an address: loopback addresses over loopback, and
    /// private and link-local ones over loopback, private and link-local addresses. Other peers
    /// can't make this tower dial hosts behind its firewall by their IP address. A link
    /// that was dialled by a name counts as public, except for `localhost`. What a name resolves to
    /// is up to the driver; only `localhost` counts as loopback.
    FromLocalLinks,
    /// All peers.
    FromAllLinks,
}

/// How long a tower waits. Each must be more than zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct Timeouts {
    /// For a dialled peer to accept the connection. Default: 10 s (ours).
    #[cfg_attr(feature = "serde", serde(with = "serial::duration"))]
    pub connect: Duration,
    /// For TLS and the hello, from the moment the connection is established. Default: 10 s (ours).
    #[cfg_attr(feature = "serde", serde(with = "serial::duration"))]
    pub handshake: Duration,
    /// For the confirmation of the oldest unconfirmed message. Default: 30 s (ours).
    #[cfg_attr(feature = "serde", serde(with = "serial::duration"))]
    pub confirm: Duration,
    /// For any byte on an open link before it is closed as unused. Default: 60 s (ours).
    #[cfg_attr(feature = "serde", serde(with = "serial::duration"))]
    pub idle: Duration,
    /// For the driver to flush and close a link before it is aborted. Default: 5 s (guess).
    #[cfg_attr(feature = "serde", serde(with = "serial::duration"))]
    pub close: Duration,
    /// For a shutdown: to hand the queue to peers and to close all links. Default: 10 s (guess).
    #[cfg_attr(feature = "serde", serde(with = "serial::duration"))]
    pub shutdown: Duration,
}

/// Whether an application looks at each message before it is queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case", deny_unknown_fields))]
pub enum Screening {
    /// Messages are queued as they come.
    Off,
    /// Each message waits for [`Tower::decide`](crate::Tower::decide).
    On {
        /// The most messages that wait for a verdict, at least 1. More are refused as busy.
        max_offers: usize,
        /// How long a message waits.
        #[cfg_attr(feature = "serde", serde(with = "serial::duration"))]
        timeout: Duration,
        /// The verdict on a message that waited too long.
        default: DefaultVerdict,
    },
}

/// Whether a tower exchanges datagrams: bytes for the application at the other end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case", deny_unknown_fields))]
pub enum Datagrams {
    /// None are sent and none are taken.
    Off,
    /// Datagrams are sent with [`Tower::datagram`](crate::Tower::datagram), and taken with
    /// [`Tower::take_datagram`](crate::Tower::take_datagram).
    On {
        /// The longest datagram that is taken, in bytes: 1 to [`wire::MAX_DATAGRAM`] (64 KiB).
        max_len: u32,
        /// The most bytes that wait to be sent on one link, with 64 more for each datagram: at
        /// least `max_len + 64`.
        outbox: usize,
        /// The most bytes that wait for the application, with 128 more for each datagram: at least
        /// `8 * (max_len + 128)`. One link may use an eighth. More are dropped and counted.
        inbox: usize,
    },
}

impl Datagrams {
    /// Datagrams of at most 12 KiB, an outbox of 256 KiB and an inbox of 1 MiB (ours).
    pub const ON: Self = Self::On { max_len: 12 * 1024, outbox: 256 * 1024, inbox: 1024 * 1024 };

    /// Returns the longest datagram that is taken, or 0.
    pub(crate) fn max_len(self) -> u32 {
        match self {
            Self::Off => 0,
            Self::On { max_len, .. } => max_len,
        }
    }

    fn is_valid(self) -> bool {
        let Self::On { max_len, outbox, inbox } = self else { return true };
        let len = max_len as usize;
        (1..=wire::MAX_DATAGRAM).contains(&max_len)
            && outbox >= len + 64
            && inbox / 8 >= len + 128
            && u32::try_from(inbox).is_ok()
    }
}

/// Which dialects a tower speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Dialects {
    /// Only the [native](crate::wire) one.
    Native,
    /// Also HTTP, with peers that don't speak the native dialect. HTTP names no network, so it is
    /// spoken only in the network with the default name.
    NativeAndHttp,
}

/// The verdict on a message that the application did not decide in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum DefaultVerdict {
    /// The message is queued.
    Accept,
    /// The message is refused.
    Reject,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            network: String::from(DEFAULT_NETWORK),
            send_rate: SendRate::per_second(1),
            burst: 32,
            kill_timeout: Duration::from_secs(60 * 60),
            odds: Odds::default(),
            contact_rate: 10,
            tried_messages: 4,
            max_message: 64 * 1024,
            max_queue_messages: 65_536,
            max_queue_bytes: 64 * 1024 * 1024,
            local_share: 80,
            exchange_credit: 16,
            fair_share_from: 80,
            max_peers: 4_096,
            newcomers: Newcomers::MakeRoom,
            claims: Claims::DialBack,
            local_addresses: LocalAddresses::FromLocalLinks,
            max_links: 256,
            max_unproved: 64,
            window: Window { messages: 1024, bytes: 1024 * 1024 },
            max_probes: 16,
            probe_backoff: Duration::from_secs(1),
            max_probe_backoff: Duration::from_secs(60),
            busy_backoff: Duration::from_millis(100),
            max_busy_backoff: Duration::from_secs(60 * 60),
            friends: Allowance { burst: 64, every: Duration::from_millis(500) },
            announced_friends: 8,
            strangers: Allowance { burst: 256, every: Duration::from_millis(125) },
            hold_below: 80,
            lifetime: Some(DAY),
            max_lifetime: Some(DAY),
            heartbeat: Some(Duration::from_secs(60)),
            timeouts: Timeouts::default(),
            screening: Screening::Off,
            screened_len: None,
            datagrams: Datagrams::Off,
            is_guest: false,
            dialects: Dialects::Native,
            recent: 4_096,
            max_pending_notices: 8_192,
        }
    }
}

impl Default for Odds {
    fn default() -> Self {
        Self { alive: 95_000, lost: 4_000, dead: 1_000 }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            handshake: Duration::from_secs(10),
            confirm: Duration::from_secs(30),
            idle: Duration::from_secs(60),
            close: Duration::from_secs(5),
            shutdown: Duration::from_secs(10),
        }
    }
}

impl Odds {
    /// The odds of the original's document.
    pub const ORIGINAL: Self = Self { alive: 95_000, lost: 4_999, dead: 1 };
}

impl Config {
    /// Returns a configuration that behaves as the original's document says: the odds are the
    /// original's, messages ride on dials, dead peers are drawn by the odds alone, a full table
    /// replaces dead peers only, an announce names one friend, and messages never expire.
    #[must_use]
    pub fn original() -> Self {
        let default = Self::default();
        let allowance = Allowance { burst: 64, every: Duration::from_secs(4) };
        Self {
            odds: Odds::ORIGINAL,
            contact_rate: 0,
            newcomers: Newcomers::ReplaceDead,
            friends: allowance,
            announced_friends: 1,
            strangers: allowance,
            lifetime: None,
            max_lifetime: None,
            hold_below: 0,
            max_probe_backoff: Duration::ZERO,
            max_busy_backoff: Duration::ZERO,
            ..default
        }
    }

    /// Returns whether a tower with this configuration speaks HTTP in an open network.
    #[must_use]
    pub fn speaks_http(&self) -> bool {
        self.dialects == Dialects::NativeAndHttp && self.network == DEFAULT_NETWORK
    }

    /// Returns whether screening, if it is on, applies to a message.
    #[inline]
    pub(crate) fn screens(&self, kind: Kind, len: usize) -> bool {
        self.screened_len.is_none_or(|screened| kind == Kind::Bytes && len == screened)
    }

    /// Returns the most messages that a tower holds: `max_queue_messages` and the credit of its
    /// peers ([`exchange_credit`](Self::exchange_credit)).
    #[must_use]
    pub fn max_held_messages(&self) -> usize {
        let credit = usize::from(self.exchange_credit);
        self.max_queue_messages.saturating_add(self.max_links.saturating_mul(credit))
    }

    /// Returns the most bytes of bodies that a tower holds: `max_queue_bytes` and the credit of its
    /// peers ([`exchange_credit`](Self::exchange_credit)).
    #[must_use]
    pub fn max_held_bytes(&self) -> usize {
        let credit = self.max_links.saturating_mul(self.max_message);
        self.max_queue_bytes.saturating_add(if self.exchange_credit > 0 { credit } else { 0 })
    }

    /// Returns the most memory that a tower takes, in bytes, without the overhead of the allocator.
    ///
    /// The bound is the sum of:
    ///
    /// | for each | bytes |
    /// |---|---|
    /// | tower | 8 KiB and the network's name |
    /// | byte of `max_queue_bytes` | 1 |
    /// | message of `max_queue_messages` | 320 |
    /// | message of `recent` | 64 |
    /// | peer of `max_peers` | 1 920, of which 896 are for two links that have ended |
    /// | link of `max_links` | 3 KiB, `2 * max_message`, and 224 for each message of `window` |
    /// | link, if `exchange_credit` is not 0 | `max_message`, and 320 for each message of credit |
    /// | link, with datagrams | `outbox` and `2 * max_len` |
    /// | tower, with datagrams | `inbox` |
    /// | notice of `max_pending_notices`, and offer | 256 |
    /// | link, if HTTP is spoken | 128 KiB, `4 * max_message`, 256 for each message of `window` |
    /// | tower, if HTTP is spoken | 256 KiB and `24 * max_message`, to read one request |
    ///
    /// A test fills a tower and checks with a counting allocator that it stays below the bound.
    #[must_use]
    pub fn max_memory(&self) -> usize {
        const KIB: usize = 1024;
        let offers = match self.screening {
            Screening::Off => 0,
            Screening::On { max_offers, .. } => max_offers,
        };
        let window = usize::from(self.window.messages);
        let http = usize::from(self.speaks_http());
        let credit = usize::from(self.exchange_credit);
        let exchanged = self.max_message.saturating_mul(credit.min(1));
        let (inbox, outbox) = match self.datagrams {
            Datagrams::Off => (0, 0),
            Datagrams::On { max_len, outbox, inbox } => {
                (inbox, outbox.saturating_add(2 * max_len as usize))
            }
        };
        let link = (3 * KIB + window * 224 + credit * 320)
            .saturating_add(exchanged)
            .saturating_add(outbox)
            .saturating_add(self.max_message.saturating_mul(2))
            .saturating_add(http * (128 * KIB + window * 256))
            .saturating_add(http.saturating_mul(4).saturating_mul(self.max_message));
        let parts = [
            8 * KIB + self.network.len(),
            inbox,
            self.max_queue_bytes,
            self.max_queue_messages.saturating_mul(320),
            self.recent.saturating_mul(64),
            self.max_peers.saturating_mul(KIB + 896),
            self.max_links.saturating_mul(link),
            self.max_pending_notices.saturating_add(offers).saturating_mul(256),
            http.saturating_mul(self.max_message.saturating_mul(24).saturating_add(256 * KIB)),
        ];
        parts.into_iter().fold(0, usize::saturating_add)
    }

    /// Checks that a tower can run with this configuration. Nothing is ever clamped.
    ///
    /// # Errors
    ///
    /// Returns the first knob that is out of its limits.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let odds = &self.odds;
        let sum = odds.alive.checked_add(odds.lost).and_then(|sum| sum.checked_add(odds.dead));
        let times = &self.timeouts;
        let timeouts = [
            times.connect,
            times.handshake,
            times.confirm,
            times.idle,
            times.close,
            times.shutdown,
        ];
        let fits = |count: usize| u32::try_from(count).is_ok_and(|count| count < u32::MAX - 1);
        let at_least = |least: usize, count: usize| count >= least && fits(count);
        let rules = [
            (self.network.len() <= wire::MAX_NETWORK, ConfigError::Network),
            (self.send_rate != SendRate::Every(Duration::ZERO), ConfigError::SendRate),
            (self.burst >= 1, ConfigError::Burst),
            (odds.alive > 0 && sum.is_some(), ConfigError::Odds),
            ((1..=wire::MAX_BODY).contains(&self.max_message), ConfigError::MaxMessage),
            (at_least(2, self.max_queue_messages), ConfigError::MaxQueueMessages),
            (self.max_queue_bytes >= self.max_message, ConfigError::MaxQueueBytes),
            ((1..=100).contains(&self.local_share), ConfigError::LocalShare),
            ((1..=100).contains(&self.fair_share_from), ConfigError::FairShareFrom),
            (at_least(1, self.max_peers), ConfigError::MaxPeers),
            (at_least(2, self.max_links), ConfigError::MaxLinks),
            ((1..=self.max_links).contains(&self.max_unproved), ConfigError::MaxUnproved),
            ((1..=wire::MAX_WINDOW).contains(&self.window.messages), ConfigError::Window),
            (self.max_probes >= 1, ConfigError::MaxProbes),
            (!self.probe_backoff.is_zero(), ConfigError::ProbeBackoff),
            (
                usize::from(self.announced_friends) <= wire::MAX_FRIENDS,
                ConfigError::AnnouncedFriends,
            ),
            (self.has_valid_lifetimes(), ConfigError::Lifetime),
            (self.hold_below <= 100, ConfigError::HoldBelow),
            (self.heartbeat.is_none_or(|time| time >= MIN_HEARTBEAT), ConfigError::Heartbeat),
            (timeouts.iter().all(|time| !time.is_zero()), ConfigError::Timeouts),
            (
                !matches!(self.screening, Screening::On { max_offers: 0, .. }),
                ConfigError::Screening,
            ),
            (self.datagrams.is_valid(), ConfigError::Datagrams),
            (self.dialects == Dialects::Native || link::HAS_HTTP, ConfigError::Dialects),
            (fits(self.recent), ConfigError::Recent),
            ((16..=1 << 30).contains(&self.max_pending_notices), ConfigError::MaxPendingNotices),
        ];
        rules.iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, error)| Err(*error))
    }

    fn has_valid_lifetimes(&self) -> bool {
        let fits = |time: Duration| (1..u128::from(u32::MAX)).contains(&time.as_millis());
        match self.max_lifetime {
            None => self.lifetime.is_none_or(fits),
            Some(max) => {
                fits(max) && self.lifetime.is_some_and(|lifetime| fits(lifetime) && lifetime <= max)
            }
        }
    }
}

/// The knob of a [`Config`] that is out of its limits. No tower was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// `network`
    Network,
    /// `send_rate`
    SendRate,
    /// `burst`
    Burst,
    /// `odds`
    Odds,
    /// `max_message`
    MaxMessage,
    /// `max_queue_messages`
    MaxQueueMessages,
    /// `max_queue_bytes`
    MaxQueueBytes,
    /// `local_share`
    LocalShare,
    /// `fair_share_from`
    FairShareFrom,
    /// `max_peers`
    MaxPeers,
    /// `max_links`
    MaxLinks,
    /// `max_unproved`
    MaxUnproved,
    /// `window`
    Window,
    /// `max_probes`
    MaxProbes,
    /// `probe_backoff`
    ProbeBackoff,
    /// `announced_friends`
    AnnouncedFriends,
    /// `lifetime` or `max_lifetime`
    Lifetime,
    /// `hold_below`
    HoldBelow,
    /// `heartbeat`
    Heartbeat,
    /// `timeouts`
    Timeouts,
    /// `screening`
    Screening,
    /// `datagrams`
    Datagrams,
    /// `dialects`
    Dialects,
    /// `recent`
    Recent,
    /// `max_pending_notices`
    MaxPendingNotices,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Network => "the network's name may have at most 64 bytes",
            Self::SendRate => "the send rate must be more than zero",
            Self::Burst => "the burst must be at least 1",
            Self::Odds => "the weight of alive peers must be more than 0, and the sum of all weights must fit 32 bits",
            Self::MaxMessage => "the longest message must be from 1 byte to 16 MiB",
            Self::MaxQueueMessages => "the queue must have room for 2 to 4 294 967 293 messages",
            Self::MaxQueueBytes => "the queue must have room for at least one message of the greatest length",
            Self::LocalShare => "the local share of the queue must be from 1 to 100 per cent",
            Self::FairShareFrom => "the fill from which peers have shares must be from 1 to 100 per cent",
            Self::MaxPeers => "the table of peers must have room for 1 to 4 294 967 293 peers",
            Self::MaxLinks => "the number of links must be from 2 to 4 294 967 293",
            Self::MaxUnproved => "the number of unproved links must be from 1 to the number of links",
            Self::Window => "the window must be from 1 to 4096 messages",
            Self::MaxProbes => "the number of probes must be at least 1",
            Self::ProbeBackoff => "the back-off after a failure must be more than zero",
            Self::AnnouncedFriends => "an announce may name at most 8 friends",
            Self::Lifetime => "lifetimes must be off or from 1 ms to 49 days, and no message may live longer than the longest that is accepted",
            Self::HoldBelow => "the share of the queue for messages at rest must be from 0 to 100 per cent",
            Self::Heartbeat => "the heartbeat must be off or at least 10 ms",
            Self::Timeouts => "every time-out must be more than zero",
            Self::Screening => "screening needs room for at least one message",
            Self::Datagrams => "datagrams may have 1 byte to 64 KiB, and outbox and an eighth of the inbox must have room for one",
            Self::Dialects => "HTTP needs the feature `http` of clacks-proto",
            Self::Recent => "the number of recent messages must be less than 4 294 967 294",
            Self::MaxPendingNotices => "the number of pending notices must be from 16 to 1 073 741 824",
        })
    }
}

impl core::error::Error for ConfigError {}

#[cfg(test)]
mod tests {
    use super::*;

    type Change = fn(&mut Config);

    /// For each knob: its last valid values, and its first invalid ones.
    const LIMITS: &[(ConfigError, &[Change], &[Change])] = &[
        (
            ConfigError::Network,
            &[|it| it.network.clear(), |it| it.network = "x".repeat(wire::MAX_NETWORK)],
            &[|it| it.network = "x".repeat(wire::MAX_NETWORK + 1)],
        ),
        (
            ConfigError::SendRate,
            &[|it| it.send_rate = SendRate::Every(Duration::from_nanos(1))],
            &[|it| it.send_rate = SendRate::Every(Duration::ZERO)],
        ),
        (ConfigError::Burst, &[|it| it.burst = 1], &[|it| it.burst = 0]),
        (
            ConfigError::Odds,
            &[
                |it| it.odds = Odds { alive: 1, lost: 0, dead: 0 },
                |it| it.odds = Odds { alive: 1, lost: u32::MAX - 2, dead: 1 },
            ],
            &[
                |it| it.odds = Odds { alive: 0, lost: 1, dead: 1 },
                |it| it.odds = Odds { alive: 1, lost: u32::MAX - 1, dead: 1 },
                |it| it.odds = Odds { alive: 1, lost: u32::MAX, dead: 0 },
            ],
        ),
        (
            ConfigError::MaxMessage,
            &[|it| it.max_message = 1, |it| it.max_message = wire::MAX_BODY],
            &[|it| it.max_message = 0, |it| it.max_message = wire::MAX_BODY + 1],
        ),
        (
            ConfigError::MaxQueueMessages,
            &[|it| it.max_queue_messages = 2, |it| it.max_queue_messages = MOST],
            &[|it| it.max_queue_messages = 1, |it| it.max_queue_messages = MOST + 1],
        ),
        (
            ConfigError::MaxQueueBytes,
            &[|it| it.max_queue_bytes = it.max_message],
            &[|it| it.max_queue_bytes = it.max_message - 1],
        ),
        (
            ConfigError::LocalShare,
            &[|it| it.local_share = 1, |it| it.local_share = 100],
            &[|it| it.local_share = 0, |it| it.local_share = 101],
        ),
        (
            ConfigError::FairShareFrom,
            &[|it| it.fair_share_from = 1, |it| it.fair_share_from = 100],
            &[|it| it.fair_share_from = 0, |it| it.fair_share_from = 101],
        ),
        (
            ConfigError::MaxPeers,
            &[|it| it.max_peers = 1, |it| it.max_peers = MOST],
            &[|it| it.max_peers = 0, |it| it.max_peers = MOST + 1],
        ),
        (
            ConfigError::MaxLinks,
            &[|it| (it.max_links, it.max_unproved) = (2, 1), |it| it.max_links = MOST],
            &[|it| (it.max_links, it.max_unproved) = (1, 0), |it| it.max_links = MOST + 1],
        ),
        (
            ConfigError::MaxUnproved,
            &[|it| it.max_unproved = 1, |it| it.max_unproved = it.max_links],
            &[|it| it.max_unproved = 0, |it| it.max_unproved = it.max_links + 1],
        ),
        (
            ConfigError::Window,
            &[|it| it.window.messages = 1, |it| it.window.messages = wire::MAX_WINDOW],
            &[|it| it.window.messages = 0, |it| it.window.messages = wire::MAX_WINDOW + 1],
        ),
        (ConfigError::MaxProbes, &[|it| it.max_probes = 1], &[|it| it.max_probes = 0]),
        (
            ConfigError::ProbeBackoff,
            &[|it| it.probe_backoff = Duration::from_nanos(1)],
            &[|it| it.probe_backoff = Duration::ZERO],
        ),
        (
            ConfigError::AnnouncedFriends,
            &[|it| it.announced_friends = 0, |it| it.announced_friends = 8],
            &[|it| it.announced_friends = 9],
        ),
        (
            ConfigError::HoldBelow,
            &[|it| it.hold_below = 0, |it| it.hold_below = 100],
            &[|it| it.hold_below = 101],
        ),
        (
            ConfigError::Lifetime,
            &[
                |it| (it.lifetime, it.max_lifetime) = (None, None),
                |it| it.max_lifetime = None,
                |it| it.lifetime = it.max_lifetime,
                |it| it.lifetime = Some(Duration::from_millis(1)),
                |it| it.max_lifetime = Some(LONGEST_LIFETIME),
            ],
            &[
                |it| it.lifetime = None,
                |it| it.lifetime = Some(DAY + Duration::from_nanos(1)),
                |it| it.lifetime = Some(Duration::from_nanos(999_999)),
                |it| it.max_lifetime = Some(LONGEST_LIFETIME + Duration::from_millis(1)),
            ],
        ),
        (
            ConfigError::Heartbeat,
            &[|it| it.heartbeat = None, |it| it.heartbeat = Some(Duration::from_millis(10))],
            &[|it| it.heartbeat = Some(Duration::from_nanos(9_999_999))],
        ),
        (
            ConfigError::Timeouts,
            &[|it| it.timeouts.close = Duration::from_nanos(1)],
            &[
                |it| it.timeouts.connect = Duration::ZERO,
                |it| it.timeouts.handshake = Duration::ZERO,
                |it| it.timeouts.confirm = Duration::ZERO,
                |it| it.timeouts.idle = Duration::ZERO,
                |it| it.timeouts.close = Duration::ZERO,
                |it| it.timeouts.shutdown = Duration::ZERO,
            ],
        ),
        (ConfigError::Screening, &[|it| screen(it, 1)], &[|it| screen(it, 0)]),
        (
            ConfigError::Datagrams,
            &[
                |it| it.datagrams = Datagrams::ON,
                |it| it.datagrams = Datagrams::On { max_len: 1, outbox: 65, inbox: 8 * 129 },
                |it| {
                    it.datagrams = Datagrams::On { max_len: 65_536, outbox: 65_600, inbox: 1 << 20 }
                },
            ],
            &[
                |it| it.datagrams = Datagrams::On { max_len: 0, outbox: 1_000, inbox: 10_000 },
                |it| {
                    it.datagrams =
                        Datagrams::On { max_len: 65_537, outbox: 1 << 20, inbox: 1 << 20 }
                },
                |it| it.datagrams = Datagrams::On { max_len: 1, outbox: 64, inbox: 10_000 },
                |it| it.datagrams = Datagrams::On { max_len: 1, outbox: 65, inbox: 8 * 129 - 1 },
            ],
        ),
        (
            ConfigError::Recent,
            &[|it| it.recent = 0, |it| it.recent = MOST],
            &[|it| it.recent = MOST + 1],
        ),
        (
            ConfigError::MaxPendingNotices,
            &[|it| it.max_pending_notices = 16, |it| it.max_pending_notices = 1 << 30],
            &[|it| it.max_pending_notices = 15, |it| it.max_pending_notices = (1 << 30) + 1],
        ),
    ];

    const LONGEST_LIFETIME: Duration = Duration::from_millis(u32::MAX as u64 - 1);

    /// Two indexes have a special meaning in lists.
    const MOST: usize = u32::MAX as usize - 2;

    fn screen(config: &mut Config, max_offers: usize) {
        let default = DefaultVerdict::Accept;
        config.screening = Screening::On { max_offers, timeout: Duration::ZERO, default };
    }

    #[test]
    fn every_knob_is_accepted_at_its_limits_and_refused_beyond_them() {
        assert_eq!(Config::default().validate(), Ok(()));
        for (error, valid, invalid) in LIMITS {
            for (changes, expected) in [(valid, Ok(())), (invalid, Err(*error))] {
                for (number, change) in changes.iter().enumerate() {
                    let mut config = Config::default();
                    change(&mut config);
                    assert_eq!(config.validate(), expected, "{error:?}, number {number}");
                }
            }
        }
    }
}
