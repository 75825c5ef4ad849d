//! Parts of the date, in UTC.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

/// A part of a date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine::promql) enum Part {
    Minute,
    Hour,
    DayOfWeek,
    DayOfMonth,
    DayOfYear,
    DaysInMonth,
    Month,
    Year,
}

const DAY: i64 = 86_400;

impl Part {
    /// By the name of the function.
    pub(in crate::engine::promql) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "minute" => Part::Minute,
            "hour" => Part::Hour,
            "day_of_week" => Part::DayOfWeek,
            "day_of_month" => Part::DayOfMonth,
            "day_of_year" => Part::DayOfYear,
            "days_in_month" => Part::DaysInMonth,
            "month" => Part::Month,
            "year" => Part::Year,
            _ => return None,
        })
    }
    /// The part of a time in seconds since the epoch.
    pub(in crate::engine::promql) fn of(self, secs: i64) -> f64 {
        // Beyond these the calendar means nothing; the bound keeps the arithmetic whole.
        let secs = secs.clamp(-8_000_000_000_000, 8_000_000_000_000);
        let (day, second) = (secs.div_euclid(DAY), secs.rem_euclid(DAY));
        let (year, month, of_month) = civil(day);
        let part = match self {
            Part::Minute => second / 60 % 60,
            Part::Hour => second / 3_600,
            // The epoch was a Thursday.
            Part::DayOfWeek => (day + 4).rem_euclid(7),
            Part::DayOfMonth => of_month,
            Part::DayOfYear => day - days(year, 1, 1) + 1,
            Part::DaysInMonth => {
                let (y, m) = if month == 12 {
                    (year + 1, 1)
                } else {
                    (year, month + 1)
                };
                days(y, m, 1) - days(year, month, 1)
            }
            Part::Month => month,
            Part::Year => year,
        };
        part as f64
    }
}

/// Year, month and day of month of a day since the epoch; years begin in March here, so that the leap day is the last.
fn civil(day: i64) -> (i64, i64, i64) {
    let shifted = day + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, of_month)
}

/// The day since the epoch of a date.
fn days(year: i64, month: i64, of_month: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let march_month = (month + 9) % 12;
    let of_year = (153 * march_month + 2) / 5 + of_month - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// A time in seconds since the epoch as `2023-11-14T22:13:20Z`.
pub(in crate::engine::promql) fn rfc3339(secs: i64) -> String {
    let secs = secs.clamp(-8_000_000_000_000, 8_000_000_000_000);
    let (year, month, day) = civil(secs.div_euclid(DAY));
    let second = secs.rem_euclid(DAY);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
        second / 3_600,
        second / 60 % 60,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        let parts = |secs: i64| -> Vec<f64> {
            [
                Part::Year,
                Part::Month,
                Part::DayOfMonth,
                Part::DayOfYear,
                Part::DayOfWeek,
                Part::DaysInMonth,
                Part::Hour,
                Part::Minute,
            ]
            .iter()
            .map(|p| p.of(secs))
            .collect()
        };
        assert_eq!(parts(0), [1970.0, 1.0, 1.0, 1.0, 4.0, 31.0, 0.0, 0.0]);
        // 2024-02-29T23:59:59Z
        assert_eq!(
            parts(1_709_251_199),
            [2024.0, 2.0, 29.0, 60.0, 4.0, 29.0, 23.0, 59.0]
        );
        assert_eq!(
            parts(-1),
            [1969.0, 12.0, 31.0, 365.0, 3.0, 31.0, 23.0, 59.0]
        );
        assert_eq!(rfc3339(1_700_000_000), "2023-11-14T22:13:20Z");
    }
}
