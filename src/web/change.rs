//! What may be changed about which subject, and what exactly is then written down.

use serde_json::{Value, json};
use sqlx::PgConnection;

use super::error::{ApiError, Result};
use super::{create, place};
use crate::api::Ask;
use crate::model::{
    Adopted, AskedOf, Cloud, Durability, Kind, OperationKind, Origin, PublicId, Secret, Server,
    State, Subject, SubjectId,
};
use crate::store::subjects::{self, Known};
use crate::store::{creation, plans};

/// What an operation brings along.
pub struct Wanted {
    /// What exactly is wanted; never a secret.
    pub params: Value,
    /// A new password.
    pub secret: Option<Secret>,
}

/// Whom an operation is about that was asked of this subject: size and volume are
/// its server's.
///
/// # Errors
/// If there is no such operation on such a subject.
pub fn target(known: &Known, kind: OperationKind) -> Result<PublicId> {
    let subject = if asked(kind)?.of_server {
        &server(known).subject
    } else {
        known.subject()
    };
    Ok(PublicId::new(subject.kind, subject.id))
}

/// What people may ask of such an operation.
fn asked(kind: OperationKind) -> Result<AskedOf> {
    kind.profile().asked.ok_or_else(ApiError::internal)
}

fn server(known: &Known) -> &Server {
    match known {
        Known::Server(server) | Known::Resource(_, server) => server,
    }
}

/// Whether such an operation can be done to this subject as it stands.
///
/// # Errors
/// If it was adopted and the operation needs what only drover's own have, or if it
/// is being made or taken away.
pub fn possible(known: &Known, kind: OperationKind) -> Result<()> {
    let subject = known.subject();
    let asked = asked(kind)?;
    let only_its_own = match asked.adopted {
        Adopted::Any => false,
        Adopted::WithCloud => server(known).instance_id.is_none(),
        Adopted::None => true,
    };
    if only_its_own && subject.origin == Origin::Adopted {
        let message = if kind == OperationKind::Reboot {
            "the server was adopted without a cloud, and only a cloud reboots a server".into()
        } else {
            format!(
                "the {} was adopted, and drover changes only what it made",
                subject.kind
            )
        };
        return Err(ApiError::conflict("adopted", message));
    }
    in_service(subject)?;
    follows(known, &asked)?;
    if asked.of_server {
        in_service(&server(known).subject)?;
    }
    Ok(())
}

/// Only a follower can be taken from its leader; and its customer is its leader's.
fn follows(known: &Known, asked: &AskedOf) -> Result<()> {
    let leader = match known {
        Known::Resource(resource, _) => resource.leader,
        Known::Server(_) => None,
    };
    match (leader, asked.not_of_follower) {
        (None, _) if asked.only_of_follower => {
            let message = "it follows nobody; only a follower can be taken from its leader";
            Err(ApiError::conflict("no_follower", message))
        }
        (Some(leader), Some(why)) => {
            let leader = PublicId::new(Kind::Resource, leader);
            let message = format!("it follows {leader}: {why}");
            Err(ApiError::conflict("is_follower", message))
        }
        (Some(_), None) | (None, _) => Ok(()),
    }
}

fn in_service(subject: &Subject) -> Result<()> {
    match subject.state {
        State::Available | State::Uncertain | State::Unavailable => Ok(()),
        State::Creating | State::Destroying | State::Destroyed => Err(wrong_state(subject)),
    }
}

/// A subject that is being made or taken away cannot be changed.
pub fn wrong_state(subject: &Subject) -> ApiError {
    let message = format!(
        "the {} {} is {}; this can be asked of one that is available, uncertain or unavailable",
        subject.kind, subject.name, subject.state
    );
    ApiError::conflict("wrong_state", message)
}

/// What exactly is wanted, checked against what there is.
///
/// # Errors
/// If it cannot be had, or is there already.
pub async fn wanted(db: &mut PgConnection, known: &Known, ask: &Ask) -> Result<Wanted> {
    let mut secret = None;
    let params = match ask {
        Ask::Resize { size, .. } => json!({ "size": known_size(db, known, size).await? }),
        Ask::Grow { volume_gib } => {
            of_its_own(db, known).await?;
            json!({ "volume_gib": larger(server(known), *volume_gib)? })
        }
        Ask::Switchover { to, .. } | Ask::Failover { to } => {
            json!({ "to": successor(db, known, *to).await? })
        }
        Ask::SetDurability { durability } => {
            if *durability == Durability::Sync {
                followed(db, known).await?;
            }
            json!({ "durability": durability })
        }
        Ask::Unfollow {} => {
            not_the_last(db, known.subject().id).await?;
            json!({})
        }
        Ask::RotatePassword { password } => {
            secret = Some(create::password(password.as_deref())?);
            json!({})
        }
        Ask::Restart { .. }
        | Ask::Reboot { .. }
        | Ask::StopStart { .. }
        | Ask::InstallHelper {}
        | Ask::Rename { .. }
        | Ask::SetWindow { .. } => json!({}),
    };
    Ok(Wanted { params, secret })
}

