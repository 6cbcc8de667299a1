//! Keeps a store in step with the API server: list, then watch from there, for ever.
//!
//! ```text
//!            ┌────────── gone (410), refused, silent twice ─────────┐
//!            ▼                                                      │
//!  Listing, page by page ──▶ Watching from a version ──▶ ended, failed, silent once
//!            ▲ │ failed                  ▲                          │
//!            └─┘ (back-off)              └──────────────────────────┘
//! ```
//!
//! It stands on kube's [`Api`] rather than on kube's `watcher`, for three reasons found in kube-runtime 5.0:
//! `watcher` swallows bookmarks and reconnects, so that on a quiet cluster nobody can tell a healthy
//! watch from a frozen one; neither its list calls nor the start of a watch have a deadline; and it does not
//! tell the version of a list, without which a restored etcd cannot be recognised.
//!
//! One object that cannot be decoded would end the whole watch, list or event: give it a `K` that always
//! decodes, such as [`super::Lenient`]. A conversion that panics leaves out that object only.

mod place;
#[cfg(test)]
mod tests;

use std::{convert::Infallible, fmt, pin::pin, sync::Arc, time::Duration};

use futures::{Stream, StreamExt};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Api, Resource, ResourceExt,
    api::{ListParams, WatchEvent, WatchParams},
    runtime::{utils::Backoff, watcher::DefaultBackoff},
};
use serde::de::DeserializeOwned;
use tokio::{
    task::coop::consume_budget,
    time::{sleep, timeout},
};

use super::{Feed, Sighted, Version, Worker, store::identity};
use crate::cluster::causes::causes;
use place::{End, Failure, Place};

/// Objects per page of a list. A page is decoded as a whole, some 10 KB an object, and what a list once needed stays
/// resident: client-go's 500 would cost 4 MB. While the next page is fetched the workers settle this one.
const PAGE: u32 = 100;
/// A page, or the first line of a watch, has to come in this time. kube retries 429 and 503 within it.
const REQUEST_DEADLINE: Duration = Duration::from_secs(60);
/// The API server ends a watch after this many seconds; proxies often do at 300.
const WATCH_SECONDS: u32 = 290;
/// A watch that says nothing for this long is given up. Bookmarks come about once a minute, so this is two of them
/// missed; going on from the last version costs one request.
const SILENCE_MAX: Duration = Duration::from_secs(150);
/// kubectl's copy of the whole object.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Feeds `feed` with the objects of `api` that `labels` selects (all, if `None`), as `convert` makes them.
///
/// Managed fields and kubectl's annotation are dropped before `convert` sees the object. Failures are logged and
/// tried again after 0.8 s to 30 s with jitter. Drop the future to stop it.
pub async fn watch<K, W>(
    api: Api<K>,
    labels: Option<String>,
    convert: impl Fn(K) -> W::Record + Send + 'static,
    feed: Feed<W>,
) -> Infallible
where
    K: Resource + Clone + DeserializeOwned + fmt::Debug + Send + 'static,
    W: Worker,
{
    let intake = Intake { convert, feed };
    let mut place = Place::default();
    let mut backoff = DefaultBackoff::default();
    loop {
        let heard_before = place.heard;
        let end = match place.version.clone() {
            None => list(&api, labels.as_deref(), &intake, &mut place).await,
            Some(version) => follow(&api, labels.as_deref(), &version, &intake, &mut place).await,
        };
        if place.heard != heard_before {
            backoff.reset();
        }
        if let End::Failed(error) = &end {
            if matches!(error, Failure::Kube(kube::Error::Api(_))) {
                intake.feed.contact();
            }
            tracing::warn!(error = causes(error), listing = place.version.is_none(), "watch failed");
        } else if matches!(end, End::Silent) {
            tracing::warn!(seconds = SILENCE_MAX.as_secs(), "watch was silent and is started again");
        }
        if place.leave(&end, place.heard != heard_before) {
            sleep(backoff.next().unwrap_or(REQUEST_DEADLINE)).await;
        }
    }
}

/// The way of an object from the wire into the store.
struct Intake<C, W: Worker> {
    convert: C,
    feed: Feed<W>,
}

