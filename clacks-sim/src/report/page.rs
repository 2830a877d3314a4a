//! A run as one HTML page that loads nothing.

use clacks_proto::Instant;
use serde_json::{Map, Value, json};

use super::{Report, number, seconds, uplot};
use crate::metrics::{Aggregate, MessageTrace, Metric, Sample};
use crate::observation::Fault;

impl Report<'_> {
    /// Returns the run as one HTML page with a map, tables and plots.
    #[must_use]
    pub fn html(&self) -> String {
        // `<` occurs in strings only. The escape keeps texts of the scenario inside the element.
        let data = self.page_data().to_string().replace('<', "\\u003c");
        format!(
            include_str!("page/page.html"),
            uplot_license = uplot::LICENSE,
            uplot_style = uplot::STYLE,
            style = include_str!("page/style.css"),
            data = data,
            uplot = uplot::SCRIPT,
            common = include_str!("page/common.js"),
            map = include_str!("page/map.js"),
            tables = include_str!("page/tables.js"),
            plots = include_str!("page/plots.js"),
        )
    }

    fn page_data(&self) -> Value {
        let series = &self.outcome.series;
        let samples = series.samples();
        let mut curves = Map::new();
        let mut add = |key: String, name: &str, unit: &str, meaning: &str, values: Vec<Value>| {
            let curve = json!({"name": name, "unit": unit, "meaning": meaning, "values": values});
            curves.insert(key, curve);
        };
        for metric in Metric::ALL {
            let unit = match metric.aggregate() {
                Aggregate::Sum => format!("{}/s", metric.unit()),
                _ => metric.unit().to_owned(),
            };
            let values = samples.iter().map(|sample| number(sample.rate(*metric)));
            add(metric.key().to_owned(), metric.name(), &unit, metric.meaning(), values.collect());
        }
        let per_second = |sample: &Sample, count: u64| {
            let interval = sample.interval.as_secs_f64();
            number((interval > 0.0).then(|| super::count_as_f64(count) / interval))
        };
        for fault in Fault::ALL
            .iter()
            .filter(|fault| !fault.is_scheduled() && series.total_faults(**fault) > 0)
        {
            let values = samples.iter().map(|sample| per_second(sample, sample.faults(*fault)));
            let key = format!("fault.{}", fault.key());
            add(key, fault.as_str(), "times/s", fault.meaning(), values.collect());
        }
        for (index, role) in series.roles().iter().enumerate() {
            let counts = |sample: &Sample| sample.roles.get(index).copied().unwrap_or_default();
            let hops = samples.iter().map(|sample| per_second(sample, counts(sample).hops));
            let returned = samples.iter().map(|sample| per_second(sample, counts(sample).returned));
            let [accepted, failed] =
                ["Messages accepted from peers.", "Hand-overs that failed or were refused."];
            add(format!("role_hops.{role}"), role, "messages/s", accepted, hops.collect());
            add(format!("role_returned.{role}"), role, "messages/s", failed, returned.collect());
        }
        let partitions = series.partitions().iter();
        let marks = series.marks().iter();
        let figures = self.figures().into_iter().map(|figure| {
            json!({
                "name": figure.name,
                "value": number(figure.value),
                "unit": figure.unit,
                "meaning": figure.meaning,
                "headline": figure.is_headline,
            })
        });
        json!({
            "summary": self.to_json(),
            "figures": figures.collect::<Vec<_>>(),
            "end": seconds(self.outcome.simulated),
            "time": samples.iter().map(|sample| moment(sample.at)).collect::<Vec<_>>(),
            "curves": curves,
            "partitions": partitions
                .map(|span| json!([moment(span.from), span.until.map(moment)]))
                .collect::<Vec<_>>(),
            "faultsEnd": series.faults_end().map(moment),
            "marks": marks
                .map(|one| json!([moment(one.at), one.fault.as_str(), one.tower.map(|id| id.0)]))
                .collect::<Vec<_>>(),
            "map": self.outcome.message_trace.as_ref().map(map_data),
        })
    }
}

/// Hand-overs as columns. Names would take most of the page if each hand-over were an object.
fn map_data(trace: &MessageTrace) -> Value {
    let hand_overs = || trace.hand_overs();
    let since = |at: Instant, from: Instant| seconds(at.duration_since(from));
    json!({
        "towers": trace.towers(),
        "roles": trace.roles(),
        "count": trace.count(),
        "sampledEvery": trace.sampled_every(),
        "closeUps": trace.close_ups().into_iter()
            .map(|(from, until)| json!([moment(from), until.map(moment)]))
            .collect::<Vec<_>>(),
        "leftOut": trace.left_out(),
        "message": hand_overs().map(|one| one.message.0).collect::<Vec<_>>(),
        "from": hand_overs().map(|one| one.from.0).collect::<Vec<_>>(),
        "to": hand_overs().map(|one| one.to.0).collect::<Vec<_>>(),
        "departs": hand_overs().map(|one| moment(one.departs)).collect::<Vec<_>>(),
        "took": hand_overs().map(|one| since(one.arrives, one.departs)).collect::<Vec<_>>(),
        "accepted": hand_overs()
            .map(|one| one.accepted.map(|at| since(at, one.departs)))
            .collect::<Vec<_>>(),
        "ended": hand_overs()
            .map(|one| one.end.map(|(at, _)| since(at, one.departs)))
            .collect::<Vec<_>>(),
        "end": hand_overs().map(|one| one.end.map(|(_, end)| end as u8)).collect::<Vec<_>>(),
        "held": trace.held_changes().iter()
            .map(|one| json!([moment(one.at), one.tower.0, one.message.0, one.kind.as_str()]))
            .collect::<Vec<_>>(),
        "states": trace.state_changes().iter()
            .map(|change| json!([moment(change.at), change.tower.0, change.state.as_str()]))
            .collect::<Vec<_>>(),
        "partitions": trace.partitions().iter().map(|partition| json!({
            "from": moment(partition.from),
            "until": partition.until.map(moment),
            "inside": partition.inside.iter().map(|tower| tower.0).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
        "samples": trace.tower_samples().iter()
            .map(|sample| json!([moment(sample.at), sample.towers]))
            .collect::<Vec<_>>(),
    })
}

fn moment(at: Instant) -> Value {
    seconds(at.duration_since(Instant::ORIGIN))
}
