//! The instructions that configure, the history and the labels: containerfile.md 1.3 and 1.7.

use image::{Healthcheck, ImageConfig};
use rbuild_builder::{RunNetwork, StepKind};

use crate::support::{errors, of, plan};

#[test]
fn shell_forms_get_the_shell_in_front() {
    let planned = plan(
        "FROM scratch\nCMD a b\nSHELL [\"/bin/bash\", \"-eu\", \"-c\"]\nENTRYPOINT c d\nRUN e\n",
    );
    assert_eq!(
        planned.config().entrypoint.as_ref().unwrap(),
        &["/bin/bash", "-eu", "-c", "c d"]
    );
    assert_eq!(planned.run(0).argv, ["/bin/bash", "-eu", "-c", "e"]);
    assert_eq!(planned.config().shell, ["/bin/bash", "-eu", "-c"]);
}

#[test]
fn the_shell_of_the_base_image_counts() {
    let planned = of("FROM x\nRUN y\n")
        .image("x:latest", |config| {
            config.config.shell = vec!["/sh".into()]
        })
        .plan();
    assert_eq!(planned.run(0).argv, ["/sh", "y"]);
}

#[test]
fn entrypoint_clears_an_inherited_cmd_and_keeps_its_own() {
    let base = |config: &mut ImageConfig| config.config.cmd = Some(vec!["inherited".into()]);
    let planned = of("FROM x\nENTRYPOINT [\"e\"]\n")
        .image("x:latest", base)
        .plan();
    assert_eq!(planned.config().cmd, None);
    let planned = of("FROM x\nCMD [\"c\"]\nENTRYPOINT [\"e\"]\n")
        .image("x:latest", base)
        .plan();
    assert_eq!(planned.config().cmd.as_ref().unwrap(), &["c"]);
    let planned = plan("FROM scratch AS a\nCMD [\"c\"]\nFROM a\nENTRYPOINT [\"e\"]\n");
    assert_eq!(planned.config().cmd, None);
    let planned = plan("FROM scratch\nENTRYPOINT [\"e\"]\nCMD [\"c\"]\n");
    assert_eq!(planned.config().cmd.as_ref().unwrap(), &["c"]);
}

#[test]
fn the_last_cmd_wins_and_an_empty_one_is_none() {
    assert_eq!(
        plan("FROM scratch\nCMD [\"a\"]\nCMD [\"b\"]\n")
            .config()
            .cmd
            .as_ref()
            .unwrap(),
        &["b"]
    );
    assert_eq!(
        plan("FROM scratch\nCMD [\"a\"]\nCMD []\n").config().cmd,
        None
    );
}

#[test]
fn workdir_is_relative_to_the_one_before_and_clean() {
    let planned =
        plan("FROM scratch\nWORKDIR a\nWORKDIR b/../c/\nUSER 7\nWORKDIR /d//e\nWORKDIR /\n");
    let steps: Vec<_> = planned
        .target()
        .steps
        .iter()
        .map(|step| (step.step.workdir.as_str(), step.step.user.as_str()))
        .collect();
    assert_eq!(steps, [("/a", ""), ("/a/c", ""), ("/d/e", "7")]);
    assert!(
        planned
            .target()
            .steps
            .iter()
            .all(|step| step.step.kind == StepKind::Workdir)
    );
    assert_eq!(planned.config().working_dir, "/");
    assert_eq!(
        planned.history(),
        [
            "0: WORKDIR /a",
            "1: WORKDIR /a/c",
            "USER 7",
            "2: WORKDIR /d/e",
            "WORKDIR /"
        ]
    );
}

#[test]
fn the_base_images_workdir_is_where_relative_paths_start() {
    let base = |config: &mut ImageConfig| config.config.working_dir = "srv/./app/".into();
    let planned = of("FROM x\nWORKDIR y\nCOPY a b\nCOPY a /b\n")
        .image("x:latest", base)
        .plan();
    assert_eq!(planned.config().working_dir, "/srv/app/y");
    assert_eq!(planned.step(1).step.workdir, "/srv/app/y");
    assert_eq!(planned.step(2).step.workdir, "/");
}

#[test]
fn user_is_kept_verbatim_with_its_place() {
    let planned = plan("FROM scratch\nARG U=10\nUSER ${U}:staff\nRUN [\"x\"]\n");
    assert_eq!(planned.config().user, "10:staff");
    assert_eq!(planned.step(0).step.user, "10:staff");
    assert_eq!(
        planned.target().user_label.as_ref().unwrap().text,
        "USER ${U}:staff"
    );
    let child = plan("FROM scratch AS a\nUSER 1\nFROM a\n");
    assert_eq!(
        child.target().user_label.as_ref().unwrap().span,
        Some((18, 24))
    );
}

