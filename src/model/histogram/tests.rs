//! Arithmetic on histograms, by example and by property.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use proptest::collection::{btree_map, btree_set};
use proptest::prelude::*;

use crate::model::histogram::sum::{Mean, Sum};
use crate::model::histogram::trim::Keep;
use crate::model::histogram::{
    Added, BUCKETS_MAX, Histogram, HistogramError, Incompatible, Parts, ResetHint, Schema, bounds,
};
use crate::model::number::close;

fn made(parts: Parts) -> Histogram {
    Histogram::new(parts).unwrap()
}

fn exponential(schema: i8, first: i32, counts: &[f64]) -> Parts {
    Parts {
        schema: Schema::Exponential(schema),
        count: counts.iter().sum(),
        sum: 10.0,
        positive: (first..).zip(counts.iter().copied()).collect(),
        ..Parts::default()
    }
}

fn custom(bounds: &[f64], counts: &[f64]) -> Parts {
    Parts {
        schema: Schema::Custom,
        count: counts.iter().sum(),
        sum: 10.0,
        positive: (0..).zip(counts.iter().copied()).collect(),
        bounds: bounds.to_vec(),
        ..Parts::default()
    }
}

#[test]
fn parts_that_contradict_each_other_are_refused() {
    let error = |parts: Parts| Histogram::new(parts).unwrap_err();
    let mut parts = exponential(0, 0, &[1.0]);
    parts.positive = vec![(1, 1.0), (1, 1.0)];
    assert_eq!(error(parts.clone()), HistogramError::IndexOrder);
    parts.positive = vec![(2049, 1.0)];
    assert_eq!(error(parts.clone()), HistogramError::IndexRange(2049, 0));
    parts.positive = vec![(i32::MIN, 1.0)];
    assert_eq!(error(parts), HistogramError::IndexRange(i32::MIN, 0));
    assert_eq!(
        error(exponential(8, 0, &vec![0.0; BUCKETS_MAX + 1])),
        HistogramError::TooManyBuckets
    );
    assert_eq!(
        error(custom(&[1.0], &[1.0, 2.0, 3.0])),
        HistogramError::IndexRange(2, -53)
    );
    assert_eq!(error(custom(&[2.0, 1.0], &[])), HistogramError::Bounds);
    assert_eq!(error(custom(&[f64::INFINITY], &[])), HistogramError::Bounds);
    let zero = |zero_threshold| Parts {
        zero_threshold,
        ..Parts::default()
    };
    assert_eq!(error(zero(-1.0)), HistogramError::ZeroThreshold(-1.0));
    assert!(Histogram::new(zero(f64::NAN)).is_err());
    let mixed = Parts {
        zero_count: 1.0,
        ..custom(&[1.0], &[])
    };
    assert_eq!(error(mixed), HistogramError::Mixed);
}

#[test]
fn the_coarser_schema_wins() {
    let mut fine = made(exponential(1, 1, &[1.0, 2.0, 4.0, 8.0]));
    let coarse = made(exponential(0, 0, &[16.0, 32.0, 64.0]));
    assert_eq!(fine.add(&coarse), Ok(Added::default()));
    assert_eq!(fine.schema(), Schema::Exponential(0));
    assert_eq!(
        fine.parts().positive,
        [(0, 16.0), (1, 35.0), (2, 64.0 + 12.0)]
    );
    assert_eq!(fine.count(), 127.0);
}

#[test]
fn the_wider_zero_bucket_takes_in_what_it_covers() {
    let mut narrow = made(exponential(0, -1, &[1.0, 2.0, 4.0]));
    let wide = made(Parts {
        zero_threshold: 0.75,
        zero_count: 16.0,
        count: 16.0,
        ..Parts::default()
    });
    narrow.add(&wide).unwrap();
    // 0.75 is inside of the bucket (0.5, 1]: the zero bucket grows to its end.
    assert_eq!(narrow.zero_threshold(), 1.0);
    assert_eq!(narrow.zero_count(), 19.0);
    assert_eq!(narrow.parts().positive, [(1, 4.0)]);
    assert_eq!(narrow.count(), 23.0);
}

#[test]
fn custom_bounds_are_reconciled_to_the_common_ones() {
    let mut a = made(custom(&[1.0, 2.0, 3.0], &[1.0, 2.0, 4.0, 8.0]));
    let b = made(custom(&[2.0, 4.0], &[16.0, 32.0, 64.0]));
    let added = a.add(&b).unwrap();
    assert!(added.bounds_reconciled && !added.collision);
    assert_eq!(a.bounds(), [2.0]);
    assert_eq!(a.parts().positive, [(0, 19.0), (1, 108.0)]);
    let c = made(custom(&[7.0], &[1.0]));
    assert!(a.sub(&c).unwrap().bounds_reconciled);
    assert_eq!(a.parts().positive, [(0, 126.0)]);
}

