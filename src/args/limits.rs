//! Flags that limit what each RUN, or a container, may use up. The invariant: a limit that no kernel would take is refused here, with
//! its flag; whether this machine can enforce it is found out when something is to run.

use builder::RunLimits;
use sandbox::{Bound, CgroupLimits, Controller, Cpus, WantedLimits};

use super::size::size;
use crate::failure::Failure;

/// What each RUN, or a container, may use up.
#[derive(Clone, Debug, clap::Args)]
#[command(
    next_help_heading = "Limits of each RUN or of the container (they need a delegated cgroup v2)"
)]
pub(super) struct LimitArgs {
    /// The most memory
    #[arg(short, long, value_name = "SIZE")]
    memory: Option<String>,
    /// The most memory and swap together; -1: any [default: twice the memory]
    #[arg(
        long,
        value_name = "SIZE",
        requires = "memory",
        allow_hyphen_values = true
    )]
    memory_swap: Option<String>,
    /// How many processors' time, such as 1.5
    #[arg(long, value_name = "NUMBER", conflicts_with_all = ["cpu_quota", "cpu_period"])]
    cpus: Option<String>,
    /// Microseconds of processor time in each period
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_quota: Option<u64>,
    /// The length of a period [default: 100000]
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_period: Option<u64>,
    /// The share of processor time where others want it too; 1024 is everybody's
    #[arg(short, long, value_name = "SHARES")]
    cpu_shares: Option<u64>,
    /// The processors, such as 0-2,4
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// The memory nodes
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,
    /// The most processes and threads; -1: any number
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pids_limit: Option<String>,
    /// The cgroup below which their own is made, by its absolute name as in /proc/self/cgroup [default: rbuild's own]
    #[arg(long, value_name = "CGROUP")]
    cgroup_parent: Option<String>,
}

/// Limits, with the flags that asked for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LimitSettings {
    /// The limits.
    pub run: RunLimits,
    /// Each flag, and the controller that enforces it.
    flags: Vec<(&'static str, Option<Controller>)>,
}

impl LimitSettings {
    /// Limits that were asked for with these flags.
    #[cfg(test)]
    pub(crate) fn of_flags(flags: &[&'static str]) -> Self {
        Self {
            run: RunLimits::default(),
            flags: flags.iter().map(|flag| (*flag, None)).collect(),
        }
    }

    /// The flags that need one of these controllers; all flags without any.
    pub(crate) fn flags(&self, controllers: &[Controller]) -> String {
        let wanted = self.flags.iter().filter(|(_, needed)| {
            controllers.is_empty() || needed.is_some_and(|one| controllers.contains(&one))
        });
        wanted.map(|(flag, _)| *flag).collect::<Vec<_>>().join(", ")
    }
}

impl LimitArgs {
    pub(super) fn settings(self) -> Result<LimitSettings, Failure> {
        let flags = self.flags();
        let memory = |flag, text: &Option<String>| {
            let text = text.as_deref();
            text.map(|text| size(flag, text)).transpose()
        };
        let wanted = WantedLimits {
            memory: memory("--memory", &self.memory)?,
            memory_swap: match self.memory_swap.as_deref() {
                Some("-1") => Some(Bound::Max),
                _ => memory("--memory-swap", &self.memory_swap)?.map(Bound::At),
            },
            cpus: self
                .cpus
                .map(|text| text.parse::<Cpus>())
                .transpose()
                .map_err(|error| wrong(&error))?,
            cpu_quota: self.cpu_quota,
            cpu_period: self.cpu_period,
            cpu_shares: self.cpu_shares,
            cpuset_cpus: self.cpuset_cpus,
            cpuset_mems: self.cpuset_mems,
            pids: self.pids_limit.as_deref().map(pids).transpose()?,
        };
        let parent = self.cgroup_parent;
        if let Some(name) = parent.as_deref().filter(|name| !is_absolute(name)) {
            return Err(Failure::usage(format!(
                "--cgroup-parent {name}: expected an absolute name as in /proc/self/cgroup, such as /user.slice/a.slice"
            )));
        }
        let limits = CgroupLimits::new(&wanted).map_err(|error| wrong(&error))?;
        Ok(LimitSettings {
            run: RunLimits { limits, parent },
            flags,
        })
    }

