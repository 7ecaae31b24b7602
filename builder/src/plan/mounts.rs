//! `RUN --mount`. Invariant: parents are mounted before what lies in them, no two mounts share a target, and nothing covers what
//! every step has to have.

use std::error::Error as _;

use containerfile::{Mount, MountSpec, Sharing};

use super::evaluate::StageEvaluator;
use super::findings::{Checked, Site};
use super::{gather, path};
use crate::mounts::{Access, CacheMount, CacheSharing, RunMount, RunMountSource, SecretVariable};
use crate::step::CopyFrom;

/// BuildKit's place for the socket of an agent.
const AGENTS: &str = "/run/buildkit/ssh_agent";
/// Kernel file systems: what is masked in them would show again, or be gone.
const RESERVED: [&str; 2] = ["/proc", "/sys"];

impl StageEvaluator<'_, '_> {
    pub(super) fn mounts(
        &self,
        site: &Site<'_>,
        written: &[Mount],
    ) -> Checked<(Vec<RunMount>, Vec<SecretVariable>)> {
        let (mut mounts, mut variables) = (Vec::new(), Vec::new());
        for mount in written {
            let spec = mount
                .resolve(&mut |word| site.expand_option(word, &self.state.scope))
                .map_err(|error| {
                    let cause = error
                        .source()
                        .map_or_else(String::new, |e| format!(": {e}"));
                    site.error(mount.span, format!("--mount: {error}{cause}"))
                })?;
            // Not looked up yet, or reported already.
            let Ok(from) = self.mounted_from(site, mount) else {
                continue;
            };
            let (target, source, variable) = self.meaning(spec, from, mounts.len());
            variables.extend(variable);
            if let (Some(target), Some(source)) = (target, source) {
                let target = path::join(self.state.workdir(), &target);
                check_target(site, mount, &target, &mounts)?;
                mounts.push(RunMount { target, source });
            }
        }
        // Stable: of two beside each other the first written is mounted first.
        mounts.sort_by_key(|mount| mount.target.matches('/').count());
        Ok((mounts, variables))
    }

    fn mounted_from(&self, site: &Site<'_>, mount: &Mount) -> Result<Option<CopyFrom>, ()> {
        match gather::mounted(self.context.stages, self.index, site, mount) {
            None => Ok(None),
            Some(meaning) => match meaning.ok().and_then(|meaning| self.source(&meaning)) {
                Some(from) => Ok(Some(from)),
                None => Err(()),
            },
        }
    }

    /// Target, source, and the variable that a secret becomes.
    fn meaning(
        &self,
        spec: MountSpec,
        from: Option<CopyFrom>,
        number: usize,
    ) -> (
        Option<String>,
        Option<RunMountSource>,
        Option<SecretVariable>,
    ) {
        match spec {
            MountSpec::Bind {
                target,
                source,
                writable,
                ..
            } => {
                let from = from.unwrap_or(CopyFrom::Context);
                let source = path::join("/", &source);
                let bind = RunMountSource::Bind {
                    from,
                    source,
                    writable,
                };
                (Some(target), Some(bind), None)
            }
            MountSpec::Cache {
                target,
                id,
                source,
                sharing,
                mode,
                uid,
                gid,
                read_only,
                ..
            } => {
                let cache = CacheMount {
                    id: self.cache_name(id),
                    from,
                    source: path::join("/", source.as_deref().unwrap_or("/")),
                    sharing: match sharing {
                        Sharing::Shared => CacheSharing::Shared,
                        Sharing::Private => CacheSharing::Private,
                        Sharing::Locked => CacheSharing::Locked,
                    },
                    access: Access { uid, gid, mode },
                    read_only,
                };
                (Some(target), Some(RunMountSource::Cache(cache)), None)
            }
            MountSpec::Tmpfs { target, size, mode } => (
                Some(target),
                Some(RunMountSource::Tmpfs { size, mode }),
                None,
            ),
            MountSpec::Secret {
                id,
                target,
                env,
                required,
                mode,
                uid,
                gid,
            } => {
                let variable = env.map(|name| SecretVariable {
                    name,
                    id: id.clone(),
                    required,
                });
                let access = Access { uid, gid, mode };
                let file = RunMountSource::Secret {
                    id,
                    required,
                    access,
                };
                (target, Some(file), variable)
            }
            MountSpec::Ssh {
                id,
                target,
                required,
                mode,
                uid,
                gid,
            } => {
                let access = Access { uid, gid, mode };
                let target = target.unwrap_or_else(|| format!("{AGENTS}.{number}"));
                (
                    Some(target),
                    Some(RunMountSource::Ssh {
                        id,
                        required,
                        access,
                    }),
                    None,
                )
            }
        }
    }

    /// BUILDKIT_CACHE_MOUNT_NS keeps the caches of one project from another's.
    fn cache_name(&self, id: String) -> String {
        match self.context.globals.build_arg("BUILDKIT_CACHE_MOUNT_NS") {
            Some(space) => format!("{space}/{id}"),
            None => id,
        }
    }
}

fn check_target(site: &Site<'_>, mount: &Mount, target: &str, earlier: &[RunMount]) -> Checked<()> {
    let error = |message: String| Err(site.error(mount.span, format!("--mount: {message}")));
    if target == "/" {
        return error("the target is the root directory".to_owned());
    }
    if let Some(reserved) = RESERVED.iter().find(|reserved| {
        target
            .strip_prefix(**reserved)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }) {
        return error(format!(
            "the target {target} is in {reserved}, which is the kernel's"
        ));
    }
    if target == "/dev" {
        return error("the target /dev holds the step's devices".to_owned());
    }
    if earlier.iter().any(|known| known.target == target) {
        return error(format!(
            "the target {target} is the target of another mount already"
        ));
    }
    Ok(())
}
