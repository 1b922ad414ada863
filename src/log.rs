//! Logs of the long-running processes: to stdout, a line each.

use tracing_subscriber::EnvFilter;

use crate::config::{ConfigError, Env};

/// What is shown unless `DROVER_LOG` says otherwise. apalis's own words on a
/// worker's life are left out: ours say the same once.
const DEFAULT: &str = "info,sqlx=warn,apalis=off,apalis_core=off,apalis_postgres=off,russh=warn";

/// Whatever else is asked for: below this, the AWS SDK writes down whole requests, and
/// one of them holds a server's private host key.
const LEAST: &str = "aws_smithy_runtime=info,aws_smithy_runtime::client::orchestrator=info";

/// Starts logging; `DROVER_LOG` is a filter such as `debug` or `info,drover=debug`.
///
/// # Errors
/// If it is no filter.
pub fn init(env: Env<'_>) -> Result<(), ConfigError> {
    let filter = env.get("DROVER_LOG").unwrap_or_else(|| DEFAULT.to_owned());
    // Of two words on the same target, the later one counts.
    let filter = EnvFilter::try_new(format!("{filter},{LEAST}"))
        .map_err(|e| ConfigError(format!("DROVER_LOG is no log filter: {e}")))?;
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(false)
        .try_init();
    Ok(())
}
