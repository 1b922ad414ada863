//! drover-root on servers that have none, or an old one, and what becomes of the rules by
//! which their login may do everything.

use std::time::Duration;

use drover::model::OperationKind::{InstallHelper, Restart};
use drover::model::{Kind, PublicId, SubjectId};
use drover::store::observations;
use drover::store::operations;
use drover_jobs::cloud::local::LocalServer;
use drover_jobs::host::helper;
use drover_jobs::resolve::operations::Ended;
use drover_jobs::ssh::{self, Limits};
use drover_tests::{PATIENCE, Says, sql, until, when};
use rand::RngExt;
use serde_json::{Value, json};

use super::driver::{ALL, CUTS, Change, Cut, World, session, world};
use crate::world::World as Herd;

/// Where cloud-init puts it.
const CLOUD_INIT: &str = "/etc/sudoers.d/90-cloud-init-users";
/// The login may use drover-root, act as postgres, and nothing more.
const NARROW: &str = "sudo -n /usr/local/sbin/drover-root version && sudo -n -u postgres -- true \
                      && ! sudo -n -- true 2>/dev/null";
const WIDE: &str = "sudo -n -- true";

/// As root on its machine.
async fn root(world: &World, server: &LocalServer, script: &str) -> String {
    let said = world.daemon.sh(&server.name, script).await;
    said.unwrap().trim().to_owned()
}

/// As its login. Gives what is printed, if it succeeds.
async fn may(server: &LocalServer, script: &str) -> Result<String, String> {
    let limits = Limits {
        time: Duration::from_secs(30),
        ..Limits::default()
    };
    let said = ssh::run(&server.target().await.unwrap(), script, limits).await;
    let said = said.unwrap();
    let text = String::from_utf8_lossy(&[said.stdout, said.stderr].concat())
        .trim()
        .to_owned();
    match said.status {
        Some(0) => Ok(text),
        _ => Err(text),
    }
}

async fn login(server: &LocalServer) -> String {
    server.target().await.unwrap().user
}

/// The server as an image of its distribution has it: no drover-root, and a login that may do
/// everything, as may somebody else.
async fn as_images_are(world: &World, server: &LocalServer) {
    let login = login(server).await;
    let script = format!(
        "rm -rf /usr/local/sbin/drover-root /etc/drover /etc/sudoers.d/zz-drover-root
         printf '%s\\n' '# User rules for {login}' '{login} ALL=(ALL) NOPASSWD:ALL' '' \\
           'bob ALL=(ALL) NOPASSWD: /bin/true' >{CLOUD_INIT}
         chmod 440 {CLOUD_INIT}"
    );
    root(world, server, &script).await;
    may(server, WIDE).await.unwrap();
}

/// The release before this one.
async fn made_old(world: &World, server: &LocalServer, version: u32) {
    let script = format!(
        "sed -i 's/^my $VERSION = .*/my $VERSION = {version};/' /usr/local/sbin/drover-root"
    );
    root(world, server, &script).await;
}

/// Until this version is felt.
async fn felt(world: &World, server: SubjectId, version: Option<u32>) {
    let seen = until("it is felt", PATIENCE, || async {
        let mut db = world.pool.acquire().await?;
        let seen = observations::newest(&mut db, &[server]).await?.pop();
        let felt = seen.and_then(|(_, seen)| seen.attributes.server.drover_root.clone());
        let is_so = felt
            .as_ref()
            .is_some_and(|felt| felt.version == version && felt.newest == Some(helper::version()));
        when(is_so, felt)
    });
    seen.await.unwrap();
}

async fn renew(world: &World) -> usize {
    let mut tx = world.pool.begin().await.unwrap();
    let asked = drover::store::drover_root::renew_old(&mut tx)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    asked.len()
}

async fn asked(change: &mut Change<'_>, step: &str, ended: &Ended) -> String {
    change.run_to(step).await;
    let done = change.advance().await;
    assert_eq!(&done.ended, ended, "{}", change.story());
    done.note
}

