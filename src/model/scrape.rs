//! What is taken of a target's answer: plain terms, checked where the settings are read.

use crate::model::relabel::Relabel;

/// How the samples of a target are taken.
#[derive(Clone, Debug, Default)]
pub struct SampleTerms {
    /// Whether a label of a sample counts more than one of the target.
    pub honor_labels: bool,
    /// Whether times in the answer count.
    pub honor_timestamps: bool,
    /// Steps that change a sample's labels, or drop it.
    pub relabel: Vec<Relabel>,
    /// What the answer may hold.
    pub limits: ScrapeLimits,
}

/// Bounds of one answer; beyond them it is not taken at all. `None`: only the program's own bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScrapeLimits {
    /// Bytes, inflated.
    pub body_bytes: Option<usize>,
    /// Samples that are left after relabelling.
    pub samples: Option<usize>,
    /// Labels of one sample, its name among them.
    pub labels: Option<usize>,
    /// Bytes of a label's name.
    pub label_name_bytes: Option<usize>,
    /// Bytes of a label's value.
    pub label_value_bytes: Option<usize>,
    /// Targets of the job; beyond them none of it is asked.
    pub targets: Option<usize>,
}
