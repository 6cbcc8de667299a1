//! Places at each GitLab: one that answers slowly keeps its own requests waiting, and no other GitLab's.
//!
//! Who finds no place is parked and called when one is free: nothing waits inside a worker, and nothing has
//! been written yet.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pipekick_core::domain::ObjectKey;

/// Requests under way at one GitLab, at most. A quarter of the operator's workers, so that it takes four slow
/// GitLabs to keep a fifth waiting.
pub(super) const PLACES: usize = 64;

type Call = Arc<dyn Fn(&ObjectKey) + Send + Sync>;

#[derive(Default)]
struct Host {
    inside: usize,
    parked: VecDeque<ObjectKey>,
}

/// All GitLabs' places.
pub(super) struct Gate {
    hosts: Arc<Mutex<HashMap<String, Host>>>,
    call: Call,
}

/// A place; it is free again when this is dropped.
pub(super) struct Place {
    host: String,
    hosts: Arc<Mutex<HashMap<String, Host>>>,
    call: Call,
}

fn lock(hosts: &Mutex<HashMap<String, Host>>) -> MutexGuard<'_, HashMap<String, Host>> {
    // Every change is whole before anything can panic.
    hosts.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Gate {
    /// A gate that calls the parked with `call`.
    pub(super) fn new(call: impl Fn(&ObjectKey) + Send + Sync + 'static) -> Self {
        Self { hosts: Arc::default(), call: Arc::new(call) }
    }

    /// A place at `host`, or `None`: then `key` is parked, and called once there is one.
    pub(super) fn enter(&self, host: &str, key: &ObjectKey) -> Option<Place> {
        let mut hosts = lock(&self.hosts);
        let at = hosts.entry(host.to_owned()).or_default();
        if at.inside >= PLACES {
            if !at.parked.contains(key) {
                at.parked.push_back(key.clone());
            }
            return None;
        }
        at.inside += 1;
        let (hosts, call) = (Arc::clone(&self.hosts), Arc::clone(&self.call));
        Some(Place { host: host.to_owned(), hosts, call })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut hosts = lock(&self.hosts);
        let Some(at) = hosts.get_mut(&self.host) else { return };
        at.inside = at.inside.saturating_sub(1);
        let next = at.parked.pop_front();
        if at.inside == 0 && next.is_none() {
            hosts.remove(&self.host);
        }
        drop(hosts);
        if let Some(key) = next {
            (self.call)(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> ObjectKey {
        ObjectKey { namespace: "ns".into(), name: format!("t{number}") }
    }

    #[test]
    fn who_finds_no_place_is_called_in_turn_and_other_hosts_are_not_kept_waiting() {
        let called = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&called);
        let gate = Gate::new(move |key: &ObjectKey| seen.lock().unwrap().push(key.name.clone()));
        let mut inside: Vec<Place> = (0..PLACES).map(|n| gate.enter("slow", &key(n)).unwrap()).collect();
        assert!(gate.enter("slow", &key(100)).is_none());
        assert!(gate.enter("slow", &key(101)).is_none());
        assert!(gate.enter("slow", &key(100)).is_none(), "parked once");
        assert!(gate.enter("quick", &key(102)).is_some());
        drop(inside.pop());
        assert_eq!(*called.lock().unwrap(), ["t100"]);
        assert!(gate.enter("slow", &key(100)).is_some());
        drop(inside);
        assert_eq!(*called.lock().unwrap(), ["t100", "t101"]);
    }
}
