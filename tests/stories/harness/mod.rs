//! What a story stands on, and the words it is told in.

mod cluster;
pub mod collector;
pub mod gitlab;
mod objects;
mod operator;
pub mod schedules;
mod seen;
mod table;
pub mod typed;
mod versions;

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{ConfigMap as StoredConfigMap, Namespace, Secret as StoredSecret};
use k8s_openapi::api::events::v1::Event;
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client};
use pipekick_sandbox::apiproxy::ApiProxy;
use pipekick_sandbox::gitlab::{GitlabSim, Handle, Ledger, PipelineRecord, Seed};
use serde_json::{Value, json};

pub use objects::{ConfigMap, FIRE, Secret, Trigger};
pub use seen::Seen;
pub use table::columns;
pub use versions::{Versions, status_writes};

use crate::DEADLINE;
use cluster::{Cluster, Place, shared};
use operator::{Operator, Start};

pub const POLL: Duration = Duration::from_millis(40);
const LOG_LINES: usize = 60;
const CALLS: usize = 20;

/// A namespace, a GitLab, and operators that are started when the story says so.
pub struct Story {
    pub namespace: String,
    pub client: Client,
    pub gitlab: Handle,
    operator_kubeconfig: PathBuf,
    admin_kubeconfig: PathBuf,
    /// Operators watch all namespaces, not only the story's.
    sees_all: bool,
    operators: RefCell<Vec<Operator>>,
    /// Environment of the next operator; see `src/crash.rs`.
    armed: RefCell<Vec<(&'static str, String)>>,
    deaths: Cell<usize>,
    panics_allowed: Cell<bool>,
    duplicates_allowed: Cell<bool>,
    markers: Cell<usize>,
    /// Every token that was put into a Secret: none may be told anywhere.
    pub tokens: RefCell<Vec<String>>,
}

/// Tells a story on a GitLab that begins with `seed`. Secret `gitlab` is there, with the tokens of
/// [`Seed::one_project`].
pub fn story(seed: Seed, tale: impl AsyncFnOnce(&Story)) {
    tell(Place::take(), shared(), seed, false, tale);
}

/// As [`story`], on a control plane of its own, with operators that see all namespaces.
pub fn story_of_all_namespaces(seed: Seed, tale: impl AsyncFnOnce(&Story)) {
    tell(Place::take(), &cluster::start(), seed, true, tale);
}

/// As [`story`], on a control plane of its own in which children go with their owners.
pub fn story_with_garbage_collector(seed: Seed, tale: impl AsyncFnOnce(&Story)) {
    tell(Place::take(), &cluster::start_with_garbage_collector(), seed, false, tale);
}

fn tell(_place: Place, cluster: &Cluster, seed: Seed, sees_all: bool, tale: impl AsyncFnOnce(&Story)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let story = Story::begin(cluster, seed, sees_all).await;
        tale(&story).await;
        story.end().await;
    });
}

