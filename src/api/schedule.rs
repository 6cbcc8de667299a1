//! `PipelineSchedule`: what users have in their git repositories. A field's comment is what `kubectl explain` shows, and
//! that of its type where that is an enum; a
//! rule's message says what to write instead. `pipekick simulate` reads it too.
//!
//! Fields are as written: no schema default, optional means `Option`. What they mean is parsed once, by
//! [`to_domain`].

#![allow(clippy::duplicated_attributes, reason = "printer columns repeat keys by nature")]

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{CustomResource, KubeSchema};
use pipekick_core::decide::schedule::child_name;
use pipekick_core::domain::schedule::{
    Clock, ConcurrencyPolicy, DEFAULT_CATCH_UP, Dst, Fold, Gap, HashKey, MissedRuns, Pattern, RunBy,
    Schedule, ScheduleDeletion, ScheduleSpec, ScheduleStatus, Zone,
};
use pipekick_core::domain::{GitLabUrl, ObjectKey, Span, SpecProblem};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::key_of;
use super::names::{is_label_value, is_metadata_key};
use super::trigger::{FIRE_ANNOTATION, PipelineTriggerSpec, UnreadableStatus, check_child_spec};

/// The label of a child: its schedule's name.
pub const SCHEDULE_LABEL: &str = "pipekick.dev/schedule";
/// The annotation of a child: the tick it was made for, RFC 3339 in the schedule's zone.
pub const SCHEDULED_TIME_ANNOTATION: &str = "pipekick.dev/scheduled-time";
/// Keys of ours: a template does not set them.
const OUR_KEYS: &str = "pipekick.dev/";
/// Children kept of each outcome where the limit is unset.
pub const DEFAULT_RUNS_LIMIT: usize = 3;

