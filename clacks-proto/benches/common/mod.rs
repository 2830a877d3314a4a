//! Comparisons of several operations, measured in turns.
//!
//! Absolute times mean little on a machine with other load. All rows of a comparison are therefore
//! measured in turns of some milliseconds, and the median of the ratios within a round is printed.
//! A slow-down of the machine affects all rows of a round.
//!
//! `spread` is how far apart the rounds were: the distance between the quartiles of the ratios, or
//! of the times for a floor and for a target in nanoseconds, as a share of the median. With a
//! spread of more than [`MAX_SPREAD`] the verdict on a target is "noisy".
#![allow(dead_code, unreachable_pub, reason = "each benchmark uses only parts of this module")]

use std::env;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};

/// The approximate duration of a row's turn. It is long enough to refill the caches after the turns
/// of other rows.
const TURN: Duration = Duration::from_millis(40);

/// The largest spread with which a target is judged. The value is a guess.
const MAX_SPREAD: f64 = 0.15;

/// A comparison of rows. The first row is the floor: a lower bound of the necessary work. The
/// ratios of the other rows refer to it. A comparison of growth has one floor for each size, which
/// the rows after it refer to.
pub struct Comparison<'a> {
    name: String,
    bytes: Option<u64>,
    rows: Vec<Row<'a>>,
}

struct Row<'a> {
    name: String,
    /// Does the work the given number of times.
    work: Box<dyn FnMut(u64) + 'a>,
    /// The number of operations in each call of the work.
    each: u64,
    target: Option<Target>,
    /// Whether the ratios of the rows after it refer to it.
    is_floor: bool,
}

/// The target of a row.
#[derive(Clone, Copy)]
pub enum Target {
    /// At most this ratio to the floor.
    Times(f64),
    /// At most this many nanoseconds.
    Nanos(f64),
    /// At most this ratio to the floor, plus this many nanoseconds.
    TimesAnd(f64, f64),
    /// At least this many million operations per second.
    Millions(f64),
    /// Slower than the earlier row with this name.
    SlowerThan(&'static str),
}

impl<'a> Comparison<'a> {
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), bytes: None, rows: Vec::new() }
    }

    /// Sets the number of bytes that each operation handles.
    pub fn bytes(mut self, bytes: usize) -> Self {
        self.bytes = Some(bytes as u64);
        self
    }

    /// Adds a row with one operation in each call of `work`.
    pub fn row(&mut self, name: &str, target: Option<Target>, work: impl FnMut() + 'a) {
        self.batch(name, 1, target, work);
    }

    /// Adds another floor, for the rows after it.
    pub fn floor(&mut self, name: &str, work: impl FnMut() + 'a) {
        self.row(name, None, work);
        if let Some(row) = self.rows.last_mut() {
            row.is_floor = true;
        }
    }

    /// Adds a row with `each` operations in each call of `work`.
    pub fn batch(
        &mut self,
        name: &str,
        each: u64,
        target: Option<Target>,
        mut work: impl FnMut() + 'a,
    ) {
        let work = Box::new(move |times| (0..times).for_each(|_| work()));
        let is_floor = self.rows.is_empty();
        self.rows.push(Row { name: name.to_owned(), work, each, target, is_floor });
    }

    /// Measures all rows: first each row alone with criterion, then the ratios of all rows.
    pub fn run(mut self, criterion: &mut Criterion) {
        let options = Options::read();
        if !options.selects(&self.name) {
            return;
        }
        let mut group = criterion.benchmark_group(&self.name);
        group.sample_size(20).warm_up_time(Duration::from_millis(300));
        group.measurement_time(Duration::from_secs(1));
        for Row { name, work, each, .. } in &mut self.rows {
            match self.bytes {
                Some(bytes) => group.throughput(Throughput::Bytes(bytes * *each)),
                None => group.throughput(Throughput::Elements(*each)),
            };
            group.bench_function(name.as_str(), |bencher| {
                bencher.iter_custom(|times| timed(|| work(times)));
            });
        }
        group.finish();
        let rounds = options.rounds();
        let times: Vec<_> = self.rows.iter_mut().map(|row| row.calibrate(rounds > 1)).collect();
        let mut samples: Vec<Vec<f64>> = vec![Vec::new(); self.rows.len()];
        for round in 0..rounds {
            // The order rotates, so that a row does not always follow the same row, which may evict
            // it from the caches.
            for offset in 0..self.rows.len() {
                let index = (offset + round) % self.rows.len();
                let row = &mut self.rows[index];
                let time = timed(|| (row.work)(times[index]));
                samples[index].push(time.as_nanos() as f64 / (times[index] * row.each) as f64);
            }
        }
        self.print(&samples);
    }

    fn print(&self, samples: &[Vec<f64>]) {
        let nanos: Vec<f64> = samples.iter().map(|row| median(row.clone())).collect();
        let ratios = |own: usize, other: usize| -> Vec<f64> {
            samples[own].iter().zip(&samples[other]).map(|(own, other)| own / other).collect()
        };
        let is_floor = |index: &usize| self.rows[*index].is_floor;
        let floor_of = |index: usize| (0..=index).rev().find(is_floor).unwrap_or(0);
        // The ratio to the first row of the same kind (floors or others).
        let grown = |index: usize| {
            let is_like = |other: &usize| is_floor(other) == is_floor(&index);
            median(ratios(index, (0..=index).find(is_like).unwrap_or(index)))
        };
        let is_growth = self.rows.iter().filter(|row| row.is_floor).count() > 1;
        println!("\n{}", self.name);
        let last = if is_growth { "grown" } else { "target" };
        println!("{:<40} {:>12} {:>10} {:>8} {:>7}  {last}", "", "ns", "M/s", "ratio", "spread");
        for (index, row) in self.rows.iter().enumerate() {
            let is = nanos[index];
            let to_floor = ratios(index, floor_of(index));
            let spread = match row.target {
                _ if row.is_floor => spread(samples[index].clone()),
                Some(Target::Nanos(_) | Target::Millions(_)) => spread(samples[index].clone()),
                _ => spread(to_floor.clone()),
            };
            let ratio = median(to_floor);
            let target = row.target.map_or_else(String::new, |target| {
                let (text, holds) = match target {
                    Target::Times(most) => (format!("<= {most:.2} times"), ratio <= most),
                    Target::Nanos(most) => (format!("<= {most} ns"), is <= most),
                    Target::TimesAnd(most, more) => {
                        (format!("<= {most} times + {more} ns"), is <= most * nanos[0] + more)
                    }
                    Target::Millions(least) => (format!(">= {least} M/s"), 1e3 / is >= least),
                    Target::SlowerThan(name) => {
                        let other = self.rows.iter().position(|row| row.name == name);
                        let holds = other.is_some_and(|other| nanos[other] < is);
                        (format!("slower than {name}"), holds)
                    }
                };
                let verdict = match holds {
                    _ if spread > MAX_SPREAD => "noisy",
                    true => "reached",
                    false => "missed",
                };
                format!("{text}: {verdict}")
            });
            let target = if is_growth { format!("{:.2}", grown(index)) } else { target };
            let (rate, spread) = (1e3 / is, format!("{:.0} %", 100.0 * spread));
            println!("{:<40} {is:>12.1} {rate:>10.3} {ratio:>8.2} {spread:>7}  {target}", row.name);
        }
    }
}

