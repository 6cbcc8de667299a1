//! The schedules among the examples: what each is meant to reach, and whether it has, by its status, its children and
//! GitLab's ledger.

use std::collections::BTreeSet;

use jiff::Timestamp;
use pipekick_core::domain::schedule::ScheduleStatus;
use pipekick_core::domain::status::{Answered, Truth};
use pipekick_core::domain::{Phase, TriggerStatus};
use pipekick_sandbox::gitlab::Status as GitLabStatus;

use super::examples::{Made, Verdict};

/// A schedule and what it is meant to do.
#[derive(Debug, Clone, Copy)]
pub struct Timed {
    /// Its object, and its file in `examples/`.
    pub name: &'static str,
    /// Its project; no other example has the same.
    pub project: &'static str,
    pub meant: Meant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meant {
    /// One pipeline for each tick, and a first one within a minute.
    Ticks,
    /// One pipeline because it was asked with this value. Its ticks are far away; they are shown.
    Asked { value: &'static str, schedule: &'static str, zone: &'static str },
}

pub const SCHEDULES: &[Timed] = &[
    Timed { name: "every-minute", project: "shop/heartbeat", meant: Meant::Ticks },
    Timed {
        name: "two-sundays",
        project: "shop/tides",
        meant: Meant::Asked { value: "now", schedule: "15 2 * 4,10 SUN#1", zone: "Australia/Lord_Howe" },
    },
];

impl Timed {
    /// The value that it is to be asked with now: once, when the operator has looked at it.
    pub fn due(&self, status: Option<&ScheduleStatus>) -> Option<&'static str> {
        match self.meant {
            Meant::Asked { value, .. } if status.is_some_and(|s| s.next_schedule_time.is_some()) => {
                Some(value)
            }
            Meant::Asked { .. } | Meant::Ticks => None,
        }
    }

    /// Judges by its status, those of its children, and everything that GitLab `made`.
    pub fn judge(
        &self,
        status: Option<&ScheduleStatus>,
        children: &[&TriggerStatus],
        made: &[Made],
    ) -> Verdict {
        let made: Vec<&Made> = made.iter().filter(|pipeline| pipeline.project == self.project).collect();
        let ticks: Vec<Timestamp> = made.iter().filter_map(|pipeline| pipeline.tick).collect();
        let asked = made.len() - ticks.len();
        if ticks.iter().collect::<BTreeSet<_>>().len() < ticks.len() {
            return Verdict::Missed("GitLab made two pipelines for one tick".into());
        }
        let Some(status) = status.filter(|status| !status.conditions.is_empty()) else {
            return Verdict::Underway("the operator has not looked at it".into());
        };
        let message = status.message.clone().unwrap_or_default();
        if status.conditions.iter().any(|c| c.kind == "Stalled" && c.status == Truth::True) {
            return Verdict::Missed(message);
        }
        let mut phases = children.iter().filter_map(|child| Some((child.phase?, child.message.as_deref())));
        let astray = phases.find(|(phase, _)| !phase.is_active() && *phase != Phase::Succeeded);
        if let Some((phase, said)) = astray {
            return Verdict::Missed(format!("a child is {phase:?}: {}", said.unwrap_or_default()));
        }
        match self.meant {
            Meant::Ticks if asked > 0 => return Verdict::Missed("a pipeline that no tick asked for".into()),
            Meant::Ticks if ticks.is_empty() => return Verdict::Underway(message),
            Meant::Ticks if status.last_schedule_time != ticks.iter().max().copied() => {
                return Verdict::Underway("its last tick is not in status yet".into());
            }
            Meant::Ticks => {}
            Meant::Asked { value, .. } => {
                let answer = status.last_handled.fire.as_ref().filter(|handled| handled.value == value);
                match answer.map(|handled| handled.answer) {
                    None => return Verdict::Underway(format!("was not asked yet: {message}")),
                    Some(Answered::Fired) if asked == 1 && ticks.is_empty() => {}
                    Some(Answered::Fired) if made.is_empty() => return Verdict::Underway(message),
                    Some(answer) => {
                        let made = made.len();
                        return Verdict::Missed(format!("was answered {answer:?}, with {made} pipelines"));
                    }
                }
            }
        }
        let succeeded = |pipeline: &Made| {
            let known = children.iter().filter_map(|child| child.run.as_ref()?.pipeline.as_ref());
            pipeline.status == Some(GitLabStatus::Success)
                && known
                    .into_iter()
                    .any(|known| known.id == pipeline.id && known.status.as_str() == "success")
        };
        match made.iter().find(|pipeline| !succeeded(pipeline)) {
            None => Verdict::Reached,
            Some(pipeline) => Verdict::Underway(format!("pipeline {} is not at its end", pipeline.id)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const TICK: &str = "2026-11-02T09:10:00Z";

    fn schedule(name: &str) -> Timed {
        *SCHEDULES.iter().find(|schedule| schedule.name == name).unwrap()
    }

    fn made(id: u64, project: &str, tick: Option<&str>) -> Made {
        Made {
            id,
            project: project.into(),
            fire_id: Some(format!("f{id}")),
            status: Some(GitLabStatus::Success),
            tick: tick.map(|tick| tick.parse().unwrap()),
        }
    }

    fn child(id: u64) -> TriggerStatus {
        let run = json!({
            "seq": 1, "fireId": format!("f{id}"), "cause": "Apply", "digest": "v1:x", "phase": "Succeeded",
            "target": {"url": "https://gitlab.example.com", "project": "p", "ref": "main"},
            "intendedAt": TICK, "pipeline": {"id": id, "status": "success"},
        });
        serde_json::from_value(json!({"phase": "Succeeded", "run": run})).unwrap()
    }

    fn status(change: &Value) -> ScheduleStatus {
        let mut status = json!({
            "message": "fires next", "nextScheduleTime": "2026-11-02T09:11:00Z", "lastScheduleTime": TICK,
            "conditions": [{
                "type": "Ready", "status": "True", "reason": "Scheduled", "message": "fires next",
                "lastTransitionTime": TICK, "observedGeneration": 1,
            }],
        });
        for (field, value) in change.as_object().unwrap() {
            status[field] = value.clone();
        }
        serde_json::from_value(status).unwrap()
    }

    #[test]
    fn ticks_reach_their_end_with_one_pipeline_each() {
        let (one, child) = (schedule("every-minute"), child(7));
        let heart = |id, tick| made(id, "shop/heartbeat", tick);
        let judge = |status: &ScheduleStatus, made: &[Made]| one.judge(Some(status), &[&child], made);
        let seen = status(&json!({}));
        assert_eq!(judge(&seen, &[heart(7, Some(TICK))]), Verdict::Reached);
        assert!(matches!(judge(&seen, &[]), Verdict::Underway(_)));
        let twice = judge(&seen, &[heart(7, Some(TICK)), heart(8, Some(TICK))]);
        assert_eq!(twice, Verdict::Missed("GitLab made two pipelines for one tick".into()));
        assert!(matches!(judge(&seen, &[heart(7, None)]), Verdict::Missed(_)));
        let behind = status(&json!({"lastScheduleTime": "2026-11-02T09:09:00Z"}));
        assert!(matches!(judge(&behind, &[heart(7, Some(TICK))]), Verdict::Underway(_)));
        assert!(matches!(one.judge(Some(&seen), &[], &[heart(7, Some(TICK))]), Verdict::Underway(_)));
        assert!(matches!(one.judge(None, &[], &[]), Verdict::Underway(_)));
    }

    #[test]
    fn a_request_reaches_its_end_with_one_pipeline_and_an_answer() {
        let (one, child) = (schedule("two-sundays"), child(7));
        let tides = made(7, "shop/tides", None);
        let answered =
            |answer: &str| status(&json!({"lastHandled": {"fire": {"value": "now", "answer": answer}}}));
        let judge = |status: &ScheduleStatus, made: &[Made]| one.judge(Some(status), &[&child], made);
        assert_eq!(judge(&answered("Fired"), std::slice::from_ref(&tides)), Verdict::Reached);
        assert!(matches!(judge(&answered("Fired"), &[]), Verdict::Underway(_)));
        assert!(matches!(judge(&status(&json!({})), &[]), Verdict::Underway(_)));
        assert!(matches!(judge(&answered("Forbidden"), &[]), Verdict::Missed(_)));
        assert!(matches!(judge(&answered("Fired"), &[tides.clone(), tides]), Verdict::Missed(_)));
        assert_eq!(one.due(Some(&status(&json!({})))), Some("now"));
        assert_eq!(one.due(None), None);
    }
}
