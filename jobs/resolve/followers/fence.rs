//! `fence`: a node that takes writes, and by the record must not, is stopped before
//! anything else; then it is rewound to where it parted.

use std::time::Duration;

use super::follower;
use crate::operate::ROOT;
use crate::resolve::playbook::{Remedy, Step};
use crate::resolve::shell::{self, FIND_CLUSTER};
use crate::resolve::superuser::INPUT;
use crate::resolve::{Outcome, Turn};

pub(in crate::resolve) const FENCE: Remedy = Remedy {
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

/// The signal comes first: whoever starts the cluster from here on starts a standby,
/// which takes no writes. Then it is stopped, letting nothing end in good order.
const STOP: &str = r#"as_root touch "$d/standby.signal" && as_root chown --reference="$d" "$d/standby.signal" || exit 1
gone() { n=$1; while [ -n "$(alive)" ]; do n=$((n - 1)); [ $n -gt 0 ] || return 1; sleep 0.1; done; }
if [ -n "$(alive)" ]; then
  as_root timeout 6 pg_ctlcluster "$v" "$c" stop -m immediate >/dev/null 2>&1
  if ! gone 10; then
    as_root kill -9 $(alive) 2>/dev/null
    gone 30 || { echo "cluster $v/$c survives SIGKILL: a process hangs in the kernel"; exit 4; }
  fi
fi
echo "cluster $v/$c is stopped, and starts as a standby only"
"#;

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
