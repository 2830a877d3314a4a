//! `clacks link`: what a link says about its file. Asks no tower.

use std::io::Write;
use std::time::{Duration, SystemTime};

use clacks_store::{FileId, SHARD};
use serde_json::json;
use zeroize::Zeroizing;

use super::{AnyLink, any_link};
use crate::args::LinkArgs;
use crate::error::Failure;
use crate::output::text::grouped;
use crate::output::writer::write_to_stdout;
use crate::output::{json, qr, rfc3339, wrap};

/// Writes a link, or its fields.
pub(crate) fn run(args: &LinkArgs) -> Result<(), Failure> {
    let mut link = any_link(&args.link)?;
    if args.keep {
        link = AnyLink::Keep(link.keep());
    }
    if args.json {
        json::write(&as_json(&link))?;
        return Ok(());
    }
    let text = link.text();
    if args.qr {
        // Upper case needs a smaller code.
        let code = qr::draw(&Zeroizing::new(text.to_uppercase()), qr::Terminal::Stdout)?;
        write_to_stdout(format!("{code}\n").as_bytes())?;
    } else if args.keep {
        write_to_stdout(text.as_bytes())?;
        write_to_stdout(b"\n")?;
    } else {
        describe(&link)?;
    }
    Ok(())
}

fn describe(link: &AnyLink) -> Result<(), Failure> {
    let file = link.keep().file();
    let geometry = file.geometry;
    let kind = match link {
        AnyLink::Read(_) => "reads the file and keeps it alive",
        AnyLink::Keep(_) => "keeps the file alive and can't read it",
    };
    let groups = match geometry.groups() {
        1 => String::new(),
        groups => format!(" in {groups} groups"),
    };
    let mut out = wrap::stdout();
    writeln!(out, "link    {kind}")?;
    writeln!(out, "size    at most {} bytes", grouped(len(&file)))?;
    writeln!(
        out,
        "pieces  {}{groups}; any {} of the {} of a group restore it",
        grouped(geometry.chunks().into()),
        geometry.data(),
        geometry.total(),
    )?;
    writeln!(out, "until   {}", until_text(file.until))?;
    out.flush()?;
    Ok(())
}

fn as_json(link: &AnyLink) -> serde_json::Value {
    let (keep, read) = match link {
        AnyLink::Read(read) => (read.keep(), Some(read.to_string())),
        AnyLink::Keep(keep) => (keep.clone(), None),
    };
    let file = keep.file();
    json!({
        "event": "link",
        "read": read,
        "keep": keep.to_string(),
        "until": rfc3339::text(end_of(file.until)),
        "bytes_max": len(&file),
        "pieces": file.geometry.chunks(),
        "groups": file.geometry.groups(),
        "redundancy": file.geometry.redundancy(),
    })
}

/// Returns the most bytes of a file. A link does not contain the length.
fn len(file: &FileId) -> u64 {
    u64::from(file.geometry.shards()) * SHARD as u64
}

/// Returns the time at which a Unix hour is over.
pub(super) fn end_of(hour: u32) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs((u64::from(hour) + 1) * 3_600)
}

/// Returns the end of a Unix hour, and how far it is away.
pub(super) fn until_text(hour: u32) -> String {
    let end = end_of(hour);
    let text = rfc3339::text(end);
    let time = text.get(..16).unwrap_or(&text).replace('T', " ");
    match end.duration_since(SystemTime::now()) {
        Ok(left) => format!("{time} UTC, in {}", rough(left)),
        Err(_) => format!("{time} UTC, which is over"),
    }
}

/// Returns a duration with two units at most.
pub(super) fn rough(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 3_600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) if minutes < 10 => format!("{minutes} min {seconds} s"),
        (0, minutes, _) => format!("{minutes} min"),
        (hours, minutes, _) if hours < 48 => format!("{hours} h {minutes} min"),
        (hours, ..) => format!("{} days", hours / 24),
    }
}

/// Returns the time that something took. Short ones have a decimal.
pub(super) fn taken(duration: Duration) -> String {
    if duration < Duration::from_secs(10) {
        return format!("{:.1} s", duration.as_secs_f64());
    }
    rough(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_two_units_at_most() {
        for (seconds, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (61, "1 min 1 s"),
            (3_599, "59 min"),
            (5_700, "1 h 35 min"),
            (86_400, "24 h 0 min"),
            (400_000, "4 days"),
        ] {
            assert_eq!(rough(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn the_end_of_an_hour_is_the_beginning_of_the_next_one() {
        assert_eq!(end_of(0), SystemTime::UNIX_EPOCH + Duration::from_secs(3_600));
        assert_eq!(until_text(1), "1970-01-01 02:00 UTC, which is over");
    }
}
