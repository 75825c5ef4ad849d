//! Two texts side by side: what differs between them, with a little of what both share.

/// `-` expected and `+` found.
pub(super) fn difference(expected: &str, got: &str) -> String {
    let (a, b): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), got.lines().collect());
    let head = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
    let tail = a[head..]
        .iter()
        .rev()
        .zip(b[head..].iter().rev())
        .take_while(|(x, y)| x == y)
        .count();
    let line = |sign: char, l: &&str| format!("{sign} {l}\n");
    let mut out: String = a[head.saturating_sub(2)..head]
        .iter()
        .map(|l| line(' ', l))
        .collect();
    out.extend(a[head..a.len() - tail].iter().map(|l| line('-', l)));
    out.extend(b[head..b.len() - tail].iter().map(|l| line('+', l)));
    out.extend(a[a.len() - tail..].iter().take(2).map(|l| line(' ', l)));
    out
}
