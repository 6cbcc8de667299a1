//! What a decision looks at.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::domain::schedule::{Child, Schedule};

/// Everything one decision looks at.
#[derive(Debug, Clone, Copy)]
pub struct Observed<'a> {
    /// The time.
    pub now: Timestamp,
    /// `--pause`: make no children, and let `missedRuns` decide afterwards.
    pub paused: bool,
    /// The object.
    pub schedule: &'a Schedule,
    /// Every `PipelineTrigger` that the watch knows and this schedule controls, in any order.
    pub children: &'a [Child],
    /// What this process knows beside them.
    pub facts: &'a Facts,
}

/// What this process knows and neither status nor the watch says yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Schedule and status were read from the API server itself, or written there under their resourceVersion,
    /// less than [`super::FRESH_FOR`] ago, and are what is decided on now.
    pub fresh: bool,
    /// What became of creates, one entry a name. [`Creation::Made`] and [`Creation::Ours`] stay until the watch has
    /// shown the child (or a minute has passed), the others until the name is created or no longer asked for.
    pub creations: Vec<Created>,
    /// When this process began the look that last found the pipeline of a child under way, by the child's name.
    pub seen_running: BTreeMap<String, Timestamp>,
    /// Since when children are looked at ([`super::Effect::Look`]), if they are.
    pub looking_since: Option<Timestamp>,
}

/// What became of a create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// The child's name.
    pub name: String,
    /// The tick it was for; none for a request.
    pub tick: Option<Timestamp>,
    /// The generation of spec that it was last made of.
    pub generation: i64,
    /// When it was first tried.
    pub first_at: Timestamp,
    /// When it was last tried.
    pub at: Timestamp,
    /// How often, of this generation.
    pub times: u32,
    /// How that went.
    pub outcome: Creation,
}

/// How a create went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Creation {
    /// It was created.
    Made {
        /// The child's uid.
        uid: String,
    },
    /// It existed, controlled by this schedule's uid: somebody was quicker, or this process forgot.
    Ours {
        /// The child's uid.
        uid: String,
    },
    /// The name belongs to a child of an earlier schedule of the same name.
    Earlier,
    /// The name belongs to something that no such schedule controls.
    Stranger,
    /// The API server refused: a quota, an admission rule, a namespace on its way out. Nothing exists.
    Refused {
        /// What it said.
        message: String,
    },
}
