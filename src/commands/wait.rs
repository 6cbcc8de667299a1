//! `pipekick wait`: waits for the end of a run, and tells it by the exit code. What it waits for is judged by
//! [`pipekick_core::decide::wait`].
//!
//! It looks again and again, and a watch tells it when (`bell.rs`). The looks alone would do: so it needs no right but `get`
//! (`list` for the newest child of a schedule), and a while without an API server is a while without news.

mod bell;

use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use kube::Api;
use kube::api::ListParams;
use pipekick_core::decide::wait::{Asked, Child, Goal, Observed, Verdict, child, decide};
use pipekick_core::domain::Span;
use pipekick_core::domain::schedule::RunBy;
use tokio::time::{sleep, timeout};

use super::say;
use crate::api::names::is_subdomain;
use crate::api::schedule::SCHEDULE_LABEL;
use crate::api::trigger::{CANCEL_ANNOTATION, FIRE_ANNOTATION, RESOLVE_ANNOTATION, RETRY_ANNOTATION};
use crate::api::{PipelineSchedule, PipelineTrigger};
use crate::cli::{self, BadInput};
use crate::cluster::causes::causes;
use crate::cluster::client::{self, DEADLINE};
use crate::runtime::Lenient;

/// Between two looks where there is no watch: at first, and at most. A pipeline takes minutes, and who waits is told
/// within seconds.
const LOOKS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));
/// What was waited for comes no more.
const MISSED: u8 = 1;
/// The time is over.
const TIMED_OUT: u8 = 3;
/// Nobody can tell: no cluster, no right to look.
const CANNOT_TELL: u8 = 4;

/// The flags of `pipekick wait`.
#[derive(Debug, Args)]
pub struct Wait {
    /// What to wait for: pipelinetrigger/NAME (ptrig/NAME), or pipelineschedule/NAME (psched/NAME), which is the
    /// PipelineTrigger that its request makes, or else the newest one that it made. It need not exist yet.
    #[arg(value_name = "KIND/NAME")]
    pub object: Target,
    /// Namespace of the object. Unset: that of the kubeconfig, or the pod's own.
    #[arg(short, long, value_name = "NAME", value_parser = cli::namespace)]
    pub namespace: Option<String>,
    /// What of it to wait for.
    #[arg(long = "for", value_name = "WHAT", default_value = "succeeded")]
    pub goal: For,
    /// How long to wait at most.
    #[arg(long, value_name = "DURATION", default_value = "30m")]
    pub timeout: Span,
    /// Wait for the run that this value of the annotation pipekick.dev/fire asks for. Unset: for the newest run, which is
    /// that of the annotation while it is not answered.
    #[arg(long, value_name = "VALUE")]
    pub request: Option<String>,
}

/// What of it to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum For {
    /// The pipeline succeeded, and the image updates that follow it are done.
    Succeeded,
    /// A pipeline exists.
    Fired,
}

/// What is waited for, by kind and name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A `PipelineTrigger`.
    Trigger(String),
    /// A `PipelineSchedule`.
    Schedule(String),
}

impl FromStr for Target {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (kind, name) =
            text.split_once('/').filter(|(_, name)| !name.is_empty() && !name.contains('/')).ok_or(
                "write KIND/NAME, such as pipelinetrigger/checkout; the namespace goes into --namespace",
            )?;
        if !is_subdomain(name) {
            return Err("no object can have this name: a name is in lower case, such as checkout-release");
        }
        let kind = kind.to_ascii_lowercase();
        match kind.strip_suffix(".pipekick.dev").unwrap_or(&kind) {
            "pipelinetrigger" | "pipelinetriggers" | "ptrig" => Ok(Self::Trigger(name.into())),
            "pipelineschedule" | "pipelineschedules" | "psched" => Ok(Self::Schedule(name.into())),
            _ => Err("the kind is pipelinetrigger (ptrig) or pipelineschedule (psched)"),
        }
    }
}

/// Waits, and says how it ended.
///
/// # Errors
/// What was typed cannot be followed.
pub async fn wait(typed: &Wait) -> Result<ExitCode, BadInput> {
    match until_known(typed).await {
        Ok(code) => Ok(code),
        Err(error) => match error.downcast::<BadInput>() {
            Ok(bad) => Err(bad),
            Err(error) => {
                eprintln!("pipekick: {}", causes(error.as_ref()));
                Ok(CANNOT_TELL.into())
            }
        },
    }
}

