//! Where a watch is, how it can end, and where it goes on then: pure.

use thiserror::Error;

use super::REQUEST_DEADLINE;
use crate::cluster::causes::causes;
use crate::runtime::Version;

/// Where the watch is.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// To watch from; `None`: list.
    pub(super) version: Option<String>,
    /// The newest version ever heard of.
    pub(super) newest: Option<u64>,
    /// How many watches in a row fell silent.
    pub(super) silent: u32,
    /// Counts what was heard, to tell a watch that worked from one that did not.
    pub(super) heard: u64,
}

/// How a list or a watch ended.
#[derive(Debug)]
pub(super) enum End {
    /// The list is complete.
    Listed(String),
    /// The server ended the watch, as it does after [`super::WATCH_SECONDS`].
    Closed,
    /// Nothing came for [`super::SILENCE_MAX`].
    Silent,
    /// It failed.
    Failed(Failure),
}

#[derive(Debug, Error)]
pub(super) enum Failure {
    #[error("{}", causes(.0))]
    Kube(#[from] kube::Error),
    #[error("the API server ended the watch: {message} ({code})")]
    Status { code: u16, message: String },
    #[error("no answer within {} s", REQUEST_DEADLINE.as_secs())]
    Deadline,
    #[error("the list has no resourceVersion")]
    NoVersion,
}

impl Failure {
    /// The status the API server answered with, if it did.
    fn code(&self) -> Option<u16> {
        match self {
            Self::Kube(kube::Error::Api(status)) => Some(status.code),
            Self::Status { code, .. } => Some(*code),
            Self::Kube(_) | Self::Deadline | Self::NoVersion => None,
        }
    }
}

impl Place {
    /// Something was heard, at this version.
    pub(super) fn hear(&mut self, version: &str) {
        self.heard += 1;
        self.silent = 0;
        self.newest = self.newest.max(Version::parse(version).number());
    }

    /// Whether a list of this version is older than what was heard before it was asked for.
    pub(super) fn is_rewound(&self, version: &str) -> bool {
        matches!((Version::parse(version).number(), self.newest), (Some(list), Some(newest)) if list < newest)
    }

    /// Decides where to go on, and returns whether to pause before.
    pub(super) fn leave(&mut self, end: &End, heard: bool) -> bool {
        match end {
            End::Listed(version) => {
                self.version = Some(version.clone());
                self.newest = Version::parse(version).number();
                false
            }
            // Closed without a word: something in between does not like watches.
            End::Closed => !heard,
            End::Silent => {
                self.silent += 1;
                // A server whose history was rewound sends nothing, bookmarks included, until its numbers catch up.
                if self.silent >= 2 {
                    self.version = None;
                }
                false
            }
            End::Failed(failure) => {
                // 410: the version is too old. Any other refusal but "slow down" may be one of the version, too.
                if matches!(failure.code(), Some(400..=428 | 430..=499)) {
                    self.version = None;
                }
                true
            }
        }
    }
}
