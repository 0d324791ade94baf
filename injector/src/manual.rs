//! The manual page and the completions of shells, made from the command line as it is.
//!
//! Must not know any option by itself.

use std::io::{self, Write};

use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::Cli;

/// Writes the manual page of the whole, or of one subcommand.
///
/// # Errors
/// When there is no such subcommand, or nothing can be written.
pub fn write_page(subcommand: Option<&str>, to: &mut impl Write) -> io::Result<()> {
    let mut command = Cli::command();
    command.build();
    let page = match subcommand {
        None => command,
        Some(name) => {
            let unknown =
                || io::Error::new(io::ErrorKind::NotFound, format!("there is no subcommand {name:?}"));
            let found = command.find_subcommand(name).filter(|found| !found.is_hide_set());
            // It is built as `ballast-injector-cpu`, as the pages of git and others are called.
            found.ok_or_else(unknown)?.clone()
        }
    };
    clap_mangen::Man::new(page).render(to)
}

/// Writes what makes a shell complete options.
///
/// # Errors
/// When nothing can be written.
pub fn write_completions(shell: Shell, to: &mut impl Write) -> io::Result<()> {
    // Into memory first: the generator panics where it cannot write.
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "ballast-injector", &mut text);
    to.write_all(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_subcommand_has_a_page_with_its_options() {
        let shown: Vec<_> =
            Cli::command().get_subcommands().filter(|sub| !sub.is_hide_set()).cloned().collect();
        assert!(shown.len() > 4);
        for subcommand in shown {
            let mut page = Vec::new();
            write_page(Some(subcommand.get_name()), &mut page).unwrap();
            let page = String::from_utf8(page).unwrap().replace("\\-", "-");
            let shown = subcommand.get_opts().filter(|option| !option.is_hide_set());
            for option in shown.filter_map(clap::Arg::get_long) {
                assert!(page.contains(&format!("--{option}")), "{}: {option}", subcommand.get_name());
            }
        }
        assert!(write_page(Some("worker"), &mut Vec::new()).is_err(), "hidden");
        let mut page = Vec::new();
        write_page(None, &mut page).unwrap();
        assert!(String::from_utf8(page).unwrap().contains("campaign"));
    }

    #[test]
    fn shells_learn_the_subcommands() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut text = Vec::new();
            write_completions(shell, &mut text).unwrap();
            assert!(String::from_utf8(text).unwrap().contains("campaign"), "{shell}");
        }
    }

    #[test]
    fn who_does_not_listen_to_the_end_is_an_error() {
        let mut short = [0; 100];
        assert!(write_completions(Shell::Bash, &mut short.as_mut_slice()).is_err());
    }
}
