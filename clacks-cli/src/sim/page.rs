//! The report of a run, and its tables.

use std::io;
use std::path::Path;
use std::time::Duration;

use clacks_sim::record::Column;
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

/// The page.
pub(super) fn html(outcome: &Outcome, wall: Duration, replay: &str) -> String {
    let totals = &outcome.totals;
    let total =
        |name, value: u64, explanation| Total { name, value: value as f64, unit: "", explanation };
    let lost = LossCause::ALL.iter().map(|cause| totals.lost(*cause)).sum();
    let duplicated = DuplicationCause::ALL.iter().map(|cause| totals.duplicated(*cause)).sum();
    let sums = [
        total(
            "messages alive",
            totals.alive,
            "Different messages of which some tower holds a copy.",
        ),
        total("hops", totals.hops, "How often a tower took a message."),
        total("messages lost", lost, "Each with the last tower that held it."),
        total("copies made", duplicated, "Because a confirmation was lost on its way."),
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
    })
}
