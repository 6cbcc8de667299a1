use std::{
    collections::VecDeque,
    convert::Infallible as Never,
    sync::Mutex,
    task::{Context, Poll},
};

use axum::{
    Router,
    body::{Body as HttpBody, Bytes},
    extract::{RawQuery, State},
    response::{IntoResponse, Response},
    routing::get,
};
use kube::core::Status;
use pipekick_core::domain::ObjectKey;
use serde_json::{Value, json};

use super::{
    super::{
        Handle, Lenient, Options, Outcome, Rank, Runtime,
        lenient::tests::Probe,
        store::{Body, Entry, Scope},
    },
    *,
};
use crate::clock;

fn refused(code: u16) -> End {
    End::Failed(Failure::Kube(kube::Error::Api(Status::failure("no", "No").with_code(code).boxed())))
}

#[test]
fn how_it_ends_decides_where_it_goes_on() {
    let cases = [
        ("the server ended it", vec![End::Closed], true, (Some("5"), false)),
        ("ended without a word", vec![End::Closed], false, (Some("5"), true)),
        ("silent once", vec![End::Silent], false, (Some("5"), false)),
        ("silent twice", vec![End::Silent, End::Silent], false, (None, false)),
        ("no answer", vec![End::Failed(Failure::Deadline)], false, (Some("5"), true)),
        ("too old", vec![refused(410)], true, (None, true)),
        ("a version the server does not like", vec![refused(400)], false, (None, true)),
        ("asked to slow down", vec![refused(429)], false, (Some("5"), true)),
        ("the server's trouble", vec![refused(503)], true, (Some("5"), true)),
    ];
    for (name, ends, heard, (version, pause)) in cases {
        let mut place = Place { version: Some("5".into()), ..Place::default() };
        let paused = ends.iter().fold(None, |_, end| Some(place.leave(end, heard)));
        assert_eq!((place.version.as_deref(), paused), (version, Some(pause)), "{name}");
    }
}

#[test]
fn a_list_older_than_what_was_heard_is_a_rewound_history() {
    let mut place = Place::default();
    assert!(!place.is_rewound("7"));
    place.hear("90");
    place.hear("80");
    assert!(!place.is_rewound("90") && place.is_rewound("89") && !place.is_rewound("x"));
    place.leave(&End::Listed("40".into()), true);
    assert!(!place.is_rewound("41") && place.is_rewound("39"));
}

#[test]
fn what_nobody_reads_is_dropped() {
    let mut meta: ObjectMeta = serde_json::from_value(json!({
        "managedFields": [{"manager": "kubectl"}],
        "annotations": {LAST_APPLIED: "{}", "pipekick.dev/fire": "1"},
    }))
    .unwrap();
    strip(&mut meta);
    assert_eq!(serde_json::to_value(meta).unwrap(), json!({"annotations": {"pipekick.dev/fire": "1"}}));
}

/// An API server that reads its answers off a script and writes down what it was asked.
#[derive(Clone, Default)]
struct Script(Arc<Mutex<(VecDeque<Answer>, Vec<String>)>>);

enum Answer {
    Json(Value),
    /// Events; then the end, or silence.
    Events(Vec<Value>, bool),
    Refuse(u16),
}

async fn serve(State(script): State<Script>, RawQuery(query): RawQuery) -> Response {
    sleep(Duration::from_millis(10)).await;
    let answer = {
        let mut script = script.0.lock().unwrap();
        script.1.push(query.unwrap_or_default());
        script.0.pop_front()
    };
    match answer {
        Some(Answer::Json(value)) => value.to_string().into_response(),
        Some(Answer::Refuse(code)) => {
            let status =
                json!({"kind": "Status", "status": "Failure", "message": "", "reason": "", "code": code});
            (http::StatusCode::from_u16(code).unwrap(), status.to_string()).into_response()
        }
        Some(Answer::Events(events, silent)) => {
            let lines: Vec<_> =
                events.iter().map(|e| Ok::<_, Never>(Bytes::from(format!("{e}\n")))).collect();
            let rest = futures::stream::poll_fn(
                move |_: &mut Context<'_>| {
                    if silent { Poll::Pending } else { Poll::Ready(None) }
                },
            );
            HttpBody::from_stream(futures::stream::iter(lines).chain(rest)).into_response()
        }
        None => std::future::pending().await,
    }
}

fn probe(name: &str, version: u32, spec: &Value) -> Value {
    json!({"apiVersion": "test.example/v1", "kind": "Probe", "spec": spec,
           "metadata": {"name": name, "namespace": "ns", "uid": name, "resourceVersion": version.to_string()}})
}

fn page(version: u32, next: &str, items: &[Value]) -> Answer {
    Answer::Json(json!({"apiVersion": "test.example/v1", "kind": "ProbeList", "items": items,
                        "metadata": {"resourceVersion": version.to_string(), "continue": next}}))
}

fn event(kind: &str, object: &Value) -> Value {
    json!({"type": kind, "object": object})
}

struct Recorder(Mutex<Vec<String>>);

