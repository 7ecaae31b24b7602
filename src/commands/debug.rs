//! `rbuild debug`: the parts of rbuild, looked at alone.

use std::collections::BTreeMap;

use containerfile::EscapeChar;
use containerfile::expand::{Mode, expand};

use super::containerfile::alone;
use crate::args::build::ContainerfileSource;
use crate::args::debug::{Debug, DebugArgs};
use crate::failure::{Failure, Kind};
use crate::{show, stdout};

/// Prints what was asked for.
pub(super) fn debug(args: DebugArgs) -> Result<(), Failure> {
    match args.what {
        Debug::Ast { file, sexpr } => {
            let containerfile = if file.as_os_str() == "-" {
                ContainerfileSource::Stdin
            } else {
                ContainerfileSource::File(file)
            };
            let source = alone(&containerfile)?;
            let parsed = containerfile::parse(&source);
            stdout::print(&if sexpr {
                containerfile::dump::s_expressions(&source)
            } else {
                containerfile::dump::json(&parsed)
            })?;
            if parsed.has_errors() {
                let shown = show::diagnostics(&source, &parsed.diagnostics, false);
                return Err(Failure::silent(Kind::Failed.code()).excerpt(shown));
            }
            Ok(())
        }
        Debug::Expand { word, env } => {
            let mut variables = BTreeMap::new();
            for text in &env {
                let (name, value) = text
                    .split_once('=')
                    .ok_or_else(|| Failure::usage(format!("--env {text}: expected NAME=VALUE")))?;
                variables.insert(name, value);
            }
            let lookup = |name: &str| variables.get(name).map(|value| (*value).to_owned());
            let expanded = expand(&word, &lookup, EscapeChar::default(), Mode::Word)
                .map_err(|error| Failure::new(Kind::Failed, error))?;
            stdout::print(&format!("{}\n", expanded.text))
        }
    }
}
