//! `/livez` and `/readyz`: 200 `ok`, or 503 and which runtime says what.
//!
//! The judgement is [`Vitals`]'; here it becomes an answer.

use std::{fmt::Write, sync::Arc};

use axum::{Router, extract::State, http::StatusCode, routing::get};

use crate::{clock, runtime::Vitals};

/// The runtimes of this process, each under the name of its kind.
#[derive(Debug, Clone)]
pub struct Health(Arc<[(&'static str, Arc<Vitals>)]>);

impl Health {
    /// Judged by these; with none the process is live and ready.
    #[must_use]
    pub fn new(runtimes: Vec<(&'static str, Arc<Vitals>)>) -> Self {
        Self(runtimes.into())
    }

    fn answer(&self, judge: impl Fn(&Vitals) -> Result<(), String>) -> (StatusCode, String) {
        let mut problems = String::new();
        for (kind, vitals) in self.0.iter() {
            if let Err(problem) = judge(vitals) {
                let _ = writeln!(problems, "{kind}: {problem}");
            }
        }
        if problems.is_empty() {
            return (StatusCode::OK, "ok\n".into());
        }
        (StatusCode::SERVICE_UNAVAILABLE, problems)
    }
}

pub(super) fn routes(health: Health) -> Router {
    let livez = async |State(health): State<Health>| {
        let now = clock::instant();
        let answer = health.answer(|vitals| vitals.live(now));
        if answer.0 != StatusCode::OK {
            // The kubelet does not show the body of a failed probe that ended in a restart.
            tracing::error!(problems = answer.1.trim_end(), "liveness probe failed");
        }
        answer
    };
    let readyz = async |State(health): State<Health>| health.answer(Vitals::ready);
    Router::new().route("/livez", get(livez)).route("/readyz", get(readyz)).with_state(health)
}
