//! `clacks get`: gets a file from the network.

use clacks_store::{Job, JobEvent, ReadLink};
use serde_json::json;

use super::access::Access;
use super::guest::{Guest, Options, Step};
use super::interrupt::Interrupt;
use super::link::taken;
use super::listen;
use super::output::{Output, Part, broken, piece_not_written};
use super::read_link;
use super::report::{self, Report};
use crate::args::GetArgs;
use crate::error::Failure;
use crate::output::text::{GOOD, escape, grouped};

/// Gets a file.
pub(crate) fn run(args: &GetArgs) -> Result<(), Failure> {
    let mut report = Report::new(args.access.json);
    let link = read_link(&args.link)?;
    let output = Output::choose(args)?;
    let mut part = output.part(&link.file())?;
    let interrupt = Interrupt::listen()?;
    if !part.log.is_complete() {
        report.held(part.log.held(), part.log.needed());
        let collected = match args.listen {
            true => listen::collect(args, &link, &mut part, &interrupt, &mut report),
            false => collect(args, &link, &mut part, &interrupt, &mut report),
        };
        report.clear();
        if let Err(failure) = collected {
            part.remove_if_empty();
            return Err(failure);
        }
    }
    let content = part.log.content(&link).map_err(|error| broken(&error))?;
    let len = content.header().len;
    let written = output.write(content, &link.file(), args.force, &interrupt, |done, all| {
        report.work("writing", done, all);
    });
    report.clear();
    if written.is_err() && interrupt.is_requested() {
        return Err(report::stopped_writing(&part));
    }
    let path = written?;
    part.remove();
    report.event(&json!({
        "event": "done",
        "verb": "get",
        "file": path,
        "bytes": len,
        "seconds": report.elapsed().as_secs_f64(),
    }))?;
    let name = path.map_or_else(|| "the file".to_owned(), |it| escape(&it.display().to_string()));
    report.line(format_args!(
        "{GOOD}got{GOOD:#} {name}: {} bytes in {}.",
        grouped(len),
        taken(report.elapsed())
    ));
    Ok(())
}

/// Takes pieces until all groups can be restored.
fn collect(
    args: &GetArgs,
    link: &ReadLink,
    part: &mut Part,
    interrupt: &Interrupt,
    report: &mut Report,
) -> Result<(), Failure> {
    let access = Access::find(&args.access)?;
    let options = Options { verify: args.verify.verify, is_patient: args.patient };
    let guest = Guest::start(&access, &options, interrupt.clone())?;
    let proved = part.log.indices().collect();
    guest.begin(Job::Get { link: link.keep(), proved })?;
    loop {
        let step = guest.next()?;
        report.progress(&guest.progress())?;
        match step {
            Step::Event(JobEvent::Forecast(forecast)) => {
                report.clear();
                report.get_forecast(&forecast)?;
                guest.proceed()?;
            }
            Step::Event(JobEvent::Piece { piece, .. }) => {
                part.log.push(&piece).map_err(|error| piece_not_written(part, &error))?;
            }
            Step::Event(JobEvent::Got) if part.log.is_complete() => return Ok(()),
            Step::Event(JobEvent::Got) => {
                return Err(Failure::failed("Some pieces are missing: run the command again."));
            }
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
                return Err(report::stopped(part));
            }
        }
    }
}
