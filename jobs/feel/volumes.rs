//! The mounted filesystems that matter: `/`, and those that hold data.

use std::collections::BTreeMap;

use drover::model::{Cluster, Volume};

use super::probe::Probed;
use super::sections::{Malformed, Section, clean};

/// Says which of the volumes hold clusters, and how the small write on them went.
pub(crate) fn place(volumes: &mut [Volume], clusters: &[Cluster], probed: &[Probed]) {
    for cluster in clusters {
        let Some(pgdata) = cluster.pgdata.as_deref() else {
            continue;
        };
        let probe = probed.iter().find(|p| p.pgdata == pgdata);
        // `df` was asked for each data directory, so the longest of its mount
        // points that the path begins with is the right one.
        let path = probe.map_or(pgdata, |p| p.path.as_str());
        let Some(volume) = volumes
            .iter_mut()
            .filter(|v| below(path, mount_of(v)))
            .max_by_key(|v| mount_of(v).len())
        else {
            continue;
        };
        volume.data = Some(true);
        let name = format!("{}/{}", cluster.version, cluster.cluster);
        volume.clusters.get_or_insert_default().push(name);
        if let Some(probe) = probe {
            volume.fsync = Some(probe.fsync);
            volume.fsync_ms = probe.fsync_ms;
        }
    }
}

fn mount_of(volume: &Volume) -> &str {
    volume.mount.as_deref().unwrap_or_default()
}

fn below(path: &str, mount: &str) -> bool {
    match path.strip_prefix(mount.trim_end_matches('/')) {
        Some(rest) => rest.is_empty() || rest.starts_with('/'),
        None => false,
    }
}

/// Reads `df --output=source,fstype,size,used,avail,itotal,iused,target -B1`
/// and the ` ro|rw mount-point` lines that the script makes of `/proc/mounts`.
pub(crate) fn parse(df: &Section<'_>, mounts: &Section<'_>) -> Result<Vec<Volume>, Malformed> {
    let writable = modes(mounts)?;
    let mut volumes: BTreeMap<String, Volume> = BTreeMap::new();
    for line in df.text.lines().skip(1).filter(|l| !l.trim().is_empty()) {
        let volume = volume(line, &writable).ok_or_else(|| {
            df.malformed(format!(
                "a line that `df` does not write: {:?}",
                clean(line, 80)
            ))
        })?;
        // One filesystem holds many clusters and is named once for each.
        volumes.insert(mount_of(&volume).to_owned(), volume);
    }
    if volumes.len() > 100 {
        return Err(df.malformed("more than 100 volumes"));
    }
    Ok(volumes.into_values().collect())
}

fn volume(line: &str, modes: &BTreeMap<String, bool>) -> Option<Volume> {
    let mut rest = line;
    let mut word = || {
        rest = rest.trim_start();
        let (word, after) = rest.split_once(char::is_whitespace)?;
        rest = after;
        Some(word)
    };
    let (device, fs) = (word()?, word()?);
    let (size, used, available) = (bytes(word()?)?, bytes(word()?)?, bytes(word()?)?);
    let (inodes, inodes_used) = (word()?.parse::<u64>().ok(), word()?.parse::<u64>().ok());
    let mount = rest.trim();
    if !mount.starts_with('/') {
        return None;
    }
    let mount = clean(mount, 256);
    Some(Volume {
        writable: modes.get(&mount).copied(),
        mount: Some(mount),
        data: Some(false),
        clusters: Some(vec![]),
        fsync: None,
        fsync_ms: None,
        device: Some(clean(device, 256)),
        fs: Some(clean(fs, 32)),
        size_bytes: Some(size),
        used_bytes: Some(used),
        available_bytes: Some(available),
        used_ratio: Some(ratio(used, used.saturating_add(available))),
        inodes_used_ratio: inodes
            .filter(|n| *n > 0)
            .map(|n| ratio(inodes_used.unwrap_or(0), n)),
    })
}

fn modes(mounts: &Section<'_>) -> Result<BTreeMap<String, bool>, Malformed> {
    let mut modes = BTreeMap::new();
    for line in mounts.text.lines() {
        let (mode, target) = match line.split_once(' ') {
            Some(("rw", target)) => (true, target),
            Some(("ro", target)) => (false, target),
            _ => return Err(mounts.malformed("a line that is not `ro` or `rw` and a mount point")),
        };
        // A later mount covers an earlier one at the same place.
        modes.insert(clean(&target.replace("\\040", " "), 256), mode);
    }
    Ok(modes)
}

/// `df` writes `-` where a filesystem has no such figure.
fn bytes(word: &str) -> Option<u64> {
    if word == "-" {
        Some(0)
    } else {
        word.parse().ok()
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        return 0.0;
    }
    (part as f64 / whole as f64 * 10_000.0).round() / 10_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(df: &str, mounts: &str) -> Result<Vec<Volume>, Malformed> {
        parse(
            &Section {
                name: "df",
                status: 0,
                text: df,
            },
            &Section {
                name: "mounts",
                status: 0,
                text: mounts,
            },
        )
    }
    const HEAD: &str = "Filesystem Type 1B-blocks Used Avail Inodes IUsed Mounted on\n";

    #[test]
    fn each_filesystem_is_one_volume() {
        let df = format!(
            "{HEAD}/dev/vda ext4 1000 600 300 100 25 /\n/dev/vdb xfs 500 500 0 - - /my data\n\
             /dev/vda ext4 1000 600 300 100 25 /\n"
        );
        let volumes = read(&df, "rw /\nro /my\\040data").unwrap();
        assert_eq!(volumes.len(), 2);
        assert_eq!(
            (mount_of(&volumes[0]), volumes[0].used_ratio),
            ("/", Some(0.6667))
        );
        assert_eq!(
            (volumes[0].inodes_used_ratio, volumes[0].writable),
            (Some(0.25), Some(true))
        );
        assert_eq!(
            (mount_of(&volumes[1]), volumes[1].used_ratio),
            ("/my data", Some(1.0))
        );
        assert_eq!(
            (volumes[1].inodes_used_ratio, volumes[1].writable),
            (None, Some(false))
        );
    }

    #[test]
    fn the_last_mount_at_a_place_counts() {
        let df = format!("{HEAD}/dev/vda ext4 1000 600 300 100 25 /\n");
        assert_eq!(read(&df, "rw /\nro /").unwrap()[0].writable, Some(false));
        assert_eq!(read(&df, "").unwrap()[0].writable, None);
    }

    #[test]
    fn what_df_does_not_write_is_refused() {
        for bad in [
            "x",
            "/dev/vda ext4 a b c d e /",
            "/dev/vda ext4 1 1 1 1 1 relative",
        ] {
            assert!(read(&format!("{HEAD}{bad}"), "").is_err(), "{bad}");
        }
        assert!(read(HEAD, "maybe /").is_err());
    }
}
