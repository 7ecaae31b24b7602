//! What a step may use up, and the files of its cgroup that say so. The invariant: limits are valid by construction
//! ([`CgroupLimits::new`]), and [`CgroupLimits::writes`] is pure.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A controller of cgroup v2, cgroups(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each variant is the controller of its name")]
pub enum Controller {
    Cpu,
    Cpuset,
    Memory,
    Pids,
}

impl Controller {
    /// As cgroup.controllers lists it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cpuset => "cpuset",
            Self::Memory => "memory",
            Self::Pids => "pids",
        }
    }

    /// Those of a file that lists controllers; others are of no interest.
    pub(crate) fn listed(text: &str) -> BTreeSet<Self> {
        let all = [Self::Cpu, Self::Cpuset, Self::Memory, Self::Pids];
        all.into_iter()
            .filter(|one| text.split_whitespace().any(|word| word == one.name()))
            .collect()
    }
}

impl fmt::Display for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The most of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Bound {
    /// This much.
    At(u64),
    /// No bound.
    Max,
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(most) => write!(f, "{most}"),
            Self::Max => f.write_str("max"),
        }
    }
}

/// A number of processors, such as 1.5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpus {
    /// Microseconds of every [`PERIOD`].
    quota: u64,
}

impl FromStr for Cpus {
    type Err = LimitError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || {
            LimitError::new(
                "cpus",
                format!("{text:?} is not a number of processors such as 1.5, at least 0.01"),
            )
        };
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        if whole.len() + part.len() == 0 || !digits(whole) || !digits(part) {
            return Err(wrong());
        }
        // The period has five digits after the point; what is finer than a microsecond is left out.
        let part: String = part.chars().chain("00000".chars()).take(5).collect();
        let whole = if whole.is_empty() { "0" } else { whole };
        let quota: u64 = format!("{whole}{part}").parse().map_err(|_| wrong())?;
        if (MIN_QUOTA..=MAX_QUOTA).contains(&quota) {
            Ok(Self { quota })
        } else {
            Err(wrong())
        }
    }
}

/// What is asked for, as container tools spell it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WantedLimits {
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Bytes of memory and swap together; by default twice the memory.
    pub memory_swap: Option<Bound>,
    /// Processors; instead of a quota and a period.
    pub cpus: Option<Cpus>,
    /// Microseconds of processor time in every period.
    pub cpu_quota: Option<u64>,
    /// Microseconds; 100000 by default.
    pub cpu_period: Option<u64>,
    /// The share of processor time where steps compete, 1024 for all others.
    pub cpu_shares: Option<u64>,
    /// Processors by number, such as `0-2,4`.
    pub cpuset_cpus: Option<String>,
    /// Memory nodes by number.
    pub cpuset_mems: Option<String>,
    /// The number of processes and threads.
    pub pids: Option<Bound>,
}

/// A limit that makes no sense.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("set {setting}: {why}")]
pub struct LimitError {
    /// The limit, by its name on command lines without dashes in front: `cpu-quota`.
    pub setting: &'static str,
    /// What is wrong.
    pub why: String,
}

impl LimitError {
    fn new(setting: &'static str, why: impl Into<String>) -> Self {
        let why = why.into();
        Self { setting, why }
    }
}

/// Docker's default, and the kernel's.
const PERIOD: u64 = 100_000;
/// The kernel refuses shorter and longer periods (kernel/sched/core.c, `min_cfs_quota_period` and `max_cfs_quota_period`).
const PERIODS: (u64, u64) = (1_000, 1_000_000);
const MIN_QUOTA: u64 = 1_000;
/// The kernel's `max_bw_quota_period_us`, 2^44, rounded down: nobody has more processors.
const MAX_QUOTA: u64 = 10_000_000_000;

/// Valid limits of one step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupLimits {
    memory: Option<Memory>,
    bandwidth: Option<(Bound, u64)>,
    weight: Option<u64>,
    cpus: Option<String>,
    mems: Option<String>,
    pids: Option<Bound>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Memory {
    max: u64,
    swap: Bound,
    /// Whether it was asked for, so that a kernel that does not count swap is an error.
    swap_asked: bool,
}

/// One value for one file of a cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Whose file it is.
    pub controller: Controller,
    /// Its name.
    pub file: &'static str,
    /// What is written.
    pub value: String,
    /// Whether the limit is as good without it: the kernel may lack the file.
    pub optional: bool,
}

impl fmt::Display for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={:?}", self.file, self.value)
    }
}

impl CgroupLimits {
    /// Checks what is asked for.
    ///
    /// # Errors
    /// The first limit that the kernel would refuse on every machine, or that contradicts another one.
    pub fn new(wanted: &WantedLimits) -> Result<Self, LimitError> {
        let set = |setting, list: &Option<String>| match list {
            Some(text) if !is_list(text) => Err(LimitError::new(
                setting,
                format!("{text:?} is not a list of numbers and ranges such as 0-2,4"),
            )),
            list => Ok(list.clone()),
        };
        if wanted.pids == Some(Bound::At(0)) {
            return Err(LimitError::new("pids-limit", "no process at all can run"));
        }
        Ok(Self {
            memory: memory(wanted)?,
            bandwidth: bandwidth(wanted)?,
            weight: wanted.cpu_shares.map(weight).transpose()?,
            cpus: set("cpuset-cpus", &wanted.cpuset_cpus)?,
            mems: set("cpuset-mems", &wanted.cpuset_mems)?,
            pids: wanted.pids,
        })
    }