async fn known_size(db: &mut PgConnection, known: &Known, wanted: &str) -> Result<String> {
    let cloud = cloud(known)?;
    let plan = of_its_own(db, known).await?;
    let size = match plan {
        Some(plan) => place::one_of(cloud, wanted, plan.sizes_in(cloud))?,
        None => place::known_size(db, cloud, wanted).await?,
    };
    if server(known).size.as_ref() == Some(&size) {
        let message = format!("the server has the size {size} already");
        return Err(ApiError::unprocessable("same_size", message).field("size"));
    }
    Ok(size)
}

fn cloud(known: &Known) -> Result<Cloud> {
    server(known).cloud.ok_or_else(|| {
        tracing::error!(server = %server(known).subject.id, "drover made it in no cloud");
        ApiError::internal()
    })
}

/// The plan of a resource, which must have a server of its own; `None`: it is a server
/// that is asked for.
async fn of_its_own(db: &mut PgConnection, known: &Known) -> Result<Option<plans::Plan>> {
    let Known::Resource(resource, _) = known else {
        return Ok(None);
    };
    let plan = plans::find(db, &resource.plan).await?;
    let plan = plan.ok_or_else(ApiError::internal)?;
    if plan.shared {
        let message = format!(
            "plan {} shares its servers with others; size and volume are those of the server, \
             which can be changed there: {}",
            plan.name,
            PublicId::new(Kind::Server, resource.server_id)
        );
        return Err(ApiError::conflict("shared_plan", message));
    }
    Ok(Some(plan))
}

/// Volumes grow and never shrink.
fn larger(server: &Server, gib: u32) -> Result<u32> {
    let now = server.volume.as_ref().map_or(0, |volume| volume.gib);
    if gib > now {
        return Ok(gib);
    }
    let message = format!("the volume has {now} GiB already, and volumes only grow");
    Err(ApiError::unprocessable("volume_smaller", message).field("volume_gib"))
}

/// What waits for a follower has one that is made.
async fn followed(db: &mut PgConnection, known: &Known) -> Result<()> {
    let followers = creation::followers_of(db, known.subject().id).await?;
    let rows = subjects::load(db, &followers).await?;
    let mut made = false;
    for row in rows {
        made |= in_service(row.without_secrets()?.subject()).is_ok();
    }
    if made {
        return Ok(());
    }
    let message = "durability sync waits for a follower, and it has none in service; \
                   POST …/followers makes one";
    Err(ApiError::conflict("no_follower", message))
}

/// A leader that waits for a follower keeps the last one that it has.
///
/// # Errors
/// If this is it.
pub async fn not_the_last(db: &mut PgConnection, follower: SubjectId) -> Result<()> {
    let Some(leader) = creation::keeps_sync(db, follower).await? else {
        return Ok(());
    };
    let leader = PublicId::new(Kind::Resource, leader);
    let message = format!(
        "it is the last follower of {leader}, whose durability is sync: without it, that one \
         would take no commit any more; make another follower first, or have it set_durability \
         async (drover act {leader} set-durability async)"
    );
    Err(ApiError::conflict("last_follower", message))
}

/// Who is to lead: one of its followers, if one is named.
async fn successor(
    db: &mut PgConnection,
    known: &Known,
    to: Option<PublicId>,
) -> Result<Option<String>> {
    let followers = creation::followers_of(db, known.subject().id).await?;
    if followers.is_empty() {
        let message = "it has no follower; POST …/followers makes one";
        return Err(ApiError::conflict("no_follower", message));
    }
    match to {
        Some(to) if !followers.contains(&to.id) => {
            let message = "to must be one of its followers";
            Err(ApiError::unprocessable("no_follower", message).field("to"))
        }
        named => Ok(named.map(|to| to.id.to_string())),
    }
}
