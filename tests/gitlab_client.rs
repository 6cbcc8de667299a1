//! The client against a server that misbehaves on the wire: what is known afterwards must be exactly what can be
//! known, and a token must stay where it belongs.
#![allow(clippy::unwrap_used, reason = "the helpers of tests are tests too")]

#[path = "gitlab_client/repository.rs"]
mod repository;
#[path = "gitlab_client/simulator.rs"]
mod simulator;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use pipekick::gitlab::{
    Account, Class, Client, Endpoint, FireOrder, JobFilter, Options, Outcome, PipelineFilter, ReadKind,
    SentVariable, Source, TestSummary, Trust,
};
use pipekick_core::domain::{Answer, FireId, ObjectKey, PipelineStatus, Reason, VariableType};
use secrecy::SecretString;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tracing_subscriber::fmt::MakeWriter;

const TRIGGER_TOKEN: &str = "glptt-canary-0123456789";
const ACCESS_TOKEN: &str = "glpat-canary-0123456789";
const VALUE: &str = "value-canary-0123456789";
const CREATED: &str = r#"{"id":7,"iid":3,"project_id":42,"status":"created","ref":"main","source":"trigger","web_url":"http://g/p/7","new":1}"#;

// ---- A server that does as it is told --------------------------------------------------------------------------

#[derive(Clone)]
enum Do {
    /// Writes these bytes and closes.
    Say(String),
    /// Resets the connection once the request was read.
    Reset,
    /// Closes it in good order, without an answer.
    Close,
    /// Reads the request and is silent.
    Hang,
    /// Writes these bytes, keeps the connection, and resets it under the next request.
    SayThenReset(String),
    /// Accepts, and does not even read.
    Ignore,
}

struct Server {
    addr: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Answers the first request by the first step and so on; the last step is repeated.
    async fn start(steps: Vec<Do>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&seen);
        tokio::spawn(async move {
            for i in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(answer(stream, steps[i.min(steps.len() - 1)].clone(), Arc::clone(&record)));
            }
        });
        Self { addr, seen }
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

async fn answer(mut stream: TcpStream, step: Do, seen: Arc<Mutex<Vec<String>>>) {
    if matches!(step, Do::Ignore) {
        return std::future::pending().await;
    }
    let request = read_request(&mut stream).await;
    seen.lock().unwrap().push(request);
    match step {
        Do::Say(text) => {
            let _ = stream.write_all(text.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
        Do::Reset => stream.set_zero_linger().unwrap(),
        Do::SayThenReset(text) => {
            let _ = stream.write_all(text.as_bytes()).await;
            let next = read_request(&mut stream).await;
            seen.lock().unwrap().push(next);
            stream.set_zero_linger().unwrap();
        }
        Do::Close => {}
        Do::Hang | Do::Ignore => std::future::pending().await,
    }
}

async fn read_request(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let n = stream.read(&mut chunk).await.unwrap_or(0);
        text.extend_from_slice(&chunk[..n]);
        let so_far = String::from_utf8_lossy(&text).into_owned();
        if n == 0 {
            return so_far;
        }
        if let Some((head, body)) = so_far.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return so_far;
            }
        }
    }
}