/// Makes a PipelineTrigger at every tick of a schedule, as a CronJob makes Jobs. Status tells when it ticked last, when
/// it ticks next, and what was missed.
#[derive(CustomResource, KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "pipekick.dev",
    version = "v1alpha1",
    kind = "PipelineSchedule",
    plural = "pipelineschedules",
    shortname = "psched",
    category = "pipekick",
    namespaced,
    status = "ScheduleStatus",
    derive = "PartialEq",
    doc = "Makes a PipelineTrigger at every tick of a schedule, as a CronJob makes Jobs. Status tells when it ticked last, when it ticks next, and what was missed.",
    validation = Rule::new("size(self.metadata.name) <= 52").message("metadata.name: at most 52 characters, since the children's names are made of it"),
    printcolumn(name = "Schedule", type_ = "string", json_path = ".spec['schedule','schedules']"),
    printcolumn(name = "Zone", type_ = "string", json_path = ".spec.timeZone"),
    printcolumn(name = "Suspend", type_ = "boolean", json_path = ".spec.suspend"),
    printcolumn(name = "Active", type_ = "integer", json_path = ".status.activeCount"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Last", type_ = "date", json_path = ".status.lastScheduleTime"),
    printcolumn(name = "Next", type_ = "string", json_path = ".status.nextScheduleTime"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.message", priority = "1")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.schedule) != has(self.schedules)").message("write either schedule or schedules"),
    validation = Rule::new("!has(self.missedRuns) || self.missedRuns != 'All' || (has(self.concurrencyPolicy) && self.concurrencyPolicy == 'Allow')").message("missedRuns: All fires several runs at once: write concurrencyPolicy: Allow beside it"),
    validation = Rule::new("!has(self.maxCatchUp) || (has(self.missedRuns) && self.missedRuns == 'All')").message("maxCatchUp belongs to missedRuns: All"),
    validation = Rule::new("!has(self.concurrencyPolicy) || self.concurrencyPolicy != 'Replace' || has(self.triggerTemplate.spec.gitlab.accessTokenRef)").message("concurrencyPolicy: Replace cancels pipelines: name an accessTokenRef in triggerTemplate.spec.gitlab"),
    validation = Rule::new("(has(self.runBy) ? self.runBy : 'Cluster') == (has(oldSelf.runBy) ? oldSelf.runBy : 'Cluster')").message("runBy cannot be changed, so that no tick fires twice: delete the PipelineSchedule and create it anew"),
    validation = Rule::new("!has(self.deletionPolicy) || (has(self.runBy) && self.runBy == 'GitLab')").message("deletionPolicy belongs to runBy: GitLab; the children of a schedule that Pipekick runs are deleted with it"),
    validation = Rule::new("!has(self.runBy) || self.runBy != 'GitLab' || !has(self.schedules) || size(self.schedules) == 1").message("runBy: GitLab takes one schedule: write one, and another PipelineSchedule for each other one"),
    validation = Rule::new("!has(self.runBy) || self.runBy != 'GitLab' || (!has(self.schedule) || !self.schedule.startsWith('@every')) && (!has(self.schedules) || self.schedules.all(text, !text.startsWith('@every')))").message("runBy: GitLab knows no @every: write five fields, such as 0 */2 * * *, or leave runBy out"),
    validation = Rule::new("!has(self.runBy) || self.runBy != 'GitLab' || !has(self.dst)").message("dst is for runBy: Cluster: GitLab does not run at times that do not exist, and runs twice at those that exist twice; leave dst or runBy out"),
    validation = Rule::new("!has(self.runBy) || self.runBy != 'GitLab' || !has(self.startingDeadline)").message("startingDeadline is for runBy: Cluster: GitLab runs what it missed once and late; leave startingDeadline or runBy out"),
    validation = Rule::new("!has(self.runBy) || self.runBy != 'GitLab' || !has(self.missedRuns)").message("missedRuns is for runBy: Cluster: GitLab runs what it missed once and late; leave missedRuns or runBy out"),
    validation = Rule::new("!has(self.runBy) || self.runBy != 'GitLab' || !has(self.maxCatchUp)").message("maxCatchUp is for runBy: Cluster: GitLab runs what it missed once and late; leave maxCatchUp or runBy out"),
    validation = Rule::new("!has(self.runBy) || self.runBy != 'GitLab' || !has(self.concurrencyPolicy)").message("concurrencyPolicy is for runBy: Cluster: GitLab runs beside a pipeline under way; leave concurrencyPolicy out, and write resource_group or workflow:auto_cancel into .gitlab-ci.yml"),
    validation = Rule::new("!has(self.runBy) || self.runBy != 'GitLab' || !has(self.jitter)").message("jitter is for runBy: Cluster: leave it out, and write H for a minute that differs among schedules"),
    validation = Rule::new("!has(self.runBy) || self.runBy != 'GitLab' || !has(self.successfulRunsHistoryLimit)").message("successfulRunsHistoryLimit is for runBy: Cluster: GitLab keeps the pipelines; leave successfulRunsHistoryLimit or runBy out"),
    validation = Rule::new("!has(self.runBy) || self.runBy != 'GitLab' || !has(self.failedRunsHistoryLimit)").message("failedRunsHistoryLimit is for runBy: Cluster: GitLab keeps the pipelines; leave failedRunsHistoryLimit or runBy out"),
    validation = Rule::new("!has(self.runBy) || self.runBy != 'GitLab' || !has(self.triggerTemplate.metadata)").message("triggerTemplate.metadata is for runBy: Cluster: GitLab makes pipelines, and no PipelineTriggers; leave it out"),
    validation = Rule::new("!has(self.runBy) || self.runBy != 'GitLab' || has(self.triggerTemplate.spec.gitlab.accessTokenRef)").message("runBy: GitLab needs triggerTemplate.spec.gitlab.accessTokenRef: an access token with scope api, of a user with the role Developer"),
    validation = Rule::new("!has(self.runBy) || self.runBy != 'GitLab' || !has(self.triggerTemplate.spec.gitlab.triggerTokenRef)").message("runBy: GitLab has no use for triggerTemplate.spec.gitlab.triggerTokenRef: leave it out; an access token keeps the schedule"),
    validation = Rule::new("!has(self.runBy) || self.runBy != 'GitLab' || !has(self.triggerTemplate.spec.payload)").message("triggerTemplate.spec.payload: GitLab's schedules carry none; write variables or inputs"),
    validation = Rule::new("!has(self.runBy) || self.runBy != 'GitLab' || !has(self.triggerTemplate.spec.timeout)").message("triggerTemplate.spec.timeout is for runBy: Cluster: write timeout into .gitlab-ci.yml"),
    validation = Rule::new("!has(self.runBy) || self.runBy != 'GitLab' || !has(self.triggerTemplate.spec.cancelOnTimeout)").message("triggerTemplate.spec.cancelOnTimeout is for runBy: Cluster: write timeout into .gitlab-ci.yml"),
    validation = Rule::new("!has(self.runBy) || self.runBy != 'GitLab' || !has(self.triggerTemplate.spec.retry)").message("triggerTemplate.spec.retry is for runBy: Cluster: write retry into the jobs of .gitlab-ci.yml"),
    validation = Rule::new("!has(self.runBy) || self.runBy != 'GitLab' || !has(self.triggerTemplate.spec.name)").message("triggerTemplate.spec.name is for runBy: Cluster: write workflow:name into .gitlab-ci.yml"),
    validation = Rule::new("!has(self.runBy) || self.runBy != 'GitLab' || !has(self.triggerTemplate.spec.concurrencyPolicy)").message("triggerTemplate.spec.concurrencyPolicy is for runBy: Cluster: write resource_group or workflow:auto_cancel into .gitlab-ci.yml"),
    validation = Rule::new("!has(self.runBy) || self.runBy != 'GitLab' || !has(self.triggerTemplate.spec.deletionPolicy)").message("triggerTemplate.spec.deletionPolicy is for runBy: Cluster: leave it out; the schedule's own deletionPolicy says what becomes of it in GitLab"),
    validation = Rule::new("!has(self.runBy) || self.runBy != 'GitLab' || !has(self.triggerTemplate.spec.onUnknown)").message("triggerTemplate.spec.onUnknown is for runBy: Cluster: leave it out"),
    validation = Rule::new("!has(self.runBy) || self.runBy != 'GitLab' || !has(self.triggerTemplate.spec.historyLimit)").message("triggerTemplate.spec.historyLimit is for runBy: Cluster: leave it out; GitLab keeps the pipelines"),
    validation = Rule::new("!has(self.runBy) || self.runBy != 'GitLab' || !has(self.triggerTemplate.spec.historyDeletesPipelines)").message("triggerTemplate.spec.historyDeletesPipelines is for runBy: Cluster: leave it out; GitLab keeps the pipelines"),
    validation = Rule::new("!has(self.runBy) || self.runBy != 'GitLab' || !has(self.triggerTemplate.spec.outputs)").message("triggerTemplate.spec.outputs is for runBy: Cluster: leave it out; GitLab alone knows of the pipelines it makes"),
    validation = Rule::new("!has(self.runBy) || self.runBy != 'GitLab' || !has(self.triggerTemplate.spec.imageUpdates)").message("triggerTemplate.spec.imageUpdates is for runBy: Cluster: leave it out; GitLab alone knows of the pipelines it makes"),
)]
pub struct PipelineScheduleSpec {
    /// When it ticks: minute, hour, day of month, month, day of week, such as 30 2 * * MON-FRI. Also @hourly, @daily,
    /// @weekly, @monthly, @yearly and @every 90m (counted from the creation, one minute at least). H stands for a
    /// value hashed from namespace and name: H 2 * * * is some minute after two, always the same one, another one
    /// for another object; H(0-29) and H/15 narrow it. L is the last day of the month, FRI#2 its second Friday,
    /// FRI#L its last. Either of the two day fields may match where both are restricted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(
        validation = Rule::new("!self.upperAscii().contains('TZ=')").message("schedule: write the zone into timeZone"),
    )]
    pub schedule: Option<String>,

    /// Several schedules, at most 10, for what one cannot say. An instant that several name is one tick.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 10), inner(length(min = 1, max = 512)))]
    #[x_kube(
        validation = Rule::new("self.all(text, !text.upperAscii().contains('TZ='))").message("schedules: write the zone into timeZone"),
    )]
    pub schedules: Option<Vec<String>>,

    /// Zone of the schedule, as the IANA database names it: Europe/Berlin. Unset: UTC. The database is part of the
    /// operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Za-z0-9_+/-]+$"))]
    pub time_zone: Option<String>,

    /// What becomes of times that do not exist, or exist twice, because clocks are put forward or back. Schedules whose
    /// minute or hour begins with a star are not concerned: they follow the clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dst: Option<DstSpec>,

    /// While true nothing is fired. Resuming never fires the past.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,

    /// A tick later than this does not fire any more and is counted as missed, such as 10m. Unset: there is no such
    /// limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(
        validation = Rule::new("self.matches('^([0-9]{1,7}(h|m|s))+$')").message("startingDeadline: write it like 90s, 30m or 1h30m"),
        validation = Rule::new("self.matches('[1-9]')").message("startingDeadline: zero would miss every tick; leave it out for no limit"),
    )]
    pub starting_deadline: Option<String>,

    /// Which missed ticks are made up for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed_runs: Option<MissedRunsSpec>,

    /// How many ticks missedRuns: All makes up for; older ones are dropped and counted. Unset: 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub max_catch_up: Option<u8>,

    /// What becomes of a tick while an earlier run of the schedule is active. Told by the type, which `kubectl explain` shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency_policy: Option<ConcurrencyPolicy>,

    /// Every tick fires up to this much later, always the same for one tick and never later than the next one, such as
    /// 5m: so that many schedules on one minute do not fire at once. Unset: 0s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(
        validation = Rule::new("self.matches('^([0-9]{1,7}(h|m|s))+$')").message("jitter: write it like 90s, 30m or 1h30m"),
    )]
    pub jitter: Option<String>,

    /// How many children are kept that succeeded, or were fired and not followed. Unset: 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub successful_runs_history_limit: Option<u8>,

    /// How many children are kept that ended in any other way. Unset: 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub failed_runs_history_limit: Option<u8>,

    /// Who keeps the time. Told by the type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_by: Option<RunBy>,

    /// What becomes of the schedule in GitLab. Told by the type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<ScheduleDeletion>,

    /// What the children look like. With runBy: GitLab, what GitLab runs: gitlab, ref, variables and inputs.
    pub trigger_template: TriggerTemplate,
}

