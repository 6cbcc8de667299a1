//! `cargo xtask measure --schedules`: how soon after its instant a tick is fired, one alone and many together, and what a
//! schedule costs in memory and writes.
//!
//! *Lateness* is from when a tick should fire (`status.nextScheduleTime` of before, its jitter included) to the arrival
//! of its POST at the simulator, whose clock is this machine's. Cron names full minutes: what is spread evenly is spread
//! by a jitter of a minute. Two crowds tick together: runs that are over once they are fired, as the spread ones are, and
//! runs that are followed, whose outcomes can wait for the POSTs of others.

#![allow(clippy::disallowed_methods, reason = "measures; decides nothing that a user sees")]

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use k8s_openapi::jiff::tz::TimeZone;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::Api;
use kube::api::{DeleteParams, DynamicObject, ListParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use pipekick_sandbox::gitlab::PipelineRecord;
use serde_json::json;
use tokio::time::sleep;

use crate::measure::{
    Bench, NAMESPACE, PATIENCE, Table, at_once, count, fired_spec, long_spec, percentile, stage,
};
use crate::measure_operator::Operator;

/// How much of everything.
struct Scale {
    /// Schedules on one instant.
    together: usize,
    /// Schedules spread over `minutes`, evenly.
    spread: usize,
    minutes: usize,
    settle: Duration,
}

/// The kinds, as the names of their schedules begin.
const TOGETHER: &str = "together";
const FOLLOWED: &str = "followed";
const SPREAD: &str = "spread";
/// From the last create to the first tick, at least.
const LEAD: SignedDuration = SignedDuration::from_secs(60);
/// A quarter of what was measured; this machine may be slower.
const CREATES_A_SECOND: usize = 50;

pub async fn measure(quick: bool) -> anyhow::Result<()> {
    let scale = if quick {
        Scale { together: 100, spread: 200, minutes: 2, settle: Duration::from_secs(6) }
    } else {
        Scale { together: 1_000, spread: 10_000, minutes: 10, settle: Duration::from_secs(60) }
    };
    let (plane, kubeconfig, bench) = stage().await?;
    let mut table = Table::default();

    let mut operator = Operator::start(&plane, &kubeconfig, bench.gitlab.url()).await?;
    sleep(scale.settle).await;
    let idle = operator.resident();
    table.note("resident, idle", idle.map_or("not measured".into(), |mib| format!("{mib:.1} MiB")));
    for kind in [TOGETHER, FOLLOWED] {
        together(&bench, &scale, kind, &operator, idle, &mut table).await?;
        operator.stop().await?;
        clear(&bench).await?;
        operator = Operator::start(&plane, &kubeconfig, bench.gitlab.url()).await?;
    }
    spread(&bench, &scale, &mut table).await?;
    if let (Some(idle), Some(full)) = (idle, operator.resident()) {
        let name = format!("resident with {} schedules and as many children", scale.spread);
        table.note(&name, format!("{full:.1} MiB ({idle:.1} MiB idle)"));
    }
    operator.stop().await?;
    let duplicates = bench.gitlab.ledger().duplicate_fire_ids().len();
    table.row("fire ids with two pipelines", duplicates.to_string(), "0", duplicates == 0);
    plane.stop().await;
    table.print();
    Ok(())
}

fn schedules(bench: &Bench) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("pipekick.dev", "v1alpha1", "PipelineSchedule");
    Api::namespaced_with(bench.cluster.clone(), NAMESPACE, &ApiResource::from_gvk(&kind))
}

/// A name tells the minute and the hour at which its schedule ticks once a day, and whether it is spread over that
/// minute: `together-30-2-17`.
async fn create(bench: Bench, name: String) -> anyhow::Result<()> {
    let mut parts = name.split('-');
    let kind = parts.next();
    let jitter = if kind == Some(SPREAD) { "59s" } else { "0s" };
    let spec = if kind == Some(FOLLOWED) { long_spec() } else { fired_spec() };
    let minute = parts.next().context("a minute")?;
    let hour = parts.next().context("an hour")?;
    let object = serde_json::from_value(json!({
        "apiVersion": "pipekick.dev/v1alpha1", "kind": "PipelineSchedule",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "schedule": format!("{minute} {hour} * * *"),
            "jitter": jitter,
            "triggerTemplate": {"spec": spec},
        },
    }))?;
    schedules(&bench).create(&PostParams::default(), &object).await?;
    Ok(())
}

