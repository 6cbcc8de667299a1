//! What the demo plays on: the control plane, the GitLab simulator, and a look at both.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use kube::api::{DynamicObject, ListParams, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, ResourceExt};
use pipekick_core::domain::TriggerStatus;
use pipekick_core::domain::schedule::ScheduleStatus;
use pipekick_sandbox::controlplane::{ControlPlane, Kubeconfig};
use pipekick_sandbox::gitlab::{GitlabSim, Handle, Seed};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::time::timeout;

use super::examples::{EXAMPLES, Made};
use super::schedules::{Meant, SCHEDULES, Timed};
use crate::controlplane::{self, read, root};

/// Of the examples.
pub const NAMESPACE: &str = "demo";
/// The repository that an example writes to.
const GITOPS: &str = "platform/gitops";
/// Each request to the API server; kube itself waits for ever.
const REQUEST: Duration = Duration::from_secs(10);

pub struct Stage {
    plane: ControlPlane,
    operator: Kubeconfig,
    gitlab: Handle,
    triggers: Api<DynamicObject>,
    schedules: Api<DynamicObject>,
}

/// What is to be seen at one moment.
pub struct Seen {
    statuses: BTreeMap<String, Option<TriggerStatus>>,
    schedules: BTreeMap<String, Option<ScheduleStatus>>,
    /// Triggers and schedules that somebody edited or asked for something, by their names.
    touched: BTreeSet<String>,
    /// Schedules by the names of their children.
    schedule_of: BTreeMap<String, String>,
    /// In GitLab, in its order.
    pub made: Vec<Made>,
    /// Fire ids that more than one pipeline carries.
    pub fired_twice: Vec<String>,
}

impl Stage {
    pub async fn build() -> anyhow::Result<Self> {
        let (plane, operator) = controlplane::start().await?;
        plane.admin().set_namespace(NAMESPACE)?;
        let path = seed_of_gitlab();
        let seed = Seed::from_yaml(&read(&path)?).with_context(|| format!("bad seed {}", path.display()))?;
        let gitlab = GitlabSim::start(seed)?;
        eprintln!("GitLab simulator ready at {}", gitlab.url());
        let client = plane.admin().client().await?;
        let api = |kind: &str, plural: &str| {
            let kind = GroupVersionKind::gvk("pipekick.dev", "v1alpha1", kind);
            let resource = ApiResource::from_gvk_with_plural(&kind, plural);
            Api::namespaced_with(client.clone(), NAMESPACE, &resource)
        };
        let triggers = api("PipelineTrigger", "pipelinetriggers");
        let schedules = api("PipelineSchedule", "pipelineschedules");
        Ok(Self { plane, operator, gitlab, triggers, schedules })
    }

    pub fn plane(&self) -> &ControlPlane {
        &self.plane
    }

    pub fn operator(&self) -> &Kubeconfig {
        &self.operator
    }

    pub fn gitlab(&self) -> &Handle {
        &self.gitlab
    }

