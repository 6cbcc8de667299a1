//! The operator's own HTTP endpoints: `/livez`, `/readyz`, `/metrics`.
//!
//! Plain HTTP without authentication on an address for the kubelet and Prometheus; nothing it serves names an
//! object, a project or a Secret.

mod documented;
pub mod health;
pub mod metrics;
mod probes;

use std::{future::Future, io, net::SocketAddr, sync::Arc};

use axum::{Router, extract::State, http::header::CONTENT_TYPE, response::IntoResponse, routing::get};
use tokio::net::TcpListener;

pub use documented::metrics_table;
pub use health::Health;
pub use metrics::{Metrics, SpanEnd};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A server that listens and does not answer yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Listens on `address`; port 0 takes a free one.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub async fn bind(name: &'static str, address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        tracing::info!(%address, "{name} server listened");
        Ok(Self { listener, address })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `shutdown` is ready.
    ///
    /// # Errors
    /// The listener broke.
    pub async fn run(
        self,
        routes: Router,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        axum::serve(self.listener, routes).with_graceful_shutdown(shutdown).await
    }
}

/// `/livez` and `/readyz`.
pub fn health_routes(health: Health) -> Router {
    health::routes(health)
}

/// `/metrics`.
pub fn metrics_routes(metrics: Arc<Metrics>) -> Router {
    let encode = async |State(metrics): State<Arc<Metrics>>| {
        ([(CONTENT_TYPE, OPEN_METRICS)], metrics.encode()).into_response()
    };
    Router::new().route("/metrics", get(encode)).with_state(metrics)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
    };

    use super::*;
    use crate::runtime::Handle;

    async fn ask(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn it_answers_on_a_free_port_until_shutdown() {
        let handle = Handle::<()>::new();
        let server = Server::bind("test", "127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = server.address();
        let metrics = Metrics::new();
        metrics.observe_runtime("PipelineTrigger", handle.clone());
        let health = Health::new(vec![("PipelineTrigger", handle.vitals())]);
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let task =
            tokio::spawn(server.run(health_routes(health).merge(metrics_routes(Arc::new(metrics))), async {
                let _ = stopped.await;
            }));
        assert!(ask(address, "/livez").await.starts_with("HTTP/1.1 200"));
        let readyz = ask(address, "/readyz").await;
        assert!(
            readyz.starts_with("HTTP/1.1 503") && readyz.ends_with("PipelineTrigger: it has not started\n")
        );
        handle.vitals().stand_by();
        assert!(ask(address, "/readyz").await.starts_with("HTTP/1.1 200"));
        let metrics = ask(address, "/metrics").await;
        assert!(
            metrics.contains(OPEN_METRICS) && metrics.contains("pipekick_work_in_flight 0\n"),
            "{metrics}"
        );
        drop(stop);
        tokio::time::timeout(Duration::from_secs(5), task).await.unwrap().unwrap().unwrap();
    }
}
