//! What came of commands, and what an image's configuration says, compared with what was expected. The invariant: pure; each complaint
//! names what was wanted and what was there.

use image::ContainerConfig;
use sandbox::trial::{Done, Ended};

use super::config::{CommandTest, Contents, HttpTest, MetadataTest, Variable};

/// So much of an output is shown.
const SHOWN: usize = 400;

/// Replaces `$NAME` and `${NAME}` by the image's variables, unknown ones by nothing, as Go's `os.Expand` does.
pub fn expand(text: &str, env: &[String]) -> String {
    let value = |name: &str| {
        let mut pairs = env.iter().rev().filter_map(|pair| pair.split_once('='));
        pairs
            .find(|(key, _)| *key == name)
            .map_or("", |(_, value)| value)
    };
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        expanded.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let (name, after) = match rest.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
            Some((name, after)) => (name, after),
            None => {
                let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
                let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
                rest.split_at(end)
            }
        };
        match name.is_empty() {
            // A sign that begins no name is itself.
            true => expanded.push('$'),
            false => expanded.push_str(value(name)),
        }
        rest = after;
    }
    expanded + rest
}

/// What is wrong with how a command went.
pub fn command(test: &CommandTest, done: &Done) -> Vec<String> {
    let mut wrong = Vec::new();
    match done.ended {
        Ended::NotStarted(errno) => {
            let errno = sandbox::Errno::from_raw(errno);
            let program = test.argv.first().map_or("", String::as_str);
            return vec![format!("execute {program}: {}", errno.desc())];
        }
        Ended::TimedOut => wrong.push(format!(
            "it still ran after {} ms, and was killed",
            done.millis
        )),
        Ended::Running => wrong.push("it still runs".to_owned()),
        Ended::Exited(_) | Ended::Signaled(_) => {
            let code = match done.ended {
                Ended::Signaled(signal) => i64::from(128 + signal),
                Ended::Exited(code) => i64::from(code),
                _ => 0,
            };
            if code != test.exit_code {
                let error = shown(&done.stderr);
                wrong.push(format!(
                    "exit code {code}, expected {}; standard error: {error}",
                    test.exit_code
                ));
            }
        }
    }
    wrong.extend(contents(&test.stdout, &done.stdout, "the output"));
    wrong.extend(contents(&test.stderr, &done.stderr, "standard error"));
    wrong
}

/// What is wrong with a document that was asked for.
pub fn http(test: &HttpTest, done: &Done) -> Vec<String> {
    let mut wrong = Vec::new();
    match done.ended {
        Ended::Exited(status) if i64::from(status) == test.status => {}
        Ended::Exited(status) => wrong.push(format!("status {status}, expected {}", test.status)),
        Ended::NotStarted(errno) => {
            let errno = sandbox::Errno::from_raw(errno);
            return vec![format!(
                "ask port {} for {}: {}",
                test.port,
                test.path,
                errno.desc()
            )];
        }
        _ => wrong.push("nobody answered".to_owned()),
    }
    wrong.extend(contents(&test.contents, &done.stdout, "the document"));
    wrong
}

/// What is wrong with a text.
pub(super) fn contents(wanted: &Contents, text: &str, what: &str) -> Vec<String> {
    let absent = wanted
        .expected
        .iter()
        .filter(|pattern| !pattern.is_match(text));
    let absent = absent.map(|pattern| {
        format!(
            "{what} has no {pattern:?}: {}",
            shown(text),
            pattern = pattern.as_str()
        )
    });
    let found = wanted.excluded.iter().filter_map(|pattern| {
        let found = pattern.find(text)?;
        Some(format!(
            "{what} has {:?}: {:?}",
            pattern.as_str(),
            found.as_str()
        ))
    });
    absent.chain(found).collect()
}

fn shown(text: &str) -> String {
    let text = text.trim_end();
    match text.char_indices().nth(SHOWN) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}... ({} bytes)", &text[..end], text.len()),
    }
}

