//! Warnings before a certificate expires.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use clacks_proto::tls::{Identity, Trust};

use super::day;
use crate::control::Check;

/// A day.
const DAY: Duration = Duration::from_secs(86_400);

/// How long before its end a certificate is reported. The value is a guess: a line has to reach the
/// machine of the member by hand.
const EARLY: Duration = Duration::from_secs(30 * 86_400);

/// What a person can do about a certificate that expires.
pub(crate) const REMEDY: &str = "Renew it: the founder of the network prints a line with `clacks \
                                 invite --renew NAME`, and `clacks join LINE` writes it here. Then \
                                 reload the tower with SIGHUP, or start it again.";

/// When the certificate of a tower expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expiry(SystemTime);

impl Expiry {
    /// Returns when peers stop to accept an identity. Returns `None` if they never do.
    pub(crate) fn of(identity: &Identity, trust: &Trust) -> Option<Self> {
        SystemTime::UNIX_EPOCH.checked_add(trust.expiry(identity)?).map(Self)
    }

    /// Returns a warning if the certificate has expired or expires soon.
    pub(crate) fn warning(self, now: SystemTime) -> Option<String> {
        let days = days_left(self.0, now)?;
        let until = day(self.0);
        Some(match days {
            _ if self.0 <= now => {
                format!("the certificate of this tower expired on {until}, and peers refuse it")
            }
            0 => format!("the certificate of this tower expires on {until}, within a day"),
            1 => format!("the certificate of this tower expires on {until}, in 1 day"),
            days => format!("the certificate of this tower expires on {until}, in {days} days"),
        })
    }
}

/// Returns a check for a certificate that has expired or expires soon.
pub(crate) fn check(expiry: Arc<Mutex<Option<Expiry>>>) -> Check {
    Box::new(move || {
        let expiry = *expiry.lock().unwrap_or_else(PoisonError::into_inner);
        Some((expiry?.warning(SystemTime::now())?, REMEDY))
    })
}

/// Returns the number of whole days until a certificate expires, if these are few. The number is 0
/// for one that has expired.
pub(super) fn days_left(expires: SystemTime, now: SystemTime) -> Option<u64> {
    let left = expires.duration_since(now).unwrap_or_default();
    (left <= EARLY).then(|| left.as_secs() / DAY.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_comes_thirty_days_before_the_end() {
        let now = SystemTime::UNIX_EPOCH + 20_000 * DAY;
        let warning = |expires| Expiry(expires).warning(now);
        assert_eq!(warning(now + 31 * DAY), None);
        for (expires, words) in [
            (now + 30 * DAY, "2024-11-03, in 30 days"),
            (now + DAY, "2024-10-05, in 1 day"),
            (now + DAY / 2, "2024-10-04, within a day"),
            (now, "expired on 2024-10-04"),
            (now - 40 * DAY, "expired on 2024-08-25"),
        ] {
            let warning = warning(expires).unwrap();
            assert!(warning.contains(words), "{warning}");
        }
    }
}
