//! A run as CSV files. The first line names the columns with their units. Unknown values are empty.

use std::io;
use std::path::{Path, PathBuf};

use clacks_proto::Instant;
use csv::Writer;

use super::Report;
use crate::metrics::{MessageTrace, Metric};
use crate::observation::Fault;
use crate::targets::TargetResult;

impl Report<'_> {
    /// Names of the files that [`write_csv`](Self::write_csv) writes. `hand_overs.csv` is written
    /// only if the run recorded the paths of messages.
    pub const CSV_FILES: [&'static str; 6] =
        ["series.csv", "figures.csv", "faults.csv", "checks.csv", "targets.csv", "hand_overs.csv"];

    /// Writes the run as CSV files into a folder, and returns their paths. Replaces existing files.
    ///
    /// # Errors
    ///
    /// Fails if a file can't be written. Files written before stay.
    pub fn write_csv(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        let [series, figures, faults, checks, targets, hand_overs] =
            Self::CSV_FILES.map(|file| folder.join(file));
        self.write_series(&mut Writer::from_path(&series)?)?;
        self.write_figures(&mut Writer::from_path(&figures)?)?;
        self.write_faults(&mut Writer::from_path(&faults)?)?;
        self.write_checks(&mut Writer::from_path(&checks)?)?;
        self.write_targets(&mut Writer::from_path(&targets)?)?;
        let mut files = vec![series, figures, faults, checks, targets];
        if self.outcome.message_trace.is_some() {
            self.write_hand_overs(&mut Writer::from_path(&hand_overs)?)?;
            files.push(hand_overs);
        }
        Ok(files)
    }

    /// Metrics, faults and roles over time. Counts are per interval.
    fn write_series(&self, out: &mut Writer<impl io::Write>) -> io::Result<()> {
        let series = &self.outcome.series;
        let metrics = Metric::ALL.iter().map(|one| format!("{} [{}]", one.key(), one.unit()));
        let faults = Fault::ALL.iter().map(|fault| format!("{} [times]", fault.key()));
        let roles = series.roles().iter().flat_map(|role| {
            [format!("hops of {role} [messages]"), format!("returned of {role} [messages]")]
        });
        let times = ["at [s]", "interval [s]"].map(str::to_owned);
        out.write_record(times.into_iter().chain(metrics).chain(faults).chain(roles))?;
        for sample in series.samples() {
            let interval = Instant::ORIGIN + sample.interval;
            let values = Metric::ALL.iter().map(|one| optional(sample.value(*one)));
            let faults = Fault::ALL.iter().map(|fault| sample.faults(*fault).to_string());
            let roles = sample.roles.iter().flat_map(|role| [role.hops, role.returned]);
            let times = [seconds(sample.at), seconds(interval)];
            let roles = roles.map(|count| count.to_string());
            out.write_record(times.into_iter().chain(values).chain(faults).chain(roles))?;
        }
        out.flush()
    }

    /// One number for the whole run a line, with its definition.
    fn write_figures(&self, out: &mut Writer<impl io::Write>) -> io::Result<()> {
        out.write_record(["figure", "name", "value", "unit", "meaning"])?;
        for figure in self.figures() {
            let value = optional(figure.value);
            out.write_record([&figure.key, &figure.name, &value, figure.unit, &figure.meaning])?;
        }
        out.flush()
    }

    fn write_faults(&self, out: &mut Writer<impl io::Write>) -> io::Result<()> {
        out.write_record(["fault", "scheduled [times]", "happened [times]", "meaning"])?;
        for fault in &self.outcome.faults {
            let (scheduled, happened) =
                (optional(fault.planned.flatten()), fault.happened.to_string());
            let (name, meaning) = (fault.fault.as_str(), fault.fault.meaning());
            out.write_record([name, &scheduled, &happened, meaning])?;
        }
        out.flush()
    }

    fn write_checks(&self, out: &mut Writer<impl io::Write>) -> io::Result<()> {
        out.write_record(["check", "violations", "rule"])?;
        for check in &self.outcome.checks {
            out.write_record([check.name, &check.violations.to_string(), check.rule])?;
        }
        out.flush()
    }

    /// The names of the columns are those of the terminal and of the page.
    fn write_targets(&self, out: &mut Writer<impl io::Write>) -> io::Result<()> {
        out.write_record([
            "target",
            "measured",
            "predicted",
            "calm",
            "number",
            "bounds",
            "result",
        ])?;
        for result in &self.outcome.targets {
            let TargetResult { target, measured, predicted, calm, .. } = result;
            let [measured, predicted, calm, number] =
                [*measured, *predicted, *calm, result.number()].map(optional);
            let met = if result.is_met() { "met" } else { "missed" };
            let bounds = target.bounds();
            let record = [&target.name, &measured, &predicted, &calm, &number, &bounds, met];
            out.write_record(record)?;
        }
        out.flush()
    }

    fn write_hand_overs(&self, out: &mut Writer<impl io::Write>) -> io::Result<()> {
        out.write_record([
            "number",
            "message",
            "from",
            "to",
            "departs [s]",
            "arrives [s]",
            "accepted [s]",
            "ended [s]",
            "end",
        ])?;
        for one in self.outcome.message_trace.iter().flat_map(MessageTrace::hand_overs) {
            let (accepted, ended) = (one.accepted.map(seconds), one.end.map(|(at, _)| seconds(at)));
            out.write_record([
                one.number.to_string(),
                one.message.0.to_string(),
                one.from.0.to_string(),
                one.to.0.to_string(),
                seconds(one.departs),
                seconds(one.arrives),
                accepted.unwrap_or_default(),
                ended.unwrap_or_default(),
                one.end.map_or("open", |(_, end)| end.as_str()).to_owned(),
            ])?;
        }
        out.flush()
    }
}

fn optional(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

/// Seconds since the start of the run, exact to the nanosecond.
fn seconds(at: Instant) -> String {
    let time = at.duration_since(Instant::ORIGIN);
    let exact = format!("{}.{:09}", time.as_secs(), time.subsec_nanos());
    exact.trim_end_matches('0').trim_end_matches('.').to_owned()
}
