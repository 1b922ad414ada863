//! Leaders and followers, from the first to the last script that is run at them.

use drover_jobs::host::Script;
use drover_jobs::host::scripts::*;
use futures::future::join_all;

use crate::followers::{confirms_nothing, follows_into_the_next_timeline, is_never_consistent};
use crate::machine::{Cluster, Ended, Login, Machine, is_not_proved};

/// What makes clusters, has one follow the other, and hands the lead over, in order.
async fn lives_and_goes(machine: &Machine, login: Login, tag: &str) {
    machine.runs_nothing_of_tmp().await;
    let none: &[&str] = &[];
    let (address, version) = (machine.address(), machine.version().await);
    let made = machine.made(&format!("d_{tag}"), &version);
    let (name, port) = (made.name.as_str(), made.port.to_string());
    let arguments = [version.as_str(), name, &port, address, "30", ""];
    machine.does(login, MAKE_CLUSTER, &arguments, "").await;
    machine.does(login, MAKE_CLUSTER, &arguments, "").await;
    made.does(login, START_CLUSTER, none).await;
    let pem = made.does(login, CERTIFICATE, none).await.text().to_owned();
    let elsewhere = made.does(login, RENEW_CERTIFICATE, &["192.0.2.7"]).await;
    assert_ne!(elsewhere.text(), pem);
    // Whoever follows looks whether it is shown.
    let renewed = made.does(login, RENEW_CERTIFICATE, &[address]).await;
    let pem = renewed.text().to_owned();
    let names = "openssl x509 -in $C/server.crt -noout -ext subjectAltName | tail -n 1";
    let named = format!("IP Address:{address}, DNS:{address}");
    assert_eq!(made.root(names).await, named);
    let roles = "\\set own drover\n\\set own_verifier x\n\\set role customer\n\
                 \\set role_verifier x\n\\set database app\n\\set most 5\n";
    made.ends(login, MAKE_ROLES, &["app", "pgcrypto"], roles)
        .await;
    let role = "\\set replication drover_replication\n\\set verifier secret\n";
    made.ends(login, MAKE_SLOTS, &["64", "f_one"], role).await;

    let copy = machine.made(&format!("d_{tag}_copy"), &version);
    let pass = format!("{address}:{port}:*:drover_replication:secret\n{pem}\n");
    let to = copy.port.to_string();
    let (from, slot) = ([address, port.as_str()], "f_one");
    let arguments = [
        &version,
        copy.name.as_str(),
        &to,
        address,
        from[0],
        from[1],
        slot,
        "100",
        "30",
        "",
    ];
    machine.does(login, COPY_CLUSTER, &arguments, &pass).await;
    copy.does(login, START_CLUSTER, none).await;
    copy.streams(login).await;
    copy.does(login, RESTART_FOLLOWER, none).await;
    copy.streams(login).await;
    let streams = made.does(login, STREAMING_FOLLOWERS, none).await;
    assert_eq!(streams.text(), "f_one");
    // Nothing is confirmed where commits wait for nobody, or for somebody else.
    for names in ["", "ANY 1 (\"f_two\")"] {
        made.does(login, SET_SYNCHRONOUS_NAMES, &[names]).await;
        let nobody = made.run(login, CONFIRMED, none, "").await;
        assert_eq!(nobody.unwrap_err().0, Some(75), "{names}");
    }
    let one = "ANY 1 (\"f_one\")";
    made.does(login, SET_SYNCHRONOUS_NAMES, &[one]).await;
    made.does(login, CONFIRMED, none).await;
    made.does(login, SET_SYNCHRONOUS_NAMES, &[""]).await;
    let to_made = [address, port.as_str(), "f_one"];
    confirms_nothing((&copy, &made), login, (&to_made, &pass)).await;

    // Down in good order, and on; then by force, and behind its own copy.
    let said = made.does(login, STOP_LEADER, none).await;
    assert!(said.value("lsn").unwrap().contains('/'));
    assert_eq!(
        made.root("ls $D/standby.signal").await,
        format!("{}/standby.signal", made.data)
    );
    made.does(login, LEAD_ON, none).await;
    made.root(
        "[ ! -e $D/standby.signal ] && runuser -u postgres -- psql -p $P -c 'create table t ()'",
    )
    .await;
    copy.streams(login).await;
    leads_again(&made, login).await;
    copy.streams(login).await;
    made.does(login, FENCE, none).await;
    // Another may have been promoted to the second timeline: this one begins the third.
    let led = copy.does(login, PROMOTE, &["3", "manual"]).await;
    assert_eq!(led.value("timeline").unwrap(), "3");
    assert_eq!(copy.root("cat $C/start.conf").await, "manual");
    let led = copy.does(login, LEADERS_TIMELINE, none).await;
    assert_eq!(led.text(), r#"{"writes" : 3, "bears" : 1}"#);
    copy.does(login, TRY_CHECKPOINT, none).await;
    let led = copy.does(login, LEADERS_TIMELINE, none).await;
    assert_eq!(led.text(), r#"{"writes" : 3, "bears" : 3}"#);
    copy.ends(login, MAKE_SLOTS, &["64", "f_two", "f_three"], role)
        .await;
    let slots = "runuser -u postgres -- psql -p $P -qAtc 'select slot_name from pg_replication_slots order by 1'";
    assert_eq!(copy.root(slots).await, "f_three\nf_two");
    let pem = copy.does(login, CERTIFICATE, none).await.text().to_owned();
    let pass = format!("{address}:{to}:*:drover_replication:secret\n{pem}\n");
    let behind = [address, to.as_str(), "f_two"];
    made.ends(login, FOLLOW, &behind, &pass).await;
    machine.does(login, REACHES, &[address, &to], "").await;
    // What bears a timeline of its leader's number is not its leader's.
    let another = [&behind[..], &["another", "1"]].concat();
    let another = made.run(login, REWIND, &another, "").await;
    assert_eq!(another.unwrap_err().0, Some(78));
    made.does(login, REWIND, &[&behind[..], &["rewind", "3"]].concat())
        .await;
    // Who follows starts as a standby, whatever it was.
    made.root("rm $D/standby.signal").await;
    made.does(login, START_CLUSTER, &["follower"]).await;
    made.root("[ -e $D/standby.signal ]").await;
    made.does(login, OPEN, none).await;
    made.streams(login).await;
    made.does(login, FENCE, none).await;
    made.does(
        login,
        COPY_LEADER,
        &[&behind[..], &["copy", "100"]].concat(),
    )
    .await;
    made.does(login, OPEN, none).await;
    made.does(login, START_CLUSTER, none).await;
    made.streams(login).await;
    assert_eq!(made.root("find $C $D ! -user postgres").await, "");

    follows_into_the_next_timeline((&made, &copy), login, (&behind, &pass)).await;
    // It takes half a minute, and is the same for all of them.
    if matches!(login, Login::Helper) {
        is_never_consistent((&made, &copy), login, (&behind, &pass)).await;
    }

    let log = "/var/log/postgresql/postgresql-$V-$N.log.1";
    made.root(&format!(
        "install -o postgres -g adm -m 640 /dev/null {log}; echo 12345 >{log}"
    ))
    .await;
    let logs = made
        .root("df --output=target /var/log/postgresql | tail -n 1")
        .await;
    for (what, found) in [("look", "1 6"), ("remove", "1 6"), ("look", "0 0")] {
        let said = machine
            .does(
                login,
                ROTATED_LOGS,
                &[what, &made.port.to_string(), &logs],
                "",
            )
            .await;
        assert_eq!(said.last_words(), found, "{what}");
    }
    for gone in [&made, &copy] {
        machine.does(login, DROP_CLUSTER, &[&gone.name], "").await;
        gone.root("! ls -d $C $D /var/log/postgresql/postgresql-$V-$N.log 2>/dev/null")
            .await;
    }
}

/// Whoever starts a leader that was stopped, or fenced, starts a leader, if nobody has its lead.
async fn leads_again(leader: &Cluster<'_>, login: Login) {
    let none: &[&str] = &[];
    let writes = "[ ! -e $D/standby.signal ] && [ ! -e $C/pg_hba.conf.unfenced ] &&
        runuser -u postgres -- psql -p $P -c 'create table again ()' -c 'drop table again'";
    // A reboot has started it in between.
    leader.does(login, STOP_LEADER, none).await;
    leader.root("pg_ctlcluster $V $N start").await;
    leader.does(login, LEAD_ON, none).await;
    leader.root(writes).await;

    let dead = ["fast", "9999999999", "refused", "leader"];
    let starts: [(&'static Script, &[&str]); 3] = [
        (START_CLUSTER, &["leader"]),
        (RESTART_CLUSTER, &["", "leader"]),
        (RESTART_DEAD_CLUSTER, &dead),
    ];
    for (start, arguments) in starts {
        leader.does(login, FENCE, none).await;
        leader.does(login, start, arguments).await;
        leader.root(writes).await;
    }
    // Of one that was adopted nobody knows whom it may follow.
    leader.does(login, FENCE, none).await;
    leader.does(login, START_CLUSTER, &[""]).await;
    leader.root("[ -e $D/standby.signal ]").await;
    leader.does(login, LEAD_ON, none).await;
    leader.root(writes).await;
}

#[tokio::test]
async fn root_makes_and_drops_clusters() {
    lives_and_goes(&Machine::make().await, Login::Root, "root").await;
}

#[tokio::test]
async fn who_may_become_root_makes_and_drops_clusters_of_the_next_debian() {
    lives_and_goes(&Machine::trixie().await, Login::Sudo, "sudo").await;
}

#[tokio::test]
async fn who_may_use_drover_root_makes_and_drops_clusters() {
    lives_and_goes(&Machine::make().await, Login::Helper, "helper").await;
}

#[tokio::test]
async fn who_may_use_drover_root_makes_and_drops_clusters_of_the_next_debian() {
    lives_and_goes(&Machine::trixie().await, Login::Helper, "helper").await;
}

/// Somebody writes to it all the time.
pub async fn is_written_to(cluster: &Cluster<'_>) {
    cluster
        .root(
            "cd /tmp; runuser -u postgres -- psql -p $P -qc 'create table w (at timestamptz)'
             runuser -u postgres -- setsid sh -c 'while :; do
                 psql -p '$P' -qAtc \"insert into w values (now())\" && cut -d\" \" -f1 /proc/uptime
                 sleep 0.01
               done' >/tmp/accepted.$N 2>/dev/null </dev/null &
             until [ -s /tmp/accepted.$N ]; do sleep 0.1; done",
        )
        .await;
}

/// Fences a cluster that is written to, which root then starts: whether a write was accepted
/// after the script had ended.
pub async fn is_fenced(cluster: &Cluster<'_>, login: Login) -> (Ended, bool) {
    is_fenced_and(cluster, login, || ()).await
}

/// The same; between the two something else is done.
pub async fn is_fenced_and(
    cluster: &Cluster<'_>,
    login: Login,
    then: impl FnOnce(),
) -> (Ended, bool) {
    let ended = cluster.run(login, FENCE, &[], "").await;
    let now = cluster.root("cut -d' ' -f1 /proc/uptime").await;
    then();
    let look = format!(
        "pg_ctlcluster $V $N start || :; sleep 2
         pkill -KILL -f accepted.$N; pkill -KILL -u postgres -f 'psql -p '$P
         awk '$1 > {now} {{ n++ }} END {{ print n + 0 }}' /tmp/accepted.$N"
    );
    let later = cluster.root(&look).await;
    (ended, later != "0")
}

/// Who may fence it has; who may not says so, and changes nothing.
fn fence_is_true(login: Login, (ended, later): &(Ended, bool)) {
    match ended {
        Ok(said) => {
            assert!(login.is_mighty());
            assert!(
                said.text().ends_with("is stopped, and kept from writing"),
                "{said:?}"
            );
            assert!(
                !later,
                "as {login:?}, a write was accepted behind the proof"
            );
        }
        Err(_) => {
            assert!(is_not_proved(ended) && !login.is_mighty(), "{ended:?}");
            assert!(later, "as {login:?} nothing was to change");
        }
    }
}

/// At a cluster for each, all at once.
async fn all_are_fenced(machine: &Machine, logins: &[Login]) {
    let mut clusters = Vec::new();
    for login in logins {
        let cluster = machine.cluster(&format!("w_{}", login.user())).await;
        is_written_to(&cluster).await;
        clusters.push(cluster);
    }
    let all = clusters.iter().zip(logins);
    let all =
        all.map(async |(cluster, login)| fence_is_true(*login, &is_fenced(cluster, *login).await));
    join_all(all).await;
}

#[tokio::test]
async fn nothing_is_accepted_behind_a_proof_that_a_leader_is_stopped() {
    let machine = Machine::make().await;
    all_are_fenced(&machine, &Login::ALL).await;
}

/// On the next Debian, and where nobody is shown what others run.
#[tokio::test]
async fn nothing_is_accepted_behind_a_proof_of_who_sees_nothing() {
    let machine = Machine::trixie().await;
    machine.root("mount -o remount,hidepid=2 /proc").await;
    all_are_fenced(&machine, &Login::ALL).await;
}
