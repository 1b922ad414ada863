//! Followers of a resource: asked for.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use super::body::Body;
use super::error::{ApiError, Result};
use super::params::unknown;
use super::subjects::{find, view};
use super::{Web, check, create};
use crate::api::{self, CreateFollower};
use crate::model::{Kind, Origin, PublicId, Resource, Server, State as SubjectState};
use crate::store::creation::{self, WantedFollower};
use crate::store::plans::{self, Plan};
use crate::store::quotas;
use crate::store::subjects::{self, Known};
use crate::store::{changes, places};

/// Most followers of one resource.
const MOST: usize = 5;

/// `POST /v1/resources/{id}/followers`: 202.
pub async fn post(
    State(web): State<Web>,
    named: PublicId,
    body: Body,
) -> Result<(StatusCode, Json<api::Subject>)> {
    let asked = read(&body)?;
    let mut db = web.pool.begin().await?;
    find(&mut db, named).await?;
    changes::hold(&mut db, named.id).await?;
    let row = subjects::load(&mut db, &[named.id]).await?.pop();
    let row = row.ok_or_else(|| unknown(named))?;
    let known = row.open(&web.config.secret_key).map_err(|error| {
        tracing::error!(id = %named.id, %error, "the record cannot be opened");
        ApiError::internal()
    })?;
    let Known::Resource(leader, server) = known else {
        return Err(unknown(named));
    };
    let plan = plans::find(&mut db, &leader.plan).await?;
    let plan = may_be_followed(&leader, plan)?;
    let others = creation::followers_of(&mut db, named.id).await?;
    if others.len() >= MOST {
        let message = format!("it has {MOST} followers already, as many as there may be");
        return Err(ApiError::conflict("too_many_followers", message));
    }
    let (Some(cloud), Some(region)) = (server.cloud, server.region.clone()) else {
        return Err(ApiError::internal());
    };
    let sizes = sizes(&plan, cloud, asked.size.as_deref())?;
    let zone = zone(&mut db, &server, &others, asked.zone.as_deref()).await?;
    let name = match asked.name {
        Some(name) => name,
        None => {
            let tail = crate::model::SubjectId::generate().to_string();
            let stem = leader
                .subject
                .name
                .get(..44)
                .unwrap_or(&leader.subject.name);
            format!("{stem}-{}", tail[tail.len() - 6..].to_ascii_lowercase())
        }
    };
    let wanted = WantedFollower {
        name,
        leader: named.id,
        plan,
        sizes,
        cloud,
        region,
        zone,
        own_password: leader.password.clone(),
        asked_by: "api".into(),
    };
    quotas::lock(&mut db).await?;
    let (id, operation) = creation::follow(&mut db, &web.config.secret_key, &wanted)
        .await
        .map_err(create::refused)?;
    let limits = web.config.quotas;
    create::within(quotas::of_kind(&mut db, Kind::Resource, limits.resources).await?)?;
    create::within(quotas::of_kind(&mut db, Kind::Server, limits.servers).await?)?;
    create::within(quotas::of_plan(&mut db, &wanted.plan).await?)?;
    let named = PublicId::new(Kind::Resource, id);
    let shown = view(&mut db, named).await?;
    db.commit().await?;
    tracing::info!(resource = %id, operation = %operation.public(), "a follower is wanted");
    Ok((StatusCode::ACCEPTED, Json(shown)))
}

/// Reads what follower is to be made.
///
/// # Errors
/// If something of it is no such thing.
pub fn read(body: &Body) -> Result<CreateFollower> {
    body.only(&["name", "zone", "size"])?;
    Ok(CreateFollower {
        name: check::optional(check::name, "name", body.text("name")?)?,
        zone: body.owned("zone")?,
        size: body.owned("size")?,
    })
}

fn may_be_followed(leader: &Resource, plan: Option<Plan>) -> Result<Plan> {
    let subject = &leader.subject;
    let refuse = |code: &'static str, message: String| Err(ApiError::conflict(code, message));
    if subject.origin == Origin::Adopted {
        return refuse(
            "adopted",
            "it was adopted; drover makes followers of what it made".into(),
        );
    }
    if leader.leader.is_some() {
        let message = format!("{} is a follower itself; ask its leader", subject.name);
        return refuse("is_follower", message);
    }
    match subject.state {
        SubjectState::Destroying | SubjectState::Destroyed => {
            let message = format!("{} is being destroyed", subject.name);
            return refuse("wrong_state", message);
        }
        SubjectState::Creating
        | SubjectState::Available
        | SubjectState::Uncertain
        | SubjectState::Unavailable => {}
    }
    if leader.replication_password.is_none() {
        let message = format!("{} was made before drover knew followers", subject.name);
        return refuse("wrong_state", message);
    }
    match plan {
        Some(plan) if !plan.shared => Ok(plan),
        Some(plan) => {
            let message = format!(
                "plan {} shares its servers; followers are for plans with a server of their own",
                plan.name
            );
            refuse("shared_plan", message)
        }
        None => refuse(
            "unknown_plan",
            format!("there is no plan {} any more", leader.plan),
        ),
    }
}

fn sizes(plan: &Plan, cloud: crate::model::Cloud, wanted: Option<&str>) -> Result<Vec<String>> {
    let all = plan.sizes_in(cloud);
    match wanted {
        None => Ok(all.to_vec()),
        Some(size) if all.iter().any(|s| s == size) => Ok(vec![size.to_owned()]),
        Some(_) => {
            let message = format!(
                "plan {} has no such size; it has: {}",
                plan.name,
                all.join(", ")
            );
            Err(ApiError::unprocessable("unknown_size", message).field("size"))
        }
    }
}

/// The zone that is asked for, or the one with the fewest of this resource's nodes.
async fn zone(
    db: &mut sqlx::PgConnection,
    server: &Server,
    others: &[crate::model::SubjectId],
    wanted: Option<&str>,
) -> Result<String> {
    let cloud = server.cloud.map(crate::model::Cloud::as_str);
    let regions = places::regions(db).await?;
    let region = regions
        .into_iter()
        .find(|r| Some(r.cloud.as_str()) == cloud && server.region.as_deref() == Some(&r.name));
    let zones = region.map(|region| region.zones).unwrap_or_default();
    if let Some(wanted) = wanted {
        let wanted = check::line("zone", wanted, 63)?;
        if zones.is_empty() || zones.contains(&wanted) {
            return Ok(wanted);
        }
        let message = format!("there is no such zone; there are: {}", zones.join(", "));
        return Err(ApiError::unprocessable("unknown_zone", message).field("zone"));
    }
    let mut taken: Vec<String> = server.zone.clone().into_iter().collect();
    for row in subjects::load(db, others).await? {
        if let Known::Resource(_, its) = row.without_secrets()? {
            taken.extend(its.zone.clone());
        }
    }
    let fewest = zones
        .iter()
        .min_by_key(|zone| taken.iter().filter(|taken| taken == zone).count());
    fewest.cloned().ok_or_else(|| {
        let message = "no zone of its region is known; name one";
        ApiError::conflict("no_zone", message).field("zone")
    })
}
