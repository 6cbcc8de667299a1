//! Rate limits, all off until a seed turns them on: throttles in front of everything (plain text 429),
//! the application's own limiter per route (JSON 429), and the limit on creating pipelines (a 400).
//! Windows are fixed: they begin at multiples of the period, whenever the first request came.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::{
    clock::http_date,
    faults::{RoutePattern, UnknownRoute},
    row::Answer,
    rows,
};

/// The limits in force; none by default, as on a self-managed instance.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// API calls of one user.
    pub authenticated: Option<Throttle>,
    /// API calls without a user from one address; trigger calls count here.
    pub unauthenticated: Option<Throttle>,
    /// Every call from one address.
    pub all_traffic: Option<Throttle>,
    /// Calls per minute of one user (or address) to a route, by route pattern.
    pub application: BTreeMap<String, u64>,
    /// Pipelines created per minute for one project, user and commit.
    pub pipelines_per_sha: Option<u64>,
    /// Pipelines created per minute by one user.
    pub pipelines_per_user: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Throttle {
    pub requests: u64,
    /// Whole seconds.
    pub period: SignedDuration,
}

const MINUTE: i64 = 60;

#[derive(Debug, Default)]
pub(crate) struct Limiter {
    limits: Limits,
    application: Vec<(RoutePattern, u64)>,
    windows: HashMap<(&'static str, String), Window>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Window {
    index: i64,
    count: u64,
}

/// The `RateLimit-*` headers of an answer that was not throttled.
pub(crate) type Announcement = Vec<(&'static str, String)>;

impl Limiter {
    pub(crate) fn set(&mut self, limits: Limits) -> Result<(), UnknownRoute> {
        let pattern = |(text, calls): (&String, &u64)| Ok((RoutePattern::parse(text)?, *calls));
        self.application = limits.application.iter().map(pattern).collect::<Result<_, _>>()?;
        self.limits = limits;
        self.windows.clear();
        Ok(())
    }

    /// Counts a call at the front door. `Err` is the plain-text 429.
    pub(crate) fn enter(
        &mut self,
        user: Option<u64>,
        peer: IpAddr,
        now: Timestamp,
    ) -> Result<Announcement, Answer> {
        let own = match user {
            Some(user) => ("throttle_authenticated_api", self.limits.authenticated, user.to_string()),
            None => ("throttle_unauthenticated_api", self.limits.unauthenticated, peer.to_string()),
        };
        let all = ("throttle_all_traffic", self.limits.all_traffic, peer.to_string());
        let mut announced = Announcement::new();
        for (name, throttle, key) in [all, own] {
            let Some(throttle) = throttle else { continue };
            let period = throttle.period.as_secs().max(1);
            let observed = self.count(name, key, period, now);
            let left = period - now.as_second().rem_euclid(period);
            let limit = throttle.requests;
            // Normalised to a minute, rounded up; Remaining is of the real period.
            let per_minute = (limit * MINUTE.unsigned_abs()).div_ceil(period.unsigned_abs());
            announced = vec![
                ("RateLimit-Name", name.to_owned()),
                ("RateLimit-Limit", per_minute.to_string()),
                ("RateLimit-Observed", observed.to_string()),
                ("RateLimit-Remaining", limit.saturating_sub(observed).to_string()),
                ("RateLimit-Reset", (now.as_second() + left).to_string()),
            ];
            if observed > limit {
                let mut answer = rows::THROTTLED.answer();
                answer.headers = announced;
                let reset = now + SignedDuration::from_secs(left);
                return Err(answer
                    .header("RateLimit-ResetTime", http_date(reset))
                    .header("Retry-After", left.to_string()));
            }
        }
        Ok(announced)
    }

    /// Counts a call to a route. `Err` is the JSON 429.
    pub(crate) fn application(
        &mut self,
        route: &'static str,
        who: String,
        now: Timestamp,
    ) -> Result<(), Answer> {
        let limit =
            self.application.iter().find(|(pattern, _)| pattern.covers(route)).map(|(_, calls)| *calls);
        match limit {
            Some(limit) if self.count(route, who, MINUTE, now) > limit => {
                Err(rows::APPLICATION_LIMITED.answer())
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Counts an attempt to create a pipeline, refused ones too; `false` refuses it.
    pub(crate) fn may_create(&mut self, project: u64, user: u64, sha: &str, now: Timestamp) -> bool {
        let mut within = true;
        if let Some(limit) = self.limits.pipelines_per_sha {
            within &=
                self.count("pipelines_per_sha", format!("{project}:{user}:{sha}"), MINUTE, now) <= limit;
        }
        if let Some(limit) = self.limits.pipelines_per_user {
            within &= self.count("pipelines_per_user", user.to_string(), MINUTE, now) <= limit;
        }
        within
    }

    fn count(&mut self, name: &'static str, key: String, period: i64, now: Timestamp) -> u64 {
        let index = now.as_second().div_euclid(period);
        let window = self.windows.entry((name, key)).or_default();
        if window.index != index {
            *window = Window { index, count: 0 };
        }
        window.count += 1;
        window.count
    }
}
