//! `clacks health`: counts the pieces of a file.

use std::io::Write;

use clacks_store::{Health, HealthState, Job, JobEvent};

use super::access::Access;
use super::any_link;
use super::guest::{Guest, Options, Step};
use super::interrupt::Interrupt;
use super::link::{rough, until_text};
use super::report::{self, Report, percent, state_text};
use crate::args::HealthArgs;
use crate::error::Failure;
use crate::output::text::grouped;
use crate::output::wrap;

/// Writes the health of a file.
pub(crate) fn run(args: &HealthArgs) -> Result<(), Failure> {
    let mut report = Report::new(args.access.json);
    let link = any_link(&args.link)?.keep();
    let access = Access::find(&args.access)?;
    let options = Options { verify: 1, is_patient: true };
    let guest = Guest::start(&access, &options, Interrupt::listen()?)?;
    guest.begin(Job::Health(link.clone()))?;
    let health = loop {
        let step = guest.next()?;
        report.progress(&guest.progress())?;
        match step {
            Step::Event(JobEvent::Checked(health)) => break health,
            Step::Event(JobEvent::Failed(error)) => {
                return Err(report.failure(error, &access, link.file()));
            }
            Step::Event(JobEvent::ClockDiffers { minutes }) => {
                report.clear();
                report.clock(minutes)?;
            }
            Step::Event(_) | Step::Tick => {}
            Step::Interrupted => {
                report.clear();
                return Err(report::interrupted("Stopped."));
            }
        }
    };
    report.clear();
    report.event(&Report::health_event(&health))?;
    if !report.is_json() {
        write(&health, link.file().geometry.chunks())?;
    }
    match health.state {
        HealthState::Lost => Err(Failure::Gone(
            "Too few pieces are left, so the file can't be read any more.".into(),
        )),
        _ => Ok(()),
    }
}

fn write(health: &Health, pieces: u32) -> Result<(), Failure> {
    let mut out = wrap::stdout();
    writeln!(out, "state   {}", state_text(health.state))?;
    writeln!(
        out,
        "alive   {} of the pieces of the worst group, ± {}; {} are needed, and {} are safe",
        percent(health.alive),
        percent(health.error),
        percent(health.needed),
        percent(health.safe)
    )?;
    writeln!(
        out,
        "seen    {} of {} pieces; {} of {} towers answered",
        grouped(health.seen.into()),
        grouped(pieces.into()),
        health.visited,
        health.known
    )?;
    writeln!(out, "proved  {} of {} that were taken as a sample", health.proved, health.sampled)?;
    writeln!(out, "life    about {} without a keeper", rough(health.life))?;
    if health.last_end > 0 {
        writeln!(out, "end     the last pieces at {}", until_text(health.last_end))?;
    }
    writeln!(out, "stores  {} full", percent(health.fill))?;
    out.flush()?;
    Ok(())
}
