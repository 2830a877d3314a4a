//! Faults fired: each fault that the scenario asks for did happen.

use super::violation::{Checker, Violations};
use crate::observation::{Fault, Observation, Observed};

/// Counts the faults that happened. A run in which a fault did not happen has tested nothing.
#[derive(Debug, Default)]
pub(super) struct FaultsFired {
    counts: [u64; Fault::ALL.len()],
}

impl FaultsFired {
    #[inline]
    pub(super) fn observe(&mut self, observation: &Observation) {
        if let Observed::Fault(fault) = observation.what {
            self.counts[fault as usize] += 1;
        }
    }

    /// Returns how often a fault happened.
    pub(super) fn count(&self, fault: Fault) -> u64 {
        self.counts[fault as usize]
    }

    pub(super) fn finish(&self, planned: &[Fault], found: &mut Violations) {
        for fault in planned.iter().filter(|fault| self.count(**fault) == 0) {
            found.report(Checker::FaultsFired, None, None, || {
                format!("the fault \"{}\" did not happen", fault.as_str())
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clacks_proto::Instant;

    #[test]
    fn a_fault_that_did_not_happen_bites() {
        for happened in Fault::ALL {
            let (mut faults, mut found) = (FaultsFired::default(), Violations::default());
            for what in [Observed::Fault(happened), Observed::TimerFired] {
                faults.observe(&Observation { at: Instant::ORIGIN, tower: None, what });
            }
            faults.finish(&[happened], &mut found);
            assert_eq!((faults.count(happened), found.count()), (1, 0));
            faults.finish(&Fault::ALL, &mut found);
            assert_eq!(found.count(), Fault::ALL.len() as u64 - 1);
        }
        let mut found = Violations::default();
        FaultsFired::default().finish(&[Fault::ClockStep], &mut found);
        assert_eq!(found.texts(), ["the fault \"clock step\" did not happen"]);
    }
}
