//! QR codes of characters.

use std::io;

use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};
use terminal_size::terminal_size_of;

use crate::error::Failure;

/// Where a code is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Terminal {
    Stdout,
    Stderr,
}

/// Returns a text as a QR code. Fails if the terminal is too narrow.
pub(crate) fn draw(text: &str, terminal: Terminal) -> Result<String, Failure> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L).map_err(|error| {
        Failure::failed(format_args!("The text does not fit into a QR code ({error})."))
    })?;
    let drawn = code
        .render::<Dense1x2>()
        // Most terminals are dark. A reader needs dark modules on a light ground.
        .dark_color(Dense1x2::Light)
        .light_color(Dense1x2::Dark)
        .build();
    let needed = drawn.lines().map(|line| line.chars().count()).max().unwrap_or(0);
    let size = match terminal {
        Terminal::Stdout => terminal_size_of(io::stdout()),
        Terminal::Stderr => terminal_size_of(io::stderr()),
    };
    match size.map(|(width, _)| width.0) {
        Some(columns) if usize::from(columns) < needed => Err(Failure::failed(format_args!(
            "The QR code needs {needed} columns and this terminal has {columns}: make the terminal \
             wider or its letters smaller, or leave out --qr."
        ))),
        _ => Ok(drawn),
    }
}