#[test]
fn exponential_and_custom_buckets_cannot_be_added() {
    let mut a = made(exponential(0, 0, &[1.0]));
    let before = a.clone();
    let b = made(custom(&[1.0], &[1.0]));
    assert_eq!(a.add(&b), Err(Incompatible));
    assert_eq!(a, before);
    assert_eq!(Sum::new(&a).add(&b), Err(Incompatible));
    assert_eq!(Mean::new(&a).add(&b), Err(Incompatible));
    assert!(a.detect_reset(&b) && b.detect_reset(&a));
}

#[test]
fn hints_of_a_sum() {
    use ResetHint::{Gauge, NotReset, Reset, Unknown};
    for (a, b, sum, collision) in [
        (Reset, Reset, Reset, false),
        (Reset, NotReset, Unknown, true),
        (NotReset, Unknown, Unknown, false),
        (Gauge, Reset, Gauge, false),
        (Unknown, Gauge, Gauge, false),
    ] {
        let (mut x, mut y) = (Histogram::default(), Histogram::default());
        x.set_hint(a);
        y.set_hint(b);
        assert_eq!(x.add(&y).unwrap().collision, collision);
        assert_eq!(x.hint(), sum, "{a:?} {b:?}");
    }
}

#[test]
fn a_reset_is_seen_in_any_count() {
    let base = exponential(0, 0, &[1.0, 2.0, 0.0]);
    let reset = |now: Parts, then: &Parts| made(now).detect_reset(&made(then.clone()));
    assert!(!reset(base.clone(), &base));
    assert!(!reset(exponential(0, 0, &[1.0, 2.0]), &base));
    assert!(reset(exponential(0, 0, &[0.0, 3.0]), &base));
    assert!(reset(exponential(0, 1, &[3.0]), &base));
    assert!(reset(exponential(0, 0, &[1.0]), &base));
    assert!(!reset(exponential(-1, 0, &[1.0, 2.0]), &base));
    assert!(reset(exponential(1, 0, &[9.0, 9.0, 9.0]), &base));
    let hinted = |hint| Parts {
        hint,
        ..base.clone()
    };
    assert!(reset(hinted(ResetHint::Reset), &base));
    assert!(!reset(
        Parts {
            hint: ResetHint::NotReset,
            ..Parts::default()
        },
        &base
    ));
    let bounds = custom(&[1.0, 2.0], &[1.0, 2.0, 3.0]);
    assert!(!reset(custom(&[2.0], &[3.0, 3.0]), &bounds));
    assert!(reset(custom(&[2.0], &[2.0, 5.0]), &bounds));
}

#[test]
fn a_wider_zero_bucket_is_a_reset_only_if_it_cuts_a_bucket() {
    let then = made(exponential(0, 0, &[1.0, 2.0]));
    let now = |zero_threshold, zero_count| {
        let parts = Parts {
            zero_threshold,
            zero_count,
            count: 3.0,
            positive: vec![(1, 2.0)],
            ..Parts::default()
        };
        made(parts).detect_reset(&then)
    };
    assert!(!now(1.0, 1.0));
    assert!(now(1.0, 0.5));
    assert!(now(0.75, 1.0));
    assert!(then.detect_reset(&made(Parts {
        zero_threshold: 0.1,
        ..Parts::default()
    })));
}

#[test]
fn a_mean_that_overflows_as_a_sum_is_still_a_mean() {
    let h = |count: f64| made(exponential(0, 0, &[count]));
    let mut mean = Mean::new(&h(1e308));
    for _ in 0..3 {
        mean.add(&h(1e308)).unwrap();
    }
    assert!(close(mean.value().count(), 1e308, 1e-12));
    let mut mean = Mean::new(&h(1.0));
    mean.add(&h(3.0)).unwrap();
    assert_eq!(mean.value().count(), 2.0);
}

#[test]
fn a_sum_keeps_what_rounding_would_lose() {
    let h = |count: f64| made(exponential(0, 0, &[count]));
    let mut sum = Sum::new(&h(1.0));
    for count in [1e100, 1.0, -1e100] {
        sum.add(&h(count)).unwrap();
    }
    let sum = sum.value();
    assert_eq!((sum.count(), sum.parts().positive), (2.0, vec![(0, 2.0)]));
}

