//! What is refused by its name: S29, and what is not implemented yet.

use crate::support::{errors, of, plan};

#[test]
fn s29_insecure_and_devices_are_refused_and_host_network_needs_permission() {
    let insecure = errors("FROM scratch\nRUN --security=insecure x\n");
    assert!(insecure[0].starts_with("--security=insecure | RUN --security=insecure is refused"));
    let device = errors("FROM scratch\nRUN --device=vendor.com/x=y x\n");
    assert!(device[0].starts_with("--device=vendor.com/x=y | RUN --device is refused"));
    let text = "FROM scratch\nRUN --network=host x\n";
    let found = of(text).diagnostics();
    assert!(
        found[0]
            .help
            .as_ref()
            .unwrap()
            .contains("--allow network.host")
    );
    assert_eq!(
        of(text).host_network().plan().run(0).network,
        rbuild_builder::RunNetwork::Host
    );
}

#[test]
fn harmless_values_of_the_same_flags_are_accepted() {
    assert_eq!(
        plan("FROM scratch\nRUN --security=sandbox --network=default x\n")
            .target()
            .steps
            .len(),
        1
    );
}

#[test]
fn flags_of_remote_sources_need_a_remote_source() {
    for (line, part) in [
        ("ADD --checksum=sha256:0 a /", "one URL or git repository"),
        (
            "ADD --checksum=sha256:0 https://x.io/a /",
            "--checksum=sha256:0: cannot",
        ),
        ("ADD --keep-git-dir=true a /", "ADD --keep-git-dir"),
        ("ADD https://[x/a /", "URL"),
    ] {
        let found = errors(&format!("FROM scratch\n{line}\n"));
        assert!(
            found.len() == 1 && found[0].contains(part),
            "{line}: {found:?}"
        );
    }
}

#[test]
fn keep_git_dir_is_said_once_or_twice_the_same() {
    let line = |query: &str, flag: bool| {
        format!("FROM scratch\nADD --keep-git-dir={flag} https://x.io/a.git{query} /\n")
    };
    for (query, flag) in [("?keep-git-dir=true", false), ("?keep-git-dir=false", true)] {
        let found = errors(&line(query, flag));
        let wanted = format!("ADD --keep-git-dir={flag}: the query of https://x.io/a.git says");
        assert!(found.len() == 1 && found[0].contains(&wanted), "{found:?}");
    }
}

#[test]
fn a_stored_trigger_is_refused_only_where_it_fires() {
    let text = "FROM scratch AS a\nONBUILD RUN --security=insecure x\n";
    assert_eq!(plan(text).config().on_build, ["RUN --security=insecure x"]);
    let fired = errors(&format!("{text}FROM a\n"));
    assert!(
        fired[0].contains("--security=insecure is refused"),
        "{fired:?}"
    );
}
