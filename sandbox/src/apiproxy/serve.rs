//! The wire: a listener that can be taken away, one task per connection, and the way to the API server and back.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use kube::Client;
use kube::client::Body;
use serde_json::json;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch as signal;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::call::{CallRecord, Verb};
use super::fault::Fault;
use super::{Mode, Shared};

/// The kernel's own number for a small server; nobody here has thousands of callers.
const BACKLOG: u32 = 1024;
/// etcd takes no object of more than 1.5 MiB.
const LARGEST_BODY: usize = 4 << 20;

type Answer = Response<BoxBody<Bytes, io::Error>>;

/// The first page of a list, as it was answered.
#[derive(Debug, Clone)]
pub(super) struct Listed {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

pub(super) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    // The port is taken again after each time of being down.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves at `address`, as `mode` says, until it says the end.
pub(super) async fn run(
    listener: TcpListener,
    address: SocketAddr,
    client: Client,
    shared: Shared,
    mut mode: signal::Receiver<Mode>,
) {
    let mut listener = Some(listener);
    let mut connections = JoinSet::new();
    loop {
        let now = *mode.borrow_and_update();
        match now {
            Mode::End => return,
            Mode::Down => {
                listener = None;
                connections.shutdown().await;
            }
            // Somebody else may hold the port for a moment.
            Mode::Up if listener.is_none() => match listen(address) {
                Ok(again) => listener = Some(again),
                Err(_) => {
                    sleep(Duration::from_millis(10)).await;
                    continue;
                }
            },
            Mode::Up => {}
        }
        let accept = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = mode.changed() => if changed.is_err() { return },
            Some(_) = connections.join_next() => {}
            accepted = accept => if let Ok((stream, _)) = accepted {
                connections.spawn(connection(stream, client.clone(), shared.clone()));
            },
        }
    }
}

async fn connection(stream: TcpStream, client: Client, shared: Shared) {
    let service = service_fn(move |request| serve(request, client.clone(), shared.clone()));
    let serving =
        http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
    // An error is a connection that was to be closed, or a client that went away.
    drop(serving.await);
}

/// A request that was read whole, to be sent on once, now or later.
struct Forward {
    client: Client,
    request: Request<Bytes>,
    shared: Shared,
    /// Its place in the record.
    number: usize,
}

