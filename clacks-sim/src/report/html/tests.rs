use std::time::Duration;

use super::*;
use crate::metrics::{Column, Flights, Series};
use crate::report::example::Example;
use crate::report::{FaultCount, Prediction, Total, Violation};

/// Breaks out of an element, of an attribute and of a script, if anything lets it.
const EVIL: &str = "</script><script>alert(1)</script>\"'><img src=x onerror=alert(2)>&amp;<!--";

fn data_of(page: &str) -> serde_json::Value {
    let start = "<script type=\"application/json\" id=\"data\">";
    let (_, rest) = page.split_once(start).unwrap();
    let (data, _) = rest.split_once("</script>").unwrap();
    serde_json::from_str(data).unwrap()
}

#[test]
fn names_from_files_cannot_leave_their_place() {
    let example = Example::small();
    let violations = [Violation { check: EVIL, at: None, tower: None, what: EVIL }];
    let totals = [Total { name: EVIL, value: 1.0, unit: EVIL, explanation: EVIL }];
    let mut measures = example.measures.clone();
    measures[0].name = EVIL;
    measures[0].unit = EVIL;
    let predictions = [Prediction { column: Column::Copies, value: 1.0, label: EVIL }];
    let tame = html(&example.input());
    let input = ReportInput {
        title: EVIL,
        about: EVIL,
        hash: EVIL,
        replay: EVIL,
        totals: &totals,
        measures: &measures,
        violations: &violations,
        predictions: &predictions,
        ..example.input()
    };
    let page = html(&input);
    assert!(!page.contains("<script>alert") && !page.contains("<img") && !page.contains("<!--"));
    let ends = |page: &str| page.matches("</script").count();
    assert_eq!(ends(&page), ends(&tame));
    assert_eq!(data_of(&page)["predictions"][0]["label"], EVIL);
    assert!(page.contains("&lt;/script&gt;&lt;script&gt;alert(1)"));
}

#[test]
fn the_page_needs_nothing_from_anywhere() {
    let page = html(&Example::small().input());
    let lower = page.to_lowercase();
    for reference in ["src=", "url(", "@import", "<link", "<iframe", "fetch(", "xmlhttprequest"] {
        assert!(!lower.contains(reference), "{reference}");
    }
    // SVG's name is no address that anything is loaded from.
    let addresses = lower.replace("http://www.w3.org/2000/svg", "");
    assert!(!addresses.contains("http:") && !addresses.contains("https:"));
    assert!(!addresses.contains("href=\"//"));
    assert!(page.contains("default-src 'none'"));
}

#[test]
fn the_page_holds_the_run() {
    let example = Example::small();
    let page = html(&example.input());
    let data = data_of(&page);
    assert_eq!(data["time"].as_array().unwrap().len(), example.series.samples().len());
    assert_eq!(data["end"], 600);
    for text in ["two-continents", "9f2c47d01be3a866", "--seed 42", "message 17 was in no place"] {
        assert!(page.contains(text), "{text}");
    }
    assert!(page.contains("312.400\u{202f}s") && page.contains("2 violations"));
    assert!(
        page.contains("<td>clock step</td><td class=\"number\">2</td><td class=\"number\">never")
    );
}

#[test]
fn the_verdict_is_good_only_when_nothing_is_wrong() {
    let example = Example::crowded();
    let good = ReportInput { measures: &example.measures[..1], ..example.input() };
    assert!(html(&good).contains("verdict held"));
    let missed = ReportInput { measures: &example.measures, ..example.input() };
    assert!(html(&missed).contains("verdict violated"));
    let violation = Violation { check: "a", at: None, tower: None, what: "b" };
    let many = vec![violation; MAX_VIOLATIONS + 2];
    let violated = many.len() as u64;
    let page = html(&ReportInput { violations: &many, violated, ..good });
    assert!(page.contains("verdict violated") && !page.contains("verdict held"));
    assert!(page.contains("2 more are not listed"));
}

#[test]
fn an_empty_run_has_a_page() {
    let series = Series::new(2, None);
    let flights = Flights::new(0, 2);
    let input = ReportInput {
        title: "",
        about: "",
        seed: 0,
        hash: "",
        towers: 0,
        simulated: Duration::ZERO,
        wall: Duration::ZERO,
        events: 0,
        replay: "",
        series: &series,
        flights: flights.as_ref(),
        predictions: &[],
        totals: &[],
        faults: &[],
        measures: &[],
        violations: &[],
        violated: 0,
        is_over: true,
    };
    let page = html(&input);
    assert!(page.contains("All checks held."));
    let stopped = html(&ReportInput { is_over: false, ..input });
    assert!(stopped.contains("All checks held so far;"));
    let violated = html(&ReportInput { violated: 40, ..input });
    assert!(violated.contains("40 violations"), "all are counted, however many are told");
    assert_eq!(data_of(&page)["time"], serde_json::json!([]));
}

#[test]
fn errors_are_relative_to_the_prediction() {
    let error = |predicted, measured| {
        let (name, unit, sigma, verdict) = ("", "", None, Verdict::Noted);
        relative_error(&Measure { name, predicted, measured, unit, sigma, verdict })
    };
    assert_eq!(error(Some(200.0), 210.0).as_deref(), Some("+5\u{202f}%"));
    assert_eq!(error(Some(200.0), 150.0).as_deref(), Some("-25\u{202f}%"));
    assert_eq!(error(Some(0.0), 1.0), None);
    assert_eq!(error(None, 1.0), None);
}

/// Writes pages to look at into the directory that `CLACKS_SIM_PAGES` names, if it names one.
#[test]
fn example_pages() {
    let named = std::env::var_os("CLACKS_SIM_PAGES").map(std::path::PathBuf::from);
    let temporary = tempfile::tempdir().unwrap();
    let directory = named.as_deref().unwrap_or(temporary.path());
    let brief = Example::brief();
    let faults: [FaultCount; 0] = [];
    let pages = [
        ("small", html(&Example::small().input())),
        ("crowded", html(&Example::crowded().input())),
        ("large", html(&Example::large().input())),
        ("brief", html(&ReportInput { faults: &faults, flights: None, ..brief.input() })),
        ("brief-map", html(&brief.input())),
        ("single", html(&Example::single().input())),
    ];
    for (name, page) in pages {
        std::fs::write(directory.join(name).with_extension("html"), page).unwrap();
    }
}