#[test]
fn expose_knows_ranges_and_protocols() {
    let planned = plan("FROM scratch\nEXPOSE 8080-8082 53/UDP\nEXPOSE 53/udp\n");
    let ports: Vec<_> = planned.config().exposed_ports.keys().collect();
    assert_eq!(ports, ["53/udp", "8080/tcp", "8081/tcp", "8082/tcp"]);
    assert!(
        errors("FROM scratch\nEXPOSE 127.0.0.1:80:80\n")[0].contains("maps a port of the host")
    );
    assert!(errors("FROM scratch\nEXPOSE 70000\n")[0].contains("is not a port"));
}

#[test]
fn stopsignal_is_validated_after_expansion() {
    assert_eq!(
        plan("FROM scratch\nSTOPSIGNAL 15\n")
            .config()
            .stop_signal
            .as_deref(),
        Some("15")
    );
    assert_eq!(
        errors("FROM scratch\nARG S=WAT\nSTOPSIGNAL $S\n"),
        ["$S | \"WAT\" is not a signal"]
    );
}

#[test]
fn healthchecks_are_written_as_docker_does() {
    let planned = plan(
        "FROM scratch\nHEALTHCHECK --interval=1m --timeout=2s --start-period=3s --start-interval=4s --retries=5 CMD [\"p\", \"q\"]\n",
    );
    let check = planned.config().healthcheck.clone().unwrap();
    let seconds = 1_000_000_000;
    let expected = Healthcheck {
        test: ["CMD", "p", "q"].map(str::to_owned).to_vec(),
        interval: 60 * seconds,
        timeout: 2 * seconds,
        start_period: 3 * seconds,
        start_interval: 4 * seconds,
        retries: 5,
        ..Healthcheck::default()
    };
    assert_eq!(check, expected);
    let none = plan("FROM scratch\nHEALTHCHECK NONE\n");
    assert_eq!(none.config().healthcheck.as_ref().unwrap().test, ["NONE"]);
}

#[test]
fn maintainer_is_the_author() {
    assert_eq!(
        plan("FROM scratch\nMAINTAINER a b <c@d>\n")
            .target()
            .config
            .author
            .as_deref(),
        Some("a b <c@d>")
    );
}

#[test]
fn labels_of_the_command_line_come_last_and_only_on_the_target() {
    let planned = of("FROM scratch AS a\nLABEL x=file\nFROM a\n")
        .label("x", "line")
        .label("y", "z")
        .plan();
    assert_eq!(planned.config().labels["x"], "line");
    assert_eq!(planned.config().labels["y"], "z");
    assert_eq!(planned.stage("a").config.config.labels["x"], "file");
}

#[test]
fn labels_of_the_base_image_may_be_left_behind_and_those_of_the_file_stay() {
    let asked = || {
        of("FROM x AS a\nLABEL own=1\nFROM a\nLABEL b=file\n")
            .image("x:latest", |config| {
                let pairs = ["a", "b", "c"].map(|name| (name.into(), "base".into()));
                config.config.labels = pairs.into();
            })
            .label("a", "line")
    };
    let labels = |asked: crate::support::Asked| {
        let planned = asked.plan();
        let labels = planned.config().labels.iter();
        labels.map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>()
    };
    assert_eq!(labels(asked()), ["a=line", "b=file", "c=base", "own=1"]);
    let bare = asked().without_labels_of_the_base();
    assert_eq!(labels(bare), ["a=line", "b=file", "own=1"]);
}

#[test]
fn a_missing_path_is_added_as_in_buildkit() {
    const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(plan("FROM scratch\n").config().env, [PATH]);
    assert_eq!(
        plan("FROM scratch\nENV PATH=/x:$PATH\n").config().env,
        ["PATH=/x:".to_owned() + &PATH[5..]]
    );
    let own = of("FROM x\n")
        .image("x:latest", |config| {
            config.config.env = vec!["PATH=/own".into()]
        })
        .plan();
    assert_eq!(own.config().env, ["PATH=/own"]);
}

#[test]
fn s39_only_pairs_of_the_base_environment_are_taken() {
    let entries = ["PATH=/p", "SECRET", "A*", "*", "=x", "", "OK=1", "OK=2"];
    let base = |config: &mut ImageConfig| config.config.env = entries.map(str::to_owned).to_vec();
    let planned = of("FROM x\nENV t=$OK\n").image("x:latest", base).plan();
    assert_eq!(planned.config().env, ["PATH=/p", "OK=2", "t=2"]);
    assert!(
        planned.warned()[0].contains("5 environment entries"),
        "{:?}",
        planned.warned()
    );
}

