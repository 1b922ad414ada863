//! `disk_critical` on a volume that really is full.

use std::time::Duration;

use drover::model::{IncidentKind, Mode, SubjectId};
use drover::store::{modes, tiers};
use drover_jobs::cloud::local::{Cluster, LocalServer, MIB};
use drover_jobs::resolve::incidents::machine::NextAction;
use drover_tests::{Says, sql};
use serde_json::json;

use super::driver::{Case, Cut, World, cleared, holds, session, superuser};

const CUTS: [Cut; 3] = [
    Cut::Never,
    Cut::AfterEffect,
    Cut::Midway(Duration::from_millis(400)),
];

pub(super) struct Disk {
    pub(super) world: World,
    pub(super) server: LocalServer,
    pub(super) cluster: Cluster,
    pub(super) id: SubjectId,
    resource: SubjectId,
}

/// A server with a volume of 400 MiB, which has too little room with 30 MiB free.
pub(super) async fn disk(name: &str) -> Disk {
    disk_of(name, 400).await
}

async fn disk_of(name: &str, mib: u32) -> Disk {
    let limits = json!({"limits": {
        "disk_used_ratio": 0.9, "disk_free_bytes": 10 * MIB, "disk_read_only_free_ratio": 0.03,
        "slot_retained_bytes": 20 * MIB,
    }});
    let world = World::new(name, &limits).await;
    let (server, cluster, id, resource) = world.pair(Some(mib)).await;
    let disk = Disk {
        world,
        server,
        cluster,
        id,
        resource,
    };
    disk.log_there(&disk.cluster).await;
    disk
}

impl Disk {
    pub(super) async fn case(&self, cut: Cut) -> Case<'_> {
        let case = self.world.incident(self.id, IncidentKind::DiskCritical);
        case.await.cut(cut)
    }

    /// Has a cluster log to the volume, in the way that Debian has for it.
    async fn log_there(&self, cluster: &Cluster) {
        let script = "install -d -o postgres -g postgres /var/lib/postgresql/log
            pg_ctlcluster \"$1\" \"$2\" stop
            ln -sfn \"/var/lib/postgresql/log/$2.log\" \"/etc/postgresql/$1/$2/log\"
            pg_ctlcluster \"$1\" \"$2\" start";
        let words = [cluster.version.as_str(), &cluster.debian()];
        self.server.does(script, &words, "").await.unwrap();
    }

    /// Writes 8 MiB into each of these files beside its log.
    async fn write_logs(&self, names: &[impl AsRef<str>]) {
        let write = "cd /var/lib/postgresql/log && for f; do
            head -c 8388608 /dev/zero >\"$f\" && chown postgres:adm \"$f\" || exit; done";
        let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
        self.server.does(write, &names, "").await.unwrap();
    }

    /// The files there.
    async fn logs(&self) -> Vec<String> {
        let list = self
            .server
            .does("ls /var/lib/postgresql/log", &[], "")
            .await;
        list.unwrap().lines().map(str::to_owned).collect()
    }

    async fn sql(&self, sql: &str) -> String {
        superuser(&self.server, &self.cluster, sql).await
    }

    /// Has a slot keep WAL.
    async fn slot(&self, name: &str) {
        let sql = format!("select pg_create_physical_replication_slot('{name}', true)");
        self.sql(&sql).await;
    }

    /// A few segments of it.
    async fn write_wal(&self) {
        let message = "pg_logical_emit_message(false, 'x', repeat('x', 15000000))";
        for _ in 0..3 {
            let switch = format!("select pg_switch_wal() from (select {message}) m");
            self.sql(&switch).await;
        }
    }

    /// As the customer does it.
    async fn set(&self, read_only: &str) {
        let sql = format!("alter system set default_transaction_read_only = {read_only}");
        self.sql(&sql).await;
    }

    async fn setting(&self) -> String {
        let file = "select coalesce((select setting from pg_file_settings
            where name = 'default_transaction_read_only' order by seqno desc limit 1), 'none')";
        self.sql(file).await
    }

    /// What a new session gets; a reload reaches it a moment later.
    async fn is(&self, wanted: &str) -> bool {
        for _ in 0..50 {
            let mut db = session(&self.server, &self.cluster).await.unwrap();
            let show = sqlx::query_scalar::<_, String>("show transaction_read_only");
            if show.fetch_one(&mut db).await.unwrap() == wanted {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        false
    }

    async fn size(&self) -> u64 {
        self.server.volume().await.unwrap().unwrap().size / MIB
    }
}

fn names<'a>(case: &'a Case<'_>) -> Vec<(&'a str, bool)> {
    let done = case.done.iter();
    done.map(|d| (d.remedy.unwrap(), d.skipped().is_some()))
        .collect()
}

