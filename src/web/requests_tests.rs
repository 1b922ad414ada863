//! What the client sends is what web reads: each request of `api`, as it is sent, is read
//! into itself. A field that bears another name on one side would be refused, or lost.

use serde::Serialize;
use serde_json::{Value, json};
use ssh_key::private::{Ed25519Keypair, Ed25519PrivateKey};
use ssh_key::public::Ed25519PublicKey;
use ssh_key::{LineEnding, PrivateKey};

use super::body::Body;
use super::error::Result;
use super::{
    act, create, followers, gameday, incidents, jobs, messages, modes, operations, resources,
    servers, tiers,
};
use crate::api::{
    ActOnIncident, ActOnMessage, ActOnOperation, ActOnSubject, AdoptResource, AdoptServer, Ask,
    AskForJob, BreakOnPurpose, CreateFollower, CreateResource, CreateServer, PutTier, SetMode,
};
use crate::model::{
    Action, Cloud, Durability, Harm, Kind, Mode, OperationAction, PublicId, RequireAuth, SubjectId,
    TlsMode,
};
use crate::store::plans::Plan;

fn sent(request: &impl Serialize) -> Body {
    Body::parse(&serde_json::to_vec(request).unwrap()).unwrap()
}

/// Every field of it is there, and comes through.
fn comes_through<R: Serialize + PartialEq>(request: R, read: impl Fn(&Body) -> Result<R>) {
    let value = serde_json::to_value(&request).unwrap();
    let fields = value.as_object().unwrap();
    assert!(fields.values().all(|v| !v.is_null()), "incomplete: {value}");
    assert!(read(&sent(&request)).unwrap() == request, "{value}");
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn id(kind: Kind) -> PublicId {
    PublicId::new(kind, SubjectId::generate())
}

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

#[test]
fn what_is_adopted_comes_through() {
    let pair = Ed25519Keypair {
        public: Ed25519PublicKey([7; 32]),
        private: Ed25519PrivateKey::from_bytes(&[7; 32]),
    };
    let key = PrivateKey::from(pair).to_openssh(LineEnding::LF).unwrap();
    let server = AdoptServer {
        name: "pg-1".into(),
        address: "10.0.0.1".into(),
        ssh_port: Some(2222),
        ssh_user: some("admin"),
        ssh_key: some(&key),
        host_key: some(KEY),
        tier: some("gold"),
        cloud: Some(Cloud::Ec2),
        instance_id: some("i-1"),
        zone: some("a"),
    };
    comes_through(server, servers::read);
    let resource = AdoptResource {
        server: id(Kind::Server),
        name: "shop".into(),
        port: 5432,
        database: "shop".into(),
        user: "drover".into(),
        password: "swordfish".into(),
        tls_mode: Some(TlsMode::VerifyFull),
        tls_root_cert: some("-----BEGIN CERTIFICATE-----"),
        require_auth: Some(RequireAuth::Any),
        plan: some("standard"),
        tier: some("gold"),
    };
    comes_through(resource, resources::read);
}

#[test]
fn what_is_made_comes_through() {
    let server = CreateServer {
        name: "pg-1".into(),
        cloud: Some(Cloud::Local),
        region: some("local"),
        zone: some("a"),
        size: some("small"),
        volume_gib: Some(50),
        volume_type: some("gp2"),
        tier: some("gold"),
        postgres: Some(16),
    };
    comes_through(server, create::read_server);
    let resource = CreateResource {
        name: "shop".into(),
        plan: "starter".into(),
        cloud: Some(Cloud::Local),
        region: some("local"),
        zone: some("a"),
        maintenance_window: some("sun 03:00 Europe/Berlin"),
        durability: Some(Durability::Sync),
        password: some("swordfish"),
    };
    let none: [Plan; 0] = [];
    comes_through(resource, |body| create::read_resource(body, &none));
    let follower = CreateFollower {
        name: some("shop-2"),
        zone: some("b"),
        size: some("small"),
    };
    comes_through(follower, followers::read);
}

#[test]
fn what_is_asked_of_a_subject_comes_through() {
    let now = true;
    let of_servers = [
        Ask::Reboot { now },
        Ask::StopStart { now },
        Ask::InstallHelper {},
    ];
    let of_resources = [
        Ask::Restart { now },
        Ask::Resize {
            size: "large".into(),
            now,
        },
        Ask::Grow { volume_gib: 200 },
        Ask::Switchover {
            to: Some(id(Kind::Resource)),
            now,
        },
        Ask::Failover {
            to: Some(id(Kind::Resource)),
        },
        Ask::SetDurability {
            durability: Durability::Async,
        },
        Ask::Unfollow {},
        Ask::RotatePassword {
            password: some("swordfish"),
        },
        Ask::Rename {
            name: "market".into(),
        },
        Ask::SetWindow {
            maintenance_window: some("sun 03:00 UTC"),
        },
    ];
    let of_servers = of_servers.map(|ask| (Kind::Server, ask)).into_iter();
    for (kind, ask) in of_servers.chain(of_resources.map(|ask| (Kind::Resource, ask))) {
        let request = ActOnSubject {
            ask,
            reason: some("a test"),
            by: some("ops"),
        };
        comes_through(request, |body| act::read(kind, body));
    }
}

#[test]
fn what_is_done_about_the_rest_comes_through() {
    let (reason, by) = (some("a test"), some("ops"));
    let incident = ActOnIncident {
        action: Action::Resolve,
        reason: reason.clone(),
        by: by.clone(),
    };
    comes_through(incident, incidents::read);
    let operation = ActOnOperation {
        action: OperationAction::Override,
        reason: reason.clone(),
        by: by.clone(),
    };
    comes_through(operation, operations::read);
    comes_through(ActOnMessage::Retry, messages::read);
    let subject = id(Kind::Server);
    comes_through(AskForJob::Feel { subject }, jobs::read);
    let mode = Mode::Hold;
    comes_through(SetMode { mode, reason }, modes::read);
    let rules = json!({"cadence": {"available": "5s"}});
    comes_through(PutTier { rules }, tiers::read);
    let gameday = BreakOnPurpose {
        subject,
        how: Harm::Fill,
        for_s: Some(60),
        reason: "a test".into(),
        by,
    };
    comes_through(gameday, gameday::read);
}

#[test]
fn a_field_that_is_not_given_may_be_null() {
    let none = serde_json::to_value(CreateFollower::default()).unwrap();
    assert_eq!(none["zone"], Value::Null);
    assert!(followers::read(&sent(&none)).unwrap() == CreateFollower::default());
}