    /// Whether nothing is limited.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The files of a step's cgroup and what is written to them, in order.
    pub fn writes(&self) -> Vec<Write> {
        let write = |controller, file, value: Option<String>| {
            value.map(|value| Write {
                controller,
                file,
                value,
                optional: false,
            })
        };
        let memory = self.memory.as_ref();
        let swap = write(
            Controller::Memory,
            "memory.swap.max",
            memory.map(|memory| memory.swap.to_string()),
        );
        let bandwidth = self
            .bandwidth
            .map(|(quota, period)| format!("{quota} {period}"));
        let all = [
            write(
                Controller::Memory,
                "memory.max",
                memory.map(|memory| memory.max.to_string()),
            ),
            swap.map(|write| Write {
                optional: memory.is_some_and(|memory| !memory.swap_asked),
                ..write
            }),
            write(Controller::Cpu, "cpu.max", bandwidth),
            write(
                Controller::Cpu,
                "cpu.weight",
                self.weight.map(|weight| weight.to_string()),
            ),
            write(Controller::Cpuset, "cpuset.cpus", self.cpus.clone()),
            write(Controller::Cpuset, "cpuset.mems", self.mems.clone()),
            write(
                Controller::Pids,
                "pids.max",
                self.pids.map(|pids| pids.to_string()),
            ),
        ];
        all.into_iter().flatten().collect()
    }

    /// The controllers that the writes need.
    pub fn controllers(&self) -> BTreeSet<Controller> {
        let writes = self.writes();
        writes.iter().map(|write| write.controller).collect()
    }
}

/// In cgroup v2 swap is counted by itself, in docker's flags together with memory (runc, `ConvertMemorySwapToCgroupV2Value`).
fn memory(wanted: &WantedLimits) -> Result<Option<Memory>, LimitError> {
    let error = |why: &str| Err(LimitError::new("memory-swap", why));
    let (max, swap) = match (wanted.memory, wanted.memory_swap) {
        (None, None) => return Ok(None),
        (None, Some(_)) => return error("it is of use only with a limit of memory"),
        (Some(max), None) => (max, Bound::At(max)),
        (Some(max), Some(Bound::Max)) => (max, Bound::Max),
        (Some(max), Some(Bound::At(both))) => match both.checked_sub(max) {
            Some(swap) => (max, Bound::At(swap)),
            None => return error("memory and swap together are less than the memory alone"),
        },
    };
    if max == 0 {
        return Err(LimitError::new("memory", "nothing runs without memory"));
    }
    Ok(Some(Memory {
        max,
        swap,
        swap_asked: wanted.memory_swap.is_some(),
    }))
}

fn bandwidth(wanted: &WantedLimits) -> Result<Option<(Bound, u64)>, LimitError> {
    let (quota, period) = (wanted.cpu_quota, wanted.cpu_period);
    match wanted.cpus {
        Some(_) if quota.is_some() || period.is_some() => {
            return Err(LimitError::new(
                "cpus",
                "it says the same as a quota and a period together",
            ));
        }
        Some(cpus) => return Ok(Some((Bound::At(cpus.quota), PERIOD))),
        None if quota.is_none() && period.is_none() => return Ok(None),
        None => {}
    }
    let within = |setting, value, (low, high)| {
        if (low..=high).contains(&value) {
            Ok(value)
        } else {
            Err(LimitError::new(
                setting,
                format!("{value} is not between {low} and {high} microseconds"),
            ))
        }
    };
    let period = within("cpu-period", period.unwrap_or(PERIOD), PERIODS)?;
    let quota = quota
        .map(|quota| within("cpu-quota", quota, (MIN_QUOTA, MAX_QUOTA)))
        .transpose()?;
    Ok(Some((quota.map_or(Bound::Max, Bound::At), period)))
}

/// Shares are 2 to 262144 with 1024 in the middle, weights 1 to 10000 with 100. The curve through the three is that of runc 1.3.2
/// and crun 1.23 (`ConvertCPUSharesToCgroupV2Value`); the older straight line made 39 of 1024.
fn weight(shares: u64) -> Result<u64, LimitError> {
    if !(2..=262_144).contains(&shares) {
        let why = format!("{shares} is not between 2 and 262144");
        return Err(LimitError::new("cpu-shares", why));
    }
    if shares == 2 {
        // The curve says 1.0000000000000002.
        return Ok(1);
    }
    #[expect(clippy::cast_precision_loss, reason = "18 bits fit")]
    let log = (shares as f64).log2();
    let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is between 1 and 10000"
    )]
    let weight = 10_f64.powf(exponent).ceil() as u64;
    Ok(weight.clamp(1, 10_000))
}

