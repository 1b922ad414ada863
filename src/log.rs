//! Logs of the long-running processes: to stdout, a line each.

use tracing_subscriber::EnvFilter;

use crate::config::{ConfigError, Env};

/// What is shown unless `DROVER_LOG` says otherwise. apalis's own words on a
/// worker's life are left out: ours say the same once.
const DEFAULT: &str = "info,sqlx=warn,apalis=off,apalis_core=off,apalis_postgres=off,russh=warn";

/// Starts logging; `DROVER_LOG` is a filter such as `debug` or `info,drover=debug`.
///
/// # Errors
/// If it is no filter.
pub fn init(env: Env<'_>) -> Result<(), ConfigError> {
    let filter = env.get("DROVER_LOG").unwrap_or_else(|| DEFAULT.to_owned());
    let filter = EnvFilter::try_new(filter)
        .map_err(|e| ConfigError(format!("DROVER_LOG is no log filter: {e}")))?;
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(false)
        .try_init();
    Ok(())
}
