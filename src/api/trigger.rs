//! `PipelineTrigger`: what users have in their git repositories. A field's comment is what `kubectl explain`
//! shows; a rule's message says what to write instead.
//!
//! Fields are as written: no schema default (a GitOps tool must read back what it applied), optional means
//! `Option`. What they mean is parsed once, by [`to_domain`].

#![allow(clippy::duplicated_attributes, reason = "printer columns repeat keys by nature")]

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{CustomResource, KubeSchema};
use pipekick_core::domain::size::Weight;
use pipekick_core::domain::{
    BundleKind, CaBundleRef, ConcurrencyPolicy, DeletionPolicy, Fields, FireOn, FiringFields, GitLabUrl,
    OnUnknown, RetryPolicy, SecretKeyRef, Span, Spec, SpecProblem, Trigger, TriggerStatus, VariableType,
};
use serde::{Deserialize, Serialize};

use super::image_updates::{ImageUpdateSpec, OutputSpec};
use super::json::{Inputs, Payload};
use super::key_of;
use super::size::{leaves_room, leaves_room_beside};
use super::variables::VariableSpec;
use crate::runtime::Lenient;

/// The annotation that asks for a run; a new value asks anew.
pub const FIRE_ANNOTATION: &str = "pipekick.dev/fire";
/// The annotation that frees a run of which nobody can tell whether it made a pipeline.
pub const RESOLVE_ANNOTATION: &str = "pipekick.dev/resolve";
/// The annotation that cancels a run.
pub const CANCEL_ANNOTATION: &str = "pipekick.dev/cancel";
/// The annotation that asks for the failed jobs of a run to be started again.
pub const RETRY_ANNOTATION: &str = "pipekick.dev/retry";
/// How long failed jobs wait where `retry.backoff` is unset, in seconds.
pub const DEFAULT_RETRY_BACKOFF: u64 = 30;
/// Earlier runs kept where `historyLimit` is unset.
pub const DEFAULT_HISTORY_LIMIT: usize = 5;

/// Fires a GitLab pipeline: once when applied, and once again whenever a firing field is changed
/// (gitlab.url, gitlab.project, ref, variables, inputs, payload) or the annotation pipekick.dev/fire gets a new value.
/// Status tells how it went.
#[derive(CustomResource, KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "pipekick.dev",
    version = "v1alpha1",
    kind = "PipelineTrigger",
    plural = "pipelinetriggers",
    shortname = "ptrig",
    category = "pipekick",
    namespaced,
    status = "TriggerStatus",
    derive = "PartialEq",
    doc = "Fires a GitLab pipeline: once when applied, and once again whenever a firing field is changed (gitlab.url, gitlab.project, ref, variables, inputs, payload) or the annotation pipekick.dev/fire gets a new value. Status tells how it went.",
    printcolumn(
        name = "Phase",
        type_ = "string",
        json_path = ".status.phase",
        description = "Where it stands"
    ),
    printcolumn(name = "Ref", type_ = "string", json_path = ".spec.ref", description = "Branch or tag"),
    printcolumn(
        name = "Pipeline",
        type_ = "integer",
        json_path = ".status.run.pipeline.id",
        description = "GitLab's id of the last pipeline"
    ),
    printcolumn(
        name = "Duration",
        type_ = "integer",
        json_path = ".status.run.pipeline.durationSeconds",
        description = "Seconds the pipeline ran"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Project", type_ = "string", json_path = ".spec.gitlab.project", priority = "1"),
    printcolumn(name = "URL", type_ = "string", json_path = ".status.run.pipeline.webUrl", priority = "1"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.message", priority = "1"),
    validation = Rule::new("!has(self.spec.ttlAfterFinished) || has(self.metadata.generateName) && self.metadata.name.startsWith(self.metadata.generateName)").message("ttlAfterFinished is only for objects made with metadata.generateName: whatever applies an object by its name would make it, and so fire it, again")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.timeout) || has(self.gitlab.accessTokenRef)").message("timeout needs gitlab.accessTokenRef: without an access token the pipeline is not followed, so its time cannot be told"),
    validation = Rule::new("!has(self.concurrencyPolicy) || self.concurrencyPolicy != 'Replace' || has(self.gitlab.accessTokenRef)").message("concurrencyPolicy Replace needs gitlab.accessTokenRef: a trigger token can cancel nothing"),
    validation = Rule::new("!has(self.deletionPolicy) || self.deletionPolicy != 'Cancel' || has(self.gitlab.accessTokenRef)").message("deletionPolicy Cancel needs gitlab.accessTokenRef: a trigger token can cancel nothing"),
    validation = Rule::new("!has(self.cancelOnTimeout) || !self.cancelOnTimeout || has(self.timeout)").message("cancelOnTimeout needs timeout: say how long a run may take, such as timeout: 1h"),
    validation = Rule::new("!has(self.retry) || has(self.gitlab.accessTokenRef)").message("retry needs gitlab.accessTokenRef: without an access token nobody knows whether the pipeline failed, nor can start its jobs again"),
    validation = Rule::new("!has(self.name) || has(self.gitlab.accessTokenRef)").message("name needs gitlab.accessTokenRef: a trigger token cannot name a pipeline"),
    validation = Rule::new("!has(self.historyDeletesPipelines) || !self.historyDeletesPipelines || has(self.gitlab.accessTokenRef)").message("historyDeletesPipelines needs gitlab.accessTokenRef, with a token whose user is Owner of the project"),
    validation = Rule::new("!has(self.imageUpdates) || has(self.gitlab.accessTokenRef)").message("imageUpdates needs gitlab.accessTokenRef: without an access token nobody knows when the pipeline has ended"),
    validation = Rule::new("!has(self.outputs) || has(self.imageUpdates)").message("outputs are read for imageUpdates alone: write imageUpdates beside them, or leave them out"),
    validation = Rule::new("!has(self.variables) || self.variables.map(v, has(v.value) ? size(bytes(v.value)) : 0).sum() <= 131072").message("variables: all values together may have at most 131072 bytes: pass what is larger by reference, such as a URL"),
    validation = Rule::new("!has(self.variables) || !has(self.gitlab.triggerTokenRef) || !self.variables.exists(v, has(v.type) && v.type == 'File')").message("variables: GitLab takes type File by access token only: leave out gitlab.triggerTokenRef, or the type"),
    validation = Rule::new("!has(self.payload) || has(self.gitlab.triggerTokenRef)").message("payload needs gitlab.triggerTokenRef: GitLab keeps it for jobs only where a trigger token fires"),
)]
pub struct PipelineTriggerSpec {
    /// Which GitLab, which project, and the Secrets with the tokens for it.
    pub gitlab: GitLabSpec,

