//! The play: three steps, each with what must be seen.

use std::time::Duration;

use clacks_proto::{Message, Status};

use super::stage::{Stage, Stop, config};
use super::{Number, Outcome};
use crate::error::Failure;

/// The message that travels.
const MESSAGE: &str = "Hello Discworld!";

const ONE: Number = Number(1);
const TWO: Number = Number(2);
const THREE: Number = Number(3);
const FOUR: Number = Number(4);
const FIRST_THREE: [Number; 3] = [ONE, TWO, THREE];

/// Between two things that the play does, so that a person sees what each one causes.
const BEAT: Duration = Duration::from_millis(800);

/// How long one can watch the message travel after each step.
const PAUSE: Duration = Duration::from_secs(3);

/// Plays the steps in order. After one that was not seen, the rest have no ground to stand on.
pub(super) async fn play(stage: &mut Stage) -> Result<Vec<Outcome>, Failure> {
    let mut outcomes = Vec::new();
    for step in 1..=3 {
        let seen = if outcomes.iter().all(|outcome: &Outcome| outcome.seen.is_ok()) {
            let played = match step {
                1 => meet(stage).await,
                2 => lose(stage).await,
                _ => heal(stage).await,
            };
            match played {
                Ok(seen) => Ok(seen),
                Err(Stop::Unseen(unseen)) => Err(unseen),
                Err(Stop::Failed(failure)) => return Err(failure),
            }
        } else {
            Err("not played, because the step before was not seen".to_owned())
        };
        outcomes.push(Outcome { step, seen });
    }
    Ok(outcomes)
}

/// Step 1: a third tower announces itself to one of two.
async fn meet(stage: &mut Stage) -> Result<String, Stop> {
    stage.teller.step(1, "three towers, of which only 1 and 2 know each other")?;
    for number in FIRST_THREE {
        stage.raise(number, config())?;
    }
    stage.watch(BEAT).await?;
    for (number, other) in [(ONE, TWO), (TWO, ONE)] {
        let known = stage.handle(number)?.expand(stage.address(other)).await;
        known.map_err(|error| refused(number, error))?;
        stage.teller.does(number, &format!("is told of tower {}", other.0))?;
    }
    stage.watch(BEAT).await?;
    enqueue(stage).await?;
    stage.until("tower 2 receives the message", async |stage| stage.receipts(TWO) > 0).await?;
    stage.watch(BEAT).await?;

    announce(stage, THREE).await?;
    stage
        .until("towers 2 and 3 learn of each other", async |stage| {
            stage.has_discovered(TWO, THREE) && stage.has_discovered(THREE, TWO)
        })
        .await?;
    stage
        .until("towers 1, 2 and 3 hold each other alive", async |stage| {
            stage.all_alive(&FIRST_THREE).await
        })
        .await?;
    stage
        .until("towers 1, 2 and 3 receive the message", async |stage| {
            FIRST_THREE.iter().all(|number| stage.receipts(*number) > 0)
        })
        .await?;
    stage.watch(PAUSE).await?;
    Ok("towers 2 and 3 met through tower 1; all three hold each other alive and had the message"
        .into())
}

/// Step 2: a fourth tower joins, and dies.
async fn lose(stage: &mut Stage) -> Result<String, Stop> {
    stage.mark().await?;
    stage.teller.step(2, "tower 4 joins, and dies without a farewell")?;
    stage.raise(FOUR, config())?;
    stage.watch(BEAT).await?;
    announce(stage, FOUR).await?;
    stage
        .until("all four towers hold each other alive", async |stage| {
            stage.all_alive(&Number::ALL).await
        })
        .await?;
    stage.watch(PAUSE).await?;
    stage
        .until("the message waits at tower 1, 2 or 3", async |stage| {
            // Neither at tower 4 nor on the way to it: what dies with a tower that holds it is lost, as it should be.
            // A tower that holds tower 4 lost already would not report it lost again.
            stage.all_alive(&Number::ALL).await
                && !stage.is_held_by(FOUR).await
                && stage.is_waiting_at(&FIRST_THREE).await
        })
        .await?;
    // Before the kill: another tower may report tower 4 lost before the kill has returned.
    stage.mark().await?;
    if stage.kill(FOUR).await == 0 {
        stage.teller.does(FOUR, "dies, while another tower holds the message")?;
    } else {
        // It was handed the message after the look above.
        stage.teller.does(FOUR, "dies, and the message with it")?;
        enqueue(stage).await?;
    }

    stage
        .until("towers 1, 2 and 3 report tower 4 lost", async |stage| {
            for number in FIRST_THREE {
                if !stage.has_found(number, FOUR, Status::Lost)
                    || !stage.holds(number, FOUR, Status::Lost).await
                {
                    return false;
                }
            }
            true
        })
        .await?;
    stage.mark().await?;
    stage
        .until("the message goes on travelling", async |stage| {
            FIRST_THREE.iter().all(|number| stage.receipts(*number) > 0)
        })
        .await?;
    stage.watch(PAUSE).await?;
    Ok("towers 1, 2 and 3 found tower 4 lost; the message went on travelling among them".into())
}

/// Step 3: the fourth tower comes back, and waits to be found.
async fn heal(stage: &mut Stage) -> Result<String, Stop> {
    stage.mark().await?;
    stage.teller.step(3, "tower 4 comes back, and tells nobody")?;
    // A heartbeat is an announcement.
    let mut silent = config();
    silent.heartbeat = None;
    stage.raise(FOUR, silent)?;
    stage.teller.does(FOUR, "knows nobody, sends no heartbeats, and waits to be remembered")?;
    stage
        .until("towers 1, 2 and 3 report tower 4 alive again", async |stage| {
            FIRST_THREE.iter().all(|number| stage.has_found(*number, FOUR, Status::Alive))
        })
        .await?;
    stage
        .until("tower 4 learns of all others", async |stage| {
            stage.holds_alive(FOUR, &Number::ALL).await
        })
        .await?;
    stage.until("tower 4 receives the message", async |stage| stage.receipts(FOUR) > 0).await?;
    stage.watch(PAUSE).await?;
    Ok("towers 1, 2 and 3 found tower 4 alive again; it knows all three and had the message".into())
}

/// Tower 1 enqueues the message.
async fn enqueue(stage: &mut Stage) -> Result<(), Stop> {
    let queued = stage.handle(ONE)?.enqueue(Message::text(MESSAGE)).await;
    queued.map_err(|refusal| refused(ONE, refusal.why))?;
    Ok(stage.teller.does(ONE, &format!("enqueues \"{MESSAGE}\""))?)
}

/// `number` announces itself to tower 1.
async fn announce(stage: &mut Stage, number: Number) -> Result<(), Stop> {
    let announced = stage.handle(number)?.announce(stage.address(ONE)).await;
    announced.map_err(|error| refused(number, error))?;
    Ok(stage.teller.does(number, "announces itself to tower 1")?)
}

fn refused(number: Number, why: impl std::fmt::Display) -> Stop {
    Stop::Unseen(format!("tower {} would not: {why}", number.0))
}
