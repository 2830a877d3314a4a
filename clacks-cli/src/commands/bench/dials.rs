//! How many connections a second are made, carry a confirmed message, and are closed.

use std::time::{Duration, Instant};

use clacks_proto::{Message, Notice};

use super::towers::{BackgroundTower, ForegroundTower, Placement, keeping, sending};
use super::{BenchError, Candidate, Comparison, Rate, bare};
use crate::args::Runtime;

/// The number of towers that are dialled in turn.
const LISTENERS: usize = 12;
/// The links of a dialling tower that has forgotten the session of a tower when it dials it again:
/// it keeps as many sessions as links.
const FORGETFUL: usize = 8;

const SIZE: usize = 64;

/// The error of a turn that ends the measurement.
pub(super) const WRONG_HANDSHAKE: &str = "a handshake was not of the kind that is measured";

/// Whether later connections to a tower resume a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sessions {
    Full,
    Resumed,
}

/// What is sent first on a connection. Towers send hellos: neither side knows before how much the
/// other one takes, and to which network it belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    Message,
    Hellos,
}

pub(super) fn comparisons() -> impl Iterator<Item = Result<Comparison, BenchError>> {
    [Sessions::Full, Sessions::Resumed].into_iter().map(comparison)
}

fn comparison(sessions: Sessions) -> Result<Comparison, BenchError> {
    let keys = bare::Keys::new()?;
    let polite_keys = bare::Keys::new()?;
    let towers = |runtime| move |time| dial(runtime, sessions, time);
    let candidates = vec![
        Candidate::new("bare rustls, blocking sockets", move |time| {
            bare::dial(&keys, sessions, Opening::Message, SIZE, time)
        }),
        Candidate::new("the same, after a word from each side", move |time| {
            bare::dial(&polite_keys, sessions, Opening::Hellos, SIZE, time)
        }),
        Candidate::new("towers on mio", towers(Runtime::Mio)),
        Candidate::new("towers on smol", towers(Runtime::Smol)),
    ];
    let bench = match sessions {
        Sessions::Full => "dial, full handshakes",
        Sessions::Resumed => "dial, resumed sessions",
    };
    Ok(Comparison { bench, size: SIZE, candidates })
}

/// A program makes the tower on its thread dial others, which run on other threads.
fn dial(runtime: Runtime, sessions: Sessions, time: Duration) -> Rate {
    let mut config = sending();
    // Each dial carries a message, and the number of dials is not limited.
    config.contact_rate = 0;
    if sessions == Sessions::Full {
        config.max_links = FORGETFUL;
        config.max_unproved = 1;
    }
    let listener = |_| BackgroundTower::start(runtime, Placement::Executor, keeping());
    let listeners: Vec<_> = (0..LISTENERS).map(listener).collect::<Result<_, _>>()?;
    ForegroundTower::new(runtime, config)?.run(async |handle, mut notices| {
        let message = Message::bytes(&[b'x'; SIZE]);
        let mut round = async || -> Result<(), BenchError> {
            for listener in &listeners {
                // Only this peer is not ignored, so that it is drawn.
                let address = listener.handle.address();
                if !handle.unignore(address) {
                    handle.expand(address)?;
                }
                handle.enqueue(message.clone())?;
                notices.wait_for(|it| matches!(it, Notice::MessageDelivered { .. })).await?;
                handle.ignore(address)?;
            }
            Ok(())
        };
        // The first round makes the sessions that later ones resume.
        round().await?;
        let before = handle.stats();
        let began = Instant::now();
        let mut count = 0;
        while count == 0 || began.elapsed() < time {
            round().await?;
            count += LISTENERS;
        }
        let rate = count as f64 / began.elapsed().as_secs_f64();
        let after = handle.stats();
        let full = after.handshakes_full - before.handshakes_full;
        let resumed = after.handshakes_resumed - before.handshakes_resumed;
        let (asked_for, others) = match sessions {
            Sessions::Full => (full, resumed),
            Sessions::Resumed => (resumed, full),
        };
        if (asked_for, others) != (count as u64, 0) {
            return Err(WRONG_HANDSHAKE.into());
        }
        Ok(rate)
    })
}
