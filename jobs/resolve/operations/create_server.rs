//! `create_server`: an instance is asked for, with keys that drover made, and set up
//! until it is felt to be in service.

use std::time::Duration;

use drover::model::{ExposeSecret, Secret, Server, State, secret};
use drover::store::creation;
use drover::store::operations::Fact;
use russh::keys::ssh_key::LineEnding;
use russh::keys::{Algorithm, PrivateKey};

use super::{Book, Context, Outcome, Step, Work, script, unknown};
use crate::cloud::{AnyCloud, Cloud as _, CloudError, Instance, InstanceState, NewInstance};

/// From the step `ask` on, there may be something in the cloud: see
/// [`creation::was_asked_for`].
pub(super) const BOOK: Book = Book {
    steps: &[
        Step::new("keys", "make its keys"),
        Step::new("look", "choose where to ask for it"),
        Step::new("ask", "ask the cloud for it"),
        Step::new("await_address", "wait until it runs and has an address"),
        Step::new("await_ssh", "wait for its sshd"),
        Step::new("volume", "set up its data volume"),
        Step::new("install", "install PostgreSQL"),
        Step::new("enter", "let it enter the ring"),
        Step::new("first_look", "wait until it is felt to be in service"),
    ],
    creates: true,
};

const SOON: Duration = Duration::from_secs(1);

pub(super) async fn perform(turn: &Context<'_>) -> Work {
    let server = turn.server()?;
    match turn.step {
        "keys" => keys(turn, server),
        "look" => look(turn, server).await,
        "ask" => ask(turn, server).await,
        "await_address" => await_address(turn, server).await,
        "await_ssh" => await_ssh(turn, server).await,
        "volume" => volume(turn, server).await,
        "install" => install(turn, server).await,
        "enter" => enter(),
        "first_look" => first_look(server.subject.state),
        step => unknown(step),
    }
}

/// The host key comes with the instance, so that not even the first connection has
/// to trust whom it finds; and each server has a login key of its own.
fn keys(turn: &Context<'_>, server: &Server) -> Work {
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
    turn: &Context<'_>,
    server: &Server,
    cloud: &AnyCloud<'_>,
) -> Result<Vec<(String, String)>, Outcome> {
    let params = &turn.operation.params;
    let zones = match params["zone"].as_str() {
        Some(zone) => vec![zone.to_owned()],
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
    let sizes = params["sizes"].as_array().into_iter().flatten();
    let sizes: Vec<&str> = sizes.filter_map(|size| size.as_str()).collect();
    let mut all = Vec::new();
    for size in sizes {
        all.extend(zones.iter().map(|zone| (zone.clone(), size.to_owned())));
    }
    if all.is_empty() {
        return Err(Outcome::hopeless("there is no zone or no size to ask for"));
    }
    Ok(all)
}

/// Reads only. What is to be asked for stands in the record before it is asked for.
async fn look(turn: &Context<'_>, server: &Server) -> Work {
    let cloud = turn.cloud(server)?;
    let places = places(turn, server, &cloud).await?;
    let words: Vec<String> = places
        .iter()
        .map(|(zone, size)| format!("{size} in {zone}"))
        .collect();
    Ok(
        Outcome::done(format!("will ask for {}", words.join(", else ")))
            .remember("places", serde_json::json!(places))
            .remember("tried", 0),
    )
}

/// Asked again, a cloud gives the instance that there is, wherever that one is; and
/// finishes what it had only begun to make.
async fn ask(turn: &Context<'_>, server: &Server) -> Work {
    let cloud = turn.cloud(server)?;
    let memo = &turn.operation.memo;
    let places: Vec<(String, String)> =
        serde_json::from_value(memo["places"].clone()).unwrap_or_default();
    let tried = memo["tried"].as_u64().unwrap_or(0);
    let at = usize::try_from(tried).unwrap_or(0);
    let Some((zone, size)) = places.get(at % places.len().max(1)) else {
        return Err(Outcome::hopeless("it is not known where to ask for it"));
    };
    let new = new_instance(turn, server, zone, size).await?;
    match cloud.create(&new).await {
        Ok(instance) => asked(server, &instance),
        Err(CloudError::NoCapacity(why)) => {
            let next = at + 1;
            let round_over = next % places.len() == 0;
            let text = format!("no {size} in {zone}: {why}");
            // Another place at once; when all were tried, later and from the first.
            let outcome = match round_over {
                true => Outcome::failed(format!("{text}; nor in any other place that will do")),
                false => Outcome::again(Duration::ZERO, text),
            };
            Err(outcome.remember("tried", next % places.len()))
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
    let failed = |what: String| Outcome::failed(what);
    let mut db = turn
        .tools
        .pool
        .acquire()
        .await
        .map_err(|e| failed(e.to_string()))?;
    let sealed = creation::host_private_key(&mut db, id).await;
    let sealed = sealed.map_err(|e| failed(e.to_string()))?;
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

async fn await_address(turn: &Context<'_>, server: &Server) -> Work {
    let cloud = turn.cloud(server)?;
    let id = server.instance_id.as_deref().unwrap_or_default();
    let instance = cloud.describe(id).await?;
    match (&instance.state, instance.address) {
        (InstanceState::Running, Some(address)) => {
            let login = cloud
                .login()
                .map_err(|e| Outcome::hopeless(format!("{e:#}")))?;
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

const SETTLED: &str = include_str!("../../host/scripts/settled.sh");

async fn await_ssh(turn: &Context<'_>, server: &Server) -> Work {
    match script::run(turn, server, SETTLED, &[], b"").await {
        Ok(said) => Ok(Outcome::done(said.last_words()).with(Fact::HostKeyHandedOver)),
        // An instance that boots refuses, or does not answer, for a while.
        Err(outcome) => Err(Outcome::again(SOON, outcome.note)),
    }
}

const VOLUME: &str = include_str!("../../host/scripts/mount_volume.sh");

async fn volume(turn: &Context<'_>, server: &Server) -> Work {
    let id = server
        .volume
        .as_ref()
        .and_then(|volume| volume.id.as_deref());
    let said = script::run(turn, server, VOLUME, &[id.unwrap_or("")], b"").await?;
    Ok(Outcome::done(said.last_words()))
}

const INSTALL: &str = include_str!("../../host/scripts/install_postgres.sh");

async fn install(turn: &Context<'_>, server: &Server) -> Work {
    let wanted = turn.operation.params["postgres"].as_u64();
    let wanted = wanted.map_or(String::new(), |major| major.to_string());
    let script = format!("{}{INSTALL}", script::BACKGROUND);
    let said = script::run(turn, server, &script, &[&wanted], b"").await?;
    Ok(Outcome::done(said.last_words()))
}

/// It is felt from now on, and thought about.
pub(super) fn enter() -> Work {
    Ok(
        Outcome::done("it is made; now it is felt").with(Fact::State {
            from: State::Creating,
            to: State::Uncertain,
            reason: "it is made; nobody has seen it yet".into(),
        }),
    )
}

/// Only a fresh observation says that it is well.
pub(super) fn first_look(state: State) -> Work {
    match state {
        State::Available => Ok(Outcome::done("it was felt to be in service")),
        State::Creating
        | State::Uncertain
        | State::Unavailable
        | State::Destroying
        | State::Destroyed => Err(Outcome::again(
            Duration::from_millis(500),
            "it has not been felt to be in service yet",
        )),
    }
}
