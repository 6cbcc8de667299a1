//! What an error says to people, with what led to it.

use std::error::Error;
use std::iter;

/// An error and its causes, each told once: many quote the next and have it as their cause too. Of what the API server
/// refused, its message without the dump.
#[must_use]
pub fn causes(error: &(dyn Error + 'static)) -> String {
    let mut told: Vec<String> = Vec::new();
    for cause in iter::successors(Some(error), |error| further(*error)) {
        let text = own_words(cause);
        if !told.last().is_some_and(|last| last.contains(&text)) {
            told.push(text);
        }
    }
    told.join(": ")
}

/// What led to it. What led to a refusal is that refusal again.
fn further<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref() {
        Some(kube::Error::Api(_)) => None,
        _ => error.source(),
    }
}

fn own_words(error: &(dyn Error + 'static)) -> String {
    match error.downcast_ref() {
        Some(kube::Error::Api(status)) => status.message.clone(),
        Some(kube::Error::Service(inner)) => inner.to_string(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Odd {
        #[error("it failed: {0}")]
        Quotes(#[source] Box<Odd>),
        #[error("client error")]
        Hides(#[source] Box<Odd>),
        #[error("connection refused")]
        Refused,
    }

    #[test]
    fn what_led_to_an_error_is_told_once_and_to_the_end() {
        let hidden = || Box::new(Odd::Hides(Box::new(Odd::Refused)));
        assert_eq!(causes(&Odd::Refused), "connection refused");
        assert_eq!(causes(&Odd::Quotes(hidden())), "it failed: client error: connection refused");
        assert_eq!(causes(&kube::Error::Service(hidden())), "client error: connection refused");
        let context = anyhow::Error::from(Odd::Quotes(hidden())).context("the Lease cannot be read");
        assert_eq!(
            causes(context.as_ref()),
            "the Lease cannot be read: it failed: client error: connection refused"
        );
    }

    #[test]
    fn what_the_api_server_refused_is_told_in_its_words() {
        let status = Status::failure("namespaces \"nope\" not found", "NotFound").with_code(404);
        let error = anyhow::Error::from(kube::Error::Api(status.boxed())).context("it cannot be listed");
        assert_eq!(causes(error.as_ref()), "it cannot be listed: namespaces \"nope\" not found");
    }
}
