//! The brackets of a JSON text that arrives in pieces: whether they are closed, and their depth.

/// Counts brackets outside of strings. Does not check that the text is JSON.
///
/// A parser of the whole text could tell as much, but only by starting again at each piece.
#[derive(Debug, Default)]
pub(super) struct Brackets {
    depth: u32,
    max_depth: u32,
    is_in_string: bool,
    is_escaped: bool,
}

impl Brackets {
    /// Reads bytes up to the one that closes the outermost bracket.
    ///
    /// Returns how many these are: all of them if none closes it, and none if it is closed.
    pub(super) fn read(&mut self, bytes: &[u8]) -> usize {
        for (index, byte) in bytes.iter().enumerate() {
            if self.depth == 0 && self.max_depth > 0 {
                return index;
            }
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' => self.is_escaped = self.is_in_string,
                b'"' => self.is_in_string = !self.is_in_string,
                _ if self.is_in_string => {}
                b'{' | b'[' => {
                    self.depth = self.depth.saturating_add(1);
                    self.max_depth = self.max_depth.max(self.depth);
                }
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
        bytes.len()
    }

    /// Whether a bracket has been opened and not closed.
    pub(super) fn are_open(&self) -> bool {
        self.depth > 0
    }
}

/// Returns how deep the brackets of a JSON text are nested.
pub(super) fn depth_of(json: &[u8]) -> u32 {
    let mut brackets = Brackets::default();
    brackets.read(json);
    brackets.max_depth
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_in_strings_do_not_count() {
        for (text, taken, are_open, max_depth) in [
            ("{}", 2, false, 1),
            (" \r\n\t[1,[2]] ", 11, false, 2),
            (r#"{"a}\"}":"]"}x"#, 13, false, 1),
            (r#"{"a":[{"b\\":1}]}{}"#, 17, false, 3),
            (r#"{"a":"#, 5, true, 1),
            (r#"{"a\"#, 4, true, 1),
            ("hello", 5, false, 0),
            ("}", 1, false, 0),
            ("", 0, false, 0),
        ] {
            let mut whole = Brackets::default();
            let found = whole.read(text.as_bytes());
            let state = (found, whole.are_open(), whole.max_depth);
            assert_eq!(state, (taken, are_open, max_depth), "{text}");
            let mut bytewise = Brackets::default();
            let found: usize = text.bytes().map(|byte| bytewise.read(&[byte])).sum();
            assert_eq!((found, bytewise.max_depth), (taken, max_depth), "{text}");
        }
    }
}
