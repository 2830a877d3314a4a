//! Every knob of a tower, with its default, its limits and what it costs.

use alloc::string::String;
use core::fmt;
use core::time::Duration;

use crate::wire;

/// The shortest heartbeat: more would be a flood of announces, and no news (guess).
const LEAST_HEARTBEAT: Duration = Duration::from_millis(10);

/// The network of those who name none.
const NETWORK: &str = "clacks";

/// How a tower behaves and how much it may hold. Checked once, by [`Tower::new`](crate::Tower::new).
///
/// ```
/// use clacks_proto::{Config, SendRate};
///
/// let mut config = Config::default();
/// config.send_rate = SendRate::per_second(20);
/// config.check()?;
/// # Ok::<(), clacks_proto::ConfigError>(())
/// ```
///
/// # How much memory a tower takes
///
/// Everything is bounded, and [`Config::max_memory`] is the one formula for the bound. With the defaults the queue's bodies are
/// most of it (64 MiB), then the half-decoded frames of links (256 × 64 KiB).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Config {
    /// The name of the network, at most 64 bytes. A tower of another network is refused in the hello.
    /// Default: `clacks`.
    pub network: String,
    /// How often a message is handed on. Default: one a second (the original's code).
    pub send_rate: SendRate,
    /// How many ticks a late timer makes up for at once, at least 1. More evens out a busy driver, and lets more go out in a clump.
    /// Default: 32 (ours: one window).
    pub burst: u32,
    /// How long a peer stays lost before a further failure makes it dead. Default: 1 h (the original).
    pub kill_timeout: Duration,
    /// The odds of each status in the draw. Default: 95 000 : 4 999 : 1 (the original's document).
    pub odds: Odds,
    /// The longest body taken from a peer or from the application, in bytes, 1 to
    /// [`wire::MAX_BODY`] (16 MiB). Every open link may hold one such body half received. Default: 64 KiB (ours).
    pub max_message: usize,
    /// The most messages held, at least 2. One that has left takes its place until the driver has polled the notices up to then, which may speak of it.
    /// Default: 65 536 (ours).
    pub max_queue_messages: usize,
    /// The most bytes of bodies held, at least `max_message`. Default: 64 MiB (ours).
    pub max_queue_bytes: usize,
    /// The share of the queue, in per cent, that local [`enqueue`](crate::Tower::enqueue)s may fill; the rest is kept for
    /// messages in transit. 1 to 100. Full queues gridlock a store-and-forward network. Default: 80 (ours).
    pub local_share: u8,
    /// The most peers known, at least 1. A newcomer to a full table takes the place of the longest dead one, or of another name of this tower
    /// or of an ignored one, or is not learned.
    /// Default: 4 096 (ours).
    pub max_peers: usize,
    /// The most links open at a time, at least 2. When fewer than a sixteenth of them are free, the idle link unused longest makes room with each new one:
    /// a caller that is turned away takes this tower for lost. Default: 256 (ours).
    pub max_links: usize,
    /// The most inbound links that have not said hello, at most `max_links - 1`: strangers can't take the room
    /// for our own dials. Default: 64 (ours).
    pub max_half_open: usize,
    /// What may be unconfirmed on a link, in either direction. Default: 32 messages or 256 KiB (ours).
    pub window: Window,
    /// The most peers not proved alive that are tried at a time, at least 1: silent addresses must never take the
    /// whole tick rate. Default: 16 (ours).
    pub max_probes: usize,
    /// How long a peer rests after a failed attempt, more than zero. Keeps an unlimited rate from dialling a closed port without end.
    /// Default: 1 s (one tick of the default rate, so the original's odds hold there).
    pub probe_backoff: Duration,
    /// How long a peer rests after it answered that it is busy. Default: 100 ms (guess).
    pub busy_backoff: Duration,
    /// How many addresses named as friends are learned. New peers come first in the draw, so together with `strangers` this must stay
    /// below the send rate: or whoever names fresh addresses takes every tick. Default: 64 at once, then one each 4 s (ours: with the
    /// strangers, half of the ticks at the default rate).
    pub friends: Allowance,
    /// How many addresses claimed by strangers that called us are learned. Default: as for `friends` (ours).
    pub strangers: Allowance,
    /// How often a tower with nothing to send announces itself to one drawn peer; `None` is the original's behaviour: in a quiet
    /// network nobody notices a death or a return. At least 10 ms. Default: 60 s (ours).
    pub heartbeat: Option<Duration>,
    /// How long to wait for what.
    pub timeouts: Timeouts,
    /// Whether the application sees messages before they are queued. Default: off.
    pub screening: Screening,
    /// Which dialects are spoken (feature `http`). Every link that speaks HTTP may hold a head and twice a body more than a native one. Default: the native one
    /// (ours: so that what a tower does is the same in every build).
    #[cfg(feature = "http")]
    pub dialects: Dialects,
    /// The most notices that wait for the driver, 16 to 2^30. While it is reached peers' messages are answered
    /// `Busy`, and other notices are counted instead of kept, except for [`Notice::ShutDown`](crate::Notice::ShutDown). Default: 8 192 (guess).
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
    /// `count` messages a second. A count of zero is refused by [`Config::check`].
    #[must_use]
    pub fn per_second(count: u32) -> Self {
        Self::Every(Duration::from_secs(1).checked_div(count).unwrap_or(Duration::ZERO))
    }
}