#[test]
fn quantiles_follow_the_buckets() {
    let h = made(exponential(0, 1, &[1.0, 1.0]));
    assert_eq!(h.quantile(0.5).0, 2.0);
    assert_eq!(h.quantile(0.25).0, 2.0_f64.sqrt());
    assert_eq!(h.quantile(1.0).0, 4.0);
    assert_eq!(h.fraction(2.0, 4.0).0, 0.5);
    assert!(close(h.fraction(0.0, 2.0_f64.sqrt()).0, 0.25, 1e-12));
    let c = made(custom(&[10.0, 20.0], &[1.0, 1.0, 2.0]));
    assert_eq!(c.quantile(0.125).0, 5.0);
    assert_eq!(c.quantile(0.9).0, 20.0);
    assert!(Histogram::default().quantile(0.5).0.is_nan());
}

#[test]
fn trimming_interpolates_in_the_bucket_it_cuts() {
    let h = made(Parts {
        sum: 100.0,
        ..exponential(0, 1, &[2.0, 4.0])
    });
    assert_eq!(h.trim(f64::INFINITY, Keep::Below), h);
    assert_eq!(h.trim(0.0, Keep::Above), h);
    let below = h.trim(8.0_f64.sqrt(), Keep::Below);
    assert_eq!(below.parts().positive, [(1, 2.0), (2, 2.0)]);
    assert_eq!(below.count(), 4.0);
    let above = h.trim(2.0, Keep::Above);
    assert_eq!(above.parts().positive, [(2, 4.0)]);
    assert_eq!(above.sum(), 4.0 * 8.0_f64.sqrt());
}

#[test]
fn buckets_ascend_and_are_cut_at_the_zero_bucket() {
    let h = made(Parts {
        zero_threshold: 0.75,
        zero_count: 3.0,
        negative: vec![(0, 1.0), (2, 2.0)],
        ..exponential(0, 0, &[4.0, 5.0])
    });
    let all: Vec<_> = h.api_buckets().collect();
    assert_eq!(
        all,
        [
            (1, -4.0, -2.0, 2.0),
            (1, -1.0, -0.75, 1.0),
            (3, -0.75, 0.75, 3.0),
            (0, 0.75, 1.0, 4.0),
            (0, 1.0, 2.0, 5.0)
        ]
    );
}

#[test]
fn a_sum_with_too_many_buckets_loses_resolution() {
    let counts = vec![1.0; BUCKETS_MAX];
    let mut a = made(exponential(8, 1, &counts));
    a.add(&made(exponential(8, -16383, &counts))).unwrap();
    assert_eq!(a.schema(), Schema::Exponential(7));
    assert_eq!(
        a.buckets().map(|b| b.count).sum::<f64>(),
        2.0 * BUCKETS_MAX as f64
    );
}

fn number() -> impl Strategy<Value = f64> + Clone {
    prop_oneof![
        6 => (0_u32..1000).prop_map(f64::from),
        1 => proptest::num::f64::ANY,
        1 => Just(f64::INFINITY),
        1 => Just(0.0),
    ]
}

fn whole() -> impl Strategy<Value = f64> + Clone {
    (0_u32..1000).prop_map(f64::from)
}

fn any_of(count: impl Strategy<Value = f64> + Clone + 'static) -> BoxedStrategy<Histogram> {
    let counts = btree_map(-40_i32..40, count.clone(), 0..12);
    let exponential = (
        -4_i8..=8,
        prop_oneof![Just(0.0), Just(0.001), Just(1.0), 0.0..100.0_f64],
        count.clone(),
        counts.clone(),
        counts,
        count.clone(),
    )
        .prop_map(|(schema, zero_threshold, zero_count, mut a, mut b, sum)| {
            // A bucket inside of the zero bucket is a contradiction; additions drop it.
            a.retain(|index, _| bounds::exponential(*index, schema) > zero_threshold);
            b.retain(|index, _| bounds::exponential(*index, schema) > zero_threshold);
            Parts {
                schema: Schema::Exponential(schema),
                zero_threshold,
                zero_count,
                count: zero_count + a.values().chain(b.values()).sum::<f64>(),
                sum,
                positive: a.into_iter().collect(),
                negative: b.into_iter().collect(),
                ..Parts::default()
            }
        });
    let custom = (
        btree_set(-20_i32..20, 0..8),
        btree_map(0_i32..9, count.clone(), 0..9),
        count,
    )
        .prop_map(|(bounds, counts, sum)| {
            let last = bounds.len() as i32;
            let counts: Vec<_> = counts.into_iter().filter(|(i, _)| *i <= last).collect();
            Parts {
                schema: Schema::Custom,
                count: counts.iter().map(|(_, c)| c).sum::<f64>() + 0.0,
                sum,
                positive: counts,
                bounds: bounds.into_iter().map(f64::from).collect(),
                ..Parts::default()
            }
        });
    let parts = prop_oneof![2 => exponential.boxed(), 1 => custom.boxed()];
    parts.prop_map(made).boxed()
}

