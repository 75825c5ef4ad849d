//! Any body, read as either format: samples, or an error with a place inside the body.

use ops::ingest::exposition::{Format, batch};

pub fn check(body: &[u8]) {
    for format in [Format::Text, Format::OpenMetrics] {
        match batch::decode(body, format) {
            Ok(decoded) => {
                let lines = body.split(|b| *b == b'\n').count();
                assert!(decoded.batch.items.len() + decoded.refused.len() <= lines);
            }
            Err(error) => {
                let text = String::from_utf8_lossy(body);
                let line = text
                    .split('\n')
                    .nth(error.line - 1)
                    .expect("a line of the body");
                assert!(error.column <= line.chars().count() + 1, "{error}");
            }
        }
    }
}
