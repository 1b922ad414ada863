//! What EC2 says of thousands of instances, asked for by many feel workers that share
//! the answers.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use chrono::Utc;
use drover::model::{self, Kind, Origin, Server, State, Subject, SubjectId, Witness};
use drover_jobs::cloud::Clouds;
use drover_jobs::cloud::ec2::Ec2;
use drover_jobs::feel::statuses::{self, NOW, ORDINARY, Said, Statuses};
use drover_jobs::feel::{FeelContext, server};
use drover_tests::aws::{Answer, Aws, REGION};
use drover_tests::postgres::shared_database;
use drover_tests::{Says, sql};
use futures::StreamExt as _;
use futures::stream;
use sqlx::PgPool;

use super::set_up::{cloud, config};

/// What all of them have to be felt in.
const CADENCE: Duration = Duration::from_secs(30);
/// The question that this is all about.
const ASKED: &str = "DescribeInstanceStatus";

/// Instances of EC2 and their servers in the record.
struct Herd {
    aws: Aws,
    url: String,
    pool: PgPool,
    ec2: Ec2,
    servers: Vec<Server>,
}

fn instance(n: usize) -> String {
    format!("i-{n:017x}")
}

/// A server at an address where nothing answers.
fn record(n: usize) -> Server {
    let now = Utc::now();
    let mut id = format!("{n:026}");
    id.replace_range(..2, "01");
    Server {
        subject: Subject {
            id: id.parse().unwrap(),
            kind: Kind::Server,
            name: format!("pg-{n}"),
            tier: "standard".into(),
            state: State::Available,
            state_since: now,
            origin: Origin::Adopted,
            created_at: now,
        },
        address: "127.0.0.1".into(),
        ssh_port: 1,
        ssh_user: "drover".into(),
        ssh_key: None,
        host_key: None,
        cloud: Some(model::Cloud::Ec2),
        instance_id: Some(instance(n)),
        zone: None,
        // Adopted servers' regions are not in the record.
        region: n.is_multiple_of(2).then(|| REGION.to_owned()),
        size: None,
        volume: None,
        for_plan: None,
        host_key_changed_at: None,
    }
}

/// Says that each instance runs; never takes more than EC2 does.
fn all_run(parameters: &HashMap<String, String>) -> Answer {
    let ids = parameters
        .iter()
        .filter(|(key, _)| key.starts_with("InstanceId."));
    let ids: Vec<_> = ids.map(|(_, id)| id.as_str()).collect();
    if ids.len() > 100 || ids.is_empty() {
        return Answer::error(400, "InvalidParameterValue", "too many instances");
    }
    assert_eq!(parameters["IncludeAllInstances"], "true");
    let items: String = ids
        .iter()
        .map(|id| {
            format!(
                "<item><instanceId>{id}</instanceId><instanceState><name>running</name>\
                 </instanceState><instanceStatus><status>ok</status></instanceStatus>\
                 <systemStatus><status>ok</status></systemStatus><attachedEbsStatus><status>ok\
                 </status></attachedEbsStatus></item>"
            )
        })
        .collect();
    Answer::good(
        ASKED,
        &format!("<instanceStatusSet>{items}</instanceStatusSet>"),
    )
}

impl Herd {
    async fn of(servers: usize) -> Self {
        let aws = Aws::start(None).await.unwrap();
        aws.always(ASKED, all_run);
        let (url, pool) = shared_database().await.unwrap();
        let servers: Vec<_> = (1..=servers).map(record).collect();
        let id = |server: &Server| server.subject.id.to_string();
        let ids: Vec<_> = servers.iter().map(id).collect();
        let names: Vec<_> = servers.iter().map(|s| s.subject.name.clone()).collect();
        let instances: Vec<_> = servers.iter().map(|s| s.instance_id.clone()).collect();
        let regions: Vec<_> = servers.iter().map(|s| s.region.clone()).collect();
        let sql = "insert into subjects (id, kind, name, state, origin)
             select id, 'server', name, 'available', 'adopted' from unnest($1, $2) as new (id, name)";
        sql::run(&pool, sql, (&ids, &names)).await;
        let sql =
            "insert into servers (id, address, ssh_port, ssh_user, cloud, instance_id, region)
             select id, '127.0.0.1', 1, 'drover', 'ec2', instance, region
             from unnest($1, $2, $3) as new (id, instance, region)";
        sql::run(&pool, sql, (&ids, &instances, &regions)).await;
        let ec2 = cloud(&config(), aws.endpoint()).await;
        Self {
            aws,
            url,
            pool,
            ec2,
            servers,
        }
    }

