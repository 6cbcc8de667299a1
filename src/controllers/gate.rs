//! Places at each GitLab: one that answers slowly keeps its own requests waiting, and no other GitLab's.
//!
//! Who finds no place is parked and called when one is free: nothing waits inside a worker, and nothing has
//! been written yet. Those who are parked are called as the runtime's queue would: firing before following, and
//! namespaces by turns, so that a crowd in one of them is not in the way of the others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pipekick_core::domain::ObjectKey;

use crate::runtime::Rank;
use crate::runtime::queue::Queue;

/// Requests under way at one GitLab, at most. A quarter of the operator's workers, so that it takes four slow
/// GitLabs to keep a fifth waiting.
pub(in crate::controllers) const PLACES: usize = 64;

type Call = Arc<dyn Fn(&ObjectKey) + Send + Sync>;

#[derive(Default)]
struct Host {
    inside: usize,
    parked: Queue<ObjectKey>,
}

#[derive(Default)]
struct Hosts {
    by_url: HashMap<String, Host>,
    /// Who was called and has not come yet, and where to.
    called: HashMap<ObjectKey, String>,
}

impl Hosts {
    /// The next of those who are parked at `host`, if it has a place.
    fn next(&mut self, host: &str) -> Option<ObjectKey> {
        let at = self.by_url.get_mut(host)?;
        let next = if at.inside < PLACES { at.parked.pop() } else { None };
        if let Some((key, _)) = next {
            at.parked.done(&key);
            self.called.insert(key.clone(), host.to_owned());
            return Some(key);
        }
        if at.inside == 0 {
            self.by_url.remove(host);
        }
        None
    }
}

/// All GitLabs' places.
pub(in crate::controllers) struct Gate {
    hosts: Arc<Mutex<Hosts>>,
    call: Call,
}

/// A place; it is free again when this is dropped.
pub(in crate::controllers) struct Place {
    host: String,
    hosts: Arc<Mutex<Hosts>>,
    call: Call,
}

fn lock(hosts: &Mutex<Hosts>) -> MutexGuard<'_, Hosts> {
    // Every change is whole before anything can panic.
    hosts.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Gate {
    /// A gate that calls the parked with `call`.
    pub(in crate::controllers) fn new(call: impl Fn(&ObjectKey) + Send + Sync + 'static) -> Self {
        Self { hosts: Arc::default(), call: Arc::new(call) }
    }

    /// A place at `host`, or `None`: then `key` is parked, and called once there is one.
    pub(in crate::controllers) fn enter(&self, host: &str, key: &ObjectKey, rank: Rank) -> Option<Place> {
        let mut hosts = lock(&self.hosts);
        hosts.called.remove(key);
        let at = hosts.by_url.entry(host.to_owned()).or_default();
        let place = self.place(at, host);
        match place {
            Some(_) => at.parked.remove(key),
            None => at.parked.push(key.clone(), &key.namespace, rank),
        }
        place
    }

    /// A place at `host`, if there is one just now.
    pub(in crate::controllers) fn try_enter(&self, host: &str) -> Option<Place> {
        self.place(lock(&self.hosts).by_url.entry(host.to_owned()).or_default(), host)
    }

    fn place(&self, at: &mut Host, host: &str) -> Option<Place> {
        if at.inside >= PLACES {
            return None;
        }
        at.inside += 1;
        let (hosts, call) = (Arc::clone(&self.hosts), Arc::clone(&self.call));
        Some(Place { host: host.to_owned(), hosts, call })
    }

    /// A turn of work on `key` is over. If it was called and needed no place after all, the next one is called.
    pub(in crate::controllers) fn leave(&self, key: &ObjectKey) {
        let mut hosts = lock(&self.hosts);
        let Some(host) = hosts.called.remove(key) else { return };
        let next = hosts.next(&host);
        drop(hosts);
        if let Some(next) = next {
            (self.call)(&next);
        }
    }

    /// `key` is gone, and is not called any more.
    pub(in crate::controllers) fn forget(&self, key: &ObjectKey) {
        lock(&self.hosts).by_url.values_mut().for_each(|host| host.parked.remove(key));
        self.leave(key);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut hosts = lock(&self.hosts);
        if let Some(at) = hosts.by_url.get_mut(&self.host) {
            at.inside = at.inside.saturating_sub(1);
        }
        let next = hosts.next(&self.host);
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
        of("ns", number)
    }

    fn of(namespace: &str, number: usize) -> ObjectKey {
        ObjectKey { namespace: namespace.into(), name: format!("t{number}") }
    }

    /// A gate, and whom it called.
    fn gate() -> (Gate, Arc<Mutex<Vec<String>>>) {
        let called = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&called);
        (Gate::new(move |key: &ObjectKey| seen.lock().unwrap().push(key.to_string())), called)
    }

    fn fill(gate: &Gate, host: &str) -> Vec<Place> {
        (0..PLACES).map(|n| gate.enter(host, &key(n), Rank::Firing).unwrap()).collect()
    }

    #[test]
    fn who_finds_no_place_is_called_in_turn_and_other_hosts_are_not_kept_waiting() {
        let (gate, called) = gate();
        let mut inside = fill(&gate, "slow");
        for number in [100, 101, 100] {
            assert!(gate.enter("slow", &key(number), Rank::Firing).is_none());
        }
        assert!(gate.enter("quick", &key(102), Rank::Firing).is_some());
        drop(inside.pop());
        assert_eq!(*called.lock().unwrap(), ["ns/t100"]);
        assert!(gate.enter("slow", &key(100), Rank::Firing).is_some());
        drop(inside);
        assert_eq!(*called.lock().unwrap(), ["ns/t100", "ns/t101"]);
    }

    #[test]
    fn firing_is_called_before_following() {
        let (gate, called) = gate();
        let mut inside = fill(&gate, "slow");
        for (number, rank) in [(100, Rank::Following), (101, Rank::Firing)] {
            assert!(gate.enter("slow", &key(number), rank).is_none());
        }
        drop(inside.pop());
        assert_eq!(*called.lock().unwrap(), ["ns/t101"]);
    }

    #[test]
    fn a_crowd_of_five_thousand_is_not_in_the_way_of_another_namespace() {
        let (gate, called) = gate();
        let mut inside = fill(&gate, "slow");
        for number in 0..5000 {
            assert!(gate.enter("slow", &of("crowd", number), Rank::Firing).is_none());
        }
        assert!(gate.enter("slow", &of("quiet", 0), Rank::Firing).is_none());
        inside.truncate(PLACES - 2);
        assert_eq!(*called.lock().unwrap(), ["crowd/t0", "quiet/t0"]);
    }

    #[test]
    fn who_was_called_in_vain_or_is_gone_takes_nobodys_turn() {
        let (gate, called) = gate();
        let mut inside = fill(&gate, "slow");
        for number in 100..104 {
            assert!(gate.enter("slow", &key(number), Rank::Firing).is_none());
        }
        gate.forget(&key(101));
        drop(inside.pop());
        // It was suspended meanwhile: its turn ends without a request.
        gate.leave(&key(100));
        gate.leave(&key(100));
        // Deleted after it was called.
        gate.forget(&key(102));
        assert_eq!(*called.lock().unwrap(), ["ns/t100", "ns/t102", "ns/t103"]);
    }

    #[test]
    fn nothing_is_kept_of_a_host_that_nobody_asks() {
        let (gate, _) = gate();
        drop(fill(&gate, "slow"));
        let hosts = lock(&gate.hosts);
        assert!(hosts.by_url.is_empty() && hosts.called.is_empty());
    }
}