    pub async fn apply_examples(&self) -> anyhow::Result<()> {
        let namespace = format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {NAMESPACE}}}}}");
        self.plane.apply(&namespace).await?;
        let examples = EXAMPLES.iter().map(|example| example.name);
        let schedules = SCHEDULES.iter().map(|schedule| schedule.name);
        for name in std::iter::once("secret").chain(examples).chain(schedules) {
            let path = example(name);
            self.plane.apply(&read(&path)?).await.with_context(|| path.display().to_string())?;
        }
        Ok(())
    }

    /// Asks for one more run of a trigger, as a person does with `kubectl annotate ptrig`.
    pub async fn ask(&self, name: &str, value: &str) -> anyhow::Result<()> {
        Self::annotate(&self.triggers, name, value).await
    }

    /// Asks for a run of a schedule now, as a person does with `kubectl annotate psched`.
    pub async fn ask_schedule(&self, name: &str, value: &str) -> anyhow::Result<()> {
        Self::annotate(&self.schedules, name, value).await
    }

    async fn annotate(api: &Api<DynamicObject>, name: &str, value: &str) -> anyhow::Result<()> {
        let patch = json!({"metadata": {"annotations": {"pipekick.dev/fire": value}}});
        let params = PatchParams::default();
        timeout(REQUEST, api.patch(name, &params, &Patch::Merge(patch)))
            .await
            .context("the API server does not answer")?
            .with_context(|| format!("cannot annotate {name}"))?;
        Ok(())
    }

    pub async fn look(&self) -> anyhow::Result<Seen> {
        let triggers = listed(&self.triggers).await?;
        let schedule_of = triggers.iter().filter_map(|object| {
            Some((object.name_any(), object.labels().get("pipekick.dev/schedule")?.clone()))
        });
        let schedule_of = schedule_of.collect();
        let schedules = listed(&self.schedules).await?;
        let touched = triggers.iter().chain(&schedules).filter(|object| is_touched(object));
        let touched = touched.map(ResourceExt::name_any).collect();
        let schedules = statuses(schedules)?;
        // Before GitLab is asked: what status knows, GitLab must know.
        let statuses = statuses(triggers)?;
        let ledger = self.gitlab.ledger();
        let fired_twice = ledger.duplicate_fire_ids().into_iter().map(str::to_owned).collect();
        let made = ledger.pipelines.iter().map(|record| Made {
            id: record.id,
            project: record.project.clone(),
            fire_id: record.fire_id.clone(),
            status: self.gitlab.pipeline_status(record.id),
            tick: record
                .params
                .get("pipekick")
                .and_then(|ours| ours["scheduled_time"].as_str()?.parse().ok()),
        });
        let made = made.collect();
        Ok(Seen { statuses, schedules, touched, schedule_of, made, fired_twice })
    }

    /// What stands in the repository last, as git shows it.
    pub fn commit(&self) -> anyhow::Result<String> {
        let repository = self.gitlab.repository(GITOPS).context("the seed has no repository")?;
        let show = ["show", "--format=%an committed %h to platform/gitops: %s", "--unified=1", "main"];
        let output = Command::new("git").current_dir(repository).args(show).output();
        let output = output.context("cannot run git")?;
        anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(format!(
            "\n{}\ngit clone {}/{GITOPS}.git shows it too\n",
            String::from_utf8_lossy(&output.stdout).trim_end(),
            self.gitlab.url()
        ))
    }

    /// Ends it, without blocking the runtime.
    pub async fn clear(self) {
        self.plane.stop().await;
    }
}

/// Whether somebody edited it, or asked it for something that the demo does not.
fn is_touched(object: &DynamicObject) -> bool {
    let name = object.name_any();
    let asked = EXAMPLES.iter().find(|example| example.name == name).and_then(|example| example.asked);
    let meant = SCHEDULES.iter().find(|schedule| schedule.name == name).map(|schedule| schedule.meant);
    let asked = match meant {
        Some(Meant::Asked { value, .. }) => Some(value),
        Some(Meant::Ticks) | None => asked,
    };
    let annotated = |what: &str| object.annotations().get(&format!("pipekick.dev/{what}"));
    object.metadata.generation.is_some_and(|generation| generation > 1)
        || ["resolve", "cancel", "retry"].into_iter().any(|what| annotated(what).is_some())
        || annotated("fire").is_some_and(|value| Some(value.as_str()) != asked)
}

async fn listed(api: &Api<DynamicObject>) -> anyhow::Result<Vec<DynamicObject>> {
    let listed = timeout(REQUEST, api.list(&ListParams::default())).await;
    Ok(listed.context("the API server does not answer")?.context("cannot list the examples")?.items)
}

/// By the objects' names.
fn statuses<S: DeserializeOwned>(objects: Vec<DynamicObject>) -> anyhow::Result<BTreeMap<String, Option<S>>> {
    let status = |object: DynamicObject| {
        let name = object.name_any();
        let status = object.data.get("status").cloned().map(serde_json::from_value).transpose();
        let status = status.with_context(|| format!("cannot read the status of {name}"))?;
        Ok((name, status))
    };
    objects.into_iter().map(status).collect()
}

