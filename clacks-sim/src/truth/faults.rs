//! Every fault that the run is about happened.

use clacks_proto::Instant;

use super::violation::{Checker, Scene, Violations};
use crate::observation::{Fault, Observation, Observed};

/// Counts the faults that really happened. A run that is about some fault, and in which it never happened, has shown nothing.
#[derive(Debug, Default)]
pub(super) struct Faults {
    counts: [u64; Fault::ALL.len()],
}

impl Faults {
    pub(super) fn see(&mut self, observation: &Observation) {
        if let Observed::Fault(fault) = observation.what
            && let Some(place) = place(fault)
        {
            self.counts[place] += 1;
        }
    }

    /// How often a fault happened.
    pub(super) fn count(&self, fault: Fault) -> u64 {
        place(fault).map_or(0, |place| self.counts[place])
    }

    pub(super) fn judge(&self, at: Instant, expected: &[Fault], found: &mut Violations) {
        for fault in expected {
            if self.count(*fault) == 0 {
                found.add(Checker::Faults, Scene::of_all(at), || {
                    format!("the fault \"{}\" never happened", fault.as_str())
                });
            }
        }
    }
}

fn place(fault: Fault) -> Option<usize> {
    Fault::ALL.iter().position(|other| *other == fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_counts_for_itself_alone() {
        for happened in Fault::ALL {
            let mut faults = Faults::default();
            let what = Observed::Fault(happened);
            faults.see(&Observation { at: Instant::ORIGIN, tower: None, what });
            faults.see(&Observation {
                at: Instant::ORIGIN,
                tower: None,
                what: Observed::TimerFired,
            });
            let mut found = Violations::default();
            faults.judge(Instant::ORIGIN, &Fault::ALL, &mut found);
            assert_eq!(found.count_of(Checker::Faults), Fault::ALL.len() as u64 - 1);
            assert_eq!(faults.count(happened), 1);
            let mut found = Violations::default();
            faults.judge(Instant::ORIGIN, &[happened], &mut found);
            assert_eq!(found.count(), 0);
        }
    }

    #[test]
    fn a_fault_that_never_happened_is_found() {
        let mut found = Violations::default();
        Faults::default().judge(Instant::ORIGIN, &[Fault::ClockStep], &mut found);
        assert_eq!(found.kept()[0].text, "the fault \"clock step\" never happened");
    }
}
