//! What checkers find, kept up to a number and counted beyond it.

use std::fmt;

use clacks_proto::Instant;

use crate::observation::{MessageId, TowerId};

/// How many violations of each checker are kept: the first ones say what is wrong, the others only how often.
const KEPT: u64 = 16;

/// A rule that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which rule.
    pub checker: Checker,
    /// When, in the run's own time.
    pub at: Instant,
    /// At which tower; `None` when it is about the whole run.
    pub tower: Option<TowerId>,
    /// Which message it is about, if about one.
    pub message: Option<MessageId>,
    /// What is wrong, as a sentence.
    pub text: String,
}

/// The rules that a run is held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Checker {
    /// No message is lost or made twice without a cause, and towers hold what the ledger says.
    Conservation,
    /// A peer's status changes only in the ways that the protocol knows.
    Statuses,
    /// Nothing goes to an ignored peer, and nothing is taken from it.
    Ignored,
    /// A tower holds no more than its configuration says.
    Bounds,
    /// Time goes on: no tower is busy for ever in one instant.
    Spinning,
    /// In the end every running tower knows every other one as alive.
    Liveness,
    /// Every fault that the run is about happened.
    Faults,
}

impl Checker {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Conservation,
        Self::Statuses,
        Self::Ignored,
        Self::Bounds,
        Self::Spinning,
        Self::Liveness,
        Self::Faults,
    ];

    /// The checker in one lower-case word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Conservation => "conservation",
            Self::Statuses => "statuses",
            Self::Ignored => "ignored",
            Self::Bounds => "bounds",
            Self::Spinning => "spinning",
            Self::Liveness => "liveness",
            Self::Faults => "faults",
        }
    }

    /// Returns the rule as a sentence.
    #[must_use]
    pub fn rule(self) -> &'static str {
        match self {
            Self::Conservation => "No message is lost or copied without a cause.",
            Self::Statuses => "The status of a peer changes only as the protocol allows.",
            Self::Ignored => "No tower exchanges messages with a peer that it ignores.",
            Self::Bounds => "No tower holds more than its configuration allows.",
            Self::Spinning => "No tower handles events forever in one instant.",
            Self::Liveness => "At the end every running tower knows every other one as alive.",
            Self::Faults => "Every fault that the scenario schedules happens.",
        }
    }

    fn place(self) -> usize {
        Self::ALL.iter().position(|checker| *checker == self).unwrap_or_default()
    }
}

impl fmt::Display for Checker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}: {}", self.checker, self.at, self.text)
    }
}

/// Whom and what a violation is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scene {
    pub(super) at: Instant,
    pub(super) tower: Option<TowerId>,
    pub(super) message: Option<MessageId>,
}

impl Scene {
    /// Something about a tower.
    pub(super) fn of(at: Instant, tower: TowerId) -> Self {
        Self { at, tower: Some(tower), message: None }
    }

    /// Something about the whole run.
    pub(super) fn of_all(at: Instant) -> Self {
        Self { at, tower: None, message: None }
    }

    pub(super) fn with(self, message: MessageId) -> Self {
        Self { message: Some(message), ..self }
    }
}

/// The violations of a run.
#[derive(Debug, Default)]
pub(super) struct Violations {
    kept: Vec<Violation>,
    counts: [u64; Checker::ALL.len()],
}

impl Violations {
    /// Counts a violation, and keeps it if it is among the first of its kind. Its text is made only then.
    pub(super) fn add(&mut self, checker: Checker, scene: Scene, text: impl FnOnce() -> String) {
        let count = &mut self.counts[checker.place()];
        *count += 1;
        if *count <= KEPT {
            let Scene { at, tower, message } = scene;
            self.kept.push(Violation { checker, at, tower, message, text: text() });
        }
    }

    /// How many there were, kept or not.
    #[cfg(test)]
    pub(super) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// How many of one checker there were, kept or not.
    pub(super) fn count_of(&self, checker: Checker) -> u64 {
        self.counts[checker.place()]
    }

    pub(super) fn kept(&self) -> &[Violation] {
        &self.kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn violations_are_kept_up_to_a_number_and_counted_beyond_it() {
        let mut violations = Violations::default();
        for n in 0..100 {
            let scene = Scene::of(Instant::from_nanos(n), TowerId(7));
            violations.add(Checker::Bounds, scene, || format!("number {n}"));
        }
        violations.add(Checker::Faults, Scene::of_all(Instant::ORIGIN), || "another".into());
        assert_eq!(violations.count_of(Checker::Bounds), 100);
        assert_eq!(violations.count(), 101);
        assert_eq!(violations.kept().len(), 17);
        assert_eq!(violations.kept()[15].text, "number 15");
        assert_eq!(violations.kept()[16].to_string(), "faults at 0ns: another");
    }
}
