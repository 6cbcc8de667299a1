//! Decisions held against a GitLab of a few lines, which does what plans say, dies where a test says, and keeps count.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::domain::schedule::ScheduleDeletion;
use crate::domain::schedule::in_gitlab::Hidden;
use crate::domain::{ObjectKey, Pipeline, PipelineStatus, SecretKeyRef, SpecProblem, VariableType};

/// An object, GitLab, and what was done.
struct World {
    now: Timestamp,
    policy: Policy,
    object: Kept,
    gone: bool,
    next_look: Option<(i64, Timestamp)>,
    user: Owner,
    values: Vec<HeldVariable>,
    held: Vec<Held>,
    next_id: u64,
    /// The next create is done and its reply lost.
    loses_reply: bool,
    /// What GitLab answers to whatever changes it.
    refuses: Option<Trouble>,
    log: Vec<&'static str>,
    writes: usize,
    events: Vec<(Reason, String)>,
}

/// Dies before the n-th step of a turn, or lets it be done and forgets it.
#[derive(Clone, Copy)]
enum Dies {
    Before(usize),
    After(usize),
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn variable(name: &str, value: &str) -> HeldVariable {
    HeldVariable { name: name.into(), kind: VariableType::EnvVar, value: Hidden::new(value.into()) }
}

fn wanted(project: &str) -> Wanted {
    Wanted {
        url: "https://gitlab.example.com".parse().unwrap(),
        project: project.parse().unwrap(),
        access: SecretKeyRef { name: "gitlab".into(), key: "access".into() },
        ca_bundle: None,
        git_ref: "main".parse().unwrap(),
        cron: "17 2 * * *".into(),
        zone: "Europe/Berlin".into(),
        inputs: BTreeMap::from([("tier".into(), "gold".into())]),
        variables: Vec::new(),
    }
}

impl World {
    fn new() -> Self {
        let key = ObjectKey { namespace: "shop".into(), name: "nightly".into() };
        Self {
            now: at("2026-11-02T08:00:00Z"),
            policy: Policy {
                paused: false,
                by: "me".into(),
                resolution_delay: Duration::from_secs(90),
                patience: Duration::from_secs(300),
                interval: Duration::from_secs(300),
            },
            object: Kept {
                key,
                uid: "one".into(),
                generation: 1,
                deleted_at: None,
                finalizers: Vec::new(),
                fire: None,
                suspend: false,
                deletion: Some(ScheduleDeletion::Delete),
                spec: Ok(wanted("shop/checkout")),
                status: ScheduleStatus::default(),
            },
            gone: false,
            next_look: None,
            user: Owner { id: 1, username: "bot".into() },
            values: vec![variable("A", "1"), variable("B", "2")],
            held: Vec::new(),
            next_id: 7,
            loses_reply: false,
            refuses: None,
            log: Vec::new(),
            writes: 0,
            events: Vec::new(),
        }
    }

    fn kept() -> Self {
        let mut world = Self::new();
        world.turn(None);
        world.log.clear();
        world.events.clear();
        world.writes = 0;
        world
    }

    fn marker(&self) -> Marker {
        Marker::new(&"6f2c".parse().unwrap(), &self.object.key)
    }

    fn pass(&mut self, time: SignedDuration) {
        self.now += time;
    }

    fn edit(&mut self, edit: impl FnOnce(&mut Wanted)) {
        edit(self.object.spec.as_mut().unwrap());
        self.object.generation += 1;
    }

    fn known(&self) -> &InGitLab {
        self.object.status.gitlab.as_ref().unwrap()
    }

    fn ready(&self) -> (String, String) {
        let ready = self.object.status.conditions.iter().find(|c| c.kind == "Ready").unwrap();
        (ready.reason.clone(), ready.message.clone())
    }

    fn told(&self) -> Vec<Reason> {
        self.events.iter().map(|(reason, _)| *reason).collect()
    }

