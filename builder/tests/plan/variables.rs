//! ARG, ENV and expansion: containerfile.md 1.2.

use rbuild_builder::plan::proxy_environment;

use crate::support::{errors, of, plan, shown};

#[test]
fn env_and_label_are_expanded_and_quotes_removed() {
    let planned = plan(
        "FROM scratch\nENV a=x b='$a' c=\"y z\"\nENV d=$a-${a:+set}-${none:-no}\nLABEL l=$d\n",
    );
    assert_eq!(planned.env(), ["a=x", "b=$a", "c=y z", "d=x-set-no"]);
    assert_eq!(planned.config().labels["l"], "x-set-no");
}

#[test]
fn values_of_one_line_see_the_environment_before_it() {
    let planned = plan("FROM scratch\nENV a=old\nENV a=new b=$a\n");
    assert_eq!(planned.env(), ["a=new", "b=old"]);
}

#[test]
fn entries_of_one_arg_see_those_before_them_as_in_buildkit() {
    let planned = plan("ARG x=1 y=$x\nFROM scratch\nARG x y a=2 b=$a\nENV all=$x$y$b\n");
    assert_eq!(planned.env(), ["all=112"]);
}

#[test]
fn a_repeated_key_keeps_its_place_and_takes_the_last_value() {
    let planned = plan("FROM scratch\nENV a=1 b=2\nENV a=3\n");
    assert_eq!(planned.env(), ["a=3", "b=2"]);
}

#[test]
fn the_old_form_takes_the_rest_of_the_line() {
    let planned = plan("FROM scratch\nENV a b c\nLABEL l x  y\n");
    assert_eq!(planned.env(), ["a=b c"]);
    assert_eq!(planned.history()[0], "ENV a b c");
}

#[test]
fn a_global_argument_is_seen_in_a_stage_only_when_declared_again() {
    let planned = plan("ARG v=1\nFROM scratch\nENV before=$v\nARG v\nENV after=$v\n");
    assert_eq!(planned.env(), ["before=", "after=1"]);
}

#[test]
fn global_arguments_name_base_images_and_platforms() {
    let text =
        "ARG tag=12\nARG base=debian:${tag}\nARG p=linux/arm64\nFROM --platform=$p ${base} AS x\n";
    assert_eq!(of(text).rounds(), [["debian:12"]]);
    assert_eq!(of(text).arg("tag", "13").rounds(), [["debian:13"]]);
}

#[test]
fn the_command_line_beats_every_default_and_the_global_value() {
    let text = "ARG v=1\nFROM scratch\nARG v\nARG w=2\nENV e=$v$w\n";
    assert_eq!(plan(text).env(), ["e=12"]);
    assert_eq!(of(text).arg("v", "8").arg("w", "9").plan().env(), ["e=89"]);
}

#[test]
fn a_stage_default_beats_the_global_value() {
    let planned = plan("ARG v=1\nFROM scratch\nARG v=2\nENV e=$v\n");
    assert_eq!(planned.env(), ["e=2"]);
}

#[test]
fn env_beats_arg_in_every_order() {
    for text in [
        "FROM scratch\nENV v=env\nARG v=arg\nENV e=$v\nRUN [\"x\"]\n",
        "FROM scratch\nARG v=arg\nENV v=env\nENV e=$v\nRUN [\"x\"]\n",
    ] {
        let planned = of(text).arg("v", "command line").plan();
        assert_eq!(planned.env(), ["v=env", "e=env"]);
        assert!(planned.run(0).args.is_empty());
    }
}

#[test]
fn arguments_are_inherited_from_the_stage_that_a_stage_starts_from() {
    let planned = plan("FROM scratch AS a\nARG v=1\nFROM a\nENV e=$v\nRUN [\"x\"]\n");
    assert_eq!(planned.env(), ["e=1"]);
    assert_eq!(shown(&planned.run(0).args), ["v=1"]);
}

#[test]
fn an_argument_without_a_value_is_unset_and_keeps_an_older_one() {
    let planned = plan("FROM scratch\nARG v\nENV a=${v-unset}\nARG w=1\nARG w\nENV b=$w\n");
    assert_eq!(planned.env(), ["a=unset", "b=1"]);
}

