//! No token is told anywhere. Every group of the fault campaign runs at the most talkative log level, with tokens
//! that GitLab refuses among its own, and is searched at its end.

use std::fs;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::FLAGS;
use crate::harness::gitlab::{playing, quick};
use crate::harness::{Secret, Seen, Story, Trigger, story};

/// Tokens that GitLab does not know; its refusals must not lead to their being quoted.
const UNKNOWN: [(&str, &str); 2] =
    [("trigger-token", "glptt-canary-unknown"), ("access-token", "glpat-canary-unknown")];

/// A server that is no GitLab sees the requests as they are on the wire: what the simulator records of a URL has
/// lost its credentials.
#[test]
fn no_token_stands_in_a_url_on_the_wire() {
    story(playing(quick()), async |story| {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let lines = Arc::new(Mutex::new(Vec::new()));
        tokio::spawn(answer_500(listener, Arc::clone(&lines)));
        story.operator_of(&url, &FLAGS);
        story.apply(&Trigger::new("by-trigger")).await;
        story.apply(&Trigger::new("by-access").without("spec.gitlab.triggerTokenRef")).await;
        let looked = |seen: &Seen| seen.message().contains("cannot be asked yet");
        for name in ["by-trigger", "by-access"] {
            story.until(name, "have been looked for", looked).await;
        }
        let lines = lines.lock().unwrap();
        for start in [
            "POST /api/v4/projects/shop%2Fcheckout/trigger",
            "POST /api/v4/projects/shop%2Fcheckout/pipeline",
            "GET ",
        ] {
            assert!(lines.iter().any(|line: &String| line.starts_with(start)), "{start}: {lines:?}");
        }
        for token in story.tokens.borrow().iter() {
            assert!(!lines.iter().any(|line| line.contains(token.as_str())), "a token stands in a URL");
        }
    });
}

/// Keeps the first line of each request.
async fn answer_500(listener: TcpListener, lines: Arc<Mutex<Vec<String>>>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let mut head = vec![0; 16 * 1024];
        let read = stream.read(&mut head).await.unwrap_or_default();
        let head = String::from_utf8_lossy(&head[..read]).into_owned();
        lines.lock().unwrap().push(head.lines().next().unwrap_or_default().to_owned());
        let answer = "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        let _ = stream.write_all(answer.as_bytes()).await;
    }
}

/// Fires an object whose tokens GitLab does not know, and takes it away again.
pub async fn refused(story: &Story) {
    let secret = UNKNOWN.iter().fold(Secret::new("unknown"), |secret, (key, token)| secret.key(key, token));
    story.secret(secret).await;
    let trigger = Trigger::new("refused").with("spec.gitlab.triggerTokenRef.name", "unknown");
    story.apply(&trigger.with("spec.gitlab.accessTokenRef.name", "unknown")).await;
    story.until_phase("refused", "Rejected").await;
    story.delete("refused").await;
}

/// Logs, Events and objects are searched at the end of every story; here the rest.
pub async fn search(story: &Story) {
    let proc = |file: &str| {
        let bytes = fs::read(format!("/proc/{}/{file}", story.operator_pid())).unwrap();
        assert!(!bytes.is_empty(), "{file} can be read");
        String::from_utf8_lossy(&bytes).replace('\0', "\n")
    };
    let urls: String = story.ledger().calls.iter().map(|call| format!("{}\n", call.path)).collect();
    let places = [
        ("the arguments", proc("cmdline")),
        ("the environment", proc("environ")),
        ("/metrics", story.metrics().await),
        ("URLs", urls),
    ];
    assert!(story.log().contains("TRACE"), "the log is at its most talkative");
    assert!(places[2].1.contains("pipekick_gitlab_requests_total"), "{}", places[2].1);
    for token in story.tokens.borrow().iter() {
        let base64 = data_encoding::BASE64.encode(token.as_bytes());
        for (place, text) in &places {
            assert!(!text.contains(token.as_str()) && !text.contains(&base64), "a token stands in {place}");
        }
    }
}
