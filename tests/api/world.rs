//! A control database, `drover web` on it, and the hands of a worker.

use std::process::Command;

use drover::config::{GamedayMark, Quotas, WebConfig};
use drover::model::{
    Attributes, Cloud, IncidentId, ObservationId, PublicId, SecretKey, TransitionId, secret,
};
use drover::store::queue::{self, Change, FeelStep, Lock, Pin, ThinkStep, Token};
use drover::store::{lead, places};
use drover::web::{Web, serve};
use drover_tests::sql;
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio_util::sync::{CancellationToken, DropGuard};

pub const TOKEN: &str = "a-token-for-tests-only";
pub const ADMIN_TOKEN: &str = "another-token-for-tests-only";

/// What it seals with.
pub fn key() -> SecretKey {
    SecretKey::from_base64(&["A".repeat(43), "=".into()].concat()).unwrap()
}

/// A deployment without workers.
pub struct Deployment {
    pub pool: PgPool,
    pub url: String,
    http: reqwest::Client,
    _stop: DropGuard,
}

/// What the API answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl Answer {
    /// Fails unless it has this status.
    #[track_caller]
    pub fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }
}

impl Deployment {
    pub async fn start() -> Self {
        Self::with(|_| ()).await
    }

    /// One that may make no more than this.
    pub async fn with_quotas(resources: u32, servers: u32) -> Self {
        let quotas = Quotas { resources, servers };
        Self::with(|config| config.quotas = quotas).await
    }

