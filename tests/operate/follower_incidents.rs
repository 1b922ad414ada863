//! What goes wrong with followers, broken in earnest, and mended.

use drover::model::{IncidentKind, SubjectId};
use drover_tests::{PATIENCE, sql, until, when};
use serde_json::json;

use crate::world::World;

/// A leader and its follower that streams, seen often, with little patience.
struct Pair {
    world: World,
    leader: String,
    follower: String,
}

impl Pair {
    async fn start() -> Self {
        Self::with_patience(json!({})).await
    }

    async fn with_patience(patience: serde_json::Value) -> Self {
        let rules = json!({
            "cadence": {"available": "1s"},
            "limits": {"lag_for": "3s", "stalled_for": "2s"},
            "patience": patience,
        });
        let world = World::with_rules(1, &rules).await;
        let leader = world.ask("orders", "premium").await;
        world.all_available(4).await;
        let follower = world.follower_of(&leader).await;
        let pair = Self {
            world,
            leader,
            follower,
        };
        pair.write("create table ledger (n int primary key)").await;
        pair.streams().await;
        pair
    }

    /// A customer's statement, at the leader.
    async fn write(&self, sql: &str) {
        let customer = self.world.customer(&self.leader).await;
        customer.psql(sql).unwrap();
    }

    async fn streams(&self) {
        let streams = |seen: &serde_json::Value| seen["receiver"]["status"] == "streaming";
        self.world.seen(&self.follower, streams).await;
    }

    /// What a node's cluster is called: `15/orders`.
    async fn cluster(&self, id: &str) -> String {
        let only = "pg_lsclusters -h | { read -r v n _; echo \"$v/$n\"; }";
        self.at(id, only).await
    }

    /// What a shell's command says on a node's server, as root.
    async fn at(&self, id: &str, command: &str) -> String {
        let said = self.tried_at(id, command).await;
        said.unwrap_or_else(|error| panic!("{command}: {error}"))
    }

    async fn tried_at(&self, id: &str, command: &str) -> Result<String, String> {
        let node = self.world.drover.node(id).await.unwrap();
        let said = self.world.drover.at(&node, command).await;
        let said = said.map_err(|e| format!("{e:#}"))?;
        Ok(said.trim().to_owned())
    }

