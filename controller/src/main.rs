//! `ballast`, the master. The subcommands live in `cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ballast_controller::cli::main()
}
