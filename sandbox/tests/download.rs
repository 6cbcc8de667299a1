//! The downloader against a server on loopback that can do everything wrong.

#![allow(clippy::unwrap_used, reason = "a test; the lint knows only those with an attribute")]
#![allow(clippy::disallowed_methods, reason = "measures how long a download takes to give up")]

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use pipekick_sandbox::controlplane::archive::Archive;
use pipekick_sandbox::controlplane::download::{Digest, Downloader};
use pipekick_sandbox::controlplane::{Error, Quiet};
use reqwest::Url;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// An answer, byte for byte; after it the connection is closed, or held open.
struct Answer {
    path: &'static str,
    bytes: Vec<u8>,
    then_hang: bool,
}

fn answer(path: &'static str, status: &str, headers: &str, body: &[u8]) -> Answer {
    let mut bytes = format!("HTTP/1.1 {status}\r\nconnection: close\r\n{headers}\r\n").into_bytes();
    bytes.extend_from_slice(body);
    Answer { path, bytes, then_hang: false }
}

fn ok(path: &'static str, body: &[u8]) -> Answer {
    answer(path, "200 OK", &format!("content-length: {}\r\n", body.len()), body)
}

/// Serves until the test's runtime ends.
async fn serve(answers: Vec<Answer>) -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answers = Arc::new(answers);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(reply(stream, Arc::clone(&answers)));
        }
    });
    Url::parse(&url).unwrap()
}

async fn reply(mut stream: TcpStream, answers: Arc<Vec<Answer>>) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await.unwrap());
    }
    let request = String::from_utf8(request).unwrap();
    let path = request.split(' ').nth(1).unwrap();
    match answers.iter().find(|answer| answer.path == path) {
        Some(answer) => {
            let _ = stream.write_all(&answer.bytes).await;
            if answer.then_hang {
                std::future::pending::<()>().await;
            }
        }
        None => {
            let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await;
        }
    }
}

/// A small envtest archive: entries by path, each with its path as content.
fn pack(paths: &[&str]) -> Vec<u8> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for path in paths {
        let mut header = tar::Header::new_gnu();
        header.set_size(path.len() as u64);
        header.set_mode(0o755);
        archive.append_data(&mut header, path, path.as_bytes()).unwrap();
    }
    archive.into_inner().unwrap().finish().unwrap()
}

fn envtest() -> Vec<u8> {
    pack(&[
        "controller-tools/envtest/kubectl",
        "controller-tools/envtest/etcd",
        "controller-tools/envtest/kube-apiserver",
    ])
}

/// Fetches `path` of a server with these answers, expecting `sha512`.
async fn fetch(answers: Vec<Answer>, path: &str, sha512: Digest) -> (TempDir, Result<(), Error>) {
    let url = serve(answers).await.join(path).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let fetched = Archive { url, sha512 }.fetch(&Downloader::new().unwrap(), dir.path(), &Quiet).await;
    (dir, fetched)
}

fn refusal(fetched: &(TempDir, Result<(), Error>)) -> String {
    let (dir, refused) = fetched;
    assert!(!dir.path().join("etcd").exists(), "nothing is unpacked");
    refused.as_ref().unwrap_err().to_string()
}

fn read(dir: &Path, name: &str) -> String {
    std::fs::read_to_string(dir.join(name)).unwrap()
}

#[tokio::test]
async fn the_right_archive_is_unpacked_and_nothing_but_the_two_binaries_is_left() {
    let body = envtest();
    let (dir, fetched) = fetch(vec![ok("/a", &body)], "/a", Digest::of(&body)).await;
    fetched.unwrap();
    assert_eq!(read(dir.path(), "etcd"), "controller-tools/envtest/etcd");
    assert_eq!(read(dir.path(), "kube-apiserver"), "controller-tools/envtest/kube-apiserver");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
}

#[tokio::test]
async fn redirects_are_followed_as_github_needs_but_not_to_plain_http_elsewhere_and_not_for_ever() {
    let body = envtest();
    let moved =
        |path, to: &str| answer(path, "302 Found", &format!("location: {to}\r\ncontent-length: 0\r\n"), b"");
    let answers = || {
        vec![
            moved("/release", "/asset"),
            ok("/asset", &body),
            moved("/away", "http://192.0.2.1/asset"),
            moved("/loop", "/loop"),
        ]
    };
    fetch(answers(), "/release", Digest::of(&body)).await.1.unwrap();
    let away = refusal(&fetch(answers(), "/away", Digest::of(&body)).await);
    assert!(away.contains("redirected away from https"), "{away}");
    let circle = refusal(&fetch(answers(), "/loop", Digest::of(&body)).await);
    assert!(circle.contains("too many redirects"), "{circle}");
}