impl<C, W: Worker> Intake<C, W> {
    fn seen<K: Resource>(&self, mut object: K)
    where
        C: Fn(K) -> W::Record,
    {
        let Some((key, uid, version)) = identity(object.meta()) else { return };
        strip(object.meta_mut());
        if let Some(record) = self.feed.guarded(&key, || (self.convert)(object)) {
            self.feed.seen(Sighted { key, uid, version, record: Arc::new(record) });
        }
    }
}

/// Drops what nobody here reads and what can be larger than the object.
fn strip(meta: &mut ObjectMeta) {
    meta.managed_fields = None;
    if let Some(annotations) = &mut meta.annotations {
        annotations.remove(LAST_APPLIED);
    }
}

async fn list<K, C, W>(api: &Api<K>, labels: Option<&str>, intake: &Intake<C, W>, place: &mut Place) -> End
where
    K: Resource + Clone + DeserializeOwned + fmt::Debug,
    C: Fn(K) -> W::Record,
    W: Worker,
{
    let mut params =
        ListParams { limit: Some(PAGE), label_selector: labels.map(str::to_owned), ..ListParams::default() };
    let mut first = None;
    loop {
        let page = match timeout(REQUEST_DEADLINE, api.list(&params)).await {
            Ok(Ok(page)) => page,
            Ok(Err(error)) => return End::Failed(error.into()),
            Err(_) => return End::Failed(Failure::Deadline),
        };
        intake.feed.contact();
        let version = match (&first, page.metadata.resource_version) {
            (Some(version), _) => String::clone(version),
            (None, Some(version)) => {
                intake.feed.begin_list(place.is_rewound(&version));
                first.insert(version).clone()
            }
            (None, None) => return End::Failed(Failure::NoVersion),
        };
        for object in page.items {
            intake.seen(object);
            consume_budget().await;
        }
        params.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
        if params.continue_token.is_none() {
            intake.feed.end_list(Version::parse(&version));
            place.hear(&version);
            return End::Listed(version);
        }
    }
}

async fn follow<K, C, W>(
    api: &Api<K>,
    labels: Option<&str>,
    version: &str,
    intake: &Intake<C, W>,
    place: &mut Place,
) -> End
where
    K: Resource + Clone + DeserializeOwned + fmt::Debug + 'static,
    C: Fn(K) -> W::Record,
    W: Worker,
{
    let params = WatchParams {
        label_selector: labels.map(str::to_owned),
        timeout: Some(WATCH_SECONDS),
        ..WatchParams::default()
    };
    match timeout(REQUEST_DEADLINE, api.watch(&params, version)).await {
        Ok(Ok(events)) => {
            intake.feed.contact();
            pump(events, intake, place).await
        }
        Ok(Err(error)) => End::Failed(error.into()),
        Err(_) => End::Failed(Failure::Deadline),
    }
}

/// Takes in the events of one watch until it ends.
async fn pump<K, C, W>(
    events: impl Stream<Item = kube::Result<WatchEvent<K>>>,
    intake: &Intake<C, W>,
    place: &mut Place,
) -> End
where
    K: Resource,
    C: Fn(K) -> W::Record,
    W: Worker,
{
    let mut events = pin!(events);
    loop {
        let event = match timeout(SILENCE_MAX, events.next()).await {
            Err(_) => return End::Silent,
            Ok(None) => return End::Closed,
            Ok(Some(Err(error))) => return End::Failed(error.into()),
            Ok(Some(Ok(event))) => event,
        };
        intake.feed.contact();
        let version = match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                let version = object.resource_version();
                intake.seen(object);
                version
            }
            WatchEvent::Deleted(object) => {
                if let Some((key, uid, _)) = identity(object.meta()) {
                    intake.feed.deleted(&key, uid);
                }
                object.resource_version()
            }
            WatchEvent::Bookmark(bookmark) => Some(bookmark.metadata.resource_version),
            WatchEvent::Error(status) => {
                return End::Failed(Failure::Status { code: status.code, message: status.message });
            }
        };
        if let Some(version) = version {
            place.hear(&version);
            place.version = Some(version);
        }
        consume_budget().await;
    }
}
