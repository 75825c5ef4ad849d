//! The texts of rule files as they lie on disk. What is not there is gone; what is there and cannot be read is neither
//! gone nor empty, and is told apart.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

/// Deepest folder below `alerts/`: a link that leads back must not hang us.
const DEPTH_MAX: usize = 16;

/// What a look at a folder gave. Paths are relative to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Texts {
    /// The text of each rule file.
    pub read: BTreeMap<String, String>,
    /// Files and folders that are there and cannot be read, and why; the folder itself is the empty path.
    pub unread: BTreeMap<String, String>,
}

impl Texts {
    /// Looks at every rule file below a folder.
    pub fn below(root: &Path) -> Self {
        let mut texts = Self::default();
        texts.walk(root, root, 0);
        texts
    }

    /// Whether a path, or a folder that it lies in, is there and cannot be read.
    pub fn is_unread(&self, path: &str) -> bool {
        let mut all = self.unread.keys();
        all.any(|unread| {
            let rest = path.strip_prefix(unread.as_str());
            rest.is_some_and(|rest| rest.is_empty() || unread.is_empty() || rest.starts_with('/'))
        })
    }

    fn walk(&mut self, root: &Path, dir: &Path, depth: usize) {
        let entries = match std::fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) => return self.miss(root, dir, &error),
        };
        for entry in entries {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => return self.miss(root, dir, &error),
            };
            let (path, name) = (entry.path(), entry.file_name());
            // Hidden names are editors' temporary files and the inner folders of mounted ConfigMaps.
            if name.as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let is_rules = path.extension().is_some_and(|e| e == "yml" || e == "yaml");
            match std::fs::metadata(&path) {
                Ok(found) if found.is_dir() => {
                    if depth < DEPTH_MAX {
                        self.walk(root, &path, depth + 1);
                    }
                }
                Ok(_) if is_rules => match read_lossy(&path) {
                    Ok(text) => {
                        self.read.insert(relative(root, &path), text);
                    }
                    Err(error) => self.miss(root, &path, &error),
                },
                Ok(_) => {}
                Err(error) if is_rules || entry.path().extension().is_none() => {
                    self.miss(root, &path, &error);
                }
                Err(_) => {}
            }
        }
    }

    fn miss(&mut self, root: &Path, path: &Path, error: &std::io::Error) {
        // The folder itself is asked for by name: that it is not there is worth telling.
        if error.kind() != ErrorKind::NotFound || path == root {
            self.unread.insert(relative(root, path), error.to_string());
        }
    }
}

fn relative(root: &Path, path: &Path) -> String {
    let path = path.strip_prefix(root).unwrap_or(path);
    path.to_string_lossy().into_owned()
}

/// A file's text; bytes that are no text are replaced, so that the checker can point at them.
///
/// # Errors
/// The file cannot be read.
pub fn read_lossy(path: &Path) -> std::io::Result<String> {
    std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}