/// What becomes of times that do not exist, or exist twice.
#[derive(KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DstSpec {
    /// Of times that do not exist. RunAfter (when unset): they fire at the first instant after the gap. Skip: they do
    /// not fire that day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap: Option<Gap>,
    /// Of times that exist twice. First (when unset): they fire the first time. Second: they fire the second time.
    /// Both: they fire twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fold: Option<Fold>,
}

/// Which of the ticks that passed while nobody looked are made up for. Latest (when unset): the newest. Skip: none; a
/// tick more than a minute late is dropped. All: each, in order, at most maxCatchUp; needs concurrencyPolicy Allow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MissedRunsSpec {
    /// The newest.
    #[default]
    Latest,
    /// None.
    Skip,
    /// Each, in order.
    All,
}

/// What the children look like.
#[derive(KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.spec.fireOn)").message("triggerTemplate.spec.fireOn: a child fires once, when its tick creates it; leave fireOn out"),
    validation = Rule::new("!has(self.spec.suspend)").message("triggerTemplate.spec.suspend: suspend the schedule itself, by spec.suspend"),
    validation = Rule::new("!has(self.spec.ttlAfterFinished)").message("triggerTemplate.spec.ttlAfterFinished: the schedule keeps and deletes its children by its history limits; leave ttlAfterFinished out"),
)]
pub struct TriggerTemplate {
    /// Labels and annotations of the children, beside those that Pipekick adds. Keys of pipekick.dev are left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<TemplateMetadata>,
    /// The spec of the children: as of a PipelineTrigger, without fireOn, suspend and ttlAfterFinished.
    pub spec: PipelineTriggerSpec,
}

