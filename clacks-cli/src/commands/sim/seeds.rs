//! Many runs on several threads. The number of threads changes neither the output nor its order.

use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;

use crate::error::Failure;

/// The name of the threads that run simulations.
const RUN: &str = "run";

thread_local! {
    /// The place at which this thread panicked.
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// How the run of one seed ended.
pub(super) enum Ran<T> {
    /// The run ended.
    Ended(T),
    /// The run failed for this reason: an invalid scenario, or a panic, which is a bug.
    Broke(String),
    /// The run was stopped before its end.
    Stopped,
}

/// Calls `run` for each seed, on `jobs` threads, and `report` with the results in the order of the
/// seeds. No further seed is run if `is_stopped` returns true, or if `report` fails.
pub(super) fn each<T: Send>(
    seeds: Range<u64>,
    jobs: usize,
    is_stopped: impl Fn() -> bool + Sync,
    run: impl Fn(u64) -> Ran<T> + Sync,
    mut report: impl FnMut(u64, Ran<T>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut next = seeds.start;
    let seeds = Mutex::new(seeds);
    let take = || seeds.lock().unwrap_or_else(PoisonError::into_inner).next();
    thread::scope(|scope| {
        // The channel is bounded, so that a thread notices at once if `report` has failed.
        let (sender, results) = mpsc::sync_channel(jobs);
        for _ in 0..jobs {
            let (sender, take, is_stopped, run) = (sender.clone(), &take, &is_stopped, &run);
            let work = move || {
                while let Some(seed) = (!is_stopped()).then(take).flatten() {
                    let ran = panic::catch_unwind(AssertUnwindSafe(|| run(seed)))
                        .unwrap_or_else(|panic| Ran::Broke(panicked(panic.as_ref())));
                    if matches!(ran, Ran::Stopped) || sender.send((seed, ran)).is_err() {
                        return;
                    }
                }
            };
            thread::Builder::new()
                .name(RUN.into())
                .spawn_scoped(scope, work)
                .map_err(cant_begin)?;
        }
        drop(sender);
        let mut early = BTreeMap::new();
        for (seed, ran) in results {
            early.insert(seed, ran);
            while let Some(ran) = early.remove(&next) {
                report(next, ran)?;
                next = next.saturating_add(1);
            }
        }
        // The run of an earlier seed was stopped.
        early.into_iter().try_for_each(|(seed, ran)| report(seed, ran))
    })
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn cant_begin(error: io::Error) -> Failure {
    Failure::failed(format_args!("a thread can't be started ({error}): take fewer --jobs."))
}

/// Keeps the place of a panic in a run for [`panicked`], instead of printing the panic at once.
pub(super) fn keep_panics() {
    let otherwise = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        if thread::current().name() == Some(RUN) {
            let place = panic.location().map(|place| format!(" at {place}")).unwrap_or_default();
            PLACE.set(place);
        } else {
            otherwise(panic);
        }
    }));
}

fn panicked(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let place = PLACE.take();
    format!("it panicked{place}: {}", text.unwrap_or("(no reason given)"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    fn reported(
        seeds: Range<u64>,
        jobs: usize,
        run: impl Fn(u64) -> Ran<u64> + Sync,
    ) -> Vec<String> {
        let mut reported = Vec::new();
        let report = |seed, ran| {
            reported.push(match ran {
                Ran::Ended(value) => format!("{seed}: {value}"),
                Ran::Broke(why) => format!("{seed}: {why}"),
                Ran::Stopped => format!("{seed}: stopped"),
            });
            Ok(())
        };
        each(seeds, jobs, || false, run, report).unwrap();
        reported
    }

    #[test]
    fn results_come_in_the_order_of_the_seeds_on_any_number_of_threads() {
        let expected: Vec<_> = (3..40).map(|seed| format!("{seed}: {}", seed * seed)).collect();
        for jobs in [1, 2, 7, 64] {
            assert_eq!(reported(3..40, jobs, |seed| Ran::Ended(seed * seed)), expected, "{jobs}");
        }
    }

    #[test]
    fn the_last_seeds_there_are_can_be_run() {
        let (last, jobs) = (u64::MAX - 3..u64::MAX, 4);
        assert_eq!(reported(last, jobs, |seed| Ran::Ended(u64::MAX - seed)).len(), 3);
    }

    #[test]
    #[allow(clippy::panic, reason = "that is what is looked at")]
    fn a_panic_is_the_failure_of_its_seed_alone() {
        keep_panics();
        let run = |seed| if seed == 2 { panic!("of {seed}") } else { Ran::Ended(seed) };
        for jobs in [1, 2] {
            let reported = reported(0..5, jobs, run);
            assert_eq!(reported.len(), 5);
            assert!(reported[2].starts_with("2: it panicked at "), "{}", reported[2]);
            assert!(
                reported[2].contains("seeds.rs:") && reported[2].ends_with(": of 2"),
                "{}",
                reported[2]
            );
            assert_eq!([&reported[1], &reported[3]], ["1: 1", "3: 3"]);
        }
    }

    #[test]
    fn no_further_seed_is_run_after_a_result_that_can_not_be_told() {
        let runs = AtomicU64::new(0);
        let run = |seed| {
            runs.fetch_add(1, Ordering::Relaxed);
            Ran::Ended(seed)
        };
        let report = |_, _| Err(Failure::OutputClosed);
        let ended = each(0..1_000_000, 1, || false, run, report);
        assert!(matches!(ended, Err(Failure::OutputClosed)));
        // One result was reported, one waits in the channel, and one run waits for the channel.
        assert!(runs.into_inner() <= 3);
    }

    #[test]
    fn runs_that_ended_before_a_stop_are_told() {
        let (is_stopped, others) = (AtomicBool::new(false), AtomicU64::new(0));
        let stopped = || is_stopped.load(Ordering::SeqCst);
        let run = |seed| {
            if seed == 0 {
                // This run is stopped when the others have reported their results.
                while !stopped() {
                    thread::yield_now();
                }
                return Ran::Stopped;
            }
            is_stopped.fetch_or(others.fetch_add(1, Ordering::SeqCst) == 2, Ordering::SeqCst);
            Ran::Ended(seed)
        };
        let mut reported = Vec::new();
        let report = |seed, _| {
            reported.push(seed);
            Ok(())
        };
        each(0..1_000, 2, stopped, run, report).unwrap();
        assert_eq!(reported, [1, 2, 3]);
    }
}
