//! The numeric-user policy before the build: RB101 to RB105, S43.

use containerfile::{Diagnostic, Severity, Source};
use rbuild_builder::plan::user_policy::{FoundIds, UserVerdict, check};

use crate::support::{of, plan};

fn verdict(text: &str) -> UserVerdict {
    check(plan(text).target())
}

fn refused(text: &str) -> Diagnostic {
    match verdict(text) {
        UserVerdict::Refused(found) => found,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn rb101_no_user_is_refused_at_the_from() {
    let text = "FROM x AS a\nFROM scratch\nCMD [\"x\"]\n";
    let found = refused(text);
    assert_eq!(Source::new("", text).slice(found.span), "FROM scratch");
    assert_eq!(
        found.help.as_deref(),
        Some("add to the final stage: USER 65532:65532")
    );
    assert_eq!((found.severity, found.fix), (Severity::Error, None));
}

#[test]
fn rb102_root_is_refused_in_any_spelling() {
    for user in [
        "0",
        "0:0",
        "root",
        "root:root",
        "00",
        "000:1",
        "0:65532",
        "root:65532",
        "$none",
        "${Z}",
    ] {
        let text = format!("FROM scratch\nARG Z=0\nUSER {user}\n");
        let found = refused(&text);
        assert_eq!(found.fix.unwrap().replacement, "USER 65532:65532");
        assert_eq!(
            Source::new("", text.clone()).slice(found.span),
            format!("USER {user}")
        );
    }
}

#[test]
fn s43_odd_users_are_refused() {
    for user in [
        "4294967296",
        "-1",
        "2147483648:0",
        "0x0",
        "+0",
        "' 0'",
        "1000:",
        ":1000",
        "01000",
        "1000:-1",
        "1000:+0",
        "1000:1:1",
        "'a b'",
    ] {
        refused(&format!("FROM scratch\nUSER {user}\n"));
    }
}

#[test]
fn numbers_other_than_root_are_accepted() {
    for user in ["65532:65532", "1:1", "2147483647:2147483647", "1000:0"] {
        assert_eq!(
            verdict(&format!("FROM scratch\nUSER {user}\n")),
            UserVerdict::Accepted,
            "{user}"
        );
    }
}

#[test]
fn rb105_a_missing_group_is_a_warning() {
    let UserVerdict::NoGroup(found) = verdict("FROM scratch\nUSER 65532\n") else {
        panic!()
    };
    assert_eq!(
        (found.severity, found.fix.unwrap().replacement.as_str()),
        (Severity::Warning, "USER 65532:65532")
    );
}

#[test]
fn rb103_a_name_is_decided_with_the_images_accounts() {
    let text = "FROM scratch\nUSER nobody:staff\n";
    let UserVerdict::NeedsLookup(name) = verdict(text) else {
        panic!()
    };
    assert_eq!((name.user(), name.group()), ("nobody", Some("staff")));
    let decision = name.decide(Some(FoundIds {
        uid: 65534,
        gid: 50,
    }));
    assert_eq!(decision.numbers.as_deref(), Some("65534:50"));
    assert_eq!(
        decision.diagnostic.fix.unwrap().replacement,
        "USER 65534:50"
    );
    assert_eq!(name.decide(None).numbers, None);
    let root = name.decide(Some(FoundIds { uid: 0, gid: 50 }));
    assert_eq!(root.numbers, None);
    assert!(root.diagnostic.message.contains("root"));
    assert!(matches!(
        verdict("FROM scratch\nUSER 1000:staff\n"),
        UserVerdict::NeedsLookup(_)
    ));
}

#[test]
fn the_last_user_counts_and_an_inherited_one_points_at_the_from() {
    assert_eq!(
        verdict("FROM scratch\nUSER root\nUSER 1:1\n"),
        UserVerdict::Accepted
    );
    assert_eq!(
        verdict("FROM scratch AS a\nUSER 1:1\nFROM a\n"),
        UserVerdict::Accepted
    );
    let planned = of("FROM x\n")
        .image("x:latest", |config| config.config.user = "root".into())
        .plan();
    let UserVerdict::Refused(found) = check(planned.target()) else {
        panic!()
    };
    assert_eq!(
        found.message,
        "USER \"root\" is root (inherited from the base)"
    );
    assert_eq!((found.span.start(), found.fix), (0, None));
}

#[test]
fn an_earlier_stage_may_run_as_root() {
    assert_eq!(
        verdict("FROM scratch AS a\nUSER root\nFROM scratch\nUSER 1:1\nCOPY --from=a / /\n"),
        UserVerdict::Accepted
    );
}
