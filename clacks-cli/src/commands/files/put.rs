//! `clacks put`: puts a file into the network.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, SystemTime};

use clacks_store::files::{Source, SourceError, spool};
use clacks_store::{
    Forecast, Job, JobEvent, MAX_NAME, PutReport, ReadLink, Secret, hours_with_jitter,
};
use serde_json::json;
use zeroize::Zeroizing;

use super::access::Access;
use super::guest::{Guest, Options, Step};
use super::interrupt::Interrupt;
use super::keep;
use super::output::open_input;
use super::report::{self, Report};
use crate::args::PutArgs;
use crate::error::Failure;
use crate::output::qr;
use crate::output::writer::write_to_stdout;

/// Puts a file, and writes its link.
pub(crate) fn run(args: &PutArgs) -> Result<(), Failure> {
    let mut report = Report::new(args.access.json);
    let (input, name) = input(args)?;
    let access = Access::find(&args.access)?;
    let mut source = read(args, input, name, &mut report)?;
    let link = source.link(until(SystemTime::now(), args.lifetime));
    let code = args.qr.then(|| {
        let text = Zeroizing::new(link.to_string());
        qr::draw(&Zeroizing::new(text.to_uppercase()), qr::Terminal::Stderr)
    });
    let code = code.transpose()?;
    let options = Options { verify: args.verify.verify, is_patient: args.patient };
    let guest = Guest::start(&access, &options, Interrupt::listen()?)?;
    let (done, forecast) = put(&guest, &access, &mut source, &link, &mut report)?;
    report.put(&done, forecast.as_ref(), options.verify);
    if let Some(code) = code {
        report.line(code);
    }
    write_link(&report, &link)?;
    report.put_event(&done)?;
    if args.keep {
        return keep::stay(&guest, &access, &link.keep(), &mut report);
    }
    Ok(())
}

/// Writes the link to standard output. If that fails, the link goes to standard error, because the
/// file can't be read without it.
fn write_link(report: &Report, link: &ReadLink) -> Result<(), Failure> {
    let text = Zeroizing::new(link.to_string());
    let written = match report.is_json() {
        true => report.link_event(link, &text),
        false => write_to_stdout(text.as_bytes()).and_then(|()| write_to_stdout(b"\n")),
    };
    written.map_err(|error| {
        let _ = writeln!(io::stderr(), "{}", *text);
        Failure::failed(format_args!(
            "Standard output cannot be written ({error}): the file was put, and the line above is \
             its link."
        ))
    })
}

/// Does the job.
fn put(
    guest: &Guest,
    access: &Access,
    source: &mut Source<File>,
    link: &ReadLink,
    report: &mut Report,
) -> Result<(PutReport, Option<Forecast>), Failure> {
    let mut forecast: Option<Forecast> = None;
    guest.begin(Job::Put(link.keep()))?;
    loop {
        let step = guest.next()?;
        report.progress(&guest.progress())?;
        match step {
            Step::Event(JobEvent::Forecast(found)) => {
                report.clear();
                report.put_forecast(&found, source.header().len)?;
                forecast = Some(found);
                guest.proceed()?;
            }
            Step::Event(JobEvent::NeedGroup(number)) => {
                let group = source.group(number).map_err(|error| cannot_read(&error))?;
                guest.supply(group, source.roots())?;
            }
            Step::Event(JobEvent::Republishing { pieces }) => report.republishing(pieces)?,
            Step::Event(JobEvent::Put(done)) => {
                report.clear();
                return Ok((done, forecast));
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
                return Err(report::interrupted(
                    "Stopped. The pieces that were put already can't be read without a link, and \
                     end by themselves.",
                ));
            }
        }
    }
}

