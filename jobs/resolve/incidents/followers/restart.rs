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

/// One at a time, as the lock on the data directory has it; what each part may take
/// adds up to less than the step's limit. A cluster that leads is not touched.
const RESTART: &str = r#"as_root test -e "$d/standby.signal" || { echo "cluster $v/$c is no standby"; exit 3; }
exec 9<"$d" && flock -w 1 9 || { echo "another restart is at work"; exit 6; }
if [ -n "$(alive)" ]; then
  as_root timeout 8 pg_ctlcluster "$v" "$c" stop -m fast >/dev/null 2>&1 9<&-
  [ -z "$(alive)" ] || as_root timeout 4 pg_ctlcluster "$v" "$c" stop -m immediate >/dev/null 2>&1 9<&-
  [ -z "$(alive)" ] || { echo "cluster $v/$c does not stop"; exit 4; }
fi
out=$(as_root timeout 9 pg_ctlcluster "$v" "$c" start 2>&1 9<&-); s=$?
[ $s = 0 ] || [ $s = 2 ] || { printf '%s\n' "${out:-it does not start}" | tail -n 1; exit 5; }
echo "cluster $v/$c is restarted"
"#;

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