impl TriggerTemplate {
    /// What a child has no use for.
    fn check(&self) -> Result<(), SpecProblem> {
        let PipelineTriggerSpec {
            fire_on,
            suspend,
            ttl_after_finished,
            gitlab: _,
            git_ref: _,
            variables: _,
            inputs: _,
            payload: _,
            concurrency_policy: _,
            timeout: _,
            cancel_on_timeout: _,
            deletion_policy: _,
            on_unknown: _,
            retry: _,
            name: _,
            history_limit: _,
            history_deletes_pipelines: _,
            outputs: _,
            image_updates: _,
        } = &self.spec;
        let wrong = [
            (fire_on.is_some(), "fireOn: a child fires once, when its tick creates it; leave fireOn out"),
            (suspend.is_some(), "suspend: suspend the schedule itself, by spec.suspend"),
            (
                ttl_after_finished.is_some(),
                "ttlAfterFinished: the schedule keeps and deletes its children by its history limits; leave ttlAfterFinished out",
            ),
        ];
        match wrong.into_iter().find(|(is_written, _)| *is_written) {
            Some((_, says)) => Err(SpecProblem(format!("triggerTemplate.spec.{says}"))),
            None => Ok(()),
        }
    }

    /// What would keep every child from being created, or from firing. `child` is one of them, without its labels and
    /// annotations.
    fn check_child(&self, child: ObjectMeta) -> Result<(), SpecProblem> {
        let Self { metadata, spec } = self;
        let TemplateMetadata { labels, annotations } = metadata.clone().unwrap_or_default().theirs();
        if let Some(problem) = metadata_problem(labels.as_ref(), annotations.as_ref()) {
            return Err(SpecProblem(format!("triggerTemplate.metadata.{problem}")));
        }
        let metadata = ObjectMeta { labels, annotations, ..child };
        // Where spec leaves the URL to the operator, which one it is makes no difference.
        let url: GitLabUrl = "https://gitlab.com".parse().expect("it is a URL");
        check_child_spec(&metadata, spec, &url)
            .map_err(|SpecProblem(problem)| SpecProblem(format!("triggerTemplate.spec.{problem}")))
    }

