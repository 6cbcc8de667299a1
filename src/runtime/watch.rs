//! Keeps a store in step with the API server: list, then watch from there, for ever.
//!
//! ```text
//!            ┌────────── gone (410), refused, silent twice ─────────┐
//!            ▼                                                      │
//!  Listing, page by page ──▶ Watching from a version ──▶ ended, failed, silent once
//!            ▲ │ failed                  ▲                          │
//!            └─┘ (back-off)              └──────────────────────────┘
//! ```
//!
//! It stands on kube's [`Api`] rather than on kube's `watcher`, for three reasons found in kube-runtime 5.0:
//! `watcher` swallows bookmarks and reconnects, so that on a quiet cluster nobody can tell a healthy
//! watch from a frozen one; neither its list calls nor the start of a watch have a deadline; and it does not
//! tell the version of a list, without which a restored etcd cannot be recognised.
//!
//! One object that cannot be decoded would end the whole watch, list or event: give it a `K` that always
//! decodes, such as [`super::Lenient`]. A conversion that panics leaves out that object only.

use std::{convert::Infallible, fmt, pin::pin, sync::Arc, time::Duration};

use futures::{Stream, StreamExt};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Api, Resource, ResourceExt,
    api::{ListParams, WatchEvent, WatchParams},
    runtime::{utils::Backoff, watcher::DefaultBackoff},
};
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::{
    task::coop::consume_budget,
    time::{sleep, timeout},
};

use super::{Feed, Sighted, Version, Worker, store::identity};

/// Objects per page of a list; client-go's number. A page of 500 is some 2 MB on the wire.
const PAGE: u32 = 500;
/// A page, or the first line of a watch, has to come in this time. kube retries 429 and 503 within it.
const REQUEST_DEADLINE: Duration = Duration::from_secs(60);
/// The API server ends a watch after this many seconds; proxies often do at 300.
const WATCH_SECONDS: u32 = 290;
/// A watch that says nothing for this long is given up. Bookmarks come about once a minute, so this is two of them
/// missed; going on from the last version costs one request.
const SILENCE_MAX: Duration = Duration::from_secs(150);
/// kubectl's copy of the whole object.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Feeds `feed` with the objects of `api` that `labels` selects (all, if `None`), as `convert` makes them.
///
/// Managed fields and kubectl's annotation are dropped before `convert` sees the object. Failures are logged and
/// tried again after 0.8 s to 30 s with jitter. Drop the future to stop it.
pub async fn watch<K, W>(
    api: Api<K>,
    labels: Option<String>,
    convert: impl Fn(K) -> W::Record + Send + 'static,
    feed: Feed<W>,
) -> Infallible
where
    K: Resource + Clone + DeserializeOwned + fmt::Debug + Send + 'static,
    W: Worker,
{
    let intake = Intake { convert, feed };
    let mut place = Place::default();
    let mut backoff = DefaultBackoff::default();
    loop {
        let heard_before = place.heard;
        let end = match place.version.clone() {
            None => list(&api, labels.as_deref(), &intake, &mut place).await,
            Some(version) => follow(&api, labels.as_deref(), &version, &intake, &mut place).await,
        };
        if place.heard != heard_before {
            backoff.reset();
        }
        if let End::Failed(error) = &end {
            if matches!(error, Failure::Kube(kube::Error::Api(_))) {
                intake.feed.contact();
            }
            tracing::warn!(%error, listing = place.version.is_none(), "watch failed");
        } else if matches!(end, End::Silent) {
            tracing::warn!(seconds = SILENCE_MAX.as_secs(), "watch was silent and is started again");
        }
        if place.leave(&end, place.heard != heard_before) {
            sleep(backoff.next().unwrap_or(REQUEST_DEADLINE)).await;
        }
    }
}

/// Where the watch is.
#[derive(Debug, Default)]
struct Place {
    /// To watch from; `None`: list.
    version: Option<String>,
    /// The newest version ever heard of.
    newest: Option<u64>,
    /// How many watches in a row fell silent.
    silent: u32,
    /// Counts what was heard, to tell a watch that worked from one that did not.
    heard: u64,
}

