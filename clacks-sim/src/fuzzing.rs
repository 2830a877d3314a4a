//! The body of the fuzz target `sim_scenario`. Internal: it may change at any time.
#![allow(clippy::panic, reason = "a fuzz target reports a finding by a panic")]

use std::convert::Infallible;
use std::path::Path;

use rand::TryRng;
use rand::rand_core::utils::fill_bytes_via_next_word;

use crate::rng::{Purpose, RngStream, RngStreams};
use crate::scenario::{Limits, draw};
use crate::{Options, Outcome, Scenario, Simulation};

const LIMITS: Limits = Limits { towers: 5, time: 100, split: 0 };
/// The number of events of a run (guess: what goes wrong among five towers goes wrong early).
const MAX_EVENTS: u64 = 2_000;
/// Inputs whose length is a multiple of this number are run twice.
const REPEATED: usize = 8;

/// Draws a scenario from an input, and runs it. Panics if a checker finds a violation, or if a
/// second run differs from the first.
pub fn sim_scenario(input: &[u8]) {
    examine(input);
}

/// Returns the outcome of an input, or `None` if its scenario can't be run.
fn examine(input: &[u8]) -> Option<Outcome> {
    let scenario = scenario(input);
    let outcome = run(&scenario)?;
    if !outcome.passed() {
        let found: Vec<_> = outcome.violations.iter().map(ToString::to_string).collect();
        panic!("{}\nin the scenario\n{}", found.join("\n"), scenario.to_toml());
    }
    if input.len().is_multiple_of(REPEATED) {
        let again = run(&scenario).map(|outcome| outcome.hash);
        assert_eq!(again, Some(outcome.hash), "two runs differ of {}", scenario.to_toml());
    }
    Some(outcome)
}

/// Returns the scenario of an input. The first byte is the seed of the run.
fn scenario(input: &[u8]) -> Scenario {
    let (seed, choices) = input.split_first().map_or((0, input), |(seed, rest)| (*seed, rest));
    let rest = RngStreams::new(seed.into()).stream(Purpose::Swarm, 0);
    let mut scenario = draw(&mut Choices { choices, rest }, &LIMITS).seed(seed.into());
    // At each sample the checkers look at all towers, which takes as long as a hundred events.
    scenario.sample = Some(scenario.time / 20);
    scenario
}

fn run(scenario: &Scenario) -> Option<Outcome> {
    let mut simulation = Simulation::new(scenario, Path::new("."), Options::default()).ok()?;
    simulation.advance(MAX_EVENTS);
    Some(simulation.finish())
}

/// Random words from bytes: each word begins with two bytes of the input, so that a changed byte
/// changes one choice. After the last byte, the words of a stream follow.
struct Choices<'a> {
    choices: &'a [u8],
    rest: RngStream,
}

impl TryRng for Choices<'_> {
    type Error = Infallible;

    #[allow(clippy::cast_possible_truncation, reason = "the shift leaves 32 bits")]
    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.try_next_u64().map(|word| (word >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let Some((bytes, rest)) = self.choices.split_first_chunk() else {
            return self.rest.try_next_u64();
        };
        self.choices = rest;
        Ok(u64::from(u16::from_be_bytes(*bytes)) << 48)
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        fill_bytes_via_next_word(bytes, || self.try_next_u64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::{DuplicationCause, LossCause, Totals};
    use crate::observation::Fault;

    /// Runs all files of the corpus and of the regressions.
    #[test]
    fn the_corpus_holds_and_covers_all_faults() {
        let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
        if !fuzz.exists() {
            // A published crate has no corpus.
            return println!("nothing is run, because {} does not exist", fuzz.display());
        }
        let mut files = Vec::new();
        for folder in ["corpus/sim_scenario", "regressions/sim_scenario"] {
            let entries = std::fs::read_dir(fuzz.join(folder)).into_iter().flatten();
            files.extend(entries.map(|entry| entry.unwrap().path()));
        }
        assert!(!files.is_empty(), "there is no corpus");
        files.sort();
        let (mut happened, mut totals) = ([0; Fault::ALL.len()], Vec::new());
        for file in files {
            // If a run fails, this is the last line.
            println!("{}", file.display());
            let Some(outcome) = examine(&std::fs::read(&file).unwrap()) else { continue };
            for (fault, count) in Fault::ALL.iter().zip(&mut happened) {
                let asked = outcome.faults.iter().find(|asked| asked.fault == *fault);
                *count += asked.map_or(0, |asked| asked.happened);
            }
            totals.push(outcome.totals);
        }
        // If inputs change their meaning, the corpus may cover less.
        let missing: Vec<_> =
            Fault::ALL.iter().zip(happened).filter(|(_, count)| *count == 0).collect();
        assert!(missing.is_empty(), "the corpus covers no {missing:?}");
        let sum = |count: &dyn Fn(&Totals) -> u64| totals.iter().map(count).sum::<u64>();
        let causes = [
            sum(&|totals| totals.duplicated(DuplicationCause::ConfirmationLost)),
            sum(&|totals| totals.duplicated(DuplicationCause::TakenLate)),
            sum(&|totals| totals.duplicated(DuplicationCause::RetryTaken)),
            sum(&|totals| totals.coalesced),
            sum(&|totals| totals.lost(LossCause::Crash)),
        ];
        assert!(causes.iter().all(|count| *count > 0), "the corpus covers too little: {causes:?}");
    }

    #[test]
    fn every_input_is_a_valid_scenario() {
        for byte in 0..=255u8 {
            let input: Vec<u8> = (0..80u8).map(|n| n.wrapping_mul(byte | 1) ^ byte).collect();
            let scenario = scenario(&input[..usize::from(byte) % 81]);
            scenario.check().unwrap_or_else(|error| panic!("{byte}: {error}"));
        }
    }
}
