//! Links, and the header of a file.

use alloc::string::ToString;

use super::Choices;
use crate::content::FileHeader;
use crate::geometry::Geometry;
use crate::link::{KeepLink, ReadLink};

/// Checks that a link is written as it is read, in lower case, that a keep link is made from it,
/// and that the header of a file is written as it is read and has a safe name.
pub fn store_link(input: &[u8]) {
    if let Ok(text) = core::str::from_utf8(input) {
        if let Ok(link) = text.parse::<ReadLink>() {
            assert_eq!(link.to_string(), text.trim().to_ascii_lowercase());
            let keep = link.keep().to_string();
            let again: KeepLink = keep.parse().expect("a keep link");
            assert_eq!(again.to_string(), keep);
        }
        if let Ok(link) = text.parse::<KeepLink>() {
            assert_eq!(link.to_string(), text.trim().to_ascii_lowercase());
        }
    }
    let mut choices = Choices(input);
    let geometry =
        Geometry::new(2 + choices.below(7), 1 + u32::from(choices.byte())).expect("small");
    if let Ok((header, len)) = FileHeader::decode(choices.0, geometry) {
        assert_eq!(header.encode().expect("a header"), &choices.0[..len]);
        let name = header.safe_name().unwrap_or_default();
        assert!(!name.contains(['/', '\\', '\0', '\n', '\u{1b}']) && !name.starts_with(['.', '-']));
    }
}
