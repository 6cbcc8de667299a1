//! Spans of runs, told to a collector: what they say, what they never say, and that nobody waits for them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use pipekick_sandbox::gitlab::{Fault, FaultRule, PipelineRecord};
use pipekick_sandbox::tls::{Authority, TlsFront};
use serde_json::{Value, json};

use crate::DEADLINE;
use crate::harness::collector::{Answers, Collector, Told};
use crate::harness::gitlab::{failing, long, playing, project, quick};
use crate::harness::{FIRE, POLL, Secret, Story, Trigger, story};

const ASKED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const RUN: &str = "pipeline run";
const POST: &str = "POST pipeline";

/// Hands its trace on.
fn asking(name: &str) -> Trigger {
    let path = "metadata.annotations['example.com/traceparent']";
    let source = json!({"fieldRef": {"fieldPath": path, "optional": true}});
    Trigger::new(name).with("spec.variables", vec![json!({"name": "TRACEPARENT", "valueFrom": source})])
}

fn handed_on(pipeline: &PipelineRecord) -> &str {
    let is = |name: &str| name == "TRACEPARENT";
    pipeline.variables.iter().find(|variable| is(&variable.key)).map_or("", |variable| &variable.value)
}

/// The spans with this name.
fn named<'a>(spans: &'a [Told], name: &str) -> Vec<&'a Told> {
    spans.iter().filter(|span| span.name == name).collect()
}

/// The one span with this name.
fn only<'a>(spans: &'a [Told], name: &str) -> &'a Told {
    let found = named(spans, name);
    assert_eq!(found.len(), 1, "{name}: {spans:#?}");
    found[0]
}

/// A counter of the newest operator.
async fn spans(story: &Story, outcome: &str) -> u64 {
    let (metrics, sample) =
        (story.metrics().await, format!("pipekick_spans_total{{outcome=\"{outcome}\"}} "));
    let value = metrics.lines().find_map(|line| line.strip_prefix(&sample));
    value.map_or(0, |value| value.parse().unwrap())
}

async fn until_counted(story: &Story, outcome: &str, count: u64) {
    let began = Instant::now();
    while spans(story, outcome).await < count {
        assert!(began.elapsed() < DEADLINE, "{count} spans should be {outcome}");
        tokio::time::sleep(POLL).await;
    }
}

#[test]
fn each_run_is_told_as_one_span_with_its_posts_below_and_the_pipelines_own_spans_hang_below_it() {
    let mut seed = playing(quick());
    seed.projects.push(project("shop/failing", failing(SignedDuration::from_millis(300))));
    story(seed, async |story| {
        let collector = Collector::start();
        let headers = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("otlp-headers");
        std::fs::write(&headers, "Authorization: Bearer collector-canary\n").unwrap();
        story.tokens.borrow_mut().push("collector-canary".into());
        let (url, headers) = (collector.url(), headers.to_string_lossy().into_owned());
        story.operator(&["--otlp-endpoint", &url, "--otlp-headers-file", &headers, "--log-level", "trace"]);
        let values = Secret::unmarked("values").label("pipekick.dev/variables", "true");
        story.secret(values.key("v", "secret-canary")).await;
        let mut trigger = asking("checkout");
        let variables = trigger.0["spec"]["variables"].as_array_mut().unwrap();
        variables.push(json!({"name": "PLAIN", "value": "plain-canary"}));
        let source = json!({"secretKeyRef": {"name": "values", "key": "v"}});
        variables.push(json!({"name": "SECRET", "valueFrom": source}));
        story.apply(&trigger.with("spec.payload", json!({"k": "payload-canary"}))).await;
        story.until_run("checkout", 1, "Succeeded").await;
        let annotations = json!({"example.com/traceparent": ASKED, FIRE: "build-canary"});
        story.merge("checkout", &json!({"metadata": {"annotations": annotations}})).await;
        story.until_run("checkout", 2, "Succeeded").await;
        story.apply(&Trigger::new("fails").with("spec.gitlab.project", "shop/failing")).await;
        story.apply(&Trigger::new("refused").with("spec.ref", "mian")).await;
        story.until_run("fails", 1, "Failed").await;
        story.until_run("refused", 1, "Rejected").await;

        let spans = collector.until(story, "checkout", 4).await;
        let (runs, posts) = (named(&spans, RUN), named(&spans, POST));
        assert_eq!((runs.len(), posts.len()), (2, 2), "{spans:#?}");
        for ((run, post), pipeline) in runs.iter().zip(&posts).zip(story.pipelines_of("checkout")) {
            assert_eq!(handed_on(&pipeline), run.traceparent());
            assert_eq!((&post.trace, &post.parent), (&run.trace, &run.id));
            assert_eq!(run.text("pipekick.fire_id"), pipeline.fire_id.as_deref().unwrap());
            assert_eq!(run.text("cicd.pipeline.run.id"), pipeline.id.to_string());
            assert_eq!((run.kind, post.kind), (1, 3));
            assert!(run.start <= post.start && post.start <= post.end && post.end <= run.end, "{spans:#?}");
            assert_eq!((&run.error, &post.error), (&None, &None));
            let host = story.gitlab.url().trim_start_matches("http://");
            for (name, value) in [
                ("k8s.namespace.name", story.namespace.as_str()),
                ("pipekick.gitlab", host),
                ("pipekick.project", "shop/checkout"),
                ("vcs.ref.head.name", "main"),
                ("pipekick.outcome", "Succeeded"),
                ("pipekick.attempts", "1"),
            ] {
                assert_eq!(run.text(name), value, "{name}");
            }
            assert_eq!(post.text("http.response.status_code"), "201");
            assert_eq!(post.text("http.route"), "/projects/:id/trigger/pipeline");
        }
        assert_eq!(runs[0].parent, "", "it begins its trace");
        assert_ne!(runs[0].trace, runs[1].trace);
        assert_eq!(
            format!("00-{}-{}-01", runs[1].trace, runs[1].parent),
            ASKED,
            "it continues the one asked with"
        );

        let failed = collector.until(story, "fails", 2).await;
        let why = only(&failed, RUN).error.clone().unwrap();
        assert!(why.starts_with("PipelineFailed: ") && why.contains("unit-tests"), "{why}");
        assert_eq!(only(&failed, POST).error, None);
        let refused = collector.until(story, "refused", 2).await;
        for name in [RUN, POST] {
            let why = only(&refused, name).error.clone().unwrap();
            assert!(why.starts_with("RefNotFound: "), "{name}: {why}");
        }
        assert_eq!(only(&refused, POST).text("http.response.status_code"), "400");

        assert_eq!(collector.resource("service.name"), "pipekick");
        assert_eq!(collector.header("authorization"), "Bearer collector-canary");
        assert_eq!(collector.header("content-type"), "application/x-protobuf");
        let log = story.log();
        assert!(!log.contains("collector-canary"));
        for value in ["secret-canary", "plain-canary", "payload-canary", "build-canary", "collector-canary"] {
            assert!(!collector.was_told(value), "{value} was told");
        }
        for token in story.tokens.borrow().iter() {
            assert!(!collector.was_told(token), "a token was told");
        }
    });
}

