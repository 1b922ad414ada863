//! A machine's own time of day.

use super::harness::Daemon;

#[tokio::test(flavor = "multi_thread")]
async fn a_machines_wall_clock_moves_and_its_monotonic_clock_does_not() {
    let daemon = Daemon::start().await;
    let machine = daemon.up(daemon.plain("a")).await;
    daemon.sh("a", "pg_createcluster 15 main").await;
    let now = || {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        i64::try_from(since.unwrap().as_secs()).unwrap()
    };
    let off = async |script: &str| daemon.sh("a", script).await.parse::<i64>().unwrap() - now();
    let near = |off: i64, wanted: i64| (off - wanted).abs() <= 5;
    let postgres = "until pg_isready -q; do sleep 0.1; done; \
        su postgres -c \"psql -Atqc 'select extract(epoch from clock_timestamp())::bigint'\"";
    let monotonic = "perl -MTime::HiRes=clock_gettime,CLOCK_MONOTONIC -e 'printf qq(%d), clock_gettime(CLOCK_MONOTONIC)'";
    let uptime = "cut -d. -f1 /proc/uptime";

    daemon.client.clock("a", 3600).await.unwrap();
    assert!(near(off("date +%s").await, 3600));
    daemon.sh("a", "pg_ctlcluster 15 main start").await;
    assert!(near(off(postgres).await, 3600), "PostgreSQL");
    let to = format!("debian@{}", machine.address);
    for script in ["date +%s", "sudo -n date +%s"] {
        let output = daemon.ssh(&to, 22, None, script);
        let said: i64 = String::from_utf8_lossy(&output.stdout)
            .trim()
            .parse()
            .unwrap();
        assert!(near(said - now(), 3600), "{script}: {output:?}");
        let clocks = format!(
            "{}{monotonic}; echo; {uptime}",
            script.trim_end_matches("date +%s")
        );
        let output = daemon.ssh(&to, 22, None, &clocks);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let (monotonic, uptime) = said.trim().split_once('\n').unwrap();
        let apart = monotonic.parse::<i64>().unwrap() - uptime.parse::<i64>().unwrap();
        assert!(apart.abs() <= 5, "{said}");
    }

    // Who runs with it follows at once; back is back.
    daemon.client.clock("a", -86_400).await.unwrap();
    assert!(near(off(postgres).await, -86_400), "PostgreSQL");
    daemon.client.clock("a", 0).await.unwrap();
    assert!(near(off("date +%s").await, 0));
    assert!(near(off(postgres).await, 0), "PostgreSQL");
    assert_eq!(daemon.client.show("a").await.unwrap().clock, 0);
}
