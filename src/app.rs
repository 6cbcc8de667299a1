//! The operator, put together: from its settings to a running controller, and down again in order.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use futures::future::select_all;
use k8s_openapi::NamespaceResourceScope;
use kube::{Api, Client, Resource};
use pipekick_core::decide::image_update;
use serde::de::DeserializeOwned;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::api::{PipelineSchedule, PipelineTrigger};
use crate::clock;
use crate::cluster::identity::Identity;
use crate::cluster::leases::Leases;
use crate::cluster::secrets::Secrets;
use crate::cluster::{client, events};
use crate::config::{self, Config};
use crate::controllers::images::Images;
use crate::controllers::schedule::{self, Children, ScheduleController};
use crate::controllers::trigger::{self, Follower, TriggerController};
use crate::gitlab;
use crate::otlp::Exporter;
use crate::runtime::{
    Election, Feed, Handle, Options, Rank, Runtime, Scope, Vitals, Worker, election, watch as watch_objects,
};
use crate::server::{self, Health, Metrics, Server};

/// Events that still wait at the end get this long.
const LAST_EVENTS: Duration = Duration::from_secs(2);
/// Schedules wait for the first list of their children; this often it is asked whether it is there.
const LISTED_POLL: Duration = Duration::from_millis(20);

/// Runs the operator until SIGTERM or Ctrl-C.
///
/// # Errors
/// When it cannot start, or when a part that must not end has ended.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let config = Arc::new(config);
    let stop = stop_signal()?;
    let metrics = Arc::new(Metrics::new());
    // Before the cluster: for an image without CA certificates it has the better words.
    let gitlab = Arc::new(gitlab_client(&config, &metrics)?);
    let cluster = client::connect().await.context("cannot connect to the Kubernetes API")?;

    let (asked, default_url) = (Arc::downgrade(&gitlab), config.gitlab_url.clone());
    metrics
        .observe_budget(move || asked.upgrade().map(|it| it.budget_left(&default_url)).unwrap_or_default());
    let secrets = Arc::new(Secrets::new(cluster.clone()));
    let handle: Handle<trigger::Record> = Handle::new();
    let schedules: Handle<schedule::Record> = Handle::new();
    metrics.observe_runtime("PipelineTrigger", handle.clone());
    metrics.observe_runtime("PipelineSchedule", schedules.clone());
    let children = Arc::new(Children::new(schedules.clone()));

    let mut parts = JoinSet::new();
    let health = Server::bind("health", config.health_addr)
        .await
        .with_context(|| format!("--health-addr {}", config.health_addr))?;
    let vitals =
        Health::new(vec![("PipelineTrigger", handle.vitals()), ("PipelineSchedule", schedules.vitals())]);
    parts.spawn(health.run(server::health_routes(vitals), stopped(stop.clone())));
    let numbers = Server::bind("metrics", config.metrics_addr)
        .await
        .with_context(|| format!("--metrics-addr {}", config.metrics_addr))?;
    parts.spawn(numbers.run(server::metrics_routes(Arc::clone(&metrics)), stopped(stop.clone())));

    let mut leadership = None;
    if let Some(election) = &config.election {
        let leases = Leases::new(&cluster, election.namespace.as_deref(), &election.name);
        let mut election = Election::new(leases, config.policy.writer.clone(), election.policy);
        handle.vitals().stand_by();
        schedules.vitals().stand_by();
        tokio::select! {
            () = election.win() => {}
            () = stopped(stop.clone()) => return Ok(()),
            ended = ends(&mut parts, stop.clone()) => bail!("a part of the operator ended: {ended}"),
        }
        leadership = Some(Leadership::of(election));
    }
    metrics.leads();
    let (tracer, exporting) = match &config.otlp {
        None => (None, None),
        Some(settings) => {
            let (tracer, exporter) =
                Exporter::new(settings, Arc::clone(&metrics)).context("--otlp-endpoint")?;
            let (close, closed) = oneshot::channel();
            (Some(tracer), Some((tokio::spawn(exporter.run(closed)), close)))
        }
    };

    let crowded = {
        let (triggers, schedules) = (handle.clone(), schedules.clone());
        move || triggers.stats().crowded() || schedules.stats().crowded()
    };
    let (events, telling) = events::teller::<PipelineTrigger>(cluster.clone(), crowded.clone());
    let (schedule_events, telling_of_schedules) =
        events::teller::<PipelineSchedule>(cluster.clone(), crowded.clone());
    let telling = tokio::spawn(async { tokio::join!(telling, telling_of_schedules) });
    let follower = Arc::new(Follower::new(
        Arc::clone(&gitlab),
        Arc::clone(&secrets),
        handle.clone(),
        config.gitlab_url.clone(),
        config.follow_interval,
    ));
    let follow = Arc::clone(&follower).run();
    parts.spawn(async {
        follow.await;
        Ok(())
    });

    let images = Arc::new(Images::new(
        Arc::clone(&gitlab),
        Arc::clone(&secrets),
        handle.clone(),
        config.gitlab_url.clone(),
        image_update::Policy {
            resolution_delay: config.policy.resolution_delay,
            shared_title: config.shared_commit_title.clone(),
            ..image_update::Policy::default()
        },
        Arc::clone(&metrics),
    ));
    let (schedule_gitlab, schedule_secrets) = (Arc::clone(&gitlab), Arc::clone(&secrets));
    let schedule_follower = Arc::clone(&follower);
    let controller = Arc::new(TriggerController::new(trigger::Parts {
        cluster: cluster.clone(),
        gitlab,
        secrets,
        events,
        handle: handle.clone(),
        config: Arc::clone(&config),
        follower,
        metrics: Arc::clone(&metrics),
        children: Arc::clone(&children),
        images: Arc::clone(&images),
        tracer,
        crowded: Box::new(crowded),
    }));
    let schedule_controller = Arc::new(ScheduleController::new(schedule::Parts {
        cluster: cluster.clone(),
        events: schedule_events,
        handle: schedules.clone(),
        children: Arc::clone(&children),
        follower: schedule_follower,
        crowded: {
            let (triggers, schedules) = (handle.clone(), schedules.clone());
            // Not its own in flight: their bookkeeping is what would wait.
            Box::new(move || {
                triggers.stats().crowded() || schedules.stats().waiting[Rank::Firing as usize] > 0
            })
        },
        gitlab: schedule_gitlab,
        secrets: schedule_secrets,
        identity: Identity::new(cluster.clone(), config.cluster_id.clone()),
        config: Arc::clone(&config),
        metrics,
    }));
    let concurrency = NonZeroUsize::new(config.concurrency).unwrap_or(NonZeroUsize::MIN);
    let options = Options { concurrency, ..Options::default() };
    let listed = handle.vitals();
    let triggers = Runtime::new(handle, controller, options);
    let (default_url, default_url_of_schedules) = (config.gitlab_url.clone(), config.gitlab_url.clone());
    let scopes = scopes(&config.namespaces);
    let convert = move |object: trigger::Object| {
        children.seen(&object);
        let record = trigger::Record::new(&object, &default_url);
        record.tell(&images);
        record
    };
    let watch_triggers = watch_all(&cluster, &scopes, convert, |scope| triggers.feed(scope));
    let schedules = Runtime::new(schedules, schedule_controller, options);
    let convert = move |object| schedule::Record::new(object, &default_url_of_schedules);
    let watch_schedules = watch_all(&cluster, &scopes, convert, |scope| schedules.feed(scope));
    // A schedule that does not know its children would fire beside them.
    let watch_schedules = async move {
        until_ready(&listed).await;
        watch_schedules.await
    };

    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        gitlab_url = %config.gitlab_url,
        paused = config.policy.paused,
        writer = config.policy.writer,
        "operator started"
    );
    let asked = stop.clone();
    let left = tokio::select! {
        left = async {
            tokio::try_join!(
                triggers.run(watch_triggers, stopped(stop.clone())),
                schedules.run(watch_schedules, stopped(stop)),
            )
        } => left.map(|(triggers, schedules)| triggers + schedules)?,
        ended = ends(&mut parts, asked) => bail!("a part of the operator ended: {ended}"),
        lost = Leadership::lost(leadership.as_mut()) => return Err(lost),
    };
    if let Some(leadership) = leadership {
        leadership.release().await;
    }
    parts.abort_all();
    // The last sender of Events went with the runtime; what waits is still told, for a moment. So are spans.
    let exporting = async {
        if let Some((exporting, close)) = exporting {
            let _ = close.send(());
            let _ = exporting.await;
        }
    };
    let _ = tokio::time::timeout(LAST_EVENTS, async { tokio::join!(telling, exporting) }).await;
    tracing::info!(left, "operator stopped");
    Ok(())
}

