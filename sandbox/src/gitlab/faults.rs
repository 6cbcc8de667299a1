//! Trouble on request. A rule names a route, the calls it strikes, and what happens to them:
//! whether GitLab acts on the call, and what the caller gets to see.
//!
//! Waiting is real time, as the caller's deadline is; a late effect comes by the simulator's clock.

use std::time::Duration;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use super::{
    routes::{self, Route},
    row::Answer,
    rows,
};

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// The connection is reset before GitLab sees the call.
    Reset,
    /// GitLab acts, then the connection is reset.
    EffectThenReset,
    /// GitLab acts; the answer comes after a while.
    HangThenAnswer { wait: SignedDuration },
    /// GitLab never sees the call; the connection is reset after a while.
    HangThenReset { wait: SignedDuration },
    /// An HTML 504 at once; GitLab acts later.
    LateEffect { after: SignedDuration },
    /// GitLab acts; the body breaks off.
    TruncatedBody,
    /// An HTML 502 from the proxy, with or without GitLab having acted.
    BadGateway { effect: bool },
    /// GitLab's JSON 500, with or without the pipeline.
    ServerError { effect: bool },
    /// Plain-text 429 with `Retry-After`, in seconds.
    TooManyRequests { retry_after: u64 },
    /// JSON 503 with `Retry-After`, in seconds.
    Unavailable { retry_after: u64 },
    /// 403: the instance is in maintenance and takes no writes.
    ReadOnly,
    /// 409: somebody else holds the lock.
    ResourceLock,
    /// 400: somebody else's push to this branch got in first; nothing is written.
    LostRace { branch: String },
    /// 302 to elsewhere; GitLab never sees the call.
    Redirect { location: String },
    /// The list leaves out pipelines younger than this.
    ListLag { younger_than: SignedDuration },
}

impl Fault {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Reset => "reset",
            Self::EffectThenReset => "effect_then_reset",
            Self::HangThenAnswer { .. } => "hang_then_answer",
            Self::HangThenReset { .. } => "hang_then_reset",
            Self::LateEffect { .. } => "late_effect",
            Self::TruncatedBody => "truncated_body",
            Self::BadGateway { .. } => "bad_gateway",
            Self::ServerError { .. } => "server_error",
            Self::TooManyRequests { .. } => "too_many_requests",
            Self::Unavailable { .. } => "unavailable",
            Self::ReadOnly => "read_only",
            Self::ResourceLock => "resource_lock",
            Self::LostRace { .. } => "lost_race",
            Self::Redirect { .. } => "redirect",
            Self::ListLag { .. } => "list_lag",
        }
    }

    /// Whether GitLab acts on the call when it comes.
    pub(crate) fn acts(&self) -> bool {
        match self {
            Self::EffectThenReset
            | Self::HangThenAnswer { .. }
            | Self::TruncatedBody
            | Self::ListLag { .. }
            | Self::BadGateway { effect: true }
            | Self::ServerError { effect: true } => true,
            Self::Reset
            | Self::HangThenReset { .. }
            | Self::LateEffect { .. }
            | Self::BadGateway { effect: false }
            | Self::ServerError { effect: false }
            | Self::TooManyRequests { .. }
            | Self::Unavailable { .. }
            | Self::ReadOnly
            | Self::ResourceLock
            | Self::LostRace { .. }
            | Self::Redirect { .. } => false,
        }
    }

    /// What the caller gets to see.
    pub(crate) fn shows(&self) -> Show {
        Show::Answer(match self {
            Self::Reset | Self::EffectThenReset | Self::HangThenReset { .. } => return Show::Nothing,
            Self::HangThenAnswer { .. } | Self::TruncatedBody | Self::ListLag { .. } => {
                return Show::GitlabsOwn;
            }
            Self::LateEffect { .. } => rows::FAULT_GATEWAY_TIMEOUT.answer(),
            Self::BadGateway { .. } => rows::FAULT_BAD_GATEWAY.answer(),
            Self::ServerError { .. } => rows::FAULT_SERVER_ERROR.answer(),
            Self::TooManyRequests { retry_after } => {
                rows::FAULT_TOO_MANY.answer().header("Retry-After", retry_after.to_string())
            }
            Self::Unavailable { retry_after } => {
                rows::FAULT_UNAVAILABLE.answer().header("Retry-After", retry_after.to_string())
            }
            Self::ReadOnly => rows::FAULT_READ_ONLY.answer(),
            Self::ResourceLock => rows::FAULT_RESOURCE_LOCK.answer(),
            Self::LostRace { branch } => rows::COMMIT_LOST_RACE.filled(branch),
            Self::Redirect { location } => {
                rows::FAULT_REDIRECT.filled(location).header("Location", location.clone())
            }
        })
    }

    /// Real time before the caller sees anything.
    pub(crate) fn waits(&self) -> Duration {
        match self {
            Self::HangThenAnswer { wait } | Self::HangThenReset { wait } => wait.unsigned_abs(),
            Self::Reset
            | Self::EffectThenReset
            | Self::LateEffect { .. }
            | Self::TruncatedBody
            | Self::BadGateway { .. }
            | Self::ServerError { .. }
            | Self::TooManyRequests { .. }
            | Self::Unavailable { .. }
            | Self::ReadOnly
            | Self::ResourceLock
            | Self::LostRace { .. }
            | Self::Redirect { .. }
            | Self::ListLag { .. } => Duration::ZERO,
        }
    }

    /// How far the list lags.
    pub(crate) fn lag(&self) -> Option<SignedDuration> {
        if let Self::ListLag { younger_than } = self { Some(*younger_than) } else { None }
    }
}