async fn until_known(typed: &Wait) -> anyhow::Result<ExitCode> {
    let cluster = client::connect().await.context("cannot connect to the Kubernetes API")?;
    let namespace = typed.namespace.as_deref().unwrap_or_else(|| cluster.default_namespace());
    let mut waiter = Waiter {
        triggers: Api::namespaced(cluster.clone(), namespace),
        schedules: Api::namespaced(cluster.clone(), namespace),
        namespace: namespace.to_owned(),
        goal: match typed.goal {
            For::Succeeded => Goal::Succeeded,
            For::Fired => Goal::Fired,
        },
        target: typed.object.clone(),
        request: typed.request.clone(),
        uid: None,
        seen: None,
        told: "nothing was seen".into(),
    };
    match timeout(typed.timeout.into(), waiter.watch()).await {
        Ok(code) => code,
        Err(_) => {
            eprintln!("pipekick: not within {}; {}", typed.timeout, waiter.told);
            Ok(TIMED_OUT.into())
        }
    }
}

struct Waiter {
    triggers: Api<Lenient<PipelineTrigger>>,
    schedules: Api<Lenient<PipelineSchedule>>,
    namespace: String,
    goal: Goal,
    /// A schedule becomes the child that was found to be the one.
    target: Target,
    request: Option<String>,
    /// Of the trigger, once it was seen.
    uid: Option<String>,
    /// The version of the target at the last look, if it was there.
    seen: Option<String>,
    /// The last line.
    told: String,
}

/// What one look brings.
enum Look {
    Verdict(Verdict),
    /// The schedule's child is the one to look at from now on.
    Child(String),
}

impl Waiter {
    async fn watch(&mut self) -> anyhow::Result<ExitCode> {
        let (mut pause, longest) = LOOKS;
        loop {
            let look = timeout(DEADLINE, self.look()).await;
            match look.unwrap_or_else(|_| Ok(Err(format!("no answer within {} s", DEADLINE.as_secs()))))? {
                Ok(Look::Child(name)) => {
                    self.target = Target::Trigger(name);
                    // It was asked for by the schedule, and its own annotation asks for nothing.
                    self.request = None;
                    continue;
                }
                Ok(Look::Verdict(Verdict::Joined(newer))) => {
                    self.tell(&format!(
                        "the request collapsed into a newer one, {newer:?}; waiting for that"
                    ))?;
                    self.request = Some(newer);
                    continue;
                }
                Ok(Look::Verdict(Verdict::Waits(said))) => self.tell(&said)?,
                Ok(Look::Verdict(Verdict::Reached(said))) => {
                    self.tell(&said)?;
                    return Ok(ExitCode::SUCCESS);
                }
                Ok(Look::Verdict(Verdict::Missed(said))) => {
                    self.tell(&said)?;
                    return Ok(MISSED.into());
                }
                Err(trouble) => self.tell(&format!("the API server cannot be asked: {trouble}"))?,
            }
            self.rest(pause).await;
            pause = longest.min(pause * 3 / 2);
        }
    }

    /// Until there may be something new.
    async fn rest(&self, pause: Duration) {
        let seen = self.seen.as_deref();
        match &self.target {
            Target::Trigger(name) => bell::rest(&self.triggers, name, seen, pause).await,
            // What it makes is another object, which may come without a word in its own.
            Target::Schedule(_) => sleep(pause).await,
        }
    }

    /// Says where the matter stands, once.
    fn tell(&mut self, said: &str) -> anyhow::Result<()> {
        let (kind, name) = match &self.target {
            Target::Trigger(name) => ("PipelineTrigger", name),
            Target::Schedule(name) => ("PipelineSchedule", name),
        };
        let line = format!("{kind} {}/{name}: {said}", self.namespace);
        if line != self.told {
            say(&format!("{line}\n"))?;
            self.told = line;
        }
        Ok(())
    }

    /// Looks once. The inner error is a trouble that passes.
    async fn look(&mut self) -> anyhow::Result<Result<Look, String>> {
        let looked = match self.target.clone() {
            Target::Trigger(name) => self.look_at_trigger(&name).await,
            Target::Schedule(name) => self.look_at_schedule(&name).await,
        };
        match looked {
            Ok(look) => Ok(Ok(look)),
            Err(error) => match error.downcast::<kube::Error>() {
                // Who may not look now may not look in a minute; 401 may be a token that is being renewed.
                Ok(kube::Error::Api(status)) if status.code == 403 => {
                    bail!("the API server does not let this be seen: {}", status.message)
                }
                Ok(error) => Ok(Err(causes(&error))),
                Err(error) => Err(error),
            },
        }
    }

