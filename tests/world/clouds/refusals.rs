//! What EC2 says when it does not do what it was asked, and what the work makes of it.

use std::time::Duration;

use drover::model::SubjectId;
use drover_jobs::cloud::ec2::{Access, Ec2};
use drover_jobs::cloud::{AnyCloud, Cloud, CloudError, NewInstance};
use drover_tests::Says;
use drover_tests::aws::{Answer, Aws, REGION};

use super::set_up::{cloud, config, key_pair};

const INSTANCE: &str = "i-0123456789abcdef0";

async fn aws() -> (Aws, Ec2) {
    let aws = Aws::start(None).await.unwrap();
    let ec2 = cloud(&config(), aws.endpoint()).await;
    (aws, ec2)
}

fn region(ec2: &Ec2) -> AnyCloud<'_> {
    AnyCloud::Ec2(ec2.region(Some(REGION)).unwrap())
}

fn no_instances() -> Answer {
    Answer::good("DescribeInstances", "<reservationSet/>")
}

fn new() -> NewInstance {
    NewInstance {
        id: SubjectId::generate(),
        name: "pg-1".into(),
        zone: "us-east-1a".into(),
        size: "m6i.large".into(),
        volume_gib: 100,
        volume_type: "gp3".into(),
        host_key: key_pair().0,
        authorized_key: "ssh-ed25519 AAAA".into(),
    }
}

/// Everything that is asked before an instance is.
fn ready_to_create(aws: &Aws) {
    aws.always("DescribeInstances", |_| no_instances());
    aws.always("DescribeImages", |_| {
        let image = "<imagesSet><item><imageId>ami-1</imageId><rootDeviceName>/dev/xvda\
                     </rootDeviceName></item></imagesSet>";
        Answer::good("DescribeImages", image)
    });
}

#[tokio::test]
async fn too_much_was_asked_so_nothing_is_for_a_while() {
    let (aws, ec2) = aws().await;
    aws.always("DescribeInstances", |_| no_instances());
    let said = Answer::error(503, "RequestLimitExceeded", "Request limit exceeded.");
    aws.once("DescribeInstances", said);
    let other = ec2.clone();
    let first = region(&ec2).describe(INSTANCE).await.unwrap_err();
    let CloudError::Throttled(wait) = first else {
        panic!("{first:?}");
    };
    assert!(wait <= Duration::from_secs(1), "{wait:?}");
    // Nothing of this process asks this, …
    for _ in 0..10 {
        let held = region(&other).describe(INSTANCE).await.unwrap_err();
        assert!(
            matches!(held, CloudError::Throttled(rest) if rest <= wait),
            "{held:?}"
        );
    }
    assert_eq!(aws.asked_at_all(), 1);
    // … but other things: a fence waits for nobody's polling; …
    let stopped = region(&other).cut_power(INSTANCE).await;
    assert!(
        !matches!(stopped, Err(CloudError::Throttled(_))),
        "{stopped:?}"
    );
    assert!(aws.asked("StopInstances") > 0);
    // … and in another region …
    let there = AnyCloud::Ec2(ec2.region(Some("eu-west-1")).unwrap());
    there.describe(INSTANCE).await.unwrap();
    // … until the time is over.
    tokio::time::sleep(wait).await;
    region(&ec2).describe(INSTANCE).await.unwrap();
    assert_eq!(aws.asked("DescribeInstances"), 3);
}

#[tokio::test]
async fn a_bare_503_is_taken_for_the_same() {
    let (aws, ec2) = aws().await;
    aws.once("DescribeInstances", Answer(503, String::new()));
    let said = region(&ec2).describe(INSTANCE).await.unwrap_err();
    assert!(matches!(said, CloudError::Throttled(_)), "{said:?}");
}

#[tokio::test]
async fn what_is_not_allowed_is_told_in_awss_words_and_decoded() {
    let (aws, ec2) = aws().await;
    ready_to_create(&aws);
    aws.always("RunInstances", |_| {
        let words = "You are not authorized to perform this operation. Encoded authorization \
                     failure message: cFhWTXc-x_y";
        Answer::error(403, "UnauthorizedOperation", words)
    });
    let document = "{\"explicitDeny\": true, \"context\": {\"principal\": {\"arn\": \
                    \"arn:aws:iam::1:user/x\"}, \"action\": \"ec2:RunInstances\", \
                    \"resource\": \"arn:aws:ec2:us-east-1:1:instance/*\"}}";
    let answer = format!(
        "<DecodeAuthorizationMessageResponse><DecodeAuthorizationMessageResult><DecodedMessage>{}\
         </DecodedMessage></DecodeAuthorizationMessageResult></DecodeAuthorizationMessageResponse>",
        document.replace('"', "&quot;")
    );
    aws.once("DecodeAuthorizationMessage", Answer(200, answer));
    let said = region(&ec2).create(&new()).await.unwrap_err();
    let CloudError::Refused(words) = &said else {
        panic!("{said:?}");
    };
    assert_eq!(
        words,
        "RunInstances: You are not authorized to perform this operation. arn:aws:iam::1:user/x may \
         not ec2:RunInstances on arn:aws:ec2:us-east-1:1:instance/*: a policy denies it"
    );
    // And if it may not be decoded either, that is said.
    let said = region(&ec2).create(&new()).await.unwrap_err().to_string();
    assert!(said.contains("sts:DecodeAuthorizationMessage"), "{said}");
    said.never_says(["cFhWTXc", "a secret key"]);
}

