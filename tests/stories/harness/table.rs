//! What `kubectl get` shows.

use http::Request;
use serde_json::Value;

use super::Story;

impl Story {
    /// The table of a kind, as the API server makes it for kubectl.
    pub async fn table(&self, plural: &str) -> Value {
        let path = format!("/apis/pipekick.dev/v1alpha1/namespaces/{}/{plural}", self.namespace);
        let request = Request::get(path).header("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io");
        self.client.request(request.body(Vec::new()).unwrap()).await.unwrap()
    }
}

/// The names of its columns: those of priority 0 are always shown, those of 1 by `-o wide`.
pub fn columns(table: &Value, priority: i64) -> Vec<&str> {
    let all = table["columnDefinitions"].as_array().unwrap();
    let shown = all.iter().filter(|column| column["priority"] == priority);
    shown.map(|column| column["name"].as_str().unwrap()).collect()
}