/// `0-2,4`: the "List format" of cpuset(7).
fn is_list(text: &str) -> bool {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<u16>().ok()).flatten()
    };
    text.split(',').all(|item| match item.split_once('-') {
        None => number(item).is_some(),
        Some((first, last)) => match (number(first), number(last)) {
            (Some(first), Some(last)) => first <= last,
            _ => false,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(wanted: &WantedLimits) -> Vec<String> {
        let limits = CgroupLimits::new(wanted).unwrap();
        limits.writes().iter().map(ToString::to_string).collect()
    }

    fn refused(wanted: &WantedLimits, setting: &str) {
        let error = CgroupLimits::new(wanted).unwrap_err();
        assert_eq!(error.setting, setting, "{error}");
    }

    #[test]
    fn swap_is_what_the_flag_says_less_the_memory_and_as_much_again_without_it() {
        let with = |memory_swap| WantedLimits {
            memory: Some(64),
            memory_swap,
            ..WantedLimits::default()
        };
        let swap = |bound| texts(&with(bound)).pop().unwrap();
        assert_eq!(
            texts(&with(None)),
            ["memory.max=\"64\"", "memory.swap.max=\"64\""]
        );
        assert_eq!(swap(Some(Bound::At(64))), "memory.swap.max=\"0\"");
        assert_eq!(swap(Some(Bound::At(100))), "memory.swap.max=\"36\"");
        assert_eq!(swap(Some(Bound::Max)), "memory.swap.max=\"max\"");
        refused(&with(Some(Bound::At(63))), "memory-swap");
        let alone = WantedLimits {
            memory_swap: Some(Bound::Max),
            ..WantedLimits::default()
        };
        refused(&alone, "memory-swap");
        let optional = |wanted| CgroupLimits::new(&wanted).unwrap().writes()[1].optional;
        assert!(optional(with(None)) && !optional(with(Some(Bound::At(100)))));
    }

    #[test]
    fn processors_become_a_quota_of_the_usual_period() {
        let quota = |text: &str| text.parse::<Cpus>().map(|cpus| cpus.quota);
        for (text, microseconds) in [
            ("1", 100_000),
            ("1.5", 150_000),
            ("0.01", 1_000),
            (".5", 50_000),
            ("2.", 200_000),
            ("0.123456789", 12_345),
        ] {
            assert_eq!(quota(text), Ok(microseconds), "{text}");
        }
        for text in [
            "", ".", "0", "0.009", "-1", "1,5", "one", "1e3", "99999999", "+1",
        ] {
            assert!(quota(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_quota_and_a_period_are_one_file() {
        let with = |cpu_quota, cpu_period| WantedLimits {
            cpu_quota,
            cpu_period,
            ..WantedLimits::default()
        };
        assert_eq!(
            texts(&with(Some(5_000), Some(20_000))),
            ["cpu.max=\"5000 20000\""]
        );
        assert_eq!(texts(&with(Some(5_000), None)), ["cpu.max=\"5000 100000\""]);
        assert_eq!(texts(&with(None, Some(20_000))), ["cpu.max=\"max 20000\""]);
        refused(&with(Some(999), None), "cpu-quota");
        refused(&with(None, Some(999)), "cpu-period");
        refused(&with(None, Some(1_000_001)), "cpu-period");
        let both = WantedLimits {
            cpus: "1".parse().ok(),
            ..with(Some(5_000), None)
        };
        refused(&both, "cpus");
    }

    #[test]
    fn shares_become_the_weights_of_runc_and_crun() {
        for (shares, expected) in [
            (2, 1),
            (3, 2),
            (256, 35),
            (512, 59),
            (1024, 100),
            (2048, 174),
            (262_143, 10_000),
            (262_144, 10_000),
        ] {
            assert_eq!(weight(shares), Ok(expected), "{shares}");
        }
        assert!(weight(1).is_err() && weight(262_145).is_err());
    }

    #[test]
    fn sets_are_lists_and_processes_a_number() {
        for text in ["0", "0-2", "0,2-3,7"] {
            assert!(is_list(text), "{text}");
        }
        for text in ["", "a", "2-1", "0-", "-1", "0,,1", "0 1", "0-1-2", "70000"] {
            assert!(!is_list(text), "{text}");
        }
        let wanted = WantedLimits {
            cpuset_cpus: Some("0".into()),
            cpuset_mems: Some("0-1".into()),
            cpu_shares: Some(1024),
            pids: Some(Bound::At(50)),
            ..WantedLimits::default()
        };
        assert_eq!(
            texts(&wanted),
            [
                "cpu.weight=\"100\"",
                "cpuset.cpus=\"0\"",
                "cpuset.mems=\"0-1\"",
                "pids.max=\"50\""
            ]
        );
        let needed = CgroupLimits::new(&wanted).unwrap().controllers();
        assert_eq!(
            needed.into_iter().map(Controller::name).collect::<Vec<_>>(),
            ["cpu", "cpuset", "pids"]
        );
        let none = WantedLimits {
            pids: Some(Bound::At(0)),
            ..WantedLimits::default()
        };
        refused(&none, "pids-limit");
    }
}
