//! The memory that links share to move their bytes.

/// How much is read or written at once: four full TLS records, or some thousand small messages.
pub(crate) const CHUNK: usize = 64 * 1024;

/// One buffer to read into, used by each link in its turn, and one to lend to links that write.
pub(crate) struct Buffers {
    pub(crate) inbox: Box<[u8]>,
    spare: Option<Box<[u8]>>,
}

impl Buffers {
    pub(crate) fn new() -> Self {
        Self { inbox: chunk(), spare: None }
    }

    /// A buffer of [`CHUNK`] bytes for a link that has something to write.
    pub(crate) fn lend(&mut self) -> Box<[u8]> {
        self.spare.take().unwrap_or_else(chunk)
    }

    /// Takes a buffer back. One is enough for the next turn: links keep theirs only while their peers do not read.
    pub(crate) fn give_back(&mut self, buffer: Box<[u8]>) {
        self.spare = Some(buffer);
    }
}

fn chunk() -> Box<[u8]> {
    vec![0; CHUNK].into_boxed_slice()
}
