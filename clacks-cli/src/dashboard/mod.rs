//! The dashboard of a running tower: a page and metrics over HTTP.
//!
//! It is a client of [`ControlledTower`] like the control socket, and cannot change anything.
//!
//! - `/` is the page. It has no data of the tower.
//! - `/events` is the state of the tower, as server-sent events. It needs the [`Token`].
//! - `/metrics` has the counters for Prometheus. `/healthz` tells whether the tower
//!   makes progress.
//!
//! [`access`] decides which requests are answered.

mod access;
mod feed;
mod health;
mod metrics;
mod page;
mod server;
mod token;

use std::io::{self, IsTerminal};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use crate::args::HttpArgs;
use crate::control::ControlledTower;
use crate::error::Failure;
use crate::output::Output;

use access::Access;
use server::Server;
use token::{Token, TokenFile};

/// A dashboard that is served until this is dropped or finished.
pub(crate) struct Dashboard {
    url: String,
    token: Token,
    server: Server,
    token_file: TokenFile,
}

/// A port for a dashboard.
pub(crate) struct BoundDashboard {
    listener: TcpListener,
    access: Access,
    url: String,
    token: Token,
    token_file: TokenFile,
}

/// Binds the port of the dashboard, if the options ask for one.
pub(crate) fn bind(args: &HttpArgs) -> Result<Option<BoundDashboard>, Failure> {
    let Some(address) = args.http else { return Ok(None) };
    if !address.ip().is_loopback() && args.http_host.is_empty() {
        return Err(Failure::usage(format_args!(
            "Other machines can reach --http {address}: give --http 127.0.0.1:{}, or name the host \
             of the page in browsers with --http-host.",
            address.port()
        )));
    }
    let cannot = |error: io::Error| {
        Failure::failed(format_args!(
            "The dashboard cannot listen on {address} ({error}): choose another port for --http (0 \
             picks a free one)."
        ))
    };
    let listener = TcpListener::bind(address).map_err(cannot)?;
    let address = listener.local_addr().map_err(cannot)?;
    let token = Token::generate()?;
    let token_file = TokenFile::write(&token, address).map_err(Failure::Failed)?;
    let url = format!("http://{}/", browsed(address, &args.http_host));
    let access = Access::new(address, &args.http_host, token.clone());
    Ok(Some(BoundDashboard { listener, access, url, token, token_file }))
}

/// Returns the host and the port of the page in a browser.
fn browsed(address: SocketAddr, hosts: &[String]) -> String {
    match hosts.first() {
        Some(host) => format!("{host}:{}", address.port()),
        None => address.to_string(),
    }
}

impl Dashboard {
    /// Starts the thread that serves the dashboard.
    pub(crate) fn start(
        bound: BoundDashboard,
        control: Arc<ControlledTower>,
    ) -> Result<Self, Failure> {
        let BoundDashboard { listener, access, url, token, token_file } = bound;
        let server = Server::start(listener, access, control).map_err(|error| {
            Failure::failed(format_args!(
                "The dashboard cannot be served ({error}): raise the limits of threads and files."
            ))
        })?;
        Ok(Self { url, token, server, token_file })
    }

    /// Returns the address of the page, for standard output. It has the token on a terminal only:
    /// other users may read a file or the journal.
    pub(crate) fn output(&self) -> Output {
        let token_file = self.token_file.path().to_owned();
        let url = match io::stdout().is_terminal() {
            true => format!("{}#token={}", self.url, self.token.as_str()),
            false => self.url.clone(),
        };
        Output::Dashboard { url, token_file }
    }

    /// Returns whether a page has shown the tower.
    pub(crate) fn was_opened(&self) -> bool {
        self.server.was_opened()
    }

    /// Ends the dashboard.
    pub(crate) fn finish(self) {
        self.server.finish();
    }
}