/// Held from the election to the end, by a task of its own.
struct Leadership {
    kept: JoinHandle<Result<(), election::Lost>>,
    release: oneshot::Sender<()>,
}

impl Leadership {
    fn of(election: Election) -> Self {
        let (release, released) = oneshot::channel();
        let kept = tokio::spawn(election::lead(election, async {
            // An error means that this process gives up everything.
            let _ = released.await;
        }));
        Self { kept, release }
    }

    /// Waits for its loss; without a leadership for ever.
    async fn lost(leadership: Option<&mut Self>) -> anyhow::Error {
        let Some(Self { kept, release: _ }) = leadership else { return std::future::pending().await };
        match kept.await {
            Ok(Err(lost)) => lost.into(),
            Ok(Ok(())) => anyhow!("the Lease was released too early"),
            Err(error) => error.into(),
        }
    }

    /// Nothing is in flight any more: the next operator may begin.
    async fn release(self) {
        let Self { kept, release } = self;
        let _ = release.send(());
        let _ = kept.await;
    }
}

/// One for all namespaces, or one for each that is watched.
fn scopes(namespaces: &BTreeSet<String>) -> Vec<Scope> {
    if namespaces.is_empty() {
        return vec![Scope::All];
    }
    namespaces.iter().map(|namespace| Scope::Namespace(namespace.as_str().into())).collect()
}