    async fn look_at_trigger(&mut self, name: &str) -> anyhow::Result<Look> {
        let found = self.triggers.get_opt(name).await?;
        self.seen = found.as_ref().and_then(|object| object.metadata.resource_version.clone());
        let Some(object) = found else {
            return Ok(Look::Verdict(match self.uid {
                Some(_) => Verdict::Missed("it was deleted".into()),
                None => Verdict::Waits("it does not exist yet".into()),
            }));
        };
        let Lenient { metadata, managed: _, spec: _, status } = object;
        self.uid = metadata.uid;
        let status = match status {
            Ok(status) => status.unwrap_or_default(),
            Err(error) => bail!("status cannot be read by this version of pipekick: {error}"),
        };
        let annotation = |name: &str| metadata.annotations.as_ref().and_then(|map| map.get(name)).cloned();
        let asked = Asked {
            fire: annotation(FIRE_ANNOTATION),
            retry: annotation(RETRY_ANNOTATION),
            cancel: annotation(CANCEL_ANNOTATION),
            resolve: annotation(RESOLVE_ANNOTATION),
        };
        Ok(Look::Verdict(decide(&Observed {
            generation: metadata.generation.unwrap_or_default(),
            asked: &asked,
            status: &status,
            goal: self.goal,
            request: self.request.as_deref(),
        })))
    }

    async fn look_at_schedule(&self, name: &str) -> anyhow::Result<Look> {
        let waits = |said: &str| Ok(Look::Verdict(Verdict::Waits(said.into())));
        let Some(object) = self.schedules.get_opt(name).await? else { return waits("it does not exist yet") };
        let Lenient { metadata, managed: _, spec, status } = object;
        if spec.is_ok_and(|spec| spec.run_by == Some(RunBy::GitLab)) {
            bail!(BadInput(format!(
                "pipelineschedule/{name} is run by GitLab (runBy: GitLab) and makes no PipelineTrigger to wait for: status.gitlab.lastPipeline tells of its newest pipeline"
            )));
        }
        let status = match status {
            Ok(status) => status.unwrap_or_default(),
            Err(error) => bail!("status cannot be read by this version of pipekick: {error}"),
        };
        let fire = metadata.annotations.as_ref().and_then(|map| map.get(FIRE_ANNOTATION));
        let uid = metadata.uid.unwrap_or_default();
        match child((name, &uid), fire, &status, self.request.as_deref()) {
            Child::Missed(why) => Ok(Look::Verdict(Verdict::Missed(why))),
            Child::Named { name, value, made } => match (self.triggers.get_opt(&name).await?, made) {
                (Some(_), _) => Ok(Look::Child(name)),
                (None, false) => {
                    waits(&format!("pipekick.dev/fire {value:?} has made no PipelineTrigger yet"))
                }
                (None, true) => {
                    let gone =
                        format!("pipekick.dev/fire {value:?} made PipelineTrigger {name}, which is gone");
                    Ok(Look::Verdict(Verdict::Missed(gone)))
                }
            },
            Child::Newest => {
                let labelled = ListParams::default().labels(&format!("{SCHEDULE_LABEL}={name}"));
                let children = self.triggers.list(&labelled).await?.items;
                let newest = children
                    .into_iter()
                    .map(|child| child.metadata)
                    .max_by(|a, b| (&a.creation_timestamp, &a.name).cmp(&(&b.creation_timestamp, &b.name)));
                match newest.and_then(|metadata| metadata.name) {
                    Some(name) => Ok(Look::Child(name)),
                    None => waits("it has made no PipelineTrigger yet"),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_the_names_that_kubectl_knows() {
        for text in ["pipelinetrigger/x", "PipelineTrigger/x", "ptrig/x", "pipelinetriggers.pipekick.dev/x"] {
            assert_eq!(text.parse(), Ok(Target::Trigger("x".into())), "{text}");
        }
        for text in
            ["pipelineschedule/x", "pipelineschedules/x", "psched/x", "PipelineSchedule.pipekick.dev/x"]
        {
            assert_eq!(text.parse(), Ok(Target::Schedule("x".into())), "{text}");
        }
        for text in ["x", "pod/x", "ptrig/", "ptrig/a/b", "/x", ""] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }
}