#[test]
fn nothing_is_told_handed_on_or_recorded_where_no_collector_is_named() {
    story(playing(quick()), async |story| {
        story.operator(&[]);
        story.apply(&asking("checkout")).await;
        let seen = story.until_run("checkout", 1, "Succeeded").await;
        assert_eq!(handed_on(&story.pipelines_of("checkout")[0]), "");
        assert_eq!(seen.0["status"]["run"]["trace"], Value::Null);
        assert!(!story.metrics().await.contains("pipekick_spans_total{"));
    });
}

#[test]
fn a_run_that_was_found_after_its_reply_was_lost_is_one_span() {
    story(playing(quick()), async |story| {
        let collector = Collector::start();
        story.gitlab.fault(FaultRule::next("trigger", Fault::EffectThenReset)).unwrap();
        let url = collector.url();
        story.operator(&[
            "--request-deadline",
            "2s",
            "--gitlab-request-limit",
            "1s",
            "--otlp-endpoint",
            &url,
        ]);
        story.apply(&asking("checkout")).await;
        story.until_run("checkout", 1, "Succeeded").await;
        let spans = collector.until(story, "checkout", 2).await;
        story.let_pass().await;
        assert_eq!(collector.spans_of("checkout").len(), 2, "told once");
        let (run, post) = (only(&spans, RUN), only(&spans, POST));
        assert_eq!((run.text("pipekick.outcome"), run.text("pipekick.attempts")), ("Succeeded", "1"));
        assert_eq!((post.text("pipekick.outcome"), post.error.is_some()), ("unknown", true));
        assert_eq!((&post.parent, &run.error), (&run.id, &None));
        let pipelines = story.pipelines_of("checkout");
        assert_eq!((pipelines.len(), handed_on(&pipelines[0])), (1, run.traceparent().as_str()));
    });
}

