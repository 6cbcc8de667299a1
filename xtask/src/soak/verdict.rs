//! The verdict: what users wished for against what the simulated GitLab's ledger says was made. Status is believed
//! only where it says that something was *not* done, and says so in a phase that a person would look at.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use kube::api::DynamicObject;
use pipekick_core::domain::status::Answered;
use pipekick_core::domain::{Phase, TriggerStatus};
use pipekick_sandbox::gitlab::{Ledger, PipelineRecord};

use super::load::{Allowance, Book, Kind, REVISION, Wish};
use super::passages::status;

/// Calls of the ledger that are shown of one pipeline's object.
const CALLS: usize = 12;

/// What was found.
#[derive(Debug, Default)]
pub struct Verdict {
    pub pipelines: usize,
    /// Fire ids that more than one pipeline carries.
    pub duplicates: Vec<String>,
    /// Specs with more pipelines than they and the requests made of them account for.
    pub excess: Vec<String>,
    /// Standing causes that nothing answers.
    pub lost: Vec<String>,
    /// Causes that were answered.
    pub answered: usize,
    /// Causes that status honestly says are not, by phase.
    pub honest: BTreeMap<String, usize>,
}

impl Verdict {
    pub fn is_good(&self) -> bool {
        self.duplicates.is_empty() && self.excess.is_empty() && self.lost.is_empty()
    }

    pub fn reach(book: &Book, objects: &[DynamicObject], ledger: &Ledger) -> Self {
        let mut verdict = Self { pipelines: ledger.pipelines.len(), ..Self::default() };
        let mut of_revision: HashMap<u64, Vec<&PipelineRecord>> = HashMap::new();
        for pipeline in &ledger.pipelines {
            if let Some(revision) = revision_of(pipeline) {
                of_revision.entry(revision).or_default().push(pipeline);
            }
        }
        for fire_id in ledger.duplicate_fire_ids() {
            let twice = ledger.pipelines_with_fire_id(fire_id);
            verdict.duplicates.push(format!("fire id {fire_id}:{}", tell(&twice, ledger)));
        }
        for (revision, made) in &of_revision {
            let allowed = book.revisions.get(revision).map_or(0, |Allowance { pipelines }| *pipelines);
            if made.len() > allowed {
                let text = format!("revision {revision} may have {allowed} pipelines:{}", tell(made, ledger));
                verdict.excess.push(text);
            }
        }
        for wish in book.standing.values() {
            let is_it = |object: &&DynamicObject| {
                object.metadata.name.as_ref() == Some(&wish.name)
                    && object.metadata.namespace.as_ref() == Some(&wish.namespace)
            };
            let Some(object) = objects.iter().find(is_it) else {
                verdict.lost.push(format!("{}/{} is not there", wish.namespace, wish.name));
                continue;
            };
            let made = of_revision.get(&wish.revision).map(Vec::as_slice).unwrap_or_default();
            verdict.judge(wish, object, made, ledger);
        }
        verdict
    }

    fn judge(&mut self, wish: &Wish, object: &DynamicObject, made: &[&PipelineRecord], ledger: &Ledger) {
        let status = status(object).unwrap_or_default();
        let mut causes = Vec::new();
        if wish.kind != Kind::Request {
            causes.push(("its spec".to_owned(), by_spec(&status, made)));
        }
        if let Some(value) = &wish.asked {
            causes.push((format!("the request {value}"), by_request(&status, value, ledger)));
        }
        for (cause, outcome) in causes {
            match outcome {
                Outcome::Made => self.answered += 1,
                Outcome::Told(how) => *self.honest.entry(how).or_default() += 1,
                Outcome::Lost => {
                    let status = object.data.get("status").cloned().unwrap_or_default();
                    self.lost.push(format!(
                        "{}/{} revision {}: nothing answers {cause}; its pipelines:{}\n  status: {status:#}",
                        wish.namespace,
                        wish.name,
                        wish.revision,
                        tell(made, ledger),
                    ));
                }
            }
        }
    }
}

enum Outcome {
    Made,
    /// Not made, and status says so.
    Told(String),
    Lost,
}

/// Whether the spec as it stands has its pipeline.
fn by_spec(status: &TriggerStatus, made: &[&PipelineRecord]) -> Outcome {
    if made.is_empty() { told(status.run.as_ref().map(|run| run.phase)) } else { Outcome::Made }
}

/// Whether the request has its pipeline: status names the run, the ledger knows the run's pipeline.
fn by_request(status: &TriggerStatus, value: &str, ledger: &Ledger) -> Outcome {
    let current = status.run.iter().map(|run| (&run.request, &run.fire_id, run.phase));
    let earlier = status.history.iter().map(|entry| (&entry.request, &entry.fire_id, entry.phase));
    let run = current.chain(earlier).find(|(request, _, _)| request.as_deref() == Some(value));
    if let Some((_, fire_id, phase)) = run {
        let made = !ledger.pipelines_with_fire_id(fire_id.as_str()).is_empty();
        return if made { Outcome::Made } else { told(Some(phase)) };
    }
    match &status.last_handled.fire {
        Some(handled) if handled.value == value && handled.answer == Answered::Recorded => {
            Outcome::Told("recorded at first sight".into())
        }
        Some(_) | None => Outcome::Lost,
    }
}

/// A phase that tells that no pipeline was made, or that nobody knows yet.
fn told(phase: Option<Phase>) -> Outcome {
    match phase {
        Some(
            phase @ (Phase::Held
            | Phase::Rejected
            | Phase::Superseded
            | Phase::Pending
            | Phase::Firing
            | Phase::Unknown),
        ) => Outcome::Told(format!("{phase:?}")),
        Some(_) | None => Outcome::Lost,
    }
}

fn revision_of(pipeline: &PipelineRecord) -> Option<u64> {
    pipeline.variables.iter().find(|variable| variable.key == REVISION)?.value.parse().ok()
}

/// Pipelines and the calls that made them, each on a line.
fn tell(pipelines: &[&PipelineRecord], ledger: &Ledger) -> String {
    let mut text = if pipelines.is_empty() { " none".to_owned() } else { String::new() };
    for pipeline in pipelines.iter().take(CALLS) {
        let object = pipeline.params.get("pipekick").and_then(|ours| ours["object"].as_str());
        let _ = write!(
            text,
            "\n  pipeline {} at {} in {} {}, fire id {}, of {}",
            pipeline.id,
            pipeline.at,
            pipeline.project,
            pipeline.git_ref,
            pipeline.fire_id.as_deref().unwrap_or("none"),
            object.unwrap_or("an access token's call"),
        );
        if let Some(call) = ledger.calls.iter().find(|call| call.number == pipeline.call) {
            let _ = write!(
                text,
                "\n    call {} at {}: answered {:?}, fault {:?}",
                call.number, call.at, call.status, call.fault
            );
        }
    }
    text
}
