//! The commands for files: `put`, `get`, `health`, `keep` and `link`.
//!
//! Each one is a guest of the network in this process ([`guest`]), with one job of
//! [`clacks_store::Client`] at a time. [`access`] finds the tower that is asked first. [`report`]
//! writes what the job reports.

mod access;
mod first_hop;
mod get;
mod guest;
mod health;
mod interrupt;
mod keep;
mod link;
mod listen;
mod output;
mod put;
mod report;

use std::io::{self, BufRead, IsTerminal, Read, Write};

use clacks_store::{KeepLink, LinkError, ReadLink};
use zeroize::Zeroizing;

use crate::args::LinkArg;
use crate::error::Failure;

pub(crate) use get::run as get;
pub(crate) use health::run as health;
pub(crate) use keep::run as keep;
pub(crate) use link::run as link;
pub(crate) use put::run as put;

/// The longest link that is read from standard input, with some room for spaces.
const LONGEST: u64 = 1_024;

/// A link of either kind.
enum AnyLink {
    Read(ReadLink),
    Keep(KeepLink),
}

impl AnyLink {
    /// Parses a link.
    fn parse(text: &str) -> Result<Self, Failure> {
        match text.parse() {
            Ok(link) => Ok(Self::Read(link)),
            Err(LinkError::IsKeepLink) => text.parse().map(Self::Keep).map_err(wrong_link),
            Err(error) => Err(wrong_link(error)),
        }
    }

    /// Returns the text of the link.
    fn text(&self) -> Zeroizing<String> {
        Zeroizing::new(match self {
            Self::Read(link) => link.to_string(),
            Self::Keep(link) => link.to_string(),
        })
    }

    /// Returns the link with which the file can be kept alive.
    fn keep(&self) -> KeepLink {
        match self {
            Self::Read(link) => link.keep(),
            Self::Keep(link) => link.clone(),
        }
    }
}

/// Returns the link of an argument. Without one, it is read from standard input.
fn any_link(arg: &LinkArg) -> Result<AnyLink, Failure> {
    AnyLink::parse(&text_of(arg)?)
}

/// Returns the read link of an argument. Without one, it is read from standard input.
fn read_link(arg: &LinkArg) -> Result<ReadLink, Failure> {
    text_of(arg)?.parse().map_err(wrong_link)
}

fn wrong_link(error: LinkError) -> Failure {
    let sentence = error.to_string();
    let hint = match error {
        LinkError::Character { .. } | LinkError::Mistyped => {
            ": copy all of it, from the first to the last character"
        }
        _ => "",
    };
    let (first, rest) = sentence.split_at(sentence.chars().next().map_or(0, char::len_utf8));
    Failure::usage(format_args!("{}{rest}{hint}.", first.to_uppercase()))
}

fn text_of(arg: &LinkArg) -> Result<Zeroizing<String>, Failure> {
    match &arg.link {
        Some(link) if link != "-" => Ok(Zeroizing::new(link.clone())),
        _ => ask_for_link(),
    }
}

/// Reads one line of a terminal, or all of another standard input.
fn ask_for_link() -> Result<Zeroizing<String>, Failure> {
    let mut text = Zeroizing::new(String::new());
    let mut input = io::stdin().lock().take(LONGEST);
    let read = if io::stdin().is_terminal() {
        let mut err = io::stderr();
        let _ = write!(err, "Link: ").and_then(|()| err.flush());
        input.read_line(&mut text)
    } else {
        input.read_to_string(&mut text)
    };
    match read {
        Ok(_) if text.trim().is_empty() => {
            Err(Failure::usage("There is no link: give one, or write it to standard input."))
        }
        Ok(_) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Err(Failure::usage("Standard input is no text: write a link to it."))
        }
        Err(error) => {
            Err(Failure::failed(format_args!("Standard input cannot be read ({error}).")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clacks_store::{FileId, Geometry, Root, Secret};

    fn link() -> ReadLink {
        let geometry = Geometry::new(2, 93).unwrap();
        ReadLink::new(
            Secret::new([7; 16]),
            FileId { geometry, until: 498_000, root: Root::new([3; 32]) },
        )
    }

    fn sentence(text: &str) -> String {
        match AnyLink::parse(text) {
            Err(failure) => failure.sentence().unwrap().to_owned(),
            Ok(_) => panic!("{text} is a link"),
        }
    }

    #[test]
    fn both_kinds_of_links_give_the_keep_link() {
        let keep = link().keep();
        for text in [link().to_string(), keep.to_string(), keep.to_string().to_uppercase()] {
            let parsed = AnyLink::parse(&text).ok().unwrap();
            assert_eq!(parsed.keep(), keep);
        }
    }

    #[test]
    fn a_wrong_link_is_explained() {
        let mut text = link().to_string();
        text.replace_range(20..21, "b");
        let expected = "The link has 'b' at place 21, which no link contains: copy all of it, from \
                        the first to the last character.";
        assert_eq!(sentence(&text), expected);
        assert!(sentence(&link().to_string()[..90]).contains("mistyped or incomplete"));
        assert!(sentence("").contains("mistyped"));
    }
}
