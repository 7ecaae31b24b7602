//! `--timestamp`, `--source-date-epoch` and what else decides the times of an image. The invariant: the flag wins over the build
//! argument, that over the environment; without all three the context decides.

use std::collections::BTreeMap;

use builder::Times;

use crate::failure::Failure;
use crate::surroundings::Surroundings;

const VARIABLE: &str = "SOURCE_DATE_EPOCH";

/// The times of the image and its files.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Times")]
pub(super) struct TimeArgs {
    /// Give the image and every file of its new layers exactly this time, in seconds since 1970
    #[arg(long, value_name = "SECONDS", conflicts_with = "source_date_epoch")]
    timestamp: Option<u32>,
    /// The latest time of the image and of files in its new layers, in seconds since 1970; `context`: that of the context's git commit [default: SOURCE_DATE_EPOCH, else the commit's, else that of the newest input]
    #[arg(long, value_name = "SECONDS")]
    source_date_epoch: Option<String>,
    /// Whether that holds for files too, and not for the image's configuration and history only
    #[arg(
        long,
        value_name = "BOOL",
        default_value_t = true,
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true,
        action = clap::ArgAction::Set,
        hide_possible_values = true
    )]
    rewrite_timestamp: bool,
}

/// Where the times of an image come from, before the context was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeSettings {
    /// What was asked for; `None` leaves it to the context.
    pub asked: Option<Times>,
    /// `--rewrite-timestamp`.
    pub rewrite: bool,
}

impl TimeArgs {
    pub(super) fn settings(
        self,
        build_args: &BTreeMap<String, String>,
        here: &Surroundings,
    ) -> Result<TimeSettings, Failure> {
        let variable = here.variable(VARIABLE)?.filter(|text| !text.is_empty());
        let given = [
            ("--source-date-epoch ", self.source_date_epoch),
            (
                "--build-arg SOURCE_DATE_EPOCH=",
                build_args
                    .get(VARIABLE)
                    .filter(|text| !text.is_empty())
                    .cloned(),
            ),
            ("SOURCE_DATE_EPOCH=", variable),
        ];
        let mut given = given
            .into_iter()
            .filter_map(|(name, text)| Some((name, text?)));
        let asked = match (self.timestamp, given.next()) {
            (Some(seconds), _) => Some(Times::Exactly(seconds.into())),
            (None, Some((name, text))) => epoch(name, &text)?,
            (None, None) => None,
        };
        Ok(TimeSettings {
            asked,
            rewrite: self.rewrite_timestamp,
        })
    }
}

/// A number of seconds; BuildKit's `context` leaves it to the context, as nothing does.
fn epoch(name: &str, text: &str) -> Result<Option<Times>, Failure> {
    if text == "context" {
        return Ok(None);
    }
    // A time that is silently wrong is worse than none. A tar and every file system hold 32 bits.
    let seconds = text.parse::<u32>().ok();
    seconds
        .map(|seconds| Some(Times::NotAfter(seconds.into())))
        .ok_or_else(|| {
            Failure::usage(format!(
                "{name}{text} is not a number of seconds since 1970"
            ))
        })
}
