//! `cargo xtask measure --handover`: how long nobody fires when the operator that leads is told to stop, and when it is
//! killed; and how long it takes to stop with requests under way.
//!
//! Two operators agree on a Lease as the chart has it. The signal is sent, a trigger is created at once, and the time
//! counts from the signal to the arrival of its POST at the simulator, by the simulator's clock. A new operator then
//! stands by, and it begins again.

#![allow(clippy::disallowed_methods, reason = "measures; decides nothing that a user sees")]

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::SignedDuration;
use kube::Api;
use pipekick_sandbox::controlplane::{ControlPlane, Kubeconfig};
use tokio::time::sleep;

use crate::measure::{Bench, NAMESPACE, PATIENCE, Table, at_once, create, percentile, stage};
use crate::measure_operator::Operator;

/// Where `deploy/rbac.yaml` allows it.
const LEASE: (&str, &str) = ("pipekick-system", "pipekick");
/// The chart's value.
const DURATION: &str = "15s";
/// One that stands by has looked at the Lease, twice, within this time.
const STANDS_BY: Duration = Duration::from_secs(2);
/// Requests under way when the operator is told to stop.
const IN_FLIGHT: usize = 50;

/// How often each is measured.
struct Scale {
    stopped: usize,
    killed: usize,
    busy: usize,
}

pub async fn measure(quick: bool) -> anyhow::Result<()> {
    let scale = if quick {
        Scale { stopped: 3, killed: 1, busy: 1 }
    } else {
        Scale { stopped: 20, killed: 10, busy: 5 }
    };
    let (plane, kubeconfig, bench) = stage().await?;
    let mut table = Table::default();
    let mut pair = Pair::start(&plane, &kubeconfig, &bench).await?;

    eprintln!("the leader is told to stop, {} times", scale.stopped);
    let mut times = Vec::new();
    for number in 0..scale.stopped {
        times.push(pair.changes_hands("TERM", &format!("stopped-{number}")).await?);
    }
    row(&mut table, "SIGTERM → the next one's first POST", &times, 1.0);

    eprintln!("the leader is killed, {} times", scale.killed);
    let mut times = Vec::new();
    for number in 0..scale.killed {
        times.push(pair.changes_hands("KILL", &format!("killed-{number}")).await?);
    }
    row(&mut table, &format!("SIGKILL → the same (Lease of {DURATION})"), &times, 17.0);
    pair.leader.stop().await?;
    pair.other.stop().await?;

    for (what, answers_after, recorded) in
        [("3 s", SignedDuration::from_secs(3), true), ("a minute", SignedDuration::from_secs(60), false)]
    {
        eprintln!("told to stop with {IN_FLIGHT} POSTs under way that GitLab answers after {what}");
        let mut times = Vec::new();
        for number in 0..scale.busy {
            let prefix = format!("busy-{}-{number}", answers_after.as_secs());
            times.push(stops_busy(&plane, &kubeconfig, &bench, &prefix, answers_after, recorded).await?);
        }
        let name = format!("SIGTERM → end, with {IN_FLIGHT} POSTs answered after {what}");
        row(&mut table, &name, &times, 10.0);
    }
    let duplicates = bench.gitlab.ledger().duplicate_fire_ids().len();
    table.row("fire ids with two pipelines", duplicates.to_string(), "0", duplicates == 0);
    plane.stop().await;
    table.print();
    Ok(())
}

fn row(table: &mut Table, what: &str, times: &[f64], most: f64) {
    let (middle, worst) = (percentile(times, 50), percentile(times, 100));
    let found = format!("{middle:.2} s; of {} the longest {worst:.2} s", times.len());
    table.row(what, found, &format!("≤ {most} s"), worst <= most);
}

/// One operator that leads and one that stands by.
struct Pair<'a> {
    plane: &'a ControlPlane,
    kubeconfig: &'a Kubeconfig,
    bench: &'a Bench,
    leader: Operator,
    other: Operator,
    started: usize,
}

impl<'a> Pair<'a> {
    async fn start(
        plane: &'a ControlPlane,
        kubeconfig: &'a Kubeconfig,
        bench: &'a Bench,
    ) -> anyhow::Result<Self> {
        let leader = stands_by(plane, kubeconfig, bench, 0).await?;
        leads(bench, &leader).await?;
        let other = stands_by(plane, kubeconfig, bench, 1).await?;
        Ok(Self { plane, kubeconfig, bench, leader, other, started: 2 })
    }

