//! What a job reports: text for people on standard error, or JSON lines on standard output.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use clacks_proto::Address;
use clacks_store::{
    FileId, Forecast, Health, HealthState, JobError, ListeningForecast, Phase, Progress, PutReport,
    ReadLink, Refusal, Repair,
};
use indicatif::ProgressBar;
use serde_json::{Value, json};

use super::access::Access;
use super::link::{end_of, rough, taken, until_text};
use super::output::Part;
use crate::error::Failure;
use crate::output::text::{BAD, GOOD, QUIET, STRONG, WARN, grouped};
use crate::output::{clock, json, progress, rfc3339, wrap};

/// The time between two JSON lines with the progress.
const JSON_INTERVAL: Duration = Duration::from_millis(500);

/// The time between two positions of the bar.
const BAR_INTERVAL: Duration = Duration::from_millis(100);

/// Below this number of towers, the loss of one is worth a warning.
const FEW_TOWERS: u32 = 7;

/// Writes what happens.
pub(super) struct Report {
    is_json: bool,
    start: Instant,
    bar: Option<ProgressBar>,
    /// When the progress was looked at.
    shown_at: Option<Instant>,
    /// The progress that was written last.
    shown: Option<Progress>,
}

impl Report {
    /// Begins a report.
    pub(super) fn new(is_json: bool) -> Self {
        Self { is_json, start: Instant::now(), bar: None, shown_at: None, shown: None }
    }

    /// Returns whether the report is written as JSON lines.
    pub(super) fn is_json(&self) -> bool {
        self.is_json
    }

    /// Returns the time since the start.
    pub(super) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Writes an event, in JSON only.
    pub(super) fn event(&self, event: &Value) -> Result<(), Failure> {
        if self.is_json {
            json::write(event)?;
        }
        Ok(())
    }

