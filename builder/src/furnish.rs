//! What a stage gets at its end beyond what its instructions say, because a comment (`# rbuild:ca-certificates`) or the command
//! line asks for it. Invariant: it is data that is hashed; what it adds depends on it, on the stage and on its sources alone.

use serde::{Deserialize, Serialize};

use crate::step::CopyFrom;

/// One such thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Furnish {
    /// A CA bundle.
    Certificates(CertificatesStep),
    /// The account of the image's user.
    Accounts(AccountsStep),
    /// Package records of the files that were copied from other stages and images.
    Records(RecordsStep),
}

/// A CA bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificatesStep {
    /// Where its certificates are from.
    pub roots: Roots,
    /// Files of the context with more of them.
    pub extra: Vec<String>,
    /// Whether it is left out where nothing would read it, or one is there.
    pub if_needed: bool,
}

/// Where certificates are from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Roots {
    /// The bundle that the stage has already, else the list of Mozilla's that this program has.
    Own {
        /// Names the list.
        mozilla: String,
    },
    /// The bundle of another stage, an image, or a directory.
    Of(CopyFrom),
    /// A bundle that the caller gave, as PEM.
    Given(String),
}

/// The account of a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountsStep {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// What both are called.
    pub name: String,
}

/// Package records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordsStep {
    /// What files were copied from, in order, each once.
    pub sources: Vec<CopyFrom>,
}

impl Furnish {
    /// What it takes files from, beside the stage itself and the build context.
    pub(crate) fn sources(&self) -> Vec<&CopyFrom> {
        match self {
            Self::Certificates(CertificatesStep {
                roots: Roots::Of(from),
                ..
            }) => vec![from],
            Self::Certificates(_) | Self::Accounts(_) => Vec::new(),
            Self::Records(step) => step.sources.iter().collect(),
        }
    }

    /// The files of the build context that it reads.
    pub(crate) fn extra(&self) -> &[String] {
        match self {
            Self::Certificates(step) => &step.extra,
            Self::Accounts(_) | Self::Records(_) => &[],
        }
    }
}

/// What the command line says about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Furnishing {
    /// `--ca`.
    pub certificates: CertificatesPolicy,
    /// `--accounts`.
    pub accounts: AccountsPolicy,
    /// `--package-records`.
    pub records: RecordsPolicy,
}

/// `--ca`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CertificatesPolicy {
    /// What the Containerfile's comments say.
    #[default]
    AsWritten,
    /// Beside that, the image gets a bundle if something in it reads one and there is none.
    Auto,
    /// The image gets this one, as PEM.
    Given(String),
    /// No image gets any.
    Off,
}

/// `--accounts`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AccountsPolicy {
    /// What the Containerfile's comments say.
    #[default]
    AsWritten,
    /// Beside that, the image gets the account of its numeric user.
    Auto,
    /// No image gets any.
    Off,
}

/// `--package-records`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RecordsPolicy {
    /// Stages that ask for something beyond the language get them.
    #[default]
    Auto,
    /// And the image, whatever it asks for.
    Always,
    /// No image gets any.
    Off,
}
