//! Connections: how many times a second one is made, brings a message, has it confirmed, and is closed.

use std::time::{Duration, Instant};

use clacks_proto::{Message, Report};

use super::towers::{Company, Guest, Host, giving, keeping};
use super::{Contender, Contest, Rate, Trouble, bare};
use crate::args::Runtime;

/// So many towers are dialled in turn.
const LISTENERS: usize = 12;
/// A dialling tower that may have no more links than this keeps no more sessions: none is left when it comes round again.
const FORGETFUL: usize = 8;

const SIZE: usize = 64;

/// Why a turn fails, and the measurement ends with it.
pub(super) const WRONG_HANDSHAKE: &str = "a handshake was not of the kind that is measured";

/// Whether later connections to a tower go on with an earlier session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sessions {
    Full,
    Resumed,
}

/// Whether both sides say something before the message goes out. Towers do: neither knows how much the other takes, nor of which network it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Talk {
    Straight,
    AfterHellos,
}

pub(super) fn contests() -> impl Iterator<Item = Result<Contest, Trouble>> {
    [Sessions::Full, Sessions::Resumed].into_iter().map(contest)
}

fn contest(sessions: Sessions) -> Result<Contest, Trouble> {
    let keys = bare::Keys::new()?;
    let polite_keys = bare::Keys::new()?;
    let towers = |runtime| move |time| dial(runtime, sessions, time);
    let contenders = vec![
        Contender::new("bare rustls, blocking sockets", None, move |time| {
            bare::dial(&keys, sessions, Talk::Straight, SIZE, time)
        }),
        Contender::new("the same, after a word from each side", None, move |time| {
            bare::dial(&polite_keys, sessions, Talk::AfterHellos, SIZE, time)
        }),
        Contender::new("towers on mio", Some(0.8), towers(Runtime::Mio)),
        Contender::new("towers on smol", Some(0.8), towers(Runtime::Smol)),
    ];
    let bench = match sessions {
        Sessions::Full => "dial, full handshakes",
        Sessions::Resumed => "dial, resumed sessions",
    };
    Ok(Contest { bench, size: SIZE, contenders })
}

/// A program on the thread of its tower has it dial others, whose threads are their own.
fn dial(runtime: Runtime, sessions: Sessions, time: Duration) -> Rate {
    let mut config = giving();
    if sessions == Sessions::Full {
        config.max_links = FORGETFUL;
        config.max_half_open = 1;
    }
    let listener = |_| Host::start(runtime, Company::Others, keeping());
    let listeners: Vec<_> = (0..LISTENERS).map(listener).collect::<Result<_, _>>()?;
    Guest::new(runtime, config)?.run(async |handle, mut ears| {
        let message = Message::bytes(&[b'x'; SIZE]);
        let mut round = async || -> Result<(), Trouble> {
            for listener in &listeners {
                // Only this one is not ignored: whoever is drawn, it is this one.
                if !handle.heed(&listener.address).await {
                    handle.expand(&listener.address).await?;
                }
                handle.enqueue(message.clone()).await?;
                ears.wait_for(|report| matches!(report, Report::MessageDelivered { .. })).await?;
                handle.ignore(&listener.address).await?;
            }
            Ok(())
        };
        // The first round makes the sessions that later ones go on with.
        round().await?;
        let before = handle.stats().await;
        let began = Instant::now();
        let mut count = 0;
        while count == 0 || began.elapsed() < time {
            round().await?;
            count += LISTENERS;
        }
        let rate = count as f64 / began.elapsed().as_secs_f64();
        let after = handle.stats().await;
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