    /// Branch or tag to run the pipeline on: main, v1.2.3, refs/heads/main. GitLab starts no pipeline for a
    /// commit id. A change fires.
    #[serde(rename = "ref")]
    #[schemars(length(max = 255))]
    #[x_kube(
        validation = Rule::new("self.trim() != ''").message("ref is empty: name a branch or tag"),
        validation = Rule::new("!self.matches('^([0-9a-fA-F]{40}|[0-9a-fA-F]{64})$')").message("ref is a commit id and GitLab starts no pipeline for one: name a branch or tag"),
        validation = Rule::new(r"self.trim() == '' || !self.matches(r'[[:cntrl:] ~^:?*\[\\]|[.][.]|@[{]|//|^[/-]|[/.]$|(^|/)[.]|[.]lock(/|$)|^@$')").message("ref: git allows no such name for a branch or tag: write it without blanks, control characters, any of ~ ^ : ? * [ \\ and .. // @{, with no / or - at its beginning, no / or . at its end, and no part that begins with . or ends with .lock"),
    )]
    pub git_ref: String,

    /// CI/CD variables for the pipeline, at most 100, with values of at most 128 KiB together. They outrank those of the project and of .gitlab-ci.yml.
    /// Maintainers of the project and receivers of its pipeline webhooks can read the values. A change fires;
    /// the order does not matter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub variables: Option<Vec<VariableSpec>>,

    /// Inputs of the pipeline, at most 20, for a .gitlab-ci.yml with spec:inputs, such as {replicas: 3, regions: [eu]}.
    /// Values are strings, numbers, booleans or arrays, and keep their type; at most 64 KiB of JSON. They take GitLab
    /// 17.11 or later: an older one drops them without a word. With accessTokenRef that is found out, and the run is
    /// Rejected; without it nobody can tell. A change fires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<Inputs>,

    /// A free object that jobs find under .payload of the JSON file that $TRIGGER_PAYLOAD names, such as {release:
    /// {tag: v1}}; at most 64 KiB of JSON. It is no CI/CD variable, but whoever can read those can read it. GitLab may
    /// expand $NAME in it. Quote numbers beyond 64 bits and those like 1.0: Kubernetes does not store them as written.
    /// Needs gitlab.triggerTokenRef. A change fires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Payload>,

    /// `kubectl explain` shows what stands at [`FireOn`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fire_on: Option<FireOn>,

    /// `kubectl explain` shows what stands at [`ConcurrencyPolicy`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency_policy: Option<ConcurrencyPolicy>,

    /// While true nothing is fired, and requests are answered Suspended and dropped. A pipeline under way is
    /// followed to its end. On resume, changes made meanwhile fire at most once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,

    /// How long a run may take from the moment GitLab accepted it, such as 90s, 30m or 1h30m. A longer one
    /// ends in phase TimedOut; the pipeline itself goes on in GitLab, unless cancelOnTimeout is true. Unset: no
    /// limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(
        validation = Rule::new("self.matches('^([0-9]{1,7}(h|m|s))+$')").message("timeout: write it like 90s, 30m or 1h30m"),
        validation = Rule::new("!self.matches('^([0-9]{1,7}(h|m|s))+$') || self.matches('[1-9]')").message("timeout: zero would end every run at once; leave it out for no limit"),
    )]
    pub timeout: Option<String>,

    /// Whether the pipeline of a run that takes longer than timeout is cancelled. The run ends in phase TimedOut
    /// once the pipeline has ended, or once it is clear that it cannot be cancelled; status.message says which.
    /// Unset: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel_on_timeout: Option<bool>,

    /// `kubectl explain` shows what stands at [`DeletionPolicy`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,

    /// `kubectl explain` shows what stands at [`OnUnknown`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_unknown: Option<OnUnknown>,

    /// Starts the failed jobs of a failed pipeline again, in the same pipeline. Needs accessTokenRef with scope
    /// api and the right to run the pipeline. Unset: a failed pipeline fails the run. A pipeline that failed before
    /// any job ran (invalid YAML, for example) is never retried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetrySpec>,

    /// Name to give each pipeline in GitLab after it was created, at most 255 characters, such as "release
    /// 2026.11". Needs accessTokenRef with scope api; GitLab 16.6 or later. It replaces the name that workflow:name
    /// gives. Where GitLab refuses, an Event says so and the run goes on. A change fires nothing; the next
    /// pipeline gets the new name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    #[x_kube(
        validation = Rule::new("self.trim() != ''").message("name is empty: write a name, or leave it out"),
        validation = Rule::new("!self.matches('[[:cntrl:]]')").message("name has a line break, a tab or another control character: write it in one line, with blanks"),
    )]
    pub name: Option<String>,

    /// How many earlier runs stay in status.history, 0 to 20. Unset: 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 20))]
    pub history_limit: Option<u8>,

    /// While true, the pipeline of a run that leaves status.history is deleted in GitLab, with its jobs, logs and
    /// artifacts; not while it runs. Needs accessTokenRef with scope api, of a user who is Owner of the project. What
    /// GitLab refuses to delete, and what still runs many hours later, is told in an Event and left alone. Unset: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history_deletes_pipelines: Option<bool>,

    /// How long after the end of its run this object deletes itself, such as 24h; never while a run is active or
    /// Held, or while the object is suspended. Only for objects made with metadata.generateName: kubectl apply and
    /// GitOps tools would make any other again, and so fire it again. Unset: it stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(
        validation = Rule::new("self.matches('^([0-9]{1,7}(h|m|s))+$')").message("ttlAfterFinished: write it like 90s, 30m or 24h"),
    )]
    pub ttl_after_finished: Option<String>,

    /// Values that imageUpdates may write, read from the artifacts of the pipeline's jobs after its end, such as {name:
    /// tag, job: build, artifact: build.env, key: IMAGE_TAG}; at most 20. The access token needs scope read_api or api.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub outputs: Option<Vec<OutputSpec>>,

    /// What is written into git repositories of this GitLab once the pipeline has ended, such as the tag of the image that
    /// it made into the repository that Argo CD or Flux watches; at most 5. The run is under way until all are done;
    /// status.run.imageUpdates and the condition ImagesUpdated tell how each went. Needs gitlab.accessTokenRef. A change
    /// fires nothing; what has not begun follows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 5))]
    pub image_updates: Option<Vec<ImageUpdateSpec>>,
}

