use std::collections::BTreeSet;

use super::*;
use crate::metrics::MessageTrace;
use crate::scenario::{Compared, Measure, Target};
use crate::{Options, Scenario, Simulation};

/// Ends an element, an attribute and a script wherever it is not escaped.
const HOSTILE: &str = "</script><script>alert(1)</script>\"'><img src=x onerror=alert(2)>&amp;<!--";

/// Runs five towers of which one crashes.
fn outcome() -> Outcome {
    let mut scenario = Scenario::new("a few", 5, Duration::from_secs(2 * 60 * 60))
        .messages(|messages| (messages.count, messages.size) = (20, 200));
    scenario.about = HOSTILE.to_owned();
    let options = Options { message_trace: true, ..Options::default() };
    let mut simulation = Simulation::new(&scenario, ".".as_ref(), options).unwrap();
    while !simulation.advance(10_000).is_over {}
    simulation.finish()
}

fn report(outcome: &Outcome) -> Report<'_> {
    Report { outcome, wall: Duration::from_secs(3), stopped_by: None, replay: "clacks sim a-few" }
}

fn data_of(page: &str) -> Value {
    let (_, rest) = page.split_once("<script type=\"application/json\" id=\"data\">").unwrap();
    serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap()
}

#[test]
fn json_csv_and_page_show_the_same_figures() {
    let outcome = outcome();
    let report = report(&outcome);
    let folder = tempfile::tempdir().unwrap();
    let files = report.write_csv(folder.path()).unwrap();
    let names: Vec<_> = files.iter().map(|file| file.file_name().unwrap()).collect();
    assert_eq!(names, Report::CSV_FILES);
    let (json, page) = (report.to_json(), data_of(&report.html()));
    assert_eq!(page["summary"], json);
    let mut table = ::csv::Reader::from_path(&files[1]).unwrap();
    let rows: Vec<_> = table.records().map(Result::unwrap).collect();
    let figures = report.figures();
    assert_eq!(
        (rows.len(), json["figures"].as_object().unwrap().len()),
        (figures.len(), rows.len())
    );
    for (row, figure) in rows.iter().zip(&figures) {
        assert_eq!((&row[0], row[2].parse().ok()), (figure.key.as_str(), figure.value));
        assert_eq!(json["figures"][&figure.key], number(figure.value), "{}", figure.key);
    }
    let names: BTreeSet<_> = figures.iter().map(|figure| &figure.name).collect();
    assert_eq!(names.len(), figures.len(), "each figure has a name of its own");
    let hops = figures.iter().find(|figure| figure.key == "hops").unwrap();
    assert_eq!(hops.value, Some(count_as_f64(outcome.totals.hops)));
}

#[test]
fn a_target_has_the_same_numbers_in_json_and_csv() {
    let hops = Measure::Rate {
        metric: Metric::Hops,
        from: Duration::from_secs(60),
        until: Duration::from_secs(600),
    };
    let scenario = Scenario::new("a few", 5, Duration::from_secs(600))
        .contacts(|contacts| contacts.shape = crate::scenario::Shape::Full)
        .messages(|messages| messages.count = 20)
        .target(Target::new("hops", hops).prediction(Compared::Ratio).at_most(2.0));
    let mut simulation = Simulation::new(&scenario, ".".as_ref(), Options::default()).unwrap();
    while !simulation.advance(10_000).is_over {}
    let outcome = simulation.finish();
    let report = report(&outcome);
    let folder = tempfile::tempdir().unwrap();
    report.write_csv(folder.path()).unwrap();
    let mut table = ::csv::Reader::from_path(folder.path().join("targets.csv")).unwrap();
    let heads = table.headers().unwrap().clone();
    let row = table.records().next().unwrap().unwrap();
    let json = &report.to_json()["targets"][0];
    for (head, cell) in heads.iter().zip(&row) {
        match head {
            "target" => assert_eq!(json["name"], cell),
            "bounds" => assert_eq!(json["bounds"], cell),
            "result" => assert_eq!((cell, &json["met"]), ("met", &json!(true))),
            "calm" => assert_eq!((cell, &json["calm"]), ("", &Value::Null)),
            _ => assert_eq!(json[head], number(cell.parse().ok()), "{head}"),
        }
    }
    assert!(json["predicted"].as_f64().unwrap() > 0.0);
}

