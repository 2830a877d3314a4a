//! The `[tower]` section: every knob of a tower's configuration, by its name.

use std::time::Duration;

use clacks_proto::{Allowance, Config, ConfigError, DefaultVerdict, Odds, Screening, Window};
use serde::{Deserialize, Serialize};

use super::words::{Heartbeat, Rate};
use crate::text;

/// How every tower of the run behaves. Each knob has the name, the default and the limits that it
/// has in [`clacks_proto::Config`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Knobs {
    /// The name of the network.
    pub network: String,
    /// How often a message is handed on: a number a second, or `"unlimited"`.
    pub send_rate: Rate,
    /// How many ticks a late timer makes up for at once.
    pub burst: u32,
    /// How long a peer stays lost before a further failure makes it dead.
    #[serde(with = "text")]
    pub kill_timeout: Duration,
    /// The longest body taken, in bytes.
    pub max_message: usize,
    /// The most messages held.
    pub max_queue_messages: usize,
    /// The most bytes of bodies held.
    pub max_queue_bytes: usize,
    /// The share of the queue, in per cent, for messages of the tower's own application.
    pub local_share: u8,
    /// The most peers known.
    pub max_peers: usize,
    /// The most links open at a time.
    pub max_links: usize,
    /// The most inbound links that have not said hello.
    pub max_half_open: usize,
    /// The most peers not proved alive that are tried at a time.
    pub max_probes: usize,
    /// How long a peer rests after a failed attempt.
    #[serde(with = "text")]
    pub probe_backoff: Duration,
    /// How long a peer rests after it answered that it is busy.
    #[serde(with = "text")]
    pub busy_backoff: Duration,
    /// How often a tower with nothing to send announces itself: a duration, or `"off"`.
    pub heartbeat: Heartbeat,
    /// The number of recent messages that a tower remembers, see `clacks_proto::Config::recent`. No
    /// checker uses that. 0 saves about 30 bytes for each message.
    pub recent: usize,
    /// How many notices may wait for the driver.
    pub max_pending_notices: usize,
    /// The odds of each status in the draw: `{ alive = 95000, lost = 4999, dead = 1 }`.
    pub odds: OddsKnob,
    /// What may be unconfirmed on a link: `{ messages = 32, bytes = 262144 }`.
    pub window: WindowKnob,
    /// How many addresses named as friends are learned: `{ burst = 64, every = "4s" }`.
    pub friends: AllowanceKnob,
    /// How many addresses claimed by strangers are learned.
    pub strangers: AllowanceKnob,
    /// How long to wait for what.
    pub timeouts: TimeoutsKnob,
    /// Whether messages wait for an application's verdict. Nobody decides in a simulation: each
    /// waits for the time-out. Without it: off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub screening: Option<ScreeningKnob>,
}

/// The weights of the statuses in the draw of a recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OddsKnob {
    /// The weight of the alive peers together.
    pub alive: u32,
    /// The weight of the lost peers together.
    pub lost: u32,
    /// The weight of the dead peers together.
    pub dead: u32,
}

/// What may be sent on a link without having been confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WindowKnob {
    /// Messages and announces.
    pub messages: u16,
    /// Bytes of bodies.
    pub bytes: u32,
}

/// `burst` at once, then one more each `every`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AllowanceKnob {
    /// How many may come at once.
    pub burst: u32,
    /// How long until one more may come. Zero is no limit.
    #[serde(with = "text")]
    pub every: Duration,
}

/// How long a tower waits, each more than zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct TimeoutsKnob {
    /// For a dialled peer to accept the connection.
    #[serde(with = "text")]
    pub connect: Duration,
    /// For the hello.
    #[serde(with = "text")]
    pub handshake: Duration,
    /// For the confirmation of the oldest unconfirmed message.
    #[serde(with = "text")]
    pub confirm: Duration,
    /// For any frame on an open link.
    #[serde(with = "text")]
    pub idle: Duration,
    /// For the driver to flush and close a link.
    #[serde(with = "text")]
    pub close: Duration,
    /// For a shutdown to hand the queue to peers.
    #[serde(with = "text")]
    pub shutdown: Duration,
}

