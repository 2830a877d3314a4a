//! Applies a renewed certificate and a new list of revoked members to a running tower.

use std::fs;
use std::path::Path;

use clacks_proto::StateMachine;
use clacks_proto::driver::Handle;
use clacks_proto::tls::{SecureTower, Trust};

use super::expiry::Expiry;
use super::membership;
use crate::args::TowerArgs;
use crate::error::Failure;
use crate::setup;

/// The certificate, the roots and the list of revoked members of a tower in a private network, as
/// they were last read.
pub(crate) struct Renewal {
    /// The options of the tower, without those of the membership.
    args: TowerArgs,
    /// The content of the files.
    content: Vec<Option<Vec<u8>>>,
}

/// Reads the files again, and applies them to the tower. Returns `None` if they are the same.
pub(crate) type Renew<M> = Box<dyn FnMut(&Handle<M>) -> Result<Option<Renewed>, Failure>>;

/// What was applied.
pub(crate) struct Renewed {
    /// When the certificate expires.
    pub(crate) expiry: Option<Expiry>,
    /// The number of links that were closed.
    pub(crate) closed: usize,
}

impl Renewal {
    /// Reads the files of a tower. `None` if it is in no private network.
    pub(crate) fn start(args: &TowerArgs) -> Result<Option<Self>, Failure> {
        let content = read(&membership::with_membership(args)?)?;
        Ok(content.map(|content| Self { args: args.clone(), content }))
    }

    /// Returns a function that applies the files to a tower. `secure` returns the tower with TLS in
    /// the state machine.
    pub(crate) fn applied_to<M: StateMachine + Send + 'static>(
        mut self,
        secure: fn(&mut M) -> &mut SecureTower,
    ) -> Renew<M> {
        Box::new(move |tower| self.apply(tower, secure))
    }

    fn apply<M: StateMachine + Send + 'static>(
        &mut self,
        tower: &Handle<M>,
        secure: fn(&mut M) -> &mut SecureTower,
    ) -> Result<Option<Renewed>, Failure> {
        let args = membership::with_membership(&self.args)?;
        let Some(content) = read(&args)?.filter(|content| *content != self.content) else {
            return Ok(None);
        };
        let Some((identity, Trust::Private(roots))) = setup::member(&args)? else {
            return Ok(None);
        };
        let expiry = Expiry::of(&identity, &Trust::Private(roots.clone()));
        let renewed = tower.with(|tower, now| secure(tower).renew(&identity, &roots, now));
        // The tower has ended if there is no result.
        let Some(renewed) = renewed else { return Ok(None) };
        let closed = renewed.map_err(|error| Failure::failed(format_args!("{error}.")))?;
        self.content = content;
        Ok(Some(Renewed { expiry, closed }))
    }
}

/// Returns the content of the certificate, the roots and the list of revoked members. `None`
/// without a private network.
fn read(args: &TowerArgs) -> Result<Option<Vec<Option<Vec<u8>>>>, Failure> {
    let Some(roots) = &args.trust.roots else { return Ok(None) };
    let cert = setup::identity_files(args).map(|files| files.cert);
    let files = [cert.as_deref(), Some(roots.as_path()), args.trust.revoked.as_deref()];
    files
        .into_iter()
        .map(|file| file.map(read_file).transpose())
        .collect::<Result<_, _>>()
        .map(Some)
}

fn read_file(file: &Path) -> Result<Vec<u8>, Failure> {
    let cannot = |error: &dyn std::fmt::Display| {
        Failure::failed(format_args!("{} cannot be read ({error}).", file.display()))
    };
    // A pipe would have to be waited for.
    if !fs::metadata(file).map_err(|error| cannot(&error))?.is_file() {
        return Err(cannot(&"it is no file"));
    }
    fs::read(file).map_err(|error| cannot(&error))
}
