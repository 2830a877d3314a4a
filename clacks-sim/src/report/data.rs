//! What the page's plots and map are drawn from, as JSON.

use std::time::Duration;

use clacks_proto::Instant;
use serde_json::{Map, Value, json};

use super::ReportInput;
use crate::metrics::{Column, Flights, Kept, Sample, Series, Span, State};
use crate::observation::Fault;

/// The data of a page, safe inside a `script` element: no `<` is left that could end it.
pub(crate) fn json(input: &ReportInput<'_>) -> String {
    let series = input.series;
    let samples = series.samples();
    let end = samples.last().map_or(Duration::ZERO, |sample| since_start(sample.at));
    let mut columns = Map::new();
    for column in Column::ALL {
        let values = rates(samples, column).into_iter().map(number);
        let about = json!({
            "name": column.name(),
            "unit": column.unit(),
            "about": column.about(),
            "counts": column.kept() == Kept::Sum,
            "total": series.total(column),
            "values": values.collect::<Vec<_>>(),
        });
        columns.insert(column.key().to_owned(), about);
    }
    let predictions = input.predictions.iter().map(|prediction| {
        json!({
            "column": prediction.column.key(),
            "value": number(Some(prediction.value)),
            "label": prediction.label,
        })
    });
    let data = json!({
        "towers": input.towers,
        "end": seconds(input.simulated.max(end)),
        "time": samples.iter().map(|sample| moment(sample.at)).collect::<Vec<_>>(),
        "interval": samples.iter().map(|sample| seconds(sample.interval)).collect::<Vec<_>>(),
        "columns": columns,
        "faults": faults(series),
        "spans": spans(series),
        "marks": series.marks().iter().map(|mark| {
            json!([moment(mark.at), mark.fault.as_str(), mark.tower.map(|tower| tower.0)])
        }).collect::<Vec<_>>(),
        "predictions": predictions.collect::<Vec<_>>(),
        "flights": input.flights.map(flights),
    });
    // Only inside strings can these stand, where their escapes mean the same.
    data.to_string().replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

/// The values of a column, counts per second.
///
/// What happened in an interval without length has no rate: a sample at the start of the run ends one, and there whole networks come up.
/// It is counted in the interval after it.
fn rates(samples: &[Sample], column: Column) -> Vec<Option<f64>> {
    let mut carried = 0.0;
    let rate = |sample: &Sample| {
        let seconds = sample.interval.as_secs_f64();
        if column.kept() == Kept::Sum && seconds == 0.0 {
            carried += sample.value(column).unwrap_or(0.0);
            return None;
        }
        let late = if carried > 0.0 { std::mem::take(&mut carried) / seconds } else { 0.0 };
        sample.rate(column).map(|rate| rate + late)
    };
    samples.iter().map(rate).collect()
}

/// Each fault that happened, with the rows in which it did.
fn faults(series: &Series) -> Vec<Value> {
    let happened = Fault::ALL.into_iter().filter(|fault| series.total_faults(*fault) > 0);
    let rows = |fault| {
        let counts = series.samples().iter().map(move |sample| sample.faults(fault)).enumerate();
        counts.filter(|(_, count)| *count > 0).map(|row| json!(row)).collect::<Vec<_>>()
    };
    happened
        .map(|fault| {
            let total = series.total_faults(fault);
            json!({"name": fault.as_str(), "total": total, "rows": rows(fault)})
        })
        .collect()
}

fn spans(series: &Series) -> Vec<Value> {
    let span = |kind: &str, span: &Span| json!({"kind": kind, "from": moment(span.from), "until": span.until.map(moment)});
    let parted = series.partitions().iter().map(|parted| span("parted", parted));
    let calm = series.calm_from().map(|from| span("calm", &Span { from, until: None }));
    parted.chain(calm).collect()
}

/// Columns instead of rows: names that repeat 50 000 times weigh more than what they name.
fn flights(flights: &Flights) -> Value {
    let list = flights.flights();
    let turns = flights.turns();
    let state = |state| match state {
        State::Running => "running",
        State::Paused => "paused",
        State::Leaving => "leaving",
        State::Down => "down",
    };
    let took = list.iter().map(|flight| flight.arrives.duration_since(flight.departs));
    let broke = list.iter().enumerate().filter_map(|(place, flight)| {
        Some(json!([place, seconds(flight.broke?.duration_since(flight.departs))]))
    });
    let partings = flights.partings().iter().map(|parting| {
        json!({
            "from": moment(parting.from),
            "until": parting.until.map(moment),
            "inside": parting.inside.iter().map(|tower| tower.0).collect::<Vec<_>>(),
        })
    });
    json!({
        "towers": flights.towers(),
        "oneOf": flights.one_of(),
        "seen": flights.seen(),
        "from": list.iter().map(|flight| flight.from.0).collect::<Vec<_>>(),
        "to": list.iter().map(|flight| flight.to.0).collect::<Vec<_>>(),
        "message": list.iter().map(|flight| flight.message.map(|m| m.0)).collect::<Vec<_>>(),
        "departs": list.iter().map(|flight| moment(flight.departs)).collect::<Vec<_>>(),
        "took": took.map(seconds).collect::<Vec<_>>(),
        "broke": broke.collect::<Vec<_>>(),
        "turns": turns.iter().map(|turn| {
            json!([moment(turn.at), turn.tower.0, state(turn.state)])
        }).collect::<Vec<_>>(),
        "turnsLeftOut": flights.turns_left_out(),
        "partings": partings.collect::<Vec<_>>(),
    })
}

fn since_start(at: Instant) -> Duration {
    at.duration_since(Instant::ORIGIN)
}

fn moment(at: Instant) -> Value {
    seconds(since_start(at))
}

/// To the microsecond: nobody sees more.
fn seconds(duration: Duration) -> Value {
    let seconds = (duration.as_secs_f64() * 1e6).round() / 1e6;
    whole(seconds).unwrap_or_else(|| json!(seconds))
}

/// With five digits, which is more than a plot has pixels; whole numbers in full.
fn number(value: Option<f64>) -> Value {
    let Some(value) = value.filter(|value| value.is_finite()) else { return Value::Null };
    let short = || format!("{value:.4e}").parse::<f64>().map_or(Value::Null, |short| json!(short));
    whole(value).unwrap_or_else(short)
}

/// Without the `.0` that would make half of a page's numbers.
#[allow(clippy::cast_possible_truncation, reason = "it is a whole number within bounds")]
fn whole(value: f64) -> Option<Value> {
    (value.fract() == 0.0 && value.abs() < 1e15).then(|| json!(value as i64))
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts are small")]
mod tests {
    use super::*;
    use crate::report::example::Example;

    #[test]
    fn it_holds_what_was_recorded() {
        let example = Example::small();
        let data: Value = serde_json::from_str(&json(&example.input())).unwrap();
        let samples = example.series.samples();
        for column in Column::ALL {
            let values = data["columns"][column.key()]["values"].as_array().unwrap();
            assert_eq!(values.len(), samples.len());
            for (value, expected) in values.iter().zip(rates(samples, column)) {
                let close = |(a, b): (f64, f64)| (a - b).abs() <= 1e-4 * b.abs();
                assert_eq!(value.as_f64().is_some(), expected.is_some(), "{column:?}");
                assert!(value.as_f64().zip(expected).is_none_or(close), "{column:?}");
            }
        }
        let flights = example.flights.as_ref().unwrap();
        for list in ["from", "to", "message", "departs", "took"] {
            let list = data["flights"][list].as_array().unwrap();
            assert_eq!(list.len(), flights.flights().len());
        }
        let broke = data["flights"]["broke"].as_array().unwrap();
        let all = flights.flights().iter().enumerate();
        let broken: Vec<_> = all.filter(|(_, flight)| flight.broke.is_some()).collect();
        assert_eq!(broke.len(), broken.len());
        for (shown, (place, flight)) in broke.iter().zip(broken) {
            let after = flight.broke.unwrap().duration_since(flight.departs);
            assert_eq!(*shown, json!([place, seconds(after)]));
            assert!(after <= flight.arrives.duration_since(flight.departs));
        }
        assert!(!broke.is_empty());
        assert_eq!(data["marks"].as_array().unwrap().len(), example.series.marks().len());
        assert_eq!(data["spans"][0]["kind"], "parted");
        let parting = &flights.partings()[0];
        let inside = data["flights"]["partings"][0]["inside"].as_array().unwrap();
        assert_eq!(inside.len(), parting.inside.len());
    }

    #[test]
    fn what_happens_at_the_very_start_is_not_left_out() {
        let example = Example::small();
        let samples = example.series.samples();
        assert_eq!(samples[0].interval, Duration::ZERO);
        for column in Column::ALL.into_iter().filter(|column| column.kept() == Kept::Sum) {
            let shown = rates(samples, column).into_iter().zip(samples);
            let counts = shown.map(|(rate, s)| rate.unwrap_or(0.0) * s.interval.as_secs_f64());
            assert_eq!(counts.sum::<f64>().round() as u64, example.series.total(column));
        }
        assert_eq!(rates(samples, Column::Enqueued)[..2], [None, Some(120.0)]);
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(number(Some(2.0 / 3.0)).to_string(), "0.66667");
        assert_eq!(number(Some(123_456_789.0)).to_string(), "123456789");
        assert_eq!(number(Some(f64::INFINITY)), Value::Null);
        assert_eq!(seconds(Duration::from_nanos(1_500_000_499)).to_string(), "1.5");
        assert_eq!(seconds(Duration::from_secs(90)).to_string(), "90");
    }
}
