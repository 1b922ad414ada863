//! How EC2 sees many instances at once.

use aws_sdk_ec2::primitives::DateTime;
use aws_sdk_ec2::types::{self, SummaryStatus};
use chrono::Utc;

use super::{Failure, Region};
use crate::cloud::{Done, ScheduledEvent, Status};

/// What stands before the description of an event that is over.
const OVER: [&str; 2] = ["[Completed]", "[Canceled]"];

/// EC2 refuses the whole question if it does not know one of the instances; so
/// often it is asked again without those that it named.
const AGAIN: usize = 2;

impl Region {
    /// One call, and a further one only where EC2 names instances that are gone.
    pub(super) async fn statuses_of(&self, ids: &[String]) -> Done<Vec<(String, Status)>> {
        let mut ids = ids.to_vec();
        for _ in 0..=AGAIN {
            if ids.is_empty() {
                return Ok(vec![]);
            }
            let call = self
                .ec2
                .describe_instance_status()
                .include_all_instances(true)
                .set_instance_ids(Some(ids.clone()))
                .send();
            let failure = match self.ask("DescribeInstanceStatus", call).await {
                Ok(answer) => {
                    let all = answer.instance_statuses().iter().filter_map(read);
                    return Ok(all.collect());
                }
                Err(failure) => failure,
            };
            let known = without_unknown(&ids, &failure);
            if known.len() == ids.len() {
                return Err(failure.into());
            }
            ids = known;
        }
        Ok(vec![])
    }
}

/// Those that the error does not name.
fn without_unknown(ids: &[String], failure: &Failure) -> Vec<String> {
    let Failure::Problem(problem) = failure else {
        return ids.to_vec();
    };
    if !problem.code.starts_with("InvalidInstanceID") {
        return ids.to_vec();
    }
    let part = |c: char| !(c.is_ascii_alphanumeric() || c == '-');
    let named: Vec<&str> = problem.message.split(part).collect();
    let known = ids.iter().filter(|id| !named.contains(&id.as_str()));
    known.cloned().collect()
}

fn read(from: &types::InstanceStatus) -> Option<(String, Status)> {
    let id = from.instance_id()?.to_owned();
    let state = from.instance_state().and_then(|state| state.name());
    let check = |status: Option<&SummaryStatus>| {
        status
            .map_or("not-applicable", SummaryStatus::as_str)
            .to_owned()
    };
    let status = Status {
        state: state.map_or("unknown", |name| name.as_str()).to_owned(),
        instance_check: check(from.instance_status().and_then(|s| s.status())),
        system_check: check(from.system_status().and_then(|s| s.status())),
        volume_check: check(from.attached_ebs_status().and_then(|s| s.status())),
        events: from.events().iter().filter_map(event).collect(),
    };
    Some((id, status))
}

/// `None`: it is over.
fn event(from: &types::InstanceStatusEvent) -> Option<ScheduledEvent> {
    let description = from.description().unwrap_or_default();
    if OVER.iter().any(|word| description.starts_with(word)) {
        return None;
    }
    Some(ScheduledEvent {
        code: from.code()?.as_str().to_owned(),
        description: description.to_owned(),
        not_before: from.not_before().and_then(time),
        not_after: from.not_after().and_then(time),
    })
}

fn time(at: &DateTime) -> Option<chrono::DateTime<Utc>> {
    chrono::DateTime::from_timestamp(at.secs(), at.subsec_nanos())
}

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::types::{EventCode, InstanceStatusEvent};

    use super::super::errors::{Problem, Sort};
    use super::*;

    #[test]
    fn events_that_are_over_are_none() {
        let with = |text: &str| {
            let code = EventCode::InstanceRetirement;
            let at = DateTime::from_secs(1_800_000_000);
            let built = InstanceStatusEvent::builder().code(code).not_before(at);
            event(&built.description(text).build())
        };
        let seen = with("The instance is running on degraded hardware").unwrap();
        assert_eq!(seen.code, "instance-retirement");
        assert_eq!(seen.not_before.unwrap().timestamp(), 1_800_000_000);
        assert_eq!(seen.not_after, None);
        assert_eq!(with("[Completed] The instance is …"), None);
        assert_eq!(with("[Canceled] The instance is …"), None);
    }

    #[test]
    fn what_ec2_does_not_know_is_left_out_and_nothing_else() {
        let ids = ["i-1", "i-12", "i-123"].map(str::to_owned);
        let failure = |code: &str| {
            Failure::Problem(Problem {
                code: code.into(),
                message: "The instance IDs 'i-1, i-123' do not exist".into(),
                sort: Sort::Failed,
            })
        };
        let known = without_unknown(&ids, &failure("InvalidInstanceID.NotFound"));
        assert_eq!(known, ["i-12"]);
        assert_eq!(without_unknown(&ids, &failure("InternalError")).len(), 3);
    }
}
