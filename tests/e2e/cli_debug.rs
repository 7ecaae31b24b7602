//! `rbuild debug`.

use crate::support::Place;

#[test]
fn ast_is_json_of_the_tree_and_all_findings() {
    let place = Place::new();
    place.write(
        "Containerfile",
        "FROM scratch AS a\nCOPY --chown=1:2 x /y\n",
    );
    let (json, stderr) = place.expect(0, &["debug", "ast", "Containerfile"]);
    assert!(
        json.contains("\"stages\"") && json.contains("\"COPY\""),
        "{json}"
    );
    assert_eq!(stderr, "");
    let (sexpr, _) = place.expect(0, &["debug", "ast", "--sexpr", "Containerfile"]);
    assert_eq!(
        sexpr.lines().next(),
        Some("(from \"scratch\" \"AS\" \"a\")")
    );
}

#[test]
fn ast_of_a_broken_file_shows_the_place_and_fails() {
    let place = Place::new();
    place.write("Containerfile", "FROM scratch\nCOPPY a b\n");
    let (json, stderr) = place.expect(1, &["debug", "ast", "Containerfile"]);
    assert!(json.contains("\"diagnostics\""));
    assert!(stderr.contains("Containerfile:2:1"), "{stderr}");
}

#[test]
fn ast_reads_standard_input() {
    let place = Place::new();
    let output = place
        .rbuild()
        .args(["debug", "ast", "-"])
        .write_stdin("FROM scratch\n")
        .output()
        .expect("it starts");
    assert!(output.status.success());
}

#[test]
fn expand_takes_its_variables_from_the_command_line_only() {
    let place = Place::new();
    let (text, _) = place.expect(
        0,
        &["debug", "expand", "${A:-x}-$HOME-'$A'", "--env", "A=1 2"],
    );
    assert_eq!(text, "1 2--$A\n");
    let (_, stderr) = place.expect(1, &["debug", "expand", "${A:?is needed}"]);
    assert!(stderr.contains("is needed"), "{stderr}");
}