    /// One turn of work, as the hands do it. Answers when it wants to be woken.
    fn turn(&mut self, dies: Option<Dies>) -> Option<Timestamp> {
        let next_look = self.next_look.filter(|(generation, _)| *generation == self.object.generation);
        let mut facts = Facts {
            marker: Ok(self.marker()),
            next_look: next_look.map(|(_, at)| at),
            look: Look::NotYet,
            created: None,
            applied: Vec::new(),
            deleted: None,
        };
        for step in 0..20 {
            if step > 0 {
                // A turn takes its time.
                self.now += SignedDuration::from_millis(7);
            }
            if self.gone {
                return None;
            }
            let policy = self.policy.clone();
            let observed =
                Observed { now: self.now, policy: &policy, schedule: &self.object.clone(), facts: &facts };
            let plan = decide(&observed);
            assert_eq!(plan, decide(&observed), "the same facts, the same plan");
            if matches!(dies, Some(Dies::Before(number)) if number == step) {
                self.next_look = None;
                return None;
            }
            let goes_on = plan.goes_on();
            if let Some(status) = plan.status {
                self.object.status = *status;
                self.writes += 1;
            }
            self.events.extend(plan.events.into_iter().map(|note| (note.reason, note.message)));
            self.next_look = plan.next_look.map(|at| (self.object.generation, at));
            if let Some(effect) = plan.effect {
                self.apply(effect, &mut facts);
            }
            if matches!(dies, Some(Dies::After(number)) if number == step) {
                self.next_look = None;
                return None;
            }
            if !goes_on {
                return plan.wake;
            }
        }
        panic!("a turn without end: {:?}", self.log);
    }

    fn apply(&mut self, effect: Effect, facts: &mut Facts) {
        match effect {
            Effect::SetFinalizers(finalizers) => {
                self.log.push("finalizers");
                self.object.finalizers = finalizers;
                self.gone = self.object.deleted_at.is_some() && self.object.finalizers.is_empty();
            }
            Effect::Look(LookOrder { place: _, schedule_id, marker }) => {
                self.log.push("look");
                let by_id = self.held.iter().find(|held| Some(held.id) == schedule_id).cloned();
                let marked = || self.held.iter().filter(|held| marker.is_in(&held.fields.description));
                let others =
                    if by_id.is_some() { Vec::new() } else { marked().skip(1).map(|h| h.id).collect() };
                facts.look = Look::Seen(Box::new(Seen {
                    user: self.user.clone(),
                    held: by_id.or_else(|| marked().next().cloned()),
                    others,
                    variables: self.values.clone(),
                    date: self.now,
                }));
            }
            Effect::Create(fields) => {
                self.log.push("create");
                facts.look = Look::NotYet;
                if let Some(trouble) = self.refuses.clone() {
                    facts.created = Some(Created::Not(trouble));
                    return;
                }
                let id = self.next_id;
                self.next_id += 1;
                self.held.push(Held {
                    id,
                    fields: *fields,
                    next_run_at: Some(at("2026-11-03T01:23:00Z")),
                    owner: Some(self.user.clone()),
                    last_pipeline: None,
                    variables: Some(Vec::new()),
                });
                facts.created = Some(if std::mem::take(&mut self.loses_reply) {
                    Created::Unknown { message: "connection reset".into() }
                } else {
                    Created::Made { id }
                });
            }
            Effect::Change(order) => {
                let failure = self.refuses.clone();
                if failure.is_none() {
                    for change in &order.changes {
                        self.change(order.schedule_id, change.clone());
                    }
                }
                facts.applied.push(Applied { order, at: self.now, failure });
                facts.look = Look::NotYet;
            }
            Effect::Delete(DeleteOrder { place: _, schedule_id, marker }) => {
                self.log.push("delete");
                facts.deleted = Some(match self.refuses.clone() {
                    Some(trouble) => Deleted::Not(trouble),
                    None => {
                        self.held.retain(|held| {
                            Some(held.id) != schedule_id
                                && !marker.as_ref().is_some_and(|m| m.is_in(&held.fields.description))
                        });
                        Deleted::Done
                    }
                });
            }
        }
    }

