//! What a person is told, and what came of it.

use serde::{Deserialize, Serialize};

use crate::model::labels::Labels;
use crate::model::time::{Duration, Timestamp};

/// Why a page is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PageKind {
    /// The incident opened.
    Opened,
    /// More alerts joined the incident.
    Joined,
    /// It still fires and nobody acknowledged it.
    Repeat,
    /// It fires, and nothing is heard of its series any more.
    Silent,
    /// The heal did not work; a person is needed.
    HealFailed,
    /// It is over: the one closing message.
    Closed,
}

impl PageKind {
    /// Whether people are told even if the incident is over by then: the end, and that a heal did not work.
    pub fn is_owed(self) -> bool {
        match self {
            PageKind::HealFailed | PageKind::Closed => true,
            PageKind::Opened | PageKind::Joined | PageKind::Repeat | PageKind::Silent => false,
        }
    }
}

/// One alert as a page shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PageAlert {
    /// All its labels, `alertname` among them.
    pub labels: Labels,
    /// Its annotations, rendered.
    pub annotations: Labels,
    /// When its condition became true.
    pub since: Timestamp,
    /// When it was resolved, if it was.
    pub resolved_at: Option<Timestamp>,
    /// The value that was judged last.
    pub value: f64,
}

/// A message to one receiver about one incident. Everything a renderer needs is in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Page {
    /// Unique, the same in every attempt: the idempotency key that goes out with it.
    pub key: String,
    /// The incident's number.
    pub incident: u64,
    /// Why it is sent.
    pub kind: PageKind,
    /// To whom, as the rule's `notify` names it.
    pub receiver: String,
    /// The rule's name.
    pub rule: String,
    /// The metric that is judged; empty where `ops` tells something about itself.
    pub metric: String,
    /// The condition in words: `avg over 3m > 1000`.
    pub condition: String,
    /// The threshold, where the condition is a comparison with one number.
    pub threshold: Option<f64>,
    /// The incident's alerts, firing ones first.
    pub alerts: Vec<PageAlert>,
    /// How many more there are that are not listed.
    #[serde(default)]
    pub more: usize,
    /// When the incident opened.
    pub opened_at: Timestamp,
    /// When this was decided.
    pub at: Timestamp,
    /// Why it is over, in words (`recovered`, `its rule was removed`); empty while it is not.
    #[serde(default)]
    pub over: String,
    /// Where the runbook is, as the rule says.
    pub runbook: Option<String>,
    /// What the heal did so far, in one line; empty if there is none.
    pub heal: String,
    /// Path of the board page, `/board/...`; the shell's external URL goes before it.
    pub board: String,
}

impl Page {
    /// One line: subject of a mail, title in chat.
    pub fn title(&self) -> String {
        let head = match self.kind {
            PageKind::Opened | PageKind::Joined => "FIRING",
            PageKind::Repeat => "STILL FIRING",
            PageKind::Silent => "NO DATA",
            PageKind::HealFailed => "HEAL FAILED",
            PageKind::Closed => "RESOLVED",
        };
        format!("[{head}] {} (#{})", self.rule, self.incident)
    }
}

/// What came of one attempt to deliver a page. "No answer" is never taken for "no".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The receiver accepted it.
    Done,
    /// It was not accepted now; try again, not before `after`.
    Retry {
        /// What was answered, or what failed.
        why: String,
        /// The receiver's own wish (`Retry-After`), if it had one.
        after: Option<Duration>,
    },
    /// It will never be accepted like this.
    Refused {
        /// What was answered.
        why: String,
    },
    /// It may have been accepted: the connection broke after the request was sent.
    Unknown {
        /// What failed.
        why: String,
    },
}
