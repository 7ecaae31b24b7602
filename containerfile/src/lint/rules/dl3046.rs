//! DL3046: a login record of many gigabytes.

use super::prelude::*;

pub(super) const RULE: Rule = Rule {
    id: "DL3046",
    aliases: &[],
    severity: Severity::Warning,
    title: "useradd with a large number and without --no-log-init",
    why: "useradd makes an entry in /var/log/lastlog and faillog at the place of the number: a file with a hole of gigabytes, which some \
builders store in full. Numbers from 65536 on cannot be mapped without root, either.",
    bad: on_debian!("RUN useradd --uid 1000000 app\nUSER 65532:65532"),
    good: on_debian!("RUN useradd --no-log-init --uid 60000 app\nUSER 65532:65532"),
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    for (_, _, program) in view.programs() {
        if program.name() != "useradd" {
            continue;
        }
        let arguments = program.arguments();
        let quiet = arguments.iter().any(|word| {
            let short = word.text.starts_with('-') && !word.text.starts_with("--");
            word.text == "--no-log-init" || (short && word.text.contains('l'))
        });
        let number = arguments.iter().enumerate().find_map(|(at, word)| {
            let text = match word.text.as_str() {
                "-u" | "--uid" => &arguments.get(at + 1)?.text,
                text => text
                    .strip_prefix("--uid=")
                    .or_else(|| text.strip_prefix("-u"))?,
            };
            text.parse::<u64>().ok()
        });
        if let Some(number) = number.filter(|number| *number > 99_999 && !quiet) {
            let message = format!("the login record of {number} makes the layer very large");
            let end = program.words[0].span.end();
            found
                .add(program.span(), message)
                .help("add --no-log-init, or take a number below 65536")
                .fix(crate::ast::Span::new(end, end), " --no-log-init");
        }
    }
}
