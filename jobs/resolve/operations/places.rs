//! Where things can be made: what the clouds of this process say of their zones.

use std::time::Duration;

use drover::model::Cloud;
use drover::store::places;
use sqlx::PgPool;

use super::Finding;
use crate::cloud::{Cloud as _, Clouds};

/// How long a region may take over its zones.
const LIMIT: Duration = Duration::from_secs(5);

/// Every region with its zones, or why they are not known.
pub(super) async fn look(clouds: &Clouds) -> Vec<Finding> {
    let regions = clouds.regions().into_iter();
    let asked = regions.map(|(cloud, name)| async move {
        let zones = zones(clouds, cloud, &name).await;
        Finding::Region(cloud, name, zones)
    });
    futures::future::join_all(asked).await
}

async fn zones(clouds: &Clouds, cloud: Cloud, name: &str) -> Result<Vec<String>, String> {
    let region = clouds.of(cloud, Some(name));
    let region = region.ok_or_else(|| "this worker has no access to it".to_owned())?;
    match tokio::time::timeout(LIMIT, region.zones()).await {
        Ok(Ok(zones)) => Ok(zones),
        Ok(Err(e)) => Err(e.to_string()),
        Err(_) => Err(format!("no answer within {} s", LIMIT.as_secs())),
    }
}

/// Publishes them, so that web knows at once where things can be made. Each
/// reconciliation does it again.
pub(crate) async fn publish(pool: &PgPool, clouds: &Clouds) {
    let published = async {
        for finding in look(clouds).await {
            let Finding::Region(cloud, name, zones) = finding else {
                continue;
            };
            let zones = zones.as_deref().map_err(String::as_str);
            let mut db = pool.acquire().await?;
            places::publish(&mut db, cloud, &name, zones).await?;
        }
        Ok::<(), sqlx::Error>(())
    };
    if let Err(error) = published.await {
        tracing::warn!(%error, "the clouds' regions could not be published");
    }
}
