//! Trouble on request: what goes wrong, and which calls it strikes.

use std::time::Duration;

use super::call::{CallRecord, Calls};

/// What becomes of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The API server never sees it; the connection is closed.
    Drop,
    /// The API server acts; the connection is closed without an answer.
    ApplyThenDrop,
    /// The API server acts; the answer is 504.
    ApplyThenTimeout,
    /// 504 at once; the API server sees it so much later.
    ApplyLater { after: Duration },
    /// 429 with `Retry-After`, in seconds; the API server never sees it.
    TooManyRequests { retry_after: u64 },
    /// The API server sees it so much later, and its answer passes.
    Slow { by: Duration },
    /// Of a watch: 410, the version is too old.
    Gone,
    /// Of a watch: it begins well, and then says 410 as an event, as kube-apiserver does of an expired version.
    GoneEvent,
    /// Of a watch: it begins well and brings nothing, while its connection stays.
    FrozenWatch,
    /// Of a list: the answer that the n-th list of this path had, counted from 1 (the last one, if there were
    /// fewer), as an API server with a stale cache gives it. Only first pages are recorded and replayed.
    OldList { nth: usize },
}

impl Fault {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::ApplyThenDrop => "apply_then_drop",
            Self::ApplyThenTimeout => "apply_then_timeout",
            Self::ApplyLater { .. } => "apply_later",
            Self::TooManyRequests { .. } => "too_many_requests",
            Self::Slow { .. } => "slow",
            Self::Gone => "gone",
            Self::GoneEvent => "gone_event",
            Self::FrozenWatch => "frozen_watch",
            Self::OldList { .. } => "old_list",
        }
    }
}

/// Which of the calls that a rule speaks of are struck, counted from when it was put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strike {
    /// The n-th, counted from 1, and no other.
    Nth(u64),
    /// The next n.
    Times(u64),
    Always,
}

/// The rules, in the order they were put.
#[derive(Debug, Default)]
pub(super) struct Rules(Vec<Rule>);

#[derive(Debug)]
struct Rule {
    calls: Calls,
    strike: Strike,
    fault: Fault,
    seen: u64,
}

impl Rules {
    pub(super) fn put(&mut self, calls: Calls, strike: Strike, fault: Fault) {
        self.0.push(Rule { calls, strike, fault, seen: 0 });
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The fault that strikes this call, if any; every rule that speaks of it counts it.
    pub(super) fn strike(&mut self, record: &CallRecord) -> Option<Fault> {
        let mut struck = None;
        for rule in self.0.iter_mut().filter(|rule| rule.calls.covers(record)) {
            rule.seen += 1;
            let hit = match rule.strike {
                Strike::Nth(n) => rule.seen == n,
                Strike::Times(n) => rule.seen <= n,
                Strike::Always => true,
            };
            if hit && struck.is_none() {
                struck = Some(rule.fault.clone());
            }
        }
        struck
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::Method;

    use super::super::Verb;
    use super::*;

    #[test]
    fn a_rule_strikes_the_calls_it_speaks_of_and_the_first_put_wins() {
        let mut rules = Rules::default();
        let secrets = Calls::to(Verb::Get, "secrets/*");
        rules.put(secrets.clone(), Strike::Nth(2), Fault::Drop);
        rules.put(secrets, Strike::Times(3), Fault::ApplyThenDrop);
        let get = |path: &str| CallRecord::new(&Method::GET, path, "", Bytes::new());
        let secret = get("/api/v1/namespaces/shop/secrets/gitlab");
        assert_eq!(rules.strike(&get("/api/v1/namespaces/shop/configmaps/gitlab")), None);
        let struck: Vec<_> = (0..4).map(|_| rules.strike(&secret)).collect();
        let lost = Some(Fault::ApplyThenDrop);
        assert_eq!(struck, [lost.clone(), Some(Fault::Drop), lost, None]);
        rules.clear();
        assert_eq!(rules.strike(&secret), None);
    }
}
