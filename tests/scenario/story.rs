//! The demo's story, as a test.

#[tokio::test(flavor = "multi_thread")]
async fn the_main_job_from_beginning_to_end() {
    let line = drover_tests::scenario::run(|line| println!("{line}"))
        .await
        .unwrap();
    assert!(
        line.starts_with("demo ok: 15 subjects, killed database available again in "),
        "{line}"
    );
}
