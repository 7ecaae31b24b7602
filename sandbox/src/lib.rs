//! Namespaces, id maps, mounts, seccomp, capabilities and processes.
