//! `clacks demo`: four towers meet, lose one of them and find it again.
//!
//! [`network`] runs the towers and collects their notices, [`steps`] is the script, and
//! [`narrator`] writes what happens. Only notices and getters decide what was seen, never the
//! clock.

mod narrator;
mod network;
mod steps;

use serde_json::json;

use crate::args::DemoArgs;
use crate::error::Failure;
use crate::limits;
use network::DemoNetwork;

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
    /// What was seen, or as an error what was not.
    seen: Result<String, String>,
}

impl Outcome {
    fn to_json(&self) -> serde_json::Value {
        let seen = self.seen.as_ref().unwrap_or_else(|unseen| unseen);
        json!({"step": self.step, "ok": self.seen.is_ok(), "seen": seen})
    }
}

/// Runs all steps. Fails if one of them was not seen.
pub(crate) fn run(args: &DemoArgs) -> Result<(), Failure> {
    limits::check(Number::ALL.len() * limits::TOWER_DESCRIPTORS)?;
    smol::block_on(run_steps(&mut DemoNetwork::new(args)?))
}

async fn run_steps(network: &mut DemoNetwork) -> Result<(), Failure> {
    let outcomes = steps::run(network).await?;
    network.narrator.result(&outcomes)?;
    if outcomes.iter().all(|outcome| outcome.seen.is_ok()) {
        Ok(())
    } else {
        Err(Failure::Reported)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{HttpArgs, Runtime};
    use std::time::Duration;

    #[test]
    fn what_is_not_seen_fails_the_demo() {
        let args = DemoArgs {
            runtime: Runtime::Smol,
            base_port: 0,
            original: false,
            json: true,
            http: HttpArgs::default(),
        };
        let mut network = DemoNetwork::new(&args).unwrap();
        // Nothing has happened yet at the first check, and there is no second one.
        network.timeout = Duration::ZERO;
        let outcomes = smol::block_on(steps::run(&mut network)).unwrap();
        let unseen: Vec<_> =
            outcomes.into_iter().map(|outcome| outcome.seen.unwrap_err()).collect();
        assert!(unseen[0].contains("not seen in 0 seconds: tower 2 receives"), "{unseen:?}");
        assert!(unseen[1].contains("not run") && unseen[2].contains("not run"), "{unseen:?}");

        let mut network = DemoNetwork::new(&args).unwrap();
        network.timeout = Duration::ZERO;
        assert!(matches!(smol::block_on(run_steps(&mut network)), Err(Failure::Reported)));
    }
}
