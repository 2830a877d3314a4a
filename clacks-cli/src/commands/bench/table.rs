//! The results: a table for people, JSON lines for programs.

use std::io::{self, Write};

use serde_json::json;

use super::{Comparison, streams};
use crate::output::text::{QUIET, STRONG, grouped};
use crate::output::{json, wrap};

/// Writes each comparison as soon as it is over.
pub(super) struct Table {
    json: bool,
    rows: usize,
    /// The size of messages, and how many a second two towers on smol hand over.
    handed_over: Vec<(usize, String)>,
}

impl Table {
    pub(super) fn new(json: bool) -> Self {
        Self { json, rows: 0, handed_over: Vec::new() }
    }

    pub(super) fn write(&mut self, comparison: &Comparison, rates: &[Vec<f64>]) -> io::Result<()> {
        let Comparison { bench, size, candidates } = comparison;
        let floor = rates.first().map_or(&[][..], Vec::as_slice);
        if !self.json {
            let mut out = wrap::stdout();
            let title = comparison.title();
            writeln!(
                out,
                "{STRONG}{title:<48}{STRONG:#}{QUIET}{:>12}  ratio  (lowest to highest){QUIET:#}",
                "a second"
            )?;
        }
        for (candidate, own) in candidates.iter().zip(rates) {
            self.rows += 1;
            let rate = median(own.clone());
            // Turn by turn: what disturbs one turn disturbs those next to it.
            let mut ratios: Vec<f64> =
                own.iter().zip(floor).map(|(own, floor)| own / floor).collect();
            ratios.sort_by(f64::total_cmp);
            let (lowest, highest) =
                (ratios.first().copied().unwrap_or(0.0), ratios.last().copied().unwrap_or(0.0));
            let ratio = median(ratios);
            let rounded = |ratio: f64| (ratio * 1e3).round() / 1e3;
            if self.json {
                json::write(&json!({
                    "event": "row",
                    "bench": bench,
                    "size": size,
                    "what": candidate.what,
                    "per_second": rate.round(),
                    "ratio": rounded(ratio),
                    "lowest_ratio": rounded(lowest),
                    "highest_ratio": rounded(highest),
                }))?;
                continue;
            }
            let mut out = wrap::stdout();
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate")]
            let shown = grouped(rate.round() as u64);
            if (*bench, candidate.what) == (streams::BENCH, "towers on smol") {
                self.handed_over.push((*size, shown.clone()));
            }
            write!(out, "  {:<46}{shown:>12}  {ratio:>5.2}", candidate.what)?;
            write!(out, "  {QUIET}({lowest:.2} to {highest:.2}){QUIET:#}")?;
            writeln!(out)?;
        }
        io::stdout().flush()
    }

    pub(super) fn finish(&self) -> io::Result<()> {
        if self.json {
            return json::write(&json!({"event": "result", "rows": self.rows}));
        }
        let mut out = wrap::stdout();
        writeln!(
            out,
            "{QUIET}The ratio is to the first row of each table: the median of turns on this \
             machine, with the lowest and the highest. Rates change with what else the machine does, \
             ratios hardly.{QUIET:#}"
        )?;
        for (size, rate) in &self.handed_over {
            writeln!(
                out,
                "On this machine, two towers hand each other about {rate} messages of {size} bytes a \
                 second."
            )?;
        }
        if !self.handed_over.is_empty() {
            writeln!(out, "A tower with the default settings hands over one a second.")?;
        }
        Ok(())
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
