//! The machine that the tests run on. The invariant: what a test needs of it is looked for here, and where it is missing the
//! answer is a [`Skip`] with the need's name.

use std::path::PathBuf;

use sandbox::preflight::{HostView, Loss, before_session};
use sandbox::subids::SubIdRange;
use sandbox::{Extent, ExtentMap, MapWriter, SessionPlan};

use crate::trial::Skip;

/// The directories where the programs of the host are looked for.
const PATH: [&str; 4] = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"];

fn view() -> HostView {
    HostView {
        path_dirs: PATH.map(PathBuf::from).to_vec(),
        ..HostView::standard()
    }
}

/// A program of the host.
pub(crate) fn program(name: &'static str) -> Result<PathBuf, Skip> {
    let why = || format!("{name} is not in {}", PATH.join(":"));
    view().program(name).ok_or_else(|| Skip {
        need: name,
        why: why(),
    })
}

/// The ids of a session of this user: its own and its subordinate ones.
pub(crate) fn ranged() -> Result<SessionPlan, Skip> {
    let store = tempfile::tempdir().expect("the temporary directory is writable");
    let view = HostView {
        store: store.path().to_owned(),
        ..view()
    };
    let ids = before_session(&view).map_err(|findings| Skip {
        need: if findings.iter().all(|finding| finding.loses == Loss::SubIds) {
            "sub-ids"
        } else {
            "user-namespaces"
        },
        why: findings
            .iter()
            .map(|finding| finding.id)
            .collect::<Vec<_>>()
            .join(", "),
    })?;
    let writer = if view.uid == 0 {
        MapWriter::Caller
    } else {
        MapWriter::Helpers {
            newuidmap: program("newuidmap")?,
            newgidmap: program("newgidmap")?,
        }
    };
    Ok(SessionPlan {
        uids: shifted(view.uid, &ids.uids),
        gids: shifted(view.gid, &ids.gids),
        writer,
    })
}

/// The ids of a session that has only the caller's own.
pub(crate) fn single() -> SessionPlan {
    let view = view();
    let own = |id| ExtentMap::single(0, id, 1).expect("one id is a map");
    SessionPlan {
        uids: own(view.uid),
        gids: own(view.gid),
        writer: MapWriter::Itself,
    }
}

/// The caller is 0 and the ranges follow without a gap.
fn shifted(own: u32, ranges: &[SubIdRange]) -> ExtentMap {
    let mut extents = vec![Extent {
        inside: 0,
        outside: own,
        count: 1,
    }];
    let mut next = 1;
    for range in ranges {
        extents.push(Extent {
            inside: next,
            outside: range.start,
            count: range.count,
        });
        next += range.count;
    }
    ExtentMap::new(extents).expect("preflight hands out ranges that are disjoint")
}
