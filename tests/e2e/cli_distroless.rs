//! `rbuild distroless`: the proposal builds, does the same as the original, and is only then written. tests/examples.sh does it with an
//! image of Debian's packages.

use std::fs;

use crate::support::{Degree, Place};

/// What the builds need, behind `--`.
fn options(base: &std::path::Path) -> Vec<String> {
    let context = format!("base=oci-layout:{}", base.display());
    ["--", "--network", "none", "--build-context", &context]
        .map(str::to_owned)
        .to_vec()
}

/// Runs it with arguments; code, standard output and error.
fn distroless(place: &Place, code: i32, args: &[&str], base: &std::path::Path) -> (String, String) {
    let options = options(base);
    let options = options.iter().map(String::as_str);
    let all: Vec<&str> = ["distroless"]
        .into_iter()
        .chain(args.iter().copied())
        .chain(options)
        .collect();
    place.expect(code, &all)
}

const ORDINARY: &str = "# Mine.\nFROM base\nARG V=1\nRUN mkdir /opt && echo tool >/opt/tool && echo junk >/etc/junk\nWORKDIR /app\nCOPY greeting .\nENV WHO=\"you $V\"\nLABEL v=$V\nEXPOSE 80\nHEALTHCHECK --interval=5s CMD cat /app/greeting || exit 1\nCMD exec cat greeting /opt/tool";

#[test]
fn a_proposal_is_proved_and_written() {
    let base = requires!(base "busybox");
    requires!(execution);
    let place = Place::new();
    place.write("greeting", "hello\n");
    place.write("Containerfile", ORDINARY);
    let (patch, said) = distroless(&place, 0, &[], &base);
    assert!(
        said.contains("note: both end with 0, and print the same 11 bytes\n"),
        "{said}"
    );
    assert!(
        said.contains(" before, ") && said.contains(" after: "),
        "{said}"
    );
    assert_eq!(
        fs::read_to_string(place.context().join("Containerfile")).unwrap(),
        ORDINARY
    );
    assert!(
        patch.starts_with("--- Containerfile\n+++ Containerfile\n@@ -1,11 +1,"),
        "{patch}"
    );

    let (nothing, _) = distroless(&place, 0, &["--write", "Containerfile"], &base);
    assert_eq!(nothing, "");
    let text = fs::read_to_string(place.context().join("Containerfile")).unwrap();
    insta::assert_snapshot!(text, @r#"
    # Mine.
    FROM base AS whole
    ARG V=1
    RUN mkdir /opt && echo tool >/opt/tool && echo junk >/etc/junk
    WORKDIR /app
    COPY greeting .
    ENV WHO="you $V"

    FROM scratch
    # rbuild:closure
    COPY --from=whole /app /app
    # rbuild:closure
    COPY --from=whole /bin/cat /bin/cat
    # rbuild:closure
    COPY --from=whole /opt /opt
    # rbuild:accounts
    ARG V=1
    WORKDIR /app
    ENV WHO="you $V"
    LABEL v=$V
    EXPOSE 80
    HEALTHCHECK --interval=5s CMD ["/bin/cat", "/app/greeting"]
    USER 65532:65532
    CMD ["/bin/cat", "greeting", "/opt/tool"]
    "#);
    // What the patch says is what was written.
    let added = patch
        .lines()
        .filter(|line| !line.starts_with('-') && !line.starts_with('@'));
    let patched: Vec<&str> = added
        .filter(|line| !line.starts_with("+++") && !line.starts_with('\\'))
        .map(|line| &line[1..])
        .collect();
    assert_eq!(patched.join("\n"), text.trim_end());

    // And it builds by itself, with the user that every image must have.
    let options = options(&base);
    let mut args = vec!["build", "-t", "new"];
    args.extend(options[1..].iter().map(String::as_str));
    place.expect(0, &[&args[..], &["."]].concat());
    let (out, _) = place.expect(0, &["run", "--network", "none", "--read-only", "new"]);
    assert_eq!(out, "hello\ntool\n");
    let (files, _) = place.expect(0, &["inspect", "--files", "new"]);
    assert!(
        !files.contains("/bin/vi") && !files.contains("/etc/junk"),
        "{files}"
    );
}

#[test]
fn what_does_something_else_from_scratch_is_not_written() {
    let base = requires!(base "busybox");
    requires!(execution);
    let place = Place::new();
    let text = "FROM base\nCMD [\"ls\", \"/\"]\n";
    place.write("Containerfile", text);
    let (patch, said) = distroless(&place, 1, &["--write"], &base);
    assert!(
        said.contains("the entry point says something else from scratch"),
        "{said}"
    );
    assert!(patch.contains("+FROM scratch\n"), "{patch}");
    assert_eq!(
        fs::read_to_string(place.context().join("Containerfile")).unwrap(),
        text
    );

    // An argument whose answer is the same everywhere.
    let (_, said) = distroless(&place, 0, &["--arg", "ls", "--arg", "/nowhere"], &base);
    assert!(said.contains("both end with 1"), "{said}");
}

#[test]
fn structure_tests_have_to_hold_of_both() {
    let base = requires!(base "busybox");
    requires!(degree Degree::SubIds);
    requires!(execution);
    let place = Place::new();
    place.write("Containerfile", "FROM base\nCMD [\"cat\", \"/dev/null\"]\n");
    let config = |command: &str| {
        format!(
            "schemaVersion: 2.0.0\ncommandTests:\n  - name: it\n    command: {command}\n    args: [/dev/null]\n"
        )
    };
    place.write("good.yaml", config("/bin/cat"));
    place.write("bad.yaml", config("/bin/wc"));
    let (_, said) = distroless(&place, 0, &["--config", "good.yaml"], &base);
    assert!(said.contains("both pass the structure tests"), "{said}");
    let (_, said) = distroless(&place, 1, &["--config", "bad.yaml"], &base);
    assert!(said.contains("the one from scratch does not"), "{said}");
}

#[test]
fn a_service_has_to_run_on() {
    let base = requires!(base "busybox");
    requires!(degree Degree::SubIds);
    requires!(execution);
    let place = Place::new();
    place.write(
        "Containerfile",
        "FROM base AS one\nUSER 1000:1000\nENTRYPOINT [\"sleep\"]\nFROM one\nCMD [\"60\"]\n",
    );
    let (patch, said) = distroless(&place, 0, &["--timeout", "1"], &base);
    assert!(said.contains("both run on for 1 s"), "{said}");
    assert!(
        patch.contains("+USER 1000:1000\n+ENTRYPOINT [\"/bin/sleep\"]\n+CMD [\"60\"]\n"),
        "{patch}"
    );
}

#[test]
fn what_cannot_be_proposed_is_said_before_anything_is_built() {
    let place = Place::new();
    place.write("Containerfile", "FROM scratch\nCOPY x /\n");
    let (_, said) = place.expect(1, &["distroless"]);
    assert!(said.contains("is made from scratch already"), "{said}");
    place.write("Containerfile", "FROM x\nNONSENSE\n");
    place.expect(1, &["distroless"]);
    let (_, said) = place.expect(1, &["distroless", "nowhere"]);
    assert!(said.contains("nowhere"), "{said}");
}
