//! What an edit of a rule or of its group means for alerts that are active: some of them no evaluation would end later.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::engine::Engine;
use crate::engine::alert::ending;
use crate::engine::event::{AlertKey, Cause};
use crate::engine::group::own_name;
use crate::engine::policy::{Rule, Test};
use crate::engine::promql::known::unfiltered;
use crate::engine::rule::Book;
use crate::engine::state::Alert;
use crate::model::labels::Labels;

impl Engine {
    /// Incidents whose rule has another expression now: alerts about which it says nothing any more are over, as nothing
    /// would end them later. Those without data stay, unless the new expression's alerts have other labels altogether. In
    /// a strict group the next evaluation ends what is not in its result.
    pub(in crate::engine) fn end_edited(&mut self, book: &mut Book) {
        let edited: Vec<(Arc<Rule>, (usize, usize))> = self
            .state
            .open
            .iter()
            .filter_map(|(id, incident)| {
                let rule = book.rule(id)?;
                let about = &self.state.incidents.get(incident)?.about;
                let place = book
                    .places
                    .get(id)
                    .filter(|_| about.condition != rule.words() && !book.is_strict(id))?;
                Some((rule.clone(), *place))
            })
            .collect();
        for (rule, (group, place)) in edited {
            let (Test::Expr(test), Some(run)) = (
                &rule.test,
                book.groups
                    .get_mut(group)
                    .and_then(|g| g.rules.get_mut(place)),
            ) else {
                continue;
            };
            let Some(expr) = unfiltered(&test.expr.expr).map(Arc::new) else {
                continue;
            };
            let Ok(known) = self.elements(&mut run.known, &expr, self.now) else {
                continue;
            };
            // Label names of what an alert of the rule is about.
            let names = |labels: &Labels| -> Vec<String> {
                let own = |n: &str| n != "alertname" && rule.labels.get(n).is_empty();
                let names = labels.iter().map(|(n, _)| n).filter(|n| own(n));
                names.map(str::to_owned).collect()
            };
            let forms: BTreeSet<Vec<String>> = known.values().map(|(l, _)| names(l)).collect();
            let ends = |series: &str, alert: &Alert| {
                let may_come_back = alert.lost_since.is_some()
                    && (forms.is_empty() || forms.contains(&names(&alert.labels)));
                alert.is_firing() && !known.contains_key(series) && !may_come_back
            };
            let over: Vec<AlertKey> = self
                .active(&rule, |_| true)
                .into_iter()
                .filter(|(key, _)| {
                    self.state
                        .alerts
                        .get(key)
                        .is_some_and(|a| ends(&key.series, a))
                })
                .map(|(key, _)| key)
                .collect();
            for key in over {
                self.emit(ending(key, true, Cause::RuleRemoved));
            }
        }
    }

    /// Ends alerts that were told apart in the other way, before `strict` was edited: nobody would find them again.
    pub(super) fn end_named_otherwise(&mut self, rule: &Rule, by_own: bool) {
        for (key, labels) in self.active(rule, |_| true) {
            if (key.series == own_name(&labels)) != by_own {
                let firing = self.state.alerts.get(&key).is_some_and(Alert::is_firing);
                self.emit(ending(key, firing, Cause::RuleRemoved));
            }
        }
    }
}
