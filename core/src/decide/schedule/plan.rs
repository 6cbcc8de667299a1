//! What a decision says is to be done.

use jiff::Timestamp;

use crate::decide::trigger::Note;
use crate::domain::schedule::ScheduleStatus;

/// What to do: the status first, if there is one, then the effects in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Written first, guarded by the resourceVersion that was looked at; if that fails nothing else is done.
    pub status: Option<ScheduleStatus>,
    /// Done after the write has won, one after the other; a create that is refused ends the turn's creates.
    pub effects: Vec<Effect>,
    /// Told after the write has won.
    pub events: Vec<Told>,
    /// Decide again then, whatever happens meanwhile.
    pub wake: Option<Timestamp>,
    /// Nothing depends on when this is done: a later decision asks for the same. While there is a crowd, it waits.
    pub can_wait: bool,
}

/// Something to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The tick that it is about, if it is one's.
    pub tick: Option<Timestamp>,
    /// What.
    pub note: Note,
}

impl Plan {
    /// Whether to decide again at once, when all of it was done: something was written, read or created. What a
    /// delete or a cancel changes comes by the watch, and what a look finds in time.
    #[must_use]
    pub fn goes_on(&self) -> bool {
        let Self { status, effects, events: _, wake: _, can_wait: _ } = self;
        let again = |effect: &Effect| match effect {
            Effect::Confirm | Effect::Create(_) => true,
            Effect::Delete { .. } | Effect::Cancel { .. } | Effect::Look { .. } => false,
        };
        status.is_some() || effects.iter().any(again)
    }
}

/// Something to do beside writing. Each bears being done twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Read the schedule from the API server, then decide again with [`super::Facts::fresh`].
    Confirm,
    /// Delete a child, by name and uid.
    Delete {
        /// Its name.
        name: String,
        /// Its uid.
        uid: String,
    },
    /// Annotate a child with `pipekick.dev/cancel`.
    Cancel {
        /// Its name.
        name: String,
        /// The value.
        value: String,
    },
    /// Have the pipeline of a child looked at. Asked for in each decision that waits for it.
    Look {
        /// The child's name.
        name: String,
    },
    /// Create a child.
    Create(ChildOrder),
}

/// A child to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildOrder {
    /// Its name.
    pub name: String,
    /// Why.
    pub cause: ChildCause,
}

/// Why a child is created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChildCause {
    /// For a tick.
    Tick {
        /// The tick.
        tick: Timestamp,
        /// When it should fire: the tick and its jitter. Lateness counts from here.
        release: Timestamp,
        /// The tick as `pipekick.dev/scheduled-time` has it: RFC 3339 in the schedule's zone.
        scheduled_time: String,
    },
    /// Because somebody asked with `pipekick.dev/fire`.
    Request {
        /// The annotation's value.
        value: String,
    },
}
