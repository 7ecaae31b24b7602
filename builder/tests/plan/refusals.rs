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
fn every_mount_is_refused_by_name_even_before_the_base_is_known() {
    for kind in [
        "bind,target=/x",
        "cache,target=/x",
        "tmpfs,target=/x",
        "secret,id=x",
        "ssh",
    ] {
        let flag = format!("--mount=type={kind}");
        let found = errors(&format!("FROM base\nRUN {flag} true\n"));
        assert_eq!(
            found,
            [format!("{flag} | RUN {flag} is not implemented yet")]
        );
    }
}

#[test]
fn remote_sources_of_add_are_refused() {
    for (source, kind) in [
        ("https://x.io/a", "a URL"),
        ("git@x.io:a/b", "a git repository"),
        ("https://x.io/a.git#v1", "a git repository"),
    ] {
        let found = errors(&format!("FROM scratch\nADD {source} /a\n"));
        assert_eq!(
            found,
            [format!("{source} | ADD of {kind} is not implemented yet")]
        );
    }
    let hidden = errors("FROM scratch\nARG U=https://x.io\nADD a $U/a /a/\n");
    assert_eq!(hidden, ["$U/a | ADD of a URL is not implemented yet"]);
    let partly = errors("FROM scratch\nARG V=1\nADD https://x.io/$V /a/\n");
    assert_eq!(partly.len(), 1);
}

#[test]
fn flags_of_remote_sources_are_refused() {
    assert!(
        errors("FROM scratch\nADD --checksum=sha256:0 a /\n")
            .iter()
            .any(|found| found.contains("ADD --checksum"))
    );
    assert!(
        errors("FROM scratch\nADD --keep-git-dir=true a /\n")[0].contains("ADD --keep-git-dir")
    );
}

#[test]
fn a_stored_trigger_is_refused_only_where_it_fires() {
    let text = "FROM scratch AS a\nONBUILD RUN --mount=type=ssh x\n";
    assert_eq!(plan(text).config().on_build, ["RUN --mount=type=ssh x"]);
    let fired = errors(&format!("{text}FROM a\n"));
    assert!(
        fired[0].contains("--mount=type=ssh is not implemented"),
        "{fired:?}"
    );
}
