//! What a Containerfile offers and takes: targets, arguments, secrets, ssh agents, caches and contexts, with what comments say about
//! them. The invariant: nothing is expanded or looked up, so the outline of a file is the same everywhere.
//!
//! Comments are BuildKit's: right above FROM or ARG, the line that begins with the name, or the variable's name, describes it.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::ast::{Arg, Containerfile, CopySource, InstructionKind, Mount, MountKey, Run, Stage};
use crate::source::{Source, Span};

/// The outline of one file, each list in the order of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Outline {
    /// What can be built.
    pub targets: Vec<Target>,
    /// What `--build-arg` decides.
    pub arguments: Vec<Argument>,
    /// What `--secret` gives.
    pub secrets: Vec<Request>,
    /// What `--ssh` gives.
    pub ssh: Vec<Request>,
    /// The cache mounts.
    pub caches: Vec<Cache>,
    /// Images, or named contexts that stand for them.
    pub images: Vec<String>,
    /// What ADD fetches.
    pub urls: Vec<String>,
    /// Whether files of the build context are used.
    pub context: bool,
}

/// A stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Target {
    /// Its name, or its number.
    pub name: String,
    /// What it starts from, as written.
    pub base: String,
    /// What the comment says.
    pub description: Option<String>,
    /// Whether it is built when none is named.
    pub default: bool,
}

/// A build argument.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Argument {
    /// Its name.
    pub name: String,
    /// Its default, as written.
    pub default: Option<String>,
    /// What the comment says.
    pub description: Option<String>,
    /// The stage that declares it; `None` before the first FROM.
    pub stage: Option<String>,
}

/// A secret or an ssh agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Request {
    /// Its id.
    pub id: String,
    /// Whether the build fails without it.
    pub required: bool,
}

/// A cache mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cache {
    /// Its id.
    pub id: String,
    /// Where it is.
    pub target: String,
}

impl Outline {
    /// The outline of what `target`, a stage's name or number, needs; without one, of the whole file. `None` when there is no such
    /// stage.
    #[must_use]
    pub fn of(file: &Containerfile, source: &Source, target: Option<&str>) -> Option<Self> {
        let stages = Stages(&file.stages);
        let needed = match target {
            Some(name) => stages.needed_by(stages.find(name)?),
            None => (0..file.stages.len()).collect(),
        };
        let mut outline = Self::default();
        for arg in &file.global_args {
            outline.argument(&arg.value, &comments(source, arg.span), None);
        }
        for (number, stage) in file.stages.iter().enumerate() {
            if needed.contains(&number) {
                outline.stage(source, &stages, number, stage);
            }
        }
        Some(outline)
    }

    fn stage(&mut self, source: &Source, stages: &Stages<'_>, number: usize, stage: &Stage) {
        let name = stages.name(number);
        let named = stage.from.name.as_ref().map(|name| name.value.as_str());
        self.targets.push(Target {
            description: named.and_then(|name| described(&comments(source, stage.from.span), name)),
            base: stage.from.image.raw.to_string(),
            default: number + 1 == stages.0.len(),
            name: name.clone(),
        });
        self.image(stages, number, &stage.from.image.raw);
        for instruction in &stage.instructions {
            match &instruction.kind {
                InstructionKind::Arg(arg) => {
                    self.argument(arg, &comments(source, instruction.span), Some(&name));
                }
                InstructionKind::Copy(copy) => {
                    let files = copy.transfer.sources.iter();
                    let reads = files
                        .clone()
                        .any(|source| matches!(source, CopySource::Path(_)));
                    match &copy.from {
                        Some(from) => self.image(stages, number, &from.value),
                        None => self.context |= reads,
                    }
                }
                InstructionKind::Add(add) => {
                    for source in &add.transfer.sources {
                        match source {
                            CopySource::Path(word) if is_remote(&word.raw) => {
                                push(&mut self.urls, word.raw.to_string());
                            }
                            CopySource::Path(_) => self.context = true,
                            CopySource::Heredoc(_) => {}
                        }
                    }
                }
                InstructionKind::Run(run) => self.mounts(stages, number, run),
                _ => {}
            }
        }
    }

