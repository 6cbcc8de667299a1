//! Every version of every trigger of a story, as a watch brings them: what somebody who only looked now and then
//! would miss.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt as _;
use kube::Api;
use kube::api::{DynamicObject, ListParams, WatchEvent, WatchParams};

use super::POLL;
use super::seen::Seen;
use crate::DEADLINE;

pub struct Versions(Arc<Mutex<Vec<Seen>>>);

impl Versions {
    /// Records from now on.
    pub async fn record(api: Api<DynamicObject>) -> Self {
        let list = api.list(&ListParams::default()).await.unwrap();
        let from = list.metadata.resource_version.unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&seen);
        tokio::spawn(async move {
            let mut events = api.watch(&WatchParams::default(), &from).await.unwrap().boxed();
            while let Some(event) = events.next().await {
                match event.unwrap() {
                    WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                        record.lock().unwrap().push(Seen(serde_json::to_value(object).unwrap()));
                    }
                    WatchEvent::Deleted(_) | WatchEvent::Bookmark(_) => {}
                    WatchEvent::Error(error) => panic!("{error:?}"),
                }
            }
        });
        Self(seen)
    }

    /// The versions of one object up to this one, which it waits for.
    pub async fn up_to(&self, last: &Seen) -> Vec<Seen> {
        let (name, version) = (last.text("metadata.name"), last.text("metadata.resourceVersion"));
        for _ in 0..DEADLINE.as_millis() / POLL.as_millis() {
            let all: Vec<Seen> = {
                let seen = self.0.lock().unwrap();
                seen.iter().filter(|seen| seen.text("metadata.name") == name).cloned().collect()
            };
            if let Some(end) = all.iter().position(|seen| seen.text("metadata.resourceVersion") == version) {
                return all[..=end].to_vec();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the watch never brought version {version} of {name}");
    }
}

/// How often status was written in these versions.
pub fn status_writes(versions: &[Seen]) -> usize {
    versions.windows(2).filter(|pair| pair[0].at("status") != pair[1].at("status")).count()
}
