//! One HTTP call, as it came over the wire.

use std::net::IpAddr;

use bytes::Bytes;
use http::{HeaderMap, Method};
use jiff::Timestamp;
use url::form_urlencoded;

/// Parameters that carry credentials: they are never written down.
pub(crate) const SECRET_PARAMS: [&str; 4] = ["token", "private_token", "access_token", "job_token"];

#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) number: u64,
    /// When it takes effect.
    pub(crate) at: Timestamp,
    pub(crate) peer: IpAddr,
    pub(crate) method: Method,
    /// Still percent-encoded.
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Call {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub(crate) fn query_param(&self, name: &str) -> Option<String> {
        form_urlencoded::parse(self.query.as_bytes())
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    }

    /// Query parameters without credentials.
    pub(crate) fn open_query(&self) -> Vec<(String, String)> {
        form_urlencoded::parse(self.query.as_bytes())
            .filter(|(key, _)| !SECRET_PARAMS.contains(&key.as_ref()))
            .map(|(key, value)| (key.into_owned(), value.into_owned()))
            .collect()
    }

    /// Path and query without credentials.
    pub(crate) fn open_path(&self) -> String {
        let query = self.open_query();
        if query.is_empty() {
            return self.path.clone();
        }
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
        format!("{}?{query}", self.path)
    }
}