    /// One with other settings than the usual ones.
    pub async fn with(change: impl FnOnce(&mut WebConfig)) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (_, pool) = drover_tests::postgres::shared_database().await.unwrap();
        // A clock that has just said that it leads, and says nothing more.
        let mut db = pool.acquire().await.unwrap();
        assert!(lead::take(&mut db, "a test's").await.unwrap());
        drop(db);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let listen = listener.local_addr().unwrap().to_string();
        let mut config = WebConfig {
            listen: listen.clone(),
            token: secret(TOKEN),
            admin_token: None,
            secret_key: key(),
            rules: json!({"cadence": {"available": "5s"}}),
            quotas: Quotas::default(),
            gameday: GamedayMark::Refused,
        };
        change(&mut config);
        let stop = CancellationToken::new();
        tokio::spawn(serve(
            listener,
            Web::new(pool.clone(), config),
            stop.clone(),
        ));
        Self {
            pool,
            url: format!("http://{listen}"),
            http: reqwest::Client::new(),
            _stop: stop.drop_guard(),
        }
    }

    pub fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        self.http.request(method, format!("{}{path}", self.url))
    }

    pub async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.unwrap();
        Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            text: response.text().await.unwrap(),
        }
    }

    pub async fn raw(&self, method: &str, path: &str, body: impl Into<reqwest::Body>) -> Answer {
        self.send(self.request(method, path).bearer_auth(TOKEN).body(body))
            .await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.raw("GET", path, "").await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.raw("POST", path, body.to_string()).await
    }

    /// Adopts a server without waiting for it.
    pub async fn server(&self, name: &str) -> String {
        let body = json!({"name": name, "address": format!("{name}.example")});
        let answer = self.post("/v1/servers?wait=false", &body).await.is(201);
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    /// Adopts a resource.
    pub async fn resource(&self, server: &str, name: &str) -> String {
        let body = resource(server, name);
        let answer = self.post("/v1/resources", &body).await.is(201);
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    /// One with a server and a resource on it, both adopted.
    pub async fn with_app() -> (Self, String, String) {
        let drover = Self::start().await;
        let server = drover.server("there").await;
        let db = drover.resource(&server, "app").await;
        (drover, server, db)
    }

    /// Everything that a refused request must leave as it was.
    pub async fn record(&self) -> String {
        let sql = "select concat_ws(' ',
                 (select string_agg(s::text, ',' order by id) from subjects s),
                 (select string_agg(s::text, ',' order by id) from servers s),
                 (select string_agg(r::text, ',' order by id) from resources r),
                 (select string_agg(j.id || j.status || j.run_at, ',' order by id)
                  from apalis.jobs j),
                 (select string_agg(t::text, ',' order by name) from tiers t),
                 (select string_agg(i::text, ',' order by id) from incidents i),
                 (select string_agg(e::text, ',' order by id) from incident_events e),
                 (select string_agg(o::text, ',' order by id) from outbox o),
                 (select string_agg(m::text, ',' order by scope) from modes m),
                 (select string_agg(o::text, ',' order by id) from operations o),
                 (select string_agg(e::text, ',' order by id) from operation_events e))";
        sql::scalar(&self.pool, sql, ()).await
    }

    /// What a resolve worker says of a region it has access to.
    pub async fn region(&self, cloud: Cloud, name: &str, zones: &[&str]) {
        let zones: Vec<String> = zones.iter().map(|zone| (*zone).to_owned()).collect();
        let mut db = self.pool.acquire().await.unwrap();
        let published = places::publish(&mut db, cloud, name, Ok(&zones)).await;
        published.unwrap();
    }

    /// One that can make things in `local`, zones a and b.
    pub async fn with_a_cloud() -> Self {
        let drover = Self::start().await;
        drover.region(Cloud::Local, "local", &["a", "b"]).await;
        drover
    }

    /// Asks for something to be made.
    pub async fn created(&self, kind: &str, body: Value) -> Value {
        let answer = self.post(&format!("/v1/{kind}s"), &body).await.is(202);
        answer.json()
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.raw("DELETE", path, "").await
    }

    /// The newest open incident of a subject.
    pub async fn open_incident(&self, subject: &str) -> IncidentId {
        let path = format!("/v1/incidents?state=open&subject={subject}");
        let list = self.get(&path).await.json();
        IncidentId::from_public(list["items"][0]["id"].as_str().unwrap()).unwrap()
    }

    /// An incident with all that is known of it.
    pub async fn incident(&self, id: IncidentId) -> Value {
        let path = format!("/v1/incidents/{}", id.public());
        self.get(&path).await.json()
    }

    /// What a feel worker does: claims the token, sees this, passes it on.
    pub async fn feel(&self, id: &str, seen: Attributes) -> ObservationId {
        let observation = ObservationId::generate();
        let step = FeelStep {
            lock: self.claim(id).await,
            observation,
            attributes: seen,
        };
        let mut db = self.pool.begin().await.unwrap();
        let done = queue::commit_feels(&mut db, &[step]).await.unwrap();
        assert_eq!(done.len(), 1);
        db.commit().await.unwrap();
        observation
    }

    /// The same once more, after thinking changed nothing.
    pub async fn feel_again(&self, id: &str, seen: Attributes) -> ObservationId {
        self.think(id, None, None).await;
        self.feel(id, seen).await
    }

    /// What a think worker does: claims the token and decides this.
    pub async fn think(&self, id: &str, change: Option<Change>, pin: Option<&str>) {
        let step = ThinkStep {
            silent: false,
            lock: self.claim(id).await,
            seen: None,
            after: std::time::Duration::from_secs(30),
            change,
            wake: None,
            pin: pin.map(|key| Pin::HostKey(key.to_owned())),
            opens: vec![],
        };
        let mut db = self.pool.begin().await.unwrap();
        let done = queue::commit_thinks(&mut db, &[step]).await.unwrap();
        assert_eq!(done.len(), 1);
        db.commit().await.unwrap();
    }

    /// The same, when that decides on a change of state.
    pub async fn turns(&self, id: &str, from: &str, to: &str, seen: ObservationId) {
        self.think(id, Some(change(from, to, seen)), None).await;
    }

    /// As apalis does it.
    async fn claim(&self, id: &str) -> Lock {
        let subject = id.parse::<PublicId>().unwrap().id;
        let sql = "insert into apalis.workers (id, worker_type, storage_name)
             values ('tester', 'feel', 'test') on conflict do nothing";
        sql::run(&self.pool, sql, ()).await;
        let sql = "update apalis.jobs set status = 'Queued', lock_by = 'tester', lock_at = now()
             where id = $1 returning floor(extract(epoch from lock_at))::bigint";
        let at = sql::scalar(&self.pool, sql, [subject]).await;
        Lock {
            token: Token::Subject(subject),
            worker: "tester".into(),
            at,
        }
    }

    /// Waits until the record has a live server of this name.
    pub async fn adopted(&self, name: &str) -> String {
        for _ in 0..200 {
            let list = self.get("/v1/servers").await.json();
            let items = list["items"].as_array().unwrap();
            if let Some(server) = items.iter().find(|s| s["name"] == name) {
                return server["id"].as_str().unwrap().to_owned();
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        panic!("{name} was not adopted");
    }
}

/// A good body for `POST /v1/resources`.
pub fn resource(server: &str, name: &str) -> Value {
    json!({
        "server": server, "name": name, "port": 5432, "database": name,
        "user": "drover", "password": "swordfish-unseen",
    })
}

/// It is in service.
pub fn well() -> Attributes {
    Attributes::available(1.5)
}

/// A change of state that this observation caused.
pub fn change(from: &str, to: &str, observation: ObservationId) -> Change {
    Change {
        id: TransitionId::generate(),
        from: from.parse().unwrap(),
        to: to.parse().unwrap(),
        reason: "seen by the test".into(),
        observation,
        opens: None,
    }
}

/// A key pair made by ssh-keygen: private, public.
pub fn key_pair(kind: &str, passphrase: &str) -> (String, String) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("key");
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", kind, "-C", "a comment", "-N", passphrase, "-f"])
        .arg(&file)
        .status()
        .unwrap();
    assert!(made.success());
    let read = |path| std::fs::read_to_string(path).unwrap();
    (read(file.clone()), read(file.with_extension("pub")))
}
