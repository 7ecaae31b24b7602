//! `rbuild ps`. The invariant: whether a container runs is told by its supervisor's lock, and one whose supervisor was killed is shown
//! as such before it is forgotten.

use runner::service::{Container, State};
use serde::Serialize;

use super::service::{clean, containers, failure};
use crate::args::containers::{PsArgs, PsFormat};
use crate::failure::Failure;
use crate::stdout::{print, print_json, table};
use crate::surroundings::Surroundings;

/// A container as programs see it: Podman's names (libpod, `entities.ListContainer`), where it has the same.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Listed<'c> {
    id: &'c str,
    names: [&'c str; 1],
    image: &'c str,
    command: &'c [String],
    created: u64,
    started_at: u64,
    state: &'static str,
    status: String,
    exit_code: Option<i32>,
    restarts: u32,
    restart_policy: String,
    ports: &'c [String],
    /// The supervisor's.
    pid: u32,
}

impl<'c> Listed<'c> {
    fn of(container: &'c Container, here: &Surroundings) -> Self {
        let record = &container.record;
        Self {
            id: &record.id,
            names: [record.name.as_str()],
            image: &record.image,
            command: &record.command,
            created: record.created,
            started_at: record.started,
            state: state(container),
            status: status(container, here),
            exit_code: record.exit_code,
            restarts: record.restarts,
            restart_policy: record.restart.to_string(),
            ports: &record.ports,
            pid: record.supervisor,
        }
    }
}

/// Lists containers.
pub(super) fn ps(args: &PsArgs, here: &Surroundings) -> Result<(), Failure> {
    let containers = containers(here)?;
    let mut all = containers.list().map_err(failure)?;
    if !args.all {
        all.retain(|one| !one.lives || one.record.state != State::Created);
    }
    let rows: Vec<Listed<'_>> = all.iter().map(|one| Listed::of(one, here)).collect();
    match (args.quiet, args.format) {
        (true, _) => print(
            &rows
                .iter()
                .map(|row| short(row.id) + "\n")
                .collect::<String>(),
        )?,
        (false, PsFormat::Json) => print_json(&rows)?,
        (false, PsFormat::Table) => print(&text(&rows, here))?,
    }
    clean(&containers, here)
}

fn state(container: &Container) -> &'static str {
    match container.lives {
        true => container.record.state.word(),
        false => "dead",
    }
}

fn status(container: &Container, here: &Surroundings) -> String {
    let record = &container.record;
    if !container.lives {
        return "Dead: its supervisor was killed".to_owned();
    }
    match record.state {
        State::Running => format!("Up {}", since(record.started, here)),
        State::Restarting => format!("Restarting ({})", record.exit_code.unwrap_or_default()),
        State::Stopping => "Stopping".to_owned(),
        State::Created => "Created".to_owned(),
    }
}

fn text(rows: &[Listed<'_>], here: &Surroundings) -> String {
    let head = [
        "CONTAINER ID",
        "IMAGE",
        "COMMAND",
        "CREATED",
        "STATUS",
        "PORTS",
        "NAMES",
    ];
    let lines = rows.iter().map(|row| {
        let created = format!("{} ago", since(row.created, here));
        let command = crate::show::escape(&shortened(&row.command.join(" ")));
        let ports = row.ports.join(", ");
        let [name] = row.names;
        let cells = [
            &short(row.id),
            row.image,
            &command,
            &created,
            &row.status,
            &ports,
            name,
        ];
        cells.map(str::to_owned).to_vec()
    });
    let all: Vec<_> = std::iter::once(head.map(str::to_owned).to_vec())
        .chain(lines)
        .collect();
    table(&all)
}

/// As many digits as Podman shows.
fn short(id: &str) -> String {
    id.chars().take(12).collect()
}

fn shortened(command: &str) -> String {
    match command.char_indices().nth(20) {
        Some((end, _)) => format!("{}...", &command[..end]),
        None => command.to_owned(),
    }
}

/// How long ago, in Podman's words (docker/go-units, `HumanDuration`).
fn since(seconds: u64, here: &Surroundings) -> String {
    let passed = u64::try_from(here.now)
        .unwrap_or_default()
        .saturating_sub(seconds);
    let count = |number: u64, one: &str| match number {
        1 => format!("1 {one}"),
        _ => format!("{number} {one}s"),
    };
    match passed {
        0..60 => count(passed, "second"),
        60..3600 => count(passed / 60, "minute"),
        3600..172_800 => count(passed / 3600, "hour"),
        _ => count(passed / 86_400, "day"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_words_and_long_commands_are_cut() {
        let here = Surroundings::of(&[]);
        let ago = |seconds: u64| since(u64::try_from(here.now).unwrap() - seconds, &here);
        let words = [1, 59, 60, 7200, 200_000].map(ago);
        assert_eq!(
            words,
            ["1 second", "59 seconds", "1 minute", "2 hours", "2 days"]
        );
        assert_eq!(shortened("short"), "short");
        assert_eq!(
            shortened("äöüäöüäöüäöüäöüäöüäöüäöü"),
            "äöüäöüäöüäöüäöüäöüäö..."
        );
    }
}
