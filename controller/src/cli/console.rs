//! Lines for a terminal or a pipe. Whoever reads them may have gone away (`| head`): that ends no command.

use std::{
    fmt::Display,
    io::{self, Write},
};

/// Prints one line to standard output; a closed one is not an error.
pub(super) fn print_line(line: impl Display) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// Prints one line to standard error; a closed one is not an error.
pub(super) fn warn_line(line: impl Display) {
    let _ = writeln!(io::stderr(), "ballast: {line}");
}
