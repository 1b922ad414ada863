//! What a step has learnt or brought about, written into the record with the step.

use serde_json::Value;
use sqlx::PgConnection;

use super::NewOperation;
use crate::model::{
    Durability, IncidentKind, Kind, LeaderChangeKind, Opening, OperationId, OperationKind, State,
    SubjectId, TlsMode, TransitionId,
};
use crate::store::creation::{self, DestroyError};
use crate::store::leader_changes::{self, NewChange};
use crate::store::outbox;
use crate::store::statement::{only_value, run, touched, value};
use crate::store::{incidents, modes, queue};

/// A fact about a subject. Secrets come sealed.
#[derive(Clone, Debug)]
pub enum Fact {
    /// A server's keys: the sealed private host key, its public half, which is
    /// pinned, and the sealed private key that drover logs in with.
    Keys {
        /// `<id>/host_key`.
        host_private: Vec<u8>,
        /// `ssh-ed25519 AAAA…`.
        host_key: String,
        /// `<id>/ssh_key`.
        ssh_key: Vec<u8>,
    },
    /// A server's instance, with the place and the size it got.
    Instance {
        /// The cloud's id.
        id: String,
        /// Its zone.
        zone: String,
        /// Its size.
        size: String,
    },
    /// Where a server is reached, and how to log in there.
    Address {
        /// IP address or host name.
        address: String,
        /// Port of its sshd.
        port: u16,
        /// Whom to log in as.
        user: String,
    },
    /// A server's data volume.
    Volume {
        /// The cloud's id.
        id: String,
    },
    /// A server's size.
    Size(String),
    /// How large a server's data volume is.
    VolumeGib(u32),
    /// The private host key is the server's alone from now on.
    HostKeyHandedOver,
    /// The certificate that a resource is known by (PEM).
    Certificate(String),
    /// The same of a resource on the server that it is about.
    CertificateOf {
        /// Whose.
        resource: SubjectId,
        /// In PEM.
        pem: String,
    },
    /// The customer's password, sealed as `<id>/customer`.
    CustomerPassword(Vec<u8>),
    /// A subject's state.
    State {
        /// The state it must be in.
        from: State,
        /// The new one.
        to: State,
        /// For people.
        reason: String,
    },
    /// The number of the timeline that whoever takes this leader's lead will begin.
    Timeline(u32),
    /// What the commits of a leader wait for, and so of its followers when they lead.
    Durability(Durability),
    /// A resource follows nobody any more, waits for no follower (`async`), and has what it shared with its leader for
    /// itself: both sealed, as `<id>/customer` and `<id>/replication`.
    Leads {
        /// The customer's password.
        customer: Vec<u8>,
        /// What followers log in with.
        replication: Option<Vec<u8>>,
        /// The operation that did it.
        by: OperationId,
    },
    /// A follower of this resource leads, and this resource and its other followers
    /// follow it. It gets the leader's name, and its secrets, sealed for it.
    HandOver {
        /// The new leader.
        to: SubjectId,
        /// `<to>/customer`.
        customer: Vec<u8>,
        /// `<to>/replication`.
        replication: Vec<u8>,
        /// The operation that did it, and its kind.
        by: (OperationId, OperationKind),
        /// The timeline that it leads on.
        timeline: Option<u32>,
        /// What more is to be told of it: `lost_bytes`, `fenced_by` …
        detail: Value,
    },
    /// A lead was taken over, and nothing has stopped who had it: this one has it now. Why that
    /// may be.
    OldLeaderAlive(SubjectId, String),
    /// Another operation follows this one, once it has come to its end.
    Next(Box<NewOperation>),
    /// A resource that another one has taken the place of: it is destroyed.
    Unneeded,
    /// What the incident that has asked for it owes from now on: what was done for the time
    /// being, and is taken back once all is well. `Null`: nothing.
    Owes(Value),
    /// A subject is gone from the world: its token goes, its record stays.
    Gone,
}

