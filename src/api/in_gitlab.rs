//! A `PipelineSchedule` with `runBy: GitLab`, parsed for decisions. Its fields stand in `schedule.rs`.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use pipekick_core::decide::gitlab_schedule::FINALIZER;
use pipekick_core::domain::schedule::in_gitlab::Wanted;
use pipekick_core::domain::schedule::{Clock, Kept, RunBy, ScheduleStatus};
use pipekick_core::domain::{Fields, GitLabUrl, Spec, SpecProblem};

use super::key_of;
use super::schedule::PipelineScheduleSpec;
use super::trigger::FIRE_ANNOTATION;

/// An object that GitLab runs; none if Pipekick does. One whose spec cannot be read is what its finalizer says.
#[must_use]
pub fn to_kept(
    metadata: &ObjectMeta,
    spec: &Result<PipelineScheduleSpec, String>,
    status: &ScheduleStatus,
    default_url: &GitLabUrl,
) -> Option<Kept> {
    let finalizers = metadata.finalizers.clone().unwrap_or_default();
    let is_kept = match spec {
        Ok(spec) => spec.run_by == Some(RunBy::GitLab),
        Err(_) => finalizers.iter().any(|finalizer| finalizer == FINALIZER),
    };
    if !is_kept {
        return None;
    }
    let key = key_of(metadata);
    let uid = metadata.uid.clone().unwrap_or_default();
    let (labels, annotations) = (metadata.labels.as_ref(), metadata.annotations.as_ref());
    let fields = Fields { key: &key, uid: &uid, labels, annotations };
    let wanted = match spec {
        Ok(spec) => spec.wanted(default_url, fields),
        Err(error) => Err(SpecProblem(format!("spec cannot be read: {error}"))),
    };
    Some(Kept {
        generation: metadata.generation.unwrap_or_default(),
        deleted_at: metadata.deletion_timestamp.as_ref().map(|time| time.0),
        finalizers,
        fire: annotations.and_then(|map| map.get(FIRE_ANNOTATION)).cloned(),
        suspend: spec.as_ref().ok().and_then(|spec| spec.suspend).unwrap_or(false),
        deletion: spec.as_ref().ok().map(|spec| spec.deletion_policy.unwrap_or_default()),
        spec: wanted,
        status: status.clone(),
        key,
        uid,
    })
}

impl PipelineScheduleSpec {
    /// What GitLab is to run. The rules of the schema have refused what GitLab has no place for.
    fn wanted(&self, default_url: &GitLabUrl, fields: Fields<'_>) -> Result<Wanted, SpecProblem> {
        let Clock { patterns, zone, dst: _, anchor: _ } =
            self.parse(fields.key, Timestamp::UNIX_EPOCH)?.clock;
        let [pattern] = &patterns[..] else {
            let message = "schedules: GitLab takes one; write another PipelineSchedule for each other one";
            return Err(SpecProblem(message.into()));
        };
        let Some(cron) = pattern.for_gitlab() else {
            return Err(SpecProblem("schedule: GitLab knows no @every; write five fields".into()));
        };
        let spec = self.trigger_template.spec.parse(default_url, fields);
        let Spec { url, project, git_ref, access_token, ca_bundle, variables, inputs, .. } =
            spec.map_err(|SpecProblem(message)| SpecProblem(format!("triggerTemplate.spec: {message}")))?;
        let Some(access) = access_token else {
            let message = "triggerTemplate.spec.gitlab: runBy GitLab needs accessTokenRef";
            return Err(SpecProblem(message.into()));
        };
        Ok(Wanted {
            url,
            project,
            access,
            ca_bundle,
            git_ref,
            cron,
            zone: zone.to_string(),
            inputs,
            variables,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn kept(change: &Value) -> Option<Kept> {
        let mut spec = json!({
            "schedule": "H 2 * * *",
            "runBy": "GitLab",
            "triggerTemplate": {"spec": {
                "gitlab": {"project": "shop/checkout", "accessTokenRef": {"name": "gitlab", "key": "token"}},
                "ref": "main",
                "variables": [{"name": "WHO", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
            }},
        });
        for (field, value) in change.as_object().unwrap() {
            spec[field] = value.clone();
        }
        let spec = serde_json::from_value(spec).map_err(|error| error.to_string());
        let metadata = ObjectMeta {
            name: Some("nightly".into()),
            namespace: Some("shop".into()),
            ..ObjectMeta::default()
        };
        let url = "https://gitlab.example.com".parse().unwrap();
        to_kept(&metadata, &spec, &ScheduleStatus::default(), &url)
    }

    #[test]
    fn who_runs_it_decides() {
        assert!(kept(&json!({"runBy": "Cluster"})).is_none() && kept(&json!({"runBy": null})).is_none());
        let kept = kept(&json!({"timeZone": "europe/berlin"})).unwrap();
        let wanted = kept.spec.unwrap();
        assert!(wanted.cron.ends_with(" 2 * * *") && !wanted.cron.contains('H'), "{}", wanted.cron);
        assert_eq!((wanted.zone.as_str(), wanted.variables.len()), ("Europe/Berlin", 1));
        let list = self::kept(&json!({"schedule": null, "schedules": ["0 1 * * *"]})).unwrap();
        assert_eq!(list.spec.unwrap().cron, "0 1 * * *", "a list of one is one");
    }

    #[test]
    fn what_gitlab_cannot_do_is_said_though_the_schema_let_it_through() {
        for (change, says) in [
            (json!({"schedule": "@every 90m"}), "schedule: GitLab knows no @every; write five fields"),
            (
                json!({"schedule": null, "schedules": ["0 1 * * *", "0 2 * * *"]}),
                "schedules: GitLab takes one; write another PipelineSchedule for each other one",
            ),
            (json!({"schedule": "61 * * * *"}), "schedule: 61 in the minute field: 0-59"),
        ] {
            assert_eq!(kept(&change).unwrap().spec.unwrap_err().0, says);
        }
    }
}