    /// A declaration in a stage that only lets a global argument in is none of its own.
    fn argument(&mut self, arg: &Arg, comments: &[&str], stage: Option<&str>) {
        for entry in &arg.entries {
            let argument = Argument {
                name: entry.name.raw.to_string(),
                default: entry.default.as_ref().map(|word| word.raw.to_string()),
                description: described(comments, &entry.name.raw),
                stage: stage.map(str::to_owned),
            };
            let said = argument.default.is_some() || argument.description.is_some();
            let known = self
                .arguments
                .iter()
                .any(|known| known.name == argument.name);
            if said || !known {
                self.arguments.push(argument);
            }
        }
    }

    fn image(&mut self, stages: &Stages<'_>, number: usize, name: &str) {
        if stages.find_before(name, number).is_none() && name != "scratch" {
            push(&mut self.images, name.to_owned());
        }
    }

    fn mounts(&mut self, stages: &Stages<'_>, number: usize, run: &Run) {
        for mount in &run.mounts {
            let option = |key| mount.option(key).map(|word| word.raw.as_str());
            let request = |usual: &str| Request {
                id: option(MountKey::Id).unwrap_or(usual).to_owned(),
                required: option(MountKey::Required).is_some_and(|value| value != "false"),
            };
            let target = option(MountKey::Target).unwrap_or_default();
            match kind(mount) {
                "secret" => {
                    let usual = target.rsplit('/').next().unwrap_or_default();
                    require(&mut self.secrets, request(usual));
                }
                "ssh" => require(&mut self.ssh, request("default")),
                kind @ ("cache" | "bind") => {
                    match option(MountKey::From) {
                        Some(from) => self.image(stages, number, from),
                        None => self.context |= kind == "bind",
                    }
                    if kind == "cache" {
                        let id = option(MountKey::Id).unwrap_or(target).to_owned();
                        let target = target.to_owned();
                        push(&mut self.caches, Cache { id, target });
                    }
                }
                _ => {}
            }
        }
    }
}

/// BuildKit's default type.
fn kind(mount: &Mount) -> &str {
    mount
        .option(MountKey::Type)
        .map_or("bind", |word| word.raw.as_str())
}

/// The stages and their names.
struct Stages<'f>(&'f [Stage]);

impl Stages<'_> {
    fn name(&self, number: usize) -> String {
        let name = self.0[number].from.name.as_ref();
        name.map_or_else(|| number.to_string(), |name| name.value.clone())
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.find_before(name, self.0.len())
    }

    /// A later stage of the same name hides an earlier one.
    fn find_before(&self, name: &str, end: usize) -> Option<usize> {
        let named = |number: &usize| {
            let own = self.0[*number].from.name.as_ref();
            own.is_some_and(|own| own.value.eq_ignore_ascii_case(name))
        };
        let number = name.parse().ok().filter(|number| *number < end);
        (0..end).rev().find(named).or(number)
    }

    fn needed_by(&self, target: usize) -> BTreeSet<usize> {
        let mut needed = BTreeSet::new();
        let mut waiting = vec![target];
        while let Some(number) = waiting.pop() {
            if !needed.insert(number) {
                continue;
            }
            let stage = &self.0[number];
            let named = stage.instructions.iter().flat_map(|it| sources(&it.kind));
            let named = named.chain([stage.from.image.raw.as_str()]);
            waiting.extend(named.filter_map(|name| self.find_before(name, number)));
        }
        needed
    }
}

/// The names after `from=`.
fn sources(kind: &InstructionKind) -> Vec<&str> {
    match kind {
        InstructionKind::Copy(copy) => copy.from.iter().map(|from| from.value.as_str()).collect(),
        InstructionKind::Run(run) => {
            let from = run
                .mounts
                .iter()
                .filter_map(|mount| mount.option(MountKey::From));
            from.map(|word| word.raw.as_str()).collect()
        }
        _ => Vec::new(),
    }
}

/// The comment lines right above a place, first one first, without their `#`.
pub(crate) fn comments(source: &Source, span: Span) -> Vec<&str> {
    let before = source.text().get(..span.start()).unwrap_or_default();
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    let above = before[..start].lines().rev();
    let mut lines: Vec<&str> = above
        .map_while(|line| line.trim_start().strip_prefix('#'))
        .map(str::trim)
        .collect();
    lines.reverse();
    lines
}

