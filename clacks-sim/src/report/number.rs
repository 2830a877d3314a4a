//! Numbers as people read them: few digits, units that fit their size.

/// Between a number and its unit, and between groups of three digits: never a line's end.
const GAP: char = '\u{202f}';

/// A value with its unit. `s` is a duration, `share` is per cent, `bytes` comes in kB and more.
pub(crate) fn with_unit(value: f64, unit: &str) -> String {
    match unit {
        "" => plain(value),
        "s" => duration(value),
        "share" => format!("{}{GAP}%", plain(value * 100.0)),
        "bytes" => bytes(value),
        _ => format!("{}{GAP}{unit}", plain(value)),
    }
}

/// A value with at most four digits that say something; whole numbers below a million in full.
pub(crate) fn plain(value: f64) -> String {
    let size = value.abs();
    if value.is_nan() {
        "unknown".to_owned()
    } else if !value.is_finite() || size >= 1e15 {
        format!("{value:.3e}")
    } else if size >= 999_999.5 {
        let (scale, name) = match size {
            _ if size < 999.95e6 => (1e6, "million"),
            _ if size < 999.95e9 => (1e9, "billion"),
            _ => (1e12, "trillion"),
        };
        format!("{}{GAP}{name}", four_digits(value / scale))
    } else if value.fract() == 0.0 {
        grouped(&format!("{value:.0}"))
    } else if size < 0.0001 {
        format!("{value:.1e}")
    } else {
        grouped(&four_digits(value))
    }
}

/// Seconds as a duration of one or two units.
pub(crate) fn duration(seconds: f64) -> String {
    let (sign, size) = (if seconds < 0.0 { "-" } else { "" }, seconds.abs());
    let small = |scale: f64, unit| format!("{sign}{}{GAP}{unit}", three_digits(size * scale));
    let pair = |large: f64, small: f64, names: [&str; 2]| {
        // Rounded first, so that 119.9 s is 2 min and not 1 min 60 s.
        let smalls = (size / small).round();
        let per_large = (large / small).round();
        let (whole, rest) = ((smalls / per_large).floor(), smalls % per_large);
        let first = format!("{sign}{}{GAP}{}", grouped(&format!("{whole:.0}")), names[0]);
        if rest == 0.0 { first } else { format!("{first} {rest:.0}{GAP}{}", names[1]) }
    };
    match size {
        _ if !size.is_finite() => "unknown".to_owned(),
        0.0 => format!("0{GAP}s"),
        _ if size < 999.5e-9 => small(1e9, "ns"),
        _ if size < 999.5e-6 => small(1e6, "µs"),
        _ if size < 999.5e-3 => small(1e3, "ms"),
        _ if size < 59.95 => small(1.0, "s"),
        _ if size < 3_599.5 => pair(60.0, 1.0, ["min", "s"]),
        _ if size < 86_370.0 => pair(3_600.0, 60.0, ["h", "min"]),
        _ => pair(86_400.0, 3_600.0, ["d", "h"]),
    }
}

fn bytes(value: f64) -> String {
    let (scale, unit) = match value.abs() {
        size if size < 999.5 => (1.0, "B"),
        size if size < 999.5e3 => (1e3, "kB"),
        size if size < 999.5e6 => (1e6, "MB"),
        size if size < 999.5e9 => (1e9, "GB"),
        _ => (1e12, "TB"),
    };
    format!("{}{GAP}{unit}", three_digits(value / scale))
}

fn three_digits(value: f64) -> String {
    digits(value, 3)
}

fn four_digits(value: f64) -> String {
    digits(value, 4)
}

/// So many significant digits, without zeros at the end.
fn digits(value: f64, wanted: usize) -> String {
    let scientific = format!("{value:.0$e}", wanted - 1);
    let exponent = scientific.split_once('e').and_then(|(_, e)| e.parse::<i32>().ok());
    let whole = exponent.map_or(0, |exponent| exponent + 1);
    let behind = usize::try_from(i32::try_from(wanted).unwrap_or(0) - whole).unwrap_or(0);
    let text = format!("{value:.behind$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// The whole part in groups of three digits, when it has more than four.
fn grouped(number: &str) -> String {
    let (sign, number) = number.strip_prefix('-').map_or(("", number), |rest| ("-", rest));
    let (whole, rest) = number.split_at(number.find('.').unwrap_or(number.len()));
    let mut text = sign.to_owned();
    for (place, digit) in whole.chars().enumerate() {
        let left = whole.len() - place;
        if whole.len() > 4 && place > 0 && left % 3 == 0 {
            text.push(GAP);
        }
        text.push(digit);
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ascii(text: &str) -> String {
        text.replace(GAP, "_")
    }

    #[test]
    fn numbers_have_few_digits() {
        let expected = [
            (0.0, "0"),
            (7.0, "7"),
            (-1234.0, "-1234"),
            (12_345.0, "12_345"),
            (999_999.0, "999_999"),
            (999_999.7, "1_million"),
            (1_000_000.0, "1_million"),
            (123_456_789.0, "123.5_million"),
            (999_960_000.0, "1_billion"),
            (5.43e12, "5.43_trillion"),
            (1.0 / 3.0, "0.3333"),
            (2.0 / 3.0 * 10_000.0, "6667"),
            (12_345.67, "12_346"),
            (99.999_9, "100"),
            (0.000_012, "1.2e-5"),
            (f64::NAN, "unknown"),
        ];
        for (value, text) in expected {
            assert_eq!(ascii(&plain(value)), text, "{value}");
        }
    }

    #[test]
    fn durations_have_two_units_at_most() {
        let expected = [
            (0.0, "0_s"),
            (2.5e-8, "25_ns"),
            (0.0421, "42.1_ms"),
            (0.999_9, "1_s"),
            (12.345, "12.3_s"),
            (60.0, "1_min"),
            (119.9, "2_min"),
            (3_599.6, "1_h"),
            (7_500.0, "2_h 5_min"),
            (86_399.0, "1_d"),
            (100_000.0, "1_d 4_h"),
            (-90.0, "-1_min 30_s"),
        ];
        for (seconds, text) in expected {
            assert_eq!(ascii(&duration(seconds)), text, "{seconds}");
        }
    }

    #[test]
    fn units_fit() {
        assert_eq!(ascii(&with_unit(0.9876, "share")), "98.76_%");
        assert_eq!(ascii(&with_unit(1_234_567.0, "bytes")), "1.23_MB");
        assert_eq!(ascii(&with_unit(999.9, "bytes")), "1_kB");
        assert_eq!(ascii(&with_unit(17.0, "towers")), "17_towers");
        assert_eq!(ascii(&with_unit(90.0, "s")), "1_min 30_s");
        assert_eq!(with_unit(3.0, ""), "3");
    }
}