/// How failed jobs are started again.
#[derive(KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RetrySpec {
    /// How often in one run, 1 to 10.
    #[schemars(range(min = 1, max = 10))]
    pub limit: u32,
    /// How long to wait before the first time, such as 30s or 5m; it doubles with each further time, up to 1h.
    /// timeout goes on meanwhile: a retry that would come after it is not waited for. Unset: 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(
        validation = Rule::new("self.matches('^([0-9]{1,7}(h|m|s))+$')").message("retry.backoff: write it like 30s or 5m"),
    )]
    pub backoff: Option<String>,
}

/// Which GitLab, which project, and the Secrets with the tokens for it.
#[derive(KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.triggerTokenRef) || has(self.accessTokenRef)").message("name a Secret: triggerTokenRef (fires), accessTokenRef (follows, and fires where no trigger token is named), or both"),
)]
pub struct GitLabSpec {
    /// Base URL of the GitLab instance, such as https://gitlab.example.com or https://example.com/gitlab: https (http only
    /// where the operator allows it), without credentials, query and /api/v4. Unset: the operator's --gitlab-url. A
    /// change fires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    #[x_kube(
        validation = Rule::new("isURL(self) && url(self).getScheme() in ['https', 'http'] && url(self).getHost() != ''").message("url: write it like https://gitlab.example.com"),
        validation = Rule::new("!self.contains('@') && !self.contains('?') && !self.contains('#')").message("url has no credentials, query or fragment: write https://host or https://host/path, and keep tokens in a Secret"),
        validation = Rule::new("!self.matches('/api/v4/*$')").message("url is the address that people open, without /api/v4: write https://host or https://host/path"),
        validation = Rule::new("!isURL(self) || url(self).getPort() == '' || (size(url(self).getPort()) <= 5 && int(url(self).getPort()) >= 1 && int(url(self).getPort()) <= 65535)").message("url: a port is a number from 1 to 65535, as in https://gitlab.example.com:8443"),
    )]
    pub url: Option<String>,

    /// The project: its full path (shop/checkout) or its numeric id, which survives renames. A change fires.
    #[x_kube(
        validation = Rule::new("type(self) == int ? self > 0 : self.matches('^([1-9][0-9]{0,18}|[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)+)$')").message("project: write the full path with its group (shop/checkout) or the numeric id"),
        validation = Rule::new("type(self) == int || !self.matches('[.](git|atom)(/|$)')").message("project: write the path without .git, as it stands in the address of the project's page"),
        validation = Rule::new("type(self) == int || size(self) <= 512").message("project: a full path has at most 512 characters"),
    )]
    pub project: ProjectName,

    /// Secret key with a pipeline trigger token of the project. It fires; it can read nothing, so without
    /// accessTokenRef the run ends in phase Fired and the pipeline's outcome is not known. The Secret is in the namespace
    /// of this object and carries the label pipekick.dev/credential: "true"; for a GitLab other than the operator's default
    /// also the annotation pipekick.dev/gitlab-url with its URL. The annotation pipekick.dev/projects, if there is one, lists
    /// the projects that its tokens may be sent for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger_token_ref: Option<SecretKeySelector>,

    /// Secret key with a personal, project or group access token. It follows the pipeline (scope read_api) and,
    /// where triggerTokenRef is unset, fires it too (scope api). The Secret is labelled and annotated like that of
    /// triggerTokenRef.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_token_ref: Option<SecretKeySelector>,

    /// A key with the certificates (PEM) of the private CA that signed this GitLab's, such as {kind: ConfigMap, name:
    /// corp-ca, key: ca.crt}. They are believed instead of the public CAs, for this object only. Read with each request:
    /// a rotated bundle needs no restart. Unset: the public CAs of the operator's image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle_ref: Option<CaBundleSelector>,
}

