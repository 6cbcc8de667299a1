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

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use pipekick_sandbox::gitlab::{Credential, CredentialKind, Source, Status, Variable, VariableType};
    use serde_json::{Value, json};

    use super::*;

    fn pipeline(id: u64, fire_id: &str, revision: u64) -> PipelineRecord {
        let revision = Variable {
            key: REVISION.into(),
            value: revision.to_string(),
            variable_type: VariableType::EnvVar,
            raw: false,
        };
        PipelineRecord {
            id,
            iid: id,
            project_id: 1,
            project: "soak/project-0".into(),
            git_ref: "main".into(),
            sha: String::new(),
            source: Source::Trigger,
            at: Timestamp::UNIX_EPOCH,
            user: "alice".into(),
            credential: Credential { kind: CredentialKind::TriggerToken, id: 1, name: "ops".into() },
            call: id,
            params: serde_json::Map::new(),
            variables: vec![revision],
            fire_id: Some(fire_id.into()),
            born: Status::Created,
            upstream: None,
            schedule: None,
        }
    }

    fn run(fire_id: &str, phase: &str, request: Option<&str>) -> Value {
        json!({"seq": 1, "fireId": fire_id, "cause": "Apply", "request": request, "digest": "v1:ab", "phase": phase,
               "target": {"url": "http://gitlab", "project": "soak/project-0", "ref": "main"},
               "intendedAt": "2026-11-01T12:00:00Z"})
    }

    /// The verdict on one trigger that stands at revision 7 and may have so many pipelines.
    fn verdict(asked: Option<&str>, allowed: usize, status: &Value, made: &[PipelineRecord]) -> Verdict {
        let wish = Wish {
            kind: Kind::Followed,
            namespace: "soak-0".into(),
            name: "t0".into(),
            revision: 7,
            asked: asked.map(str::to_owned),
        };
        let mut book = Book::default();
        book.standing.insert(0, wish);
        book.revisions.insert(7, Allowance { pipelines: allowed });
        let object = json!({"metadata": {"name": "t0", "namespace": "soak-0"}, "status": status});
        let object: DynamicObject = serde_json::from_value(object).unwrap();
        Verdict::reach(&book, &[object], &Ledger { pipelines: made.to_vec(), ..Ledger::default() })
    }

    #[test]
    fn what_was_fired_once_is_good() {
        let found = verdict(None, 1, &json!({"run": run("a", "Succeeded", None)}), &[pipeline(1, "a", 7)]);
        assert!(found.is_good() && found.answered == 1, "{found:?}");
    }

    #[test]
    fn a_fire_id_with_two_pipelines_is_a_duplicate() {
        let twice = [pipeline(1, "a", 7), pipeline(2, "a", 7)];
        let found = verdict(Some("v"), 2, &json!({"run": run("a", "Succeeded", Some("v"))}), &twice);
        assert_eq!((found.duplicates.len(), found.is_good()), (1, false), "{found:?}");
    }

    #[test]
    fn one_cause_fired_under_two_names_is_an_excess() {
        let twice = [pipeline(1, "a", 7), pipeline(2, "b", 7)];
        let found = verdict(None, 1, &json!({"run": run("b", "Succeeded", None)}), &twice);
        assert_eq!((found.duplicates.len(), found.excess.len(), found.is_good()), (0, 1, false), "{found:?}");
    }

    #[test]
    fn a_spec_without_a_pipeline_is_lost_though_status_calls_it_a_success() {
        for status in [json!({"run": run("a", "Succeeded", None)}), json!({})] {
            let found = verdict(None, 1, &status, &[pipeline(1, "a", 6)]);
            assert_eq!(found.lost.len(), 1, "{found:?}");
        }
    }

    #[test]
    fn a_request_without_a_run_or_whose_run_has_no_pipeline_is_lost() {
        let made = [pipeline(1, "a", 7)];
        let elsewhere = json!({"run": run("b", "Fired", Some("v")), "history": []});
        let unanswered = json!({"run": run("a", "Succeeded", None)});
        for status in [elsewhere, unanswered] {
            let found = verdict(Some("v"), 2, &status, &made);
            assert_eq!((found.lost.len(), found.answered), (1, 1), "{found:?}");
        }
    }

    #[test]
    fn what_is_held_or_was_recorded_at_first_sight_is_told_and_not_lost() {
        let found = verdict(None, 1, &json!({"run": run("a", "Held", None)}), &[]);
        assert!(found.is_good() && found.honest["Held"] == 1, "{found:?}");
        let recorded = json!({"run": run("a", "Succeeded", None),
                              "lastHandled": {"fire": {"value": "v", "answer": "Recorded"}}});
        let found = verdict(Some("v"), 2, &recorded, &[pipeline(1, "a", 7)]);
        assert!(found.is_good() && found.answered == 1, "{found:?}");
    }
}