    fn change(&mut self, id: u64, change: Change) {
        let user = self.user.clone();
        if let Change::DeleteOther(other) = change {
            self.log.push("delete other");
            return self.held.retain(|held| held.id != other);
        }
        let held = self.held.iter_mut().find(|held| held.id == id).unwrap();
        let variables = held.variables.get_or_insert_default();
        match change {
            Change::Take => {
                self.log.push("take");
                held.owner = Some(user);
            }
            Change::Fields(fields) => {
                self.log.push(if fields.active { "activate" } else { "deactivate" });
                let mut inputs = held.fields.inputs.clone();
                inputs.extend(fields.inputs.clone());
                inputs.retain(|_, value| !value.is_null());
                held.fields = Fields { inputs, git_ref: format!("refs/heads/{}", fields.git_ref), ..*fields };
            }
            Change::AddVariable(variable) => {
                self.log.push("add");
                assert!(!variables.iter().any(|known| known.name == variable.name), "added twice");
                variables.push(variable);
            }
            Change::SetVariable(variable) => {
                self.log.push("set");
                let known = variables.iter_mut().find(|known| known.name == variable.name);
                *known.unwrap() = variable;
            }
            Change::RemoveVariable(name) => {
                self.log.push("remove");
                variables.retain(|known| known.name != name);
            }
            Change::DeleteOther(_) => unreachable!("done above"),
        }
    }

