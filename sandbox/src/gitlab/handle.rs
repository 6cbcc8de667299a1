//! A simulator in hand: start it, steer it, ask it what really happened.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use jiff::{SignedDuration, Timestamp};

use super::{
    act::Deed,
    clock::Clock,
    faults::{FaultRule, RoutePattern, UnknownRoute},
    git::{Change, GitError},
    ledger::Ledger,
    merge_requests::{MergeRequest, Merging},
    pipeline::Status,
    plant::SeedError,
    repositories::Pusher,
    schedules::Schedule,
    seed::Seed,
    server::{self, Server, Shared},
    state::World,
    tokens::UnknownToken,
};

/// Starts simulators.
#[derive(Debug)]
pub struct GitlabSim;

/// Why a simulator did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot listen: {0}")]
    Listen(#[from] io::Error),
    #[error("bad seed: {0}")]
    Seed(#[from] SeedError),
}

/// A running simulator. Dropping it closes its connections and frees its port.
///
/// The methods are synchronous and short; the simulator has a thread of its own.
pub struct Handle {
    url: String,
    shared: Shared,
    _server: Server,
}

impl GitlabSim {
    /// Starts a simulator on a free port of the loopback address.
    pub fn start(seed: Seed) -> Result<Handle, StartError> {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), seed)
    }

    /// Starts a simulator at this address.
    pub fn start_at(address: SocketAddr, mut seed: Seed) -> Result<Handle, StartError> {
        let plant = move |bound: SocketAddr| {
            let clock = Clock::new(seed.clock.take().unwrap_or_default());
            let mut world = World::new(seed.version.unwrap_or_default(), clock, format!("http://{bound}"));
            world.plant(seed).map(|()| world)
        };
        let (server, shared, bound) = server::start(address, plant)??;
        Ok(Handle { url: format!("http://{bound}"), shared, _server: server })
    }
}

impl Handle {
    /// `http://127.0.0.1:port`, without a slash at the end.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Everything that happened so far.
    pub fn ledger(&self) -> Ledger {
        self.shared.lock().ledger.clone()
    }

    /// Asks the ledger without copying it; no call is handled meanwhile.
    pub fn read_ledger<T>(&self, ask: impl FnOnce(&Ledger) -> T) -> T {
        ask(&self.shared.lock().ledger)
    }

    /// The simulator's time.
    pub fn now(&self) -> Timestamp {
        self.shared.lock().clock.now()
    }

    /// Moves the simulator's time forward.
    pub fn advance(&self, by: SignedDuration) {
        self.shared.lock().clock.advance(by);
    }

    /// Adds to the seed: new users, projects, tokens; new settings for what is there by name.
    pub fn add(&self, seed: Seed) -> Result<(), SeedError> {
        self.shared.lock().plant(seed)
    }

    /// Puts a fault in wait for calls to come.
    pub fn fault(&self, rule: FaultRule) -> Result<(), UnknownRoute> {
        self.shared.lock().faults.put(rule)
    }

    /// Fault rules that may still strike.
    pub fn faults(&self) -> Vec<FaultRule> {
        self.shared.lock().faults.standing().cloned().collect()
    }

    /// Removes every fault rule and latency.
    pub fn clear_faults(&self) {
        self.shared.lock().faults.clear();
    }

    /// Answers of a route (a pattern as in [`FaultRule::route`]) come this much later, in real time.
    pub fn latency(&self, route: &str, lasts: SignedDuration) -> Result<(), UnknownRoute> {
        let pattern = RoutePattern::parse(route)?;
        self.shared.lock().faults.slow(pattern, lasts.unsigned_abs());
        Ok(())
    }

    /// Revokes an access token, or deletes a trigger token, by name.
    pub fn revoke_token(&self, name: &str) -> Result<(), UnknownToken> {
        self.shared.lock().revoke_token(name)
    }

    /// Lets a token expire now.
    pub fn expire_token(&self, name: &str) -> Result<(), UnknownToken> {
        self.shared.lock().expire_token(name)
    }

    /// Replaces a token by a new one of the same name and rights; the new value is handed out here and only here.
    pub fn rotate_token(&self, name: &str) -> Result<String, UnknownToken> {
        self.shared.lock().rotate_token(name)
    }

