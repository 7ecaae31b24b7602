//! The end-to-end tests of the binary: one program, one module for each topic.
//!
//! They run in every degree of rootlessness (`RBUILD_TEST_USER`, see tests/run.sh); a test that cannot run somewhere says so with
//! [`requires!`]. To add a topic: a file here, and its `mod` line below; a test at the end notices a file that was forgotten.
#![forbid(unsafe_code)]

#[macro_use]
mod support;
#[macro_use]
mod build_oracle;
#[macro_use]
mod registries;
mod web;

mod attest;
mod build_add;
mod build_add_git;
mod build_add_url;
mod build_cache;
mod build_closure;
mod build_config;
mod build_context;
mod build_copy;
mod build_degrees;
mod build_explain;
mod build_foreign;
mod build_furnish;
mod build_json;
mod build_layers;
mod build_outputs;
mod build_platforms;
mod build_push;
mod build_records;
mod build_replace;
mod build_reproducible;
mod build_run;
mod build_sandbox;
mod build_scale;
mod build_shape;
mod build_stages;
mod build_times;
mod build_workdir;
mod cli_build;
mod cli_closure;
mod cli_debug;
mod cli_distroless;
mod cli_exit_codes;
mod cli_flags;
mod cli_help;
mod cli_host;
mod cli_init;
mod cli_lint;
mod cli_lint_images;
mod cli_look;
mod cli_lsp;
mod cli_names;
mod cli_outline;
mod cli_run;
mod cli_shellcheck;
mod cli_signals;
mod cli_store;
mod closure_programs;
mod container_drill;
mod container_flags;
mod fault_host;
mod fault_input;
mod fault_limits;
mod fault_oracle;
mod fault_rot;
mod fault_signals;
mod fault_space;
mod fault_store;
mod hostile_images;
mod hostile_layers;
mod hostile_layout;
mod hostile_roots;
mod language;
mod language_add;
mod language_contexts;
mod language_copy;
mod language_fixture_images;
mod language_fixtures;
mod language_instructions;
mod language_lexical;
mod language_run;
mod language_variables;
mod quadlet;
mod registry_cache;
mod registry_conf;
mod registry_copy;
mod registry_faults;
mod registry_login;
mod registry_manifest;
mod run_agents;
mod run_binds;
mod run_caches;
mod run_flags;
mod run_host_gateway;
mod run_keep_id;
mod run_limits;
mod run_mounts;
mod run_ready;
mod run_secrets;
mod run_single_id;
mod run_views;
mod service;
mod test_readiness;
mod test_structure;

#[test]
fn no_test_file_was_forgotten() {
    let own = include_str!("main.rs");
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e");
    for entry in std::fs::read_dir(directory).expect("the tests' own directory") {
        let name = entry
            .expect("an entry of it")
            .file_name()
            .into_string()
            .expect("a name of ours");
        let Some(module) = name.strip_suffix(".rs").filter(|module| *module != "main") else {
            continue;
        };
        assert!(
            own.contains(&format!("mod {module};")),
            "{name} is not in main.rs"
        );
    }
}
