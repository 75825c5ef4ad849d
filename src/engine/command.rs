//! What people ask for: acknowledge, silence, the heal switch.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use crate::engine::Engine;
use crate::engine::event::{Event, Silence};
use crate::model::labels::{Labels, Matcher};
use crate::model::time::Duration;

/// One request. Its reply is given when its record is durable.
#[expect(missing_docs, reason = "the fields are named after what they hold")]
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Someone has this incident.
    Ack {
        incident: u64,
        by: String,
        note: String,
    },
    /// Mute alerts.
    Silence {
        matchers: Vec<Matcher>,
        lasts: Duration,
        by: String,
        comment: String,
    },
    /// End a silence now.
    EndSilence { id: u64, by: String },
    /// Switch all heals on or off.
    Switch {
        on: bool,
        by: String,
        reason: String,
    },
}

/// Why a request is not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The number is unknown.
    #[error("there is no open incident {0}")]
    NoIncident(u64),
    /// The number is unknown.
    #[error("there is no silence {0} that has not ended")]
    NoSilence(u64),
    /// Every alert would match.
    #[error(
        "a silence needs at least one matcher that does not match the empty value, or it would mute everything"
    )]
    MutesAll,
    /// The duration is zero.
    #[error("a silence must last some time")]
    NoTime,
}

impl Engine {
    /// Whether a request can be carried out. Ask before [`crate::engine::Input::Command`], which ignores what cannot.
    pub fn check(&self, command: &Command) -> Result<(), CommandError> {
        match command {
            Command::Ack { incident, .. }
                if self
                    .state
                    .incidents
                    .get(incident)
                    .is_none_or(|i| i.closed.is_some()) =>
            {
                Err(CommandError::NoIncident(*incident))
            }
            Command::EndSilence { id, .. } if !self.state.silences.contains_key(id) => {
                Err(CommandError::NoSilence(*id))
            }
            Command::Silence { matchers, .. } if matchers.iter().all(|m| m.matches("")) => {
                Err(CommandError::MutesAll)
            }
            Command::Silence { lasts, .. } if lasts.is_zero() => Err(CommandError::NoTime),
            Command::Ack { .. }
            | Command::EndSilence { .. }
            | Command::Silence { .. }
            | Command::Switch { .. } => Ok(()),
        }
    }

    pub(super) fn command(&mut self, command: Command) {
        if self.check(&command).is_err() {
            return;
        }
        match command {
            Command::Ack { incident, by, note } => {
                self.emit(Event::IncidentAcked {
                    id: incident,
                    by,
                    note,
                });
                self.close_if_past(incident);
            }
            Command::Silence {
                matchers,
                lasts,
                by,
                comment,
            } => {
                let silence = Silence {
                    id: self.state.silence_last + 1,
                    matchers,
                    from: self.now,
                    until: self.now + lasts,
                    by,
                    comment,
                };
                self.emit(Event::Silenced { silence });
            }
            Command::EndSilence { id, by } => self.emit(Event::SilenceEnded { id, by: Some(by) }),
            Command::Switch { on, by, reason } => self.emit(Event::HealSwitched { on, by, reason }),
        }
    }

    /// Which active alerts matchers would mute now.
    pub fn preview(&self, matchers: &[Matcher]) -> Vec<Labels> {
        let hit = |labels: &Labels| matchers.iter().all(|m| m.matches(labels.get(&m.name)));
        self.state
            .alerts
            .values()
            .filter(|a| a.is_firing() && hit(&a.labels))
            .map(|a| a.labels.clone())
            .collect()
    }
}
