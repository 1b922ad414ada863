//! Which of the clocks does the chores: the one that holds an advisory lock.

use std::time::Duration;

use sqlx::{Connection, PgConnection, PgPool};
use tokio::sync::Mutex;

use crate::store::{self, lead, old_record};

const LIMIT: Duration = Duration::from_secs(5);

/// Holds the lock on a connection of its own; if the connection dies, so does
/// the lock, and whoever asks first is the next leader.
pub(super) struct Leader {
    pool: PgPool,
    held: Mutex<Option<PgConnection>>,
}

impl Leader {
    pub(super) fn new(pool: PgPool) -> Self {
        Self {
            pool,
            held: Mutex::new(None),
        }
    }

    /// Whether this clock leads now; takes the lead if nobody has it.
    pub(super) async fn leads(&self) -> bool {
        let mut held = self.held.lock().await;
        if let Some(connection) = held.as_mut() {
            let may_write = store::may_write(connection);
            if matches!(tokio::time::timeout(LIMIT, may_write).await, Ok(Ok(true))) {
                return true;
            }
            tracing::warn!("the connection that held the lead is gone, or may not write");
            *held = None;
        }
        match tokio::time::timeout(LIMIT, self.take()).await {
            Ok(Ok(Some(connection))) => {
                tracing::info!("this clock leads");
                *held = Some(connection);
                true
            }
            Ok(Ok(None)) => false,
            Ok(Err(e)) => {
                tracing::warn!(error = %e, "cannot ask who leads");
                false
            }
            Err(_) => {
                tracing::warn!("cannot ask who leads: no answer in time");
                false
            }
        }
    }

    /// Never back into the pool, wherever this is cut off: the lock must not
    /// outlive the lead.
    async fn take(&self) -> sqlx::Result<Option<PgConnection>> {
        let mut connection = self.pool.acquire().await?.detach();
        if lead::take(&mut connection).await? {
            old_record::recognise(&mut connection).await?;
            return Ok(Some(connection));
        }
        connection.close().await?;
        Ok(None)
    }

    /// Gives the lead up, so that another clock need not wait.
    pub(super) async fn resign(&self) {
        if let Some(connection) = self.held.lock().await.take()
            && !matches!(
                tokio::time::timeout(LIMIT, connection.close()).await,
                Ok(Ok(()))
            )
        {
            tracing::debug!("the connection that held the lead was already gone");
        }
    }
}
