//! What is run on the node's own server. Each is fixed text; the arguments are the
//! leader's host (`$2`) and port (`$3`), the node's slot there (`$4`), and the name of the
//! job (`$5`). The password and the certificate are where `follow` has put them.

use super::super::failover::Lsn;

pub(super) const REWIND: &str = concat!(
    include_str!("../../../host/scripts/prelude/follow_arguments.sh"),
    include_str!("../../../host/scripts/prelude/leader.sh"),
    include_str!("../../../host/scripts/rewind.sh")
);

pub(super) const PARTED: &str = include_str!("../../../host/scripts/rewound.sh");

pub(super) const COPY: &str = concat!(
    include_str!("../../../host/scripts/prelude/follow_arguments.sh"),
    include_str!("../../../host/scripts/prelude/leader.sh"),
    include_str!("../../../host/scripts/copy_leader.sh")
);

/// Bytes of WAL behind the place where it parted from its leader, by what
/// [`PARTED`] has printed; `None`: they did not part, or nobody can tell.
pub(super) fn lost(said: &str) -> Option<u64> {
    let word = |name: &str| {
        let line = said.lines().find(|line| line.starts_with(name))?;
        Some(line.split_whitespace().skip(1).collect::<Vec<_>>())
    };
    let parted: Lsn = word("parted")?.first()?.parse().ok()?;
    let end = word("end")?;
    let last: Lsn = end.first()?.parse().ok()?;
    let length: u64 = end.get(1)?.parse().ok()?;
    // Records begin at multiples of eight bytes.
    let end = last.0 + length.next_multiple_of(8);
    Some(end.saturating_sub(parted.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_lost_is_counted_from_the_fork_to_the_last_record() {
        let said = "end 0/5000148 114\nparted 0/5000100\ncluster 15/x is rewound";
        assert_eq!(lost(said), Some(0x48 + 120));
        assert_eq!(lost("end 0/5000148 114\ncluster 15/x is rewound"), None);
        assert_eq!(lost("parted 0/5000100"), None);
        assert_eq!(lost("end 0/5000000 10\nparted 0/5000100"), Some(0));
    }
}
