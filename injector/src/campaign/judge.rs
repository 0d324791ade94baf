//! What the command line would say of each injection, before the first one begins.
//!
//! Must not know how an injection is started.

use std::ffi::OsString;

use clap::{CommandFactory, FromArgMatches};

use super::schedule::Scheduled;
use crate::cli::{Cli, Command};

/// The longest argument that the kernel hands to a program, in bytes (its MAX_ARG_STRLEN, less the byte that ends it).
const MOST_OF_ONE: usize = (128 << 10) - 1;

/// The most that all of them may have: half of what the kernel takes with the usual stack of 8 MiB. The environment counts too.
const MOST_OF_ALL: usize = 1 << 20;

/// What each argument costs beside its text: the byte that ends it, and where it is.
const OF_EACH: usize = 1 + size_of::<usize>();

/// So much of a command line is shown with what is wrong with it, in characters.
const SHOWN: usize = 200;

/// The parser of this program's command line, made once: it is asked up to 100,000 times.
pub(super) struct Judge(clap::Command);

impl Judge {
    pub(super) fn new() -> Self {
        Self(Cli::command())
    }

    /// What is wrong with it, if anything: `line` is all of its command line, without the program.
    pub(super) fn problem(&mut self, injection: &Scheduled, line: &[OsString]) -> Option<String> {
        let said = self.said(line).err()?;
        Some(format!(
            "injection {} (`{}`): {said}",
            injection.number,
            begin_of(&injection.arguments().join(" "))
        ))
    }

    fn said(&mut self, line: &[OsString]) -> Result<(), String> {
        if line.iter().any(|argument| argument.as_encoded_bytes().contains(&0)) {
            return Err("a character of it is NUL: no program can be told so".to_owned());
        }
        fits(line)?;
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

/// Whether the kernel hands so much to a program: where it does not, the process could not be started when it is time.
fn fits(line: &[OsString]) -> Result<(), String> {
    if let Some(long) = line.iter().map(|argument| argument.len()).find(|length| *length > MOST_OF_ONE) {
        return Err(format!(
            "one of its options has {long} bytes, and no program takes more than {MOST_OF_ONE} in one"
        ));
    }
    let all: usize = line.iter().map(|argument| argument.len() + OF_EACH).sum();
    if all > MOST_OF_ALL {
        return Err(format!("its options have {all} bytes together, and at most {MOST_OF_ALL} are taken"));
    }
    Ok(())
}

/// All of it, where it is no longer than what is shown.
fn begin_of(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// What follows the first empty line is how to use the program.
fn first_paragraph(error: &str) -> String {
    let lines: Vec<_> = error.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    lines.join(" ").trim_start_matches("error: ").to_owned()
}
