//! Subjects that drover is to make: what may be asked for, and why it is refused.

use axum::Json;
use axum::http::StatusCode;
use rand::distr::{Alphanumeric, SampleString};
use sqlx::PgConnection;

use super::body::{Body, missing};
use super::error::{ApiError, Result};
use super::params::Named;
use super::views::SubjectView;
use super::{Web, check, place, subjects};
use crate::model::{Cloud, Durability, Kind, PublicId, Secret, Window, secret};
use crate::store::creation::{self, CreateError, WantedResource, WantedServer};
use crate::store::plans::{self, Plan};
use crate::store::quotas::{self, Exceeded};

/// PostgreSQL's major versions that drover knows its way about.
const POSTGRES: std::ops::RangeInclusive<u32> = 13..=18;
/// GiB of a data volume.
pub const VOLUME_GIB: std::ops::RangeInclusive<u32> = 1..=65_536;
/// GiB of a data volume that nobody said anything about.
const USUAL_GIB: u32 = 100;
/// Types of volumes whose speed needs no further figures.
const VOLUME_TYPES: [&str; 2] = ["gp3", "gp2"];

const SERVER: [&str; 9] = [
    "name",
    "cloud",
    "region",
    "zone",
    "size",
    "volume_gib",
    "volume_type",
    "tier",
    "postgres",
];
const RESOURCE: [&str; 8] = [
    "name",
    "plan",
    "cloud",
    "region",
    "zone",
    "maintenance_window",
    "durability",
    "password",
];

/// Writes a server down that is to be made: 202.
pub async fn server(web: &Web, body: &Body) -> Result<(StatusCode, Json<SubjectView>)> {
    only(body, &SERVER, "address", "a server that is there already")?;
    let name = check::name("name", body.required("name")?)?;
    let tier = check::name("tier", body.text("tier")?.unwrap_or("standard"))?;
    let postgres = body.number("postgres", POSTGRES)?;
    let volume_gib = body.number("volume_gib", VOLUME_GIB)?.unwrap_or(USUAL_GIB);
    let volume_type = volume_type(body)?;
    let mut db = web.pool.begin().await?;
    let at = place::read(&mut db, body).await?;
    let wanted = WantedServer {
        name,
        tier,
        sizes: vec![place::size(&mut db, body, at.cloud).await?],
        cloud: at.cloud,
        region: at.region,
        zone: at.zone,
        volume_gib,
        volume_type,
        postgres,
        for_plan: None,
        asked_by: "api".into(),
    };
    quotas::lock(&mut db).await?;
    let (id, operation) = creation::server(&mut db, &wanted).await.map_err(refused)?;
    within(quotas::of_kind(&mut db, Kind::Server, web.config.quotas.servers).await?)?;
    let view = view(&mut db, Kind::Server, id).await?;
    db.commit().await?;
    tracing::info!(server = %id, operation = %operation.public(), "a server is wanted");
    Ok((StatusCode::ACCEPTED, Json(view)))
}

/// Writes a resource down that is to be made: 202.
pub async fn resource(web: &Web, body: &Body) -> Result<(StatusCode, Json<SubjectView>)> {
    only(
        body,
        &RESOURCE,
        "server",
        "a database that is there already",
    )?;
    let name = check::name("name", body.required("name")?)?;
    let window = window(body)?;
    let durability = durability(body)?;
    let customer_password = password(body)?;
    let mut db = web.pool.begin().await?;
    let plan = plan(&mut db, body).await?;
    let at = place::read(&mut db, body).await?;
    had_there(&plan, at.cloud)?;
    let durability = kept(&plan, durability)?;
    let wanted = WantedResource {
        name,
        plan,
        cloud: at.cloud,
        region: at.region,
        zone: at.zone,
        window,
        durability,
        own_password: generated(),
        customer_password,
        replication_password: generated(),
        asked_by: "api".into(),
    };
    quotas::lock(&mut db).await?;
    let (id, operation) = creation::resource(&mut db, &web.config.secret_key, &wanted)
        .await
        .map_err(refused)?;
    let limits = web.config.quotas;
    within(quotas::of_kind(&mut db, Kind::Resource, limits.resources).await?)?;
    within(quotas::of_kind(&mut db, Kind::Server, limits.servers).await?)?;
    within(quotas::of_plan(&mut db, &wanted.plan).await?)?;
    let view = view(&mut db, Kind::Resource, id).await?;
    db.commit().await?;
    tracing::info!(resource = %id, operation = %operation.public(), "a resource is wanted");
    Ok((StatusCode::ACCEPTED, Json(view)))
}

/// A password of 32 letters and digits.
pub fn generated() -> Secret {
    secret(Alphanumeric.sample_string(&mut rand::rng(), 32))
}

/// The customer's password: the one given, or a new one.
///
/// # Errors
/// If the one given is none.
pub fn password(body: &Body) -> Result<Secret> {
    match body.text("password")? {
        Some(text) => Ok(secret(check::password("password", text)?)),
        None => Ok(generated()),
    }
}

/// The maintenance window that a body asks for; `None`: the deployment's own.
///
/// # Errors
/// If it is none.
pub fn window(body: &Body) -> Result<Option<Window>> {
    let field = "maintenance_window";
    let text = body.text(field)?;
    text.map(str::parse)
        .transpose()
        .map_err(|error| ApiError::invalid(field, format!("{field} {error}")))
}

