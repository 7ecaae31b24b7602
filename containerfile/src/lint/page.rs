//! A rule as a page of documentation. Invariant: pages are made from the rules alone, so they say what the program does.

use super::rule::Rule;

const INTRODUCTION: &str = "\
# Rules of `rbuild lint`

This file is made from the rules themselves; `rbuild lint --explain RULE` prints the same. Rules with an `RB` number are rbuild's own. A
rule that another linter alone has keeps the name it has there (BuildKit's names, hadolint's `DL` codes); where the meaning is the same,
the other name is an alias, and `# hadolint ignore=` and `# check=skip=` are heeded for it.

Scripts of RUN are examined by ShellCheck where it is installed; its findings keep their codes (`SC2086`), and everything said here
about rules goes for them.

Leave a finding out with a comment above the instruction: `# rbuild ignore=RB103 why that is right here`.

";

/// The page of one rule, in Markdown.
#[must_use]
pub fn page(rule: &Rule) -> String {
    let aliases = match rule.aliases {
        [] => String::new(),
        aliases => format!(" Also known as {}.", aliases.join(", ")),
    };
    let severity = format!("{:?}", rule.severity).to_lowercase();
    let language = match rule.example_name() {
        "Containerfile" => "dockerfile",
        _ => "ini",
    };
    let looks = match super::image_rules().contains(&rule.id) {
        true if rule.is_about_images_only() => {
            " Found in built images alone, by `rbuild lint --image`."
        }
        true => " Found in built images, too, by `rbuild lint --image`.",
        false => "",
    };
    format!(
        "## {}: {}\n\nSeverity: {severity}.{aliases}{looks}\n\n{}\n\nNot so:\n\n```{language}\n{}```\n\nBut so:\n\n```{language}\n{}```\n",
        rule.id, rule.title, rule.why, rule.bad, rule.good
    )
}

/// The pages of all rules below a list of them: `docs/lint.md`.
#[must_use]
pub fn catalogue() -> String {
    let mut text = INTRODUCTION.to_owned();
    text.push_str("| rule | severity | reports |\n|---|---|---|\n");
    for rule in super::rules() {
        let severity = format!("{:?}", rule.severity).to_lowercase();
        text.push_str(&format!("| {} | {severity} | {} |\n", rule.id, rule.title));
    }
    text.push_str("\n## The codes of hadolint\n\n");
    text.push_str(&super::hadolint::table());
    for rule in super::rules() {
        text.push('\n');
        text.push_str(&page(rule));
    }
    text
}
