//! The variables that words and programs see. Invariant: a name occurs once, at the place of its first definition, with the value
//! of its last.

use std::collections::{BTreeMap, HashMap};

use containerfile::expand::Expansion;
use containerfile::{Containerfile, Diagnostic, EscapeChar, InstructionKind, Span, Word};
use image::Platform;

use super::PlanOptions;
use super::findings::{Checked, Findings, value_of};

/// Proxy arguments need no `ARG`: a `RUN` sees them, and they change neither its key nor the history.
const PROXIES: [&str; 5] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "FTP_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
];

/// Whether a build argument is a proxy's, which is often a password's too.
pub(crate) fn is_proxy(name: &str) -> bool {
    PROXIES.iter().any(|proxy| proxy.eq_ignore_ascii_case(name))
}

/// Arguments of BuildKit that are obeyed without an `ARG`.
const OBEYED: [&str; 4] = [
    "BUILDKIT_CONTEXT_KEEP_GIT_DIR",
    "BUILDKIT_SANDBOX_HOSTNAME",
    "BUILDKIT_CACHE_MOUNT_NS",
    "BUILDKIT_DOCKERFILE_CHECK",
];

/// Named values in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Variables {
    pairs: Vec<(String, String)>,
    places: HashMap<String, usize>,
}

impl Variables {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let place = *self.places.get(name)?;
        Some(&self.pairs[place].1)
    }

    pub(super) fn set(&mut self, name: &str, value: String) {
        if let Some(&place) = self.places.get(name) {
            self.pairs[place].1 = value;
        } else {
            self.places.insert(name.to_owned(), self.pairs.len());
            self.pairs.push((name.to_owned(), value));
        }
    }

    pub(super) fn pairs(&self) -> &[(String, String)] {
        &self.pairs
    }
}

/// What an instruction of a stage sees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Scope {
    /// `ENV`, the base image's included.
    pub(super) env: Variables,
    /// `ARG` with a value, those of the stage that this one starts from included.
    pub(super) args: Variables,
}

impl Scope {
    /// ENV beats ARG, whichever comes first.
    pub(super) fn lookup(&self, name: &str) -> Option<String> {
        self.env
            .get(name)
            .or_else(|| self.args.get(name))
            .map(str::to_owned)
    }

    /// The arguments that a program sees beside the environment.
    pub(super) fn visible_args(&self) -> Vec<(String, String)> {
        self.args
            .pairs()
            .iter()
            .filter(|(name, _)| self.env.get(name).is_none())
            .cloned()
            .collect()
    }
}

/// What `FROM` sees, and what `ARG` imports from.
#[derive(Clone, Debug)]
pub(super) struct Globals {
    variables: Variables,
    build_args: BTreeMap<String, String>,
    escape: EscapeChar,
}

impl Globals {
    /// Evaluates the arguments before the first `FROM`.
    pub(super) fn of(
        file: &Containerfile,
        options: &PlanOptions<'_>,
        findings: &mut Findings,
    ) -> Self {
        let mut build_args = options.build_args.clone();
        if let Some(epoch) = options.source_date_epoch {
            build_args
                .entry("SOURCE_DATE_EPOCH".to_owned())
                .or_insert_with(|| epoch.to_string());
        }
        let mut globals = Self {
            variables: Variables::default(),
            build_args,
            escape: file.directives.escape,
        };
        for (name, value) in automatic(file, options) {
            let value = globals.build_args.get(name).cloned().unwrap_or(value);
            globals.variables.set(name, value);
        }
        for entry in file.global_args.iter().flat_map(|arg| &arg.value.entries) {
            let checked = globals.declare(&entry.name, entry.default.as_ref());
            findings.keep(checked);
        }
        globals
    }

    /// Later entries of one `ARG` see the earlier ones, as in BuildKit; the rule of the same line is for the other instructions.
    fn declare(&mut self, name: &Word, default: Option<&Word>) -> Checked<()> {
        let name = self.expand(name)?.text;
        let value = match (self.build_args.get(&name), default) {
            (Some(given), _) => Some(given.clone()),
            (None, Some(word)) => Some(self.expand(word)?.text),
            (None, None) => None,
        };
        if let Some(value) = value {
            self.variables.set(&name, value);
        }
        Ok(())
    }

    /// The value of a word of `FROM`.
    pub(super) fn expand(&self, word: &Word) -> Checked<Expansion> {
        value_of(word, &|name| self.get(name).map(str::to_owned), self.escape)
    }

