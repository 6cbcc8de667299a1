//! Everything that one state of the model holds. Plain values: two worlds that are equal behave alike.

use crate::lab::{IntentId, RetryId, StatusId, StretchId};

/// Which of the two contents `spec` has. They differ in a firing field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Content {
    A,
    B,
}

/// What a person annotates as `pipekick.dev/resolve`, for the run that is current then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    Refire,
    Abandon,
    /// The newest pipeline that GitLab has.
    Adopt,
}

/// The object without its resourceVersion: what a decision sees of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Seen {
    pub uid: u8,
    pub generation: u8,
    pub content: Content,
    /// The value of `pipekick.dev/fire`; 0 is none.
    pub fire: u8,
    /// The run and what to do with it; for `Adopt` with the pipeline's id.
    pub resolve: Option<(u8, Verb, u8)>,
    pub status: StatusId,
}

/// The object as the API server has it, or as somebody read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Object {
    pub seen: Seen,
    pub version: u8,
    /// How often etcd was restored: a list after that is right although its versions are lower.
    pub epoch: u8,
}

/// What a look for a lost pipeline brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Look {
    /// The id of the newest, and of another one that carries the same name.
    Found(u8, Option<u8>),
    NoCandidate,
    NoneOurs,
    CannotTell,
    Trouble,
}

/// What became of a POST, as the process knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reply {
    Accepted(u8),
    FailedAtBirth,
    Refused,
    Throttled { until: u16 },
    NotSent,
    Unknown,
}

/// What became of a request to start failed jobs again, as the process knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Redone {
    /// GitLab took it, and the pipeline stood so then.
    Done(Life),
    Refused,
    NotNow,
    Unknown,
}

/// A record in status of which it does not say what came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Open {
    Post(IntentId),
    Retry(RetryId),
}

/// What a process knows beside the object; gone when it crashes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Memory {
    /// Of this object.
    pub uid: u8,
    pub answers: Vec<(IntentId, Reply)>,
    /// The last request to start failed jobs again.
    pub retried: Option<(RetryId, Redone)>,
    /// The intent in status, and since when this process knows it.
    pub intent: Option<(Open, u16)>,
    pub look_again: Option<u16>,
}

/// Where a process stands within a turn of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum At {
    /// About to decide.
    Decide,
    /// Its intent was confirmed; the POST comes next.
    Send { intent: IntentId, content: Content, began: u16 },
    /// The intent to start failed jobs again was confirmed; the request comes next.
    SendRetry { retry: RetryId, pipeline: u8, began: u16 },
    /// The POST took effect, and its reply comes a tick later.
    Await { intent: IntentId, pipeline: u8, until: u16 },
    /// A look was begun, its list was read, and its reply comes later.
    Looking { until: u16 },
    /// A write was not confirmed; the object is read again.
    Reread,
}

/// One turn of work, on the version it was begun with.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Turn {
    pub view: Object,
    pub credentials: bool,
    /// What a look brought, and when it began.
    pub lookup: Option<(IntentId, Look, u16)>,
    /// What a look at the run's own pipeline brought (nothing: trouble), and when it began.
    pub looked_at: Option<(u8, Option<Life>, u16)>,
    /// A pipeline that a person named, if it is there.
    pub named: Option<(u8, Option<Made>)>,
    /// The refusal that was looked into: what was found changes nothing but words.
    pub looked_into: Option<IntentId>,
    pub at: At,
}

/// One operator process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Operator {
    /// How often it was restarted: each start is a writer of its own.
    pub life: u8,
    /// Stopped by a signal: it does nothing, and does not notice.
    pub paused: bool,
    /// The object as its watch, or its own last write, has shown it.
    pub store: Option<Object>,
    /// The watch brought something that was not worked on yet.
    pub dirty: bool,
    pub wake: Option<u16>,
    pub follow: Option<StretchId>,
    pub sighting: Option<(StretchId, Life)>,
    pub memory: Memory,
    pub turn: Option<Turn>,
}

