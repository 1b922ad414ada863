//! Hosts as people have them.

use drover_jobs::host::scripts::*;

use crate::machine::{Login, Machine};

/// Each cluster is told; of the mounts only those that hold some of them, and of those each once.
#[tokio::test]
async fn one_with_many_clusters_and_more_mounts_is_felt_whole() {
    let machine = Machine::make().await;
    let first = machine.cluster("first").await;
    first
        .root(
            "for i in $(seq 149); do
                 n=d_0123456789_$i c=/etc/postgresql/$V/$n d=/var/lib/postgresql/$V/$n
                 cp -a $C $c
                 mkdir -m 700 $d
                 echo $V >$d/PG_VERSION
                 chown -R postgres: $d
                 sed -i \"s#^data_directory.*#data_directory = '$d'#
                     s/^port.*/port = $((7000 + i))/\" $c/postgresql.conf
             done
             for i in $(seq 700); do
                 m=/mnt/of/a/name/that/is/longer/than/need/be/$i
                 mkdir -p $m
                 mount -t tmpfs \"pg data\" $m
             done",
        )
        .await;
    let elsewhere = "/mnt/of/a/name/that/is/longer/than/need/be/7";
    first
        .root(&format!(
            "d=/var/lib/postgresql/$V/d_0123456789_7
             cp -a $d {elsewhere}/data
             sed -i \"s#^data_directory.*#data_directory = '{elsewhere}/data'#\" \
                 /etc/postgresql/$V/d_0123456789_7/postgresql.conf"
        ))
        .await;
    let said = machine.does(Login::Helper, FEEL_SERVER, &[PROBE], "").await;
    let section = |name: &str| {
        let begins = format!("@@ {name} 0\n");
        let (_, text) = said.text().split_once(&begins).expect(name);
        let text = text.split("\n@@ ").next().unwrap();
        text.lines().collect::<Vec<&str>>()
    };
    let clusters: Vec<serde_json::Value> =
        serde_json::from_str(&section("clusters").join("")).unwrap();
    assert_eq!(clusters.len(), 150);
    assert_eq!(section("probe").len(), 150);
    assert_eq!(section("df").len(), 3, "a head, and two: {said:?}");
    let mounts = section("mounts");
    assert!(
        mounts.contains(&&*format!("rw pg\\040data {elsewhere}")),
        "{mounts:?}"
    );
    assert!(mounts.len() <= 3, "{mounts:?}");
}