/// What the caller sees of a call that a fault struck.
pub(crate) enum Show {
    /// GitLab's own answer.
    GitlabsOwn,
    Answer(Answer),
    /// The connection is reset.
    Nothing,
}

/// Which calls to the route are struck, counted from when the rule was put.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strike {
    /// The next one, and then no more.
    #[default]
    Next,
    /// The n-th, counted from 1, and no other.
    Nth(u64),
    /// The next n.
    Times(u64),
    Always,
    /// Each with this probability, by a fixed sequence.
    Chance(f64),
}

/// A fault at a route. Of several rules that strike one call, the first put wins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultRule {
    /// A route's name (`trigger`), its method and template
    /// (`POST /projects/:id/trigger/pipeline`), or `*`.
    pub route: String,
    /// Only calls about this project, which is named by full path or by number, whichever way they name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    #[serde(default)]
    pub strike: Strike,
    pub fault: Fault,
}

impl FaultRule {
    /// Strikes the next call to the route.
    pub fn next(route: &str, fault: Fault) -> Self {
        Self { route: route.into(), project: None, strike: Strike::Next, fault }
    }

    /// Strikes every call to the route until faults are cleared.
    pub fn always(route: &str, fault: Fault) -> Self {
        Self { route: route.into(), project: None, strike: Strike::Always, fault }
    }

    /// The same, for calls about this project.
    #[must_use]
    pub fn of(self, project: &str) -> Self {
        Self { project: Some(project.into()), ..self }
    }

    /// Strikes the n-th call to the route from now, counted from 1.
    pub fn nth(n: u64, route: &str, fault: Fault) -> Self {
        Self { route: route.into(), project: None, strike: Strike::Nth(n), fault }
    }
}

/// The routes a rule speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RoutePattern {
    Any,
    Named(&'static str),
}

#[derive(Debug, thiserror::Error)]
#[error("no route is called `{0}`: use a route's name, its method and template, or `*`")]
pub struct UnknownRoute(String);

impl RoutePattern {
    pub(crate) fn parse(text: &str) -> Result<Self, UnknownRoute> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let named = |route: &&Route| {
            let template = text.split_once(' ').is_some_and(|(method, template)| {
                method == route.method && template.trim_start_matches("/api/v4") == route.template
            });
            route.name == text || template
        };
        let route = routes::ALL.iter().find(named).ok_or_else(|| UnknownRoute(text.to_owned()))?;
        Ok(Self::Named(route.name))
    }

    pub(crate) fn covers(&self, route: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Named(name) => *name == route,
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Faults {
    rules: Vec<Standing>,
    latency: Vec<(RoutePattern, Duration)>,
    dice: u64,
}

#[derive(Debug)]
struct Standing {
    pattern: RoutePattern,
    rule: FaultRule,
    seen: u64,
}

impl Faults {
    pub(crate) fn put(&mut self, rule: FaultRule) -> Result<(), UnknownRoute> {
        self.rules.push(Standing { pattern: RoutePattern::parse(&rule.route)?, rule, seen: 0 });
        Ok(())
    }

    pub(crate) fn clear(&mut self) {
        self.rules.clear();
        self.latency.clear();
    }

    /// Rules that may still strike.
    pub(crate) fn standing(&self) -> impl Iterator<Item = &FaultRule> {
        self.rules.iter().filter(|standing| !standing.is_spent()).map(|standing| &standing.rule)
    }

    pub(crate) fn slow(&mut self, pattern: RoutePattern, lasts: Duration) {
        self.latency.retain(|(known, _)| *known != pattern);
        self.latency.push((pattern, lasts));
    }

    pub(crate) fn latency(&self, route: &str) -> Duration {
        let found = self.latency.iter().rev().find(|(pattern, _)| pattern.covers(route));
        found.map_or(Duration::ZERO, |(_, lasts)| *lasts)
    }

    /// The fault that strikes this call, if any; every rule for the route counts the call. `is_about` tells whether the
    /// call is about the project of this name.
    pub(crate) fn strike(&mut self, route: &str, is_about: impl Fn(&str) -> bool) -> Option<Fault> {
        let mut struck = None;
        for standing in self.rules.iter_mut().filter(|standing| standing.covers(route, &is_about)) {
            // A rule for one call keeps its turn when another rule struck first.
            if struck.is_some() && matches!(standing.rule.strike, Strike::Next | Strike::Times(_)) {
                continue;
            }
            standing.seen += 1;
            let hit = match standing.rule.strike {
                Strike::Next => standing.seen == 1,
                Strike::Nth(n) => standing.seen == n,
                Strike::Times(n) => standing.seen <= n,
                Strike::Always => true,
                Strike::Chance(p) => roll(&mut self.dice) < p,
            };
            if hit && struck.is_none() {
                struck = Some(standing.rule.fault.clone());
            }
        }
        self.rules.retain(|standing| !standing.is_spent());
        struck
    }
}

impl Standing {
    fn covers(&self, route: &str, is_about: impl Fn(&str) -> bool) -> bool {
        self.pattern.covers(route) && self.rule.project.as_deref().is_none_or(is_about)
    }

    fn is_spent(&self) -> bool {
        match self.rule.strike {
            Strike::Next => self.seen >= 1,
            Strike::Nth(n) | Strike::Times(n) => self.seen >= n,
            Strike::Always | Strike::Chance(_) => false,
        }
    }
}

/// splitmix64: the same sequence in every run, in [0, 1).
fn roll(dice: &mut u64) -> f64 {
    *dice = dice.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *dice;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}
