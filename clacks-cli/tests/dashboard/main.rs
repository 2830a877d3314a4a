//! The dashboard of towers that are processes of their own.
#![cfg(unix)]
#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test has no better answer to a surprise")]

mod chromium;
#[path = "../common/mod.rs"]
mod common;
mod demo;
mod http;
mod page;
mod shown;
