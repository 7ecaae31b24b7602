//! What goes with the image beside it. The invariant: what no output has room for is refused before the build starts.

use std::collections::BTreeSet;
use std::path::PathBuf;

use builder::{Detail, Output, Provenance, SbomFormat};

use crate::failure::Failure;

/// Beside the image.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Beside the image")]
pub(crate) struct AttestArgs {
    /// Attach bills of materials: `true` or spdx, cyclonedx, or both with a comma; `false` for none
    #[arg(long, value_name = "FORMAT", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    sbom: Option<String>,
    /// Attach SLSA provenance: `true`, mode=min or mode=max, with builder-id=URI after a comma; `false` for none
    #[arg(long, value_name = "MODE", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    provenance: Option<String>,
    /// Sign what is pushed, or written by type=oci, with this private key, as cosign does; COSIGN_PASSWORD opens one of cosign's
    #[arg(long, value_name = "KEY")]
    sign_by: Option<PathBuf>,
}

/// What goes with the image; the key is still to be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AttestSettings {
    /// `--sbom`.
    pub sboms: BTreeSet<SbomFormat>,
    /// `--provenance`.
    pub provenance: Option<Provenance>,
    /// `--sign-by`.
    pub sign_by: Option<PathBuf>,
}

impl AttestArgs {
    pub(super) fn settings(self, outputs: &[Output]) -> Result<AttestSettings, Failure> {
        let settings = AttestSettings {
            sboms: self.sbom.as_deref().map_or(Ok(BTreeSet::new()), sboms)?,
            provenance: self.provenance.as_deref().map_or(Ok(None), provenance)?,
            sign_by: self.sign_by,
        };
        settings.check(outputs)?;
        Ok(settings)
    }
}

impl AttestSettings {
    fn check(&self, outputs: &[Output]) -> Result<(), Failure> {
        let signable = |output: &Output| {
            matches!(
                output,
                Output::Registry(_) | Output::OciLayout(..) | Output::OciArchive(..)
            )
        };
        let attached = !self.sboms.is_empty() || self.provenance.is_some();
        let holds = |output: &Output| signable(output) || matches!(output, Output::Store(_));
        if attached && !outputs.iter().any(holds) {
            return Err(Failure::usage(
                "--sbom and --provenance need an output that holds what refers to the image: the store, a registry, or type=oci",
            ));
        }
        if self.sign_by.is_some() && !outputs.iter().any(signable) {
            return Err(Failure::usage(
                "--sign-by: a signature is of the digest that the image has elsewhere, and it goes nowhere",
            )
            .hint("--push, -o type=oci, or later rbuild push --sign-by"));
        }
        Ok(())
    }
}

fn sboms(text: &str) -> Result<BTreeSet<SbomFormat>, Failure> {
    match text {
        "true" => return Ok(BTreeSet::from([SbomFormat::Spdx])),
        "false" => return Ok(BTreeSet::new()),
        _ => {}
    }
    let format = |name: &str| match name {
        "spdx" | "spdx-json" => Ok(SbomFormat::Spdx),
        "cyclonedx" | "cyclonedx-json" => Ok(SbomFormat::CycloneDx),
        _ => Err(Failure::usage(format!(
            "--sbom={text}: expected true, false, spdx, cyclonedx, or both with a comma"
        ))),
    };
    text.split(',').map(format).collect()
}

fn provenance(text: &str) -> Result<Option<Provenance>, Failure> {
    let wrong = || {
        Failure::usage(format!(
            "--provenance={text}: expected true, false, mode=min or mode=max, and builder-id=URI after a comma"
        ))
    };
    let mut asked = Provenance {
        detail: Detail::Min,
        builder: None,
    };
    for field in text.split(',') {
        match field.split_once('=').unwrap_or((field, "")) {
            ("false", "") if text == "false" => return Ok(None),
            ("true", "") | ("mode", "min") => asked.detail = Detail::Min,
            ("mode", "max") => asked.detail = Detail::Max,
            ("builder-id", uri) if uri.contains(':') => asked.builder = Some(uri.to_owned()),
            _ => return Err(wrong()),
        }
    }
    Ok(Some(asked))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Command, tests::parse};
    use crate::surroundings::Surroundings;

    fn settings(line: &str) -> Result<AttestSettings, Failure> {
        let cli = parse(line).map_err(|error| Failure::usage(error.to_string()))?;
        match cli.command {
            Command::Build(args) => Ok(args.settings(&Surroundings::of(&[]))?.attest),
            other => panic!("{line} is {other:?}"),
        }
    }

    #[test]
    fn bills_of_materials_are_asked_for_in_buildxs_and_syfts_words() {
        let sboms = |line: &str| {
            settings(line)
                .unwrap()
                .sboms
                .into_iter()
                .collect::<Vec<_>>()
        };
        assert_eq!(sboms("build ."), []);
        assert_eq!(sboms("build --sbom=false ."), []);
        assert_eq!(sboms("build --sbom false ."), []);
        assert_eq!(sboms("--sbom true ."), [SbomFormat::Spdx]);
        for line in [
            "build --sbom .",
            "build --sbom=true .",
            "build --sbom=spdx .",
        ] {
            assert_eq!(sboms(line), [SbomFormat::Spdx], "{line}");
        }
        assert_eq!(
            sboms("build --sbom=cyclonedx-json,spdx ."),
            [SbomFormat::Spdx, SbomFormat::CycloneDx]
        );
        settings("build --sbom=xml .").unwrap_err();
        settings("build --sbom -o type=docker,dest=x.tar .").unwrap_err();
        settings("build --sbom -o dir .").unwrap_err();
    }

    #[test]
    fn provenance_is_asked_for_in_buildxs_words() {
        let asked = |line: &str| settings(line).unwrap().provenance;
        assert_eq!(asked("build --provenance=false ."), None);
        let detail = |line: &str| asked(line).map(|asked| asked.detail);
        assert_eq!(detail("build --provenance ."), Some(Detail::Min));
        assert_eq!(detail("build --provenance=mode=max ."), Some(Detail::Max));
        let named = asked("build --provenance=mode=max,builder-id=https://ci.example/1 .");
        assert_eq!(
            named.unwrap().builder.as_deref(),
            Some("https://ci.example/1")
        );
        for wrong in ["mode=some", "x", "true,false", "builder-id=x"] {
            settings(&format!("build --provenance={wrong} .")).unwrap_err();
        }
    }

    #[test]
    fn a_signature_needs_a_place() {
        settings("build --sign-by key .").unwrap_err();
        settings("build --sign-by key -t q.io/app --push .").unwrap();
        settings("build --sign-by key -o type=oci,dest=x .").unwrap();
    }

    #[test]
    fn a_bill_of_materials_wants_records_unless_told_otherwise() {
        let records = |line: &str| match parse(line).unwrap().command {
            Command::Build(args) => {
                args.settings(&Surroundings::of(&[]))
                    .unwrap()
                    .furnish
                    .records
            }
            other => panic!("{line} is {other:?}"),
        };
        use builder::RecordsPolicy::{Always, Auto, Off};
        assert_eq!(records("build ."), Auto);
        assert_eq!(records("build --sbom ."), Always);
        assert_eq!(records("build --sbom --package-records off ."), Off);
        assert_eq!(records("build --sbom --package-records auto ."), Auto);
    }
}
