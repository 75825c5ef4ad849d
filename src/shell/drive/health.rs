//! What the two threads see of their own health, as reports for the engine. docs/SELF.md is the story.

use std::path::{Path, PathBuf};

use crate::engine::own::Own;
use crate::engine::state::State;
use crate::engine::{Engine, Input};
use crate::model::time::{Duration, Timestamp};
use crate::shell::store::Damage;

/// A slot that is judged this much later than its time is late.
pub const LATE_MIN: Duration = Duration::from_secs(5);
/// After this long without a late slot, slots are on time.
const ON_TIME: Duration = Duration::from_mins(1);
/// A report that nothing changed is made at most this often.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// How often damaged files are looked for.
const LOOK_EVERY: Duration = Duration::from_mins(1);
/// Damaged places that are reported of one start; the engine counts the rest as one.
const PLACES_MAX: usize = 200;

fn report(what: Own, about: &str, is: Option<String>) -> Input {
    let about = about.to_owned();
    Input::Own { what, about, is }
}

/// Whether a log takes records.
#[derive(Debug)]
pub struct Written {
    what: Own,
    /// Since when it does not, and when that was last said.
    refused: Option<(Timestamp, Timestamp)>,
    /// Whether it is known that it does; an earlier process may have left a report that it does not.
    well: bool,
}

impl Written {
    /// Nothing is known of the log that `what` is about.
    pub fn unknown(what: Own) -> Self {
        Self {
            what,
            refused: None,
            well: false,
        }
    }

    /// A write failed.
    pub fn no(&mut self, now: Timestamp, why: &str) -> Option<Input> {
        self.well = false;
        let (since, said) = *self.refused.get_or_insert((now, Timestamp::from_ms(0)));
        if now.since(said) < REPORT_EVERY {
            return None;
        }
        self.refused = Some((since, now));
        let (log, so) = match self.what {
            Own::SamplesRefused => ("sample", "samples are refused"),
            _ => ("event", "pages, heals and requests wait"),
        };
        let lasted = match now.since(since) {
            lasted if lasted < REPORT_EVERY => String::new(),
            lasted => format!(", for {} so far", lasted.human()),
        };
        let text = format!("The {log} log cannot be written ({why}): {so}{lasted}.");
        Some(report(self.what, "", Some(text)))
    }

    /// A write went well.
    pub fn yes(&mut self) -> Option<Input> {
        self.refused = None;
        let known = std::mem::replace(&mut self.well, true);
        (!known).then(|| report(self.what, "", None))
    }
}

/// Whether slots are judged when they are due.
#[derive(Debug, Default)]
pub struct Slots {
    late_at: Option<Timestamp>,
}

impl Slots {
    /// At the start, slots were late until now: an earlier process may have left a report that says so.
    pub fn unknown(now: Timestamp) -> Self {
        Self { late_at: Some(now) }
    }

    /// A slot was judged `late` after its time.
    pub fn judged(&mut self, now: Timestamp, late: Duration) -> Option<Input> {
        let what = Own::TicksLate;
        if late >= LATE_MIN {
            self.late_at = Some(now);
            let text = format!("Rules were judged {} late.", late.human());
            return Some(report(what, "", Some(text)));
        }
        self.late_at.take_if(|at| now.since(*at) >= ON_TIME)?;
        Some(report(what, "", None))
    }
}

/// Damaged places in the logs of a data folder.
#[derive(Debug)]
pub struct Places {
    data: PathBuf,
    looked_at: Timestamp,
}

impl Places {
    /// Those below this folder.
    pub fn of(data: &Path) -> Self {
        Self {
            data: data.to_owned(),
            looked_at: Timestamp::default(),
        }
    }

    /// Reports to the engine what a start came upon.
    pub fn found(&self, now: Timestamp, damaged: &[Damage], engine: &mut Engine) {
        for damage in damaged.iter().take(PLACES_MAX) {
            let (place, text) = self.words(damage);
            engine.handle(now, report(Own::LogDamaged, &place, Some(text)));
        }
        if let Some(more) = damaged.len().checked_sub(PLACES_MAX).filter(|n| *n > 0) {
            tracing::error!(more, "More damaged places are not listed.");
        }
    }

