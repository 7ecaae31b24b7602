//! `size`, `why`, `diff` and `sbom`: commands that look into images. The invariant: what they take is complete as clap leaves it, so
//! arguments and settings are one type here.

use std::path::PathBuf;

use builder::SbomFormat;
use clap::ValueEnum;

use super::store::Format;

const SIZE: &str = "\
Examples:
  rbuild size app                            bytes for each layer, package and reason
  rbuild size app --budget 20MB              exit code 1 if the layers together are larger
  rbuild size app --format json | jq '.reasons[0]'";

/// Arguments of `rbuild size`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = SIZE)]
pub(crate) struct SizeArgs {
    /// A name, an id, or the beginning of an id
    #[arg(value_name = "IMAGE")]
    pub image: String,
    /// Fail when the uncompressed layers together are larger: 20MB, 20MiB, or bytes
    #[arg(long, value_name = "SIZE", value_parser = budget)]
    pub budget: Option<u64>,
    /// Of an index, the image for this platform [default: this machine's]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub platform: Option<image::Platform>,
    /// How to write it
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
}

const WHY: &str = "\
Examples:
  rbuild why app /usr/lib/x86_64-linux-gnu/libssl.so.3     which program needs it, and which instruction brought it
  rbuild why app /etc/passwd --format json";

/// Arguments of `rbuild why`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = WHY)]
pub(crate) struct WhyArgs {
    /// A name, an id, or the beginning of an id
    #[arg(value_name = "IMAGE")]
    pub image: String,
    /// A path in the image; links in it are followed
    #[arg(value_name = "PATH")]
    pub path: PathBuf,
    /// Of an index, the image for this platform [default: this machine's]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub platform: Option<image::Platform>,
    /// How to write it
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
}

const DIFF: &str = "\
Examples:
  rbuild diff app:1 app:2                    files, libraries, user, capabilities and configuration that differ
  rbuild diff app:1 app:2 --ignore-times     without the times of files and of the image
  rbuild diff app:1 app:2 --format json | jq -r '.files[].path'

Exit code 0 when nothing differs, 1 when something does. Not compared: how many layers there are, and the history.";

/// Arguments of `rbuild diff`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = DIFF)]
pub(crate) struct DiffArgs {
    /// The image before
    #[arg(value_name = "A")]
    pub before: String,
    /// The image after
    #[arg(value_name = "B")]
    pub after: String,
    /// Do not compare when files and the image were made
    #[arg(long)]
    pub ignore_times: bool,
    /// Of indexes, the images for this platform [default: this machine's]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub platform: Option<image::Platform>,
    /// How to write it
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
}

const SBOM: &str = "\
Examples:
  rbuild sbom app                                  SPDX 2.3 on standard output
  rbuild sbom app --format cyclonedx-json -o app.cdx.json
  rbuild sbom app | jq -r '.packages[].externalRefs[]?.referenceLocator'";

/// Arguments of `rbuild sbom`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = SBOM)]
pub(crate) struct SbomArgs {
    /// A name, an id, or the beginning of an id
    #[arg(value_name = "IMAGE")]
    pub image: String,
    /// Of an index, the image for this platform [default: this machine's]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub platform: Option<image::Platform>,
    /// The form of the document
    #[arg(long, value_enum, default_value = "spdx-json")]
    pub format: SbomForm,
    /// Write it into this file
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// A form of bills of materials, in syft's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SbomForm {
    /// SPDX 2.3
    #[value(alias = "spdx")]
    SpdxJson,
    /// CycloneDX 1.6
    #[value(alias = "cyclonedx")]
    CyclonedxJson,
}

impl From<SbomForm> for SbomFormat {
    fn from(form: SbomForm) -> Self {
        match form {
            SbomForm::SpdxJson => Self::Spdx,
            SbomForm::CyclonedxJson => Self::CycloneDx,
        }
    }
}

/// Sizes of images are shown in powers of 1000, so a budget is meant like that, unless its unit says otherwise.
fn budget(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 8] = [
        ("", 1),
        ("b", 1),
        ("kb", 1000),
        ("mb", 1_000_000),
        ("gb", 1_000_000_000),
        ("kib", 1 << 10),
        ("mib", 1 << 20),
        ("gib", 1 << 30),
    ];
    let wrong = || "expected a size such as 20MB or 20MiB".to_owned();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.');
    let (number, unit) = text.split_at(digits.unwrap_or(text.len()));
    let unit = unit.to_ascii_lowercase();
    let (_, factor) = UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .ok_or_else(wrong)?;
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    if part.len() > 9 {
        return Err(wrong());
    }
    let whole: u64 = whole.parse().map_err(|_| wrong())?;
    let whole = whole.checked_mul(*factor).ok_or_else(wrong)?;
    let scale = 10_u64.pow(u32::try_from(part.len()).map_err(|_| wrong())?);
    let part: u64 = match part {
        "" => 0,
        part => part.parse().map_err(|_| wrong())?,
    };
    whole.checked_add(part * factor / scale).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::budget;

    #[test]
    fn budgets_are_decimal_unless_their_unit_says_otherwise() {
        for (text, bytes) in [
            ("7", 7),
            ("20MB", 20_000_000),
            ("20mb", 20_000_000),
            ("1.5GiB", 3 << 29),
            ("0.25kB", 250),
            ("0", 0),
        ] {
            assert_eq!(budget(text), Ok(bytes), "{text}");
        }
        for text in [
            "",
            "MB",
            "-1",
            "20m",
            "1.2.3MB",
            ".5MB",
            "99999999999GB",
            "1 MB",
        ] {
            assert!(budget(text).is_err(), "{text}");
        }
    }
}
