//! The three steps of the demo, each with what must be seen.

use std::time::Duration;

use clacks_proto::{Message, Status};

use super::network::{DemoNetwork, Stop};
use super::{Number, Outcome};
use crate::error::Failure;

/// The message that travels.
const MESSAGE: &str = "Hello Discworld!";

const ONE: Number = Number(1);
const TWO: Number = Number(2);
const THREE: Number = Number(3);
const FOUR: Number = Number(4);
const FIRST_THREE: [Number; 3] = [ONE, TWO, THREE];

/// The time between two things that the demo does, so that a person sees what each one causes.
const BEAT: Duration = Duration::from_millis(800);

/// How long the message travels after each step before the next one begins.
const PAUSE: Duration = Duration::from_secs(3);

/// Runs the steps in order. Each one needs what the one before has reached.
pub(super) async fn run(network: &mut DemoNetwork) -> Result<Vec<Outcome>, Failure> {
    let mut outcomes = Vec::new();
    for step in 1..=3 {
        let seen = if outcomes.iter().all(|outcome: &Outcome| outcome.seen.is_ok()) {
            let result = match step {
                1 => meet(network).await,
                2 => lose(network).await,
                _ => heal(network).await,
            };
            match result {
                Ok(seen) => Ok(seen),
                Err(Stop::Unseen(unseen)) => Err(unseen),
                Err(Stop::Failed(failure)) => return Err(failure),
            }
        } else {
            Err("not run, because the step before was not seen".to_owned())
        };
        outcomes.push(Outcome { step, seen });
    }
    Ok(outcomes)
}

/// Step 1: a third tower announces itself to one of two.
async fn meet(network: &mut DemoNetwork) -> Result<String, Stop> {
    network.narrator.step(1, "three towers, of which only 1 and 2 know each other")?;
    for number in FIRST_THREE {
        network.start(number, network.config.clone())?;
    }
    network.wait_for_page().await?;
    network.watch(BEAT).await?;
    for (number, other) in [(ONE, TWO), (TWO, ONE)] {
        let expanded = network.handle(number)?.expand(network.address(other));
        expanded.map_err(|error| refused(number, error))?;
        network.narrator.action(number, &format!("is told of tower {}", other.0))?;
    }
    network.watch(BEAT).await?;
    enqueue(network)?;
    network.until("tower 2 receives the message", |network| network.has_received(TWO)).await?;
    network.watch(BEAT).await?;

    announce(network, THREE)?;
    network
        .until("towers 2 and 3 learn of each other", |network| {
            network.has_discovered(TWO, THREE) && network.has_discovered(THREE, TWO)
        })
        .await?;
    network
        .until("towers 1, 2 and 3 hold each other alive", |network| network.all_alive(&FIRST_THREE))
        .await?;
    network
        .until("towers 1, 2 and 3 receive the message", |network| {
            FIRST_THREE.iter().all(|number| network.has_received(*number))
        })
        .await?;
    network.watch(PAUSE).await?;
    Ok("towers 2 and 3 met through tower 1; all three hold each other alive and had the message"
        .into())
}

/// Step 2: a fourth tower joins, and dies.
async fn lose(network: &mut DemoNetwork) -> Result<String, Stop> {
    network.mark()?;
    network.narrator.step(2, "tower 4 joins, and dies without a goodbye")?;
    network.start(FOUR, network.config.clone())?;
    network.watch(BEAT).await?;
    announce(network, FOUR)?;
    network
        .until("all four towers hold each other alive", |network| network.all_alive(&Number::ALL))
        .await?;
    network.watch(PAUSE).await?;
    network
        .until("the message waits at tower 1, 2 or 3", |network| {
            // Not at tower 4, and not in flight to it: it would be lost with tower 4. A tower for
            // which tower 4 is lost already would not notify that again.
            network.all_alive(&Number::ALL)
                && !network.is_held_by(FOUR)
                && network.is_waiting_at(&FIRST_THREE)
        })
        .await?;
    // Before the kill: another tower may notify that tower 4 is lost before the kill has returned.
    network.mark()?;
    if network.kill(FOUR).await == 0 {
        network.narrator.action(FOUR, "dies, while another tower holds the message")?;
    } else {
        // It was handed the message after the check above.
        network.narrator.action(FOUR, "dies, and the message with it")?;
        enqueue(network)?;
    }

    network
        .until("towers 1, 2 and 3 report tower 4 lost", |network| {
            FIRST_THREE.iter().all(|number| {
                network.has_found(*number, FOUR, Status::Lost)
                    && network.holds(*number, FOUR, Status::Lost)
            })
        })
        .await?;
    network.mark()?;
    network
        .until("the message goes on travelling", |network| {
            FIRST_THREE.iter().all(|number| network.has_received(*number))
        })
        .await?;
    network.watch(PAUSE).await?;
    Ok("towers 1, 2 and 3 found tower 4 lost; the message went on travelling among them".into())
}

/// Step 3: the fourth tower returns, and waits to be found.
async fn heal(network: &mut DemoNetwork) -> Result<String, Stop> {
    network.mark()?;
    network.narrator.step(3, "tower 4 returns without an announcement")?;
    // A heartbeat is an announcement, and so is what a tower says when a link opens.
    let mut silent = network.config.clone();
    (silent.heartbeat, silent.announced_friends) = (None, 1);
    network.start(FOUR, silent)?;
    network.narrator.action(FOUR, "knows no tower, sends no heartbeats, and waits to be found")?;
    network
        .until("towers 1, 2 and 3 report tower 4 alive again", |network| {
            FIRST_THREE.iter().all(|number| network.has_found(*number, FOUR, Status::Alive))
        })
        .await?;
    network
        .until("tower 4 learns of all others", |network| network.holds_alive(FOUR, &Number::ALL))
        .await?;
    network.until("tower 4 receives the message", |network| network.has_received(FOUR)).await?;
    network.watch(PAUSE).await?;
    Ok("towers 1, 2 and 3 found tower 4 alive again; it knows all three and had the message".into())
}

/// Tower 1 enqueues the message.
fn enqueue(network: &mut DemoNetwork) -> Result<(), Stop> {
    let enqueued = network.handle(ONE)?.enqueue(Message::text(MESSAGE));
    enqueued.map_err(|error| refused(ONE, error))?;
    Ok(network.narrator.action(ONE, &format!("enqueues \"{MESSAGE}\""))?)
}

/// A tower announces itself to tower 1.
fn announce(network: &mut DemoNetwork, number: Number) -> Result<(), Stop> {
    let announced = network.handle(number)?.announce(network.address(ONE));
    announced.map_err(|error| refused(number, error))?;
    Ok(network.narrator.action(number, "announces itself to tower 1")?)
}

fn refused(number: Number, reason: impl std::fmt::Display) -> Stop {
    Stop::Unseen(format!("tower {} would not: {reason}", number.0))
}
