//! The mounted filesystems that matter: `/`, and those that hold data.

use std::collections::BTreeMap;

use drover::model::{Cluster, Volume};

use super::probe::Probed;
use super::sections::{Section, clean};

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

/// More volumes of one server than these are not looked at.
const MOST: usize = 200;

/// Reads `df --output=fstype,size,used,avail,itotal,iused,target -B1`, and the lines
/// ` ro|rw device mount-point` that the script makes of `/proc/mounts`. A line that cannot be
/// read is left out, and counted: a host's odd line is not its end.
pub(crate) fn parse(df: &Section<'_>, mounts: &Section<'_>) -> (Vec<Volume>, usize) {
    let mounts = mounted(mounts);
    let mut volumes: BTreeMap<String, Volume> = BTreeMap::new();
    let mut odd = 0;
    for line in df.text.lines().skip(1).filter(|l| !l.trim().is_empty()) {
        match volume(line, &mounts) {
            Some(volume) if volumes.len() < MOST => {
                volumes.insert(mount_of(&volume).to_owned(), volume);
            }
            Some(_) | None => odd += 1,
        }
    }
    (volumes.into_values().collect(), odd)
}

fn volume(line: &str, mounts: &BTreeMap<String, Mounted>) -> Option<Volume> {
    let mut rest = line;
    let mut word = || {
        rest = rest.trim_start();
        let (word, after) = rest.split_once(char::is_whitespace)?;
        rest = after;
        Some(word)
    };
    let fs = word()?;
    let (size, used, available) = (bytes(word()?)?, bytes(word()?)?, bytes(word()?)?);
    let (inodes, inodes_used) = (word()?.parse::<u64>().ok(), word()?.parse::<u64>().ok());
    let mount = rest.trim();
    if !mount.starts_with('/') {
        return None;
    }
    let mount = clean(mount, 256);
    let mounted = mounts.get(&mount);
    Some(Volume {
        writable: mounted.map(|mounted| mounted.writable),
        mount: Some(mount),
        data: Some(false),
        clusters: Some(vec![]),
        fsync: None,
        fsync_ms: None,
        device: mounted.map(|mounted| mounted.device.clone()),
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

/// What the kernel says of a mount.
struct Mounted {
    writable: bool,
    device: String,
}

fn mounted(mounts: &Section<'_>) -> BTreeMap<String, Mounted> {
    let unescape = |word: &str| clean(&word.replace("\\040", " ").replace("\\134", "\\"), 256);
    let mounts = mounts.text.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let (mode, device, target) = (words.next()?, words.next()?, words.next()?);
        let mounted = Mounted {
            writable: mode == "rw",
            device: unescape(device),
        };
        ["rw", "ro"]
            .contains(&mode)
            .then(|| (unescape(target), mounted))
    });
    // A later mount covers an earlier one at the same place.
    mounts.collect()
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

    fn read(df: &str, mounts: &str) -> (Vec<Volume>, usize) {
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
    const HEAD: &str = "Type 1B-blocks Used Avail Inodes IUsed Mounted on\n";

    #[test]
    fn each_filesystem_is_one_volume() {
        let df = format!(
            "{HEAD}ext4 1000 600 300 100 25 /\nzfs 500 500 0 - - /my data\n\
             ext4 1000 600 300 100 25 /\n"
        );
        let (volumes, odd) = read(&df, "rw /dev/vda /\nro pg\\040data /my\\040data");
        assert_eq!((volumes.len(), odd), (2, 0));
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
        assert_eq!(volumes[1].device.as_deref(), Some("pg data"));
    }

    #[test]
    fn the_last_mount_at_a_place_counts() {
        let df = format!("{HEAD}ext4 1000 600 300 100 25 /\n");
        let writable = |mounts| read(&df, mounts).0[0].writable;
        assert_eq!(writable("rw /dev/vda /\nro /dev/vdb /"), Some(false));
        assert_eq!(writable(""), None);
        assert_eq!(writable("maybe /dev/vda /\nrw /"), None);
    }

    #[test]
    fn a_line_that_df_does_not_write_costs_that_line_alone() {
        for bad in ["x", "ext4 a b c d e /", "ext4 1 1 1 1 1 relative"] {
            let (volumes, odd) = read(&format!("{HEAD}{bad}\next4 10 5 5 - - /\n"), "");
            assert_eq!((volumes.len(), odd), (1, 1), "{bad}");
        }
        let many: String = (0..700)
            .map(|n| format!("ext4 10 5 5 - - /{n}\n"))
            .collect();
        let (volumes, odd) = read(&format!("{HEAD}{many}"), "");
        assert_eq!((volumes.len(), odd), (MOST, 500));
    }
}
