//! COPY and ADD: what containerfile.md 1.4 says that is known before there are files.

use rbuild_builder::CopyFrom;

use crate::support::{errors, of, plan};

#[test]
fn a_copy_knows_only_what_changes_its_result() {
    let first = plan("FROM scratch\nENV a=1\nUSER 5\nCOPY x /y\n");
    let second = plan("FROM scratch\nENV a=2\nWORKDIR /w\nCOPY x /y\n");
    assert_eq!(first.step(0).step, second.step(1).step);
}

#[test]
fn heredocs_are_expanded_unless_quoted_and_keep_their_quotes() {
    let planned = plan(
        "FROM scratch\nENV A=1\nCOPY <<one <<\"two\" <<-three /d/\n'$A' \"${A}\" \\$A\none\n$A\ntwo\n\t$A\n\tthree\n",
    );
    let copy = planned.copy(0);
    assert!(copy.sources.is_empty());
    let files: Vec<_> = copy
        .inline
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()))
        .collect();
    assert_eq!(
        files,
        [("one", "'1' \"1\" $A\n"), ("two", "$A\n"), ("three", "1\n")]
    );
    assert_eq!(planned.history()[1], "0: COPY <<one <<two <<three /d/");
}

#[test]
fn flags_are_carried() {
    let planned = plan(
        "FROM scratch AS a\nFROM scratch\nCOPY --link --parents --exclude=*.o --exclude=!k.o --from=a --chown=1:2 --chmod=u=rwX,go=rX a/./b /c/\n",
    );
    let copy = planned.copy(0);
    assert!(copy.link && copy.parents && !copy.unpack);
    assert_eq!(copy.excludes, ["*.o", "!k.o"]);
    assert_eq!(copy.chown.as_deref(), Some("1:2"));
    assert_eq!(copy.chmod.as_deref(), Some("u=rwX,go=rX"));
}

#[test]
fn add_unpacks_unless_told_not_to() {
    let planned = plan("FROM scratch\nADD a /\nADD --unpack=false a /\nADD --unpack a /\n");
    assert_eq!(
        [0, 1, 2].map(|step| planned.copy(step).unpack),
        [true, false, true]
    );
    assert!(!plan("FROM scratch\nCOPY a /\n").copy(0).unpack);
}

#[test]
fn chmod_is_validated_after_expansion() {
    let text = "FROM scratch\nARG M=0799\nCOPY --chmod=$M a /\n";
    assert!(
        errors(text)[0].starts_with("$M | --chmod: mode \"0799\""),
        "{:?}",
        errors(text)
    );
    assert_eq!(
        of(text).arg("M", "0755").plan().copy(0).chmod.as_deref(),
        Some("0755")
    );
}

#[test]
fn blank_flags_count_as_none() {
    let planned = plan("FROM scratch\nCOPY --chown=$none --chmod=$none a /\n");
    assert_eq!(
        (
            planned.copy(0).chown.as_ref(),
            planned.copy(0).chmod.as_ref()
        ),
        (None, None)
    );
}

#[test]
fn a_blank_source_is_everything_with_a_warning() {
    let planned = plan("FROM scratch\nCOPY $none /\n");
    assert_eq!(planned.copy(0).sources, ["."]);
    assert_eq!(
        planned.warned(),
        ["$none is blank after expansion: it means everything"]
    );
}

#[test]
fn a_blank_destination_is_the_working_directory() {
    assert_eq!(
        plan("FROM scratch\nWORKDIR /w\nCOPY a \"$none\"\n")
            .copy(1)
            .destination,
        "."
    );
}

#[test]
fn malformed_patterns_are_errors_before_anything_is_built() {
    assert!(errors("FROM scratch\nCOPY a/[b c/\n")[0].contains("is no pattern"));
    assert!(errors("FROM scratch\nCOPY --exclude=[b a c/\n")[0].contains("--exclude=[b"));
    assert!(errors("FROM scratch\nCOPY --exclude=! a c/\n")[0].contains("--exclude=!"));
    assert_eq!(
        plan("FROM scratch\nCOPY a*[0-9] [[]x c/\n").copy(0).sources,
        ["a*[0-9]", "[[]x"]
    );
}

#[test]
fn an_image_is_copied_from() {
    let text = "FROM scratch\nCOPY --from=busybox:1 /bin/busybox /\n";
    assert_eq!(of(text).rounds(), [["busybox:1"]]);
    assert_eq!(plan(text).copy(0).from, CopyFrom::Image(0));
}

#[test]
fn remote_sources_are_fetched_once_and_are_content_in_the_step() {
    let text = "FROM scratch AS a\nARG V=1\nADD one https://x.io/$V /a/\nFROM base\nADD https://u:p@x.io/1 https://x.io/1 /b/\n";
    let rounds = of(text).rounds();
    assert_eq!(
        rounds,
        [
            vec!["base:latest"],
            vec!["https://x.io/1", "https://x.io/1"]
        ]
    );
    let planned = plan("FROM scratch\nADD --unpack=true https://u:s3cret@x.io/1?k=v /a/\n");
    let copy = planned.copy(0);
    assert!(copy.sources.is_empty() && copy.fetched.len() == 1 && copy.fetched[0].unpack);
    let json = serde_json::to_string(copy).unwrap();
    assert!(!json.contains("x.io") && !json.contains("s3cret"), "{json}");
    let history = &planned.target().history;
    let created_by = format!("{history:?}");
    assert!(
        created_by.contains("ADD https://x.io/1?k=v /a/") && !created_by.contains("s3cret"),
        "{created_by}"
    );
}
