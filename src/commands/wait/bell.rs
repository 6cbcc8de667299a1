//! Between two looks: a watch of the one object wakes who waits, where the API server grants one and while it lasts.
//!
//! What it brings is not believed, only taken for a reason to look. So a watch that is refused, cut or frozen costs time
//! alone: then the next look comes as if there had been none.

use std::time::Duration;

use futures::StreamExt as _;
use kube::Api;
use kube::api::{WatchEvent, WatchParams};
use tokio::time::{sleep, timeout};

use crate::api::PipelineTrigger;
use crate::runtime::Lenient;

type Triggers = Api<Lenient<PipelineTrigger>>;

/// A watch may be frozen without anybody noticing.
const WITH_WATCH: Duration = Duration::from_secs(30);
/// A watch begins with what is there, by a cache that may be older than the last look.
const LEAST: Duration = Duration::from_millis(100);

/// Returns once another version of the object is there than the one that was `seen`; where that cannot be learnt, after
/// `without`.
pub(super) async fn rest(api: &Triggers, name: &str, seen: Option<&str>, without: Duration) {
    sleep(LEAST).await;
    match timeout(WITH_WATCH, rings(api, name, seen)).await {
        Ok(true) | Err(_) => {}
        Ok(false) => sleep(without.saturating_sub(LEAST)).await,
    }
}

/// Whether it rang; if not, there is no watch, or it is over.
async fn rings(api: &Triggers, name: &str, seen: Option<&str>) -> bool {
    let only = WatchParams::default().fields(&format!("metadata.name={name}"));
    // From any version: that of an object which has not changed for long may be too old to begin with.
    let Ok(events) = api.watch_metadata(&only, "0").await else { return false };
    let mut events = std::pin::pin!(events);
    while let Some(Ok(event)) = events.next().await {
        match event {
            WatchEvent::Added(now) | WatchEvent::Modified(now) => {
                if now.metadata.resource_version.as_deref() != seen {
                    return true;
                }
            }
            WatchEvent::Deleted(_) => return true,
            WatchEvent::Bookmark(_) => {}
            WatchEvent::Error(_) => return false,
        }
    }
    false
}