#[tokio::test]
async fn rotated_logs_go_first_and_nothing_else_goes_with_them() {
    let disk = disk("logs").await;
    for cut in CUTS {
        let name = disk.cluster.debian();
        let rotated = ["1", "12", "2.gz"].map(|end| format!("{name}.log.{end}"));
        let kept = ["notes.gz", "app.log.old", "app.log.1.txt", "dump.sql.gz"];
        disk.write_logs(&rotated).await;
        disk.write_logs(&kept).await;
        disk.server.fill_volume(12).await.unwrap();
        let mut case = disk.case(cut).await;
        assert_eq!(case.until_done().await, "remove_logs", "{}", case.story());
        assert!(case.story().contains("of 24.0 MiB"), "{}", case.story());
        assert_eq!(names(&case)[0], ("read_only", true), "{}", case.story());
        let left = disk.logs().await;
        for file in rotated {
            assert!(!left.contains(&file), "{left:?}");
        }
        for file in kept
            .map(str::to_owned)
            .into_iter()
            .chain([format!("{name}.log")])
        {
            assert!(left.contains(&file), "{file}: {left:?}");
        }
        // Now there is room, and the rest of the playbook leaves it at that.
        disk.server.empty_volume().await.unwrap();
        case.waits().await;
        assert!(matches!(case.next(&cleared()), NextAction::Close(_)));
        if cut == Cut::Never {
            case.calls_a_human().await;
        }
        assert_eq!(disk.size().await, 400, "{}", case.story());
        assert_eq!(case.touched().len(), 1, "{}", case.story());
    }
}

#[tokio::test]
async fn logs_of_clusters_that_are_not_drovers_to_change_stay() {
    let mut disk = disk("logs-of").await;
    // It logs to the same directory.
    let foreign = disk.server.create("app2").await.unwrap();
    disk.log_there(&foreign).await;
    let name = disk.cluster.debian();
    let ours = format!("{name}.log.1");
    let others = [
        format!("{}.log.1", foreign.name),
        format!("{}.log.2.gz", foreign.name),
        "pg_upgrade.log.1".to_owned(),
        format!("{name}-old.log.1"),
    ];
    disk.write_logs(&others).await;
    disk.write_logs(&[&ours]).await;
    disk.server.fill_volume(12).await.unwrap();
    let mut db = disk.world.pool.acquire().await.unwrap();
    let scope = format!("subject:{}", disk.resource);
    let mode = async |db: &mut sqlx::PgConnection, mode| {
        modes::set(db, &scope, mode, "the test").await.unwrap();
    };

    mode(&mut db, Mode::Advise).await;
    let mut case = disk.case(Cut::Never).await;
    case.until_tried("remove_logs").await;
    case.story().says(["is in mode advise"]);
    assert!(disk.logs().await.contains(&ours), "{}", case.story());

    mode(&mut db, Mode::Act).await;
    let mut case = disk.case(Cut::Never).await;
    assert_eq!(case.until_done().await, "remove_logs", "{}", case.story());
    let left = disk.logs().await;
    assert!(!left.contains(&ours), "{}", case.story());
    for file in others {
        assert!(left.contains(&file), "{file}: {left:?}");
    }
}

