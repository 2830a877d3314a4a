//! A run as one page that needs nothing else: no network, no server, no other file.

use std::fmt::{self, Display, Write};

use clacks_proto::Instant;

use super::number::{duration, plain, with_unit};
use super::{Measure, ReportInput, Verdict, data};

const STYLE: &str = include_str!("page/style.css");
const SCRIPTS: [&str; 3] =
    [include_str!("page/common.js"), include_str!("page/plots.js"), include_str!("page/map.js")];

/// The page must not be able to load anything, whatever a scenario is called.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:";

/// How many violations are listed. They often come in thousands, and say the same.
const MAX_VIOLATIONS: usize = 200;

/// The page.
#[must_use]
pub fn html(input: &ReportInput<'_>) -> String {
    let mut page = String::with_capacity(1 << 18);
    // Writing to a string can't fail.
    let _ = write_page(&mut page, input);
    page
}

fn write_page(page: &mut String, input: &ReportInput<'_>) -> fmt::Result {
    let title = Escaped(input.title);
    write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title}: a Clacks run</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n"
    )?;
    write_head(page, input)?;
    write_tiles(page, input)?;
    write_violations(page, input)?;
    page.write_str(
        "<section id=\"over-time\">\n<h2>Over time</h2>\n<p class=\"key\" id=\"key\"></p>\n\
         <div id=\"plots\"><noscript><p>The plots need JavaScript. The tables don't.</p></noscript></div>\n\
         <p class=\"quiet\" id=\"not-drawn\"></p>\n</section>\n<section id=\"map\" hidden></section>\n",
    )?;
    write_measures(page, input)?;
    write_faults(page, input)?;
    write!(page, "</main>\n<script type=\"application/json\" id=\"data\">")?;
    page.push_str(&data::json(input));
    page.push_str("</script>\n");
    for script in SCRIPTS {
        write!(page, "<script>\n{script}</script>\n")?;
    }
    page.write_str("</body>\n</html>\n")
}

fn write_head(page: &mut String, input: &ReportInput<'_>) -> fmt::Result {
    writeln!(page, "<header>\n<h1>{}</h1>", Escaped(input.title))?;
    if !input.about.is_empty() {
        writeln!(page, "<p class=\"about\">{}</p>", Escaped(input.about))?;
    }
    let missed = input.measures.iter().filter(|m| m.verdict == Verdict::Violated).count() as u64;
    match (input.violated, missed) {
        (0, 0) if input.is_over => {
            writeln!(page, "<p class=\"verdict held\">All checks held.</p>")?;
        }
        (0, 0) => {
            let rest = "the run was stopped, and what must hold at its end was not judged";
            writeln!(page, "<p class=\"verdict held\">All checks held so far; {rest}.</p>")?;
        }
        (0, missed) => {
            let what = counted(
                missed,
                "measurement misses its prediction",
                "measurements miss their predictions",
            );
            writeln!(page, "<p class=\"verdict violated\">{what}.</p>")?;
        }
        (violations, _) => {
            let what = counted(violations, "violation", "violations");
            write!(page, "<p class=\"verdict violated\"><a href=\"#violations\">{what}</a>")?;
            let mut checks: Vec<_> = input.violations.iter().map(|v| v.check).collect();
            checks.sort_unstable();
            checks.dedup();
            for (place, check) in checks.iter().take(4).enumerate() {
                let before = if place == 0 { ": " } else { ", " };
                write!(page, "{before}{}", Escaped(check))?;
            }
            writeln!(page, "{}.</p>", if checks.len() > 4 { " and more" } else { "" })?;
        }
    }
    writeln!(
        page,
        "<dl class=\"facts\"><div><dt>seed</dt><dd><code>{}</code></dd></div>\
         <div><dt>trace</dt><dd><code>{}</code></dd></div>\
         <div><dt>once more</dt><dd><code>{}</code></dd></div></dl>\n</header>",
        input.seed,
        Escaped(input.hash),
        Escaped(input.replay),
    )
}

fn write_tiles(page: &mut String, input: &ReportInput<'_>) -> fmt::Result {
    page.write_str("<section class=\"tiles\" aria-label=\"In short\">\n")?;
    let wall = input.wall.as_secs_f64();
    let speed = if wall > 0.0 {
        let faster = input.simulated.as_secs_f64() / wall;
        format!("Took {}: {} times as fast as the clock.", duration(wall), plain(round(faster)))
    } else {
        String::new()
    };
    let rate = if wall > 0.0 {
        #[allow(clippy::cast_precision_loss, reason = "it is shown with four digits")]
        let rate = input.events as f64 / wall;
        format!("{} a second, on the clock.", plain(rate.round()))
    } else {
        String::new()
    };
    #[allow(clippy::cast_precision_loss, reason = "it is shown with four digits")]
    let events = input.events as f64;
    write_tile(page, &plain(input.towers.into()), "towers", "Running or not.")?;
    write_tile(page, &duration(input.simulated.as_secs_f64()), "simulated time", &speed)?;
    write_tile(page, &plain(events), "events", &rate)?;
    for total in input.totals {
        write_tile(page, &with_unit(total.value, total.unit), total.name, total.explanation)?;
    }
    page.write_str("</section>\n")
}

