//! `cargo xtask measure`: how quick, how small and how quiet the operator is.
//!
//! The binary that the image carries runs as a process of its own against a real API server (with the rights users give it)
//! and the GitLab simulator, which runs in here. Times are the simulator's clock for both ends: *created* is
//! when the create call returned to us, *POST* is when the request arrived at the simulator. The floor is the
//! least that any operator must do for a run, measured in the same way just before; see `measure_floor.rs`.

#![allow(clippy::disallowed_methods, reason = "measures; decides nothing that a user sees")]

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, DynamicObject, ListParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client, Config};
use pipekick_sandbox::controlplane::{ControlPlane, Kubeconfig};
use pipekick_sandbox::gitlab::{GitlabSim, Handle, Seed};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::ci::target_dir;
use crate::ci_steps::{cargo, run};
use crate::controlplane;
use crate::measure_floor::{count_writes_before_answer, floor, run_by_hand};
use crate::measure_operator::Operator;
use crate::static_binary::build_for_people;
use crate::{measure_handover, measure_schedules};

pub const NAMESPACE: &str = "measure";
const FLOOR_NAMESPACE: &str = "measure-floor";
pub const SECRET: &str = "gitlab";
pub const TRIGGER_TOKEN: &str = "glptt-measure";
/// Followed by nobody: such a run settles when it is fired.
pub const FIRED: &str = "load/fired";
const FOLLOWED: &str = "load/followed";
/// Followed too, and not ended before a crowd is fired.
const LONG: &str = "load/long";
/// Between two triggers that are created one after the other: long enough that the one before is settled.
const APART: Duration = Duration::from_millis(100);
/// Creates under way at the same time in the burst.
const CREATORS: usize = 32;
pub const PATIENCE: Duration = Duration::from_secs(180);

const SEED: &str = "
users: [{username: bot}]
projects:
- path: load/fired
  members: {bot: maintainer}
  triggers: [{token: glptt-measure, description: measure, owner: bot}]
- path: load/followed
  members: {bot: maintainer}
  triggers: [{token: glptt-measure-followed, description: measure, owner: bot}]
  script: [{jobs: [{name: build, stage: build, lasts: 1s}]}]
- path: load/long
  members: {bot: maintainer}
  triggers: [{token: glptt-measure-long, description: measure, owner: bot}]
  script: [{jobs: [{name: build, stage: build, lasts: 60s}]}]
access_tokens:
- {token: glpat-measure, name: measure, user: bot, scopes: [read_api]}
";

/// How much of everything.
struct Scale {
    one_by_one: usize,
    followed: usize,
    burst: usize,
    /// Settled triggers at the end, where memory is measured.
    settled: usize,
    idle: Duration,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    Triggers,
    Schedules,
    Handover,
}

