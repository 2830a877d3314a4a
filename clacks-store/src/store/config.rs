//! The configuration of a store.

use core::fmt;
use core::time::Duration;

use clacks_proto::{Config, Datagrams, DefaultVerdict, Screening};

use crate::chunk::CHUNK;
use crate::protocol::MAX_LEN;
use crate::rate::Rate;

/// How a store behaves. Fields that are left out have their defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreConfig {
    /// How long a chunk rests at a tower before it moves on. A chunk that moves seldom meets fewer
    /// towers that drop it. Default: 10 minutes (simulated: with a tenth of such towers, files that
    /// are repaired each 12 minutes survive a day; with 1 minute they do not).
    pub hold: Duration,
    /// The end of a chunk may be this many hours ahead. Default: 24.
    pub max_hours: u32,
    /// The share of the queue, in per cent, above which no chunk is taken from a client, except
    /// within [`reserve_below`](Self::reserve_below). The rest is for messages in transit. With
    /// 0 here and there, nothing is taken from clients. Default: 60 (guess).
    pub publish_below: u8,
    /// The share of the queue, in per cent, above which clients may publish only chunks that end
    /// sooner: from here to `publish_below` the furthest hour falls from `max_hours` to
    /// [`short_hours`](Self::short_hours). A flood ends sooner then. 100 disables the limit.
    /// Default: 30 (guess).
    pub shorter_from: u8,
    /// The fewest hours ahead that a client may always publish, if there is room. Default: 2
    /// (guess).
    pub short_hours: u32,
    /// The share of the queue, in per cent, above which each address group has a limit for the
    /// chunks that come as messages, and the same one for those that clients publish. It is an
    /// eighth of the queue, halved with each 4 per cent of fill, but at least twice an equal share.
    /// 100 disables the limit. Default: 40 (guess).
    pub shares_from: u8,
    /// The share of the queue, in per cent, up to which a client may publish more chunks if its
    /// address group has published few of those that are held: at most an equal share of the room
    /// above `publish_below`. So a flood does not stop those who keep files. Any value up to
    /// `publish_below` disables the reserve. Default: 80 (the share that the application of a tower
    /// may fill).
    pub reserve_below: u8,
    /// How many chunks a guest may publish at once, and then each second. A peer may publish four
    /// times as many, since it passes on those of others. Default: 4 096 and 256
    /// (guess).
    pub publish_rate: Rate,
    /// How many other requests a guest may make at once, and then each second. A peer may make four
    /// times as many. Default: 256 and 128
    /// (guess).
    pub request_rate: Rate,
    /// New chunks appear in the inventory at the next multiple of this time, so that they can't be
    /// ordered by their arrival. A longer time mixes the chunks of more files. It delays the check
    /// of a put, and a reader that comes within it. Zero: at once. Default: 2 s (with 30 s, each
    /// put takes half a minute; in 2 s, the chunks of one put are most of those that are new).
    pub list_every: Duration,
    /// Whether requests are passed on for others. Those of guests on the machine of this tower are
    /// passed on in any case. Default: true.
    pub relays: bool,
    /// For how long the next tower of a stem stays the same. Guests on the machine of this tower
    /// keep theirs until it is gone: each new one would be another chance for a spy. Default: 10
    /// minutes (Dandelion++).
    pub epoch: Duration,
    /// One of so many chunks that are published here does not rest, and goes to any peer. So towers
    /// without a store get chunks, too. 0: none. Default: 10.
    pub unheld: u32,
    /// The most requests of others that wait for their answers. One peer may have a quarter, and so
    /// may all guests of one address group. Default: 4 096 (guess).
    pub max_relayed: usize,
    /// The most bytes of datagrams that wait for a link to others. One link may have as many as
    /// stay free. Default: 4 MiB (a client has at most 128 chunks under way, which are 1.5 MB).
    pub max_waiting: usize,
    /// How many bytes of datagrams are sent at once, and then each second. Guests get a quarter
    /// while peers wait, and address groups take turns. Default: 8 MiB and 8 MiB.
    pub egress: Rate,
    /// How many dials for others are made at once, and then each second. Those links are at most a
    /// quarter of all. Lists and fetches wait for up to 10 seconds for their dial. Default: 64 and
    /// 32 (simulated: a reader visits half of a thousand towers in 17 s, and with 16 in 30 s).
    pub dials: Rate,
}