/// What commits are to wait for, as a body asks for it; `None`: it does not say.
///
/// # Errors
/// If it is neither `async` nor `sync`.
pub fn durability(body: &Body) -> Result<Option<Durability>> {
    let field = "durability";
    let text = body.text(field)?;
    text.map(str::parse)
        .transpose()
        .map_err(|error| ApiError::invalid(field, format!("{field} {error}")))
}

/// The durability that is asked for, or the plan's own, if the plan can keep it.
fn kept(plan: &Plan, wanted: Option<Durability>) -> Result<Durability> {
    let durability = match wanted {
        Some(wanted) => wanted,
        None => plan.durability.parse().map_err(|error| {
            tracing::error!(plan = plan.name, %error, "a plan's durability");
            ApiError::internal()
        })?,
    };
    if durability == Durability::Sync && plan.followers < 1 {
        let message = format!(
            "durability sync waits for a follower, and plan {} comes without one; choose a plan              with followers (GET /v1/plans), or make it async, then a follower, then set its              durability",
            plan.name
        );
        return Err(ApiError::unprocessable("no_follower", message).field("durability"));
    }
    Ok(durability)
}

/// Refuses the fields that no creation has; those of an adoption are told apart.
fn only(body: &Body, known: &[&str], adopts: &str, what: &str) -> Result<()> {
    body.only(known).map_err(|error| {
        error.and(format!(
            "; with `{adopts}` it would be the adoption of {what}"
        ))
    })
}

fn volume_type(body: &Body) -> Result<String> {
    let text = body.text("volume_type")?.unwrap_or(VOLUME_TYPES[0]);
    if VOLUME_TYPES.contains(&text) {
        return Ok(text.to_owned());
    }
    let message = format!("volume_type must be one of: {}", VOLUME_TYPES.join(", "));
    Err(ApiError::invalid("volume_type", message))
}

async fn plan(db: &mut PgConnection, body: &Body) -> Result<Plan> {
    let all = plans::all(db).await?;
    let names = all.iter().map(|plan| plan.name.as_str());
    let names = names.collect::<Vec<_>>().join(", ");
    let Some(wanted) = body.text("plan")? else {
        let error = missing("plan");
        return Err(error.and(format!("; there are: {names}")));
    };
    let found = all.iter().find(|plan| plan.name == wanted).cloned();
    found.ok_or_else(|| {
        let message = format!("there is no such plan; there are: {names}");
        ApiError::unprocessable("unknown_plan", message).field("plan")
    })
}

fn had_there(plan: &Plan, cloud: Cloud) -> Result<()> {
    if !plan.sizes_in(cloud).is_empty() {
        return Ok(());
    }
    let clouds: Vec<&str> = plan.sizes.0.keys().map(String::as_str).collect();
    let message = format!(
        "plan {} is not to be had in cloud {cloud}; it is in: {}",
        plan.name,
        clouds.join(", ")
    );
    Err(ApiError::unprocessable("plan_not_there", message).field("plan"))
}

/// Refuses what is more than a quota allows.
///
/// # Errors
/// Says which, and how it is raised.
pub fn within(exceeded: Option<Exceeded>) -> Result<()> {
    let message = match exceeded {
        None => return Ok(()),
        Some(Exceeded::Deployment(kind, most)) => {
            let setting = match kind {
                Kind::Server => "DROVER_QUOTA_SERVERS",
                Kind::Resource => "DROVER_QUOTA_RESOURCES",
            };
            format!(
                "this deployment may have {most} {kind}s of its own making; destroy some, or \
                 start drover web with a higher {setting}"
            )
        }
        Some(Exceeded::Plan(most)) => format!(
            "there may be {most} resources of this plan; destroy some, or raise max_resources \
             of its row in the control database's table plans"
        ),
    };
    Err(ApiError::conflict("quota_exceeded", message))
}

async fn view(
    db: &mut PgConnection,
    kind: Kind,
    id: crate::model::SubjectId,
) -> Result<SubjectView> {
    subjects::view(db, Named { kind, id }).await
}

/// Why a creation was refused, in the words of the API.
pub fn refused(error: CreateError) -> ApiError {
    match error {
        CreateError::NameTaken(id) => taken(id),
        CreateError::NoTier => no_tier(),
        CreateError::TooFewZones { needed, zones } => {
            let message = format!(
                "a plan with followers needs {needed} availability zones in the region, and \
                 {zones} are known there; GET /v1/regions lists them"
            );
            ApiError::conflict("too_few_zones", message).field("region")
        }
        CreateError::Seal(error) => {
            tracing::error!(%error, "a secret could not be sealed");
            ApiError::internal()
        }
        CreateError::Database(error) => error.into(),
    }
}

/// Another live subject bears the name.
pub fn taken(by: PublicId) -> ApiError {
    let message = format!("the name is taken: {by} bears it; choose another");
    ApiError::conflict("name_taken", message).field("name")
}

/// There is no such tier.
pub fn no_tier() -> ApiError {
    ApiError::unprocessable(
        "unknown_tier",
        "there is no such tier; GET /v1/tiers lists them, PUT /v1/tiers/NAME makes one",
    )
    .field("tier")
}
