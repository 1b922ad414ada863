//! What is on a server that shows another host key is marked for as long as its
//! incident is open.

use chrono::{DateTime, Utc};
use drover::model::{IncidentKind, Opening};
use drover::store::incidents;
use drover::store::subjects::{self, Known};
use drover_tests::sql;

use super::herd::{Herd, key};

/// Since when the server of each of these subjects is distrusted.
async fn marks(herd: &Herd) -> Vec<Option<DateTime<Utc>>> {
    let mut db = herd.pool.acquire().await.unwrap();
    let rows = subjects::load(&mut db, &herd.ids).await.unwrap();
    rows.into_iter()
        .map(|row| match row.open(&key()).unwrap() {
            Known::Server(server) | Known::Resource(_, server) => server.host_key_changed_at,
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_incident_about_the_host_key_marks_the_server_and_all_on_it() {
    let herd = Herd::of(2).await;
    assert_eq!(marks(&herd).await, [None; 3]);

    let mut tx = herd.pool.begin().await.unwrap();
    for kind in [IncidentKind::ServerDown, IncidentKind::HostKeyChanged] {
        let opening = Opening {
            kind,
            reason: "as told".into(),
        };
        incidents::open(&mut tx, Some(herd.ids[0]), &opening, "test")
            .await
            .unwrap();
    }
    tx.commit().await.unwrap();
    assert!(marks(&herd).await.iter().all(Option::is_some));

    let sql = "select id from incidents where kind = 'host_key_changed'";
    let id: String = sql::scalar(&herd.pool, sql, ()).await;
    let mut tx = herd.pool.begin().await.unwrap();
    let mut incident = incidents::lock(&mut tx, id.parse().unwrap())
        .await
        .unwrap()
        .unwrap();
    incidents::close(
        &mut tx,
        &mut incident,
        "observation",
        "test",
        "the pinned key again",
    )
    .await
    .unwrap();
    tx.commit().await.unwrap();
    assert_eq!(
        marks(&herd).await,
        [None; 3],
        "the other one does not count"
    );
}