/// Watches the objects of a kind, by a watch for each scope.
fn watch_all<K, W>(
    cluster: &Client,
    scopes: &[Scope],
    convert: impl Fn(K) -> W::Record + Clone + Send + Sync + 'static,
    feed: impl Fn(Scope) -> Feed<W>,
) -> impl Future<Output = Infallible> + Send + 'static
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug
        + Send
        + 'static,
    W: Worker,
{
    let watches: Vec<_> = scopes
        .iter()
        .map(|scope| {
            let api: Api<K> = match scope {
                Scope::All => Api::all(cluster.clone()),
                Scope::Namespace(namespace) => Api::namespaced(cluster.clone(), namespace),
            };
            Box::pin(watch_objects(api, None, convert.clone(), feed(scope.clone())))
        })
        .collect();
    async { select_all(watches).await.0 }
}

/// Waits until a runtime knows every object.
async fn until_ready(vitals: &Vitals) {
    while vitals.ready().is_err() {
        tokio::time::sleep(LISTED_POLL).await;
    }
}

/// Waits for a part to end that should not; those that end because they were asked to are none.
async fn ends(parts: &mut JoinSet<std::io::Result<()>>, asked: watch::Receiver<bool>) -> String {
    loop {
        match parts.join_next().await {
            Some(_) if *asked.borrow() => {}
            Some(Ok(Ok(()))) => return "it returned".into(),
            Some(Ok(Err(error))) => return error.to_string(),
            Some(Err(error)) => return error.to_string(),
            None => std::future::pending().await,
        }
    }
}

fn gitlab_client(config: &Config, metrics: &Arc<Metrics>) -> anyhow::Result<gitlab::Client> {
    let options = gitlab::Options { allow_http: config.allow_http, deadline: config.policy.request_deadline };
    let metrics = Arc::clone(metrics);
    let hook: gitlab::Hook = Arc::new(move |route, outcome, _took| {
        let status = match outcome {
            gitlab::Outcome::Status(status) => Some(status),
            gitlab::Outcome::NotSent | gitlab::Outcome::Lost => None,
            // Nothing was asked.
            gitlab::Outcome::HeldBack => return,
        };
        metrics.gitlab_request(route, status);
    });
    Ok(gitlab::Client::new(options)?.with_hook(hook))
}

/// Becomes true at SIGTERM or SIGINT.
fn stop_signal() -> anyhow::Result<watch::Receiver<bool>> {
    let (stop, stopping) = watch::channel(false);
    let mut term = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    tokio::spawn(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("operator was asked to stop");
        let _ = stop.send(true);
    });
    Ok(stopping)
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    // An error means that the sender is gone, which it is only after it has sent.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// This process, as it signs its intents: its host, and a hash that no other process has.
#[must_use]
pub fn writer_name() -> String {
    let hostname = std::env::var("HOSTNAME").unwrap_or_else(|_| "pipekick".into());
    // RandomState is seeded by the system for each process.
    let seed = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), clock::now().as_nanosecond());
    config::writer_name(&hostname, std::process::id(), &seed.to_string())
}
