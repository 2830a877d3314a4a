//! The report of a run, and its tables.

use std::io;
use std::path::Path;
use std::time::Duration;

use clacks_sim::metrics::Column;
use clacks_sim::report::{
    FaultCount, Measure, Prediction, ReportInput, Total, Verdict, Violation, html as page,
    write_csv,
};
use clacks_sim::{DuplicationCause, LossCause, Outcome};

/// The tables, into a folder that is there.
pub(super) fn write_tables(outcome: &Outcome, folder: &Path) -> io::Result<()> {
    write_csv(folder, &outcome.series, &faults(outcome), outcome.flights.as_ref()).map(drop)
}

fn faults(outcome: &Outcome) -> Vec<FaultCount> {
    let count = |asked: &clacks_sim::Asked| FaultCount {
        fault: asked.fault,
        asked: asked.asked.flatten(),
        happened: asked.happened,
    };
    outcome.faults.iter().map(count).collect()
}

/// A number of things, by what brought them about.
fn by_cause(counts: &[(&str, u64)]) -> String {
    let some = counts.iter().filter(|(_, count)| *count > 0);
    let words: Vec<_> = some.map(|(cause, count)| format!("{cause}: {count}")).collect();
    if words.is_empty() { "None.".to_owned() } else { format!("By cause: {}.", words.join(", ")) }
}

/// The page.
pub(super) fn html(outcome: &Outcome, wall: Duration, replay: &str) -> String {
    let totals = &outcome.totals;
    let total =
        |name, value: u64, explanation| Total { name, value: value as f64, unit: "", explanation };
    let lost = LossCause::ALL.map(|cause| (cause.as_str(), totals.lost(cause)));
    let made = DuplicationCause::ALL.map(|cause| (cause.as_str(), totals.duplicated(cause)));
    let (lost_how, made_how) = (by_cause(&lost), by_cause(&made));
    let sums = [
        total(
            "messages alive",
            totals.alive,
            "Different messages of which some tower holds a copy.",
        ),
        total("hops", totals.hops, "How often a tower took a message."),
        total("messages lost", lost.iter().map(|(_, count)| count).sum(), &lost_how),
        total("copies made", made.iter().map(|(_, count)| count).sum(), &made_how),
        total("coalesced", totals.coalesced, "Copies that met another copy and became one."),
    ];
    let measures: Vec<_> = outcome
        .measures
        .iter()
        .map(|measured| Measure {
            name: measured.name,
            predicted: measured.predicted,
            measured: measured.measured,
            unit: measured.unit,
            sigma: measured
                .sigma
                .zip(measured.predicted)
                .map(|(sigma, predicted)| (measured.measured - predicted).abs() / sigma),
            verdict: match (measured.predicted, measured.holds) {
                (None, true) => Verdict::Noted,
                (_, true) => Verdict::Held,
                (_, false) => Verdict::Violated,
            },
        })
        .collect();
    let wire = outcome.measures.iter().find(|measured| measured.unit == "messages");
    let predictions: Vec<_> = wire
        .and_then(|measured| measured.predicted)
        .map(|value| Prediction {
            column: Column::OnTheWire,
            value,
            label: "towers × rate × used share × latency",
        })
        .into_iter()
        .collect();
    let violations: Vec<_> = outcome
        .violations
        .iter()
        .map(|found| Violation {
            check: found.checker.as_str(),
            at: Some(found.at),
            tower: found.tower,
            what: &found.text,
        })
        .collect();
    let hash = outcome.hash.to_string();
    page(&ReportInput {
        title: &outcome.scenario.name,
        about: &outcome.scenario.about,
        seed: outcome.scenario.seed,
        hash: &hash,
        towers: outcome.scenario.towers,
        simulated: outcome.simulated,
        wall,
        events: outcome.events,
        replay,
        series: &outcome.series,
        flights: outcome.flights.as_ref(),
        predictions: &predictions,
        totals: &sums,
        faults: &faults(outcome),
        measures: &measures,
        violations: &violations,
        violated: outcome.violated,
        is_over: outcome.is_over,
    })
}