/// A project as written: a number or a text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ProjectName {
    /// `42`
    Id(u64),
    /// `shop/checkout`, or `"42"`
    Path(String),
}

impl schemars::JsonSchema for ProjectName {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ProjectName".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"x-kubernetes-int-or-string": true})
    }
}

/// A key of a Secret in this object's namespace.
#[derive(KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SecretKeySelector {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(
        validation = Rule::new("self.matches('^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$')").message("name: Kubernetes names have lower-case letters, digits, - and . alone, and begin and end with a letter or digit"),
    )]
    pub name: String,
    /// Key in its data.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(
        validation = Rule::new("self.matches('^[A-Za-z0-9._-]+$')").message("key: keys of Secrets and ConfigMaps have letters, digits, - _ and . alone"),
    )]
    pub key: String,
}

/// A key with CA certificates, in this object's namespace.
#[derive(KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CaBundleSelector {
    /// What holds it: ConfigMap or Secret. A Secret needs no label for this: certificates are sent nowhere.
    pub kind: BundleKind,
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(
        validation = Rule::new("self.matches('^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$')").message("name: Kubernetes names have lower-case letters, digits, - and . alone, and begin and end with a letter or digit"),
    )]
    pub name: String,
    /// Key in its data.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(
        validation = Rule::new("self.matches('^[A-Za-z0-9._-]+$')").message("key: keys of Secrets and ConfigMaps have letters, digits, - _ and . alone"),
    )]
    pub key: String,
}

