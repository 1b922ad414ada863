//! A record with one server and one database on it, incidents of theirs, and
//! workers that tell people of them.

use std::time::Duration;

use drover::config::{
    NotifyConfig, PageVia, PagerDutyConfig, TicketVia, WebhookConfig, ZendeskConfig,
};
use drover::model::{
    Attributes, Channel, Deed, IncidentId, IncidentKind, Kind, Message, MessageId, MessageState,
    Opening, Severity, SubjectId, secret,
};

use drover::store::outbox::{self, NewMessage};
use drover::store::queue::Queue;
use drover::store::subjects::{self, Known};
use drover_jobs::feel::Feeler;
use drover_jobs::verbs::Config;
use drover_tests::postgres::shared_database;
pub use drover_tests::records::{SECRET_KEY, key, new_resource};
use drover_tests::records::{new_server, subject_of};
use drover_tests::{PagerDuty, WebhookReceiver, records, sql, until, when};
use serde_json::json;
use sqlx::PgPool;
use tokio_util::sync::{CancellationToken, DropGuard};

pub struct World {
    pub url: String,
    pub pool: PgPool,
    pub server: SubjectId,
    pub resource: SubjectId,
}

/// Nobody is felt here.
struct Nobody;

impl Feeler for Nobody {
    async fn feel(&self, _: &Known) -> Attributes {
        Attributes::available(1.0)
    }
}

/// Workers at `notify`, until this is dropped.
pub struct Workers {
    _stop: DropGuard,
    task: tokio::task::JoinHandle<anyhow::Result<()>>,
    stop: CancellationToken,
}

impl Workers {
    pub async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }
}

impl World {
    pub async fn new() -> Self {
        drover_tests::init();
        let (url, pool) = shared_database().await.unwrap();
        let mut tx = pool.begin().await.unwrap();
        let new = new_server("pg-1", "192.0.2.1");
        let server = subjects::adopt_server(&mut tx, &key(), &new).await.unwrap();
        tx.commit().await.unwrap();
        let resource = records::adopt(&pool, &new_resource(server, "app")).await;
        Self {
            url,
            pool,
            server,
            resource,
        }
    }

    /// That this server is down, which is one more.
    pub async fn another_is_down(&self, n: u8) -> IncidentId {
        let mut tx = self.pool.begin().await.unwrap();
        let new = new_server(&format!("down-{n}"), &format!("198.51.100.{n}"));
        let server = subjects::adopt_server(&mut tx, &key(), &new).await.unwrap();
        tx.commit().await.unwrap();
        self.open(Some(server), IncidentKind::ServerDown).await
    }

    pub async fn incident(&self, kind: IncidentKind) -> IncidentId {
        let subject = subject_of(kind).map(|of| match of {
            Kind::Server => self.server,
            Kind::Resource => self.resource,
        });
        self.open(subject, kind).await
    }

    async fn open(&self, subject: Option<SubjectId>, kind: IncidentKind) -> IncidentId {
        let reason = "does not answer: refused".into();
        let opening = Opening { kind, reason };
        let opened = records::opened(&self.pool, subject, &opening, "test").await;
        opened.expect("a new incident")
    }

    pub async fn page(&self, incident: IncidentId, action: Deed) -> MessageId {
        self.write(incident, Channel::Page, action).await
    }

    pub async fn ticket(&self, incident: IncidentId, action: Deed) -> MessageId {
        self.write(incident, Channel::Ticket, action).await
    }

    pub async fn write(&self, incident: IncidentId, channel: Channel, action: Deed) -> MessageId {
        let mut tx = self.pool.begin().await.unwrap();
        let new = NewMessage {
            incident,
            channel,
            action,
            severity: Severity::Critical,
            summary: format!("resource_down on app: {action}"),
            detail: json!({"tried": ["restart"]}),
        };
        let id = outbox::write(&mut tx, &new).await.unwrap();
        tx.commit().await.unwrap();
        id
    }