#[test]
fn a_default_that_does_not_count_is_not_expanded() {
    let text = "FROM scratch\nARG v=${needed:?missing}\nENV e=$v\n";
    assert_eq!(of(text).arg("v", "1").plan().env(), ["e=1"]);
    assert_eq!(
        errors(text),
        ["${needed:?missing} | cannot expand needed: missing"]
    );
}

#[test]
fn platform_arguments_are_global_until_declared() {
    let planned = plan(
        "FROM scratch\nENV before=$TARGETARCH\nARG TARGETARCH BUILDPLATFORM TARGETVARIANT\nENV a=$TARGETARCH b=$BUILDPLATFORM c=[$TARGETVARIANT]\n",
    );
    assert_eq!(
        planned.env(),
        ["before=", "a=amd64", "b=linux/arm64", "c=[]"]
    );
    let arm = of(
        "FROM --platform=$BUILDPLATFORM x\nARG TARGETPLATFORM TARGETVARIANT TARGETSTAGE\nENV e=$TARGETPLATFORM,$TARGETVARIANT,$TARGETSTAGE\n",
    );
    let planned = arm.platform("linux/arm/v7").plan();
    assert_eq!(planned.env(), ["e=linux/arm/v7,v7,default"]);
    assert_eq!(planned.plan.images[0].image.config().architecture, "arm64");
}

#[test]
fn a_default_hides_the_automatic_platform_as_in_buildkit() {
    let text = "FROM scratch\nARG TARGETARCH=riscv64\nENV e=$TARGETARCH\n";
    assert_eq!(plan(text).env(), ["e=riscv64"]);
    assert_eq!(
        of(text).arg("TARGETARCH", "s390x").plan().env(),
        ["e=s390x"]
    );
    let global = "ARG TARGETARCH=riscv64\nFROM scratch\nARG TARGETARCH\nENV e=$TARGETARCH\n";
    assert_eq!(plan(global).env(), ["e=riscv64"]);
}

#[test]
fn targetstage_is_the_target() {
    let text = "FROM scratch AS a\nARG TARGETSTAGE\nENV e=$TARGETSTAGE\nFROM scratch AS b\n";
    assert_eq!(of(text).target("a").plan().env(), ["e=a"]);
}

#[test]
fn proxy_arguments_reach_run_only_when_declared() {
    let text = "FROM scratch\nRUN [\"x\"]\nARG HTTP_PROXY\nRUN [\"x\"]\nENV e=$http_proxy\n";
    let planned = of(text).arg("HTTP_PROXY", "p").arg("no_proxy", "n").plan();
    assert!(planned.run(0).args.is_empty());
    assert_eq!(planned.history()[0], "0: RUN x");
    assert_eq!(shown(&planned.run(1).args), ["HTTP_PROXY=p"]);
    assert_eq!(planned.env(), ["e="]);
    assert!(planned.warnings.is_empty());
}

#[test]
fn proxies_are_given_in_both_cases() {
    let args = [("http_proxy", "a"), ("ALL_PROXY", "b"), ("OTHER", "c")];
    let args = args
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let given = shown(&proxy_environment(&args));
    assert_eq!(
        given,
        ["HTTP_PROXY=a", "http_proxy=a", "ALL_PROXY=b", "all_proxy=b"]
    );
}

#[test]
fn an_undeclared_build_arg_only_warns() {
    let text = "ARG a\nFROM scratch AS x\nARG b\nFROM scratch\nONBUILD ARG c\n";
    let asked = [
        "a",
        "b",
        "c",
        "d",
        "BUILDKIT_INLINE_CACHE",
        "TARGETARCH",
        "SOURCE_DATE_EPOCH",
    ];
    let planned = asked
        .iter()
        .fold(of(text), |of, name| of.arg(name, "1"))
        .plan();
    assert_eq!(
        planned.warned(),
        [
            "--build-arg BUILDKIT_INLINE_CACHE steers BuildKit and does nothing here",
            "no ARG declares --build-arg d, so it does nothing"
        ]
    );
}

#[test]
fn source_date_epoch_reaches_a_declared_argument() {
    let text = "FROM scratch\nARG SOURCE_DATE_EPOCH\nENV e=$SOURCE_DATE_EPOCH\n";
    assert_eq!(of(text).epoch(7).plan().env(), ["e=7"]);
    assert_eq!(
        of(text).epoch(7).arg("SOURCE_DATE_EPOCH", "8").plan().env(),
        ["e=8"]
    );
}

