//! What the image gets beyond its instructions. The invariant: without a flag, the comments of the Containerfile say all.

use std::convert::Infallible;
use std::path::PathBuf;
use std::str::FromStr;

use builder::{AccountsPolicy, RecordsPolicy};
use clap::ValueEnum;

/// Beyond the language.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Beyond instructions")]
pub(crate) struct FurnishArgs {
    /// A CA bundle for the image: `auto` where something in it reads one and none is there, a file with certificates, or `off`, whatever `# rbuild:ca-certificates` says [default: what it says]
    #[arg(long, value_name = "auto|FILE|off")]
    ca: Option<CaArg>,
    /// The account of the image's numeric user, /tmp and nsswitch.conf, where they are missing: `auto`, or `off`, whatever `# rbuild:accounts` says [default: what it says]
    #[arg(long, value_enum, value_name = "auto|off")]
    accounts: Option<AccountsArg>,
    /// Record for scanners which packages the files are of that COPY --from takes from a Debian or Alpine system: `auto`, in stages with `# rbuild:` comments or these flags; `always`, in the image; or `off` [default: auto; with --sbom always]
    #[arg(long, value_enum, value_name = "auto|always|off")]
    package_records: Option<RecordsArg>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum RecordsArg {
    /// In stages that ask for something beyond instructions
    Auto,
    /// In the image, too
    Always,
    /// None
    Off,
}

/// `--ca`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CaArg {
    /// Where it is needed.
    Auto,
    /// From this file.
    File(PathBuf),
    /// None.
    Off,
}

impl FromStr for CaArg {
    type Err = Infallible;
    /// A file called `auto` is `./auto`.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
            "auto" => Self::Auto,
            "off" => Self::Off,
            path => Self::File(path.into()),
        })
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum AccountsArg {
    /// Where they are missing
    Auto,
    /// None
    Off,
}

/// What is asked for; the bundle is still to be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FurnishSettings {
    /// `--ca`.
    pub ca: Option<CaArg>,
    /// `--accounts`.
    pub accounts: AccountsPolicy,
    /// `--package-records`.
    pub records: RecordsPolicy,
}

impl FurnishArgs {
    /// A bill of materials is read from the image, so what it is to know has to be in there.
    pub(super) fn settings(self, has_sbom: bool) -> FurnishSettings {
        FurnishSettings {
            ca: self.ca,
            accounts: match self.accounts {
                None => AccountsPolicy::AsWritten,
                Some(AccountsArg::Auto) => AccountsPolicy::Auto,
                Some(AccountsArg::Off) => AccountsPolicy::Off,
            },
            records: match self.package_records {
                None if has_sbom => RecordsPolicy::Always,
                None | Some(RecordsArg::Auto) => RecordsPolicy::Auto,
                Some(RecordsArg::Always) => RecordsPolicy::Always,
                Some(RecordsArg::Off) => RecordsPolicy::Off,
            },
        }
    }
}
