//! What a script prints, however much: the head as it comes, the tail at the end, and a line that says what lies between.

use std::fs::File;
use std::io::{self, Write};

/// How much of the beginning is kept.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// How much of the end is kept.
const TAIL_BYTES_MAX: usize = 64 * 1024;

pub(super) struct Output {
    file: File,
    head_bytes: usize,
    /// The last bytes after the head; twice the bound at most, so that it is cut rarely.
    tail: Vec<u8>,
    total_bytes: u64,
    /// A full disk costs the output, not the run.
    failed: bool,
}

impl Output {
    pub(super) fn new(file: File) -> Self {
        Self {
            file,
            head_bytes: 0,
            tail: Vec::new(),
            total_bytes: 0,
            failed: false,
        }
    }

    pub(super) fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    pub(super) fn take(&mut self, bytes: &[u8]) {
        self.total_bytes += bytes.len() as u64;
        let (head, rest) = bytes.split_at(bytes.len().min(HEAD_BYTES_MAX - self.head_bytes));
        self.head_bytes += head.len();
        self.failed |= self.file.write_all(head).is_err();
        self.tail.extend_from_slice(rest);
        if self.tail.len() > 2 * TAIL_BYTES_MAX {
            self.cut();
        }
    }

    fn cut(&mut self) {
        let excess = self.tail.len().saturating_sub(TAIL_BYTES_MAX);
        self.tail.drain(..excess);
    }

    /// Writes the rest.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.cut();
        if self.failed {
            return Err(io::Error::other("part of the output could not be written"));
        }
        let kept = (self.head_bytes + self.tail.len()) as u64;
        let left_out = self.total_bytes - kept;
        if left_out > 0 {
            writeln!(self.file, "\n… {left_out} bytes left out …")?;
        }
        self.file.write_all(&self.tail)?;
        self.file.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Seek};

    fn printed(parts: &[&[u8]]) -> Vec<u8> {
        let path = std::env::temp_dir().join(format!(
            "ops-output-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .unwrap();
        std::fs::remove_file(&path).unwrap();
        let mut output = Output::new(file.try_clone().unwrap());
        for part in parts {
            output.take(part);
        }
        output.finish().unwrap();
        let mut text = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut text).unwrap();
        text
    }

    #[test]
    fn what_fits_is_kept_to_the_byte() {
        let head = vec![b'a'; HEAD_BYTES_MAX - 1];
        let tail = vec![b'b'; TAIL_BYTES_MAX + 1];
        assert_eq!(
            printed(&[&head, &tail]),
            [head.clone(), tail.clone()].concat()
        );
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let text = printed(&[&[b'a'; HEAD_BYTES_MAX], &[b'b'; 1000], &[b'c'; 300_000]]);
        let left_out = 1000 + 300_000 - TAIL_BYTES_MAX;
        let between = format!("\n… {left_out} bytes left out …\n");
        let expected = [
            &[b'a'; HEAD_BYTES_MAX][..],
            between.as_bytes(),
            &[b'c'; TAIL_BYTES_MAX],
        ];
        assert_eq!(text, expected.concat());
    }
}
