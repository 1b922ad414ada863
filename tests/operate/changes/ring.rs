//! The ring itself, what it works on, and what is asked of it.

use std::time::Duration;

use drover::model::{IncidentKind, OperationKind, State, SubjectId};
use drover::store::operations::{self, NewOperation};
use drover::store::queue::Queue;
use drover::store::{queue, subjects};
use drover_jobs::cloud::local::{Cluster, LocalServer};
use drover_jobs::cloud::{Cloud, NewInstance};
use drover_jobs::feel::{self, Feeler};
use drover_jobs::ssh::public_half;
use drover_jobs::verbs::{self, Config};
use drover_tests::sql;
use serde_json::Value;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::driver::{Change, Cut, EYES, World};

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

    /// A server that drover made, of the size `small`, with a data volume of 4 GiB and
    /// one cluster; written down as if drover had made all of it.
    pub async fn made(&self) -> (LocalServer, Cluster, SubjectId, SubjectId) {
        let id = SubjectId::generate();
        let keys = self.root.path().join(format!("host-{id}"));
        drover_tests::postgres::owned_dir(&keys).unwrap();
        let key = keys.join("key");
        drover_tests::postgres::ssh_key(&key).unwrap();
        let new = NewInstance {
            id,
            name: "made".into(),
            zone: "local-a".into(),
            size: "small".into(),
            volume_gib: 4,
            volume_type: "gp3".into(),
            host_key: drover::model::secret(std::fs::read_to_string(&key).unwrap()),
            // It lets in whom the record says nothing else of: the deployment's own key.
            authorized_key: public_half(self.tools.context.ssh_key.as_ref().unwrap()).unwrap(),
        };
        let instance = Box::pin(Cloud::create(&self.cloud, &new)).await.unwrap();
        let server = self.cloud.server(&instance.id).await.unwrap();
        let mut server = server.unwrap();
        server.answers().await.unwrap();
        server.mount_volume().await.unwrap();
        let mut tx = self.pool.begin().await.unwrap();
        let sql = "insert into subjects (id, kind, name, state, origin, tier)
             values ($1, 'server', $2, 'uncertain', 'adopted', 'standard')";
        sql::run(&mut *tx, sql, (id, &server.name)).await;
        let sql =
            "insert into servers (id, address, ssh_port, ssh_user, host_key, cloud, instance_id,
                                  region, zone, size, volume_gib, volume_type, volume_id)
             values ($1, $2, 2222, $3, $4, 'local', $5, 'local', 'local-a', 'small', 4, 'gp3', $6)";
        sql::run(
            &mut *tx,
            sql,
            (
                id,
                server.settings.address.to_string(),
                server.target().await.unwrap().user,
                server.host_key().unwrap(),
                &instance.id,
                server.volume().await.unwrap().map(|volume| volume.id),
            ),
        )
        .await;
        queue::insert_token(&mut tx, id).await.unwrap();
        tx.commit().await.unwrap();
        let tail = id.to_string().to_ascii_lowercase();
        let cluster = server.create(&format!("db-{}", &tail[20..])).await.unwrap();
        let resource = self.adopt_cluster(id, &cluster).await;
        // Only now: nobody adopts what is on a server that drover made.
        let sql = "update subjects set origin = 'created' where id = $1";
        sql::run(&self.pool, sql, [id]).await;
        (server, cluster, id, resource)
    }

    /// The same, seen in service by a ring that goes on to look.
    pub async fn made_and_seen(&self) -> (LocalServer, Cluster, SubjectId, SubjectId, DropGuard) {
        let (server, cluster, id, resource) = self.made().await;
        let ring = self.ring(EYES);
        self.in_service(&[id, resource]).await;
        (server, cluster, id, resource, ring)
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

    /// Asks for something, and has it done by workers that die like this.
    pub async fn done(
        &self,
        subject: SubjectId,
        kind: OperationKind,
        params: Value,
        cut: Cut,
    ) -> Change<'_> {
        let mut change = self.ask(Some(subject), kind, params).await.cut(cut);
        change.run().await.unwrap();
        change
    }

    /// Waits until an incident of this kind is in this state; gives its timeline.
    pub async fn incident_is(&self, subject: SubjectId, kind: IncidentKind, state: &str) -> String {
        let sql =
            "select i.state, (select string_agg(e.kind || ': ' || e.text, E'\n' order by e.id)
                              from incident_events e where e.incident_id = i.id)
             from incidents i where subject_id = $1 and kind = $2";
        let mut last: Option<(String, String)> = None;
        for _ in 0..900 {
            last = sql::first(&self.pool, sql, (subject, kind)).await;
            if let Some((now, timeline)) = &last
                && now == state
            {
                return timeline.clone();
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("not {state} within 90 s, but {last:?}");
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
            asker: None,
            cut: Cut::Never,
            done: vec![],
        }
    }
}