/// Measures, and prints a table. A development build of this program makes a release build of itself and of the
/// operator first: the simulator and the floor must not be slower than what they are compared with.
pub fn measure(quick: bool, what: What) -> anyhow::Result<()> {
    if cfg!(debug_assertions) {
        run(cargo(["build", "--release", "--locked", "--package", "xtask"]))?;
        build_for_people()?;
        let program = target_dir().join("release/xtask");
        let mut again = std::process::Command::new(program);
        again.arg("measure").args(quick.then_some("--quick")).args(match what {
            What::Triggers => None,
            What::Schedules => Some("--schedules"),
            What::Handover => Some("--handover"),
        });
        ensure!(again.status()?.success(), "the release build of xtask could not measure");
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match what {
        What::Triggers => {}
        What::Schedules => return runtime.block_on(measure_schedules::measure(quick)),
        What::Handover => return runtime.block_on(measure_handover::measure(quick)),
    }
    let scale = if quick {
        Scale { one_by_one: 50, followed: 10, burst: 200, settled: 300, idle: Duration::from_secs(6) }
    } else {
        Scale { one_by_one: 500, followed: 100, burst: 2000, settled: 3000, idle: Duration::from_secs(60) }
    };
    runtime.block_on(all(&scale))
}

/// What everything here stands on.
#[derive(Clone)]
pub struct Bench {
    pub cluster: Client,
    /// To the simulator.
    pub post: Client,
    pub gitlab: Arc<Handle>,
}

impl Bench {
    pub fn triggers(&self, namespace: &str) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk("pipekick.dev", "v1alpha1", "PipelineTrigger");
        Api::namespaced_with(self.cluster.clone(), namespace, &ApiResource::from_gvk(&kind))
    }

    /// Creates a trigger, and gives back when the call returned.
    async fn create(
        &self,
        namespace: &str,
        name: &str,
        spec: &Value,
    ) -> anyhow::Result<(DynamicObject, Timestamp)> {
        let object = serde_json::from_value(json!({
            "apiVersion": "pipekick.dev/v1alpha1", "kind": "PipelineTrigger",
            "metadata": {"name": name, "namespace": namespace}, "spec": spec,
        }))?;
        let object = self.triggers(namespace).create(&PostParams::default(), &object).await?;
        Ok((object, self.gitlab.now()))
    }

    /// When the POST for each object arrived.
    pub fn arrivals(&self) -> HashMap<String, Timestamp> {
        let ledger = self.gitlab.ledger();
        let mut arrivals = HashMap::new();
        for pipeline in &ledger.pipelines {
            let object = pipeline.params.get("pipekick").and_then(|ours| ours["object"].as_str());
            let call = usize::try_from(pipeline.call).ok().and_then(|number| ledger.calls.get(number - 1));
            if let (Some(object), Some(call)) = (object, call) {
                arrivals.insert(object.to_owned(), call.at);
            }
        }
        arrivals
    }

    /// The API server's own counters of requests.
    pub async fn counters(&self) -> anyhow::Result<Counters> {
        let request = kube::core::Request::new("/metrics").list(&ListParams::default())?;
        Ok(Counters(self.cluster.request_text(request).await?))
    }

    async fn requests(&self, labels: &[&str]) -> anyhow::Result<f64> {
        Ok(self.counters().await?.sum(labels))
    }

    async fn status_writes(&self) -> anyhow::Result<f64> {
        self.requests(&["resource=\"pipelinetriggers\"", "subresource=\"status\"", "verb=\"PUT\""]).await
    }

    async fn events(&self) -> anyhow::Result<f64> {
        self.requests(&["group=\"events.k8s.io\"", "resource=\"events\"", "verb=\"POST\""]).await
    }

    /// Waits until every one of `count` triggers stands in a phase that `wanted` knows.
    pub async fn settled(&self, count: usize, wanted: &[&str]) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            let objects = self.triggers(NAMESPACE).list(&ListParams::default()).await?.items;
            let phase = |object: &DynamicObject| object.data["status"]["phase"].as_str().map(str::to_owned);
            let settled =
                objects.iter().filter(|o| phase(o).is_some_and(|p| wanted.contains(&p.as_str()))).count();
            if settled == count {
                return Ok(());
            }
            ensure!(began.elapsed() < PATIENCE, "only {settled} of {count} triggers are settled");
            sleep(Duration::from_secs(1)).await;
        }
    }
}

/// A control plane, the operator's kubeconfig, GitLab, and what triggers need.
pub async fn stage() -> anyhow::Result<(ControlPlane, Kubeconfig, Bench)> {
    let (plane, kubeconfig) = controlplane::start().await?;
    let gitlab = Arc::new(GitlabSim::start(Seed::from_yaml(SEED)?)?);
    let post = Client::try_from(Config::new(gitlab.url().parse()?))?;
    let bench = Bench { cluster: plane.admin().client().await?, post, gitlab };
    for namespace in [NAMESPACE, FLOOR_NAMESPACE] {
        plane.apply(&furniture(namespace, bench.gitlab.url())).await?;
    }
    Ok((plane, kubeconfig, bench))
}

/// What the API server counted at one moment.
pub struct Counters(String);

impl Counters {
    /// Requests, summed over all lines that have these labels.
    pub fn sum(&self, labels: &[&str]) -> f64 {
        let lines = self.0.lines().filter(|line| line.starts_with("apiserver_request_total{"));
        let fitting = lines.filter(|line| labels.iter().all(|label| line.contains(label)));
        fitting.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }
}

