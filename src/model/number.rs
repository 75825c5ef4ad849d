//! Sums of floats that keep what rounding would lose, and a comparison that forgives rounding.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

/// One step of a compensated sum (Kahan's, in Neumaier's form): the new sum and what it lacks.
///
/// The value of the sum is the two together. An infinite sum lacks nothing: else it would become NaN.
#[inline]
pub fn kahan(add: f64, sum: f64, lost: f64) -> (f64, f64) {
    let total = sum + add;
    let lost = if total.is_infinite() {
        0.0
    } else if sum.abs() >= add.abs() {
        lost + ((sum - total) + add)
    } else {
        lost + ((add - total) + sum)
    };
    (total, lost)
}

/// Whether two numbers differ by less than `tolerance` of the sum of their sizes. NaN is close to NaN. Close to zero
/// is only what is hardly a number any more.
pub fn close(a: f64, b: f64, tolerance: f64) -> bool {
    if a == b || (a.is_nan() && b.is_nan()) {
        return true;
    }
    let sizes = a.abs() + b.abs();
    let apart = (a - b).abs();
    if a == 0.0 || b == 0.0 || sizes < f64::MIN_POSITIVE {
        return apart < tolerance * f64::MIN_POSITIVE;
    }
    apart / sizes.min(f64::MAX) < tolerance
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compensated_sum_keeps_what_a_plain_one_loses() {
        let (mut sum, mut lost) = (0.0, 0.0);
        for v in [1.0, 1e100, 1.0, -1e100] {
            (sum, lost) = kahan(v, sum, lost);
        }
        assert_eq!(sum + lost, 2.0);
        assert_eq!(kahan(f64::INFINITY, 1.0, 0.5), (f64::INFINITY, 0.0));
    }

    #[test]
    fn close_is_relative_but_nothing_is_close_to_zero() {
        assert!(close(1.0, 1.000_001, 1e-6));
        assert!(!close(1.0, 1.000_003, 1e-6));
        assert!(!close(0.0, 1e-300, 1e-6));
        assert!(close(f64::NAN, f64::NAN, 1e-6));
        assert!(!close(f64::NAN, 1.0, 1e-6));
        assert!(close(f64::INFINITY, f64::INFINITY, 1e-6));
        assert!(!close(f64::INFINITY, f64::NEG_INFINITY, 1e-6));
        assert!(close(f64::MAX, f64::MAX * (1.0 - 1e-9), 1e-6));
    }
}