fn described(comments: &[&str], name: &str) -> Option<String> {
    let rest = |line: &&str| {
        line.strip_prefix(name)?
            .strip_prefix(' ')
            .map(str::to_owned)
    };
    comments.iter().find_map(rest)
}

fn is_remote(text: &str) -> bool {
    text.contains("://") || text.starts_with("git@")
}

fn push<T: PartialEq>(list: &mut Vec<T>, item: T) {
    if !list.contains(&item) {
        list.push(item);
    }
}

fn require(list: &mut Vec<Request>, request: Request) {
    match list.iter_mut().find(|known| known.id == request.id) {
        Some(known) => known.required |= request.required,
        None => list.push(request),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
# VERSION of the program
# and more
ARG VERSION=1.2

# BASE is not described: a blank line ends it

ARG BASE
FROM ${BASE} AS tools
ARG VERSION
FROM debian AS build
# FLAGS for the compiler
ARG FLAGS=\"-O2 -g\"
COPY --from=tools /t /t
COPY --from=busybox:1 /bin/true /
RUN --mount=type=secret,id=token,required --mount=type=secret,target=/run/secrets/key --mount=type=ssh \\
    --mount=type=cache,target=/root/.cache --mount=type=cache,id=c,target=/c make
RUN --mount=type=secret,id=token --mount=from=extra,target=/e true
# tests runs them
# testing nothing
FROM build AS tests
ADD https://example.org/x.tar git@example.org:a.git /d/
# release is small
FROM scratch AS release
COPY --from=1 /x /x
COPY <<EOF /y
EOF
";

    fn outline(target: Option<&str>) -> Option<Outline> {
        let source = Source::new("Containerfile", FILE);
        Outline::of(&crate::parse(&source).file, &source, target)
    }

    #[test]
    fn everything_that_a_file_takes_is_listed() {
        let all = outline(None).expect("the whole file");
        let names: Vec<_> = all
            .targets
            .iter()
            .map(|target| target.name.as_str())
            .collect();
        assert_eq!(names, ["tools", "build", "tests", "release"]);
        let said: Vec<_> = all
            .targets
            .iter()
            .map(|target| target.description.as_deref())
            .collect();
        assert_eq!(said, [None, None, Some("runs them"), Some("is small")]);
        assert!(all.targets[3].default && !all.targets[2].default);
        let argument = |name: &str,
                        default: Option<&str>,
                        description: Option<&str>,
                        stage: Option<&str>| Argument {
            name: name.into(),
            default: default.map(Into::into),
            description: description.map(Into::into),
            stage: stage.map(Into::into),
        };
        assert_eq!(
            all.arguments,
            [
                argument("VERSION", Some("1.2"), Some("of the program"), None),
                argument("BASE", None, None, None),
                argument(
                    "FLAGS",
                    Some("\"-O2 -g\""),
                    Some("for the compiler"),
                    Some("build")
                ),
            ]
        );
        let request = |id: &str, required| Request {
            id: id.into(),
            required,
        };
        assert_eq!(all.secrets, [request("token", true), request("key", false)]);
        assert_eq!(all.ssh, [request("default", false)]);
        let cache = |id: &str, target: &str| Cache {
            id: id.into(),
            target: target.into(),
        };
        assert_eq!(
            all.caches,
            [cache("/root/.cache", "/root/.cache"), cache("c", "/c")]
        );
        assert_eq!(all.images, ["${BASE}", "debian", "busybox:1", "extra"]);
        assert_eq!(
            all.urls,
            ["https://example.org/x.tar", "git@example.org:a.git"]
        );
        assert!(!all.context, "heredocs are in the file");
    }

    #[test]
    fn a_target_takes_what_it_needs_only() {
        let release = outline(Some("Release")).expect("a stage");
        let names: Vec<_> = release
            .targets
            .iter()
            .map(|target| target.name.as_str())
            .collect();
        assert_eq!(names, ["tools", "build", "release"]);
        assert!(release.urls.is_empty());
        let tools = outline(Some("0")).expect("a stage");
        assert_eq!((tools.targets.len(), tools.secrets.len()), (1, 0));
        assert_eq!(outline(Some("nothing")), None);
    }
}