fn settings() -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

fn alike(a: &Histogram, b: &Histogram) -> Result<(), TestCaseError> {
    let (mut a, mut b) = (a.clone(), b.clone());
    a.compact();
    b.compact();
    prop_assert_eq!(a, b);
    Ok(())
}

proptest! {
    #![proptest_config(settings())]

    #[test]
    fn adding_does_not_depend_on_the_order(a in any_of(whole()), b in any_of(whole())) {
        let (mut ab, mut ba) = (a.clone(), b.clone());
        match (ab.add(&b), ba.add(&a)) {
            (Ok(x), Ok(y)) => {
                prop_assert_eq!(x, y);
                alike(&ab, &ba)?;
            }
            (x, y) => prop_assert_eq!(x, y),
        }
    }

    #[test]
    fn what_is_added_can_be_taken_away(a in any_of(whole()), b in any_of(whole())) {
        let mut there = a.clone();
        if there.add(&b).is_ok() {
            let mut back = there.clone();
            back.sub(&b).unwrap();
            // The same observations, in the buckets of the sum.
            let mut nothing = b;
            nothing.mul(0.0);
            let mut expected = a;
            expected.add(&nothing).unwrap();
            prop_assert_eq!(back.count(), expected.count());
            prop_assert_eq!(back.sum(), expected.sum());
            prop_assert_eq!(back.schema(), expected.schema());
            let buckets = |h: &Histogram| h.buckets().map(|b| b.count).sum::<f64>();
            prop_assert_eq!(buckets(&back), buckets(&expected));
        }
    }

    #[test]
    fn no_observation_is_lost_in_a_sum(a in any_of(whole()), b in any_of(whole())) {
        let mut sum = a.clone();
        if sum.add(&b).is_ok() {
            prop_assert_eq!(sum.buckets().map(|b| b.count).sum::<f64>(), sum.count());
            let mut compensated = Sum::new(&a);
            compensated.add(&b).unwrap();
            alike(&compensated.value(), &sum)?;
        }
    }

    #[test]
    fn a_larger_share_reaches_a_larger_value(h in any_of(whole()), p in 0.0..=1.0_f64, q in 0.0..=1.0_f64) {
        let (low, high) = (h.quantile(p.min(q)).0, h.quantile(p.max(q)).0);
        if h.count() == 0.0 {
            prop_assert!(low.is_nan() && high.is_nan());
        } else {
            prop_assert!(low <= high || close(low, high, 1e-9), "{low} {high} {h:?}");
        }
    }

    #[test]
    fn trimming_takes_away_and_adds_nothing(h in any_of(whole()), at in -100.0..100.0_f64) {
        for keep in [Keep::Below, Keep::Above] {
            let left = h.trim(at, keep);
            prop_assert!(left.count() <= h.count() * (1.0 + 1e-9), "{left:?}");
        }
    }

    #[test]
    fn nothing_panics(a in any_of(number()), b in any_of(number()), x in number(), y in number(), schema in any::<i8>()) {
        let mut c = a.clone();
        let _ = c.add(&b);
        let _ = c.sub(&a);
        c.mul(x);
        c.div(y);
        c.coarsen(schema);
        c.compact();
        let mut sum = Sum::new(&a);
        let _ = sum.add(&b);
        let _ = sum.add(&c);
        let mut mean = Mean::new(&b);
        let _ = mean.add(&c);
        let _ = mean.add(&a);
        for h in [&a, &b, &c, &sum.value(), &mean.value()] {
            let _ = (h.quantile(x), h.fraction(x, y), h.mean(), h.variance());
            let _ = (h.trim(x, Keep::Below), h.trim(y, Keep::Above));
            let _ = (h.detect_reset(&a), a.detect_reset(h), h.detect_reset(&b));
            let _ = h.api_buckets().count();
            let again = Histogram::new(h.parts());
            prop_assert!(again.is_ok_and(|again| &again == h));
        }
    }
}