#[test]
fn a_base_image_hands_down_its_configuration_but_not_its_origin() {
    let base = |config: &mut ImageConfig| {
        config.created = Some("2020-01-01T00:00:00Z".into());
        config.author = Some("them".into());
        config.other.insert("docker_version".into(), "20".into());
        config.config.other.insert("Hostname".into(), "abc".into());
        config.config.other.insert("StopTimeout".into(), 3.into());
        config.config.user = "12".into();
        config.config.labels.insert("a".into(), "b".into());
        config.config.stop_signal = Some("SIGINT".into());
    };
    let planned = of("FROM x\n").image("x:latest", base).plan();
    let config = &planned.target().config;
    assert_eq!(
        (config.created.as_ref(), config.author.as_deref()),
        (None, Some("them"))
    );
    assert!(config.other.is_empty());
    assert_eq!(
        config.config.other.keys().collect::<Vec<_>>(),
        ["StopTimeout"]
    );
    assert_eq!(
        (
            config.config.user.as_str(),
            config.config.stop_signal.as_deref()
        ),
        ("12", Some("SIGINT"))
    );
    assert_eq!(planned.target().user_label, None);
}

#[test]
fn the_platform_is_written_into_the_configuration() {
    let planned = of("FROM scratch\n").platform("linux/arm/v7").plan();
    let config = &planned.target().config;
    assert_eq!(
        (
            config.os.as_str(),
            config.architecture.as_str(),
            config.variant.as_deref()
        ),
        ("linux", "arm", Some("v7"))
    );
}

#[test]
fn every_layer_and_no_other_history_item_names_its_step() {
    let text = "FROM scratch\nARG a=1 b\nENV x=1 y=2\nRUN z\nCOPY --chmod=644 s d\nADD s /e/\nVOLUME /v /w\nLABEL l=m\nCMD [\"q\", \"r s\"]\nEXPOSE 1\nSTOPSIGNAL 9\nHEALTHCHECK NONE\nSHELL [\"sh\"]\nONBUILD RUN w\n";
    assert_eq!(
        plan(text).history(),
        [
            "ARG a=1 b",
            "ENV x=1 y=2",
            "0: RUN |1 a=1 /bin/sh -c z",
            "1: COPY --chmod=644 s d",
            "2: ADD s /e/",
            "VOLUME [/v /w]",
            "LABEL l=m",
            "CMD [\"q\" \"r s\"]",
            "EXPOSE [1/tcp]",
            "STOPSIGNAL 9",
            "HEALTHCHECK [NONE]",
            "SHELL [sh]",
        ]
    );
}

#[test]
fn run_keeps_its_network_and_its_script() {
    let planned = plan(
        "FROM scratch\nRUN --network=none a\nRUN <<EOF\n#!/x\n$y\nEOF\nRUN <<-EOF\n\tb\nEOF\nRUN cat <<A - <<B\n1\nA\n2\nB\n",
    );
    assert_eq!(planned.run(0).network, RunNetwork::None);
    assert_eq!(
        (planned.run(1).script.as_deref(), planned.run(1).argv.len()),
        (Some("#!/x\n$y\n"), 0)
    );
    assert_eq!(planned.run(2).argv, ["/bin/sh", "-c", "b\n"]);
    assert_eq!(planned.run(3).argv[2], "cat <<A - <<B\n1\nA\n2\nB");
}

#[test]
fn a_run_without_a_program_is_an_error() {
    assert_eq!(
        errors("FROM scratch\nRUN []\n"),
        ["RUN [] | RUN names no program"]
    );
}

#[test]
fn run_sees_env_and_arguments_apart() {
    let planned = plan("FROM scratch\nARG b=2 a=1\nENV PATH=/p c=3\nRUN [\"x\"]\n");
    let step = &planned.step(0).step;
    assert_eq!(crate::support::shown(&step.env), ["PATH=/p", "c=3"]);
    assert_eq!(crate::support::shown(&planned.run(0).args), ["b=2", "a=1"]);
}

#[test]
fn labels_of_steps_carry_text_and_place_and_steps_do_not() {
    let planned = plan("FROM scratch\nRUN a \\\n  # note\n  b\n");
    let label = &planned.step(0).label;
    assert_eq!(label.span, Some((13, 33)));
    assert!(label.text.starts_with("RUN a") && !label.text.contains("note"));
    let other = plan("# moved\nFROM scratch\nRUN a \\\n  b\n");
    assert_eq!(other.step(0).step, planned.step(0).step);
}