#[tokio::test]
async fn where_there_is_no_room_another_zone_or_size_may_do() {
    let (aws, ec2) = aws().await;
    ready_to_create(&aws);
    for (status, code) in [
        (500, "InsufficientInstanceCapacity"),
        (400, "Unsupported"),
        (500, "Server.InsufficientHostCapacity"),
    ] {
        aws.once(
            "RunInstances",
            Answer::error(status, code, "We have none in us-east-1a."),
        );
        let said = region(&ec2).create(&new()).await.unwrap_err();
        let CloudError::NoCapacity(words) = &said else {
            panic!("{code}: {said:?}");
        };
        assert!(words.contains("We have none in us-east-1a."), "{words}");
    }
}

#[tokio::test]
async fn a_quota_waits_for_a_human() {
    let (aws, ec2) = aws().await;
    ready_to_create(&aws);
    for code in [
        "VcpuLimitExceeded",
        "InstanceLimitExceeded",
        "VolumeLimitExceeded",
        "OptInRequired",
    ] {
        aws.once(
            "RunInstances",
            Answer::error(400, code, "You have asked for more."),
        );
        let said = region(&ec2).create(&new()).await.unwrap_err();
        assert!(matches!(said, CloudError::Refused(_)), "{code}: {said:?}");
        assert!(said.to_string().contains(code), "{said}");
    }
}

#[tokio::test]
async fn what_was_made_just_now_may_not_be_known_yet() {
    let (aws, ec2) = aws().await;
    aws.always("DescribeInstances", |_| {
        let words = format!("The instance ID '{INSTANCE}' does not exist");
        Answer::error(400, "InvalidInstanceID.NotFound", &words)
    });
    let seen = region(&ec2).describe(INSTANCE).await.unwrap();
    assert!(seen.state.is_gone());
    // Not the same as an end that EC2 has seen.
    assert_ne!(seen.state, drover_jobs::cloud::InstanceState::Terminated);
    assert!(region(&ec2).consistent_within() >= Duration::from_secs(10));
}

#[tokio::test]
async fn without_credentials_nothing_is_asked_and_the_refusal_says_why() {
    drover_tests::init();
    let aws = Aws::start(None).await.unwrap();
    let url = aws.endpoint().to_owned();
    let none = Access::Endpoint {
        url,
        credentials: None,
    };
    let ec2 = Ec2::new(&config(), none).await;
    let said = region(&ec2).zones().await.unwrap_err();
    let CloudError::Refused(words) = &said else {
        panic!("{said:?}");
    };
    assert!(words.starts_with("no AWS credentials: "), "{words}");
    assert_eq!(aws.asked_at_all(), 0);
}

#[tokio::test]
async fn a_volume_that_was_changed_not_long_ago_says_so_unless_it_grows_already() {
    let (aws, ec2) = aws().await;
    aws.always("DescribeVolumes", |_| {
        let volume =
            "<volumeSet><item><volumeId>vol-1</volumeId><size>100</size></item></volumeSet>";
        Answer::good("DescribeVolumes", volume)
    });
    aws.always("ModifyVolume", |_| {
        let words = "You've reached the maximum modification rate per volume limit.";
        Answer::error(400, "VolumeModificationRateExceeded", words)
    });
    aws.always("DescribeVolumesModifications", |_| {
        let change = "<volumeModificationSet><item><volumeId>vol-1</volumeId><modificationState>\
                      modifying</modificationState><targetSize>120</targetSize></item>\
                      </volumeModificationSet>";
        Answer::good("DescribeVolumesModifications", change)
    });
    let cloud = region(&ec2);
    cloud
        .grow_volume(INSTANCE, "vol-1", 120 << 30)
        .await
        .unwrap();
    let said = cloud
        .grow_volume(INSTANCE, "vol-1", 121 << 30)
        .await
        .unwrap_err();
    assert!(matches!(said, CloudError::Failed(_)), "{said:?}");
    assert!(said.to_string().contains("some hours later"), "{said}");
}

#[tokio::test]
async fn instances_that_ec2_does_not_know_do_not_spoil_the_statuses_of_others() {
    let (aws, ec2) = aws().await;
    aws.always("DescribeInstanceStatus", |parameters| {
        if parameters.values().any(|value| value == "i-2") {
            let words = "The instance IDs 'i-2, i-4' do not exist";
            return Answer::error(400, "InvalidInstanceID.NotFound", words);
        }
        let events = "<eventsSet><item><code>instance-retirement</code><description>degraded\
                      </description><notBefore>2026-12-01T00:00:00.000Z</notBefore></item><item>\
                      <code>system-reboot</code><description>[Completed] done</description></item>\
                      </eventsSet>";
        let items = ["i-1", "i-3"].map(|id| {
            format!(
                "<item><instanceId>{id}</instanceId><instanceState><code>16</code><name>running\
                 </name></instanceState>{events}<instanceStatus><status>ok</status></instanceStatus>\
                 <systemStatus><status>impaired</status></systemStatus></item>"
            )
        });
        let set = format!("<instanceStatusSet>{}</instanceStatusSet>", items.concat());
        Answer::good("DescribeInstanceStatus", &set)
    });
    let ids = ["i-1", "i-2", "i-3", "i-4"].map(str::to_owned);
    let seen = region(&ec2).statuses(&ids).await.unwrap();
    let names: Vec<_> = seen.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(names, ["i-1", "i-3"]);
    let status = &seen[0].1;
    assert_eq!(status.system_check, "impaired");
    assert_eq!(status.volume_check, "not-applicable");
    let codes: Vec<_> = status.events.iter().map(|e| e.code.as_str()).collect();
    assert_eq!(codes, ["instance-retirement"]);
    assert_eq!(aws.asked("DescribeInstanceStatus"), 2);
}
