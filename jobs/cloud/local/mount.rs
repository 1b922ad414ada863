//! mount(8) and umount(8), and what is mounted.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use nix::unistd::Uid;

const TIME: Duration = Duration::from_secs(20);

/// Runs mount(8) or umount(8), as root or through sudo.
pub(super) async fn privileged(
    program: &str,
    arguments: &[&OsStr],
    path: &Path,
) -> anyhow::Result<()> {
    const NEEDS: &str = "a local server's volume needs root, or sudo without a password, on a \
        machine that lets it mount";
    let mut command = if Uid::effective().is_root() {
        tokio::process::Command::new(program)
    } else {
        let mut sudo = tokio::process::Command::new("sudo");
        sudo.args(["-n", "--", program]);
        sudo
    };
    command
        .args(arguments)
        .arg(path)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let done = tokio::time::timeout(TIME, command.output());
    let done = done
        .await
        .with_context(|| format!("{program} hangs"))?
        .context(NEEDS)?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        bail!("{}; {NEEDS}", said.trim());
    }
    Ok(())
}

/// Whether something is mounted at just this path.
pub(super) fn is_mounted(mount_point: &Path) -> anyhow::Result<bool> {
    Ok(mount_options(mount_point)?.is_some())
}

/// `rw,nosuid,…` of what is mounted there last.
pub(super) fn mount_options(mount_point: &Path) -> anyhow::Result<Option<String>> {
    let mounts =
        std::fs::read("/proc/self/mountinfo").context("cannot read /proc/self/mountinfo")?;
    let at = |line: &[u8]| {
        let mut words = line.split(|b| *b == b' ').skip(4);
        let target = unescape(words.next()?);
        let options = String::from_utf8_lossy(words.next()?).into_owned();
        (target == mount_point).then_some(options)
    };
    Ok(mounts.split(|b| *b == b'\n').filter_map(at).next_back())
}

/// The kernel writes blanks and backslashes of a path as three octal digits.
fn unescape(word: &[u8]) -> PathBuf {
    let mut path = Vec::new();
    let mut rest = word;
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..3).filter(|_| *first == b'\\');
        let code = code.and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 8).ok()) {
            Some(byte) => {
                path.push(byte);
                rest = &after[3..];
            }
            None => {
                path.push(*first);
                rest = after;
            }
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_as_the_kernel_writes_them() {
        for (written, meant) in [
            ("/a/volume", "/a/volume"),
            (r"/a\040b\134\011c", "/a b\\\tc"),
            (r"/a\04", r"/a\04"),
            (r"/a\999", r"/a\999"),
        ] {
            assert_eq!(unescape(written.as_bytes()), Path::new(meant));
        }
    }

    #[test]
    fn what_is_mounted_is_seen() {
        assert!(is_mounted(Path::new("/proc")).unwrap());
        assert!(!is_mounted(Path::new("/proc/self")).unwrap());
    }
}