    /// Whether runs of the children can be followed, and cancelled.
    #[must_use]
    pub const fn follows(&self) -> bool {
        self.spec.gitlab.access_token_ref.is_some()
    }
}

/// Labels and annotations of the children.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TemplateMetadata {
    /// Labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
}

impl TemplateMetadata {
    /// Without keys of ours, which a template does not set.
    #[must_use]
    pub fn theirs(mut self) -> Self {
        let Self { labels, annotations } = &mut self;
        for map in [labels, annotations].into_iter().flatten() {
            map.retain(|key, _| !key.starts_with(OUR_KEYS));
        }
        self
    }
}

/// What the API server would refuse of the children's labels and annotations.
fn metadata_problem(
    labels: Option<&BTreeMap<String, String>>,
    annotations: Option<&BTreeMap<String, String>>,
) -> Option<String> {
    let (labels, annotations) = (labels.into_iter().flatten(), annotations.into_iter().flatten());
    labels
        .map(|(key, value)| ("labels", key, is_metadata_key(key) && is_label_value(value)))
        .chain(annotations.map(|(key, _)| ("annotations", key, is_metadata_key(&key.to_ascii_lowercase()))))
        .find(|(_, _, fits)| !fits)
        .map(|(field, key, _)| format!("{field}: the API server refuses {key:?} or its value: write letters, digits, - _ and ., at most 63"))
}

/// Parses an object for decisions. What the schema let through and cannot be followed becomes a [`SpecProblem`].
///
/// # Errors
/// When the status is not readable; a newer operator may have written it.
pub fn to_domain(
    metadata: &ObjectMeta,
    spec: &Result<PipelineScheduleSpec, String>,
    status: &Result<Option<ScheduleStatus>, String>,
) -> Result<Schedule, UnreadableStatus> {
    let status = status.as_ref().map_err(|error| UnreadableStatus(error.clone()))?;
    let key = key_of(metadata);
    let created = metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    Ok(Schedule {
        uid: metadata.uid.clone().unwrap_or_default(),
        generation: metadata.generation.unwrap_or_default(),
        created,
        being_deleted: metadata.deletion_timestamp.is_some(),
        fire: metadata.annotations.as_ref().and_then(|map| map.get(FIRE_ANNOTATION)).cloned(),
        suspend: spec.as_ref().ok().and_then(|spec| spec.suspend).unwrap_or(false),
        spec: match spec {
            Ok(spec) => spec
                .parse(&key, created)
                .and_then(|parsed| spec.check_children(&key, created).map(|()| parsed)),
            Err(error) => Err(SpecProblem(format!("spec cannot be read: {error}"))),
        },
        status: status.clone().unwrap_or_default(),
        key,
    })
}

