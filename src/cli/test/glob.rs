//! Patterns of paths, as promtool takes them: `*`, `?`, `[a-z]` and `\`, in each part of a path by itself.

use std::path::{Path, PathBuf};

/// Whether a path is a pattern.
fn is_pattern(part: &str) -> bool {
    part.contains(['*', '?', '[', '\\'])
}

/// The paths that a pattern stands for, in order; none if there is no such file.
///
/// # Errors
/// If it is no pattern.
pub(super) fn expand(pattern: &Path) -> Result<Vec<PathBuf>, String> {
    let mut found = vec![PathBuf::new()];
    for part in pattern.components() {
        let text = part.as_os_str().to_string_lossy();
        if !is_pattern(&text) {
            found.iter_mut().for_each(|path| path.push(part));
            continue;
        }
        let regex = regex(&text)
            .ok_or_else(|| format!("{}: `{text}` is not a pattern of names", pattern.display()))?;
        let mut next = Vec::new();
        for folder in found {
            let here = if folder.as_os_str().is_empty() {
                Path::new(".")
            } else {
                &folder
            };
            let entries = std::fs::read_dir(here).into_iter().flatten().flatten();
            let names = entries.map(|e| e.file_name());
            let mut names: Vec<_> = names
                .filter(|n| regex.is_match(&n.to_string_lossy()))
                .collect();
            names.sort();
            next.extend(names.into_iter().map(|name| folder.join(name)));
        }
        found = next;
    }
    found.retain(|path| path.exists());
    Ok(found)
}

/// The pattern of one part of a path as a regular expression.
fn regex(pattern: &str) -> Option<regex::Regex> {
    let mut out = String::from("^(?s:");
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '*' => out.push_str(".*"),
            '?' => out.push('.'),
            '\\' => out.push_str(&regex::escape(&chars.next()?.to_string())),
            '[' => {
                out.push('[');
                let mut first = true;
                loop {
                    match chars.next()? {
                        ']' if !first => break,
                        '\\' => out.push_str(&regex::escape(&chars.next()?.to_string())),
                        '^' if first && out.ends_with('[') => {
                            out.push('^');
                            continue;
                        }
                        '-' => out.push('-'),
                        c => out.push_str(&regex::escape(&c.to_string())),
                    }
                    first = false;
                }
                out.push(']');
            }
            c => out.push_str(&regex::escape(&c.to_string())),
        }
    }
    out.push_str(")$");
    regex::Regex::new(&out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_names_as_go_matches_them() {
        let is = |pattern: &str, name: &str| regex(pattern).map(|r| r.is_match(name));
        for (pattern, yes, no) in [
            ("*.yml", "a.yml", "a.yaml"),
            ("?.y*", "a.yaml", "ab.yaml"),
            ("[a-c]x", "bx", "dx"),
            ("[^a-c]x", "dx", "bx"),
            ("a\\*", "a*", "ab"),
            ("a.b+", "a.b+", "aab"),
        ] {
            assert_eq!(is(pattern, yes), Some(true), "{pattern} {yes}");
            assert_eq!(is(pattern, no), Some(false), "{pattern} {no}");
        }
        assert_eq!(is("[a", "a"), None);
        assert_eq!(is("a\\", "a"), None);
    }
}
