//! Will it run rootless? The invariant: the image is run as users run it, once to see what it does, and then once for each way that it
//! may be run in; a way counts as working where the same came of it as the first time.

mod contents;
mod health;
mod modes;
mod privileges;
mod rootful;
mod start;
mod stop;
mod times;
mod writes;

use containerfile::lint::ImageFacts;
use runner::health::HealthCommand;
use runner::readiness::{ImageFiles, Reason, reasons};
use sandbox::SessionPlan;
use sandbox::trial::{Act, Command, Done, Ended, Record, Script};

use super::containers::{Containers, Ran};
use super::report::{Check, Report, Verdict};
use crate::args::test::TestArgs;
use crate::commands::opened::Opened;
use crate::failure::{Failure, Kind};
use crate::host;
use crate::surroundings::Surroundings;

/// How long a program has to end when it is told to, in milliseconds: what docker and podman give it.
const PATIENCE: u64 = 10_000;
/// The signal that nobody survives, signal(7).
const KILL: i32 = 9;

/// What is tested, and how.
struct Subject<'t> {
    opened: &'t Opened,
    containers: &'t Containers,
    facts: ImageFacts,
    /// The program with its arguments.
    argv: Vec<String>,
    /// Milliseconds for which a service must run.
    wait: u64,
    health: Option<HealthCommand>,
    /// Whose ids a session's are.
    plan: Option<SessionPlan>,
    here: &'t Surroundings,
}

/// What came of the first run.
struct First {
    record: Record,
    /// Capabilities without which it does not work, and what comes of it then.
    capabilities: Vec<&'static str>,
    without: Option<Record>,
}

/// The readiness report.
pub(super) fn report(
    args: &TestArgs,
    opened: &Opened,
    containers: &Containers,
    here: &Surroundings,
    report: &mut Report,
) -> Result<(), Failure> {
    let subject = Subject::new(args, opened, containers, here)?;
    if args.health {
        let first = subject.first()?;
        report.checks.push(match first {
            Err(check) => check,
            Ok(first) => health::check(&subject, &first),
        });
        return Ok(());
    }
    report.checks.extend(contents::checks(&subject));
    report.rootful = rootful::changes(&subject);
    let first = match subject.first()? {
        Err(check) => {
            report.checks.push(check);
            return Ok(());
        }
        Ok(first) => first,
    };
    let start = start::check(&subject, &first);
    let works = works(&first.record);
    report.checks.push(start);
    if works {
        report.checks.push(start::looked_for(&subject, &first));
    }
    report.checks.push(start::user(&subject, &first));
    report.checks.push(privileges::capabilities(&first));
    report.checks.push(privileges::ports(&subject, &first));
    report.checks.push(health::check(&subject, &first));
    if !works {
        let said = "not tried: the program does not work as it is";
        for area in ["userns", "read-only", "stop", "times"] {
            report
                .checks
                .push(Check::new(area, area, Verdict::Skipped).says(said));
        }
        return Ok(());
    }
    report.checks.extend(modes::checks(&subject, &first)?);
    report.checks.push(writes::check(&subject, &first)?);
    report.checks.push(stop::check(&subject, &first)?);
    report.checks.push(times::check(&subject, &first)?);
    Ok(())
}

impl<'t> Subject<'t> {
    fn new(
        args: &TestArgs,
        opened: &'t Opened,
        containers: &'t Containers,
        here: &'t Surroundings,
    ) -> Result<Self, Failure> {
        let config = &opened.image.config().config;
        let depth = builder::facts::Depth::Programs;
        let facts = builder::facts::image_facts(&opened.store, &opened.image, args.image(), depth)
            .map_err(|error| Failure::new(Kind::Failed, error))?;
        let mut argv = config.entrypoint.clone().unwrap_or_default();
        match args.arguments() {
            [] => argv.extend(config.cmd.clone().unwrap_or_default()),
            given => argv.extend_from_slice(given),
        }
        let store = opened.store.path();
        Ok(Self {
            opened,
            containers,
            facts,
            argv,
            wait: u64::try_from(args.wait.as_millis()).unwrap_or(u64::MAX),
            health: HealthCommand::of(config),
            plan: host::ids(here, store)?.required().ok(),
            here,
        })
    }

    fn program(&self, env: &[(&str, &str)]) -> Act {
        let env = env
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Act::Start(Command {
            argv: self.argv.clone(),
            env: env.collect(),
            millis: 0,
        })
    }

    /// The TCP ports that the image says it has.
    fn exposed(&self) -> Vec<u16> {
        let ports = self.opened.image.config().config.exposed_ports.keys();
        let tcp = ports.filter_map(|port| match port.split_once('/') {
            None => port.parse().ok(),
            Some((port, "tcp")) => port.parse().ok(),
            Some(_) => None,
        });
        tcp.collect()
    }

    /// The first run, with what a container gets; where that is not enough, with the fewest capabilities that are.
    fn first(&self) -> Result<Result<First, Check>, Failure> {
        if self.argv.is_empty() {
            let said = "the image has no ENTRYPOINT and no CMD, and no arguments are given";
            let check = Check::new("start", "starts", Verdict::Failed).says(said);
            return Ok(Err(check.remedy("ENTRYPOINT [\"/path/of/the/program\"]")));
        }
        let record = match self.containers.perform(&[], &self.whole(&self.exposed()))? {
            Ran::Not(said) => {
                return Ok(Err(
                    Check::new("start", "starts", Verdict::Failed).says(said)
                ));
            }
            Ran::Performed(record) => *record,
        };
        let helped = match !works(&record) && privileges::may_help(&record) {
            true => privileges::fewest(self)?,
            false => None,
        };
        Ok(Ok(match helped {
            Some((capabilities, helped)) => First {
                record: helped,
                capabilities,
                without: Some(record),
            },
            None => First {
                record,
                capabilities: Vec::new(),
                without: None,
            },
        }))
    }

