//! `restart_follower`: its cluster is restarted, with the sessions that read from it.

use std::time::Duration;

use super::follower;
use crate::resolve::incidents::playbook::{Remedy, Step};
use crate::resolve::incidents::shell::{self, FIND_CLUSTER};
use crate::resolve::incidents::superuser::INPUT;
use crate::resolve::incidents::{Ended, Outcome, Turn};
use crate::resolve::operations::ROOT;

pub(in crate::resolve::incidents) const RESTART_FOLLOWER: Remedy = Remedy {
    name: "restart_follower",
    does: "restart the follower's cluster, ending the sessions that read from it",
    attempts: 1,
    settle: Duration::from_secs(120),
    steps: &[Step::new("restart_follower").within(Duration::from_secs(25))],
};

const RESTART: &str = include_str!("../../../host/scripts/restart_follower.sh");

const SOON: Duration = Duration::from_secs(1);

pub(super) async fn restart(turn: &Turn<'_>) -> Result<Outcome, Outcome> {
    let (resource, server, _) = follower(turn)?;
    let script = format!("{INPUT}{ROOT}{FIND_CLUSTER}{RESTART}");
    let port = resource.port.to_string();
    let said = shell::run(turn.tools, server, &script, &[&port], turn.limit).await?;
    let words = format!("{} on {}", said.last_words(), server.subject.name);
    match said.status {
        0 => {
            Ok(Outcome::done(said.last_words())
                .touching(format!("cluster {}", resource.subject.name)))
        }
        3 => Err(Outcome::passed_over(words)),
        6 => Err(Outcome::new(Ended::Again(SOON), words)),
        _ => Err(Outcome::failed(words)),
    }
}
