//! What came of it: a table for people, lines for programs.

use std::io::{self, Write};

use serde_json::json;

use super::Contest;
use crate::output::json;
use crate::output::text::{BAD, GOOD, QUIET, STRONG, grouped};

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
            let title = contest.title();
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
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate")]
            let shown = grouped(rate.round() as u64);
            write!(out, "  {:<46}{shown:>12}  {ratio:>5.2}", contender.what)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_one_in_the_middle() {
        assert_eq!(median(vec![9.0, 1.0, 2.0]).to_bits(), 2f64.to_bits());
        assert_eq!(median(Vec::new()).to_bits(), 0f64.to_bits());
    }
}
