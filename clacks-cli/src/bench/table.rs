//! What came of it: a table for people, lines for programs.

use std::io::{self, Write};

use serde_json::json;

use super::Contest;
use crate::json;
use crate::plain::{BAD, GOOD, QUIET, STRONG};

/// Tells each contest as soon as it is over.
pub(super) struct Table {
    json: bool,
    rows: usize,
}

impl Table {
    pub(super) fn new(json: bool) -> Self {
        Self { json, rows: 0 }
    }

    pub(super) fn tell(&mut self, contest: &Contest, rates: &[Vec<f64>]) -> io::Result<()> {
        let Contest { bench, size, contenders } = contest;
        let floor = rates.first().map_or(&[][..], Vec::as_slice);
        if !self.json {
            let mut out = anstream::stdout();
            let title = format!("{bench}, messages of {size} bytes");
            writeln!(
                out,
                "{STRONG}{title:<48}{STRONG:#}{QUIET}{:>12}  ratio{QUIET:#}",
                "a second"
            )?;
        }
        for (contender, own) in contenders.iter().zip(rates) {
            self.rows += 1;
            let rate = median(own.clone());
            // Turn by turn: what disturbs one turn disturbs those next to it.
            let ratio = median(own.iter().zip(floor).map(|(own, floor)| own / floor).collect());
            let reached = contender.wanted.map(|wanted| ratio >= wanted);
            if self.json {
                json::write(&json!({
                    "event": "row",
                    "bench": bench,
                    "size": size,
                    "what": contender.what,
                    "per_second": rate.round(),
                    "ratio": (ratio * 1e3).round() / 1e3,
                    "wanted_ratio": contender.wanted,
                    "reached": reached,
                }))?;
                continue;
            }
            let mut out = anstream::stdout();
            write!(out, "  {:<46}{:>12}  {ratio:>5.2}", contender.what, thousands(rate))?;
            match (contender.wanted, reached) {
                (Some(wanted), Some(true)) => write!(out, "  {GOOD}of {wanted:.2} wanted{GOOD:#}")?,
                (Some(wanted), _) => write!(out, "  {BAD}of {wanted:.2} wanted{BAD:#}")?,
                (None, _) => {}
            }
            writeln!(out)?;
        }
        io::stdout().flush()
    }

    pub(super) fn end(&self) -> io::Result<()> {
        if self.json {
            return json::write(&json!({"event": "result", "rows": self.rows}));
        }
        let mut out = anstream::stdout();
        writeln!(
            out,
            "{QUIET}The ratio is to the first row of each table. All ran on this machine, in turns.{QUIET:#}"
        )
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// A number as people read it: 1 234 567.
fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_gaps_at_each_thousand() {
        for (number, text) in
            [(0.0, "0"), (999.6, "1 000"), (123.0, "123"), (1_234_567.0, "1 234 567")]
        {
            assert_eq!(thousands(number), text);
        }
    }

    #[test]
    fn the_median_is_the_one_in_the_middle() {
        assert_eq!(median(vec![9.0, 1.0, 2.0]).to_bits(), 2f64.to_bits());
        assert_eq!(median(Vec::new()).to_bits(), 0f64.to_bits());
    }
}
