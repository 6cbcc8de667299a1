//! `pipekick release`: takes Pipekick's finalizers off, so that objects can be deleted when no operator is left to do it.
//!
//! An operator that is alive would put them on again, so it is looked for twice: by its Lease before anything is
//! changed, and, since not every operator holds one, by what has become of the finalizers afterwards. What the
//! finalizers stood for is not done: it is told what is left in GitLab.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{ArgGroup, Args};
use k8s_openapi::NamespaceResourceScope;
use kube::api::ListParams;
use kube::core::object::{HasSpec, HasStatus};
use kube::{Api, Client, Resource};
use pipekick_core::decide::{gitlab_schedule, trigger};
use pipekick_core::domain::schedule::ScheduleStatus;
use pipekick_core::domain::{ObjectKey, TriggerStatus};
use serde::de::DeserializeOwned;
use tokio::time::{sleep, timeout};

use super::say;
use crate::api::{PipelineSchedule, PipelineTrigger, key_of};
use crate::cli;
use crate::clock;
use crate::cluster::client::{self, DEADLINE};
use crate::cluster::leases::Leases;
use crate::cluster::status::{self, WriteError};
use crate::runtime::Lenient;

/// Between two looks at the Lease: a leader writes it every other second.
const LOOK: Duration = Duration::from_millis(500);
/// An operator that is alive puts a finalizer on again within moments.
const COMES_BACK_WITHIN: Duration = Duration::from_secs(2);
/// Somebody else may change the finalizers meanwhile.
const TRIES: u32 = 5;
/// Objects per page of a list.
const PAGE: u32 = 100;

/// The flags of `pipekick release`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("whose").required(true))]
pub struct Release {
    /// Release the objects of this namespace.
    #[arg(short, long, value_name = "NAME", group = "whose", value_parser = cli::namespace)]
    pub namespace: Option<String>,
    /// Release the objects of all namespaces.
    #[arg(short = 'A', long, alias = "all-namespaces", group = "whose")]
    pub all: bool,
    /// Tell what would be done, and do nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Namespace of the Lease that a living operator holds.
    #[arg(long, value_name = "NAME", default_value = "pipekick-system", value_parser = cli::namespace)]
    pub lease_namespace: String,
    /// Name of that Lease: with Helm the name of the Deployment.
    #[arg(long, value_name = "NAME", default_value = "pipekick", value_parser = cli::name)]
    pub lease_name: String,
}

/// Releases the objects, and tells what is left in GitLab.
///
/// # Errors
/// An operator is alive, or the cluster cannot be asked.
pub async fn release(typed: &Release) -> anyhow::Result<ExitCode> {
    let cluster = client::connect().await.context("cannot connect to the Kubernetes API")?;
    if !typed.dry_run {
        nobody_leads(&cluster, typed).await?;
    }
    let triggers: Released<PipelineTrigger> =
        Released::of(&cluster, typed, trigger::FINALIZER, |object| pipeline_left(object.status.as_ref()))
            .await?;
    let schedules: Released<PipelineSchedule> =
        Released::of(&cluster, typed, gitlab_schedule::FINALIZER, |object| {
            schedule_left(object.status.as_ref())
        })
        .await?;
    let (released, failed) =
        (triggers.released.len() + schedules.released.len(), triggers.failed + schedules.failed);
    say(&format!(
        "objects {}: {released}; left in GitLab: schedules: {}, pipelines under way: {}\n",
        if typed.dry_run { "that would be released" } else { "released" },
        schedules.left,
        triggers.left,
    ))?;
    let back = if typed.dry_run || released == 0 {
        0
    } else {
        sleep(COMES_BACK_WITHIN).await;
        triggers.came_back().await? + schedules.came_back().await?
    };
    if back > 0 {
        bail!(
            "finalizers that are on again: {back}. An operator is alive. Stop it first, then release again"
        );
    }
    if failed > 0 {
        bail!("objects that were not released: {failed}");
    }
    Ok(ExitCode::SUCCESS)
}

/// A Lease that is renewed has an operator behind it. As in an election, only a change that we see counts: the time that
/// stands in it is that of another clock.
async fn nobody_leads(cluster: &Client, typed: &Release) -> anyhow::Result<()> {
    let (lease_namespace, lease_name) = (&typed.lease_namespace, &typed.lease_name);
    let mut leases = Leases::new(cluster, Some(lease_namespace), lease_name);
    let which = format!("Lease {lease_namespace}/{lease_name}");
    let first = leases.read(DEADLINE).await.with_context(|| format!("{which} cannot be read"))?;
    let Some((first, holder)) = first.and_then(|lease| Some((lease.clone(), lease.holder?))) else {
        return Ok(());
    };
    say(&format!(
        "{which} is held by {holder}; looking for up to {} s whether it is renewed\n",
        first.duration.as_secs()
    ))?;
    let began = clock::instant();
    while clock::instant().saturating_duration_since(began) < first.duration {
        sleep(LOOK).await;
        let now = leases.read(DEADLINE).await.with_context(|| format!("{which} cannot be read"))?;
        match now.map(|lease| (lease.version, lease.holder)) {
            None | Some((_, None)) => return Ok(()),
            Some((version, Some(holder))) if version != first.version => bail!(
                "{holder} renewed {which}: an operator is alive and would put the finalizers on again. Stop it first, such as by kubectl scale deployment {lease_name} --namespace {lease_namespace} --replicas 0"
            ),
            Some(_) => {}
        }
    }
    Ok(())
}

/// What became of the objects of one kind.
struct Released<K: HasSpec + HasStatus> {
    api: Api<Lenient<K>>,
    finalizer: &'static str,
    released: Vec<ObjectKey>,
    failed: usize,
    /// How many leave something in GitLab.
    left: usize,
}

