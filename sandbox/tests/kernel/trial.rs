//! Tests as data. The invariant: a test that could not run says so in the words that `tests/run.sh` counts,
//! `SKIP NEED: why` below the test's name, and is never silently green.

use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use libtest_mimic::{Arguments, Trial};

/// Why a test cannot run here.
pub(crate) struct Skip {
    /// The word that `tests/known-limits.txt` excuses.
    pub need: &'static str,
    /// What was looked for.
    pub why: String,
}

/// What a test comes to, unless it panics.
pub(crate) type Verdict = Result<(), Skip>;

/// Tests by name.
pub(crate) type Trials = &'static [(&'static str, fn() -> Verdict)];

/// Runs the tests of every theme.
pub(crate) fn run(themes: &[(&str, Trials)]) -> ExitCode {
    let arguments = Arguments::from_args();
    let skipped = Arc::new(Mutex::new(Vec::new()));
    let trials = themes
        .iter()
        .flat_map(|(theme, trials)| {
            trials
                .iter()
                .map(move |(name, test)| (format!("{theme}::{name}"), *test))
        })
        .map(|(name, test)| trial(name, test, Arc::clone(&skipped)))
        .collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    show(
        &skipped
            .lock()
            .expect("no test panics while it reports a skip"),
    );
    conclusion.exit_code()
}

fn trial(name: String, test: fn() -> Verdict, skipped: Arc<Mutex<Vec<(String, Skip)>>>) -> Trial {
    Trial::test(name.clone(), move || {
        if let Err(skip) = test() {
            skipped
                .lock()
                .expect("nobody panics while reporting a skip")
                .push((name, skip));
        }
        Ok(())
    })
}

/// As `cargo test -- --show-output` shows what a test printed.
#[expect(clippy::print_stdout, reason = "this is the test harness")]
fn show(skipped: &[(String, Skip)]) {
    for (name, Skip { need, why }) in skipped {
        println!("---- {name} stdout ----\nSKIP {need}: {why}\n");
    }
}

/// The table of a theme's tests: each is named as its function.
macro_rules! trials {
    ($($test:ident),* $(,)?) => {
        pub(crate) const TRIALS: $crate::trial::Trials = &[$((stringify!($test), $test)),*];
    };
}
pub(crate) use trials;
