//! Which of the clocks does the chores: the one that has the lead.

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use tokio::sync::Mutex;
use tokio::time::timeout;
use ulid::Ulid;

use crate::store::{lead, old_record};

const LIMIT: Duration = Duration::from_secs(5);

/// Holds the lead under a name of its own, and says so before each chore.
pub(super) struct Leader {
    pool: PgPool,
    name: String,
    /// `None`: it has resigned for good.
    held: Mutex<Option<bool>>,
}

impl Leader {
    pub(super) fn new(pool: PgPool) -> Self {
        let host = gethostname::gethostname();
        Self {
            pool,
            name: format!(
                "clock@{}:{}:{}",
                host.to_string_lossy(),
                std::process::id(),
                Ulid::generate()
            ),
            held: Mutex::new(Some(false)),
        }
    }

    /// Whether this clock leads now; takes the lead if nobody has it. It is not cut off with
    /// whoever asks: what it has begun to say must not come behind its resignation.
    pub(super) async fn leads(self: &Arc<Self>) -> bool {
        let this = self.clone();
        let says = tokio::spawn(async move { this.says_so().await });
        says.await.unwrap_or_default()
    }

    async fn says_so(&self) -> bool {
        let mut held = self.held.lock().await;
        let Some(led) = *held else { return false };
        let leads = match timeout(LIMIT, self.take(led)).await {
            Ok(Ok(leads)) => leads,
            Ok(Err(e)) => {
                tracing::warn!(error = %e, "cannot ask who leads");
                false
            }
            Err(_) => {
                tracing::warn!("cannot ask who leads: no answer in time");
                false
            }
        };
        match (led, leads) {
            (false, true) => tracing::info!("this clock leads"),
            (true, false) => tracing::warn!("this clock leads no longer"),
            (true, true) | (false, false) => {}
        }
        *held = Some(leads);
        leads
    }

    async fn take(&self, led: bool) -> sqlx::Result<bool> {
        let mut db = self.pool.acquire().await?;
        let leads = lead::take(&mut db, &self.name).await?;
        if leads && !led {
            old_record::recognise(&mut db).await?;
        }
        Ok(leads)
    }

    /// Gives the lead up, so that another clock need not wait for its end.
    pub(super) async fn resign(&self) {
        *self.held.lock().await = None;
        let resigned = timeout(LIMIT, async {
            let mut db = self.pool.acquire().await?;
            lead::resign(&mut db, &self.name).await
        });
        if !matches!(resigned.await, Ok(Ok(()))) {
            tracing::debug!("the lead could not be given up; it ends by itself");
        }
    }
}
