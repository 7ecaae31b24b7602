//! Every construct that the other parsers get wrong, and every trap of reading Containerfiles.
use std::time::Duration;

use rbuild_containerfile as containerfile;

use containerfile::{
    CopySource, EscapeChar, Healthcheck, InstructionKind, NetworkMode, Parsed, Run, RunCommand,
    SecurityMode, Severity, Source, parse, parse_onbuild_trigger,
};

fn parsed(text: &str) -> Parsed {
    parse(&Source::new("Containerfile", text))
}

/// The one instruction below `FROM a`; errors fail the test.
fn one(line: &str) -> InstructionKind {
    let parsed = parsed(&format!("FROM a\n{line}\n"));
    assert!(!parsed.has_errors(), "{line}: {:#?}", parsed.diagnostics);
    let mut instructions = parsed
        .file
        .stages
        .into_iter()
        .next()
        .expect("a stage")
        .instructions;
    assert_eq!(instructions.len(), 1, "{line}");
    instructions.remove(0).kind
}

fn run(line: &str) -> Run {
    match one(line) {
        InstructionKind::Run(run) => *run,
        other => panic!("{line}: {other:?}"),
    }
}

/// The messages of all errors.
fn errors(text: &str) -> Vec<String> {
    let found = parsed(text)
        .diagnostics
        .into_iter()
        .filter(|found| found.severity == Severity::Error);
    found.map(|found| found.message).collect()
}

fn rules(text: &str) -> Vec<&'static str> {
    parsed(text)
        .diagnostics
        .iter()
        .filter_map(|found| found.rule)
        .collect()
}

#[test]
fn a_heredoc_alone_is_the_script() {
    let RunCommand::Script(heredoc) =
        run("RUN <<-'EOF'\n\t#!/bin/sh\n\t# not a comment \\\n\techo $x\n\tEOF").command
    else {
        panic!("no script")
    };
    assert_eq!(
        heredoc.content(),
        "#!/bin/sh\n# not a comment \\\necho $x\n"
    );
    assert!(heredoc.quoted && heredoc.strip_tabs);
}

#[test]
fn a_heredoc_with_a_command_goes_to_the_shell_whole() {
    let command = run("RUN cat <<EOF > /x && python3 <<'PY'\n$a\nEOF\nprint()\nPY").command;
    let RunCommand::Shell { heredocs, .. } = &command else {
        panic!("{command:?}")
    };
    assert_eq!(heredocs.len(), 2);
    assert_eq!(
        command.shell_text().as_deref(),
        Some("cat <<EOF > /x && python3 <<'PY'\n$a\nEOF\nprint()\nPY")
    );
}

#[test]
fn heredocs_of_copy_are_files_in_their_places() {
    let InstructionKind::Copy(copy) =
        one("COPY --chmod=0644 x <<one << 'two' /data/\nfirst $A\none\nsecond\ntwo")
    else {
        panic!()
    };
    let names: Vec<_> = copy
        .transfer
        .sources
        .iter()
        .map(|source| match source {
            CopySource::Path(word) => word.raw.to_string(),
            CopySource::Heredoc(heredoc) => {
                format!("<{}:{}:{}", heredoc.name, heredoc.quoted, heredoc.raw)
            }
        })
        .collect();
    assert_eq!(names, ["x", "<one:false:first $A\n", "<two:true:second\n"]);
    assert_eq!(copy.transfer.destination.raw, "/data/");
}

#[test]
fn a_heredoc_with_carriage_returns_ends() {
    let parsed = parsed("FROM a\r\nRUN <<EOF\r\necho\r\nEOF\r\nUSER 1\r\n");
    assert!(!parsed.has_errors());
    assert_eq!(parsed.file.stages[0].instructions.len(), 2);
}

