//! Counts the brackets of a JSON text that arrives in pieces.

/// Counts brackets outside of strings. Does not check that the text is JSON.
///
/// A JSON parser would have to start again with each piece.
#[derive(Debug, Default)]
pub(super) struct Brackets {
    depth: u32,
    max_depth: u32,
    is_in_string: bool,
    is_escaped: bool,
}

impl Brackets {
    /// Reads bytes up to the closing bracket of the outermost pair, and returns their number.
    ///
    /// Returns the length of `bytes` if none of them closes the outermost pair, and 0 if it was
    /// closed before.
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

    /// Returns whether a bracket is open.
    pub(super) fn are_open(&self) -> bool {
        self.depth > 0
    }
}

/// Returns the maximum nesting of brackets in a JSON text.
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