/// Where a pipeline stands, and how often its failed jobs were started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Life {
    pub stands: Stands,
    pub starts: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stands {
    UnderWay,
    Failed,
    Succeeded,
}

/// A pipeline in GitLab; its id is its place, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Made {
    /// The intent whose POST made it; its run is the mark it carries.
    pub by: IntentId,
    pub content: Content,
    pub tick: u16,
    pub life: Life,
}

impl Made {
    pub const fn new(by: IntentId, content: Content, tick: u16) -> Self {
        Self { by, content, tick, life: Life { stands: Stands::UnderWay, starts: 0 } }
    }
}

/// A POST whose reply was lost and whose effect may still come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Request {
    pub by: IntentId,
    pub content: Content,
    pub until: u16,
}

/// A request to start failed jobs again whose reply was lost and whose effect may still come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LateRetry {
    pub by: RetryId,
    pub pipeline: u8,
    pub until: u16,
}

/// A status write whose reply was lost and which may still come to stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LateWrite {
    pub uid: u8,
    pub version: u8,
    pub status: StatusId,
    pub until: u16,
}

/// What may still happen. It bounds the search.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Left {
    pub faults: u8,
    pub edits: u8,
    pub asks: u8,
    pub recreations: u8,
    pub resolutions: u8,
    pub restores: u8,
    pub ticks: u8,
    pub jumps: u8,
    /// Of pipelines.
    pub failures: u8,
}

/// One state.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    /// Time, in steps of [`crate::lab::TICK`] seconds.
    pub tick: u16,
    pub object: Object,
    pub operators: Vec<Operator>,
    pub pipelines: Vec<Made>,
    pub requests: Vec<Request>,
    pub retries: Vec<LateRetry>,
    pub writes: Vec<LateWrite>,
    pub backup: Option<Object>,
    pub left: Left,
    /// Writes that were lost: a process that decides again does so a moment later, at another time.
    pub moment: u8,
    /// A person chose `refire`: a second pipeline is theirs.
    pub excused: bool,
}

impl World {
    /// The next resourceVersion: no other copy of the object has it.
    pub fn fresh_version(&self) -> u8 {
        self.versions().max().unwrap_or_default() + 1
    }

    /// Gives the versions in use the smallest numbers that keep their order: only the order is looked at.
    pub fn renumber(&mut self) {
        let mut used: Vec<u8> = self.versions().collect();
        used.sort_unstable();
        used.dedup();
        let rank = |version: &mut u8| {
            let place = used.binary_search(version).unwrap_or_default();
            *version = u8::try_from(place).unwrap_or(u8::MAX);
        };
        rank(&mut self.object.version);
        for operator in &mut self.operators {
            operator.store.iter_mut().for_each(|object| rank(&mut object.version));
            operator.turn.iter_mut().for_each(|turn| rank(&mut turn.view.version));
        }
        self.writes.iter_mut().for_each(|write| rank(&mut write.version));
        self.backup.iter_mut().for_each(|object| rank(&mut object.version));
    }

    fn versions(&self) -> impl Iterator<Item = u8> {
        let held = self.operators.iter().flat_map(|operator| {
            let turn = operator.turn.as_ref().map(|turn| turn.view.version);
            operator.store.map(|object| object.version).into_iter().chain(turn)
        });
        held.chain([self.object.version])
            .chain(self.writes.iter().map(|write| write.version))
            .chain(self.backup.map(|object| object.version))
    }
}

impl Operator {
    /// Whether the queue would hand the object out.
    pub fn is_due(&self, tick: u16) -> bool {
        self.store.is_some() && (self.dirty || self.wake.is_some_and(|wake| wake <= tick))
    }

    /// Whether it can do something without time passing.
    pub fn is_busy(&self, tick: u16) -> bool {
        if self.paused {
            return false;
        }
        match &self.turn {
            Some(Turn { at: At::Await { until, .. } | At::Looking { until }, .. }) => *until <= tick,
            Some(_) => true,
            None => self.is_due(tick),
        }
    }

    /// A process that begins with nothing.
    pub fn restarted(&self) -> Self {
        Self { life: self.life + 1, ..Self::default() }
    }
}
