//! RB710: programs of languages' registries, in whatever version there is today.

use super::prelude::*;
use crate::lint::shell::Program;

pub(super) const RULE: Rule = Rule {
    id: "RB710",
    aliases: &["DL3013", "DL3016", "DL3028", "DL3062"],
    severity: Severity::Info,
    title: "pip, npm, gem, go or cargo installs a package without a version",
    why: "The same file gives another image tomorrow. Unlike distributions' archives, these registries keep old versions, so an exact one works \
always; a lock file is better still.",
    bad: in_build!("RUN npm install --global typescript"),
    good: in_build!("RUN npm install --global typescript@5.9.3"),
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    for (_, _, program) in view.programs() {
        let Some(word) = unpinned(&program) else {
            continue;
        };
        let message = format!("{} is another version tomorrow", word.text);
        let help = match program.name() {
            "npm" => format!("write {}@VERSION", word.text),
            "gem" => format!("write {}:VERSION", word.text),
            "go" => "write @VERSION".to_owned(),
            "cargo" => format!("write {}@VERSION", word.text),
            _ => format!("write {}==VERSION, or --requirement FILE", word.text),
        };
        found.add(word.span, message).help(help);
    }
}

/// The first package that has no version.
fn unpinned(program: &Program) -> Option<&ShellWord> {
    let arguments = program.arguments();
    match program.name() {
        "pip" | "pip3" => pip(arguments),
        "python" | "python3" => match arguments {
            [m, pip_word, rest @ ..] if m.text == "-m" && pip_word.text == "pip" => pip(rest),
            _ => None,
        },
        "npm" => npm(arguments),
        "gem" => gem(arguments),
        "go" if program.verb() == "install" => arguments
            .iter()
            .find(|word| !word.dynamic && word.text.ends_with("@latest")),
        "cargo" => cargo(arguments),
        _ => None,
    }
}

/// The plain words behind a verb, if nothing that a variable decides, and none of the options, is among the arguments.
fn packages<'w>(
    arguments: &'w [ShellWord],
    verbs: &[&str],
    with_value: &[&str],
    pinning: &[&str],
) -> Vec<&'w ShellWord> {
    let pins = |word: &ShellWord| {
        pinning
            .iter()
            .any(|option| word.text == *option || word.text.starts_with(&format!("{option}=")))
    };
    let Some(at) = arguments
        .iter()
        .position(|word| !word.text.starts_with('-'))
    else {
        return Vec::new();
    };
    let other = !verbs.contains(&arguments[at].text.as_str());
    if other || arguments.iter().any(|word| word.dynamic || pins(word)) {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut skip = false;
    for word in &arguments[at + 1..] {
        let value = std::mem::replace(&mut skip, with_value.contains(&word.text.as_str()));
        let elsewhere = word.text.contains(['/', '\\']) && !word.text.starts_with('@')
            || word.text.starts_with(['.', '-'])
            || word.text.contains("://");
        if !value && !elsewhere && !word.text.is_empty() {
            found.push(word);
        }
    }
    found
}

fn pip(arguments: &[ShellWord]) -> Option<&ShellWord> {
    let with_value = [
        "-i",
        "--index-url",
        "--extra-index-url",
        "-f",
        "--find-links",
        "-t",
        "--target",
        "--prefix",
        "--root",
        "--trusted-host",
        "--platform",
        "--python-version",
        "--implementation",
        "--abi",
        "--no-binary",
        "--only-binary",
        "--progress-bar",
        "--cache-dir",
        "--proxy",
        "--retries",
        "--timeout",
        "--log",
        "--src",
        "--upgrade-strategy",
        "--config-settings",
    ];
    let pinning = [
        "-r",
        "--requirement",
        "-c",
        "--constraint",
        "-e",
        "--editable",
        "--no-index",
        "--group",
    ];
    packages(arguments, &["install"], &with_value, &pinning)
        .into_iter()
        .find(|word| {
            let file = [".whl", ".zip", ".gz"]
                .iter()
                .any(|end| word.text.ends_with(end));
            !word.text.contains("==") && !word.text.contains('@') && !file
        })
}

fn npm(arguments: &[ShellWord]) -> Option<&ShellWord> {
    let with_value = [
        "--prefix",
        "--registry",
        "--cache",
        "--loglevel",
        "-w",
        "--workspace",
        "--omit",
        "--include",
        "--tag",
    ];
    packages(
        arguments,
        &["install", "i", "add"],
        &with_value,
        &["--offline"],
    )
    .into_iter()
    .find(|word| {
        let version = word
            .text
            .rsplit_once('@')
            .filter(|(name, _)| !name.is_empty());
        !word.text.ends_with(".tgz")
            && !word.text.contains(':')
            && version.is_none_or(|(_, version)| matches!(version, "latest" | "next"))
    })
}

fn gem(arguments: &[ShellWord]) -> Option<&ShellWord> {
    let with_value = [
        "-i",
        "--install-dir",
        "-n",
        "--bindir",
        "-s",
        "--source",
        "-P",
        "--trust-policy",
        "--platform",
    ];
    packages(
        arguments,
        &["install"],
        &with_value,
        &["-v", "--version", "--file", "-g", "--local"],
    )
    .into_iter()
    .find(|word| !word.text.contains(':') && !word.text.ends_with(".gem"))
}

fn cargo(arguments: &[ShellWord]) -> Option<&ShellWord> {
    let with_value = [
        "--root",
        "--target",
        "--target-dir",
        "--features",
        "-F",
        "--bin",
        "--profile",
        "--registry",
        "--index",
        "-j",
        "--jobs",
        "--config",
    ];
    packages(
        arguments,
        &["install"],
        &with_value,
        &["--version", "--vers", "--git", "--path"],
    )
    .into_iter()
    .find(|word| !word.text.contains('@'))
}
