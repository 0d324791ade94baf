//! What the command line would say of each injection, before the first one begins.
//!
//! Must not know how an injection is started.

use std::ffi::OsString;

use clap::{CommandFactory, FromArgMatches};

use super::schedule::Scheduled;
use crate::cli::{Cli, Command};

/// The parser of this program's command line, made once: it is asked up to 100,000 times.
pub(super) struct Judge(clap::Command);

impl Judge {
    pub(super) fn new() -> Self {
        Self(Cli::command())
    }

    /// What is wrong with it, if anything: `line` is all of its command line, without the program.
    pub(super) fn problem(&mut self, injection: &Scheduled, line: &[OsString]) -> Option<String> {
        let said = self.said(line).err()?;
        Some(format!("injection {} (`{}`): {said}", injection.number, injection.arguments().join(" ")))
    }

    fn said(&mut self, line: &[OsString]) -> Result<(), String> {
        if line.iter().any(|argument| argument.as_encoded_bytes().contains(&0)) {
            return Err("a character of it is NUL: no program can be told so".to_owned());
        }
        let program = [OsString::from("ballast-injector")];
        let matches = self.0.try_get_matches_from_mut(program.iter().chain(line));
        match matches.and_then(|matches| Cli::from_arg_matches(&matches)) {
            Err(error) => Err(first_paragraph(&error.to_string())),
            Ok(Cli { command: Command::Load(load) }) => {
                load.check().map_err(|error| format!("{:#}", anyhow::Error::from(error)))
            }
            Ok(cli) if cli.command.is_injection() => Ok(()),
            Ok(_) => Err("it is no kind of injection".to_owned()),
        }
    }
}

/// What follows the first empty line is how to use the program.
fn first_paragraph(error: &str) -> String {
    let lines: Vec<_> = error.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    lines.join(" ").trim_start_matches("error: ").to_owned()
}
