//! Things done in turn, and how long each takes beside the first of them.
//!
//! On a machine with other work an absolute time means little. So all rows of a comparison take
//! turns, some milliseconds each, and what is told is the median of the ratios within a round:
//! whatever slows the machine down slows down all of them.
#![allow(dead_code, unreachable_pub, reason = "each benchmark uses its own part")]

use std::env;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};

/// How long a row's turn is, about: long enough to have in the caches again what the rows before it
/// have driven out.
const TURN: Duration = Duration::from_millis(40);

/// A comparison: the first row is the floor, the others are measured against it. Where something
/// grows there may be one more floor for each size, by which the rows after it are measured.
pub struct Comparison<'a> {
    name: String,
    bytes: Option<u64>,
    rows: Vec<Row<'a>>,
}

struct Row<'a> {
    name: String,
    /// Does the work so many times.
    work: Box<dyn FnMut(u64) + 'a>,
    /// How often the thing that counts is done each time.
    each: u64,
    wanted: Option<Wanted>,
    /// Whether the rows after it are measured against it.
    is_floor: bool,
}

/// What a row should reach.
#[derive(Clone, Copy)]
pub enum Wanted {
    /// At most so many times as long as the floor.
    Times(f64),
    /// At most so many nanoseconds.
    Nanos(f64),
    /// At most so many times as long as the floor, and so many nanoseconds on top.
    TimesAnd(f64, f64),
    /// At least so many millions a second.
    Millions(f64),
    /// Slower than the row before this one that is named.
    SlowerThan(&'static str),
}

impl<'a> Comparison<'a> {
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), bytes: None, rows: Vec::new() }
    }

    /// How many bytes each turn of work handles.
    pub fn bytes(mut self, bytes: usize) -> Self {
        self.bytes = Some(bytes as u64);
        self
    }

    /// Adds a row that does one thing each time.
    pub fn row(&mut self, name: &str, wanted: Option<Wanted>, work: impl FnMut() + 'a) {
        self.batch(name, 1, wanted, work);
    }

    /// Adds one more floor, for the rows that come after it.
    pub fn floor(&mut self, name: &str, work: impl FnMut() + 'a) {
        self.row(name, None, work);
        if let Some(row) = self.rows.last_mut() {
            row.is_floor = true;
        }
    }

    /// Adds a row that does `each` things each time.
    pub fn batch(
        &mut self,
        name: &str,
        each: u64,
        wanted: Option<Wanted>,
        mut work: impl FnMut() + 'a,
    ) {
        let work = Box::new(move |times| (0..times).for_each(|_| work()));
        let is_floor = self.rows.is_empty();
        self.rows.push(Row { name: name.to_owned(), work, each, wanted, is_floor });
    }

    /// Measures all rows: criterion's statistics of each alone, then the ratios of all together.
    pub fn run(mut self, criterion: &mut Criterion) {
        let options = Options::read();
        if !options.concerns(&self.name) {
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
        let mut seen: Vec<Vec<f64>> = vec![Vec::new(); self.rows.len()];
        for round in 0..rounds {
            // In another order each time: whoever comes after a row that empties the caches must
            // not always be the same.
            for place in 0..self.rows.len() {
                let index = (place + round) % self.rows.len();
                let row = &mut self.rows[index];
                let time = timed(|| (row.work)(times[index]));
                seen[index].push(time.as_nanos() as f64 / (times[index] * row.each) as f64);
            }
        }
        self.print(&seen);
    }

    fn print(&self, seen: &[Vec<f64>]) {
        let nanos: Vec<f64> = seen.iter().map(|row| median(row.clone())).collect();
        let times = |own: usize, other: usize| {
            median(seen[own].iter().zip(&seen[other]).map(|(own, other)| own / other).collect())
        };
        let is_floor = |index: &usize| self.rows[*index].is_floor;
        let ratio = |index: usize| times(index, (0..=index).rev().find(is_floor).unwrap_or(0));
        // How many times as long as the first of its kind.
        let grown = |index: usize| {
            let is_like = |other: &usize| is_floor(other) == is_floor(&index);
            times(index, (0..=index).find(is_like).unwrap_or(index))
        };
        let is_growth = self.rows.iter().filter(|row| row.is_floor).count() > 1;
        println!("\n{}", self.name);
        let last = if is_growth { "grown" } else { "wanted" };
        println!("{:<40} {:>12} {:>10} {:>8}  {last}", "", "ns", "M/s", "ratio");
        for (index, row) in self.rows.iter().enumerate() {
            let is = nanos[index];
            let wanted = row.wanted.map_or_else(String::new, |wanted| {
                let (text, holds) = match wanted {
                    Wanted::Times(most) => (format!("<= {most:.2} times"), ratio(index) <= most),
                    Wanted::Nanos(most) => (format!("<= {most} ns"), is <= most),
                    Wanted::TimesAnd(most, more) => {
                        (format!("<= {most} times + {more} ns"), is <= most * nanos[0] + more)
                    }
                    Wanted::Millions(least) => (format!(">= {least} M/s"), 1e3 / is >= least),
                    Wanted::SlowerThan(name) => {
                        let other = self.rows.iter().position(|row| row.name == name);
                        let holds = other.is_some_and(|other| nanos[other] < is);
                        (format!("slower than {name}"), holds)
                    }
                };
                format!("{text}: {}", if holds { "reached" } else { "MISSED" })
            });
            let wanted = if is_growth { format!("{:.2}", grown(index)) } else { wanted };
            let (rate, ratio) = (1e3 / is, ratio(index));
            println!("{:<40} {is:>12.1} {rate:>10.3} {ratio:>8.2}  {wanted}", row.name);
        }
    }
}

impl Row<'_> {
    /// How often the work is to be done in a turn.
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

/// What the command line asks for.
struct Options {
    quick: bool,
    /// Everything once, as a check that it works.
    test: bool,
    filter: Option<String>,
}

impl Options {
    fn read() -> Self {
        let words: Vec<_> = env::args().skip(1).collect();
        let has = |option: &str| words.iter().any(|word| word == option);
        Self {
            quick: has("--quick"),
            test: has("--test") || !has("--bench"),
            filter: words.iter().find(|word| !word.starts_with('-')).cloned(),
        }
    }

    fn concerns(&self, name: &str) -> bool {
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

/// What criterion is told on the command line.
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
