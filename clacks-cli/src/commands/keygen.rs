//! `clacks keygen`: a new identity in a folder.

use std::io::Write;

use crate::args::KeygenArgs;
use crate::error::Failure;
use crate::identity;
use crate::output::text::STRONG;

/// Writes a new identity, and where it is.
pub(crate) fn run(args: &KeygenArgs) -> Result<(), Failure> {
    let (identity, files) = identity::create(&args.dir)?;
    let mut out = anstream::stdout();
    writeln!(out, "fingerprint  {STRONG}{}{STRONG:#}", identity.fingerprint())?;
    writeln!(out, "private key  {} (never give it away)", files.key.display())?;
    writeln!(out, "certificate  {}", files.cert.display())?;
    Ok(())
}
