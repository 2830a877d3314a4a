//! The violations that checkers report.

use std::fmt;

use clacks_proto::Instant;

use crate::observation::{MessageId, TowerId};

/// The number of violations that are kept of each checker. Later ones are counted.
const KEPT: u64 = 16;

/// A broken invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The checker that found the violation.
    pub checker: Checker,
    /// The virtual time.
    pub at: Instant,
    /// The tower that broke the invariant. `None` if the whole network did.
    pub tower: Option<TowerId>,
    /// The message concerned, if there is one.
    pub message: Option<MessageId>,
    /// What is wrong, as a sentence.
    pub text: String,
}

/// The checkers, by their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Checker {
    /// No message disappears without a cause, and each tower holds the messages that it should.
    Conservation,
    /// No copy of a message arises without a cause.
    Duplicates,
    /// The status of a peer changes only as the protocol allows.
    Status,
    /// A tower has no dealings with a peer that it ignores.
    Ignored,
    /// A tower holds no more than its configuration allows.
    Bounds,
    /// Virtual time advances: no tower keeps itself busy for ever.
    BusyLoop,
    /// At the end every running tower knows every other running tower as alive.
    Convergence,
    /// Enough messages survive, or enough groups of messages.
    Survival,
    /// Every fault that the scenario asks for did happen.
    FaultsFired,
    /// An [`Observer`](crate::Observer) of the program reports no error.
    Observer,
}

impl Checker {
    /// All checkers.
    pub const ALL: [Self; 10] = [
        Self::Conservation,
        Self::Duplicates,
        Self::Status,
        Self::Ignored,
        Self::Bounds,
        Self::BusyLoop,
        Self::Convergence,
        Self::Survival,
        Self::FaultsFired,
        Self::Observer,
    ];

    /// Returns the name: lower-case words joined by underscores, as in `[checks]`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Conservation => "conservation",
            Self::Duplicates => "duplicates",
            Self::Status => "status",
            Self::Ignored => "ignored",
            Self::Bounds => "bounds",
            Self::BusyLoop => "busy_loop",
            Self::Convergence => "convergence",
            Self::Survival => "survival",
            Self::FaultsFired => "faults_fired",
            Self::Observer => "observer",
        }
    }

    /// Returns the invariant as a sentence.
    #[must_use]
    pub fn rule(self) -> &'static str {
        match self {
            Self::Conservation => "No message disappears without a cause.",
            Self::Duplicates => "No second copy of a message arises without a cause.",
            Self::Status => "The status of a peer changes only as the protocol allows.",
            Self::Ignored => "No tower has dealings with a peer that it ignores.",
            Self::Bounds => "No tower holds more than its configuration allows.",
            Self::BusyLoop => "No tower keeps itself busy for ever in one instant.",
            Self::Convergence => "At the end every running tower knows every other one as alive.",
            Self::Survival => "At the end enough groups of messages are alive.",
            Self::FaultsFired => "Every kind of fault that the scenario asks for happens.",
            Self::Observer => "No observer of the program reports an error.",
        }
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

/// The violations of a run, and the rules for reporting one.
#[derive(Debug)]
pub(super) struct Violations {
    /// The time of the next report.
    pub(super) now: Instant,
    /// Whether each tower is a role. Empty if there are no roles.
    roles: Vec<bool>,
    enabled: [bool; Checker::ALL.len()],
    kept: Vec<Violation>,
    counts: [u64; Checker::ALL.len()],
}

impl Violations {
    pub(super) fn new(roles: &[TowerId], is_enabled: impl Fn(Checker) -> bool) -> Self {
        let count = roles.iter().map(|tower| tower.0 as usize + 1).max().unwrap_or(0);
        let mut is_role = vec![false; count];
        for tower in roles {
            is_role[tower.0 as usize] = true;
        }
        Self {
            now: Instant::ORIGIN,
            roles: is_role,
            enabled: Checker::ALL.map(is_enabled),
            kept: Vec::new(),
            counts: [0; Checker::ALL.len()],
        }
    }

    /// Reports that a tower broke an invariant. The report is dropped if the tower is a role, or if
    /// the checker is switched off.
    pub(super) fn report(
        &mut self,
        checker: Checker,
        tower: impl Into<Option<TowerId>>,
        message: impl Into<Option<MessageId>>,
        text: impl FnOnce() -> String,
    ) {
        let (tower, message) = (tower.into(), message.into());
        if !self.enabled[checker as usize] || tower.is_some_and(|tower| self.is_role(tower)) {
            return;
        }
        let count = &mut self.counts[checker as usize];
        *count += 1;
        if *count <= KEPT {
            self.kept.push(Violation { checker, at: self.now, tower, message, text: text() });
        }
    }

    /// Returns whether a tower is a role. What a role does is no violation.
    #[inline]
    pub(super) fn is_role(&self, tower: TowerId) -> bool {
        self.roles.get(tower.0 as usize).is_some_and(|is_role| *is_role)
    }

    pub(super) fn enable(&mut self, checker: Checker) {
        self.enabled[checker as usize] = true;
    }

    pub(super) fn is_enabled(&self, checker: Checker) -> bool {
        self.enabled[checker as usize]
    }

    /// Returns the number of violations.
    #[cfg(test)]
    pub(super) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Returns the checkers that are switched on, each with the number of violations.
    pub(super) fn counts(&self) -> Vec<(Checker, u64)> {
        let enabled = Checker::ALL.into_iter().filter(|checker| self.is_enabled(*checker));
        enabled.map(|checker| (checker, self.counts[checker as usize])).collect()
    }

    /// Returns the first violations of each checker, in the order of the reports.
    pub(super) fn kept(&self) -> &[Violation] {
        &self.kept
    }

    #[cfg(test)]
    pub(super) fn texts(&self) -> Vec<&str> {
        self.kept.iter().map(|violation| violation.text.as_str()).collect()
    }
}

impl Default for Violations {
    fn default() -> Self {
        Self::new(&[], |_| true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_violations_of_each_checker_are_kept_and_all_are_counted() {
        let mut violations = Violations::default();
        for number in 0..100 {
            violations.report(Checker::Bounds, TowerId(7), None, || format!("number {number}"));
        }
        violations.report(Checker::FaultsFired, None, None, || "another".into());
        assert_eq!(violations.count(), 101);
        assert_eq!(violations.kept().len(), 17);
        assert_eq!(violations.kept()[15].text, "number 15");
        assert_eq!(violations.kept()[16].to_string(), "faults_fired at 0ns: another");
    }

    #[test]
    fn roles_and_disabled_checkers_are_not_reported() {
        let mut violations = Violations::new(&[TowerId(3)], |checker| checker != Checker::Bounds);
        violations.report(Checker::Status, TowerId(3), None, || "a role".into());
        violations.report(Checker::Bounds, TowerId(2), None, || "switched off".into());
        assert_eq!(violations.count(), 0);
        for tower in [2, 4] {
            violations.report(Checker::Status, TowerId(tower), None, || "an honest tower".into());
        }
        assert_eq!(violations.count(), 2);
    }
}
