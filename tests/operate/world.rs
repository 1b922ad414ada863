//! A deployment that makes things, what is asked of it, and what there is in the end.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use drover::model::{Cloud, Durability, ExposeSecret, Kind, SubjectId, secret};
use drover::store::subjects::Known;
use drover::store::{creation, plans, subjects};
use drover_tests::records::key;
use drover_tests::{Deployment, Ledger, PATIENCE, sql, until, when};
use serde_json::{Value, json};

pub struct World {
    pub drover: Deployment,
}

impl World {
    pub async fn start(resolvers: usize) -> Self {
        Self::with_rules(resolvers, &json!({"cadence": {"available": "5s"}})).await
    }

    pub async fn with_rules(resolvers: usize, rules: &Value) -> Self {
        let mut drover = Deployment::new(rules).await.unwrap();
        let kinds = ["web", "clock", "feel", "think", "notify"];
        drover.start(&kinds).await.unwrap();
        for _ in 0..resolvers {
            drover.processes.start("resolve").unwrap();
        }
        drover.with_machines().await.unwrap();
        Self { drover }
    }

    pub async fn create(&self, name: &str, plan: &str) -> SubjectId {
        let key = key();
        let mut tx = self.drover.pool.begin().await.unwrap();
        let plan = plans::find(&mut tx, plan).await.unwrap().unwrap();
        let wanted = creation::WantedResource {
            name: name.into(),
            plan,
            cloud: Cloud::Local,
            region: "local".into(),
            zone: None,
            window: None,
            durability: Durability::Async,
            own_password: secret("drovers-own-password"),
            customer_password: secret("the-customers-password"),
            replication_password: secret("the-followers-password"),
            asked_by: "test".into(),
        };
        let (id, _) = creation::resource(&mut tx, &key, &wanted).await.unwrap();
        tx.commit().await.unwrap();
        id
    }

    pub async fn destroy(&self, id: SubjectId) {
        let mut tx = self.drover.pool.begin().await.unwrap();
        let asked = creation::destroy(&mut tx, Kind::Resource, id, "test").await;
        asked.unwrap();
        tx.commit().await.unwrap();
    }

    pub async fn live(&self, kind: &str) -> i64 {
        let sql = "select count(*) from subjects where kind = $1 and forgotten_at is null";
        sql::scalar(&self.drover.pool, sql, [kind]).await
    }

    pub async fn all_available(&self, count: usize) {
        let available = self.drover.all_available(count, PATIENCE).await;
        self.or_tell(available).await;
    }

    /// What is open is told where this failed.
    async fn or_tell<T>(&self, done: anyhow::Result<T>) {
        if let Err(e) = done {
            panic!("{e:#}; {}", self.open_operations().await);
        }
    }

    /// Until these are available, and nothing else of resources is left.
    pub async fn until_settled(&self, kept: &[SubjectId]) {
        let pool = &self.drover.pool;
        let settled = until("all where they should be", PATIENCE, || async {
            let sql = "select count(*) from operations where state = 'open'";
            let open: i64 = sql::scalar(pool, sql, ()).await;
            let sql =
                "select id, state from subjects where kind = 'resource' and forgotten_at is null";
            let live: Vec<(String, String)> = sql::rows(pool, sql, ()).await;
            let ids: BTreeSet<&str> = live.iter().map(|(id, _)| id.as_str()).collect();
            let wanted: BTreeSet<String> = kept.iter().map(SubjectId::to_string).collect();
            let well = live.iter().all(|(_, state)| state == "available");
            let done = open == 0 && well && ids.into_iter().eq(wanted.iter().map(String::as_str));
            when(done, format!("{open} open; {live:?}"))
        })
        .await;
        self.or_tell(settled).await;
    }

    /// No row of the ring and no machine.
    pub async fn until_nothing_is_left(&self) {
        let sql = "select (select count(*) from subjects where forgotten_at is null),
                        (select count(*) from apalis.jobs where job_type <> 'notify')";
        let gone = until("nothing left", PATIENCE, || async {
            let (live, tokens): (i64, i64) = sql::row(&self.drover.pool, sql, ()).await;
            let machines = self.machines().await;
            let nothing = live == 0 && tokens == 0 && machines.is_empty();
            let left = format!("{live} subjects, {tokens} tokens, {machines:?}");
            when(nothing, left)
        })
        .await;
        self.or_tell(gone).await;
    }

    /// As many servers in the cloud as in the record, with the same names; as many
    /// clusters on them as resources.
    pub async fn assert_cloud_is_as_recorded(&self) {
        let sql = "select instance_id from servers v join subjects s using (id)
             where s.forgotten_at is null order by 1";
        let recorded: Vec<String> = sql::scalars(&self.drover.pool, sql, ()).await;
        assert_eq!(self.machines().await, recorded);
        let sql = "select customer_database from resources r join subjects s using (id)
             where s.forgotten_at is null";
        let mut wanted: Vec<String> = sql::scalars(&self.drover.pool, sql, ()).await;
        let mut clusters = Vec::new();
        for machine in &recorded {
            let list = self.drover.machines().sh(machine, "pg_lsclusters -h").await;
            let list = list.unwrap();
            let names = list
                .lines()
                .filter_map(|line| line.split_whitespace().nth(1));
            clusters.extend(names.map(str::to_owned));
        }
        wanted.sort();
        clusters.sort();
        assert_eq!(clusters, wanted);
    }

