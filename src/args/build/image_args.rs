//! Flags of `build` about the image. The invariant: names, labels, arguments and platforms that reach the builder are well formed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use builder::{Annotation, ClosurePolicy, PullPolicy, Shape, Squash, UserPolicy};
use clap::ValueEnum;
use image::{Format, Platform, Reference};

use super::super::annotation;
use super::times::TimeArgs;
use super::{ImageSettings, files};
use crate::failure::Failure;
use crate::surroundings::Surroundings;

/// What is built of it.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct ImageArgs {
    /// A name for the image; repeatable
    #[arg(short, long = "tag", value_name = "NAME[:TAG]")]
    tags: Vec<String>,
    /// Stop after this stage
    #[arg(long, value_name = "STAGE")]
    target: Option<String>,
    /// What the first stage starts from, in place of what its FROM says
    #[arg(long = "from", value_name = "IMAGE")]
    first_base: Option<String>,
    /// Build no stages that the target does not need
    #[arg(long, value_name = "BOOL", default_value = "true", default_missing_value = "true", num_args = 0..=1, require_equals = true, action = clap::ArgAction::Set)]
    skip_unused_stages: bool,
    /// A value for ARG; NAME alone takes it from the environment; repeatable
    #[arg(long = "build-arg", value_name = "NAME[=VALUE]")]
    build_args: Vec<String>,
    /// A file of NAME=VALUE lines for ARG; --build-arg comes first; repeatable
    #[arg(long = "build-arg-file", value_name = "FILE")]
    build_arg_files: Vec<PathBuf>,
    /// Build everything anew
    #[arg(long)]
    no_cache: bool,
    /// Build these stages anew; repeatable, or separated by commas
    #[arg(long, value_name = "STAGE", value_delimiter = ',')]
    no_cache_filter: Vec<String>,
    /// Build for these platforms, as an index where there are several; repeatable [default: this machine's]
    #[arg(
        long = "platform",
        value_name = "OS/ARCH[/VARIANT],...",
        value_delimiter = ','
    )]
    platforms: Vec<Platform>,
    /// When a registry is asked for an image that the store has [default: missing; alone: always]
    #[arg(
        long,
        value_enum,
        value_name = "WHEN",
        default_value = "missing",
        default_missing_value = "always",
        num_args = 0..=1,
        require_equals = true,
        hide_default_value = true
    )]
    pull: PullArg,
    /// A label of the image; repeatable
    #[arg(long = "label", value_name = "NAME=VALUE")]
    labels: Vec<String>,
    /// Inherit the labels of the base image
    #[arg(long, value_name = "BOOL", default_value = "true", default_missing_value = "true", num_args = 0..=1, require_equals = true, action = clap::ArgAction::Set)]
    inherit_labels: bool,
    /// An annotation of the image's manifest, or of the entry for it in a layout's index; repeatable
    #[arg(long = "annotation", value_name = "[LEVEL:]NAME=VALUE")]
    annotations: Vec<String>,
    /// In whose media types the image is written
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "oci")]
    format: FormatArg,
    /// Make one layer of those of this build
    #[arg(long)]
    squash: bool,
    /// Make one layer of all, those of the base image too
    #[arg(long, conflicts_with = "squash")]
    squash_all: bool,
    /// Leave the history out of the image
    #[arg(long)]
    omit_history: bool,
    /// How many stages run at once [default: the number of processors, at least 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
    /// What to do when the image's user is not numeric, or root
    #[arg(long, value_enum, value_name = "POLICY", default_value = "enforce")]
    user_policy: PolicyArg,
    /// What to do when programs need more than was copied into the image
    #[arg(long, value_enum, value_name = "WHAT", default_value = "check")]
    closure: ClosureArg,
    /// Rules about what programs open by themselves, beside the built-in ones: the files *.rule of this directory; repeatable
    #[arg(long, value_name = "DIR")]
    closure_rules: Vec<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ClosureArg {
    /// Copy what they need from the stages that they come from, and then as `check`
    Auto,
    /// The build fails when the entry point could not start, and says what is missing
    Check,
    /// Nothing happens
    Off,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum PolicyArg {
    /// The build fails and says which line to write
    Enforce,
    /// A name becomes its numbers
    Rewrite,
    /// There is a warning
    Warn,
    /// Nothing happens
    Off,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PullArg {
    /// For every build
    #[value(alias = "true")]
    Always,
    /// When the store has none
    #[value(alias = "false", alias = "ifmissing")]
    Missing,
    /// Not even when the store has none
    Never,
    /// For every build, but a registry that does not answer stops none
    Newer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FormatArg {
    /// The OCI image specification's
    Oci,
    /// Docker's image manifest version 2, schema 2
    #[value(alias = "v2s2")]
    Docker,
}

impl ImageArgs {
    pub(super) fn settings(
        self,
        times: TimeArgs,
        here: &Surroundings,
    ) -> Result<ImageSettings, Failure> {
        let mut build_args = BTreeMap::new();
        for text in &self.build_args {
            match text.split_once('=') {
                Some(("", _)) | None if text.is_empty() || text.starts_with('=') => {
                    return Err(Failure::usage(format!(
                        "--build-arg {text}: expected NAME=VALUE or NAME"
                    )));
                }
                Some((name, value)) => {
                    build_args.insert(name.to_owned(), value.to_owned());
                }
                // docker: a name that the environment lacks leaves the ARG's default in force.
                None => build_args.extend(here.variable(text)?.map(|value| (text.clone(), value))),
            }
        }
        let given = build_args.clone();
        for path in &self.build_arg_files {
            for (name, value) in files::build_args(path, here)? {
                if !given.contains_key(&name) {
                    build_args.insert(name, value);
                }
            }
        }
        let tags = self
            .tags
            .iter()
            .map(|tag| parse_tag(tag))
            .collect::<Result<_, _>>()?;
        let times = times.settings(&build_args, here)?;
        Ok(ImageSettings {
            target: self.target,
            first_base: self.first_base,
            unused_stages: !self.skip_unused_stages,
            build_args,
            platforms: each_once(self.platforms),
            labels: pairs("--label", &self.labels)?,
            inherit_labels: self.inherit_labels,
            shape: Shape {
                format: match self.format {
                    FormatArg::Oci => Format::Oci,
                    FormatArg::Docker => Format::Docker,
                },
                squash: match (self.squash, self.squash_all) {
                    (_, true) => Squash::All,
                    (true, false) => Squash::Built,
                    (false, false) => Squash::No,
                },
                omit_history: self.omit_history,
                annotations: annotations(&self.annotations)?,
            },
            no_cache_stages: self.no_cache_filter,
            pull: match self.pull {
                PullArg::Always => PullPolicy::Always,
                PullArg::Missing => PullPolicy::Missing,
                PullArg::Never => PullPolicy::Never,
                PullArg::Newer => PullPolicy::Newer,
            },
            no_cache: self.no_cache,
            // Steps wait for disks and networks too, so that few processors are no reason for few stages.
            jobs: self.jobs.map_or(here.processors().max(4), usize::from),
            user_policy: match self.user_policy {
                PolicyArg::Enforce => UserPolicy::Enforce,
                PolicyArg::Rewrite => UserPolicy::Rewrite,
                PolicyArg::Warn => UserPolicy::Warn,
                PolicyArg::Off => UserPolicy::Off,
            },
            closure_rules: files::closure_rules(&self.closure_rules)?,
            closure: match self.closure {
                ClosureArg::Auto => ClosurePolicy::Auto,
                ClosureArg::Check => ClosurePolicy::Check,
                ClosureArg::Off => ClosurePolicy::Off,
            },
            tags,
            times,
        })
    }
}

/// The platforms in the order of their first mention; this machine's, if there is none.
fn each_once(mut platforms: Vec<Platform>) -> Vec<Platform> {
    let mut seen = BTreeSet::new();
    platforms.retain(|platform| seen.insert(platform.clone()));
    if platforms.is_empty() {
        platforms.push(Platform::host());
    }
    platforms
}

fn annotations(texts: &[String]) -> Result<Vec<Annotation>, Failure> {
    let parse = |text: &String| {
        annotation::flag(text).map_err(|error| Failure::usage(format!("--annotation: {error}")))
    };
    let lists: Vec<_> = texts.iter().map(parse).collect::<Result<_, _>>()?;
    Ok(lists.into_iter().flatten().collect())
}

fn parse_tag(text: &str) -> Result<Reference, Failure> {
    let name: Reference = text.parse()?;
    if name.digest().is_some() {
        return Err(Failure::usage(format!(
            "-t {text}: a name for a new image cannot have a digest"
        )));
    }
    Ok(name)
}

fn pairs(flag: &str, texts: &[String]) -> Result<Vec<(String, String)>, Failure> {
    let pair = |text: &String| match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(Failure::usage(format!(
            "{flag} {text}: expected NAME=VALUE"
        ))),
    };
    texts.iter().map(pair).collect()
}
