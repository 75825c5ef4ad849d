//! Labels that no evaluation looks at any more: most of what a plan over many series would weigh.
//!
//! What a function over time or an aggregation is given is known by numbers once its result's labels are made. Only remarks
//! still ask for the metric's name. So a sum over a million series holds the labels of its groups, and not of the series.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::engine::promql::part::{Node, What};
use crate::engine::promql::plan::{Slot, Slots};
use crate::model::labels::Labels;

const NAME: &str = "__name__";

/// Forgets them, in all parts of an expression that has been resolved.
pub(super) fn forget(nodes: &mut [Node]) {
    let mut names = Names::default();
    let mut forgotten = vec![false; nodes.len()];
    // The parts of a part are before it.
    for id in (0..nodes.len()).rev() {
        let Some(node) = nodes.get_mut(id) else {
            continue;
        };
        if let What::OverTime(over) = &mut node.what {
            over.of = names.only(&over.of);
        }
        let of = match &node.what {
            What::Gather(gather) => gather.of,
            What::WithScalar { of, .. } | What::Map { of, .. } | What::Negate(of)
                if forgotten.get(id) == Some(&true) =>
            {
                *of
            }
            _ => continue,
        };
        let Some(of_node) = nodes.get_mut(of as usize) else {
            continue;
        };
        // These look at no label of their own.
        if let What::Newest(_)
        | What::Timestamp(_)
        | What::OverTime(_)
        | What::WithScalar { .. }
        | What::Map { .. }
        | What::Negate(_) = &of_node.what
        {
            of_node.slots = names.only(&of_node.slots);
            if let Some(forgotten) = forgotten.get_mut(of as usize) {
                *forgotten = true;
            }
        }
    }
}

/// Label sets that have a metric's name at most, each once.
#[derive(Default)]
struct Names(BTreeMap<String, Arc<Labels>>);

impl Names {
    /// The same slots with nothing but the names.
    fn only(&mut self, slots: &Slots) -> Slots {
        let only = |slot: &Slot| {
            let name = slot.labels.get(NAME);
            let labels = match self.0.get(name) {
                Some(known) => known.clone(),
                None => {
                    let labels = Arc::new(Labels::new().with(NAME, name));
                    self.0.insert(name.to_owned(), labels.clone());
                    labels
                }
            };
            Slot {
                labels,
                dropped: slot.dropped,
            }
        };
        slots.iter().map(only).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::engine::promql::settings::Settings;
    use crate::engine::promql::{Dialect, Plan, parse};
    use crate::engine::series::SeriesSet;
    use crate::model::labels::SeriesKey;

    #[test]
    fn a_plan_over_many_series_holds_the_labels_of_its_result() {
        let mut set = SeriesSet::default();
        for n in 0..300 {
            let labels = Labels::new().with("i", &n.to_string());
            set.number(&SeriesKey::new("m", &labels.with("job", "x")));
        }
        let sets = |text: &str| {
            let expr = Arc::new(parse(text, Dialect::ALL).unwrap());
            let plan = Plan::new(expr, &set, &Settings::default()).unwrap();
            let mut held = BTreeSet::new();
            for node in &plan.nodes {
                held.extend(node.slots.iter().map(|s| Arc::as_ptr(&s.labels)));
                if let What::OverTime(over) = &node.what {
                    held.extend(over.of.iter().map(|s| Arc::as_ptr(&s.labels)));
                }
            }
            held.len()
        };
        // The result, the name, and no name.
        assert_eq!(sets("sum by (job) (rate(m[5m]))"), 3);
        assert_eq!(sets("sum(abs(-m * 2)) > 5"), 3);
        assert_eq!(sets("sum(m) + sum(rate(m[5m]))"), 5);
        // What is not gathered keeps its labels, once.
        assert_eq!(sets("rate(m[5m]) > 5"), 301);
        assert_eq!(sets("topk(3, m)"), 300);
    }
}
