//! `git clone <simulator>/<project>.git`, by git's own server side. Anybody may clone what is simulated, and nobody
//! push: that goes by path, or through the API.

use std::{path::Path, process::Stdio};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use http::StatusCode;
use tokio::{io::AsyncWriteExt as _, process::Command};

/// A call that git's client makes, as far as its server side needs to know.
pub(crate) struct GitCall {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) content_type: String,
    pub(crate) protocol: String,
    pub(crate) gzip: bool,
    pub(crate) body: Bytes,
}

impl GitCall {
    /// Whether a path leads into a repository.
    pub(crate) fn is_one(path: &str) -> bool {
        let served_otherwise = path.starts_with("/api/") || path.starts_with("/-/");
        !served_otherwise && path.contains(".git/")
    }

    pub(crate) async fn answer(self, root: &Path) -> Response {
        match self.ask(root).await {
            Ok(response) => response,
            Err(error) => {
                tracing::error!(%error, "git http-backend failed");
                plain(StatusCode::INTERNAL_SERVER_ERROR)
            }
        }
    }

    async fn ask(self, root: &Path) -> std::io::Result<Response> {
        let Self { method, path, query, content_type, protocol, gzip, body } = self;
        let mut command = Command::new("git");
        command.arg("http-backend").env_clear();
        command.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        command.env("GIT_PROJECT_ROOT", root).env("GIT_HTTP_EXPORT_ALL", "1").env("GIT_PROTOCOL", protocol);
        command.env("REQUEST_METHOD", method).env("PATH_INFO", path).env("QUERY_STRING", query);
        command.env("CONTENT_TYPE", content_type).env("CONTENT_LENGTH", body.len().to_string());
        if gzip {
            command.env("HTTP_CONTENT_ENCODING", "gzip");
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            tokio::spawn(async move { drop(stdin.write_all(&body).await) });
        }
        Ok(read(&child.wait_with_output().await?.stdout))
    }
}

/// CGI: headers, an empty line, the body.
fn read(output: &[u8]) -> Response {
    let end = output.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    let Some(end) = end else { return plain(StatusCode::INTERNAL_SERVER_ERROR) };
    let mut response = Response::new(Body::from(output[end + 4..].to_vec()));
    for line in String::from_utf8_lossy(&output[..end]).lines() {
        let Some((name, value)) = line.split_once(": ") else { continue };
        if name == "Status" {
            let status = value.split(' ').next().and_then(|code| code.parse().ok());
            *response.status_mut() = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        } else if let (Ok(name), Ok(value)) = (name.parse::<http::HeaderName>(), value.parse()) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

fn plain(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
