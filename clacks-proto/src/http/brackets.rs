//! Where a JSON text ends and how deep it nests, found out while its bytes come in.

/// Follows the brackets and strings of a JSON text, and nothing else: whether it is JSON is for a parser to say.
#[derive(Clone, Debug, Default)]
pub(super) struct Scan {
    stage: Stage,
    depth: u32,
    deepest: u32,
    is_in_string: bool,
    is_escaped: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// Nothing but white space so far.
    #[default]
    Before,
    /// Within the outermost brackets.
    Inside,
    /// They are closed.
    After,
    /// The text begins with no bracket.
    Bare,
}

impl Scan {
    /// Takes in bytes up to the one that closes the outermost bracket. How many these are.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> usize {
        for (index, byte) in bytes.iter().enumerate() {
            if self.stage == Stage::After {
                return index;
            }
            self.step(*byte);
        }
        bytes.len()
    }

    fn step(&mut self, byte: u8) {
        if self.is_in_string {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' => self.is_escaped = true,
                b'"' => self.is_in_string = false,
                _ => {}
            }
            return;
        }
        match (self.stage, byte) {
            (Stage::Before | Stage::Inside, b'{' | b'[') => {
                self.stage = Stage::Inside;
                self.depth = self.depth.saturating_add(1);
                self.deepest = self.deepest.max(self.depth);
            }
            (Stage::Inside, b'}' | b']') => {
                self.depth = self.depth.saturating_sub(1);
                if self.depth == 0 {
                    self.stage = Stage::After;
                }
            }
            (Stage::Inside, b'"') => self.is_in_string = true,
            (Stage::Before, b' ' | b'\t' | b'\r' | b'\n') => {}
            (Stage::Before, _) => self.stage = Stage::Bare,
            _ => {}
        }
    }

    /// Whether a bracket that was opened still waits to be closed.
    pub(super) fn is_open(&self) -> bool {
        self.stage == Stage::Inside
    }

    /// How many brackets were open at a time, at most.
    pub(super) fn deepest(&self) -> u32 {
        self.deepest
    }
}

/// How deep a whole JSON text nests.
pub(super) fn depth_of(text: &[u8]) -> u32 {
    let mut scan = Scan::default();
    scan.feed(text);
    scan.deepest()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_in_strings_are_no_brackets() {
        for (text, taken, is_open, deepest) in [
            ("{}", 2, false, 1),
            (" \r\n\t[1,[2]] ", 11, false, 2),
            (r#"{"a}\"}":"]"}x"#, 13, false, 1),
            (r#"{"a":[{"b\\":1}]}{}"#, 17, false, 3),
            (r#"{"a":"#, 5, true, 1),
            (r#"{"a\"#, 4, true, 1),
            ("hello {", 7, false, 0),
            ("\"{\" {", 5, false, 0),
            ("", 0, false, 0),
        ] {
            let mut scan = Scan::default();
            let fed = scan.feed(text.as_bytes());
            assert_eq!((fed, scan.is_open(), scan.deepest()), (taken, is_open, deepest), "{text}");
            let mut bytewise = Scan::default();
            let fed: usize = text.bytes().map(|byte| bytewise.feed(&[byte])).sum();
            assert_eq!((fed, bytewise.deepest()), (taken, deepest), "{text}");
        }
    }
}