/// `kind-MINUTE-HOUR-NUMBER` for an instant.
fn name(kind: &str, tick: Timestamp, number: usize) -> String {
    let civil = tick.to_zoned(TimeZone::UTC);
    format!("{kind}-{}-{}-{number}", civil.minute(), civil.hour())
}

/// The first full minute at least this much later.
fn full_minute(after: Timestamp) -> anyhow::Result<Timestamp> {
    Ok(Timestamp::from_second((after.as_second() / 60 + 1) * 60)?)
}

/// When each schedule fires next, by its own status, once all of them were looked at.
async fn due(bench: &Bench, wanted: usize) -> anyhow::Result<HashMap<String, Timestamp>> {
    let began = Instant::now();
    loop {
        let listed = schedules(bench).list(&ListParams::default()).await?;
        let next = listed.items.iter().filter_map(|object| {
            let next = object.data["status"]["nextScheduleTime"].as_str()?.parse().ok()?;
            Some((object.metadata.name.clone()?, next))
        });
        let next: HashMap<_, _> = next.collect();
        if next.len() == wanted {
            return Ok(next);
        }
        ensure!(began.elapsed() < PATIENCE, "only {} of {wanted} schedules were looked at", next.len());
        sleep(Duration::from_secs(1)).await;
    }
}

/// Waits for the POST of each of these schedules; answers how late each was, in milliseconds.
async fn lateness(
    bench: &Bench,
    kind: &str,
    due: &HashMap<String, Timestamp>,
    until: Timestamp,
) -> anyhow::Result<Vec<f64>> {
    let (prefix, wanted) = (format!("{NAMESPACE}/"), due.len());
    let pattern = format!("\"{NAMESPACE}/{kind}-");
    let of = |object: &serde_json::Value| object.to_string().starts_with(&pattern);
    while bench.gitlab.read_ledger(|ledger| {
        let ours = |pipeline: &&PipelineRecord| {
            pipeline.params.get("pipekick").is_some_and(|ours| of(&ours["object"]))
        };
        ledger.pipelines.iter().filter(ours).count() < wanted
    }) {
        let over = bench.gitlab.now().duration_since(until).as_secs() > 180;
        ensure!(!over, "not every one of {wanted} ticks was fired");
        sleep(Duration::from_millis(100)).await;
    }
    let ledger = bench.gitlab.ledger();
    let late = ledger.pipelines.iter().filter_map(|pipeline| {
        let child = pipeline.params.get("pipekick")?["object"].as_str()?.strip_prefix(&prefix)?;
        let due = due.get(child.rsplit_once('-')?.0)?;
        let call = ledger.calls.get(usize::try_from(pipeline.call).ok()?.checked_sub(1)?)?;
        Some(call.at.duration_since(*due).as_secs_f64() * 1000.0)
    });
    let late: Vec<f64> = late.collect();
    ensure!(late.len() == wanted, "{} pipelines for {wanted} ticks", late.len());
    Ok(late)
}

/// What was asked of the API server until now: creates of children, writes of schedules' and of triggers' status, Events.
async fn asked(bench: &Bench) -> anyhow::Result<[f64; 4]> {
    let counters = bench.counters().await?;
    let of = |resource: &str, more: &str| counters.sum(&[&format!("resource=\"{resource}\""), more]);
    Ok([
        of("pipelinetriggers", "verb=\"POST\""),
        of("pipelineschedules", "subresource=\"status\""),
        of("pipelinetriggers", "subresource=\"status\""),
        of("events", "verb=\"POST\""),
    ])
}