#[tokio::test]
async fn only_inactive_slots_that_hold_too_much_are_dropped_and_each_is_named() {
    let disk = disk("slots").await;
    for cut in CUTS {
        disk.slot("left_behind").await;
        disk.write_wal().await;
        disk.sql("checkpoint").await;
        disk.slot("young").await;
        disk.server.fill_volume(12).await.unwrap();
        let mut case = disk.case(cut).await;
        assert_eq!(case.until_done().await, "drop_slots", "{}", case.story());
        let resource = &disk.cluster.name;
        let named = format!(
            "replication slot left_behind of {resource} on {}",
            disk.server.name
        );
        assert_eq!(case.touched(), [named.as_str()], "{}", case.story());
        let slots = "select string_agg(slot_name, ',') from pg_replication_slots";
        assert_eq!(disk.sql(slots).await, "young", "{}", case.story());
        disk.sql("select pg_drop_replication_slot('young')").await;
        disk.server.empty_volume().await.unwrap();
    }
}

#[tokio::test]
async fn the_slot_of_a_live_follower_stays_for_as_long_as_a_limit_holds_for_it() {
    let disk = disk("slots-follower").await;
    let follower = SubjectId::generate();
    for sql in [
        "insert into subjects (id, kind, name, state, origin, tier)
         select $1, kind, 'follower', 'available', 'created', tier from subjects where id = $2",
        "insert into resources (id, server_id, port, database, role, password, tls_mode, plan,
                                leader_id)
         select $1, server_id, port + 1, database, role, password, tls_mode, plan, id
         from resources where id = $2",
    ] {
        sql::run(&disk.world.pool, sql, (follower, disk.resource)).await;
    }
    let slot = format!("f_{}", follower.to_string().to_ascii_lowercase());
    disk.slot(&slot).await;
    disk.slot("f_nobody").await;
    disk.write_wal().await;
    let limit = "alter system set max_slot_wal_keep_size = '1GB'";
    disk.sql(limit).await;
    disk.sql("select pg_reload_conf()").await;
    disk.sql("checkpoint").await;
    disk.server.fill_volume(12).await.unwrap();
    let slots = "select string_agg(slot_name, ',') from pg_replication_slots";
    let mut case = disk.case(Cut::Never).await;
    assert_eq!(case.until_done().await, "drop_slots", "{}", case.story());
    assert_eq!(disk.sql(slots).await, slot, "{}", case.story());

    // Without a limit it would fill the volume for ever.
    disk.sql("alter system reset max_slot_wal_keep_size").await;
    disk.sql("select pg_reload_conf()").await;
    let mut case = disk.case(Cut::Never).await;
    assert_eq!(case.until_done().await, "drop_slots", "{}", case.story());
    assert_eq!(disk.sql(slots).await, "", "{}", case.story());
}

#[tokio::test]
async fn slots_go_by_the_rules_and_the_mode_of_their_own_database() {
    let disk = disk("slots-tier").await;
    disk.slot("left_behind").await;
    disk.write_wal().await;
    disk.sql("checkpoint").await;
    disk.server.fill_volume(12).await.unwrap();
    let slots = "select count(*) from pg_replication_slots";

    // Its tier lets slots hold more than the server's does.
    let pool = &disk.world.pool;
    let more = json!({"limits": {"slot_retained_bytes": 1024 * MIB}});
    let mut db = pool.acquire().await.unwrap();
    tiers::put(&mut db, "roomy", &more).await.unwrap();
    let sql = "update subjects set tier = $1 where id = $2";
    sql::run(pool, sql, ("roomy", disk.resource)).await;
    let mut case = disk.case(Cut::Never).await;
    case.until_tried("drop_slots").await;
    case.story().says(["holds over 1.00 GiB"]);
    assert_eq!(disk.sql(slots).await, "1", "{}", case.story());

    // Between the look and the drop an operator wants it left alone.
    sql::run(pool, sql, ("standard", disk.resource)).await;
    let mut case = disk.case(Cut::Never).await;
    case.run_to("drop_slots", "drop").await;
    let scope = format!("subject:{}", disk.resource);
    let held = modes::set(&mut db, &scope, Mode::Hold, "the test").await;
    held.unwrap();
    case.remedy(&holds()).await;
    assert!(case.story().contains("is in mode hold"), "{}", case.story());
    assert_eq!(disk.sql(slots).await, "1", "{}", case.story());
    assert_eq!(case.touched(), [""; 0]);
}

