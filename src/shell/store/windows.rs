//! Images of the windows on disk: `<20 digits>/` folders, each a log of its own, of which the newest whole one counts.
//!
//! An image is made in the folder `making` and renamed once its last record is durable, so a folder with a number is
//! whole unless the disk damaged it; then the one before it counts, and a restart replays more samples.

use std::fs;
use std::path::{Path, PathBuf};

use crate::journal::windows::{
    KIND_END, KIND_MIXED_SLICE, KIND_SLICE, Slice, decode, decode_end, encode, encode_end,
};
use crate::shell::store::log::{Options, SegLog};
use crate::shell::store::replay::replay;
use crate::shell::store::{Log, Pos, StoreError, sync_dir};

/// How many images stay: the new one, and the one before it should that be damaged.
pub const KEPT: usize = 2;
/// Bytes that are written before they are synced: little enough that other logs' syncs do not wait behind them.
const SYNC_BYTES: usize = 2 << 20;

/// An image being made.
#[derive(Debug)]
pub struct Making {
    dir: PathBuf,
    log: SegLog,
    unsynced_bytes: usize,
    count: u64,
}

impl Making {
    /// Begins an image in `dir`; what an earlier attempt left is removed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn begin(dir: &Path) -> Result<Making, StoreError> {
        let at = dir.join("making");
        if at.exists() {
            fs::remove_dir_all(&at).map_err(StoreError::io("remove", &at))?;
        }
        let (log, _) = SegLog::open(&at, Options::default())?;
        Ok(Making {
            dir: dir.to_owned(),
            log,
            unsynced_bytes: 0,
            count: 0,
        })
    }

    /// Adds some series.
    ///
    /// # Errors
    /// [`StoreError`]; the image is then of no use.
    pub fn add(&mut self, slice: &Slice) -> Result<(), StoreError> {
        let (kind, payload) = encode(slice);
        self.log.append(kind, &payload)?;
        self.count += slice.series.len() as u64;
        self.unsynced_bytes += payload.len();
        if self.unsynced_bytes >= SYNC_BYTES {
            self.log.commit()?;
            self.unsynced_bytes = 0;
        }
        Ok(())
    }

    /// Makes it whole and durable, and removes all but the newest [`KEPT`].
    ///
    /// # Errors
    /// [`StoreError`]; the earlier images are then as they were.
    pub fn finish(mut self) -> Result<(), StoreError> {
        self.log.append(KIND_END, &encode_end(self.count))?;
        self.log.commit()?;
        drop(self.log);
        let earlier = list(&self.dir)?;
        let number = earlier.last().map_or(1, |(n, _)| n.saturating_add(1));
        let (from, to) = (
            self.dir.join("making"),
            self.dir.join(format!("{number:020}")),
        );
        fs::rename(&from, &to).map_err(StoreError::io("rename", &from))?;
        sync_dir(&self.dir)?;
        let old = (earlier.len() + 1).saturating_sub(KEPT);
        for (_, path) in earlier.into_iter().take(old) {
            fs::remove_dir_all(&path).map_err(StoreError::io("remove", &path))?;
        }
        Ok(())
    }

    /// Gives up: nothing of it stays.
    pub fn abandon(self) {
        let at = self.dir.join("making");
        drop(self.log);
        let _ = fs::remove_dir_all(at);
    }
}

/// The slices of the newest whole image, and the folders that were passed over. No image is an empty list.
///
/// # Errors
/// [`StoreError::Io`] if the directory cannot be listed.
pub fn load(dir: &Path) -> Result<(Vec<Slice>, Vec<PathBuf>), StoreError> {
    let mut ignored = Vec::new();
    if !dir.exists() {
        return Ok((Vec::new(), ignored));
    }
    for (_, path) in list(dir)?.into_iter().rev() {
        match read(&path) {
            Some(slices) => return Ok((slices, ignored)),
            None => ignored.push(path),
        }
    }
    Ok((Vec::new(), ignored))
}

fn read(path: &Path) -> Option<Vec<Slice>> {
    let (mut slices, mut sound, mut end) = (Vec::new(), true, None);
    let report = replay(path, Pos::START, &mut |record| match record.kind {
        KIND_SLICE | KIND_MIXED_SLICE => match decode(record.kind, record.payload) {
            Some(slice) => slices.push(slice),
            None => sound = false,
        },
        KIND_END => end = decode_end(record.payload),
        _ => sound = false,
    })
    .ok()?;
    let count: u64 = slices.iter().map(|s| s.series.len() as u64).sum();
    let whole = sound && report.lost == 0 && report.damaged.is_empty() && end == Some(count);
    whole.then_some(slices)
}

fn list(dir: &Path) -> Result<Vec<(u64, PathBuf)>, StoreError> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).map_err(StoreError::io("list", dir))? {
        let path = entry.map_err(StoreError::io("list", dir))?.path();
        let name = path.file_name().and_then(|n| n.to_str());
        if let Some(number) = name.filter(|n| n.len() == 20).and_then(|n| n.parse().ok()) {
            all.push((number, path));
        }
    }
    all.sort();
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::series::SeriesCopy;
    use crate::model::labels::{Labels, SeriesKey};
    use crate::shell::store::scratch::Scratch;

    fn slice(covers: u64, values: &[f64]) -> Slice {
        let series = SeriesCopy {
            key: SeriesKey::new("m", &Labels::new()),
            closed: Vec::new(),
            times: (0..).take(values.len()).collect(),
            values: values.to_vec(),
            natives: Vec::new(),
        };
        Slice {
            covers,
            series: vec![series],
        }
    }

    fn make(dir: &Path, covers: u64) {
        let mut making = Making::begin(dir).unwrap();
        making.add(&slice(covers, &[1.0, 2.0])).unwrap();
        making.add(&slice(covers + 1, &[3.0])).unwrap();
        making.finish().unwrap();
    }

    #[test]
    fn the_newest_whole_image_counts_and_two_stay() {
        let scratch = Scratch::new();
        let dir = &scratch.path().join("windows");
        assert!(load(dir).unwrap().0.is_empty());
        for covers in [10, 20, 30] {
            make(dir, covers);
        }
        assert_eq!(list(dir).unwrap().len(), KEPT);
        let found = load(dir).unwrap().0;
        assert_eq!(found, [slice(30, &[1.0, 2.0]), slice(31, &[3.0])]);
        let unfinished = Making::begin(dir).unwrap();
        drop(unfinished);
        assert_eq!(load(dir).unwrap().0.len(), 2);
        make(dir, 40);
        assert_eq!(load(dir).unwrap().0[0].covers, 40);
    }

    #[test]
    fn a_damaged_image_falls_back_wherever_it_is_hit() {
        let scratch = Scratch::new();
        let dir = scratch.path();
        make(dir, 10);
        make(dir, 20);
        let (_, newest) = list(dir).unwrap().pop().unwrap();
        let file = newest.join("00000000000000000001.seg");
        let whole = fs::read(&file).unwrap();
        // Behind the head of the segment, which is not needed to read it.
        for at in 32..whole.len() {
            let mut bad = whole.clone();
            bad[at] ^= 1;
            for bytes in [&bad, &whole[..at].to_vec()] {
                fs::write(&file, bytes).unwrap();
                let (found, ignored) = load(dir).unwrap();
                assert_eq!((found[0].covers, &ignored[0]), (10, &newest), "byte {at}");
            }
        }
    }
}