/// Integer weights of the statuses in the draw of a recipient. A status without an eligible peer does not take part.
/// New peers always come first. The sum must fit 32 bits and `alive` may not be 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Odds {
    /// The weight of the alive peers together.
    pub alive: u32,
    /// The weight of the lost peers together.
    pub lost: u32,
    /// The weight of the dead peers together.
    pub dead: u32,
}

/// What may be sent without having been confirmed: at most `messages`, and at most `bytes` of bodies unless it is a single message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Messages and announces, at least 1, at most [`wire::MAX_WINDOW`].
    pub messages: u16,
    /// Bytes of bodies.
    pub bytes: u32,
}

impl Window {
    /// What both windows admit.
    pub(crate) fn within(self, other: Self) -> Self {
        Self { messages: self.messages.min(other.messages), bytes: self.bytes.min(other.bytes) }
    }

    /// Whether one more body of `len` bytes may go out while `messages` and `bytes` are unconfirmed.
    #[must_use]
    pub fn admits(self, messages: usize, bytes: usize, len: usize) -> bool {
        messages == 0
            || messages < usize::from(self.messages)
                && bytes.saturating_add(len) <= usize::try_from(self.bytes).unwrap_or(usize::MAX)
    }
}

/// A token bucket: `burst` at once, then one more each `every`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// How many may come at once.
    pub burst: u32,
    /// How long until one more may come. Zero is no limit.
    pub every: Duration,
}

/// How long a tower waits. Every one must be more than zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// For a dialled peer to accept the connection. Default: 10 s (ours).
    pub connect: Duration,
    /// For TLS and the hello, from the moment the connection stands. Default: 10 s (ours).
    pub handshake: Duration,
    /// For the confirmation of the oldest unconfirmed message. Default: 30 s (ours).
    pub confirm: Duration,
    /// For any frame on an open link before it is closed as unused. Default: 60 s (ours).
    pub idle: Duration,
    /// For the driver to flush and close a link before it is cut. Default: 5 s (guess).
    pub close: Duration,
    /// For a shutdown to hand the queue to peers. Default: 10 s (guess).
    pub shutdown: Duration,
}

/// Whether an application looks at each message before it is queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Screening {
    /// Messages are queued as they come.
    Off,
    /// Every message waits for [`Tower::decide`](crate::Tower::decide).
    On {
        /// The most messages that wait for a verdict, at least 1; more are answered `Busy`.
        max_offers: usize,
        /// How long one waits.
        timeout: Duration,
        /// What becomes of one that waited too long.
        default: DefaultVerdict,
    },
}

/// Which dialects a tower speaks.
#[cfg(feature = "http")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Dialects {
    /// Only the [native](crate::wire) one.
    Native,
    /// Also [HTTP](crate::http), with peers that don't speak the native one. Nobody can name a network in HTTP, so it is spoken only in the one
    /// with the default name.
    NativeAndHttp,
}