fn say(status: &str, headers: &str, body: &str) -> Do {
    let length = body.len();
    Do::Say(format!(
        "HTTP/1.1 {status}\r\n{headers}Connection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    ))
}

// ---- Orders ----------------------------------------------------------------------------------------------------

fn client() -> Client {
    client_with(Options { allow_http: true, deadline: Duration::from_secs(2) })
}

fn client_with(options: Options) -> Client {
    capture_logs();
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::new(options).unwrap()
}

fn endpoint(base: &str) -> Endpoint {
    Endpoint { url: base.parse().unwrap(), project: "shop/checkout".parse().unwrap(), trust: Trust::System }
}

fn order(base: &str) -> FireOrder {
    FireOrder {
        endpoint: endpoint(base),
        git_ref: "main".parse().unwrap(),
        variables: vec![SentVariable {
            name: "DEPLOY_ENV".parse().unwrap(),
            kind: VariableType::EnvVar,
            value: VALUE.into(),
        }],
        inputs: BTreeMap::new(),
        payload: None,
        fire_id: FireId::from("7hq2m0v6x5t1c97hq2m0v6x5t1"),
        object: ObjectKey { namespace: "shop".into(), name: "release".into() },
        scheduled_time: None,
    }
}

fn http(server: &Server) -> String {
    format!("http://{}", server.addr)
}

fn trigger_token() -> SecretString {
    SecretString::from(TRIGGER_TOKEN)
}

fn access_token() -> SecretString {
    SecretString::from(ACCESS_TOKEN)
}

async fn fire_at(step: Do) -> (Answer, Server) {
    let server = Server::start(vec![step]).await;
    let (answer, _) = client().fire_with_trigger(&order(&http(&server)), &trigger_token(), None).await;
    (answer, server)
}

async fn closed_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

fn body_of(request: &str) -> serde_json::Value {
    serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap()
}

// ---- What is sent ----------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_trigger_call_carries_the_token_and_the_mark_in_its_body_only() {
    let (answer, server) = fire_at(say("201 Created", "", CREATED)).await;
    let Answer::Accepted(pipeline) = answer else { panic!("{answer:?}") };
    assert_eq!((pipeline.id, pipeline.project_id, pipeline.status), (7, Some(42), PipelineStatus::Created));
    let request = &server.seen()[0];
    let (head, _) = request.split_once("\r\n\r\n").unwrap();
    assert!(
        head.starts_with("POST /api/v4/projects/shop%2Fcheckout/trigger/pipeline HTTP/1.1\r\n"),
        "{head}"
    );
    assert!(!head.contains("canary") && !head.to_lowercase().contains("accept-encoding"), "{head}");
    assert!(head.contains(concat!("user-agent: pipekick/", env!("CARGO_PKG_VERSION"))), "{head}");
    let expected = serde_json::json!({
        "token": TRIGGER_TOKEN, "ref": "main", "variables": {"DEPLOY_ENV": VALUE},
        "pipekick": {"fire_id": "7hq2m0v6x5t1c97hq2m0v6x5t1", "object": "shop/release"},
    });
    assert_eq!(body_of(request), expected);
}

#[tokio::test]
async fn without_variables_none_are_sent_and_an_access_call_has_no_mark() {
    let server = Server::start(vec![say("201 Created", "", CREATED)]).await;
    let mut order = order(&http(&server));
    client().fire_with_access(&order, &access_token(), None).await;
    order.variables.clear();
    client().fire_with_access(&order, &access_token(), None).await;
    client().fire_with_trigger(&order, &trigger_token(), None).await;
    let seen = server.seen();
    assert!(seen[0].starts_with("POST /api/v4/projects/shop%2Fcheckout/pipeline HTTP/1.1\r\n"));
    assert!(seen[0].contains(&format!("private-token: {ACCESS_TOKEN}\r\n")), "{}", seen[0]);
    let marked = serde_json::json!({"ref": "main", "variables": [
        {"key": "DEPLOY_ENV", "value": VALUE}, {"key": "PIPEKICK_FIRE_ID", "value": "7hq2m0v6x5t1c97hq2m0v6x5t1"}]});
    assert_eq!(body_of(&seen[0]), marked);
    assert_eq!(body_of(&seen[1]), serde_json::json!({"ref": "main"}));
    assert_eq!(body_of(&seen[2]).get("variables"), None);
}

// ---- What is known after a POST --------------------------------------------------------------------------------

#[tokio::test]
async fn whatever_says_nothing_of_the_effect_is_unknown_and_is_sent_once() {
    let html = "<html>secret of the proxy</html>";
    let cut = "HTTP/1.1 201 Created\r\nContent-Length: 500\r\n\r\n{\"id\":7,".to_owned();
    let endless = format!("HTTP/1.1 201 Created\r\nContent-Length: 3000000\r\n\r\n{}", "x".repeat(2_000_000));
    let cases = [
        ("a 201 that broke off", Do::Say(cut), "201 with a body that broke off"),
        (
            "a 201 without a pipeline",
            say("201 Created", "", "{}"),
            "201 with a body that is not what was asked for",
        ),
        ("a huge 201", Do::Say(endless), "201 with a body larger than expected"),
        ("a reset after the request", Do::Reset, "broke before an answer came"),
        ("an orderly close after the request", Do::Close, "broke before an answer came"),
        ("silence", Do::Hang, "no answer from 127.0.0.1"),
        ("an answer that is no HTTP", Do::Say("SSH-2.0-OpenSSH\r\n".into()), "broke before an answer came"),
        ("a proxy's 502", say("502 Bad Gateway", "", html), "502 with a body that is not GitLab's"),
        ("a proxy's 403", say("403 Forbidden", "", html), "403 with a body that is not GitLab's"),
        ("a 200 instead of a 201", say("200 OK", "", CREATED), "200 with"),
        (
            "a conflict",
            say("409 Conflict", "", r#"{"message":"409 Conflict: Resource lock"}"#),
            "409 Conflict",
        ),
        (
            "an overload",
            say("503 Service Unavailable", "Retry-After: 9\r\n", r#"{"message":"503"}"#),
            "GitLab answered 503",
        ),
    ];
    for (sentence, step, words) in cases {
        let (answer, server) = fire_at(step).await;
        let Answer::Unknown { message } = answer else { panic!("{sentence}: {answer:?}") };
        assert!(message.contains(words), "{sentence}: {message}");
        assert!(!message.contains("secret"), "{sentence}: {message}");
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(server.seen().len(), 1, "{sentence}");
    }
}

#[tokio::test]
async fn a_kept_connection_that_dies_under_a_post_is_unknown_and_not_tried_again() {
    let kept = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]".to_owned();
    let server = Server::start(vec![Do::SayThenReset(kept), say("201 Created", "", CREATED)]).await;
    let (client, order) = (client(), order(&http(&server)));
    client.pipelines(&order.endpoint, &PipelineFilter::default(), &access_token()).await.unwrap();
    let (answer, _) = client.fire_with_access(&order, &access_token(), None).await;
    assert!(matches!(answer, Answer::Unknown { .. }), "{answer:?}");
    assert_eq!(server.seen().iter().filter(|request| request.starts_with("POST")).count(), 1);
}

#[tokio::test]
async fn what_gitlab_did_not_do_is_refused_or_throttled() {
    let (answer, _) = fire_at(say("404 Not Found", "", r#"{"message":"404 Not Found"}"#)).await;
    assert!(matches!(answer, Answer::Refused { reason: Reason::NotFoundByTrigger, .. }), "{answer:?}");
    let (answer, _) = fire_at(say("422 X", "", r#"{"message":{"base":["yaml invalid"]}}"#)).await;
    let Answer::FailedAtBirth { message } = answer else { panic!("{answer:?}") };
    assert!(message.starts_with("\"yaml invalid\": "), "{message}");
    let failed = r#"{"id":8,"status":"failed"}"#;
    let (answer, _) = fire_at(say("201 Created", "", failed)).await;
    assert!(matches!(answer, Answer::Accepted(p) if p.status == PipelineStatus::Failed));
}

/// Where a server turns away what is no request, as web servers do with a TLS handshake.
fn plain_http() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = io::Write::write_all(&mut stream.unwrap(), b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    address.to_string()
}

/// Where a server speaks TLS with a certificate that it signed itself, as long as the process lives.
fn private_ca(name: &str) -> String {
    let signed = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(signed.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder().with_no_client_auth();
    let config = Arc::new(config.with_single_cert(vec![signed.cert.der().clone()], key).unwrap());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut tls = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            // The client breaks it off.
            let _ = tls.complete_io(&mut stream.unwrap());
        }
    });
    format!("{name}:{port}")
}

#[tokio::test]
async fn what_never_left_is_known_not_to_have_been_sent() {
    let client = client_with(Options { allow_http: true, deadline: Duration::from_secs(20) });
    let plain = Server::start(vec![Do::Say("not TLS\r\n".into())]).await;
    let silent = Server::start(vec![Do::Ignore]).await;
    let cases = [
        ("a closed port", format!("http://{}", closed_port().await), "nothing listens at 127.0.0.1"),
        ("a name that does not exist", "http://gitlab.invalid".to_owned(), "cannot be resolved"),
        ("a server that waits for a request", format!("https://{}", plain.addr), "get no answer"),
        ("a server that speaks no TLS", format!("https://{}", plain_http()), "no TLS is spoken"),
        ("a TLS handshake without an answer", format!("https://{}", silent.addr), "get no answer"),
        (
            "a private CA",
            format!("https://{}", private_ca("localhost")),
            "a CA that the operator does not know",
        ),
    ];
    for (sentence, base, words) in cases {
        let (answer, _) = client.fire_with_trigger(&order(&base), &trigger_token(), None).await;
        let Answer::NotSent { reason, message } = answer else { panic!("{sentence}: {answer:?}") };
        assert_eq!(reason, Reason::Unreachable, "{sentence}: {message}");
        assert!(message.contains("Nothing was sent") && message.contains(words), "{sentence}: {message}");
    }
    assert!(plain.seen().iter().all(|bytes| !bytes.contains("canary")));
}

#[tokio::test]
async fn plain_http_and_unusable_tokens_never_leave() {
    let server = Server::start(vec![say("201 Created", "", CREATED)]).await;
    let order = order(&http(&server));
    let strict = client_with(Options::default());
    let (answer, _) = strict.fire_with_access(&order, &access_token(), None).await;
    assert!(matches!(answer, Answer::NotSent { reason: Reason::PlainHttpRefused, .. }), "{answer:?}");
    let broken = SecretString::from(format!("{ACCESS_TOKEN}\n"));
    for (answer, _) in [
        client().fire_with_access(&order, &broken, None).await,
        client().fire_with_trigger(&order, &broken, None).await,
    ] {
        assert!(matches!(answer, Answer::NotSent { reason: Reason::SecretUnusable, .. }), "{answer:?}");
    }
    assert_eq!(server.seen(), Vec::<String>::new());
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let thief = Server::start(vec![say("201 Created", "", CREATED)]).await;
    for status in ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let location = format!("Location: http://{}/api/v4/user\r\n", thief.addr);
        let server = Server::start(vec![say(status, &location, "")]).await;
        let (answer, _) = client().fire_with_access(&order(&http(&server)), &access_token(), None).await;
        let Answer::Unknown { message } = answer else { panic!("{answer:?}") };
        assert!(message.contains("redirect"), "{message}");
        let error = client().user(&endpoint(&http(&server)), &access_token()).await.unwrap_err();
        assert_eq!(error.kind, ReadKind::Trouble, "{error}");
    }
    assert_eq!(thief.seen(), Vec::<String>::new());
}

// ---- Budgets ---------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_429_holds_the_next_request_back() {
    let server =
        Server::start(vec![say("429 Too Many Requests", "Retry-After: 17\r\n", "Retry later")]).await;
    let (client, order) = (client(), order(&http(&server)));
    let before = pipekick::clock::now();
    let (answer, meta) = client.fire_with_trigger(&order, &trigger_token(), None).await;
    let Answer::Throttled { reason, until, .. } = answer else { panic!("{answer:?}") };
    assert_eq!((reason, meta.retry_after), (Reason::RateLimited, Some(Duration::from_secs(17))));
    assert!((15..=19).contains(&until.duration_since(before).as_secs()));
    let address = Account::address(&order.endpoint.url);
    assert!(client.permit(&address, Class::Firing).is_err());
    let (again, _) = client.fire_with_trigger(&order, &trigger_token(), None).await;
    assert!(matches!(again, Answer::Throttled { .. }), "{again:?}");
    assert_eq!(server.seen().len(), 1, "the second was held back");
    let access = Account::access(&order.endpoint.url, client.fingerprint(&access_token()));
    assert!(client.permit(&access, Class::Firing).is_ok(), "the token has its own account");
}

#[tokio::test]
async fn following_leaves_what_is_left_to_firing() {
    let rate = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nRateLimit-Limit: 1\r\nRateLimit-Remaining: 1\r\nRateLimit-Reset: 784111837\r\n";
    let server = Server::start(vec![say("200 OK", rate, "[]"), say("201 Created", "", CREATED)]).await;
    let (client, order) = (client(), order(&http(&server)));
    client.pipelines(&order.endpoint, &PipelineFilter::default(), &access_token()).await.unwrap();
    let held = client.pipeline(&order.endpoint, 7, &access_token()).await.unwrap_err();
    assert!(
        matches!(held.kind, ReadKind::Throttled { wait } if (50..=61).contains(&wait.as_secs())),
        "{held:?}"
    );
    let (answer, _) = client.fire_with_access(&order, &access_token(), None).await;
    assert!(matches!(answer, Answer::Accepted(_)), "{answer:?}");
}

// ---- Reads -----------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_page_tells_whether_there_is_another_and_is_whole_or_an_error() {
    let two = r#"[{"id":9,"status":"running"},{"id":8,"status":"success"}]"#;
    let one_odd = r#"[{"id":9,"status":"running"},{"id":"8"}]"#;
    let server = Server::start(vec![
        say("200 OK", "X-Next-Page: 3\r\n", two),
        say("200 OK", "X-Next-Page: \r\n", two),
        say("200 OK", "", two),
        say("200 OK", "", one_odd),
    ])
    .await;
    let (client, at) = (client(), endpoint(&http(&server)));
    let filter = PipelineFilter {
        git_ref: Some("rel/1+x".into()),
        source: Some(Source::Trigger),
        updated_after: Some("2026-11-05T10:00:00Z".parse().unwrap()),
        page: 2,
        per_page: 2,
    };
    for (sentence, next) in
        [("the header names it", Some(3)), ("the header is empty", None), ("no header, full page", Some(3))]
    {
        let page = client.pipelines(&at, &filter, &access_token()).await.unwrap();
        assert_eq!((page.pipelines.len(), page.pipelines[0].id, page.next), (2, 9, next), "{sentence}");
    }
    let error = client.pipelines(&at, &filter, &access_token()).await.unwrap_err();
    assert_eq!((error.kind, error.reason), (ReadKind::Trouble, Reason::CannotFollow));
    let request = server.seen()[0].lines().next().unwrap().to_owned();
    assert_eq!(
        request,
        "GET /api/v4/projects/shop%2Fcheckout/pipelines?order_by=id&sort=desc&page=2&per_page=2&ref=rel%2F1%2Bx&source=trigger&updated_after=2026-11-05T10%3A00%3A00Z HTTP/1.1"
    );
}

#[tokio::test]
async fn a_failed_job_that_counts_is_found_behind_many_that_may_fail() {
    let job = |id: u32, may: bool| {
        format!(r#"{{"id":{id},"name":"job-{id}","status":"failed","allow_failure":{may}}}"#)
    };
    let page = |ids: std::ops::Range<u32>, may| {
        let jobs = ids.rev().map(|id| job(id, may)).collect::<Vec<_>>();
        format!("[{}]", jobs.join(","))
    };
    let next = "x-next-page: 2\r\n";
    let server = Server::start(vec![
        say("200 OK", next, &page(20..40, true)),
        say("200 OK", "x-next-page: \r\n", &page(7..8, false)),
    ])
    .await;
    let (client, at) = (client(), endpoint(&http(&server)));
    let failed = client.failed_jobs(&at, 9, &access_token()).await.unwrap();
    assert_eq!(failed.iter().filter_map(|job| job.id).collect::<Vec<_>>(), [7]);
    let asked = server.seen();
    assert!(asked[1].lines().next().unwrap().contains("&page=2&"), "{asked:?}");
}

#[tokio::test]
async fn jobs_come_newest_first_and_those_that_may_fail_are_left_out() {
    let job = |id: u32, may: bool| {
        format!(
            r#"{{"id":{id},"name":"job-{id}","status":"failed","stage":"test","failure_reason":"script_failure","allow_failure":{may},"web_url":"https://g/j/{id}"}}"#
        )
    };
    let jobs = [3, 1, 7, 2, 5, 6, 4].map(|id| job(id, id == 6)).join(",");
    let server = Server::start(vec![say("200 OK", "", &format!("[{jobs}]"))]).await;
    let (client, at) = (client(), endpoint(&http(&server)));
    let failed = client.failed_jobs(&at, 9, &access_token()).await.unwrap();
    let names: Vec<_> = failed.iter().map(|job| job.name.as_str()).collect();
    assert_eq!(names, ["job-7", "job-5", "job-4", "job-3", "job-2"]);
    let manual = client.manual_jobs(&at, 9, &access_token()).await.unwrap();
    assert_eq!(
        manual,
        ["job-1", "job-2", "job-3", "job-4", "job-5", "job-7"],
        "those that block, oldest first"
    );
    let seen = server.seen();
    assert!(
        seen[0].starts_with(
            "GET /api/v4/projects/shop%2Fcheckout/pipelines/9/jobs?scope%5B%5D=failed&per_page=20 "
        ),
        "{}",
        seen[0]
    );
    assert!(seen[1].contains("scope%5B%5D=manual"), "{}", seen[1]);
}

#[tokio::test]
async fn jobs_are_paged_and_may_include_those_that_were_retried() {
    let body =
        r#"[{"id":8,"name":"build","status":"canceled"},{"id":9,"name":"build","status":"brand_new"}]"#;
    let server = Server::start(vec![say("200 OK", "X-Next-Page: 3\r\n", body)]).await;
    let filter = JobFilter { status: Some(PipelineStatus::Canceled), retried: true, page: 2, per_page: 100 };
    let page = client().jobs(&endpoint(&http(&server)), 7, &filter, &access_token()).await.unwrap();
    let ids: Vec<_> = page.jobs.iter().map(|job| job.id).collect();
    assert_eq!((ids, page.next), (vec![9, 8], Some(3)));
    assert_eq!(page.jobs[0].status, PipelineStatus::Other("brand_new".into()));
    let request = server.seen()[0].lines().next().unwrap().to_owned();
    let query = "scope%5B%5D=canceled&include_retried=true&page=2&per_page=100";
    assert_eq!(request, format!("GET /api/v4/projects/shop%2Fcheckout/pipelines/7/jobs?{query} HTTP/1.1"));
}

#[tokio::test]
async fn what_is_done_to_a_pipeline_goes_to_its_route_with_the_token_in_a_header() {
    let server = Server::start(vec![
        say("201 X", "", CREATED),
        say("200 X", "", CREATED),
        say("204 X", "", ""),
        say("200 X", "", "{}"),
        say("404 X", "", r#"{"message":"404 Not found"}"#),
    ])
    .await;
    let (client, at, token) = (client(), endpoint(&http(&server)), access_token());
    assert_eq!(client.retry_pipeline(&at, 7, &token).await.unwrap().id, 7);
    assert_eq!(client.cancel(&at, 7, &token).await.unwrap().id, 7);
    client.delete_pipeline(&at, 7, &token).await.unwrap();
    client.name_pipeline(&at, 7, "checkout \"1.2\"", &token).await.unwrap();
    client.delete_pipeline(&at, 7, &token).await.expect("what is gone already is deleted");
    let seen = server.seen();
    let pipeline = "/api/v4/projects/shop%2Fcheckout/pipelines/7";
    for (request, start) in seen.iter().zip([
        format!("POST {pipeline}/retry "),
        format!("POST {pipeline}/cancel "),
        format!("DELETE {pipeline} "),
        format!("PUT {pipeline}/metadata "),
    ]) {
        assert!(request.starts_with(&start), "{request}");
        assert!(request.contains(&format!("private-token: {ACCESS_TOKEN}")), "{request}");
    }
    assert!(seen[3].ends_with(r#"{"name":"checkout \"1.2\""}"#), "{}", seen[3]);
}

#[tokio::test]
async fn a_retry_whose_answer_is_lost_may_have_been_done_and_a_refused_one_was_not() {
    let cases = [
        (Do::Reset, ReadKind::Trouble, Reason::CannotFollow),
        (say("502 X", "", "<html>"), ReadKind::Trouble, Reason::CannotFollow),
        (say("201 X", "", "<html>"), ReadKind::Trouble, Reason::CannotFollow),
        (say("403 X", "", r#"{"message":"403 Forbidden"}"#), ReadKind::Forbidden, Reason::Forbidden),
        (say("404 X", "", r#"{"message":"404 Not found"}"#), ReadKind::NotFound, Reason::PipelineGone),
        (say("400 X", "", r#"{"message":"400 Bad request"}"#), ReadKind::Refused, Reason::Refused),
        (say("400 X", "", "<html>"), ReadKind::Trouble, Reason::CannotFollow),
    ];
    for (step, kind, reason) in cases {
        let server = Server::start(vec![step]).await;
        let error = client().retry_pipeline(&endpoint(&http(&server)), 7, &access_token()).await.unwrap_err();
        assert_eq!((error.kind, error.reason), (kind, reason), "{error}");
        assert_eq!(server.seen().len(), 1, "it is never sent a second time");
    }
}

#[tokio::test]
async fn a_bridge_that_made_nothing_yet_has_no_pipeline_below_it() {
    let bridges = r#"[{"id":3,"downstream_pipeline":{"id":12,"status":"running","project_id":5,"web_url":"https://g/p/12"}},
        {"id":2,"downstream_pipeline":null},{"id":1}]"#;
    let server = Server::start(vec![say("200 OK", "", bridges)]).await;
    let below = client().downstream(&endpoint(&http(&server)), 7, &access_token()).await.unwrap();
    let below: Vec<_> = below.iter().map(|pipeline| (pipeline.id, pipeline.project_id)).collect();
    assert_eq!(below, [(12, Some(5))]);
}

#[tokio::test]
async fn the_tests_are_told_in_sum_and_branches_by_name() {
    let summary = r#"{"total":{"time":0.42,"count":9,"success":5,"failed":2,"skipped":1,"error":1,"suite_error":null},"test_suites":[]}"#;
    let branches = r#"[{"name":"release/1"},{"name":"bad\u0007"}]"#;
    let server = Server::start(vec![say("200 OK", "", summary), say("200 OK", "", branches)]).await;
    let (client, at) = (client(), endpoint(&http(&server)));
    let tests = client.test_summary(&at, 7, &access_token()).await.unwrap();
    assert_eq!(tests, TestSummary { total: 9, success: 5, failed: 2, skipped: 1, error: 1 });
    assert_eq!(client.branches(&at, "rel/1", &access_token()).await.unwrap(), ["release/1"]);
    assert!(server.seen()[1].starts_with(
        "GET /api/v4/projects/shop%2Fcheckout/repository/branches?search=rel%2F1&per_page=100 "
    ));
}

#[tokio::test]
async fn a_read_fails_with_what_follows_from_it() {
    let moved = "Location: /api/v4/projects/42/pipelines/7\r\n";
    let cases = [
        (say("301 X", moved, ""), ReadKind::NotFound, Reason::ProjectNotFound),
        (say("404 X", "", r#"{"message":"404 Not found"}"#), ReadKind::NotFound, Reason::PipelineGone),
        (
            say("404 X", "", r#"{"message":"404 Project Not Found"}"#),
            ReadKind::NotFound,
            Reason::ProjectNotFound,
        ),
        (say("404 X", "", "<html>"), ReadKind::Trouble, Reason::CannotFollow),
        (say("401 X", "", r#"{"message":"401 Unauthorized"}"#), ReadKind::Unauthorized, Reason::Unauthorized),
        (say("403 X", "", r#"{"message":"403 Forbidden"}"#), ReadKind::Forbidden, Reason::Forbidden),
        (say("502 X", "", "<html>"), ReadKind::Trouble, Reason::CannotFollow),
        (say("200 X", "", "<html>sign in</html>"), ReadKind::Trouble, Reason::CannotFollow),
        (
            say("429 X", "Retry-After: 3\r\n", ""),
            ReadKind::Throttled { wait: Duration::from_secs(3) },
            Reason::RateLimited,
        ),
        (Do::Reset, ReadKind::Trouble, Reason::CannotFollow),
    ];
    for (step, kind, reason) in cases {
        let server = Server::start(vec![step]).await;
        let error = client().pipeline(&endpoint(&http(&server)), 7, &access_token()).await.unwrap_err();
        assert_eq!((error.kind, error.reason), (kind, reason), "{error}");
    }
    let nobody = endpoint(&format!("http://{}", closed_port().await));
    let error = client().cancel(&nobody, 7, &access_token()).await.unwrap_err();
    assert_eq!((error.kind, error.reason), (ReadKind::Unreachable, Reason::Unreachable));
}

#[tokio::test]
async fn a_gitlab_is_told_from_anything_else_without_a_credential() {
    let unauthorized = r#"{"message":"401 Unauthorized"}"#;
    let page = "<html>sign in</html>";
    for (step, reached) in [
        (say("401 Unauthorized", "", unauthorized), true),
        (say("200 OK", "", r#"{"version":"18.5.1"}"#), true),
        (say("401 Unauthorized", "", page), false),
        (say("200 OK", "", page), false),
        (say("404 Not Found", "", page), false),
        (Do::Reset, false),
    ] {
        let server = Server::start(vec![step]).await;
        let answer = client().reach(&http(&server).parse().unwrap(), &Trust::System).await;
        assert_eq!(answer.is_ok(), reached, "{answer:?}");
        let [request] = &server.seen()[..] else { panic!("one request") };
        assert!(
            request.starts_with("GET /api/v4/version ") && !request.to_lowercase().contains("token"),
            "{request}"
        );
    }
}

#[tokio::test]
async fn the_hook_is_told_of_every_request() {
    let server = Server::start(vec![say("200 OK", "", r#"{"version":"18.5.1-ee"}"#), Do::Reset]).await;
    let told = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&told);
    let client =
        client().with_hook(Arc::new(move |route, outcome, _| sink.lock().unwrap().push((route, outcome))));
    let at = endpoint(&http(&server));
    assert_eq!(client.version(&at, &access_token()).await.unwrap().version, "18.5.1-ee");
    client.user(&at, &access_token()).await.unwrap_err();
    client.user(&endpoint(&format!("http://{}", closed_port().await)), &access_token()).await.unwrap_err();
    let expected =
        [("/version", Outcome::Status(200)), ("/user", Outcome::Lost), ("/user", Outcome::NotSent)];
    assert_eq!(*told.lock().unwrap(), expected);
}

// ---- The canary ------------------------------------------------------------------------------------------------

/// Everything that is logged in this process, the HTTP library's own lines included.
fn capture_logs() -> &'static Logs {
    static LOGS: OnceLock<Logs> = OnceLock::new();
    LOGS.get_or_init(|| {
        let logs = Logs::default();
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(logs.clone()).init();
        logs
    })
}

#[derive(Clone, Default)]
struct Logs(Arc<Mutex<Vec<u8>>>);

impl io::Write for Logs {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Logs {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn a_token_shows_up_in_no_answer_no_debug_output_and_no_log_line() {
    let logs = capture_logs();
    // The last one is a server that echoes what it was sent, in its error as well as in a pipeline.
    let echo = format!(r#"{{"message":"what is {ACCESS_TOKEN} or {TRIGGER_TOKEN}?"}}"#);
    let steps = [
        say("201 Created", "", CREATED),
        say("404 Not Found", "", r#"{"message":"404 Not Found"}"#),
        say("502 Bad Gateway", "", "<html>"),
        say("429 Too Many Requests", "", "Retry later"),
        say("302 Found", "Location: http://127.0.0.1:9/x?token=1\r\n", ""),
        Do::Reset,
        Do::Close,
        Do::Hang,
    ];
    let mut shown = String::new();
    for step in steps {
        let server = Server::start(vec![step]).await;
        let (client, order) = (client(), order(&http(&server)));
        shown +=
            &format!("{client:?} {order:?} {:?} {:?}", trigger_token(), client.fingerprint(&access_token()));
        shown += &format!("{:?}", client.fire_with_trigger(&order, &trigger_token(), None).await);
        shown += &format!("{:?}", client.fire_with_access(&order, &access_token(), None).await);
        shown += &format!("{:?}", client.pipeline(&order.endpoint, 7, &access_token()).await);
        shown += &format!("{:?}", client.pipeline_variables(&order.endpoint, 7, &access_token()).await);
    }
    for base in [format!("http://{}", closed_port().await), format!("https://{}", closed_port().await)] {
        shown += &format!("{:?}", client().fire_with_trigger(&order(&base), &trigger_token(), None).await);
        shown += &format!("{:?}", client().fire_with_access(&order(&base), &access_token(), None).await);
    }
    let server = Server::start(vec![say("400 Bad Request", "", &echo)]).await;
    let order = order(&http(&server));
    let (echoed, _) = client().fire_with_access(&order, &access_token(), None).await;
    assert!(
        matches!(&echoed, Answer::Refused { message, .. } if message.contains("[secret]") && !message.contains(ACCESS_TOKEN))
    );
    let logged = String::from_utf8_lossy(&logs.0.lock().unwrap()).into_owned();
    assert!(
        logged.contains("gitlab answered") && logged.contains("hyper") && logged.contains("reqwest"),
        "{logged}"
    );
    for canary in [TRIGGER_TOKEN, ACCESS_TOKEN, VALUE] {
        assert!(!shown.contains(canary), "{canary} in {shown}");
        let line = logged.lines().find(|line| line.contains(canary));
        assert_eq!(line, None);
    }
}
