//! Stub
use crate::{args::DemoArgs, error::Failure};
pub(crate) fn run(_: &DemoArgs) -> Result<(), Failure> {
    Ok(())
}