impl PipelineScheduleSpec {
    /// Whether children could be created, and fire: else it is said now, and not at the first tick.
    fn check_children(&self, key: &ObjectKey, created: Timestamp) -> Result<(), SpecProblem> {
        match self.run_by.unwrap_or_default() {
            RunBy::Cluster => self.trigger_template.check_child(ObjectMeta {
                name: Some(child_name(&key.name, created)),
                namespace: Some(key.namespace.clone()),
                ..ObjectMeta::default()
            }),
            // It makes none.
            RunBy::GitLab => Ok(()),
        }
    }

    pub(super) fn parse(&self, key: &ObjectKey, created: Timestamp) -> Result<ScheduleSpec, SpecProblem> {
        let Self {
            schedule,
            schedules,
            time_zone,
            dst,
            suspend: _,
            starting_deadline,
            missed_runs,
            max_catch_up,
            concurrency_policy,
            jitter,
            successful_runs_history_limit,
            failed_runs_history_limit,
            run_by,
            deletion_policy,
            trigger_template,
        } = self;
        if key.name.len() > 52 {
            return Err(SpecProblem("metadata.name: at most 52 characters".into()));
        }
        let texts: Vec<(String, &String)> = match (schedule, schedules) {
            (Some(schedule), None) => vec![("schedule".into(), schedule)],
            (None, Some(schedules)) if !schedules.is_empty() => {
                schedules.iter().enumerate().map(|(at, text)| (format!("schedules[{at}]"), text)).collect()
            }
            (None, Some(_) | None) | (Some(_), Some(_)) => {
                return Err(SpecProblem("schedule: write either schedule or schedules".into()));
            }
        };
        if texts.len() > 10 {
            return Err(SpecProblem(
                "schedules: at most 10; write another PipelineSchedule for the others".into(),
            ));
        }
        if deletion_policy.is_some() && *run_by != Some(RunBy::GitLab) {
            return Err(SpecProblem("deletionPolicy belongs to runBy: GitLab".into()));
        }
        let hash_key = HashKey::new(&key.namespace, &key.name);
        let patterns = texts
            .into_iter()
            .map(|(field, text)| Pattern::parse(text, Some(&hash_key)).map_err(|e| problem(&field, &e)))
            .collect::<Result<Vec<_>, _>>()?;
        let zone = match time_zone {
            Some(name) => Zone::parse(name).map_err(|e| problem("timeZone", &e))?,
            None => Zone::utc(),
        };
        let (gap, fold) = dst.as_ref().map_or((None, None), |DstSpec { gap, fold }| (*gap, *fold));
        let concurrency = concurrency_policy.unwrap_or_default();
        if concurrency == ConcurrencyPolicy::Replace && !trigger_template.follows() {
            return Err(SpecProblem("concurrencyPolicy: Replace cancels pipelines: name an accessTokenRef in triggerTemplate.spec.gitlab".into()));
        }
        if max_catch_up.is_some() && *missed_runs != Some(MissedRunsSpec::All) {
            return Err(SpecProblem("maxCatchUp belongs to missedRuns: All".into()));
        }
        let missed_runs = match missed_runs.unwrap_or_default() {
            MissedRunsSpec::Latest => MissedRuns::Latest,
            MissedRunsSpec::Skip => MissedRuns::Skip,
            MissedRunsSpec::All if concurrency != ConcurrencyPolicy::Allow => {
                return Err(SpecProblem("missedRuns: All needs concurrencyPolicy: Allow".into()));
            }
            MissedRunsSpec::All => {
                MissedRuns::All { max_catch_up: max_catch_up.map_or(DEFAULT_CATCH_UP, usize::from).max(1) }
            }
        };
        trigger_template.check()?;
        for (field, number, least) in [
            ("maxCatchUp", max_catch_up, 1),
            ("successfulRunsHistoryLimit", successful_runs_history_limit, 0),
            ("failedRunsHistoryLimit", failed_runs_history_limit, 0),
        ] {
            if number.is_some_and(|number| number < least || number > 100) {
                return Err(SpecProblem(format!("{field}: write a number from {least} to 100")));
            }
        }
        let span = |field: &str, text: &Option<String>| {
            text.as_deref().map(str::parse::<Span>).transpose().map_err(|e| problem(field, &e))
        };
        let starting_deadline = span("startingDeadline", starting_deadline)?;
        if starting_deadline.is_some_and(|deadline| deadline.as_secs() == 0) {
            let says = "startingDeadline: zero would miss every tick; leave it out for no limit";
            return Err(SpecProblem(says.into()));
        }
        Ok(ScheduleSpec {
            clock: Clock {
                patterns,
                zone,
                dst: Dst { gap: gap.unwrap_or_default(), fold: fold.unwrap_or_default() },
                anchor: created,
            },
            jitter: span("jitter", jitter)?.unwrap_or(Span::from_secs(0)),
            starting_deadline,
            missed_runs,
            concurrency,
            successful_limit: successful_runs_history_limit.map_or(DEFAULT_RUNS_LIMIT, usize::from),
            failed_limit: failed_runs_history_limit.map_or(DEFAULT_RUNS_LIMIT, usize::from),
        })
    }
}

