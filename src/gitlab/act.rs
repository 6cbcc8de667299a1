//! What is done to a pipeline that exists. Each request is sent once; an error tells whether it may have arrived.

use http::Method;
use pipekick_core::domain::{Pipeline, Reason};
use secrecy::SecretString;
use serde_json::json;

use super::explain::Call;
use super::http::{Reply, Request, Token};
use super::read::{ReadError, accept, path, value};
use super::wire::PipelineWire;
use super::{Account, Class, Client, Endpoint};

/// A request that changes something.
struct Deed {
    call: Call,
    method: Method,
    class: Class,
    body: Option<Vec<u8>>,
}

impl Client {
    /// Asks GitLab to stop a pipeline. It says yes even if nothing was left to stop; the pipeline then shows.
    ///
    /// # Errors
    /// See [`ReadKind`](super::ReadKind). After `Trouble` it may have been stopped all the same.
    pub async fn cancel(&self, at: &Endpoint, id: u64, token: &SecretString) -> Result<Pipeline, ReadError> {
        let deed = Deed { call: Call::Cancel, method: Method::POST, class: Class::Firing, body: None };
        let reply = self.act(deed, at, id, token).await?;
        value::<PipelineWire>(&reply).map(Pipeline::from)
    }

    /// Runs a pipeline's failed and canceled jobs again, under new ids. It says yes even if there was nothing to
    /// run. Sent twice it may run jobs twice: those that failed again in between.
    ///
    /// # Errors
    /// See [`ReadKind`](super::ReadKind). After `Trouble` they may run all the same; new job ids tell.
    pub async fn retry_pipeline(
        &self,
        at: &Endpoint,
        id: u64,
        token: &SecretString,
    ) -> Result<Pipeline, ReadError> {
        let deed = Deed { call: Call::RetryPipeline, method: Method::POST, class: Class::Firing, body: None };
        let reply = self.act(deed, at, id, token).await?;
        value::<PipelineWire>(&reply).map(Pipeline::from)
    }

    /// Deletes a pipeline with its jobs, logs and artifacts; one that is gone already is no error. Owners may.
    ///
    /// # Errors
    /// See [`ReadKind`](super::ReadKind). After `Trouble` it may be gone all the same.
    pub async fn delete_pipeline(
        &self,
        at: &Endpoint,
        id: u64,
        token: &SecretString,
    ) -> Result<(), ReadError> {
        let (call, method) = (Call::DeletePipeline, Method::DELETE);
        match self.act(Deed { call, method, class: Class::Following, body: None }, at, id, token).await {
            Ok(_) => Ok(()),
            Err(error) if error.reason == Reason::PipelineGone => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Gives a pipeline a name of at most 255 characters. GitLab can since 16.6.
    ///
    /// # Errors
    /// See [`ReadKind`](super::ReadKind). After `Trouble` it may have it all the same; giving it again changes nothing.
    pub async fn name_pipeline(
        &self,
        at: &Endpoint,
        id: u64,
        name: &str,
        token: &SecretString,
    ) -> Result<(), ReadError> {
        let body = Some(json!({ "name": name }).to_string().into_bytes());
        let (call, method) = (Call::NamePipeline, Method::PUT);
        self.act(Deed { call, method, class: Class::Following, body }, at, id, token).await.map(|_| ())
    }

    async fn act(
        &self,
        deed: Deed,
        at: &Endpoint,
        id: u64,
        token: &SecretString,
    ) -> Result<Reply, ReadError> {
        let Deed { call, method, class, body } = deed;
        let Endpoint { url, project } = at;
        let who = Account::access(url, self.fingerprint(token));
        let path = path(call, at, Some(id));
        let request = Request { method, url, path, query: Vec::new(), token: Token::Header(token, body) };
        let result = self.call(call, &who, class, request).await;
        accept(call, url, &project.to_string(), result)
    }
}
