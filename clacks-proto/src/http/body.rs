//! The bytes of a body, out of what is around them.

/// What is left of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    Bytes(usize),
    Chunks(Chunk),
    /// As much as comes before the end of the connection.
    Endless,
}

/// Where in a chunked body the next byte belongs (RFC 9112 §7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chunk {
    /// In the line with the size, of which so many digits and bytes altogether are there.
    Size {
        size: usize,
        digits: u8,
        line: u16,
    },
    /// Behind the size, in what nobody needs.
    Extension {
        size: usize,
        line: u16,
    },
    Data(usize),
    /// At the end of the line, or of the data; so many bytes of CR LF are there.
    Return {
        then: Then,
    },
    Feed {
        then: Then,
    },
    /// In the lines after the last chunk: how long this one is, and how many bytes all of them are.
    Trailer {
        line: u16,
        all: u16,
    },
}

/// What follows the end of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    Data(usize),
    Size,
    Trailer(u16),
    End,
}

/// The bytes are no body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadBody;

/// The longest line with a size, and all lines after the last chunk together.
const MAX_LINE: u16 = 4096;

impl Chunk {
    pub(super) const START: Self = Self::Size { size: 0, digits: 0, line: 0 };
}

impl Frame {
    /// Takes bytes of the body off the front of `input` and hands them to `take`, piece by piece. Whether the body is whole.
    pub(super) fn feed(
        &mut self,
        input: &mut &[u8],
        mut take: impl FnMut(&[u8]),
    ) -> Result<bool, BadBody> {
        match self {
            Self::Bytes(left) => {
                take(split_off(input, left));
                Ok(*left == 0)
            }
            Self::Endless => {
                take(core::mem::take(input));
                Ok(false)
            }
            Self::Chunks(chunk) => {
                while !input.is_empty() {
                    if let Chunk::Data(left) = chunk {
                        take(split_off(input, left));
                        if *left == 0 {
                            *chunk = Chunk::Return { then: Then::Size };
                        }
                        continue;
                    }
                    let Some((byte, rest)) = input.split_first() else { break };
                    *input = rest;
                    match chunk.step(*byte)? {
                        Some(next) => *chunk = next,
                        None => return Ok(true),
                    }
                }
                Ok(false)
            }
        }
    }
}

fn split_off<'a>(input: &mut &'a [u8], left: &mut usize) -> &'a [u8] {
    let (bytes, rest) = input.split_at(input.len().min(*left));
    *input = rest;
    *left -= bytes.len();
    bytes
}

impl Chunk {
    /// Where the byte after this one belongs; `None` after the last.
    fn step(self, byte: u8) -> Result<Option<Self>, BadBody> {
        let longer = |line: u16| Some(line + 1).filter(|line| *line < MAX_LINE).ok_or(BadBody);
        let behind = |size| if size == 0 { Then::Trailer(0) } else { Then::Data(size) };
        Ok(Some(match (self, byte) {
            (Self::Size { size, digits, .. }, b'\r') if digits > 0 => {
                Self::Feed { then: behind(size) }
            }
            (Self::Size { size, digits, line }, b';' | b' ' | b'\t') if digits > 0 => {
                Self::Extension { size, line: longer(line)? }
            }
            (Self::Size { size, digits, line }, _) => {
                let digit = char::from(byte).to_digit(16).ok_or(BadBody)?;
                let size = size.checked_mul(16).ok_or(BadBody)? + digit as usize;
                Self::Size { size, digits: digits.saturating_add(1), line: longer(line)? }
            }
            (Self::Extension { size, .. }, b'\r') => Self::Feed { then: behind(size) },
            (Self::Extension { .. } | Self::Trailer { .. }, b'\n') => return Err(BadBody),
            (Self::Extension { size, line }, _) => Self::Extension { size, line: longer(line)? },
            (Self::Return { then }, b'\r') => Self::Feed { then },
            (Self::Feed { then }, b'\n') => match then {
                Then::Data(size) => Self::Data(size),
                Then::Size => Self::START,
                Then::Trailer(all) => Self::Trailer { line: 0, all },
                Then::End => return Ok(None),
            },
            (Self::Trailer { line: 0, .. }, b'\r') => Self::Feed { then: Then::End },
            (Self::Trailer { all, .. }, b'\r') => Self::Feed { then: Then::Trailer(all) },
            (Self::Trailer { line, all }, _) => {
                Self::Trailer { line: longer(line)?, all: longer(all)? }
            }
            // Data is not taken byte by byte.
            (Self::Return { .. } | Self::Feed { .. } | Self::Data(_), _) => return Err(BadBody),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn read(text: &str, chunk: usize) -> Result<(Vec<u8>, bool, usize), BadBody> {
        let mut frame = Frame::Chunks(Chunk::START);
        let (mut body, mut fed) = (Vec::new(), 0);
        for mut input in text.as_bytes().chunks(chunk) {
            let len = input.len();
            let is_whole = frame.feed(&mut input, |bytes| body.extend_from_slice(bytes))?;
            fed += len - input.len();
            if is_whole {
                return Ok((body, true, fed));
            }
        }
        Ok((body, false, fed))
    }

    #[test]
    fn chunks_in_any_pieces() {
        for chunk in 1..40 {
            for (text, body, is_whole, fed) in [
                ("5\r\nhello\r\n0\r\n\r\nrest", "hello", true, 15),
                ("2\r\nhe\r\n003;x=\"y\"\r\nllo\r\n0\r\nA: b\r\nC: d\r\n\r\n", "hello", true, 40),
                ("A\r\n0123456789\r\n00\r\n\r\n", "0123456789", true, 21),
                ("5\r\nhel", "hel", false, 6),
                ("0\r\n\r\n", "", true, 5),
            ] {
                let expected = Ok((Vec::from(body.as_bytes()), is_whole, fed));
                assert_eq!(read(text, chunk), expected, "{text:?} by {chunk}");
            }
            for text in [
                "\r\n",
                "x\r\n",
                "5\nhello",
                "5\r\nhellox\r\n",
                "5 x\n",
                ";\r\n",
                "1000000000000000000000\r\n",
                "0\r\nA\n\r\n",
                "-1\r\n",
            ] {
                assert_eq!(read(text, chunk), Err(BadBody), "{text:?} by {chunk}");
            }
        }
    }

    #[test]
    fn lines_have_an_end() {
        let long = "x".repeat(5000);
        for text in [alloc::format!("1;{long}"), alloc::format!("0\r\n{long}"), "0".repeat(5000)] {
            assert_eq!(read(&text, 100), Err(BadBody));
        }
        let many = alloc::format!("0\r\n{}", "a: b\r\n".repeat(2000));
        assert_eq!(read(&many, 100), Err(BadBody));
    }
}
