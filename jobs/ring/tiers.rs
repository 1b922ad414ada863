//! The rules of each tier, read again every few seconds.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use drover::model::Rules;
use drover::store::tiers;
use serde_json::Value;
use sqlx::PgPool;

use super::WorkError;

/// The rules of each tier, read again every few seconds.
pub struct Tiers {
    pool: PgPool,
    deployment: Value,
    known: Mutex<Option<Known>>,
    /// Only one of the handlers reads them at a time.
    reading: tokio::sync::Mutex<()>,
}

/// When the rules were read, and what they were.
struct Known {
    read: Instant,
    rules: HashMap<String, Arc<Rules>>,
}

impl Tiers {
    const FRESH: Duration = Duration::from_secs(5);

    /// Of a deployment with these rules of its own.
    pub fn new(pool: PgPool, deployment: Value) -> Self {
        Self {
            pool,
            deployment,
            known: Mutex::new(None),
            reading: tokio::sync::Mutex::new(()),
        }
    }

    /// The rules of a tier.
    ///
    /// # Errors
    /// If they cannot be read, or there is no such tier.
    pub async fn of(&self, tier: &str) -> Result<Arc<Rules>, WorkError> {
        if let Some(rules) = self.known(tier) {
            return Ok(rules);
        }
        let _one = self.reading.lock().await;
        if let Some(rules) = self.known(tier) {
            return Ok(rules);
        }
        let mut db = self.pool.acquire().await?;
        let mut known = HashMap::new();
        for (name, layer) in tiers::all(&mut db).await? {
            let rules = Rules::layered(&[&self.deployment, &layer]).or_else(|e| {
                // Its subjects go by the deployment's rules rather than by none.
                tracing::error!(tier = %name, error = %e, "the tier's rules cannot be used");
                Rules::layered(&[&self.deployment]).map_err(|e| anyhow::anyhow!(e))
            })?;
            known.insert(name, Arc::new(rules));
        }
        let rules = known.get(tier).cloned();
        *self.known.lock().unwrap_or_else(|e| e.into_inner()) = Some(Known {
            read: Instant::now(),
            rules: known,
        });
        rules.ok_or_else(|| anyhow::anyhow!("there is no tier {tier}").into())
    }

    fn known(&self, tier: &str) -> Option<Arc<Rules>> {
        let known = self.known.lock().unwrap_or_else(|e| e.into_inner());
        let Known { read, rules } = known.as_ref()?;
        if read.elapsed() > Self::FRESH {
            None
        } else {
            rules.get(tier).cloned()
        }
    }
}
