use serde::{Deserialize, Serialize};

use super::*;
use crate::rng::{Purpose, Randomness};

const DRAWS: usize = 100_000;

fn draws() -> Draws {
    Randomness::new(1).draws(Purpose::Latency, 1)
}

fn milliseconds(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn drawn(distribution: &Distribution) -> Vec<f64> {
    let mut draws = draws();
    let mut all: Vec<_> =
        (0..DRAWS).map(|_| distribution.sample(&mut draws).as_secs_f64()).collect();
    all.sort_by(f64::total_cmp);
    all
}

/// Kolmogorov and Smirnov: the farthest that draws (in seconds) are from their law's cumulative distribution, against the bound for p = 0.001.
fn assert_follows(distribution: &Distribution, law: impl Fn(f64) -> f64) {
    let all = drawn(distribution);
    let steps = all.iter().enumerate().map(|(rank, seconds)| {
        let expected = law(*seconds);
        let below = expected - rank as f64 / DRAWS as f64;
        let above = (rank + 1) as f64 / DRAWS as f64 - expected;
        below.max(above)
    });
    let farthest = steps.fold(0.0, f64::max);
    let bound = 1.95 / (DRAWS as f64).sqrt();
    assert!(farthest < bound, "{distribution:?}: {farthest}, bound {bound}");
}

/// The mean of draws against the closed form, in standard errors.
fn assert_mean(distribution: &Distribution, deviation: f64) {
    let mean = drawn(distribution).iter().sum::<f64>() / DRAWS as f64;
    let off = (mean - distribution.mean().as_secs_f64()).abs();
    assert!(off < 3.3 * deviation / (DRAWS as f64).sqrt(), "{distribution:?}: off by {off}");
}

#[test]
fn a_constant_is_always_the_same_and_draws_nothing() {
    let mut draws = draws();
    let constant = Distribution::Constant(milliseconds(50));
    assert_eq!(constant.sample(&mut draws), milliseconds(50));
    assert_eq!((constant.mean(), draws.counter()), (milliseconds(50), 0));
}

#[test]
fn uniform_draws_follow_their_law() {
    let uniform = Distribution::Uniform { from: milliseconds(10), to: milliseconds(90) };
    assert_follows(&uniform, |seconds| (seconds - 0.010) / 0.080);
    assert_mean(&uniform, 0.080 / 12f64.sqrt());
    assert_eq!(uniform.mean(), milliseconds(50));
    let narrow =
        Distribution::Uniform { from: Duration::from_nanos(3), to: Duration::from_nanos(4) };
    let seen = drawn(&narrow);
    assert_eq!((seen[0], seen[DRAWS - 1]), (3e-9, 4e-9), "both ends are possible");
}

#[test]
fn exponential_draws_follow_their_law() {
    let exponential = Distribution::Exponential { mean: milliseconds(50) };
    assert_follows(&exponential, |seconds| 1.0 - (-seconds / 0.050).exp());
    assert_mean(&exponential, 0.050);
}

#[test]
fn log_normal_draws_follow_their_law() {
    let log_normal = Distribution::LogNormal { median: milliseconds(40), sigma: 0.5 };
    let normal = |x: f64| 0.5 * libm::erfc(-x / 2f64.sqrt());
    assert_follows(&log_normal, |seconds| normal((seconds / 0.040).ln() / 0.5));
    let deviation = 0.040 * (0.25f64.exp() * (0.25f64.exp() - 1.0)).sqrt();
    assert_mean(&log_normal, deviation);
    let constant = Distribution::LogNormal { median: milliseconds(40), sigma: 0.0 };
    assert_eq!(constant.sample(&mut draws()), milliseconds(40));
}

#[test]
fn samples_are_equally_likely() {
    let samples = Distribution::Samples(Samples::from_csv("ms\n3\n1\n2\n1").unwrap());
    let seen = drawn(&samples);
    let share = |value: f64| seen.iter().filter(|n| **n == value).count() as f64 / DRAWS as f64;
    for (value, expected) in [(0.001, 0.5), (0.002, 0.25), (0.003, 0.25)] {
        let off = (share(value) - expected).abs();
        assert!(off < 3.3 * 0.5 / (DRAWS as f64).sqrt(), "{value}: off by {off}");
    }
    assert_eq!(samples.mean(), Duration::from_micros(1_750));
}

#[test]
fn draws_never_change() {
    let laws = [
        Distribution::Uniform { from: milliseconds(10), to: milliseconds(90) },
        Distribution::Exponential { mean: milliseconds(50) },
        Distribution::LogNormal { median: milliseconds(40), sigma: 0.5 },
    ];
    let nanos = laws.map(|law| law.sample(&mut draws()).as_nanos());
    assert_eq!(nanos, [77_960_390, 94_691_230, 63_606_231]);
}

#[test]
fn a_draw_of_a_law_takes_the_same_words_whatever_its_parameters() {
    let counted = |distribution: Distribution| {
        let mut draws = draws();
        for _ in 0..1_000 {
            distribution.sample(&mut draws);
        }
        draws.counter()
    };
    assert_eq!(counted(Distribution::Uniform { from: Duration::ZERO, to: milliseconds(9) }), 1_000);
    assert_eq!(counted(Distribution::Exponential { mean: Duration::ZERO }), 1_000);
    assert_eq!(counted(Distribution::LogNormal { median: Duration::ZERO, sigma: 0.0 }), 2_000);
    assert_eq!(counted(Distribution::LogNormal { median: LONGEST, sigma: 3.0 }), 2_000);
}

#[test]
fn no_draw_is_longer_than_a_day() {
    let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300, -1e300];
    let laws =
        odd.map(|sigma| Distribution::LogNormal { median: LONGEST, sigma }).into_iter().chain([
            Distribution::Constant(Duration::MAX),
            Distribution::Exponential { mean: Duration::MAX },
            Distribution::Uniform { from: Duration::MAX, to: Duration::ZERO },
            Distribution::Uniform { from: Duration::ZERO, to: Duration::MAX },
        ]);
    for law in laws {
        let mut draws = draws();
        let longest = (0..1_000).map(|_| law.sample(&mut draws)).max().unwrap();
        assert!(longest <= LONGEST, "{law:?}");
        let _ = law.mean();
    }
    let unloaded = Distribution::Samples(Samples::at("x.csv"));
    assert_eq!((unloaded.sample(&mut draws()), unloaded.mean()), (Duration::ZERO, Duration::ZERO));
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    latency: Distribution,
}

