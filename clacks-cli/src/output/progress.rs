//! The progress bar of commands that take long.

use std::io::{self, IsTerminal};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// The columns that all but the bar and the message need.
const OTHERS: usize = 26;

/// The columns of the message that a narrow terminal keeps free.
const MESSAGE: usize = 8;

/// Returns a bar of `len` steps, whose count is shown as `count` (a template of indicatif). It is
/// drawn on a terminal only, in one line: the message is cut where the line ends.
pub(crate) fn bar(len: u64, count: &str) -> ProgressBar {
    let bar = ProgressBar::new(len);
    if !io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    let columns = terminal_size::terminal_size_of(io::stderr()).map_or(80, |(width, _)| width.0);
    let template = template(columns.into(), count);
    match ProgressStyle::with_template(&template) {
        Ok(style) => bar.with_style(style.progress_chars("=> ")),
        Err(_) => bar,
    }
}

fn template(columns: usize, count: &str) -> String {
    match columns.saturating_sub(OTHERS + MESSAGE).min(32) {
        0..4 => format!("{count}  {{wide_msg}}"),
        width => format!("[{{bar:{width}}}] {count}  {{wide_msg}}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_is_as_wide_as_the_terminal_allows() {
        for (columns, expected) in [
            (120, "[{bar:32}] n  {wide_msg}"),
            (66, "[{bar:32}] n  {wide_msg}"),
            (40, "[{bar:6}] n  {wide_msg}"),
            (37, "n  {wide_msg}"),
            (0, "n  {wide_msg}"),
        ] {
            assert_eq!(template(columns, "n"), expected, "{columns}");
        }
    }
}