#[test]
fn heredocs_in_the_wrong_place_are_errors_or_text() {
    assert_eq!(errors("FROM a\nRUN <<EOF\necho\n").len(), 1);
    assert_eq!(errors("FROM a\nCOPY x <<EOF\necho\nEOF\n").len(), 1);
    assert!(matches!(
        run(r#"RUN ["cat", "<<EOF"]"#).command,
        RunCommand::Exec(_)
    ));
    assert!(matches!(one("USER <<EOF"), InstructionKind::User(_)));
}

#[test]
fn all_flags_of_run_are_read() {
    let run = run(
        "RUN --mount=type=cache,target=/a --mount=type=secret,id=b --network=none --security=sandbox --device=x.y/z=0,required -- make",
    );
    assert_eq!(run.mounts.len(), 2);
    assert_eq!(run.network.map(|mode| mode.value), Some(NetworkMode::None));
    assert_eq!(
        run.security.map(|mode| mode.value),
        Some(SecurityMode::Sandbox)
    );
    assert_eq!(
        (run.devices[0].name.value.as_str(), run.devices[0].required),
        ("x.y/z=0", true)
    );
    assert_eq!(run.command.shell_text().as_deref(), Some("make"));
}

#[test]
fn bare_and_valued_flags_of_copy_and_add_are_typed() {
    let InstructionKind::Copy(copy) = one(
        "COPY --link --parents --exclude=*.tmp --exclude=x --from=b --chown=1:2 --chmod=u=rwX,go=rX s d/",
    ) else {
        panic!()
    };
    assert!(copy.transfer.link && copy.parents);
    assert_eq!(copy.transfer.excludes.len(), 2);
    assert_eq!(copy.from.expect("given").value, "b");
    let InstructionKind::Add(add) =
        one("ADD --checksum=sha256:00 --keep-git-dir=true --unpack=false http://x /")
    else {
        panic!()
    };
    assert_eq!((add.keep_git_dir, add.unpack), (Some(true), Some(false)));
}

#[test]
fn json_paths_may_hold_blanks() {
    let InstructionKind::Copy(copy) = one(r#"COPY ["a b", "c d"]"#) else {
        panic!()
    };
    assert!(matches!(&copy.transfer.sources[..], [CopySource::Path(word)] if word.raw == "a b"));
    assert_eq!(copy.transfer.destination.raw, "c d");
}

#[test]
fn pairs_are_split_and_keep_their_order() {
    let InstructionKind::Env(env) = one(r#"ENV B="x y" A=a\ b C='$x'"#) else {
        panic!()
    };
    let pairs: Vec<_> = env
        .pairs
        .iter()
        .map(|pair| (pair.name.raw.as_str(), pair.value.raw.as_str()))
        .collect();
    assert_eq!(pairs, [("B", r#""x y""#), ("A", r"a\ b"), ("C", "'$x'")]);
    let InstructionKind::Label(label) = one("LABEL maintainer A B <c>") else {
        panic!()
    };
    assert!(label.legacy && label.pairs[0].value.raw == "A B <c>");
}

#[test]
fn an_arg_declares_several_variables() {
    let parsed = parsed("ARG W=2 X\nARG a-b=1\nFROM a\n");
    assert!(!parsed.has_errors());
    let entries: Vec<_> = parsed
        .file
        .global_args
        .iter()
        .flat_map(|arg| &arg.value.entries)
        .map(|entry| entry.name.raw.as_str())
        .collect();
    assert_eq!(entries, ["W", "X", "a-b"]);
}

#[test]
fn the_backtick_escapes_when_the_directive_says_so() {
    let parsed = parsed("# escape=`\nFROM a\nRUN dir c:\\ `\n  && x\nENV P=a`  b=c\n");
    assert!(!parsed.has_errors(), "{:?}", parsed.diagnostics);
    assert_eq!(parsed.file.directives.escape, EscapeChar::Backtick);
    assert_eq!(parsed.file.stages[0].instructions.len(), 2);
}

#[test]
fn a_comment_and_a_blank_line_do_not_end_a_continuation() {
    let text = "FROM a\nRUN x \\\n# note\n\n  && y\nUSER 1\n";
    assert_eq!(parsed(text).file.stages[0].instructions.len(), 2);
    assert_eq!(rules(text), ["NoEmptyContinuation"]);
}

#[test]
fn spans_behind_a_byte_order_mark_are_exact() {
    let source = Source::new(
        "Containerfile",
        "\u{feff}FROM alpine:3 AS Base\nENV ü=ß b=c\n",
    );
    let parsed = parse(&source);
    let stage = &parsed.file.stages[0];
    assert_eq!(source.slice(stage.from.image.span), "alpine:3");
    let name = stage.from.name.as_ref().expect("named");
    assert_eq!(
        (name.value.as_str(), source.slice(name.span)),
        ("base", "Base")
    );
    let InstructionKind::Env(env) = &stage.instructions[0].kind else {
        panic!()
    };
    assert_eq!(
        (
            source.slice(env.pairs[0].name.span),
            source.slice(env.pairs[0].value.span)
        ),
        ("ü", "ß")
    );
}

#[test]
fn lower_case_and_one_character_arguments_are_fine() {
    assert!(errors("from a\nrun x\ncopy a b\n").is_empty());
    assert!(errors("FROM ${B:+x}\n").is_empty());
}

#[test]
fn typed_instructions_are_typed() {
    let InstructionKind::Healthcheck(Healthcheck::Check(probe)) =
        one("HEALTHCHECK --interval=1m30s --retries=3 --start-interval=500ms CMD [\"/x\"]")
    else {
        panic!()
    };
    assert_eq!(
        (probe.interval, probe.retries),
        (Some(Duration::from_secs(90)), Some(3))
    );
    assert_eq!(
        one("HEALTHCHECK none"),
        InstructionKind::Healthcheck(Healthcheck::None)
    );
    let InstructionKind::Shell(shell) = one(r#"SHELL ["/bin/bash", "-c"]"#) else {
        panic!()
    };
    assert_eq!(shell[0].value, "/bin/bash");
    let InstructionKind::Expose(ports) = one("EXPOSE 8080-8082 53/udp") else {
        panic!()
    };
    assert_eq!(ports.len(), 2);
    let InstructionKind::Volume(volumes) = one(r#"VOLUME ["/a b"]"#) else {
        panic!()
    };
    assert_eq!(volumes[0].raw, "/a b");
}

#[test]
fn onbuild_holds_its_instruction_and_the_trigger_parses_again() {
    let InstructionKind::Onbuild(onbuild) = one("ONBUILD COPY <<EOF /x\nhi\nEOF") else {
        panic!()
    };
    assert_eq!(onbuild.trigger, "COPY <<EOF /x\nhi\nEOF");
    let again = parse_onbuild_trigger(&onbuild.trigger).expect("the trigger");
    let (InstructionKind::Copy(written), InstructionKind::Copy(read)) =
        (&onbuild.inner.kind, &again.kind)
    else {
        panic!()
    };
    assert_eq!(
        written.transfer.destination.raw,
        read.transfer.destination.raw
    );
    for bad in [
        "",
        "FROM a",
        "ONBUILD RUN x",
        "RUN a\nRUN b",
        "MAINTAINER me",
        "COPY x",
    ] {
        assert!(parse_onbuild_trigger(bad).is_err(), "{bad:?}");
    }
    for bad in [
        "ONBUILD",
        "ONBUILD FROM a",
        "ONBUILD ONBUILD RUN x",
        "ONBUILD maintainer me",
        "ONBUILD --x RUN a",
        "ONBUILD COPPY a b",
    ] {
        assert_eq!(errors(&format!("FROM a\n{bad}\n")).len(), 1, "{bad}");
    }
}

#[test]
fn json_of_other_values_is_an_error_and_broken_json_is_shell_form() {
    for line in [
        "CMD [\"a\", 1]",
        "RUN [null]",
        "COPY [\"a\", [\"b\"]]",
        "HEALTHCHECK CMD [{}]",
        "ENTRYPOINT [true]",
    ] {
        assert_eq!(errors(&format!("FROM a\n{line}\n")).len(), 1, "{line}");
    }
    for line in [
        "CMD ['a']",
        "RUN [\"a\" \"b\"]",
        "CMD [\"a\"] x",
        "CMD [ 'a' ]",
    ] {
        assert_eq!(
            rules(&format!("FROM a\n{line}\n")),
            ["MalformedJSONArgs"],
            "{line}"
        );
    }
    // The shell's own brackets are no array.
    for line in ["[ -f x ] && y", "[ \"$a\" = \"b\" ]", "[[ a == b ]]"] {
        assert!(rules(&format!("FROM a\nRUN {line}\n")).is_empty(), "{line}");
    }
}

#[test]
fn no_flag_is_ignored() {
    for (line, message) in [
        ("MAINTAINER --x me", "MAINTAINER has no flag --x"),
        (
            "RUN --mout=type=tmpfs,target=/a x",
            "RUN has no flag --mout",
        ),
        ("COPY --checksum=a b c", "COPY has no flag --checksum"),
        ("ADD --parents a b", "ADD has no flag --parents"),
        ("COPY --link --link a b", "--link is given twice"),
        (
            "COPY --link=maybe a b",
            "--link is true or false, not \"maybe\"",
        ),
        ("COPY --chown a b", "--chown needs a value: --chown=…"),
        (
            "HEALTHCHECK --interval=1s NONE",
            "HEALTHCHECK has no flag --interval",
        ),
        (
            "RUN --network=bridge x",
            "--network is one of default, none, host, not \"bridge\"",
        ),
    ] {
        let found = errors(&format!("FROM a\n{line}\n"));
        assert_eq!(found.first().map(String::as_str), Some(message), "{line}");
    }
}

#[test]
fn a_typo_is_answered_with_what_was_meant() {
    let parsed = parsed("FROM a\nCOPPY a b\nRUN --mout=x y\n");
    let help: Vec<_> = parsed
        .diagnostics
        .iter()
        .filter_map(|found| found.help.as_deref())
        .collect();
    assert_eq!(help, ["did you mean COPY?", "did you mean --mount?"]);
}

#[test]
fn all_errors_come_back_together() {
    let text = "RUN early\nFROM a b\nENV\nFROM c\nCOPY x\nWORKDIR\nVOLUME [\"\"]\nNOPE\nSTOPSIGNAL\nUSER 1\n";
    assert_eq!(errors(text).len(), 8, "{:#?}", errors(text));
    let parsed = parsed(text);
    assert_eq!(parsed.file.stages.len(), 1);
    assert_eq!(parsed.file.stages[0].instructions.len(), 1);
}

#[test]
fn variables_are_refused_where_they_are_never_expanded() {
    assert_eq!(errors("FROM a\nCOPY --from=$x a b\n").len(), 1);
    assert_eq!(errors("FROM a\nRUN --mount=from=$x,target=/a b\n").len(), 1);
    assert!(errors("FROM a\nCOPY --chown=$x --chmod=$y a b\nRUN --mount=type=cache,id=$x,target=$y,uid=$u b\n").is_empty());
}

#[test]
fn s24_a_propagation_of_mounts_is_refused_at_parse_time() {
    for options in ["bind-propagation=rshared,suid", "bind-propagation=x,src=/"] {
        assert_eq!(
            errors(&format!(
                "FROM a\nRUN --mount=type=bind,target=/a,{options} b\n"
            ))
            .len(),
            1
        );
    }
}

#[test]
fn s31_a_foreign_syntax_changes_nothing() {
    let plain = parsed("#\nFROM a\nRUN x\n");
    let foreign = parsed("# syntax=evil.example/frontend:1\nFROM a\nRUN x\n");
    assert!(foreign.diagnostics.is_empty());
    assert_eq!(
        foreign.file.directives.syntax.expect("noted").value,
        "evil.example/frontend:1"
    );
    assert_eq!(plain.file.stages.len(), foreign.file.stages.len());
}

#[test]
fn stage_names_are_checked_and_folded() {
    assert_eq!(
        rules("FROM a AS x\nFROM b AS X\n"),
        ["StageNameCasing", "DuplicateStageName"]
    );
    assert_eq!(rules("FROM a as x\n"), ["FromAsCasing"]);
    assert_eq!(rules("FROM a AS scratch\n"), ["ReservedStageName"]);
    for bad in [
        "FROM a AS 1x",
        "FROM a AS x/y",
        "FROM a AS",
        "FROM a IS x",
        "FROM",
    ] {
        assert_eq!(errors(&format!("{bad}\n")).len(), 1, "{bad}");
    }
}

#[test]
fn names_and_values_have_exact_places_across_continuations() {
    let source = Source::new("Containerfile", "FROM a\nENV a=\"b \\\n  c\" d\\\ne=f g=\n");
    let parsed = parse(&source);
    let InstructionKind::Env(env) = &parsed.file.stages[0].instructions[0].kind else {
        panic!()
    };
    let places: Vec<_> = env
        .pairs
        .iter()
        .map(|pair| (source.slice(pair.name.span), source.slice(pair.value.span)))
        .collect();
    assert_eq!(places, [("a", "\"b \\\n  c\""), ("d\\\ne", "f"), ("g", "")]);
    assert_eq!(env.pairs[1].name.raw, "de");
}

/// Every finding of a text as `line:column severity rule message [help] {fix}`.
fn report(text: &str) -> String {
    let source = Source::new("Containerfile", text);
    let findings = parse(&source).diagnostics.into_iter().map(|found| {
        let place = source.line_col(found.span.start());
        let help = found
            .help
            .map_or_else(String::new, |help| format!(" [{help}]"));
        let fix = found.fix.map_or_else(String::new, |fix| {
            format!(" {{{} -> {}}}", source.slice(fix.span), fix.replacement)
        });
        let rule = found.rule.unwrap_or("-");
        format!(
            "{}:{} {:?} {rule}: {}{help}{fix}",
            place.line, place.column, found.severity, found.message
        )
    });
    findings.collect::<Vec<_>>().join("\n")
}

#[test]
fn findings_read_well_and_point_at_the_place() {
    let text = "FROM a as Web\nENV PATH\nENV A 1\nRUN --mount=type=cach,target=/x --mount=tpye=bind y\nCOPY --chmod=0999 a b\nMAINTAINER Ann \"B\"\nCMD ['x']\n";
    insta::assert_snapshot!(report(text), @r#"
    1:8 Warning FromAsCasing: the case of "as" does not match that of "FROM" {as -> AS}
    1:11 Warning StageNameCasing: stage name "Web" should be lower case {Web -> web}
    2:5 Error -: ENV PATH has no value [write ENV PATH=value]
    3:5 Warning LegacyKeyValueFormat: ENV name=value should be used instead of the old ENV name value {  -> =}
    4:13 Error -: --mount: type=cach is not one of bind, cache, tmpfs, secret and ssh
    4:41 Error -: --mount: unknown option "tpye", did you mean type?
    5:14 Error -: --chmod: mode "0999" is not an octal number up to 7777
    6:1 Warning MaintainerDeprecated: MAINTAINER is deprecated in favour of a label {MAINTAINER Ann "B" -> LABEL org.opencontainers.image.authors="Ann \"B\""}
    7:5 Warning MalformedJSONArgs: this looks like an array in JSON form but is not well-formed, so it is read as plain text [JSON needs double quotes, commas between elements and a closing bracket]
    "#);
}

#[test]
fn a_fix_mends_what_it_was_found_for() {
    let mut text = "FROM a as Web\nENV A 1\nCOPPY --form=b \\\n\n c d\n".to_owned();
    for _ in 0..9 {
        let Some(fix) = parsed(&text)
            .diagnostics
            .into_iter()
            .find_map(|found| found.fix)
        else {
            break;
        };
        text.replace_range(fix.span.range(), &fix.replacement);
    }
    assert_eq!(text, "FROM a AS web\nENV A=1\nCOPY --from=b \\\n c d\n");
    assert!(parsed(&text).diagnostics.is_empty());
}
