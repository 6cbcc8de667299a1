//! Trouble on request: what the caller sees, and what GitLab did all the same.
#![allow(clippy::unwrap_used, reason = "the functions beside the tests are tests too")]
#![allow(clippy::disallowed_methods, reason = "waiting on the wire is real time, and is measured")]

mod gitlab_client;

use std::{error::Error as _, time::Instant};

use gitlab_client::{Client, SHOP, Seen, send, shop, standing, started, try_send};
use jiff::SignedDuration;
use pipekick_sandbox::gitlab::{Fault, FaultRule, GitlabSim, Handle, Seed, Strike};
use serde_json::json;

const NOTHING: usize = 0;
const ONE: usize = 1;

/// Fires once under this fault, and says what came and how many pipelines there are.
async fn under(fault: Fault) -> (Handle, reqwest::Result<Seen>, usize) {
    let (sim, client) = shop();
    sim.fault(FaultRule::next("trigger", fault)).unwrap();
    let seen = try_send(client.trigger(&json!({}))).await;
    let made = sim.ledger().pipelines.len();
    (sim, seen, made)
}

fn was_reset(error: &reqwest::Error) -> bool {
    let mut source = error.source();
    while let Some(error) = source {
        let io = error.downcast_ref::<std::io::Error>();
        if io.is_some_and(|io| io.kind() == std::io::ErrorKind::ConnectionReset) {
            return true;
        }
        source = error.source();
    }
    false
}

#[tokio::test]
async fn a_reset_is_a_reset_with_or_without_the_effect() {
    let wait = SignedDuration::from_millis(50);
    for (fault, pipelines) in
        [(Fault::Reset, NOTHING), (Fault::EffectThenReset, ONE), (Fault::HangThenReset { wait }, NOTHING)]
    {
        let (sim, seen, made) = under(fault.clone()).await;
        assert!(was_reset(&seen.unwrap_err()), "{fault:?}");
        assert_eq!(made, pipelines, "{fault:?}");
        let ledger = sim.ledger();
        let call = &ledger.calls[0];
        assert_eq!((call.status, call.row), (None, None));
        assert_eq!(call.effect, (pipelines == ONE).then_some("TRIGGER_CREATED"));
        assert_eq!(call.credential.as_ref().unwrap().name, "ops");
    }
}

#[tokio::test]
async fn a_truncated_body_breaks_off_after_the_effect() {
    let (sim, seen, made) = under(Fault::TruncatedBody).await;
    assert!(seen.is_err(), "{seen:?}");
    assert_eq!((made, sim.ledger().calls[0].status), (ONE, Some(201)));
}

