//! `create_server`: an instance is asked for, with keys that drover made, and set up
//! until it is felt to be in service.

use std::time::Duration;

use drover::model::{ExposeSecret, OperationKind, Secret, Server, secret};
use drover::store::creation;
use drover::store::operations::Fact;
use russh::keys::ssh_key::LineEnding;
use russh::keys::{Algorithm, PrivateKey};
use serde::{Deserialize, Serialize};

use super::kind::{Context, Operation, Outcome, Step, Turn, Work, step};
use super::leased::LeasedCloud;
use super::{enter, script};
use crate::cloud::{Cloud as _, CloudError, Instance, InstanceState, NewInstance};
use crate::host::scripts::{INSTALL_POSTGRES, MOUNT_VOLUME, SETTLED};

/// A server is made.
pub(super) struct CreateServer;

/// What will do.
#[derive(Deserialize)]
pub(super) struct Params {
    /// `None`: any zone of its region.
    #[serde(default)]
    zone: Option<String>,
    /// Its cloud's names for the sizes, the first choice first.
    #[serde(default)]
    sizes: Vec<String>,
    /// PostgreSQL's major version; `None`: the distribution's.
    #[serde(default)]
    postgres: Option<u32>,
}

/// Where it is asked for.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Memo {
    /// Zones with sizes, in their order.
    places: Vec<(String, String)>,
    /// How many of them had no room, in this round.
    tried: usize,
}

impl Operation for CreateServer {
    type Params = Params;
    type Memo = Memo;
    const KIND: OperationKind = OperationKind::CreateServer;
    /// From the step `ask` on, there may be something in the cloud: see
    /// [`creation::was_asked_for`].
    const STEPS: &'static [Step<Self>] = &[
        Step::new("keys", "make its keys", |turn| {
            Box::pin(async { keys(turn) })
        }),
        step!("look", "choose where to ask for it" => look),
        step!("ask", "ask the cloud for it" => ask),
        step!("await_address", "wait until it runs and has an address" => await_address),
        step!("await_ssh", "wait for its sshd" => await_ssh),
        step!("volume", "set up its data volume" => volume),
        step!("install", "install PostgreSQL" => install),
        enter::step(),
        enter::first_look(),
    ];
}

const SOON: Duration = Duration::from_secs(1);

/// The host key comes with the instance, so that not even the first connection has
/// to trust whom it finds; and each server has a login key of its own.
fn keys(turn: &mut Turn<'_, CreateServer>) -> Work {
    let server = turn.server()?;
    if server.host_key.is_some() {
        return Ok(Outcome::done("its keys are made"));
    }
    let id = server.subject.id;
    let (host_private, host_key) = new_key("its host key")?;
    let (login_private, _) = new_key("its login key")?;
    let seal = |plain: &Secret, what: &str| {
        let sealed = turn.tools.secret_key.seal(plain, &format!("{id}/{what}"));
        sealed.map_err(|e| Outcome::failed(e.to_string()))
    };
    Ok(
        Outcome::done("made a host key and a login key").with(Fact::Keys {
            host_private: seal(&host_private, "host_key")?,
            host_key,
            ssh_key: seal(&login_private, "ssh_key")?,
        }),
    )
}

/// A key pair: the private half in OpenSSH's format, the public one as in
/// `known_hosts`.
fn new_key(what: &str) -> Result<(Secret, String), Outcome> {
    let failed =
        |e: russh::keys::ssh_key::Error| Outcome::failed(format!("cannot make {what}: {e}"));
    let key = PrivateKey::random(&mut russh::keys::key::safe_rng(), Algorithm::Ed25519)
        .map_err(failed)?;
    let private = key.to_openssh(LineEnding::LF).map_err(failed)?;
    let public = key.public_key().to_openssh().map_err(failed)?;
    Ok((secret(private.to_string()), public))
}

/// The places to ask at, in their order: the first size in every zone, then the next
/// one. Which zone comes first differs by server, so that a herd spreads.
async fn places(
    params: &Params,
    server: &Server,
    cloud: &LeasedCloud<'_>,
) -> Result<Vec<(String, String)>, Outcome> {
    let zones = match &params.zone {
        Some(zone) => vec![zone.clone()],
        None => {
            let mut zones = cloud.zones().await?;
            zones.sort();
            let id = server.subject.id.to_string();
            let first = id.bytes().map(usize::from).sum::<usize>();
            let most = zones.len().max(1);
            zones.rotate_left(first % most);
            zones
        }
    };
    let mut all = Vec::new();
    for size in &params.sizes {
        all.extend(zones.iter().map(|zone| (zone.clone(), size.clone())));
    }
    if all.is_empty() {
        return Err(Outcome::hopeless("there is no zone or no size to ask for"));
    }
    Ok(all)
}

/// Reads only. What is to be asked for stands in the record before it is asked for.
async fn look(turn: &mut Turn<'_, CreateServer>) -> Work {
    let server = turn.server()?;
    let cloud = turn.cloud(server)?;
    let places = places(&turn.params, server, &cloud).await?;
    let words: Vec<String> = places
        .iter()
        .map(|(zone, size)| format!("{size} in {zone}"))
        .collect();
    turn.memo = Memo { places, tried: 0 };
    Ok(Outcome::done(format!(
        "will ask for {}",
        words.join(", else ")
    )))
}

