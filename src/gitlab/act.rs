//! What is done to a pipeline that exists. Each request is sent once; an error tells whether it may have arrived.

use http::Method;
use pipekick_core::domain::Pipeline;
use secrecy::SecretString;
use serde_json::json;

use super::explain::Call;
use super::http::{Reply, Request, Token, Want};
use super::read::{ReadError, accept, path, value};
use super::wire::PipelineWire;
use super::{Account, Class, Client, Endpoint, Leave};

/// A request that changes something.
pub(super) struct Deed {
    pub(super) call: Call,
    pub(super) method: Method,
    pub(super) class: Class,
    /// Below `/api/v4`, percent-encoded.
    pub(super) path: String,
    pub(super) body: Option<Vec<u8>>,
}

impl Client {
    /// Asks GitLab to stop a pipeline. It says yes even if nothing was left to stop; the pipeline then shows.
    ///
    /// # Errors
    /// See [`ReadKind`](super::ReadKind). After `Trouble` it may have been stopped all the same.
    pub async fn cancel(&self, at: &Endpoint, id: u64, token: &SecretString) -> Result<Pipeline, ReadError> {
        let deed = of_pipeline(Call::Cancel, Method::POST, Class::Firing, at, id);
        let reply = self.act(deed, at, token).await?;
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
        let deed = of_pipeline(Call::RetryPipeline, Method::POST, Class::Firing, at, id);
        let reply = self.act(deed, at, token).await?;
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
        let deed = of_pipeline(Call::DeletePipeline, Method::DELETE, Class::Following, at, id);
        gone_is_done(self.act(deed, at, token).await)
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
        let deed = of_pipeline(Call::NamePipeline, Method::PUT, Class::Following, at, id);
        self.act(Deed { body, ..deed }, at, token).await.map(|_| ())
    }

    pub(super) async fn act(
        &self,
        deed: Deed,
        at: &Endpoint,
        token: &SecretString,
    ) -> Result<Reply, ReadError> {
        let Deed { call, method, class, path, body } = deed;
        let Endpoint { url, project, trust } = at;
        let who = Account::access(url, self.fingerprint(token));
        let token = Token::Header(token, body);
        let request = Request {
            method,
            url,
            trust,
            path,
            query: Vec::new(),
            token,
            hide: Vec::new(),
            want: Want::JSON,
        };
        let result = self.call(call, Leave::Ask(&who, class), request).await;
        accept(call, url, &project.to_string(), result)
    }
}

fn of_pipeline(call: Call, method: Method, class: Class, at: &Endpoint, id: u64) -> Deed {
    Deed { call, method, class, path: path(call, at, Some(id)), body: None }
}

/// Deleting what is not there any more is no error.
pub(super) fn gone_is_done(result: Result<Reply, ReadError>) -> Result<(), ReadError> {
    match result {
        Ok(_) => Ok(()),
        Err(error) if error.is_gone() => Ok(()),
        Err(error) => Err(error),
    }
}
