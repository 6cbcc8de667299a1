//! The operator, put together: from its settings to a running controller, and down again in order.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use kube::Api;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::api::PipelineTrigger;
use crate::clock;
use crate::cluster::secrets::Secrets;
use crate::cluster::{client, events};
use crate::config::{self, Config};
use crate::controllers::trigger::{Follower, Object, Parts, Record, TriggerController};
use crate::gitlab;
use crate::runtime::{Handle, Options, Runtime, watch as watch_objects};
use crate::server::{self, Health, Metrics, Server};

/// Events that still wait at the end get this long.
const LAST_EVENTS: Duration = Duration::from_secs(2);

/// Runs the operator until SIGTERM or Ctrl-C.
///
/// # Errors
/// When it cannot start, or when a part that must not end has ended.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let config = Arc::new(config);
    let stop = stop_signal()?;
    let cluster = client::connect().await.context("cannot connect to the Kubernetes API")?;

    let metrics = Arc::new(Metrics::new());
    let gitlab = Arc::new(gitlab_client(&config, &metrics)?);
    let secrets = Arc::new(Secrets::new(cluster.clone()));
    let handle: Handle<Record> = Handle::new();
    metrics.observe_runtime("PipelineTrigger", handle.clone());

    let mut parts = JoinSet::new();
    let health = Server::bind("health", config.health_addr)
        .await
        .with_context(|| format!("--health-addr {}", config.health_addr))?;
    let vitals = Health::new(vec![("PipelineTrigger", handle.vitals())]);
    parts.spawn(health.run(server::health_routes(vitals), stopped(stop.clone())));
    let numbers = Server::bind("metrics", config.metrics_addr)
        .await
        .with_context(|| format!("--metrics-addr {}", config.metrics_addr))?;
    parts.spawn(numbers.run(server::metrics_routes(Arc::clone(&metrics)), stopped(stop.clone())));

    let (events, telling) = {
        let handle = handle.clone();
        events::teller::<PipelineTrigger>(cluster.clone(), move || handle.stats().crowded())
    };
    let telling = tokio::spawn(telling);
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

    let controller = Arc::new(TriggerController::new(Parts {
        cluster: cluster.clone(),
        gitlab,
        secrets,
        events,
        handle: handle.clone(),
        config: Arc::clone(&config),
        follower,
        metrics,
    }));
    let concurrency = NonZeroUsize::new(config.concurrency).unwrap_or(NonZeroUsize::MIN);
    let runtime = Runtime::new(handle, controller, Options { concurrency, ..Options::default() });
    let objects: Api<Object> = match &config.namespace {
        Some(namespace) => Api::namespaced(cluster, namespace),
        None => Api::all(cluster),
    };
    let default_url = config.gitlab_url.clone();
    let watch =
        watch_objects(objects, None, move |object| Record::new(&object, &default_url), runtime.feed());

    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        gitlab_url = %config.gitlab_url,
        paused = config.policy.paused,
        writer = config.policy.writer,
        "operator started"
    );
    let asked = stop.clone();
    let left = tokio::select! {
        left = runtime.run(watch, stopped(stop)) => left?,
        ended = ends(&mut parts, asked) => bail!("a part of the operator ended: {ended}"),
    };
    parts.abort_all();
    // The last sender of Events went with the runtime; what waits is still told, for a moment.
    let _ = tokio::time::timeout(LAST_EVENTS, telling).await;
    tracing::info!(left, "operator stopped");
    Ok(())
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