/// Writes a fact about this subject. Call it in the step's transaction.
pub async fn apply(
    db: &mut PgConnection,
    subject: SubjectId,
    fact: &Fact,
    worker: &str,
) -> sqlx::Result<()> {
    match fact {
        Fact::Keys {
            host_private,
            host_key,
            ssh_key,
        } => {
            let sql = "update servers set host_private_key = $2, host_key = $3, ssh_key = $4
                       where id = $1 and host_key is null";
            run(db, sql, (subject, host_private, host_key, ssh_key)).await?;
        }
        Fact::Instance { id, zone, size } => {
            let sql = "update servers set instance_id = $2, zone = $3, size = $4 where id = $1";
            run(db, sql, (subject, id, zone, size)).await?;
        }
        Fact::Address {
            address,
            port,
            user,
        } => {
            let sql = "update servers set address = $2, ssh_port = $3, ssh_user = $4 where id = $1";
            run(db, sql, (subject, address, i32::from(*port), user)).await?;
        }
        Fact::Volume { id } => {
            let sql = "update servers set volume_id = $2 where id = $1";
            run(db, sql, (subject, id)).await?;
        }
        Fact::Size(size) => {
            let sql = "update servers set size = $2 where id = $1";
            run(db, sql, (subject, size)).await?;
        }
        Fact::VolumeGib(gib) => {
            let sql = "update servers set volume_gib = $2 where id = $1";
            let gib = i32::try_from(*gib).unwrap_or(i32::MAX);
            run(db, sql, (subject, gib)).await?;
        }
        Fact::HostKeyHandedOver => {
            let sql = "update servers set host_private_key = $2 where id = $1";
            run(db, sql, (subject, None::<Vec<u8>>)).await?;
        }
        Fact::Certificate(pem) => {
            let sql = "update resources set tls_root_cert = $2, tls_mode = $3 where id = $1";
            run(db, sql, (subject, pem, TlsMode::VerifyFull)).await?;
        }
        Fact::CertificateOf { resource, pem } => {
            let sql = "update resources set tls_root_cert = $3
                       where id = $2 and server_id = $1 and tls_root_cert is not null";
            run(db, sql, (subject, resource, pem)).await?;
        }
        Fact::CustomerPassword(sealed) => {
            let sql = "update resources set customer_password = $2 where id = $1";
            run(db, sql, (subject, sealed)).await?;
        }
        Fact::State { from, to, reason } => {
            turn(db, subject, *from, *to, reason, worker).await?;
        }
        Fact::Timeline(number) => {
            let sql = "update resources set newest_timeline = greatest(newest_timeline, $2)
                       where id = $1";
            run(db, sql, (subject, i64::from(*number))).await?;
        }
        Fact::Durability(durability) => {
            let sql = "update resources set durability = $2 where id = $1 or leader_id = $1";
            run(db, sql, (subject, durability)).await?;
        }
        Fact::Leads {
            customer,
            replication,
            by,
        } => lead(db, subject, (customer, replication.as_deref()), *by).await?,
        Fact::HandOver {
            to,
            customer,
            replication,
            by: (operation, kind),
            timeline,
            detail,
        } => {
            let change = NewChange {
                kind: kind.profile().leader_change,
                new_leader: *to,
                old_leader: subject,
                operation: *operation,
                detail,
            };
            hand_over(db, &change, (customer, replication), *timeline).await?;
        }
        Fact::OldLeaderAlive(leader, reason) => {
            let opening = Opening {
                kind: IncidentKind::OldLeaderAlive,
                reason: reason.clone(),
            };
            incidents::open(db, Some(*leader), &opening, worker).await?;
        }
        // Written when this one has ended: one at a time.
        Fact::Next(_) | Fact::Unneeded => {}
        // However the step has ended, so before that is looked at.
        Fact::Owes(_) => {}
        Fact::Gone => gone(db, subject, worker).await?,
    }
    Ok(())
}

/// Opens what is to follow an operation that has ended.
pub async fn follow_up(
    db: &mut PgConnection,
    subject: Option<SubjectId>,
    facts: &[Fact],
    by: &str,
) -> sqlx::Result<()> {
    for fact in facts {
        match (fact, subject) {
            (Fact::Next(new), _) => {
                super::open(db, new).await?;
            }
            (Fact::Unneeded, Some(subject)) => {
                match creation::destroy(db, Kind::Resource, subject, by).await {
                    Ok(_) | Err(DestroyError::NotFound) => {}
                    Err(DestroyError::Database(e)) => return Err(e),
                    Err(e @ (DestroyError::Adopted | DestroyError::HasResources(_))) => {
                        return Err(sqlx::Error::Protocol(e.to_string()));
                    }
                }
            }
            (_, _) => {}
        }
    }
    Ok(())
}

/// Changes a subject's state with its transition, if it is in `from`.
pub async fn turn(
    db: &mut PgConnection,
    subject: SubjectId,
    from: State,
    to: State,
    reason: &str,
    worker: &str,
) -> sqlx::Result<bool> {
    let sql = "update subjects set state = $3, state_since = now()
               where id = $1 and state = $2 and forgotten_at is null";
    let changed = touched(db, sql, (subject, from, to)).await?;
    if changed == 0 {
        return Ok(false);
    }
    let sql = "insert into transitions (id, subject_id, from_state, to_state, reason, worker)
               values ($1, $2, $3, $4, $5, $6)";
    let id = TransitionId::generate();
    run(db, sql, (id, subject, from, to, reason, worker)).await?;
    queue::bring_forward(db, &[subject]).await?;
    Ok(true)
}

