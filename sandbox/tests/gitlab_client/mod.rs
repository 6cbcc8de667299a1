//! A caller without opinions: no redirects, no retries, no proxy, every answer handed back as it came.
#![allow(clippy::unwrap_used, reason = "these functions are parts of tests")]
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::{collections::BTreeMap, net::IpAddr, sync::Once, time::Duration};

use pipekick_sandbox::gitlab::{ClockSeed, GitlabSim, Handle, Seed};
use reqwest::{Method, RequestBuilder, redirect::Policy};
use serde_json::Value;

pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
}

/// An answer as it came.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Seen {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub(crate) fn id(&self) -> u64 {
        self.json()["id"].as_u64().unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// The values of one key of a list.
    pub(crate) fn each(&self, key: &str) -> Vec<Value> {
        self.json().as_array().unwrap().iter().map(|item| item[key].clone()).collect()
    }
}

/// A seed whose clock stands at 2026-11-02T08:00:00Z until advanced.
pub(crate) fn standing(seed: Seed) -> Seed {
    Seed { clock: Some(ClockSeed::Manual { start: "2026-11-02T08:00:00Z".parse().unwrap() }), ..seed }
}

/// One project `shop/checkout`, time standing still, and a client that holds alice's access token.
pub(crate) fn shop() -> (Handle, Client) {
    started(Seed::one_project("shop/checkout"))
}

pub(crate) fn started(seed: Seed) -> (Handle, Client) {
    let sim = GitlabSim::start(standing(seed)).unwrap();
    let client = Client::new(&sim);
    (sim, client)
}

pub(crate) const SHOP: &str = "/projects/shop%2Fcheckout";

impl Client {
    pub(crate) fn new(sim: &Handle) -> Self {
        Self::from_address(sim, None)
    }

    /// A caller at this address of the loopback network.
    pub(crate) fn from_address(sim: &Handle, address: Option<IpAddr>) -> Self {
        static PROVIDER: Once = Once::new();
        PROVIDER.call_once(|| {
            let _ = rustls::crypto::ring::default_provider().install_default();
        });
        let http = reqwest::Client::builder()
            .redirect(Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .local_address(address)
            .timeout(Duration::from_secs(10));
        Self { http: http.build().unwrap(), base: sim.url().to_owned() }
    }

    /// A call below `/api/v4` without any credential.
    pub(crate) fn call(&self, method: &str, path: &str) -> RequestBuilder {
        self.raw(method, &format!("/api/v4{path}"))
    }

    /// A call to any path.
    pub(crate) fn raw(&self, method: &str, path: &str) -> RequestBuilder {
        self.http.request(Method::from_bytes(method.as_bytes()).unwrap(), format!("{}{path}", self.base))
    }

    /// A call by alice's access token.
    pub(crate) fn api(&self, method: &str, path: &str) -> RequestBuilder {
        self.call(method, path).header("PRIVATE-TOKEN", Seed::ACCESS_TOKEN)
    }

    /// A trigger call for `main` with these parameters besides.
    pub(crate) fn trigger(&self, extra: &Value) -> RequestBuilder {
        let mut body = serde_json::json!({ "ref": "main", "token": Seed::TRIGGER_TOKEN });
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        self.call("POST", &format!("{SHOP}/trigger/pipeline")).json(&body)
    }

    /// A form without any credential but what is in it.
    pub(crate) fn form(&self, path: &str, body: String) -> RequestBuilder {
        self.call("POST", path).header("Content-Type", "application/x-www-form-urlencoded").body(body)
    }

    pub(crate) async fn get(&self, path: &str) -> Seen {
        send(self.api("GET", path)).await
    }

    pub(crate) async fn post(&self, path: &str) -> Seen {
        send(self.api("POST", path)).await
    }
}

pub(crate) async fn send(request: RequestBuilder) -> Seen {
    try_send(request).await.unwrap()
}

pub(crate) async fn try_send(request: RequestBuilder) -> reqwest::Result<Seen> {
    let response = request.send().await?;
    let status = response.status().as_u16();
    let headers = response.headers().iter();
    let headers =
        headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
    Ok(Seen { status, headers, body: response.text().await? })
}