impl Seen {
    pub fn schedule(&self, name: &str) -> Option<&ScheduleStatus> {
        self.schedules.get(name)?.as_ref()
    }

    /// The children of a schedule, the newest last.
    pub fn children(&self, schedule: &str) -> Vec<&TriggerStatus> {
        let ours = |name: &String| self.schedule_of.get(name).is_some_and(|of| of == schedule);
        let mut children: Vec<&TriggerStatus> = self
            .statuses
            .iter()
            .filter(|(name, _)| ours(name))
            .filter_map(|(_, status)| status.as_ref())
            .collect();
        children.sort_by_key(|status| status.run.as_ref().map(|run| run.intended_at));
        children
    }

    pub fn status(&self, name: &str) -> Option<&TriggerStatus> {
        self.statuses.get(name)?.as_ref()
    }

    /// Whether a person has taken this example over.
    pub fn is_touched(&self, name: &str) -> bool {
        self.touched.contains(name)
    }

    /// What is no example of ours, nor a child of one.
    pub fn others(&self) -> impl Iterator<Item = (&str, Option<&TriggerStatus>)> {
        let ours = |name: &str| {
            let child = |schedule: &Timed| self.schedule_of.get(name).is_some_and(|of| of == schedule.name);
            EXAMPLES.iter().any(|example| example.name == name) || SCHEDULES.iter().any(child)
        };
        self.statuses
            .iter()
            .filter(move |(name, _)| !ours(name))
            .map(|(name, status)| (name.as_str(), status.as_ref()))
    }
}

fn example(name: &str) -> PathBuf {
    root().join("examples").join(name).with_extension("yaml")
}

/// Below `examples/`, so that `kubectl apply -f examples/` finds manifests only.
fn seed_of_gitlab() -> PathBuf {
    root().join("examples/demo-gitlab/seed.yaml")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::examples::Example;
    use crate::demo::schedules::Meant;

    #[test]
    fn every_example_has_its_file_and_its_project_in_the_simulated_gitlab() {
        let seed = Seed::from_yaml(&read(&seed_of_gitlab()).unwrap()).unwrap();
        for &Example { name, project, .. } in EXAMPLES {
            let manifest = read(&example(name)).unwrap();
            for line in [format!("\n  name: {name}\n"), format!("\n    project: {project}\n")] {
                assert!(manifest.contains(&line), "{name}: {line}");
            }
            assert!(seed.projects.iter().any(|known| known.path == project), "{project}");
        }
        for &Timed { name, project, meant } in SCHEDULES {
            let manifest = read(&example(name)).unwrap();
            let mut lines = vec![format!("\n  name: {name}\n"), format!("\n        project: {project}\n")];
            if let Meant::Asked { value, schedule, zone } = meant {
                lines.push(format!("\n  schedule: \"{schedule}\"\n  timeZone: {zone}\n"));
                lines.push(format!("pipekick next '{schedule}' --time-zone {zone}"));
                lines.push(format!("{name} -n demo pipekick.dev/fire={value}\n"));
            }
            for line in lines {
                assert!(manifest.contains(&line), "{name}: {line}");
            }
            assert!(seed.projects.iter().any(|known| known.path == project), "{project}");
        }
    }

    #[test]
    fn every_token_is_known_to_the_simulated_gitlab_but_the_mistyped_one() {
        let gitlab = read(&seed_of_gitlab()).unwrap();
        let secret = read(&example("secret")).unwrap();
        let tokens = secret.lines().filter_map(|line| line.split_once(": gl").map(|(_, rest)| rest));
        let unknown: Vec<&str> =
            tokens.filter(|token| !gitlab.contains(&format!("token: gl{token},"))).collect();
        assert_eq!(unknown, ["ptt-demo-crat"]);
    }
}
