//! CA bundles: read by name whenever a GitLab is about to be asked, so that a rotated one is used with the next
//! request.

use pipekick_core::domain::{BundleKind, CaBundleRef, ObjectKey, Reason};

use super::refusals::Unavailable;
use super::secrets::{Secrets, Use, What};
use super::stored::{Kind, NotRead};
use crate::gitlab::{CaBundle, Trust};

impl Secrets {
    /// Whose certificates are believed: those of the bundle, or the system's where none is named. A bundle is no secret
    /// and is sent nowhere, so a Secret needs no label to hold one.
    ///
    /// # Errors
    /// When it is missing, or no bundle.
    pub async fn trust(&self, namespace: &str, bundle: Option<&CaBundleRef>) -> Result<Trust, Unavailable> {
        let Some(CaBundleRef { kind, name, key }) = bundle else { return Ok(Trust::System) };
        let kind = match kind {
            BundleKind::ConfigMap => Kind::ConfigMap,
            BundleKind::Secret => Kind::Secret,
        };
        let use_ = Use {
            what: What::Bundle,
            kind,
            object: ObjectKey { namespace: namespace.to_owned(), name: name.clone() },
            keys: key.clone(),
            url: String::new(),
            project: String::new(),
        };
        let bundle = self.refusals.unless_refused(use_, self.read_bundle(namespace, kind, name, key)).await?;
        Ok(Trust::Bundle(bundle))
    }

    async fn read_bundle(
        &self,
        namespace: &str,
        kind: Kind,
        name: &str,
        key: &str,
    ) -> Result<CaBundle, (Reason, String)> {
        let what = kind.as_str();
        let missing = |message: String| (Reason::CaBundleMissing, format!("{message} (gitlab.caBundleRef)"));
        let read = self.objects.read(kind, namespace, name).await;
        let object = read.as_ref().as_ref().map_err(|why| match why {
            NotRead::NoName => missing(format!("`{name}` cannot be the name of a {what}")),
            NotRead::Missing => missing(format!("{what} {name} does not exist; its key {key} is needed")),
            NotRead::Unreadable(why) => {
                (Reason::CaBundleUnreadable, format!("{what} {name} could not be read: {why}"))
            }
        })?;
        let Some(pem) = object.data.get(key) else {
            return Err(missing(format!("{what} {name} has no key {key}")));
        };
        CaBundle::parse(pem).map_err(|why| {
            (Reason::CaBundleUnusable, format!("key {key} of {what} {name} is no CA bundle: {why}"))
        })
    }
}