#[test]
fn a_run_whose_operator_was_killed_or_restarted_meanwhile_is_one_span_under_the_same_names() {
    story(playing(long()), async |story| {
        let collector = Collector::start();
        let url = collector.url();
        let flags = ["--otlp-endpoint", url.as_str()];
        story.operator(&flags);
        for name in ["checkout", "asked"] {
            story.apply(&asking(name)).await;
            story.until_run(name, 1, "Running").await;
        }
        let annotations = json!({"example.com/traceparent": ASKED.replace("-01", "-00"), FIRE: "next"});
        // What it was told at its end is not what stands there by then.
        story.merge("asked", &json!({"metadata": {"annotations": annotations}})).await;
        collector.until(story, "checkout", 1).await;
        collector.until(story, "asked", 1).await;
        story.kill_operators();
        story.operator(&flags);
        story.let_pass().await;
        story.terminate_operators();
        story.operator(&flags);
        story.end_pipelines();
        story.until_run("checkout", 1, "Succeeded").await;
        let told = collector.until(story, "checkout", 2).await;
        let of_asked = collector.until(story, "asked", 2).await;
        story.let_pass().await;
        story.terminate_operators();
        assert_eq!(collector.spans_of("checkout").len(), 2, "told once, though three processes saw it");
        for (name, spans) in [("checkout", &told), ("asked", &of_asked)] {
            let (run, post) = (only(spans, RUN), only(spans, POST));
            assert_eq!((&post.trace, &post.parent), (&run.trace, &run.id), "{name}");
            assert_eq!(handed_on(&story.pipelines_of(name)[0]), run.traceparent(), "{name}");
        }
        // Who began the second trace does not want it told: it is handed on, and nothing else.
        let second = story.pipelines_of("asked").swap_remove(1);
        let (begun, own) = (ASKED.replace("-01", "-00"), handed_on(&second).to_owned());
        assert_eq!((own.get(..36), own.get(52..)), (begun.get(..36), begun.get(52..)));
        assert_ne!(own, begun);
        assert_eq!(collector.spans_of("asked").len(), 2);
    });
}

#[test]
fn a_collector_that_is_away_slow_or_unwilling_delays_nothing_and_what_it_costs_is_counted() {
    story(playing(quick()), async |story| {
        let address = Collector::nowhere();
        let url = format!("http://{address}");
        story.operator(&["--otlp-endpoint", &url]);
        story.apply(&Trigger::new("away")).await;
        story.until_run("away", 1, "Succeeded").await;
        let troubled = |log: &str| log.matches("collector took no spans").count();
        // Asked again, and told once.
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(troubled(&story.log()), 1, "{}", story.log());
        let collector = Collector::at(address);
        collector.until(story, "away", 2).await;
        until_counted(story, "exported", 2).await;
        assert_eq!(spans(story, "dropped").await, 0);
        assert_eq!(story.log().matches("collector took spans").count(), 1);

        collector.answer(Answers::With(503));
        let asked = collector.requests();
        story.apply(&Trigger::new("busy")).await;
        story.until_run("busy", 1, "Succeeded").await;
        let began = Instant::now();
        while collector.requests() < asked + 2 {
            assert!(began.elapsed() < DEADLINE, "it should be asked again");
            tokio::time::sleep(POLL).await;
        }
        collector.answer(Answers::With(200));
        collector.until(story, "busy", 2).await;

        collector.answer(Answers::With(400));
        story.apply(&Trigger::new("unwilling")).await;
        story.until_run("unwilling", 1, "Succeeded").await;
        until_counted(story, "dropped", 2).await;
        assert_eq!(troubled(&story.log()), 3, "once for each change: {}", story.log());

        collector.answer(Answers::Never);
        story.apply(&Trigger::new("slow")).await;
        story.until_run("slow", 1, "Succeeded").await;
        let began = Instant::now();
        story.terminate_operators();
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        assert!(story.log().contains("spans were not told before the end"), "{}", story.log());
        for name in ["away", "busy", "unwilling", "slow"] {
            assert_eq!(story.fired(name), 1, "{name}");
        }
    });
}

#[test]
fn what_waits_at_the_end_is_told_before_the_process_ends_also_over_tls() {
    story(playing(quick()), async |story| {
        let (collector, authority) = (Collector::start(), Authority::new().unwrap());
        let front: SocketAddr = collector.address;
        let front = TlsFront::start(front, &authority).await.unwrap();
        let ca = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("otlp-ca.pem");
        std::fs::write(&ca, authority.pem()).unwrap();
        let (url, ca) = (front.url(), ca.to_string_lossy().into_owned());
        story.operator(&["--otlp-endpoint", &url, "--otlp-ca-file", &ca]);
        story.apply(&Trigger::new("private")).await;
        collector.until(story, "private", 2).await;
        story.terminate_operators();

        // By the system's CAs it is not believed, and so told nothing.
        story.operator(&["--otlp-endpoint", &url]);
        story.ask("private", "again").await;
        story.until_run("private", 2, "Succeeded").await;
        let began = Instant::now();
        while !story.log_of(2).contains("collector took no spans") {
            assert!(began.elapsed() < DEADLINE, "it should not be believed: {}", story.log_of(2));
            tokio::time::sleep(POLL).await;
        }
        assert_eq!(collector.spans_of("private").len(), 2);
        story.kill_operators();

        story.operator(&["--otlp-endpoint", &collector.url()]);
        story.apply(&Trigger::new("last")).await;
        story.until_run("last", 1, "Succeeded").await;
        story.terminate_operators();
        assert_eq!(collector.spans_of("last").len(), 2);
    });
}
