//! A schedule's life without a cluster: the very [`decide`] that the controller runs, in a world where a run takes a
//! given time, the operator is down when it is told to be, and nothing else goes wrong.
//!
//! `pipekick simulate` shows its log; the tests of the decisions judge by its ledger.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use thiserror::Error;

use crate::decide::schedule::{
    ChildCause, ChildOrder, Created, Creation, Effect, Facts, Observed, Plan, Told, decide,
};
use crate::decide::trigger::Note;
use crate::domain::schedule::{Child, ChildOwner, Schedule};
use crate::domain::{Phase, Reason, Span};

/// A cancelled run has ended after this time.
const CANCEL_TAKES: SignedDuration = SignedDuration::from_secs(10);
/// A refusal is remembered for this time.
const REMEMBERED: SignedDuration = SignedDuration::from_secs(300);
/// More than anybody reads; a simulation that comes to it is refused.
pub const MAX_LINES: usize = 100_000;
/// A decision that leads to another one this often would never rest.
const MAX_TURNS: usize = 1_000;

/// One line of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// When.
    pub at: Timestamp,
    /// One word.
    pub what: &'static str,
    /// A sentence.
    pub message: String,
    /// The child it speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub child: Option<String>,
    /// The tick it speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tick: Option<Timestamp>,
}

/// More happens than can be shown.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("more than {MAX_LINES} things happen: choose a shorter time")]
pub struct TooMuch;

/// The process was made to die.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Died;

/// A child and when its run ends.
#[derive(Debug, Clone)]
struct Running {
    child: Child,
    ends: Timestamp,
}

/// A schedule, its children, and the time.
#[derive(Debug, Clone)]
pub struct World {
    /// The object as the API server has it.
    pub schedule: Schedule,
    /// The time.
    pub now: Timestamp,
    /// Whether the operator runs with `--pause`.
    pub paused: bool,
    /// Whether there is a crowd, in which what can wait waits.
    pub crowded: bool,
    /// What the operator's process remembers.
    pub facts: Facts,
    /// How long a run takes.
    pub run_takes: Span,
    /// Whether there is an access token to follow runs with; without one each has ended for its schedule once it is
    /// fired.
    pub follows: bool,
    /// The API server refuses every child with this message, if set.
    pub refuses: Option<String>,
    /// Whether the end of a run is heard of only by a look that is asked for ([`Effect::Look`]); else at once.
    pub hears_late: bool,
    /// The process dies after this many more writes and effects, if set.
    pub dies_after: Option<usize>,
    /// Every child that was ever created: the tick, and its name.
    pub ledger: Vec<(Option<Timestamp>, String)>,
    /// Every Event that was told.
    pub told: Vec<Note>,
    /// What happened.
    pub log: Vec<Line>,
    children: Vec<Running>,
}

impl World {
    /// `schedule` at `now`, without children.
    #[must_use]
    pub fn new(schedule: Schedule, now: Timestamp, run_takes: Span) -> Self {
        Self {
            schedule,
            now,
            paused: false,
            crowded: false,
            facts: Facts::default(),
            run_takes,
            follows: true,
            refuses: None,
            hears_late: false,
            dies_after: None,
            ledger: Vec::new(),
            told: Vec::new(),
            log: Vec::new(),
            children: Vec::new(),
        }
    }

    /// The children, as the watch shows them.
    #[must_use]
    pub fn children(&self) -> Vec<Child> {
        self.children.iter().map(|running| running.child.clone()).collect()
    }

    /// Somebody deletes a child.
    pub fn delete(&mut self, name: &str) {
        self.children.retain(|running| running.child.name != name);
    }

    /// Decides and applies until nothing is left to do; answers when to decide again.
    ///
    /// # Errors
    /// When the process was made to die on the way.
    pub fn turn(&mut self) -> Result<Option<Timestamp>, Died> {
        self.hear();
        for _ in 0..MAX_TURNS {
            let children = self.children();
            let observed = Observed {
                now: self.now,
                paused: self.paused,
                schedule: &self.schedule,
                children: &children,
                facts: &self.facts,
            };
            let plan = decide(&observed);
            let (goes_on, wake) = (plan.goes_on(), plan.wake);
            if self.crowded && plan.can_wait {
                return Ok(wake);
            }
            let looks = plan.effects.iter().any(|effect| matches!(effect, Effect::Look { .. }));
            self.facts.looking_since = looks.then(|| self.facts.looking_since.unwrap_or(self.now));
            self.apply(plan)?;
            if !goes_on {
                self.facts.fresh = false;
                return Ok(wake);
            }
        }
        unreachable!("a decision rests once everything it asked for was done")
    }

    /// Lets time pass up to `until`, deciding whenever something happens.
    ///
    /// # Errors
    /// When more happens than can be shown.
    ///
    /// # Panics
    /// Never: nobody makes the process die here.
    pub fn run_until(&mut self, until: Timestamp) -> Result<(), TooMuch> {
        self.dies_after = None;
        loop {
            let wake = self.turn().unwrap_or(None);
            if self.log.len() > MAX_LINES {
                return Err(TooMuch);
            }
            let under_way = self.children.iter().filter(|running| running.child.finished_at.is_none());
            let ends = under_way.map(|running| running.ends).filter(|ends| *ends > self.now).min();
            let next = [wake, ends].into_iter().flatten().filter(|next| *next > self.now).min();
            match next.filter(|next| *next <= until) {
                Some(next) => self.now = next,
                None => break,
            }
        }
        self.now = self.now.max(until);
        self.hear();
        Ok(())
    }