    /// The value that `ARG name` without a default imports.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name)
    }

    /// `--build-arg`.
    pub(super) fn build_arg(&self, name: &str) -> Option<&str> {
        self.build_args.get(name).map(String::as_str)
    }
}

/// The arguments that describe the build, in BuildKit's order.
fn automatic(file: &Containerfile, options: &PlanOptions<'_>) -> Vec<(&'static str, String)> {
    let part = |text: &Option<String>| text.clone().unwrap_or_default();
    let of = |names: [&'static str; 5], platform: &Platform| {
        let values = [
            platform.to_string(),
            platform.os.clone(),
            part(&platform.os_version),
            platform.architecture.clone(),
            part(&platform.variant),
        ];
        names.into_iter().zip(values).collect::<Vec<_>>()
    };
    let last = file
        .stages
        .last()
        .and_then(|stage| stage.from.name.as_ref())
        .map(|name| name.value.clone());
    let stage = options
        .target
        .map(str::to_owned)
        .or(last)
        .unwrap_or_else(|| "default".to_owned());
    let build = [
        "BUILDPLATFORM",
        "BUILDOS",
        "BUILDOSVERSION",
        "BUILDARCH",
        "BUILDVARIANT",
    ];
    let target = [
        "TARGETPLATFORM",
        "TARGETOS",
        "TARGETOSVERSION",
        "TARGETARCH",
        "TARGETVARIANT",
    ];
    let mut all = of(build, &options.build_platform);
    all.extend(of(target, options.platform));
    all.push(("TARGETSTAGE", stage));
    all
}

/// The proxy variables that every `RUN` gets in front of its environment, in both cases as programs disagree about it.
///
/// They are no part of a step: another proxy gives the same files.
#[must_use]
pub fn proxy_environment(build_args: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let given = |name: &str| {
        build_args
            .get(name)
            .or_else(|| build_args.get(&name.to_ascii_lowercase()))
    };
    let known = PROXIES
        .iter()
        .filter_map(|name| given(name).map(|value| (*name, value)));
    known
        .flat_map(|(name, value)| {
            [
                (name.to_owned(), value.clone()),
                (name.to_ascii_lowercase(), value.clone()),
            ]
        })
        .collect()
}

/// A warning for every `--build-arg` that changes nothing. `triggers` are the names that base images declare by ONBUILD.
pub(super) fn unused_build_args(
    file: &Containerfile,
    build_args: &BTreeMap<String, String>,
    triggers: &[String],
) -> Vec<Diagnostic> {
    let place = file
        .stages
        .first()
        .map_or(Span::default(), |stage| stage.from.keyword);
    let declared: Vec<&str> = declared(file)
        .chain(triggers.iter().map(String::as_str))
        .collect();
    let proxy = |name: &str| PROXIES.iter().any(|proxy| proxy.eq_ignore_ascii_case(name));
    let automatic = |name: &str| name.starts_with("TARGET") || name.starts_with("BUILD");
    let unused = build_args
        .keys()
        .filter(|name| !declared.contains(&name.as_str()) && !proxy(name));
    unused
        .filter_map(|name| {
            if OBEYED.contains(&name.as_str()) {
                return None;
            }
            if name.starts_with("BUILDKIT_") {
                let message = format!("--build-arg {name} steers BuildKit and does nothing here");
                return Some(Diagnostic::warning("UnusedBuildArg", place, message));
            }
            if automatic(name) || name == "SOURCE_DATE_EPOCH" {
                return None;
            }
            let message = format!("no ARG declares --build-arg {name}, so it does nothing");
            let help = format!("write ARG {name} in the stage that needs it, or before the first FROM for use there");
            Some(Diagnostic::warning("UnusedBuildArg", place, message).with_help(help))
        })
        .collect()
}

/// The names of all `ARG`s of the file, in triggers too.
fn declared(file: &Containerfile) -> impl Iterator<Item = &str> {
    let global = file.global_args.iter().map(|arg| &arg.value);
    let local = file
        .stages
        .iter()
        .flat_map(|stage| &stage.instructions)
        .filter_map(|instruction| match &instruction.kind {
            InstructionKind::Arg(arg) => Some(arg),
            InstructionKind::Onbuild(onbuild) => match &onbuild.inner.kind {
                InstructionKind::Arg(arg) => Some(arg),
                _ => None,
            },
            _ => None,
        });
    global
        .chain(local)
        .flat_map(|arg| &arg.entries)
        .map(|entry| entry.name.raw.as_str())
}
