//! The page: one HTML file that loads nothing but `/events`.

use clacks_sim::report::uplot;
use serde_json::Value;

use super::token::random_hex;
use crate::error::Failure;
use crate::output::counters::{COUNTERS, STORE_COUNTERS};

/// Returns the page, and its content security policy.
///
/// Only the page's own script and style apply. Both have a fresh number, which a foreign text on
/// the page cannot know. Trusted types forbid scripts to turn text into markup.
pub(super) fn page() -> Result<(String, String), Failure> {
    let of_store = STORE_COUNTERS.iter().map(|(name, meaning)| (format!("store_{name}"), meaning));
    let meanings = COUNTERS.iter().map(|(name, meaning)| ((*name).to_owned(), meaning));
    let meanings = meanings.chain(of_store).map(|(name, meaning)| (name, (*meaning).into()));
    let nonce = random_hex::<16>()?;
    let page = format!(
        include_str!("page/page.html"),
        nonce = nonce,
        meanings = Value::Object(meanings.collect()),
        uplot_license = uplot::LICENSE,
        uplot_style = uplot::STYLE,
        uplot = uplot::SCRIPT,
        style = include_str!("page/style.css"),
        common = include_str!("page/common.js"),
        ring = include_str!("page/ring.js"),
        plots = include_str!("page/plots.js"),
        script = include_str!("page/dashboard.js"),
    );
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; \
         connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    );
    Ok((page, policy))
}
