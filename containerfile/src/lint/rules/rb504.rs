//! RB504: servers that stop by another signal than TERM.

use super::prelude::*;
use crate::lint::shell;

pub(super) const RULE: Rule = Rule {
    id: "RB504",
    aliases: &[],
    severity: Severity::Info,
    title: "no STOPSIGNAL for a server that finishes its work at another signal than TERM",
    why: "A container is stopped by TERM, and killed ten seconds later. nginx, Apache, PHP-FPM and HAProxy drop their open connections at TERM, \
PostgreSQL waits for its clients, and systemd does not stop at all. Their official images set the signal; one of your own must do it too.",
    bad: service!(
        "COPY --chmod=555 nginx /usr/sbin/nginx\nENTRYPOINT [\"/usr/sbin/nginx\"]\nHEALTHCHECK NONE"
    ),
    good: service!(
        "COPY --chmod=555 nginx /usr/sbin/nginx\nENTRYPOINT [\"/usr/sbin/nginx\"]\nSTOPSIGNAL SIGQUIT\nHEALTHCHECK NONE"
    ),
    check: Some(check),
};

/// nginx(8); httpd "Stopping and Restarting"; php-fpm(8); haproxy "Stopping and restarting"; postgres(1); systemd(1).
const SIGNALS: [(&str, &str); 9] = [
    ("nginx", "SIGQUIT"),
    ("httpd", "SIGWINCH"),
    ("apache2", "SIGWINCH"),
    ("apachectl", "SIGWINCH"),
    ("apache2ctl", "SIGWINCH"),
    ("php-fpm", "SIGQUIT"),
    ("haproxy", "SIGUSR1"),
    ("postgres", "SIGINT"),
    ("systemd", "SIGRTMIN+3"),
];

fn check(view: &View<'_>, found: &mut Findings) {
    let says = |step: &Step<'_>| matches!(step.instruction.kind, InstructionKind::Stopsignal(_));
    if !view.base_configures_nothing() || view.shipped_steps().any(says) {
        return;
    }
    let Some(command) = view.started() else {
        return;
    };
    let programs = shell::command(command);
    let [program] = programs.as_slice() else {
        return;
    };
    let name = program.name();
    let once = program.has("-t") || program.has("-v") || program.has("--version");
    let signal = SIGNALS.iter().find(|(server, _)| *server == name);
    if let Some((server, signal)) = signal.filter(|_| !once) {
        let message = format!("{server} ends its work properly at {signal}, and is sent TERM");
        found
            .add(program.words[0].span, message)
            .help(format!("add STOPSIGNAL {signal}"));
    }
}
