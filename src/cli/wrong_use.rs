//! What is said to whoever asks in a way that cannot be understood.

use std::process::ExitCode;

use clap::error::ErrorKind;

use super::table;

/// Tells what is wrong with the arguments, or the help that was asked for.
pub fn wrong_arguments(error: &clap::Error) -> ExitCode {
    let asked = matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    );
    let no_command = error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
    if asked || no_command {
        // Where there is no one to read it, there is nothing to do about it.
        let _ = error.print();
        return if asked {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(2)
        };
    }
    let text = error.to_string();
    let told = text.split("\n\nUsage:").next().unwrap_or(&text);
    let told = told
        .split("\n\nFor more information")
        .next()
        .unwrap_or(told);
    let told = told.strip_prefix("error: ").unwrap_or(told);
    eprintln!("drover: {} (see drover --help)", one_line(told));
    ExitCode::from(2)
}

/// An error is one line, whatever it was made of.
pub fn one_line(text: &str) -> String {
    table::plain(&text.split_whitespace().collect::<Vec<_>>().join(" "))
}
