//! The `meshgate` program: arguments, runtime, exit code.

use std::process::ExitCode;

use meshgate::cli;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::run()
}