#[tokio::test]
async fn answers_from_proxies_say_nothing_about_the_effect() {
    for (fault, status, html, pipelines) in [
        (Fault::BadGateway { effect: false }, 502, true, NOTHING),
        (Fault::BadGateway { effect: true }, 502, true, ONE),
        (Fault::ServerError { effect: false }, 500, false, NOTHING),
        (Fault::ServerError { effect: true }, 500, false, ONE),
        (Fault::TooManyRequests { retry_after: 9 }, 429, false, NOTHING),
        (Fault::Unavailable { retry_after: 9 }, 503, false, NOTHING),
        (Fault::Redirect { location: "http://127.0.0.1:9/login".into() }, 302, true, NOTHING),
    ] {
        let (_sim, seen, made) = under(fault.clone()).await;
        let seen = seen.unwrap();
        assert_eq!((seen.status, made), (status, pipelines), "{fault:?}");
        assert_eq!(seen.body.starts_with("<html>"), html, "{fault:?}");
        match fault {
            Fault::TooManyRequests { .. } => {
                assert_eq!((seen.header("retry-after"), seen.body.as_str()), ("9", "Retry later"));
            }
            Fault::Unavailable { .. } => assert_eq!(seen.header("retry-after"), "9"),
            Fault::Redirect { location } => assert_eq!(seen.header("location"), location),
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_late_effect_comes_by_the_simulators_clock_and_is_dated_then() {
    let after = SignedDuration::from_secs(30);
    let (sim, seen, made) = under(Fault::LateEffect { after }).await;
    assert_eq!((seen.unwrap().status, made), (504, NOTHING));
    sim.advance(SignedDuration::from_secs(29));
    assert!(sim.ledger().pipelines.is_empty());
    sim.advance(SignedDuration::from_secs(31));
    let ledger = sim.ledger();
    assert_eq!(ledger.pipelines[0].at, "2026-11-02T08:00:30Z".parse().unwrap());
    assert_eq!((ledger.calls[0].pipeline, ledger.calls[0].effect), (Some(1000), Some("TRIGGER_CREATED")));
}

#[tokio::test]
async fn a_hang_and_a_latency_are_real_time_and_the_effect_comes_first() {
    let (sim, client) = shop();
    let wait = SignedDuration::from_millis(900);
    sim.fault(FaultRule::next("trigger", Fault::HangThenAnswer { wait })).unwrap();
    let start = Instant::now();
    let (seen, ()) = tokio::join!(send(client.trigger(&json!({}))), async {
        tokio::time::sleep(wait.unsigned_abs() / 3).await;
        assert_eq!(sim.ledger().pipelines.len(), ONE, "before the answer");
    });
    assert_eq!(seen.status, 201);
    sim.latency("*", wait).unwrap();
    client.get(SHOP).await;
    assert!(start.elapsed() >= wait.unsigned_abs() * 2);
}

#[tokio::test]
async fn a_caller_that_hangs_up_does_not_undo_the_effect() {
    let (sim, client) = shop();
    let wait = SignedDuration::from_secs(5);
    sim.fault(FaultRule::next("trigger", Fault::HangThenAnswer { wait })).unwrap();
    let timeout = std::time::Duration::from_millis(500);
    assert!(try_send(client.trigger(&json!({})).timeout(timeout)).await.unwrap_err().is_timeout());
    assert_eq!(sim.ledger().pipelines.len(), ONE);
}

#[tokio::test]
async fn a_lagging_list_leaves_out_the_young() {
    let (sim, client) = shop();
    let younger_than = SignedDuration::from_secs(10);
    sim.fault(FaultRule::always("pipelines", Fault::ListLag { younger_than })).unwrap();
    let id = send(client.trigger(&json!({}))).await.id();
    let path = format!("{SHOP}/pipelines");
    assert_eq!(client.get(&path).await.body, "[]");
    assert_eq!(client.get(&format!("{path}/{id}")).await.status, 200, "by its id it is there");
    sim.advance(SignedDuration::from_secs(11));
    assert_eq!(client.get(&path).await.each("id"), [json!(id)]);
}

#[tokio::test]
async fn rules_strike_the_calls_they_name() {
    let (sim, client) = shop();
    let unavailable = || Fault::Unavailable { retry_after: 1 };
    sim.fault(FaultRule::nth(2, "GET /projects/:id", unavailable())).unwrap();
    let times = Strike::Times(2);
    sim.fault(FaultRule { route: "version".into(), project: None, strike: times, fault: unavailable() })
        .unwrap();
    let mut seen = Vec::new();
    for path in [SHOP, "/user", SHOP, SHOP, "/version", "/version", "/version"] {
        seen.push(client.get(path).await.status);
    }
    assert_eq!(seen, [200, 200, 503, 200, 503, 503, 200]);
    assert!(sim.faults().is_empty(), "spent rules are gone");
    assert!(sim.fault(FaultRule::next("no-such-route", unavailable())).is_err());
    let half =
        FaultRule { route: "*".into(), project: None, strike: Strike::Chance(0.5), fault: unavailable() };
    sim.fault(half).unwrap();
    let mut struck = 0;
    for _ in 0..100 {
        struck += u32::from(client.get("/user").await.status == 503);
    }
    assert!((30..70).contains(&struck), "{struck} of 100");
    sim.clear_faults();
    assert_eq!(client.get("/user").await.status, 200);
}

#[tokio::test]
async fn everything_can_be_steered_over_http_too() {
    let (sim, client) = shop();
    let control = async |method: &str, path: &str, body: &str| {
        send(client.raw(method, &format!("/-/sim/{path}")).body(body.to_owned())).await
    };
    let fault = r#"{"route": "trigger", "strike": {"nth": 1}, "fault": {"late_effect": {"after": "30s"}}}"#;
    assert_eq!(control("POST", "faults", fault).await.status, 200);
    assert_eq!(control("GET", "faults", "").await.json()[0]["route"], "trigger");
    assert_eq!(send(client.trigger(&json!({ "pipekick": { "fire_id": "abc" } }))).await.status, 504);
    assert_eq!(control("POST", "clock/advance", "by: 1m").await.json()["now"], "2026-11-02T08:01:00Z");
    let found = control("GET", "ledger?fire_id=abc", "").await.json();
    assert_eq!(found["pipelines"][0]["params"]["pipekick"]["fire_id"], "abc");
    let bare = "{route: trigger, fault: reset}";
    assert_eq!(control("POST", "faults", bare).await.status, 200);
    assert_eq!(control("DELETE", "faults", "").await.status, 200);
    assert!(sim.faults().is_empty());

    let seed = "users: [{username: zoe}]\nprojects: [{path: shop/new, members: {zoe: owner}}]\n";
    assert_eq!(control("POST", "seed", seed).await.status, 200);
    assert_eq!(control("POST", "seed", "project: []").await.status, 422, "unknown keys are refused");
    let renewed = control("POST", "tokens/bot/rotate", "").await.json();
    let new = renewed["token"].as_str().unwrap();
    assert_eq!(send(client.call("GET", "/user").header("PRIVATE-TOKEN", new)).await.status, 200);
    assert_eq!(control("POST", "tokens/bot/revoke", "").await.status, 200);
    assert_eq!(control("POST", "tokens/nobody/expire", "").await.status, 422);
    let rows = control("GET", "rows", "").await.json();
    let unverified = rows.as_array().unwrap().iter().filter(|row| row["verified"] == false).count();
    assert!(unverified > 0 && unverified < rows.as_array().unwrap().len());
    assert!(sim.ledger().calls.iter().all(|call| !call.path.starts_with("/-/")));
}

#[tokio::test]
async fn what_the_guide_shows_works() {
    let (_sim, client) = shop();
    let guide = send(client.raw("GET", "/-/sim/")).await.body;
    let (mut path, mut tried) = (String::new(), 0);
    for line in guide.lines() {
        let words = line.split_whitespace().collect::<Vec<_>>();
        if let ["GET" | "POST" | "DELETE", named, ..] = words[..] {
            path = named.to_owned();
        }
        let Some(shown) = line.find('{').map(|from| &line[from..]).filter(|shown| shown.ends_with('}'))
        else {
            continue;
        };
        if line[..line.len() - shown.len()].contains("strike:") {
            continue;
        }
        let answer = send(client.raw("POST", &path).body(shown.to_owned())).await;
        assert_eq!(answer.status, 200, "{path} {shown}: {}", answer.body);
        tried += 1;
    }
    assert_eq!(tried, 7);
    assert_eq!(client.get("/projects/shop%2Fcheckout").await.status, 502, "the fault that it shows");
}

#[tokio::test]
async fn over_http_it_becomes_another_release_with_other_limits() {
    let (_sim, client) = shop();
    let seed = async |body: &str| {
        let answer = send(client.raw("POST", "/-/sim/seed").body(body.to_owned())).await;
        (answer.status, answer.body)
    };
    for version in ["15.0", "16.11", "17.9", "18.5", "19.0"] {
        assert_eq!(seed(&format!("{{version: \"{version}\"}}")).await.0, 200);
        assert_eq!(client.get("/version").await.json()["version"], format!("{version}.0-ee"));
    }
    let (status, why) = seed("{version: \"14.0\"}").await;
    assert_eq!(status, 422);
    assert!(why.contains("15.0 to 19.x"), "{why}");

    assert_eq!(seed("{limits: {authenticated: {requests: 1, period: 60s}}}").await.0, 200);
    let statuses = async || [client.get("/user").await.status, client.get("/user").await.status];
    assert_eq!(statuses().await, [200, 429]);
    assert_eq!(seed("{limits: {}}").await.0, 200);
    assert_eq!(statuses().await, [200, 200]);
}

#[tokio::test]
async fn a_fault_of_a_project_strikes_it_by_whichever_name_it_is_called() {
    let (sim, client) = shop();
    let id = client.get("/projects/shop%2Fcheckout").await.json()["id"].as_u64().unwrap();
    let number = format!("/projects/{id}");
    for of in ["shop/checkout".to_owned(), id.to_string()] {
        sim.fault(FaultRule::always("*", Fault::Unavailable { retry_after: 1 }).of(&of)).unwrap();
        for path in ["/projects/shop%2Fcheckout", &number] {
            assert_eq!(client.get(path).await.status, 503, "{path}, with a fault of {of}");
        }
        assert_eq!(client.get("/projects/shop%2Fother").await.status, 404);
        assert_eq!(client.get("/user").await.status, 200, "about no project");
        sim.clear_faults();
    }
}

#[tokio::test]
async fn many_simulators_live_side_by_side_and_leave_nothing_behind() {
    let sims: Vec<Handle> = (0..20).map(|_| started(Seed::one_project("shop/checkout")).0).collect();
    send(Client::new(&sims[7]).trigger(&json!({}))).await;
    let counts: Vec<usize> = sims.iter().map(|sim| sim.ledger().pipelines.len()).collect();
    assert_eq!((counts[7], counts.iter().sum::<usize>()), (1, 1));

    let client = Client::new(&sims[0]);
    let url = sims[0].url().to_owned();
    assert_eq!(client.get("/user").await.status, 200);
    drop(sims);
    assert!(try_send(client.api("GET", "/user")).await.is_err());
    let address = url.strip_prefix("http://").unwrap().parse().unwrap();
    GitlabSim::start_at(address, standing(Seed::one_project("shop/checkout"))).unwrap();
}

#[test]
fn the_example_seed_is_valid() {
    let text = include_str!("../seeds/example.yaml");
    GitlabSim::start(Seed::from_yaml(text).unwrap()).unwrap();
}