    /// The operator is down until `until`; its process forgets what it knew.
    pub fn down_until(&mut self, until: Timestamp) {
        self.say("Down", "the operator is down".into(), None, None);
        self.facts = Facts::default();
        self.now = self.now.max(until);
        self.hear();
        self.say("Up", "the operator is up again".into(), None, None);
    }

    /// What has ended is heard of, unless that comes late: then only who looks knows.
    fn hear(&mut self) {
        if !self.hears_late {
            self.settle();
        }
    }

    /// Looks at all runs: some have ended by now, the others are under way.
    fn settle(&mut self) {
        let now = self.now;
        let mut ended: Vec<(Timestamp, String, Phase)> = Vec::new();
        for running in &mut self.children {
            let Running { child, ends } = running;
            if child.finished_at.is_some() {
                continue;
            }
            if *ends > now {
                self.facts.seen_running.insert(child.name.clone(), now);
                continue;
            }
            let phase = if child.cancel.is_some() { Phase::Canceled } else { Phase::Succeeded };
            child.phase = Some(phase);
            child.finished_at = Some(*ends);
            ended.push((*ends, child.name.clone(), phase));
        }
        ended.sort_by_key(|(at, _, _)| *at);
        for (at, name, phase) in ended {
            let message = format!("{name} ended {phase:?}");
            self.log.push(Line { at, what: "Ended", message, child: Some(name), tick: None });
        }
    }

    fn apply(&mut self, plan: Plan) -> Result<(), Died> {
        let Plan { status, effects, events, wake: _, can_wait: _ } = plan;
        if let Some(status) = status {
            self.breathe()?;
            self.schedule.status = status;
            self.facts.fresh = true;
        }
        for Told { tick, note } in events {
            self.told.push(note.clone());
            // A create was told when it was done.
            if note.reason != Reason::ChildCreated {
                self.say(note.reason.as_str(), note.message, None, tick);
            }
        }
        for effect in effects {
            self.breathe()?;
            match effect {
                Effect::Confirm => self.facts.fresh = true,
                Effect::Delete { name, uid } => {
                    self.children.retain(|running| running.child.name != name || running.child.uid != uid);
                    self.say("Trimmed", format!("{name} was deleted: the history limit"), Some(name), None);
                }
                Effect::Cancel { name, value } => {
                    let ends = self.now + CANCEL_TAKES;
                    if let Some(running) = self.children.iter_mut().find(|running| running.child.name == name)
                    {
                        running.child.cancel = Some(value);
                        running.ends = running.ends.min(ends);
                    }
                    self.say("Cancelled", format!("{name} was asked to cancel its run"), Some(name), None);
                }
                Effect::Look { name: _ } => self.settle(),
                Effect::Create(order) => self.create(order),
            }
        }
        Ok(())
    }

    fn create(&mut self, order: ChildOrder) {
        let ChildOrder { name, cause } = order;
        let (tick, message) = match cause {
            ChildCause::Tick { tick, release, scheduled_time } => {
                let late = self.now.duration_since(release);
                let late = if late.as_secs() < 1 { String::new() } else { format!(", {late:#} late") };
                (Some(tick), format!("{name} for the tick of {scheduled_time}{late}"))
            }
            ChildCause::Request { value } => (None, format!("{name} for the request {value:?}")),
        };
        let existing = self.children.iter().find(|running| running.child.name == name);
        let outcome = match (existing, &self.refuses) {
            (Some(running), _) => Creation::Ours { uid: running.child.uid.clone() },
            (None, Some(message)) => Creation::Refused { message: message.clone() },
            (None, None) => {
                let uid = format!("uid-{}", self.ledger.len());
                self.ledger.push((tick, name.clone()));
                self.children.push(Running { child: self.child(&name, &uid, tick), ends: self.run_ends() });
                self.say("Fired", message, Some(name.clone()), tick);
                Creation::Made { uid }
            }
        };
        // The watch shows at once what exists; a refusal is remembered until its child is made, or for five minutes.
        let generation = self.schedule.generation;
        let (mut first_at, at, mut times) = (self.now, self.now, 1);
        self.facts.creations.retain(|created| {
            let same = created.name == name;
            if same && created.generation == generation {
                (first_at, times) = (created.first_at, created.times.saturating_add(1));
            }
            let refused = matches!(created.outcome, Creation::Refused { message: _ });
            !same && refused && at.duration_since(created.at) < REMEMBERED
        });
        self.facts.creations.push(Created { name, tick, generation, first_at, at, times, outcome });
    }

    fn child(&self, name: &str, uid: &str, tick: Option<Timestamp>) -> Child {
        Child {
            name: name.to_owned(),
            uid: uid.to_owned(),
            owner: ChildOwner::Schedule {
                name: self.schedule.key.name.clone(),
                uid: self.schedule.uid.clone(),
            },
            being_deleted: false,
            created: self.now,
            tick,
            phase: Some(if self.follows { Phase::Running } else { Phase::Fired }),
            run_seq: Some(1),
            cancel: None,
            finished_at: (!self.follows).then_some(self.now),
        }
    }

    fn run_ends(&self) -> Timestamp {
        let takes = SignedDuration::try_from(std::time::Duration::from(self.run_takes));
        takes.ok().and_then(|takes| self.now.checked_add(takes).ok()).unwrap_or(Timestamp::MAX)
    }

    /// One more write or effect; the process may have been made to die before it.
    fn breathe(&mut self) -> Result<(), Died> {
        match &mut self.dies_after {
            Some(0) => {
                self.facts = Facts::default();
                self.dies_after = None;
                Err(Died)
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn say(&mut self, what: &'static str, message: String, child: Option<String>, tick: Option<Timestamp>) {
        self.log.push(Line { at: self.now, what, message, child, tick });
    }
}
