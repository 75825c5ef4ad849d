//! What templates ask: `{{ query "up" | first | value }}` is answered by the same evaluator as rules, for the time of the
//! slot. The same question at the same time has one answer until a rule has written something, and there is a bound on what
//! all templates of a tick may ask.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::engine::Engine;
use crate::engine::limits::{
    TEMPLATE_ANSWERS_MAX, TEMPLATE_ELEMENTS_MAX, TEMPLATE_SAMPLES_MAX, TEMPLATE_TICK_SAMPLES_MAX,
};
use crate::engine::promql::ast::Type;
use crate::engine::promql::settings::Settings;
use crate::engine::promql::source::Source;
use crate::engine::promql::{Dialect, Plan, ValueRef, Workspace, parse, type_of};
use crate::engine::template::Found;
use crate::model::time::Timestamp;

/// What was asked in a tick.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// The tick.
    tick: Timestamp,
    /// Answers by time and text.
    answers: BTreeMap<(Timestamp, String), Result<Found, String>>,
    /// How many were worked out.
    count: usize,
    /// Samples that were looked at.
    samples: usize,
    /// Whether something was not answered because too much was asked.
    refused: bool,
}

impl Asked {
    /// Samples of our own have come: they may change answers.
    pub fn forget_answers(&mut self) {
        self.answers.clear();
    }
    /// Whether something was not answered since this was asked last.
    pub fn take_refused(&mut self) -> bool {
        std::mem::take(&mut self.refused)
    }
}

/// Why a query of a template has no answer.
pub(super) fn too_much() -> String {
    format!(
        "the templates of this tick ask for too much (at most {TEMPLATE_ANSWERS_MAX} queries that look at {TEMPLATE_TICK_SAMPLES_MAX} samples in all): \
         use `query` in fewer labels and annotations, or over fewer series"
    )
}

impl Engine {
    /// The answer to a template's query at a time.
    pub(super) fn answer(&self, text: &str, at: Timestamp) -> Result<Found, String> {
        let mut asked = self.asked.borrow_mut();
        if asked.tick != self.now {
            *asked = Asked {
                tick: self.now,
                ..Asked::default()
            };
        }
        let key = (at, text.to_owned());
        if let Some(known) = asked.answers.get(&key) {
            return known.clone();
        }
        let over = asked.samples >= TEMPLATE_TICK_SAMPLES_MAX;
        if over || asked.count >= TEMPLATE_ANSWERS_MAX {
            asked.refused = true;
            return Err(too_much());
        }
        asked.count += 1;
        let (answer, samples) = answer_from(&self.series, &self.settings, text, at);
        asked.samples += samples;
        asked.answers.insert(key, answer.clone());
        answer
    }
}

/// The answer of a source of samples to a template's query at a time, and how many samples were looked at.
pub fn answer_from<S: Source>(
    source: &S,
    settings: &Settings,
    text: &str,
    at: Timestamp,
) -> (Result<Found, String>, usize) {
    let mut settings = settings.clone();
    settings.limits.samples = TEMPLATE_SAMPLES_MAX;
    let mut room = Workspace::default();
    let mut found = Found::new();
    let mut evaluate = || {
        let expr = parse(text, Dialect::PLAIN).map_err(|e| e.message)?;
        if !matches!(type_of(&expr), Type::Vector | Type::Scalar) {
            return Err("query result is not a vector or scalar".to_owned());
        }
        let plan = Plan::new(Arc::new(expr), source, &settings);
        let mut plan = plan.map_err(|e| e.to_string())?;
        plan.evaluate(at.ms(), source, &mut room)
            .map_err(|e| e.to_string())?;
        plan.each(&room, |labels, value| {
            let value = match value {
                ValueRef::Float(value) => value,
                // As in Prometheus, whose templates know of numbers only.
                ValueRef::Histogram(_) => 0.0,
            };
            found.push((labels.as_ref().clone(), value));
        });
        Ok(())
    };
    let done = evaluate();
    let samples = room.touched();
    if found.len() > TEMPLATE_ELEMENTS_MAX {
        let why = format!("the query has more than {TEMPLATE_ELEMENTS_MAX} elements");
        return (Err(why), samples);
    }
    (done.map(|()| found), samples)
}