fn write_tile(page: &mut String, value: &str, name: &str, explanation: &str) -> fmt::Result {
    writeln!(
        page,
        "<div class=\"tile\"><b>{}</b><span>{}</span><small>{}</small></div>",
        Escaped(value),
        Escaped(name),
        Escaped(explanation)
    )
}

fn write_violations(page: &mut String, input: &ReportInput<'_>) -> fmt::Result {
    if input.violations.is_empty() {
        return Ok(());
    }
    page.write_str(
        "<section id=\"violations\">\n<h2>Violations</h2>\n<div class=\"scroll\"><table>\n\
         <thead><tr><th>check</th><th class=\"number\">time</th><th class=\"number\">tower</th><th>what happened</th></tr></thead>\n<tbody>\n",
    )?;
    for violation in input.violations.iter().take(MAX_VIOLATIONS) {
        let at = violation.at.map_or_else(|| "whole run".to_owned(), moment);
        let tower = violation.tower.map_or_else(|| "all".to_owned(), |tower| tower.0.to_string());
        writeln!(
            page,
            "<tr class=\"violated\"><td>{}</td><td class=\"number\">{at}</td><td class=\"number\">{tower}</td><td>{}</td></tr>",
            Escaped(violation.check),
            Escaped(violation.what),
        )?;
    }
    page.write_str("</tbody>\n</table></div>\n")?;
    let listed = input.violations.len().min(MAX_VIOLATIONS) as u64;
    let left_out = input.violated.saturating_sub(listed);
    if left_out > 0 {
        let more = counted(left_out, "more is", "more are");
        writeln!(page, "<p class=\"quiet\">{more} not listed.</p>")?;
    }
    page.write_str("</section>\n")
}

fn write_measures(page: &mut String, input: &ReportInput<'_>) -> fmt::Result {
    if input.measures.is_empty() {
        return Ok(());
    }
    page.write_str(
        "<section>\n<h2>Predicted and measured</h2>\n<div class=\"scroll\"><table>\n<thead><tr><th>what</th>\
         <th class=\"number\">predicted</th><th class=\"number\">measured</th><th class=\"number\">error</th>\
         <th class=\"number\" title=\"By how many standard errors they differ\">sigma</th><th>verdict</th></tr></thead>\n<tbody>\n",
    )?;
    for measure in input.measures {
        let predicted = measure.predicted.map(|predicted| with_unit(predicted, measure.unit));
        let (class, verdict) = match measure.verdict {
            Verdict::Held => ("held", "held"),
            Verdict::Violated => ("violated", "violated"),
            Verdict::Noted => ("noted", "noted"),
        };
        writeln!(
            page,
            "<tr class=\"{class}\"><td>{}</td><td class=\"number\">{}</td><td class=\"number\">{}</td>\
             <td class=\"number\">{}</td><td class=\"number\">{}</td><td class=\"word\">{verdict}</td></tr>",
            Escaped(measure.name),
            Escaped(&predicted.unwrap_or_else(|| "none".to_owned())),
            Escaped(&with_unit(measure.measured, measure.unit)),
            relative_error(measure).unwrap_or_default(),
            measure.sigma.map(|sigma| format!("{sigma:+.1}")).unwrap_or_default(),
        )?;
    }
    page.write_str("</tbody>\n</table></div>\n</section>\n")
}

fn write_faults(page: &mut String, input: &ReportInput<'_>) -> fmt::Result {
    if input.faults.is_empty() {
        return Ok(());
    }
    page.write_str(
        "<section>\n<h2>Faults</h2>\n<div class=\"scroll\"><table>\n<thead><tr><th>fault</th>\
         <th class=\"number\">asked for</th><th class=\"number\">happened</th></tr></thead>\n<tbody>\n",
    )?;
    for count in input.faults {
        let never = count.asked.is_some_and(|asked| asked > 0) && count.happened == 0;
        let class = if never { " class=\"violated\"" } else { "" };
        let asked = count.asked.map_or_else(|| "by chance".to_owned(), whole);
        writeln!(
            page,
            "<tr{class}><td>{}</td><td class=\"number\">{asked}</td><td class=\"number\">{}</td></tr>",
            count.fault.as_str(),
            if never { "never".to_owned() } else { whole(count.happened) },
        )?;
    }
    page.write_str("</tbody>\n</table></div>\n</section>\n")
}

/// How far the measurement is from the prediction, of the prediction.
fn relative_error(measure: &Measure<'_>) -> Option<String> {
    let predicted = measure.predicted.filter(|predicted| *predicted != 0.0)?;
    let error = (measure.measured - predicted) / predicted.abs() * 100.0;
    error.is_finite().then(|| {
        let sign = if error > 0.0 { "+" } else { "" };
        format!("{sign}{}\u{202f}%", plain((error * 100.0).round() / 100.0))
    })
}

/// A moment with all the digits that help to find it in a trace.
fn moment(at: Instant) -> String {
    let seconds = at.duration_since(Instant::ORIGIN).as_secs_f64();
    format!("{seconds:.3}\u{202f}s")
}

#[allow(clippy::cast_precision_loss, reason = "it is shown with four digits")]
fn whole(count: u64) -> String {
    plain(count as f64)
}

fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// Factors above ten need no digits behind the point.
fn round(factor: f64) -> f64 {
    if factor >= 10.0 { factor.round() } else { (factor * 10.0).round() / 10.0 }
}

/// Text as it may stand in an element or in an attribute.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                _ => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
