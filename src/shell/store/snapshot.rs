//! States on disk: `snapshot-<20 digits>.snap` files, each whole or absent, of which the newest sound one counts.

use std::collections::BTreeMap;
use std::fs;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;

use crate::journal::snapshot;
use crate::journal::snapshot::ImageError;
use crate::shell::store::Pos;
use crate::shell::store::StoreError;
use crate::shell::store::sync_dir;

/// How many snapshots stay: the new one, and the one before it should that be damaged.
pub const KEPT: usize = 2;

/// A state read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// By log's name: the last position whose record the state contains.
    pub covers: BTreeMap<String, Pos>,
    /// The state.
    pub body: Vec<u8>,
}

/// A snapshot that was passed over.
#[derive(Debug)]
pub struct Ignored {
    /// Which one.
    pub path: PathBuf,
    /// Why: unreadable, damaged, or of another version.
    pub why: IgnoredWhy,
}

/// Why a snapshot was passed over.
#[derive(Debug, thiserror::Error)]
pub enum IgnoredWhy {
    /// The system refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its bytes are not to be used.
    #[error(transparent)]
    Image(#[from] ImageError),
}

/// Writes a state of one `version` beside the earlier ones and removes all but [`KEPT`]. The file appears only once it
/// is whole and on disk.
///
/// # Errors
/// [`StoreError::Io`]; the earlier snapshots are then as they were, or the oldest could not be removed.
pub fn write(
    dir: &Path,
    version: u32,
    covers: &BTreeMap<String, Pos>,
    body: &[u8],
) -> Result<PathBuf, StoreError> {
    fs::create_dir_all(dir).map_err(StoreError::io("create", dir))?;
    let mut earlier = list(dir)?;
    let number = earlier.last().map_or(1, |(n, _)| n.saturating_add(1));
    let path = dir.join(format!("snapshot-{number:020}.snap"));
    let unfinished = dir.join("snapshot.tmp");
    let covers = covers.iter().map(|(n, p)| (n.clone(), p.number()));
    let bytes = snapshot::encode(version, &covers.collect(), body);
    let written = File::create(&unfinished).and_then(|mut file| {
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&unfinished, &path)
    });
    if let Err(e) = written {
        let _ = fs::remove_file(&unfinished);
        return Err(StoreError::io("write", &path)(e));
    }
    sync_dir(dir)?;
    earlier.truncate((earlier.len() + 1).saturating_sub(KEPT));
    for (_, old) in earlier {
        fs::remove_file(&old).map_err(StoreError::io("remove", &old))?;
    }
    Ok(path)
}

/// The newest sound snapshot of `version`, and the newer ones that were passed over.
///
/// # Errors
/// [`StoreError::Io`] if the directory cannot be listed. A directory that is not there has no snapshots.
pub fn load(dir: &Path, version: u32) -> Result<(Option<Snapshot>, Vec<Ignored>), StoreError> {
    let mut ignored = Vec::new();
    if !dir.exists() {
        return Ok((None, ignored));
    }
    for (_, path) in list(dir)?.into_iter().rev() {
        match read(&path, version) {
            Ok(found) => return Ok((Some(found), ignored)),
            Err(why) => ignored.push(Ignored { path, why }),
        }
    }
    Ok((None, ignored))
}

fn read(path: &Path, version: u32) -> Result<Snapshot, IgnoredWhy> {
    let bytes = fs::read(path).map_err(StoreError::io("read", path))?;
    let image = snapshot::decode(version, &bytes)?;
    let covers = image.covers.into_iter().map(|(n, p)| (n, Pos::new(p)));
    Ok(Snapshot {
        covers: covers.collect(),
        body: image.body,
    })
}

fn list(dir: &Path) -> Result<Vec<(u64, PathBuf)>, StoreError> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).map_err(StoreError::io("list", dir))? {
        let path = entry.map_err(StoreError::io("list", dir))?.path();
        let number = path
            .file_name()
            .and_then(|n| n.to_str())
            .and_then(|n| n.strip_prefix("snapshot-")?.strip_suffix(".snap"))
            .and_then(|n| n.parse().ok());
        if let Some(number) = number {
            all.push((number, path));
        }
    }
    all.sort();
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::store::scratch::Scratch;

    fn put(dir: &Path, version: u32, body: &[u8]) -> PathBuf {
        let covers = BTreeMap::from([("events".to_owned(), Pos::new(body.len() as u64))]);
        write(dir, version, &covers, body).unwrap()
    }

    #[test]
    fn the_newest_counts_and_two_stay() {
        let scratch = Scratch::new();
        let dir = &scratch.path().join("not/yet");
        assert!(load(dir, 1).unwrap().0.is_none());
        for body in [b"a".as_slice(), b"bb", b"ccc"] {
            put(dir, 1, body);
        }
        let (found, ignored) = load(dir, 1).unwrap();
        let found = found.unwrap();
        assert_eq!(
            (found.body.as_slice(), ignored.len()),
            (b"ccc".as_slice(), 0)
        );
        assert_eq!(found.covers["events"], Pos::new(3));
        assert_eq!(list(dir).unwrap().len(), KEPT);
    }

    #[test]
    fn damage_and_other_versions_fall_back_and_are_reported() {
        let scratch = Scratch::new();
        let dir = scratch.path();
        put(dir, 1, b"first");
        let newest = put(dir, 1, b"second");
        let whole = fs::read(&newest).unwrap();
        for at in 0..whole.len() {
            let mut bad = whole.clone();
            bad[at] ^= 1;
            for bytes in [&bad, &whole[..at].to_vec()] {
                fs::write(&newest, bytes).unwrap();
                let (found, ignored) = load(dir, 1).unwrap();
                assert_eq!(found.unwrap().body, b"first");
                assert_eq!(ignored[0].path, newest);
            }
        }
        fs::write(&newest, &whole).unwrap();
        put(dir, 2, b"third");
        assert_eq!(load(dir, 1).unwrap().0.unwrap().body, b"second");
        assert_eq!(load(dir, 2).unwrap().0.unwrap().body, b"third");
        assert!(load(dir, 3).unwrap().0.is_none());
        assert_eq!(load(dir, 3).unwrap().1.len(), 2);
    }

    #[test]
    fn an_unfinished_write_is_not_seen() {
        let scratch = Scratch::new();
        put(scratch.path(), 1, b"whole");
        fs::write(scratch.path().join("snapshot.tmp"), b"half").unwrap();
        assert_eq!(load(scratch.path(), 1).unwrap().0.unwrap().body, b"whole");
        put(scratch.path(), 1, b"next");
        assert_eq!(load(scratch.path(), 1).unwrap().0.unwrap().body, b"next");
    }
}
