//! Two other parsers as oracles, each on the part of the language that it is known to read rightly.

use dockerfile_parser::{
    BreakableStringComponent, Dockerfile, Instruction as Theirs, ShellOrExecExpr,
};
use rbuild_containerfile as containerfile;

use containerfile::{Command, CopySource, InstructionKind, RunCommand, Source, parse};

/// Within what both read: no heredoc, no bare flag, no comment next to a blank line inside a continuation, no escaped blank.
const FILE: &str = "\
# a comment
FROM docker.io/library/debian:12 AS build
RUN apt-get update && apt-get install -y gcc
RUN [\"make\", \"-j2\"]
COPY --from=base --chown=1:2 src include /work/
ENV A=1 B=2
ENTRYPOINT [\"/bin/app\", \"--serve\"]
CMD serve --port 80
from scratch
COPY --from=build /work/app /bin/app
";

/// A comparable line per instruction.
fn ours(text: &str) -> Vec<String> {
    let parsed = parse(&Source::new("Dockerfile", text));
    assert!(!parsed.has_errors(), "{:?}", parsed.diagnostics);
    let mut lines = Vec::new();
    for stage in &parsed.file.stages {
        let name = stage
            .from
            .name
            .as_ref()
            .map_or("-", |name| name.value.as_str());
        lines.push(format!(
            "from {} {name} {:?}",
            stage.from.image.raw,
            (stage.from.span.start(), stage.from.span.end())
        ));
        lines.extend(
            stage
                .instructions
                .iter()
                .map(|instruction| line(&instruction.kind)),
        );
    }
    lines
}

fn line(kind: &InstructionKind) -> String {
    let command = |keyword: &str, command: &Command| match command {
        Command::Shell(text) => format!("{keyword} {}", text.value),
        Command::Exec(words) => format!(
            "{keyword} {:?}",
            words
                .iter()
                .map(|word| word.value.as_str())
                .collect::<Vec<_>>()
        ),
    };
    match kind {
        InstructionKind::Run(run) => match &run.command {
            RunCommand::Shell { text, .. } => format!("run {}", text.value),
            RunCommand::Exec(words) => format!(
                "run {:?}",
                words
                    .iter()
                    .map(|word| word.value.as_str())
                    .collect::<Vec<_>>()
            ),
            RunCommand::Script(heredoc) => format!("run {}", heredoc.content()),
        },
        InstructionKind::Cmd(cmd) => command("cmd", cmd),
        InstructionKind::Entrypoint(entrypoint) => command("entrypoint", entrypoint),
        InstructionKind::Copy(copy) => {
            let from = copy.from.as_ref().map_or("-", |from| from.value.as_str());
            let sources: Vec<&str> = copy
                .transfer
                .sources
                .iter()
                .map(|source| match source {
                    CopySource::Path(word) => word.raw.as_str(),
                    CopySource::Heredoc(heredoc) => heredoc.name.as_str(),
                })
                .collect();
            format!("copy {from} {sources:?} {}", copy.transfer.destination.raw)
        }
        InstructionKind::Env(env) => {
            format!(
                "env {:?}",
                env.pairs
                    .iter()
                    .map(|pair| (pair.name.raw.as_str(), pair.value.raw.as_str()))
                    .collect::<Vec<_>>()
            )
        }
        other => other.keyword().to_owned(),
    }
}

fn expression(keyword: &str, expression: &ShellOrExecExpr) -> String {
    match expression {
        ShellOrExecExpr::Shell(text) => {
            let parts = text.components.iter().filter_map(|part| match part {
                BreakableStringComponent::String(part) => Some(part.content.as_str()),
                BreakableStringComponent::Comment(_) => None,
            });
            format!("{keyword} {}", parts.collect::<String>().trim())
        }
        ShellOrExecExpr::Exec(words) => format!("{keyword} {:?}", words.as_str_vec()),
    }
}

#[test]
fn dockerfile_parser_reads_the_same_instructions() {
    let theirs = Dockerfile::parse(FILE).expect("within its subset");
    let lines: Vec<String> = theirs
        .instructions
        .iter()
        .map(|instruction| match instruction {
            Theirs::From(from) => {
                let alias = from
                    .alias
                    .as_ref()
                    .map_or("-", |alias| alias.content.as_str());
                format!(
                    "from {} {alias} {:?}",
                    from.image.content,
                    (from.span.start, from.span.end)
                )
            }
            Theirs::Run(run) => expression("run", &run.expr),
            Theirs::Cmd(cmd) => expression("cmd", &cmd.expr),
            Theirs::Entrypoint(entrypoint) => expression("entrypoint", &entrypoint.expr),
            Theirs::Copy(copy) => {
                let from = copy
                    .flags
                    .iter()
                    .find(|flag| flag.name.content == "from")
                    .map_or("-", |flag| flag.value.content.as_str());
                let sources: Vec<&str> = copy
                    .sources
                    .iter()
                    .map(|source| source.content.as_str())
                    .collect();
                format!("copy {from} {sources:?} {}", copy.destination.content)
            }
            Theirs::Env(env) => {
                format!(
                    "env {:?}",
                    env.vars
                        .iter()
                        .map(|var| (var.key.content.as_str(), var.value.to_string()))
                        .collect::<Vec<_>>()
                )
            }
            other => format!("{other:?}"),
        })
        .collect();
    assert_eq!(ours(FILE), lines);
}

/// The keyword, the flags, and the content of each heredoc with whether it is expanded.
type Details = (String, Vec<String>, Vec<(String, bool)>);

/// Where parse-dockerfile sees flags and heredocs of each RUN, COPY and ADD.
fn details(text: &str) -> Vec<Details> {
    use parse_dockerfile::{Flag, HereDoc, Instruction, Source};
    let flags = |flags: &[Flag<'_>]| {
        flags
            .iter()
            .map(|flag| text[flag.span()].to_owned())
            .collect()
    };
    let heredoc = |heredoc: &HereDoc<'_>| (heredoc.value.to_string(), heredoc.expand);
    let sources = |sources: &[Source<'_>]| {
        let found = sources.iter().filter_map(|source| match source {
            Source::HereDoc(document) => Some(heredoc(document)),
            _ => None,
        });
        found.collect()
    };
    let theirs = parse_dockerfile::parse(text).expect("within its subset");
    let known = theirs
        .instructions
        .iter()
        .filter_map(|instruction| match instruction {
            Instruction::Run(run) => {
                let keyword = text[run.run.span.clone()].to_owned();
                Some((
                    keyword,
                    flags(&run.options),
                    run.here_docs.iter().map(heredoc).collect(),
                ))
            }
            Instruction::Copy(copy) => Some((
                text[copy.copy.span.clone()].to_owned(),
                flags(&copy.options),
                sources(&copy.src),
            )),
            Instruction::Add(add) => Some((
                text[add.add.span.clone()].to_owned(),
                flags(&add.options),
                sources(&add.src),
            )),
            _ => None,
        });
    known.collect()
}

#[test]
fn parse_dockerfile_finds_the_same_flags_and_heredocs() {
    let text = "\
# escape=`
ARG V=1
FROM a AS b
RUN --mount=type=cache,target=/c --network=none make `
  # inside

  && make install
RUN <<EOF
echo hi
EOF
COPY --link --parents <<A <<'B' /d/
one
A
two
B
ONBUILD RUN x
SHELL [\"/bin/sh\", \"-c\"]
HEALTHCHECK --interval=1s CMD /x
STOPSIGNAL 9
USER 1:1
VOLUME /v
WORKDIR /w
EXPOSE 80
LABEL a=b
";
    let parsed = parse(&Source::new("Dockerfile", text));
    assert!(!parsed.has_errors(), "{:?}", parsed.diagnostics);
    let instructions = &parsed.file.stages[0].instructions;
    assert_eq!(
        instructions.len(),
        parse_dockerfile::parse(text)
            .expect("within its subset")
            .instructions
            .len()
            - 2
    );
    let document =
        |heredoc: &containerfile::Heredoc| (heredoc.content().into_owned(), !heredoc.quoted);
    let ours: Vec<_> = instructions
        .iter()
        .filter_map(|instruction| {
            let heredocs: Vec<_> = match &instruction.kind {
                InstructionKind::Run(run) => match &run.command {
                    RunCommand::Script(heredoc) => vec![document(heredoc)],
                    RunCommand::Shell { heredocs, .. } => heredocs.iter().map(document).collect(),
                    RunCommand::Exec(_) => Vec::new(),
                },
                InstructionKind::Copy(copy) => {
                    let heredocs = copy
                        .transfer
                        .sources
                        .iter()
                        .filter_map(|source| match source {
                            CopySource::Heredoc(heredoc) => Some(document(heredoc)),
                            CopySource::Path(_) => None,
                        });
                    heredocs.collect()
                }
                _ => return None,
            };
            let flags: Vec<_> = instruction
                .flags
                .iter()
                .map(|flag| text[flag.span.range()].to_owned())
                .collect();
            Some((
                text[instruction.keyword.range()].to_owned(),
                flags,
                heredocs,
            ))
        })
        .collect();
    assert_eq!(ours, details(text));
}
