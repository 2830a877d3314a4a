//! The demo: four towers meet, lose one of them and find it again, while somebody watches and tells.
//!
//! [`stage`] runs the towers and hears what they report, [`steps`] is the play, and [`teller`] puts it into words. What
//! counts as seen is judged by reports and surveys alone, never by the clock.

mod stage;
mod steps;
mod teller;

use serde_json::json;

use crate::args::DemoArgs;
use crate::error::Failure;
use stage::Stage;

/// A tower of the demo, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Number(usize);

impl Number {
    const ALL: [Self; 4] = [Self(1), Self(2), Self(3), Self(4)];

    fn index(self) -> usize {
        self.0 - 1
    }
}

/// How a step ended.
#[derive(Debug)]
struct Outcome {
    step: usize,
    /// What was seen; or what was not.
    seen: Result<String, String>,
}

impl Outcome {
    fn to_json(&self) -> serde_json::Value {
        let seen = self.seen.as_ref().unwrap_or_else(|unseen| unseen);
        json!({"step": self.step, "ok": self.seen.is_ok(), "seen": seen})
    }
}

/// Plays all steps. A failure when one of them was not seen.
pub(crate) fn run(args: &DemoArgs) -> Result<(), Failure> {
    smol::block_on(play(&mut Stage::new(args)?))
}

async fn play(stage: &mut Stage) -> Result<(), Failure> {
    let outcomes = steps::play(stage).await?;
    stage.teller.result(&outcomes)?;
    if outcomes.iter().all(|outcome| outcome.seen.is_ok()) { Ok(()) } else { Err(Failure::Told) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Runtime;
    use std::time::Duration;

    #[test]
    fn what_is_not_seen_fails_the_demo() {
        let args = DemoArgs { runtime: Runtime::Smol, base_port: 0, json: true };
        let mut stage = Stage::new(&args).unwrap();
        // Nothing has happened yet when it is first looked at, and there is no second look.
        stage.patience = Duration::ZERO;
        let outcomes = smol::block_on(steps::play(&mut stage)).unwrap();
        let unseen: Vec<_> =
            outcomes.into_iter().map(|outcome| outcome.seen.unwrap_err()).collect();
        assert!(unseen[0].contains("not seen in 0 seconds: tower 2 receives"), "{unseen:?}");
        assert!(unseen[1].contains("not played") && unseen[2].contains("not played"));

        let mut stage = Stage::new(&args).unwrap();
        stage.patience = Duration::ZERO;
        assert!(matches!(smol::block_on(play(&mut stage)), Err(Failure::Told)));
    }
}
