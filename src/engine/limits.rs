//! Every bound, with its unit, its reason and what happens there.

use crate::model::time::Duration;

/// A sample this old is still accepted; older ones are refused and counted. Covers a sender's retry after an outage.
pub const LATE_MAX: Duration = Duration::from_mins(10);
/// The same where the samples of a series come in order and each once, as from Prometheus, which keeps what it could not
/// send for about as long.
pub const LATE_IN_ORDER_MAX: Duration = Duration::from_hours(3);
/// After samples older than [`LATE_MAX`] came, nothing that was worked out of the past is taken for final for this long:
/// longer than any sensible interval of a group.
pub const UNSETTLED: Duration = Duration::from_hours(24);
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
/// Samples of one series kept for queries as far as `retention` reaches, if rules need fewer: two days at one sample each
/// 15 s. A series that is pushed faster has a shorter history, so that a fast sender cannot take the memory.
pub const HISTORY_SAMPLES_MAX: usize = 11_520;
/// Bytes of packed samples of all series; beyond it, what only queries ask for reaches back less far, equally for all
/// series. Some 500 million samples that change little.
pub const HISTORY_BYTES_MAX: usize = 1 << 30;
/// Bytes of native histograms of all series; beyond it, each new one takes the place of the oldest of its series. Below
/// it they count with [`HISTORY_BYTES_MAX`] for how far history reaches back.
pub const HISTOGRAM_BYTES_MAX: usize = 1 << 30;
/// Native histograms that are kept beyond what rules need and history has room for: twice the lookback of a query.
pub const HISTOGRAM_WINDOW: Duration = Duration::from_mins(10);
/// Bytes of a series that holds native histograms; the oldest are shed and counted. They fit into one record of an image.
pub const SERIES_BYTES_MAX: usize = 10 << 20;
/// Series that one tick looks at to find those that have ended: a million are seen in a quarter of an hour.
pub const ENDED_LOOK: usize = 1_000;
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
/// After this long without acceptance the fallback receiver is told as well, where a receiver does not say when.
pub const PAGE_BUDGET: Duration = Duration::from_mins(2);
/// A page about an incident that is over (the closing message; that a heal failed) is given up after this long.
pub const CLOSING_TTL: Duration = Duration::from_hours(24);
/// Attempts under way to one receiver.
pub const PAGES_IN_FLIGHT_MAX: usize = 8;
/// Closed incidents kept for people to look at.
pub const INCIDENTS_CLOSED_MAX: usize = 1_000;
/// A wall clock that differs by less from what is believed did not step.
pub const CLOCK_STEP_MIN: Duration = Duration::from_secs(1);
/// A step of the wall clock that lasts this long is believed: shorter than it takes until silence is paged about.
pub const CLOCK_STEP_LASTS: Duration = Duration::from_secs(20);
/// Alerts listed in one page; the rest is counted. Together they take no more than [`PAGE_ALERT_BYTES_MAX`].
pub const PAGE_ALERTS_MAX: usize = 1_000;
/// Bytes of labels and annotations in one page: a page to each of many receivers is part of one record of the log.
pub const PAGE_ALERT_BYTES_MAX: usize = 64 << 10;
/// An entry that is longer becomes several records; the log itself takes 16 MiB.
pub const RECORD_BYTES_MAX: usize = 4 << 20;
/// A rule file that is broken for this long is paged about: long enough to finish an edit.
pub const BROKEN_AFTER: Duration = Duration::from_mins(5);
/// Broken files that are kept by name, first ones first: the list is part of an event, and an event has a size.
pub const BROKEN_NAMED_MAX: usize = 1_000;
/// Samples refused for this long are paged about; one failed write that the next one makes good is not.
pub const SAMPLES_REFUSED_AFTER: Duration = Duration::from_secs(10);
/// An event log that takes nothing for this long is paged about, as soon as it takes something.
pub const EVENTS_REFUSED_AFTER: Duration = Duration::from_secs(10);
/// Rules that are judged late for this long are paged about.
pub const TICKS_LATE_AFTER: Duration = Duration::from_mins(1);
/// Alerts of one kind about ourselves; the rest is one more.
pub const OWN_ALERTS_MAX: usize = 100;
/// Closed heal runs kept for people to look at.
pub const HEALS_CLOSED_MAX: usize = 1_000;
/// After a heal has settled, a `verify` waits this long for series that have no sample since: longer than most senders
/// take from one to the next. Those that are still silent then are taken to have ended.
pub const VERIFY_WAIT: Duration = Duration::from_mins(1);
/// Retries of a script that says it is busy (exit 75).
pub const HEAL_BUSY_MAX: u32 = 5;
/// A start that comes so soon after the last trace of the engine goes on where it was: what was active then is taken to have
/// been evaluated until now.
pub const START_QUICK: Duration = Duration::from_mins(1);
/// A rule is called blind when nothing that it looks at was heard for this long, or as long as it looks back.
pub const BLIND_AFTER: Duration = Duration::from_mins(10);
/// Each rule is looked at this often for that.
pub const BLIND_LOOK: Duration = Duration::from_mins(1);
/// Nothing at all was heard for this long: then it is not the rules that see nothing.
pub const QUIET_AFTER: Duration = Duration::from_mins(5);
/// Different queries that the templates of one tick may ask; further ones fail, and their text says so.
pub const TEMPLATE_ANSWERS_MAX: usize = 1_000;
/// Queries that one template may ask: each takes another turn over it.
pub const TEMPLATE_QUERIES_MAX: usize = 16;
/// Elements of the answer to a template's query: a person reads it.
pub const TEMPLATE_ELEMENTS_MAX: usize = 1_000;
/// Samples that one query of a template may look at.
pub const TEMPLATE_SAMPLES_MAX: usize = 1_000_000;
/// Samples that the queries of all templates of a tick may look at, give or take one query: some tenths of a second.
pub const TEMPLATE_TICK_SAMPLES_MAX: usize = 20_000_000;
/// Bytes of a PromQL expression; a longer one is refused. The longest of some thousand public rules has about 2 KiB.
pub const EXPRESSION_BYTES_MAX: usize = 64 * 1024;
/// Parts of a PromQL expression that lie in each other, links of a chain of operators among them; a deeper one is
/// refused, because everything that walks an expression does so on the stack. The deepest of some thousand public
/// rules has 15.
pub const EXPRESSION_DEPTH_MAX: usize = 200;
/// Subqueries that lie in each other; a query with more is refused. Each is a level of evaluation of its own, and
/// multiplies the steps of those in it.
pub const SUBQUERY_DEPTH_MAX: usize = 16;