#[tokio::test]
async fn an_archive_with_another_hash_is_not_used() {
    let body = envtest();
    let refused = refusal(&fetch(vec![ok("/a", &body)], "/a", Digest::of(b"another")).await);
    assert!(refused.contains(&Digest::of(&body).to_string()), "{refused}");
    assert!(refused.contains("the file was not used"), "{refused}");
}

#[tokio::test]
async fn a_truncated_archive_is_not_used() {
    let body = envtest();
    let mut short = ok("/a", &body);
    short.bytes.truncate(short.bytes.len() - 10);
    let refused = refusal(&fetch(vec![short], "/a", Digest::of(&body)).await);
    assert!(refused.contains("end of file before message length reached"), "{refused}");

    let unannounced = answer("/a", "200 OK", "", &body[..body.len() - 10]);
    let refused = refusal(&fetch(vec![unannounced], "/a", Digest::of(&body)).await);
    assert!(refused.contains("the file was not used"), "{refused}");
}

#[tokio::test]
async fn an_archive_that_lacks_a_binary_or_is_none_is_refused() {
    let body = pack(&["controller-tools/envtest/kube-apiserver", "etcd", "other/etcd"]);
    let refused = refusal(&fetch(vec![ok("/a", &body)], "/a", Digest::of(&body)).await);
    assert!(refused.contains("no controller-tools/envtest/etcd in it"), "{refused}");

    let body = b"<html>Please log in</html>";
    let refused = refusal(&fetch(vec![ok("/a", body)], "/a", Digest::of(body)).await);
    assert!(refused.contains("gzip"), "{refused}");
}

#[tokio::test]
async fn not_found_is_said() {
    let refused = refusal(&fetch(Vec::new(), "/a", Digest::of(b"")).await);
    assert!(refused.contains("404 Not Found"), "{refused}");
}

#[tokio::test]
async fn a_host_that_cannot_be_reached_is_given_up_within_seconds() {
    let dir = tempfile::tempdir().unwrap();
    let began = Instant::now();
    // Nobody listens on a port that was just free; 192.0.2.0/24 is reserved for documentation and drops packets
    // or has no route; names below .invalid do not resolve.
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for url in
        [format!("http://{free}/a"), "https://192.0.2.1/a".to_owned(), "https://host.invalid/a".to_owned()]
    {
        let archive = Archive { url: Url::parse(&url).unwrap(), sha512: Digest::of(b"") };
        let downloader = Downloader::new().unwrap();
        let refused = archive.fetch(&downloader, dir.path(), &Quiet).await.unwrap_err().to_string();
        assert!(refused.starts_with(&format!("{url}: error sending request: ")), "{refused}");
    }
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[tokio::test]
async fn plain_http_to_others_than_loopback_is_not_spoken() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive { url: Url::parse("http://example.com/a").unwrap(), sha512: Digest::of(b"") };
    let refused = archive.fetch(&Downloader::new().unwrap(), dir.path(), &Quiet).await.unwrap_err();
    assert_eq!(refused.to_string(), "http://example.com/a: only https is spoken");
}

#[tokio::test]
async fn a_body_that_stalls_is_given_up() {
    let body = envtest();
    let mut stalled = ok("/a", &body);
    stalled.bytes.truncate(stalled.bytes.len() - 10);
    stalled.then_hang = true;
    let began = Instant::now();
    let refused = refusal(&fetch(vec![stalled], "/a", Digest::of(&body)).await);
    assert!(refused.contains("timed out"), "{refused}");
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}

#[tokio::test]
async fn the_index_tells_address_and_hash_of_platforms_that_are_not_pinned() {
    let body = envtest();
    let mut index = Vec::new();
    let hash = Digest::of(&body);
    write!(
        index,
        "releases:
  v1.34.0:
    envtest-v1.34.0-linux-arm64.tar.gz:
      hash: {old}
      selfLink: https://example.com/old.tar.gz
  v1.35.0:
    envtest-v1.35.0-linux-arm64.tar.gz:
      hash: {hash}
      selfLink: https://example.com/new.tar.gz
",
        old = Digest::of(b"old"),
    )
    .unwrap();
    let url = serve(vec![ok("/index.yaml", &index)]).await.join("/index.yaml").unwrap();
    let downloader = Downloader::new().unwrap();

    let found = Archive::from_index(&downloader, &url, "linux-arm64").await.unwrap();

    assert_eq!(found, Archive { url: Url::parse("https://example.com/new.tar.gz").unwrap(), sha512: hash });
    let refused = Archive::from_index(&downloader, &url, "plan9-mips").await.unwrap_err().to_string();
    assert!(refused.contains("has no envtest v1.35.0 for plan9-mips"), "{refused}");
}
