//! Bridges: jobs that make pipelines of their own, in their project or in another.
//! Nobody need look at a bridge for it to act, so it is asked whenever anything is.

use jiff::Timestamp;
use serde_json::Map;

use super::{
    chain::{self, Made, Order, Upstream},
    ledger::{Credential, CredentialKind},
    pipeline::{Downstream, Source},
    script::{Play, Triggers},
    state::{Named, World},
};

/// Deeper than this GitLab makes no child of a child.
const DEEPEST: u8 = 2;

/// A bridge that has started and made nothing yet.
struct Due {
    project: u64,
    pipeline: u64,
    job: u64,
    at: Timestamp,
    name: String,
    triggers: Triggers,
    git_ref: String,
    user: u64,
    depth: u8,
}

impl World {
    /// Makes the pipelines of the bridges that have started by now.
    pub(crate) fn bridge(&mut self, now: Timestamp) {
        loop {
            let due = self.due_bridges(now);
            if due.is_empty() {
                return;
            }
            for bridge in due {
                self.cross(bridge);
            }
        }
    }

    fn due_bridges(&mut self, now: Timestamp) -> Vec<Due> {
        let Self { bridging, projects, .. } = self;
        let mut due = Vec::new();
        bridging.retain(|(project, id)| {
            let Some(pipeline) = projects.get_mut(project).and_then(|p| p.pipelines.get_mut(id)) else {
                return false;
            };
            pipeline.settle(now);
            for job in &pipeline.jobs {
                if let (Downstream::NotYet, Some(at), Some(triggers)) =
                    (job.downstream, job.started_at, &pipeline.part(job).triggers)
                {
                    due.push(Due {
                        project: *project,
                        pipeline: *id,
                        job: job.id,
                        at,
                        name: pipeline.part(job).name.clone(),
                        triggers: triggers.clone(),
                        git_ref: pipeline.git_ref.clone(),
                        user: pipeline.user,
                        depth: pipeline.depth,
                    });
                }
            }
            true
        });
        due.sort_by_key(|bridge| (bridge.at, bridge.job));
        due
    }

    fn cross(&mut self, bridge: Due) {
        let Due { project, pipeline, job, at, name, triggers, git_ref, user, depth } = bridge;
        let Triggers { project: path, git_ref: asked, play } = triggers;
        let target = match &path {
            None => Some(project),
            Some(path) => self.named(path).map(|(Named::Current(id) | Named::Moved(id))| id),
        };
        let made = target.filter(|_| depth < DEEPEST).and_then(|target| {
            let child = path.is_none();
            let default = &self.projects[&target].settings.default_branch;
            let git_ref = asked.unwrap_or_else(|| if child { git_ref } else { default.clone() });
            let play = play.map(|play| *play).or_else(|| child.then(Play::default));
            let order = Order {
                project: target,
                user,
                git_ref: &git_ref,
                source: if child { Source::ParentPipeline } else { Source::Pipeline },
                variables: Vec::new(),
                payload: None,
                inputs: Map::new(),
                keeps_failures: true,
                at,
                call: 0,
                credential: Credential { kind: CredentialKind::Bridge, id: job, name },
                params: Map::new(),
                upstream: Some(Upstream { pipeline, depth, play }),
                schedule: None,
            };
            match chain::create(self, order) {
                Made::Created(id) | Made::Failed(id, _) => Some((target, id)),
                Made::Refused(_) => None,
            }
        });
        let above = self.projects.get_mut(&project).and_then(|p| p.pipelines.get_mut(&pipeline));
        let Some(above) = above else { return };
        match made {
            Some((project, pipeline)) => {
                if let Some(job) = above.jobs.iter_mut().find(|known| known.id == job) {
                    job.downstream = Downstream::Made { project, pipeline };
                }
            }
            None => above.fail_bridge(job, at),
        }
    }
}