impl<K> Released<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + HasSpec
        + HasStatus
        + Clone
        + std::fmt::Debug,
    Lenient<K>: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned + Clone,
    <K as HasSpec>::Spec: std::fmt::Debug + Clone,
    <K as HasStatus>::Status: std::fmt::Debug + Clone,
{
    async fn of(
        cluster: &Client,
        typed: &Release,
        finalizer: &'static str,
        left: impl Fn(&Lenient<K>) -> Option<String>,
    ) -> anyhow::Result<Self> {
        let api: Api<Lenient<K>> = match &typed.namespace {
            Some(namespace) => Api::namespaced(cluster.clone(), namespace),
            None => Api::all(cluster.clone()),
        };
        let mut released = Self { api, finalizer, released: Vec::new(), failed: 0, left: 0 };
        for object in released.all().await? {
            let key = key_of(object.meta());
            let left = left(&object);
            let done = match place(object.meta().finalizers.as_ref(), finalizer) {
                None if left.is_none() => continue,
                None => "nothing to release".into(),
                Some(_) if typed.dry_run => {
                    released.released.push(key.clone());
                    "would be released".into()
                }
                Some(_) => match released.free(cluster, &object).await {
                    Ok(()) => {
                        released.released.push(key.clone());
                        "released".into()
                    }
                    Err(error) => {
                        released.failed += 1;
                        format!("not released: {error}")
                    }
                },
            };
            released.left += usize::from(left.is_some());
            let left = left.map(|left| format!("; {left}")).unwrap_or_default();
            say(&format!("{} {key}: {done}{left}\n", K::kind(&())))?;
        }
        Ok(released)
    }

    /// All objects, page by page.
    async fn all(&self) -> anyhow::Result<Vec<Lenient<K>>> {
        let mut all = Vec::new();
        let mut params = ListParams::default().limit(PAGE);
        loop {
            let page = timeout(DEADLINE, self.api.list(&params)).await;
            let page = page
                .context("no answer in time")
                .and_then(|page| Ok(page?))
                .with_context(|| format!("{} cannot be listed", K::plural(&())))?;
            all.extend(page.items);
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(all),
            }
        }
    }

    /// Takes the finalizer off this object, wherever it stands among others by then.
    async fn free(&self, cluster: &Client, object: &Lenient<K>) -> Result<(), String> {
        let (key, uid) = (key_of(object.meta()), object.meta().uid.clone().unwrap_or_default());
        let mut at = place(object.meta().finalizers.as_ref(), self.finalizer);
        let mut last = String::new();
        for _ in 0..TRIES {
            let Some(place_now) = at else { return Ok(()) };
            match status::drop_finalizer::<K>(cluster, &key, &uid, (place_now, self.finalizer)).await {
                Ok(()) | Err(WriteError::Gone) => return Ok(()),
                Err(WriteError::Busy(wait)) => sleep(wait).await,
                Err(error @ (WriteError::Conflict | WriteError::Refused(_) | WriteError::Unconfirmed(_))) => {
                    last = error.to_string();
                }
            }
            let now: Option<Lenient<K>> = status::read::<K, _>(cluster, &key).await?;
            at = now
                .filter(|object| object.meta().uid.as_ref() == Some(&uid))
                .and_then(|object| place(object.meta().finalizers.as_ref(), self.finalizer));
        }
        if at.is_none() { Ok(()) } else { Err(last) }
    }

    /// How many of those that were released have the finalizer again.
    async fn came_back(&self) -> anyhow::Result<usize> {
        if self.released.is_empty() {
            return Ok(0);
        }
        let kept = |object: &&Lenient<K>| {
            place(object.meta().finalizers.as_ref(), self.finalizer).is_some()
                && self.released.contains(&key_of(object.meta()))
        };
        Ok(self.all().await?.iter().filter(kept).count())
    }
}

/// Where the finalizer stands.
fn place(finalizers: Option<&Vec<String>>, finalizer: &str) -> Option<usize> {
    finalizers?.iter().position(|stands| stands == finalizer)
}

/// What a trigger leaves in GitLab, if its run is under way.
fn pipeline_left(status: Result<&Option<TriggerStatus>, &String>) -> Option<String> {
    let status = match status {
        Ok(status) => status.as_ref()?,
        Err(error) => return Some(format!("its status cannot be read, look into GitLab: {error}")),
    };
    let run = status.active_run()?;
    let project = &run.target.project;
    Some(match &run.pipeline {
        Some(pipeline) => format!(
            "pipeline {} in {project} goes on{}",
            pipeline.id,
            pipeline.web_url.as_ref().map(|url| format!(": {url}")).unwrap_or_default()
        ),
        None => format!("run {} in {project} is {:?}: it may have a pipeline or get one", run.seq, run.phase),
    })
}

/// What a schedule leaves in GitLab, if GitLab runs it.
fn schedule_left(status: Result<&Option<ScheduleStatus>, &String>) -> Option<String> {
    let status = match status {
        Ok(status) => status.as_ref()?,
        Err(error) => return Some(format!("its status cannot be read, look into GitLab: {error}")),
    };
    let kept = status.gitlab.as_ref()?;
    let project = &kept.place.project;
    let page = kept.web_url.as_ref().map(|url| format!(": {url}")).unwrap_or_default();
    match kept.schedule_id {
        Some(id) if kept.active == Some(false) => {
            Some(format!("schedule {id} stays in {project}, switched off{page}"))
        }
        Some(id) => Some(format!("schedule {id} stays in {project} and RUNS ON{page}")),
        None => {
            kept.creating.as_ref().map(|_| format!("a schedule may have been made in {project}: look there"))
        }
    }
}