impl Story {
    async fn begin(cluster: &Cluster, seed: Seed, sees_all: bool) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(1);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let sentence = std::thread::current().name().unwrap_or_default().replace("::", "-").replace('_', "-");
        let mut namespace = format!("s{number}-{sentence}");
        namespace.truncate(63);
        let namespace = namespace.trim_end_matches('-').to_owned();
        let story = Self {
            client: cluster.admin.client().await.unwrap(),
            gitlab: GitlabSim::start(seed).unwrap(),
            operator_kubeconfig: cluster.operator.clone(),
            admin_kubeconfig: cluster.admin.path().to_owned(),
            sees_all,
            operators: RefCell::default(),
            armed: RefCell::default(),
            deaths: Cell::new(0),
            panics_allowed: Cell::new(false),
            duplicates_allowed: Cell::new(false),
            markers: Cell::new(0),
            tokens: RefCell::default(),
            namespace,
        };
        let namespaces: Api<Namespace> = Api::all(story.client.clone());
        let manifest =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": story.namespace}});
        namespaces.patch(&story.namespace, &gitops(), &Patch::Apply(manifest)).await.unwrap();
        let secret = Secret::new("gitlab").key("trigger-token", Seed::TRIGGER_TOKEN);
        story.secret(secret.key("access-token", Seed::ACCESS_TOKEN)).await;
        story
    }

    /// What no story may leave behind.
    async fn end(&self) {
        let ledger = self.ledger();
        let duplicates = ledger.duplicate_fire_ids();
        assert!(
            self.duplicates_allowed.get() || duplicates.is_empty(),
            "a fire id with two pipelines: {duplicates:?}"
        );
        let mut told = vec![("Events", format!("{:?}", self.all_events().await))];
        told.push(("objects", format!("{:?}", self.all().await)));
        self.check_operators();
        for operator in self.operators.borrow().iter() {
            let log = operator.log();
            assert!(self.panics_allowed.get() || !log.contains("panicked"), "an operator panicked");
            told.push(("the log", log));
        }
        let tokens = self.tokens.borrow();
        let base64 = tokens.iter().map(|token| data_encoding::BASE64.encode(token.as_bytes()));
        for token in tokens.iter().cloned().chain(base64) {
            for (place, text) in &told {
                assert!(!text.contains(token.as_str()), "a token stands in {place}");
            }
        }
    }

    // ---- Operators -------------------------------------------------------------------------------------------

    /// Starts an operator for this story's namespace and GitLab.
    pub fn operator(&self, flags: &[&str]) {
        let url = self.gitlab.url().to_owned();
        self.operator_of(&url, flags);
    }

    /// Starts an operator whose GitLab is another one.
    pub fn operator_of(&self, gitlab_url: &str, flags: &[&str]) {
        self.operator_with(&self.operator_kubeconfig, gitlab_url, flags);
    }

    /// Starts an operator with other rights.
    pub fn operator_as(&self, kubeconfig: &Path, flags: &[&str]) {
        self.operator_with(kubeconfig, self.gitlab.url(), flags);
    }

    /// What the operator has.
    pub fn operator_kubeconfig(&self) -> &Path {
        &self.operator_kubeconfig
    }

    /// Starts an operator that talks to the API server through a proxy of its own.
    pub async fn operator_behind_proxy(&self, flags: &[&str]) -> ApiProxy {
        let proxy = ApiProxy::start(&self.operator_kubeconfig).await.unwrap();
        self.operator_with(proxy.kubeconfig(), self.gitlab.url(), flags);
        proxy
    }

    fn operator_with(&self, kubeconfig: &Path, gitlab_url: &str, flags: &[&str]) {
        let env = self.armed.take();
        let mut operators = self.operators.borrow_mut();
        let number = operators.len() + 1;
        let namespace = self.namespace.as_str();
        operators.push(Operator::start(&Start {
            kubeconfig,
            namespace,
            sees_all: self.sees_all,
            gitlab_url,
            flags,
            env: &env,
            number,
        }));
    }

    /// Arms the next operator, and no other, as `src/crash.rs` says. If that makes it die, whoever waits for
    /// something starts it again, unarmed.
    pub fn arm(&self, name: &'static str, value: String) {
        self.armed.borrow_mut().push((name, value));
    }

    /// From now on a panic that the operator caught is part of the story.
    pub fn allow_panics(&self) {
        self.panics_allowed.set(true);
    }

    /// From now on the story breaks what the protocol assumes: a second pipeline under one name is part of it.
    pub fn allow_duplicates(&self) {
        self.duplicates_allowed.set(true);
    }

    /// Lets this much time pass; twice as much if the operator that was armed turns out to have died.
    pub async fn rest(&self, time: Duration) {
        tokio::time::sleep(time).await;
        let deaths = self.deaths();
        self.check_operators();
        if self.deaths() > deaths {
            tokio::time::sleep(time).await;
        }
    }

    /// How many operators died of that and were started again.
    pub fn deaths(&self) -> usize {
        self.deaths.get()
    }

    /// The process id of the newest operator.
    pub fn operator_pid(&self) -> u32 {
        self.operators.borrow().last().unwrap().pid()
    }

    /// What the newest operator's /metrics says.
    pub async fn metrics(&self) -> String {
        let newest = self.operators.borrow().len();
        self.metrics_of(newest).await
    }

    /// Status and body of the newest operator's /readyz.
    pub async fn readyz(&self) -> (u16, String) {
        let address = self.operators.borrow().last().unwrap().health_address();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let answer = client.get(format!("http://{address}/readyz")).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// What the /metrics of one operator says; the first has number 1.
    pub async fn metrics_of(&self, number: usize) -> String {
        let address = self.operators.borrow()[number - 1].metrics_address();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        client.get(format!("http://{address}/metrics")).send().await.unwrap().text().await.unwrap()
    }

    /// `kill -9` to one operator; the first has number 1.
    pub fn kill_operator(&self, number: usize) {
        self.operators.borrow_mut()[number - 1].kill();
    }

    /// SIGTERM to one operator, and waits for its end.
    pub fn terminate_operator(&self, number: usize) {
        self.operators.borrow_mut()[number - 1].terminate();
    }

    /// A signal that does not end it (STOP, CONT) to one operator.
    pub fn signal_operator(&self, number: usize, signal: &str) {
        self.operators.borrow()[number - 1].signal(signal);
    }

    /// Waits until one operator ended by itself, which is part of the story.
    pub async fn until_operator_ended(&self, number: usize) {
        let began = Instant::now();
        loop {
            if let Some(operator) = self.operators.borrow_mut()[number - 1].ended_by_itself() {
                return operator.kill();
            }
            assert!(began.elapsed() < DEADLINE, "operator {number} should end");
            tokio::time::sleep(POLL).await;
        }
    }

    /// What one operator logged.
    pub fn log_of(&self, number: usize) -> String {
        self.operators.borrow()[number - 1].log()
    }

    /// `kill -9` to every operator.
    pub fn kill_operators(&self) {
        self.operators.borrow_mut().iter_mut().filter(|o| !o.is_killed()).for_each(Operator::kill);
    }

    /// SIGTERM to every operator, and waits for their end.
    pub fn terminate_operators(&self) {
        self.operators.borrow_mut().iter_mut().filter(|o| !o.is_killed()).for_each(Operator::terminate);
    }

    pub fn check_operators(&self) {
        let mut again = Vec::new();
        for operator in self.operators.borrow_mut().iter_mut().filter_map(Operator::ended_by_itself) {
            assert!(
                operator.doomed,
                "an operator ended, and not by this story; the end of its log may say why"
            );
            operator.kill();
            again.push((operator.gitlab_url.clone(), operator.flags.clone()));
        }
        for (url, flags) in again {
            self.deaths.set(self.deaths.get() + 1);
            self.operator_of(&url, &flags.iter().map(String::as_str).collect::<Vec<_>>());
        }
    }

    /// What all operators of the story logged.
    pub fn log(&self) -> String {
        self.operators.borrow().iter().map(Operator::log).collect()
    }

    // ---- What users do ---------------------------------------------------------------------------------------

    pub fn triggers(&self) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk("pipekick.dev", "v1alpha1", "PipelineTrigger");
        let kind = ApiResource::from_gvk_with_plural(&kind, "pipelinetriggers");
        Api::namespaced_with(self.client.clone(), &self.namespace, &kind)
    }

    /// Server-side apply of the whole manifest, as Argo CD and Flux do it.
    pub async fn apply(&self, trigger: &Trigger) -> Seen {
        let applied = self.triggers().patch(trigger.name(), &gitops(), &Patch::Apply(&trigger.0)).await;
        seen(&applied.unwrap())
    }

    /// Why the API server refuses to create this; nothing if it would not.
    pub async fn create_refused(&self, trigger: &Trigger) -> Option<String> {
        let object: DynamicObject = serde_json::from_value(trigger.0.clone()).unwrap();
        let params = PostParams { dry_run: true, ..PostParams::default() };
        refusal(self.triggers().create(&params, &object).await)
    }

    /// Why the API server refuses this server-side apply; nothing if it would not.
    pub async fn apply_refused(&self, trigger: &Trigger) -> Option<String> {
        let params = gitops().dry_run();
        refusal(self.triggers().patch(trigger.name(), &params, &Patch::Apply(&trigger.0)).await)
    }

    /// `kubectl annotate pipekick.dev/fire=VALUE`
    pub async fn ask(&self, name: &str, value: &str) {
        self.merge(name, &json!({"metadata": {"annotations": {FIRE: value}}})).await;
    }

    /// `kubectl patch --type=merge`
    pub async fn merge(&self, name: &str, patch: &Value) {
        self.triggers().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    /// Puts other facts into status, as an operator of long ago or with a wrong clock would have left them.
    pub async fn merge_status(&self, name: &str, patch: &Value) {
        let (params, patch) = (PatchParams::default(), json!({ "status": patch }));
        self.triggers().patch_status(name, &params, &Patch::Merge(&patch)).await.unwrap();
    }

    pub async fn delete(&self, name: &str) {
        self.triggers().delete(name, &DeleteParams::default()).await.unwrap();
    }

    /// Waits until a deleted object is gone, and says how long that took.
    pub async fn until_gone(&self, name: &str) -> Duration {
        let began = Instant::now();
        while let Some(object) = self.triggers().get_opt(name).await.unwrap() {
            self.check_operators();
            assert!(began.elapsed() < DEADLINE, "{name} should be gone: {}", seen(&object).yaml());
            tokio::time::sleep(POLL).await;
        }
        began.elapsed()
    }

    pub async fn secret(&self, secret: Secret) {
        self.tokens.borrow_mut().extend(secret.values.iter().map(|(_, value)| value.trim().to_owned()));
        let api: Api<StoredSecret> = Api::namespaced(self.client.clone(), &self.namespace);
        api.patch(&secret.name, &gitops(), &Patch::Apply(secret.manifest())).await.unwrap();
    }

    pub async fn config_map(&self, map: &ConfigMap) {
        let api: Api<StoredConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        api.patch(&map.name, &gitops(), &Patch::Apply(map.manifest())).await.unwrap();
    }

    pub async fn delete_secret(&self, name: &str) {
        let api: Api<StoredSecret> = Api::namespaced(self.client.clone(), &self.namespace);
        api.delete(name, &DeleteParams::default()).await.unwrap();
    }

    /// A person at GitLab: a call of the API below `/api/v4/projects/shop%2Fcheckout/pipelines/`.
    pub async fn at_gitlab(&self, method: &str, path: &str) {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let url = format!("{}/api/v4/projects/shop%2Fcheckout/pipelines/{path}", self.gitlab.url());
        let request = client.request(method.parse().unwrap(), url);
        let answer = request.header("PRIVATE-TOKEN", Seed::ACCESS_TOKEN).send().await.unwrap();
        assert!(answer.status().is_success(), "{method} {path}: {}", answer.status());
    }

    /// Ends every pipeline whose jobs are [`gitlab::long`].
    pub fn end_pipelines(&self) {
        self.gitlab.advance(gitlab::LONG);
    }

    // ---- What can be seen ------------------------------------------------------------------------------------

    pub async fn look(&self, name: &str) -> Seen {
        seen(&self.triggers().get(name).await.unwrap())
    }

    pub async fn all(&self) -> Vec<Seen> {
        let list = self.triggers().list(&ListParams::default()).await.unwrap();
        list.items.iter().map(seen).collect()
    }

    pub async fn all_events(&self) -> Vec<Event> {
        let api: Api<Event> = Api::namespaced(self.client.clone(), &self.namespace);
        api.list(&ListParams::default()).await.unwrap().items
    }

    /// The Events about an object: type and reason.
    pub async fn events(&self, name: &str) -> Vec<(String, String)> {
        let mut about = self.all_events().await;
        about.retain(|event| event.regarding.as_ref().is_some_and(|r| r.name.as_deref() == Some(name)));
        about.sort_by_key(|event| event.event_time.as_ref().map(|time| time.0));
        about.into_iter().map(|e| (e.type_.unwrap_or_default(), e.reason.unwrap_or_default())).collect()
    }

    /// Waits for an Event about an object with this reason, whose message says so.
    pub async fn until_event(&self, name: &str, reason: &str, says: &str) {
        let is = |event: &Event| {
            event.regarding.as_ref().is_some_and(|about| about.name.as_deref() == Some(name))
                && event.reason.as_deref() == Some(reason)
                && event.note.as_ref().is_some_and(|note| note.contains(says))
        };
        let began = Instant::now();
        loop {
            let all = self.all_events().await;
            if all.iter().any(is) {
                return;
            }
            self.check_operators();
            assert!(
                began.elapsed() < DEADLINE,
                "{name} should have an Event {reason}: {says}; it has {all:?}"
            );
            tokio::time::sleep(POLL).await;
        }
    }

    pub async fn record_versions(&self) -> Versions {
        Versions::record(self.triggers()).await
    }

    /// Waits until an object is as it should be, and gives it back.
    pub async fn until(&self, name: &str, should: &str, is: impl Fn(&Seen) -> bool) -> Seen {
        let began = Instant::now();
        loop {
            let now = self.look(name).await;
            if is(&now) {
                return now;
            }
            self.check_operators();
            let yaml = || now.yaml();
            assert!(began.elapsed() < DEADLINE, "{name} should {should}, after {DEADLINE:?}:\n{}", yaml());
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until the newest spec was looked at and the object stands in this phase.
    pub async fn until_phase(&self, name: &str, phase: &str) -> Seen {
        self.until(name, &format!("be {phase}"), |seen| seen.is_current() && seen.phase() == phase).await
    }

    /// Waits until run number `seq` stands in this phase.
    pub async fn until_run(&self, name: &str, seq: i64, phase: &str) -> Seen {
        let should = format!("be {phase} in run {seq}");
        let is = |seen: &Seen| seen.number("status.run.seq") == seq && seen.text("status.run.phase") == phase;
        self.until(name, &should, |seen| seen.is_current() && is(seen)).await
    }

    /// Waits until all objects are as they should be, within a longer deadline: they are many.
    pub async fn until_all(&self, within: Duration, should: &str, is: impl Fn(&Seen) -> bool) -> Vec<Seen> {
        let began = Instant::now();
        loop {
            let all = self.all().await;
            let late: Vec<&Seen> = all.iter().filter(|seen| !is(seen)).collect();
            let Some(first) = late.first() else { return all };
            self.check_operators();
            let count = late.len();
            let yaml = || first.yaml();
            assert!(began.elapsed() < within, "{count} should {should}, after {within:?}:\n{}", yaml());
            tokio::time::sleep(POLL * 5).await;
        }
    }

    /// Waits until the ledger shows something.
    pub async fn until_ledger(&self, should: &str, is: impl Fn(&Ledger) -> bool) {
        let began = Instant::now();
        while !is(&self.ledger()) {
            self.check_operators();
            assert!(began.elapsed() < DEADLINE, "the ledger should {should}, after {DEADLINE:?}");
            tokio::time::sleep(POLL).await;
        }
    }

    /// Lets the operator do all that it was going to do: another trigger is fired and followed to its end. Then
    /// deletes that one. Its pipeline is not among [`Self::pipelines_of`] any other.
    pub async fn let_pass(&self) {
        self.markers.set(self.markers.get() + 1);
        let name = format!("marker-{}", self.markers.get());
        let marker = Trigger::new(&name).with("spec.fireOn", "Apply").without("spec.gitlab.accessTokenRef");
        self.apply(&marker).await;
        self.until_phase(&name, "Fired").await;
        // A follower's look, a back-off's first step: whatever was due with it.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        self.delete(&name).await;
    }

    // ---- The judge -------------------------------------------------------------------------------------------

    pub fn ledger(&self) -> Ledger {
        self.gitlab.ledger()
    }

    /// The pipelines that were fired for this object by trigger token, in order.
    pub fn pipelines_of(&self, name: &str) -> Vec<PipelineRecord> {
        let object = format!("{}/{name}", self.namespace);
        let of = |p: &PipelineRecord| p.params.get("pipekick").is_some_and(|ours| ours["object"] == *object);
        self.ledger().pipelines.into_iter().filter(of).collect()
    }

    /// How many pipelines were fired for this object by trigger token.
    pub fn fired(&self, name: &str) -> usize {
        self.pipelines_of(name).len()
    }
}

impl Drop for Story {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let ledger = self.ledger();
        println!("---- the last {CALLS} of {} pipelines in the ledger:", ledger.pipelines.len());
        for p in ledger.pipelines.iter().rev().take(CALLS).rev() {
            println!(
                "{} {} {} {} {:?} {:?}",
                p.at,
                p.id,
                p.project,
                p.git_ref,
                p.fire_id,
                p.params.get("pipekick")
            );
        }
        println!("---- the last {CALLS} of {} calls:", ledger.calls.len());
        for call in ledger.calls.iter().rev().take(CALLS).rev() {
            println!("{} {} {} → {:?} {:?}", call.at, call.method, call.path, call.status, call.fault);
        }
        for operator in self.operators.get_mut() {
            println!("---- log of an operator, {}", operator.log_tail(LOG_LINES));
        }
    }
}

fn gitops() -> PatchParams {
    PatchParams::apply("gitops").force()
}

fn seen(object: &DynamicObject) -> Seen {
    Seen(serde_json::to_value(object).unwrap())
}

fn refusal(answer: kube::Result<DynamicObject>) -> Option<String> {
    match answer {
        Ok(_) => None,
        Err(kube::Error::Api(status)) => Some(status.message.clone()),
        Err(error) => panic!("{error}"),
    }
}