    /// Seconds from the signal to the POST of a trigger that was created then.
    async fn changes_hands(&mut self, signal: &str, name: &str) -> anyhow::Result<f64> {
        sleep(STANDS_BY).await;
        let from = self.bench.gitlab.now();
        self.leader.signal(signal).await?;
        create(self.bench.clone(), name.to_owned()).await?;
        let object = format!("{NAMESPACE}/{name}");
        let began = Instant::now();
        let arrived = loop {
            if let Some(at) = self.bench.arrivals().get(&object) {
                break *at;
            }
            ensure!(began.elapsed() < PATIENCE, "{object} was not fired");
            sleep(Duration::from_millis(10)).await;
        };
        leads(self.bench, &self.other).await?;
        self.leader.ended().await?;
        let next = stands_by(self.plane, self.kubeconfig, self.bench, self.started).await?;
        self.started += 1;
        self.leader = std::mem::replace(&mut self.other, next);
        Ok(arrived.duration_since(from).as_secs_f64())
    }
}

async fn stands_by(
    plane: &ControlPlane,
    kubeconfig: &Kubeconfig,
    bench: &Bench,
    number: usize,
) -> anyhow::Result<Operator> {
    let (namespace, name) = LEASE;
    let flags = ["--leader-elect", "--lease-namespace", namespace, "--lease-name", name];
    let flags = [&flags[..], &["--lease-duration", DURATION]].concat();
    Operator::start_as(&format!("op{number}"), plane, kubeconfig, bench.gitlab.url(), &flags).await
}

/// Waits until this one holds the Lease.
async fn leads(bench: &Bench, operator: &Operator) -> anyhow::Result<()> {
    let (namespace, name) = LEASE;
    let leases: Api<Lease> = Api::namespaced(bench.cluster.clone(), namespace);
    let began = Instant::now();
    loop {
        let holder = leases.get_opt(name).await?.and_then(|lease| lease.spec?.holder_identity);
        if holder.as_deref().is_some_and(|holder| holder.starts_with(&format!("{}-", operator.name()))) {
            return Ok(());
        }
        ensure!(began.elapsed() < PATIENCE, "{} does not lead: {holder:?}", operator.name());
        sleep(Duration::from_millis(50)).await;
    }
}

/// Seconds from SIGTERM to the end of a process with POSTs under way.
async fn stops_busy(
    plane: &ControlPlane,
    kubeconfig: &Kubeconfig,
    bench: &Bench,
    prefix: &str,
    answers_after: SignedDuration,
    recorded: bool,
) -> anyhow::Result<f64> {
    let mut operator = Operator::start_as(prefix, plane, kubeconfig, bench.gitlab.url(), &[]).await?;
    bench.gitlab.latency("trigger", answers_after)?;
    let before = bench.gitlab.read_ledger(|ledger| ledger.calls_to("trigger").len());
    let names: Vec<String> = (0..IN_FLIGHT).map(|number| format!("{prefix}-{number}")).collect();
    at_once(bench, names.clone(), create).await?;
    let began = Instant::now();
    while bench.gitlab.read_ledger(|ledger| ledger.calls_to("trigger").len()) < before + IN_FLIGHT {
        ensure!(began.elapsed() < PATIENCE, "not all POSTs were sent");
        sleep(Duration::from_millis(10)).await;
    }
    let from = Instant::now();
    operator.signal("TERM").await?;
    operator.ended().await?;
    let took = from.elapsed().as_secs_f64();
    bench.gitlab.latency("trigger", SignedDuration::ZERO)?;
    let wanted = if recorded { "Fired" } else { "Firing" };
    for name in &names {
        let object = bench.triggers(NAMESPACE).get(name).await?;
        let phase = object.data["status"]["phase"].as_str().context("a phase")?;
        ensure!(phase == wanted, "{name} is {phase}");
    }
    clear(bench, &names).await?;
    Ok(took)
}

/// What nobody can look up any more would be looked at by the next operator.
async fn clear(bench: &Bench, names: &[String]) -> anyhow::Result<()> {
    for name in names {
        bench.triggers(NAMESPACE).delete(name, &kube::api::DeleteParams::default()).await?;
    }
    Ok(())
}
