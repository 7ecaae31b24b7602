//! Structure tests of files. The invariant: tests of files and of the configuration start nothing; each command test has a container
//! of its own, in which its setup, command and teardown follow each other.

use std::path::PathBuf;

use rootfs::TreePath;
use rootfs::closure::Resolver;
use rootfs::trees::open_index;
use runner::structure::{self, CommandTest, OwnTests, StructureTests, Variable, expand};
use sandbox::trial::{Act, Command, Script};

use super::super::opened::Opened;
use super::containers::{Containers, Ran};
use super::report::{Check, Verdict};
use crate::failure::{Failure, Kind};
use crate::stdout::human_size;

/// How long a command may take where the file says nothing.
const LIMIT: u64 = 60_000;

/// How long the image's program may take until it listens.
const START: u64 = 10_000;

/// A file of tests.
pub(super) struct Config {
    file: String,
    tests: StructureTests,
}

/// Reads files of tests.
pub(super) fn read(files: &[PathBuf]) -> Result<Vec<Config>, Failure> {
    files.iter().map(read_one).collect()
}

fn read_one(path: &PathBuf) -> Result<Config, Failure> {
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| {
        let error = anyhow::Error::new(error);
        Failure::new(Kind::Usage, error.context(format!("--config: read {file}")))
    })?;
    let tests = structure::parse(&text)
        .map_err(|problem| Failure::usage(format!("{file}:{}: {}", problem.line, problem.text)))?;
    Ok(Config { file, tests })
}

/// All checks of a file.
pub(super) fn checks(
    config: &Config,
    opened: &Opened,
    containers: &Containers,
) -> Result<Vec<Check>, Failure> {
    let Config { file, tests } = config;
    let mut checks = Vec::new();
    for test in &tests.commands {
        checks.push(command(test, tests, opened, containers)?.at(file, test.line));
    }
    let image = &opened.image.config().config;
    let tree = &opened.view;
    for test in &tests.existence {
        let complaints = structure::existence(test, &expand(&test.path, &image.env), tree);
        checks.push(Check::of("file", &test.name, complaints).at(file, test.line));
    }
    for test in &tests.content {
        let complaints = structure::content(test, &expand(&test.path, &image.env), tree);
        checks.push(Check::of("content", &test.name, complaints).at(file, test.line));
    }
    if let Some(test) = &tests.metadata {
        let complaints = structure::metadata(test, image);
        checks.push(Check::of("metadata", "metadata", complaints).at(file, test.line));
    }
    for test in &tests.licences {
        let complaints = structure::licence(test, tree);
        checks.push(Check::of("license", "licenses", complaints).at(file, test.line));
    }
    if let Some(own) = &tests.own {
        let more = self::own(own, opened)?;
        checks.extend(more.into_iter().map(|check| check.at(file, own.line)));
        checks.extend(http(own, tests, opened, containers, file)?);
    }
    Ok(checks)
}

fn command(
    test: &CommandTest,
    tests: &StructureTests,
    opened: &Opened,
    containers: &Containers,
) -> Result<Check, Failure> {
    let image = &opened.image.config().config.env;
    let env = variables(tests.env.iter().chain(&test.env), image);
    let own = tests.own.as_ref();
    let millis = own.and_then(|own| own.timeout).unwrap_or(LIMIT);
    let act = |argv: &Vec<String>| {
        Act::Run(Command {
            argv: argv.iter().map(|word| expand(word, image)).collect(),
            env: env.clone(),
            millis,
        })
    };
    let all = test.setup.iter().chain([&test.argv]).chain(&test.teardown);
    let script = Script {
        observe: false,
        acts: all.map(act).collect(),
    };
    Ok(match containers.perform(&flags(tests), &script)? {
        Ran::Not(said) => Check::new("command", &test.name, Verdict::Failed).says(said),
        Ran::Performed(record) => {
            let mut complaints = Vec::new();
            for (argv, done) in test.setup.iter().zip(&record.done) {
                complaints.extend(not_run(argv, done.ended));
            }
            let done = &record.done[test.setup.len()];
            complaints.extend(structure::command(test, done));
            Check::of("command", &test.name, complaints).took(done.millis)
        }
    })
}