/// An error closes the connection without an answer.
async fn serve(request: Request<Incoming>, client: Client, shared: Shared) -> io::Result<Answer> {
    let (parts, body) = request.into_parts();
    let body = Limited::new(body, LARGEST_BODY).collect().await.map_err(io::Error::other)?.to_bytes();
    let mut record =
        CallRecord::new(&parts.method, parts.uri.path(), parts.uri.query().unwrap_or_default(), body.clone());
    let (path, verb) = (record.path.clone(), record.verb);
    let (fault, number) = {
        let mut state = shared.lock();
        let fault = state.rules.strike(&record);
        record.fault = fault.as_ref().map(Fault::name);
        state.calls.push(record);
        (fault, state.calls.len() - 1)
    };
    let forward =
        Forward { client, request: Request::from_parts(parts, body), shared: shared.clone(), number };
    let answer = match fault {
        None => forward.pass(&path, verb, false).await?,
        Some(Fault::Slow { by }) => {
            sleep(by).await;
            forward.pass(&path, verb, false).await?
        }
        Some(Fault::FrozenWatch) => forward.pass(&path, verb, true).await?,
        Some(Fault::Drop) => return Err(closed()),
        Some(Fault::ApplyThenDrop) => {
            forward.apply().await?;
            return Err(closed());
        }
        Some(Fault::ApplyThenTimeout) => {
            forward.apply().await?;
            gateway_timeout()
        }
        Some(Fault::ApplyLater { after }) => {
            tokio::spawn(async move {
                sleep(after).await;
                forward.apply().await
            });
            gateway_timeout()
        }
        Some(Fault::TooManyRequests { retry_after }) => {
            let mut answer =
                refusal(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", "please try again later");
            answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(retry_after));
            answer
        }
        Some(Fault::Gone) => refusal(StatusCode::GONE, "Expired", "too old resource version"),
        Some(Fault::GoneEvent) => {
            let expired = status(StatusCode::GONE, "Expired", "too old resource version");
            let event = json!({"type": "ERROR", "object": expired});
            whole(StatusCode::OK, &HeaderMap::new(), format!("{event}\n").into())
        }
        Some(Fault::OldList { nth }) => match shared.lock().recorded(&path, nth) {
            Some(Listed { status, headers, body }) => whole(status, &headers, body),
            None => refusal(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", "no list was recorded"),
        },
    };
    shared.lock().calls[number].answered = Some(answer.status().as_u16());
    Ok(answer)
}

impl super::State {
    fn recorded(&self, path: &str, nth: usize) -> Option<Listed> {
        let lists = self.lists.get(path)?;
        lists.get(nth.saturating_sub(1)).or(lists.last()).cloned()
    }
}

impl Forward {
    /// To the API server and back.
    async fn pass(self, path: &str, verb: Option<Verb>, frozen: bool) -> io::Result<Answer> {
        let first_page = verb == Some(Verb::List)
            && !self.request.uri().query().is_some_and(|query| query.contains("continue="));
        let (shared, path) = (self.shared.clone(), path.to_owned());
        let (parts, body) = self.send().await?.into_parts();
        if verb == Some(Verb::Watch) && parts.status.is_success() {
            let tap = shared.lock().lines.open(&path, frozen);
            let (body, fill) = tap.body(body);
            // It ends with the connection, which drops the body's other end.
            tokio::spawn(fill);
            let mut answer = Response::new(BoxBody::new(body));
            *answer.headers_mut() = passed_on(&parts.headers);
            return Ok(answer);
        }
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        if first_page && parts.status.is_success() {
            let listed = Listed { status: parts.status, headers: parts.headers.clone(), body: body.clone() };
            shared.lock().lists.entry(path).or_default().push(listed);
        }
        Ok(whole(parts.status, &parts.headers, body))
    }

    /// To the API server; what it answers is recorded, and told to nobody.
    async fn apply(self) -> io::Result<()> {
        self.send().await?.into_body().collect().await.map_err(io::Error::other)?;
        Ok(())
    }

    async fn send(self) -> io::Result<Response<Body>> {
        let Self { client, request, shared, number } = self;
        let (parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let mut onward = Request::builder()
            .method(parts.method)
            .uri(path)
            .body(Body::from(body))
            .map_err(io::Error::other)?;
        *onward.headers_mut() = passed_on(&parts.headers);
        let response = client.send(onward).await.map_err(io::Error::other)?;
        shared.lock().calls[number].applied = Some(response.status().as_u16());
        Ok(response)
    }
}

/// What belongs to a message and not to one of its two connections.
fn passed_on(headers: &HeaderMap) -> HeaderMap {
    let mut passed = headers.clone();
    for own in [header::HOST, header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING] {
        passed.remove(own);
    }
    passed
}

fn whole(status: StatusCode, headers: &HeaderMap, body: Bytes) -> Answer {
    let body = Full::new(body).map_err(|never: Infallible| match never {});
    let mut answer = Response::new(body.boxed());
    *answer.status_mut() = status;
    *answer.headers_mut() = passed_on(headers);
    answer.headers_mut().entry(header::CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
    answer
}

fn status(code: StatusCode, reason: &str, message: &str) -> serde_json::Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
           "code": code.as_u16(), "reason": reason, "message": message})
}

fn refusal(code: StatusCode, reason: &str, message: &str) -> Answer {
    whole(code, &HeaderMap::new(), status(code, reason, message).to_string().into())
}

fn gateway_timeout() -> Answer {
    let message = "request did not complete within the allotted timeout";
    refusal(StatusCode::GATEWAY_TIMEOUT, "Timeout", message)
}

fn closed() -> io::Error {
    io::Error::other("the connection was to be closed")
}
