//! `clacks watch`: the events of a running tower.

use super::ask::Printer;
use crate::args::WatchArgs;
use crate::control::Request;
use crate::control::socket::client::Client;
use crate::error::Failure;

/// Writes events until the tower ends.
pub(crate) fn run(args: &WatchArgs) -> Result<(), Failure> {
    let mut client = Client::connect(args.reach.control.as_deref())?;
    let mut printer = Printer::new(args.reach.json);
    client.send(&Request::Watch { after: args.after })?;
    client.wait_for_ever()?;
    while let Some(event) = client.next()? {
        printer.write(&event)?;
    }
    Ok(())
}
