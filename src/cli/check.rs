//! `meshgate check`

use std::{env, path::PathBuf};

use clap::Args;

use super::{Exit, print};
use crate::{
    config::{self, Issue},
    registry,
};

#[derive(Args, Debug)]
pub(super) struct Check {
    /// Configuration files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl Check {
    pub(super) fn run(&self) -> Exit {
        let kinds = registry::kinds();
        let mut exit = Exit::Clean;
        for file in &self.files {
            match config::load(file, &kinds, &|name| env::var_os(name)) {
                Ok(config) => {
                    for mut warning in config.warnings {
                        warning.message.insert_str(0, "warning: ");
                        print(&Issue::new(file, warning).to_string());
                    }
                    print(&format!("{}: good", file.display()));
                }
                Err(issues) => {
                    exit = Exit::BadConfig;
                    for issue in issues {
                        print(&issue.to_string());
                    }
                }
            }
        }
        exit
    }
}