impl Worker for Recorder {
    type Record = Result<u32, String>;

    fn classify(&self, _: &Self::Record) -> Rank {
        Rank::Firing
    }

    async fn work(&self, key: &ObjectKey, entry: Entry<Self::Record>) -> Outcome {
        let Body::Whole(record) = entry.body else { panic!("nothing here settles") };
        let size = record.as_ref().as_ref().map_or("malformed".to_owned(), u32::to_string);
        self.0.lock().unwrap().push(format!("{} {size}", key.name));
        Outcome::done()
    }

    fn panicked(&self, _: &ObjectKey, _: &str) {}

    fn gone(&self, key: &ObjectKey, _: &str) {
        self.0.lock().unwrap().push(format!("{} gone", key.name));
    }
}

/// Runs a watch on the script for so many seconds; returns what the worker saw and the queries.
async fn run(script: Vec<Answer>, seconds: u64) -> (Vec<String>, Vec<String>, Handle<Result<u32, String>>) {
    let server = Script(Arc::new(Mutex::new((script.into(), Vec::new()))));
    let router = Router::new().fallback(get(serve)).with_state(server.clone());
    let api = Api::<Lenient<Probe>>::all(kube::Client::new(router, "ns"));
    let (handle, worker) = (Handle::new(), Arc::new(Recorder(Mutex::default())));
    let runtime = Runtime::new(handle.clone(), worker.clone(), Options::default());
    let convert = |probe: Lenient<Probe>| match probe.spec {
        Ok(spec) if spec.size == 13 => panic!("unlucky"),
        Ok(spec) => Ok(spec.size),
        Err(error) => Err(error),
    };
    let watching = watch(api, None, convert, runtime.feed(Scope::All));
    runtime.run(watching, sleep(Duration::from_secs(seconds))).await.unwrap();
    let saw = worker.0.lock().unwrap().clone();
    let asked = server.0.lock().unwrap().1.clone();
    (saw, asked, handle)
}

#[tokio::test(start_paused = true)]
async fn it_lists_by_pages_and_watches_from_there() {
    let (saw, asked, handle) = run(
        vec![
            page(10, "next", &[probe("a", 1, &json!({"size": 1}))]),
            page(10, "", &[probe("b", 2, &json!({"size": "large"})), probe("c", 3, &json!({"size": 13}))]),
            Answer::Events(
                vec![
                    event("MODIFIED", &probe("a", 11, &json!({"size": 2}))),
                    event("DELETED", &probe("b", 12, &json!({}))),
                    event(
                        "BOOKMARK",
                        &json!({"apiVersion": "v1", "kind": "Probe", "metadata": {"resourceVersion": "20"}}),
                    ),
                ],
                false,
            ),
        ],
        5,
    )
    .await;
    assert_eq!(saw, ["a 1", "b malformed", "b gone", "a 2"]);
    assert!(asked[0].contains("limit=100") && asked[1].contains("continue=next"), "{asked:?}");
    assert!(asked[2].contains("timeoutSeconds=290") && asked[2].contains("resourceVersion=10"), "{asked:?}");
    assert!(asked[3].contains("resourceVersion=20"), "the bookmark is where it goes on: {asked:?}");
    assert!(handle.vitals().ready().is_ok());
    assert_eq!((handle.len(), handle.stats().panics), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_too_old_leads_to_a_new_list_and_what_it_misses_is_gone() {
    let (saw, asked, _) = run(
        vec![
            page(10, "", &[probe("a", 1, &json!({"size": 1})), probe("b", 2, &json!({"size": 1}))]),
            Answer::Refuse(410),
            Answer::Refuse(500),
            page(30, "", &[probe("a", 1, &json!({"size": 1}))]),
        ],
        30,
    )
    .await;
    assert_eq!(saw, ["a 1", "b 1", "b gone"]);
    assert!(asked[4].contains("resourceVersion=30"), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn a_frozen_watch_is_left_and_a_frozen_server_is_seen() {
    let (_, asked, handle) =
        run(vec![page(10, "", &[]), Answer::Events(Vec::new(), true), Answer::Events(Vec::new(), true)], 310)
            .await;
    let watches = |n: usize| asked.get(n).is_some_and(|query| query.contains("watch=true"));
    assert!(watches(1) && watches(2) && !watches(3) && asked.len() == 4, "{asked:?}");
    let later = clock::instant() + Duration::from_secs(300);
    assert_eq!(
        handle.vitals().live(later).unwrap_err(),
        "the watch of all namespaces has heard nothing for 459 s"
    );
}

#[tokio::test(start_paused = true)]
async fn a_restored_history_is_believed() {
    let (saw, _, handle) = run(
        vec![
            page(90, "", &[probe("a", 80, &json!({"size": 1})), probe("lost", 90, &json!({"size": 1}))]),
            Answer::Refuse(410),
            page(50, "", &[probe("a", 40, &json!({"size": 7}))]),
        ],
        30,
    )
    .await;
    assert_eq!(saw, ["a 1", "lost 1", "lost gone", "a 7"]);
    assert_eq!(handle.len(), 1);
}