/// A status that this build cannot read. Deciding without it could fire twice, so nothing is done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("status cannot be read by this version of the operator, so nothing is done about the object: {0}")]
pub struct UnreadableStatus(pub String);

/// Parses an object for decisions. A spec that the schema let through and GitLab would still refuse becomes a
/// [`SpecProblem`].
///
/// # Errors
/// When the status is not readable; a newer operator may have written it.
pub fn to_domain(
    object: &Lenient<PipelineTrigger>,
    default_url: &GitLabUrl,
) -> Result<Trigger, UnreadableStatus> {
    let Lenient { metadata, managed, spec, status } = object;
    let status = status.as_ref().map_err(|error| UnreadableStatus(error.clone()))?;
    let annotation = |name: &str| metadata.annotations.as_ref().and_then(|map| map.get(name)).cloned();
    let written = spec.as_ref().ok();
    let key = key_of(metadata);
    let uid = metadata.uid.clone().unwrap_or_default();
    let (labels, annotations) = (metadata.labels.as_ref(), metadata.annotations.as_ref());
    let fields = Fields { key: &key, uid: &uid, labels, annotations };
    let (firing, spec) = match spec {
        Ok(spec) => {
            let parsed = leaves_room_beside(metadata, *managed, spec);
            (spec.firing_fields(), parsed.and_then(|()| spec.parse(default_url, fields)))
        }
        Err(error) => (FiringFields::default(), Err(SpecProblem(format!("spec cannot be read: {error}")))),
    };
    Ok(Trigger {
        key,
        uid,
        generation: metadata.generation.unwrap_or_default(),
        deleted_at: metadata.deletion_timestamp.as_ref().map(|time| time.0),
        finalizers: metadata.finalizers.clone().unwrap_or_default(),
        generated: metadata.generate_name.is_some(),
        fire: annotation(FIRE_ANNOTATION),
        resolve: annotation(RESOLVE_ANNOTATION),
        cancel: annotation(CANCEL_ANNOTATION),
        retry: annotation(RETRY_ANNOTATION),
        fire_on: written.and_then(|spec| spec.fire_on).unwrap_or_default(),
        suspend: written.and_then(|spec| spec.suspend).unwrap_or(false),
        firing,
        spec,
        status: status.clone().unwrap_or_default(),
    })
}

/// Whether an object of this metadata and spec would fire: the same that [`to_domain`] asks.
pub(super) fn check_child_spec(
    metadata: &ObjectMeta,
    spec: &PipelineTriggerSpec,
    default_url: &GitLabUrl,
) -> Result<(), SpecProblem> {
    let key = key_of(metadata);
    let (labels, annotations) = (metadata.labels.as_ref(), metadata.annotations.as_ref());
    leaves_room_beside(metadata, Weight::default(), spec)?;
    spec.parse(default_url, Fields { key: &key, uid: "", labels, annotations }).map(|_| ())
}

impl PipelineTriggerSpec {
    fn firing_fields(&self) -> FiringFields {
        let variables: BTreeMap<_, _> = self
            .variables
            .iter()
            .flatten()
            .map(|variable| (variable.name.clone(), variable.written()))
            .collect();
        FiringFields {
            url: self.gitlab.url.clone(),
            project: project_text(&self.gitlab.project),
            git_ref: self.git_ref.clone(),
            variables,
            inputs: self.inputs.clone().map(|Inputs(inputs)| inputs).unwrap_or_default(),
            payload: self.payload.as_ref().map(Payload::written),
        }
    }

