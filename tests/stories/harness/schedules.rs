//! `PipelineSchedule`s: what a story needs beside triggers.

use std::time::{Duration, Instant};

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use kube::Api;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use pipekick_sandbox::gitlab::PipelineRecord;
use serde_json::json;

use super::{FIRE, POLL, Seen, Story, Trigger, gitops, refusal};

/// A tick comes within a minute, and children are trimmed after one; the machine may be busy.
const A_MINUTE: Duration = Duration::from_secs(200);

/// A schedule whose children are as [`Trigger::new`].
pub fn schedule(name: &str, cron: &str) -> Trigger {
    let Trigger(trigger) = Trigger::new(name);
    Trigger(json!({
        "apiVersion": "pipekick.dev/v1alpha1",
        "kind": "PipelineSchedule",
        "metadata": {"name": name},
        "spec": {"schedule": cron, "triggerTemplate": {"spec": trigger["spec"]}},
    }))
}

/// A schedule that GitLab runs, kept by the access token alone.
pub fn in_gitlab(name: &str, cron: &str) -> Trigger {
    schedule(name, cron)
        .with("spec.runBy", "GitLab")
        .without("spec.triggerTemplate.spec.gitlab.triggerTokenRef")
}

/// The minute that began this many minutes ago, and a schedule that ticks then and again tomorrow.
pub fn minutes_ago(minutes: i64) -> (Timestamp, String) {
    let minute = Timestamp::now().as_second().div_euclid(60) - minutes;
    let tick = Timestamp::from_second(minute * 60).unwrap();
    let civil = tick.to_zoned(TimeZone::UTC);
    (tick, format!("{} {} * * *", civil.minute(), civil.hour()))
}

/// As the operator names the child of a tick.
pub fn child_of(schedule: &str, tick: Timestamp) -> String {
    let (mut number, mut digits) = (tick.as_second() / 60, Vec::new());
    while number > 0 {
        digits.push(char::from_digit(u32::try_from(number % 36).unwrap(), 36).unwrap());
        number /= 36;
    }
    format!("{schedule}-{}", digits.iter().rev().collect::<String>())
}

impl Story {
    pub fn schedules(&self) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk("pipekick.dev", "v1alpha1", "PipelineSchedule");
        let kind = ApiResource::from_gvk_with_plural(&kind, "pipelineschedules");
        Api::namespaced_with(self.client.clone(), &self.namespace, &kind)
    }

    pub async fn apply_schedule(&self, schedule: &Trigger) {
        self.schedules().patch(schedule.name(), &gitops(), &Patch::Apply(&schedule.0)).await.unwrap();
    }

    /// Why the API server refuses this schedule; nothing if it does not.
    pub async fn schedule_refused(&self, schedule: &Trigger) -> Option<String> {
        let object: DynamicObject = serde_json::from_value(schedule.0.clone()).unwrap();
        let params = PostParams { dry_run: true, ..PostParams::default() };
        refusal(self.schedules().create(&params, &object).await)
    }

    /// Why the API server refuses this server-side apply of a schedule that is there; nothing if it does not.
    pub async fn schedule_edit_refused(&self, schedule: &Trigger) -> Option<String> {
        refusal(self.schedules().patch(schedule.name(), &gitops(), &Patch::Apply(&schedule.0)).await)
    }

    pub async fn until_schedule_gone(&self, name: &str) {
        self.until_true(&format!("{name} should be gone"), async || {
            match self.schedules().get_opt(name).await.unwrap() {
                None => Ok(()),
                Some(object) => Err(Seen(serde_json::to_value(object).unwrap()).yaml()),
            }
        })
        .await;
    }

    /// As a restore without status leaves it.
    pub async fn forget_gitlab(&self, name: &str) {
        let patch = json!({"status": {"gitlab": null}});
        self.schedules().patch_status(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    /// `kubectl annotate psched NAME pipekick.dev/fire=VALUE`
    pub async fn ask_schedule(&self, name: &str, value: &str) {
        let patch = json!({"metadata": {"annotations": {FIRE: value}}});
        self.schedules().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    /// As if no tick had been looked at for so many minutes.
    pub async fn set_back(&self, name: &str, minutes: i64) {
        let mark = Timestamp::now() - SignedDuration::from_mins(minutes);
        let patch = json!({"status": {"lastHandledTick": mark.to_string()}});
        self.schedules().patch_status(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    pub async fn delete_schedule(&self, name: &str) {
        self.schedules().delete(name, &DeleteParams::default()).await.unwrap();
    }

    pub async fn schedule(&self, name: &str) -> Seen {
        Seen(serde_json::to_value(self.schedules().get(name).await.unwrap()).unwrap())
    }

    pub async fn until_schedule(&self, name: &str, should: &str, is: impl Fn(&Seen) -> bool) -> Seen {
        self.until_true(&format!("{name} should {should}"), async || {
            let seen = self.schedule(name).await;
            if is(&seen) { Ok(seen) } else { Err(seen.yaml()) }
        })
        .await
    }

    /// Applies it and waits until an operator has looked at it; then its ticks are dealt with from now on.
    pub async fn known_schedule(&self, schedule: &Trigger) {
        self.apply_schedule(schedule).await;
        self.until_schedule(schedule.name(), "be looked at", Seen::is_current).await;
    }

    /// Its children, in the order of their creation.
    pub async fn children(&self, schedule: &str) -> Vec<Seen> {
        let mut all = self.all().await;
        all.retain(|seen| seen.at("metadata.labels")["pipekick.dev/schedule"] == schedule);
        all.sort_by_key(|seen| seen.text("metadata.creationTimestamp").to_owned());
        all
    }

    pub async fn until_children(
        &self,
        schedule: &str,
        should: &str,
        are: impl Fn(&[Seen]) -> bool,
    ) -> Vec<Seen> {
        self.until_true(&format!("the children of {schedule} should {should}"), async || {
            let children = self.children(schedule).await;
            if are(&children) {
                Ok(children)
            } else {
                Err(children.iter().map(Seen::yaml).collect::<String>())
            }
        })
        .await
    }

    pub async fn until_true<T>(&self, should: &str, look: impl AsyncFn() -> Result<T, String>) -> T {
        let began = Instant::now();
        loop {
            match look().await {
                Ok(found) => return found,
                Err(instead) => {
                    assert!(began.elapsed() < A_MINUTE, "{should}, after {A_MINUTE:?}:\n{instead}");
                }
            }
            self.rest(POLL).await;
        }
    }

    /// The pipelines of a schedule's children.
    pub fn ticked(&self, schedule: &str) -> Vec<PipelineRecord> {
        let prefix = format!("{}/{schedule}-", self.namespace);
        let of = |p: &PipelineRecord| {
            let object = p.params.get("pipekick").and_then(|ours| ours["object"].as_str());
            object.is_some_and(|object| object.starts_with(&prefix))
        };
        self.ledger().pipelines.into_iter().filter(of).collect()
    }
}
