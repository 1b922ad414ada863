//! Plays the ring's part of resolve: does the steps of an operation in the world, and
//! writes what they leave behind. feel and think are the ring's own.

use std::time::Duration;

use chrono::{DateTime, Utc};
use drover::model::{
    ExposeSecret, Operation, OperationKind, OperationState, Secret, State, SubjectId,
};
use drover::store::operations::{self, NewOperation};
use drover::store::queue::Queue;
use drover::store::{queue, subjects};
use drover_jobs::cloud::Cloud;
use drover_jobs::cloud::NewInstance;
use drover_jobs::cloud::local::{Cluster, LocalServer};
use drover_jobs::feel;
use drover_jobs::feel::Feeler;
use drover_jobs::resolve::operations::{self as operate, Context, Did, Ended, Outcome, StepInfo};
use drover_jobs::verbs::{self, Config};
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::herd::MOST_TURNS;
pub use crate::herd::{Cut, World, session, superuser};

/// All ways for a worker to die.
pub const CUTS: [Cut; 4] = [
    Cut::Never,
    Cut::AfterEffect,
    Cut::Midway(Duration::from_millis(60)),
    Cut::Midway(Duration::from_millis(400)),
];

impl World {
    /// Has the ring work at these queues while the guard lives.
    pub fn ring(&self, queues: &'static [Queue]) -> DropGuard {
        let feeler = feel::World::new(self.tools.context.clone());
        self.ring_with(queues, feeler)
    }

    /// The same with another feeler.
    pub fn ring_with(&self, queues: &'static [Queue], feeler: impl Feeler) -> DropGuard {
        let stop = CancellationToken::new();
        let config = Config {
            concurrency: 10,
            secret_key: self.tools.secret_key.clone(),
            rules: self.tools.rules.clone(),
            drain: Duration::from_secs(5),
            poll: Duration::from_millis(50),
            notify: Default::default(),
            cadence: Some(Duration::from_millis(500)),
            tools: Some(self.tools.clone()),
        };
        let (pool, stopped) = (self.pool.clone(), stop.clone());
        tokio::spawn(async move {
            verbs::run(pool, config, feeler, queues, stopped)
                .await
                .unwrap();
        });
        stop.drop_guard()
    }

    /// A server that drover made, of the size `small`, with a data volume of 1 GiB and
    /// one cluster; written down as if drover had made all of it.
    pub async fn made(&self) -> (LocalServer, Cluster, SubjectId, SubjectId) {
        let id = SubjectId::generate();
        let key = self.root.join(format!("host-{id}"));
        drover_tests::postgres::ssh_key(&key).unwrap();
        let new = NewInstance {
            id,
            name: "made".into(),
            zone: "local-a".into(),
            size: "small".into(),
            volume_gib: 1,
            volume_type: "gp3".into(),
            host_key: drover::model::secret(std::fs::read_to_string(&key).unwrap()),
            authorized_key: std::fs::read_to_string(key.with_extension("pub")).unwrap(),
        };
        let instance = Box::pin(Cloud::create(&self.cloud, &new)).await.unwrap();
        let server = self.cloud.server(&instance.id).unwrap().unwrap();
        let mut tx = self.pool.begin().await.unwrap();
        sqlx::query(
            "insert into subjects (id, kind, name, state, origin, tier)
             values ($1, 'server', $2, 'uncertain', 'created', 'standard')",
        )
        .bind(id.to_string())
        .bind(&server.name)
        .execute(&mut *tx)
        .await
        .unwrap();
        sqlx::query(
            "insert into servers (id, address, ssh_port, ssh_user, host_key, cloud, instance_id,
                                  region, zone, size, volume_gib, volume_type, volume_id)
             values ($1, $2, 2222, $3, $4, 'local', $5, 'local', 'local-a', 'small', 1, 'gp3', $6)",
        )
        .bind(id.to_string())
        .bind(server.settings.address.to_string())
        .bind(server.target().unwrap().user)
        .bind(server.host_key().unwrap())
        .bind(&instance.id)
        .bind(server.volume().unwrap().map(|volume| volume.id))
        .execute(&mut *tx)
        .await
        .unwrap();
        queue::insert_token(&mut tx, id).await.unwrap();
        tx.commit().await.unwrap();
        let tail = id.to_string().to_ascii_lowercase();
        let cluster = server.create(&format!("db-{}", &tail[20..])).await.unwrap();
        let resource = self.adopt_cluster(id, &cluster).await;
        (server, cluster, id, resource)
    }

    /// Waits until these are in service, as feel and think say.
    pub async fn in_service(&self, ids: &[SubjectId]) {
        for _ in 0..600 {
            let mut db = self.pool.acquire().await.unwrap();
            let known = subjects::load(&mut db, ids).await.unwrap();
            let known = known.into_iter().map(|row| row.without_secrets().unwrap());
            let well = known.filter(|known| known.subject().state == State::Available);
            if well.count() == ids.len() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("not in service within a minute");
    }

    /// Asks for something.
    pub async fn ask(
        &self,
        subject: Option<SubjectId>,
        kind: OperationKind,
        params: Value,
    ) -> Change<'_> {
        let mut tx = self.pool.begin().await.unwrap();
        let new = NewOperation {
            subject,
            kind,
            params,
            asked_by: "the test".into(),
            reason: None,
            not_before: None,
        };
        let id = operations::open(&mut tx, &new).await.unwrap().unwrap();
        let operation = operations::load(&mut tx, id).await.unwrap().unwrap();
        tx.commit().await.unwrap();
        Change {
            world: self,
            operation,
            cut: Cut::Never,
            done: vec![],
        }
    }
}