    /// What one feel worker has: connections and clients of its own.
    async fn process(&self) -> FeelContext {
        FeelContext {
            ssh_key: None,
            clouds: Clouds {
                ec2: Some(cloud(&config(), self.aws.endpoint()).await),
                ..Clouds::default()
            },
            statuses: Some(Statuses::new(
                drover::store::connect(&self.url, 4).await.unwrap(),
            )),
            followers: None,
        }
    }

    /// Without the record.
    fn alone(&self) -> FeelContext {
        FeelContext {
            ssh_key: None,
            clouds: Clouds {
                ec2: Some(self.ec2.clone()),
                ..Clouds::default()
            },
            statuses: None,
            followers: None,
        }
    }

    fn asked(&self) -> usize {
        self.aws.asked(ASKED)
    }

    /// The answers that there are become older by this.
    async fn later(&self, seconds: f64) {
        let sql = "update instance_statuses set asked_at = asked_at - make_interval(secs => $1),
                 answered_at = answered_at - make_interval(secs => $1)";
        sql::run(&self.pool, sql, [seconds]).await;
    }
}

fn runs(said: &Said) -> bool {
    let shown = said.shown();
    shown.state.as_deref() == Some("running")
        && shown.volume_check.as_deref() == Some("ok")
        && said.problem.is_none()
}

