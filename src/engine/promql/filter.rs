//! Rules that compare each of some series with a number, by far the most: what is needed to say that their result is empty,
//! in a few bytes. Nearly always it is, and then nobody looks at the plan.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use crate::engine::promql::ast::{BinaryOp, Edges};
use crate::engine::promql::functions::RangeFn;
use crate::engine::promql::functions::math::compare;
use crate::engine::promql::functions::over_time::mean;
use crate::engine::promql::part::{Input, Select, What};
use crate::engine::promql::plan::{Plan, Root};
use crate::engine::promql::resolve::classic::constant;
use crate::engine::promql::settings::Settings;
use crate::engine::promql::source::{Glance, Samples, Source};
use crate::engine::promql::workspace::Workspace;

/// `selector CMP number` or `avg_over_time(selector[range]) CMP number`.
#[derive(Clone, Debug)]
pub struct Filter {
    series: Series,
    /// Milliseconds over which the mean is taken; 0: the newest sample counts.
    range: i64,
    /// That many milliseconds before.
    offset: i64,
    number: f64,
    op: BinaryOp,
    number_is_left: bool,
}

/// Which series. Of most rules it is one.
#[derive(Clone, Debug)]
enum Series {
    One(u32),
    Many(Box<[u32]>),
}

impl Plan {
    /// The plan as a filter, if it is no more than that.
    pub fn filter(&self) -> Option<Filter> {
        let (Root::Vector { clash: None, .. }, [of, compare]) = (&self.root, &*self.nodes) else {
            return None;
        };
        let What::WithScalar {
            op,
            of: 0,
            scalar,
            scalar_left,
            returns_bool: false,
        } = &compare.what
        else {
            return None;
        };
        let (select, range) = match &of.what {
            What::Newest(select) => (select, 0),
            What::OverTime(over) if over.function == RangeFn::Avg => match &over.input {
                Input::Series {
                    select,
                    range: range @ 1..,
                    edges: Edges::Plain,
                } => (select, *range),
                Input::Series { .. } | Input::Steps(_) => return None,
            },
            _ => return None,
        };
        let Select { series, when, .. } = select;
        let plain = op.is_comparison() && when.at.is_none();
        let clash = of.clash.is_some() || compare.clash.is_some();
        let number = constant(scalar)?;
        (plain && !clash).then(|| Filter {
            series: match **series {
                [one] => Series::One(one),
                _ => Series::Many(series.clone()),
            },
            range,
            offset: when.offset,
            number,
            op: *op,
            number_is_left: *scalar_left,
        })
    }
}

impl Filter {
    /// Whether the result at a time is empty, without a remark and without an error. `false`: perhaps.
    #[inline(always)]
    pub fn yields_nothing<S: Source>(
        &self,
        at: i64,
        source: &S,
        settings: &Settings,
        room: &mut Workspace,
    ) -> bool {
        let upto = at.saturating_sub(self.offset);
        let series = match &self.series {
            Series::One(one) => std::slice::from_ref(one),
            Series::Many(many) => many,
        };
        if self.range == 0 {
            let after = upto.saturating_sub(settings.lookback_ms);
            return series.len() <= settings.limits.samples
                && series.iter().all(|s| match source.glance(*s, after, upto) {
                    Glance::Nothing => true,
                    Glance::Number(value) => !self.holds(value),
                    Glance::Histogram => false,
                });
        }
        let (after, mut touched) = (upto.saturating_sub(self.range), 0);
        series.iter().all(|s| {
            let Samples::Floats { values, .. } = source.samples(*s, after, upto, &mut room.scratch)
            else {
                return false;
            };
            touched += values.len();
            touched <= settings.limits.samples && (values.is_empty() || !self.holds(mean(values)))
        })
    }

    #[inline(always)]
    fn holds(&self, value: f64) -> bool {
        if self.number_is_left {
            return compare(self.op, self.number, value);
        }
        compare(self.op, value, self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_small() {
        assert_eq!(size_of::<Option<Filter>>(), 48);
    }
}
