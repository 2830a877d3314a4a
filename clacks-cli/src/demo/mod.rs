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
    smol::block_on(async {
        let mut stage = Stage::new(args)?;
        let outcomes = steps::play(&mut stage).await?;
        stage.teller.result(&outcomes)?;
        if outcomes.iter().all(|outcome| outcome.seen.is_ok()) {
            Ok(())
        } else {
            Err(Failure::Told)
        }
    })
}