fn problem(field: &str, error: &impl std::fmt::Display) -> SpecProblem {
    SpecProblem(format!("{field}: {error}"))
}

#[cfg(test)]
mod tests {
    use kube::CustomResourceExt as _;
    use serde_json::json;

    use super::*;

    fn parse(change: &serde_json::Value) -> Result<ScheduleSpec, SpecProblem> {
        let mut spec = json!({
            "schedule": "H 2 * * *",
            "triggerTemplate": {"spec": {"gitlab": {"project": "shop/checkout"}, "ref": "main"}},
        });
        for (field, value) in change.as_object().unwrap() {
            spec[field] = value.clone();
        }
        let spec: PipelineScheduleSpec = serde_json::from_value(spec).unwrap();
        spec.parse(&ObjectKey { namespace: "shop".into(), name: "nightly".into() }, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn the_defaults_are_what_the_texts_say() {
        let spec = parse(&json!({})).unwrap();
        assert_eq!(spec.clock.zone, Zone::utc());
        assert_eq!(spec.clock.dst, Dst { gap: Gap::RunAfter, fold: Fold::First });
        assert_eq!((spec.jitter, spec.starting_deadline), (Span::from_secs(0), None));
        assert_eq!((spec.missed_runs, spec.concurrency), (MissedRuns::Latest, ConcurrencyPolicy::Forbid));
        assert_eq!((spec.successful_limit, spec.failed_limit), (3, 3));
        let created: Timestamp = "2026-11-02T09:00:07Z".parse().unwrap();
        let key = ObjectKey { namespace: "shop".into(), name: "nightly".into() };
        let every: PipelineScheduleSpec = serde_json::from_value(json!({
            "schedule": "@every 90m",
            "triggerTemplate": {"spec": {"gitlab": {"project": "shop/checkout"}, "ref": "main"}},
        }))
        .unwrap();
        assert_eq!(every.parse(&key, created).unwrap().clock.anchor, created, "@every counts from there");
        let all = parse(&json!({"missedRuns": "All", "concurrencyPolicy": "Allow"})).unwrap();
        assert_eq!(all.missed_runs, MissedRuns::All { max_catch_up: 10 });
    }

    #[test]
    fn a_problem_names_its_field_and_says_what_to_write() {
        for (change, says) in [
            (json!({"schedule": "61 * * * *"}), "schedule: 61 in the minute field: 0-59"),
            (
                json!({"timeZone": "Mars"}),
                "timeZone: \"Mars\" is no time zone: write a name of the IANA database, such as Europe/Berlin or UTC",
            ),
            (json!({"schedules": ["@daily"]}), "schedule: write either schedule or schedules"),
            (
                json!({"schedule": null, "schedules": ["@daily", "61 * * * *"]}),
                "schedules[1]: 61 in the minute field: 0-59",
            ),
            (json!({"missedRuns": "All"}), "missedRuns: All needs concurrencyPolicy: Allow"),
            (
                json!({"successfulRunsHistoryLimit": 101}),
                "successfulRunsHistoryLimit: write a number from 0 to 100",
            ),
            (json!({"maxCatchUp": 3}), "maxCatchUp belongs to missedRuns: All"),
            (
                json!({"startingDeadline": "0s"}),
                "startingDeadline: zero would miss every tick; leave it out for no limit",
            ),
            (
                json!({"concurrencyPolicy": "Replace"}),
                "concurrencyPolicy: Replace cancels pipelines: name an accessTokenRef in triggerTemplate.spec.gitlab",
            ),
            (
                json!({"jitter": "soon"}),
                "jitter: `soon` is no duration: write it like 90s, 30m or 1h30m (at most ten years)",
            ),
        ] {
            assert_eq!(parse(&change).unwrap_err().0, says);
        }
    }

    /// What an object with this template, and these other fields, comes to.
    fn templated(
        template: &serde_json::Value,
        change: &serde_json::Value,
    ) -> Result<ScheduleSpec, SpecProblem> {
        let mut spec = json!({"schedule": "@daily", "triggerTemplate": template});
        for (field, value) in change.as_object().unwrap() {
            spec[field] = value.clone();
        }
        let metadata = ObjectMeta {
            name: Some("nightly".into()),
            namespace: Some("shop".into()),
            ..ObjectMeta::default()
        };
        let spec = serde_json::from_value(spec).map_err(|error| error.to_string());
        to_domain(&metadata, &spec, &Ok(None)).unwrap().spec
    }

    fn fires() -> serde_json::Value {
        let token = json!({"name": "gitlab", "key": "token"});
        json!({"gitlab": {"project": "shop/checkout", "accessTokenRef": token}, "ref": "main"})
    }

    #[test]
    fn a_template_of_which_no_child_could_be_made_or_fire_is_refused_at_once() {
        let labels = |key: &str, value: &str| json!({"spec": fires(), "metadata": {"labels": {key: value}}});
        let spec = |field: &str, value: serde_json::Value| {
            let mut spec = fires();
            spec[field] = value;
            json!({"spec": spec})
        };
        let update = json!([{"branch": "main", "edits": [{"file": "a.yaml", "path": "..[", "value": "1"}]}]);
        for (template, says) in [
            (labels("bad key!", "x"), "triggerTemplate.metadata.labels: the API server refuses \"bad key!\""),
            (
                labels("team", "no label, this"),
                "triggerTemplate.metadata.labels: the API server refuses \"team\"",
            ),
            (
                json!({"spec": fires(), "metadata": {"annotations": {"a b": "x"}}}),
                "triggerTemplate.metadata.annotations: the API server refuses \"a b\"",
            ),
            (spec("imageUpdates", update), "triggerTemplate.spec.imageUpdates[0]"),
            (spec("payload", json!({"a": 1})), "triggerTemplate.spec.payload needs gitlab.triggerTokenRef"),
        ] {
            let problem = templated(&template, &json!({})).unwrap_err().0;
            assert!(problem.starts_with(says), "{says}: {problem}");
        }
    }

    #[test]
    fn what_a_child_makes_good_is_no_problem_of_its_template() {
        let mut spec = fires();
        spec["variables"] = json!([
            {"name": "WHO", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['team']"}}},
            {"name": "WHEN", "valueFrom": {"fieldRef": {"fieldPath": "metadata.annotations['pipekick.dev/scheduled-time']"}}},
        ]);
        // Keys of ours are left out of the children, whatever stands there.
        let ours = json!({"labels": {"pipekick.dev/schedule": "no label, this", "example.com/a": ""}});
        for template in [json!({"spec": fires()}), json!({"spec": spec, "metadata": ours})] {
            assert!(templated(&template, &json!({"schedule": "H H * * *"})).is_ok(), "{template}");
        }
        // GitLab makes no children.
        let broken = json!({"spec": fires(), "metadata": {"labels": {"bad key!": "x"}}});
        assert!(templated(&broken, &json!({"runBy": "GitLab"})).is_ok());
    }

    #[test]
    fn the_schema_can_be_made_and_its_rules_stand_in_it() {
        let crd = serde_json::to_string(&PipelineSchedule::crd()).unwrap();
        for rule in
            ["size(self.metadata.name) <= 52", "write either schedule or schedules", "leave fireOn out"]
        {
            assert!(crd.contains(rule), "{rule}");
        }
    }
}