impl Row<'_> {
    /// Returns how many times the work is done in a turn.
    fn calibrate(&mut self, is_measured: bool) -> u64 {
        let mut times = 1;
        if is_measured {
            while timed(|| (self.work)(times)) < TURN / 2 {
                times *= 2;
            }
        }
        times
    }
}

/// The options of the command line.
struct Options {
    quick: bool,
    /// Runs everything once, to check that it works.
    test: bool,
    filter: Option<String>,
}

impl Options {
    fn read() -> Self {
        let args: Vec<_> = env::args().skip(1).collect();
        let has = |option: &str| args.iter().any(|arg| arg == option);
        Self {
            quick: has("--quick"),
            test: has("--test") || !has("--bench"),
            filter: args.iter().find(|arg| !arg.starts_with('-')).cloned(),
        }
    }

    fn selects(&self, name: &str) -> bool {
        let rows = format!("{name}/");
        self.filter.as_ref().is_none_or(|filter| name.contains(filter) || filter.starts_with(&rows))
    }

    fn rounds(&self) -> usize {
        match self {
            Self { test: true, .. } => 1,
            Self { quick: true, .. } => 5,
            _ => 25,
        }
    }
}

/// Returns a criterion with the options of the command line.
pub fn criterion() -> Criterion {
    Criterion::default().configure_from_args()
}

pub fn timed(work: impl FnOnce()) -> Duration {
    let began = Instant::now();
    work();
    began.elapsed()
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Returns the distance between the quartiles, as a share of the median.
pub fn spread(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let quartile =
        |number: usize| values.get((values.len() * number).saturating_sub(1) / 4).copied();
    let [Some(first), Some(third)] = [1, 3].map(quartile) else { return f64::NAN };
    (third - first) / median(values)
}
