//! Every bound, with its unit, its reason and what happens there.

use crate::model::time::Duration;

/// A sample this old is still accepted; older ones are refused and counted. Covers a sender's retry after an outage.
pub const LATE_MAX: Duration = Duration::from_mins(10);
/// A sample this far in the future is refused: it would be judged long after it was sent, or its clock is wrong.
pub const FUTURE_MAX: Duration = Duration::from_mins(10);
/// A repeated delivery id is recognised for at least this long.
pub const DELIVERY_ID_MEMORY: Duration = Duration::from_mins(10);
/// Active series; a sample that would make one more is refused and counted.
pub const SERIES_COUNT_MAX: usize = 2_000_000;
/// Active series of one metric: a label that never has the same value twice must not take the room of all others.
pub const METRIC_SERIES_MAX: u32 = 500_000;
/// Ways of writing a series' labels that are remembered; others are read each time. About 35 bytes each.
pub const SPELLINGS_COUNT_MAX: usize = 2 * SERIES_COUNT_MAX;
/// Samples kept for one series; the oldest are shed and counted. Packed as badly as can be, they fit into one record of
/// an image.
pub const SERIES_SAMPLES_MAX: usize = 500_000;
/// Samples of a series in plain arrays; beyond it, the oldest are packed. After that 192 are left, so that a window of
/// 3 minutes with a sample each second reads plain arrays only.
pub const PLAIN_SAMPLES_MAX: usize = 320;
/// Samples that are packed together.
pub const CHUNK_SAMPLES: usize = 128;
/// Samples kept for the board beyond what rules need.
pub const BOARD_SAMPLES_MAX: usize = 720;
/// How far back the board looks.
pub const BOARD_WINDOW: Duration = Duration::from_hours(1);
/// Time between two samples of `ALERTS` where nothing changes.
pub const ALERTS_EVERY: Duration = Duration::from_secs(15);
/// A firing series that is silent for this long is paged about.
pub const SILENT_AFTER: Duration = Duration::from_mins(5);
/// Repeat of a page where the rule has no `silence_window`.
pub const REPEAT_DEFAULT: Duration = Duration::from_hours(4);
/// Alerts that join a paged incident are told at most this often.
pub const JOIN_INTERVAL: Duration = Duration::from_mins(5);
/// First wait before a page is tried again, doubling.
pub const PAGE_BACKOFF_MIN: Duration = Duration::from_secs(1);
/// Longest wait before a page is tried again.
pub const PAGE_BACKOFF_MAX: Duration = Duration::from_mins(1);
/// After this long without acceptance the fallback receiver is told as well.
pub const PAGE_BUDGET: Duration = Duration::from_mins(2);
/// A closing message that nobody accepts is given up after this long, and counted.
pub const CLOSING_TTL: Duration = Duration::from_hours(24);
/// Attempts under way to one receiver.
pub const PAGES_IN_FLIGHT_MAX: usize = 8;
/// Closed incidents kept for people to look at.
pub const INCIDENTS_CLOSED_MAX: usize = 1_000;
/// Closed heal runs kept for people to look at.
pub const HEALS_CLOSED_MAX: usize = 1_000;
/// Retries of a script that says it is busy (exit 75).
pub const HEAL_BUSY_MAX: u32 = 5;
/// Bytes of a PromQL expression; a longer one is refused. The longest of some thousand public rules has about 2 KiB.
pub const EXPRESSION_BYTES_MAX: usize = 64 * 1024;
/// Parts of a PromQL expression that lie in each other, links of a chain of operators among them; a deeper one is
/// refused, because everything that walks an expression does so on the stack. The deepest of some thousand public
/// rules has 15.
pub const EXPRESSION_DEPTH_MAX: usize = 200;