    pub fn work(&self, notify: NotifyConfig) -> Workers {
        let config = Config {
            concurrency: 20,
            secret_key: key(),
            rules: json!({}),
            drain: Duration::from_secs(10),
            poll: Duration::from_millis(20),
            notify,
            tools: None,
            cadence: None,
        };
        let stop = CancellationToken::new();
        let ring = drover_jobs::verbs::run(
            self.pool.clone(),
            config,
            Nobody,
            &[Queue::Notify],
            stop.clone(),
        );
        Workers {
            _stop: stop.clone().drop_guard(),
            task: tokio::spawn(ring),
            stop,
        }
    }

    pub async fn message(&self, id: MessageId) -> Message {
        let mut db = self.pool.acquire().await.unwrap();
        outbox::load(&mut db, id).await.unwrap().unwrap()
    }

    /// Waits until a message is in this state.
    pub async fn becomes(&self, id: MessageId, state: MessageState) -> Message {
        let ask = || async {
            let message = self.message(id).await;
            when(message.state == state, message)
        };
        let what = format!("{} is {state}", id.public());
        until(&what, Duration::from_secs(40), ask).await.unwrap().0
    }

    pub async fn delivered(&self, id: MessageId) -> Message {
        self.becomes(id, MessageState::Delivered).await
    }

    /// What the timeline says of messages.
    pub async fn told(&self, incident: IncidentId) -> Vec<String> {
        let sql = "select text from incident_events
             where incident_id = $1 and kind = 'message' order by id";
        sql::scalars(&self.pool, sql, [incident]).await
    }

    /// The status of a message's job.
    pub async fn job(&self, id: MessageId) -> String {
        let sql = "select status from apalis.jobs where id = $1";
        sql::scalar(&self.pool, sql, [id]).await
    }

    /// All that the record says, but for what is sealed.
    pub async fn record(&self) -> String {
        let sql = "select concat_ws(' ',
                 (select string_agg(o::text, ',') from outbox o),
                 (select string_agg(e::text, ',') from incident_events e),
                 (select string_agg(i::text, ',') from incidents i),
                 (select string_agg(c::text, ',') from provider_calls c),
                 (select string_agg(w::text, ',') from apalis.workers w),
                 (select string_agg(j::text || convert_from(job, 'UTF8'), ',')
                  from apalis.jobs j))";
        sql::scalar(&self.pool, sql, ()).await
    }
}

pub fn dedup_key(incident: IncidentId) -> String {
    format!("drover/{}", incident.public())
}

pub fn pages_to(url: &str, key: &str) -> NotifyConfig {
    NotifyConfig {
        page: PageVia::PagerDuty(PagerDutyConfig {
            url: url.parse().unwrap(),
            key: secret(key),
            per_minute: 120,
        }),
        ticket: TicketVia::Log,
    }
}

pub fn pages(pagerduty: &PagerDuty) -> NotifyConfig {
    pages_to(&pagerduty.url(), PagerDuty::KEY)
}

pub async fn receiver() -> WebhookReceiver {
    let started = WebhookReceiver::start(WebhookReceiver::SECRET).await;
    started.unwrap()
}

pub fn webhook(receiver: &WebhookReceiver) -> NotifyConfig {
    let config = WebhookConfig {
        url: receiver.url().parse().unwrap(),
        secret: secret(WebhookReceiver::SECRET),
    };
    NotifyConfig {
        page: PageVia::Log,
        ticket: TicketVia::Webhook(config),
    }
}

pub fn zendesk(url: &str, token: &str) -> NotifyConfig {
    let config = ZendeskConfig {
        url: url.parse().unwrap(),
        email: "ops@example.com".into(),
        token: secret(token),
    };
    NotifyConfig {
        page: PageVia::Log,
        ticket: TicketVia::Zendesk(config),
    }
}