    pub(super) fn parse(&self, default_url: &GitLabUrl, fields: Fields<'_>) -> Result<Spec, SpecProblem> {
        let Self {
            gitlab,
            git_ref,
            variables,
            inputs,
            payload,
            fire_on: _,
            concurrency_policy,
            suspend: _,
            timeout,
            cancel_on_timeout,
            deletion_policy,
            on_unknown,
            retry,
            name,
            history_limit,
            history_deletes_pipelines,
            ttl_after_finished,
            outputs,
            image_updates,
        } = self;
        leaves_room(self)?;
        let GitLabSpec { url, project, trigger_token_ref, access_token_ref, ca_bundle_ref } = gitlab;
        let url = match url {
            Some(url) => url.parse().map_err(|e| problem("gitlab.url", &e))?,
            None => default_url.clone(),
        };
        let mut parsed = variables
            .iter()
            .flatten()
            .map(|variable| variable.parse(fields))
            .collect::<Result<Vec<_>, SpecProblem>>()?;
        parsed.sort_by(|a, b| a.name.cmp(&b.name));
        let span = |field: &str, text: &Option<String>| -> Result<Option<Span>, SpecProblem> {
            text.as_deref().map(str::parse).transpose().map_err(|e| problem(field, &e))
        };
        let retry = match retry {
            Some(RetrySpec { limit, backoff }) => Some(RetryPolicy {
                limit: *limit,
                backoff: span("retry.backoff", backoff)?.unwrap_or(Span::from_secs(DEFAULT_RETRY_BACKOFF)),
            }),
            None => None,
        };
        if trigger_token_ref.is_none() && access_token_ref.is_none() {
            return Err(SpecProblem("gitlab: name a Secret in triggerTokenRef or accessTokenRef".into()));
        }
        if let Some(file) =
            parsed.iter().find(|v| v.kind == VariableType::File && trigger_token_ref.is_some())
        {
            let name = &file.name;
            return Err(SpecProblem(format!("variable {name}: GitLab takes type File by access token only")));
        }
        if payload.is_some() && trigger_token_ref.is_none() {
            return Err(SpecProblem("payload needs gitlab.triggerTokenRef".into()));
        }
        let image_updates = image_updates.iter().flatten().enumerate();
        let image_updates = image_updates.map(|(number, update)| update.parse(number));
        let image_updates = image_updates.collect::<Result<Vec<_>, SpecProblem>>()?;
        if !image_updates.is_empty() && access_token_ref.is_none() {
            return Err(SpecProblem("imageUpdates needs gitlab.accessTokenRef".into()));
        }
        Ok(Spec {
            url,
            project: project_text(project).parse().map_err(|e| problem("gitlab.project", &e))?,
            git_ref: git_ref.parse().map_err(|e| problem("ref", &e))?,
            trigger_token: trigger_token_ref.as_ref().map(SecretKeySelector::to_domain),
            access_token: access_token_ref.as_ref().map(SecretKeySelector::to_domain),
            ca_bundle: ca_bundle_ref.as_ref().map(CaBundleSelector::to_domain),
            variables: parsed,
            concurrency_policy: concurrency_policy.unwrap_or_default(),
            timeout: span("timeout", timeout)?,
            inputs: inputs.as_ref().map(Inputs::parse).transpose()?.unwrap_or_default(),
            payload: payload.as_ref().map(Payload::parse).transpose()?,
            cancel_on_timeout: cancel_on_timeout.unwrap_or(false),
            deletion_policy: deletion_policy.unwrap_or_default(),
            history_limit: history_limit.map_or(DEFAULT_HISTORY_LIMIT, usize::from),
            on_unknown: on_unknown.unwrap_or_default(),
            retry,
            name: name.clone(),
            history_deletes_pipelines: history_deletes_pipelines.unwrap_or(false),
            ttl_after_finished: span("ttlAfterFinished", ttl_after_finished)?,
            outputs: outputs.iter().flatten().map(OutputSpec::parse).collect::<Result<_, _>>()?,
            image_updates,
        })
    }
}

impl SecretKeySelector {
    pub(super) fn to_domain(&self) -> SecretKeyRef {
        SecretKeyRef { name: self.name.clone(), key: self.key.clone() }
    }
}

impl CaBundleSelector {
    fn to_domain(&self) -> CaBundleRef {
        CaBundleRef { kind: self.kind, name: self.name.clone(), key: self.key.clone() }
    }
}

pub(super) fn problem(field: &str, error: &impl std::fmt::Display) -> SpecProblem {
    SpecProblem(format!("{field}: {error}"))
}

fn project_text(project: &ProjectName) -> String {
    match project {
        ProjectName::Id(id) => id.to_string(),
        ProjectName::Path(path) => path.clone(),
    }
}