    /// The place, `samples/00000000000000000001.seg@4096`, and a sentence about it.
    fn words(&self, damage: &Damage) -> (String, String) {
        let file = damage.file.strip_prefix(&self.data).unwrap_or(&damage.file);
        let file = file.display();
        let lost = match damage.lost {
            0 => "no record is lost there".to_owned(),
            1 => "1 record is lost there".to_owned(),
            n => format!("{n} records are lost there"),
        };
        let means = if damage.lost == 0 {
            ""
        } else if damage.file.starts_with(self.data.join("events")) {
            " Decisions are forgotten: an incident, acknowledgement, silence or page of that time may be missing."
        } else {
            " A record holds samples that arrived together: windows that reach back so far are judged without them."
        };
        let text = format!(
            "The log {file} is damaged from byte {} to {}: {lost}; everything around was read.{means}",
            damage.from, damage.to
        );
        (format!("{file}@{}", damage.from), text)
    }

    /// Places whose file is not there any more, looked for now and then.
    pub fn gone(&mut self, now: Timestamp, state: &State) -> Vec<Input> {
        if now.since(self.looked_at) < LOOK_EVERY {
            return Vec::new();
        }
        self.looked_at = now;
        let places = state.own.keys().filter(|(w, _)| *w == Own::LogDamaged);
        let gone = places.filter(|(_, place)| {
            let file = place.rsplit_once('@').map(|(file, _)| file);
            // Only what certainly is not there: a folder that cannot be read says nothing.
            file.is_some_and(|f| self.data.join(f).try_exists().is_ok_and(|there| !there))
        });
        gone.map(|(what, place)| report(*what, place, None))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(input: Option<Input>) -> Option<bool> {
        match input? {
            Input::Own { is, .. } => Some(is.is_some()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_log_that_refuses_is_reported_once_a_second_and_once_when_it_takes_again() {
        let at = |ms| Timestamp::from_ms(1_000_000 + ms);
        let mut log = Written::unknown(Own::SamplesRefused);
        assert_eq!(says(log.yes()), Some(false), "whatever was left");
        assert_eq!(says(log.yes()), None);
        let told: Vec<i64> = (0..5_000)
            .step_by(100)
            .filter(|ms| log.no(at(*ms), "no space").is_some())
            .collect();
        assert_eq!(told, [0, 1_000, 2_000, 3_000, 4_000]);
        assert_eq!(says(log.yes()), Some(false));
        assert_eq!(says(log.yes()), None);
    }

    #[test]
    fn a_damaged_place_is_gone_with_its_file() {
        let data = std::env::temp_dir().join(format!("ops-places-{}", std::process::id()));
        std::fs::create_dir_all(data.join("samples")).unwrap();
        let file = data.join("samples/1.seg");
        std::fs::write(&file, "").unwrap();
        let damage = Damage {
            file: file.clone(),
            from: 64,
            to: 100,
            lost: 2,
        };
        let (mut engine, mut places) = (Engine::default(), Places::of(&data));
        let at = |s| Timestamp::from_ms(0) + Duration::from_secs(s);
        places.found(at(100), &[damage.clone(), damage], &mut engine);
        let known: Vec<&str> = engine.view().state.own.keys().map(|k| &*k.1).collect();
        assert_eq!(known, ["samples/1.seg@64"]);
        let mut gone = |s| places.gone(at(s), engine.view().state).len();
        assert_eq!(gone(200), 0, "it is there");
        std::fs::remove_file(&file).unwrap();
        assert_eq!((gone(210), gone(260)), (0, 1), "looked for now and then");
        std::fs::remove_dir_all(&data).unwrap();
    }

    #[test]
    fn slots_are_on_time_again_after_a_minute_of_them() {
        let mut slots = Slots::unknown(Timestamp::from_ms(0));
        let mut told = Vec::new();
        for s in 1..300_u64 {
            let late = Duration::from_secs(if s == 100 || s == 130 { 30 } else { 0 });
            let now = Timestamp::from_ms(0) + Duration::from_secs(s);
            told.extend(says(slots.judged(now, late)).map(|late| (s, late)));
        }
        assert_eq!(told, [(60, false), (100, true), (130, true), (190, false)]);
    }
}