async fn all(scale: &Scale) -> anyhow::Result<()> {
    let (plane, kubeconfig, bench) = stage().await?;
    let mut table = Table::default();

    eprintln!("floor: {} triggers one after the other, without the operator", scale.one_by_one);
    let watch = tokio::spawn(floor(bench.clone(), FLOOR_NAMESPACE));
    let floor = one_by_one(&bench, FLOOR_NAMESPACE, scale.one_by_one).await;
    if watch.is_finished() {
        watch.await??;
    } else {
        watch.abort();
    }
    let floor = floor?;
    let ceiling = ceiling(&bench, scale.burst / 4).await?;
    floor_ended(&bench).await?;

    let mut operator = Operator::start(&plane, &kubeconfig, bench.gitlab.url()).await?;
    eprintln!("idle: {} s with nothing to do", scale.idle.as_secs());
    sleep(scale.idle).await;
    let idle = operator.resident();

    eprintln!("latency: {} triggers one after the other", scale.one_by_one);
    let times = one_by_one(&bench, NAMESPACE, scale.one_by_one).await?;
    let (p50, p99) = (percentile(&times, 50), percentile(&times, 99));
    let (floor50, floor99) = (percentile(&floor, 50), percentile(&floor, 99));
    table.row("created → POST, p50", format!("{p50:.1} ms"), "≤ 15 ms", p50 <= 15.0);
    table.row(
        "the same, against the floor",
        format!("{:.2} ×", p50 / floor50),
        "≤ 1.5 ×",
        p50 <= 1.5 * floor50,
    );
    table.note("created → POST, p99", format!("{p99:.1} ms"));
    table.note("floor, p50 and p99", format!("{floor50:.1} ms, {floor99:.1} ms"));
    match idle {
        Some(mib) => table.row("resident, idle", format!("{mib:.1} MiB"), "≤ 12 MiB", mib <= 12.0),
        None => table.note("resident", "not measured: this system has no /proc".into()),
    }

    bench.settled(scale.one_by_one, &["Fired"]).await?;
    writes(&bench, scale, &mut table).await?;
    burst(&bench, scale, &operator, &mut table).await?;
    table.note("the same requests by 32 clients, without an operator", format!("{ceiling:.0}/s"));
    let mut made = scale.one_by_one + scale.followed + scale.burst;
    let rest: Vec<String> = (made..scale.settled).map(|n| format!("rest-{n}")).collect();
    made += rest.len();
    at_once(&bench, rest, create).await?;
    bench.settled(made, &["Fired", "Succeeded"]).await?;
    sleep(Duration::from_secs(10)).await;
    if let (Some(idle), Some(full)) = (idle, operator.resident()) {
        let per_1000 = (full - idle) / count(made) * 1000.0;
        table.row(
            "resident, for each 1,000 settled",
            format!("{per_1000:.2} MiB"),
            "≤ 3 MiB",
            per_1000 <= 3.0,
        );
        table.note(&format!("resident with {made} settled"), format!("{full:.1} MiB"));
    }
    operator.stop().await?;
    let mut operator = Operator::start(&plane, &kubeconfig, bench.gitlab.url()).await?;
    sleep(Duration::from_secs(10)).await;
    if let (Some(idle), Some(again)) = (idle, operator.resident()) {
        let per_1000 = (again - idle) / count(made) * 1000.0;
        table.note("for each 1,000 settled, after a restart", format!("{per_1000:.2} MiB"));
    }
    let duplicates = bench.gitlab.ledger().duplicate_fire_ids().len();
    table.row("fire ids with two pipelines", duplicates.to_string(), "0", duplicates == 0);
    operator.stop().await?;
    plane.stop().await;
    table.print();
    Ok(())
}