/// How a list or a watch ended.
#[derive(Debug)]
enum End {
    /// The list is complete.
    Listed(String),
    /// The server ended the watch, as it does after [`WATCH_SECONDS`].
    Closed,
    /// Nothing came for [`SILENCE_MAX`].
    Silent,
    /// It failed.
    Failed(Failure),
}

#[derive(Debug, Error)]
enum Failure {
    #[error(transparent)]
    Kube(#[from] kube::Error),
    #[error("the API server ended the watch: {message} ({code})")]
    Status { code: u16, message: String },
    #[error("no answer within {} s", REQUEST_DEADLINE.as_secs())]
    Deadline,
    #[error("the list has no resourceVersion")]
    NoVersion,
}

impl Failure {
    /// The status the API server answered with, if it did.
    fn code(&self) -> Option<u16> {
        match self {
            Self::Kube(kube::Error::Api(status)) => Some(status.code),
            Self::Status { code, .. } => Some(*code),
            Self::Kube(_) | Self::Deadline | Self::NoVersion => None,
        }
    }
}

impl Place {
    /// Something was heard, at this version.
    fn hear(&mut self, version: &str) {
        self.heard += 1;
        self.silent = 0;
        self.newest = self.newest.max(Version::parse(version).number());
    }

    /// Whether a list of this version is older than what was heard before it was asked for.
    fn is_rewound(&self, version: &str) -> bool {
        matches!((Version::parse(version).number(), self.newest), (Some(list), Some(newest)) if list < newest)
    }