/// What becomes of a message on which the application did not decide in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultVerdict {
    /// It is queued.
    Accept,
    /// It is refused.
    Reject,
}

impl Default for Config {
    fn default() -> Self {
        let allowance = Allowance { burst: 64, every: Duration::from_secs(4) };
        Self {
            network: String::from(NETWORK),
            send_rate: SendRate::per_second(1),
            burst: 32,
            kill_timeout: Duration::from_secs(60 * 60),
            odds: Odds::default(),
            max_message: 64 * 1024,
            max_queue_messages: 65_536,
            max_queue_bytes: 64 * 1024 * 1024,
            local_share: 80,
            max_peers: 4_096,
            max_links: 256,
            max_half_open: 64,
            window: Window { messages: 32, bytes: 256 * 1024 },
            max_probes: 16,
            probe_backoff: Duration::from_secs(1),
            busy_backoff: Duration::from_millis(100),
            friends: allowance,
            strangers: allowance,
            heartbeat: Some(Duration::from_secs(60)),
            timeouts: Timeouts::default(),
            screening: Screening::Off,
            #[cfg(feature = "http")]
            dialects: Dialects::Native,
            max_pending_notices: 8_192,
        }
    }
}

impl Default for Odds {
    fn default() -> Self {
        Self { alive: 95_000, lost: 4_999, dead: 1 }
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

impl Config {
    /// Whether HTTP is spoken in an open network with this.
    #[cfg(feature = "http")]
    #[must_use]
    pub fn may_speak_http(&self) -> bool {
        self.dialects == Dialects::NativeAndHttp && self.network == NETWORK
    }

    /// Whether a tower can run with this.
    ///
    /// # Errors
    ///
    /// Names the first knob that is out of its limits. Nothing is ever clamped.
    pub fn check(&self) -> Result<(), ConfigError> {
        let odds = &self.odds;
        let sum = odds.alive.checked_add(odds.lost).and_then(|sum| sum.checked_add(odds.dead));
        let times = &self.timeouts;
        let slots = |count: usize| u32::try_from(count).is_ok_and(|count| count < u32::MAX);
        let rules = [
            (self.network.len() <= wire::MAX_NETWORK, ConfigError::Network),
            (self.send_rate != SendRate::Every(Duration::ZERO), ConfigError::SendRate),
            (self.burst >= 1, ConfigError::Burst),
            (odds.alive > 0 && sum.is_some(), ConfigError::Odds),
            ((1..=wire::MAX_BODY).contains(&self.max_message), ConfigError::MaxMessage),
            (
                self.max_queue_messages >= 2 && slots(self.max_queue_messages),
                ConfigError::MaxQueueMessages,
            ),
            (self.max_queue_bytes >= self.max_message, ConfigError::MaxQueueBytes),
            ((1..=100).contains(&self.local_share), ConfigError::LocalShare),
            (self.max_peers >= 1 && slots(self.max_peers), ConfigError::MaxPeers),
            (self.max_links >= 2 && slots(self.max_links), ConfigError::MaxLinks),
            ((1..self.max_links).contains(&self.max_half_open), ConfigError::MaxHalfOpen),
            (
                self.window.messages >= 1 && self.window.messages <= wire::MAX_WINDOW,
                ConfigError::Window,
            ),
            (self.max_probes >= 1, ConfigError::MaxProbes),
            (!self.probe_backoff.is_zero(), ConfigError::ProbeBackoff),
            (self.heartbeat.is_none_or(|time| time >= LEAST_HEARTBEAT), ConfigError::Heartbeat),
            (
                [
                    times.connect,
                    times.handshake,
                    times.confirm,
                    times.idle,
                    times.close,
                    times.shutdown,
                ]
                .iter()
                .all(|time| !time.is_zero()),
                ConfigError::Timeouts,
            ),
            (
                !matches!(self.screening, Screening::On { max_offers: 0, .. }),
                ConfigError::Screening,
            ),
            ((16..=1 << 30).contains(&self.max_pending_notices), ConfigError::MaxPendingNotices),
        ];
        rules.iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, error)| Err(*error))
    }
}