    fn is_equal(&self) -> bool {
        let Ok(wanted) = &self.object.spec else { return false };
        let [held] = &self.held[..] else { return false };
        let mut variables = held.variables.clone().unwrap();
        variables.sort_by(|a, b| a.name.cmp(&b.name));
        held.fields.cron == wanted.cron
            && held.fields.active != self.object.suspend
            && held.fields.inputs == wanted.inputs
            && variables == self.values
    }
}

fn trouble(reason: Reason, stuck: bool) -> Trouble {
    Trouble { reason, message: "no".into(), stuck, wait: Duration::ZERO }
}

#[test]
fn it_is_created_inactive_gets_its_variables_and_is_activated_last() {
    let mut world = World::new();
    world.turn(None);
    assert_eq!(world.log, ["finalizers", "look", "create", "look", "add", "add", "activate", "look"]);
    assert!(world.is_equal());
    assert_eq!(world.writes, 2, "the intent, and what came of it");
    assert_eq!(world.told(), [Reason::CreatedInGitLab]);
    let known = world.known();
    assert_eq!((known.schedule_id, known.active, &known.creating), (Some(7), Some(true), &None));
    let page = "https://gitlab.example.com/shop/checkout/-/pipeline_schedules/7/edit";
    assert_eq!(known.web_url.as_deref(), Some(page));
    assert_eq!(world.object.status.next_schedule_time, Some(at("2026-11-03T01:23:00Z")));
    assert_eq!(world.ready().0, "Scheduled");
}

#[test]
fn what_is_equal_costs_a_look_an_interval_and_no_write() {
    let mut world = World::kept();
    assert_eq!(world.turn(None), Some(world.now + SignedDuration::from_secs(300)));
    assert!(world.log.is_empty());
    world.pass(SignedDuration::from_secs(301));
    world.turn(None);
    assert_eq!((&world.log[..], world.writes), (&["look"][..], 0));
}

#[test]
fn what_it_comes_to_stands_in_status_before_gitlab_has_it() {
    let mut world = World::new();
    world.refuses = Some(trouble(Reason::Forbidden, true));
    world.turn(None);
    assert_eq!(world.object.status.resolved_schedules, [wanted("shop/checkout").cron]);
    assert!(world.held.is_empty() && world.known().equal_at.is_none());
}

#[test]
fn drift_is_set_right_and_told_and_no_value_is_quoted() {
    type Drifts = fn(&mut Held);
    let cases: [(Drifts, &str, &[&str]); 11] = [
        (|h| h.fields.cron = "* * * * *".into(), "cron was \"* * * * *\"", &["activate"]),
        (|h| h.fields.zone = "UTC".into(), "time zone was \"UTC\"", &["activate"]),
        (|h| h.fields.git_ref = "refs/heads/next".into(), "ref was \"refs/heads/next\"", &["activate"]),
        (|h| h.fields.active = false, "it was inactive", &["activate"]),
        (|h| h.fields.description = "mine".into(), "description was \"mine\"", &["activate"]),
        (|h| h.fields.inputs.clear(), "input tier was missing", &["activate"]),
        (|h| drop(h.fields.inputs.insert("x".into(), 1.into())), "input x was another", &["activate"]),
        (|h| drop(h.variables.as_mut().unwrap().pop()), "variable B was missing", &["add"]),
        (
            |h| h.variables.as_mut().unwrap()[0].value = Hidden::new("s3cret".into()),
            "variable A had another value",
            &["set"],
        ),
        (
            |h| h.variables.as_mut().unwrap()[0].kind = VariableType::File,
            "variable A had another type",
            &["set"],
        ),
        (
            |h| h.variables.as_mut().unwrap().push(variable("C", "s3cret")),
            "variable C is not in spec",
            &["remove"],
        ),
    ];
    for (drift, says, changes) in cases {
        let mut world = World::kept();
        drift(&mut world.held[0]);
        world.pass(SignedDuration::from_secs(301));
        world.turn(None);
        assert!(world.is_equal(), "{says}");
        let expected: Vec<&str> = ["look"].iter().chain(changes).chain(&["look"]).copied().collect();
        assert_eq!(world.log, expected, "{says}");
        assert_eq!(world.known().last_drift.as_ref().unwrap().message, says);
        assert_eq!(world.told(), [Reason::DriftRepaired], "{says}");
        assert!(!format!("{:?} {:?}", world.events, world.object.status).contains("s3cret"));
        world.log.clear();
        world.pass(SignedDuration::from_secs(301));
        world.turn(None);
        assert_eq!((&world.log[..], world.writes), (&["look"][..], 1), "{says}");
    }
}

#[test]
fn an_edit_of_spec_is_no_drift() {
    let mut world = World::kept();
    world.edit(|wanted| wanted.cron = "0 3 * * *".into());
    world.turn(None);
    assert!(world.is_equal());
    assert_eq!(world.told(), [Reason::UpdatedInGitLab]);
    assert_eq!(world.known().last_drift, None);
}

#[test]
fn a_schedule_of_somebody_else_is_taken_before_it_is_changed() {
    let mut world = World::kept();
    world.held[0].owner = Some(Owner { id: 2, username: "eve".into() });
    world.held[0].variables = None;
    world.pass(SignedDuration::from_secs(301));
    world.turn(None);
    assert_eq!(world.log[..3], ["look", "take", "look"]);
    assert!(world.is_equal());
    assert!(world.known().last_drift.as_ref().unwrap().message.starts_with("it belonged to eve"));

    let mut world = World::kept();
    world.held[0].owner = Some(Owner { id: 2, username: "eve".into() });
    world.refuses = Some(trouble(Reason::Forbidden, true));
    world.pass(SignedDuration::from_secs(301));
    let wake = world.turn(None).unwrap();
    assert_eq!(world.ready().0, "Forbidden");
    assert_eq!(wake.duration_since(world.now), SignedDuration::from_mins(10));
}

#[test]
fn a_lost_reply_is_adopted_and_nothing_is_created_twice() {
    let mut world = World::new();
    world.loses_reply = true;
    world.turn(None);
    assert_eq!(world.ready().0, "OutcomeUnknown");
    assert!(world.known().creating.is_some());
    world.pass(SignedDuration::from_secs(10));
    world.turn(None);
    assert!(world.is_equal());
    assert_eq!(world.told(), [Reason::AdoptedInGitLab, Reason::UpdatedInGitLab]);
    assert_eq!(world.known().creating, None);
}

#[test]
fn a_create_that_may_be_under_way_is_waited_for_before_the_next_one() {
    let mut world = World::new();
    // The intent is written, and its process dies before it sends.
    world.turn(Some(Dies::Before(2)));
    world.object.status.gitlab = Some(InGitLab {
        creating: Some(crate::domain::schedule::status::Creating { at: world.now, by: "other".into() }),
        ..World::kept().known().clone()
    });
    world.object.status.gitlab.as_mut().unwrap().schedule_id = None;
    for _ in 0..9 {
        let wake = world.turn(None).unwrap();
        assert!(world.held.is_empty());
        world.now = wake;
    }
    for _ in 0..2 {
        world.turn(None);
        world.pass(SignedDuration::from_secs(10));
    }
    assert!(world.is_equal(), "{:?}", world.log);
}

#[test]
fn dying_anywhere_changes_nothing_about_the_end() {
    for step in 0..9 {
        for dies in [Dies::Before(step), Dies::After(step)] {
            let mut world = World::new();
            world.turn(Some(dies));
            for _ in 0..20 {
                world.turn(None);
                world.pass(SignedDuration::from_secs(10));
            }
            assert!(world.is_equal(), "{step}");
            assert_eq!(world.log.iter().filter(|entry| **entry == "create").count(), 1, "{step}");
            world.object.deleted_at = Some(world.now);
            world.object.generation += 1;
            world.turn(Some(dies));
            world.turn(None);
            assert!(world.gone && world.held.is_empty(), "{step}");
        }
    }
}

#[test]
fn of_two_with_our_mark_the_older_is_kept_and_the_other_deleted() {
    let mut world = World::kept();
    let mut second = world.held[0].clone();
    second.id = 9;
    world.held.push(second);
    world.object.status.gitlab = None;
    world.pass(SignedDuration::from_secs(301));
    world.turn(None);
    assert_eq!(world.held.iter().map(|held| held.id).collect::<Vec<_>>(), [7]);
    assert_eq!(world.told()[0], Reason::AdoptedInGitLab);
}

#[test]
fn what_somebody_deleted_in_gitlab_is_made_anew_and_told() {
    let mut world = World::kept();
    world.held.clear();
    world.pass(SignedDuration::from_secs(301));
    world.turn(None);
    assert!(world.is_equal());
    assert_eq!(world.known().schedule_id, Some(8));
    assert_eq!(world.told(), [Reason::DriftRepaired, Reason::CreatedInGitLab]);
}

#[test]
fn the_status_of_another_object_is_not_believed() {
    let mut world = World::kept();
    world.object.uid = "two".into();
    world.held[0].fields.description = "somebody's".into();
    world.pass(SignedDuration::from_secs(301));
    world.turn(None);
    assert_eq!(world.held.len(), 2, "the id that was brought back is another object's");
}

/// It was due at 01:23 and the worker came by.
fn due(world: &mut World) {
    world.now = at("2026-11-03T01:24:01Z");
    world.held[0].next_run_at = Some(at("2026-11-04T01:23:00Z"));
}

fn pipeline(id: u64) -> Pipeline {
    serde_json::from_value(serde_json::json!({
        "id": id, "status": "success", "createdAt": "2026-11-03T01:23:05Z", "finishedAt": "2026-11-03T01:23:40Z",
    }))
    .unwrap()
}

#[test]
fn what_gitlab_switches_off_when_it_is_due_stays_off_until_somebody_acts() {
    let mut world = World::kept();
    due(&mut world);
    world.held[0].fields.active = false;
    world.turn(None);
    assert_eq!(world.ready().0, "DeactivatedByGitLab");
    assert_eq!(world.told(), [Reason::DeactivatedByGitLab]);
    assert_eq!(world.object.status.next_schedule_time, None);
    for _ in 0..3 {
        world.pass(SignedDuration::from_secs(301));
        world.turn(None);
    }
    assert!(!world.held[0].fields.active && world.writes == 1, "{:?}", world.log);

    world.edit(|_| {});
    world.turn(None);
    assert!(world.is_equal());
    assert_eq!((world.ready().0.as_str(), world.known().deactivated_at), ("Scheduled", None));

    // A person who activates it there is right, too.
    let mut world = World::kept();
    due(&mut world);
    world.held[0].fields.active = false;
    world.turn(None);
    world.held[0].fields.active = true;
    world.pass(SignedDuration::from_secs(301));
    world.turn(None);
    assert_eq!(world.ready().0, "Scheduled");
}

#[test]
fn an_owner_who_lost_the_role_sees_no_variables_and_changes_nothing() {
    let mut world = World::kept();
    world.held[0].variables = None;
    world.pass(SignedDuration::from_secs(301));
    world.turn(None);
    assert_eq!((world.ready().0.as_str(), &world.log[..]), ("Forbidden", &["look"][..]));
    due(&mut world);
    world.held[0].fields.active = false;
    world.turn(None);
    assert_eq!(world.ready().0, "DeactivatedByGitLab");
}

#[test]
fn a_person_who_switches_it_off_is_drift() {
    let before_it_was_due = |world: &mut World| world.pass(SignedDuration::from_secs(301));
    let after_its_run = |world: &mut World| {
        due(world);
        world.held[0].last_pipeline = Some(pipeline(5));
    };
    for happens in [before_it_was_due as fn(&mut World), after_its_run] {
        let mut world = World::kept();
        happens(&mut world);
        world.held[0].fields.active = false;
        world.turn(None);
        assert!(world.is_equal());
        assert_eq!(world.told(), [Reason::DriftRepaired]);
    }
}

#[test]
fn a_run_is_shown_and_one_that_made_no_pipeline_is_told_once() {
    let mut world = World::kept();
    due(&mut world);
    world.held[0].last_pipeline = Some(pipeline(5));
    world.turn(None);
    let last = world.known().last_pipeline.clone().unwrap();
    assert_eq!((last.id, last.status), (5, PipelineStatus::Success));
    assert_eq!(world.object.status.last_schedule_time, Some(at("2026-11-03T01:23:05Z")));
    assert_eq!(world.object.status.last_successful_time, Some(at("2026-11-03T01:23:40Z")));
    assert!(world.told().is_empty());

    let mut world = World::kept();
    due(&mut world);
    // A minute is given to the pipeline that the worker may be making.
    world.now = at("2026-11-03T01:23:30Z");
    world.turn(None);
    assert!(world.told().is_empty() && world.writes == 0);
    for _ in 0..3 {
        world.pass(SignedDuration::from_secs(301));
        world.turn(None);
    }
    assert_eq!(world.told(), [Reason::NoPipelineMade]);
    let missed = &world.object.status.missed;
    assert_eq!((missed.count, missed.last), (1, Some(at("2026-11-03T01:23:00Z"))));
}

#[test]
fn suspended_means_inactive_and_is_done_first() {
    let mut world = World::kept();
    world.object.suspend = true;
    world.edit(|_| {});
    world.values[0].value = Hidden::new("3".into());
    world.turn(None);
    assert_eq!(world.log, ["look", "deactivate", "set", "look"]);
    assert!(world.is_equal());
    assert_eq!((world.ready().0.as_str(), world.object.status.next_schedule_time), ("Suspended", None));
}

#[test]
fn a_deletion_deletes_it_and_waits_no_longer_than_its_patience() {
    let deleted = || {
        let mut world = World::kept();
        world.object.deleted_at = Some(world.now);
        world.object.generation += 1;
        world
    };
    let mut world = deleted();
    world.turn(None);
    assert!(world.gone && world.held.is_empty() && world.told().is_empty());

    for (refusal, seconds) in [
        (trouble(Reason::Forbidden, true), 0),
        (trouble(Reason::SecretMissing, false), 30),
        (trouble(Reason::Unreachable, false), 300),
    ] {
        let mut world = deleted();
        world.refuses = Some(refusal.clone());
        // The operator may have been away since.
        world.object.deleted_at = Some(world.now - SignedDuration::from_hours(1));
        let began = world.now;
        while !world.gone {
            world.now = world.turn(None).unwrap_or(world.now);
        }
        assert_eq!(world.now.duration_since(began).as_secs(), seconds, "{refusal:?}");
        assert_eq!((world.told(), world.held.len()), (vec![Reason::LeftInGitLab], 1));
    }
}

#[test]
fn while_the_operator_is_paused_a_deletion_waits() {
    let mut world = World::kept();
    world.object.deleted_at = Some(world.now);
    world.policy.paused = true;
    assert!(world.turn(None).is_some(), "and somebody comes back to it");
    assert!(!world.gone && world.held.len() == 1);
    // The pause ends with the process.
    (world.policy.paused, world.next_look) = (false, None);
    world.turn(None);
    assert!(world.gone && world.held.is_empty());
}

#[test]
fn an_orphan_is_left_and_its_object_not_held() {
    let mut world = World::kept();
    world.object.deletion = Some(ScheduleDeletion::Orphan);
    world.edit(|_| {});
    world.turn(None);
    assert!(world.object.finalizers.is_empty() && world.is_equal());
}

#[test]
fn another_project_means_deleted_there_and_created_here() {
    let mut world = World::kept();
    world.edit(|wanted| wanted.project = "shop/other".parse().unwrap());
    world.turn(None);
    assert_eq!(world.log[..4], ["delete", "look", "create", "look"]);
    assert!(world.is_equal());
    assert_eq!(world.known().place.project, "shop/other");

    let mut world = World::kept();
    world.refuses = Some(trouble(Reason::Unreachable, false));
    world.edit(|wanted| wanted.project = "shop/other".parse().unwrap());
    let began = world.now;
    while world.now.duration_since(began) < SignedDuration::from_secs(300) {
        world.now = world.turn(None).unwrap();
    }
    world.refuses = None;
    world.held.clear();
    world.turn(None);
    assert!(world.told().contains(&Reason::LeftInGitLab) || world.log.contains(&"create"));
    assert!(world.is_equal());
}

#[test]
fn a_paused_operator_looks_and_changes_nothing() {
    let mut world = World::new();
    world.policy.paused = true;
    world.turn(None);
    assert_eq!((world.ready().0.as_str(), world.held.len()), ("Paused", 0));
    let mut world = World::kept();
    world.policy.paused = true;
    world.held[0].fields.active = false;
    world.pass(SignedDuration::from_secs(301));
    world.turn(None);
    assert_eq!(world.log, ["look"]);
    assert!(world.ready().1.contains("it was inactive"));
}

#[test]
fn what_gitlab_does_not_keep_as_sent_is_said_and_not_sent_in_a_loop() {
    let mut world = World::kept();
    world.edit(|wanted| drop(wanted.inputs.insert("nothing".into(), serde_json::Value::Null)));
    let wake = world.turn(None).unwrap();
    assert_eq!(world.ready().0, "NotAsWritten");
    assert_eq!(world.log, ["look", "activate", "look"]);
    assert_eq!(wake.duration_since(world.now), SignedDuration::from_mins(10));
}

#[test]
fn what_is_refused_says_why_and_is_asked_again_in_ten_minutes() {
    let mut world = World::new();
    world.refuses = Some(trouble(Reason::RefProtected, true));
    let wake = world.turn(None).unwrap();
    assert_eq!((world.ready().0.as_str(), &world.known().creating), ("RefProtected", &None));
    assert_eq!(wake.duration_since(world.now), SignedDuration::from_mins(10));
    world.turn(None);
    assert_eq!(world.log.iter().filter(|entry| **entry == "create").count(), 1);
    world.refuses = None;
    world.now = wake;
    world.turn(None);
    assert!(world.is_equal());
}

#[test]
fn a_request_is_answered_and_a_spec_that_cannot_be_followed_told() {
    let mut world = World::kept();
    world.object.fire = Some("now".into());
    world.turn(None);
    let answer = world.object.status.last_handled.fire.clone().unwrap();
    assert_eq!((answer.value.as_str(), answer.answer), ("now", Answered::RunByGitLab));
    world.object.spec = Err(SpecProblem("schedule: 61 in the minute field: 0-59".into()));
    world.object.generation += 1;
    world.turn(None);
    assert_eq!(world.ready().0, "InvalidSpec");
    assert_eq!(world.log, Vec::<&str>::new());
}

#[test]
fn what_comes_of_a_create_whose_reply_was_lost_is_deleted_though_the_object_is_deleted_before() {
    // Deleted, or sent to another project.
    for deleted in [true, false] {
        let mut world = World::new();
        // The intent is written, and the process dies as it sends the create, which takes effect late.
        let intent = (0..10).find(|step| {
            let mut world = World::new();
            world.turn(Some(Dies::After(*step)));
            world.log.contains(&"create")
        });
        world.turn(Some(Dies::After(intent.unwrap())));
        let late = world.held.pop().unwrap();
        world.log.clear();
        if deleted {
            world.object.deleted_at = Some(world.now);
        } else {
            world.edit(|wanted| wanted.project = "shop/other".parse().unwrap());
        }
        let wake = world.turn(None).unwrap();
        assert_eq!(world.ready().0, "OutcomeUnknown");
        assert!(!world.gone && world.log == ["delete"], "{:?}", world.log);
        world.held.push(late);
        world.now = wake;
        for _ in 0..20 {
            if world.gone || world.is_equal() {
                break;
            }
            world.now = world.turn(None).unwrap_or(world.now);
        }
        assert_eq!(world.held.len(), usize::from(!deleted), "{deleted}: {:?}", world.log);
        assert!(world.held.iter().all(|held| held.id != 7), "{:?}", world.log);
    }
}

#[test]
fn a_spec_that_cannot_be_read_says_that_gitlab_runs_the_one_before() {
    let mut world = World::kept();
    world.object.spec = Err(SpecProblem("schedule: no".into()));
    world.object.generation += 1;
    world.turn(None);
    let expected = "schedule: no; GitLab runs the schedule on as it was before";
    assert_eq!(world.ready(), ("InvalidSpec".into(), expected.into()));
}