/// What is wrong with an image's configuration.
pub fn metadata(test: &MetadataTest, config: &ContainerConfig) -> Vec<String> {
    let mut wrong = Vec::new();
    let env: Vec<(&str, &str)> = config
        .env
        .iter()
        .filter_map(|pair| pair.split_once('='))
        .collect();
    let variable = |key: &str| {
        env.iter()
            .rev()
            .find(|(own, _)| *own == key)
            .map(|(_, value)| *value)
    };
    wrong.extend(
        test.env
            .iter()
            .filter_map(|wanted| differs("variable", wanted, variable(&wanted.key))),
    );
    let bound = test
        .unbound_env
        .iter()
        .filter(|key| variable(key).is_some());
    wrong.extend(bound.map(|key| format!("the variable {key} is set")));
    let label = |key: &str| config.labels.get(key).map(String::as_str);
    wrong.extend(
        test.labels
            .iter()
            .filter_map(|wanted| differs("label", wanted, label(&wanted.key))),
    );
    for (what, wanted, own) in [
        ("entry point", &test.entrypoint, &config.entrypoint),
        ("command", &test.cmd, &config.cmd),
    ] {
        let own = own.clone().unwrap_or_default();
        if let Some(wanted) = wanted.as_ref().filter(|wanted| **wanted != own) {
            wrong.push(format!("the {what} is {own:?}, expected {wanted:?}"));
        }
    }
    for (what, wanted, own) in [
        ("working directory", &test.workdir, &config.working_dir),
        ("user", &test.user, &config.user),
    ] {
        if let Some(wanted) = wanted.as_ref().filter(|wanted| *wanted != own) {
            wrong.push(format!("the {what} is {own:?}, expected {wanted:?}"));
        }
    }
    let exposes = |port: &String| config.exposed_ports.keys().any(|own| is_port(own, port));
    wrong.extend(
        test.exposed
            .iter()
            .filter(|port| !exposes(port))
            .map(|port| format!("the port {port} is not exposed")),
    );
    wrong.extend(
        test.unexposed
            .iter()
            .filter(|port| exposes(port))
            .map(|port| format!("the port {port} is exposed")),
    );
    let has = |volume: &String| config.volumes.contains_key(volume);
    wrong.extend(
        test.volumes
            .iter()
            .filter(|volume| !has(volume))
            .map(|volume| format!("{volume} is no volume")),
    );
    wrong.extend(
        test.unmounted
            .iter()
            .filter(|volume| has(volume))
            .map(|volume| format!("{volume} is a volume")),
    );
    wrong
}

/// A port without a protocol is TCP's.
fn is_port(own: &str, wanted: &str) -> bool {
    let whole = |text: &str| match text.contains('/') {
        true => text.to_owned(),
        false => format!("{text}/tcp"),
    };
    whole(own) == whole(wanted)
}

fn differs(what: &str, wanted: &Variable, own: Option<&str>) -> Option<String> {
    match own {
        None => Some(format!("the {what} {} is not set", wanted.key)),
        Some(own) if !wanted.value.fits(own) => Some(format!(
            "the {what} {} is {own:?}, expected {:?}",
            wanted.key,
            wanted.value.as_str()
        )),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::structure::parse;

    fn done(code: i32, stdout: &str) -> Done {
        Done {
            ended: Ended::Exited(code),
            stdout: stdout.to_owned(),
            stderr: String::new(),
            millis: 1,
            tries: 1,
            listening: Vec::new(),
        }
    }

    #[test]
    fn variables_are_expanded_as_go_does() {
        let env = ["A=one".to_owned(), "AB=two".to_owned()];
        assert_eq!(
            expand("$A/${A}B/$AB/$NONE/100$", &env),
            "one/oneB/two//100$"
        );
    }

    #[test]
    fn patterns_are_not_anchored_and_both_kinds_are_checked() {
        let text = "schemaVersion: 2.0.0\ncommandTests:\n- name: a\n  command: x\n  expectedOutput: ['b+c']\n  excludedOutput: ['^z']\n";
        let test = &parse(text).unwrap().commands[0];
        assert!(command(test, &done(0, "abbcd")).is_empty());
        assert_eq!(command(test, &done(0, "xz")).len(), 1);
        assert_eq!(command(test, &done(1, "z")).len(), 3);
        let killed = Done {
            ended: Ended::Signaled(9),
            ..done(0, "bc")
        };
        assert!(command(test, &killed)[0].contains("137"));
    }

    #[test]
    fn every_field_of_the_metadata_can_fail() {
        let config = ContainerConfig {
            user: "65532:65532".into(),
            env: vec!["A=1".into()],
            cmd: Some(vec!["x".into()]),
            working_dir: "/w".into(),
            exposed_ports: [("80/tcp".to_owned(), image::Empty {})].into(),
            volumes: [("/v".to_owned(), image::Empty {})].into(),
            labels: [("l".to_owned(), "v1".to_owned())].into(),
            ..ContainerConfig::default()
        };
        let wrong = |lines: &str| {
            let text = format!("schemaVersion: 2.0.0\nmetadataTest:\n{lines}");
            metadata(&parse(&text).unwrap().metadata.unwrap(), &config).len()
        };
        let right = "  envVars: [{key: A, value: '1'}]\n  unboundEnvVars: [{key: B}]\n  labels: [{key: l, value: 'v\\d', isRegex: true}]\n  cmd: [x]\n  entrypoint: []\n  exposedPorts: ['80']\n  unexposedPorts: ['81']\n  volumes: [/v]\n  unmountedVolumes: [/w]\n  workdir: /w\n  user: '65532:65532'\n";
        assert_eq!(wrong(right), 0);
        for line in [
            "  envVars: [{key: A, value: '2'}]\n",
            "  envVars: [{key: B, value: '2'}]\n",
            "  unboundEnvVars: [{key: A}]\n",
            "  labels: [{key: l, value: v}]\n",
            "  cmd: []\n",
            "  entrypoint: [x]\n",
            "  exposedPorts: [80/udp]\n",
            "  unexposedPorts: ['80']\n",
            "  volumes: [/w]\n",
            "  unmountedVolumes: [/v]\n",
            "  workdir: /\n",
            "  user: root\n",
        ] {
            assert_eq!(wrong(line), 1, "{line}");
        }
    }
}