/// Namespace and Secret.
fn furniture(namespace: &str, url: &str) -> String {
    format!(
        "apiVersion: v1
kind: Namespace
metadata: {{name: {namespace}}}
---
apiVersion: v1
kind: Secret
metadata:
  name: {SECRET}
  namespace: {namespace}
  labels: {{pipekick.dev/credential: \"true\"}}
  annotations: {{pipekick.dev/gitlab-url: \"{url}\"}}
stringData:
  trigger: {TRIGGER_TOKEN}
  trigger-followed: {TRIGGER_TOKEN}-followed
  trigger-long: {TRIGGER_TOKEN}-long
  access: glpat-measure
"
    )
}

/// Spec of a run that is over for us once it is fired.
pub fn fired_spec() -> Value {
    json!({
        "gitlab": {"project": FIRED, "triggerTokenRef": {"name": SECRET, "key": "trigger"}},
        "ref": "main", "variables": [{"name": "DEPLOY_ENV", "value": "production"}],
    })
}

/// Spec of a run that is followed for a minute.
pub fn long_spec() -> Value {
    followed(LONG, "trigger-long")
}

fn followed(project: &str, trigger: &str) -> Value {
    json!({
        "gitlab": {
            "project": project,
            "triggerTokenRef": {"name": SECRET, "key": trigger},
            "accessTokenRef": {"name": SECRET, "key": "access"},
        },
        "ref": "main", "variables": [{"name": "DEPLOY_ENV", "value": "production"}],
    })
}

/// Milliseconds from the return of each create call to the arrival of its POST.
async fn one_by_one(bench: &Bench, namespace: &str, many: usize) -> anyhow::Result<Vec<f64>> {
    let mut created = Vec::with_capacity(many);
    for n in 0..many {
        let name = format!("one-{n}");
        let (_, at) = bench.create(namespace, &name, &fired_spec()).await?;
        created.push((format!("{namespace}/{name}"), at));
        sleep(APART).await;
    }
    let began = Instant::now();
    loop {
        let arrivals = bench.arrivals();
        let times: Vec<f64> = created
            .iter()
            .filter_map(|(name, at)| Some(arrivals.get(name)?.duration_since(*at).as_secs_f64() * 1000.0))
            .collect();
        if times.len() == many {
            return Ok(times);
        }
        ensure!(began.elapsed() < PATIENCE, "only {} of {many} triggers were fired", times.len());
        sleep(Duration::from_millis(500)).await;
    }
}

/// Clears away what the floor was measured with, before the operator sees it.
async fn floor_ended(bench: &Bench) -> anyhow::Result<()> {
    let floor = bench.triggers(FLOOR_NAMESPACE);
    floor.delete_collection(&DeleteParams::default(), &ListParams::default()).await?;
    while !floor.list(&ListParams::default()).await?.items.is_empty() {
        sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

/// Status writes and Events of runs that are followed to their end.
async fn writes(bench: &Bench, scale: &Scale, table: &mut Table) -> anyhow::Result<()> {
    eprintln!("writes: {} runs followed to their end", scale.followed);
    let spec = followed(FOLLOWED, "trigger-followed");
    let unanswered = Arc::new(AtomicUsize::new(0));
    let watch = count_writes_before_answer(bench.triggers(NAMESPACE), "followed-", Arc::clone(&unanswered));
    let watch = tokio::spawn(watch);
    sleep(Duration::from_secs(1)).await;
    let (writes, events) = (bench.status_writes().await?, bench.events().await?);
    for n in 0..scale.followed {
        bench.create(NAMESPACE, &format!("followed-{n}"), &spec).await?;
    }
    bench.settled(scale.one_by_one + scale.followed, &["Fired", "Succeeded"]).await?;
    sleep(Duration::from_secs(2)).await;
    let runs = count(scale.followed);
    let writes = (bench.status_writes().await? - writes) / runs;
    let events = (bench.events().await? - events) / runs;
    ensure!(!watch.is_finished(), "the watch that counts writes ended");
    watch.abort();
    let before = unanswered.load(Ordering::Relaxed);
    let before = count(before) / runs;
    table.row("status writes of a followed run", format!("{writes:.2}"), "≤ 3", writes <= 3.0);
    table.row("of them before GitLab's answer (the intent)", format!("{before:.2}"), "1", before <= 1.0);
    table.row("Events of a followed run", format!("{events:.2}"), "≤ 2", events <= 2.0);
    Ok(())
}

/// What is done for each name of a burst, [`CREATORS`] of them at a time.
pub async fn at_once<F>(bench: &Bench, names: Vec<String>, work: fn(Bench, String) -> F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let mut creators = JoinSet::new();
    let names = Arc::new(std::sync::Mutex::new(names));
    for _ in 0..CREATORS {
        let bench = bench.clone();
        let names = Arc::clone(&names);
        creators.spawn(async move {
            let next = || names.lock().expect("no panic while held").pop();
            while let Some(name) = next() {
                work(bench.clone(), name).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = creators.join_next().await {
        ended??;
    }
    Ok(())
}

/// Creates a trigger that nobody follows.
pub async fn create(bench: Bench, name: String) -> anyhow::Result<()> {
    bench.create(NAMESPACE, &name, &fired_spec()).await?;
    Ok(())
}

/// What the API server, etcd and the simulator manage on this machine when nobody decides anything in between.
async fn ceiling(bench: &Bench, many: usize) -> anyhow::Result<f64> {
    eprintln!("ceiling: the requests of {many} runs at once, without the operator");
    let names = (0..many).map(|n| format!("by-hand-{n}")).collect();
    let began = Instant::now();
    at_once(bench, names, |bench, name| async move {
        let (object, _) = bench.create(FLOOR_NAMESPACE, &name, &fired_spec()).await?;
        run_by_hand(&bench, FLOOR_NAMESPACE, object).await
    })
    .await?;
    Ok(count(many) / began.elapsed().as_secs_f64())
}

/// As many triggers as can be created at once.
async fn burst(bench: &Bench, scale: &Scale, operator: &Operator, table: &mut Table) -> anyhow::Result<()> {
    eprintln!("burst: {} triggers at once", scale.burst);
    let names: Vec<String> = (0..scale.burst).map(|n| format!("burst-{n}")).collect();
    let cpu = operator.cpu_seconds();
    let first_create = bench.gitlab.now();
    at_once(bench, names, create).await?;
    let last_create = bench.gitlab.now();
    let prefix = format!("{NAMESPACE}/burst-");
    let began = Instant::now();
    let mut posts: Vec<Timestamp> = loop {
        let arrivals = bench.arrivals();
        let posts: Vec<Timestamp> =
            arrivals.into_iter().filter(|(name, _)| name.starts_with(&prefix)).map(|(_, at)| at).collect();
        if posts.len() == scale.burst {
            break posts;
        }
        ensure!(began.elapsed() < PATIENCE, "only {} of {} were fired", posts.len(), scale.burst);
        sleep(Duration::from_millis(500)).await;
    };
    posts.sort_unstable();
    let (Some(first), Some(last)) = (posts.first(), posts.last()) else { bail!("nothing was fired") };
    let rate = |from: Timestamp, to: Timestamp| count(scale.burst) / to.duration_since(from).as_secs_f64();
    let fired = rate(first_create, *last);
    table.row("burst, first create to last POST", format!("{fired:.0}/s"), "≥ 150/s", fired >= 150.0);
    let posted = rate(*first, *last);
    table.row("burst, first to last POST", format!("{posted:.0}/s"), "≥ 150/s", posted >= 150.0);
    table.note("burst, creates alone", format!("{:.0}/s", rate(first_create, last_create)));
    bench.settled(scale.one_by_one + scale.followed + scale.burst, &["Fired", "Succeeded"]).await?;
    if let (Some(before), Some(after)) = (cpu, operator.cpu_seconds()) {
        let each = (after - before) / count(scale.burst) * 1000.0;
        table.note("burst, the operator's CPU time for a run", format!("{each:.1} ms"));
    }
    Ok(())
}

pub fn percentile(times: &[f64], percent: usize) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(at).copied().unwrap_or(f64::NAN)
}

pub fn count(many: usize) -> f64 {
    f64::from(u32::try_from(many).unwrap_or(u32::MAX))
}

/// What was found.
#[derive(Default)]
pub struct Table(Vec<[String; 4]>);

impl Table {
    pub fn row(&mut self, what: &str, found: String, goal: &str, met: bool) {
        let met = if met { "yes" } else { "**no**" };
        eprintln!("{what}: {found} (goal: {goal})");
        self.0.push([what.into(), found, goal.into(), met.into()]);
    }

    /// A figure without a goal.
    pub fn note(&mut self, what: &str, found: String) {
        eprintln!("{what}: {found}");
        self.0.push([what.into(), found, String::new(), String::new()]);
    }

    pub fn print(&self) {
        println!("| figure | measured | goal | met |\n| --- | --- | --- | --- |");
        for [what, found, goal, met] in &self.0 {
            println!("| {what} | {found} | {goal} | {met} |");
        }
    }
}
