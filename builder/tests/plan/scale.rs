//! Long files: planning takes time in proportion to them. Measured is the processor's time of this thread, so that a busy machine
//! changes nothing; an optimised build is ten times faster than what is allowed here.

use std::fs;
use std::time::Duration;

use crate::support::of;

/// Enough that a time in the square of it is far beyond the limit.
const STAGES: usize = 10_000;
const LIMIT: Duration = Duration::from_secs(5);

/// What this thread has computed so far: proc(5), stat, fields 14 and 15, in hundredths of a second.
fn computed() -> Duration {
    let stat = fs::read_to_string("/proc/thread-self/stat").expect("proc");
    let (_, fields) = stat.rsplit_once(')').expect("a name in brackets");
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks = ticks.map(|field| field.parse::<u64>().expect("a number"));
    Duration::from_millis(ticks.sum::<u64>() * 10)
}

#[test]
fn many_stages_take_linear_time() {
    for (what, base) in [("by name", "scratch"), ("from images", "image")] {
        let mut text = "FROM scratch AS stage-number-0\nCOPY a /\n".to_owned();
        for number in 1..STAGES {
            let before = number - 1;
            let tag = if base == "image" {
                format!(":{number}")
            } else {
                String::new()
            };
            text += &format!(
                "FROM {base}{tag} AS stage-number-{number}\nCOPY --from=stage-number-{before} / /\n"
            );
        }
        let start = computed();
        let attempt = of(&text).attempt();
        let time = computed() - start;
        assert!(attempt.is_ok(), "{what}");
        assert!(time < LIMIT, "{what}: {time:?}");
    }
}