#[tokio::test]
async fn a_volume_grows_once_however_often_a_worker_dies() {
    // Of less, the log of xfs would be a large part.
    let disk = disk_of("grow", 1024).await;
    // A quarter more, and no less than 1 GiB.
    for (cut, size) in CUTS.into_iter().zip([2048, 3072, 4096]) {
        let left = u32::try_from(disk.size().await / 25).unwrap();
        disk.server.fill_volume(left).await.unwrap();
        let mut case = disk.case(cut).await;
        assert_eq!(case.until_done().await, "grow_volume", "{}", case.story());
        assert_eq!(disk.size().await, size, "{}", case.story());
        case.again("grow").await;
        assert_eq!(disk.size().await, size, "{}", case.story());
        disk.server.empty_volume().await.unwrap();
    }
}

#[tokio::test]
async fn with_next_to_nothing_free_databases_are_read_only_until_there_is_room() {
    let disk = disk("readonly").await;
    for cut in CUTS {
        disk.server.fill_volume(5).await.unwrap();
        let mut case = disk.case(cut).await;
        assert_eq!(case.until_done().await, "read_only", "{}", case.story());
        assert!(disk.is("on").await, "{}", case.story());
        assert_eq!(case.incident.memo["undo"], true);
        assert_eq!(disk.setting().await, "on");

        let (wanted, _) = case.turn(&holds()).await;
        let NextAction::Ask { remedy, .. } = wanted else {
            panic!("{wanted:?}");
        };
        assert_eq!(remedy, "remove_logs");
        disk.server.empty_volume().await.unwrap();
        while matches!(case.next(&cleared()), NextAction::Ask { .. }) {
            case.remedy(&cleared()).await;
        }
        assert!(matches!(case.next(&cleared()), NextAction::Close(_)));
        assert_eq!(case.incident.memo.get("undo"), None, "{}", case.story());
        assert_eq!(disk.setting().await, "none", "{}", case.story());
        assert!(disk.is("off").await, "{}", case.story());
    }
}

#[tokio::test]
async fn what_the_customer_had_set_stays_his() {
    let disk = disk("his").await;
    disk.server.fill_volume(5).await.unwrap();
    // On, by himself: nothing to do, and nothing to take back.
    disk.set("on").await;
    let mut case = disk.case(Cut::Never).await;
    let (_, done) = case.turn(&holds()).await;
    assert!(done.unwrap().skipped().is_some(), "{}", case.story());
    assert!(matches!(case.next(&cleared()), NextAction::Close(_)));
    assert_eq!(disk.setting().await, "on");

    // Off, by himself: it is off again afterwards, and not merely unset.
    disk.set("off").await;
    let mut case = disk.case(Cut::AfterEffect).await;
    assert_eq!(case.until_done().await, "read_only", "{}", case.story());
    assert_eq!(disk.setting().await, "on");
    case.remedy(&cleared()).await;
    assert_eq!(disk.setting().await, "off", "{}", case.story());

    // Changed by himself meanwhile: it is his.
    let mut case = disk.case(Cut::Never).await;
    assert_eq!(case.until_done().await, "read_only", "{}", case.story());
    disk.set("false").await;
    case.remedy(&cleared()).await;
    assert_eq!(disk.setting().await, "false", "{}", case.story());
    assert_eq!(case.incident.memo.get("undo"), None, "{}", case.story());
}

#[tokio::test]
async fn a_database_in_another_mode_is_left_alone() {
    let disk = disk("mode").await;
    disk.server.fill_volume(5).await.unwrap();
    let sql = "insert into modes (scope, mode, reason) values ($1, 'advise', 'the test')";
    let binds = [format!("subject:{}", disk.resource)];
    sql::run(&disk.world.pool, sql, binds).await;
    let mut case = disk.case(Cut::Never).await;
    let (_, done) = case.turn(&holds()).await;
    let done = done.unwrap();
    let advise = |why: &str| why.contains("is in mode advise");
    assert!(done.skipped().is_some_and(advise), "{}", case.story());
    assert!(disk.is("off").await);
}
