//! RB401: ports below 1024.

use super::prelude::*;
use crate::ports;
use crate::user::Id;

pub(super) const RULE: Rule = Rule {
    id: "RB401",
    aliases: &[],
    severity: Severity::Warning,
    title: "EXPOSE of a port below 1024, and a USER that is not root",
    why: "Only root opens ports below 1024, unless the host's `ip_unprivileged_port_start` says otherwise. Inside, any port above will do: the \
port outside is chosen when the container is started.",
    bad: service!("EXPOSE 80"),
    good: service!("EXPOSE 8080"),
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    let user = view.known_final_user();
    let ordinary = user.is_some_and(|user| {
        matches!(Id::parse(user.parts().0), Id::Number(1..) | Id::Name) && user.parts().0 != "root"
    });
    if !ordinary {
        return;
    }
    for step in view.shipped_steps().filter(|step| step.fired_by.is_none()) {
        let InstructionKind::Expose(words) = &step.instruction.kind else {
            continue;
        };
        for word in words {
            let value = step.value(word);
            let range = value.known().filter(|text| ports::parse(text).is_ok());
            let first = range.and_then(|text| text.split(['/', '-']).next()?.parse::<u16>().ok());
            if let Some(port) =
                first.filter(|port| (1..view.options.limits.first_port).contains(port))
            {
                let message =
                    format!("port {port} can be opened by root only, and USER is not root");
                found.add(word.span, message).help(format!(
                    "have the program listen on a port of {} or above",
                    view.options.limits.first_port
                ));
            }
        }
    }
}