/// An operation at work.
pub struct Change<'a> {
    pub world: &'a World,
    pub operation: Operation,
    pub cut: Cut,
    /// Every turn that the record would know of: step, how it ended, note.
    pub done: Vec<(&'static str, Ended, String)>,
}

impl Change<'_> {
    /// The same, with workers that die at each step.
    pub fn cut(mut self, cut: Cut) -> Self {
        self.cut = cut;
        self
    }

    /// The same with a sealed secret.
    pub async fn with(mut self, secret: &Secret) -> Self {
        let bound = format!("{}/secret", self.operation.id);
        let sealed = self.world.tools.secret_key.seal(secret, &bound).unwrap();
        let mut db = self.world.pool.acquire().await.unwrap();
        operations::entrust(&mut db, self.operation.id, &sealed)
            .await
            .unwrap();
        assert!(!secret.expose_secret().is_empty());
        self.operation.secret = Some(sealed);
        self
    }

    /// Turns until it is done, or hopeless: then gives why.
    pub async fn run(&mut self) -> Result<(), String> {
        for _ in 0..MOST_TURNS {
            let steps = operate::of(self.operation.kind).steps();
            if usize::from(self.operation.step) >= steps.len() {
                let mut tx = self.world.pool.begin().await.unwrap();
                let (id, done) = (self.operation.id, OperationState::Done);
                assert!(
                    operations::end(&mut tx, id, done, "test", "done")
                        .await
                        .unwrap()
                );
                tx.commit().await.unwrap();
                return Ok(());
            }
            self.advance(&steps).await?;
        }
        panic!("no end:\n{}", self.story());
    }

    /// Turns until this step is the next.
    pub async fn run_to(&mut self, name: &str) {
        for _ in 0..MOST_TURNS {
            let steps = operate::of(self.operation.kind).steps();
            if operate::current(&self.operation, &steps).unwrap().name == name {
                return;
            }
            self.advance(&steps).await.unwrap();
        }
        panic!("{name} is never next:\n{}", self.story());
    }

    /// Takes a turn, and waits for as long as it says; gives why, where it is hopeless.
    async fn advance(&mut self, steps: &[StepInfo]) -> Result<(), String> {
        let step = operate::current(&self.operation, steps).unwrap();
        let did = self.turn(step).await;
        let (ended, note) = (did.outcome.ended.clone(), did.outcome.note.clone());
        self.done.push((step.name, ended.clone(), note.clone()));
        self.write(did, steps).await;
        match ended {
            Ended::Done | Ended::Then(_) => {}
            Ended::Again(after) => tokio::time::sleep(after).await,
            Ended::Failed => tokio::time::sleep(Duration::from_millis(500)).await,
            Ended::Hopeless => return Err(note),
        }
        Ok(())
    }

    async fn turn(&mut self, step: StepInfo) -> Did {
        let now = self.now().await;
        if self.operation.step_name != step.name {
            self.operation.step_name = step.name.into();
            self.operation.step_since = now;
        }
        self.cut.cuts_off(self.perform(step)).await;
        Box::pin(self.perform(step)).await
    }

    /// A step once more, whatever is next: as by a worker whose predecessor was cut
    /// off, and who comes late. Nothing of it is written.
    pub async fn again(&mut self, name: &str) -> Outcome {
        let steps = operate::of(self.operation.kind).steps();
        let step = steps.into_iter().find(|step| step.name == name).unwrap();
        Box::pin(self.perform(step)).await.outcome
    }

    async fn perform(&self, step: StepInfo) -> Did {
        let known = match self.operation.subject {
            Some(subject) => Some(self.world.known(subject).await),
            None => None,
        };
        let context = Context {
            operation: &self.operation,
            known: known.as_ref(),
            rules: &self.world.rules,
            tools: &self.world.tools,
            limit: step.limit,
            now: self.now().await,
        };
        let most = step.limit + Duration::from_secs(1);
        let work = operate::of(self.operation.kind).perform(context, step.name);
        let done = tokio::time::timeout(most, work).await;
        done.unwrap_or_else(|_| Did {
            outcome: Outcome::failed(format!("not done within {most:?}")),
            memo: None,
        })
    }

    /// What the ring writes with a step.
    async fn write(&mut self, did: Did, steps: &[StepInfo]) {
        let now = self.now().await;
        let Did { outcome, memo } = did;
        let operation = &mut self.operation;
        if let Some(memo) = memo {
            operation.memo = memo;
        }
        if outcome.ended == Ended::Hopeless {
            operation.stuck_at = Some(now);
        } else {
            operate::advance(operation, steps, &outcome, Duration::from_secs(600), now);
        }
        if let (Some(subject), true) = (operation.subject, outcome.ended != Ended::Hopeless) {
            let mut tx = self.world.pool.begin().await.unwrap();
            for fact in &outcome.facts {
                operations::apply(&mut tx, subject, fact, "test")
                    .await
                    .unwrap();
            }
            tx.commit().await.unwrap();
        }
    }

    async fn now(&self) -> DateTime<Utc> {
        sqlx::query_scalar("select now()")
            .fetch_one(&self.world.pool)
            .await
            .unwrap()
    }

    /// What was done, for whoever reads a failed test.
    pub fn story(&self) -> String {
        let lines = self.done.iter().map(|done| format!("{done:?}\n"));
        format!("{}{:?}", lines.collect::<String>(), self.operation.memo)
    }
}

/// A world without rules of its own.
pub async fn world(name: &str) -> World {
    World::new(name, &json!({})).await
}

/// feel and think.
pub const EYES: &[Queue] = &[Queue::Feel, Queue::Think];
/// The same, and resolve.
pub const ALL: &[Queue] = &[Queue::Feel, Queue::Think, Queue::Resolve];
