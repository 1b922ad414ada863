//! Law 1: one token per live subject, whose id is the subject's.

use drover::model::Kind;
use drover::store::queue;
use drover::store::subjects::{self, AdoptError};

use super::herd::{Herd, adopt, new_server};
use drover_tests::sql;

#[tokio::test(flavor = "multi_thread")]
async fn a_subject_cannot_have_two_tokens() {
    let herd = Herd::of(3).await;
    let mut db = herd.pool.acquire().await.unwrap();
    queue::insert_token(&mut db, herd.ids[1]).await.unwrap();
    queue::insert_tokens(&mut db, &herd.ids).await.unwrap();
    herd.assert_whole().await;
    let sql = "insert into apalis.jobs (id, job_type, job, status)
         select id, 'think', job, 'Pending' from apalis.jobs limit 1";
    let second = sqlx::query(sql).execute(&herd.pool).await;
    assert!(second.unwrap_err().to_string().contains("jobs_pkey"));
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_adoptions_of_one_server_at_once_make_one_subject() {
    let mut herd = Herd::of(0).await;
    let attempts = (0..20).map(|n| {
        let pool = herd.pool.clone();
        tokio::spawn(async move { adopt(&pool, &new_server(&format!("n-{n}"), "192.0.2.9")).await })
    });
    let mut adopted = Vec::new();
    for attempt in futures::future::join_all(attempts).await {
        match attempt.unwrap() {
            Ok(id) => adopted.push(id),
            Err(AdoptError::Duplicate(_)) => {}
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(adopted.len(), 1);
    herd.ids.extend(adopted);
    herd.assert_whole().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_taken_once() {
    let mut herd = Herd::of(0).await;
    let attempts = (0..10).map(|n| {
        let pool = herd.pool.clone();
        let new = new_server("same", &format!("192.0.2.{}", 10 + n));
        tokio::spawn(async move { adopt(&pool, &new).await })
    });
    let results = futures::future::join_all(attempts).await.into_iter();
    let won: Vec<_> = results.filter_map(|r| r.unwrap().ok()).collect();
    assert_eq!(won.len(), 1);
    herd.ids.extend(won);
    herd.assert_whole().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forgetting_takes_the_token_along_and_keeps_the_record() {
    let mut herd = Herd::of(1).await;
    let (server, resource) = (herd.ids[0], herd.ids[1]);
    let mut tx = herd.pool.begin().await.unwrap();
    let refused = subjects::forget(&mut tx, Kind::Server, server).await;
    let has_one = matches!(refused, Err(subjects::ForgetError::HasResources(1)));
    assert!(has_one, "{refused:?}");
    tx.rollback().await.unwrap();
    herd.assert_whole().await;
    for (kind, id) in [(Kind::Resource, resource), (Kind::Server, server)] {
        let mut tx = herd.pool.begin().await.unwrap();
        subjects::forget(&mut tx, kind, id).await.unwrap();
        tx.commit().await.unwrap();
        herd.ids.retain(|other| *other != id);
        herd.assert_whole().await;
    }
    let kept: i64 = sql::scalar(&herd.pool, "select count(*) from subjects", ()).await;
    assert_eq!(kept, 2);
    // And the name may be used again.
    let again = new_server("srv", "192.0.2.1");
    herd.ids.push(adopt(&herd.pool, &again).await.unwrap());
    herd.assert_whole().await;
}