    /// Decides where to go on, and returns whether to pause before.
    fn leave(&mut self, end: &End, heard: bool) -> bool {
        match end {
            End::Listed(version) => {
                self.version = Some(version.clone());
                self.newest = Version::parse(version).number();
                false
            }
            // Closed without a word: something in between does not like watches.
            End::Closed => !heard,
            End::Silent => {
                self.silent += 1;
                // A server whose history was rewound sends nothing, bookmarks included, until its numbers catch up.
                if self.silent >= 2 {
                    self.version = None;
                }
                false
            }
            End::Failed(failure) => {
                // 410: the version is too old. Any other refusal but "slow down" may be one of the version, too.
                if matches!(failure.code(), Some(400..=428 | 430..=499)) {
                    self.version = None;
                }
                true
            }
        }
    }
}

/// The way of an object from the wire into the store.
struct Intake<C, W: Worker> {
    convert: C,
    feed: Feed<W>,
}

impl<C, W: Worker> Intake<C, W> {
    fn seen<K: Resource>(&self, mut object: K)
    where
        C: Fn(K) -> W::Record,
    {
        let Some((key, uid, version)) = identity(object.meta()) else { return };
        strip(object.meta_mut());
        if let Some(record) = self.feed.guarded(&key, || (self.convert)(object)) {
            self.feed.seen(Sighted { key, uid, version, record: Arc::new(record) });
        }
    }
}

/// Drops what nobody here reads and what can be larger than the object.
fn strip(meta: &mut ObjectMeta) {
    meta.managed_fields = None;
    if let Some(annotations) = &mut meta.annotations {
        annotations.remove(LAST_APPLIED);
    }
}

async fn list<K, C, W>(api: &Api<K>, labels: Option<&str>, intake: &Intake<C, W>, place: &mut Place) -> End
where
    K: Resource + Clone + DeserializeOwned + fmt::Debug,
    C: Fn(K) -> W::Record,
    W: Worker,
{
    let mut params =
        ListParams { limit: Some(PAGE), label_selector: labels.map(str::to_owned), ..ListParams::default() };
    let mut first = None;
    loop {
        let page = match timeout(REQUEST_DEADLINE, api.list(&params)).await {
            Ok(Ok(page)) => page,
            Ok(Err(error)) => return End::Failed(error.into()),
            Err(_) => return End::Failed(Failure::Deadline),
        };
        intake.feed.contact();
        let version = match (&first, page.metadata.resource_version) {
            (Some(version), _) => String::clone(version),
            (None, Some(version)) => {
                intake.feed.begin_list(place.is_rewound(&version));
                first.insert(version).clone()
            }
            (None, None) => return End::Failed(Failure::NoVersion),
        };
        for object in page.items {
            intake.seen(object);
            consume_budget().await;
        }
        params.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
        if params.continue_token.is_none() {
            intake.feed.end_list(Version::parse(&version));
            place.hear(&version);
            return End::Listed(version);
        }
    }
}

async fn follow<K, C, W>(
    api: &Api<K>,
    labels: Option<&str>,
    version: &str,
    intake: &Intake<C, W>,
    place: &mut Place,
) -> End
where
    K: Resource + Clone + DeserializeOwned + fmt::Debug + 'static,
    C: Fn(K) -> W::Record,
    W: Worker,
{
    let params = WatchParams {
        label_selector: labels.map(str::to_owned),
        timeout: Some(WATCH_SECONDS),
        ..WatchParams::default()
    };
    match timeout(REQUEST_DEADLINE, api.watch(&params, version)).await {
        Ok(Ok(events)) => {
            intake.feed.contact();
            pump(events, intake, place).await
        }
        Ok(Err(error)) => End::Failed(error.into()),
        Err(_) => End::Failed(Failure::Deadline),
    }
}

/// Takes in the events of one watch until it ends.
async fn pump<K, C, W>(
    events: impl Stream<Item = kube::Result<WatchEvent<K>>>,
    intake: &Intake<C, W>,
    place: &mut Place,
) -> End
where
    K: Resource,
    C: Fn(K) -> W::Record,
    W: Worker,
{
    let mut events = pin!(events);
    loop {
        let event = match timeout(SILENCE_MAX, events.next()).await {
            Err(_) => return End::Silent,
            Ok(None) => return End::Closed,
            Ok(Some(Err(error))) => return End::Failed(error.into()),
            Ok(Some(Ok(event))) => event,
        };
        intake.feed.contact();
        let version = match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                let version = object.resource_version();
                intake.seen(object);
                version
            }
            WatchEvent::Deleted(object) => {
                if let Some((key, uid, _)) = identity(object.meta()) {
                    intake.feed.deleted(&key, uid);
                }
                object.resource_version()
            }
            WatchEvent::Bookmark(bookmark) => Some(bookmark.metadata.resource_version),
            WatchEvent::Error(status) => {
                return End::Failed(Failure::Status { code: status.code, message: status.message });
            }
        };
        if let Some(version) = version {
            place.hear(&version);
            place.version = Some(version);
        }
        consume_budget().await;
    }
}

#[cfg(test)]
mod tests {
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
            store::{Body, Entry},
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
    async fn run(
        script: Vec<Answer>,
        seconds: u64,
    ) -> (Vec<String>, Vec<String>, Handle<Result<u32, String>>) {
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
        let watching = watch(api, None, convert, runtime.feed());
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
                        event("BOOKMARK", &json!({"apiVersion": "v1", "kind": "Probe", "metadata": {"resourceVersion": "20"}})),
                    ],
                    false,
                ),
            ],
            5,
        )
        .await;
        assert_eq!(saw, ["a 1", "b malformed", "b gone", "a 2"]);
        assert!(asked[0].contains("limit=500") && asked[1].contains("continue=next"), "{asked:?}");
        assert!(
            asked[2].contains("timeoutSeconds=290") && asked[2].contains("resourceVersion=10"),
            "{asked:?}"
        );
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
        let (_, asked, handle) = run(
            vec![page(10, "", &[]), Answer::Events(Vec::new(), true), Answer::Events(Vec::new(), true)],
            310,
        )
        .await;
        let watches = |n: usize| asked.get(n).is_some_and(|query| query.contains("watch=true"));
        assert!(watches(1) && watches(2) && !watches(3) && asked.len() == 4, "{asked:?}");
        let later = clock::instant() + Duration::from_secs(300);
        assert!(handle.vitals().silence(later) > Duration::from_secs(400));
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
}