async fn give_up(world: &World, id: SubjectId) {
    let mut tx = world.pool.begin().await.unwrap();
    let why = "the test goes on";
    operations::cancel_open(&mut tx, id, why).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_has_drover_root_and_nothing_else_however_often_a_worker_dies() {
    let world = world("helper").await;
    let (server, cluster, id, resource, _ring) = world.made_and_seen().await;
    felt(&world, id, Some(helper::version())).await;
    let login = login(&server).await;
    for cut in CUTS {
        as_images_are(&world, &server).await;
        felt(&world, id, None).await;
        let change = world.done(id, InstallHelper, json!({}), cut).await;
        let story = change.story();
        let said = may(&server, NARROW).await;
        let said = said.unwrap_or_else(|e| panic!("{cut:?}: {e}\n{story}"));
        assert_eq!(said, helper::version().to_string());
        // What was taken is told, and what is another's is there.
        let rule = format!("{CLOUD_INIT}: {login} ALL=(ALL) NOPASSWD:ALL");
        story.says([&*format!("goes: {rule}"), &*format!("taken away: {rule}")]);
        story.says(["may not do everything as root"]);
        let left = root(&world, &server, &format!("cat {CLOUD_INIT}; visudo -cq")).await;
        let bobs = "bob ALL=(ALL) NOPASSWD: /bin/true";
        assert_eq!(
            left,
            format!("# User rules for {login}\n\n{bobs}"),
            "{story}"
        );
        let sudoers = "stat -c '%U %a' /etc/sudoers.d/zz-drover-root /etc/sudoers.d/90*; \
                       ls -A /etc/sudoers.d /etc/drover /usr/local/sbin";
        let sudoers = root(&world, &server, sudoers).await;
        sudoers.says(["root 440\nroot 440"]);
        sudoers.never_says([".new", ".drover"]);
        // Who comes late does nothing more, and nothing less.
        for step in ["install", "restrict", "confirm"] {
            let late = change.again(step).await;
            let failed = step == "install";
            assert_eq!(late.ended == Ended::Failed, failed, "{step}: {late:?}");
            assert!(may(&server, NARROW).await.is_ok(), "{step}: {late:?}");
        }
        felt(&world, id, Some(helper::version())).await;
    }
    // drover works as before.
    world.done(resource, Restart, json!({}), Cut::Never).await;
    session(&server, &cluster).await.unwrap();
    // Asked for once more, there is nothing to do.
    let change = world.done(id, InstallHelper, json!({}), Cut::Never).await;
    assert_eq!(change.done.len(), 2, "{}", change.story());
}

/// Rules that are not this login's alone, or stand where drover writes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_human_has_to_take_away_is_told_and_left() {
    let world = world("rules").await;
    let (server, _, id, _) = world.made().await;
    let login = login(&server).await;
    let wide = format!("{login} ALL=(ALL) NOPASSWD:ALL");
    let group = format!("%{login} ALL=(ALL:ALL) NOPASSWD: ALL");
    let both = format!("bob, {wide}");
    for (file, rule, told) in [
        ("/etc/sudoers", &wide, true),
        // Read behind drover's own: nobody could say what is left without it.
        ("/etc/sudoers.d/zzz", &wide, true),
        ("/etc/sudoers.d/10-group", &group, false),
        ("/etc/sudoers.d/20-both", &both, false),
        (
            "/etc/sudoers.d/30-both",
            &format!("{wide}, \\\n  !/bin/false"),
            false,
        ),
    ] {
        as_images_are(&world, &server).await;
        let put = format!(
            "cp /etc/sudoers /etc/sudoers.was; printf '%s\\n' '{rule}' >>{file}; \
                           sha256sum {file}"
        );
        let before = root(&world, &server, &put).await;
        let change = world.done(id, InstallHelper, json!({}), Cut::Never).await;
        let story = change.story();
        story.says([
            "taken away: /etc/sudoers.d/90",
            "a human should take away: ",
        ]);
        let by_name = format!("{file}: {rule}");
        assert_eq!(story.contains(&by_name), told, "{story}");
        assert!(!story.contains(&format!("goes: {file}:")), "{story}");
        let after = root(&world, &server, &format!("sha256sum {file}")).await;
        assert_eq!(after, before, "{file}: {story}");
        may(&server, WIDE).await.unwrap();
        let clean = format!(
            "mv /etc/sudoers.was /etc/sudoers; [ {file} = /etc/sudoers ] || \
                             rm {file}"
        );
        root(&world, &server, &clean).await;
        assert!(may(&server, NARROW).await.is_ok(), "{file}: {story}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_taken_before_it_is_proved_that_nothing_is_lost() {
    let world = world("proof").await;
    let (server, _, id, _) = world.made().await;
    let login = login(&server).await;
    let cloud_init = format!("sha256sum {CLOUD_INIT}");

    // sudo goes by the last rule that fits: it asks for a password.
    as_images_are(&world, &server).await;
    let later = format!(
        "echo '{login} ALL=(root) PASSWD: /usr/local/sbin/drover-root' >/etc/sudoers.d/zzz"
    );
    root(&world, &server, &later).await;
    let before = root(&world, &server, &cloud_init).await;
    let mut change = world.ask(Some(id), InstallHelper, json!({})).await;
    let why = asked(&mut change, "prove", &Ended::Failed).await;
    why.says(["another rule overrules"]);
    assert_eq!(root(&world, &server, &cloud_init).await, before);
    may(&server, WIDE).await.unwrap();
    // A human mends it, and it goes on.
    root(&world, &server, "rm /etc/sudoers.d/zzz").await;
    change.run().await.unwrap();
    may(&server, NARROW).await.unwrap();

    // What is left of a file would be none that sudo can read.
    as_images_are(&world, &server).await;
    root(
        &world,
        &server,
        &format!("echo 'bob ALL=(ALL' >>{CLOUD_INIT}"),
    )
    .await;
    let before = root(&world, &server, &cloud_init).await;
    may(&server, WIDE).await.unwrap();
    let mut change = world.ask(Some(id), InstallHelper, json!({})).await;
    let why = asked(&mut change, "restrict", &Ended::Failed).await;
    why.says(["visudo does not take", CLOUD_INIT]);
    assert_eq!(root(&world, &server, &cloud_init).await, before);
    let left = root(&world, &server, "ls -A /etc/sudoers.d").await;
    left.never_says([".drover"]);
    may(&server, WIDE).await.unwrap();
    give_up(&world, id).await;

    // Who cannot become root is told who can.
    as_images_are(&world, &server).await;
    root(&world, &server, &format!("rm {CLOUD_INIT}")).await;
    let mut change = world.ask(Some(id), InstallHelper, json!({})).await;
    let why = change.run().await.unwrap_err();
    why.says([&*format!(
        "drover-worker helper {login} | ssh root@{} sh",
        server.settings.address
    )]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_drover_root_is_replaced_by_itself_and_a_newer_one_never() {
    let world = world("renew").await;
    let (server, _, id, _) = world.made().await;
    let ring = world.ring(ALL);
    let newest = helper::version();
    felt(&world, id, Some(newest)).await;
    assert_eq!(renew(&world).await, 0);
    made_old(&world, &server, newest + 7).await;
    felt(&world, id, Some(newest + 7)).await;
    assert_eq!(renew(&world).await, 0);

    made_old(&world, &server, newest - 1).await;
    let keeps = format!("{} ALL=(ALL) NOPASSWD:ALL", login(&server).await);
    root(&world, &server, &format!("echo '{keeps}' >{CLOUD_INIT}")).await;
    felt(&world, id, Some(newest - 1)).await;
    // Not where drover only advises, and not twice.
    let sql = "insert into modes (scope, mode, reason) values ('herd', 'advise', 'a test')";
    sql::run(&world.pool, sql, ()).await;
    assert_eq!(renew(&world).await, 0);
    sql::run(&world.pool, "delete from modes", ()).await;
    world.in_service(&[id]).await;
    assert_eq!(renew(&world).await, 1);
    assert_eq!(renew(&world).await, 0);
    felt(&world, id, Some(newest)).await;
    let sql = "select state || ' ' || asked_by from operations where kind = 'install_helper'";
    let done = until("it is done", Duration::from_secs(30), || async {
        let now: String = sql::scalar(&world.pool, sql, ()).await;
        when(now == "done clock", now)
    });
    done.await.unwrap();
    // Nobody has asked for the login's rules to be changed.
    assert_eq!(
        root(&world, &server, &format!("cat {CLOUD_INIT}")).await,
        keeps
    );
    // From here on nobody else does what the test does step by step.
    drop(ring);
    // A person's asking does not bring an older one either.
    made_old(&world, &server, newest + 7).await;
    let change = world.done(id, InstallHelper, json!({}), Cut::Never).await;
    let said = may(&server, NARROW).await.unwrap();
    assert_eq!(said, (newest + 7).to_string(), "{}", change.story());

    // However often a worker dies.
    for cut in CUTS {
        made_old(&world, &server, newest - 1).await;
        let only: Value = json!({"only_replace": true});
        let change = world.done(id, InstallHelper, only, cut).await;
        let said = may(&server, NARROW).await.unwrap();
        assert_eq!(said, newest.to_string(), "{cut:?} {}", change.story());
    }
}

/// Real processes: the clock asks for what is old, a person for what is missing, and the
/// resolvers are killed all the while.
#[tokio::test(flavor = "multi_thread")]
async fn resolvers_that_are_killed_leave_no_login_without_a_way() {
    let mut herd = Herd::start(1).await;
    let id = herd.create("shop", "starter").await;
    herd.all_available(2).await;
    let database = PublicId::new(Kind::Resource, id).to_string();
    let node = herd.drover.node(&database).await.unwrap();
    let newest = helper::version();
    let (server, path) = (&node.server, format!("/v1/servers/{}", node.server));
    let old = format!(
        "sed -i 's/^my $VERSION = .*/my $VERSION = {};/' {}",
        newest - 1,
        helper::PATH
    );
    let daemon = herd.drover.machines();
    daemon.sh(&node.instance, &old).await.unwrap();
    let renewed = until("the clock has it renewed", PATIENCE, || async {
        let said = daemon.sh(&node.instance, "drover-root version").await?;
        when(said.trim() == newest.to_string(), said)
    });
    renewed.await.unwrap();
    let sql = "select count(*) from operations where kind = 'install_helper' and state = 'open'";
    let over = until("that is over", PATIENCE, || async {
        let open: i64 = sql::scalar(&herd.drover.pool, sql, ()).await;
        when(open == 0, open)
    });
    over.await.unwrap();
    let user = herd.drover.get(&path).await.unwrap()["ssh_user"].clone();
    let user = user.as_str().unwrap();
    let as_images_are = format!(
        "rm -rf {} /etc/drover {}; echo '{user} ALL=(ALL) NOPASSWD:ALL' >{CLOUD_INIT}",
        helper::PATH,
        helper::SUDOERS
    );
    daemon.sh(&node.instance, &as_images_are).await.unwrap();
    let ask = json!({"action": "install_helper", "by": "ann"});
    let asked = herd.drover.act(server, &ask).await.unwrap();
    let operation = asked["id"].as_str().unwrap().to_owned();
    let is_done =
        async |herd: &Herd| herd.drover.shown(&operation).await.unwrap()["state"] == "done";
    // It may do what it has to at any moment, in one way or the other.
    let way = format!(
        "runuser -u {user} -- sudo -n {} version 2>/dev/null || runuser -u {user} -- sudo -n true",
        helper::PATH
    );
    let mut killed = 0;
    while killed < 40 && !is_done(&herd).await {
        let pause = rand::rng().random_range(50..900);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let pid = herd.drover.processes.pids("resolve")[0];
        herd.drover.processes.kill_pid(pid).unwrap();
        herd.drover.processes.start("resolve").unwrap();
        herd.drover
            .machines()
            .sh(&node.instance, &way)
            .await
            .unwrap();
        killed += 1;
    }
    let done = until("it is done", PATIENCE, || async {
        herd.drover.machines().sh(&node.instance, &way).await?;
        let seen = herd.drover.shown(&operation).await?;
        when(seen["state"] == "done", seen["note"].clone())
    });
    done.await.unwrap();
    let narrow = format!("! runuser -u {user} -- sudo -n true 2>/dev/null");
    herd.drover
        .machines()
        .sh(&node.instance, &narrow)
        .await
        .unwrap();
    let sql = "select string_agg(text, ' | ' order by id) from operation_events
               where operation_id = $1";
    let told: String = sql::scalar(
        &herd.drover.pool,
        sql,
        [operation.trim_start_matches("op_")],
    )
    .await;
    println!("{killed} killed: {told}");
    assert!(killed > 2, "{told}");
    told.says([
        "taken away: /etc/sudoers.d/90",
        "may not do everything as root",
    ]);
    let restart = json!({"action": "restart", "now": true, "reason": "a test"});
    let minute = Duration::from_secs(120);
    herd.drover
        .act_until_done(&database, &restart, minute)
        .await
        .unwrap();
    let sql = "select asked_by from operations where kind = 'install_helper' order by id";
    let by: Vec<String> = sql::scalars(&herd.drover.pool, sql, ()).await;
    assert_eq!(by, ["clock", "ann"]);
    herd.assert_no_incident().await;
}
