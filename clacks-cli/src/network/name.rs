//! Names of networks and members.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::membership::OPEN;

/// The longest name in bytes. The name of a network is part of the protocol.
const LONGEST: usize = clacks_proto::wire::MAX_NETWORK;

/// The name of a network or of a member. It is a name of a file in any folder, and never leaves the
/// folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Name(String);

impl Name {
    /// Returns the name as text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<Path> for Name {
    fn as_ref(&self) -> &Path {
        Path::new(&self.0)
    }
}

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        parse(&text)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

/// Parses a name.
pub(crate) fn parse(text: &str) -> Result<Name, String> {
    let is_allowed = |c: char| c.is_alphanumeric() || "-_.".contains(c);
    if text.is_empty() || !text.starts_with(char::is_alphanumeric) || !text.chars().all(is_allowed)
    {
        return Err("write letters, digits, `-`, `_` and `.`, with a letter or digit first".into());
    }
    if text == OPEN {
        return Err(format!("`{OPEN}` is the name of the open network: choose another one"));
    }
    if text.len() > LONGEST {
        return Err(format!("{} bytes are too long: at most {LONGEST}", text.len()));
    }
    Ok(Name(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_in_its_folder() {
        for text in ["home", "Anna-2", "büro", "a.b_c", "7"] {
            assert_eq!(parse(text).unwrap().as_str(), text);
        }
        let long = "x".repeat(65);
        for text in [
            "", ".", "..", "../x", "/x", "x/y", "a\\b", ".hidden", "-x", "a b", "a\0", "a\n", &long,
        ] {
            assert!(parse(text).is_err(), "{text:?}");
            assert!(serde_json::from_value::<Name>(text.into()).is_err(), "{text:?}");
        }
    }
}