/// Asked again, a cloud gives the instance that there is, wherever that one is; and
/// finishes what it had only begun to make.
async fn ask(turn: &mut Turn<'_, CreateServer>) -> Work {
    let server = turn.server()?;
    let cloud = turn.cloud(server)?;
    let Memo { places, tried } = &turn.memo;
    let Some((zone, size)) = places.get(*tried) else {
        return Err(Outcome::hopeless("it is not known where to ask for it"));
    };
    let new = new_instance(turn, server, zone, size).await?;
    match cloud.create(&new).await {
        Ok(instance) => asked(server, &instance),
        Err(CloudError::NoCapacity(why)) => {
            let text = format!("no {size} in {zone}: {why}");
            // Another place at once; when all were tried, later and from the first.
            turn.memo.tried = (tried + 1) % places.len();
            Err(match turn.memo.tried {
                0 => Outcome::failed(format!("{text}; nor in any other place that will do")),
                _ => Outcome::again(Duration::ZERO, text),
            })
        }
        Err(e) => Err(e.into()),
    }
}

fn asked(server: &Server, instance: &Instance) -> Work {
    let or = |found: &Option<String>, else_: &Option<String>| {
        found.clone().or_else(|| else_.clone()).unwrap_or_default()
    };
    let (zone, size) = (
        or(&instance.zone, &server.zone),
        or(&instance.size, &server.size),
    );
    let id = instance.id.clone();
    Ok(
        Outcome::done(format!("asked for {id}, {size} in {zone}")).with(Fact::Instance {
            id,
            zone,
            size,
        }),
    )
}

async fn new_instance(
    turn: &Context<'_>,
    server: &Server,
    zone: &str,
    size: &str,
) -> Result<NewInstance, Outcome> {
    let id = server.subject.id;
    let mut db = turn.tools.pool.acquire().await?;
    let sealed = creation::host_private_key(&mut db, id).await?;
    let sealed = sealed.ok_or_else(|| Outcome::hopeless("its host key is lost"))?;
    let opened = turn
        .tools
        .secret_key
        .open(&sealed, &format!("{id}/host_key"));
    let host_key = opened.map_err(|e| Outcome::hopeless(format!("its host key: {e}")))?;
    let login = server.ssh_key.as_ref();
    let login = login.ok_or_else(|| Outcome::hopeless("its login key is lost"))?;
    let login = PrivateKey::from_openssh(login.expose_secret())
        .and_then(|key| key.public_key().to_openssh())
        .map_err(|_| Outcome::hopeless("its login key cannot be read"))?;
    let volume = server.volume.as_ref();
    let volume = volume.ok_or_else(|| Outcome::hopeless("no volume was asked for with it"))?;
    Ok(NewInstance {
        id,
        name: server.subject.name.clone(),
        zone: zone.to_owned(),
        size: size.to_owned(),
        volume_gib: volume.gib,
        volume_type: volume.kind.clone(),
        host_key,
        authorized_key: login,
    })
}

async fn await_address(turn: &mut Turn<'_, CreateServer>) -> Work {
    let server = turn.server()?;
    let cloud = turn.cloud(server)?;
    let id = server.instance_id.as_deref().unwrap_or_default();
    let instance = cloud.describe(id).await?;
    match (&instance.state, instance.address) {
        (InstanceState::Running, Some(address)) => {
            let login = cloud.login().await?;
            let mut outcome =
                Outcome::done(format!("{id} runs at {address}")).with(Fact::Address {
                    address,
                    port: login.port,
                    user: login.user,
                });
            if let Some(volume) = cloud
                .volumes_of(server.subject.id)
                .await?
                .into_iter()
                .next()
            {
                outcome = outcome.with(Fact::Volume { id: volume });
            }
            Ok(outcome)
        }
        (InstanceState::Terminated | InstanceState::ShuttingDown, _) => {
            Err(Outcome::hopeless(instance.detail))
        }
        // Somebody has stopped what is just being made.
        (InstanceState::Stopped, _) => {
            cloud.start(id).await?;
            Err(Outcome::again(
                SOON,
                format!("{}; it is started", instance.detail),
            ))
        }
        (
            InstanceState::Pending
            | InstanceState::Running
            | InstanceState::Stopping
            | InstanceState::Unknown(_),
            _,
        ) => Err(Outcome::again(SOON, instance.detail)),
    }
}

async fn await_ssh(turn: &mut Turn<'_, CreateServer>) -> Work {
    match script::run(turn, turn.server()?, SETTLED, &[], b"").await {
        Ok(said) => Ok(Outcome::done(said.last_words()).with(Fact::HostKeyHandedOver)),
        // An instance that boots refuses, or does not answer, for a while.
        Err(e) => Err(Outcome::again(SOON, e.to_string())),
    }
}

async fn volume(turn: &mut Turn<'_, CreateServer>) -> Work {
    let server = turn.server()?;
    let id = server
        .volume
        .as_ref()
        .and_then(|volume| volume.id.as_deref());
    let said = script::run(turn, server, MOUNT_VOLUME, &[id.unwrap_or("")], b"").await?;
    Ok(Outcome::done(said.last_words()))
}

async fn install(turn: &mut Turn<'_, CreateServer>) -> Work {
    let server = turn.server()?;
    let wanted = turn.params.postgres;
    let wanted = wanted.map_or(String::new(), |major| major.to_string());
    let said = script::run(turn, server, INSTALL_POSTGRES, &[&wanted], b"").await?;
    Ok(Outcome::done(said.last_words()))
}
