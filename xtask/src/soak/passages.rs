//! How runs of unknown outcome were resolved, as a watch on all triggers shows it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::{StreamExt as _, pin_mut};
use kube::api::{DynamicObject, ListParams, WatchEvent, WatchParams};
use kube::{Api, Client};
use pipekick_core::domain::{Phase, TriggerStatus};
use tokio::time::sleep;

use super::load::all_triggers;

/// What became of unknown outcomes.
#[derive(Debug, Default, Clone, Copy)]
pub struct Passages {
    /// A POST's outcome became unknown: its reply was lost, or the process that sent it.
    pub unknown: u64,
    pub found: u64,
    pub proven_absent: u64,
    /// Nobody could look.
    pub held: u64,
    /// Held, or proven absent, when its spec had changed meanwhile: the next run took its place in the same write.
    pub superseded: u64,
}

/// Where each run was seen last, by the object's uid and the run's number.
type Runs = HashMap<(String, u64), Phase>;

#[derive(Clone, Default)]
pub struct Witness(Arc<Mutex<Passages>>);

impl Witness {
    fn lock(&self) -> MutexGuard<'_, Passages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn saw(&self) -> Passages {
        *self.lock()
    }

    /// Watches until it is dropped.
    pub async fn watch(self, client: Client) {
        let (api, mut runs) = (all_triggers(&client), Runs::new());
        loop {
            // An end is usual after some minutes; what changes in between is seen by the next list.
            let _ = self.follow(&api, &mut runs).await;
            sleep(Duration::from_millis(100)).await;
        }
    }

    async fn follow(&self, api: &Api<DynamicObject>, runs: &mut Runs) -> kube::Result<()> {
        let list = api.list(&ListParams::default()).await?;
        list.items.iter().for_each(|object| self.see(object, runs));
        let from = list.metadata.resource_version.unwrap_or_default();
        let events = api.watch(&WatchParams::default(), &from).await?;
        pin_mut!(events);
        while let Some(event) = events.next().await {
            match event? {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => self.see(&object, runs),
                WatchEvent::Deleted(_) | WatchEvent::Bookmark(_) => {}
                WatchEvent::Error(_) => return Ok(()),
            }
        }
        Ok(())
    }

    fn see(&self, object: &DynamicObject, runs: &mut Runs) {
        let uid = object.metadata.uid.clone().unwrap_or_default();
        let Some(status) = status(object) else { return };
        let run = status.run.iter().map(|run| (run.seq, run.phase));
        // A run may end, and the next one begin, in one write.
        let earlier = status.history.iter().map(|entry| (entry.seq, entry.phase));
        for (seq, phase) in run.chain(earlier) {
            if let Some(before) = runs.insert((uid.clone(), seq), phase) {
                self.lock().passed(before, phase);
            }
        }
    }
}

impl Passages {
    fn passed(&mut self, before: Phase, after: Phase) {
        match (before, after) {
            // Where nobody can look, in one step.
            (Phase::Firing, Phase::Held) => {
                self.unknown += 1;
                self.held += 1;
            }
            (Phase::Firing | Phase::Pending, Phase::Unknown) => self.unknown += 1,
            (Phase::Unknown, Phase::Running | Phase::Succeeded | Phase::Failed) => self.found += 1,
            // Sent again, at once or when its time has come.
            (Phase::Unknown, Phase::Pending | Phase::Firing) => self.proven_absent += 1,
            (Phase::Unknown, Phase::Held) => self.held += 1,
            (Phase::Unknown, Phase::Superseded) => self.superseded += 1,
            _ => {}
        }
    }
}

/// An object's status, if it has one that can be read.
pub fn status(object: &DynamicObject) -> Option<TriggerStatus> {
    serde_json::from_value(object.data.get("status")?.clone()).ok()
}