    /// A customer gets into their own database over TLS, is told apart from drover's
    /// role, and gets into nobody else's.
    pub async fn assert_kept_apart(&self) {
        let mut db = self.drover.pool.acquire().await.unwrap();
        let sql =
            "select id from subjects where kind = 'resource' and forgotten_at is null limit 2";
        let ids: Vec<String> = sql::scalars(&mut *db, sql, ()).await;
        let ids: Vec<SubjectId> = ids.iter().map(|id| id.parse().unwrap()).collect();
        let key = key();
        for row in subjects::load(&mut db, &ids).await.unwrap() {
            let Known::Resource(resource, server) = row.open(&key).unwrap() else {
                panic!("a server among resources");
            };
            let customer = resource.customer.as_ref().unwrap();
            let pem = resource.tls_root_cert.as_ref().expect("a pinned one");
            let file = self.drover.dir().join("root.crt");
            std::fs::write(&file, pem).unwrap();
            let psql = |database: &str, mode: &str, sql: &str| {
                let target = format!(
                    "host={} port={} dbname={database} user={} sslmode={mode} sslrootcert={} connect_timeout=5",
                    server.address,
                    resource.port,
                    customer.role,
                    file.display()
                );
                let done = std::process::Command::new("psql")
                    .args(["-XAtc", sql, &target])
                    .env("PGPASSWORD", customer.password.expose_secret())
                    .output()
                    .unwrap();
                match done.status.success() {
                    true => Ok(String::from_utf8_lossy(&done.stdout).trim().to_owned()),
                    false => Err(String::from_utf8_lossy(&done.stderr).trim().to_owned()),
                }
            };
            let own = customer.database.as_str();
            let works = "create table t (x int); drop table t; \
                create extension pgcrypto; drop extension pgcrypto; select 'fine'";
            assert!(psql(own, "verify-full", works).unwrap().ends_with("fine"));
            // The customer locks out whom they can; drover's role is not among them.
            let shut = format!("revoke all on database {own} from public; select 'shut'");
            assert!(psql(own, "require", &shut).unwrap().ends_with("shut"));
            for sql in [
                "alter role drover nologin",
                "drop role drover",
                "create role x",
            ] {
                assert!(psql(own, "require", sql).is_err(), "{sql}");
            }
            assert!(psql("drover", "require", "select 1").is_err());
            assert!(psql("postgres", "require", "select 1").is_err());
            assert!(psql(own, "disable", "select 1").is_err(), "without TLS");
        }
    }

    /// Customers write all the time from now on, by the address with all nodes.
    pub async fn written(&self, id: &str) -> Ledger {
        let account = self.drover.account(id).await.unwrap();
        Ledger::open(account).unwrap()
    }

    /// It is written still, and what was acknowledged is there. Gives the longest pause
    /// between two commits.
    pub async fn assert_nothing_lost(&self, ledger: Ledger) -> Duration {
        // One more, so that the pause after the last change is among them.
        let now = Instant::now();
        let more = until("one more commit", PATIENCE, || async {
            Ok(ledger.first_after(now, "").ok_or("none yet".to_owned()))
        });
        if let Err(e) = more.await {
            panic!("{e:#}\n{}", self.drover.processes.logs());
        }
        let longest = ledger.longest_pause(ledger.opened());
        let commits = ledger.entries().len();
        println!("{commits} commits, the longest pause {longest:.2?}");
        assert_eq!(ledger.lost().unwrap(), Vec::<u64>::new());
        assert!(commits > 20, "{commits}");
        longest
    }

    /// But for one that is a word for an instant: who is told to lead takes writes a
    /// moment before the record says so. It rests meanwhile, and nobody is called.
    pub async fn assert_no_incident(&self) {
        let sql = "select kind, reason from incidents
             where not (kind = 'split_brain' and state = 'resolved'
                        and attempts = 0 and paged_at is null)";
        let opened: Vec<(String, String)> = sql::rows(&self.drover.pool, sql, ()).await;
        assert!(opened.is_empty(), "{opened:?}");
    }

    async fn machines(&self) -> Vec<String> {
        let machines = self.drover.machines().client.list(None).await.unwrap();
        let mut names: Vec<String> = machines.into_iter().map(|machine| machine.name).collect();
        names.sort();
        names
    }

    pub async fn open_operations(&self) -> String {
        let sql = "select s.name, o.kind, o.step_name, o.note
             from operations o join subjects s on s.id = o.subject_id
             where o.state = 'open' order by o.id";
        let rows: Vec<(String, String, String, Option<String>)> =
            sql::rows(&self.drover.pool, sql, ()).await;
        format!("{rows:#?}")
    }
}
