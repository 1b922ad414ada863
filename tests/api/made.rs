//! The workers' part in an operation, played by the store's own functions.

use drover::model::{OperationId, OperationState, PublicId};
use drover::store::operations::{self, Fact};
use drover_tests::sql;
use serde_json::{Value, json};

use crate::world::Deployment;

pub fn id(subject: &Value) -> PublicId {
    subject["id"].as_str().unwrap().parse().unwrap()
}

/// Where the API has a subject.
pub fn path(subject: &Value) -> String {
    format!("/v1/{}s/{}", subject["kind"].as_str().unwrap(), id(subject))
}

impl Deployment {
    /// One that can make things, with a resource of this plan in service.
    pub async fn with_a_resource(plan: &str) -> (Self, Value) {
        let drover = Self::with_a_cloud().await;
        let body = json!({"name": "shop", "plan": plan, "password": "swordfish of theirs"});
        let shop = drover.created("resource", body).await;
        drover.is_in_service(&shop, "10.0.0.9").await;
        let shop = drover.get(&path(&shop)).await.json();
        (drover, shop)
    }

    /// Asks for a follower, and does what workers do until it is in service.
    pub async fn follower_of(&self, leader: &Value, address: &str) -> Value {
        let at = format!("{}/followers", path(leader));
        let follower = self.post(&at, &json!({})).await.is(202).json();
        self.is_in_service(&follower, address).await;
        self.get(&path(&follower)).await.json()
    }

    pub async fn server_of(&self, resource: &Value) -> Value {
        let server = resource["server"].as_str().unwrap();
        self.get(&format!("/v1/servers/{server}")).await.json()
    }

    /// What workers do until a resource and its server are in service, which is there.
    pub async fn is_in_service(&self, resource: &Value, address: &str) {
        let server = self.server_of(resource).await;
        self.is_made(&server, address).await;
        self.is_made(resource, "").await;
    }

    /// What workers do until a subject is in service.
    pub async fn is_made(&self, subject: &Value, address: &str) {
        let fact = Fact::Address {
            address: address.into(),
            port: 22,
            user: "drover".into(),
        };
        let sql = "update subjects set state = 'available' where id = $1";
        sql::run(&self.pool, sql, [id(subject).id]).await;
        let known = (!address.is_empty()).then_some(&fact);
        self.is_done(subject, known).await;
    }

    /// What workers do at the end of `destroy_*`.
    pub async fn is_gone(&self, subject: &Value) {
        self.is_done(subject, Some(&Fact::Gone)).await;
    }

    /// What workers do for what has been asked of a subject: they write this down, and
    /// that it is done.
    pub async fn is_done(&self, subject: &Value, fact: Option<&Fact>) {
        let id = id(subject).id;
        let mut db = self.pool.begin().await.unwrap();
        if let Some(fact) = fact {
            let applied = operations::apply(&mut db, id, fact, "tester").await;
            applied.unwrap();
        }
        let open = operations::open_of(&mut db, id).await.unwrap().remove(0);
        let done = OperationState::Done;
        let ended = operations::end(&mut db, open.id, done, "tester", "done").await;
        assert!(ended.unwrap());
        db.commit().await.unwrap();
    }

    /// How an operation, or what is being done with a subject, stands after some steps;
    /// `stuck`: for want of a human.
    pub async fn stands(&self, of: &Value, step: i16, note: &str, stuck: bool) {
        let id = of["operation"]["id"]
            .as_str()
            .or(of["id"].as_str())
            .unwrap();
        let id = OperationId::from_public(id).unwrap();
        let sql = "update operations
             set step = $2, steps = 7, step_name = 'await_ssh', note = $3,
                 deadline = now() + interval '5 minutes',
                 stuck_at = case when $4 then now() end, failures = case when $4 then 3 else 0 end
             where id = $1";
        sql::run(&self.pool, sql, (id, step, note, stuck)).await;
    }

    /// Asks something of a subject.
    pub async fn ask(&self, subject: &Value, body: Value) -> crate::world::Answer {
        let at = format!("{}/actions", path(subject));
        self.post(&at, &body).await
    }

    /// The same of an operation.
    pub async fn ask_operation(&self, operation: &Value, action: &str) -> crate::world::Answer {
        let id = operation["id"].as_str().unwrap();
        let body = json!({"action": action, "by": "ann", "reason": "it was the disk"});
        let at = format!("/v1/operations/{id}/actions");
        self.post(&at, &body).await
    }
}
