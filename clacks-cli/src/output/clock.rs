//! How far a clock is wrong, in words.

/// Returns how far the clock of this machine is wrong, if others are ahead by so many minutes.
pub(crate) fn text(minutes: i32) -> String {
    let wrong = minutes.unsigned_abs();
    let word = if minutes > 0 { "slow" } else { "fast" };
    match (wrong / 60, wrong % 60) {
        (0, minutes) => format!("{minutes} min {word}"),
        (hours @ 0..48, minutes) => format!("{hours} h {minutes} min {word}"),
        (hours, _) => format!("{} days {word}", hours / 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_slow_or_fast() {
        assert_eq!(text(9), "9 min slow");
        assert_eq!(text(-90), "1 h 30 min fast");
        assert_eq!(text(-3_000), "2 days fast");
        assert_eq!(text(i32::MIN), "1491308 days fast");
    }
}