    /// What a superuser's statements say at a node.
    async fn superuser(&self, id: &str, sql: &str) -> String {
        let said = self.tried_as_superuser(id, sql).await;
        said.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// At once: drover stops it as soon as it has seen that.
    async fn promoted_and_written_to(&self) {
        let cluster = self.cluster(&self.follower).await;
        let database = cluster.split('/').nth(1).unwrap();
        let both = format!(
            "sudo -n -u postgres psql -U postgres -XAtq --cluster {cluster} -d {database} \
             -c 'select pg_promote()' -c 'insert into ledger values (666)'"
        );
        self.at(&self.follower, &both).await;
    }

    async fn tried_as_superuser(&self, id: &str, sql: &str) -> Result<String, String> {
        let cluster = self.cluster(id).await;
        let database = cluster.split('/').nth(1).unwrap();
        let sql = drover_jobs::ssh::quote(sql).unwrap();
        let psql = "sudo -n -u postgres psql -U postgres -XAtq -v ON_ERROR_STOP=1";
        let command = format!("{psql} --cluster {cluster} -d {database} -c {sql}");
        self.tried_at(id, &command).await
    }

    /// Until an incident of this kind is opened about the follower, and then is over.
    async fn opened_and_over(&self, kind: IncidentKind) {
        self.incident(kind, "is open", |_| true).await;
        self.over(kind).await;
    }

    async fn over(&self, kind: IncidentKind) {
        let over = |state: &str| state == "resolved";
        self.incident(kind, "is over", over).await;
    }

    async fn incident(&self, kind: IncidentKind, what: &str, is: impl Fn(&str) -> bool) {
        let what = format!("{kind} {what}");
        let (pool, id) = (&self.world.drover.pool, self.id());
        let sql = "select kind, state from incidents where subject_id = $1";
        let found = until(&what, PATIENCE, || async {
            let all: Vec<(String, String)> = sql::rows(pool, sql, [id]).await;
            let mut its = all.iter().filter(|(of, _)| *of == kind.as_str());
            when(its.any(|(_, state)| is(state)), format!("{all:?}"))
        })
        .await;
        if let Err(e) = found {
            let open = self.world.open_operations().await;
            panic!("{e:#}; {open}; {}", self.timeline().await);
        }
    }

    async fn timeline(&self) -> String {
        let sql = "select i.kind, e.kind, e.text from incident_events e
             join incidents i on i.id = e.incident_id order by e.created_at";
        let events: Vec<(String, String, String)> =
            sql::rows(&self.world.drover.pool, sql, ()).await;
        let mut seen = Vec::new();
        for id in [&self.leader, &self.follower] {
            let path = format!("/v1/resources/{id}");
            let subject = self.world.drover.get(&path);
            seen.push(subject.await.unwrap()["last_observation"].to_string());
        }
        format!("{events:#?} {seen:#?}")
    }

    /// Its slot is dropped, and the WAL that it needs is gone before it comes back.
    async fn lose_the_slot(&self) {
        let cluster = self.cluster(&self.follower).await;
        let settings = format!("/etc/postgresql/{cluster}/conf.d/follower.conf");
        let hide =
            format!("mv {settings} /root/told && install -o postgres -m 600 /dev/null {settings}");
        self.at(&self.follower, &hide).await;
        let ctl = cluster.replace('/', " ");
        let reload = format!("pg_ctlcluster {ctl} reload");
        self.at(&self.follower, &reload).await;
        until("the slot is free", PATIENCE, || async {
            let active = "select count(*) from pg_replication_slots where active";
            let active = self.superuser(&self.leader, active).await;
            when(active == "0", active)
        })
        .await
        .unwrap();
        // In one go: drover would make the slot anew before that WAL is gone.
        let mut lose =
            String::from("select pg_drop_replication_slot(slot_name) from pg_replication_slots;");
        for n in 1..=3 {
            lose +=
                &format!("insert into ledger values ({n}); select pg_switch_wal(); checkpoint;");
        }
        self.superuser(&self.leader, &lose).await;
        let show = format!("mv /root/told {settings}");
        self.at(&self.follower, &show).await;
        // drover may have seen it and stopped the cluster by now, which then reads this
        // when it starts.
        let _ = self.tried_at(&self.follower, &reload).await;
    }

    fn id(&self) -> SubjectId {
        self.follower.trim_start_matches("db_").parse().unwrap()
    }

    /// The remedies that were begun about the follower, in their order.
    async fn remedies(&self) -> Vec<String> {
        let sql = "select resolver || '/' || remedy from resolver_runs
             where subject_id = $1 and phase = 'begun' and incident_id is not null
             order by created_at";
        let runs: Vec<String> = sql::scalars(&self.world.drover.pool, sql, [self.id()]).await;
        let mut remedies = runs;
        remedies.dedup();
        remedies
    }

    /// The follower has what the leader has, and nothing else.
    async fn are_alike(&self, rows: &str) {
        let all = "select string_agg(n::text, ' ' order by n) from ledger";
        assert_eq!(self.superuser(&self.leader, all).await, rows);
        until("the same at the follower", PATIENCE, || async {
            Ok(match self.tried_as_superuser(&self.follower, all).await {
                Ok(there) if there == rows => Ok(()),
                Ok(other) | Err(other) => Err(other),
            })
        })
        .await
        .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_is_refused_by_its_leader_is_told_the_password_anew() {
    let pair = Pair::start().await;
    let cluster = pair.cluster(&pair.follower).await;
    let other = format!("echo '*:*:*:*:of-another' >/etc/postgresql/{cluster}/replication.pass");
    pair.at(&pair.follower, &other).await;
    let receiver = "select pid from pg_stat_wal_receiver";
    let receiver = pair.superuser(&pair.follower, receiver).await;
    pair.at(&pair.follower, &format!("kill {receiver}")).await;
    pair.opened_and_over(IncidentKind::FollowerStalled).await;
    pair.streams().await;
    pair.write("insert into ledger values (1)").await;
    pair.are_alike("1").await;
    let remedies = pair.remedies().await;
    assert_eq!(remedies, ["follower_stalled/restart_receiver"]);
    pair.world.drover.assert_nobody_was_called().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_was_promoted_by_hand_is_stopped_paged_for_and_rewound() {
    let pair = Pair::start().await;
    pair.write("insert into ledger values (1)").await;
    pair.are_alike("1").await;
    pair.promoted_and_written_to().await;
    pair.write("insert into ledger values (2)").await;
    pair.opened_and_over(IncidentKind::SplitBrain).await;
    pair.streams().await;
    // What was written beside the leader is gone.
    pair.are_alike("1 2").await;
    let sql = "select o.channel, o.severity from outbox o join incidents i on i.id = o.incident_id
         where i.kind = 'split_brain' and o.action = 'trigger'";
    let told: Vec<(String, String)> = sql::rows(&pair.world.drover.pool, sql, ()).await;
    assert_eq!(told, [("page".to_owned(), "critical".to_owned())]);
    // The page was written before anything was done.
    let sql = "select e.kind from incident_events e join incidents i on i.id = e.incident_id
         where i.kind = 'split_brain' and e.kind in ('paged', 'attempt') order by e.created_at";
    let events: Vec<String> = sql::scalars(&pair.world.drover.pool, sql, ()).await;
    assert_eq!(events, ["paged", "attempt"]);
    let remedies = pair.remedies().await;
    assert_eq!(remedies[0], "split_brain/fence");
    // It was stopped before anything else was done to it.
    let sql = "select detail from resolver_runs
         where remedy = 'fence' and step = 'stop' and phase = 'ended' and outcome = 'done'
         order by created_at limit 1";
    let fenced: String = sql::scalar(&pair.world.drover.pool, sql, ()).await;
    assert!(fenced.contains("kept from writing"), "{fenced}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_whose_slot_and_wal_are_gone_is_copied_anew() {
    let pair = Pair::start().await;
    pair.lose_the_slot().await;
    pair.opened_and_over(IncidentKind::FollowerFailed).await;
    pair.streams().await;
    pair.are_alike("1 2 3").await;
    let remedies = pair.remedies().await;
    let rewound = remedies.iter().any(|it| it == "follower_failed/rewind");
    assert!(rewound, "{remedies:?}");
    pair.world.drover.assert_nobody_was_called().await;
}
#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_cannot_be_made_anew_where_it_is_is_made_elsewhere() {
    let pair = Pair::with_patience(json!({"change": "8s"})).await;
    // Neither read nor removed by the cluster's owner.
    let data = pair.superuser(&pair.follower, "show data_directory").await;
    let stone = format!("install -d -m 700 {data}/stone && touch {data}/stone/heavy");
    pair.at(&pair.follower, &stone).await;
    pair.lose_the_slot().await;
    let sql = "select state from subjects where id = $1";
    let (pool, id) = (&pair.world.drover.pool, pair.id());
    let given_up = until("it is to be destroyed", PATIENCE, || async {
        let state: String = sql::scalar(pool, sql, [id]).await;
        let gone = state == "destroying" || state == "destroyed";
        when(gone, state)
    })
    .await;
    if let Err(e) = given_up {
        panic!("{e:#}; {}", pair.timeline().await);
    }
    // Now the other one follows.
    until("one follower is left, and it streams", PATIENCE, || async {
        let followers = pair.world.drover.followers_of(&pair.leader).await?;
        Ok(match followers.as_slice() {
            [one] if *one != pair.follower => Ok(()),
            others => Err(format!("{others:?}")),
        })
    })
    .await
    .unwrap();
    let other = Pair {
        follower: pair.world.follower_of(&pair.leader).await,
        ..pair
    };
    other.streams().await;
    other.are_alike("1 2 3").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_does_not_start_is_made_anew() {
    let pair = Pair::start().await;
    pair.write("insert into ledger values (1)").await;
    let data = pair.superuser(&pair.follower, "show data_directory").await;
    let cluster = pair.cluster(&pair.follower).await;
    let ctl = cluster.replace('/', " ");
    let stop = format!("rm {data}/global/pg_control; pg_ctlcluster {ctl} stop -m immediate");
    pair.at(&pair.follower, &stop).await;
    pair.opened_and_over(IncidentKind::ResourceDown).await;
    pair.streams().await;
    pair.are_alike("1").await;
    let remedies = pair.remedies().await;
    assert_eq!(remedies.last().unwrap(), "resource_down/rebuild");
    pair.world.drover.assert_nobody_was_called().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_does_not_replay_is_lagging_until_it_does() {
    let pair = Pair::start().await;
    let sql = "update resources set max_lag_bytes = 100000 where id = $1";
    sql::run(&pair.world.drover.pool, sql, [pair.id()]).await;
    let (pause, resume) = (
        "select pg_wal_replay_pause()",
        "select pg_wal_replay_resume()",
    );
    pair.superuser(&pair.follower, pause).await;
    let much = "insert into ledger select * from generate_series(1, 20000)";
    pair.write(much).await;
    let kind = IncidentKind::FollowerLagging;
    pair.incident(kind, "is open", |_| true).await;
    pair.superuser(&pair.follower, resume).await;
    pair.over(kind).await;
    let sql = "select reason from incidents where kind = $1";
    let reason: String = sql::scalar(&pair.world.drover.pool, sql, [kind]).await;
    assert!(reason.contains("MiB behind db_"), "{reason}");
    pair.world.drover.assert_nobody_was_called().await;
}