#[test]
fn run_cmd_and_entrypoint_are_not_expanded() {
    let planned = plan(
        "FROM scratch\nENV a=1\nRUN echo $a\nCMD echo $a\nENTRYPOINT [\"$a\"]\nHEALTHCHECK CMD $a\n",
    );
    assert_eq!(planned.run(0).argv, ["/bin/sh", "-c", "echo $a"]);
    assert_eq!(planned.config().entrypoint.as_ref().unwrap(), &["$a"]);
    assert_eq!(
        planned.config().healthcheck.as_ref().unwrap().test,
        ["CMD-SHELL", "$a"]
    );
}

#[test]
fn all_that_the_reference_names_is_expanded() {
    let text = "FROM scratch\nENV d=/data p=80-81 u=5:6 s=INT m=0640\nWORKDIR $d\nUSER $u\nEXPOSE $p/udp \"$p\"\nVOLUME $d/v\nSTOPSIGNAL SIG$s\nCOPY --chown=$u --chmod=$m --exclude=$s $d ./$m/\n";
    let planned = plan(text);
    let config = planned.config();
    assert_eq!(
        (config.working_dir.as_str(), config.user.as_str()),
        ("/data", "5:6")
    );
    assert_eq!(
        config.exposed_ports.keys().collect::<Vec<_>>(),
        ["80/tcp", "80/udp", "81/tcp", "81/udp"]
    );
    assert_eq!(config.volumes.keys().collect::<Vec<_>>(), ["/data/v"]);
    assert_eq!(config.stop_signal.as_deref(), Some("SIGINT"));
    let copy = planned.copy(1);
    assert_eq!(
        (copy.chown.as_deref(), copy.chmod.as_deref()),
        (Some("5:6"), Some("0640"))
    );
    assert_eq!(
        (&copy.excludes[..], &copy.sources[..]),
        (&["INT".to_owned()][..], &["/data".to_owned()][..])
    );
    assert_eq!(copy.destination, "./0640/");
}

#[test]
fn words_are_split_only_where_no_quote_keeps_them() {
    let planned = plan("FROM scratch\nENV p=\"1 2\"\nEXPOSE $p 3\n");
    assert_eq!(planned.config().exposed_ports.len(), 3);
    let found = errors("FROM scratch\nENV p=\"1 2\"\nEXPOSE \"$p\"\n");
    assert_eq!(found, ["\"$p\" | \"1 2\" is not a port of 0 to 65535"]);
}

#[test]
fn a_malformed_word_is_an_error_at_its_place() {
    assert_eq!(
        errors("FROM scratch\nENV a=${b\nLABEL c=${d:#e}\nWORKDIR \"x\n"),
        [
            "${b | cannot find the } that closes a substitution",
            "${d:#e} | cannot understand the operator \":#\" of a substitution",
            "\"x | cannot find the \" that closes the quote",
        ]
    );
}

#[test]
fn a_name_that_expands_to_nothing_is_an_error() {
    assert_eq!(
        errors("FROM scratch\nENV $x=1\n"),
        ["$x | the name of an ENV is blank after expansion"]
    );
    assert_eq!(
        errors("FROM scratch\nVOLUME $x\n"),
        ["$x | the path of a VOLUME is blank after expansion"]
    );
}

#[test]
fn the_other_escape_character_is_used_in_words() {
    let planned = plan("# escape=`\nFROM scratch\nENV a=x\nENV b=`$a c=c:\\$a\n");
    assert_eq!(planned.env(), ["a=x", "b=$a", "c=c:\\x"]);
}

#[test]
fn what_no_environment_can_hold_is_an_error() {
    assert_eq!(
        errors("FROM scratch\nARG n=a=b\nENV $n=1\nARG $n\n"),
        [
            "$n | the name of an ENV holds an equals sign: \"a=b\"",
            "$n | the name of an ARG holds an equals sign: \"a=b\"",
        ]
    );
    for text in ["ENV a=x\0", "WORKDIR /\0", "RUN x\0", "COPY a\0 /"] {
        let found = errors(&format!("FROM scratch\n{text}\n"));
        assert!(found[0].contains("NUL"), "{found:?}");
    }
}