    /// A run in which everything is observed: acts 0 start, 1 settle, 2 health, 3 stop, 4 health again.
    fn whole(&self, ports: &[u16]) -> Script {
        let millis = match ports.is_empty() {
            true => self.wait,
            false => self.wait.saturating_mul(10),
        };
        let mut acts = vec![
            self.program(&[]),
            Act::Settle {
                millis,
                ports: ports.to_vec(),
            },
        ];
        let (before, after) = health::acts(self.health.as_ref(), self.wait);
        acts.extend(before);
        acts.push(Act::Stop {
            signal: KILL,
            millis: PATIENCE,
        });
        acts.extend(after);
        Script {
            observe: true,
            acts,
        }
    }

    /// Runs it another way and says how that ended; `Err` where there is no such container here.
    fn vary(
        &self,
        first: &First,
        flags: &[&str],
        env: &[(&str, &str)],
    ) -> Result<Result<Record, String>, Failure> {
        self.vary_in(self.containers, first, flags, env)
    }

    fn vary_in(
        &self,
        containers: &Containers,
        first: &First,
        flags: &[&str],
        env: &[(&str, &str)],
    ) -> Result<Result<Record, String>, Failure> {
        let ports: Vec<u16> = first
            .settled()
            .listening
            .iter()
            .map(|one| one.port)
            .collect();
        let millis = match ports.is_empty() {
            true => self.wait,
            false => self.wait.saturating_mul(10),
        };
        let script = Script {
            observe: true,
            acts: vec![self.program(env), Act::Settle { millis, ports }],
        };
        let mut all: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        all.extend(first.flags());
        Ok(match containers.perform(&all, &script)? {
            Ran::Performed(record) => Ok(*record),
            Ran::Not(said) => Err(said),
        })
    }

    /// Why something did not work, and what mends it, added to a check.
    fn explain(&self, check: Check, record: &Record) -> Check {
        let check = match &record.blind {
            None => check,
            Some(why) => check.says(format!("what it does could not be observed: {why}")),
        };
        self.told(check, self.reasons(record))
    }

    fn reasons(&self, record: &Record) -> Vec<Reason> {
        let user = (record.identity.uid, record.identity.gid);
        reasons(&record.observed, user, &Files(&self.facts))
    }

    fn told(&self, check: Check, reasons: Vec<Reason>) -> Check {
        let reasons = reasons.into_iter().take(6);
        reasons.fold(check, |check, Reason { said, remedy, .. }| {
            let check = check.says(said);
            match remedy {
                Some(remedy) => check.remedy(remedy),
                None => check,
            }
        })
    }

    /// An id of the session, as this machine counts.
    fn outside(&self, session: u32) -> Option<u32> {
        self.plan.as_ref()?.uids.outside(session)
    }
}

impl First {
    fn settled(&self) -> &Done {
        &self.record.done[1]
    }

    /// What later runs need too.
    fn flags(&self) -> Vec<String> {
        let names = self.capabilities.iter();
        names
            .flat_map(|name| ["--cap-add".to_owned(), (*name).to_owned()])
            .collect()
    }

    /// Whether a run went as this one did.
    fn is_like(&self, record: &Record) -> bool {
        let (own, other) = (self.settled(), &record.done[1]);
        let has = |port| other.listening.iter().any(|one| one.port == port);
        own.ended == other.ended && own.listening.iter().all(|one| has(one.port))
    }
}

/// Whether a run came to a good end, or still went on.
fn works(record: &Record) -> bool {
    matches!(record.done[1].ended, Ended::Running | Ended::Exited(0))
}

/// How a run ended, in words.
fn outcome(done: &Done) -> String {
    match done.ended {
        Ended::Exited(code) => format!("it ended with exit code {code}"),
        Ended::Signaled(signal) => format!("signal {signal} killed it"),
        Ended::NotStarted(errno) => {
            format!(
                "it could not be executed: {}",
                sandbox::Errno::from_raw(errno).desc()
            )
        }
        Ended::TimedOut => "it had to be killed".to_owned(),
        Ended::Running if done.listening.is_empty() => "it runs".to_owned(),
        Ended::Running => {
            let all = done.listening.iter();
            let all: Vec<String> = all
                .map(|one| std::net::SocketAddr::new(one.address, one.port).to_string())
                .collect();
            format!("it runs, and listens at {}", all.join(", "))
        }
    }
}

/// The last lines that a program wrote, where it did not work.
fn last_words(done: &Done) -> Option<String> {
    let text = match done.stderr.trim().is_empty() {
        true => &done.stdout,
        false => &done.stderr,
    };
    let lines: Vec<&str> = text.trim_end().lines().collect();
    let last = &lines[lines.len().saturating_sub(3)..];
    let said: String = last.join(" | ").chars().take(500).collect();
    (!said.is_empty()).then(|| format!("it said: {said}"))
}

/// The files of an image, for reasons.
struct Files<'f>(&'f ImageFacts);

impl ImageFiles for Files<'_> {
    fn exists(&self, path: &str) -> bool {
        self.0.find(path).is_some()
    }

    fn has_name(&self, name: &str) -> bool {
        let mut paths = self.0.files.keys();
        paths.any(|path| path.rsplit('/').next() == Some(name))
    }

    fn owner(&self, path: &str) -> Option<(u32, u32, u32)> {
        let (_, file) = self.0.find(path)?;
        Some((file.uid, file.gid, file.mode))
    }
}