/// A setup that could not run; its exit code is nobody's concern, as in container-structure-test.
fn not_run(argv: &[String], ended: sandbox::trial::Ended) -> Option<String> {
    use sandbox::trial::Ended;
    let program = argv.first().map_or("", String::as_str);
    match ended {
        Ended::NotStarted(errno) => {
            let errno = sandbox::Errno::from_raw(errno);
            Some(format!("setup: execute {program}: {}", errno.desc()))
        }
        Ended::TimedOut => Some(format!("setup: {program} did not end, and was killed")),
        Ended::Exited(_) | Ended::Signaled(_) | Ended::Running => None,
    }
}

/// What containers of the commands get.
fn flags(tests: &StructureTests) -> Vec<String> {
    let options = &tests.options;
    let mut flags = Vec::new();
    let mut add = |flag: &str, values: &[String]| {
        let pairs = values.iter().flat_map(|it| [flag.to_owned(), it.clone()]);
        flags.extend(pairs);
    };
    add("--user", options.user.as_slice());
    add("--env-file", options.env_file.as_slice());
    add("--env", &options.env_vars);
    add("--cap-add", &options.capabilities);
    add("--volume", &options.bind_mounts);
    if let Some(own) = &tests.own {
        add("--userns", own.userns.as_slice());
        add("--tmpfs", &own.tmpfs);
        if own.read_only {
            flags.push("--read-only".to_owned());
        }
    }
    flags
}

/// Asks the image's program for documents, in one container.
fn http(
    own: &OwnTests,
    tests: &StructureTests,
    opened: &Opened,
    containers: &Containers,
    file: &str,
) -> Result<Vec<Check>, Failure> {
    if own.http.is_empty() {
        return Ok(Vec::new());
    }
    let image = &opened.image.config().config;
    let words = [image.entrypoint.as_ref(), image.cmd.as_ref()];
    let millis = own.timeout.unwrap_or(LIMIT);
    let mut acts = vec![
        Act::Start(Command {
            argv: words.into_iter().flatten().flatten().cloned().collect(),
            env: variables(&tests.env, &image.env),
            millis: 0,
        }),
        Act::Settle {
            millis: millis.min(START),
            ports: own.http.iter().map(|test| test.port).collect(),
        },
    ];
    acts.extend(own.http.iter().map(|test| Act::Fetch {
        port: test.port,
        path: test.path.clone(),
        millis,
    }));
    let script = Script {
        observe: false,
        acts,
    };
    let ran = containers.perform(&flags(tests), &script)?;
    let checks = own.http.iter().enumerate().map(|(at, test)| {
        let check = match &ran {
            Ran::Not(said) => Check::new("http", &test.name, Verdict::Failed).says(said),
            Ran::Performed(record) => {
                let done = &record.done[2 + at];
                Check::of("http", &test.name, structure::http(test, done)).took(done.millis)
            }
        };
        check.at(file, test.line)
    });
    Ok(checks.collect())
}

/// Variables with those of the image in their values.
fn variables<'v>(
    all: impl IntoIterator<Item = &'v Variable>,
    image: &[String],
) -> Vec<(String, String)> {
    let pairs = all.into_iter();
    pairs
        .map(|Variable { key, value }| (key.clone(), expand(value.as_str(), image)))
        .collect()
}

/// rbuild's own checks.
fn own(tests: &OwnTests, opened: &Opened) -> Result<Vec<Check>, Failure> {
    let mut checks = Vec::new();
    if let Some((budget, _)) = tests.size_budget {
        let mut size = 0;
        for layer in opened.image.layers() {
            let index = open_index(&opened.store, &layer.diff_id);
            size += index
                .map_err(|error| Failure::new(Kind::Failed, error))?
                .size();
        }
        let text = format!(
            "the layers have {}, at most {} are allowed",
            human_size(size),
            human_size(budget)
        );
        let complaints = (size > budget).then_some(text).into_iter().collect();
        checks.push(Check::of("size", "size budget", complaints));
    }
    let resolver = Resolver::new(&opened.view, opened.settings());
    for program in &tests.elf {
        let complaints = match TreePath::clamped(program) {
            Err(error) => vec![error.to_string()],
            Ok(path) => {
                let closure = resolver.closure(&path);
                let fatal = closure.findings.iter().filter(|finding| finding.fatal);
                fatal.map(|finding| finding.message.clone()).collect()
            }
        };
        checks.push(Check::of("elf", program, complaints));
    }
    Ok(checks)
}