#[test]
fn the_series_in_csv_has_a_column_with_a_unit_for_each_metric_and_fault() {
    let outcome = outcome();
    let folder = tempfile::tempdir().unwrap();
    let files = report(&outcome).write_csv(folder.path()).unwrap();
    let mut table = ::csv::Reader::from_path(&files[0]).unwrap();
    let heads = table.headers().unwrap().clone();
    assert!(heads.iter().all(|head| head.ends_with(']') && head.contains(" [")), "{heads:?}");
    assert_eq!(heads.len(), 2 + Metric::ALL.len() + crate::Fault::ALL.len());
    let column = heads.iter().position(|head| head == "hops [messages]").unwrap();
    let hops = table.records().map(|row| row.unwrap()[column].parse::<u64>().unwrap());
    assert_eq!(hops.sum::<u64>(), outcome.totals.hops);
}

#[test]
fn texts_of_a_scenario_stay_inside_the_data_of_the_page() {
    let outcome = outcome();
    let page = report(&outcome).html();
    assert!(!page.contains("<script>alert") && !page.contains("<img") && !page.contains("<!--\""));
    assert_eq!(data_of(&page)["summary"]["about"], HOSTILE);
}

#[test]
fn the_page_loads_nothing_and_has_the_licence_of_the_plot_library() {
    let outcome = outcome();
    let page = report(&outcome).html();
    for reference in ["src=", "url(", "@import", "<link", "<iframe", "fetch(", "XMLHttpRequest"] {
        let texts = page.replace(HOSTILE, "").replace(&HOSTILE.replace('<', "\\u003c"), "");
        let texts = texts.replace("\\u003cimg src=x", "");
        assert!(!texts.contains(reference), "{reference}");
    }
    assert!(page.contains("default-src 'none'") && page.contains("The MIT License (MIT)"));
}

#[test]
fn the_path_of_a_message_is_in_the_page_from_its_enqueue_to_its_last_holder() {
    let outcome = outcome();
    let map = &data_of(&report(&outcome).html())["map"];
    let list = |name: &str| map[name].as_array().unwrap().clone();
    let enqueued = list("held").into_iter().find(|one| one[2] == 0).unwrap();
    assert_eq!(enqueued[3], "enqueued");
    let mut holder = enqueued[1].clone();
    let mut hops = 0;
    for (index, message) in list("message").iter().enumerate() {
        let at = |name: &str| map[name][index].clone();
        if *message == 0 && at("accepted") != Value::Null {
            assert_eq!(at("from"), holder, "hand-over {index}");
            holder = at("to");
            hops += 1;
        }
    }
    assert!(hops > 10, "{hops}");
}

#[test]
fn the_verdict_counts_checks_and_violations() {
    let mut outcome = outcome();
    let checks = outcome.checks.len();
    assert_eq!(report(&outcome).verdict(), format!("passed: {checks} checks, 0 violations"));
    outcome.is_over = false;
    assert!(report(&outcome).verdict().ends_with("so the checks of the end did not run"));
    outcome.is_over = true;
    outcome.violated = 1;
    assert_eq!(report(&outcome).verdict(), format!("failed: {checks} checks, 1 violation"));
}

#[test]
fn a_run_without_samples_and_a_network_without_a_map_have_pages() {
    let mut outcome = outcome();
    outcome.message_trace = MessageTrace::new(MessageTrace::MAX_TOWERS + 1, 10);
    outcome.series = crate::metrics::Series::new(2, None);
    let data = data_of(&report(&outcome).html());
    assert_eq!((&data["map"], &data["time"]), (&Value::Null, &json!([])));
}

#[test]
fn numbers_in_json_are_short() {
    assert_eq!(number(Some(2.0 / 3.0)).to_string(), "0.66667");
    assert_eq!(number(Some(123_456_789.0)).to_string(), "123456789");
    assert_eq!(number(Some(f64::INFINITY)), Value::Null);
    assert_eq!(seconds(Duration::from_nanos(1_500_000_499)).to_string(), "1.5");
    assert_eq!(seconds(Duration::from_secs(90)).to_string(), "90");
}