    fn flags(&self) -> Vec<(&'static str, Option<Controller>)> {
        use Controller::{Cpu, Cpuset, Memory, Pids};
        let all = [
            ("--memory", Some(Memory), self.memory.is_some()),
            ("--memory-swap", Some(Memory), self.memory_swap.is_some()),
            ("--cpus", Some(Cpu), self.cpus.is_some()),
            ("--cpu-quota", Some(Cpu), self.cpu_quota.is_some()),
            ("--cpu-period", Some(Cpu), self.cpu_period.is_some()),
            ("--cpu-shares", Some(Cpu), self.cpu_shares.is_some()),
            ("--cpuset-cpus", Some(Cpuset), self.cpuset_cpus.is_some()),
            ("--cpuset-mems", Some(Cpuset), self.cpuset_mems.is_some()),
            ("--pids-limit", Some(Pids), self.pids_limit.is_some()),
            ("--cgroup-parent", None, self.cgroup_parent.is_some()),
        ];
        let given = all.into_iter().filter(|(_, _, given)| *given);
        given.map(|(flag, needs, _)| (flag, needs)).collect()
    }
}

fn wrong(error: &sandbox::LimitError) -> Failure {
    Failure::usage(format!("--{}: {}", error.setting, error.why))
}

/// As docker and podman: -1 is no limit.
fn pids(text: &str) -> Result<Bound, Failure> {
    match text {
        "-1" => Ok(Bound::Max),
        number => number
            .parse()
            .map(Bound::At)
            .map_err(|_| Failure::usage(format!("--pids-limit {text}: expected a number, or -1"))),
    }
}

fn is_absolute(name: &str) -> bool {
    let mut parts = name.split('/').skip(1);
    name.starts_with('/') && parts.all(|part| part != "..")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::build::BuildSettings;
    use crate::args::{Command, tests::parse};
    use crate::surroundings::Surroundings;

    fn settings_of(line: &str) -> Result<LimitSettings, Failure> {
        let parsed = parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        match parsed.command {
            Command::Build(args) => args
                .settings(&Surroundings::of(&[]))
                .map(|BuildSettings { limits, .. }| limits),
            other => panic!("{line} is {other:?}"),
        }
    }

    #[test]
    fn limits_reach_the_files_of_a_cgroup() {
        let got = settings_of(
            "build -m 64m --memory-swap 96m --cpus 1.5 -c 512 --cpuset-cpus 0-1 --cpuset-mems 0 --pids-limit 99 \
             --cgroup-parent /a/b .",
        )
        .unwrap();
        insta::assert_snapshot!(got.run.to_string(), @r#"
        each RUN: a cgroup below /a/b
        each RUN: memory.max="67108864"
        each RUN: memory.swap.max="33554432"
        each RUN: cpu.max="150000 100000"
        each RUN: cpu.weight="59"
        each RUN: cpuset.cpus="0-1"
        each RUN: cpuset.mems="0"
        each RUN: pids.max="99"
        "#);
        let got = settings_of(
            "build -m 1g --memory-swap -1 --cpu-quota 5000 --cpu-period 10000 --pids-limit -1 .",
        )
        .unwrap();
        insta::assert_snapshot!(got.run.to_string(), @r#"
        each RUN: memory.max="1073741824"
        each RUN: memory.swap.max="max"
        each RUN: cpu.max="5000 10000"
        each RUN: pids.max="max"
        "#);
        assert_eq!(settings_of("build .").unwrap().run, RunLimits::default());
    }

    #[test]
    fn limits_that_make_no_sense_are_named_by_their_flags() {
        for (line, words) in [
            ("-m 0", "--memory 0"),
            ("-m big", "--memory big"),
            ("-m 64m --memory-swap 32m", "--memory-swap"),
            ("-m 64m --memory-swap -2", "--memory-swap -2"),
            ("--cpus 0", "--cpus"),
            ("--cpu-quota 5", "--cpu-quota"),
            ("--cpu-period 5", "--cpu-period"),
            ("--cpu-shares 1", "--cpu-shares"),
            ("--cpuset-cpus 2-1", "--cpuset-cpus"),
            ("--cpuset-mems x", "--cpuset-mems"),
            ("--pids-limit 0", "--pids-limit"),
            ("--pids-limit many", "--pids-limit many"),
            ("--cgroup-parent user.slice", "--cgroup-parent user.slice"),
            ("--cgroup-parent /a/../b", "--cgroup-parent /a/../b"),
        ] {
            let failure = settings_of(&format!("build {line} .")).expect_err(line);
            assert_eq!(failure.code(), 2, "{failure}");
            assert!(failure.to_string().starts_with(words), "{failure}");
        }
        for line in ["--memory-swap 1g", "--cpus 1 --cpu-quota 5000"] {
            assert!(parse(&format!("build {line} .")).is_err(), "{line}");
        }
    }

    #[test]
    fn flags_are_told_by_the_controller_that_they_need() {
        let got = settings_of("build -m 1g --cpus 1 --pids-limit 5 --cgroup-parent /a .").unwrap();
        assert_eq!(got.flags(&[Controller::Memory]), "--memory");
        assert_eq!(
            got.flags(&[Controller::Cpu, Controller::Pids]),
            "--cpus, --pids-limit"
        );
        assert_eq!(
            got.flags(&[]),
            "--memory, --cpus, --pids-limit, --cgroup-parent"
        );
    }
}
