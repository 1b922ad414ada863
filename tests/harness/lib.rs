//! What the end-to-end tests, the demo's check and the benchmarks stand on: a
//! real PostgreSQL of their own, drover's real processes as the Procfile names
//! them, and a local herd.
//!
//! What returns a `Result` fails where the API, a database or a program refuses, and
//! where what is waited for is not there by its deadline. The rest fails the test.

pub mod aws;
pub mod daemon;
pub mod deployment;
pub mod flood;
mod held;
pub mod ledger;
pub mod machines;
pub mod moto;
pub mod pagerduty;
pub mod pair;
pub mod postgres;
pub mod processes;
pub mod records;
pub mod scenario;
mod shows;
pub mod sql;
mod standin;
pub mod webhook;
pub mod zendesk;

pub use daemon::Daemon;
pub use deployment::Deployment;
pub use held::Held;
pub use ledger::{Account, Ledger};
pub use machines::Machines;
pub use moto::Moto;
pub use pagerduty::{Alert, AlertState, PagerDuty};
pub use pair::Lead;
pub use postgres::Postgres;
pub use processes::Processes;
pub use shows::{Says, Shows};
pub use standin::Mood;
pub use webhook::WebhookReceiver;
pub use zendesk::Zendesk;

use std::future::Future;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// The provider that TLS uses, once per process.
pub fn init() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// One of drover's programs, as the last `cargo build --workspace` left it.
pub fn program(name: &str) -> Result<PathBuf> {
    let me = std::env::current_exe()?;
    let found = me
        .ancestors()
        .skip(1)
        .take(2)
        .map(|dir| dir.join(name))
        .find(|p| p.is_file());
    found.with_context(|| {
        format!("{name} is not built; run: cargo build --workspace (bin/test does)")
    })
}

/// How long to wait for what takes seconds, up to a minute on a machine that has much else to
/// do: a bound for what hangs, and no measure.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// Asks again and again until the answer is `Some`; tells how long that took. The longer that
/// is, the less often it asks: what is asked has other things to do.
///
/// # Errors
/// If the deadline passes, with the last thing `ask` had to say.
pub async fn until<T, F>(
    what: &str,
    deadline: Duration,
    mut ask: impl FnMut() -> F,
) -> Result<(T, f64)>
where
    F: Future<Output = Result<Result<T, String>>>,
{
    const SHORTEST: Duration = Duration::from_millis(50);
    const LONGEST: Duration = Duration::from_millis(500);
    let began = Instant::now();
    loop {
        let seen = match ask().await {
            Ok(Ok(done)) => return Ok((done, began.elapsed().as_secs_f64())),
            Ok(Err(seen)) => seen,
            // What is being waited for may be down for a moment.
            Err(e) => format!("{e:#}"),
        };
        let waited = began.elapsed();
        if waited > deadline {
            bail!("expected within {deadline:?}: {what}; seen: {seen}");
        }
        tokio::time::sleep((waited / 50).clamp(SHORTEST, LONGEST)).await;
    }
}

/// What [`until`] asks for: this, if it is as it should be; else how it is instead.
///
/// # Errors
/// Never; so that a closure can end with it.
pub fn when<T: std::fmt::Debug>(is: bool, seen: T) -> Result<Result<T, String>> {
    Ok(if is {
        Ok(seen)
    } else {
        Err(format!("{seen:?}"))
    })
}
