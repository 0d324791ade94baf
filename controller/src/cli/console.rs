//! Lines for a terminal or a pipe. Whoever reads them may have gone away (`| head`): that ends no command.

use std::{
    fmt::Display,
    io::{self, IsTerminal, Write},
};

/// Prints one line to standard output; a closed one is not an error.
pub(super) fn print_line(line: impl Display) {
    let _ = show_line(line);
}

/// The same, for those who go on only while somebody reads.
///
/// # Errors
/// When standard output is closed.
pub(super) fn show_line(line: impl Display) -> io::Result<()> {
    writeln!(io::stdout(), "{}", printable(line))
}

/// Begins a new screen where standard output is one.
pub(super) fn clear_screen() {
    if io::stdout().is_terminal() {
        // ECMA-48: cursor to the first place, erase all.
        let _ = write!(io::stdout(), "\x1b[H\x1b[2J");
    }
}

/// Prints one line to standard error; a closed one is not an error.
pub(super) fn warn_line(line: impl Display) {
    let _ = writeln!(io::stderr(), "ballast: {}", printable(line));
}

/// What nodes and files say is shown too, and a terminal would take control characters for commands.
fn printable(line: impl Display) -> String {
    line.to_string().chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_says_commands_no_terminal() {
        assert_eq!(printable("a\x1b]0;b\x07\r\u{9b}2J\n\tü"), "a]0;b2J\n\tü");
    }
}