/// How messages wait for a verdict that never comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScreeningKnob {
    /// The most messages that wait.
    pub max_offers: usize,
    /// How long one waits.
    #[serde(with = "text")]
    pub timeout: Duration,
    /// What becomes of it then.
    pub default: Verdict,
}

/// What becomes of a message that waited too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It is queued.
    Accept,
    /// It is refused.
    Reject,
}

impl Knobs {
    /// The configuration of every tower, not checked yet.
    pub(super) fn config(&self) -> Config {
        let mut config = Config::default();
        config.network.clone_from(&self.network);
        config.send_rate = self.send_rate.send_rate();
        config.burst = self.burst;
        config.kill_timeout = self.kill_timeout;
        config.odds = Odds { alive: self.odds.alive, lost: self.odds.lost, dead: self.odds.dead };
        config.max_message = self.max_message;
        config.max_queue_messages = self.max_queue_messages;
        config.max_queue_bytes = self.max_queue_bytes;
        config.local_share = self.local_share;
        config.max_peers = self.max_peers;
        config.max_links = self.max_links;
        config.max_half_open = self.max_half_open;
        config.window = Window { messages: self.window.messages, bytes: self.window.bytes };
        config.max_probes = self.max_probes;
        config.probe_backoff = self.probe_backoff;
        config.busy_backoff = self.busy_backoff;
        config.friends = self.friends.allowance();
        config.strangers = self.strangers.allowance();
        config.heartbeat = match self.heartbeat {
            Heartbeat::Off => None,
            Heartbeat::Every(time) => Some(time),
        };
        config.timeouts.connect = self.timeouts.connect;
        config.timeouts.handshake = self.timeouts.handshake;
        config.timeouts.confirm = self.timeouts.confirm;
        config.timeouts.idle = self.timeouts.idle;
        config.timeouts.close = self.timeouts.close;
        config.timeouts.shutdown = self.timeouts.shutdown;
        config.screening = self.screening.map_or(Screening::Off, |screening| Screening::On {
            max_offers: screening.max_offers,
            timeout: screening.timeout,
            default: match screening.default {
                Verdict::Accept => DefaultVerdict::Accept,
                Verdict::Reject => DefaultVerdict::Reject,
            },
        });
        config.recent = self.recent;
        config.max_pending_notices = self.max_pending_notices;
        config
    }
}

/// The name of the knob that an error is about.
pub(super) fn knob_of(error: ConfigError) -> &'static str {
    match error {
        ConfigError::Network => "tower.network",
        ConfigError::SendRate => "tower.send_rate",
        ConfigError::Burst => "tower.burst",
        ConfigError::Odds => "tower.odds",
        ConfigError::MaxMessage => "tower.max_message",
        ConfigError::MaxQueueMessages => "tower.max_queue_messages",
        ConfigError::MaxQueueBytes => "tower.max_queue_bytes",
        ConfigError::LocalShare => "tower.local_share",
        ConfigError::MaxPeers => "tower.max_peers",
        ConfigError::MaxLinks => "tower.max_links",
        ConfigError::MaxHalfOpen => "tower.max_half_open",
        ConfigError::Window => "tower.window",
        ConfigError::MaxProbes => "tower.max_probes",
        ConfigError::ProbeBackoff => "tower.probe_backoff",
        ConfigError::Heartbeat => "tower.heartbeat",
        ConfigError::Timeouts => "tower.timeouts",
        ConfigError::Screening => "tower.screening",
        ConfigError::Recent => "tower.recent",
        ConfigError::MaxPendingNotices => "tower.max_pending_notices",
        _ => "tower",
    }
}

impl AllowanceKnob {
    fn allowance(self) -> Allowance {
        Allowance { burst: self.burst, every: self.every }
    }
}

