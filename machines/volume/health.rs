//! Disks that are ill. This kernel has no device-mapper, so it is the filesystem that is
//! made to behave as on a bad disk, from within the machine that mounts it.

use anyhow::{Context as _, bail};

use super::node::is_mounted_in;
use crate::machine::Machine;
use crate::protocol::Health;

/// A script: a file that takes every block that is left.
pub const FILL: &str = "
f=$1/.full end=0
s=$(stat -f -c '%f * %S' -- \"$1\"); s=$(($s))
: >\"$f\"
while [ $s -ge 4096 ]; do
  if fallocate -o $end -l $s \"$f\" 2>/dev/null; then end=$((end + s)); else s=$((s / 2)); fi
done";

/// A script: what hangs goes on. What was mounted anew meanwhile does so already.
const THAW: &str = "
said=$(fsfreeze --unfreeze \"$1\" 2>&1) || case $said in
  *'Invalid argument'*) ;;
  *) echo \"$said\" >&2; exit 1 ;;
esac";

/// Makes a volume that was `from` be `to`.
///
/// # Errors
/// If the machine has not mounted it, or it cannot be.
pub async fn set(machine: &Machine, device: &str, from: Health, to: Health) -> anyhow::Result<()> {
    let place = is_mounted_in(machine, device)
        .await?
        .context("the machine has not mounted it")?;
    match from {
        Health::Well => {}
        Health::Full => drop(machine.script("rm -f \"$1/.full\"", &[&place]).await?),
        Health::Hanging => drop(machine.script(THAW, &[&place]).await?),
        // The journal is aborted: as with a real one, only mounting it anew helps.
        Health::ReadOnly if to == Health::ReadOnly => return Ok(()),
        Health::ReadOnly => {
            bail!("a filesystem that met an error is well again when it is mounted anew")
        }
    }
    match to {
        Health::Well => {}
        Health::Full => drop(machine.script(FILL, &[&place]).await?),
        Health::Hanging => drop(
            machine
                .script("fsfreeze --freeze \"$1\"", &[&place])
                .await?,
        ),
        Health::ReadOnly => {
            // It says that it failed, because it did what was asked.
            let abort = "mount -o remount,abort \"$1\" || true
                ! touch \"$1/.read-only\" 2>/dev/null || {
                    rm \"$1/.read-only\"
                    echo 'only ext4 can be made read-only so' >&2
                    exit 1
                }";
            machine.script(abort, &[&place]).await?;
        }
    }
    Ok(())
}
