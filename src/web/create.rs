//! Subjects that drover is to make: what may be asked for, and why it is refused.

use axum::Json;
use axum::http::StatusCode;
use rand::distr::{Alphanumeric, SampleString};

use super::body::{Body, missing};
use super::error::{ApiError, Result};
use super::{Web, check, place, subjects};
use crate::api::{self, CreateResource, CreateServer};
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

/// Writes a server down that is to be made: 202.
pub async fn server(web: &Web, body: &Body) -> Result<(StatusCode, Json<api::Subject>)> {
    let asked = read_server(body)?;
    let mut db = web.pool.begin().await?;
    let (region, zone) = (asked.region.as_deref(), asked.zone.as_deref());
    let at = place::find(&mut db, asked.cloud, region, zone).await?;
    let wanted = WantedServer {
        name: asked.name,
        tier: asked.tier.unwrap_or_else(|| "standard".into()),
        sizes: vec![place::size(&mut db, asked.size.as_deref(), at.cloud).await?],
        cloud: at.cloud,
        region: at.region,
        zone: at.zone,
        volume_gib: asked.volume_gib.unwrap_or(USUAL_GIB),
        volume_type: asked.volume_type.unwrap_or_else(|| VOLUME_TYPES[0].into()),
        postgres: asked.postgres,
        for_plan: None,
        asked_by: "api".into(),
    };
    quotas::lock(&mut db).await?;
    let (id, operation) = creation::server(&mut db, &wanted).await.map_err(refused)?;
    within(quotas::of_kind(&mut db, Kind::Server, web.config.quotas.servers).await?)?;
    let view = subjects::view(&mut db, PublicId::new(Kind::Server, id)).await?;
    db.commit().await?;
    tracing::info!(server = %id, operation = %operation.public(), "a server is wanted");
    Ok((StatusCode::ACCEPTED, Json(view)))
}

/// Reads what server is to be made.
///
/// # Errors
/// If something of it is missing, or no such thing.
pub fn read_server(body: &Body) -> Result<CreateServer> {
    let known = [
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
    only(body, &known, "address", "a server that is there already")?;
    Ok(CreateServer {
        name: check::name("name", body.required("name")?)?,
        tier: check::optional(check::name, "tier", body.text("tier")?)?,
        postgres: body.number("postgres", POSTGRES)?,
        volume_gib: body.number("volume_gib", VOLUME_GIB)?,
        volume_type: check::optional(volume_type, "volume_type", body.text("volume_type")?)?,
        cloud: body.word("cloud")?,
        region: body.owned("region")?,
        zone: body.owned("zone")?,
        size: body.owned("size")?,
    })
}

/// Writes a resource down that is to be made: 202.
pub async fn resource(web: &Web, body: &Body) -> Result<(StatusCode, Json<api::Subject>)> {
    let mut db = web.pool.begin().await?;
    let all = plans::all(&mut db).await?;
    let asked = read_resource(body, &all)?;
    let window = window(asked.maintenance_window.as_deref())?;
    let customer_password = password(asked.password.as_deref())?;
    let plan = named(&all, &asked.plan)?;
    let (region, zone) = (asked.region.as_deref(), asked.zone.as_deref());
    let at = place::find(&mut db, asked.cloud, region, zone).await?;
    had_there(&plan, at.cloud)?;
    let durability = kept(&plan, asked.durability)?;
    let wanted = WantedResource {
        name: asked.name,
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
    let view = subjects::view(&mut db, PublicId::new(Kind::Resource, id)).await?;
    db.commit().await?;
    tracing::info!(resource = %id, operation = %operation.public(), "a resource is wanted");
    Ok((StatusCode::ACCEPTED, Json(view)))
}

/// Reads what resource is to be made; a refusal names the plans there are.
///
/// # Errors
/// If something of it is missing, or no such thing.
pub fn read_resource(body: &Body, plans: &[Plan]) -> Result<CreateResource> {
    let known = [
        "name",
        "plan",
        "cloud",
        "region",
        "zone",
        "maintenance_window",
        "durability",
        "password",
    ];
    only(body, &known, "server", "a database that is there already")?;
    Ok(CreateResource {
        name: check::name("name", body.required("name")?)?,
        maintenance_window: body.owned("maintenance_window")?,
        durability: body.word("durability")?,
        password: body.owned("password")?,
        plan: match body.owned("plan")? {
            Some(plan) => plan,
            None => {
                let error = missing("plan");
                return Err(error.and(format!("; there are: {}", names(plans))));
            }
        },
        cloud: body.word("cloud")?,
        region: body.owned("region")?,
        zone: body.owned("zone")?,
    })
}

/// A password of 32 letters and digits.
pub fn generated() -> Secret {
    secret(Alphanumeric.sample_string(&mut rand::rng(), 32))
}

/// The customer's password: the one given, or a new one.
///
/// # Errors
/// If the one given is none.
pub fn password(given: Option<&str>) -> Result<Secret> {
    match given {
        Some(text) => Ok(secret(check::password("password", text)?)),
        None => Ok(generated()),
    }
}

/// The maintenance window that is asked for; `None`: the deployment's own.
///
/// # Errors
/// If it is none.
pub fn window(text: Option<&str>) -> Result<Option<Window>> {
    let field = "maintenance_window";
    text.map(str::parse)
        .transpose()
        .map_err(|error| ApiError::invalid(field, format!("{field} {error}")))
}

/// The durability that is asked for, or the plan's own, if the plan can keep it.
fn kept(plan: &Plan, wanted: Option<Durability>) -> Result<Durability> {
    let durability = wanted.unwrap_or(plan.durability);
    if durability == Durability::Sync && plan.followers < 1 {
        let message = format!(
            "durability sync waits for a follower, and plan {} comes without one; choose a plan \
             with followers (GET /v1/plans), or make it async, then a follower, then set its \
             durability",
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

fn volume_type(field: &str, text: &str) -> Result<String> {
    if VOLUME_TYPES.contains(&text) {
        return Ok(text.to_owned());
    }
    let message = format!("{field} must be one of: {}", VOLUME_TYPES.join(", "));
    Err(ApiError::invalid(field, message))
}

fn named(plans: &[Plan], wanted: &str) -> Result<Plan> {
    let found = plans.iter().find(|plan| plan.name == wanted).cloned();
    found.ok_or_else(|| {
        let message = format!("there is no such plan; there are: {}", names(plans));
        ApiError::unprocessable("unknown_plan", message).field("plan")
    })
}

fn names(plans: &[Plan]) -> String {
    let names: Vec<&str> = plans.iter().map(|plan| plan.name.as_str()).collect();
    names.join(", ")
}

fn had_there(plan: &Plan, cloud: Cloud) -> Result<()> {
    if !plan.sizes_in(cloud).is_empty() {
        return Ok(());
    }
    let clouds: Vec<&str> = plan.sizes.keys().map(String::as_str).collect();
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
        CreateError::Seal(error) => error.into(),
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
