//! Observers: checks and measurements of a program that runs a simulation.

use clacks_proto::{Instant, Tower};

use crate::observation::{Observation, TowerId};

/// Observes a run from outside, for a check or a measurement of one's own.
///
/// An error is a sentence. It is a violation of [`Checker::Observer`](crate::Checker::Observer) and
/// ends the run, unless the run [keeps going](crate::Options::keep_going).
///
/// ```
/// use clacks_sim::{Observation, Observed, Observer, Options, Scenario, Simulation};
/// use std::time::Duration;
///
/// /// Every dial must succeed.
/// struct EveryDialSucceeds;
///
/// impl Observer for EveryDialSucceeds {
///     fn observe(&mut self, observation: &Observation) -> Result<(), String> {
///         match observation.what {
///             Observed::ConnectFailed { .. } => Err("a dial failed".to_owned()),
///             _ => Ok(()),
///         }
///     }
/// }
///
/// let scenario = Scenario::new("a few", 5, Duration::from_secs(60));
/// let mut simulation = Simulation::new(&scenario, ".".as_ref(), Options::default())?;
/// simulation.observer(Box::new(EveryDialSucceeds));
/// while !simulation.advance(10_000).is_over {}
/// assert!(simulation.finish().violations.is_empty());
/// # Ok::<(), clacks_sim::scenario::ScenarioError>(())
/// ```
pub trait Observer<M = Tower> {
    /// Called for each observation, in the order of time.
    ///
    /// # Errors
    ///
    /// What is wrong, as a sentence.
    fn observe(&mut self, observation: &Observation) -> Result<(), String> {
        let _ = observation;
        Ok(())
    }

    /// Called after each event of a tower, when all observations that follow from it were made.
    /// `at` is the time of the network.
    ///
    /// # Errors
    ///
    /// What is wrong, as a sentence.
    fn after(&mut self, at: Instant, tower: TowerId, machine: &M) -> Result<(), String> {
        let _ = (at, tower, machine);
        Ok(())
    }
}