impl Default for Knobs {
    fn default() -> Self {
        let config = Config::default();
        Self {
            network: config.network,
            // The core's own default, written as a person would.
            send_rate: Rate::PerSecond(1.0),
            burst: config.burst,
            kill_timeout: config.kill_timeout,
            max_message: config.max_message,
            max_queue_messages: config.max_queue_messages,
            max_queue_bytes: config.max_queue_bytes,
            local_share: config.local_share,
            max_peers: config.max_peers,
            max_links: config.max_links,
            max_half_open: config.max_half_open,
            max_probes: config.max_probes,
            probe_backoff: config.probe_backoff,
            busy_backoff: config.busy_backoff,
            heartbeat: config.heartbeat.map_or(Heartbeat::Off, Heartbeat::Every),
            recent: config.recent,
            max_pending_notices: config.max_pending_notices,
            odds: OddsKnob::default(),
            window: WindowKnob::default(),
            friends: AllowanceKnob::default(),
            strangers: AllowanceKnob::default(),
            timeouts: TimeoutsKnob::default(),
            screening: None,
        }
    }
}

impl Default for OddsKnob {
    fn default() -> Self {
        let Odds { alive, lost, dead } = Odds::default();
        Self { alive, lost, dead }
    }
}

impl Default for WindowKnob {
    fn default() -> Self {
        let Window { messages, bytes } = Config::default().window;
        Self { messages, bytes }
    }
}

impl Default for AllowanceKnob {
    fn default() -> Self {
        let Allowance { burst, every } = Config::default().friends;
        Self { burst, every }
    }
}

impl Default for TimeoutsKnob {
    fn default() -> Self {
        let times = clacks_proto::Timeouts::default();
        Self {
            connect: times.connect,
            handshake: times.handshake,
            confirm: times.confirm,
            idle: times.idle,
            close: times.close,
            shutdown: times.shutdown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_the_cores() {
        assert_eq!(Knobs::default().config(), Config::default());
    }

    #[test]
    fn every_knob_reaches_the_configuration() {
        let text = r#"
            network = "n"
            send_rate = 4
            burst = 3
            kill_timeout = "1s"
            max_message = 5
            max_queue_messages = 6
            max_queue_bytes = 7
            local_share = 8
            max_peers = 9
            max_links = 10
            max_half_open = 2
            max_probes = 11
            probe_backoff = "2s"
            busy_backoff = "3s"
            heartbeat = "off"
            recent = 12
            max_pending_notices = 16
            odds = { alive = 1, lost = 2, dead = 3 }
            window = { messages = 4, bytes = 5 }
            friends = { burst = 6, every = "7s" }
            strangers = { burst = 8, every = "9s" }
            screening = { max_offers = 1, timeout = "2s", default = "reject" }
            [timeouts]
            connect = "11s"
            handshake = "12s"
            confirm = "13s"
            idle = "14s"
            close = "15s"
            shutdown = "16s"
        "#;
        let config = toml::from_str::<Knobs>(text).unwrap().config();
        let mut expected = Config::default();
        let secs = Duration::from_secs;
        expected.network = "n".into();
        expected.send_rate = clacks_proto::SendRate::Every(Duration::from_millis(250));
        expected.burst = 3;
        expected.kill_timeout = secs(1);
        expected.max_message = 5;
        expected.max_queue_messages = 6;
        expected.max_queue_bytes = 7;
        expected.local_share = 8;
        expected.max_peers = 9;
        expected.max_links = 10;
        expected.max_half_open = 2;
        expected.max_probes = 11;
        expected.probe_backoff = secs(2);
        expected.busy_backoff = secs(3);
        expected.heartbeat = None;
        expected.recent = 12;
        expected.max_pending_notices = 16;
        expected.odds = Odds { alive: 1, lost: 2, dead: 3 };
        expected.window = Window { messages: 4, bytes: 5 };
        expected.friends = Allowance { burst: 6, every: secs(7) };
        expected.strangers = Allowance { burst: 8, every: secs(9) };
        expected.screening =
            Screening::On { max_offers: 1, timeout: secs(2), default: DefaultVerdict::Reject };
        expected.timeouts.connect = secs(11);
        expected.timeouts.handshake = secs(12);
        expected.timeouts.confirm = secs(13);
        expected.timeouts.idle = secs(14);
        expected.timeouts.close = secs(15);
        expected.timeouts.shutdown = secs(16);
        assert_eq!(config, expected);
    }
}
