//! The wire: a listener on a thread of its own, one task per connection. The accept loop is ours, because
//! a reset must reach the socket: a connection that is to be reset is closed with zero linger.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    task::{Context, Poll},
    thread,
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::Response,
};
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::{body::Frame, server::conn::http1};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use jiff::Timestamp;
use tokio::{
    net::{TcpSocket, TcpStream},
    sync::Notify,
    task::JoinSet,
};

use super::{
    call::Call,
    clone::GitCall,
    control,
    receive::{Reply, Wire},
    state::World,
};

/// The kernel's default of 128 drops handshakes when thousands of callers come at once.
const BACKLOG: u32 = 4096;
/// Larger than any request of the operator; a runaway client is cut off.
const LARGEST_BODY: usize = 16 << 20;

/// The world behind its one lock: a call is handled whole, so calls have an order.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Mutex<World>>);

impl Shared {
    pub(crate) fn new(world: World) -> Self {
        Self(Arc::new(Mutex::new(world)))
    }

    /// The world, brought up to date. A panic in another call does not make the ledger less true.
    pub(crate) fn lock(&self) -> MutexGuard<'_, World> {
        let mut world = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = world.clock.now();
        world.catch_up(now);
        world
    }
}

/// A running server; dropping it closes every connection.
pub(crate) struct Server {
    stop: Arc<Notify>,
    thread: Option<thread::JoinHandle<()>>,
}

/// Binds `address`, asks `world` for the world at that address, and serves it.
pub(crate) fn start<E: Send + 'static>(
    address: SocketAddr,
    world: impl FnOnce(SocketAddr) -> Result<World, E> + Send + 'static,
) -> io::Result<Result<(Server, Shared, SocketAddr), E>> {
    let stop = Arc::new(Notify::new());
    let stopped = stop.clone();
    let (send, started) = mpsc::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let thread = thread::Builder::new().name("gitlab-sim".into()).spawn(move || {
        runtime.block_on(async {
            let bound = listen(address).and_then(|listener| Ok((listener.local_addr()?, listener)));
            let (address, listener) = match bound {
                Ok(bound) => bound,
                Err(error) => return drop(send.send(Err(error))),
            };
            let shared = match world(address) {
                Ok(world) => Shared::new(world),
                Err(error) => return drop(send.send(Ok(Err(error)))),
            };
            drop(send.send(Ok(Ok((shared.clone(), address)))));
            tokio::select! {
                () = accept(listener, shared) => {}
                () = stopped.notified() => {}
            }
        });
    })?;
    let server = Server { stop, thread: Some(thread) };
    let started = started.recv().map_err(|_| io::Error::other("the simulator's thread ended at once"))??;
    Ok(started.map(|(shared, address)| (server, shared, address)))
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic in the thread has been reported by the hook.
            drop(thread.join());
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<tokio::net::TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn accept(listener: tokio::net::TcpListener, shared: Shared) {
    let router = control::router().fallback(serve).with_state(shared);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => drop(connections.spawn(connection(stream, peer, router.clone()))),
                // Out of file descriptors: those that are open will end.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// What a handler needs to know of its connection.
#[derive(Clone)]
struct Line {
    peer: SocketAddr,
    reset: Arc<Notify>,
}

async fn connection(stream: TcpStream, peer: SocketAddr, router: Router) {
    let reset = Arc::new(Notify::new());
    let line = Line { peer, reset: reset.clone() };
    let service = hyper::service::service_fn(move |mut request: http::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(line.clone());
        hyper::service::Service::call(&TowerToHyperService::new(router.clone()), request.map(Body::new))
    });
    let mut serving =
        http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        // A client that went away is its own business.
        _ = &mut serving => {}
        () = reset.notified() => {
            let stream = serving.into_parts().io.into_inner();
            drop(stream.set_zero_linger());
        }
    }
}

async fn serve(State(shared): State<Shared>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Some(line) = parts.extensions.get::<Line>().cloned() else {
        return status_only(http::StatusCode::INTERNAL_SERVER_ERROR);
    };
    let Ok(body) = Limited::new(body, LARGEST_BODY).collect().await else {
        return status_only(http::StatusCode::PAYLOAD_TOO_LARGE);
    };
    if GitCall::is_one(parts.uri.path()) {
        let text =
            |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let call = GitCall {
            method: parts.method.to_string(),
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            content_type: text("content-type").to_owned(),
            protocol: text("git-protocol").to_owned(),
            gzip: text("content-encoding") == "gzip",
            body: body.to_bytes(),
        };
        let root = shared.lock().repositories.as_ref().map(|root| root.path().to_owned());
        let Some(root) = root else { return status_only(http::StatusCode::NOT_FOUND) };
        return call.answer(&root).await;
    }
    let call = Call {
        number: 0,
        at: Timestamp::UNIX_EPOCH,
        peer: line.peer.ip(),
        method: parts.method,
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts.headers,
        body: body.to_bytes(),
    };
    let delivery = shared.lock().receive(call);
    if !delivery.wait.is_zero() {
        tokio::time::sleep(delivery.wait).await;
    }
    match delivery.wire {
        Wire::Answer(reply) => respond(reply),
        Wire::Truncated(reply) => truncated(reply),
        Wire::Reset => {
            line.reset.notify_one();
            std::future::pending().await
        }
    }
}

fn respond(reply: Reply) -> Response {
    let mut response = status_only(http::StatusCode::from_u16(reply.status).unwrap_or_default());
    *response.headers_mut() = reply.header_map();
    *response.body_mut() = Body::from(reply.body);
    response
}

/// Promises the whole body and sends half of it; hyper then closes the connection.
fn truncated(reply: Reply) -> Response {
    let promised = reply.body.len().max(2);
    let half = Bytes::from(reply.body.clone()).slice(..reply.body.len() / 2);
    let mut response = respond(reply);
    response.headers_mut().insert(http::header::CONTENT_LENGTH, promised.into());
    *response.body_mut() = Body::new(Half(Some(half)));
    response
}

fn status_only(status: http::StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// A body of unknown size, so that nobody corrects the promised length.
struct Half(Option<Bytes>);

impl http_body::Body for Half {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Poll::Ready(self.0.take().map(|half| Ok(Frame::data(half))))
    }
}