/// Which knob of a [`Config`] is out of its limits. No tower was made.
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
    /// `max_peers`
    MaxPeers,
    /// `max_links`
    MaxLinks,
    /// `max_half_open`
    MaxHalfOpen,
    /// `window`
    Window,
    /// `max_probes`
    MaxProbes,
    /// `probe_backoff`
    ProbeBackoff,
    /// `heartbeat`
    Heartbeat,
    /// `timeouts`
    Timeouts,
    /// `screening`
    Screening,
    /// `max_pending_notices`
    MaxPendingNotices,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Network => "the network's name may have at most 64 bytes",
            Self::SendRate => "the send rate must be more than zero",
            Self::Burst => "the burst must be at least 1",
            Self::Odds => "the weight of alive peers must be more than 0, and all weights together fit 32 bits",
            Self::MaxMessage => "the longest message must be from 1 byte to 16 MiB",
            Self::MaxQueueMessages => "the queue must have room for 2 to 4 294 967 294 messages",
            Self::MaxQueueBytes => "the queue must have room for at least one message of the greatest length",
            Self::LocalShare => "the local share of the queue must be from 1 to 100 per cent",
            Self::MaxPeers => "there must be room for at least one peer",
            Self::MaxLinks => "there must be room for at least two links",
            Self::MaxHalfOpen => "half-open links must be at least 1 and fewer than all links",
            Self::Window => "the window must be from 1 to 4096 messages",
            Self::MaxProbes => "at least one peer must be allowed to be tried",
            Self::ProbeBackoff => "a peer must rest for more than no time after a failure",
            Self::Heartbeat => "the heartbeat must be at least 10 ms; or switch it off",
            Self::Timeouts => "every time-out must be more than zero",
            Self::Screening => "screening needs room for at least one message",
            Self::MaxPendingNotices => "from 16 to 1 073 741 824 notices must be allowed to wait",
        })
    }
}

impl core::error::Error for ConfigError {}

#[cfg(test)]
mod tests {
    use super::*;

    type Turn = fn(&mut Config);

    /// Of each knob: what it may just be, and what it may not.
    const LIMITS: &[(ConfigError, &[Turn], &[Turn])] = &[
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
            ConfigError::MaxPeers,
            &[|it| it.max_peers = 1, |it| it.max_peers = MOST],
            &[|it| it.max_peers = 0, |it| it.max_peers = MOST + 1],
        ),
        (
            ConfigError::MaxLinks,
            &[|it| (it.max_links, it.max_half_open) = (2, 1), |it| it.max_links = MOST],
            &[|it| (it.max_links, it.max_half_open) = (1, 0), |it| it.max_links = MOST + 1],
        ),
        (
            ConfigError::MaxHalfOpen,
            &[|it| it.max_half_open = 1, |it| it.max_half_open = it.max_links - 1],
            &[|it| it.max_half_open = 0, |it| it.max_half_open = it.max_links],
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
            ConfigError::MaxPendingNotices,
            &[|it| it.max_pending_notices = 16, |it| it.max_pending_notices = 1 << 30],
            &[|it| it.max_pending_notices = 15, |it| it.max_pending_notices = (1 << 30) + 1],
        ),
    ];

    /// One index is nobody's.
    const MOST: usize = u32::MAX as usize - 1;

    fn screen(config: &mut Config, max_offers: usize) {
        let default = DefaultVerdict::Accept;
        config.screening = Screening::On { max_offers, timeout: Duration::ZERO, default };
    }

    #[test]
    fn every_knob_is_taken_at_its_limits_and_refused_beyond_them() {
        assert_eq!(Config::default().check(), Ok(()));
        for (error, taken, refused) in LIMITS {
            for (turns, expected) in [(taken, Ok(())), (refused, Err(*error))] {
                for (number, turn) in turns.iter().enumerate() {
                    let mut config = Config::default();
                    turn(&mut config);
                    assert_eq!(config.check(), expected, "{error:?}, number {number}");
                }
            }
        }
    }
}