    /// Writes a line for people.
    pub(super) fn line(&self, line: impl Display) {
        if self.is_json {
            return;
        }
        let write = || _ = writeln!(wrap::stderr(), "{line}");
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    /// Writes a warning for people.
    pub(super) fn warn(&self, line: impl Display) {
        self.line(format_args!("{WARN}note{WARN:#}: {line}"));
    }

    /// Shows the progress of this machine's own work: reading, writing.
    pub(super) fn work(&mut self, what: &'static str, done: u32, all: u32) {
        if self.is_json {
            if self.is_due(JSON_INTERVAL) {
                // The next event reports an output that can't be written.
                let _ = json::write(&json!({
                    "event": "progress", "phase": what, "groups_full": done, "groups": all
                }));
            }
            return;
        }
        let bar =
            self.bar.get_or_insert_with(|| progress::bar(all.into(), "{pos} of {len} groups"));
        bar.set_position(done.into());
        bar.set_message(what);
        if done == all {
            self.clear();
        }
    }

    /// Shows how much of a stream has been read.
    pub(super) fn spooled(&mut self, bytes: u64) {
        if !self.is_json && self.is_due(BAR_INTERVAL) {
            let bar = self.bar.get_or_insert_with(|| progress::bar(0, "{pos} MB"));
            bar.set_position(bytes / 1_000_000);
            bar.set_message("reading standard input");
        }
    }

    /// Returns whether the progress was not shown for a while.
    fn is_due(&mut self, interval: Duration) -> bool {
        let is_due = self.shown_at.is_none_or(|at| at.elapsed() >= interval);
        if is_due {
            self.shown_at = Some(Instant::now());
        }
        is_due
    }

    /// Shows how far the job is, unless that was done a moment ago.
    pub(super) fn progress(&mut self, now: &Progress) -> Result<(), Failure> {
        let interval = if self.is_json { JSON_INTERVAL } else { BAR_INTERVAL };
        if !self.is_due(interval) {
            return Ok(());
        }
        if now.needed == 0 || matches!(now.phase, Phase::Idle | Phase::Agreeing | Phase::Waiting) {
            return Ok(());
        }
        if self.is_json {
            if self.shown != Some(*now) {
                self.shown = Some(*now);
                json::write(&progress_event(now))?;
            }
            return Ok(());
        }
        let bar = self.bar.get_or_insert_with(|| progress::bar(0, "{pos} of {len} pieces"));
        bar.set_length(now.needed.into());
        bar.set_position(now.pieces.into());
        bar.set_message(progress_text(now));
        Ok(())
    }

    /// Returns the failure of a job, and removes the bar.
    pub(super) fn failure(&mut self, error: JobError, access: &Access, file: FileId) -> Failure {
        self.clear();
        failure(error, access, file)
    }

    /// Removes the bar.
    pub(super) fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    /// Writes the forecast of a put.
    pub(super) fn put_forecast(&self, forecast: &Forecast, bytes: u64) -> Result<(), Failure> {
        self.event(&forecast_event(forecast))?;
        let network = &forecast.network;
        let stores = network.stores();
        self.line(format_args!(
            "{STRONG}{}{STRONG:#}, {} full. {} bytes become {}, which survive the loss of \
             {} at once.",
            with_stores(stores),
            percent(network.fill()),
            grouped(bytes),
            pieces(forecast.pieces),
            towers(forecast.survives),
        ));
        if stores < FEW_TOWERS && stores > 0 {
            self.warn(format_args!(
                "There are few towers: the loss of one takes {} of the pieces.",
                percent(1.0 / f64::from(stores))
            ));
        }
        Ok(())
    }

    /// Writes the forecast of a get.
    pub(super) fn get_forecast(&self, forecast: &Forecast) -> Result<(), Failure> {
        self.event(&forecast_event(forecast))?;
        self.line(format_args!(
            "{STRONG}{}{STRONG:#}. Needed: {}, which takes {}.",
            with_stores(forecast.network.stores()),
            pieces(forecast.pieces),
            match forecast.time_p99 {
                most if most < Duration::from_secs(2) => "a moment".to_owned(),
                most => format!("about {}, at most {}", rough(forecast.time), rough(most)),
            }
        ));
        Ok(())
    }

    /// Writes how many pieces an earlier run has left.
    pub(super) fn held(&self, held: u32, needed: u32) {
        if held > 0 {
            self.line(format_args!(
                "{} of {} pieces are here already.",
                grouped(held.into()),
                grouped(needed.into())
            ));
        }
    }

    /// Writes the forecast of a get that listens at a tower. `others` towers are alive beside it.
    pub(super) fn listening_forecast(
        &self,
        forecast: Option<&ListeningForecast>,
        tower: &Address,
        others: u32,
    ) -> Result<(), Failure> {
        self.event(&json!({
            "event": "forecast",
            "towers": others,
            "pieces": forecast.map(|it| it.pieces),
            "seconds_p50": forecast.map(|it| it.time.as_secs_f64()),
            "seconds_p99": forecast.map(|it| it.time_p99.as_secs_f64()),
            "refused": forecast.and_then(|it| it.refusal).map(|it| refusal_sentence(&it)),
        }))?;
        let time = match forecast {
            Some(it) => {
                format!("The rest takes about {}, at most {}.", rough(it.time), rough(it.time_p99))
            }
            None => "How long it takes is unknown until messages come.".to_owned(),
        };
        let others = match others {
            1 => "1 other tower is alive".to_owned(),
            others => format!("{} other towers are alive", grouped(others.into())),
        };
        self.line(format_args!("Listening at {STRONG}{tower}{STRONG:#}. {others}. {time}"));
        Ok(())
    }

    /// Writes why a check or a repair failed. The keeper goes on.
    pub(super) fn trouble(&self, sentence: &str) -> Result<(), Failure> {
        self.event(&json!({"event": "trouble", "message": sentence}))?;
        self.warn(format_args!("{sentence} The next check tries again."));
        Ok(())
    }

    /// Writes that the clock of this machine differs from those of most towers.
    pub(super) fn clock(&self, minutes: i32) -> Result<(), Failure> {
        self.event(&json!({"event": "clock", "minutes": minutes}))?;
        self.warn(clock_sentence(minutes));
        Ok(())
    }

    /// Writes that pieces are put again.
    pub(super) fn republishing(&self, pieces: u32) -> Result<(), Failure> {
        self.event(&json!({"event": "republishing", "pieces": pieces}))?;
        self.warn(format_args!(
            "Another tower does not show {}. They are put again there, and that tower learns that \
             this machine asks.",
            self::pieces(pieces)
        ));
        Ok(())
    }

    /// Writes the event with the link of a file that was put.
    pub(super) fn link_event(&self, link: &ReadLink, text: &str) -> io::Result<()> {
        json::write(&json!({
            "event": "link",
            "read": text,
            "keep": link.keep().to_string(),
            "until": rfc3339::text(end_of(link.file().until)),
        }))
    }

    /// Writes the last event of a put.
    pub(super) fn put_event(&self, report: &PutReport) -> Result<(), Failure> {
        self.event(&json!({
            "event": "done",
            "verb": "put",
            "pieces": report.pieces,
            "towers": report.towers,
            "seen": report.seen,
            "verified": report.verified,
            "republished": report.republished,
            "first_end": rfc3339::text(end_of(report.first_end)),
            "seconds": self.elapsed().as_secs_f64(),
        }))
    }

    /// Writes that a file was put, for people. The link comes after it.
    pub(super) fn put(&self, report: &PutReport, forecast: Option<&Forecast>, verify: u8) {
        self.line(format_args!(
            "{GOOD}put{GOOD:#} {} at {} in {}, seen through {}.",
            pieces(report.pieces),
            towers(report.towers),
            taken(self.elapsed()),
            match report.verified {
                0 => "the first tower only".to_owned(),
                1 => "a second tower".to_owned(),
                more => format!("{more} other towers"),
            }
        ));
        if report.verified < verify {
            self.warn("No other tower could be asked, so this depends on what the first one says.");
        }
        self.line(format_args!("Its first pieces end at {}.", until_text(report.first_end)));
        let left = end_of(report.first_end).duration_since(std::time::SystemTime::now());
        if let (Some(forecast), Ok(left)) = (forecast, left)
            && forecast.life < left
        {
            self.line(format_args!(
                "Without a keeper it lasts about {}, if towers leave as often as elsewhere. `clacks \
                 keep` replaces lost pieces.",
                rough(forecast.life)
            ));
        }
        self.line(format_args!("{QUIET}`clacks get LINK` reads it:{QUIET:#}"));
    }

    /// Writes a check, as one line with the time (`keep`) or as a table (`health`).
    pub(super) fn health_event(health: &Health) -> Value {
        json!({
            "event": "health",
            "state": health.state.as_str(),
            "alive": health.alive,
            "se": health.error,
            "needed": health.needed,
            "safe": health.safe,
            "seen": health.seen,
            "sampled": health.sampled,
            "proved": health.proved,
            "visited": health.visited,
            "towers": health.known,
            "fill": health.fill,
            "last_end": (health.last_end > 0).then(|| rfc3339::text(end_of(health.last_end))),
            "life_seconds": health.life.as_secs(),
        })
    }

    /// Returns the event of a repair.
    pub(super) fn repair_event(repair: &Repair) -> Value {
        json!({
            "event": "repair",
            "group": repair.group,
            "taken": repair.taken,
            "released": repair.released,
            "until": rfc3339::text(end_of(repair.until)),
        })
    }
}

/// Returns a state in its colour.
pub(super) fn state_text(state: HealthState) -> String {
    match state {
        HealthState::Safe => format!("{GOOD}{state}{GOOD:#}"),
        HealthState::Thin => format!("{WARN}{state}{WARN:#}"),
        _ => format!("{BAD}{state}{BAD:#}"),
    }
}

/// Returns a share in per cent.
pub(super) fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// Returns a number of towers.
pub(super) fn towers(count: u32) -> String {
    match count {
        1 => "1 tower".to_owned(),
        count => format!("{} towers", grouped(count.into())),
    }
}

/// Returns a number of towers that have a store.
fn with_stores(count: u32) -> String {
    let stores = if count == 1 { "a store" } else { "stores" };
    format!("{} with {stores}", towers(count))
}

/// Returns a number of pieces.
pub(super) fn pieces(count: u32) -> String {
    match count {
        1 => "1 piece".to_owned(),
        count => format!("{} pieces", grouped(count.into())),
    }
}

fn progress_text(now: &Progress) -> String {
    let towers = format!("{} of {} towers", now.visited, now.known);
    let what = match now.phase {
        Phase::Estimating => format!("looking at the network, {towers}"),
        Phase::Publishing => format!("group {} of {}", now.groups_full + 1, now.groups),
        Phase::Visiting if now.groups > 1 => {
            format!("{towers}, {} of {} groups", now.groups_full, now.groups)
        }
        Phase::Visiting => towers,
        Phase::Verifying => format!("checking through another tower, {towers}"),
        Phase::Listening => format!("listening, {} other towers", now.known),
        _ => String::new(),
    };
    match now.remaining {
        Some(left) if left >= Duration::from_secs(1) => format!("{what}, {} left", rough(left)),
        _ => what,
    }
}

fn progress_event(now: &Progress) -> Value {
    let phase = match now.phase {
        Phase::Idle => "idle",
        Phase::Estimating => "estimating",
        Phase::Agreeing => "agreeing",
        Phase::Publishing => "publishing",
        Phase::Visiting => "visiting",
        Phase::Verifying => "verifying",
        Phase::Listening => "listening",
        Phase::Waiting => "waiting",
        _ => "other",
    };
    json!({
        "event": "progress",
        "phase": phase,
        "pieces": now.pieces,
        "needed": now.needed,
        "groups_full": now.groups_full,
        "groups": now.groups,
        "visited": now.visited,
        "towers": now.known,
        "remaining_seconds": now.remaining.map(|left| left.as_secs_f64()),
    })
}

fn forecast_event(forecast: &Forecast) -> Value {
    let network = &forecast.network;
    json!({
        "event": "forecast",
        "towers": network.towers,
        "stores": network.stores(),
        "visited": network.visited,
        "fill": network.fill(),
        "room": network.room(),
        "pieces": forecast.pieces,
        "visits": forecast.visits,
        "seconds_p50": forecast.time.as_secs_f64(),
        "seconds_p99": forecast.time_p99.as_secs_f64(),
        "bytes": forecast.bytes,
        "survives": forecast.survives,
        "life_seconds": forecast.life.as_secs(),
        "refused": forecast.refusal.map(|refusal| refusal_sentence(&refusal)),
    })
}

/// Returns the failure of a job.
fn failure(error: JobError, access: &Access, file: FileId) -> Failure {
    match error {
        JobError::Unreachable => access.unreachable(),
        JobError::NoStore => access.no_store(),
        JobError::Refused(refusal) => Failure::Refused(refusal_sentence(&refusal)),
        JobError::Full => Failure::Refused(
            "The network is full: put a smaller file, use less --redundancy, or try again in an \
             hour."
                .into(),
        ),
        JobError::TooLong => Failure::Refused(
            "The network is nearly full, and takes only files that end soon: put it with --for 2h, \
             or try again in an hour."
                .into(),
        ),
        JobError::NoRelay => access.no_relay(),
        JobError::Clock { minutes } => Failure::failed(match minutes {
            Some(minutes) => format!("The towers refuse the pieces. {}", clock_sentence(minutes)),
            None => "The towers refuse the time of the pieces, so the clock of this machine is \
                     wrong by more than 5 minutes: set it."
                .to_owned(),
        }),
        JobError::Changed => file_changed(),
        JobError::Gone { seen, needed, visited, known, agreed } => {
            let groups = match file.geometry.groups() {
                1 => "",
                _ => " of a group",
            };
            let found = format!(
                "{seen} of {needed} needed pieces{groups} were found, at {visited} of {known} towers"
            );
            let until = until_text(file.until);
            let agrees = if agreed > 0 { ", and another tower agrees" } else { "" };
            Failure::Gone(format!("The file is gone: {found}{agrees}. It was put until {until}."))
        }
        JobError::NotConfirmed { seen, needed } => access.not_confirmed(seen, needed),
        JobError::NotSeen => Failure::failed(
            "The first tower took the pieces, and other towers do not see them: name another one \
             with --tower HOST:PORT.",
        ),
        error => Failure::failed(format_args!("The job ended: {error}.")),
    }
}

/// Returns the failure of a put whose file changed.
pub(super) fn file_changed() -> Failure {
    Failure::failed(
        "The file changed while it was put: wait until it is complete, and put it again.",
    )
}

/// Returns the sentence about a clock, if the clocks of towers are ahead by so many minutes.
fn clock_sentence(minutes: i32) -> String {
    let effect = if minutes > 0 { "end too early" } else { "may be refused" };
    format!(
        "The clock of this machine is {}, as most towers say: set it. Until then, files that are \
         put here {effect}.",
        clock::text(minutes)
    )
}

pub(super) fn refusal_sentence(refusal: &Refusal) -> String {
    match refusal {
        Refusal::NoRoom { chunks, room } => format!(
            "The network has room for {}, and the file has {}: put a smaller file, use less \
             --redundancy, or add --patient to try it anyway.",
            pieces(u32::try_from(*room).unwrap_or(u32::MAX)),
            grouped((*chunks).into()),
        ),
        Refusal::TooSlow { time } => {
            format!("It may take {}: add --patient to do it anyway.", rough(*time))
        }
        Refusal::EndsFirst { time, left } => format!(
            "Listening may take {}, and the file ends in {}: get it without --listen, or add \
             --patient to listen anyway.",
            rough(*time),
            rough(*left)
        ),
        Refusal::TooMuchTraffic { bytes } => format!(
            "It may take {} MB of traffic: add --patient to do it anyway.",
            grouped(bytes.div_ceil(1_000_000))
        ),
        refusal => format!("The forecast does not allow it: {refusal}."),
    }
}

/// Returns the failure of a command that was stopped.
pub(super) fn interrupted(sentence: &str) -> Failure {
    end_line();
    Failure::Interrupted(sentence.to_owned())
}

/// Returns the failure of a get that was stopped.
pub(super) fn stopped(part: &Part) -> Failure {
    interrupted(if part.is_kept() {
        "Stopped. The same command takes only the rest."
    } else {
        "Stopped. Nothing was written."
    })
}

/// Returns the failure of a get that was stopped while it wrote the output.
pub(super) fn stopped_writing(part: &Part) -> Failure {
    interrupted(if part.is_kept() {
        "Stopped. The pieces are kept, and the same command takes none of them again."
    } else {
        "Stopped. The output is incomplete."
    })
}

/// Ends the line in which the terminal shows `^C`.
pub(super) fn end_line() {
    if io::stderr().is_terminal() {
        let _ = io::stderr().write_all(b"\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_about_a_clock_has_the_difference_and_what_to_do() {
        let slow = "The clock of this machine is 9 min slow, as most towers say: set it. Until \
                    then, files that are put here end too early.";
        assert_eq!(clock_sentence(9), slow);
        assert!(clock_sentence(-90).contains("1 h 30 min fast"), "{}", clock_sentence(-90));
    }
}
