//! Servers and resources as they are adopted, where it does not matter which.

use drover::model::{Evidence, IncidentKind, Kind, SecretKey, SubjectId, TlsMode, secret};
use drover::store::subjects::{NewResource, NewServer};

/// The key of these tests.
pub const SECRET_KEY: &str = "dGhlIHRlc3RzIGtleSwgdGhpcnR5LXR3byBieXRlcyE=";

/// The same, to seal and open with.
///
/// # Panics
/// Never: it is one.
pub fn key() -> SecretKey {
    SecretKey::from_base64(SECRET_KEY).expect("32 bytes")
}

/// A server at this address.
pub fn new_server(name: &str, address: &str) -> NewServer {
    NewServer {
        name: name.into(),
        tier: "standard".into(),
        address: address.into(),
        ssh_port: 22,
        ssh_user: "postgres".into(),
        ssh_key: None,
        host_key: Some("ssh-ed25519 AAAA".into()),
        instance: None,
        zone: None,
    }
}

/// The database `app` of a cluster on a server.
pub fn new_resource(server_id: SubjectId, name: &str) -> NewResource {
    NewResource {
        name: name.into(),
        tier: "standard".into(),
        server_id,
        port: 5432,
        database: "app".into(),
        role: "drover".into(),
        password: secret("not a password of anything"),
        tls_mode: TlsMode::Prefer,
        tls_root_cert: None,
        plan: "standard".into(),
    }
}

/// What an incident of this kind is about; `None`: the herd.
pub fn subject_of(kind: IncidentKind) -> Option<Kind> {
    let of_a_server = [IncidentKind::ServerDown, IncidentKind::HostKeyChanged];
    if kind.profile().evidence == Evidence::Herd {
        None
    } else if of_a_server.contains(&kind) {
        Some(Kind::Server)
    } else {
        Some(Kind::Resource)
    }
}
