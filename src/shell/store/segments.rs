//! The files of a log: their names, their order, and what a look at one finds.

use std::fs;
use std::fs::File;
use std::io;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::Path;
use std::path::PathBuf;
use std::time::UNIX_EPOCH;

use rustix::fs::SeekFrom;
use rustix::fs::seek;
use rustix::io::Errno;

use crate::journal::frame;
use crate::journal::frame::Found;
use crate::journal::segment::HEADER_BYTES;
use crate::journal::segment::Header;
use crate::journal::segment::HeaderError;
use crate::shell::store::Damage;
use crate::shell::store::Pos;
use crate::shell::store::Record;
use crate::shell::store::StoreError;

/// One segment file, by its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Segment {
    /// The position of its first record.
    pub first: Pos,
    /// Where it is.
    pub path: PathBuf,
}

impl Segment {
    /// The segment of `dir` that begins with `first`: twenty digits and `.seg`, so that names sort as positions do.
    pub fn of(dir: &Path, first: Pos) -> Segment {
        let path = dir.join(format!("{:020}.seg", first.number()));
        Segment { first, path }
    }

    /// When it was last written, ms since the epoch.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn written_ms(&self) -> Result<i64, StoreError> {
        let path = &self.path;
        let meta = fs::metadata(path).map_err(StoreError::io("inspect", path))?;
        let written = meta.modified().map_err(StoreError::io("inspect", path))?;
        let since = written.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

/// The segments of a log in order; other files are left alone.
///
/// # Errors
/// [`StoreError::Io`].
pub fn list(dir: &Path) -> Result<Vec<Segment>, StoreError> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).map_err(StoreError::io("list", dir))? {
        let path = entry.map_err(StoreError::io("list", dir))?.path();
        let stem = path.file_stem().and_then(|s| s.to_str()).unwrap_or("");
        if path.extension().is_some_and(|e| e == "seg")
            && stem.len() == 20
            && let Ok(first) = stem.parse()
        {
            let first = Pos::new(first);
            all.push(Segment { first, path });
        }
    }
    all.sort();
    Ok(all)
}

/// What reading one segment to its end found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Its number, if the head is sound.
    pub segment_no: Option<u32>,
    /// Whether there is neither a sound head nor anything after it: a crash came between making the file and using it.
    pub unwritten: bool,
    /// Where the next record belongs.
    pub end: u64,
    /// The position the next record gets.
    pub next: u64,
    /// Bytes of an unfinished write after `end`.
    pub torn_bytes: u64,
    /// How long the file is.
    pub file_bytes: u64,
    /// Bad bytes with good records after them.
    pub damaged: Vec<Damage>,
}

/// Reads a segment; `each` gets every record until it breaks.
/// `None` if there is no such file any more. `guess` stands for the number if the head is damaged.
///
/// # Errors
/// [`StoreError::Io`]; [`StoreError::Version`] if a later program wrote it.
pub fn look(
    segment: &Segment,
    guess: u32,
    each: &mut dyn FnMut(Record<'_>) -> ControlFlow<()>,
) -> Result<Option<Look>, StoreError> {
    let path = &segment.path;
    let (bytes, file_bytes) = match read_written(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(StoreError::io("read", path))?,
    };
    let mut look = Look {
        file_bytes,
        ..Look::default()
    };
    let damage = |from: usize, to: usize, lost: u64| Damage {
        file: path.clone(),
        from: from as u64,
        to: to as u64,
        lost,
    };
    match Header::decode(&bytes) {
        Ok(header) => look.segment_no = Some(header.segment_no),
        Err(HeaderError::Unwritten) => look.unwritten = true,
        Err(HeaderError::Damaged) => look.damaged.push(damage(0, HEADER_BYTES, 0)),
        Err(HeaderError::Version(found)) => {
            let path = path.clone();
            return Err(StoreError::Version { path, found });
        }
    }
    let body = bytes.get(HEADER_BYTES..).unwrap_or_default();
    let mut scan = frame::scan(body, segment.first.number());
    for found in scan.by_ref() {
        match found {
            Found::Record {
                pos, kind, payload, ..
            } => {
                let record = Record {
                    pos: Pos::new(pos),
                    segment_no: look.segment_no.unwrap_or(guess),
                    kind,
                    payload,
                };
                if each(record).is_break() {
                    break;
                }
            }
            Found::Damaged { from, to, lost } => {
                let (from, to) = (HEADER_BYTES + from, HEADER_BYTES + to);
                look.damaged.push(damage(from, to, lost));
            }
            Found::Torn { at, to } => look.torn_bytes = (to - at) as u64,
        }
    }
    look.end = (HEADER_BYTES + scan.offset()) as u64;
    look.next = scan.next_pos();
    let blank = look.next == segment.first.number() && look.torn_bytes == 0;
    if blank && look.segment_no.is_none() {
        look.damaged.clear();
        look.unwritten = true;
        look.torn_bytes = look.file_bytes.min(HEADER_BYTES as u64);
    } else if look.unwritten {
        look.unwritten = false;
        look.damaged.insert(0, damage(0, HEADER_BYTES, 0));
    }
    Ok(Some(look))
}

/// A file without what was only ever reserved at its end, and its whole length. Reserved space reads as zeros, and there
/// may be a lot of it; where the file system does not tell it apart, all of it is read.
fn read_written(path: &Path) -> io::Result<(Vec<u8>, u64)> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut end = 0;
    while end < length {
        let data = match seek(&file, SeekFrom::Data(end)) {
            Ok(data) => data,
            Err(Errno::NXIO) => break,
            Err(_) => length,
        };
        end = seek(&file, SeekFrom::Hole(data)).map_or(length, |hole| hole.clamp(end + 1, length));
    }
    seek(&file, SeekFrom::Start(0))?;
    let mut bytes = Vec::with_capacity(usize::try_from(end).unwrap_or(0));
    file.by_ref().take(end).read_to_end(&mut bytes)?;
    Ok((bytes, length))
}

impl Look {
    /// A sealed segment was whole when it was sealed: a bad end of one is damage, and so is what is missing before the
    /// `next` one.
    pub fn sealed(mut self, segment: &Segment, next: &Segment) -> Look {
        let lost = next.first.number().saturating_sub(self.next);
        if self.torn_bytes > 0 || lost > 0 {
            self.damaged.push(Damage {
                file: segment.path.clone(),
                from: self.end,
                to: self.end + self.torn_bytes,
                lost,
            });
            self.torn_bytes = 0;
        }
        self
    }
}
