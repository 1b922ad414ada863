//! Where something is to be made, and of what size: what was asked for, held
//! against what the workers have published.

use sqlx::PgConnection;

use super::body::missing;
use super::check;
use super::error::{ApiError, Result};
use crate::model::Cloud;
use crate::store::places::{self, Region};
use crate::store::plans;

/// The plan whose first size a server has that was asked for without one.
const USUAL_PLAN: &str = "production";

/// A place in a cloud.
pub struct Place {
    /// Which cloud.
    pub cloud: Cloud,
    /// Its region.
    pub region: String,
    /// The zone; `None`: any.
    pub zone: Option<String>,
}

/// The place that is meant by what is said of it.
///
/// # Errors
/// If there is none, or more than one.
pub async fn find(
    db: &mut PgConnection,
    cloud: Option<Cloud>,
    region: Option<&str>,
    zone: Option<&str>,
) -> Result<Place> {
    let all = places::regions(db).await?;
    let fits = |at: &&Region| {
        cloud.is_none_or(|cloud| at.cloud == cloud) && region.is_none_or(|name| at.name == name)
    };
    let found: Vec<&Region> = all.iter().filter(fits).collect();
    let at = match found[..] {
        [one] => one,
        [] if all.is_empty() => return Err(no_region()),
        [] => {
            let field = if region.is_some() { "region" } else { "cloud" };
            let message = format!("nothing can be made there; there are: {}", names(&all));
            return Err(ApiError::unprocessable("unknown_region", message).field(field));
        }
        _ => {
            let message = format!(
                "region is missing, as there are several: {}",
                names(found.iter().copied())
            );
            return Err(ApiError::unprocessable("missing_field", message).field("region"));
        }
    };
    Ok(Place {
        cloud: at.cloud,
        region: at.name.clone(),
        zone: match zone {
            None | Some("any") => None,
            Some(zone) => Some(zone_of(at, zone)?),
        },
    })
}

fn zone_of(at: &Region, zone: &str) -> Result<String> {
    let zone = check::line("zone", zone, 63)?;
    // A cloud that could not be asked for its zones will say itself whether it has
    // this one.
    if at.zones.is_empty() || at.zones.contains(&zone) {
        return Ok(zone);
    }
    let message = format!(
        "{} has no such zone; it has: {}, any",
        at.name,
        at.zones.join(", ")
    );
    Err(ApiError::unprocessable("unknown_zone", message).field("zone"))
}

fn names<'a>(regions: impl IntoIterator<Item = &'a Region>) -> String {
    let names: Vec<String> = regions
        .into_iter()
        .map(|at| format!("{} of cloud {}", at.name, at.cloud))
        .collect();
    names.join(", ")
}

fn no_region() -> ApiError {
    ApiError::conflict(
        "no_region",
        "there is no cloud to make it in: a `drover-worker resolve` must run that has \
         access to one; GET /v1/regions shows what it found",
    )
}

/// The size that is asked for, one of its cloud's, or the usual one.
///
/// # Errors
/// If the cloud has no such size.
pub async fn size(db: &mut PgConnection, wanted: Option<&str>, cloud: Cloud) -> Result<String> {
    if let Some(wanted) = wanted {
        return known_size(db, cloud, wanted).await;
    }
    let usual = plans::find(db, USUAL_PLAN).await?;
    let usual = usual.and_then(|plan| plan.sizes_in(cloud).first().cloned());
    usual.ok_or_else(|| missing("size"))
}

/// This size, if the cloud has it.
///
/// # Errors
/// If not.
pub async fn known_size(db: &mut PgConnection, cloud: Cloud, wanted: &str) -> Result<String> {
    one_of(cloud, wanted, &places::sizes(db, cloud).await?)
}

/// This size, if it is among these.
///
/// # Errors
/// If not.
pub fn one_of(cloud: Cloud, wanted: &str, sizes: &[String]) -> Result<String> {
    if let Some(size) = sizes.iter().find(|size| *size == wanted) {
        return Ok(size.clone());
    }
    let message = format!(
        "there is no such size for it in cloud {cloud}; there are: {}",
        sizes.join(", ")
    );
    Err(ApiError::unprocessable("unknown_size", message).field("size"))
}