impl Default for StoreConfig {
    fn default() -> Self {
        const MIB: u32 = 1024 * 1024;
        Self {
            hold: Duration::from_secs(600),
            max_hours: 24,
            publish_below: 60,
            shorter_from: 30,
            short_hours: 2,
            shares_from: 40,
            reserve_below: 80,
            publish_rate: Rate { burst: 4_096, per_second: 256 },
            request_rate: Rate { burst: 256, per_second: 128 },
            list_every: Duration::from_secs(2),
            relays: true,
            epoch: Duration::from_secs(600),
            unheld: 10,
            max_relayed: 4_096,
            max_waiting: 4 * MIB as usize,
            egress: Rate { burst: 8 * MIB, per_second: 8 * MIB },
            dials: Rate { burst: 64, per_second: 32 },
        }
    }
}

/// The most datagrams and chunks that wait on one link.
pub(super) const MAX_WAITING_ITEMS: usize = 256;

impl StoreConfig {
    /// Returns the most memory that a store takes besides its tower, in bytes, without the overhead
    /// of the allocator. The chunks themselves are messages of the tower: see
    /// [`Config::max_memory`].
    ///
    /// The bound is the sum of:
    ///
    /// | for each | bytes |
    /// |---|---|
    /// | store | 384 KiB, of which 256 are for requests that wait for a dial |
    /// | chunk that the tower has room for | 256 |
    /// | link of `max_links` | 512, and 96 for each of 256 datagrams that wait |
    /// | byte of `max_waiting` | 1 |
    /// | request of `max_relayed` | 256 |
    /// | peer of `max_peers` | 128 |
    #[must_use]
    pub fn max_memory(&self, tower: &Config) -> usize {
        let chunks = tower.max_held_messages().min(tower.max_held_bytes() / CHUNK);
        let parts = [
            384 * 1024,
            chunks.saturating_mul(256),
            tower.max_links.saturating_mul(512 + 96 * MAX_WAITING_ITEMS),
            self.max_waiting,
            self.max_relayed.saturating_mul(256),
            tower.max_peers.saturating_mul(128),
        ];
        parts.into_iter().fold(0, usize::saturating_add)
    }
}

/// Sets what a tower with a store needs: screening of messages as long as a chunk, and datagrams of
/// 12 KiB.
pub fn enable_store(config: &mut Config) {
    config.datagrams = Datagrams::ON;
    let timeout = Duration::from_secs(10);
    // Each offer is decided at once, so few are open at a time.
    config.screening = Screening::On { max_offers: 64, timeout, default: DefaultVerdict::Accept };
    config.screened_len = Some(CHUNK);
    config.max_message = config.max_message.max(CHUNK);
}

/// Why a tower can't have a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreError {
    /// The tower does not screen messages of [`CHUNK`] bytes with [`DefaultVerdict::Accept`].
    Screening,
    /// The tower takes no datagrams of [`MAX_LEN`] bytes.
    Datagrams,
    /// The tower takes no messages of [`CHUNK`] bytes.
    MaxMessage,
}

impl StoreError {
    /// Checks that a tower with this configuration can have a store.
    pub(super) fn check(tower: &Config) -> Result<(), Self> {
        let screens =
            matches!(tower.screening, Screening::On { default: DefaultVerdict::Accept, .. });
        if !screens || tower.screened_len.is_some_and(|len| len != CHUNK) {
            return Err(Self::Screening);
        }
        match tower.datagrams {
            Datagrams::On { max_len, .. } if max_len as usize >= MAX_LEN => {}
            _ => return Err(Self::Datagrams),
        }
        if tower.max_message < CHUNK { Err(Self::MaxMessage) } else { Ok(()) }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Screening => "a store needs screening that accepts by default",
            Self::Datagrams => "a store needs datagrams of 12 KiB",
            Self::MaxMessage => "a store needs messages of at least 12 000 bytes",
        })
    }
}

impl core::error::Error for StoreError {}
