//! Where a bucket ends: the bound of an index in a schema, or among custom bounds.
//!
//! Schema s cuts each power of two into 2^s buckets, so that bucket i ends at 2^(i / 2^s). All systems must agree on
//! these bounds to the last bit, and they agree on bounds that are multiplied up rather than exact: those between
//! 0.5 and 1 in schema 8 are laid out below, and every other bound is one of them times a power of two.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use crate::model::histogram::Schema;

/// The bounds of schema 8 from 0.5 (inclusive) to 1. Those of schema s are every 2^(8-s)th of them.
const FRACTIONS: [f64; 256] = fractions();

/// How much larger a bound is than the one before it, in the schemas 1 to 8.
#[expect(
    clippy::approx_constant,
    reason = "the first is one bit below the root of two: so all systems have it"
)]
const FACTORS: [f64; 8] = [
    1.414_213_562_373_095,
    1.189_207_115_002_721,
    1.090_507_732_665_257_7,
    1.044_273_782_427_413_8,
    1.021_897_148_654_116_6,
    1.010_889_286_051_700_5,
    1.005_429_901_112_802_7,
    1.002_711_275_050_202_6,
];

/// Each schema keeps the bounds of the coarser one and puts one between each two, a factor above the lower one.
#[expect(
    clippy::indexing_slicing,
    reason = "evaluated by the compiler, which refuses an index out of bounds"
)]
const fn fractions() -> [f64; 256] {
    let mut bounds = [0.5; 256];
    let mut schema = 1;
    while schema <= 8 {
        let apart = 256 >> schema;
        let mut at = apart;
        while at < 256 {
            bounds[at] = bounds[at - apart] * FACTORS[schema - 1];
            at += 2 * apart;
        }
        schema += 1;
    }
    bounds
}

/// The upper bound of the positive bucket `index`; the lower one is the upper bound of `index - 1`.
pub(super) fn upper(index: i32, schema: Schema, custom: &[f64]) -> f64 {
    match schema {
        Schema::Exponential(schema) => exponential(index, schema),
        Schema::Custom => match usize::try_from(index) {
            Err(_) => f64::NEG_INFINITY,
            Ok(at) => custom.get(at).copied().unwrap_or(f64::INFINITY),
        },
    }
}

/// 2^(index / 2^schema). The last bucket of finite numbers ends at the largest of them, the next one at infinity.
pub(super) fn exponential(index: i32, schema: i8) -> f64 {
    let index = i64::from(index);
    let (fraction, exponent) = if schema < 0 {
        (0.5, (index << -schema) + 1)
    } else {
        let place = index.rem_euclid(1 << schema) << (8 - schema);
        let fraction = usize::try_from(place).ok().and_then(|p| FRACTIONS.get(p));
        (fraction.copied().unwrap_or(0.5), (index >> schema) + 1)
    };
    if fraction == 0.5 && exponent == 1025 {
        return f64::MAX;
    }
    scaled(fraction, exponent)
}

/// fraction × 2^exponent, rounded once.
fn scaled(fraction: f64, exponent: i64) -> f64 {
    // A power of two outside the normal range is made of two steps; the first is exact.
    let step = exponent.clamp(-1000, 1000);
    let rest = (exponent - step).clamp(-1000, 1000);
    fraction * power_of_two(step) * power_of_two(rest)
}

/// 2^exponent, for exponents of normal numbers.
fn power_of_two(exponent: i64) -> f64 {
    let biased = u64::try_from(exponent.clamp(-1000, 1000) + 1023).unwrap_or(0);
    f64::from_bits(biased << 52)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_those_of_every_other_system_to_the_last_bit() {
        let shown = |schema, index| exponential(index, schema);
        assert_eq!(shown(0, 0), 1.0);
        assert_eq!(shown(0, 3), 8.0);
        assert_eq!(shown(0, -3), 0.125);
        assert_eq!(shown(-1, 2), 16.0);
        assert_eq!(shown(-4, 1), 65536.0);
        assert_eq!(shown(1, -1), 0.707_106_781_186_547_5);
        assert_eq!(shown(2, -3), 0.594_603_557_501_360_5);
        assert_eq!(shown(2, -1), 0.840_896_415_253_714_4);
        assert_eq!(shown(3, 1), 2.0 * 0.545_253_866_332_628_8);
        assert_eq!(shown(5, -1), 0.978_572_062_087_699_9);
        assert_eq!(shown(8, -255), 0.501_355_637_525_101_3);
        assert_eq!(shown(8, -128), 0.707_106_781_186_547_5);
        assert_eq!(shown(8, -6), 0.983_885_611_616_587_5);
        assert_eq!(shown(8, -1), 0.997_296_056_085_469_8);
    }

    #[test]
    fn the_last_finite_bucket_ends_at_the_largest_number() {
        for schema in -4..=8_i8 {
            let last = if schema < 0 {
                1024 >> -schema
            } else {
                1024 << schema
            };
            assert_eq!(exponential(last, schema), f64::MAX, "{schema}");
            assert_eq!(exponential(last + 1, schema), f64::INFINITY, "{schema}");
            assert!(exponential(last - 1, schema) < f64::MAX, "{schema}");
        }
        assert_eq!(exponential(-1074, 0), f64::from_bits(1));
        assert_eq!(exponential(-1076, 0), 0.0);
        assert_eq!(exponential(i32::MIN, 8), 0.0);
        assert_eq!(exponential(i32::MAX, -4), f64::INFINITY);
    }

    #[test]
    fn custom_bounds_are_open_at_both_ends() {
        let custom = [1.0, 2.5];
        let all: Vec<f64> = (-1..=2)
            .map(|i| upper(i, Schema::Custom, &custom))
            .collect();
        assert_eq!(all, [f64::NEG_INFINITY, 1.0, 2.5, f64::INFINITY]);
    }
}
