//! As much of MIME as showing our own mail takes: headers, the plain part, the two transfer encodings.

/// Parts in parts in parts are not ours.
const DEPTH_MAX: usize = 4;

/// Subject and plain text of a message, decoded.
pub(super) fn read(message: &[u8]) -> (String, String) {
    let message = String::from_utf8_lossy(message).replace("\r\n", "\n");
    let (headers, _) = split(&message);
    let subject = decode_words(&header(&headers, "subject"));
    let text = plain(&message, 0).unwrap_or_default();
    (subject, text)
}

/// The first plain text in a part, looking into multiparts.
fn plain(part: &str, depth: usize) -> Option<String> {
    let (headers, body) = split(part);
    let kind = header(&headers, "content-type");
    if kind.to_ascii_lowercase().starts_with("multipart/") {
        if depth >= DEPTH_MAX {
            return None;
        }
        let boundary = parameter(&kind, "boundary")?;
        let delimiter = format!("\n--{boundary}");
        let body = format!("\n{body}");
        return body
            .split(delimiter.as_str())
            .skip(1)
            .filter(|p| !p.starts_with("--"))
            .find_map(|p| plain(p.strip_prefix('\n').unwrap_or(p), depth + 1));
    }
    if !kind.is_empty() && !kind.to_ascii_lowercase().starts_with("text/plain") {
        return None;
    }
    let encoding = header(&headers, "content-transfer-encoding").to_ascii_lowercase();
    Some(match encoding.as_str() {
        "base64" => String::from_utf8_lossy(&base64(body)).replace("\r\n", "\n"),
        "quoted-printable" => {
            String::from_utf8_lossy(&quoted_printable(body, false)).replace("\r\n", "\n")
        }
        _ => body.to_owned(),
    })
}

/// Unfolded header lines, and the body.
fn split(part: &str) -> (Vec<String>, &str) {
    let (head, body) = match part.strip_prefix('\n') {
        Some(body) => ("", body),
        None => part.split_once("\n\n").unwrap_or((part, "")),
    };
    let mut headers: Vec<String> = Vec::new();
    for line in head.lines() {
        match headers.last_mut() {
            Some(last) if line.starts_with([' ', '\t']) => {
                last.push(' ');
                last.push_str(line.trim_start());
            }
            _ => headers.push(line.to_owned()),
        }
    }
    (headers, body)
}

fn header(headers: &[String], name: &str) -> String {
    headers
        .iter()
        .filter_map(|h| h.split_once(':'))
        .find(|(n, _)| n.eq_ignore_ascii_case(name))
        .map(|(_, v)| v.trim().to_owned())
        .unwrap_or_default()
}

fn parameter(value: &str, name: &str) -> Option<String> {
    value.split(';').skip(1).find_map(|p| {
        let (n, v) = p.split_once('=')?;
        n.trim()
            .eq_ignore_ascii_case(name)
            .then(|| v.trim().trim_matches('"').to_owned())
    })
}

/// Encoded words (`=?utf-8?b?…?=`); white space between two of them is not part of the text.
fn decode_words(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    let mut after_word = false;
    while let Some((before, tail)) = rest.split_once("=?") {
        let mut fields = tail.splitn(4, '?');
        let (Some(_), Some(how), Some(word), Some(end)) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            break;
        };
        let Some(next) = end.strip_prefix('=') else {
            break;
        };
        if !(after_word && before.trim().is_empty()) {
            out.push_str(before);
        }
        let bytes = match how {
            "b" | "B" => base64(word),
            _ => quoted_printable(word, true),
        };
        out.push_str(&String::from_utf8_lossy(&bytes));
        (rest, after_word) = (next, true);
    }
    out.push_str(rest);
    out
}

fn base64(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0u32, 0u32);
    for c in text.bytes() {
        let value = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => continue,
        };
        bits = (bits << 6 | u32::from(value)) & 0x00ff_ffff;
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count & 0xff) as u8);
        }
    }
    out
}

/// `words`: in a header `_` is a space.
fn quoted_printable(text: &str, words: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(c) = bytes.next() {
        match c {
            b'_' if words => out.push(b' '),
            b'=' => {
                let hex = |c: Option<u8>| c.and_then(|c| char::from(c).to_digit(16));
                let mut ahead = bytes.clone();
                match ahead.next() {
                    Some(b'\n') => bytes = ahead,
                    first => match (hex(first), hex(ahead.next())) {
                        (Some(high), Some(low)) => {
                            out.push((high << 4 | low) as u8);
                            bytes = ahead;
                        }
                        _ => out.push(b'='),
                    },
                }
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(message: &str, subject: &str, text: &str) {
        let message = message.replace('\n', "\r\n");
        assert_eq!(read(message.as_bytes()), (subject.into(), text.into()));
    }

    #[test]
    fn plain_mail_is_taken_as_it_is() {
        check("Subject: hi\n there\n\nbody\n", "hi there", "body\n");
    }

    #[test]
    fn the_plain_part_of_an_alternative_is_found_and_decoded() {
        check(
            "Subject: =?utf-8?b?Z3LDvMOfZQ==?= =?utf-8?q?_x=21?=\nContent-Type: multipart/alternative;\n boundary=\"b1\"\n\n--b1\n\
             Content-Type: text/html\n\n<p>\n--b1\nContent-Type: text/plain; charset=utf-8\n\
             Content-Transfer-Encoding: quoted-printable\n\na=3Db =C3=\n=A9 =zz\n--b1--\n",
            "grüße x!",
            "a=b é =zz",
        );
    }

    #[test]
    fn rubbish_is_shown_rather_than_lost() {
        check("no header at all", "", "");
        check("\nonly a body", "", "only a body");
        check("Subject: =?broken\n\nx", "=?broken", "x");
    }
}