    /// The status of a pipeline now; none if there is none, or it was deleted.
    pub fn pipeline_status(&self, id: u64) -> Option<Status> {
        let mut world = self.shared.lock();
        let now = world.clock.now();
        let mut projects = world.projects.values_mut();
        projects.find_map(|project| {
            project.settle(now);
            project.pipelines.get(&id).map(|pipeline| pipeline.status)
        })
    }

    /// The pipeline schedules of a project (by full path) as they stand.
    pub fn schedules(&self, project: &str) -> Vec<Schedule> {
        let world = self.shared.lock();
        let project = world.paths.get(project);
        project.map(|id| world.schedules.of(*id).cloned().collect()).unwrap_or_default()
    }

    /// Where a project's bare repository lies, for `git` to look at. It goes with the simulator.
    pub fn repository(&self, project: &str) -> Option<PathBuf> {
        self.shared.lock().repository_path(project)
    }

    /// The merge requests of a project as they stand, the oldest first.
    pub fn merge_requests(&self, project: &str) -> Vec<MergeRequest> {
        let world = self.shared.lock();
        let project = world.paths.get(project).and_then(|id| world.projects.get(id));
        project.map(|project| project.merge_requests.values().cloned().collect()).unwrap_or_default()
    }

    /// The project's first member merges a merge request. `false` if there is no such open one, or it conflicts.
    pub fn merge(&self, project: &str, iid: u64) -> Result<bool, GitError> {
        let mut world = self.shared.lock();
        let Some((id, by)) = world.open_by(project, iid) else { return Ok(false) };
        world.refresh(id)?;
        let now = world.clock.now();
        world.merge(id, iid, &Merging::default(), &by, now)
    }

    /// Somebody ticks that the commits of a merge request are to be squashed. `false` if there is no such open one.
    pub fn squash(&self, project: &str, iid: u64) -> bool {
        let mut world = self.shared.lock();
        let Some((id, _)) = world.open_by(project, iid) else { return false };
        let now = world.clock.now();
        world.change_request(id, iid, now, |request| request.squash = true);
        true
    }

    /// Somebody closes a merge request. `false` if there is no such open one.
    pub fn close(&self, project: &str, iid: u64) -> bool {
        let mut world = self.shared.lock();
        let Some((id, _)) = world.open_by(project, iid) else { return false };
        let now = world.clock.now();
        world.close_request(id, iid, now);
        true
    }

    /// The project's first member commits files to a branch, whatever protects it. Returns the commit's id; none if
    /// there is no such project or repository, or somebody who pushes by path was faster.
    pub fn commit(
        &self,
        project: &str,
        branch: &str,
        message: &str,
        files: &[(&str, &str)],
    ) -> Result<Option<String>, GitError> {
        let mut world = self.shared.lock();
        let Some(id) = world.paths.get(project).copied() else { return Ok(None) };
        let user = world.projects[&id].settings.members.keys().next().copied().unwrap_or_default();
        let put = |(path, text): &(&str, &str)| Change::Put {
            path: (*path).to_owned(),
            executable: false,
            content: text.as_bytes().to_vec(),
        };
        let changes: Vec<Change> = files.iter().map(put).collect();
        world.push(id, branch, &changes, message, &Pusher { user, credential: None, call: 0 })
    }

    /// A person plays the manual job of this name. `false` if none is waiting.
    pub fn play_job(&self, pipeline: u64, job: &str) -> bool {
        self.shared.lock().by_hand(pipeline, Deed::Play(job))
    }

    /// A person runs the ended job of this name again. `false` if it cannot be.
    pub fn retry_job(&self, pipeline: u64, job: &str) -> bool {
        self.shared.lock().by_hand(pipeline, Deed::RetryJob(job))
    }

    /// A person runs a pipeline's failed and canceled jobs again. `false` if there is no such pipeline.
    pub fn retry_pipeline(&self, pipeline: u64) -> bool {
        self.shared.lock().by_hand(pipeline, Deed::Retry)
    }

    /// A person cancels a pipeline. `false` if there is no such pipeline.
    pub fn cancel_pipeline(&self, pipeline: u64) -> bool {
        self.shared.lock().by_hand(pipeline, Deed::Cancel)
    }
}