/// One process feels what EC2 says of all, from the n-th on; as often as it takes.
async fn feel_all(herd: &Herd, process: &FeelContext, n: usize) {
    let (before, after) = herd.servers.split_at(n);
    let mut left: Vec<_> = after.iter().chain(before).collect();
    let began = Instant::now();
    while !left.is_empty() {
        assert!(began.elapsed() < CADENCE, "{} were never told", left.len());
        let felt = left.iter().map(async |server| {
            let began = Instant::now();
            let said = statuses::of(server, process, ORDINARY).await.unwrap();
            let took = began.elapsed();
            assert!(took < Duration::from_secs(5), "{took:?}");
            (!runs(&said)).then_some(*server)
        });
        let felt = stream::iter(felt).buffer_unordered(30).collect::<Vec<_>>();
        left = felt.await.into_iter().flatten().collect();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_instances_are_asked_about_with_twenty_calls_by_however_many_processes() {
    let herd = Herd::of(2000).await;
    herd.aws.slow(Duration::from_millis(50));
    for cadence in 1..=2 {
        // Each process meets them in another order.
        let processes = [
            herd.process().await,
            herd.process().await,
            herd.process().await,
        ];
        let all = (0..).map(|n| n * 600).zip(&processes);
        let felt = all.map(|(n, process)| feel_all(&herd, process, n));
        futures::future::join_all(felt).await;
        assert_eq!(herd.asked(), 20 * cadence);
        herd.later(31.0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_witness_wants_a_new_answer_and_all_others_get_it_too() {
    let herd = Herd::of(50).await;
    let process = herd.process().await;
    let ask = async |n: usize, age| statuses::of(&herd.servers[n], &process, age).await.unwrap();
    assert!(runs(&ask(0, ORDINARY).await));
    assert!(runs(&ask(49, NOW).await));
    assert_eq!(herd.asked(), 1);
    herd.later(2.5).await;
    assert!(runs(&ask(1, ORDINARY).await));
    assert_eq!(herd.asked(), 1);
    assert!(runs(&ask(2, NOW).await));
    assert!(runs(&ask(3, NOW).await));
    assert_eq!(herd.asked(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_server_is_felt_with_what_its_cloud_says_of_it() {
    let herd = Herd::of(1).await;
    for process in [herd.process().await, herd.alone()] {
        let process = FeelContext {
            ssh_key: Some(super::set_up::key_pair().0),
            ..process
        };
        let seen = server::feel(&herd.servers[0], &process).await;
        assert!(!seen.service_available);
        let detail = format!("instance {} is running", instance(1));
        assert_eq!(seen.witness, Some(Witness::Up { detail }));
        let cloud = serde_json::json!(seen.server.cloud);
        for (name, value) in [
            ("state", "running"),
            ("instance_check", "ok"),
            ("system_check", "ok"),
            ("volume_check", "ok"),
        ] {
            assert_eq!(cloud[name], value, "{cloud}");
        }
        assert!(cloud["events"].as_array().unwrap().is_empty());
        assert!(cloud["asked_at"].is_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cloud_that_throttles_or_hangs_neither_fails_nor_slows_a_feel() {
    let herd = Herd::of(100).await;
    let process = herd.process().await;
    let feel = async |n: usize| {
        let began = Instant::now();
        let said = statuses::of(&herd.servers[n], &process, ORDINARY)
            .await
            .unwrap();
        (said, began.elapsed())
    };
    let throttled = Answer::error(503, "RequestLimitExceeded", "Request limit exceeded.");
    herd.aws.once(ASKED, throttled);
    let (said, took) = feel(0).await;
    said.shown().problem.unwrap().says(["asked less"]);
    assert!(took < Duration::from_secs(1), "{took:?}");
    // The others of that call know it too, without asking.
    let (said, took) = feel(1).await;
    assert!(
        said.problem.is_some() && took < Duration::from_secs(1),
        "{said:?}"
    );
    assert_eq!(herd.asked(), 1);

    tokio::time::sleep(Duration::from_secs(1)).await;
    herd.later(6.0).await;
    assert!(runs(&feel(0).await.0));
    // What is known already is there while the cloud hangs, and says how old it is.
    herd.later(31.0).await;
    herd.aws.slow(Duration::from_secs(20));
    let (said, took) = feel(0).await;
    assert!(took < Duration::from_millis(3500), "{took:?}");
    let shown = said.shown();
    assert_eq!(shown.state.as_deref(), Some("running"));
    shown.problem.as_ref().unwrap().says(["no answer"]);
    let (said, took) = feel(1).await;
    assert!(took < Duration::from_millis(500), "{took:?}");
    assert_eq!(said.shown().state.as_deref(), Some("running"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_is_gone_says_so_and_nobody_asks_for_what_was_forgotten() {
    let herd = Herd::of(3).await;
    let process = herd.process().await;
    herd.aws.always(ASKED, |parameters| {
        let gone = instance(2);
        if parameters.values().any(|value| *value == gone) {
            let words = format!("The instance ID '{gone}' does not exist");
            return Answer::error(400, "InvalidInstanceID.NotFound", &words);
        }
        all_run(parameters)
    });
    let seen = statuses::of(&herd.servers[1], &process, ORDINARY)
        .await
        .unwrap();
    assert_eq!(seen.shown().state.as_deref(), Some("not-found"));
    assert!(matches!(seen.witness("i"), Witness::Silent { .. }));
    let seen = statuses::of(&herd.servers[0], &process, ORDINARY)
        .await
        .unwrap();
    assert!(runs(&seen));
    let forgotten: [SubjectId; 1] = [herd.servers[1].subject.id];
    let sql = "update subjects set forgotten_at = now() where id = $1";
    sql::run(&herd.pool, sql, [forgotten[0]]).await;
    herd.later(31.0).await;
    assert!(runs(
        &statuses::of(&herd.servers[0], &process, ORDINARY)
            .await
            .unwrap()
    ));
    let sql = "select instance_id from instance_statuses order by instance_id";
    let left: Vec<String> = sql::scalars(&herd.pool, sql, ()).await;
    assert_eq!(left, [instance(1), instance(3)]);
}
