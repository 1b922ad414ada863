//! `fence`: a node that takes writes, and by the record must not, is stopped before
//! anything else; then it is rewound to where it parted.

use std::time::Duration;

use super::follower;
use crate::resolve::incidents::playbook::{Remedy, Step};
use crate::resolve::incidents::shell::{self, FIND_CLUSTER};
use crate::resolve::incidents::superuser::INPUT;
use crate::resolve::incidents::{Outcome, Turn};
use crate::resolve::operations::{FENCE as STOP, ROOT};

pub(in crate::resolve::incidents) const FENCE: Remedy = Remedy {
    name: "fence",
    does: "stop the one that should follow at once, and rewind it to where it parted from its \
           leader",
    attempts: 2,
    settle: Duration::from_secs(45),
    steps: &[
        Step::new("fence"),
        Step::new("ask"),
        Step::watching("rebuilt"),
    ],
};

/// `standby.signal` is there before anything is stopped: whoever starts the cluster from
/// here on starts a standby. What the fence takes away, the operation gives back.
pub(super) async fn fence(turn: &Turn<'_>) -> Result<Outcome, Outcome> {
    let (resource, server, _) = follower(turn)?;
    let script = format!("{INPUT}{ROOT}{FIND_CLUSTER}{STOP}");
    let port = resource.port.to_string();
    let said = shell::run(turn.tools, server, &script, &[&port], turn.limit).await?;
    let words = format!("{} on {}", said.last_words(), server.subject.name);
    match said.status {
        0 => Ok(Outcome::done(words).touching(format!("cluster {}", resource.subject.name))),
        3 => Err(Outcome::passed_over(words)),
        _ => Err(Outcome::failed(words)),
    }
}
