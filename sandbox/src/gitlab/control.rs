//! The simulator's own routes under `/-/sim/`: what [`super::Handle`] does, over HTTP. They are no part of
//! GitLab, are not recorded in the ledger, and never hang or fail on purpose. Bodies are YAML or JSON.

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use jiff::SignedDuration;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::json;

use super::{act::Deed, faults::FaultRule, rows, seed::Seed, server::Shared};

/// What there is, for a person with curl.
const GUIDE: &str = "\
The simulator's own routes; bodies are YAML or JSON.

GET    /-/sim/ledger                        all that happened, but for git's own clones; ?fire_id=ID: one run's pipelines
GET    /-/sim/rows                          the answers the simulator knows, and how well they are known
GET    /-/sim/schedules                     pipeline schedules as GitLab would run them
GET    /-/sim/clock                         the time here
POST   /-/sim/clock/advance                 {by: 90s}
GET    /-/sim/faults                        the faults that stand
POST   /-/sim/faults                        {route: trigger, strike: next, fault: reset}
                                            {route: \"*\", project: shop/checkout, strike: {times: 3}, fault: {bad_gateway: {effect: true}}}
                                            strike: next, {nth: N}, {times: N}, always, {chance: 0.1}
                                            fault: reset, effect_then_reset, hang_then_answer, hang_then_reset, late_effect,
                                            truncated_body, bad_gateway, server_error, too_many_requests, unavailable,
                                            read_only, resource_lock, lost_race, redirect, list_lag
DELETE /-/sim/faults                        clears them
POST   /-/sim/seed                          more users, projects and tokens, in the form of the file given by --seed;
                                            a project that is there gets what is given: its script, say
                                            {version: \"17.9\"}
                                            from now on this release, from 15.0 to 19.x
                                            {limits: {unauthenticated: {requests: 10, period: 60s}, pipelines_per_sha: 25}}
                                            from now on these limits and no others: authenticated, unauthenticated and
                                            all_traffic as above, application (calls a minute by route),
                                            pipelines_per_sha and pipelines_per_user (a minute)
                                            {limits: {}}
                                            none
                                            {latency: {trigger: 2s}}
                                            answers of this route are late
POST   /-/sim/tokens/NAME/ACTION            revoke, expire or rotate
POST   /-/sim/pipelines/ID/ACTION           retry or cancel, as a person would
POST   /-/sim/pipelines/ID/ACTION/JOB       retry or play one job
";

pub(crate) fn router() -> Router<Shared> {
    Router::new()
        .route("/-/sim/", get(|| async { GUIDE }))
        .route("/-/sim/ledger", get(ledger))
        .route("/-/sim/rows", get(|| async { Json(rows::ALL) }))
        .route("/-/sim/schedules", get(schedules))
        .route("/-/sim/clock", get(now))
        .route("/-/sim/clock/advance", post(advance))
        .route("/-/sim/faults", get(faults).post(put_fault).delete(clear_faults))
        .route("/-/sim/seed", post(add))
        .route("/-/sim/tokens/{name}/{action}", post(token))
        .route("/-/sim/pipelines/{id}/{deed}", post(pipeline))
        .route("/-/sim/pipelines/{id}/{deed}/{job}", post(job))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LedgerQuery {
    fire_id: Option<String>,
}

async fn ledger(State(sim): State<Shared>, Query(query): Query<LedgerQuery>) -> Response {
    let world = sim.lock();
    match query.fire_id {
        Some(id) => Json(json!({ "pipelines": world.ledger.pipelines_with_fire_id(&id) })).into_response(),
        None => Json(&world.ledger).into_response(),
    }
}

async fn schedules(State(sim): State<Shared>) -> Response {
    let world = sim.lock();
    Json(world.schedules.all.values().collect::<Vec<_>>()).into_response()
}

async fn now(State(sim): State<Shared>) -> Response {
    Json(json!({ "now": sim.lock().clock.now() })).into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    by: SignedDuration,
}

async fn advance(State(sim): State<Shared>, body: String) -> Response {
    answer(read(&body).map(|Advance { by }| {
        let mut world = sim.lock();
        world.clock.advance(by);
        json!({ "now": world.clock.now() })
    }))
}

async fn faults(State(sim): State<Shared>) -> Response {
    let rules: Vec<FaultRule> = sim.lock().faults.standing().cloned().collect();
    Json(rules).into_response()
}

async fn put_fault(State(sim): State<Shared>, body: String) -> Response {
    let put = |rule: FaultRule| sim.lock().faults.put(rule).map_err(|error| error.to_string());
    answer(read(&body).and_then(put).map(|()| json!({})))
}

async fn clear_faults(State(sim): State<Shared>) -> Response {
    sim.lock().faults.clear();
    answer(Ok(json!({})))
}

async fn add(State(sim): State<Shared>, body: String) -> Response {
    let plant = |seed: Seed| sim.lock().plant(seed).map_err(|error| error.to_string());
    answer(read(&body).and_then(plant).map(|()| json!({})))
}

async fn token(State(sim): State<Shared>, Path((name, action)): Path<(String, String)>) -> Response {
    let mut world = sim.lock();
    let done = match action.as_str() {
        "revoke" => world.revoke_token(&name).map(|()| json!({})),
        "expire" => world.expire_token(&name).map(|()| json!({})),
        "rotate" => world.rotate_token(&name).map(|token| json!({ "token": token })),
        _ => return answer(Err(format!("`{action}` is none of revoke, expire, rotate"))),
    };
    answer(done.map_err(|error| error.to_string()))
}

async fn pipeline(State(sim): State<Shared>, Path((id, deed)): Path<(u64, String)>) -> Response {
    let deed = match deed.as_str() {
        "retry" => Deed::Retry,
        "cancel" => Deed::Cancel,
        _ => return answer(Err(format!("`{deed}` is none of retry, cancel"))),
    };
    let done = sim.lock().by_hand(id, deed);
    answer(if done { Ok(json!({})) } else { Err(format!("there is no pipeline {id}")) })
}

async fn job(State(sim): State<Shared>, Path((id, deed, job)): Path<(u64, String, String)>) -> Response {
    let deed = match deed.as_str() {
        "retry" => Deed::RetryJob(&job),
        "play" => Deed::Play(&job),
        _ => return answer(Err(format!("`{deed}` is none of retry, play"))),
    };
    let done = sim.lock().by_hand(id, deed);
    let refusal = || format!("job `{job}` of pipeline {id} is not there, or not in a state for this");
    answer(if done { Ok(json!({})) } else { Err(refusal()) })
}

fn read<T: DeserializeOwned>(body: &str) -> Result<T, String> {
    serde_saphyr::from_str(body).map_err(|error| error.to_string())
}

fn answer(done: Result<serde_json::Value, String>) -> Response {
    match done {
        Ok(value) => Json(value).into_response(),
        Err(error) => (StatusCode::UNPROCESSABLE_ENTITY, Json(json!({ "error": error }))).into_response(),
    }
}