/// Opens the input. Returns it with the name of the file, which may be empty.
fn input(args: &PutArgs) -> Result<(Input, String), Failure> {
    let is_stdin = args.file.as_os_str() == "-";
    let name = match (&args.name, is_stdin) {
        (Some(name), _) => name.clone(),
        (None, true) => String::new(),
        (None, false) => {
            let name = args.file.file_name().unwrap_or_default().to_string_lossy();
            // A character that is no UTF-8 was replaced by one of three bytes.
            let mut end = name.len().min(MAX_NAME);
            while !name.is_char_boundary(end) {
                end -= 1;
            }
            name[..end].to_owned()
        }
    };
    if is_stdin {
        if io::stdin().is_terminal() {
            return Err(Failure::usage(
                "A terminal is no file: name one, or send one to standard input.",
            ));
        }
        return Ok((Input::Stdin, name));
    }
    let (file, is_regular) = open_input(&args.file)?;
    Ok((if is_regular { Input::File(file) } else { Input::Stream(file) }, name))
}

/// What is put.
enum Input {
    File(File),
    /// A pipe or a device.
    Stream(File),
    Stdin,
}

/// Reads the input for the first time. What can't be read twice is copied to a temporary file.
fn read(
    args: &PutArgs,
    input: Input,
    name: String,
    report: &mut Report,
) -> Result<Source<File>, Failure> {
    let file = match input {
        Input::File(file) => Ok(file),
        Input::Stream(file) => spool(file, |bytes| report.spooled(bytes)),
        Input::Stdin => spool(io::stdin().lock(), |bytes| report.spooled(bytes)),
    };
    report.clear();
    let mut secret = Zeroizing::new([0; 16]);
    getrandom::fill(&mut *secret).map_err(|error| {
        Failure::failed(format_args!("The operating system gives no randomness: {error}."))
    })?;
    let secret = Secret::new(*secret);
    let source = file.and_then(|file| {
        Source::read(file, name, args.redundancy, secret, |done, all| {
            report.work("reading", done, all);
        })
    });
    let source = source.map_err(|error| cannot_read(&error))?;
    report.event(&json!({
        "event": "read",
        "bytes": source.header().len,
        "pieces": source.geometry().chunks(),
        "seconds": report.elapsed().as_secs_f64(),
    }))?;
    Ok(source)
}

fn cannot_read(error: &SourceError) -> Failure {
    match error {
        SourceError::Name(_) => {
            Failure::usage(format_args!("The name is too long: use at most {MAX_NAME} bytes."))
        }
        SourceError::Geometry(error) => {
            let sentence = error.to_string();
            Failure::usage(format_args!("{}.", sentence.replacen("the file", "The file", 1)))
        }
        SourceError::Changed => report::file_changed(),
        SourceError::Spool(error) => Failure::failed(format_args!(
            "The input needs a temporary file, which can't be written ({error}): set TMPDIR to a \
             folder with more space that you may write to."
        )),
        error => Failure::failed(format_args!("The file can't be put, because {error}.")),
    }
}

/// Returns the Unix hour at whose end a file is over: the first one at which all pieces last as
/// long as the lifetime. With one of about 24 hours they may end earlier.
fn until(now: SystemTime, lifetime: Duration) -> u32 {
    let unix = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let (hour, end) = (unix / 3_600, (unix + lifetime.as_secs()).div_ceil(3_600).saturating_sub(1));
    let hours = u32::try_from(end.saturating_sub(hour)).unwrap_or(u32::MAX);
    u32::try_from(hour).unwrap_or(u32::MAX).saturating_add(hours_with_jitter(hours))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_pieces_last_for_the_lifetime_if_24_hours_allow_it() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let hours = |hours: u64| Duration::from_secs(hours * 3_600);
        assert_eq!(until(at(0), hours(1)), 0);
        assert_eq!(until(at(1), hours(1)), 1);
        // All pieces last for 8 hours: they end up to 2 hours before their file.
        assert_eq!(until(at(1), hours(3)), 3);
        assert_eq!(until(at(1), hours(4)), 5);
        assert_eq!(until(at(1), hours(8)), 10);
        assert_eq!(until(at(1), hours(23)), 24);
        assert_eq!(until(at(3_599), hours(24)), 24);
        assert_eq!(until(at(3_600), hours(24)), 25);
    }
}