/// A follower leads on its own.
async fn lead(
    db: &mut PgConnection,
    follower: SubjectId,
    (customer, replication): (&[u8], Option<&[u8]>),
    by: OperationId,
) -> sqlx::Result<()> {
    let sql = "update resources r
               set leader_id = null, epoch = r.epoch + 1, epoch_by = $4, customer_password = $2,
                   replication_password = $3, durability = 'async', counted = false
               from resources was
               where r.id = $1 and was.id = r.id and was.leader_id is not null
               returning was.leader_id";
    let followed: Option<SubjectId> = value(db, sql, (follower, customer, replication, by)).await?;
    // Without one the step was done before.
    let Some(followed) = followed else {
        return Ok(());
    };
    let change = NewChange {
        kind: LeaderChangeKind::Unfollow,
        new_leader: follower,
        old_leader: followed,
        operation: by,
        detail: &Value::Null,
    };
    changed(db, &change).await
}

/// Writes down who leads, and has others told.
async fn changed(db: &mut PgConnection, change: &NewChange<'_>) -> sqlx::Result<()> {
    let change = leader_changes::write(db, change).await?;
    outbox::announce(db, &change).await.map(drop)
}

async fn hand_over(
    db: &mut PgConnection,
    change: &NewChange<'_>,
    (customer, replication): (&[u8], &[u8]),
    timeline: Option<u32>,
) -> sqlx::Result<()> {
    let (from, to) = (change.old_leader, change.new_leader);
    let sql = "update resources t
               set leader_id = null, epoch = f.epoch + 1, epoch_by = $5, customer_password = $3,
                   replication_password = $4, durability = f.durability,
                   newest_timeline = greatest(t.newest_timeline, f.newest_timeline),
                   timeline = $6, counted = false
               from resources f
               where t.id = $2 and f.id = $1 and t.leader_id = $1";
    let values = (
        from,
        to,
        customer,
        replication,
        change.operation,
        timeline.map(i64::from),
    );
    let led = touched(db, sql, values).await?;
    if led == 0 {
        return Ok(());
    }
    let sql = "update resources r
               set leader_id = $2, epoch = t.epoch, epoch_by = t.epoch_by,
                   counted = r.counted or r.id = $1 and $3
               from resources t
               where t.id = $2 and (r.id = $1 or r.leader_id = $1) and r.id <> $2";
    // Who has handed over follows without more ado, and is in the new leader's list.
    let planned = change.kind == LeaderChangeKind::Switchover;
    run(db, sql, (from, to, planned)).await?;
    // The names change places, by way of one that nobody else can have.
    let name = async |db: &mut PgConnection, id: SubjectId| -> sqlx::Result<String> {
        only_value(db, "select name from subjects where id = $1", [id]).await
    };
    let (leaders, followers) = (name(db, from).await?, name(db, to).await?);
    for (id, name) in [
        (from, &from.to_string()),
        (to, &leaders),
        (from, &followers),
    ] {
        let sql = "update subjects set name = $2 where id = $1";
        run(db, sql, (id, name)).await?;
    }
    changed(db, change).await
}

/// What was destroyed leaves the ring; its incidents end with it.
async fn gone(db: &mut PgConnection, subject: SubjectId, worker: &str) -> sqlx::Result<()> {
    queue::hold_token(db, queue::Token::Subject(subject)).await?;
    queue::hold_incident_tokens(db, subject).await?;
    turn(
        db,
        subject,
        State::Destroying,
        State::Destroyed,
        "nothing of it is left",
        worker,
    )
    .await?;
    incidents::forget(db, subject).await?;
    modes::forget(db, subject).await?;
    queue::remove_token(db, subject).await?;
    let sql = "update subjects set forgotten_at = now() where id = $1";
    run(db, sql, [subject]).await?;
    tracing::info!(subject = %subject, "destroyed");
    let sql = "select server_id from resources where id = $1";
    let server: Option<SubjectId> = value(db, sql, [subject]).await?;
    // A server that was made for resources goes with the last of them.
    if let Some(server) = server
        && creation::is_left_alone(db, server).await?
    {
        match creation::destroy(db, Kind::Server, server, "drover").await {
            Ok(_) | Err(DestroyError::NotFound | DestroyError::Adopted) => {}
            Err(DestroyError::HasResources(_)) => {}
            Err(DestroyError::Database(e)) => return Err(e),
        }
    }
    Ok(())
}
