//! The `[messages]` section: what goes round in the network. And repetition, which faults have too.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::towers::Towers;
use crate::text;

/// The messages that applications enqueue. Further ones: a fault with `what = "enqueue"`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Messages {
    /// How many in all, 0 to 100 000 000 with all repetitions. Default: none.
    pub count: u32,
    /// How many bytes each has, from 8 (a message begins with its number) to the towers' `max_message`. Default: 64.
    pub size: usize,
    /// When the first is enqueued: not before all towers are up, for one that is not up has no queue. Default: then.
    #[serde(with = "text::option", skip_serializing_if = "Option::is_none")]
    pub at: Option<Duration>,
    /// Over which time they are enqueued, evenly. Default: 0s, all at once.
    #[serde(with = "text")]
    pub over: Duration,
    /// By whom: they are dealt out evenly. A drawn group is drawn once. Default: all towers.
    pub towers: Towers,
    /// How often the whole is done again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeat: Option<Repeat>,
}

/// Something is done `times` times in all, each `every` after the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repeat {
    /// From one beginning to the next. More than zero.
    #[serde(with = "text")]
    pub every: Duration,
    /// How many times in all, 1 to 1 000 000.
    pub times: u32,
}

impl Repeat {
    /// When each repetition begins, counted from the first, with its number.
    pub(super) fn starts(repeat: Option<Self>) -> impl Iterator<Item = (u32, Duration)> {
        let (every, times) = repeat.map_or((Duration::ZERO, 1), |it| (it.every, it.times));
        (0..times).map(move |number| (number, every.saturating_mul(number)))
    }

    pub(super) fn times(repeat: Option<Self>) -> u32 {
        repeat.map_or(1, |repeat| repeat.times)
    }

    /// When the last repetition begins, counted from the first.
    pub(super) fn last(repeat: Option<Self>) -> Duration {
        repeat.map_or(Duration::ZERO, |it| it.every.saturating_mul(it.times.saturating_sub(1)))
    }
}

impl Default for Messages {
    fn default() -> Self {
        Self {
            count: 0,
            size: 64,
            at: None,
            over: Duration::ZERO,
            towers: Towers::All,
            repeat: None,
        }
    }
}

impl Messages {
    /// How many messages there will be.
    pub(super) fn total(&self) -> u64 {
        u64::from(self.count).saturating_mul(Repeat::times(self.repeat).into())
    }
}