async fn together(
    bench: &Bench,
    scale: &Scale,
    kind: &str,
    operator: &Operator,
    idle: Option<f64>,
    table: &mut Table,
) -> anyhow::Result<()> {
    let many = scale.together;
    let lead = LEAD + SignedDuration::from_secs(i64::try_from(many / CREATES_A_SECOND)?);
    let tick = full_minute(bench.gitlab.now() + lead)?;
    eprintln!("{kind}: {many} schedules, which tick at {tick}");
    let (what, end) = if kind == FOLLOWED { ("followed", "Succeeded") } else { ("not followed", "Fired") };
    at_once(bench, (0..many).map(|n| name(kind, tick, n)).collect(), create).await?;
    ensure!(bench.gitlab.now() < tick, "the schedules were created too slowly for their instant");
    let due = due(bench, many).await?;
    // Until just before the tick, which is when only the schedules themselves are kept.
    let rest: Duration = tick.duration_since(bench.gitlab.now()).try_into().unwrap_or_default();
    sleep(rest.saturating_sub(Duration::from_secs(3))).await;
    if let (Some(idle), Some(full)) = (idle, operator.resident()) {
        let per_1000 = (full - idle) / count(many) * 1000.0;
        table.row(
            &format!("resident, for each 1,000 schedules ({what})"),
            format!("{per_1000:.2} MiB"),
            "≤ 3 MiB",
            per_1000 <= 3.0,
        );
    }
    let before = asked(bench).await?;
    let late = lateness(bench, kind, &due, tick).await?;
    let at_last_post = asked(bench).await?;
    let last = late.iter().copied().fold(0.0, f64::max) / 1000.0;
    table.row(
        &format!("{many} schedules on one instant ({what}), instant → last POST"),
        format!("{last:.2} s"),
        "≤ 6 s",
        last <= 6.0,
    );
    table.note("the same, p50", format!("{:.2} s", percentile(&late, 50) / 1000.0));
    let each = |after: [f64; 4]| {
        let [child, schedule, trigger, event]: [f64; 4] =
            std::array::from_fn(|n| (after[n] - before[n]) / count(many));
        format!("{child:.2} creates, {schedule:.2} + {trigger:.2} status writes, {event:.2} Events")
    };
    table
        .note("for each tick, when the last POST has been sent (schedules' + triggers')", each(at_last_post));
    bench.settled(many, &[end]).await?;
    sleep(scale.settle).await;
    table.note("for each tick, a while later", each(asked(bench).await?));
    if let Some(full) = operator.resident() {
        table.note(
            &format!("resident with {many} schedules and as many children ({what})"),
            format!("{full:.1} MiB"),
        );
    }
    Ok(())
}

async fn spread(bench: &Bench, scale: &Scale, table: &mut Table) -> anyhow::Result<()> {
    let many = scale.spread;
    let lead = LEAD + SignedDuration::from_secs(i64::try_from(many / CREATES_A_SECOND)?);
    let first = full_minute(bench.gitlab.now() + lead)?;
    eprintln!("spread: {many} schedules over {} minutes from {first}", scale.minutes);
    let tick = |n: usize| -> anyhow::Result<Timestamp> {
        Ok(first + SignedDuration::from_mins(i64::try_from(n % scale.minutes)?))
    };
    let mut names = Vec::with_capacity(many);
    for n in 0..many {
        names.push(name(SPREAD, tick(n)?, n));
    }
    at_once(bench, names, create).await?;
    ensure!(bench.gitlab.now() < first, "the schedules were created too slowly for their instants");
    let due = due(bench, many).await?;
    let late =
        lateness(bench, SPREAD, &due, first + SignedDuration::from_mins(i64::try_from(scale.minutes)?))
            .await?;
    let p99 = percentile(&late, 99);
    let what = format!("{many} schedules over {} minutes, lateness", scale.minutes);
    table.row(&format!("{what} p99"), format!("{p99:.0} ms"), "≤ 250 ms", p99 <= 250.0);
    table.note(&format!("{what} p50"), format!("{:.0} ms", percentile(&late, 50)));
    Ok(())
}

/// Deletes schedules and children: nobody collects garbage here.
async fn clear(bench: &Bench) -> anyhow::Result<()> {
    let began = Instant::now();
    for api in [schedules(bench), bench.triggers(NAMESPACE)] {
        api.delete_collection(&DeleteParams::default(), &ListParams::default()).await?;
        while !api.list(&ListParams::default().limit(1)).await?.items.is_empty() {
            ensure!(began.elapsed() < PATIENCE, "the objects of before are not gone");
            sleep(Duration::from_millis(200)).await;
        }
    }
    Ok(())
}