fn read(text: &str) -> Result<Distribution, String> {
    let page: Result<Page, _> = toml::from_str(&format!("latency = {text}"));
    page.map(|page| page.latency).map_err(|error| error.message().to_owned())
}

#[test]
fn distributions_are_written_as_people_would() {
    let all = [
        ("\"50ms\"", Distribution::Constant(milliseconds(50))),
        (
            "{ uniform = [\"10ms\", \"90ms\"] }",
            Distribution::Uniform { from: milliseconds(10), to: milliseconds(90) },
        ),
        ("{ exponential = \"50ms\" }", Distribution::Exponential { mean: milliseconds(50) }),
        (
            "{ log-normal = { median = \"40ms\", sigma = 0.5 } }",
            Distribution::LogNormal { median: milliseconds(40), sigma: 0.5 },
        ),
        ("{ samples = \"measured.csv\" }", Distribution::Samples(Samples::at("measured.csv"))),
    ];
    for (text, distribution) in all {
        assert_eq!(read(text).as_ref(), Ok(&distribution), "{text}");
        let page = Page { latency: distribution };
        let written = toml::to_string(&page).unwrap();
        assert_eq!(toml::from_str::<Page>(&written).unwrap(), page, "{written}");
    }
}

#[test]
fn a_bad_distribution_is_refused_with_a_sentence() {
    let form = "expected a duration in quotes such as \"50ms\", or a table with one of the keys \
                `uniform`, `exponential`, `log-normal` and `samples`";
    for (text, sentence) in [
        ("50", format!("invalid type: integer `50`, {form}")),
        ("{}", format!("invalid length 0, {form}")),
        ("{ exponential = \"1s\", samples = \"x\" }", format!("invalid length 2, {form}")),
        (
            "{ normal = \"1s\" }",
            "unknown variant `normal`, expected one of `uniform`, `exponential`, `log-normal`, `samples`"
                .to_owned(),
        ),
        (
            "{ uniform = [\"90ms\", \"10ms\"] }",
            "a uniform range goes from the shorter to the longer duration, not from 90ms to 10ms"
                .to_owned(),
        ),
        ("\"25h\"", "a duration lies between 0s and 1day, not 1day 1h".to_owned()),
        ("{ exponential = \"2days\" }", "a duration lies between 0s and 1day, not 2days".to_owned()),
        (
            "{ log-normal = { median = \"1s\", sigma = -0.5 } }",
            "the sigma of a log-normal law lies between 0 and 3, not -0.5".to_owned(),
        ),
        (
            "{ log-normal = { median = \"1s\", sigma = nan } }",
            "the sigma of a log-normal law lies between 0 and 3, not NaN".to_owned(),
        ),
        (
            "{ log-normal = { median = \"1s\", sigma = 0.5, mean = \"1s\" } }",
            "unknown field `mean`, expected `median` or `sigma`".to_owned(),
        ),
    ] {
        assert_eq!(read(text), Err(sentence), "{text}");
    }
    let soon = read("\"soon\"").unwrap_err();
    assert!(soon.starts_with("`soon` is no duration such as `50ms` or `1h 30m`"), "{soon}");
    for ends in ["[\"1s\"]", "[\"1s\", \"2s\", \"3s\"]"] {
        let error = read(&format!("{{ uniform = {ends} }}")).unwrap_err();
        assert_eq!(error, "`uniform` has two durations, the shortest and the longest");
    }
}

#[test]
fn a_distribution_made_by_hand_is_checked_too() {
    let long = Distribution::Exponential { mean: Duration::from_secs(86_401) };
    assert_eq!(long.check(), Err(DistributionError::TooLong(Duration::from_secs(86_401))));
    assert_eq!(Distribution::Exponential { mean: LONGEST }.check(), Ok(()));
}

#[test]
fn samples_are_loaded_from_beside_the_scenario() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("good.csv"), "ms\n1\n2\n").unwrap();
    std::fs::write(folder.path().join("bad.csv"), "ms\n1\nx\n").unwrap();

    let mut good = Distribution::Samples(Samples::at("good.csv"));
    assert_eq!(good.check(), Err(DistributionError::NotLoaded));
    good.load(folder.path()).unwrap();
    assert_eq!((good.check(), good.mean()), (Ok(()), Duration::from_micros(1_500)));

    for (name, reason) in [("bad.csv", "line 3: `x` is no duration"), ("no.csv", "can't be read")] {
        let mut distribution = Distribution::Samples(Samples::at(name));
        let error = distribution.load(folder.path()).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains(reason), "{error}");
        assert_eq!(distribution.check(), Err(DistributionError::NotLoaded), "as it was");
    }
}
