//! What the demo plays on: the control plane, the GitLab simulator, and a look at both.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use kube::api::{DynamicObject, ListParams, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, ResourceExt};
use pipekick_core::domain::TriggerStatus;
use pipekick_sandbox::controlplane::{ControlPlane, Kubeconfig};
use pipekick_sandbox::gitlab::{GitlabSim, Handle, Seed};
use serde_json::json;
use tokio::time::timeout;

use super::examples::{EXAMPLES, Made};
use crate::controlplane::{self, read, root};

/// Of the examples.
pub const NAMESPACE: &str = "demo";
/// Each request to the API server; kube itself waits for ever.
const REQUEST: Duration = Duration::from_secs(10);

pub struct Stage {
    plane: ControlPlane,
    operator: Kubeconfig,
    gitlab: Handle,
    triggers: Api<DynamicObject>,
}

/// What is to be seen at one moment.
pub struct Seen {
    statuses: BTreeMap<String, Option<TriggerStatus>>,
    /// In GitLab, in its order.
    pub made: Vec<Made>,
    /// Fire ids that more than one pipeline carries.
    pub fired_twice: Vec<String>,
}

impl Stage {
    pub async fn build() -> anyhow::Result<Self> {
        let (plane, operator) = controlplane::start().await?;
        let path = example("gitlab");
        let seed = Seed::from_yaml(&read(&path)?).with_context(|| format!("bad seed {}", path.display()))?;
        let gitlab = GitlabSim::start(seed)?;
        eprintln!("GitLab simulator ready at {}", gitlab.url());
        let resource = ApiResource::from_gvk_with_plural(
            &GroupVersionKind::gvk("pipekick.dev", "v1alpha1", "PipelineTrigger"),
            "pipelinetriggers",
        );
        let client = plane.admin().client().await?;
        let triggers = Api::namespaced_with(client, NAMESPACE, &resource);
        Ok(Self { plane, operator, gitlab, triggers })
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
        for name in std::iter::once("secret").chain(EXAMPLES.iter().map(|example| example.name)) {
            let path = example(name);
            self.plane.apply(&read(&path)?).await.with_context(|| path.display().to_string())?;
        }
        Ok(())
    }

    /// Asks for one more run, as a person does with `kubectl annotate`.
    pub async fn ask(&self, name: &str, value: &str) -> anyhow::Result<()> {
        let patch = json!({"metadata": {"annotations": {"pipekick.dev/fire": value}}});
        let params = PatchParams::default();
        timeout(REQUEST, self.triggers.patch(name, &params, &Patch::Merge(patch)))
            .await
            .context("the API server does not answer")?
            .with_context(|| format!("cannot annotate {name}"))?;
        Ok(())
    }

    pub async fn look(&self) -> anyhow::Result<Seen> {
        let params = ListParams::default();
        let listed = timeout(REQUEST, self.triggers.list(&params))
            .await
            .context("the API server does not answer")?
            .context("cannot list the examples")?;
        let statuses = listed.items.into_iter().map(|object| {
            let name = object.name_any();
            let status = object.data.get("status").cloned().map(serde_json::from_value).transpose();
            let status = status.with_context(|| format!("cannot read the status of {name}"))?;
            Ok((name, status))
        });
        // Before GitLab is asked: what status knows, GitLab must know.
        let statuses = statuses.collect::<anyhow::Result<_>>()?;
        let ledger = self.gitlab.ledger();
        let fired_twice = ledger.duplicate_fire_ids().into_iter().map(str::to_owned).collect();
        let made = ledger.pipelines.iter().map(|record| Made {
            id: record.id,
            project: record.project.clone(),
            fire_id: record.fire_id.clone(),
            status: self.gitlab.pipeline_status(record.id),
        });
        Ok(Seen { statuses, made: made.collect(), fired_twice })
    }

    /// Ends it, without blocking the runtime.
    pub async fn clear(self) {
        self.plane.stop().await;
    }
}

impl Seen {
    pub fn status(&self, name: &str) -> Option<&TriggerStatus> {
        self.statuses.get(name)?.as_ref()
    }

    /// What is no example of ours.
    pub fn others(&self) -> impl Iterator<Item = (&str, Option<&TriggerStatus>)> {
        let ours = |name: &str| EXAMPLES.iter().any(|example| example.name == name);
        self.statuses
            .iter()
            .filter(move |(name, _)| !ours(name))
            .map(|(name, status)| (name.as_str(), status.as_ref()))
    }
}

fn example(name: &str) -> PathBuf {
    root().join("examples").join(name).with_extension("yaml")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::examples::Example;

    #[test]
    fn every_example_has_its_file_and_its_project_in_the_simulated_gitlab() {
        let seed = Seed::from_yaml(&read(&example("gitlab")).unwrap()).unwrap();
        for &Example { name, project, .. } in EXAMPLES {
            let manifest = read(&example(name)).unwrap();
            for line in [format!("\n  name: {name}\n"), format!("\n    project: {project}\n")] {
                assert!(manifest.contains(&line), "{name}: {line}");
            }
            assert!(seed.projects.iter().any(|known| known.path == project), "{project}");
        }
    }

    #[test]
    fn every_token_is_known_to_the_simulated_gitlab_but_the_mistyped_one() {
        let gitlab = read(&example("gitlab")).unwrap();
        let secret = read(&example("secret")).unwrap();
        let tokens = secret.lines().filter_map(|line| line.split_once(": gl").map(|(_, rest)| rest));
        let unknown: Vec<&str> =
            tokens.filter(|token| !gitlab.contains(&format!("token: gl{token},"))).collect();
        assert_eq!(unknown, ["ptt-demo-crat"]);
    }
}
