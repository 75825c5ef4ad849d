//! The segment being written: a file that is good up to a length, and never trusted after it.

use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::path::PathBuf;

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use crate::journal::segment::HEADER_BYTES;
use crate::journal::segment::Header;
use crate::shell::store::Pos;
use crate::shell::store::StoreError;
use crate::shell::store::segments::Look;
use crate::shell::store::segments::Segment;
use crate::shell::store::sync_dir;

/// The last segment of a log, open for writing.
#[derive(Debug)]
pub struct Active {
    pub segment: Segment,
    pub segment_no: u32,
    /// Everything before this is on disk.
    pub good_bytes: u64,
    /// Writes up to here cannot run out of space; 0 if none is reserved.
    pub reserved_bytes: u64,
    /// Where a failed write may have left bytes, if after `good_bytes`.
    dirty_bytes: u64,
    file: File,
}

impl Active {
    /// Makes a segment, from the reserved `spare` file if there is one. It is on disk when this returns.
    pub fn create(
        dir: &Path,
        first: Pos,
        segment_no: u32,
        spare: Option<&Spare>,
        reserve_bytes: u64,
    ) -> Result<Active, StoreError> {
        let segment = Segment::of(dir, first);
        let path = &segment.path;
        let taken = spare.is_some_and(|s| fs::rename(&s.path, path).is_ok());
        let mut active = Active {
            file: open(path, !taken)?,
            segment_no,
            good_bytes: HEADER_BYTES as u64,
            reserved_bytes: 0,
            dirty_bytes: 0,
            segment,
        };
        active.reserve(reserve_bytes);
        if let Err(e) = active.write_header().and_then(|()| sync_dir(dir)) {
            // The log goes on in the segment before, so there must not be one that begins here.
            let _ = fs::remove_file(&active.segment.path);
            return Err(e);
        }
        Ok(active)
    }

    /// Takes over a segment as a look at it found it: writes a head that is missing and cuts a torn tail.
    pub fn adopt(
        dir: &Path,
        segment: Segment,
        segment_no: u32,
        look: &Look,
        reserve_bytes: u64,
    ) -> Result<Active, StoreError> {
        let mut active = Active {
            file: open(&segment.path, false)?,
            segment_no,
            good_bytes: look.end,
            reserved_bytes: 0,
            dirty_bytes: look.end + look.torn_bytes,
            segment,
        };
        active.reserve(reserve_bytes);
        if active.reserved_bytes == 0 {
            active.dirty_bytes = active.dirty_bytes.max(look.file_bytes);
        }
        if look.unwritten {
            active.write_header()?;
        }
        active.clean()?;
        // What the last process wrote and did not sync was found, so it counts: it must be durable too.
        active.sync()?;
        sync_dir(dir)?;
        Ok(active)
    }

    /// Writes `bytes` after the good ones, and syncs them if asked to; if that fails, takes back what got written.
    pub fn write(&mut self, bytes: &[u8], sync: bool) -> Result<(), StoreError> {
        self.clean()?;
        let end = self.good_bytes + bytes.len() as u64;
        let path = &self.segment.path;
        let written = self
            .file
            .write_all_at(bytes, self.good_bytes)
            .map_err(StoreError::io("write", path))
            .and_then(|()| if sync { self.sync() } else { Ok(()) });
        match written {
            Ok(()) => {
                self.good_bytes = end;
                Ok(())
            }
            Err(e) => {
                self.dirty_bytes = end;
                // If this fails as well, the next write begins with it.
                let _ = self.clean();
                Err(e)
            }
        }
    }

    /// Gives back the space reserved after the last record.
    pub fn seal(self) {
        // It stays readable with the zeros, so a failure costs only space.
        let _ = self.file.set_len(self.good_bytes);
    }

    fn write_header(&mut self) -> Result<(), StoreError> {
        let header = Header {
            segment_no: self.segment_no,
            first: self.segment.first.number(),
        };
        let path = &self.segment.path;
        self.file
            .write_all_at(&header.encode(), 0)
            .and_then(|()| self.file.sync_all())
            .map_err(StoreError::io("write", path))
    }

    /// Removes bytes after the good ones: cut where space is not reserved, zeroed where it is, to keep it.
    fn clean(&mut self) -> Result<(), StoreError> {
        if self.dirty_bytes <= self.good_bytes {
            return Ok(());
        }
        let path = &self.segment.path;
        let keep = self.reserved_bytes.max(self.good_bytes);
        if self.dirty_bytes > keep {
            self.file
                .set_len(keep)
                .map_err(StoreError::io("cut", path))?;
        }
        const ZEROS: [u8; 4_096] = [0; 4_096];
        let (mut at, end) = (self.good_bytes, self.dirty_bytes.min(keep));
        while at < end {
            let n = usize::try_from(end - at).map_or(ZEROS.len(), |n| n.min(ZEROS.len()));
            self.file
                .write_all_at(&ZEROS[..n], at)
                .map_err(StoreError::io("clear", path))?;
            at += n as u64;
        }
        self.sync()?;
        self.dirty_bytes = 0;
        Ok(())
    }

    fn reserve(&mut self, bytes: u64) {
        if bytes > 0 && allocate(&self.file, bytes).is_ok() {
            self.reserved_bytes = bytes;
        }
    }

    /// Waits until everything written is on disk.
    pub fn sync(&self) -> Result<(), StoreError> {
        let path = &self.segment.path;
        self.file.sync_data().map_err(StoreError::io("sync", path))
    }
}

/// Space for the next segment, reserved while there is some.
#[derive(Debug)]
pub struct Spare {
    path: PathBuf,
}

impl Spare {
    /// Reserves it, or takes over the one an earlier process reserved.
    pub fn make(dir: &Path, bytes: u64) -> Result<Spare, Errno> {
        let path = dir.join("spare");
        let made = open(&path, false)
            .or_else(|_| open(&path, true))
            .map_err(|_| Errno::IO)
            .and_then(|file| {
                allocate(&file, bytes)?;
                file.sync_all().map_err(|_| Errno::IO)
            });
        match made {
            Ok(()) => Ok(Spare { path }),
            Err(e) => {
                let _ = fs::remove_file(&path);
                Err(e)
            }
        }
    }
}

fn open(path: &Path, new: bool) -> Result<File, StoreError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(new)
        .truncate(new)
        .open(path)
        .map_err(StoreError::io("open", path))
}

fn allocate(file: &File, bytes: u64) -> Result<(), Errno> {
    rustix::io::retry_on_intr(|| rustix::fs::fallocate(file, FallocateFlags::empty(), 0, bytes))
}
