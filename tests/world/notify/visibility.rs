//! What is refused is seen, and nothing of it is lost.

use std::time::Duration;

use drover::config::WebConfig;
use drover::model::{Deed, IncidentKind, MessageState, secret};
use drover::store::lead;
use drover::web::{Web, serve};
use drover_tests::{AlertState, PagerDuty, Says, Shows, program, sql};
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::world::{World, dedup_key, key, pages, pages_to};

const TOKEN: &str = "a-token-for-tests-only";
/// It says that it leads whenever somebody asks for health.
const CLOCK: &str = "clock@test";
const WRONG: &str = "swordfishswordfishswordfishsword";

struct Api {
    url: String,
    http: reqwest::Client,
    pool: PgPool,
    _stop: DropGuard,
}

impl Api {
    async fn start(world: &World) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let listen = listener.local_addr().unwrap().to_string();
        let config = WebConfig {
            listen: listen.clone(),
            token: secret(TOKEN),
            admin_token: None,
            secret_key: key(),
            rules: json!({}),
            quotas: Default::default(),
            gameday: Default::default(),
        };
        let stop = CancellationToken::new();
        let web = Web::new(world.pool.clone(), config);
        tokio::spawn(serve(listener, web, stop.clone()));
        Self {
            url: format!("http://{listen}"),
            http: reqwest::Client::new(),
            pool: world.pool.clone(),
            _stop: stop.drop_guard(),
        }
    }

    async fn ask(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let method = method.parse().unwrap();
        let request = self.http.request(method, format!("{}{path}", self.url));
        let answer = request.bearer_auth(TOKEN).json(&body).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap())
    }

    async fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask("GET", path, Value::Null).await;
        assert_eq!(status, 200, "{body}");
        body
    }

    async fn retry(&self, id: &str) -> (u16, Value) {
        let path = format!("/v1/messages/{id}/actions");
        self.ask("POST", &path, json!({"action": "retry"})).await
    }

    /// The numbers are read once a second.
    async fn health(&self) -> Value {
        let mut db = self.pool.acquire().await.unwrap();
        assert!(lead::take(&mut db, CLOCK).await.unwrap());
        drop(db);
        tokio::time::sleep(Duration::from_millis(1100)).await;
        self.get("/healthz").await
    }

    async fn metric(&self, line: &str) -> bool {
        let text = self.http.get(format!("{}/metrics", self.url));
        let text = text.send().await.unwrap();
        text.text().await.unwrap().lines().any(|l| l == line)
    }

    async fn drover(&self, arguments: &[&str]) -> (i32, String) {
        let done = tokio::process::Command::new(program("drover").unwrap())
            .args(arguments)
            .env_clear()
            .env("DROVER_URL", &self.url)
            .env("DROVER_API_TOKEN", TOKEN)
            .output()
            .await
            .unwrap();
        let text = String::from_utf8([done.stdout, done.stderr].concat()).unwrap();
        (done.status.code().unwrap(), text)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_key_is_seen_and_the_page_goes_out_when_it_is_mended() {
    let world = World::new().await;
    let pagerduty = PagerDuty::start(PagerDuty::KEY).await.unwrap();
    let api = Api::start(&world).await;
    assert_eq!(api.health().await["status"], "ok");
    let incident = world.incident(IncidentKind::ResourceDown).await;
    let id = world.page(incident, Deed::Trigger).await;
    let workers = world.work(pages_to(&pagerduty.url(), WRONG));
    let message = world.becomes(id, MessageState::Dead).await;
    workers.end().await;
    let refusal = "400 Event object is invalid: Invalid routing key";
    assert_eq!(message.last_error.as_deref(), Some(refusal));
    assert_eq!(
        world.told(incident).await,
        [format!(
            "page refused by PagerDuty: {refusal}; set DROVER_PAGERDUTY_KEY, then: \
             drover message retry {}",
            id.public()
        )]
    );
    let health = api.health().await;
    assert_eq!(health["status"], "degraded", "{health}");
    let reasons = health["reasons"].to_string();
    reasons.says(["1 messages", refusal]);
    assert!(api.metric("drover_messages{state=\"dead\"} 1").await);

    let (code, shown) = api.drover(&["messages", "--dead"]).await;
    assert_eq!(code, 0, "{shown}");
    shown.says([&id.public(), refusal]);
    let (code, shown) = api.drover(&["message", "retry", &id.public()]).await;
    assert!(code == 0 && shown.starts_with("Sending msg_"), "{shown}");
    assert_eq!(world.message(id).await.state, MessageState::Pending);
    assert_eq!(world.job(id).await, "Pending");
    let (status, body) = api.retry(&id.public()).await;
    assert_eq!((status, &body["error"]["code"]), (409, &json!("not_dead")));

    let workers = world.work(pages(&pagerduty));
    world.delivered(id).await;
    workers.end().await;
    let alert = &pagerduty.alerts()[&dedup_key(incident)];
    assert_eq!(alert.state, AlertState::Open);
    assert_eq!(api.health().await["status"], "ok");
    assert!(api.metric("drover_messages{state=\"delivered\"} 1").await);
    let (code, shown) = api.drover(&["message", "retry", &id.public()]).await;
    assert!(code == 1 && shown.contains("only a dead one"), "{shown}");
    let listed = api.get("/v1/messages").await.to_string();
    for text in [world.record().await, listed] {
        text.never_says(["swordfish", PagerDuty::KEY]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_waits_too_long_is_seen() {
    let world = World::new().await;
    let api = Api::start(&world).await;
    let incident = world.incident(IncidentKind::ResourceDown).await;
    world.page(incident, Deed::Trigger).await;
    assert_eq!(api.health().await["status"], "ok");
    let sql = "update outbox set waiting_since = now() - interval '301 s'";
    sql::run(&world.pool, sql, ()).await;
    let health = api.health().await;
    assert_eq!(health["status"], "degraded");
    health["reasons"][0].says(["waiting for 30"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_later_message_made_untrue_is_not_sent_again() {
    let world = World::new().await;
    let pagerduty = PagerDuty::start(PagerDuty::KEY).await.unwrap();
    let api = Api::start(&world).await;
    let incident = world.incident(IncidentKind::ResourceDown).await;
    let trigger = world.page(incident, Deed::Trigger).await;
    let workers = world.work(pages_to(&pagerduty.url(), WRONG));
    world.becomes(trigger, MessageState::Dead).await;
    workers.end().await;
    let workers = world.work(pages(&pagerduty));
    let resolve = world.page(incident, Deed::Resolve).await;
    world.delivered(resolve).await;
    let (status, body) = api.retry(&trigger.public()).await;
    assert_eq!((status, &body["error"]["code"]), (409, &json!("overtaken")));
    body["error"]["message"].says([&resolve.public()]);
    assert_eq!(api.health().await["status"], "ok", "the end was heard");
    workers.end().await;
    // Nobody was woken for what is over.
    assert!(pagerduty.alerts().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_listed_newest_first_by_state_and_incident() {
    let world = World::new().await;
    let api = Api::start(&world).await;
    let one = world.incident(IncidentKind::ResourceDown).await;
    let two = world.incident(IncidentKind::ServerDown).await;
    let mut ids = Vec::new();
    for incident in [one, two, one, one] {
        ids.push(world.page(incident, Deed::Trigger).await.public());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let of = |list: &Value| -> Vec<String> {
        let ids = list["items"].as_array().unwrap().iter();
        ids.map(|m| m["id"].as_str().unwrap().to_owned()).collect()
    };
    let page = api.get("/v1/messages?limit=3").await;
    assert_eq!(of(&page), [ids[3].clone(), ids[2].clone(), ids[1].clone()]);
    let cursor = page["next_cursor"].as_str().unwrap();
    let page = api.get(&format!("/v1/messages?cursor={cursor}")).await;
    assert_eq!(of(&page), [ids[0].clone()]);
    assert_eq!(page["next_cursor"], Value::Null);
    let its = format!("/v1/messages?incident={}", two.public());
    assert_eq!(of(&api.get(&its).await), [ids[1].clone()]);
    assert!(of(&api.get("/v1/messages?state=dead").await).is_empty());
    let shown = api.get(&format!("/v1/messages/{}", ids[1])).await;
    shown.shows(json!({"incident": two.public(), "state": "pending"}));

    let table = r#"
GET  /v1/messages?state=lost     {}                          400 invalid_parameter
GET  /v1/messages?incident=inc_1 {}                          400 malformed_id
GET  /v1/messages?cursor=srv_1   {}                          400 invalid_cursor
GET  /v1/messages?for=page       {}                          400 unknown_parameter
GET  /v1/messages/NOBODY         {}                          404 not_found
GET  /v1/messages/msg_1          {}                          400 malformed_id
POST /v1/messages/NOBODY/actions {"action": "retry"}         404 not_found
POST /v1/messages/ID/actions     {"action": "retry"}         409 not_dead
POST /v1/messages/ID/actions     {"action": "burn"}          422 unknown_action
POST /v1/messages/ID/actions     {}                          422 missing_field
POST /v1/messages/ID/actions     {"action": "retry", "x": 1} 422 unknown_field
"#;
    let table = table.replace("NOBODY", "msg_01J8ZC0T3YQ5V7N2M4K6H9D1XB");
    for line in table.replace("ID", &ids[0]).trim().lines() {
        let (asked, expected) = line.rsplit_once('}').unwrap();
        let (place, body) = asked.split_once('{').unwrap();
        let (method, path) = place.trim().split_once(' ').unwrap();
        let body = serde_json::from_str(&format!("{{{body}}}")).unwrap();
        let (status, answer) = api.ask(method, path.trim(), body).await;
        let code = answer["error"]["code"].as_str().unwrap();
        let seen = format!("{status} {code}");
        assert_eq!(expected.trim(), seen, "{line}: {answer}");
    }
    let (code, told) = api.drover(&["message", "retry", "msg_1"]).await;
    assert_eq!(code, 2, "{told}");
    told.says(["is not a message's id"]);
}
