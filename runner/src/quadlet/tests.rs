//! Units as texts.

use image::Healthcheck;

use super::*;

fn request() -> QuadletRequest {
    QuadletRequest {
        name: "web".parse().unwrap(),
        image: "registry.example/team/web:1".to_owned(),
        config: ContainerConfig::default(),
        ids: Some(Ids {
            uid: 65_532,
            gid: 65_532,
        }),
        user: None,
        entrypoint: None,
        args: Vec::new(),
        env: Vec::new(),
        workdir: None,
        publish: Vec::new(),
        volumes: Vec::new(),
        named: Vec::new(),
        tmpfs: Vec::new(),
        read_only: true,
        userns: None,
        cap_add: Vec::new(),
        network: None,
        hostname: None,
        init: false,
        memory: None,
        pids_limit: None,
        stop_timeout: None,
        restart: RestartPolicy::OnFailure(None),
        auto_update: None,
        volume_units: false,
        home: Some("/home/me".into()),
        first_port: 1024,
    }
}

fn settings_of(request: &QuadletRequest) -> Vec<String> {
    let text = &request.units().unwrap()[0].text;
    let container = text.split("[Container]\n").nth(1).unwrap();
    let container = container.split("\n[Service]").next().unwrap();
    let settings = container.lines().filter(|line| !line.starts_with('#'));
    settings
        .map(str::to_owned)
        .filter(|line| !line.is_empty())
        .collect()
}

#[test]
fn an_image_that_says_nothing_more_gets_what_needs_no_proof() {
    let expected = [
        "Image=registry.example/team/web:1",
        "UserNS=keep-id:uid=65532,gid=65532",
        "DropCapability=all",
        "NoNewPrivileges=true",
        "ReadOnly=true",
    ];
    assert_eq!(settings_of(&request()), expected);
    let command = request().podman_run().unwrap();
    assert_eq!(
        command,
        "podman run -d --replace --rm --name web --userns=keep-id:uid=65532,gid=65532 --cap-drop=all \
         --security-opt=no-new-privileges --read-only registry.example/team/web:1"
    );
    let root = QuadletRequest {
        ids: Some(Ids { uid: 0, gid: 0 }),
        ..request()
    };
    assert!(settings_of(&root).contains(&"UserNS=nomap".to_owned()));
}

#[test]
fn what_is_asked_for_is_in_the_unit_and_in_the_command() {
    let asked = QuadletRequest {
        env: vec![("A".into(), "100% \"of\"\n$HOME".into())],
        args: vec!["serve".into(), "a b".into()],
        volumes: vec![Volume {
            source: "/home/me/my data".into(),
            target: "/data".into(),
            read_only: true,
            chown: false,
        }],
        publish: vec![("80:80".into(), "80:80".parse().unwrap())],
        memory: Some("64m".into()),
        user: Some("5:6".into()),
        ..request()
    };
    let settings = settings_of(&asked);
    for line in [
        "User=5:6",
        "Environment=\"A=100%% \\\"of\\\"\\n$$HOME\"",
        "Exec=serve \"a b\"",
        "Volume=%h/my data:/data:ro",
        "PublishPort=80:80",
        "Sysctl=net.ipv4.ip_unprivileged_port_start=80",
        "PodmanArgs=--memory=64m",
    ] {
        assert!(
            settings.contains(&line.to_owned()),
            "{line} is not in {settings:#?}"
        );
    }
    let text = asked.units().unwrap()[0].text.clone();
    assert!(
        text.contains(
            "# Port 80 of this machine is below net.ipv4.ip_unprivileged_port_start (1024)"
        )
    );
    let command = asked.podman_run().unwrap();
    for words in [
        "--user=5:6",
        "--env=$'A=100% \"of\"\\n$HOME'",
        "--volume=\"$HOME\"'/my data:/data:ro'",
        "--memory=64m",
        "web:1 serve 'a b'",
    ] {
        assert!(command.contains(words), "{words} is not in {command}");
    }
}

#[test]
fn a_health_check_runs_without_a_shell_where_the_image_says_so() {
    let of = |test: &[&str]| {
        let config = ContainerConfig {
            healthcheck: Some(Healthcheck {
                test: test.iter().map(|word| (*word).to_owned()).collect(),
                interval: 5_000_000_000,
                ..Healthcheck::default()
            }),
            ..ContainerConfig::default()
        };
        let settings = settings_of(&QuadletRequest {
            config,
            ..request()
        });
        settings
            .into_iter()
            .find(|line| line.starts_with("HealthCmd="))
    };
    assert_eq!(of(&["CMD", "/health"]).unwrap(), "HealthCmd=CMD /health");
    assert_eq!(
        of(&["CMD", "/h", "a b", "$1"]).unwrap(),
        "HealthCmd=[\"/h\",\"a b\",\"$$1\"]"
    );
    assert_eq!(
        of(&["CMD-SHELL", "test -f /x"]).unwrap(),
        "HealthCmd=test -f /x"
    );
    assert_eq!(of(&["NONE"]), None);
}

#[test]
fn volumes_of_the_image_get_names_and_units_of_their_own_where_asked() {
    let mut config = ContainerConfig::default();
    config
        .volumes
        .insert("/var/lib/app".to_owned(), image::Empty {});
    config
        .volumes
        .insert("/covered".to_owned(), image::Empty {});
    let asked = QuadletRequest {
        config,
        tmpfs: vec!["/covered:size=1m".parse().unwrap()],
        volume_units: true,
        ..request()
    };
    let units = asked.units().unwrap();
    assert_eq!(units.len(), 2);
    assert_eq!(units[1].file, "web-app.volume");
    let settings = settings_of(&asked);
    assert!(
        settings.contains(&"Volume=web-app.volume:/var/lib/app".to_owned()),
        "{settings:?}"
    );
    assert!(
        settings.contains(&"Tmpfs=/covered:size=1048576".to_owned()),
        "{settings:?}"
    );
}

#[test]
fn a_value_that_no_unit_can_hold_is_refused_by_name() {
    let asked = QuadletRequest {
        workdir: Some("/a\nExecStartPre=/bin/evil".into()),
        ..request()
    };
    let refused = asked.units().unwrap_err();
    assert!(refused.to_string().contains("WorkingDir"), "{refused}");
    let asked = QuadletRequest {
        args: vec!["".into(), "a".into()],
        ..request()
    };
    assert_eq!(asked.units(), Err(QuadletError::EmptyArgument));
    assert!(asked.podman_run().unwrap().ends_with("web:1 '' a"));
}
