//! Containerfile to image: plan, cache, execute, commit, export.
#![forbid(unsafe_code)]
