//! `clacks keep`: keeps a file alive.

use std::fmt::Display;
use std::time::SystemTime;

use clacks_store::{Health, HealthState, Job, JobEvent, KeepLink, Repair};

use super::access::Access;
use super::any_link;
use super::guest::{Guest, Options, Step};
use super::interrupt::Interrupt;
use super::link::until_text;
use super::report::{self, Report, percent, pieces, state_text};
use crate::args::KeepArgs;
use crate::error::Failure;
use crate::output::text::QUIET;

/// Keeps a file alive until Ctrl-C.
pub(crate) fn run(args: &KeepArgs) -> Result<(), Failure> {
    let mut report = Report::new(args.access.json);
    let link = any_link(&args.link)?.keep();
    let access = Access::find(&args.access)?;
    let options = Options { verify: 1, is_patient: true };
    let guest = Guest::start(&access, &options, Interrupt::listen()?)?;
    stay(&guest, &access, &link, &mut report)
}

/// Keeps a file alive until Ctrl-C.
pub(super) fn stay(
    guest: &Guest,
    access: &Access,
    link: &KeepLink,
    report: &mut Report,
) -> Result<(), Failure> {
    guest.begin(Job::Keep(link.clone()))?;
    report.line("Keeping the file until Ctrl-C.");
    let mut state = HealthState::Safe;
    loop {
        let step = guest.next()?;
        report.progress(&guest.progress())?;
        match step {
            Step::Event(JobEvent::Checked(health)) => {
                report.clear();
                report.event(&Report::health_event(&health))?;
                write(report, check(&health));
                state = health.state;
            }
            Step::Event(JobEvent::Repaired(repair)) => {
                report.clear();
                report.event(&Report::repair_event(&repair))?;
                write(report, repaired(&repair));
            }
            Step::Event(JobEvent::Trouble(error)) => {
                let failure = report.failure(error, access, link.file());
                report.trouble(failure.sentence().unwrap_or_default())?;
            }
            Step::Event(JobEvent::Failed(error)) => {
                return Err(report.failure(error, access, link.file()));
            }
            Step::Event(JobEvent::ClockDiffers { minutes }) => {
                report.clear();
                report.clock(minutes)?;
            }
            Step::Event(_) | Step::Tick => {}
            Step::Interrupted => {
                report.clear();
                report::end_line();
                if state == HealthState::Lost {
                    return Err(Failure::Gone(
                        "Stopped. The last check found too few pieces, so the file can't be read."
                            .into(),
                    ));
                }
                report.line("Stopped. The file stays as long as enough of its pieces do.");
                return Ok(());
            }
        }
    }
}

fn check(health: &Health) -> String {
    format!(
        "{}  {} of the worst group are alive (± {}), {} of {} towers answered",
        state_text(health.state),
        percent(health.alive),
        percent(health.error),
        health.visited,
        health.known
    )
}

fn repaired(repair: &Repair) -> String {
    format!(
        "repaired group {}: put {}, until {}",
        repair.group + 1,
        pieces(repair.released),
        until_text(repair.until)
    )
}

/// Writes a line with the time.
fn write(report: &Report, line: impl Display) {
    let time = humantime::format_rfc3339_seconds(SystemTime::now());
    report.line(format_args!("{QUIET}{time}{QUIET:#}  {line}"));
}
