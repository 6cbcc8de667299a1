//! The body of a watch, which can be frozen or cut while it flows.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Frame;
use kube::client::Body;
use tokio::sync::{mpsc, watch};

use super::call::ends_like;

/// Chunks under way; a watch that nobody reads is held up, as by TCP.
const UNDER_WAY: usize = 16;

/// What a watch does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Flowing,
    /// Its connection stays, and nothing comes.
    Frozen,
    Cut,
}

/// Every watch that is open, to be steered.
#[derive(Default)]
pub(super) struct Lines(Vec<Line>);

struct Line {
    path: String,
    flow: watch::Sender<Flow>,
}

impl Lines {
    pub(super) fn freeze(&mut self, path: &str) -> usize {
        self.steer(path, Flow::Frozen)
    }

    pub(super) fn cut(&mut self, path: &str) -> usize {
        self.steer(path, Flow::Cut)
    }

    fn steer(&mut self, path: &str, to: Flow) -> usize {
        self.0.retain(|line| !line.flow.is_closed());
        let meant: Vec<&Line> = self.0.iter().filter(|line| ends_like(&line.path, path)).collect();
        for line in &meant {
            line.flow.send_replace(to);
        }
        meant.len()
    }

    /// Takes in a watch that begins.
    pub(super) fn open(&mut self, path: &str, frozen: bool) -> Tap {
        self.0.retain(|line| !line.flow.is_closed());
        let (flow, tap) = watch::channel(if frozen { Flow::Frozen } else { Flow::Flowing });
        self.0.push(Line { path: path.to_owned(), flow });
        Tap(tap)
    }
}

/// Where a watch's flow is steered.
pub(super) struct Tap(watch::Receiver<Flow>);

impl Tap {
    /// The body to answer with, and the task that fills it from the API server's.
    pub(super) fn body(self, upstream: Body) -> (WatchBody, impl Future<Output = ()>) {
        let (send, receive) = mpsc::channel(UNDER_WAY);
        (WatchBody(receive), pump(upstream, send, self.0))
    }
}

async fn pump(mut upstream: Body, to: mpsc::Sender<io::Result<Bytes>>, mut flow: watch::Receiver<Flow>) {
    loop {
        let now = *flow.borrow_and_update();
        let chunk = match now {
            Flow::Cut => Some(Err(io::Error::other("the watch was cut"))),
            Flow::Frozen => tokio::select! {
                _ = flow.changed() => continue,
                () = to.closed() => return,
            },
            Flow::Flowing => tokio::select! {
                _ = flow.changed() => continue,
                () = to.closed() => return,
                frame = upstream.frame() => frame.map(|frame| match frame {
                    Ok(frame) => Ok(frame.into_data().unwrap_or_default()),
                    Err(error) => Err(io::Error::other(error)),
                }),
            },
        };
        let Some(chunk) = chunk else { return };
        let last = chunk.is_err();
        if to.send(chunk).await.is_err() || last {
            return;
        }
    }
}

/// An error ends it without the chunk that would say that it is whole.
pub(super) struct WatchBody(mpsc::Receiver<io::Result<Bytes>>);

impl http_body::Body for WatchBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.0.poll_recv(context).map(|chunk| chunk.map(|chunk| chunk.map(Frame::data)))
    }
}
